"""The times that a finished file has to show: those of its source, as its container writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vidrepair.expectation import Expectation
from vidrepair.facts import Facts
from vidrepair.packed_times import Integers
from vidrepair.report import Difference
from vidrepair.tracks import UNKNOWN, Packets

AT_ONCE = 1 << 16
"""Times that are computed with in one go: ten hours of film have a million."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What happens to the times of a source on their way."""

    offset: Fraction
    """Seconds that we add."""
    moved: Fraction = Fraction(0)
    """Seconds that Matroska's muxer adds, so that nothing starts below zero."""
    end: Fraction | None = None
    """Where a picture that was stopped early ends, in seconds of the source."""

    def ticks(self, times: Integers, unit: Fraction, target: Fraction) -> Integers:
        """Times in units of `unit`, each rounded once to units of `target`.

        Half away from zero, as FFmpeg does. UNKNOWN stays.
        """
        placed = np.empty(len(times), np.int64)
        for at in range(0, len(times), AT_ONCE):
            some = slice(at, at + AT_ONCE)
            placed[some] = self._some_ticks(times[some], unit, target)
        return placed

    def _some_ticks(self, times: Integers, unit: Fraction, target: Fraction) -> Integers:
        scale = unit / target
        own = np.where(times == UNKNOWN, 0, times + round(self.offset / unit)) * scale.numerator
        size = (2 * np.abs(own) + scale.denominator) // (2 * scale.denominator)
        placed = np.sign(own) * size + round(self.moved / target)
        return np.where(times == UNKNOWN, UNKNOWN, placed)


def source_clock(source: Facts, found: Facts, allowed: Expectation) -> Clock:
    """What happened to the times on their way into the file that was found."""
    end = None
    if allowed.frames is not None and len(source.pts):
        end = source.pts[min(allowed.frames, len(source.pts) - 1)] * source.time_base
    clock = Clock(allowed.offset, end=end)
    if not (len(source.pts) and len(found.pts)) or not found.container.startswith("matroska"):
        return clock
    carried = [track for track in source.tracks if track.facts.index not in allowed.left]
    starts = [
        int(
            clock.ticks(
                written_times(track.packets), track.packets.time_base, found.time_base
            ).min()
        )
        for track in carried
        if len(track.packets) and UNKNOWN not in track.packets.times
    ]
    start = np.array([source.pts[0]], np.int64)
    first = int(clock.ticks(start, source.time_base, found.time_base)[0])
    lowest = min([first, *starts])
    moved = found.pts[0] - first
    # By its codec's delay sound may be ahead of zero: it is moved by the rest, or not at all.
    if lowest < 0 < moved <= 1 - lowest:
        return Clock(allowed.offset, moved * found.time_base, end)
    return clock


def written_times(packets: Packets) -> Integers:
    """As they are written: nothing is shown before it is decoded."""
    return np.maximum(packets.times, packets.dts)


def times_off(
    pairs: Iterable[tuple[Integers, Integers]],
    unit: Fraction,
    what: str,
    where: str,
    slack: int = 0,
) -> Iterator[Difference]:
    """One difference for all times that are not as expected; UNKNOWN is expected of none.

    `pairs` are expected and found times, a stretch of as many of both at once.
    """
    first, count, place = None, 0, 0
    for expected, found in pairs:
        wrong = np.flatnonzero((np.abs(expected - found) > slack) & (expected != UNKNOWN))
        if len(wrong) and first is None:
            first = place + int(wrong[0]), int(expected[wrong[0]]), int(found[wrong[0]])
        count += len(wrong)
        place += len(expected)
    if first is None:
        return
    number, right, there = first
    yield Difference(
        f"time of {what}",
        where,
        f"{spoken_time(right, unit)} for {what} {number}{_more(count - 1)}",
        spoken_time(there, unit),
    )


def spoken_time(ticks: int, unit: Fraction) -> str:
    """Exact, and for people."""
    if ticks == UNKNOWN:
        return "not said"
    return f"{float(int(ticks) * unit):.6f} s ({ticks} x {unit})"


def more_of(wrong: Integers) -> str:
    """How many more there are than the first, which is named."""
    return _more(len(wrong) - 1)


def _more(others: int) -> str:
    return f" (and of {others} more)" if others > 0 else ""
