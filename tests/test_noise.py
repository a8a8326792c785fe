"""The noise measured blind against noise that the test itself has added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from vidrepair.frames import Frame, NoiseProfile, Picture, PixelFormat
from vidrepair.noise import (
    KNOTS,
    NoiseMeasurement,
    combine,
    known_profile,
    measure_span,
)
from vidrepair.planes import rgb_to_ycbcr

Array = NDArray[np.float64]
SIZE = (144, 192)
YUV420 = PixelFormat("yuv420p", "yuv", 8, (2, 2))
YUV422_10 = PixelFormat("yuv422p10le", "yuv", 10, (2, 1))
YUV411 = PixelFormat("yuv411p", "yuv", 8, (4, 1))
YUV444_16 = PixelFormat("yuv444p16le", "yuv", 16)
GRAY = PixelFormat("gray", "gray", 8)
RGB = PixelFormat("gbrp", "rgb", 8)


def texture(size: tuple[int, int], seed: int, *, spread: float = 35.0, fall: float = 1.3) -> Array:
    """A picture about level 0 whose spectrum falls as that of nature does, 8-bit scale."""
    rng = np.random.default_rng(seed)
    down = np.fft.fftfreq(size[0])[:, None]
    across = np.fft.fftfreq(size[1])[None, :]
    radius = np.maximum(np.hypot(down, across), 1.0 / max(size))
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal(size)) / radius**fall).real
    return np.asarray(spread * field / field.std())


def still(count: int, size: tuple[int, int] = SIZE) -> list[Array]:
    """A locked camera: (H, W) each, on the 8-bit scale."""
    return [np.clip(120.0 + texture(size, 1), 20.0, 230.0)] * count


def pan(count: int, step: tuple[int, int] = (3, 11)) -> list[Array]:
    """A fast pan, the same picture shifted by `step` samples from frame to frame."""
    wide = np.clip(120.0 + texture((400, 500), 2), 20.0, 230.0)
    return [
        wide[step[0] * t : step[0] * t + SIZE[0], step[1] * t : step[1] * t + SIZE[1]]
        for t in range(count)
    ]


def parade(count: int) -> list[Array]:
    """Two layers that move against each other, each by a fraction of a sample."""
    front, back = texture((144, 1536), 3), texture((144, 1536), 4)
    rows = np.arange(SIZE[0]) < 72
    frames = []
    for t in range(count):
        left, right = (np.roll(x, s, 1) for x, s in ((front, 23 * t), (back, -37 * t)))
        # Eight samples make one: speeds of 2.9 and 4.6 samples a frame.
        shown = np.where(rows[:, None, None], *(x.reshape(144, 192, 8) for x in (left, right)))
        frames.append(np.clip(120.0 + shown.mean(axis=2), 20.0, 230.0))
    return frames


def span(
    scene: list[Array],
    sigma: float | Callable[[Array], Array],
    form: PixelFormat = YUV420,
    *,
    seed: int = 5,
    chroma: float = 3.0,
) -> list[Frame]:
    """The scene stored in `form` with Gaussian noise; chroma is a paler, smooth picture."""
    rng = np.random.default_rng(seed)
    scale = form.peak / 255.0
    kind = np.uint8 if form.bits == 8 else np.uint16
    across, down = form.sampling
    height, width = scene[0].shape
    picture = Picture(width, height, form)
    frames = []
    for number, clean in enumerate(scene):
        strength = sigma(clean) if callable(sigma) else sigma
        planes = [clean + strength * rng.standard_normal(clean.shape)]
        if form.family == "yuv":
            whole = np.pad(clean, ((0, -height % down), (0, -width % across)), mode="edge")
            rows, columns = whole.shape[0] // down, whole.shape[1] // across
            blocks = whole.reshape(rows, down, columns, across)
            pale = 128.0 + 0.3 * (blocks.mean(axis=(1, 3)) - 128.0)
            planes += [pale + chroma * rng.standard_normal(pale.shape) for _ in range(2)]
        elif form.family == "rgb":
            planes += [clean + strength * rng.standard_normal(clean.shape) for _ in range(2)]
        stored = tuple(np.clip(np.round(p * scale), 0, form.peak).astype(kind) for p in planes)
        frames.append(Frame(stored, picture, number, number, Fraction(1, 25)))
    return frames


def measured(frames: list[Frame]) -> NoiseProfile:
    """The profile of a span that has none before it, on the 8-bit scale."""
    profile = combine(measure_span(frames), None)
    assert profile.luma.shape == profile.chroma.shape == (KNOTS,)
    assert np.isfinite(profile.array()).all()
    return NoiseProfile(255.0 * profile.luma, 255.0 * profile.chroma)


MIDDLE = slice(4, 12)
"""Levels that all scenes show often: 64 to 175."""


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0, 30.0, 50.0])
def test_noise_on_a_still_texture_is_measured(sigma: float) -> None:
    found = measured(span(still(16), sigma, chroma=sigma / 2))
    clipped = 255.0 * known_profile(sigma, 0.0, rgb=False).luma
    np.testing.assert_allclose(found.luma[MIDDLE], clipped[MIDDLE], rtol=0.12)
    np.testing.assert_allclose(found.chroma[MIDDLE], sigma / 2, rtol=0.12)


@pytest.mark.parametrize("scene", [pan, parade])
@pytest.mark.parametrize("sigma", [5.0, 20.0])
def test_motion_everywhere_is_not_taken_for_noise(
    scene: Callable[[int], list[Array]], sigma: float
) -> None:
    found = measured(span(scene(12), sigma))
    np.testing.assert_allclose(found.luma[MIDDLE], sigma, rtol=0.15)
    # Chroma follows an odd motion of luma only to half a sample.
    np.testing.assert_allclose(found.chroma[MIDDLE], 3.0, rtol=0.2)


def test_a_clean_scene_has_next_to_no_noise() -> None:
    soft = np.clip(120.0 + texture((144, 300), 2, fall=2.2), 20.0, 230.0)
    found = measured(span([soft[:, 3 * t : 3 * t + 192] for t in range(12)], 0.0, chroma=0.0))
    assert found.luma[MIDDLE].max() < 0.7
    assert found.chroma[MIDDLE].max() < 0.7


def test_a_clean_photograph_shown_for_long_has_little_noise() -> None:
    soft = [np.clip(120.0 + texture(SIZE, 9, fall=2.2), 20.0, 230.0)] * 12
    assert measured(span(soft, 0.0, chroma=0.0)).luma[MIDDLE].max() < 1.0


def test_noise_that_follows_the_level_gives_a_curve() -> None:
    found = measured(span(still(24), lambda clean: np.sqrt(0.5 * clean)))
    levels = 255.0 * np.linspace(0.0, 1.0, KNOTS)
    np.testing.assert_allclose(found.luma[3:14], np.sqrt(0.5 * levels[3:14]), rtol=0.15)


def test_coarse_grain_is_seen_whole() -> None:
    rng = np.random.default_rng(6)
    frames = []
    for frame in span(still(16), 0.0):
        white = rng.standard_normal(SIZE)
        grain = sum(np.roll(white, (i, j), (0, 1)) for i in range(3) for j in range(3)) / 3.0
        noisy = np.clip(np.round(frame.planes[0] + 8.0 * grain), 0, 255).astype(np.uint8)
        frames.append(replace(frame, planes=(noisy, *frame.planes[1:])))
    np.testing.assert_allclose(measured(frames).luma[MIDDLE], 8.0, rtol=0.15)


@pytest.mark.parametrize("flagged", [True, False])
def test_repeated_frames_do_not_hide_the_noise(flagged: bool) -> None:
    frames = [
        replace(frame, repeat=flagged and bool(again))
        for frame in span(still(8), 10.0)
        for again in range(2)
    ]
    np.testing.assert_allclose(measured(frames).luma[MIDDLE], 10.0, rtol=0.15)


def test_repeats_that_were_coded_anew_do_not_hide_the_noise() -> None:
    rng = np.random.default_rng(7)
    frames = []
    for frame in span(still(10), 10.0):
        again = tuple(
            np.clip(p + rng.integers(-1, 2, p.shape), 0, 255).astype(np.uint8) for p in frame.planes
        )
        frames += [frame, replace(frame, planes=again)]
    np.testing.assert_allclose(measured(frames).luma[MIDDLE], 10.0, rtol=0.15)


def test_blocks_that_a_codec_skipped_do_not_hide_the_noise() -> None:
    rng = np.random.default_rng(8)
    frames: list[Frame] = []
    for frame in span(still(16), 8.0):
        if frames:
            skipped = np.kron(rng.random((9, 12)) < 0.7, np.ones((16, 16), dtype=np.bool_))
            masks = (skipped, skipped[::2, ::2], skipped[::2, ::2])
            planes = tuple(
                np.where(mask, before, now)
                for mask, before, now in zip(masks, frames[-1].planes, frame.planes, strict=True)
            )
            frames.append(replace(frame, planes=planes))
        else:
            frames.append(frame)
    found = measured(frames)
    np.testing.assert_allclose(found.luma[MIDDLE], 8.0, rtol=0.15)
    np.testing.assert_allclose(found.chroma[MIDDLE], 3.0, rtol=0.15)


def test_a_change_of_light_is_not_noise() -> None:
    lit = [scene + 6.0 * t for t, scene in enumerate(still(8))]
    np.testing.assert_allclose(measured(span(lit, 5.0)).luma[MIDDLE], 5.0, rtol=0.15)


def test_black_bars_do_not_hide_the_noise_of_the_dark() -> None:
    dark = [np.clip(scene - 85.0, 17.0, 235.0) for scene in still(12)]
    bare = measured(span(dark, 6.0))
    barred = []
    for frame in span(dark, 6.0):
        luma = frame.planes[0].copy()
        luma[:28] = luma[-28:] = 16
        barred.append(replace(frame, planes=(luma, *frame.planes[1:])))
    np.testing.assert_allclose(measured(barred).luma[1:5], bare.luma[1:5], rtol=0.12)


def test_clipped_white_has_no_noise_and_its_neighbours_keep_theirs() -> None:
    scene = []
    for clean in still(12):
        shown = clean.copy()
        shown[:, :96] = 320.0
        scene.append(shown)
    found = measured(span(scene, 10.0))
    assert found.luma[16] < 0.5
    np.testing.assert_allclose(found.luma[MIDDLE], 10.0, rtol=0.15)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_frames_are_enough(count: int) -> None:
    smooth = [np.clip(120.0 + texture(SIZE, 9, fall=2.2), 20.0, 230.0)] * count
    found = measured(span(smooth, 10.0))
    np.testing.assert_allclose(found.luma[5:11], 10.0, rtol=0.2)
    np.testing.assert_allclose(found.chroma[5:11], 3.0, rtol=0.2)


@pytest.mark.parametrize("form", [YUV422_10, YUV411, YUV444_16])
def test_any_depth_and_sampling(form: PixelFormat) -> None:
    found = measured(span(still(8), 7.0, form))
    np.testing.assert_allclose(found.luma[MIDDLE], 7.0, rtol=0.15)
    np.testing.assert_allclose(found.chroma[MIDDLE], 3.0, rtol=0.15)


def test_gray_has_no_chroma_noise() -> None:
    found = measured(span(still(8), 7.0, GRAY))
    np.testing.assert_allclose(found.luma[MIDDLE], 7.0, rtol=0.15)
    assert not found.chroma.any()


def test_rgb_is_measured_in_ycbcr() -> None:
    found = measured(span(still(8), 12.0, RGB))
    gains = 12.0 * np.sqrt((rgb_to_ycbcr() ** 2).sum(axis=1))
    np.testing.assert_allclose(found.luma[MIDDLE], gains[0], rtol=0.15)
    np.testing.assert_allclose(found.chroma[MIDDLE], np.sqrt((gains[1:] ** 2).mean()), rtol=0.15)


def test_a_tiny_picture_is_measured_roughly() -> None:
    found = measured(span([np.full((17, 33), 120.0)] * 8, 10.0))
    assert 7.0 < found.luma[8] < 13.0
    assert 2.0 < found.chroma[8] < 4.5


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 3)])
@pytest.mark.parametrize("count", [1, 4])
def test_pictures_below_a_block_do_no_harm(size: tuple[int, int], count: int) -> None:
    assert measured(span([np.full(size, 120.0)] * count, 5.0)).luma.max() < 15.0


def test_a_flat_picture_has_no_noise() -> None:
    found = measured(span([np.full(SIZE, 128.0)] * 6, 0.0, chroma=0.0))
    assert not found.array().any()


def test_a_span_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="no frame"):
        measure_span([])


def test_the_measurement_does_not_depend_on_the_frames_before() -> None:
    frames = span(still(6), 5.0)
    moved = [replace(frame, number=frame.number + 90, pts=frame.pts + 90) for frame in frames]
    first, second = measure_span(frames), measure_span(moved)
    np.testing.assert_array_equal(first.variance, second.variance)
    np.testing.assert_array_equal(first.blocks, second.blocks)


def measurement(
    deviation: float, levels: slice = slice(None), blocks: float = 100
) -> NoiseMeasurement:
    """Even noise that was seen at some levels only."""
    variance, seen = (np.zeros((2, KNOTS), dtype=np.float32) for _ in range(2))
    variance[:, levels] = deviation**2
    seen[:, levels] = blocks
    return NoiseMeasurement(variance, seen)


def test_the_span_before_counts_for_as_much_as_it_showed() -> None:
    profile = combine(measurement(0.04), measurement(0.05))
    np.testing.assert_allclose(profile.luma, np.sqrt((0.04**2 + 0.05**2) / 2), rtol=1e-5)


def test_a_wild_span_before_pulls_only_so_far() -> None:
    profile = combine(measurement(0.04), measurement(0.4))
    np.testing.assert_allclose(profile.luma, np.sqrt((0.04**2 + 2 * 0.04**2) / 2), rtol=1e-5)


def test_levels_not_seen_are_filled_from_their_neighbours() -> None:
    profile = combine(measurement(0.04, slice(5, 9)), measurement(0.02, slice(12, 14)))
    np.testing.assert_allclose(profile.luma[:9], 0.04, rtol=1e-5)
    np.testing.assert_allclose(profile.luma[12:], 0.02, rtol=1e-5)
    assert (np.diff(profile.luma[8:13]) < 0).all()


def test_a_rare_level_cannot_pass_for_a_noisy_one() -> None:
    own = measurement(0.02)
    own.variance[:, 12], own.blocks[:, 12] = 0.3**2, 10
    assert combine(own, None).luma[12] < 0.025
