"""Spikes: spots that neither neighbour shows, by the motion of what lies around them.

The generator seeks its motion in the damage itself. Where a large spot finds its like in both
neighbours, it marks none of it, or a corner. Here a place moves as its wider surroundings do, and
is a spike where the frame is off both neighbours on the same side (SDIp of Kokaram, "Motion Picture
Restoration", 1998). All in a smaller picture: small spots are found by the generator.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vidrepair.evidence import Neighbour
from vidrepair.frames import FloatArray
from vidrepair.regions import Mask

LARGE = 1280 * 736
"""Samples of a picture above which it is made smaller by four instead of two."""
BLOCK = 8
"""Side of the blocks that move as one, in the smaller picture,"""
REACH = 2
"""and how many blocks on each side of one count for its motion and its light."""
LEAST = 20.0 / 255.0
"""Share of the peak that a spike is off both neighbours at least,"""
APART = 2.0
"""and times what they are off each other, which is added to that."""


def find_spikes(
    picture: FloatArray, sides: tuple[Neighbour, Neighbour], height: int, width: int
) -> Mask:
    """(H, W) where a picture (3, H or more, W or more) is off both neighbours. Nothing where one of
    them is suspected itself.
    """
    halvings = 1 if height * width <= LARGE else 2
    side = 2**halvings
    rows, columns = height // side * side, width // side * side
    whole = np.zeros((height, width), dtype=bool)
    if not rows * columns:  # a film of a line or two has no surroundings
        return whole
    here = _halved(picture[0, :rows, :columns], halvings)
    known = np.ones(here.shape, dtype=bool)
    off = []
    for beside in sides:
        places = _places(beside.motion, here.shape, side)
        step = here - _halved(beside.picture[0, :rows, :columns], halvings).ravel()[places]
        # Film flickers, and not everywhere alike.
        off.append(np.asarray(step - _spread(_around(_medians(step, BLOCK)), here.shape)))
        doubted = _any_of(beside.suspected[:rows, :columns], halvings)
        known &= ~doubted.ravel()[places]
    size = np.where(np.sign(off[0]) == np.sign(off[1]), np.minimum(*np.abs(off)), 0.0)
    found = known & (size > LEAST + APART * np.abs(off[0] - off[1]))
    whole[:rows, :columns] = found.repeat(side, axis=0).repeat(side, axis=1)
    return whole


def _halved(plane: FloatArray, times: int) -> FloatArray:
    """Means of 2 x 2 samples, so many times."""
    for _ in range(times):
        pairs = plane[::2] + plane[1::2]
        plane = np.asarray(pairs[:, ::2] + pairs[:, 1::2], dtype=np.float32)
        plane *= 0.25
    return plane


def _any_of(mask: Mask, times: int) -> Mask:
    """The same of a mask: whether any of them is set."""
    for _ in range(times):
        pairs = mask[::2] | mask[1::2]
        mask = pairs[:, ::2] | pairs[:, 1::2]
    return mask


def _places(motion: FloatArray, shape: tuple[int, int], side: int) -> NDArray[np.intp]:
    """Where each sample of a picture smaller by `side` lies in a neighbour: an index into its
    samples in a row.

    `motion` is (2, H / 4, W / 4), x and y in samples of the whole picture.
    """
    blocks = (_around(_medians(part, BLOCK * side // 4)) for part in motion)
    across, down = (_spread(np.rint(part / side), shape).astype(np.intp) for part in blocks)
    rows = (np.arange(shape[0])[:, None] + down).clip(0, shape[0] - 1)
    columns = (np.arange(shape[1]) + across).clip(0, shape[1] - 1)
    places: NDArray[np.intp] = rows * shape[1] + columns
    return places


def _medians(plane: FloatArray, side: int) -> FloatArray:
    """Of blocks of so many samples a side, every second one read; the last may lack some."""
    rows, columns = (-(-length // side) for length in plane.shape)
    beyond = ((0, rows * side - plane.shape[0]), (0, columns * side - plane.shape[1]))
    wide = np.pad(plane, beyond, "edge")
    blocks = wide.reshape(rows, side, columns, side)[:, ::2, :, ::2].transpose(0, 2, 1, 3)
    return np.asarray(np.median(blocks.reshape(rows, columns, -1), axis=2), dtype=np.float32)


def _around(blocks: FloatArray) -> FloatArray:
    """The median of each block and those up to REACH away."""
    side = 2 * REACH + 1
    windows = sliding_window_view(np.pad(blocks, REACH, "edge"), (side, side))
    return np.asarray(np.median(windows.reshape(*blocks.shape, -1), axis=2), dtype=np.float32)


def _spread(blocks: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Each block over its samples."""
    return blocks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)[: shape[0], : shape[1]]
