"""What the frames before and after say of one place of a frame.

A cell of at most 24 x 24 samples is compared with both neighbours, each brought to it by one
displacement, found on what lies around the suspected samples: the generator's own motion was
sought where the damage is, and is the less to be trusted there. What they show is lit as the frame
is around, for film flickers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidrepair.exposure import EXPLAINED, FEWEST, Exposure
from vidrepair.frames import FloatArray
from vidrepair.regions import Box, Mask, Points, dilate

MARGIN = 12
"""Samples around a cell that its displacement is sought on."""
_OUTLIER = 0.08
"""Share of the peak beyond which a sample differs no more: it is another thing."""
_RING_POINTS = 200
"""Samples that a displacement is sought on."""
_EXPOSURE_POINTS = 400
"""Samples that tell how a frame is lit."""
_SEARCH = 4
"""Whole samples around the start that it is sought within."""
TWIN_REACH = 24
"""Samples around its place that a spot's twin is sought within."""
_TWIN_POINTS = 96
"""Samples of a spot, spread over it, that its twin is judged by."""

Displacement = tuple[float, float]
"""Rows and columns from a place in frame t to the same thing in another frame."""


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
    found = [_displacement(picture[0], ring, around, side) for side in sides]
    moves = [move for move, _ in found]
    raw = [sample(side.picture, box, move) for side, move in zip(sides, moves, strict=True)]
    clean = np.stack(
        [~_sample_mask(side.suspected, box, move) for side, move in zip(sides, moves, strict=True)]
    )
    exposures = [
        _exposure(picture, (around, ring), side, move, (there, sound) if around == box else None)
        for side, move, there, sound in zip(sides, moves, raw, clean, strict=True)
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
        displacements=(moves[0], moves[1]),
        exposures=(exposures[0], exposures[1]),
    )


def _exposure(
    picture: FloatArray,
    beside: tuple[Box, Mask],
    side: Neighbour,
    move: Displacement,
    known: tuple[FloatArray, Mask] | None,
) -> Exposure:
    """How the frame is lit beside a cell, against a neighbour whose samples there are sound.

    `known` is what the neighbour shows there (3, h, w), and where it is sound, if it was looked up.
    """
    box, ring = beside
    there, sound = known or (
        sample(side.picture, box, move),
        ~_sample_mask(side.suspected, box, move),
    )
    points = _spread(ring & sound, _EXPOSURE_POINTS)
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


def sample(picture: FloatArray, box: Box, move: Displacement) -> FloatArray:
    """(C, H, W) -> (C, h, w): a window of it, displaced, borders repeated.

    Bicubic (Keys, "Cubic convolution interpolation", 1981, a = -0.5). One displacement for the
    whole window: two short filters do it.
    """
    parts = (move[0] % 1.0, move[1] % 1.0)
    height, width = picture.shape[1:]
    rows = np.arange(box.top - 1, box.bottom + 2) + int(move[0] - parts[0])
    columns = np.arange(box.left - 1, box.right + 2) + int(move[1] - parts[1])
    taken: FloatArray = picture[:, rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)]
    for axis, part in zip((1, 2), parts, strict=True):
        size = taken.shape[axis] - 3
        lines = [taken.take(range(at, at + size), axis) for at in range(4)]
        taken = np.asarray(
            sum(weight * line for weight, line in zip(_keys(part), lines, strict=True)), np.float32
        )
    return taken


def _keys(part: float) -> tuple[float, float, float, float]:
    """Weights of the samples at -1, 0, 1 and 2 for a place 0 <= part < 1."""
    p, q, r = part, part * part, part * part * part
    return (
        -0.5 * p + q - 0.5 * r,
        1.0 - 2.5 * q + 1.5 * r,
        0.5 * p + 2.0 * q - 1.5 * r,
        -0.5 * q + 0.5 * r,
    )


def _sample_mask(mask: Mask, box: Box, move: Displacement) -> Mask:
    """A window of a mask (H, W), displaced by whole samples, a sample wider on all sides."""
    rows = np.clip(np.arange(box.top, box.bottom) + round(move[0]), 0, mask.shape[0] - 1)
    columns = np.clip(np.arange(box.left, box.right) + round(move[1]), 0, mask.shape[1] - 1)
    return dilate(mask[np.ix_(rows, columns)], 1)


def _displacement(
    luma: FloatArray, ring: Mask, box: Box, side: Neighbour
) -> tuple[Displacement, float]:
    """The displacement to a neighbour, from the samples of a ring in a box, and the difference it
    leaves. `luma` is the whole (H, W).

    Whole samples around the generator's motion, and around none, then the vertex of a parabola
    through the best and those beside it.
    """
    rows, columns = _spread(ring, _RING_POINTS)
    here = luma[rows + box.top, columns + box.left]
    quarter = side.motion[
        :, box.top // 4 : -(-box.bottom // 4), box.left // 4 : -(-box.right // 4)
    ].reshape(2, -1)
    across, down = (round(float(value)) for value in np.median(quarter, axis=1))
    first = sample(side.picture[:1], box, (down, across))[0][rows, columns]
    # Film flickers: what all differ by is no sign of motion.
    level = _level(here - first)
    found = []
    for start in {(down, across), (0, 0)}:
        points = (rows, columns)
        costs = _costs_around(side.picture, box, start, points, here - level, _SEARCH, _OUTLIER)
        at = np.unravel_index(int(costs.argmin()), costs.shape)
        move = tuple(
            begin + int(index) - _SEARCH + _vertex(line, int(index))
            for begin, index, line in zip(start, at, (costs[:, at[1]], costs[at[0]]), strict=True)
        )
        found.append((float(costs.min()), move))
    down_by, across_by = min(found)[1]
    there = sample(side.picture[:1], box, (down_by, across_by))[0][rows, columns]
    off = here - there
    off -= _level(off)
    return (down_by, across_by), float(np.minimum(np.abs(off), _OUTLIER).mean())


def _level(off: FloatArray) -> float:
    """What all samples differ by, if that explains why they do; a level does for a search."""
    level = float(np.median(off))
    return level if np.abs(off - level).mean() <= EXPLAINED * np.abs(off).mean() else 0.0


def _spread(mask: Mask, most: int) -> tuple[Points, Points]:
    """Rows and columns of at most so many samples of a mask, spread over it."""
    rows, columns = np.nonzero(mask)
    take = np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)
    return rows[take], columns[take]


def _costs_around(
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


def has_twin(evidence: Evidence, hit: Mask, sides: tuple[Neighbour, ...], likeness: float) -> bool:
    """Whether a spot of this look is in a neighbour, near its place: then it is a thing that moves.

    `hit` (h, w) are its samples, `likeness` the difference below which two are alike, as a share of
    its contrast.
    """
    points = _spread(dilate(hit, 1), _TWIN_POINTS)
    here = evidence.shown[0][points]
    bar = (likeness * float(evidence.contrast[hit].mean())) ** 2
    for side, move, lit in zip(sides, evidence.displacements, evidence.exposures, strict=True):
        start = (round(move[0]), round(move[1]))
        unlit = lit.away(here)
        costs = _costs_around(side.picture, evidence.box, start, points, unlit, TWIN_REACH)
        if float(costs.min()) < bar / lit.gain**2:  # they are in the other light
            return True
    return False
