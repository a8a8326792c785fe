"""The strongest of many things along a film, some frames from one another."""

from __future__ import annotations

from typing import Generic, TypeVar

Kept = TypeVar("Kept")

APART = 25
"""Frames in a row of which at most one is kept, in a film that is long enough."""


def bucket_of(frames: int | None, count: int) -> int:
    """Frames in a row of which one is kept, so that a film of so many has `count` to show."""
    return APART if frames is None else max(1, min(APART, frames // (2 * count)))


class Strongest(Generic[Kept]):
    """Keeps `count` things at most, those of the greatest strength.

    One of every bucket on the way, and twice as many, so that twice as many things are held: of two
    that meet at a bucket's edge the weaker one is left out in the end.
    """

    def __init__(self, count: int, bucket: int) -> None:
        self._count, self._bucket = count, bucket
        self._best: list[tuple[float, int, Kept]] = []
        """Strength, frame and thing, the strongest first."""

    def wants(self, strength: float, number: int) -> bool:
        """Whether something of this frame would be kept."""
        same = self._same(number)
        if same is not None:
            return strength > same[0]
        return len(self._best) < 2 * self._count or strength > self._best[-1][0]

    def add(self, strength: float, number: int, thing: Kept) -> None:
        """Keep what is wanted."""
        same = self._same(number)
        kept = [entry for entry in self._best if entry is not same]
        kept.append((strength, number, thing))
        self._best = sorted(kept, key=lambda entry: -entry[0])[: 2 * self._count]

    def best(self) -> list[Kept]:
        """The strongest first."""
        return [thing for _, _, thing in self._apart()]

    def in_time(self) -> list[Kept]:
        """The same, in order of the frames."""
        return [thing for _, _, thing in sorted(self._apart(), key=lambda entry: entry[1])]

    def _apart(self) -> list[tuple[float, int, Kept]]:
        """The strongest, none of which is nearer than a bucket to a stronger one."""
        kept: list[tuple[float, int, Kept]] = []
        for entry in self._best:
            if all(abs(entry[1] - other[1]) >= self._bucket for other in kept):
                kept.append(entry)
        return kept[: self._count]

    def _same(self, number: int) -> tuple[float, int, Kept] | None:
        """What is kept of the same bucket."""
        bucket = number // self._bucket
        return next((one for one in self._best if one[1] // self._bucket == bucket), None)
