from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import read_frames, samples_of, write_clip
from numpy.typing import NDArray

from vidrepair.frames import Frame, Picture, PixelFormat, Plane
from vidrepair.repeats import mark_repeats

FORMATS = {
    "yuv420p": PixelFormat("yuv420p", "yuv", 8, (2, 2)),
    "yuv444p16le": PixelFormat("yuv444p16le", "yuv", 16),
    "gray": PixelFormat("gray", "gray", 8),
    "gbrp10le": PixelFormat("gbrp10le", "rgb", 10),
}


def made(number: int, pixels: PixelFormat, *, seed: int, size: tuple[int, int] = (33, 17)) -> Frame:
    """A frame of noise; frames of one seed are equal, but do not share their samples."""
    rng = np.random.default_rng(seed)
    height, width = size
    across, down = pixels.sampling
    sizes = [(height, width)]
    if pixels.family != "gray":
        sizes += [(-(-height // down), -(-width // across))] * 2
    planes: list[Plane] = []
    for side in sizes:
        codes = rng.integers(0, pixels.peak, side)
        planes.append(codes.astype(np.uint8) if pixels.bits == 8 else codes.astype(np.uint16))
    return Frame(tuple(planes), Picture(width, height, pixels), number, number, Fraction(1, 25))


def marks(frames: list[Frame]) -> list[bool]:
    return [frame.repeat for frame in mark_repeats(frames)]


def copies(frames: Sequence[Frame], before: Frame | None = None) -> list[int]:
    """Which frames are copies, counted from the first."""
    marked = list(mark_repeats(frames, before))
    assert not any(frame.repeat and frame.copy for frame in marked)
    return [place for place, frame in enumerate(marked) if frame.copy]


SIZE = (144, 208)
Clean = list[NDArray[np.float32]]


def scene(moves: Sequence[float], *, texture: float = 20.0, size: tuple[int, int] = SIZE) -> Clean:
    """Clean lumas: one smooth picture, displaced to the right by so many samples."""
    rng = np.random.default_rng(5)
    height, width = size
    wide = cv2.GaussianBlur(rng.standard_normal((height, width + 160)), (0, 0), 4.0)
    wide = (110.0 + texture * wide / wide.std()).astype(np.float32)
    shown = []
    for move in moves:
        shift = np.array([[1, 0, move - 80], [0, 1, 0]], np.float32)
        shown.append(cv2.warpAffine(wide, shift, (width, height), flags=cv2.INTER_CUBIC))
    return shown


def grainy(clean: Clean, deviation: float, *, form: str = "yuv420p", seed: int = 3) -> list[Frame]:
    """Frames of clean lumas with grain that is new in each; deviations are of 8 bits."""
    rng = np.random.default_rng(seed)
    pixels = FORMATS[form]
    across, down = pixels.sampling
    unit = pixels.peak / 255.0
    frames = []
    for number, luma in enumerate(clean):
        height, width = luma.shape
        levels = [luma]
        if pixels.family == "rgb":
            levels = [luma, luma, luma]
        elif pixels.family == "yuv":
            levels += [np.full((-(-height // down), -(-width // across)), 128.0, np.float32)] * 2
        planes = tuple(
            np.clip(
                np.rint(unit * (level + deviation * rng.standard_normal(level.shape))),
                0,
                pixels.peak,
            ).astype(np.uint8 if pixels.bits == 8 else np.uint16)
            for level in levels
        )
        frames.append(
            Frame(planes, Picture(width, height, pixels), number, number, Fraction(1, 25))
        )
    return frames


def again(frame: Frame, seed: int = 1) -> Frame:
    """The frame once more, a tenth of its samples off by one 8-bit code value, as a codec does."""
    rng = np.random.default_rng(seed)
    unit = max(frame.picture.format.peak // 255, 1)
    off = [unit * (rng.random(plane.shape) < 0.1).astype(plane.dtype) for plane in frame.planes]
    planes = tuple(
        np.minimum(plane, frame.picture.format.peak - unit) + more
        for plane, more in zip(frame.planes, off, strict=True)
    )
    return replace(frame, planes=planes)


def changed(frame: Frame, plane: int, place: tuple[slice, slice], by: int) -> Frame:
    planes = [samples.copy() for samples in frame.planes]
    planes[plane][place] += np.uint8(by)
    return replace(frame, planes=tuple(planes))


def coded(path: Path, frames: Sequence[Frame], codec: str, **options: object) -> list[Frame]:
    """What a codec leaves of 8-bit frames of 4:2:0."""
    pictures = []
    for frame in frames:
        picture = av.VideoFrame(frame.picture.width, frame.picture.height, "yuv420p")
        for plane, samples in zip(picture.planes, frame.planes, strict=True):
            view = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
            view[:, : samples.shape[1]] = samples
        pictures.append(picture)
    write_clip(
        path,
        frames=pictures,
        size=(pictures[0].width, pictures[0].height),
        codec=codec,
        **options,
    )
    return [
        replace(frames[0], planes=tuple(samples_of(picture)), number=number, pts=number)
        for number, picture in enumerate(read_frames(path))
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_only_equal_frames_are_repeats(name: str):
    seeds = [1, 1, 2, 2, 2, 1, 3]
    frames = [made(n, FORMATS[name], seed=seed) for n, seed in enumerate(seeds)]
    assert marks(frames) == [False, True, False, True, True, False, False]


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_one_sample_of_any_plane_makes_a_difference(plane: int):
    first, second = (made(n, FORMATS["yuv420p"], seed=1) for n in (0, 1))
    assert marks([first, second]) == [False, True]
    # The last sample is not among those that are probed first.
    second.planes[plane][-1, -1] ^= 1
    assert marks([first, second]) == [False, False]


def test_another_size_or_range_is_no_repeat():
    pixels = FORMATS["gray"]
    first = made(0, pixels, seed=1)
    taller = made(1, pixels, seed=1, size=(34, 17))
    assert marks([first, taller]) == [False, False]
    full = replace(made(1, pixels, seed=1), picture=replace(first.picture, full_range=True))
    assert marks([first, full]) == [False, False]


def test_frames_pass_unchanged_one_by_one():
    frames = [made(n, FORMATS["gray"], seed=n // 2) for n in range(4)]
    stale = [replace(frame, repeat=True) for frame in frames]
    source = iter(stale)
    marked = mark_repeats(source)
    assert next(marked).number == 0
    assert next(source).number == 1  # nothing was read ahead
    rest = list(marked)
    assert [frame.number for frame in rest] == [2, 3]
    assert [frame.repeat for frame in rest] == [False, True]
    assert rest[0].planes is stale[2].planes


def test_no_frames_give_none():
    assert marks([]) == []


CODECS = {
    "crf 23": ("libx264", {"options": {"crf": "23"}}),
    "crf 28": ("libx264", {"options": {"crf": "28"}}),
    "mpeg2": ("mpeg2video", {"bit_rate": 1_500_000, "gop_size": 12, "max_b_frames": 2}),
}


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("times", [(2,), (1, 1, 1, 2), (2, 3)])
def test_coded_copies_are_found(name: str, times: tuple[int, ...], tmp_path: Path):
    codec, options = CODECS[name]
    film = grainy(scene(np.arange(14) * 2.0), 6.0)
    shown = [(frame, k) for n, frame in enumerate(film) for k in range(times[n % len(times)])]
    doubled = {place for place, (_, k) in enumerate(shown) if k}
    frames = coded(tmp_path / "film.mkv", [frame for frame, _ in shown], codec, **options)
    marked = list(mark_repeats(frames))
    found = {place for place, frame in enumerate(marked) if frame.copy or frame.repeat}
    assert found <= doubled
    # Before the first frame there is none that would tell how far frames are apart.
    assert len(found) >= 0.9 * len(doubled - {1, 2})
    # At crf 23 most blocks are skipped, and whole frames with them.
    assert name == "crf 23" or any(frame.copy for frame in marked)


@pytest.mark.parametrize("name", CODECS)
def test_coded_grain_that_is_new_is_no_copy(name: str, tmp_path: Path):
    codec, options = CODECS[name]
    moves = np.cumsum([0, 2, 2, 0.5, 0.5, 1, 3, 3, 0.7, 0.7, 0.7, 4])
    frames = coded(tmp_path / "film.mkv", grainy(scene(moves), 6.0), codec, **options)
    assert copies(frames) == []


def test_what_a_codec_froze_is_a_copy_and_nothing_else(tmp_path: Path):
    clean = scene([0.0, 2.0, 4.0, 6.0, 6.0, 6.0, 6.0, 6.1, 6.2, 6.3])
    options = {"options": {"crf": "28"}}
    frames = coded(tmp_path / "film.mkv", grainy(clean, 6.0), "libx264", **options)
    grain = [frame.luma - luma for frame, luma in zip(frames, clean, strict=True)]
    found = copies(frames)
    # The picture stands from the fourth on, and the codec shows its grain again, not the new one.
    assert set(found) & {4, 5, 6}
    for place in found:
        assert np.corrcoef(grain[place].ravel(), grain[place - 1].ravel())[0, 1] > 0.8


@pytest.mark.parametrize("deviation", [1.0, 3.0, 12.0])
@pytest.mark.parametrize("step", [0.0, 0.1, 1.0])
def test_new_noise_is_no_copy_however_weak_or_calm(deviation: float, step: float):
    # It stands, moves, stops and goes on.
    moves = np.cumsum([0, 0, 0, 5, 5, step, step, step, step, 5, step, step])
    assert copies(grainy(scene(moves), deviation)) == []


@pytest.mark.parametrize("step", [0.1, 0.3])
def test_a_slow_pan_over_grain_that_was_photographed_is_no_copy(step: float):
    rng = np.random.default_rng(2)
    still = scene([0.0])[0] + 6.0 * rng.standard_normal(SIZE).astype(np.float32)
    moves = [np.array([[1, 0, step * n], [0, 1, 0]], np.float32) for n in range(8)]
    pan = [cv2.warpAffine(still, m, SIZE[::-1], flags=cv2.INTER_CUBIC) for m in moves]
    assert copies(grainy(pan, 0.0)) == []


def test_a_small_thing_that_moves_is_another_picture():
    first, second = grainy(scene([0.0, 3.0]), 6.0)
    assert copies([first, second, again(second)]) == [2]
    # Below, right: beyond the last whole block too.
    for plane, spot in ((0, np.s_[138:144, 202:208]), (1, np.s_[60:68, 90:98])):
        assert copies([first, second, changed(again(second), plane, spot, 40)]) == []


def test_a_change_of_light_is_another_picture():
    first, second = grainy(scene([0.0, 3.0]), 6.0)
    everywhere = (slice(None), slice(None))
    assert copies([first, second, changed(again(second), 0, everywhere, 6)]) == []


@pytest.mark.parametrize("deviation", [0.0, 0.4])
def test_without_noise_there_are_no_copies(deviation: float):
    drawn = [np.full(SIZE, 60.0, np.float32) for _ in range(5)]
    for number, luma in enumerate(drawn):
        luma[40:100, 30 + 10 * number : 130 + 10 * number] = 180.0
    black = [np.full(SIZE, 16.0, np.float32)] * 5
    for clean in (drawn, black, scene(np.arange(5) * 3.0, texture=4.0)):
        frames = grainy(clean, deviation)
        assert copies([frames[0], frames[1], again(frames[1]), frames[3], again(frames[3])]) == []


def test_three_copies_at_most():
    first, second = grainy(scene([0.0, 3.0]), 6.0)
    shown = [first, second, *(again(second, seed) for seed in range(6))]
    # The fifth is compared with what is like it, so nothing tells it from a picture that stands.
    assert copies(shown) == [2, 3, 4]


def test_what_repeats_a_copy_is_one():
    first, second, third = grainy(scene([0.0, 3.0, 6.0]), 6.0)
    copy = again(second)
    shown = [first, second, second, copy, *[copy] * 5, again(second, 2), third, again(third)]
    marked = list(mark_repeats(shown))
    assert [n for n, frame in enumerate(marked) if frame.repeat] == [2]
    assert [n for n, frame in enumerate(marked) if frame.copy] == [*range(3, 10), 11]


def test_a_corrupt_frame_is_no_copy():
    first, second = grainy(scene([0.0, 3.0]), 6.0)
    assert copies([first, second, replace(again(second), corrupt=True)]) == []
    assert copies([first, replace(second, corrupt=True), again(second)]) == []


def test_behind_a_cut_nothing_tells_a_copy():
    other = grainy(scene([0.0], texture=30.0)[:1], 6.0, seed=9)[0]
    other = replace(other, planes=tuple(plane[::-1, ::-1] for plane in other.planes))
    first, second = grainy(scene([0.0, 3.0]), 6.0)
    assert copies([other, first, again(first), second, again(second)]) == [4]
    assert copies([first, again(first), second, again(second)]) == [3]


@pytest.mark.parametrize("form", FORMATS)
def test_any_depth_and_family(form: str):
    frames = grainy(scene([0.0, 3.0, 6.0], size=(101, 131)), 5.0, form=form)
    doubled = [each for frame in frames for each in (frame, again(frame))]
    assert copies(doubled) == [3, 5]
    assert copies(frames) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 3), (15, 64), (16, 16), (17, 31)])
@pytest.mark.parametrize("form", FORMATS)
def test_tiny_pictures_do_no_harm(size: tuple[int, int], form: str):
    frames = grainy(scene([0.0, 3.0, 6.0], size=size), 5.0, form=form)
    found = copies([each for frame in frames for each in (frame, again(frame))])
    assert found in ([], [3], [5], [3, 5])
    if min(size) < 16:
        assert found == []


def test_a_job_that_starts_later_finds_the_same():
    film = grainy(scene(np.cumsum([0, 3, 3, 0.2, 0, 4, 4, 0, 0.1, 5])), 6.0)
    times = [2, 5, 1, 2, 3, 2, 7, 1, 2, 3]
    shown = [
        again(frame, k) if k else frame
        for frame, count in zip(film, times, strict=True)
        for k in range(count)
    ]
    marked = list(mark_repeats(shown))
    whole = {place for place, frame in enumerate(marked) if frame.copy}
    assert len(whole) > 10
    for start in range(1, len(shown)):
        if not marked[start].copy:
            late = {start + place for place in copies(shown[start:], shown[start - 1])}
            assert late == {place for place in whole if place >= start}
