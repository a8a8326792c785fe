"""The picture that lines are looked for in: rows taken together, of about 720 columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidrepair.frames import FloatArray, Picture, Plane

Array = NDArray[np.float64]
COLUMNS = 720
"""Wider pictures are measured with as many columns taken together as leaves this many or more."""
STRIPS = 64
"""Strips of rows, about; none is less than 4 rows tall."""


def cell_size(picture: Picture) -> tuple[int, int]:
    """Rows and columns that are taken together."""
    return max(4, picture.height // STRIPS), max(1, picture.width // COLUMNS)


def row_strips(plane: Plane, picture: Picture) -> FloatArray:
    """(strips, columns): means of luma on the 8-bit scale; what fills no cell is left out."""
    tall, wide = cell_size(picture)
    count, width = plane.shape[0] // tall, plane.shape[1] // wide
    plane = plane[: count * tall, : width * wide]
    sums = np.zeros((count, plane.shape[1]), np.uint16 if plane.dtype == np.uint8 else np.uint32)
    for row in range(tall):
        np.add(sums, plane[row::tall], out=sums)
    scale = np.float32(255.0 / (picture.format.peak * tall * wide))
    total = sum(sums[:, column::wide].astype(np.float32) for column in range(wide))
    return np.asarray(total * scale, dtype=np.float32)


def strip_heights(count: int) -> Array:
    """The middle of each strip, -0.5..0.5 of the height."""
    return np.asarray((np.arange(count) + 0.5) / count - 0.5)


def line_path(column: float, lean: float, count: int) -> Array:
    """The column of a line in each of the strips."""
    return np.asarray(column + lean * strip_heights(count))


def around_path(strips: FloatArray, columns: Array, reach: int) -> FloatArray:
    """(strips, 2 reach + 1) about a column in each strip; the picture's edge goes on."""
    at = np.round(columns).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    at = np.clip(at, 0, strips.shape[1] - 1)
    return np.asarray(strips[np.arange(len(strips))[:, None], at])


def smoothed(values: FloatArray, reach: int, axis: int = 0) -> FloatArray:
    """Means over 2 reach + 1 along an axis, the ends repeated."""
    pads = [(0, 0)] * values.ndim
    pads[axis] = (reach + 1, reach)
    total = np.cumsum(np.pad(values, pads, mode="edge"), axis=axis, dtype=np.float64)
    count = values.shape[axis]
    ends = [np.take(total, range(n, n + count), axis=axis) for n in (0, 2 * reach + 1)]
    return np.asarray((ends[1] - ends[0]) / (2 * reach + 1), dtype=np.float32)
