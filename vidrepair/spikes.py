"""Spikes: spots that neither neighbour shows, by the motion of what lies around them.

The generator seeks its motion in the damage itself. Where a large spot finds its like in both
neighbours, it marks none of it, or a corner. Here a place moves as its wider surroundings do, and
is a spike where the frame is off both neighbours on the same side (SDIp of Kokaram, "Motion Picture
Restoration", 1998). All at half size: small spots are found by the generator.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vidrepair.evidence import Neighbour
from vidrepair.frames import FloatArray
from vidrepair.regions import Mask

BLOCK = 8
"""Side of the blocks that move as one, samples of half size,"""
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
    here = _half(picture[0], height, width)
    known = np.ones(here.shape, dtype=bool)
    off = []
    for side in sides:
        places = _places(side.motion, here.shape)
        step = here - _half(side.picture[0], height, width).ravel()[places]
        # Film flickers, and not everywhere alike.
        off.append(np.asarray(step - _spread(_around(_medians(step, BLOCK)), here.shape)))
        known &= ~_half_mask(side.suspected, height, width).ravel()[places]
    size = np.where(np.sign(off[0]) == np.sign(off[1]), np.minimum(*np.abs(off)), 0.0)
    found = known & (size > LEAST + APART * np.abs(off[0] - off[1]))
    whole = np.zeros((height, width), dtype=bool)
    inner = whole[: 2 * found.shape[0], : 2 * found.shape[1]]
    inner[...] = found.repeat(2, axis=0).repeat(2, axis=1)
    return whole


def _half(plane: FloatArray, height: int, width: int) -> FloatArray:
    """(H // 2, W // 2): means of 2 x 2 samples of a plane of at least (H, W)."""
    even = plane[: height // 2 * 2, : width // 2 * 2]
    rows = even[::2] + even[1::2]
    return np.asarray(0.25 * (rows[:, ::2] + rows[:, 1::2]), dtype=np.float32)


def _half_mask(mask: Mask, height: int, width: int) -> Mask:
    even = mask[: height // 2 * 2, : width // 2 * 2]
    rows = even[::2] | even[1::2]
    half: Mask = rows[:, ::2] | rows[:, 1::2]
    return half


def _places(motion: FloatArray, shape: tuple[int, int]) -> NDArray[np.intp]:
    """Where each sample of half size lies in a neighbour: an index into its samples in a row.

    `motion` is (2, H / 4, W / 4), x and y in samples of full size.
    """
    across, down = (
        np.rint(_spread(_around(_medians(part, BLOCK // 2)) / 2.0, shape)).astype(np.intp)
        for part in motion
    )
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
