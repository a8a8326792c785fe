"""Lasting scratches against lines that the test itself has drawn, and pictures that hold none."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from vidrepair.frames import Frame, NoiseProfile, Picture, PixelFormat, Plane
from vidrepair.lines import Drift, Line, LineEvidence, LineMeasurement, Sight
from vidrepair.planes import to_generator
from vidrepair.scratch_fill import line_fill, line_matte
from vidrepair.scratch_runs import find_lines, judge
from vidrepair.scratches import measure_lines

Array = NDArray[np.float64]
COUNT = 14
SIZE = (192, 288)
YUV420 = PixelFormat("yuv420p", "yuv", 8, (2, 2))
GRAY = PixelFormat("gray", "gray", 8)
FORMATS = [
    YUV420,
    GRAY,
    PixelFormat("yuv422p10le", "yuv", 10, (2, 1)),
    PixelFormat("yuv444p16le", "yuv", 16),
    PixelFormat("gbrp", "rgb", 8),
]


@dataclass(frozen=True, slots=True)
class Scratch:
    """A line from top to bottom, drawn as the share of each sample that it covers."""

    column: float
    tremble: float = 0.35
    tilt: float = 0.004
    width: float = 2.2
    opacity: float = 0.7
    paint: float = 20.0
    rows: tuple[float, float] = (0.0, 1.0)
    """As shares of the height."""
    wander: float = 0.0
    """Columns that it goes to either side, within 40 frames."""

    def centres(self, count: int) -> Array:
        """The column at half the height of each frame."""
        shaken = np.random.default_rng(round(self.column)).standard_normal(count)
        wandered = self.wander * np.sin(2.0 * np.pi * np.arange(count) / 40.0)
        return self.column + self.tremble * shaken + wandered

    def cover(self, size: tuple[int, int], centre: float) -> Array:
        """(H, W) opacity."""
        rows, columns = np.mgrid[: size[0], : size[1]]
        distance = np.abs(columns - centre - self.tilt * (rows - size[0] / 2))
        there = (rows >= self.rows[0] * size[0]) & (rows < self.rows[1] * size[0])
        return np.asarray(self.opacity * there * np.clip(0.5 * self.width + 0.5 - distance, 0, 1))


def texture(size: tuple[int, int], seed: int, *, fall: float = 1.6) -> Array:
    """A picture whose spectrum falls as that of nature does, 8-bit scale."""
    rng = np.random.default_rng(seed)
    down, across = np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None, :]
    radius = np.maximum(np.hypot(down, across), 1.0 / max(size))
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal(size)) / radius**fall).real
    return np.asarray(np.clip(125.0 + 32.0 * field / max(field.std(), 1e-9), 25.0, 225.0))


def pan(
    step: float,
    size: tuple[int, int] = SIZE,
    *,
    count: int = COUNT,
    draw: Callable[[Array], None] | None = None,
) -> list[Array]:
    """Frames (H, W) of a picture that moves to the left by `step` samples a frame.

    `draw` adds things to the wide picture, which move with it.
    """
    wide = texture((size[0], size[1] + 2 * COUNT * 8), 3)
    if draw is not None:
        draw(wide)
    columns = np.arange(size[1], dtype=float)
    at = [columns + step * t for t in range(count)]
    left = [np.floor(one).astype(int) for one in at]
    part = [one - whole for one, whole in zip(at, left, strict=True)]
    return [
        wide[:, whole] * (1.0 - share) + wide[:, whole + 1] * share
        for whole, share in zip(left, part, strict=True)
    ]


def scratched(scene: list[Array], scratch: Scratch) -> list[Array]:
    """The scene with one line on all of its frames."""
    covers = [scratch.cover(scene[0].shape, c) for c in scratch.centres(len(scene))]
    return [
        clean + cover * (scratch.paint - clean) for clean, cover in zip(scene, covers, strict=True)
    ]


def stored(
    scene: list[Array], form: PixelFormat = GRAY, *, sigma: float = 2.0, first: int = 0
) -> list[Frame]:
    """The scene in limited range with a little noise; chroma is a paler copy of it."""
    rng = np.random.default_rng(5)
    across, down = form.sampling
    height, width = scene[0].shape
    frames = []
    for number, clean in enumerate(scene, first):
        limited = 16.0 + clean * 219.0 / 255.0
        planes = [limited + sigma * rng.standard_normal(clean.shape)]
        if form.family == "yuv":
            whole = np.pad(limited, ((0, -height % down), (0, -width % across)), mode="edge")
            blocks = whole.reshape(whole.shape[0] // down, down, -1, across)
            planes += [128.0 + 0.2 * (blocks.mean(axis=(1, 3)) - 128.0)] * 2
        elif form.family == "rgb":
            planes += [limited + sigma * rng.standard_normal(clean.shape) for _ in range(2)]
        scaled = [np.clip(np.round(p * form.peak / 255.0), 0, form.peak) for p in planes]
        codes = tuple(as_stored(plane, form) for plane in scaled)
        frames.append(Frame(codes, Picture(width, height, form), number, number, Fraction(1, 25)))
    return frames


def as_stored(plane: Array, form: PixelFormat) -> Plane:
    """Codes in the type that holds them."""
    return plane.astype(np.uint8) if form.bits == 8 else plane.astype(np.uint16)


def evidence(frames: list[Frame]) -> LineEvidence:
    """Of a shot of one span."""
    return judge(measure_lines(frames), None)


def lines(frames: list[Frame]) -> list[list[Line]]:
    """What is found on each frame."""
    known = evidence(frames)
    return [find_lines(frame, known) for frame in frames]


def generator_picture(frame: Frame) -> NDArray[np.float32]:
    """(3, H, W) in the generator's unit, without padding."""
    out = np.zeros((3, frame.picture.height, frame.picture.width), dtype=np.float32)
    to_generator(frame.planes, frame.picture, out)
    return out


def assert_found(frames: list[Frame], scratch: Scratch) -> None:
    """One line in every frame, of the right place and kind, over nine tenths of the rows."""
    found = lines(frames)
    centres = scratch.centres(len(frames))
    height = frames[0].picture.height
    for pieces, centre in zip(found, centres, strict=True):
        assert sum(piece.last - piece.first for piece in pieces) >= 0.85 * height
        for piece in pieces:
            middle = piece.column + piece.slope * (height / 2)
            assert abs(middle - centre) < 0.6
            assert piece.bright == (scratch.paint > 128.0)
            assert abs(piece.width - scratch.width) < 1.0
            assert piece.confidence >= 0.5


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_scratch_is_found_in_a_pan_at_any_depth_and_family(form: PixelFormat) -> None:
    scratch = Scratch(140.3)
    assert_found(stored(scratched(pan(2.7), scratch), form), scratch)


@pytest.mark.parametrize(
    "scratch",
    [
        Scratch(90.0, paint=240.0, opacity=0.6),
        Scratch(201.4, width=1.2, opacity=0.9),
        Scratch(150.0, tilt=0.05, width=3.0),
        Scratch(150.0, tremble=0.05),
    ],
    ids=["bright", "thin", "leaning", "calm"],
)
def test_scratches_of_several_kinds_are_found(scratch: Scratch) -> None:
    assert_found(stored(scratched(pan(1.6), scratch)), scratch)


def test_a_scratch_that_trembles_is_found_on_a_still_picture() -> None:
    scratch = Scratch(140.3, tremble=0.4)
    assert_found(stored(scratched(pan(0.0), scratch)), scratch)


@pytest.mark.parametrize("step", [0.0, 0.3])
def test_a_scratch_that_wanders_smoothly_is_found(step: float) -> None:
    scratch = Scratch(140.3, tremble=0.0, wander=3.5)
    assert_found(stored(scratched(pan(step, count=40), scratch)), scratch)


def before_a_sky(scene: list[Array]) -> list[Array]:
    """The scene with a plain sky over its upper two thirds."""
    sky = 2 * SIZE[0] // 3
    return [np.vstack([np.full((sky, SIZE[1]), 190.0), shown[sky:]]) for shown in scene]


def test_a_scratch_before_a_plain_sky_is_told_by_the_rest_of_the_picture() -> None:
    scratch = Scratch(140.3, tremble=0.0, wander=3.5)
    assert_found(stored(scratched(before_a_sky(pan(0.6, count=40)), scratch)), scratch)


@pytest.mark.parametrize("nearer", [0.5, 1.0, 1.8])
def test_a_wire_before_a_plain_sky_goes_as_the_picture_goes(nearer: float) -> None:
    held = 6.0 + 4.0 * np.sin(2.0 * np.pi * np.arange(40) / 40.0)
    wide = texture((SIZE[0], SIZE[1] + 16), 3)
    columns = np.arange(SIZE[1])
    scene = []
    for place in held:
        whole, part = int(place), place % 1.0
        left, right = wide[:, columns + whole], wide[:, columns + whole + 1]
        scene.append(left * (1.0 - part) + right * part)
    away = [np.abs(np.arange(SIZE[1]) - 150.0 + nearer * place) for place in held]
    wires = [np.clip(1.5 - distance, 0.0, 1.0) for distance in away]
    skies = before_a_sky(scene)
    frames = stored([sky + wire * (20.0 - sky) for sky, wire in zip(skies, wires, strict=True)])
    assert any(len(run) == len(frames) for run in measure_lines(frames).runs)
    assert not evidence(frames).runs


@pytest.mark.parametrize("size", [(151, 233), (540, 1501)])
def test_any_size_will_do(size: tuple[int, int]) -> None:
    scratch = Scratch(0.4 * size[1], width=0.008 * size[1], tremble=0.0025 * size[1])
    frames = stored(scratched(pan(0.012 * size[1], size, count=10), scratch))
    found = lines(frames)
    for pieces, centre in zip(found, scratch.centres(10), strict=True):
        assert pieces
        assert all(abs(p.column + p.slope * size[0] / 2 - centre) < 1.0 for p in pieces)


def test_a_scratch_on_a_part_of_the_height_is_marked_there_alone() -> None:
    scratch = Scratch(140.3, rows=(0.3, 0.95))
    frames = stored(scratched(pan(2.7), scratch))
    for pieces in lines(frames):
        assert pieces
        assert min(piece.first for piece in pieces) >= 0.3 * SIZE[0] - 16
        assert max(piece.last for piece in pieces) <= 0.95 * SIZE[0] + 16


def poles(wide: Array) -> None:
    """Vertical bars of several widths and tones over the whole height."""
    for index, column in enumerate(range(40, wide.shape[1], 57)):
        wide[:, column : column + 2 + index % 4] = (12.0, 228.0)[index % 2]


def board(wide: Array) -> None:
    """Squares of 12 samples."""
    rows, columns = np.indices(wide.shape) // 12
    wide[...] = 60.0 + 120.0 * ((rows + columns) % 2)


def blinds(wide: Array) -> None:
    """Thin bars side by side."""
    wide[:, ::9] = 30.0
    wide[:, 1::9] = 30.0


@pytest.mark.parametrize("draw", [poles, board, blinds, None])
@pytest.mark.parametrize("step", [0.0, 0.3, 1.0, 2.7])
def test_what_belongs_to_the_picture_is_left_alone(
    draw: Callable[[Array], None] | None, step: float
) -> None:
    assert not evidence(stored(pan(step, draw=draw))).runs


def test_poles_of_a_picture_that_weaves_are_left_alone() -> None:
    shaken = np.random.default_rng(1).uniform(0.0, 4.0, COUNT)
    wide = pan(1.0, count=5, draw=poles)
    scene = []
    for place in shaken:
        whole, part = int(place), place % 1.0
        following = wide[min(whole + 1, 4)]
        scene.append(wide[whole] * (1.0 - part) + following * part)
    assert not evidence(stored(scene)).runs


def test_a_pole_that_something_passes_behind_is_left_alone() -> None:
    still, moving = pan(0.0), pan(2.7)
    scene = []
    for behind, ahead in zip(still, moving, strict=True):
        shown = behind.copy()
        shown[90:150] = ahead[90:150]
        shown[:, 140:143] = 15.0
        scene.append(shown)
    assert not evidence(stored(scene)).runs


def test_bars_and_borders_are_no_scratches() -> None:
    scene = pan(2.7)
    for shown in scene:
        shown[:, :30] = shown[:, -30:] = 0.0
        shown[:20] = shown[-20:] = 0.0
        shown[:, 30:32] = 235.0  # as sharpening leaves it
        shown[:, :2] = 200.0
    assert not evidence(stored(scene)).runs


def test_streaks_of_single_frames_and_letters_are_no_scratches() -> None:
    rng = np.random.default_rng(8)
    scene = pan(1.6)
    for shown in scene:
        for column in rng.integers(20, SIZE[1] - 20, 6):
            shown[:, column : column + 2] += 40.0
        for column in range(60, 230, 12):
            shown[150:170, column : column + 3] = 235.0
    assert not evidence(stored(scene)).runs


def even_noise(sigma: float) -> NoiseProfile:
    """The same deviation of luma and chroma at all levels, in 8-bit codes."""
    curve = np.full(17, sigma / 255.0, np.float32)
    return NoiseProfile(curve, curve)


def errors(before: Array, scene: list[Array], at: int) -> Array:
    """Squared errors of a frame in the generator's unit against its clean picture."""
    return np.asarray(np.square(before - (16.0 + scene[at] * 219.0 / 255.0) / 255.0))


@pytest.mark.parametrize("opacity", [0.5, 0.95])
def test_what_is_below_a_scratch_comes_back(opacity: float) -> None:
    scene, scratch = pan(2.7), Scratch(140.3, opacity=opacity)
    frames = stored(scratched(scene, scratch))
    found = lines(frames)
    gains = []
    for at in range(0, COUNT, 3):
        picture = generator_picture(frames[at])
        matte = line_matte(found[at], frames[at].picture)
        filled = line_fill(picture, found[at])
        result = (1.0 - matte) * picture + matte * filled
        inside = scratch.cover(SIZE, scratch.centres(COUNT)[at]) > 0.02
        wrong, right = (errors(one[0], scene, at)[inside].mean() for one in (picture, result))
        gains.append(10.0 * np.log10(wrong / right))
        np.testing.assert_array_equal(result[:, matte == 0.0], picture[:, matte == 0.0])
    assert np.mean(gains) > 8.0


def test_a_translucent_scratch_keeps_the_detail_below() -> None:
    fine = [clean + 12.0 * np.sin(np.arange(SIZE[0]) * 1.9)[:, None] for clean in pan(2.7)]
    for clean in fine:
        # Detail that the sides do not show: a dotted column.
        clean[::6, 139:142] += 30.0
    line = Line(140.0, 0.0, 3.0, False, 40.0, 0, SIZE[0], 1.0)
    cover = Scratch(140.0, tilt=0.0, width=3.0, opacity=0.4).cover(SIZE, 140.0)
    shown = fine[0] + cover * (20.0 - fine[0])
    (frame,) = stored([shown], sigma=0.0)
    noise = even_noise(2.0)
    filled = line_fill(generator_picture(frame), [line], noise=noise)
    inside = cover > 0.0
    truth = (16.0 + fine[0] * 219.0 / 255.0) / 255.0
    assert np.corrcoef(filled[0][inside], truth[inside])[0, 1] > 0.9


@pytest.mark.parametrize("opacity", [0.4, 0.7, 1.0])
def test_a_filled_line_is_as_noisy_as_its_sides(opacity: float) -> None:
    (clean,), sigma = pan(0.0, count=1), 6.0
    scratch = Scratch(140.0, tilt=0.0, width=5.0, opacity=opacity)
    (clear,) = stored([clean], sigma=0.0)
    (frame,) = stored(scratched([clean], scratch), sigma=sigma)
    line = Line(140.0, 0.0, 5.0, False, 90.0, 0, SIZE[0], 1.0)
    noise = even_noise(sigma)
    filled = line_fill(generator_picture(frame), [line], noise=noise)
    away = 255.0 * (filled[0] - generator_picture(clear)[0])
    rough = away - np.apply_along_axis(
        lambda one: np.convolve(one, np.ones(7) / 7, "same"), 0, away
    )
    deviations = rough[8:-8].std(axis=0)
    assert deviations[138:143].mean() == pytest.approx(deviations[160:200].mean(), rel=0.25)
    quiet = line_fill(generator_picture(frame), [line], noise=even_noise(0.0))
    assert np.abs(quiet - filled).max() > 0.01


def test_neighbours_fill_what_an_opaque_scratch_covers() -> None:
    clean = texture(SIZE, 9, fall=0.9)
    line = Line(140.0, 0.0, 7.0, False, 90.0, 0, SIZE[0], 1.0)
    cover = Scratch(140.0, tilt=0.0, width=7.0, opacity=1.0).cover(SIZE, 140.0)
    shown, beside, other = stored(
        [clean * (1.0 - cover) + 20.0 * cover, clean + 4.0, texture(SIZE, 10)]
    )
    picture, neighbour, foreign = (generator_picture(one) for one in (shown, beside, other))
    whole = np.ones(SIZE, dtype=np.float32)
    inside = cover > 0.0

    def error(*neighbours: tuple[NDArray[np.float32], NDArray[np.float32]]) -> float:
        filled = line_fill(picture, [line], neighbours)
        return float(errors(filled[0], [clean], 0)[inside].mean())

    alone = error()
    assert error((neighbour, whole)) < 0.5 * alone
    assert error((foreign, whole)) < 1.15 * alone
    assert error((neighbour, 0.0 * whole)) == alone


def test_where_a_scratch_breaks_off_its_end_is_not_taken_for_detail() -> None:
    ramp = np.tile(np.linspace(60.0, 180.0, SIZE[0])[:, None], (1, SIZE[1]))
    cover = Scratch(140.0, tilt=0.0, width=3.0, opacity=0.8).cover(SIZE, 140.0)
    cover[70:76] = cover[120:130] = 0.0
    (frame,) = stored([ramp + cover * (230.0 - ramp)], sigma=0.0)
    line = Line(140.0, 0.0, 3.0, True, 90.0, 0, SIZE[0], 1.0)
    filled = line_fill(generator_picture(frame), [line])
    truth = (16.0 + ramp * 219.0 / 255.0) / 255.0
    assert np.abs(filled[0] - truth).max() < 5.0 / 255.0


def test_a_matte_is_soft_for_two_samples_and_ends_with_its_rows() -> None:
    picture = Picture(64, 40, GRAY)
    matte = line_matte([Line(30.0, 0.0, 3.0, True, 50.0, 10, 30, 1.0)], picture)
    assert matte.dtype == np.float32
    np.testing.assert_array_equal(matte[20, 28:33], 1.0)
    assert not matte[20, :27].any()
    assert not matte[20, 34:].any()
    assert not matte[:10].any()
    assert not matte[30:].any()


def test_a_line_that_leaves_the_picture_does_no_harm() -> None:
    line = Line(62.0, 0.1, 3.0, True, 50.0, 0, 40, 1.0)
    picture = np.random.default_rng(1).random((3, 40, 64)).astype(np.float32)
    filled = line_fill(picture, [line])
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[:, :, :54], picture[:, :, :54])
    assert line_matte([line], Picture(64, 40, GRAY)).shape == (40, 64)


def test_a_neighbouring_span_vouches_for_a_line() -> None:
    scratch = Scratch(140.3, tremble=0.0)
    moving = stored(scratched(pan(2.7), scratch))
    still = stored(scratched(pan(0.0), scratch), first=COUNT)
    before, own = measure_lines(moving), measure_lines(still)
    assert not judge(own, None).runs
    known = judge(own, before)
    assert len(known.runs) == 1
    assert find_lines(still[-1], known)
    # What the span ahead shows counts as much, and nothing is taken over from it.
    assert [sight.number for sight in known.runs[0]] == [frame.number for frame in still]


def test_a_measurement_is_small_and_depends_on_its_frames_alone() -> None:
    scene = scratched(pan(2.7), Scratch(140.3))
    first = measure_lines(stored(scene))
    packed = pickle.dumps(first)
    assert len(packed) < 50_000
    assert repr(pickle.loads(packed)) == repr(first)  # noqa: S301
    assert repr(measure_lines(stored(scene))) == repr(first)


def test_a_frame_between_two_sights_takes_its_place_from_both() -> None:
    scratch = Scratch(140.3)
    frames = stored(scratched(pan(2.7), scratch))
    known = evidence(frames)
    (run,) = known.runs
    thinned = LineEvidence((run[:6] + run[7:],), known.confidence)
    (line,) = find_lines(frames[6], thinned)
    assert abs(line.column + line.slope * SIZE[0] / 2 - scratch.centres(COUNT)[6]) < 0.6


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (48, 48), (70, 49)])
def test_small_pictures_do_no_harm(size: tuple[int, int]) -> None:
    frames = stored([texture(size, seed) for seed in range(6)])
    known = evidence(frames)
    assert find_lines(frames[0], known) == []
    assert not line_matte([], frames[0].picture).any()


def test_a_flat_picture_has_no_scratch() -> None:
    assert not evidence(stored([np.full(SIZE, 100.0)] * 6, sigma=0.0)).runs


def test_a_span_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="no frame"):
        measure_lines([])


@pytest.mark.parametrize("alike", [True, False])
def test_lines_far_apart_that_jump_alike_are_doors_of_a_picture_that_weaves(alike: bool) -> None:
    """As in a film of 1903 whose own way could not be told: its drifts say nothing of the weave."""
    rng, count = np.random.default_rng(1), 48
    weave = rng.normal(0.0, 1.0, count)
    own = weave if alike else rng.normal(0.0, 1.0, count)
    runs = tuple(
        tuple(
            Sight(n, column + at, 0.0, (column + at,) * 2, 2.0, True, 20.0, 0.9, 1.0)
            for n, at in enumerate(way)
        )
        for column, way in ((68.0, weave), (178.0, own))
    )
    parts = rng.normal(0.0, 1.0, (count, 8))
    drifts = tuple(Drift(n, tuple(row)) for n, row in enumerate(parts) if n)
    evidence = judge(LineMeasurement(runs, drifts, (0, count - 1)), None)
    assert len(evidence.runs) == (0 if alike else 2)
