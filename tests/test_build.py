"""TensorRT-RTX's own builder, which needs no card, and the names that all versions share."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import trt_build.build
import vidrepair.engines.library
import vidrepair.engines.tensorrt
from training.publish import publish
from trt_build.build import build_engine
from trt_build.cli import main
from vidrepair.engines.cache import FOLDER_VARIABLE, EngineCache
from vidrepair.engines.generator import SHAPES, Generator
from vidrepair.engines.key import EngineKey, EngineRequest, Profile, Shape
from vidrepair.engines.library import PORTABLE
from vidrepair.errors import EngineError, ModelError, UsageError
from vidrepair.models import ModelFiles

needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs TensorRT-RTX")
SHAPE = Shape(1, 64, 96)
REQUEST = EngineRequest("fast", "rtx", Profile.static(SHAPE))
API = Path(__file__).parent / "trt_api"


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


@needs_rtx
def test_an_engine_is_built_once(cache: EngineCache) -> None:
    told: list[tuple[str, int, int]] = []
    entry = build_engine(REQUEST, cache=cache, progress=lambda *step: told.append(step))
    assert all(entry.file(graph).stat().st_size > 1 << 20 for graph in ("align", "restore"))
    assert entry.manifest["key"]["target"] == PORTABLE
    assert {what.split(":")[0] for what, _, _ in told} == {"align", "restore"}
    assert told[-1][1] == told[-1][2] > 0
    told.clear()
    again = build_engine(REQUEST, cache=cache, progress=lambda *step: told.append(step))
    assert again.manifest == entry.manifest
    assert told == []


@needs_rtx
def test_a_truncated_engine_is_built_anew(
    cache: EngineCache, caplog: pytest.LogCaptureFixture
) -> None:
    path = build_engine(REQUEST, cache=cache).file("restore")
    size = path.stat().st_size
    os.truncate(path, 1000)
    assert build_engine(REQUEST, cache=cache).file("restore") == path
    assert path.stat().st_size == size
    assert caplog.text.count("is damaged") == 1


@needs_rtx
def test_other_shapes_and_cards_are_other_engines(cache: EngineCache) -> None:
    requests = [
        replace(REQUEST, profile=Profile.dynamic(Shape(2, 64, 96))),
        replace(REQUEST, capabilities=("8.6", "8.9")),
        replace(REQUEST, capabilities=("8.9", "8.6")),
        replace(REQUEST, profile=Profile.static(Shape(1, 176, 192)), tile=16),
        replace(REQUEST, profile=Profile.static(Shape(1, 176, 192))),
    ]
    entries = [build_engine(request, cache=cache) for request in requests]
    assert entries[0].folder != entries[1].folder
    assert entries[1].folder == entries[2].folder
    assert entries[1].manifest["key"]["target"] == "SM86,SM89"
    assert entries[3].folder != entries[4].folder
    assert entries[3].summary.startswith("fast 1x192x176 in tiles of 16 fp32")


@needs_rtx
def test_half_precision_is_a_smaller_engine(cache: EngineCache) -> None:
    """The graph is in half precision itself: TensorRT 11 and RTX have no other way."""
    exact = build_engine(REQUEST, cache=cache)
    half = build_engine(replace(REQUEST, precision="fp16"), cache=cache)
    assert half.folder != exact.folder
    sizes = [entry.file("restore").stat().st_size for entry in (half, exact)]
    assert sizes[0] < 0.8 * sizes[1]


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_size_of_a_network_is_built(precision: str, tmp_path: Path) -> None:
    """`base` is not released; its engines are what its weights, whatever they are, fit."""
    files = untrained("base", tmp_path)
    entry = build_engine(
        replace(REQUEST, model=str(files.safetensors), precision=precision),
        cache=EngineCache(tmp_path / "engines"),
    )
    assert entry.manifest["key"]["weights"] == files.card.sha256
    assert entry.manifest["key"]["precision"] == precision
    assert entry.size > 3 << 20


def untrained(size: str, folder: Path) -> ModelFiles:
    """A release of a generator that has learned nothing."""
    torch.manual_seed(0)
    state = Generator(SHAPES[size]).state_dict()
    progress = {"step": 0, "pixels": 0, "seconds": 0.0}
    checkpoint = {"model": state, "average": state, "progress": progress, "config": {"size": size}}
    torch.save(checkpoint, folder / "untrained.pt")
    return publish(folder / "untrained.pt", size, folder, training_data="none")


def test_what_was_measured_of_kernels_is_kept_for_the_card(cache: EngineCache) -> None:
    key = EngineKey("fast", "a", "b", "tensorrt", "11.4", "a card, 9.0", "fp16", REQUEST.profile)
    assert cache.timings(key) == b""
    cache.keep_timings(key, b"measured")
    assert EngineCache(cache.folder).timings(replace(key, precision="fp32")) == b"measured"
    assert cache.timings(replace(key, library="11.5")) == b""
    assert cache.timings(replace(key, target="another")) == b""


@needs_rtx
def test_of_two_builds_at_once_one_builds(cache: EngineCache) -> None:
    built: list[str] = []

    def build(name: str) -> None:
        build_engine(
            REQUEST, cache=EngineCache(cache.folder), progress=lambda *_: built.append(name)
        )

    threads = [threading.Thread(target=build, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(built)) == 1
    assert len(cache.entries()) == 1


@needs_rtx
def test_an_interrupted_build_ends_early_and_leaves_nothing(cache: EngineCache) -> None:
    steps = []

    def interrupt(what: str, _done: int, _total: int) -> None:
        steps.append(what)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build_engine(REQUEST, cache=cache, progress=interrupt)
    assert {what.split(":")[0] for what in steps} == {"align"}
    assert cache.entries() == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@needs_rtx
def test_what_a_progress_raises_is_raised(cache: EngineCache) -> None:
    def fail(_what: str, _done: int, _total: int) -> None:
        raise ValueError("no terminal")

    with pytest.raises(ValueError, match="no terminal"):
        build_engine(REQUEST, cache=cache, progress=fail)
    assert cache.entries() == []


@needs_rtx
def test_the_cache_answers_without_torch(tmp_path: Path) -> None:
    environment = {**os.environ, FOLDER_VARIABLE: str(tmp_path)}
    program = (
        "import sys; from trt_build.cli import main; main(standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, "engine", "fast", "--flavour", "rtx"]
    command += ["--precision", "fp32", "--lanes", "1"]
    runs = [
        subprocess.run(
            [*command, "--size", "90x50"], env=environment, check=True, capture_output=True
        )
        for _ in range(2)
    ]
    folders = [run.stdout.decode().splitlines()[-1] for run in runs]
    assert folders[0] == folders[1]
    assert (Path(folders[0]) / "align.engine").exists()
    assert "1x96x64" in EngineCache(tmp_path / "engines").entries()[0].summary


@needs_rtx
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fast", "--flavour", "rtx", "--size", "854"], 2, "--size 854 is not WxH"),
        (["fast", "--flavour", "rtx", "--size", "64x64", "--lanes", "0"], 2, "--lanes 0"),
        (["slow", "--flavour", "rtx", "--size", "64x64"], 6, "there is no model 'slow'"),
        (
            ["fast", "--flavour", "rtx", "--size", "64x64", "--compute-capability", "9.0"],
            2,
            "--compute-capability 9.0 is none .* use 7.5, 8.0",
        ),
    ],
)
def test_what_cannot_be_built_is_told(
    arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(main, ["engine", *arguments], env={FOLDER_VARIABLE: str(tmp_path)})
    assert result.exit_code == code
    assert len(result.stderr.strip().splitlines()) == 1
    with pytest.raises((UsageError, ModelError), match=message):  # the same sentence
        raise (UsageError if code == 2 else ModelError)(result.stderr)


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_a_library_that_is_missing_is_told(cache: EngineCache) -> None:
    with pytest.raises(EngineError, match=r"tensorrt cannot be imported .*'vidrepair\[tensorrt\]'"):
        build_engine(replace(REQUEST, flavour="tensorrt"), cache=cache)


@needs_rtx
def test_a_graph_that_does_not_parse_is_told(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for data in (b"", b"no graph at all"):
        monkeypatch.setattr(trt_build.build, "_graphs", lambda *_, data=data: {"align": data})
        with pytest.raises(EngineError, match="align cannot be parsed"):
            build_engine(REQUEST, cache=cache)
    assert cache.entries() == []


VARIABLES = {
    "library": None,
    "builder": "Builder",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "parser": "OnnxParser",
    "network": "INetworkDefinition",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "timing": "ITimingCache",
}
"""What a name holds, after a leading underscore, in the modules that touch the library."""
MODULES = (trt_build.build, vidrepair.engines.library, vidrepair.engines.tensorrt)
ENUMS = (
    "BuilderFlag",
    "DataType",
    "ILogger",
    "NetworkDefinitionCreationFlag",
    "TensorIOMode",
)
RTX_ALONE = {"ComputeCapability", "num_compute_capabilities", "set_compute_capability"}


@pytest.mark.parametrize("table", sorted(API.glob("*.json")), ids=lambda path: path.stem)
def test_every_name_is_one_of_the_library(table: Path) -> None:
    known = json.loads(table.read_text())
    classes = {
        name: set(value["enum"]) if isinstance(value, dict) else set(value)
        for name, value in known.items()
    }
    used = [name for module in MODULES for name in _names_used(Path(module.__file__ or ""))]
    assert {"Builder", "ICudaEngine", "IExecutionContext", *ENUMS} <= {of for of, _ in used}
    for of, name in used:
        if name in RTX_ALONE and "rtx" not in table.stem:
            continue
        assert name in (classes if of is None else classes[of]), (of, name)


def _names_used(path: Path) -> list[tuple[str | None, str]]:
    """(class or None for the module, attribute) of every attribute of a library's object."""
    found: list[tuple[str | None, str]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Attribute) or node.attr.startswith("__"):
            continue
        inner = node.value
        name = inner.id if isinstance(inner, ast.Name) else getattr(inner, "attr", "")
        own = isinstance(inner, ast.Name) or name.startswith("_")
        if own and name.lstrip("_") in VARIABLES:
            found.append((VARIABLES[name.lstrip("_")], node.attr))
        elif name in ENUMS:
            found.append((name, node.attr))
    return found
