"""The times that a finished file has to show: those of its source, as its container writes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vidrepair.expectation import Expectation
from vidrepair.facts import Facts
from vidrepair.report import Difference
from vidrepair.tracks import UNKNOWN, Integers, Packets

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
        end = int(source.pts[: allowed.frames + 1][-1]) * source.time_base
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
    first = int(clock.ticks(source.pts[:1], source.time_base, found.time_base)[0])
    lowest = min([first, *starts])
    moved = int(found.pts[0]) - first
    # By its codec's delay sound may be ahead of zero: it is moved by the rest, or not at all.
    if lowest < 0 < moved <= 1 - lowest:
        return Clock(allowed.offset, moved * found.time_base, end)
    return clock


def written_times(packets: Packets) -> Integers:
    """As they are written: nothing is shown before it is decoded."""
    return np.maximum(packets.times, packets.dts)


def times_off(
    expected: Integers, found: Integers, unit: Fraction, what: str, where: str, slack: int = 0
) -> Iterator[Difference]:
    """One difference for all times that are not as expected; UNKNOWN is expected of none."""
    wrong = np.flatnonzero((np.abs(expected - found) > slack) & (expected != UNKNOWN))
    if not len(wrong):
        return
    first = wrong[0]
    yield Difference(
        f"time of {what}",
        where,
        f"{spoken_time(expected[first], unit)} for {what} {first}{more_of(wrong)}",
        spoken_time(found[first], unit),
    )


def spoken_time(ticks: int, unit: Fraction) -> str:
    """Exact, and for people."""
    if ticks == UNKNOWN:
        return "not said"
    return f"{float(int(ticks) * unit):.6f} s ({ticks} x {unit})"


def more_of(wrong: Integers) -> str:
    """How many more there are than the first, which is named."""
    return f" (and of {len(wrong) - 1} more)" if len(wrong) > 1 else ""
