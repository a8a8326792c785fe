"""The runtime of TensorRT's engines on a library whose execution alone is not the real one.

Its arithmetic is torch's on the processor, done when the queue is waited for and not before, so
that whoever reads too early reads nothing; whatever a real context refuses is an error.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from test_engines import (
    CODE,
    EXACT,
    PICTURE,
    SIZE,
    as_frames,
    cut_film,
    fetched,
    make_step,
    moving_film,
    residuals,
    run,
)
from torch import Tensor

from trt_build.build import build_engine
from trt_build.cli import main
from vidrepair.api import repair as repair_film
from vidrepair.compose import Strengths, compose
from vidrepair.engines import Engine, make_engine, repair
from vidrepair.engines import open_engine as open_asked
from vidrepair.engines.cache import FOLDER_VARIABLE, EngineCache, read_trusted
from vidrepair.engines.cuda import TorchProgram
from vidrepair.engines.device import CudaDevice
from vidrepair.engines.generator import Generator, load_generator
from vidrepair.engines.golden import compare
from vidrepair.engines.gpu import Buffers, GpuEngine
from vidrepair.engines.key import EngineRequest, Profile, Shape
from vidrepair.engines.library import make_key
from vidrepair.engines.plan import Plan, plan_card
from vidrepair.engines.protocol import Identity
from vidrepair.engines.tensorrt import TensorRtProgram
from vidrepair.engines.tiles import window_size
from vidrepair.errors import EngineError, UsageError
from vidrepair.frames import Batch, Frame
from vidrepair.models import ModelFiles, find_model
from vidrepair.settings import EngineSettings, OutputSettings

STREAM = 7001
FIRST = make_step(0, as_frames(moving_film(0, steps=1)), 0, np.full((2, 17), 0.1, dtype=np.float32))
SHAPES = {
    "frames": (3, 3, 1, 1),
    "state": (44, 2, 2),
    "motion": (4, 4, 4),
    "aligned": (56, 2, 2),
    "frame": (3, 1, 1),
    "noise": (2,),
    "denoise": (3, 1, 1),
    "fill": (3, 1, 1),
    "defect": (1, 1, 1),
}
GRAPHS = {
    "align": (("frames", "state"), ("motion", "aligned")),
    "restore": (("frame", "aligned", "noise"), ("denoise", "fill", "defect", "state")),
}


def shape_of(name: str, lanes: int, size: tuple[int, int]) -> tuple[int, ...]:
    if name == "noise":
        return (lanes, 2, 17)
    *channels, down, across = SHAPES[name]
    return (lanes, *channels, size[0] // down, size[1] // across)


def tensor_at(address: int, shape: tuple[int, ...]) -> Tensor:
    buffer = (ctypes.c_float * math.prod(shape)).from_address(address)
    return torch.from_numpy(np.ctypeslib.as_array(buffer)).view(shape)


class Context:
    """Refuses what a real one refuses."""

    def __init__(self, graph: str, lanes: int, size: tuple[int, int], model: Generator) -> None:
        self._graph, self._lanes, self._size, self._model = graph, lanes, size, model
        self._given: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name in GRAPHS[self._graph][0]
        self._given[name] = shape
        return shape == shape_of(name, self._lanes, self._size)

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert any(name in names for names in GRAPHS[self._graph])
        self._places[name] = address
        return address != 0

    def infer_shapes(self) -> list[str]:
        return [name for name in GRAPHS[self._graph][0] if name not in self._given]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return shape_of(name, self._lanes, self._size)

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == STREAM
        inputs, outputs = GRAPHS[self._graph]
        tensors = {
            name: tensor_at(self._places[name], shape_of(name, self._lanes, self._size))
            for name in (*inputs, *outputs)
        }
        method = getattr(self._model, self._graph)
        with torch.inference_mode():
            results = [
                method(*(tensors[name][lane : lane + 1] for name in inputs))
                for lane in range(self._lanes)
            ]
            for lane, found in enumerate(results):
                for name, value in zip(outputs, found, strict=True):
                    tensors[name][lane] = value[0]
        return True


class Library:
    """What of TensorRT the runtime uses."""

    __name__, __version__ = "tensorrt_stand_in", "1.2.3"
    TensorIOMode = SimpleNamespace(INPUT=1, OUTPUT=2)
    DataType = SimpleNamespace(FLOAT=0, HALF=1)

    class ILogger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1)

    loaded: ClassVar[list[str]] = []
    """The engines that the last one made was given."""

    def __init__(
        self, lanes: int = 1, fault: str = "", window: tuple[int, int] | None = None
    ) -> None:
        self._lanes, self._fault = lanes, fault
        self._sizes = {"align": SIZE, "restore": window or SIZE}
        Library.loaded.clear()
        self._model = load_generator(find_model("fast").load_weights()).eval()

    def Runtime(self, log: Any) -> Any:  # noqa: N802  # the library's name
        return SimpleNamespace(deserialize_cuda_engine=lambda data: self._load(log, data.decode()))

    def _load(self, log: Any, graph: str) -> Any:
        Library.loaded.append(graph)
        if self._fault == "load":
            log.log(Library.ILogger.Severity.ERROR, "built by another version")
            return None
        names = [name for group in GRAPHS[graph] for name in group]
        context = Context(graph, self._lanes, self._sizes[graph], self._model)
        if self._fault == "size":
            context.get_tensor_shape = lambda _: (1, 2, 3)  # type: ignore[method-assign]
        if self._fault == "execute":
            context.execute_async_v3 = lambda _: False  # type: ignore[method-assign]
        return SimpleNamespace(
            num_io_tensors=len(names),
            get_tensor_name=names.__getitem__,
            get_tensor_dtype=lambda name: int(self._fault == "half" and name == "motion"),
            get_tensor_mode=lambda name: 1 if name in GRAPHS[graph][0] else 2,
            create_execution_context=lambda: None if self._fault == "memory" else context,
        )


class Queue:
    """A device on the processor that does nothing until it is waited for, and counts the planes."""

    name = "a queue"
    memory = torch.device("cpu")
    total_memory = 8 << 30

    def __init__(self) -> None:
        self._waiting: list[Callable[[int], None]] = []
        self.uploaded = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """As in a stream: what was asked for earlier comes first."""
        self.wait()
        with torch.inference_mode():
            yield

    def empty(self, *shape: int) -> Tensor:
        return torch.full(shape, math.nan)

    def upload(self, planes: Sequence[NDArray[Any]]) -> tuple[Tensor, ...]:
        self.uploaded += len(planes)
        there = tuple(torch.zeros_like(torch.from_numpy(plane.copy())) for plane in planes)
        copies = [plane.copy() for plane in planes]

        def copy(_stream: int) -> None:
            for tensor, plane in zip(there, copies, strict=True):
                tensor.numpy()[...] = plane

        self._waiting.append(copy)
        return there

    def enqueue(self, work: Callable[[int], None]) -> Callable[[], float]:
        self._waiting.append(work)

        def wait() -> float:
            self.wait()
            return 0.25

        return wait

    def start_fetch(self, tensors: Sequence[Tensor]) -> Callable[[], tuple[NDArray[Any], ...]]:
        def wait() -> tuple[NDArray[Any], ...]:
            self.wait()
            return tuple(tensor.numpy().copy() for tensor in tensors)

        return wait

    def capture(self, work: Callable[[int], None]) -> Callable[[int], None]:
        return work

    def wait(self) -> None:
        with torch.inference_mode():
            while self._waiting:
                self._waiting.pop(0)(STREAM)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def open_engine(
    cache: EngineCache, *, lanes: int = 1, tile: int = 0, fault: str = "", damage: bool = False
) -> GpuEngine:
    card = find_model("fast").card
    library = Library(lanes, fault, window_size(*SIZE, tile, card.halo))
    request = EngineRequest("fast", "rtx", Profile.static(Shape(lanes, *SIZE)), tile=tile)
    key = make_key(request, card, library)
    entry = cache.find(key) or cache.add(key, {graph: graph.encode() for graph in GRAPHS}, {})
    device = Queue()
    buffers = Buffers.on(device, PICTURE, Plan(lanes, tile, 0), card)
    program = TensorRtProgram(entry, library, device, buffers)
    identity = Identity("rtx", "1.2.3", card.sha256, "fp32", device.name, *SIZE, lanes, tile)
    return GpuEngine(identity, buffers, program, device, damage=damage)


def test_tiles_agree_with_the_whole(cache: EngineCache) -> None:
    film = moving_film(5, 100.0)
    whole, tiled = (np.stack(run(open_engine(cache, tile=tile), [film])[0]) for tile in (0, 16))
    assert np.abs(whole - tiled).max() < CODE
    assert not np.array_equal(whole, tiled)


def test_a_span_agrees_with_torch(cache: EngineCache) -> None:
    film = moving_film(0)
    expected = residuals(EXACT, film)[0]
    engine = open_engine(cache)
    found = np.stack(run(engine, [film])[0])
    assert np.abs(found - expected).max() < 1e-5
    assert engine._device.uploaded == 3 * len(film) + 1  # each plane goes up once, and the noise
    assert engine.worked == 0.25 * len(expected)
    engine.close()


def test_torch_on_a_card_agrees_with_torch() -> None:
    film = moving_film(0)
    expected = residuals(EXACT, film)[0]
    files, device = find_model("fast"), Queue()
    for precision, most in (("fp32", 1e-5), ("bf16", 1.5 * CODE)):
        buffers = Buffers.on(device, PICTURE, Plan(1, 0, 0), files.card)
        program = TorchProgram(files, precision, device, buffers)
        identity = Identity("torch", "1", files.card.sha256, precision, "", *SIZE, 1, 0)
        engine = GpuEngine(identity, buffers, program, device)
        assert np.abs(np.stack(run(engine, [film])[0]) - expected).max() < most
        engine.close()


def test_a_film_from_a_card_is_that_of_the_processor(cache: EngineCache) -> None:
    """Uploaded, converted, faded, added, rounded and fetched: within one code, mostly equal."""
    rng = np.random.default_rng(7)
    sizes = ((PICTURE.height, PICTURE.width), *[(PICTURE.height // 2, PICTURE.width // 2)] * 2)
    frames = [
        Frame(
            tuple(rng.integers(60, 190, size).astype(np.uint8) for size in sizes),
            PICTURE,
            number,
            number,
            Fraction(1, 25),
            shot=number // 14,
        )
        for number in range(20)
    ]
    spans = cut_film(frames)
    host = make_engine(find_model("fast"), PICTURE, EXACT)
    expected = list(compose(repair(spans, host), Strengths((1.0, 0.5))))
    answers = repair(spans, open_engine(cache, lanes=2))
    found = list(compose(answers, Strengths((1.0, 0.5)), ahead=4))
    assert len(found) == len(expected) == len(frames)
    for one, other, source in zip(found, expected, frames, strict=True):
        for plane, wanted, decoded in zip(one.planes, other.planes, source.planes, strict=True):
            assert plane.dtype == np.uint8
            difference = np.abs(plane.astype(int) - wanted)
            assert difference.max() <= 1
            assert (difference > 0).mean() < 0.01
            assert (plane != decoded).mean() > 0.1


def test_lanes_come_and_go_and_do_not_touch_each_other(cache: EngineCache) -> None:
    """Lane 1 starts later than lane 0, takes a second film, and lane 0 ends."""
    films = [moving_film(seed, steps=6) for seed in (1, 2, 3)]
    reference = [residuals(EXACT, film)[0] for film in films]
    frames = [as_frames(film) for film in films]
    noise = np.full((2, 17), 25 * CODE, dtype=np.float32)
    engine = open_engine(cache, lanes=2)
    plan = [(0, 0, 0), (1, 1, 2), (1, 2, 8)]  # lane, film, the tick at which it starts
    for tick in range(14):
        active = [(lane, film, tick - start) for lane, film, start in plan if 0 <= tick - start < 6]
        steps = tuple(make_step(lane, frames[film], t, noise) for lane, film, t in active)
        for (_, film, t), repaired in zip(active, engine.step(Batch(steps)), strict=True):
            assert np.abs(fetched(repaired) - reference[film][t]).max() < 1e-5
    engine.close()


def test_fill_defect_and_motion_come_down_where_they_are_wanted(cache: EngineCache) -> None:
    plain = open_engine(cache).step(Batch((FIRST,)))[0]
    assert plain.fill is plain.defect is plain.motion is None
    whole = open_engine(cache, damage=True).step(Batch((FIRST,)))[0]
    fill, defect, motion = whole.place.start_fetch((whole.fill, whole.defect, whole.motion))()
    assert fill.shape == (3, *SIZE)
    assert defect.shape == (1, *SIZE)
    assert motion.shape == (4, SIZE[0] // 4, SIZE[1] // 4)
    assert all(np.isfinite(array).all() for array in (fill, defect, motion))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("load", r"align cannot be loaded.*driver.*\(built by another version\)"),
        ("memory", "align does not fit into the card's memory"),
        ("half", "align does not have motion in fp32"),
        ("size", "align has another shape of frames"),
        ("execute", "align failed"),
    ],
)
def test_every_answer_of_the_library_is_checked(
    cache: EngineCache, fault: str, message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        open_engine(cache, fault=fault).step(Batch((FIRST,)))[0].is_finite()


def test_an_engine_of_another_shape_is_refused(cache: EngineCache) -> None:
    card, library = find_model("fast").card, Library(lanes=2)
    entry = cache.add(
        make_key(EngineRequest("fast", "rtx", Profile.static(Shape(1, *SIZE))), card, library),
        {graph: graph.encode() for graph in GRAPHS},
        {},
    )
    buffers = Buffers.on(Queue(), PICTURE, Plan(1, 0, 0), card)
    with pytest.raises(EngineError, match=r"not built for frames of shape \(1, 3, 3, 144, 208\)"):
        TensorRtProgram(entry, library, Queue(), buffers)


def test_output_that_is_not_finite_is_noticed(cache: EngineCache) -> None:
    nothing = np.full((2, 17), np.nan, dtype=np.float32)
    assert not open_engine(cache).step(Batch((replace(FIRST, noise=nothing),)))[0].is_finite()
    assert open_engine(cache).step(Batch((FIRST,)))[0].is_finite()


def test_a_cancelled_engine_steps_no_more(cache: EngineCache) -> None:
    engine = open_engine(cache)
    engine.cancel()
    with pytest.raises(EngineError, match="cancelled"):
        engine.step(Batch((FIRST,)))


def test_a_device_that_is_no_card_is_told() -> None:
    for name in ("cpu", "the fast one"):
        with pytest.raises(UsageError, match=f"--device {name} is no NVIDIA card"):
            CudaDevice(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_nothing_is_verified_without_a_card() -> None:
    pytest.importorskip("tensorrt_rtx")
    result = CliRunner().invoke(main, ["verify", "fast", "--flavour", "rtx", "--size", "64x48"])
    assert result.exit_code == 6
    assert "nvidia-smi" in result.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_no_card_is_told() -> None:
    with pytest.raises(EngineError, match=r"card of --device cuda cannot be used .*nvidia-smi"):
        CudaDevice("cuda")


def test_an_engine_is_compared_with_the_generator(cache: EngineCache) -> None:
    files = find_model("fast")
    engine = open_engine(cache, lanes=2)
    agreement = compare(engine, files)
    assert agreement.largest < 0.01
    assert abs(agreement.loss) < 1e-3
    agreement.require("fp32")
    with torch.no_grad():
        engine._program._align._context._model.restorer.denoise.bias[:12] += 0.1
    off = compare(engine, files)
    assert off.rms > 10 * agreement.rms
    with pytest.raises(EngineError, match=r"differs from the generator by .* --backend openvino"):
        off.require("fp16")


CARD = EngineSettings(backend="rtx")


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A card's place, and an empty cache of engines."""
    monkeypatch.setattr("vidrepair.engines.device.CudaDevice", lambda _name: Queue())
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))


@pytest.mark.usefixtures("queue")
def test_an_engine_that_is_not_built_is_told() -> None:
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(EngineError, match=r"--flavour rtx --precision fp16 --lanes 8 --size 208x"):
        make_engine(find_model("fast"), PICTURE, CARD)


@pytest.mark.usefixtures("queue")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a driver")
def test_a_real_engine_without_a_driver_is_told() -> None:
    pytest.importorskip("tensorrt_rtx")
    settings = replace(CARD, precision="fp32")
    with pytest.raises(EngineError, match=r"align cannot be loaded; .*\(.*\w+.*\)"):
        make_engine(find_model("fast"), PICTURE, settings, build=build_engine)
    assert len(EngineCache().entries()) == 1


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """The folder of an engine that was built elsewhere, for 8 lanes of the picture."""
    card, library = find_model("fast").card, pytest.importorskip("tensorrt_rtx")
    request = EngineRequest("fast", "rtx", Profile.static(Shape(8, *SIZE)), "fp16")
    key = make_key(request, card, library)
    graphs = {graph: graph.encode() for graph in GRAPHS}
    return EngineCache(tmp_path / "elsewhere").add(key, graphs, {}).folder


@pytest.mark.usefixtures("queue")
def test_an_engine_from_elsewhere_is_loaded_where_it_is_trusted(
    foreign: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = Library(lanes=8)
    monkeypatch.setattr("vidrepair.engines.nvidia.load_library", lambda _flavour: library)
    before = (foreign / "manifest.json").read_bytes()
    engine = make_engine(find_model("fast"), PICTURE, EngineSettings(trust_engine=foreign))
    engine.close()
    assert engine.identity.backend == "rtx"
    assert engine.identity.engine == read_trusted(foreign).digest
    assert (foreign / "manifest.json").read_bytes() == before
    assert not (tmp_path / "engines").exists()
    assert Library.loaded == ["align", "restore"]


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (EngineSettings(backend="tensorrt"), "has the flavour rtx, and tensorrt is wanted"),
        (EngineSettings(precision="fp32"), "has the precision fp16, and fp32 is wanted"),
    ],
)
def test_an_engine_from_elsewhere_that_does_not_suit_is_told(
    settings: EngineSettings, message: str, foreign: Path
) -> None:
    with pytest.raises(EngineError, match=message):
        make_engine(find_model("fast"), PICTURE, replace(settings, trust_engine=foreign))
    larger = replace(PICTURE, width=400)
    with pytest.raises(EngineError, match=r"was not built for 8x400x144; it is fast 8x208x144"):
        make_engine(find_model("fast"), larger, EngineSettings(trust_engine=foreign))


def test_a_folder_that_holds_no_engine_is_told(foreign: Path, tmp_path: Path) -> None:
    (foreign / "align.engine").write_bytes(b"planted")
    for folder in (foreign, tmp_path / "nowhere"):
        with pytest.raises(EngineError, match=r"--trust-engine .* is not the folder of a whole"):
            make_engine(find_model("fast"), PICTURE, EngineSettings(trust_engine=folder))
    with pytest.raises(UsageError, match="--trust-engine is not one of --backend openvino"):
        EngineSettings(backend="openvino", trust_engine=foreign)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_auto_falls_back_to_the_processor_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr("vidrepair.engines.nvidia.find_flavours", lambda: ("rtx",))
    for settings in (EngineSettings(precision="fp16"), EngineSettings(device="cuda:0")):
        with pytest.raises(EngineError, match="nvidia-smi"):
            make_engine(find_model("fast"), PICTURE, settings)  # what was asked for is a card
    make_engine(find_model("fast"), PICTURE, EngineSettings(precision="bf16")).close()
    assert caplog.records == []
    engine = make_engine(find_model("fast"), PICTURE, EngineSettings())
    engine.close()
    assert engine.identity.backend == "openvino"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "nvidia-smi" in record.message
    assert record.message.endswith("the processor is used")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that a card is asked to run, which never answers."""
    names: list[str] = []

    def refuse(files: ModelFiles, *_: Any, **__: Any) -> Engine:
        names.append(files.name)
        raise EngineError("no card answers")

    monkeypatch.setattr("vidrepair.engines.open_on_card", refuse)
    return names


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_the_larger_model_is_that_of_a_card_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, samples: Path, asked: list[str]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr("vidrepair.engines.nvidia.find_flavours", lambda: ("rtx",))
    # The larger one first, then the other, and the processor is not kept busy for hours.
    target = OutputSettings(codec="ffv1", frames=2)
    report = repair_film(samples / "tears_noisy.mp4", tmp_path / "out.mkv", target=target)
    assert report.engine["weights"] == find_model("fast").card.sha256
    assert asked[:2] == ["base", "fast"]
    asked.clear()
    for settings in (EngineSettings(device="cpu"), EngineSettings(precision="bf16")):
        files, engine = open_asked(PICTURE, settings)
        engine.close()
        assert files.name == "fast"
    assert asked == []
    with pytest.raises(EngineError, match="no card answers"):
        open_asked(PICTURE, EngineSettings("base", backend="rtx"))
    assert asked == ["base"]


def test_a_trusted_engine_says_which_model_it_is_of(
    monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    weights = find_model("fast").card.sha256
    told = SimpleNamespace(manifest={"key": {"weights": weights, "flavour": "rtx"}})
    monkeypatch.setattr("vidrepair.engines.read_trusted", lambda _folder: told)
    with pytest.raises(EngineError, match="no card answers"):
        open_asked(PICTURE, EngineSettings(trust_engine=Path("engine")))
    assert asked == ["fast"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(CARD, precision="bf16"), "--precision bf16 is not one of rtx"),
        (
            EngineSettings(backend="openvino", precision="fp16"),
            "--precision fp16 is a card's, and --backend openvino",
        ),
    ],
)
def test_what_an_engine_does_not_have_is_refused(settings: EngineSettings, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_engine(find_model("fast"), PICTURE, settings)


@pytest.mark.parametrize(
    ("size", "gigabytes", "lanes", "tiled"),
    [
        ((1920, 1080), None, 1, False),
        ((3840, 2160), 12, 1, False),
        ((3840, 2160), 6, 1, True),
        ((854, 480), 8, 5, False),
        ((854, 480), 1, 2, False),
        ((854, 480), 2, 4, False),
        ((64, 48), 8, 8, False),
    ],
)
def test_small_pictures_share_a_card_and_large_ones_are_cut(
    size: tuple[int, int], gigabytes: int | None, lanes: int, tiled: bool
) -> None:
    card = find_model("fast").card
    picture = replace(PICTURE, width=size[0], height=size[1])
    memory = gigabytes and gigabytes << 30
    plan = plan_card(picture, EngineSettings(), width=card.widths[0], halo=card.halo, memory=memory)
    assert (plan.lanes, plan.tile > 0) == (lanes, tiled)
    asked = plan_card(
        picture, EngineSettings(tile=512), width=card.widths[0], halo=card.halo, memory=memory
    )
    assert asked.tile == 512
