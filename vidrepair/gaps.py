"""Frames that are missing by the film's times: told, or lost frames put in their place."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise

from vidrepair.frames import Frame
from vidrepair.tags import Clip, counted

LONGEST_GAP = 3
"""Missing frames in a row that are filled."""
REGULAR = 3
"""Gaps on either side of a longer one that have to be regular."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames that are missing in a film of constant rate."""

    after: int
    """Number of the frame before them, in output order."""
    count: int
    filled: bool
    """Whether lost frames stand in their place, to be made anew."""


@dataclass(slots=True)
class Gaps:
    """What `fill_gaps` met so far."""

    found: list[Gap] = field(default_factory=list)

    def remarks(self, frames: int) -> list[str]:
        """A sentence on what is missing and stays so, between the first so many frames.

        What is decoded ahead of the last frame that is written is of no concern.
        """
        left = [gap for gap in self.found if not gap.filled and gap.after < frames - 1]
        if not left:
            return []
        places = ", ".join(f"{gap.count} after frame {gap.after}" for gap in left[:5])
        more = f" and {counted(len(left) - 5, 'more gap')}" if len(left) > 5 else ""
        said = f"frames are missing by the film's times: {places}{more}"
        short = any(gap.count <= LONGEST_GAP for gap in left)
        return [f"{said}; --fill-gaps makes up to {LONGEST_GAP} in a row" if short else said]


def with_made(frames: Iterable[Frame], clip: Clip, *, fill: bool) -> Iterator[Frame]:
    """The frames of a film as a run writes them: where it was to `fill`, with those that its times
    lack.
    """
    if not fill or clip.rate is None:
        return iter(frames)
    return fill_gaps(frames, 1 / (clip.rate * clip.time_base), Gaps(), fill=True)


def fill_gaps(
    frames: Iterable[Frame], step: Fraction, gaps: Gaps, *, fill: bool
) -> Iterator[Frame]:
    """Yield every frame once, in order, with `lost` ones where 1 to 3 are missing, if `fill`.

    `step` is the time between two frames in time_base units. A gap counts if it is two steps or
    more within a tick, and the 3 gaps before it and the 3 after it (at the ends of a film as many
    as there are, one at least) are one step within a tick: films of variable rate are left alone.
    Longer gaps stay, and all are written down in `gaps`. A lost frame has the planes and the
    carrier of the frame before, and numbers are counted anew. Holds 4 frames.
    """
    waiting: deque[Frame] = deque()
    steps: deque[int] = deque(maxlen=REGULAR)
    number = 0
    source = iter(frames)
    while True:
        while len(waiting) < REGULAR + 2 and (arrived := next(source, None)) is not None:
            waiting.append(arrived)
        if not waiting:
            return
        frame = waiting.popleft()
        frame = frame if frame.number == number else replace(frame, number=number)
        yield frame
        number += 1
        if not waiting:
            return
        until = waiting[0].pts
        ahead = [later.pts - sooner.pts for sooner, later in pairwise(waiting)]
        missing = _missing(until - frame.pts, step, steps, ahead)
        steps.append(until - frame.pts)
        if not missing:
            continue
        filled = fill and missing <= LONGEST_GAP
        gaps.found.append(Gap(frame.number, missing, filled))
        if not filled:
            continue
        for lost in _placeholders(frame, until, missing):
            yield lost
            number += 1


def _missing(gap: int, step: Fraction, before: Iterable[int], after: Iterable[int]) -> int:
    """How many frames a gap lacks; 0 where the film around it has no constant rate."""
    missing = round(gap / step) - 1
    around = (list(before), list(after))
    regular = all(side and all(abs(one - step) <= 1 for one in side) for side in around)
    return missing if missing > 0 and regular and abs(gap - (missing + 1) * step) <= 1 else 0


def _placeholders(frame: Frame, until: int, count: int) -> Iterator[Frame]:
    """Lost frames between one and the time of the next."""
    times = [
        frame.pts + round(Fraction((until - frame.pts) * n, count + 1)) for n in range(1, count + 1)
    ]
    for number, (pts, end) in enumerate(zip(times, [*times[1:], until], strict=True), 1):
        yield replace(
            frame,
            number=frame.number + number,
            pts=pts,
            duration=end - pts,
            corrupt=False,
            quantiser_step=0.0,
            lost=True,
            holes=None,
            masked=None,  # what the user says is of the frame before
            protected=None,
        )
