from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

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
