"""compare: two films beside one another, where they differ most."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from clips import Extras, moving, read_frames, samples_of, write_clip
from PIL import Image

import vidrepair
from vidrepair.cli import main
from vidrepair.decode import open_source
from vidrepair.display import show_planes
from vidrepair.frames import Frame
from vidrepair.regions import Box
from vidrepair.sheet import GAP, MARGIN
from vidrepair.side_by_side import CompareJob, compare

SIZE = (96, 64)
CHANGED = {5: 20, 17: 60, 29: 90}
"""Codes by which a spot of some frames differs."""
FRAMES = 40


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A film with sound, and the same with a spot in three of its frames."""
    folder = tmp_path_factory.mktemp("compare")
    first, second = folder / "a.mkv", folder / "b.mkv"
    write_clip(first, frames=moving(*SIZE, FRAMES), size=SIZE, extras=Extras(audio=1))
    frames = moving(*SIZE, FRAMES)
    for number, step in CHANGED.items():
        luma = np.frombuffer(frames[number].planes[0], np.uint8).reshape(SIZE[1], -1)
        spot = luma[40:48, 60:72]
        spot[...] = np.where(spot > 127, spot - step, spot + step)
    write_clip(second, frames=frames, size=SIZE)
    return first, second


def opened(sheet: Path) -> np.ndarray:
    with Image.open(sheet) as image:
        return np.asarray(image)


def frame_of(path: Path, number: int) -> Frame:
    with open_source(path) as source:
        return next(
            item for item in source.read() if isinstance(item, Frame) and item.number == number
        )


def cells_of(sheet: np.ndarray, strip: np.ndarray) -> list[int]:
    """Rows at which a picture begins, at the left margin of a sheet."""
    height, width = strip.shape[:2]
    places = range(sheet.shape[0] - height + 1)
    left = sheet[:, MARGIN : MARGIN + width]
    return [top for top in places if np.array_equal(left[top : top + height], strip)]


def test_a_sheet_shows_the_frames_that_differ_most(
    films: tuple[Path, Path], tmp_path: Path
) -> None:
    report = compare(CompareJob(*films, tmp_path / "sheet.png", frames=2))
    assert (report.frames, report.compared, report.changed) == (2, FRAMES, 3)
    sheet = opened(tmp_path / "sheet.png")
    found = {}
    for number in range(FRAMES):
        frame = frame_of(films[1], number) if number in CHANGED else None
        if frame is None:
            continue
        shown = show_planes(frame.planes, frame.picture).repeat(2, axis=0).repeat(2, axis=1)
        rows = cells_of(sheet[:, shown.shape[1] + GAP :], shown)
        found[number] = rows
    assert not found[5]
    assert len(found[17]) == len(found[29]) == 1
    assert found[17] < found[29]


def test_a_detail_shows_the_place(films: tuple[Path, Path], tmp_path: Path) -> None:
    compare(CompareJob(*films, tmp_path / "sheet.png", frames=1))
    frame = frame_of(films[1], 29)
    spot = show_planes(frame.planes, frame.picture)[40:48, 60:72]
    large = spot.repeat(3, axis=0).repeat(3, axis=1)
    sheet = opened(tmp_path / "sheet.png")
    windows = np.lib.stride_tricks.sliding_window_view(sheet[..., 0], large.shape[:2])
    rows, columns = np.nonzero(windows[:, :, 0, 0] == large[0, 0, 0])
    assert any(
        np.array_equal(sheet[r : r + 24, c : c + 36], large)
        for r, c in zip(rows, columns, strict=True)
    )


def test_frames_that_do_not_differ_fill_no_sheet(films: tuple[Path, Path], tmp_path: Path) -> None:
    report = compare(CompareJob(*films, tmp_path / "sheet.png", frames=6))
    assert report.frames == 3


def test_frames_that_differ_in_colour_alone_are_shown(
    films: tuple[Path, Path], tmp_path: Path
) -> None:
    frames = read_frames(films[0])[:3]
    frames[1].planes[1].update(bytes(len(bytes(frames[1].planes[1]))))
    write_clip(tmp_path / "a.mkv", frames=read_frames(films[0])[:3], size=SIZE)
    write_clip(tmp_path / "b.mkv", frames=frames, size=SIZE)
    films = tmp_path / "a.mkv", tmp_path / "b.mkv"
    report = compare(CompareJob(*films, tmp_path / "sheet.png"))
    assert (report.frames, report.compared, report.changed) == (1, 3, 0)
    change = opened(tmp_path / "sheet.png").astype(int)
    assert np.abs(np.diff(change, axis=2)).max() > 40  # something is coloured


def test_equal_films_differ_nowhere(films: tuple[Path, Path], tmp_path: Path) -> None:
    report = compare(CompareJob(films[0], films[0], tmp_path / "sheet.png", frames=3))
    assert (report.frames, report.compared, report.changed) == (1, FRAMES, 0)
    assert report.summary().endswith(
        f"1 frame shown; none of {FRAMES} frames compared differs in luma"
    )


def test_frames_are_shown_that_are_named(films: tuple[Path, Path], tmp_path: Path) -> None:
    job = CompareJob(
        *films, tmp_path / "sheet.png", crop=Box(32, 48, 64, 96), at=(Fraction(17, 25),)
    )
    assert compare(job).changed == 1
    frame = frame_of(films[0], 17)
    part = show_planes(frame.planes, frame.picture)[32:64, 48:96]
    sheet = opened(tmp_path / "sheet.png")
    # The outline of a detail is drawn on it: one sample that no line crosses is enough.
    top = sheet.shape[0] - MARGIN
    assert (part[1, 1] == sheet[:top, MARGIN : MARGIN + 200]).all(axis=2).any()


def test_films_of_two_depths_make_a_sheet(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=6)
    write_clip(tmp_path / "b.mkv", frames=6, pix_fmt="yuv422p10le")
    report = compare(CompareJob(tmp_path / "a.mkv", tmp_path / "b.mkv", tmp_path / "s.png"))
    assert report.frames == 6


@pytest.mark.parametrize("ending", [".mkv", ".mp4"])
def test_a_video_shows_both_sides(films: tuple[Path, Path], tmp_path: Path, ending: str) -> None:
    output = tmp_path / f"out{ending}"
    assert compare(CompareJob(*films, output)).frames == FRAMES
    written = read_frames(output)
    assert len(written) == FRAMES
    with av.open(str(output)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    sides = [samples_of(frame) for frame in (read_frames(films[0])[29], read_frames(films[1])[29])]
    for index, plane in enumerate(samples_of(written[29])):
        expected = np.concatenate([side[index] for side in sides], axis=1).astype(float)
        assert plane.shape == expected.shape
        # H.264: not exact, and far nearer than the other order of the films would be.
        assert np.abs(plane - expected).mean() < 6
    spot = samples_of(written[29])[0][40:48, 60:72].astype(float)
    other = samples_of(written[29])[0][40:48, 96 + 60 : 96 + 72]
    assert np.abs(spot - other).mean() > 50


def test_a_wipe_goes_over_from_one_to_the_other(films: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    first = tmp_path / "dark.mkv"
    second = tmp_path / "bright.mkv"
    for path, level in ((first, 60), (second, 180)):
        frames = []
        for _ in range(100):
            frame = av.VideoFrame(96, 64, "gray")
            frame.planes[0].update(bytes([level]) * frame.planes[0].buffer_size)
            frames.append(frame)
        write_clip(path, frames=frames, size=SIZE, pix_fmt="gray")
    compare(CompareJob(first, second, output, mode="wipe"))
    lumas = [samples_of(frame)[0][32].astype(int) for frame in read_frames(output)]
    edges = [int((luma < 120).sum()) for luma in lumas]
    assert abs(edges[0] - 48) <= 4  # in the middle, and then to the right and back
    assert edges[50] > 85
    assert abs(edges[99] - 48) <= 4
    for luma, edge in zip(lumas, edges, strict=True):
        assert (luma[: edge - 3] < 70).all()
        assert (luma[edge + 4 :] > 170).all()


def test_a_crop_of_a_video(films: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    compare(CompareJob(*films, output, crop=Box(16, 32, 48, 80)))
    frame = read_frames(output)[29]
    assert (frame.width, frame.height) == (96, 32)
    expected = samples_of(read_frames(films[0])[29])[0][16:48, 32:80].astype(float)
    assert np.abs(samples_of(frame)[0][:, :48] - expected).mean() < 6


def test_an_odd_picture_loses_the_column_that_has_no_chroma(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=4, size=(65, 49))
    compare(CompareJob(tmp_path / "a.mkv", tmp_path / "a.mkv", tmp_path / "out.mkv"))
    frame = read_frames(tmp_path / "out.mkv")[0]
    assert (frame.width, frame.height) == (128, 48)


def test_the_api(films: tuple[Path, Path], tmp_path: Path) -> None:
    report = vidrepair.compare(*films, tmp_path / "sheet.png", at=[Fraction(1)])
    assert report.summary().startswith(str(tmp_path / "sheet.png"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["a.mkv", "gone.mkv", "-o", "out.png"], 3, "does not exist"),
        (["a.mkv", "other.mkv", "-o", "out.png"], 2, "compare pictures of one size"),
        (["a.mkv", "short.mkv", "-o", "out.png"], 2, "ends after 12 frames"),
        (["a.mkv", "short.mkv", "-o", "out.mp4"], 2, "ends after 12 frames"),
        (["a.mkv", "ten.mkv", "-o", "out.mkv"], 2, "one format"),
        (["a.mkv", "b.mkv", "-o", "out.webm"], 2, "neither a .png sheet nor"),
        (["a.mkv", "b.mkv", "-o", "a.mkv"], 2, "one of the films itself"),
        (["a.mkv", "b.mkv", "-o", "there.png"], 2, "exists"),
        (["a.mkv", "b.mkv", "-o", "out.png", "--at", "9"], 2, "lies behind the last frame"),
        (["a.mkv", "b.mkv", "-o", "out.mkv", "--at", "1"], 2, "--at"),
        (["a.mkv", "b.mkv", "-o", "out.png", "--crop", "9x9"], 2, "WxH+X+Y"),
        (["a.mkv", "b.mkv", "-o", "out.png", "--crop", "90x9+9+0"], 2, "beyond the picture"),
        (["a.mkv", "b.mkv", "-o", "out.mkv", "--crop", "9x8+0+0"], 2, "multiples of 2x2"),
        (["a.mkv", "b.mkv", "-o", "out.png", "--crop", "0x8+0+0"], 2, "leaves nothing"),
        (["a.mkv", "b.mkv", "-o", "out.png", "--frames", "25"], 2, "1 to 24"),
        (["a.mkv", "b.mkv", "-o", "out.mkv", "--frames", "3"], 2, "--frames is for a .png sheet"),
        (["a.mkv", "b.mkv", "-o", "out.png", "--mode", "wipe"], 2, "--mode is for a video"),
        (["a.mkv", "b.mkv", "-o", "out.png", "--at", "0", "--frames", "3"], 2, "--at names"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str],
    code: int,
    said: str,
    films: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for path in films:
        (tmp_path / path.name).symlink_to(path)
    write_clip(tmp_path / "other.mkv", frames=2, size=(64, 48))
    write_clip(tmp_path / "short.mkv", frames=12, size=SIZE)
    write_clip(tmp_path / "ten.mkv", frames=12, size=SIZE, pix_fmt="yuv420p10le")
    (tmp_path / "there.png").write_bytes(b"kept")
    before = {path.name for path in tmp_path.iterdir()}
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["compare", *words])
    assert done.exit_code == code, done.output
    assert said in done.output
    assert {path.name for path in tmp_path.iterdir()} == before
