"""The second cue on one region of a frame: does the film agree that it is damage?

The frames before and after have to agree with each other and not with it, right around it the
picture has to be what they show too, and neither of them may hold its twin. (SDIp of Kokaram,
"Motion Picture Restoration", 1998, with displacements of its own; the twin and the ring around
are what keeps it from eating limbs.)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vidrepair.evidence import Evidence, Neighbour, gather, has_twin
from vidrepair.frames import FloatArray
from vidrepair.regions import Box, Mask, Region, connected_regions, dilate

GROW = 2
"""Samples that a repaired spot is larger than what was found: its soft edge."""
CELL = 24
"""Side of the cells that a region is looked at in, samples."""
CONTRAST = 6.0 / 255.0
"""Share of the peak that a sample has to be off both neighbours at least."""
APART = 2.0
"""Times what they are off each other, which is added to that."""
LONG = 24
"""Samples that a line is long at least; a shorter one is a hair."""
RING = 3
"""Samples around it where the frame has to show what both neighbours show."""
RING_OFF = 0.5
"""Share of the spot's contrast to within which it has to."""
RING_SHARE = 0.7
"""Share of the ring that has to."""
LARGE = 60
"""Samples from which a spot is as large as a foot, and half as much of its ring may go on."""
RING_SHARE_LARGE = 0.8
"""Share of such a spot's ring that has to agree."""
GOES_ON = 0.08
"""Share of the ring that may be off as the spot is, on the same side of both: it would go on there,
as a leg does above its foot."""
LIMB = 5.0
"""Samples of width from which a spot's ring may not be off over nearly that width either."""
BUSY = 100
"""Samples from which a compact spot may be a thing that changes its shape: a wing."""
COMPACT = 0.5
"""Share of its box that a compact spot covers."""
UNREST = 0.08
"""Share of the margins around a spot of so many samples, other suspects left out, that may be off:
with more it is a part of something that moves, as a hand is of an arm."""
HUGE = 400
"""Samples from which half of UNREST is too much,"""
DENSE = 0.4
"""of a spot that covers this share of its box: lines that cross cover less."""
NEAR = 40
"""Samples away from a spot that such a thing is looked for in the neighbours."""
SIMILAR = 0.4
"""Ratio of their sizes down to which two spots are alike."""
TREMBLE = 4
"""Samples that a lasting scratch may have moved since the frame before."""
LASTING = 0.7
"""Share of its height from which one is seen in a neighbour."""
MISFIT = 5.0
"""Times the difference that the motion leaves that a spot's contrast has to be."""
CERTAIN = 0.85
"""The generator's probability, on average over a spot, from which its word counts for more: such a
spot may be large, compact, or on an edge, where what is around it agrees less."""
MISFIT_CERTAIN = 3.0
"""As MISFIT, of such a spot."""
GOES_ON_CERTAIN = 2.0
"""Times as much of the ring that may then be off as the spot is."""
BOLD = 40.0 / 255.0
"""Share of the peak that a spot is off which is believed without the generator's word,"""
MISFIT_BOLD = 10.0
"""how many times what the motion leaves,"""
RING_SHARE_BOLD = 0.95
"""the share of its ring that has to agree,"""
COLOUR = 8.0 / 255.0
"""and the share of the peak by which it may be farther from gray than what it covers: dirt is."""
TWIN = 0.35
"""Likeness of a twin."""
TWINS = 0.3
"""Share of a region that may have twins."""
PIECE = 12
"""Samples from which a piece of a region may be a thing of its own: dust may lie beside a bird."""
OTHER_TONE = 0.5
"""Share of how far they are off by which a piece has to differ from such a thing, not to be a part
of it."""


def kind_of(region: Region) -> str:
    """By shape: lines of a tape lie, scratches stand, all else is dust."""
    # A region is a sample wider on all sides than what the generator marked.
    height, width = region.box.height - 2, region.box.width - 2
    if height <= 6 and width >= max(LONG, 4 * height):
        return "dropout"
    if height >= max(LONG, 4 * width):
        return "scratch"
    return "dust"


def believe(
    region: Region,
    kind: str,
    cells: list[tuple[Evidence, Mask]],
    sides: tuple[Neighbour, Neighbour],
    probability: float,
) -> float:
    """The second cue on one region: the share of the ring that agrees, or 0 where it says no.

    `probability` is the generator's, on average over what is off.
    """
    samples = sum(int(hit.sum()) for _, hit in cells)
    if samples < 2:
        return 0.0
    seen = [(one, hit) for one, hit in cells if hit.any()]
    contrast = sum(float(one.contrast[hit].sum()) for one, hit in seen) / samples
    certain = probability > CERTAIN
    if contrast < (MISFIT_CERTAIN if certain else MISFIT) * np.mean(
        [one.misfit for one, _ in seen]
    ):
        return 0.0
    area = _area(cells)
    agrees, same, around = _look_around(seen, contrast, area)
    large = kind == "dust" and samples > LARGE
    beyond = GOES_ON * (0.5 if large else 1.0) * (GOES_ON_CERTAIN if certain else 1.0)
    width = samples / max(region.box.height, region.box.width)
    limb = not certain and width >= LIMB and same > 0.8 * RING * width
    needed = RING_SHARE_LARGE if large and not certain else RING_SHARE
    if limb or same > beyond * around or agrees < needed:
        return 0.0
    moves = kind == "dust" and samples > BUSY and _is_restless(seen, contrast, area)
    moves |= not certain and samples > BUSY and _is_busy(_hit_box(seen), samples, sides)
    if moves or (kind == "scratch" and _lasts(region.box, sides)):
        return 0.0
    return 0.0 if in_twins(seen, sides) else agrees


def stands_out(cells: list[tuple[Evidence, Mask]], agrees: float, *, bold: bool) -> bool:
    """Whether a spot that is believed lies alone and is gray; where it has to be `bold`, also so
    much off that it needs no other word.

    `agrees` is the share of its ring that does.
    """
    seen = [(one, hit) for one, hit in cells if hit.any()]
    if not seen:
        return False
    contrast = float(np.concatenate([one.contrast[hit] for one, hit in seen]).mean())
    misfit = float(np.mean([one.misfit for one, _ in seen]))
    if bold and (agrees < RING_SHARE_BOLD or contrast < max(BOLD, MISFIT_BOLD * misfit)):
        return False
    if _is_restless(seen, contrast, _area(cells)):
        return False
    own, covered = (
        np.abs(np.concatenate(colours, axis=1).mean(axis=1))
        for colours in (
            [one.shown[1:, hit] for one, hit in seen],
            [one.expected[1:, hit] for one, hit in seen],
        )
    )
    return bool((own < covered + COLOUR).all())


def look_at(
    region: Region, picture: FloatArray, suspected: Mask, sides: tuple[Neighbour, Neighbour]
) -> list[tuple[Evidence, Mask]]:
    """A region cell by cell, with the samples that are off."""
    box, own = region.box, region.mask()
    cells = []
    for cell in box.cells(CELL):
        inside = own[cell.within(box)]
        if not inside.any():
            continue
        evidence = gather(picture, suspected, cell, inside, sides)
        off = evidence.contrast > CONTRAST + APART * evidence.apart
        cells.append((evidence, evidence.inside & off & evidence.valid))
    return cells


def without_twins(
    region: Region, cells: list[tuple[Evidence, Mask]], sides: tuple[Neighbour, Neighbour]
) -> tuple[Region, list[tuple[Evidence, Mask]]]:
    """A region in several pieces, without those that a neighbour has, too, and those of their tone:
    a limb is of the tone of its body, and changes its shape.
    """
    area = _area(cells)
    things = _things(_join(cells, area), cells, sides, area)
    if not things.any():
        return region, cells
    beside = dilate(things, GROW)
    left = ~beside[region.rows - area.top, region.columns - area.left]
    kept = [
        (
            replace(one, inside=one.inside & ~beside[one.box.within(area)]),
            hit & ~things[one.box.within(area)],
        )
        for one, hit in cells
    ]
    if not left.any():
        return region, kept
    return Region(region.rows[left], region.columns[left]), kept


def _things(
    spot: Mask,
    cells: list[tuple[Evidence, Mask]],
    sides: tuple[Neighbour, Neighbour],
    area: Box,
) -> Mask:
    """Which samples of a spot, in the window `area`, are no damage by what its pieces are."""
    things = np.zeros_like(spot)
    pieces = connected_regions(dilate(spot, 1))
    if len(pieces) < 2:
        return things
    found = []
    for piece in pieces:
        own = np.zeros_like(spot)
        own[piece.rows, piece.columns] = True
        parts = [(one, hit & own[one.box.within(area)]) for one, hit in cells]
        parts = [(one, hit) for one, hit in parts if hit.any()]
        samples = sum(int(hit.sum()) for _, hit in parts)
        off = [(one.shown - one.expected)[0][hit] for one, hit in parts]
        tone = float(np.concatenate(off).mean()) if off else 0.0
        has = samples >= PIECE and in_twins(parts, sides)
        found.append((own, tone, has))
    tones = [tone for _, tone, has in found if has]
    for own, tone, has in found:
        alike = (abs(tone - other) < OTHER_TONE * max(abs(tone), abs(other)) for other in tones)
        if has or any(alike):
            things |= own
    return things


def _area(cells: list[tuple[Evidence, Mask]]) -> Box:
    """The smallest window that holds all cells with their margins."""
    return Box.around(one.box for one, _ in cells)


def in_twins(cells: list[tuple[Evidence, Mask]], sides: tuple[Neighbour, Neighbour]) -> bool:
    """Whether too many samples of a spot have a twin in a neighbour: it is a thing that moves."""
    seen = [(one, hit, int(hit.sum())) for one, hit in cells if hit.any()]
    twins = sum(count for one, hit, count in seen if has_twin(one, hit, sides, TWIN))
    return twins > TWINS * sum(count for _, _, count in seen)


def mean_over(picture: FloatArray, cells: list[tuple[Evidence, Mask]]) -> float:
    """The mean of a picture (H, W) over the samples that are off; 0 where none is."""
    values = [picture[one.box.window()][hit] for one, hit in cells if hit.any()]
    return float(np.concatenate(values).mean()) if values else 0.0


def _hit_box(seen: list[tuple[Evidence, Mask]]) -> Box:
    """The smallest that holds all samples that are off, of cells that have some."""
    edges = []
    for evidence, hit in seen:
        rows, columns = np.nonzero(hit)
        top, left = evidence.box.top, evidence.box.left
        edges.append((rows.min() + top, columns.min() + left))
        edges.append((rows.max() + top + 1, columns.max() + left + 1))
    (top, left), (bottom, right) = np.min(edges, axis=0), np.max(edges, axis=0)
    return Box(int(top), int(left), int(bottom), int(right))


def _is_busy(spot: Box, samples: int, sides: tuple[Neighbour, Neighbour]) -> bool:
    """Whether a compact spot has its like near its place, of any shape, in a neighbour."""
    if samples < COMPACT * spot.height * spot.width:
        return False
    for side in sides:
        near = spot.grown(NEAR, *side.suspected.shape)
        for other in connected_regions(dilate(side.suspected[near.window()], 1)):
            long, short = sorted((other.box.height, other.box.width), reverse=True)
            if SIMILAR * samples < len(other.rows) < samples / SIMILAR and long < 3 * short:
                return True
    return False


def _is_restless(seen: list[tuple[Evidence, Mask]], contrast: float, area: Box) -> bool:
    """Whether too much of what lies farther around a spot is off, too. `area` holds all cells."""
    bar, spot = _bar(contrast), _join(seen, area)
    around, off = np.zeros_like(spot), np.zeros_like(spot)
    for evidence, _ in seen:
        place = evidence.box.within(area)
        sure = evidence.valid & ~dilate(evidence.doubted, GROW)
        around[place] |= sure
        off[place] |= sure & (evidence.worst > bar)
    around &= ~dilate(spot, GROW + RING)
    samples, box = np.count_nonzero(spot), _hit_box(seen)
    huge = samples > HUGE and samples > DENSE * box.height * box.width
    most = UNREST * (0.5 if huge else 1.0)
    return bool(np.count_nonzero(off & around) > most * np.count_nonzero(around))


def _bar(contrast: float) -> float:
    """How far off a sample around a spot of this contrast is off as the spot is."""
    return max(CONTRAST, RING_OFF * contrast)


def _join(seen: list[tuple[Evidence, Mask]], area: Box) -> Mask:
    """The samples that are off, of all cells, in the window `area` that holds them."""
    spot = np.zeros((area.height, area.width), dtype=bool)
    for evidence, hit in seen:
        spot[evidence.box.within(area)] |= hit
    return spot


def _lasts(line: Box, sides: tuple[Neighbour, Neighbour]) -> bool:
    """Whether both neighbours have a line there, too: it trembles, and must not blink.

    In one it may be twice as far away. A line that only one of them has is another one. Of a frame
    that no generator has seen yet nothing is known.
    """
    known = [side for side in sides if side.restored]
    close, far = (
        [_has_line(side, line, reach) for side in known] for reach in (TREMBLE, 2 * TREMBLE)
    )
    return any(close) and all(far)


def _has_line(side: Neighbour, line: Box, reach: int) -> bool:
    """Whether a neighbour is suspected over much of a line's height, within so many samples."""
    near = line.grown(reach, *side.suspected.shape)
    rows = slice(line.top, line.bottom), slice(near.left, near.right)
    return bool(side.suspected[rows].any(axis=1).mean() > LASTING)


def _look_around(
    seen: list[tuple[Evidence, Mask]], contrast: float, area: Box
) -> tuple[float, int, int]:
    """Of the samples right around a spot: the share where the frame shows what both neighbours
    show, how many are off as the spot is, and how many there are. `area` holds all cells.
    """
    bar, spot = _bar(contrast), _join(seen, area)
    good = same = total = 0
    for evidence, hit in seen:
        ring = dilate(hit, GROW + RING) & ~dilate(spot[evidence.box.within(area)], GROW)
        ring &= evidence.valid  # elsewhere the neighbours show dirt of their own
        good += int(np.count_nonzero(evidence.worst[ring] < bar))
        same += int(np.count_nonzero(evidence.contrast[ring] > bar))
        total += int(np.count_nonzero(ring))
    return good / max(total, 1), same, total
