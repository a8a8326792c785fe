"""Damage: what the generator marks and the second cue believes, and what is known beforehand.

Spots are found by `spots`. Lasting scratches are in the neighbours, too: `scratch_clearing`
has filled them before. What the decoder had nothing of, and what the user masks, is not judged.

The fill is the mean of both neighbours, brought to the place and lit as it is, or of the one that
is not damaged there itself; else the generator's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from vidrepair.company import NEAR, Odds
from vidrepair.evidence import Evidence, Neighbour, gather
from vidrepair.frames import Answer, Defect, FloatArray, Frame, Repaired
from vidrepair.planes import padded_size, to_generator
from vidrepair.regions import Mask, connected_regions, dilate
from vidrepair.rules import Rules, Veto, defect_at
from vidrepair.scratch_fill import line_matte
from vidrepair.second_cue import CELL, CONTRAST, GROW
from vidrepair.settings import DamageSettings
from vidrepair.spots import SUSPECT, Judging, Seen, find_spots, learn_dirt

AT_END = 0.9
"""Times the confidence in what two frames of the same side say, at the end of a shot."""


def find_defects(
    answers: Iterable[Answer], wanted: DamageSettings, allows: Veto | None = None
) -> Iterator[Answer]:
    """Yield every answer, in order within its span, its matte and fill settled.

    The first answer is of the same span as the first that comes in. Holds two answers of each span
    under way: the frame after is restored by then. Frames at a shot's ends lack one of the two
    neighbours, and are judged by two frames of the other side. `allows` is asked about each defect
    that was found, but for what the user masks.
    """
    told = iter(answers)
    first = next(told, None)
    if first is not None:
        settled = _settled(chain((first,), told), Rules(wanted, allows))
        yield from _led_by(first.span.number, settled)


def _settled(answers: Iterable[Answer], rules: Rules) -> Iterator[Answer]:
    """Each as soon as the one after it in its span is there."""
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


def _led_by(span: int, answers: Iterable[Answer]) -> Iterator[Answer]:
    """The same, those of other spans once that one has begun: where the first answer is, the film
    begins, and a span of one frame beside it is settled before the others.
    """
    early: list[Answer] = []
    for answer in answers:
        if answer.span.number != span:
            early.append(answer)
            continue
        yield answer
        yield from early
        break
    yield from answers


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
        self._before: Seen | None = None
        self._here: Seen | None = None
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

    def _settle(self, here: Seen, next_side: Neighbour) -> Answer:
        """Decide on one frame, given the one after it."""
        answer = here.answer
        frame = answer.frame
        # The motion is of use where frames between this and the next are lost.
        repaired = replace(answer.repaired, motion=here.motion)
        if answer.step < answer.span.warm:
            self._learn(here, next_side)
            return replace(answer, repaired=repaired)
        patch = _Patch.blank(here)
        last_side = self._last_side(here)
        if here.holes.any():
            # A shot of one frame has nothing beside it: the generator's own fill is left.
            nothing = replace(next_side, suspected=np.ones_like(here.holes))
            sides = (nothing, nothing) if last_side is None else (last_side, next_side)
            _fill_holes(here, sides, patch, self._rules)
        judging = self._judging(here, last_side, next_side)
        if judging is not None:
            for one in find_spots(here, judging, self._rules, self._odds):
                if self._rules.allow(one.defect):
                    count = sum(_paint(evidence, hit, here, patch) for evidence, hit in one.cells)
                    patch.defects.append(replace(one.defect, samples=count))
        return replace(answer, repaired=_refuse(patch.onto(repaired, frame), frame, self._rules))

    def _learn(self, here: Seen, next_side: Neighbour) -> None:
        """How dirty the film is, from a frame of the warm-up: of dirty film the first frame is
        judged otherwise. Mirrored, the warm-up is of frames that are counted again later.
        """
        before, frame, after = _numbers(here.answer)
        last_side = self._last_side(here)
        # A mirrored warm-up goes backwards.
        if last_side is not None and (before < frame < after or before > frame > after):
            learn_dirt(here, Judging((last_side, next_side)), self._rules, self._odds)

    def _last_side(self, here: Seen) -> Neighbour | None:
        """The frame before, if there is one."""
        last = self._before
        if last is None:
            return None
        return Neighbour(last.picture, last.suspected(), here.motion[:2])

    def _judging(
        self, here: Seen, last_side: Neighbour | None, next_side: Neighbour
    ) -> Judging | None:
        """What a frame's spots are judged by, if there are two pictures.

        Mirrored, at a shot's ends, both neighbours are one: the frame beyond it joins it.
        """
        earlier = self._earlier
        before, frame, after = _numbers(here.answer)
        if last_side is None:
            return None
        if before < frame < after:
            return Judging((last_side, next_side))
        if earlier is None or earlier.number in (before, frame):
            return None
        farther = Neighbour(earlier.picture, earlier.suspected, 2.0 * here.motion[:2])
        # What is seen for this frame alone may be a thing that comes or goes over the edge; on
        # dirty film it is dirt.
        return Judging((last_side, farther), AT_END, 0 if self._odds.is_dirty else NEAR)


def _numbers(answer: Answer) -> tuple[int, int, int]:
    """Of the frames before, at and after a step."""
    before, frame, after = answer.span.walk[answer.step : answer.step + 3]
    return before.number, frame.number, after.number


def _is_mirrored(answer: Answer) -> bool:
    """Whether the frames before and after it are one."""
    walk, step = answer.span.walk, answer.step
    return walk[step].number == walk[step + 2].number


def _bring_home(answer: Answer) -> Seen:
    """An answer's arrays on the host; from here on it lives there."""
    repaired = answer.repaired
    asked = (repaired.denoise, repaired.fill, repaired.defect, repaired.motion)
    denoise, fill, defect, motion = repaired.place.start_fetch(asked)()
    frame = answer.frame
    picture = np.empty((3, *padded_size(frame.picture)), dtype=np.float32)
    to_generator(frame.planes, frame.picture, picture)
    picture += denoise
    at_home = replace(answer, repaired=Repaired(denoise))
    return Seen(at_home, picture, fill, defect[0], motion, _holes_of(frame))


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
    def blank(cls, here: Seen) -> _Patch:
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
    here: Seen, sides: tuple[Neighbour, Neighbour], patch: _Patch, rules: Rules
) -> None:
    """Fill what is known to be damaged, whatever it shows."""
    frame = here.answer.frame
    suspected = here.suspected()[here.inner()]
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


def _expected(evidence: Evidence, here: Seen) -> FloatArray:
    """(3, h, w): what the neighbours show, and the generator's own fill where neither is to be
    believed.
    """
    fill = here.fill[:, *evidence.box.window()]
    return np.where(evidence.known, evidence.expected, fill).astype(np.float32)


def _paint(evidence: Evidence, hit: Mask, here: Seen, patch: _Patch) -> int:
    """Put what is expected where the frame is off, over the soft edge around, and where the
    generator is sure: of a spot that is believed, all is. How many samples that were.
    """
    window = evidence.box.window()
    edge = dilate(hit, GROW) & (evidence.contrast > 0.5 * CONTRAST)
    sure = evidence.inside & (here.defect[window] > SUSPECT)
    return patch.lay(window, edge | dilate(hit, 1) | sure, _expected(evidence, here))
