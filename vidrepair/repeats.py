"""Repeats: frames whose samples all equal those of the frame before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from vidrepair.frames import Frame

PROBE_ROWS = 8
"""Rows compared first: they tell nearly all different frames apart."""


def mark_repeats(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield every frame once, in order, with `repeat` set to whether it shows nothing new.

    A repeat equals the frame before in every sample of every plane, at any depth, and is of
    the same size and format. The first frame is none. Holds one frame of history, whose samples
    must not be written to before the next frame was taken.
    """
    previous: Frame | None = None
    for frame in frames:
        repeat = previous is not None and _equal(previous, frame)
        yield frame if repeat == frame.repeat else replace(frame, repeat=repeat)
        previous = frame


def _equal(one: Frame, other: Frame) -> bool:
    """Whether two frames hold the same samples of the same kind."""
    if one.picture != other.picture or len(one.planes) != len(other.planes):
        return False
    pairs = tuple(zip(one.planes, other.planes, strict=True))
    probe = slice(None, None, max(one.picture.height // PROBE_ROWS, 1))
    return all(np.array_equal(a[probe], b[probe]) for a, b in pairs) and all(
        np.array_equal(a, b) for a, b in pairs
    )
