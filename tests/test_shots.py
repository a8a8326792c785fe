"""Cuts in clips spliced from moving textures, between the things that look like cuts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from vidrepair.frames import Frame, Picture, PixelFormat, Plane
from vidrepair.repeats import mark_repeats
from vidrepair.shots import HELD, number_shots

Image = NDArray[np.float64]
"""(3, H, W): Y' 0..1, Cb and Cr -0.5..0.5."""
HEIGHT, WIDTH = 120, 160
YUV420 = PixelFormat("yuv420p", "yuv", 8, (2, 2))
BLACK = np.zeros((3, HEIGHT, WIDTH))
WHITE = BLACK + np.array([[[1.0]], [[0.0]], [[0.0]]])


def scene(
    seed: int, length: int, *, speed: float | Sequence[float] = 2.0, fineness: float = 0.05
) -> list[Image]:
    """A shot: a random texture that moves by `speed` pixels a frame; waves in radians a pixel."""
    rng = np.random.default_rng(seed)
    travel = np.cumsum(np.broadcast_to(speed, length))
    direction = rng.uniform(0, 2 * np.pi)
    waves = rng.normal(0, fineness, (3, 10, 2))
    phases = rng.uniform(0, 2 * np.pi, (3, 10))
    level = np.array([rng.uniform(0.4, 0.6), *rng.uniform(-0.1, 0.1, 2)])
    strength = np.array([0.06, 0.02, 0.02])
    images = []
    for way in travel:
        y = np.arange(HEIGHT) + way * np.sin(direction)
        x = np.arange(WIDTH) + way * np.cos(direction)
        # The sum over k of cos(u_k y + v_k x + phase_k), as a product of two small matrices.
        down = np.exp(1j * (waves[..., 0, None] * y + phases[..., None]))
        across = np.exp(1j * waves[..., 1, None] * x)
        texture = (down.swapaxes(1, 2) @ across).real
        images.append(level[:, None, None] + strength[:, None, None] * texture)
    return images


def spliced(*lengths: int, speed: float = 2.0) -> tuple[list[Image], set[int]]:
    """Shots of these lengths in a row, and the numbers of the frames that start one."""
    images = [image for k, length in enumerate(lengths) for image in scene(k, length, speed=speed)]
    return images, {int(cut) for cut in np.cumsum(lengths)[:-1]}


def stored(image: Image, pixels: PixelFormat) -> tuple[Plane, ...]:
    """The planes of an image as a decoder would give them."""
    luma, *chroma = image
    if pixels.family == "rgb":
        blue, red = luma + 1.8556 * chroma[0], luma + 1.5748 * chroma[1]
        green = (luma - 0.0722 * blue - 0.2126 * red) / 0.7152
        parts = [red, green, blue]
    else:
        across, down = pixels.sampling
        parts = [luma, *(plane[::down, ::across] + 0.5 for plane in chroma)]
    dtype = np.uint8 if pixels.bits == 8 else np.uint16
    codes = [np.clip(np.rint(part * pixels.peak), 0, pixels.peak).astype(dtype) for part in parts]
    return tuple(codes[:1] if pixels.family == "gray" else codes)


def frames(images: Sequence[Image], pixels: PixelFormat = YUV420) -> Iterator[Frame]:
    for n, image in enumerate(images):
        picture = Picture(image.shape[2], image.shape[1], pixels)
        yield Frame(stored(image, pixels), picture, n, n, Fraction(1, 25))


def cuts(images: Sequence[Image], pixels: PixelFormat = YUV420) -> set[int]:
    """Run repeats and shots; the numbers of the frames that start a shot, but the first."""
    found = list(number_shots(mark_repeats(frames(images, pixels))))
    assert [frame.number for frame in found] == list(range(len(images)))
    assert not found or found[0].shot == 0
    steps = {b.number: b.shot - a.shot for a, b in pairwise(found)}
    assert set(steps.values()) <= {0, 1}
    return {number for number, step in steps.items() if step}


def grain(images: Sequence[Image], sigma: float) -> list[Image]:
    """White noise of `sigma` 8-bit code values in luma, 0.6 of it in chroma."""
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 0.6, 0.6])[:, None, None] * sigma / 255
    return [image + scale * rng.standard_normal(image.shape) for image in images]


def flicker(images: Sequence[Image]) -> list[Image]:
    """Another gain of 0.85 to 1.15 in each frame."""
    gains = np.random.default_rng(1).uniform(0.85, 1.15, len(images))
    return [image * gain for image, gain in zip(images, gains, strict=True)]


def test_hard_cuts():
    images, truth = spliced(9, 14, 5, 11, 7, 20)
    assert cuts(images) == truth


@pytest.mark.parametrize("sigma", [10, 20, 40])
def test_grain_neither_hides_nor_makes_cuts(sigma: float):
    images, truth = spliced(9, 14, 8, 11)
    assert cuts(grain(images, sigma)) == truth


def test_flicker_is_no_cut():
    images, truth = spliced(9, 14, 8, 11)
    assert cuts(flicker(images)) == truth
    assert cuts(grain(flicker(images), 20)) == truth


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize(
    "hit",
    [
        lambda _: WHITE,
        lambda _: BLACK,
        lambda image: 2.5 * image,
        lambda image: image[:, ::-1],
        lambda _: scene(99, 1)[0],
    ],
    ids=["white", "black", "overexposed", "upside down", "foreign"],
)
def test_what_returns_after_one_or_two_frames_is_no_cut(hit: Callable[[Image], Image], length: int):
    images, truth = spliced(12, 15)
    for n in (4, 18):
        images[n : n + length] = [hit(image) for image in images[n : n + length]]
    assert cuts(images) == truth


def test_three_frames_of_another_picture_are_a_shot():
    images = scene(0, 20)
    images[8:11] = scene(1, 3)
    assert cuts(images) == {8, 11}


@pytest.mark.parametrize("pixels", [YUV420, PixelFormat("gbrp", "rgb", 8)], ids=["yuv", "rgb"])
def test_a_lasting_change_of_light_is_no_cut(pixels: PixelFormat):
    images = scene(0, 18)
    images[6:] = [0.5 * image for image in images[6:]]
    images[12:] = [image + 0.3 * WHITE for image in images[12:]]
    assert cuts(images, pixels) == set()


def test_a_torn_frame_is_no_cut():
    images, truth = spliced(12, 15)
    images[6] = np.concatenate([images[6][:, :40], np.roll(images[6][:, 40:], 55, axis=2)], axis=1)
    images[17] = np.concatenate([images[17][:, :60], 0.5 * WHITE[:, 60:]], axis=1)
    assert cuts(images) == truth


def test_fades_and_dissolves_are_no_cuts():
    first, second = scene(0, 40), scene(1, 40)
    ramp = [*np.linspace(0, 1, 16), *[1.0] * 8, *np.linspace(1, 0, 16)]
    assert cuts([gain * image for gain, image in zip(ramp, first, strict=True)]) == set()
    mixed = zip(np.linspace(0, 1, 40), first, second, strict=True)
    dissolve = [(1 - t) * a + t * b for t, a, b in mixed]
    assert cuts(dissolve) == set()


def test_a_fade_and_a_cut_in_one_clip():
    ramp = np.linspace(0.1, 1, 12)
    faded = [gain * image for gain, image in zip(ramp, scene(0, 12), strict=True)]
    assert cuts(faded + scene(1, 9)) == {12}


@pytest.mark.parametrize(
    "lengths", [(9, 1, 9), (9, 2, 9), (9, 1, 1, 1, 1, 1, 9), (1, 9), (2, 3, 9, 1)]
)
def test_short_shots(lengths: tuple[int, ...]):
    images, truth = spliced(*lengths)
    assert cuts(images) == truth


def test_fast_motion_is_no_cut():
    # 11 pixels a frame are a fifteenth of the width.
    images, truth = spliced(12, 14, speed=11.0)
    assert cuts(images) == truth


def test_motion_that_starts_at_once_is_no_cut():
    whip = [0.5] * 8 + [8.0] * 8
    for seed in range(4):
        assert cuts(scene(seed, 16, speed=whip, fineness=0.12)) == set()


def test_a_repeat_never_starts_a_shot_and_does_not_count():
    first, second = scene(0, 6), scene(1, 6)
    on_twos = [image for image in (*first, *second) for _ in (0, 1)]
    assert cuts(on_twos) == {12}
    # A flash of two pictures lasts four frames on twos, and is one still.
    on_twos[4:8] = [WHITE, WHITE, 2.5 * first[3], 2.5 * first[3]]
    assert cuts(on_twos) == {12}


def test_a_marked_repeat_is_believed():
    images, _ = spliced(5, 5)
    marked = [replace(f, repeat=f.number == 5) for f in frames(images)]
    assert next(f.number for f in number_shots(marked) if f.shot) == 6


@pytest.mark.parametrize(
    "pixels",
    [
        PixelFormat("yuv422p10le", "yuv", 10, (2, 1)),
        PixelFormat("yuv411p", "yuv", 8, (4, 1)),
        PixelFormat("yuv444p16le", "yuv", 16),
        PixelFormat("gray", "gray", 8),
        PixelFormat("gray12le", "gray", 12),
        PixelFormat("gbrp", "rgb", 8),
        PixelFormat("gbrp16le", "rgb", 16),
    ],
    ids=lambda pixels: pixels.name,
)
def test_every_depth_and_family(pixels: PixelFormat):
    images, truth = spliced(9, 14, 8)
    images[4] = WHITE
    assert cuts(grain(flicker(images), 10), pixels) == truth


def test_colour_alone_makes_a_cut():
    images = scene(0, 12)
    images[6:] = [np.stack([image[0], image[1] + 0.2, image[2] - 0.2]) for image in images[6:]]
    assert cuts(images) == {6}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 17), (5, 300), (300, 5)])
def test_any_size(height: int, width: int):
    flat = np.zeros((3, height, width))
    ramp = flat + np.linspace(0.1, 0.9, height * width).reshape(1, height, width) * [
        [[1]],
        [[0]],
        [[0]],
    ]
    images = [ramp] * 6 + [np.where(flat[:1] == 0, 1.0, 0.0) * 0.5 - 0.4 * (ramp - 0.5)] * 6
    moving = [image + 0.01 * n for n, image in enumerate(images)]
    assert cuts(moving, PixelFormat("yuv444p", "yuv", 8)) <= {6}
    assert cuts([ramp + 0.005 * n for n in range(9)], PixelFormat("gray", "gray", 8)) == set()


def test_a_change_of_size_starts_a_shot():
    images = scene(0, 10)
    small = [image[:, ::2, ::2] for image in images]
    assert cuts(images[:5] + small[5:]) == {5}
    assert cuts([*images[:5], small[5], *images[6:]]) == {5, 6}


def test_a_job_that_starts_elsewhere_finds_the_same_cuts():
    images, _ = spliced(7, 9, 1, 6, 2, 12)
    images[11] = WHITE
    images = grain(flicker(images), 15)
    whole = cuts(images)
    for start in range(1, 25):
        part = {start + n for n in cuts(images[start:])}
        assert {n for n in part if n >= start + 3} == {n for n in whole if n >= start + 3}


def test_few_frames_are_held():
    taken = 0

    def counted(source: Iterator[Frame]) -> Iterator[Frame]:
        nonlocal taken
        for frame in source:
            taken += 1
            yield frame

    moving = scene(0, 8)
    for shown in number_shots(mark_repeats(counted(frames(moving)))):
        assert taken <= shown.number + 3
    taken = 0
    still = [moving[0]] * 20 + moving[1:]
    for shown in number_shots(mark_repeats(counted(frames(still)))):
        assert taken <= shown.number + 1 + HELD


@pytest.mark.parametrize("length", [0, 1, 2])
def test_hardly_any_frames(length: int):
    assert cuts(scene(0, length)) == set()


def test_pyscenedetect_agrees_where_nothing_else_happens():
    scenedetect = pytest.importorskip("scenedetect")
    detector = scenedetect.ContentDetector(min_scene_len=1)
    images, truth = spliced(9, 14, 8, 11)
    found = set()
    for frame in frames(images, PixelFormat("gbrp", "rgb", 8)):
        red, green, blue = frame.planes
        time = scenedetect.FrameTimecode(frame.number, 25.0)
        found |= {
            int(t.frame_num) for t in detector.process_frame(time, np.dstack([blue, green, red]))
        }
    assert found == truth == cuts(images)
