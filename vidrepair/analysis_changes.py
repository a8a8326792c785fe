"""Which frames of a film an edit of its analysis touches."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from vidrepair.findings import Analysis, SpanFacts

Frames = tuple[int, int]
"""The first and the last of neighbouring frames."""


def changed_frames(before: Analysis, after: Analysis) -> list[Frames]:
    """The stretches of frames that a run which follows `after` may make otherwise than one that
    follows `before`, in no order; they may overlap. Both are of one film.

    A place touches its frame, and those that are made of it: repeats, copies, lost ones. A span's
    noise touches the spans beside it too, which fade to one another. A cut touches the shots at
    both of its sides.
    """
    places = [_places(one) for one in (before, after)]
    edited = {place[0] for place, _ in places[0].items() ^ places[1].items()}
    made = {*after.repeats, *after.copies, *after.lost}
    found = [_with_those_made_of_it(frame, made) for frame in edited]
    found += [*_spans(before, after)]
    shots = ({(shot.first, shot.last) for shot in one.shots} for one in (before, after))
    return [*found, *(next(shots) ^ next(shots))]


def _places(analysis: Analysis) -> dict[tuple[int, str, tuple[int, int, int, int]], bool]:
    """Whether each place is repaired."""
    return {(one.frame, one.kind, one.box): one.keep for one in analysis.defects}


def _with_those_made_of_it(frame: int, made: Collection[int]) -> Frames:
    first = last = frame
    while first - 1 in made:
        first -= 1
    while last + 1 in made:
        last += 1
    return first, last


def _spans(before: Analysis, after: Analysis) -> Iterator[Frames]:
    """Spans whose noise or spectrum differ, with those beside them."""
    for parity in {span.parity for span in after.spans}:
        known = {span.first: span for span in before.spans if span.parity == parity}
        spans = [span for span in after.spans if span.parity == parity]
        for number, span in enumerate(spans):
            if not _same(span, known.get(span.first)):
                around = spans[max(number - 1, 0) : number + 2]
                yield around[0].first, around[-1].last


def _same(span: SpanFacts, other: SpanFacts | None) -> bool:
    if other is None or (span.spectrum is None) != (other.spectrum is None):
        return False
    pairs = [(span.noise.array(), other.noise.array())]
    if span.spectrum is not None and other.spectrum is not None:
        names = ("luma", "chroma", "follows")
        pairs += [(getattr(span.spectrum, n), getattr(other.spectrum, n)) for n in names]
    return all(np.array_equal(one, two) for one, two in pairs)
