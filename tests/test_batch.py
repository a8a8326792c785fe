from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vidrepair.batch import Grid, Profiler, Profilers, cut_spans
from vidrepair.frames import Frame, NoiseProfile, Picture, PixelFormat, Span

PICTURE = Picture(1, 1, PixelFormat("gray", "gray", 8))
GRID = Grid(warm_up=2, core=4)


def film(shots: list[int], repeats: frozenset[int] = frozenset()) -> list[Frame]:
    """One frame for each entry, which is its shot."""
    return [
        Frame(
            (np.zeros((1, 1), np.uint8),),
            PICTURE,
            number,
            number,
            Fraction(1, 25),
            shot=shot,
            repeat=number in repeats,
        )
        for number, shot in enumerate(shots)
    ]


def profiler() -> Profiler:
    """Measures a span as its frame numbers; the profile tells what it was made of."""

    def combine(own: list[int], before: list[int] | None) -> NoiseProfile:
        own_first = np.float32(own[0])
        return NoiseProfile(
            np.array([own_first, -1 if before is None else before[0]], np.float32),
            np.zeros(2, np.float32),
        )

    return Profiler(lambda core: [frame.number for frame in core], combine)


def spans(frames: list[Frame], grid: Grid = GRID) -> list[Span]:
    return list(cut_spans(frames, grid, lambda: Profilers(profiler())))


def walk(span: Span) -> list[int]:
    return [frame.number for frame in span.walk]


def test_a_long_shot_is_cut_on_the_grid() -> None:
    first, second, third = spans(film([0] * 10))
    # Context, two mirrored warm-up frames (never frame 0), the core, the look-ahead.
    assert walk(first) == [3, 2, 1, 0, 1, 2, 3, 4]
    assert walk(second) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert walk(third) == [5, 6, 7, 8, 9, 8]
    assert [span.warm for span in (first, second, third)] == [2, 2, 2]
    assert [(span.fades_in, span.fades_out) for span in (first, second, third)] == [
        (0, 2),
        (2, 2),
        (2, 0),
    ]


def test_nothing_crosses_a_cut() -> None:
    parts = spans(film([0, 0, 0, 1, 1, 2]))
    assert [walk(span) for span in parts] == [[2, 2, 1, 0, 1, 2, 1], [4, 4, 3, 4, 3], [5, 5, 5]]
    assert all(span.fades_out == 0 and span.fades_in == 0 for span in parts)
    assert [float(span.noise.luma[1]) for span in parts] == [-1, -1, -1]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 9, 17])
def test_every_frame_is_in_one_core(length: int) -> None:
    cores = [frame.number for span in spans(film([0] * length)) for frame in span.core]
    assert cores == list(range(length))


def test_a_shot_cut_out_alone_has_the_same_spans() -> None:
    whole = spans(film([0] * 5 + [1] * 11 + [2] * 3))
    alone = spans(film([0] * 11))
    inside = [span for span in whole if span.shot == 1]
    assert [[n - 5 for n in walk(span)] for span in inside] == [walk(span) for span in alone]


def test_noise_looks_one_span_back_and_never_further() -> None:
    parts = spans(film([0] * 12))
    assert [span.noise.luma.tolist() for span in parts] == [[0, -1], [4, 0], [8, 4]]


def test_repeats_follow_their_frame_and_take_no_step() -> None:
    parts = spans(film([0] * 8, frozenset({1, 2, 5})))
    assert [frame.number for frame in parts[0].core] == [0, 3, 4, 6]
    assert [[frame.number for frame in group] for group in parts[0].followers] == [
        [1, 2],
        [],
        [5],
        [],
    ]
    assert [frame.number for frame in parts[1].core] == [7]


def test_a_long_freeze_ends_a_span() -> None:
    parts = spans(film([0] * 40, frozenset(range(1, 40))))
    assert [len(span.core) + sum(map(len, span.followers)) for span in parts] == [16, 16, 8]


@pytest.mark.parametrize(
    ("lanes", "frames", "grid"),
    [(1, 500, Grid(8, 64)), (2, 500, Grid(4, 32)), (2, 16, Grid(1, 8)), (5, 500, Grid(2, 13))],
)
def test_a_trial_keeps_all_lanes_busy(lanes: int, frames: int, grid: Grid) -> None:
    assert Grid(8, 64).shared(lanes, frames) == grid


def test_who_listens_hears_every_span_once() -> None:
    heard: list[Span] = []
    asked = range(64, 128)
    found = list(
        cut_spans(
            film([0] * 400),
            Grid(8, 64),
            lambda: Profilers(profiler()),
            chosen=lambda number: 0 if number in asked else None,
            behind=lambda number: number >= 128,
            told=heard.append,
        )
    )
    # The second, and what it fades into; nothing is taken behind that.
    assert [span.opens for span in found] == [64, 128]
    assert [span.opens for span in heard] == [0, 64, 128]
