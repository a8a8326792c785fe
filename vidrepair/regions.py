"""Connected regions of a mask, and windows of a picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Points = NDArray[np.intp]
Area = tuple[slice, slice]
"""Rows and columns of a picture."""


@dataclass(frozen=True, slots=True)
class Box:
    """Rows [top, bottom) and columns [left, right) of a picture."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @classmethod
    def around(cls, boxes: Iterable[Box]) -> Box:
        """The smallest that holds them all."""
        tops, lefts, bottoms, rights = zip(
            *((one.top, one.left, one.bottom, one.right) for one in boxes), strict=True
        )
        return cls(min(tops), min(lefts), max(bottoms), max(rights))

    def window(self) -> tuple[slice, slice]:
        """To index the last two axes of a picture with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Where it lies in a window of `outer`, which holds it."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )

    def grown(self, margin: int, height: int, width: int) -> Box:
        """With a margin on all sides, as far as the picture goes."""
        return Box(
            max(self.top - margin, 0),
            max(self.left - margin, 0),
            min(self.bottom + margin, height),
            min(self.right + margin, width),
        )

    def cells(self, side: int) -> list[Box]:
        """Cut into cells of at most `side` x `side`."""
        return [
            Box(top, left, min(top + side, self.bottom), min(left + side, self.right))
            for top, left in product(
                range(self.top, self.bottom, side), range(self.left, self.right, side)
            )
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Samples of a picture that touch one another, at sides or corners."""

    rows: Points
    columns: Points

    @property
    def box(self) -> Box:
        """The smallest that holds it."""
        return Box(
            int(self.rows.min()),
            int(self.columns.min()),
            int(self.rows.max()) + 1,
            int(self.columns.max()) + 1,
        )

    def mask(self) -> Mask:
        """Its samples in the window of its box."""
        box = self.box
        mask = np.zeros((box.height, box.width), dtype=bool)
        mask[self.rows - box.top, self.columns - box.left] = True
        return mask

    def parts(self, mask: Mask) -> list[Region]:
        """The connected regions of what of it lies in a mask (H, W) of the whole picture."""
        return self.split(mask[self.box.window()])

    def lines(self, length: int) -> list[Region]:
        """What of it stands in columns of so many samples, what else lies in rows of so many, and
        what is left: a cross is two lines.
        """
        own = self.mask()
        tall, long = (runs(own, length, axis) for axis in (0, 1))
        return self.split(tall, long & ~tall, ~long & ~tall)

    def split(self, *masks: Mask) -> list[Region]:
        """The connected regions of what of it lies in each of several masks of its box."""
        box, own = self.box, self.mask()
        found = (part for mask in masks for part in connected_regions(own & mask))
        return [Region(part.rows + box.top, part.columns + box.left) for part in found]


def runs(mask: Mask, length: int, axis: int) -> Mask:
    """What of a mask (H, W) is in a row of at least so many samples along an axis."""
    along = np.moveaxis(mask, axis, 0)
    total = np.pad(along.cumsum(axis=0), ((1, 0), (0, 0)))
    whole = total[length:] - total[:-length] == length
    # One more row is covered from where a run of that length starts, one less behind its end.
    steps = np.zeros_like(total)
    steps[: len(whole)] += whole
    steps[length:] -= whole
    return np.moveaxis(steps.cumsum(axis=0)[:-1] > 0, 0, axis)


def connected_regions(mask: Mask) -> list[Region]:
    """The connected regions of a mask (H, W), in the order of their first samples.

    Meant for sparse masks: labels travel along the list of marked samples, and by pointer jumping
    (Shiloach and Vishkin, 1982) a region of any shape needs few rounds.
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return []
    index = np.full((mask.shape[0] + 2, mask.shape[1] + 2), -1, dtype=np.intp)
    own = np.arange(len(rows))
    index[rows + 1, columns + 1] = own
    around = [index[rows + 1 + i, columns + 1 + j] for i, j in product((-1, 0, 1), repeat=2)]
    beside = np.stack([np.where(other < 0, own, other) for other in around])
    label = own
    while True:
        least = label[beside].min(axis=0)
        # What a sample was told goes to the one that stands for it, too.
        hooked = least.copy()
        np.minimum.at(hooked, label, least)
        jumped = hooked[hooked]
        if np.array_equal(jumped, label):
            break
        label = jumped
    order = np.argsort(label, kind="stable")
    ends = np.flatnonzero(np.diff(label[order])) + 1
    return [Region(rows[part], columns[part]) for part in np.split(order, ends)]


def dilate(mask: Mask, reach: int) -> Mask:
    """What lies within `reach` samples of a mask (..., H, W), in both directions."""
    wide = mask
    for axis in (-1, -2):
        grown = wide.copy()
        size = wide.shape[axis]
        for step in range(1, min(reach, size - 1) + 1):
            ahead, back = ([slice(None)] * mask.ndim for _ in range(2))
            ahead[axis], back[axis] = slice(step, None), slice(None, -step)
            grown[tuple(ahead)] |= wide[tuple(back)]
            grown[tuple(back)] |= wide[tuple(ahead)]
        wide = grown
    return wide


HELD = 0.9
"""Share of its weights that a window has to keep where it is moved to have them in its middle."""


def busiest_windows(
    weights: NDArray[Any], height: int, width: int, count: int = 1, step: int = 8
) -> list[Box]:
    """At most `count` windows that do not overlap, those that hold most of the weights (H, W),
    which are not negative, first. One at least, even where there are none.

    They are sought at multiples of `step`, and moved to have what they hold in their middle where
    they lose little by it.
    """
    left = weights.astype(np.float64)
    tall, wide = min(height, left.shape[0]), min(width, left.shape[1])
    rows, columns = _places(left.shape[0] - tall, step), _places(left.shape[1] - wide, step)
    found: list[Box] = []
    for _ in range(count):
        total = np.zeros((left.shape[0] + 1, left.shape[1] + 1))
        total[1:, 1:] = left.cumsum(axis=0).cumsum(axis=1)
        bands = total[rows + tall] - total[rows]
        held = bands[:, columns + wide] - bands[:, columns]
        down, across = np.unravel_index(held.argmax(), held.shape)
        if found and held[down, across] <= 0.0:
            break
        top, edge = int(rows[down]), int(columns[across])
        found.append(_centred(left, Box(top, edge, top + tall, edge + wide)))
        # Whatever overlaps it is worth less than nothing.
        left[found[-1].window()] = -(float(weights.sum()) + 1.0)
    return found


def _centred(weights: NDArray[np.float64], window: Box) -> Box:
    """The window moved onto the middle of its weights, unless it holds much less there."""
    held = weights[window.window()]
    whole = held.sum()
    if whole <= 0.0:
        return window
    tall, wide = held.shape
    down = round(held.sum(axis=1) @ np.arange(tall) / whole - (tall - 1) / 2)
    across = round(held.sum(axis=0) @ np.arange(wide) / whole - (wide - 1) / 2)
    top = min(max(window.top + down, 0), weights.shape[0] - tall)
    left = min(max(window.left + across, 0), weights.shape[1] - wide)
    box = Box(top, left, top + tall, left + wide)
    return box if weights[box.window()].sum() >= HELD * whole else window


def _places(last: int, step: int) -> Points:
    """0 to `last` in steps, the last one too."""
    return np.unique([*range(0, last + 1, step), last])
