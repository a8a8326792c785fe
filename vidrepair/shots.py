"""Cuts: every frame is stamped with the number of its shot.

A cut is found on thumbnails of 24 x 32 cells, whose means hardly see grain. Two thumbnails are
compared after their contrast and brightness are made equal, so that flicker and fades do not
count, and block by block at the best of some displacements, so that motion does not count. What
remains is a share of the pictures' own contrast. docs/shots.md compares this with FFmpeg's scdet
filter and with PySceneDetect, and names the cases on which both fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vidrepair.frames import FloatArray, Frame, Picture
from vidrepair.planes import block_means, rgb_to_ycbcr

ROWS, COLUMNS = 24, 32
"""Cells of a thumbnail."""
TALL = 10
"""Rows read per cell at most: more would cost time and no longer quieten the grain."""
BLOCK = 4
"""Cells along the side of a block that is displaced as one."""
REACH = 2
"""Cells a block may be displaced each way: a sixteenth of the width."""
FLOOR = 8.0 / 255.0
"""Contrast, as a share of the peak, below which a difference stops to count."""
GAIN = 2.0
"""The most that contrast is stretched or squeezed to compare two frames."""
CUT = 0.16
"""Difference above which a cut may lie; unrelated pictures have about 0.3 to 1."""
AGITATION = 3.0
"""A cut differs this many times more than the frames around it do from one another,"""
UNRELATED = 0.4
"""or more than this, which motion hardly reaches: a run of one-frame shots."""
BEFORE, AFTER = 3, 2
"""Distinct frames looked at before and after the one in question."""
HELD = 5
"""Frames held back at most, when repeats keep distinct ones from arriving."""


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What is kept of a frame that is not a repeat."""

    cells: FloatArray
    """(3, 24, 32) means of Y', Cb, Cr as shares of the peak; the mean of Y' is taken out, and
    Cb and Cr are 0 for gray."""
    luma: float
    """Variance of the Y' cells."""
    chroma: float
    """Variances of the Cb and Cr cells, added."""
    picture: Picture
    step: float
    """Difference from the distinct frame before; 0 for the first."""


def number_shots(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield every frame once, in order, stamped with its shot from 0 up.

    A shot starts at frame n if frames n - 3 to n - 1 all differ from frames n to n + 2: what
    returns after one or two frames is a flash or damage, not a cut. A frame that is passed over
    never starts a shot and does not count as one of these frames; a change of size or pixel format
    always does. The answer depends on no other frames: a job that starts elsewhere finds the same
    cuts from its fourth distinct frame on. Holds 2 frames back, at most 5 where they repeat.
    """
    held: deque[tuple[Frame, _Look | None]] = deque()
    past: deque[_Look] = deque(maxlen=BEFORE)
    newest: _Look | None = None
    shot = 0
    for arrived in frames:
        look = None if arrived.passed_over and newest is not None else _look(arrived, newest)
        newest = look or newest
        held.append((arrived, look))
        while _ready(held):
            frame, starts = _release(held, past)
            shot += starts
            yield replace(frame, shot=shot)
    while held:
        frame, starts = _release(held, past)
        shot += starts
        yield replace(frame, shot=shot)


def _ready(held: Sequence[tuple[Frame, _Look | None]]) -> bool:
    """Whether enough is known to decide on the oldest frame held."""
    if not held:
        return False
    distinct = sum(look is not None for _, look in held)
    return held[0][1] is None or distinct > AFTER or len(held) > HELD


def _release(held: deque[tuple[Frame, _Look | None]], past: deque[_Look]) -> tuple[Frame, bool]:
    """Take the oldest frame out of `held`, its look into `past`; whether it starts a shot."""
    ahead = [look for _, look in held if look is not None][: AFTER + 1]
    frame, look = held.popleft()
    if look is None:
        return frame, False
    starts = bool(past) and _is_cut(tuple(past), ahead)
    past.append(look)
    return frame, starts


def _is_cut(before: Sequence[_Look], ahead: Sequence[_Look]) -> bool:
    """Whether `before` (oldest first) and `ahead` (the frame in question first) are two shots."""
    look = ahead[0]
    if look.picture != before[-1].picture:
        return True
    # The second smallest: the neighbours of a one-frame shot are cuts themselves.
    around = sorted([other.step for other in (*before[1:], *ahead[1:])])
    calm = around[len(around) // 3] if around else 0.0
    bar = min(max(CUT, AGITATION * calm), UNRELATED)
    if look.step <= bar:
        return False
    # The nearest pair is look.step itself.
    pairs = [(a, b) for a in reversed(before) for b in ahead][1:]
    return all(a.picture != b.picture or _difference(a, b) > bar for a, b in pairs)


def _look(frame: Frame, before: _Look | None) -> _Look:
    """Reduce a frame to its cells and measure its step from the distinct frame before."""
    cells = _cells(frame)
    cells[0] -= cells[0].mean()
    luma, *chroma = (float(np.square(plane - plane.mean()).mean()) for plane in cells)
    look = _Look(cells, luma, sum(chroma), frame.picture, 0.0)
    if before is None or before.picture != frame.picture:
        return look
    # Without displacement it is cheaper and never smaller; below this it cannot decide anything.
    step = _difference(before, look, still=True)
    return replace(look, step=step if step <= CUT / AGITATION else _difference(before, look))


def _difference(a: _Look, b: _Look, *, still: bool = False) -> float:
    """Share of two thumbnails' contrast that brightness, contrast and motion do not explain.

    0 for equal pictures, 0.3 to 1 or more for unrelated ones. `still` tries no displacement.
    """
    deviations = np.sqrt([a.luma + FLOOR**2, b.luma + FLOOR**2])
    gains = np.clip(np.sqrt(deviations.prod()) / deviations, 1.0 / GAIN, GAIN)
    # Light scales the distance of chroma from gray as it scales luma.
    one, other = (look.cells * np.float32(gain) for look, gain in zip((a, b), gains, strict=True))
    left = float(np.square(one - other).sum()) if still else _least(one, other)
    contrast = float(np.dot([a.luma + a.chroma, b.luma + b.chroma], gains**2))
    return left / (ROWS * COLUMNS) / (contrast + 2.0 * FLOOR**2)


def _least(one: FloatArray, other: FloatArray) -> float:
    """Sum of squared differences of (3, 24, 32) cells, each block of `other` best displaced."""
    rows = np.clip(np.arange(-REACH, ROWS + REACH), 0, ROWS - 1)
    columns = np.clip(np.arange(-REACH, COLUMNS + REACH), 0, COLUMNS - 1)
    padded = other[:, rows][:, :, columns]
    shifted = sliding_window_view(padded, (ROWS, COLUMNS), axis=(1, 2))
    squares = np.square(shifted - one[:, None, None]).sum(axis=0)
    blocks = squares.reshape(-1, ROWS // BLOCK, BLOCK, COLUMNS // BLOCK, BLOCK).sum(axis=(2, 4))
    return float(blocks.min(axis=0).sum())


def _cells(frame: Frame) -> FloatArray:
    """(3, 24, 32) means of Y', Cb, Cr as shares of the peak; Cb and Cr are 0 for gray."""
    picture = frame.picture
    cells = np.zeros((3, ROWS, COLUMNS), dtype=np.float32)
    for index, plane in enumerate(frame.planes[:3]):
        cells[index] = block_means(plane, ROWS, COLUMNS, TALL) / picture.format.peak
    if picture.format.family == "rgb":
        # As luma and chroma, so that light alone does not change all three.
        matrix = rgb_to_ycbcr(picture.matrix).astype(np.float32)
        cells = np.tensordot(matrix, cells, axes=1).astype(np.float32)
    elif picture.format.family == "yuv":
        cells[1:] -= 0.5
    return cells
