"""What the frames before and after say of one place of a frame.

A cell of at most 24 x 24 samples is compared with both neighbours, each brought to it by a motion
found on what lies around the suspected samples: the generator's own was sought where the damage
is, and is the less to be trusted there. What they show is lit as the frame is around, for film
flickers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidrepair.exposure import FEWEST, Exposure
from vidrepair.frames import FloatArray
from vidrepair.local_motion import (
    Displacement,
    LocalMotion,
    costs_around,
    find_motion,
    spread,
)
from vidrepair.regions import Box, Mask, dilate

MARGIN = 12
"""Samples around a cell that its motion is sought on."""
_EXPOSURE_POINTS = 400
"""Samples that tell how a frame is lit."""
TWIN_REACH = 24
"""Samples around its place that a spot's twin is sought within."""
_TWIN_POINTS = 96
"""Samples of a spot, spread over it, that its twin is judged by."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbour:
    """A picture before or after frame t."""

    picture: FloatArray
    """(3, H, W) in the generator's unit, without its noise where that is known."""
    suspected: Mask
    """(H, W) where it may be damaged itself: no evidence."""
    motion: FloatArray
    """(2, H/4, W/4) the displacement to it, x and y, in full-size pixels."""
    restored: bool = True
    """Else it is as it was decoded: it may be judged by, but is no fill where the other one is."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """A cell with its margin, and what both neighbours show there."""

    box: Box
    inside: Mask
    """Where the suspected samples of the cell are."""
    doubted: Mask
    """Where anything in the window is suspected."""
    shown: FloatArray
    """(3, h, w) of frame t."""
    expected: FloatArray
    """(3, h, w) the mean of the neighbours that are not suspected there themselves, in the light of
    frame t."""
    known: Mask
    """Where there is one at least."""
    contrast: FloatArray
    """(h, w) how far the frame is off both, on the same side, in the plane where it is most."""
    worst: FloatArray
    """(h, w) how far off the farther one."""
    apart: FloatArray
    """(h, w) how far they are off each other."""
    valid: Mask
    """Where both are evidence."""
    misfit: float
    """Mean difference around the suspected samples: how well the motion is known."""
    displacements: tuple[Displacement, Displacement]
    """As one, to both: where what moves on its own is sought from."""
    exposures: tuple[Exposure, Exposure]


def gather(
    picture: FloatArray, suspected: Mask, cell: Box, inside: Mask, sides: tuple[Neighbour, ...]
) -> Evidence:
    """Look at one cell of a picture (3, H, W).

    `suspected` (H, W) is all that is in doubt in this frame, `inside` (h, w) what is asked for in
    the cell. `sides` are the frame before and the one after.
    """
    height, width = suspected.shape
    box = cell.grown(MARGIN, height, width)
    wide = np.zeros((box.height, box.width), dtype=bool)
    wide[cell.within(box)] = inside
    shown = picture[:, *box.window()]
    around, ring = _surroundings(suspected, cell)
    found = [find_motion(picture[0], ring, around, side.picture, side.motion) for side in sides]
    ways = [way for way, _ in found]
    raw = [way.picture(side.picture, box) for side, way in zip(sides, ways, strict=True)]
    clean = np.stack(
        [~way.mask(side.suspected, box) for side, way in zip(sides, ways, strict=True)]
    )
    exposures = [
        _exposure(picture, (around, ring), side, way, (there, sound) if around == box else None)
        for side, way, there, sound in zip(sides, ways, raw, clean, strict=True)
    ]
    warped = [one.on(there) for one, there in zip(exposures, raw, strict=True)]
    usable = clean.copy()
    for number, side in enumerate(sides):
        if not side.restored:
            usable[number] &= ~clean[1 - number]
    weight = usable / np.maximum(usable.sum(axis=0), 1)
    off = [shown - picture_there for picture_there in warped]
    size = np.abs(np.stack(off))
    same = np.sign(off[0]) == np.sign(off[1])
    return Evidence(
        box=box,
        inside=wide,
        doubted=suspected[box.window()],
        shown=shown,
        expected=np.einsum("nhw,nchw->chw", weight, np.stack(warped)).astype(np.float32),
        known=np.asarray(clean.any(axis=0)),
        contrast=np.where(same, size.min(axis=0), 0.0).max(axis=0),
        worst=size.max(axis=(0, 1)),
        apart=np.abs(warped[0] - warped[1]).max(axis=0),
        valid=np.asarray(clean.all(axis=0)),
        misfit=max(cost for _, cost in found),
        displacements=(ways[0].move, ways[1].move),
        exposures=(exposures[0], exposures[1]),
    )


def _exposure(
    picture: FloatArray,
    beside: tuple[Box, Mask],
    side: Neighbour,
    way: LocalMotion,
    known: tuple[FloatArray, Mask] | None,
) -> Exposure:
    """How the frame is lit beside a cell, against a neighbour whose samples there are sound.

    `known` is what the neighbour shows there (3, h, w), and where it is sound, if it was looked up.
    """
    box, ring = beside
    there, sound = known or (
        way.picture(side.picture, box),
        ~way.mask(side.suspected, box),
    )
    points = spread(ring & sound, _EXPOSURE_POINTS)
    shown = picture[:, points[0] + box.top, points[1] + box.left]
    return Exposure.between(there[:, *points], shown)


def _surroundings(suspected: Mask, cell: Box) -> tuple[Box, Mask]:
    """A window around a cell that has samples beyond doubt, and where they are (h, w).

    Inside a hole it reaches further, until the picture begins; without any, all count.
    """
    for margin in (MARGIN, 4 * MARGIN, 16 * MARGIN):
        box = cell.grown(margin, *suspected.shape)
        ring = ~dilate(suspected[box.window()], 1)
        if np.count_nonzero(ring) >= FEWEST:
            return box, ring
    box = cell.grown(MARGIN, *suspected.shape)
    return box, np.ones((box.height, box.width), dtype=bool)


def has_twin(evidence: Evidence, hit: Mask, sides: tuple[Neighbour, ...], likeness: float) -> bool:
    """Whether a spot of this look is in a neighbour, near its place: then it is a thing that moves.

    `hit` (h, w) are its samples, `likeness` the difference below which two are alike, as a share of
    its contrast.
    """
    points = spread(dilate(hit, 1), _TWIN_POINTS)
    here = evidence.shown[0][points]
    bar = (likeness * float(evidence.contrast[hit].mean())) ** 2
    for side, move, lit in zip(sides, evidence.displacements, evidence.exposures, strict=True):
        start = (round(move[0]), round(move[1]))
        unlit = lit.away(here)
        costs = costs_around(side.picture, evidence.box, start, points, unlit, TWIN_REACH)
        if float(costs.min()) < bar / lit.gain**2:  # they are in the other light
            return True
    return False
