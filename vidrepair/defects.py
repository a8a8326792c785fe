"""The second cue: what the generator takes for damage is believed where the film agrees.

A spot is repaired where the frames before and after agree with each other and not with it, where
the picture right around it is what they show too, and where neither of them holds its twin: dust
stands alone in time, a ball, a bird or a foot does not. (SDIp of Kokaram, "Motion Picture
Restoration", 1998, on the generator's candidates, with displacements of their own; the twin and the
ring around are what keeps it from eating limbs.)

Lasting scratches are in both neighbours, too; `scratch_runs` finds them over a span.

The fill is the mean of both neighbours, brought to the place, or of the one that is not damaged
there itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from vidrepair.evidence import MARGIN, Evidence, Neighbour, gather, has_twin
from vidrepair.frames import Answer, Defect, FloatArray, Frame, Repaired
from vidrepair.planes import padded_size, to_generator
from vidrepair.regions import Box, Mask, Region, connected_regions, dilate
from vidrepair.scratch_fill import line_fill, line_matte
from vidrepair.scratch_runs import find_lines
from vidrepair.settings import DamageSettings

CANDIDATE = 0.3
"""Probability from which a sample is looked at."""
SUSPECT = 0.5
"""Probability from which a sample of a neighbour is no evidence."""
SURE = 0.9
"""Probability that a region has to reach somewhere."""
CELL = 24
"""Side of the cells that a region is looked at in, samples."""
CONTRAST = 6.0 / 255.0
"""Share of the peak that a sample has to be off both neighbours at least."""
APART = 2.0
"""Times what they are off each other, which is added to that."""
GROW = 2
"""Samples that a repaired spot is larger than what was found: its soft edge."""
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
RING_SHARE_LARGE = 0.9
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
TWIN = 0.35
"""Likeness of a twin."""
TWINS = 0.3
"""Share of a region that may have twins."""
FLOODED = 0.1
"""Share of candidates in a frame from which on it is another picture rather than a dirty one."""


def find_defects(answers: Iterable[Answer], wanted: DamageSettings) -> Iterator[Answer]:
    """Yield every answer, in order within its span, its matte and fill settled.

    Holds two answers of each span under way: the frame after is restored by then. Frames at a
    shot's ends lack one of the two neighbours, and keep what does not last.
    """
    open_spans: dict[int, _Walker] = {}
    for answer in answers:
        if answer.repaired.defect is None:
            assert answer.span.number not in open_spans, (
                "a span goes on in an engine without damage"
            )
            yield answer
            continue
        walker = open_spans.setdefault(answer.span.number, _Walker(wanted))
        yield from walker.take(answer)
        if answer.step == answer.span.steps - 1:
            yield from walker.finish()
            del open_spans[answer.span.number]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """One answer at home, and its frame as restored."""

    answer: Answer
    picture: FloatArray
    """(3, H, W) in the generator's unit: decoded plus residual."""
    fill: FloatArray
    defect: FloatArray
    """(H, W)."""
    motion: FloatArray


class _Walker:
    """The answers of one span on their way."""

    def __init__(self, wanted: DamageSettings) -> None:
        self._wanted = wanted
        self._before: _Seen | None = None
        self._here: _Seen | None = None

    def take(self, answer: Answer) -> Iterator[Answer]:
        """The next answer; settles the one before it."""
        after = _bring_home(answer)
        if self._here is not None:
            side = Neighbour(after.picture, after.defect > SUSPECT, self._here.motion[2:])
            yield self._settle(self._here, side)
            self._before = self._here
        self._here = after

    def finish(self) -> Iterator[Answer]:
        """Settles the last one, against what comes after the span as it was decoded."""
        assert self._here is not None
        last = self._here.answer
        ahead = np.empty_like(self._here.picture)
        following = last.span.walk[-1]
        to_generator(following.planes, following.picture, ahead)
        unknown = np.zeros(self._here.defect.shape, dtype=bool)
        side = Neighbour(ahead, unknown, self._here.motion[2:], restored=False)
        yield self._settle(self._here, side)

    def _settle(self, here: _Seen, next_side: Neighbour) -> Answer:
        """Decide on one frame, given the one after it."""
        answer = here.answer
        before, frame, after = (answer.span.walk[answer.step + i] for i in range(3))
        repaired = replace(answer.repaired, fill=None, defect=None, motion=None)
        if answer.step < answer.span.warm:
            return replace(answer, repaired=repaired)
        patch = _Patch.blank(here)
        if self._before is not None and before.number < frame.number < after.number:
            last = self._before
            last_side = Neighbour(last.picture, last.defect > SUSPECT, here.motion[:2])
            _repair_spots(here, (last_side, next_side), patch, self._wanted)
        _repair_lines(here, patch, self._wanted)
        return replace(answer, repaired=patch.onto(repaired))


def _bring_home(answer: Answer) -> _Seen:
    """An answer's arrays on the host; from here on it lives there."""
    repaired = answer.repaired
    asked = (repaired.denoise, repaired.fill, repaired.defect, repaired.motion)
    denoise, fill, defect, motion = repaired.place.start_fetch(asked)()
    frame = answer.frame
    picture = np.empty((3, *padded_size(frame.picture)), dtype=np.float32)
    to_generator(frame.planes, frame.picture, picture)
    picture += denoise
    return _Seen(replace(answer, repaired=Repaired(denoise)), picture, fill, defect[0], motion)


@dataclass(frozen=True, slots=True, eq=False)
class _Patch:
    """What is laid over one frame, in the making."""

    matte: FloatArray
    fill: FloatArray
    """The restored frame to begin with: chroma samples look beyond the matte."""
    defects: list[Defect]

    @classmethod
    def blank(cls, here: _Seen) -> _Patch:
        """Nothing yet."""
        return cls(np.zeros(here.defect.shape, dtype=np.float32), here.picture.copy(), [])

    def note(self, kind: str, frame: Frame, box: Box, confidence: float) -> None:
        """Write down one place."""
        edges = (box.top, box.left, box.bottom, box.right)
        self.defects.append(Defect(kind, frame.number, edges, round(confidence, 3)))

    def onto(self, repaired: Repaired) -> Repaired:
        """The answer with it, or as it was where there is nothing to repair."""
        if not self.defects:
            return repaired
        return replace(repaired, matte=self.matte, fill=self.fill, defects=tuple(self.defects))


def _repair_spots(
    here: _Seen, sides: tuple[Neighbour, Neighbour], patch: _Patch, wanted: DamageSettings
) -> None:
    """Fill what the generator marks and the second cue believes."""
    frame = here.answer.frame
    suspected = dilate(here.defect > CANDIDATE, 1)
    suspected[frame.picture.height :] = suspected[:, frame.picture.width :] = False
    if suspected[: frame.picture.height, : frame.picture.width].mean() > FLOODED:
        return
    for region in connected_regions(suspected):
        kind = _kind(region)
        surest = float(here.defect[region.rows, region.columns].max())
        if surest < SURE or kind not in wanted.kinds:
            continue
        cells = _look_at(region, here, suspected, sides)
        confidence = min(1.0, surest * _believe(region, kind, cells, sides))
        if confidence == 0.0 or not wanted.takes(kind, confidence):
            continue
        for evidence, hit in cells:
            _paint(evidence, hit, here, patch)
        patch.note(kind, frame, region.box, confidence)
    patch.matte[frame.picture.height :] = patch.matte[:, frame.picture.width :] = 0.0


def _repair_lines(here: _Seen, patch: _Patch, wanted: DamageSettings) -> None:
    """Take the lasting scratches out of what is there by now."""
    answer = here.answer
    if answer.span.lines is None:
        return
    lines = [
        line
        for line in find_lines(answer.frame, answer.span.lines)
        if wanted.takes("scratch", line.confidence)
    ]
    if not lines:
        return
    size = answer.frame.picture
    matte = np.zeros_like(patch.matte)
    matte[: size.height, : size.width] = line_matte(lines, size)
    patch.fill[...] = line_fill(patch.fill, lines)
    np.maximum(patch.matte, matte, out=patch.matte)
    for line in lines:
        columns, half = line.columns(), int(np.ceil(line.width / 2.0))
        left, right = (int(edge) for edge in (columns.min(), columns.max()))
        box = Box(line.first, left - half, line.last, right + half + 1)
        box = box.grown(0, size.height, size.width)
        if matte[box.window()].any():
            patch.note("scratch", answer.frame, box, line.confidence)


def _believe(
    region: Region,
    kind: str,
    cells: list[tuple[Evidence, Mask]],
    sides: tuple[Neighbour, Neighbour],
) -> float:
    """The second cue on one region: the share of the ring that agrees, or 0 where it says no."""
    samples = sum(int(hit.sum()) for _, hit in cells)
    if samples < 2:
        return 0.0
    seen = [(one, hit) for one, hit in cells if hit.any()]
    contrast = sum(float(one.contrast[hit].sum()) for one, hit in seen) / samples
    if contrast < MISFIT * np.mean([one.misfit for one, _ in seen]):
        return 0.0
    area = region.box.grown(MARGIN, *sides[0].suspected.shape)
    agrees, same, around = _look_around(seen, contrast, area)
    width = samples / max(region.box.height, region.box.width)
    large = kind == "dust" and samples > LARGE
    goes_on = same > (0.5 if large else 1.0) * GOES_ON * around
    goes_on |= width >= LIMB and same > 0.8 * RING * width
    if goes_on or agrees < (RING_SHARE_LARGE if large else RING_SHARE):
        return 0.0
    moves = samples > BUSY and _is_busy(_hit_box(seen), samples, sides)
    if moves or (kind == "scratch" and _lasts(region.box, sides)):
        return 0.0
    twins = sum(int(hit.sum()) for one, hit in seen if has_twin(one, hit, sides, TWIN))
    return 0.0 if twins > TWINS * samples else agrees


def _look_at(
    region: Region, here: _Seen, suspected: Mask, sides: tuple[Neighbour, Neighbour]
) -> list[tuple[Evidence, Mask]]:
    """A region cell by cell, with the samples that are off."""
    box, own = region.box, region.mask()
    cells = []
    for cell in box.cells(CELL):
        inside = own[cell.within(box)]
        if not inside.any():
            continue
        evidence = gather(here.picture, suspected, cell, inside, sides)
        off = evidence.contrast > CONTRAST + APART * evidence.apart
        cells.append((evidence, evidence.inside & off & evidence.valid))
    return cells


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


def _lasts(line: Box, sides: tuple[Neighbour, Neighbour]) -> bool:
    """Whether a neighbour has a line there, too: it trembles, and must not blink."""
    for side in sides:
        near = line.grown(TREMBLE, *side.suspected.shape)
        rows = slice(line.top, line.bottom), slice(near.left, near.right)
        if side.suspected[rows].any(axis=1).mean() > LASTING:
            return True
    return False


def _look_around(
    seen: list[tuple[Evidence, Mask]], contrast: float, area: Box
) -> tuple[float, int, int]:
    """Of the samples right around a spot: the share where the frame shows what both neighbours
    show, how many are off as the spot is, and how many there are. `area` holds all cells.
    """
    bar = max(CONTRAST, RING_OFF * contrast)
    good = same = total = 0
    spot = np.zeros((area.height, area.width), dtype=bool)
    for evidence, hit in seen:
        spot[evidence.box.within(area)] |= hit
    for evidence, hit in seen:
        ring = dilate(hit, GROW + RING) & ~dilate(spot[evidence.box.within(area)], GROW)
        good += int(np.count_nonzero(evidence.worst[ring] < bar))
        same += int(np.count_nonzero(evidence.contrast[ring] > bar))
        total += int(np.count_nonzero(ring))
    return good / max(total, 1), same, total


def _kind(region: Region) -> str:
    """By shape: lines of a tape lie, scratches stand, all else is dust."""
    # A region is a sample wider on all sides than what the generator marked.
    height, width = region.box.height - 2, region.box.width - 2
    if height <= 6 and width >= max(LONG, 4 * height):
        return "dropout"
    if height >= max(LONG, 4 * width):
        return "scratch"
    return "dust"


def _paint(evidence: Evidence, hit: Mask, here: _Seen, patch: _Patch) -> None:
    """Put what is expected where the frame is off, over the soft edge around, and where the
    generator is sure: of a spot that is believed, all is.
    """
    window = evidence.box.window()
    edge = dilate(hit, GROW) & (evidence.contrast > 0.5 * CONTRAST)
    sure = evidence.inside & (here.defect[window] > SUSPECT)
    taken = edge | dilate(hit, 1) | sure
    # The generator's own fill where neither neighbour is to be believed.
    instead = np.where(evidence.known, evidence.expected, here.fill[:, *window])
    finite = np.isfinite(instead).all(axis=0)
    patch.matte[window][taken & finite] = 1.0
    patch.fill[:, *window][:, taken & finite] = instead[:, taken & finite]
