"""Which runs of sights are scratches, and where they lie on a frame.

A run is judged over its whole span, and with what the spans beside it show: by its shape, and by
whether it moves as the picture beside it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from vidrepair.frames import FloatArray, Frame
from vidrepair.lines import Drift, Line, LineEvidence, LineMeasurement, Run, Sight
from vidrepair.scratches import GAP, WIDEST, find_ridges, fit_ridge
from vidrepair.strips import Array, around_path, cell_size, line_path, row_strips, smoothed

FEWEST = 5
"""Frames on which a line is seen at least."""
THIN = 4.0
"""Columns; the place of a wider line is not found to a tenth of a column."""
FARTHEST = 2.0
"""Columns that a line must have gone to be seen to go its own way,"""
LONGEST = 24
"""frames that it takes,"""
STRIDE = 8
"""frames over which its steps are compared with the picture's,"""
APART = 60.0
"""columns to another line that jumps as it does, and so shows that the picture weaves,"""
JUMPS = 0.5
"""how much it does so at least, root mean square of second differences,"""
PARTS = 4
"""and parts of the picture whose way must be known."""
SURE = 0.5
"""Confidence below which a line is left alone."""


def judge(own: LineMeasurement, before: LineMeasurement | None) -> LineEvidence:
    """The lines of a span, judged with what the span before it, of the same shot, shows of them.

    Both are raw, so nothing is handed on from span to span.
    """
    runs, confidence = [], []
    drifts = {drift.number: drift for drift in (*(before.drifts if before else ()), *own.drifts)}
    for run in own.runs:
        earlier = _continued(run[0], before)
        # A span that stands still says nothing against what another one shows.
        several = (run, earlier, (*earlier, *run))
        sure = max(_confidence(one, drifts, own.runs) for one in several)
        if sure >= SURE:
            runs.append(run)
            confidence.append(sure)
    return LineEvidence(tuple(runs), tuple(confidence), own.extent)


def _continued(end: Sight, beside: LineMeasurement | None) -> Run:
    """The run of a neighbouring span that goes on where a line ends; empty if there is none."""
    best: Run = ()
    least = 6.0 * max(end.width, 1.0)
    for run in beside.runs if beside is not None else ():
        meets = min(run, key=lambda sight: abs(sight.number - end.number))
        away = abs(meets.column - end.column)
        if meets.bright == end.bright and abs(meets.number - end.number) <= 16 and away < least:
            best, least = run, away
    return best


def _confidence(run: Run, drifts: Mapping[int, Drift], others: Sequence[Run]) -> float:
    """0..1 that a run is a scratch; 0 where it may as well be picture."""
    if len(run) < FEWEST or len(run) < 0.6 * (run[-1].number - run[0].number + 1):
        return 0.0
    sure = max(_stays(run), _trembles(run), _wanders(run, drifts, others))
    return float(np.median([sight.shape for sight in run])) * sure


def _stays(run: Run) -> float:
    """Whether a line keeps its column while the picture moves along all of its sides.

    Of the parts of the sides whose motion could be told, four in five and more moved on ten
    clips with scratches; beside poles that something passes behind, at most three in five did.
    """
    slips = [sight.slip for sight in run if sight.slip is not None]
    told = [slip.told for slip in slips]
    if len(slips) < FEWEST or sum(told) < 2.5:
        return 0.0
    went, passed = (
        float(np.median(np.abs(values)))
        for values in ([slip.went for slip in slips], [slip.passed for slip in slips])
    )
    if went > min(1.0, 0.65 * passed):
        return 0.0
    moved = float(np.average([slip.moved for slip in slips], weights=told))
    return float(np.clip((moved - 0.66) / 0.12, 0.0, 1.0))


def _trembles(run: Run) -> float:
    """Whether a line trembles against the picture, its upper half as its lower one.

    Errors of measuring are not shared by both halves: the median product of what both did is a
    variance without them. Matched, it was below 0.004 for twelve poles and door frames of real
    films that weave by one to three samples, and above 0.02 for lines that tremble by 0.3. A thin
    line may also be judged by its fitted place; that of a wide one is not sure enough.
    """
    matched, fitted = (
        _shared(
            [
                (sight.number, *(sight.slip.matched if which == 0 else sight.slip.fitted))
                for sight in run
                if sight.slip is not None
            ]
        )
        for which in (0, 1)
    )
    # Neither is believed where the other says the contrary.
    if matched <= 0.004 or fitted <= 0.0:
        return 0.0
    sure = (matched - 0.008) / 0.012
    if np.median([sight.width for sight in run]) <= THIN:
        sure = max(sure, (fitted - 0.04) / 0.04)
    return float(np.clip(sure, 0.0, 1.0))


def _wanders(run: Run, drifts: Mapping[int, Drift], others: Sequence[Run]) -> float:
    """Whether a line goes a way of its own, unlike that of any part of the picture.

    A wire before a plain sky, whose sides tell nothing, still goes where some of the picture goes.
    Of 16 lines of clean clips that went as far, seven went ways of their own: all were wide.
    Where the picture jumps from frame to frame its own way may be mistaken, but two lines far apart
    that jump alike are doors or poles: a scratch runs on from one frame into the next.
    """
    if np.median([sight.width for sight in run]) > THIN:
        return 0.0
    columns = np.array([sight.column for sight in run])
    shown = [sight.number in drifts for sight in run]
    if np.ptp(columns) < FARTHEST or len(run) < LONGEST or sum(shown) < 0.8 * (len(run) - 1):
        return 0.0
    steps = np.array([drifts[sight.number].parts for sight in run if sight.number in drifts])
    told = steps.T[np.isfinite(steps).mean(axis=0) > 0.5]
    if len(told) < PARTS:
        return 0.0
    if any(_jumps_with(run, other) for other in others):
        return 0.0
    alike = max(_explained(columns[shown], _way(part)) for part in told)
    return float(np.clip((0.7 - alike) / 0.2, 0.0, 1.0))


def _jumps_with(run: Run, other: Run) -> bool:
    """Whether a line far off jumps from frame to frame as this one does."""
    there = {sight.number: sight.column for sight in other}
    both = [(sight.column, there[sight.number]) for sight in run if sight.number in there]
    if len(both) < LONGEST:
        return False
    line, far = np.array(both).T
    jumps, others = np.diff(line, 2), np.diff(far, 2)
    sizes = float(np.mean(jumps**2)), float(np.mean(others**2))
    if np.abs(np.median(line - far)) < APART or min(sizes) < JUMPS**2:
        return False
    return bool(np.mean(jumps * others) ** 2 > 0.5 * sizes[0] * sizes[1])


def _way(steps: Array) -> Array:
    """The columns gone since the first frame; steps that are not known are as those about them."""
    known = np.isfinite(steps)
    every = np.arange(len(steps))
    return np.cumsum(np.interp(every, every[known], steps[known]))


def _explained(column: Array, way: Array) -> float:
    """The share of what a line goes, 0..1, that the way of a part of the picture explains.

    Of the changes over some frames: a slow pan and a slow wander look alike by their ends alone,
    and one that went at half the speed, nearer or farther, still goes when the other does.
    """
    line, part = (one[STRIDE:] - one[:-STRIDE] for one in (column, way))
    size = float(np.mean(part**2))
    if size < 0.1:
        return 0.0
    return float(np.mean(line * part) ** 2 / (size * np.mean(line**2)))


def _shared(halves: Sequence[tuple[int, float, float]]) -> float:
    """The median product of the changes of both halves, columns squared; 0 for less than eight."""
    known = [one for one in halves if np.isfinite(one).all()]
    products = [
        float(np.prod(np.clip(np.subtract(two[1:], one[1:]), -1.0, 1.0)))
        for one, two in pairwise(known)
        if two[0] - one[0] == 1
    ]
    return float(np.median(products)) if len(products) >= 8 else 0.0


def find_lines(frame: Frame, evidence: LineEvidence) -> list[Line]:
    """The pieces of the lines of its span that a frame shows."""
    found: list[Line] = []
    for run, confidence in zip(evidence.runs, evidence.confidence, strict=True):
        numbers = [sight.number for sight in run]
        if numbers[0] - GAP <= frame.number <= numbers[-1] + GAP:
            column, lean = (
                float(np.interp(frame.number, numbers, values))
                for values in ([sight.column for sight in run], [sight.lean for sight in run])
            )
            nearest = min(run, key=lambda sight: abs(sight.number - frame.number))
            found += _pieces(frame, replace(nearest, column=column, lean=lean), confidence)
    return found


def _pieces(frame: Frame, expected: Sight, confidence: float) -> list[Line]:
    """The pieces of one line, near where it ought to be."""
    height, width = frame.luma.shape
    tall, wide = cell_size(frame.picture)
    widest = max(3, round(WIDEST * (width // wide)))
    reach = 4 * widest + 12 + int(0.5 * abs(expected.lean))
    left = max(0, int(expected.column) - reach) * wide
    right = min(width, (int(expected.column) + reach + 1) * wide)
    strips = row_strips(frame.luma[:, left:right], frame.picture)
    count = len(strips)
    there = replace(expected, column=expected.column - left // wide)
    path = line_path(there.column, there.lean, count)
    sight = fit_ridge(strips, find_ridges(strips, widest), path, bright=there.bright)
    if sight is None or abs(sight.column - there.column) > 2.0 + there.width:
        sight = there
    shown = _excess(strips, sight) > max(1.0, 0.12 * sight.strength)
    # From columns of the measured picture, whose rows end with the last whole strip.
    places = left + (wide - 1) / 2.0 + wide * line_path(sight.column, sight.lean, count)
    slope, top = np.polyfit((np.arange(count) + 0.5) * tall - 0.5, places, 1)
    edges = np.flatnonzero(np.diff(shown.astype(np.int8), prepend=0, append=0))
    return [
        Line(
            column=float(top),
            slope=float(slope),
            width=sight.width * wide,
            bright=sight.bright,
            strength=sight.strength,
            first=int(max(first - 1, 0)) * tall,
            last=height if last + 1 >= count else int(last + 1) * tall,
            confidence=confidence,
        )
        for first, last in zip(edges[::2], edges[1::2], strict=True)
        if last - first >= 3
    ]


def _excess(strips: FloatArray, sight: Sight) -> Array:
    """How far a line stands out from its sides about each strip, in its own direction."""
    half, side = int(np.ceil(0.5 * sight.width + 1.0)), max(2, round(sight.width))
    window = around_path(strips, line_path(sight.column, sight.lean, len(strips)), half + side)
    offsets = np.abs(np.arange(-half - side, half + side + 1))
    inner = window[:, offsets <= max(0, int(0.5 * sight.width - 0.25))].mean(axis=1)
    outer = window[:, offsets > half].mean(axis=1)
    return smoothed((inner - outer) * (1.0 if sight.bright else -1.0), 2, 0).astype(float)
