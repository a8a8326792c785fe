"""The repository keeps to its own rules: sizes, packages, and commands that belong together."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import vidrepair

MEGABYTE = 1e6
CLIPS = {".mp4", ".mkv", ".mov", ".webm"}
WEIGHTS = {".onnx", ".safetensors", ".pt", ".bin"}
SHIPPED = ("vidrepair", "trt_build")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def tracked(root: Path) -> list[Path]:
    """What git would commit; of an unpacked archive, all but what building and testing left."""
    if (root / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        paths = [root / line for line in listed.stdout.splitlines()]
    else:
        tops = [path for path in root.iterdir() if not path.name.startswith((".venv", "build"))]
        paths = [path for top in tops for path in (top, *top.rglob("*"))]
    return [path for path in paths if path.is_file()]


def megabytes(paths: list[Path]) -> float:
    return sum(path.stat().st_size for path in paths) / MEGABYTE


def test_the_samples_stay_below_8_megabytes(samples: Path) -> None:
    clips = [path for path in samples.iterdir() if path.suffix in CLIPS]
    assert clips
    assert megabytes(clips) < 8


def test_the_weights_stay_below_30_megabytes(root: Path) -> None:
    assert megabytes([path for path in tracked(root) if path.suffix in WEIGHTS]) < 30


def test_clips_lie_with_the_samples_and_released_weights_with_their_reader(root: Path) -> None:
    places = {path: path.relative_to(root).as_posix() for path in tracked(root)}
    clips = [place for path, place in places.items() if path.suffix in CLIPS]
    assert [place for place in clips if not place.startswith("samples/")] == []
    released = [place for path, place in places.items() if path.suffix in {".onnx", ".safetensors"}]
    homes = ("vidrepair/models/", "training/trunks/")
    assert [place for place in released if not place.startswith(homes)] == []


def test_every_package_is_shipped(root: Path, project: dict[str, Any]) -> None:
    found = {
        ".".join(path.parent.relative_to(root).parts)
        for name in SHIPPED
        for path in (root / name).rglob("__init__.py")
    }
    assert set(project["tool"]["setuptools"]["packages"]) == found


def test_every_module_has_its_place_in_the_import_contract(
    root: Path, project: dict[str, Any]
) -> None:
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    placed = set(re.findall(r"[\w.]+", " ".join(layers)))
    modules = {
        f"vidrepair.{path.stem}"
        for path in (root / "vidrepair").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert modules - placed == {"vidrepair.__init__"}


def test_the_installed_package_holds_what_the_checkout_holds(root: Path) -> None:
    """Weights and py.typed travel in the wheel only because pyproject.toml says so."""
    suffixes = WEIGHTS | {".py", ".json", ".typed", ".html", ".css", ".js"}
    for package in ("vidrepair", "vidrepair.models"):
        installed = {path.name for path in files(package).iterdir() if path.is_file()}
        checkout = {
            path.name
            for path in (root / Path(*package.split("."))).iterdir()
            if path.suffix in suffixes
        }
        assert checkout <= installed, package


def test_the_tool_does_not_depend_on_torch(project: dict[str, Any]) -> None:
    base = " ".join(project["project"]["dependencies"])
    assert not re.search(
        r"\b(torch|onnx|onnxscript|opencv|tensorrt)", base.replace("onnxruntime", "")
    )
    extras = project["project"]["optional-dependencies"]
    assert not any("tensorrt" in name for name in extras["dev"]), "its libraries are not on PyPI"
    for name in ("train", "tensorrt", "rtx"):
        assert "torch>=2.9,<2.14" in extras[name], name


def test_ci_runs_the_test_command_of_the_readme(root: Path) -> None:
    """.ci/run takes the line out of the README, so there has to be exactly one."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    commands = [line for line in readme.splitlines() if ".venv-test/bin/pytest" in line]
    assert len(commands) == 1
    assert commands[0].startswith("python3 -m venv .venv-test && ")
    assert "grep -F '.venv-test/bin/pytest' README.md" in (root / ".ci/run").read_text()


def test_the_readme_restores_a_sample_that_exists(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"samples/[\w.]+\.(?:mp4|mkv)", readme)
    assert named
    assert [name for name in named if not (root / name).exists()] == []


def test_the_changelog_is_open_for_the_next_release(root: Path) -> None:
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "\n## [Unreleased]\n" in text
    assert re.fullmatch(r"\d+\.\d+\.\d+", vidrepair.__version__)
