from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from vidrepair.batch import Grid, Profiler, Profilers, cut_spans
from vidrepair.compose import Strengths, compose
from vidrepair.engines.protocol import Identity
from vidrepair.engines.steps import Spare, repair
from vidrepair.errors import EngineError
from vidrepair.frames import Batch, FloatArray, Frame, NoiseProfile, Picture, PixelFormat, Repaired

FORMAT = PixelFormat("yuv420p", "yuv", 8, (2, 2))
PICTURE = Picture(16, 16, FORMAT)
FLAT = NoiseProfile(np.zeros(17, np.float32), np.zeros(17, np.float32))
FIXED = Profiler(lambda core: None, lambda own, before: FLAT)


class Arithmetic:
    """An engine whose residual is a known function of the step: a state that counts."""

    worked = None
    ran_away_at = -1
    """The number of the frame whose residual is no number."""

    def __init__(self, lanes: int, residual: Callable[[int, FloatArray], float]) -> None:
        self.identity = Identity("arithmetic", "1", "", "exact", "cpu", 16, 16, lanes, 0)
        self._count = dict.fromkeys(range(lanes), 0)
        self._residual = residual

    def step(self, batch: Batch) -> list[Repaired]:
        answers = []
        for lane in batch.lanes:
            self._count[lane.lane] = 0 if lane.fresh else self._count[lane.lane] + 1
            seen = np.array([frame.luma[0, 0] for frame in lane.frames], dtype=np.float32)
            value = self._residual(self._count[lane.lane], seen)
            if lane.frames[1].number == self.ran_away_at:
                value = float("nan")
            answers.append(Repaired(np.full((3, 16, 16), value / 255, np.float32)))
        return answers

    def cancel(self) -> None: ...

    def close(self) -> None: ...


def film(shots: list[int], repeats: frozenset[int] = frozenset()) -> list[Frame]:
    frames = []
    for number, shot in enumerate(shots):
        base = number - 1 if number in repeats else number
        luma = np.full((16, 16), 40 + base, np.uint8)
        chroma = np.full((8, 8), 128, np.uint8)
        frames.append(
            Frame(
                (luma, chroma, chroma),
                PICTURE,
                number,
                number,
                Fraction(1, 25),
                shot=shot,
                repeat=number in repeats,
            )
        )
    return frames


def run(
    frames: list[Frame],
    lanes: int,
    residual: Callable[[int, FloatArray], float],
    denoise: tuple[float, float] = (1.0, 1.0),
) -> list[Frame]:
    spans = cut_spans(frames, Grid(warm_up=3, core=5), lambda: Profilers(FIXED))
    return list(compose(repair(spans, Arithmetic(lanes, residual)), Strengths(denoise)))


def lumas(frames: list[Frame]) -> list[int]:
    return [int(frame.planes[0][0, 0]) for frame in frames]


def test_frames_come_in_order_whatever_the_lanes() -> None:
    frames = film([0] * 13 + [1] * 2 + [2] + [3] * 9, frozenset({4, 5, 20}))
    for lanes in (1, 2, 3):
        out = run(frames, lanes, lambda count, seen: 0.0)
        assert [frame.number for frame in out] == list(range(25))
        assert all(
            a.planes[0] is not None and a.pts == b.pts for a, b in zip(out, frames, strict=True)
        )


def test_who_shares_a_step_changes_nothing() -> None:
    frames = film([0] * 13 + [1] * 9)
    one, two, three = (
        lumas(run(frames, lanes, lambda count, seen: 3.0 * count)) for lanes in (1, 2, 3)
    )
    assert one == two == three


def test_the_fade_goes_linearly_from_span_to_span() -> None:
    # The residual counts the steps since the zero state: 8 at the end of a first span
    # (3 mirrored and 5 core steps), 0 where the next one's warm-up starts.
    frames = film([0] * 10)
    out = [luma - 40 - n for n, luma in enumerate(lumas(run(frames, 2, lambda c, seen: 10.0 * c)))]
    # Frames 2, 3, 4 are steps 5, 6, 7 of the first span and 0, 1, 2 of the second.
    mixed = [
        round(0.75 * 50 + 0.25 * 0),
        round(0.5 * 60 + 0.5 * 10),
        round(0.25 * 70 + 0.75 * 20),
    ]
    assert out[:2] == [30, 40]
    assert np.allclose(out[2:5], mixed, atol=1)
    assert out[5:] == [30, 40, 50, 60, 70]


def test_repeats_take_the_result_of_their_frame() -> None:
    out = run(film([0] * 6, frozenset({3})), 1, lambda count, seen: float(count))
    assert lumas(out)[3] == lumas(out)[2]


def test_strength_scales_and_zero_touches_nothing() -> None:
    frames = film([0] * 7)
    half = run(frames, 1, lambda count, seen: 20.0, (0.5, 0.0))
    assert lumas(half) == [50 + n for n in range(7)]
    assert all((frame.planes[1] == 128).all() for frame in half)
    none = run(frames, 1, lambda count, seen: 20.0, (0.0, 0.0))
    assert all(a.planes[0] is b.planes[0] for a, b in zip(none, frames, strict=True))


def test_the_engine_sees_the_neighbours_of_each_frame() -> None:
    met: list[list[int]] = []

    def note(count: int, seen: FloatArray) -> float:
        met.append([round(float(value)) - 40 for value in seen])
        return 0.0

    run(film([0] * 7), 1, note)
    first = [[4, 3, 2], [3, 2, 1], [2, 1, 0], [1, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    second = [[1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6], [5, 6, 5]]
    assert met == first + second


class Overflowing(Arithmetic):
    """Frame 6 of 13, in the second span, overflows."""

    ran_away_at = 6


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_a_span_that_overflows_goes_on_in_fp32(
    lanes: int, caplog: pytest.LogCaptureFixture
) -> None:
    frames = film([0] * 13 + [1] * 9)
    expected = lumas(run(frames, 1, lambda count, seen: 3.0 * count))
    made: list[Arithmetic] = []

    def make() -> Arithmetic:
        made.append(Arithmetic(1, lambda count, seen: 3.0 * count))
        return made[-1]

    spare = Spare(make)
    engine = Overflowing(lanes, lambda count, seen: 3.0 * count)
    spans = cut_spans(frames, Grid(warm_up=3, core=5), lambda: Profilers(FIXED))
    found = list(compose(repair(spans, engine, spare), Strengths()))
    assert lumas(found) == expected
    assert [frame.number for frame in found] == list(range(22))
    assert len(made) == 1
    assert spare.warnings == [
        "the output of frame 6 is not finite in exact; its span goes on in fp32"
    ]
    assert caplog.messages == spare.warnings


def test_what_overflows_in_fp32_too_is_an_engine_error() -> None:
    spans = list(cut_spans(film([0] * 13), Grid(warm_up=3, core=5), lambda: Profilers(FIXED)))
    engine = Overflowing(1, lambda count, seen: 1.0)
    with pytest.raises(EngineError, match="not finite in exact"):
        list(repair(spans, engine))
    with pytest.raises(EngineError, match="not finite in exact"):
        list(repair(spans, engine, Spare(lambda: Overflowing(1, lambda count, seen: 1.0))))


def test_a_fill_has_the_grain_of_what_is_around_it() -> None:
    """All of it is removed: what is left of denoise; none of it: that of a mean, made up for."""
    assert Strengths((1.0, 1.0)).over_fill((0.3, 0.3)) == (0.0, 0.0)
    assert Strengths((0.5, 0.0)).over_fill((1.0, 1.0)) == pytest.approx((0.5, 1.0))
    assert Strengths((0.5, 0.0)).over_fill((0.0, 0.0)) == pytest.approx((1.5**0.5, 1.5**0.5))
    assert Strengths((1.0, 1.0), grain=0.6).over_fill((1.0, 1.0)) == pytest.approx((0.6, 0.6))
