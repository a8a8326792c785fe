"""Lost frames, made anew: both neighbours moved along the motion between them, in shares.

What the user protects of a lost frame stays in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from vidrepair.frames import FloatArray, Frame, Picture, Plane
from vidrepair.motion_between import (
    CELL,
    beyond,
    bicubic,
    bilinear,
    enlarge,
    estimate_motion,
    places_moved,
)
from vidrepair.planes import add_residual, matte_planes

LONGEST = 12
"""Lost frames in a row that are made of both neighbours; of a longer run only so many are held."""
_LARGE = 1 << 20
"""Samples of a picture above which the motion is not refined at full size: time, for little."""
_UNSEEN = 4.0
"""Samples by which a neighbour's own motion is off that of a place when half its weight is gone."""
_OUTSIDE = np.float32(8.0)
"""Times that as bad is a place's being outside of a picture."""
_GAIN = 2.0
"""The most that contrast is stretched or squeezed to compare the neighbours."""

Planes = tuple[Plane, ...]
MotionPair = tuple[FloatArray, FloatArray]
"""(2, h, w) twice, x and y, in full-size pixels at quarter size: from the frame before to the one
after at its places, and from the one after to the one before at its own."""


def rebuild_lost(
    frames: Iterable[Frame], motion_of: Callable[[int], FloatArray | None]
) -> Iterator[Frame]:
    """Yield finished frames in order, those that are `lost` made of the sound ones around them.

    `motion_of` gives the generator's motion (4, H/4, W/4) at a sound frame's number, to the sound
    ones before and after it; None where it is not known. Between two shots, at an end of the film,
    and in all but the last 12 frames of a longer run, the nearest sound frame of the same shot is
    repeated; before the first sound frame nothing is known, and more than 12 stay as they are.
    Where a lost frame is `protected` its own samples stay.
    Holds a run of at most 12 lost frames and the sound ones beside it.
    """
    before: Frame | None = None
    run: deque[Frame] = deque()
    for frame in frames:
        if frame.lost:
            run.append(frame)
            if len(run) > LONGEST:
                yield _repeated(run.popleft(), before, None)
            continue
        yield from _made(run, before, frame, motion_of)
        run.clear()
        yield frame
        before = frame
    yield from _made(run, before, None, motion_of)


def _made(
    run: Iterable[Frame],
    before: Frame | None,
    after: Frame | None,
    motion_of: Callable[[int], FloatArray | None],
) -> Iterator[Frame]:
    """The frames of a run between two sound ones."""
    motion: MotionPair | None = None
    asked = False
    for frame in run:
        if before is None or after is None or before.shot != after.shot:
            yield _repeated(frame, before, after)
            continue
        if not asked:
            motion, asked = _pair_of(motion_of(before.number), motion_of(after.number)), True
        share = (frame.pts - before.pts) / (after.pts - before.pts)
        planes = rebuild(before.planes, after.planes, frame.picture, motion, share)
        yield _with_planes(frame, planes)


def _pair_of(before: FloatArray | None, after: FloatArray | None) -> MotionPair | None:
    return None if before is None or after is None else (before[2:], after[:2])


def _repeated(frame: Frame, before: Frame | None, after: Frame | None) -> Frame:
    """The frame with the planes of the sound one that is nearest, of its own shot if there is one.

    The shot of a lost frame may be a guess: then any will do.
    """
    sides = [side for side in (before, after) if side is not None]
    sides = [side for side in sides if side.shot == frame.shot] or sides
    if not sides:
        return replace(frame, lost=False)  # nothing is known: it stays as it is
    return _with_planes(frame, min(sides, key=lambda side: abs(side.pts - frame.pts)).planes)


def _with_planes(frame: Frame, planes: Planes) -> Frame:
    """A lost frame with new planes, but for its own samples where it is protected.

    A chroma sample stays where any of its luma sites is protected.
    """
    if frame.protected is None or not frame.protected.any():
        return replace(frame, planes=planes)
    kept = matte_planes(frame.protected, frame.picture)
    mixed = tuple(
        np.where(stays > 0, own, new)
        for stays, own, new in zip(kept, frame.planes, planes, strict=True)
    )
    return replace(frame, planes=mixed)


def rebuild(
    before: Planes, after: Planes, picture: Picture, motion: MotionPair | None, share: float
) -> Planes:
    """The planes of a frame between two others, code values of any depth and format.

    `share` 0..1 says where between them. `motion` is where the search starts, and what tells which
    neighbour sees a place; None: both are found here. Rounded once.
    """
    luma = 1 if picture.format.family == "rgb" else 0
    one, other = _alike(*(_unit(planes[luma], picture) for planes in (before, after)))
    finest = int(one.size > _LARGE)
    starts: tuple[FloatArray, ...] = ()
    height, width = quarter = tuple(-(-side // CELL) for side in one.shape)
    if motion is not None:
        forth, back = (field[:, :height, :width].astype(np.float32) for field in motion)
        starts = (forth, -back)
    field = estimate_motion(one, other, share, starts, finest=finest)
    hint = enlarge(field, quarter)
    own = starts or tuple(
        estimate_motion(one, other, float(side), (hint,), finest=finest + 1) for side in (0, 1)
    )
    bits = picture.format.bits
    made = []
    for first, last in zip(before, after, strict=True):
        # A chroma sample moves by the displacement in its middle, in samples of its own.
        down, across = (whole / part for whole, part in zip(one.shape, first.shape, strict=True))
        scale = np.array([1.0 / across, 1.0 / down], np.float32)[:, None, None]
        moves = [enlarge(part, first.shape) * scale for part in (field, *own)]
        blended = _blend(first.astype(np.float32), last.astype(np.float32), moves, share)
        made.append(add_residual(np.zeros_like(first), blended, bits))
    return tuple(made)


def _unit(plane: Plane, picture: Picture) -> FloatArray:
    """Codes as shares of the peak."""
    return plane.astype(np.float32) * np.float32(1.0 / picture.format.peak)


def _alike(one: FloatArray, other: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two lumas, the second with the brightness and contrast of the first: flicker is no motion."""
    spread = [float(luma.std()) + 1e-3 for luma in (one, other)]
    gain = min(max(spread[0] / spread[1], 1.0 / _GAIN), _GAIN)
    mean = float(other.mean())
    return one, (other - np.float32(mean)) * np.float32(gain) + np.float32(one.mean())


def _blend(
    before: FloatArray, after: FloatArray, moves: Sequence[FloatArray], share: float
) -> FloatArray:
    """Both pictures (H, W) moved and mixed by nearness and by how well each sees a place.

    `moves` (2, H, W) are the displacements at the place, at the places of the picture before, and
    at those of the one after. What comes into sight has another motion in the picture where it
    still is hidden: there stands what hides it.
    """
    move, forth, back = moves
    total: FloatArray = np.zeros_like(before)
    weights: FloatArray = np.zeros_like(before)
    for picture, own, part, weight in (
        (before, forth, -share, 1.0 - share),
        (after, back, 1.0 - share, share),
    ):
        x, y = places_moved(move, part)
        off = sum(np.square(bilinear(own[axis], x, y) - move[axis]) for axis in (0, 1))
        off += np.square(_OUTSIDE * beyond(x, before.shape[1]))
        off += np.square(_OUTSIDE * beyond(y, before.shape[0]))
        seen = np.float32(weight) / (1.0 + off * np.float32(_UNSEEN**-2))
        x, y = x.clip(0, before.shape[1] - 1), y.clip(0, before.shape[0] - 1)
        total += seen * bicubic(picture, x, y)
        weights += seen
    return np.asarray(total / weights, np.float32)
