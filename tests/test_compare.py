"""Two films beside one another: a sheet, and a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from clips import moving, read_frames, samples_of, write_clip

from vidrepair.cli import main

SIZE = (128, 96)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A film, and the same with one corner of frame 7 made black."""
    first, second = tmp_path / "a.mkv", tmp_path / "b.mkv"
    frames = moving(*SIZE, 12)
    write_clip(first, frames=frames, size=SIZE)
    plane = frames[7].planes[0]
    np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:32, :32] = 16
    write_clip(second, frames=frames, size=SIZE)
    return first, second


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, args)])


def test_the_sheet_shows_the_frame_that_differs(pair: tuple[Path, Path], tmp_path: Path) -> None:
    done = call(*pair, "-o", tmp_path / "c.png")
    assert done.exit_code == 0, done.output
    assert "1 of those that were read differ" in done.stdout
    (sheet,) = read_frames(tmp_path / "c.png")
    assert sheet.width >= 2 * SIZE[0]
    assert len(np.unique(sheet.to_ndarray(format="gray"))) > 20


@pytest.mark.parametrize("mode", ["side", "wipe"])
def test_a_video_has_every_frame(pair: tuple[Path, Path], tmp_path: Path, mode: str) -> None:
    done = call(*pair, "-o", tmp_path / "c.mkv", "--mode", mode)
    assert done.exit_code == 0, done.output
    frames = read_frames(tmp_path / "c.mkv")
    assert len(frames) == 12
    if mode == "side":
        luma = samples_of(frames[7])[0].astype(float)
        # Where only the right one is black.
        assert luma[8:24, 8:24].mean() > luma[8:24, -SIZE[0] + 8 : -SIZE[0] + 24].mean() + 20.0


def test_what_cannot_be_compared_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.mkv"
    write_clip(other, frames=12, size=(64, 48))
    for words, code in (
        ((pair[0], other, "-o", tmp_path / "c.png"), 2),
        ((*pair, "-o", tmp_path / "c.txt"), 2),
        ((*pair, "-o", pair[0]), 2),
        ((pair[0], tmp_path / "none.mkv", "-o", tmp_path / "c.png"), 3),
    ):
        refused = call(*words)
        assert refused.exit_code == code, refused.output
        assert len(refused.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "b.mkv", "other.mkv"]
