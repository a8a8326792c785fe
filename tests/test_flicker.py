"""Known flicker put on made clips and taken off again; what is no flicker stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from vidrepair.flicker import REACH, SHOWN, deflicker, measure_light
from vidrepair.frames import Frame, Picture, PixelFormat

Array = NDArray[np.floating]
Scene = Callable[[], list[Array]]
SIZE = (144, 192)
COUNT = 48
YUV420 = PixelFormat("yuv420p", "yuv", 8, (2, 2))
GRAY = PixelFormat("gray", "gray", 8)
FORMATS = [
    (YUV420, False),
    (YUV420, True),
    (PixelFormat("yuv422p10le", "yuv", 10, (2, 1)), False),
    (PixelFormat("yuv444p16le", "yuv", 16), True),
    (GRAY, True),
    (PixelFormat("gray12le", "gray", 12), False),
    (PixelFormat("gbrp", "rgb", 8), True),
    (PixelFormat("gbrp10le", "rgb", 10), True),
]
CURVE = np.random.default_rng(1).uniform(-1.0, 1.0, COUNT)
"""A flicker from frame to frame, -1 to 1."""


def texture(size: tuple[int, int], seed: int) -> Array:
    """A picture 0.1 to 0.8 whose spectrum falls as that of nature does."""
    rng = np.random.default_rng(seed)
    down, across = (np.fft.fftfreq(n) for n in size)
    radius = np.maximum(np.hypot(down[:, None], across[None, :]), 1.0 / max(size))
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal(size)) / radius**1.4).real
    return np.asarray(np.clip(0.42 + 0.15 * field / field.std(), 0.1, 0.8))


def still(count: int = COUNT, size: tuple[int, int] = SIZE) -> list[Array]:
    """A locked camera: luma above black, 0..1."""
    return [texture(size, 2)] * count


def moving(count: int = COUNT) -> list[Array]:
    """A camera that pans across the picture in four seconds while a bright thing crosses it."""
    wide = texture((200, 400), 3)
    scene = []
    for t in range(count):
        shown = wide[t // 2 : t // 2 + SIZE[0], 2 * t : 2 * t + SIZE[1]].copy()
        shown[60:100, max(7 * t - 30, 0) : 7 * t] = 0.75
        scene.append(shown)
    return scene


def clip(
    scene: Sequence[Array], form: PixelFormat = YUV420, *, full: bool = False, start: int = 0
) -> list[Frame]:
    """The scene stored in `form`; its colours are as far from gray as the scene is bright."""
    peak = form.peak
    black, white = (0, peak) if full else (16 << (form.bits - 8), 235 << (form.bits - 8))
    across, down = form.sampling
    picture = Picture(scene[0].shape[1], scene[0].shape[0], form, full_range=full)
    frames = []
    for number, luma in enumerate(scene, start):
        planes = [black + (white - black) * luma]
        if form.family == "yuv":
            colour = (white - black) * luma[::down, ::across]
            planes += [(peak + 1) / 2 + 0.3 * colour, (peak + 1) / 2 - 0.2 * colour]
        elif form.family == "rgb":
            planes = [black + (white - black) * share * luma for share in (1.0, 0.8, 0.6)]
        whole = [np.clip(np.rint(plane), 0, peak) for plane in planes]
        kept = [p.astype(np.uint8) if form.bits == 8 else p.astype(np.uint16) for p in whole]
        frames.append(Frame(tuple(kept), picture, number, number, Fraction(1, 25)))
    return frames


def levels(frames: Sequence[Frame], part: slice = slice(None)) -> Array:
    """The mean luma above black of each frame, limited range, 8 bits."""
    return np.array([frame.planes[0][:, part].astype(float).mean() - 16.0 for frame in frames])


def left_over(frames: Sequence[Frame], clean: Sequence[Frame], part: slice = slice(None)) -> Array:
    """How the light of each frame deviates from that of the clean clip, as a share of it."""
    ratio = levels(frames, part) / levels(clean, part)
    return np.asarray(ratio / ratio.mean() - 1.0)


def assert_steady(left: Array, amplitude: float, most: float = 0.1) -> None:
    """Within a tenth of the amplitude, and even less from frame to frame."""
    assert np.sqrt(np.square(left).mean()) < most * amplitude
    assert np.sqrt(np.square(np.diff(left)).mean()) < most * amplitude


@pytest.mark.parametrize("scene", [still, moving])
@pytest.mark.parametrize(
    "curve",
    [CURVE, (-1.0) ** np.arange(COUNT), np.sin(np.arange(COUNT) * 2.0 * np.pi / 7.7)],
    ids=["random", "alternating", "crank"],
)
def test_flicker_of_the_whole_picture_is_removed(scene: Scene, curve: Array) -> None:
    pictures = scene()
    lit = [(1.0 + 0.08 * c) * shown for c, shown in zip(curve, pictures, strict=True)]
    before = left_over(clip(lit), clip(pictures))
    assert np.abs(before).max() > 0.06
    assert_steady(left_over(list(deflicker(clip(lit), 1.0)), clip(pictures)), 0.08)


def test_flicker_of_the_contrast_is_removed_at_every_level() -> None:
    pictures = moving()
    lit = [
        (1.0 + 0.05 * a) * shown ** (1.0 + 0.08 * b)
        for a, b, shown in zip(CURVE, CURVE[::-1], pictures, strict=True)
    ]
    clean, flickering = clip(pictures), clip(lit)
    steadied = list(deflicker(flickering, 1.0))
    for low, high in ((20, 80), (80, 140), (140, 200)):
        errors = []
        for frames in (flickering, steadied):
            error = [
                (a.luma.astype(float) - b.luma)[(b.luma >= low) & (b.luma < high)].mean()
                for a, b in zip(frames, clean, strict=True)
            ]
            errors.append(np.diff(error).std())
        assert errors[1] < 0.15 * errors[0]


def test_flicker_of_one_side_is_removed_there_and_the_other_stays() -> None:
    pictures = moving()
    share = np.clip((0.75 - np.linspace(0.0, 1.0, SIZE[1])) / 0.5, 0.0, 1.0)
    lit = [(1.0 + 0.08 * c * share) * p for c, p in zip(CURVE, pictures, strict=True)]
    clean, steadied = clip(pictures), list(deflicker(clip(lit), 1.0))
    left, middle, right = slice(0, 48), slice(72, 120), slice(168, 192)
    assert_steady(left_over(steadied, clean, left), 0.08, most=0.13)
    assert_steady(left_over(steadied, clean, middle), 0.08, most=0.13)
    assert_steady(left_over(steadied, clean, right), 0.08)


def test_grain_and_dust_do_not_hide_flicker() -> None:
    rng = np.random.default_rng(4)
    pictures = moving()
    lit, shown = [], []
    for c, picture in zip(CURVE, pictures, strict=True):
        grainy = picture + 4.0 / 219.0 * rng.standard_normal(SIZE)
        dust = np.zeros(SIZE, dtype=np.bool_)
        for row, column in zip(rng.integers(0, 136, 12), rng.integers(0, 184, 12), strict=True):
            dust[row : row + 8, column : column + 6] = True
        # Dust lies on the film: it does not flicker.
        shown.append(np.where(dust, 0.95, grainy))
        lit.append(np.where(dust, 0.95, (1.0 + 0.08 * c) * grainy))
    assert_steady(left_over(list(deflicker(clip(lit), 1.0)), clip(shown)), 0.08, most=0.12)


def fades() -> Iterator[tuple[str, Array]]:
    """Courses of light that belong to a film."""
    t = np.arange(COUNT)
    yield "in", np.clip(t / 20.0, 0.0, 1.0)
    yield "out", np.clip((COUNT - 1 - t) / 12.0, 0.0, 1.0)
    yield "smooth", 0.55 - 0.45 * np.cos(np.pi * np.clip((t - 10) / 24.0, 0.0, 1.0))
    yield "slow", 1.0 - 0.008 * t
    yield "step", 1.0 - 0.3 * (t >= 21)


@pytest.mark.parametrize(("name", "fade"), list(fades()))
@pytest.mark.parametrize("scene", [still, moving])
def test_a_fade_and_a_lasting_step_stay(name: str, fade: Array, scene: Scene) -> None:
    pictures = scene()
    frames = clip([f * shown for f, shown in zip(fade, pictures, strict=True)])
    for given, made in zip(frames, deflicker(frames, 1.0), strict=True):
        assert np.abs(given.luma.astype(int) - made.luma).max() <= 1, name


def test_a_fade_that_flickers_keeps_its_course() -> None:
    fade = np.clip(np.arange(COUNT) / 30.0, 0.05, 1.0)
    pictures = moving()
    faded = [f * shown for f, shown in zip(fade, pictures, strict=True)]
    lit = [(1.0 + 0.05 * c) * shown for c, shown in zip(CURVE, faded, strict=True)]
    error = levels(list(deflicker(clip(lit), 1.0))) - levels(clip(faded))
    before = levels(clip(lit)) - levels(clip(faded))
    assert np.diff(error).std() < 0.5 * np.diff(before).std()
    assert np.abs(error).max() < 4.0


def test_a_clean_clip_is_handed_on() -> None:
    for pictures in (still(), moving()):
        frames = clip(pictures)
        assert all(a is b for a, b in zip(frames, deflicker(frames, 1.0), strict=True))


def test_a_flash_is_no_flicker() -> None:
    pictures = [shown.copy() for shown in moving()]
    pictures[20][:, 100:] = np.minimum(1.6 * pictures[20][:, 100:], 1.0)
    frames = clip(pictures)
    for given, made in zip(frames, deflicker(frames, 1.0), strict=True):
        np.testing.assert_array_equal(given.luma, made.luma)


def test_a_flash_does_not_keep_flicker_from_being_removed() -> None:
    pictures = [shown.copy() for shown in moving()]
    lit = [(1.0 + 0.08 * c) * shown for c, shown in zip(CURVE, pictures, strict=True)]
    for scene in (pictures, lit):
        scene[20][:, 120:] = 1.0
    made = list(deflicker(clip(lit), 1.0))
    left = left_over(made, clip(pictures), slice(0, 96))
    assert_steady(np.delete(left, 20), 0.08, most=0.12)


def test_a_flash_in_a_film_that_flickers_stays_a_flash() -> None:
    lit = [(1.0 + 0.04 * c) * shown for c, shown in zip(CURVE, still(), strict=True)]
    lit[20] = 1.3 * lit[20]
    frames = clip(lit)
    made = list(deflicker(frames, 1.0))
    assert levels(made)[20] == pytest.approx(levels(frames)[20], rel=0.01)
    assert_steady(np.delete(left_over(made, clip(still())), 20), 0.04, most=0.25)


def shots() -> list[Frame]:
    """Two shots with flicker of their own and another exposure."""
    first = [(1.0 + 0.08 * c) * p for c, p in zip(CURVE, moving(), strict=True)]
    second = [0.5 * (1.0 - 0.08 * c) * p for c, p in zip(CURVE, still(), strict=True)]
    one, two = clip(first[:29]), clip(second[:31], start=29)
    return [*one, *(replace(frame, shot=1) for frame in two)]


def test_nothing_goes_across_a_cut() -> None:
    frames = shots()
    together = list(deflicker(frames, 1.0))
    alone = [*deflicker(frames[:29], 1.0), *deflicker(frames[29:], 1.0)]
    assert together[28].planes is not frames[28].planes
    for one, other in zip(together, alone, strict=True):
        assert (one.number, one.shot) == (other.number, other.shot)
        for a, b in zip(one.planes, other.planes, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("end", [slice(0, 6), slice(COUNT - 6, COUNT)])
def test_the_ends_of_a_shot_are_steady(end: slice) -> None:
    pictures = moving()
    lit = [(1.0 + 0.08 * c) * shown for c, shown in zip(CURVE, pictures, strict=True)]
    made = list(deflicker(clip(lit), 1.0))
    left = left_over(made[end], clip(pictures)[end])
    assert np.abs(np.diff(left)).max() < 0.012


def test_a_frame_depends_on_nothing_out_of_reach() -> None:
    lit = [(1.0 + 0.08 * c) * p for c, p in zip(CURVE, moving(), strict=True)]
    frames = clip(lit)
    whole = list(deflicker(frames, 1.0))
    later = list(deflicker(frames[8 : 8 + 2 * REACH + 4], 1.0))
    for number in range(8 + REACH, 8 + REACH + 4):
        for a, b in zip(whole[number].planes, later[number - 8].planes, strict=True):
            np.testing.assert_array_equal(a, b)


def repeated(frames: Sequence[Frame], times: int) -> list[Frame]:
    """Every frame shown so many times."""
    shown = [(frame, again) for frame in frames for again in range(times)]
    return [
        replace(frame, number=number, pts=number, repeat=again > 0)
        for number, (frame, again) in enumerate(shown)
    ]


def test_repeats_stay_repeats_and_do_not_count() -> None:
    lit = [(1.0 + 0.08 * c) * p for c, p in zip(CURVE[:30], moving(30), strict=True)]
    once = list(deflicker(clip(lit), 1.0))
    twice = list(deflicker(repeated(clip(lit), 2), 1.0))
    assert [frame.number for frame in twice] == list(range(60))
    assert all(b.planes is a.planes for a, b in zip(twice[::2], twice[1::2], strict=True))
    for a, b in zip(once, twice[::2], strict=True):
        np.testing.assert_array_equal(a.luma, b.luma)


@pytest.mark.parametrize(("times", "held"), [(1, REACH + 1), (2, SHOWN + 1), (20, SHOWN + 1)])
def test_few_frames_are_held(times: int, held: int) -> None:
    read = 0

    def source() -> Iterator[Frame]:
        nonlocal read
        for frame in repeated(clip(still(40, (8, 8))), times):
            read += 1
            yield frame

    given = 0
    for _ in deflicker(source(), 1.0):
        given += 1
        assert read - given < held
    assert given == 40 * times


@pytest.mark.parametrize(("form", "full"), FORMATS)
def test_any_format(form: PixelFormat, full: bool) -> None:
    size = (97, 131)
    pictures = [shown.copy() for shown in still(24, size)]
    for shown in pictures:
        shown[:10, :10] = 0.0
    lit = [(1.0 + 0.08 * c) * p for c, p in zip(CURVE[:24], pictures, strict=True)]
    frames = clip(lit, form, full=full)
    kept = [[plane.copy() for plane in frame.planes] for frame in frames]
    made = list(deflicker(frames, 1.0))
    zero = 0 if full else 16 << (form.bits - 8)
    for index, plane in enumerate(frames[0].planes):
        neutral = (form.peak + 1) / 2 if index and form.family == "yuv" else zero
        means = [
            np.array([(f.planes[index].astype(float) - neutral).mean() for f in some])
            for some in (frames, made)
        ]
        before, after = (np.diff(mean / mean.mean()).std() for mean in means)
        assert before > 0.03
        # A fifth of a code more, for paler colours are rounded twice.
        assert after < 0.1 * before + 0.2 * form.peak / 255.0 / abs(means[0].mean()) * (index > 0)
        assert all(f.planes[index].shape == plane.shape for f in made)
        assert all(f.planes[index].dtype == plane.dtype for f in made)
    for frame, (luma, *colours) in zip(made, kept, strict=True):
        assert (frame.planes[0][:10, :10] == luma[:10, :10]).all()
        if form.family == "yuv":
            # No light, no colour: neutral stays neutral.
            assert (frame.planes[1][:4, :4] == colours[0][:4, :4]).all()
    for frame, planes in zip(frames, kept, strict=True):
        for a, b in zip(frame.planes, planes, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 40), (25, 33)])
@pytest.mark.parametrize("count", [1, 2, 4, 5, 9, 40])
def test_small_pictures_and_short_shots_do_no_harm(size: tuple[int, int], count: int) -> None:
    lit = [np.full(size, 0.5 * (1.0 + 0.1 * (-1.0) ** t)) for t in range(count)]
    for form in (YUV420, GRAY):
        frames = clip(lit, form)
        made = list(deflicker(frames, 1.0))
        assert [frame.number for frame in made] == list(range(count))
        if count == 40:
            assert levels(made).std() < 0.15 * levels(frames).std()


def test_black_frames_stay() -> None:
    frames = clip([np.zeros(SIZE)] * 8)
    assert all(a is b for a, b in zip(frames, deflicker(frames, 1.0), strict=True))


def test_strength_is_a_share() -> None:
    lit = [(1.0 + 0.08 * c) * p for c, p in zip(CURVE, still(), strict=True)]
    frames = clip(lit)
    assert all(a is b for a, b in zip(frames, deflicker(frames, 0.0), strict=True))
    half = left_over(list(deflicker(frames, 0.5)), clip(still()))
    whole = left_over(frames, clip(still()))
    assert 0.4 < np.diff(half).std() / np.diff(whole).std() < 0.6


def test_the_light_is_told() -> None:
    lit = [(1.0 + 0.08 * c) * p for c, p in zip(CURVE, moving(), strict=True)]
    pairs = list(measure_light(clip(lit)))
    assert [light.number for _, light in pairs] == list(range(COUNT))
    gains = np.array([light.gain for _, light in pairs])
    np.testing.assert_allclose(np.diff(gains), np.diff(0.08 * CURVE), atol=0.02)
