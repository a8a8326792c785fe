"""The spots of one frame that are damage: what the generator marks, or overlooks, and all the other
cues believe.

A region is judged as a whole. One that is not believed, or of which little is off, may be several
that touch: then it is judged without the lasting scratch that it lies on, and lines that cross are
judged one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from vidrepair.company import Odds, Spot, company, spot_of
from vidrepair.evidence import Evidence, Neighbour
from vidrepair.frames import Answer, Defect, FloatArray, Picture
from vidrepair.regions import Box, Mask, Region, connected_regions, dilate
from vidrepair.rules import Rules, defect_at
from vidrepair.second_cue import (
    GROW,
    LONG,
    believe,
    in_twins,
    kind_of,
    look_at,
    mean_over,
    stands_out,
    without_twins,
)
from vidrepair.spikes import find_spikes

CANDIDATE = 0.3
"""Probability from which a sample is looked at."""
SUSPECT = 0.5
"""Probability from which a sample of a neighbour is no evidence."""
SURE = 0.9
"""Probability that a region has to reach somewhere."""
SPIKE = 20
"""Samples of a spike at least; what is smaller the generator finds."""
UNMARKED = 0.85
"""Counts for the generator's probability, of a spike that it marks less than half of."""
AT_EDGE = 4
"""Samples by which such a spike ends before the picture does: things come in over its edge."""
FLOODED = 0.1
"""Share of candidates in a frame from which on it is another picture rather than a dirty one."""
SEEN = 0.03
"""Share of a region that has to be off: where its neighbours are dirty it may be a speck of it."""
TALL = 0.5
"""Share of the picture's height from which a standing line is nothing that flies."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
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

    def inner(self) -> tuple[slice, slice]:
        """The picture itself. What it is padded with shows again what lies at its edges, dirt too,
        and would be no evidence.
        """
        size = self.answer.frame.picture
        return slice(size.height), slice(size.width)


@dataclass(frozen=True, slots=True)
class Judging:
    """What the spots of one frame are judged by."""

    sides: tuple[Neighbour, Neighbour]
    trust: float = 1.0
    """What the confidence is multiplied by, but of a line over much of the picture."""
    margin: int = 0
    """Samples from the picture's edges within which no dust is believed."""


@dataclass(frozen=True, slots=True, eq=False)
class Believed:
    """A spot that passed the second cue."""

    defect: Defect
    cells: list[tuple[Evidence, Mask]]
    spot: Spot


def find_spots(here: Seen, by: Judging, rules: Rules, odds: Odds) -> list[Believed]:
    """What the generator marks and the second cue believes, but for things in company; on a dirty
    span also what the generator overlooks. `odds` are told of the frame.
    """
    judge, believed = _marked(here, by, rules)
    if judge is None:
        return []
    dirt = _dirt(believed, here, by, odds)
    if odds.is_dirty:
        dirt += _without_things(list(_overlooked(judge, believed)), here, by, odds)
    return dirt


def learn_dirt(here: Seen, by: Judging, rules: Rules, odds: Odds) -> None:
    """Tell `odds` how dirty a frame of the warm-up is.

    Not of the company that its spots keep: a mirrored warm-up is of frames that come again.
    """
    judge, believed = _marked(here, by, rules)
    if judge is not None:
        seen = replace(odds)
        _dirt(believed, here, by, seen)
        odds.frames, odds.dirt = seen.frames, seen.dirt


def _marked(here: Seen, by: Judging, rules: Rules) -> tuple[_Judge | None, list[Believed]]:
    """The judge of a frame, and what it believes of what the generator marks; no judge of a frame
    that is another picture.
    """
    inner = here.inner()
    suspected = dilate(here.defect[inner] > CANDIDATE, 1)
    if suspected.mean() > FLOODED:
        return None, []
    holes = here.holes[inner]
    judge = _Judge(here, suspected | holes, by, rules)
    regions = connected_regions(suspected & ~holes)
    return judge, [one for region in regions for one in judge.believed(region)]


def _dirt(believed: list[Believed], here: Seen, by: Judging, odds: Odds) -> list[Believed]:
    """Those that are no things; `odds` are told of all, and of the frame."""
    dirt = _without_things(believed, here, by, odds)
    odds.frames += 1
    odds.dirt += sum(one.defect.kind == "dust" for one in dirt)
    return dirt


@dataclass(frozen=True, slots=True, eq=False)
class _Judge:
    """Whether regions of a frame are damage."""

    here: Seen
    suspected: Mask
    """(H, W) all that is in doubt in the frame."""
    by: Judging
    rules: Rules

    def believed(self, region: Region) -> list[Believed]:
        """A region as it is; where it is not believed, or little of it is off, what of it is
        believed apart, if anything is.
        """
        whole = self.spot(region)
        if whole is not None and _is_seen(whole, region):
            return [whole]
        found = []
        for part in self._without_lasting(region):
            one = None if part is region else self.spot(part)
            if one is not None and _is_seen(one, part):
                found.append(one)
            else:
                found += self._lines(part)
        return found or ([] if whole is None else [whole])

    def _without_lasting(self, region: Region) -> list[Region]:
        """What of it does not lie on what both neighbours have, too, such as a lasting scratch.

        Of a line, on what one of them has: a line that trembles is elsewhere in the other.
        """
        near = region.box.grown(GROW, *self.suspected.shape)
        before, after = (side.suspected[near.window()] for side in self.by.sides)
        there = before | after if kind_of(region) == "scratch" else before & after
        there = dilate(there, GROW)[region.box.within(near)]
        return region.split(~there) if (there & region.mask()).any() else [region]

    def _lines(self, region: Region) -> list[Believed]:
        """Of what is no line itself, the lines that it is made of: of a cross all its pieces."""
        box = region.box
        if kind_of(region) != "dust" or max(box.height, box.width) < 2 * LONG:
            return []
        crosses = min(box.height, box.width) >= LONG
        pieces = region.lines(LONG if crosses else 2 * LONG)
        if len(pieces) < 2:
            return []
        judged = (self.spot(one) for one in pieces if crosses or kind_of(one) != "dust")
        return [one for one in judged if one is not None]

    def spot(self, region: Region, *, spike: bool = False) -> Believed | None:
        """One region; None where it is not wanted, or not believed.

        A spike has to be dust. One that the generator marks less than half of has to stand out,
        too.
        """
        here, by = self.here, self.by
        frame, kind = here.answer.frame, kind_of(region)
        surest = float(here.defect[region.rows, region.columns].max())
        # A spot that is protected in part is judged as a whole.
        kept = frame.protected is not None and frame.protected[region.rows, region.columns].all()
        wanted = kind in self.rules.wanted.kinds and not kept
        if not wanted or (kind != "dust" if spike else surest < SURE):
            return None
        if kind == "dust" and _is_near_edge(region.box, frame.picture, by.margin):
            return None
        cells = look_at(region, here.picture, self.suspected, by.sides)
        if kind == "dust":
            region, cells = without_twins(region, cells, by.sides)
        probability = mean_over(here.defect, cells)
        agrees = believe(region, kind, cells, by.sides, probability)
        if spike and probability < SUSPECT:
            ends = not _is_near_edge(region.box, frame.picture, AT_EDGE)
            alone = ends and stands_out(cells, agrees, bold=surest < SURE)
            surest = UNMARKED if alone else 0.0
        confidence = min(1.0, surest * agrees)
        if not _is_tall(kind, region.box, frame.picture):
            confidence *= by.trust
        small = spike and sum(int(hit.sum()) for _, hit in cells) < SPIKE
        if confidence == 0.0 or small:
            return None
        return Believed(defect_at(kind, frame, region.box, confidence), cells, spot_of(cells))


def _is_seen(spot: Believed, region: Region) -> bool:
    """Whether enough of a region is off to tell of it as a whole: also of what of it is a thing."""
    return len(spot.spot.rows) >= SEEN * len(region.rows)


def _is_near_edge(box: Box, size: Picture, margin: int) -> bool:
    """Whether it reaches into a margin along the edges of the picture."""
    inner = box.top >= margin and box.bottom <= size.height - margin
    return not (inner and box.left >= margin and box.right <= size.width - margin)


def _without_things(
    believed: list[Believed], here: Seen, by: Judging, odds: Odds
) -> list[Believed]:
    """Those that are no things by the company they keep."""
    near = [company(one.spot, here.picture, by.sides) for one in believed]
    # All that is believed counts, also what the user keeps: a run by a sidecar decides alike.
    odds.count(near, [one.spot for one in believed if one.defect.kind == "dust"])
    return [
        one
        for one, (close, _) in zip(believed, near, strict=True)
        if _is_tall(one.defect.kind, Box(*one.defect.box), here.answer.frame.picture)
        or not (odds.is_thing(near=close) or (one.defect.kind == "dust" and odds.is_rain))
    ]


def _is_tall(kind: str, box: Box, size: Picture) -> bool:
    """Whether it is a line that stands over much of the picture."""
    return kind == "scratch" and box.height >= TALL * size.height


def _overlooked(judge: _Judge, believed: list[Believed]) -> Iterator[Believed]:
    """Spikes that are none of the spots that are believed, where they pass the second cue and stand
    out: of these the generator marks a corner, or nothing.
    """
    here, sides = judge.here, judge.by.sides
    size = here.answer.frame.picture
    spikes = find_spikes(here.picture, sides, size.height, size.width)
    spikes &= ~here.holes[here.inner()]
    wide = dilate(spikes, 1)
    marked, judge = judge.suspected, replace(judge, suspected=judge.suspected | wide)
    found = np.zeros_like(spikes)
    for one in believed:
        for evidence, _ in one.cells:
            found[evidence.box.window()] |= evidence.inside
    for region in connected_regions(judge.suspected):
        places = region.rows, region.columns
        if np.count_nonzero(spikes[places]) < SPIKE or found[places].any():
            continue
        if marked[places].any() and in_twins(
            look_at(region, here.picture, judge.suspected, sides), sides
        ):
            continue  # with what the generator marks of it, it is a thing
        for part in region.parts(wide):
            if np.count_nonzero(spikes[part.rows, part.columns]) >= SPIKE:
                spot = judge.spot(part, spike=True)
                if spot is not None:
                    yield spot
