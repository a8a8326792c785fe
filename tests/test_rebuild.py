"""Lost frames made anew, of scenes whose every moment is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import read_frames, samples_of

from vidrepair.batch import Grid, Profiler, Profilers, cut_spans
from vidrepair.engines import make_engine, repair
from vidrepair.frames import FloatArray, Frame, Picture
from vidrepair.models import find_model
from vidrepair.motion_between import estimate_motion
from vidrepair.noise import known_profile
from vidrepair.rebuild import LONGEST, Planes, rebuild, rebuild_lost
from vidrepair.settings import EngineSettings
from vidrepair.tags import pixel_format

SIZE = (96, 144)
STILL = (0.0, 0.0)


def texture(seed: int, size: tuple[int, int] = (260, 320), grain: float = 2.5) -> FloatArray:
    """A smooth random picture, 30 to 225."""
    rough = np.random.default_rng(seed).normal(0.0, 1.0, size).astype(np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), grain)
    return (128.0 + 40.0 * smooth / smooth.std()).clip(30, 225)


def view(picture: FloatArray, down: float, across: float) -> FloatArray:
    """A window of SIZE into a picture, its corner moved to any place."""
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(np.float32)
    return cv2.remap(picture, columns + 80 + across, rows + 80 + down, cv2.INTER_CUBIC)


def panned(time: float, pan: tuple[float, float] = (1.5, -4.25), seed: int = 1) -> FloatArray:
    return view(texture(seed), pan[0] * time, pan[1] * time)


def planes(luma: FloatArray, pix_fmt: str, full: bool = True) -> tuple[Planes, Picture]:
    """The planes of a format; chroma, where there is any, shows what luma does."""
    form = pixel_format(pix_fmt)
    assert form is not None
    scale = form.peak / 255.0
    dtype = np.uint8 if form.bits == 8 else np.uint16
    code = luma * scale
    across, down = form.sampling
    height, width = -(-luma.shape[0] // down) * down, -(-luma.shape[1] // across) * across
    even = np.pad(code, ((0, height - luma.shape[0]), (0, width - luma.shape[1])), mode="edge")
    chroma = even.reshape(height // down, down, width // across, across).mean(axis=(1, 3))
    parts = {"gray": [code], "rgb": [code] * 3, "yuv": [code, chroma, 255 * scale - chroma]}
    made = tuple(part.round().clip(0, form.peak).astype(dtype) for part in parts[form.family])
    return made, Picture(luma.shape[1], luma.shape[0], form, full_range=full)


def psnr(one: FloatArray, other: FloatArray, peak: float = 255.0) -> float:
    error = np.square(one.astype(np.float64) - other).mean()
    return float(10.0 * np.log10(peak**2 / max(error, 1e-9)))


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p16le", "yuv411p", "gray12le", "gbrp", "gbrp14le"]
)
def test_a_pan_is_met_in_every_plane(pix_fmt: str):
    before, picture = planes(panned(0.0), pix_fmt)
    after, _ = planes(panned(1.0), pix_fmt)
    truth, _ = planes(panned(0.5), pix_fmt)
    made = rebuild(before, after, picture, None, 0.5)
    peak = picture.format.peak
    for new, true, old, later in zip(made, truth, before, after, strict=True):
        assert new.dtype == true.dtype
        assert new.shape == true.shape
        mean = (old.astype(np.float64) + later) / 2.0
        best = psnr(new, true, peak)
        assert best > 33.0
        assert best > psnr(mean, true, peak) + 4.5
        assert best > psnr(old, true, peak) + 9.0


def test_a_large_picture_is_met_as_well(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("vidrepair.rebuild._LARGE", 1000)  # what is large takes long
    before, picture = planes(panned(0.0), "yuv420p")
    after, _ = planes(panned(1.0), "yuv420p")
    truth, _ = planes(panned(0.5), "yuv420p")
    forth = np.zeros((2, SIZE[0] // 4, SIZE[1] // 4), np.float32)
    for motion in (None, (forth, forth)):
        for new, true in zip(rebuild(before, after, picture, motion, 0.5), truth, strict=True):
            assert psnr(new, true) > 33.0


@pytest.mark.parametrize("share", [0.2, 0.25, 0.75, 0.9])
def test_a_frame_is_made_where_in_time_it_is(share: float):
    before, picture = planes(panned(0.0), "gray")
    after, _ = planes(panned(1.0), "gray")
    made = rebuild(before, after, picture, None, share)[0]
    at_share = psnr(made, panned(share))
    assert at_share > 38.0
    assert at_share > psnr(made, panned(1.0 - share)) + 10.0


def test_the_motion_is_that_of_the_pan():
    before, after = (panned(time, (3.0, -9.5)) / 255.0 for time in (0.0, 1.0))
    for share in (0.0, 0.5, 1.0):
        field = estimate_motion(before, after, share)
        assert field.shape == (2, SIZE[0] // 4, SIZE[1] // 4)
        # What lies at x + 9.5 in the first frame lies at x in the second.
        inner = field[:, 4:-4, 4:-4].reshape(2, -1)
        assert np.median(inner, axis=1) == pytest.approx([9.5, -3.0], abs=0.1)
        assert np.abs(inner - [[9.5], [-3.0]]).mean() < 0.3


def test_given_motion_helps_where_the_picture_repeats_itself():
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(np.float32)

    def fence(time: float) -> FloatArray:
        return 128.0 + 80.0 * np.sin((columns - 11.0 * time) * (2.0 * np.pi / 16.0)) + 0.0 * rows

    before, picture = planes(fence(0.0), "gray")
    after, _ = planes(fence(1.0), "gray")
    grid = (2, SIZE[0] // 4, SIZE[1] // 4)
    forth = np.zeros(grid, np.float32)
    forth[0] = 11.0
    told = rebuild(before, after, picture, (forth, -forth), 0.5)[0]
    alone = rebuild(before, after, picture, None, 0.5)[0]
    # A shift by 11 of a period of 16 is one by 5 the other way, too.
    assert psnr(told[:, 16:-16], fence(0.5)[:, 16:-16]) > 30.0
    assert psnr(alone[:, 16:-16], fence(0.5)[:, 16:-16]) < 20.0


def test_wrong_motion_that_is_given_does_little_harm():
    before, picture = planes(panned(0.0), "gray")
    after, _ = planes(panned(1.0), "gray")
    rng = np.random.default_rng(5)
    wrong = rng.normal(0.0, 9.0, (2, 2, SIZE[0] // 4, SIZE[1] // 4)).astype(np.float32)
    made = rebuild(before, after, picture, (wrong[0], wrong[1]), 0.5)[0]
    assert psnr(made, panned(0.5)) > 34.0


def test_a_thing_before_another_background():
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(np.float32)

    def shown(time: float) -> FloatArray:
        disc = np.clip(25.0 - np.hypot(rows - 48.0, columns - 60.0 - 6.0 * time), 0.0, 1.0)
        thing = view(texture(7), 0.0, -6.0 * time)
        return disc * thing + (1.0 - disc) * view(texture(8), 0.0, 0.0)

    before, picture = planes(shown(0.0), "gray")
    after, _ = planes(shown(1.0), "gray")
    made = rebuild(before, after, picture, None, 0.5)[0].astype(np.float32)
    mean = (before[0].astype(np.float32) + after[0]) / 2.0
    # All but where the disc hides what the other frame shows.
    assert psnr(made, shown(0.5)) > psnr(mean, shown(0.5)) + 4.0
    still = np.hypot(rows - 48.0, columns - 63.0) > 40.0
    assert np.abs(made - shown(0.5))[still].mean() < 0.5


def test_light_that_changes_is_no_motion():
    def lit(time: float) -> FloatArray:
        return (0.6 + 0.4 * time) * (panned(time) - 30.0) + 30.0

    before, picture = planes(lit(0.0), "gray")
    after, _ = planes(lit(1.0), "gray")
    made = rebuild(before, after, picture, None, 0.5)[0]
    assert psnr(made, lit(0.5)) > 33.0


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p16le", "gbrp10le"])
@pytest.mark.parametrize("share", [0.25, 0.5, 2 / 3])
def test_between_equal_frames_nothing_changes(pix_fmt: str, share: float):
    given, picture = planes(texture(3, (49, 65)), pix_fmt)
    rng = np.random.default_rng(2)
    noisy = tuple(
        (plane + rng.integers(0, 9, plane.shape)).clip(0, picture.format.peak).astype(plane.dtype)
        for plane in given
    )
    made = rebuild(noisy, tuple(plane.copy() for plane in noisy), picture, None, share)
    assert all(np.array_equal(a, b) for a, b in zip(made, noisy, strict=True))


@pytest.mark.parametrize("size", [(1, 1), (1, 33), (2, 3), (5, 4), (17, 23), (47, 21)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv411p", "gbrp10le"])
def test_any_size(size: tuple[int, int], pix_fmt: str):
    rng = np.random.default_rng(4)
    before, picture = planes(rng.uniform(0, 255, size).astype(np.float32), pix_fmt)
    after, _ = planes(rng.uniform(0, 255, size).astype(np.float32), pix_fmt)
    forth = np.zeros((2, 12, 12), np.float32)  # of the padded picture
    for motion in (None, (forth, forth)):
        made = rebuild(before, after, picture, motion, 0.5)
        assert [plane.shape for plane in made] == [plane.shape for plane in before]


def film(
    times: Sequence[int],
    lost: Sequence[int] = (),
    shot: Callable[[int], int] = lambda number: 0,
) -> list[Frame]:
    """Frames that pan; those that are lost show nothing."""
    frames = []
    for number, time in enumerate(times):
        luma = panned(time / 40.0, seed=1 + shot(number))
        shown, picture = planes(0.0 * luma if number in lost else luma, "gray")
        made = Frame(shown, picture, number, time, Fraction(1, 1000), shot=shot(number))
        frames.append(replace(made, lost=number in lost))
    return frames


def unknown(number: int) -> None:
    """The generator's motion, where there is no generator."""


@pytest.mark.parametrize("lost", [[3], [3, 4], [2, 3, 4], [2, 5]])
def test_lost_frames_are_made_of_those_around_them(lost: list[int]):
    frames = film(range(0, 320, 40), lost)
    made = list(rebuild_lost(frames, unknown))
    for old, new in zip(frames, made, strict=True):
        assert new.number == old.number
        assert new.lost == old.lost
        assert new.pts == old.pts
        if old.lost:
            assert psnr(new.luma, panned(old.pts / 40.0)) > 30.0
        else:
            assert new is old


def test_where_a_frame_lies_is_told_by_its_time():
    frames = film([0, 30, 40, 80], [1])
    made = list(rebuild_lost(frames, unknown))
    assert psnr(made[1].luma, panned(0.75)) > 36.0


def test_motion_is_asked_for_at_both_sound_frames_alone():
    asked: list[int] = []

    def motion_of(number: int) -> FloatArray | None:
        asked.append(number)
        return None

    list(rebuild_lost(film(range(0, 400, 40), [3, 4, 7]), motion_of))
    assert asked == [2, 5, 6, 8]


def test_beside_a_cut_the_frame_of_the_same_shot_is_repeated():
    frames = film(range(0, 320, 40), [3, 4], lambda number: int(number > 3))
    made = list(rebuild_lost(frames, unknown))
    assert made[3].planes is made[2].planes
    assert made[4].planes is made[5].planes


def test_of_a_shot_that_is_all_lost_the_nearest_is_taken():
    frames = film(range(0, 320, 40), [3, 4], lambda number: (0, 0, 0, 1, 1, 2, 2, 2)[number])
    made = list(rebuild_lost(frames, unknown))
    assert made[3].planes is made[2].planes
    assert made[4].planes is made[5].planes


def test_at_the_ends_of_a_film_the_nearest_is_repeated():
    frames = film(range(0, 320, 40), [0, 1, 6, 7])
    made = list(rebuild_lost(frames, unknown))
    assert made[0].planes is made[1].planes is made[2].planes
    assert made[6].planes is made[7].planes is made[5].planes


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv411p", "yuv444p16le", "gray12le", "gbrp10le"])
@pytest.mark.parametrize("cut", [False, True])
def test_what_is_protected_stays_in_a_lost_frame(pix_fmt: str, cut: bool):
    size = (47, 61)  # the last chroma sites reach over the edge
    rng = np.random.default_rng(6)
    lost, picture = planes(rng.uniform(0, 255, size).astype(np.float32), pix_fmt)
    mask = np.zeros(size, dtype=bool)
    mask[9:22, 13:30] = mask[46, 60] = mask[33, 5] = True
    frames = []
    for number, time in enumerate((0.0, 0.5, 1.0)):
        shown, _ = planes(panned(time)[: size[0], : size[1]], pix_fmt)
        shot = number // 2 if cut else 0
        frames.append(Frame(shown, picture, number, number, Fraction(1, 25), shot=shot))
    frames[1] = replace(frames[1], planes=lost, lost=True)
    plain = list(rebuild_lost(frames, unknown))[1]
    frames[1] = replace(frames[1], protected=mask)
    made = list(rebuild_lost(frames, unknown))[1]
    for own, free, new in zip(lost, plain.planes, made.planes, strict=True):
        assert new.dtype == own.dtype
        down, across = (round(whole / part) for whole, part in zip(size, own.shape, strict=True))
        margins = ((0, -size[0] % down), (0, -size[1] % across))
        sites = np.pad(mask, margins).reshape(own.shape[0], down, own.shape[1], across)
        stays = sites.any(axis=(1, 3))
        assert np.array_equal(new[stays], own[stays])
        assert np.array_equal(new[~stays], free[~stays])
        assert not np.array_equal(free[stays], own[stays])


def test_a_film_without_a_sound_frame_stays():
    frames = film(range(0, 120, 40), [0, 1, 2])
    for made, given in zip(rebuild_lost(frames, unknown), frames, strict=True):
        assert made.planes is given.planes
        assert not made.lost


@pytest.mark.parametrize("length", [LONGEST, LONGEST + 4])
def test_of_a_long_run_only_so_many_are_held(length: int):
    frames = film(range(0, 40 * (length + 4), 40), range(2, 2 + length))
    read: list[int] = []

    def source() -> Iterator[Frame]:
        for frame in frames:
            read.append(frame.number)
            yield frame

    made = []
    for frame in rebuild_lost(source(), unknown):
        assert len(read) <= frame.number + 1 + LONGEST
        made.append(frame)
    repeated = [frame.number for frame in made if frame.planes is made[1].planes]
    assert repeated == [1, *range(2, 2 + length - LONGEST)]
    assert all(frame.luma.any() for frame in made)


def test_with_the_motion_of_the_generator():
    """As in the pipeline: the lost frame is left out of the span, its neighbours are adjacent."""
    form = pixel_format("yuv420p")
    assert form is not None
    frames = []
    for number in range(8):
        shown, picture = planes(panned(float(number), (2.0, -7.0)), "yuv420p", full=False)
        frames.append(Frame(shown, picture, number, number, Fraction(1, 25)))
    kept = [frame for frame in frames if frame.number != 4]
    fixed = known_profile(2.0, 2.0, rgb=False)
    settings = EngineSettings(threads=1)
    engine = make_engine(find_model("fast"), frames[0].picture, settings, damage=True)
    try:
        profiler = Profiler(lambda _core: None, lambda _own, _before: fixed)
        spans = cut_spans(kept, Grid(2, 64), lambda: Profilers(profiler))
        answers = {one.frame.number: one.repaired for one in repair(spans, engine)}
    finally:
        engine.close()
    before, after = (np.asarray(answers[number].motion) for number in (3, 5))
    inner = (slice(None), slice(4, -4), slice(6, -6))
    assert np.median(before[2:][inner].reshape(2, -1), axis=1) == pytest.approx([14, -4], abs=1.0)
    assert np.median(after[:2][inner].reshape(2, -1), axis=1) == pytest.approx([-14, 4], abs=1.0)
    made = rebuild(kept[3].planes, kept[4].planes, picture, (before[2:], after[:2]), 0.5)
    assert psnr(made[0], frames[4].luma) > psnr(frames[3].luma, frames[4].luma) + 10.0


def test_a_real_clip(samples: Path):
    """One frame and three in a row are missing; a plain repeat of the last good one is beaten."""
    shown = read_frames(samples / "bunny_clean.mp4")
    gains = []
    for first, count in ((20, 1), (60, 1), (60, 3)):
        cut = [
            (samples_of(frame)[0][160:352, 280:568],)
            for frame in shown[first - 1 : first + count + 1]
        ]
        form = pixel_format("gray")
        assert form is not None
        picture = Picture(288, 192, form)
        for number in range(1, count + 1):
            made = rebuild(cut[0], cut[-1], picture, None, number / (count + 1))[0]
            repeat = psnr(cut[0][0], cut[number][0])
            gains.append(psnr(made, cut[number][0]) - repeat)
    assert min(gains) > 0.0
    assert np.mean(gains) > 3.0
