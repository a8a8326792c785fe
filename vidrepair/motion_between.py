"""The motion between two pictures, at the places of a time between them.

Displacements are sought at which the picture before, moved back by its share, and the one after,
moved forth by the rest, show the same. Coarse to fine on a pyramid; at each scale displacements of
the scale above, of neighbouring cells and from outside compete by the difference that they leave,
and steps of Lucas and Kanade (1981) refine the winner. (Bilateral motion estimation: Choi, Lee and
Ko, "New frame rate up-conversion using bi-directional motion estimation", 2000.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from vidrepair.frames import FloatArray

CELL = 4
"""Samples, of the scale at hand, along the side of a cell that has one displacement."""
_SMALLEST = 12
"""Samples along the shorter side of the coarsest picture, at least."""
_SCALES = 6
"""Halvings at most: motion of 64 samples and more is found."""
_OUTLIER = 0.12
"""Share of the peak beyond which a sample differs no more: it is another thing."""
_SMOOTHNESS = 5e-4
"""Difference, as a share of the peak, that is as bad as a cell's being off the mean of those around
it by one sample of its scale."""
_RELUCTANCE = 3e-3
"""The same for a cell that takes the displacement of one beside it in the end."""
_DAMPING = 1e-4
"""Added to squared gradients: with less than that in a window a step is near zero."""
_EDGE = 1.0
"""Samples that a place may lie outside of a picture and still be told by its edge."""
_SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0))
_CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


def estimate_motion(
    before: FloatArray,
    after: FloatArray,
    share: float,
    starts: Sequence[FloatArray] = (),
    *,
    finest: int = 0,
) -> FloatArray:
    """The displacement from one luma (H, W), 0..1, to another at the places of one between them.

    (2, h, w), x and y in full-size samples, a cell for 4 x 4 samples at 1/2^finest size. `share`
    0..1 is where between them the places are. `starts` are (2, H/4, W/4) to try.
    """
    pyramid = [(before, after)]
    while len(pyramid) <= finest or (
        len(pyramid) <= _SCALES and min(pyramid[-1][0].shape) >= 2 * _SMALLEST
    ):
        one, other = pyramid[-1]
        pyramid.append((halved(one), halved(other)))
    search: _Search | None = None
    hints = [list(starts)]
    for _ in pyramid[1:]:
        hints.append([halved(field) for field in hints[-1]])
    for level in range(len(pyramid) - 1, finest - 1, -1):
        one, other = (_whole_cells(luma) for luma in pyramid[level])
        pair = _Pair(one, other, np.float32(2**level), np.float32(share))
        if search is None:
            search = _Search(pair, np.zeros((2, *pair.cells), np.float32))
            search.try_around(2)
        else:
            search = _Search(pair, enlarge(search.field, pair.cells))
        if level:
            search.try_others(hints[level], far=level > 1)
        search.refine()
    assert search is not None
    search.take_neighbours()
    return search.field


def meet(before: FloatArray, after: FloatArray, share: float) -> tuple[FloatArray, FloatArray]:
    """Two lumas (H, W), 0..1, moved to what each shows of a time between them, 0..1.

    NaN in both where one of them does not show the place: it comes in, or goes out.
    """
    height, width = before.shape
    move = enlarge(estimate_motion(before, after, share, finest=1), before.shape)
    moved = []
    seen = np.ones(before.shape, dtype=bool)
    for luma, part in ((before, -share), (after, 1.0 - share)):
        x, y = places_moved(move, part)
        seen &= (beyond(x, width) <= _EDGE) & (beyond(y, height) <= _EDGE)
        moved.append(bilinear(luma, x, y))
    near, far = (np.where(seen, luma, np.float32(np.nan)) for luma in moved)
    return near, far


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Two lumas (H, W) of one scale, H and W in whole cells."""

    before: FloatArray
    after: FloatArray
    scale: np.float32
    """Full-size samples along the side of one of its samples."""
    share: np.float32

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return self.before.shape[0] // CELL, self.before.shape[1] // CELL

    def moved(self, field: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Both, brought to the places between them."""
        move = enlarge(field, self.before.shape) / self.scale
        near, far = self.before, self.after
        if self.share > 0.0:
            near = bilinear(near, *places_moved(move, -self.share))
        if self.share < 1.0:
            far = bilinear(far, *places_moved(move, 1.0 - self.share))
        return near, far

    def differences(self, field: FloatArray) -> FloatArray:
        """Mean difference that a field leaves in each cell."""
        near, far = self.moved(field)
        return _cell_means(np.minimum(np.abs(far - near), np.float32(_OUTLIER)))

    def step(self, field: FloatArray) -> FloatArray:
        """One step of Lucas and Kanade over 3 x 3 cells, full-size samples to add to a field."""
        near, far = self.moved(field)
        middle = np.pad((near + far) * np.float32(0.5), 1, mode="edge")
        across = (middle[1:-1, 2:] - middle[1:-1, :-2]) * np.float32(0.5)
        down = (middle[2:, 1:-1] - middle[:-2, 1:-1]) * np.float32(0.5)
        change = far - near
        factors = (
            (across, across),
            (across, down),
            (down, down),
            (across, change),
            (down, change),
        )
        sums = _smoothed(np.stack([_cell_means(one * other) for one, other in factors]))
        xx, xy, yy, xt, yt = sums
        xx, yy = xx + np.float32(_DAMPING), yy + np.float32(_DAMPING)
        step = np.stack([xy * yt - yy * xt, xy * xt - xx * yt]) / (xx * yy - xy * xy)
        return np.asarray(step.clip(-1.0, 1.0) * self.scale, np.float32)


class _Search:
    """The best displacements so far of one scale."""

    def __init__(self, pair: _Pair, field: FloatArray) -> None:
        self._pair = pair
        self.field = field
        """(2, h, w)."""
        self._left = _smoothed(pair.differences(field))

    def _try(self, other: FloatArray) -> None:
        """Take another field where it leaves less, and is not much less smooth."""
        left = _smoothed(self._pair.differences(other))
        around = _smoothed(self.field)
        rougher = np.abs(other - around).sum(axis=0) - np.abs(self.field - around).sum(axis=0)
        better = left + rougher * (np.float32(_SMOOTHNESS) / self._pair.scale) < self._left
        self.field = np.where(better, other, self.field)
        self._left = np.where(better, left, self._left)

    def try_around(self, reach: int) -> None:
        """All displacements within so many samples of the scale."""
        start = self.field
        steps = range(-reach, reach + 1)
        for down, across in product(steps, steps):
            if down or across:
                move = np.array([across, down], np.float32) * self._pair.scale
                self._try(start + move[:, None, None])

    def try_others(self, starts: Iterable[FloatArray], *, far: bool) -> None:
        """Hints from outside, no motion, the motion of cells near by; if `far`, one sample off."""
        for start in (*starts, np.zeros_like(self.field)):
            self._try(start)
        for reach in (1, 2, 4) if far else (1, 2):
            for down, across in _SIDES:
                self._try(_shifted(self.field, reach * down, reach * across))
        if far:
            self.try_around(1)

    def refine(self) -> None:
        """Steps from where it is; then the odd one out follows those around it."""
        for _ in range(2):
            self._try(self.field + self._pair.step(self.field))
        self.field = _median(self.field)
        self._left = _smoothed(self._pair.differences(self.field))
        self._try(self.field + self._pair.step(self.field))

    def take_neighbours(self) -> None:
        """Edges of things: what suits a cell counts more than what suits those around it."""

        def left_by(field: FloatArray) -> FloatArray:
            own = self._pair.differences(field)
            return np.asarray((own + _smoothed(own)) * np.float32(0.5))

        least = left_by(self.field)
        for reach in (1, 2):
            start = self.field
            for down, across in (*_SIDES, *_CORNERS):
                other = _shifted(start, reach * down, reach * across)
                left = left_by(other) + np.float32(_RELUCTANCE)
                better = left < least
                self.field = np.where(better, other, self.field)
                least = np.where(better, left, least)


def _whole_cells(luma: FloatArray) -> FloatArray:
    """A luma with its edges repeated until it is whole cells."""
    return np.pad(luma, [(0, -side % CELL) for side in luma.shape], mode="edge")


def halved(picture: FloatArray) -> FloatArray:
    """(..., H, W) -> the means of 2 x 2, an odd edge repeated."""
    height, width = picture.shape[-2:]
    if height % 2 or width % 2:
        margins = [(0, 0)] * (picture.ndim - 2) + [(0, height % 2), (0, width % 2)]
        picture = np.pad(picture, margins, mode="edge")
    rows = picture[..., ::2, :] + picture[..., 1::2, :]
    return np.asarray((rows[..., ::2] + rows[..., 1::2]) * np.float32(0.25))


def _cell_means(picture: FloatArray) -> FloatArray:
    """(H, W) in whole cells -> (H/4, W/4)."""
    for _ in range(2):
        picture = halved(picture)
    return picture


def _smoothed(picture: FloatArray) -> FloatArray:
    """Means of 3 x 3 of (..., H, W), edges repeated."""
    margins = [(0, 0)] * (picture.ndim - 2) + [(1, 1), (1, 1)]
    wide = np.pad(picture, margins, mode="edge")
    rows = wide[..., :-2, :] + wide[..., 1:-1, :] + wide[..., 2:, :]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    return np.asarray(sums * np.float32(1.0 / 9.0))


def _shifted(field: FloatArray, down: int, across: int) -> FloatArray:
    """(2, h, w): what stands so many cells below and to the right, edges repeated."""
    height, width = field.shape[1:]
    rows = np.clip(np.arange(height) + down, 0, height - 1)
    columns = np.clip(np.arange(width) + across, 0, width - 1)
    return np.asarray(field[:, rows][:, :, columns])


def _median(field: FloatArray) -> FloatArray:
    """The median of 3 x 3 cells, of x and y for themselves."""
    steps = (-1, 0, 1)
    around = np.stack([_shifted(field, *offset) for offset in product(steps, steps)])
    return np.asarray(np.median(around, axis=0), np.float32)


def enlarge(field: FloatArray, size: tuple[int, ...]) -> FloatArray:
    """(..., h, w) -> (..., H, W), bilinear; one of its samples is a power of two of the new ones,
    the last ones of a line may reach over the edge.
    """
    for axis, new in ((-2, size[-2]), (-1, size[-1])):
        old = field.shape[axis]
        factor = 1 << max(-(-new // old) - 1, 0).bit_length()
        place = (np.arange(new, dtype=np.float32) + np.float32(0.5)) / factor - np.float32(0.5)
        place = place.clip(0, old - 1)
        low = place.astype(np.intp)
        part = place - low
        part = part[:, None] if axis == -2 else part
        near, far = field.take(low, axis), field.take(np.minimum(low + 1, old - 1), axis)
        field = near + part.astype(np.float32) * (far - near)
    return field


def places_moved(move: FloatArray, part: float | np.float32) -> tuple[FloatArray, FloatArray]:
    """The x and y (H, W) of every sample, moved by a part of a displacement (2, H, W)."""
    height, width = move.shape[1:]
    x = np.arange(width, dtype=np.float32) + np.float32(part) * move[0]
    y = np.arange(height, dtype=np.float32)[:, None] + np.float32(part) * move[1]
    return x, y


def beyond(place: FloatArray, size: int) -> FloatArray:
    """How many samples places lie outside of a line of so many."""
    return np.asarray(np.abs(place - place.clip(0, size - 1)))


def bilinear(picture: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Samples of (H, W) at x and y, edges repeated."""
    height, width = picture.shape
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    column = np.minimum(x.astype(np.int32), max(width - 2, 0))
    row = np.minimum(y.astype(np.int32), max(height - 2, 0))
    right, down = x - column, y - row
    at = row * width + column
    beside, below = int(width > 1), width if height > 1 else 0
    flat = picture.ravel()
    upper, lower = flat.take(at), flat.take(at + below)
    upper += right * (flat.take(at + beside) - upper)
    lower += right * (flat.take(at + (below + beside)) - lower)
    return np.asarray(upper + down * (lower - upper))


def bicubic(picture: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Samples of (..., H, W) at x and y (...) by cubic convolution (Keys, "Cubic convolution
    interpolation", 1981, a = -0.5), edges repeated.
    """
    height, width = picture.shape[-2:]
    left, top = np.floor(x), np.floor(y)
    across, down = cubic_weights(x - left), cubic_weights(y - top)
    column, row = left.astype(np.intp), top.astype(np.intp)
    beside = [(column + tap).clip(0, width - 1) for tap in range(-1, 3)]
    flat = picture.reshape(*picture.shape[:-2], height * width)
    total: FloatArray = np.zeros((*flat.shape[:-1], *x.shape), np.float32)
    for tap, weight in enumerate(down, -1):
        line = (row + tap).clip(0, height - 1) * width
        taps = (flat.take(line + at, axis=-1) for at in beside)
        total += weight * sum(part * one for part, one in zip(across, taps, strict=True))
    return total


def cubic_weights(part: FloatArray) -> list[FloatArray]:
    """Weights of the samples at -1, 0, 1 and 2 for places 0 <= part < 1."""
    square = part * part
    cube = square * part
    weights = (
        square - 0.5 * (part + cube),
        1.0 - 2.5 * square + 1.5 * cube,
        0.5 * part + 2.0 * square - 1.5 * cube,
        0.5 * (cube - square),
    )
    return [np.asarray(weight, np.float32) for weight in weights]
