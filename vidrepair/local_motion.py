"""How a small window of a frame moves to another frame, told by samples of it beyond doubt.

As one at first: whole samples, around where it is thought to go and around standing still, then the
vertex of a parabola through the best and those beside it. Where that leaves a difference the window
may turn, grow or shear as well: an affine motion (Shi and Tomasi, "Good features to track", 1994),
by Gauss-Newton steps under Tukey's weights, which whatever moves otherwise does not pull (Odobez
and Bouthemy, "Robust multiresolution estimation of parametric motion models", 1995).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrepair.exposure import EXPLAINED
from vidrepair.frames import FloatArray
from vidrepair.motion_between import bicubic, cubic_weights
from vidrepair.regions import Box, Mask, Points, dilate

_OUTLIER = 0.08
"""Share of the peak beyond which a sample differs no more: it is another thing."""
_POINTS = 200
"""Samples that a motion is sought on."""
_SEARCH = 4
"""Whole samples around the start that it is sought within."""
_STILL = 0.012
"""Difference, a share of the peak, below which a window that moves as one is left so,"""
_ENOUGH = 60
"""and samples that an affine motion is sought on at least."""
_SPREAD = 0.25
"""Deviation of their places, in _UNIT: what is told by a narrow strip does not hold beside it."""
_STEPS = 4
"""Gauss-Newton steps at most: as many as lower the difference"""
_GAIN = 0.02
"""by this share of it."""
_UNIT = 24.0
"""Samples: places count in these, so that all six numbers of a motion are of one size."""
_FURTHEST = (1.5, 0.12)
"""Samples that the middle, and samples for each sample away from it that the rest may go."""
_PULL = 1e-5 * np.array([0.1, 1.0, 1.0])
"""What holds each number at zero, for each sample it is sought on: squared steps of the peak."""

Displacement = tuple[float, float]
"""Rows and columns from a place in frame t to the same thing in another frame."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalMotion:
    """Where the places of a window of frame t are in another frame."""

    box: Box
    """The window that it was sought in; it holds around it, too."""
    move: Displacement
    """As one."""
    turn: NDArray[np.float64] | None = None
    """(2, 3) what rows and columns move by on top of that: its middle, and for each _UNIT down and
    across from it. None where nothing does.
    """

    def picture(self, picture: FloatArray, box: Box) -> FloatArray:
        """(C, H, W) -> (C, h, w): what the other frame shows at a window, borders repeated;
        bicubic.
        """
        if self.turn is None:
            return _sample(picture, box, self.move)
        rows, columns = np.ogrid[box.top : box.bottom, box.left : box.right]
        down, across = self.places(rows, columns)
        return bicubic(picture, across, down)

    def mask(self, mask: Mask, box: Box) -> Mask:
        """(H, W) -> (h, w): the same of a mask, by whole samples, a sample wider on all sides."""
        rows, columns = np.ogrid[box.top : box.bottom, box.left : box.right]
        # Halves all go one way: a line of one sample must not fall between two places.
        down, across = (np.floor(at + 0.5).astype(np.intp) for at in self.places(rows, columns))
        height, width = mask.shape
        return dilate(mask[down.clip(0, height - 1), across.clip(0, width - 1)], 1)

    def places(self, rows: Points, columns: Points) -> tuple[FloatArray, FloatArray]:
        """Rows and columns there, of places of the whole picture; shapes as they broadcast."""
        shape = np.broadcast_shapes(rows.shape, columns.shape)
        down, across = rows + self.move[0], columns + self.move[1]
        if self.turn is not None:
            away = _away(self.box, rows, columns)
            (y, by_row, by_column), (x, column_by_row, column_by_column) = self.turn
            down = down + y + by_row * away[0] + by_column * away[1]
            across = across + x + column_by_row * away[0] + column_by_column * away[1]
        return (
            np.broadcast_to(down, shape).astype(np.float32),
            np.broadcast_to(across, shape).astype(np.float32),
        )


def find_motion(
    luma: FloatArray, ring: Mask, box: Box, there: FloatArray, field: FloatArray
) -> tuple[LocalMotion, float]:
    """How the window `box` of `luma` (H, W) moves to a picture `there` (C, H, W; the first plane
    counts), and the mean difference that is left, a share of the peak.

    `ring` (h, w) are the samples that tell; `field` (2, H/4, W/4) is where it is thought to go, x
    and y in samples.
    """
    rows, columns = spread(ring, _POINTS)
    here = luma[rows + box.top, columns + box.left]
    quarter = field[:, box.top // 4 : -(-box.bottom // 4), box.left // 4 : -(-box.right // 4)]
    across, down = (round(float(np.median(part))) for part in quarter)
    # Film flickers: what all differ by is no sign of motion.
    level = _level(here - _sample(there[:1], box, (down, across))[0][rows, columns])
    found = []
    for start in {(down, across), (0, 0)}:
        points = (rows, columns)
        costs = costs_around(there, box, start, points, here - level, _SEARCH, _OUTLIER)
        at = np.unravel_index(int(costs.argmin()), costs.shape)
        parts = (_vertex(costs[:, at[1]], int(at[0])), _vertex(costs[at[0]], int(at[1])))
        move = (
            start[0] + int(at[0]) - _SEARCH + parts[0],
            start[1] + int(at[1]) - _SEARCH + parts[1],
        )
        found.append((float(costs.min()), move))
    as_one = LocalMotion(box, min(found)[1])
    return _refined(as_one, here, (rows, columns), there)


def _refined(
    as_one: LocalMotion, here: FloatArray, points: tuple[Points, Points], there: FloatArray
) -> tuple[LocalMotion, float]:
    """A motion as one, or the affine one that leaves less, and what that leaves.

    `here` is the luma at `points`, rows and columns within the motion's window.
    """
    box = as_one.box
    window = _sample(there[:1], box, as_one.move)[0]
    off, best = here - window[points], as_one
    off -= _level(off)
    least = _difference(off)
    if least < _STILL or len(here) < _ENOUGH or min(window.shape) < 2:
        return best, least
    rows, columns = points[0] + box.top, points[1] + box.left
    away = _away(box, rows, columns)
    if away.std(axis=1).min() < _SPREAD:
        return best, least
    ones = np.concatenate([np.ones((1, len(here))), away])
    slopes = np.concatenate([slope[points] * ones for slope in np.gradient(window)]).T
    turn = np.zeros((2, 3))
    for _ in range(_STEPS):
        weights = np.square(np.maximum(1.0 - np.square(off / _OUTLIER), 0.0))[:, None]
        weighted = (slopes * weights).T
        normal = weighted @ slopes + np.diag(np.tile(_PULL * len(here), 2))
        turn = turn + np.linalg.solve(normal, weighted @ off).reshape(2, 3)
        if not (np.abs(turn) < (_FURTHEST[0], *[_FURTHEST[1] * _UNIT] * 2)).all():
            break
        motion = LocalMotion(box, as_one.move, turn)
        down, across = motion.places(rows, columns)
        off = here - bicubic(there[0], across, down)
        off -= _level(off)
        left = _difference(off)
        if not left <= (1.0 - _GAIN) * least:  # so that what is not finite is no gain
            break
        best, least = motion, left
    return best, least


def _away(box: Box, rows: Points, columns: Points) -> NDArray[np.float64]:
    """(2, ...) how far places are from the middle of a window, down and across, in _UNIT."""
    middle = ((box.top + box.bottom - 1) / 2.0, (box.left + box.right - 1) / 2.0)
    return np.stack(np.broadcast_arrays(rows - middle[0], columns - middle[1])) / _UNIT


def _difference(off: FloatArray) -> float:
    """The mean of what samples differ by, none by more than an outlier."""
    return float(np.minimum(np.abs(off), _OUTLIER).mean())


def _level(off: FloatArray) -> float:
    """What all samples differ by, if that explains why they do; a level does for a search."""
    level = float(np.median(off))
    return level if np.abs(off - level).mean() <= EXPLAINED * np.abs(off).mean() else 0.0


def _sample(picture: FloatArray, box: Box, move: Displacement) -> FloatArray:
    """(C, H, W) -> (C, h, w): a window of it, displaced, borders repeated; bicubic.

    One displacement for the whole window: two short filters do it.
    """
    parts = np.array(move, np.float32) % 1.0
    height, width = picture.shape[1:]
    rows = np.arange(box.top - 1, box.bottom + 2) + int(move[0] - parts[0])
    columns = np.arange(box.left - 1, box.right + 2) + int(move[1] - parts[1])
    taken: FloatArray = picture[:, rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)]
    for axis, part in zip((1, 2), parts, strict=True):
        size = taken.shape[axis] - 3
        lines = [taken.take(range(at, at + size), axis) for at in range(4)]
        taken = np.asarray(
            sum(weight * line for weight, line in zip(cubic_weights(part), lines, strict=True)),
            np.float32,
        )
    return taken


def spread(mask: Mask, most: int) -> tuple[Points, Points]:
    """Rows and columns of at most so many samples of a mask, spread over it."""
    rows, columns = np.nonzero(mask)
    take = np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)
    return rows[take], columns[take]


def costs_around(
    picture: FloatArray,
    box: Box,
    start: tuple[int, int],
    points: tuple[Points, Points],
    here: FloatArray,
    reach: int,
    bound: float = 1.0,
) -> FloatArray:
    """Mean square differences at all whole displacements within reach of `start`.

    `points` are rows and columns within the box, `here` their luma; none differs by more than
    `bound`. (2 reach + 1) squared.
    """
    height, width = picture.shape[1:]
    rows = np.arange(box.top - reach, box.bottom + reach) + start[0]
    columns = np.arange(box.left - reach, box.right + reach) + start[1]
    area = picture[0][np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))]
    steps = np.arange(2 * reach + 1)
    offsets = (steps[:, None] * area.shape[1] + steps).reshape(-1, 1)
    places = points[0] * area.shape[1] + points[1] + offsets
    off = np.abs(area.ravel()[places] - here)
    costs = np.square(np.minimum(off, bound)).mean(axis=1)
    return np.asarray(costs.reshape(len(steps), len(steps)))


def _vertex(costs: FloatArray, at: int) -> float:
    """Where between its neighbours the least of a line of costs lies, -0.5 to 0.5, in eighths."""
    if not 0 < at < len(costs) - 1:
        return 0.0
    before, least, after = (float(cost) for cost in costs[at - 1 : at + 2])
    bend = before - 2.0 * least + after
    return round(4.0 * (before - after) / bend) / 8.0 if bend > 0.0 else 0.0
