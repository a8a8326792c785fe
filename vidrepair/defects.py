"""Damage: what the generator marks and the second cue believes, and what is known beforehand.

Spots are judged by `second_cue`. Lasting scratches are in the neighbours, too: `scratch_clearing`
has filled them before. What the decoder had nothing of, and what the user masks, is not judged.

The fill is the mean of both neighbours, brought to the place and lit as it is, or of the one that
is not damaged there itself; else the generator's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from vidrepair.company import NEAR, Odds, Spot, company, spot_of
from vidrepair.evidence import Evidence, Neighbour, gather
from vidrepair.frames import Answer, Defect, FloatArray, Frame, Picture, Repaired
from vidrepair.planes import padded_size, to_generator
from vidrepair.regions import Box, Mask, Region, connected_regions, dilate
from vidrepair.rules import Rules, Veto, defect_at
from vidrepair.scratch_fill import line_matte
from vidrepair.second_cue import (
    CELL,
    CONTRAST,
    GROW,
    believe,
    in_twins,
    kind_of,
    look_at,
    mean_over,
    stands_out,
    without_twins,
)
from vidrepair.settings import DamageSettings
from vidrepair.spikes import find_spikes

CANDIDATE = 0.3
"""Probability from which a sample is looked at."""
SUSPECT = 0.5
"""Probability from which a sample of a neighbour is no evidence."""
SURE = 0.9
"""Probability that a region has to reach somewhere."""
AT_END = 0.9
"""Times the confidence in what two frames of the same side say, at the end of a shot."""
SPIKE = 20
"""Samples of a spike at least; what is smaller the generator finds."""
UNMARKED = 0.85
"""Counts for the generator's probability, of a spike that it marks less than half of."""
AT_EDGE = 4
"""Samples by which such a spike ends before the picture does: things come in over its edge."""
FLOODED = 0.1
"""Share of candidates in a frame from which on it is another picture rather than a dirty one."""


def find_defects(
    answers: Iterable[Answer], wanted: DamageSettings, allows: Veto | None = None
) -> Iterator[Answer]:
    """Yield every answer, in order within its span, its matte and fill settled.

    Holds two answers of each span under way: the frame after is restored by then. Frames at a
    shot's ends lack one of the two neighbours, and are judged by two frames of the other side.
    `allows` is asked about each defect that was found, but for what the user masks.
    """
    rules = Rules(wanted, allows)
    open_spans: dict[int, _Walker] = {}
    for answer in answers:
        if answer.repaired.defect is None:
            assert answer.span.number not in open_spans, (
                "a span goes on in an engine without damage"
            )
            yield answer
            continue
        walker = open_spans.setdefault(answer.span.number, _Walker(rules))
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
    holes: Mask
    """(H, W) where the frame has nothing, or what the user calls damage."""

    def suspected(self) -> Mask:
        """Where it is no evidence for its neighbours."""
        return (self.defect > SUSPECT) | self.holes


@dataclass(frozen=True, slots=True, eq=False)
class _Past:
    """What is kept of a frame two steps later."""

    number: int
    picture: FloatArray
    suspected: Mask


class _Walker:
    """The answers of one span on their way."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._earlier: _Past | None = None
        self._before: _Seen | None = None
        self._here: _Seen | None = None
        self._odds = Odds()

    def take(self, answer: Answer) -> Iterator[Answer]:
        """The next answer; settles the one before it."""
        after = _bring_home(answer)
        if self._here is not None:
            side = Neighbour(after.picture, after.suspected(), self._here.motion[2:])
            yield self._settle(self._here, side)
            self._earlier = None
            if _is_mirrored(answer) and (old := self._before) is not None:
                number = old.answer.frame.number
                self._earlier = _Past(number, old.picture, old.suspected())
            self._before = self._here
        self._here = after

    def finish(self) -> Iterator[Answer]:
        """Settles the last one, against what comes after the span as it was decoded."""
        assert self._here is not None
        last = self._here.answer
        ahead = np.empty_like(self._here.picture)
        following = last.span.walk[-1]
        to_generator(following.planes, following.picture, ahead)
        unknown = _holes_of(following)
        side = Neighbour(ahead, unknown, self._here.motion[2:], restored=False)
        yield self._settle(self._here, side)

    def _settle(self, here: _Seen, next_side: Neighbour) -> Answer:
        """Decide on one frame, given the one after it."""
        answer = here.answer
        frame = answer.frame
        # The motion is of use where frames between this and the next are lost.
        repaired = replace(answer.repaired, motion=here.motion)
        if answer.step < answer.span.warm:
            return replace(answer, repaired=repaired)
        patch = _Patch.blank(here)
        last_side = None
        if self._before is not None:
            last = self._before
            last_side = Neighbour(last.picture, last.suspected(), here.motion[:2])
        if here.holes.any():
            # A shot of one frame has nothing beside it: the generator's own fill is left.
            nothing = replace(next_side, suspected=np.ones_like(here.holes))
            sides = (nothing, nothing) if last_side is None else (last_side, next_side)
            _fill_holes(here, sides, patch, self._rules)
        judging = self._judging(here, last_side, next_side)
        if judging is not None:
            _repair_spots(here, judging, patch, self._rules, self._odds)
        return replace(answer, repaired=_refuse(patch.onto(repaired, frame), frame, self._rules))

    def _judging(
        self, here: _Seen, last_side: Neighbour | None, next_side: Neighbour
    ) -> _Judging | None:
        """What a frame's spots are judged by, if there are two pictures.

        Mirrored, at a shot's ends, both neighbours are one: the frame beyond it joins it.
        """
        answer, earlier = here.answer, self._earlier
        before, frame, after = (answer.span.walk[answer.step + i].number for i in range(3))
        if last_side is None:
            return None
        if before < frame < after:
            return _Judging((last_side, next_side))
        if earlier is None or earlier.number in (before, frame):
            return None
        farther = Neighbour(earlier.picture, earlier.suspected, 2.0 * here.motion[:2])
        # What is seen for this frame alone may be a thing that comes or goes over the edge.
        return _Judging((last_side, farther), AT_END, NEAR)


def _is_mirrored(answer: Answer) -> bool:
    """Whether the frames before and after it are one."""
    walk, step = answer.span.walk, answer.step
    return walk[step].number == walk[step + 2].number


def _bring_home(answer: Answer) -> _Seen:
    """An answer's arrays on the host; from here on it lives there."""
    repaired = answer.repaired
    asked = (repaired.denoise, repaired.fill, repaired.defect, repaired.motion)
    denoise, fill, defect, motion = repaired.place.start_fetch(asked)()
    frame = answer.frame
    picture = np.empty((3, *padded_size(frame.picture)), dtype=np.float32)
    to_generator(frame.planes, frame.picture, picture)
    picture += denoise
    at_home = replace(answer, repaired=Repaired(denoise))
    return _Seen(at_home, picture, fill, defect[0], motion, _holes_of(frame))


def _holes_of(frame: Frame) -> Mask:
    """(H, W), padded size: where a frame has nothing, or what the user calls damage."""
    holes = np.zeros(padded_size(frame.picture), dtype=bool)
    inside = holes[: frame.picture.height, : frame.picture.width]
    for mask in (frame.holes, frame.masked):
        if mask is not None:
            inside |= mask
    return holes


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

    def lay(self, window: tuple[slice, slice], taken: Mask, instead: FloatArray) -> int:
        """Lay (3, h, w) over what is taken (h, w) of a window; how many samples that were."""
        finite = taken & np.isfinite(instead).all(axis=0)
        self.matte[window][finite] = 1.0
        self.fill[:, *window][:, finite] = instead[:, finite]
        return int(np.count_nonzero(finite))

    def onto(self, repaired: Repaired, frame: Frame) -> Repaired:
        """The answer with it, or as it was where there is nothing to repair."""
        size = frame.picture
        self.matte[size.height :] = self.matte[:, size.width :] = 0.0
        if frame.protected is not None:
            self.matte[: size.height, : size.width][frame.protected] = 0.0
        if not self.defects or not self.matte.any():
            return repaired
        return replace(repaired, matte=self.matte, fill=self.fill, defects=tuple(self.defects))


def _refuse(repaired: Repaired, frame: Frame, rules: Rules) -> Repaired:
    """What was filled beforehand and may not be stays as decoded.

    It is judged only now: what the generator sees, and so other frames, never depends on it.
    """
    if frame.filled is None:
        return repaired
    pieces = frame.filled.pieces
    kept = [piece for piece in pieces if rules.allow(piece.defect)]
    if len(kept) == len(pieces):
        return repaired
    left = frame.filled.codes(frame.picture) > 0
    left &= line_matte([piece.line for piece in kept], frame.picture) == 0.0
    if repaired.matte is not None:  # what spots are repaired by stays
        left &= repaired.matte[: left.shape[0], : left.shape[1]] == 0.0
    refused = tuple(piece.defect for piece in pieces if piece not in kept)
    return replace(repaired, left=left, refused=refused)


def _fill_holes(
    here: _Seen, sides: tuple[Neighbour, Neighbour], patch: _Patch, rules: Rules
) -> None:
    """Fill what is known to be damaged, whatever it shows."""
    frame = here.answer.frame
    suspected = here.suspected()[_inner(here)]
    for kind, mask in (("broken", frame.holes), ("masked", frame.masked)):
        if mask is None:
            continue
        wanted = mask if frame.protected is None else mask & ~frame.protected
        for region in connected_regions(wanted):
            defect = defect_at(kind, frame, region.box, 1.0)
            if kind == "broken" and not rules.allow(defect):
                continue
            own, count = region.mask(), 0
            for cell in region.box.cells(CELL):
                inside = own[cell.within(region.box)]
                if inside.any():
                    evidence = gather(here.picture, suspected, cell, inside, sides)
                    instead = _expected(evidence, here)
                    count += patch.lay(evidence.box.window(), evidence.inside, instead)
            patch.defects.append(replace(defect, samples=count))


@dataclass(frozen=True, slots=True)
class _Judging:
    """What the spots of one frame are judged by."""

    sides: tuple[Neighbour, Neighbour]
    trust: float = 1.0
    """What the confidence is multiplied by."""
    margin: int = 0
    """Samples from the picture's edges within which no dust is believed."""


@dataclass(frozen=True, slots=True, eq=False)
class _Believed:
    """A spot that passed the second cue."""

    defect: Defect
    cells: list[tuple[Evidence, Mask]]
    spot: Spot


def _repair_spots(here: _Seen, by: _Judging, patch: _Patch, rules: Rules, odds: Odds) -> None:
    """Fill what the generator marks and the second cue believes, but for things in company."""
    inner = _inner(here)
    suspected = dilate(here.defect[inner] > CANDIDATE, 1)
    if suspected.mean() > FLOODED:
        return
    holes = here.holes[inner]
    candidates = suspected & ~holes
    suspected |= holes
    lasting = by.sides[0].suspected[inner] & by.sides[1].suspected[inner]
    if lasting.any():
        lasting = dilate(lasting, GROW)
    believed: list[_Believed] = []
    for region in connected_regions(candidates):
        found = _judge(region, here, suspected, by, rules)
        if found is not None:
            believed.append(found)
            continue
        if not lasting[region.rows, region.columns].any():
            continue
        # What touches a lasting scratch is judged without it.
        parts = (_judge(part, here, suspected, by, rules) for part in region.parts(~lasting))
        believed += [part for part in parts if part is not None]
    dirt = _without_things(believed, here, by, odds)
    odds.frames += 1
    odds.dirt += sum(one.defect.kind == "dust" for one in dirt)
    if odds.is_dirty:
        spikes = list(_overlooked(here, suspected, by, rules, believed))
        dirt += _without_things(spikes, here, by, odds)
    for one in dirt:
        if rules.allow(one.defect):
            count = sum(_paint(evidence, hit, here, patch) for evidence, hit in one.cells)
            patch.defects.append(replace(one.defect, samples=count))


def _without_things(
    believed: list[_Believed], here: _Seen, by: _Judging, odds: Odds
) -> list[_Believed]:
    """Those that are no things by the company they keep."""
    near = [company(one.spot, here.picture, by.sides) for one in believed]
    # All that is believed counts, also what the user keeps: a run by a sidecar decides alike.
    odds.count(near, [one.spot for one in believed if one.defect.kind == "dust"])
    return [
        one
        for one, (close, _) in zip(believed, near, strict=True)
        if not odds.is_thing(near=close) and not (one.defect.kind == "dust" and odds.is_rain)
    ]


def _overlooked(
    here: _Seen, suspected: Mask, by: _Judging, rules: Rules, believed: list[_Believed]
) -> Iterator[_Believed]:
    """Spikes that are none of the spots that are believed, where they pass the second cue and stand
    out: of these the generator marks a corner, or nothing.
    """
    size = here.answer.frame.picture
    spikes = find_spikes(here.picture, by.sides, size.height, size.width)
    spikes &= ~here.holes[_inner(here)]
    wide = dilate(spikes, 1)
    doubted = suspected | wide
    found = np.zeros_like(spikes)
    for one in believed:
        for evidence, _ in one.cells:
            found[evidence.box.window()] |= evidence.inside
    for region in connected_regions(doubted):
        places = region.rows, region.columns
        if np.count_nonzero(spikes[places]) < SPIKE or found[places].any():
            continue
        if suspected[places].any() and in_twins(
            look_at(region, here.picture, doubted, by.sides), by.sides
        ):
            continue  # with what the generator marks of it, it is a thing
        for part in region.parts(wide):
            if np.count_nonzero(spikes[part.rows, part.columns]) >= SPIKE:
                spot = _judge(part, here, doubted, by, rules, spike=True)
                if spot is not None:
                    yield spot


def _inner(here: _Seen) -> tuple[slice, slice]:
    """The picture itself. What it is padded with shows again what lies at its edges, dirt too, and
    would be no evidence.
    """
    size = here.answer.frame.picture
    return slice(size.height), slice(size.width)


def _judge(
    region: Region,
    here: _Seen,
    suspected: Mask,
    by: _Judging,
    rules: Rules,
    *,
    spike: bool = False,
) -> _Believed | None:
    """One region; None where it is not wanted, or not believed.

    A spike has to be dust. One that the generator marks less than half of has to stand out, too.
    """
    frame, kind = here.answer.frame, kind_of(region)
    surest = float(here.defect[region.rows, region.columns].max())
    # A spot that is protected in part is judged as a whole.
    kept = frame.protected is not None and frame.protected[region.rows, region.columns].all()
    if kind not in rules.wanted.kinds or kept or (kind != "dust" if spike else surest < SURE):
        return None
    if kind == "dust" and _is_near_edge(region.box, frame.picture, by.margin):
        return None
    cells = look_at(region, here.picture, suspected, by.sides)
    if kind == "dust":
        region, cells = without_twins(region, cells, by.sides)
    probability = mean_over(here.defect, cells)
    agrees = believe(region, kind, cells, by.sides, probability)
    if spike and probability < SUSPECT:
        ends = not _is_near_edge(region.box, frame.picture, AT_EDGE)
        alone = ends and stands_out(cells, agrees, bold=surest < SURE)
        surest = UNMARKED if alone else 0.0
    confidence = min(1.0, surest * agrees) * by.trust
    small = spike and sum(int(hit.sum()) for _, hit in cells) < SPIKE
    if confidence == 0.0 or small:
        return None
    return _Believed(defect_at(kind, frame, region.box, confidence), cells, spot_of(cells))


def _is_near_edge(box: Box, size: Picture, margin: int) -> bool:
    """Whether it reaches into a margin along the edges of the picture."""
    inner = box.top >= margin and box.bottom <= size.height - margin
    return not (inner and box.left >= margin and box.right <= size.width - margin)


def _expected(evidence: Evidence, here: _Seen) -> FloatArray:
    """(3, h, w): what the neighbours show, and the generator's own fill where neither is to be
    believed.
    """
    fill = here.fill[:, *evidence.box.window()]
    return np.where(evidence.known, evidence.expected, fill).astype(np.float32)


def _paint(evidence: Evidence, hit: Mask, here: _Seen, patch: _Patch) -> int:
    """Put what is expected where the frame is off, over the soft edge around, and where the
    generator is sure: of a spot that is believed, all is. How many samples that were.
    """
    window = evidence.box.window()
    edge = dilate(hit, GROW) & (evidence.contrast > 0.5 * CONTRAST)
    sure = evidence.inside & (here.defect[window] > SUSPECT)
    return patch.lay(window, edge | dilate(hit, 1) | sure, _expected(evidence, here))
