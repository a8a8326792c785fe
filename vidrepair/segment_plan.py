"""Where the segments of a film begin and end, once all of it has been decoded.

A run by itself needs no plan: it ends a segment at the first seam after so many frames. Several
workers, and a run that computes only some segments anew, have to know beforehand.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from vidrepair.frames import Span

LEAST = 3
"""Of one or two frames encoders do not tell times of decoding that go on."""


class Seams:
    """Where spans start, as far as the film has been cut into them: there a segment may end."""

    def __init__(self, length: int, *, fields: bool) -> None:
        """Segments are of `length` frames or somewhat more. With `fields` spans are of the even and
        of the odd rows, and have to start together.
        """
        self._least = max(length, LEAST)
        self._fields = fields
        self._starts: set[int] = set()

    def add(self, span: Span) -> None:
        """A span was cut; before any of its frames is finished."""
        self._starts.add(span.opens)

    def may_end(self, number: int, length: int) -> bool:
        """Whether a segment of that length may end before the frame of that number."""
        firsts = {2 * number, 2 * number + 1} if self._fields else {number}
        return length >= self._least and firsts <= self._starts

    def ends_before(self, number: int, length: int) -> bool:
        """Whether it does; seams up to there are forgotten."""
        found = self.may_end(number, length)
        last = 2 * number + 1 if self._fields else number
        # In place: the other thread may add one meanwhile.
        self._starts.difference_update([one for one in tuple(self._starts) if one <= last])
        return found

    def number_of(self, _first: int, finished: int) -> int:
        """That of the segment that comes after so many finished ones."""
        return finished


@dataclass(frozen=True, slots=True)
class Planned:
    """A segment that is, or will be, computed."""

    number: int
    """Counted from 0."""
    first: int
    """The number of its first frame."""
    frames: int
    until: int | None
    """The pts of the frame that follows it; None at the end of the film."""

    @property
    def after(self) -> int:
        """The number of the frame that follows it."""
        return self.first + self.frames


@dataclass(frozen=True, slots=True)
class Share:
    """The segments that one worker computes."""

    worker: int
    numbers: tuple[int, ...]
    """Of the segments, rising."""

    def last_beside(self, number: int) -> int:
        """The last of the segments that follow one another from the one of that number on."""
        while number + 1 in self.numbers:
            number += 1
        return number


class Plan:
    """All segments of a film."""

    def __init__(self, segments: Iterable[Planned]) -> None:
        self.segments = tuple(segments)
        self._firsts = [one.first for one in self.segments]

    @property
    def frames(self) -> int:
        """Of the film."""
        return self.segments[-1].after if self.segments else 0

    def ends_before(self, frame: int, _length: int) -> bool:
        """Whether a segment begins with the frame of that number, and so one ends before it."""
        at = bisect_right(self._firsts, frame)
        return at > 0 and self._firsts[at - 1] == frame

    def number_of(self, first: int, _finished: int) -> int:
        """That of the segment that a frame opens, whichever are finished."""
        found = self.holds(first)
        assert found is not None, "a frame behind the end"
        return found.number

    def holds(self, frame: int) -> Planned | None:
        """The segment that a frame is in; None behind the end."""
        at = bisect_right(self._firsts, frame)
        found = self.segments[at - 1] if at else None
        return found if found is not None and frame < found.after else None

    def stretches(self, numbers: Collection[int]) -> Callable[[int], int | None]:
        """Of which stretch of neighbouring segments, out of those numbers, a frame is: by the
        number of its first segment; None for frames of other segments.
        """
        leaders: dict[int, int] = {}
        for number in sorted(numbers):
            leaders[number] = leaders.get(number - 1, number)

        def stretch(frame: int) -> int | None:
            found = self.holds(frame)
            return None if found is None else leaders.get(found.number)

        return stretch

    def as_json(self) -> list[list[int | None]]:
        """Lists of first, frames and until."""
        return [[one.first, one.frames, one.until] for one in self.segments]


def plan_of(told: Iterable[Sequence[Any]]) -> Plan:
    """The plan that `as_json` told of."""
    return Plan(Planned(number, *one) for number, one in enumerate(told))


def plan_segments(times: Sequence[int], seams: Seams, kept: Iterable[tuple[int, int]] = ()) -> Plan:
    """Cut a film whose frames have those pts into segments, as a run by itself does.

    Segments that are `kept`, by the number of their first frame and of the one that follows them,
    stay as they are.
    """
    kept = sorted(kept)
    borders = {border for pair in kept for border in pair}
    inside = {number for first, after in kept for number in range(first + 1, after)}
    starts = [0]
    for number in range(1, len(times)):
        last = starts[-1]
        if number in borders:
            if number - last < LEAST and last not in borders and last > 0:
                starts.pop()
            starts.append(number)
        elif number not in inside and seams.may_end(number, number - last):
            starts.append(number)
    ends = [(first, after, times[after]) for first, after in pairwise(starts)]
    last_one = (starts[-1], len(times), None)
    return Plan(
        Planned(number, first, after - first, until)
        for number, (first, after, until) in enumerate((*ends, last_one))
    )
