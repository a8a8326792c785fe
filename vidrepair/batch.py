"""Frames of a shot -> spans with their warm-up, on a fixed grid.

A span is T core frames, counted in unique frames from the shot's first. It starts W frames
earlier from a zero state; at a shot's start, where there is no earlier frame, the frames after
the first one stand in, mirrored. What look-ahead lacks at a shot's end is mirrored too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vidrepair.frames import Frame, GrainSpectrum, NoiseProfile, Span
from vidrepair.lines import LineEvidence

Measurement = TypeVar("Measurement")
Profile = TypeVar("Profile")


@dataclass(frozen=True, slots=True)
class Grid:
    """The lengths that a model was trained for; they stand in its card."""

    warm_up: int = 8
    """W."""
    core: int = 64
    """T."""


class Profiler(Generic[Profile]):
    """How what is known of a span comes about: known beforehand, or measured and combined."""

    def __init__(
        self,
        measure: Callable[[Sequence[Frame]], Measurement],
        combine: Callable[[Measurement, Measurement | None], Profile],
    ) -> None:
        self._measure = measure
        self._combine = combine
        self._before: Measurement | None = None

    def profile(self, core: Sequence[Frame], *, opens_shot: bool) -> Profile:
        """The profile of a span from its own frames and the span before, of the same shot.

        Never chained: what is remembered is the raw measurement, so that any span can be
        computed again from its own and the previous span's frames.
        """
        own = self._measure(core)
        before = None if opens_shot else self._before
        self._before = own
        return self._combine(own, before)


@dataclass(slots=True)
class _Open:
    """The span under construction."""

    number: int
    shot: int
    core: list[Frame] = field(default_factory=list)
    repeats: list[list[Frame]] = field(default_factory=list)
    """The repeats that follow each core frame."""
    history: list[Frame] = field(default_factory=list)
    """The last W + 1 unique frames before the core, of the same shot."""
    fades_in: int = 0

    def shown(self) -> int:
        return len(self.core) + sum(len(group) for group in self.repeats)

    def takes_repeat(self, frame: Frame, most: int) -> bool:
        return frame.shot == self.shot and self.shown() < most


@dataclass(frozen=True, slots=True)
class Profilers:
    """What is measured of every span."""

    noise: Profiler[NoiseProfile]
    spectrum: Profiler[GrainSpectrum] | None = None
    """Only where grain is made."""
    lines: Profiler[LineEvidence] | None = None
    """Only where scratches are repaired."""


def cut_spans(frames: Iterable[Frame], grid: Grid, profilers: Profilers) -> Iterator[Span]:
    """Group frames, stamped with shots and repeats, into spans, in order.

    Holds one span and W + 1 frames. A span ends after T unique frames, or 4 T in all, so that
    a long freeze stays within bounds.
    """
    span: _Open | None = None
    for frame in frames:
        if frame.repeat and span is not None and span.takes_repeat(frame, 4 * grid.core):
            span.repeats[-1].append(frame)
            continue
        if span is None:
            span = _Open(0, frame.shot)
        elif frame.shot != span.shot:
            yield _close(span, None, grid, profilers)
            span = _Open(span.number + 1, frame.shot)
        elif len(span.core) == grid.core or span.shown() >= 4 * grid.core:
            closed = _close(span, frame, grid, profilers)
            yield closed
            history = [*span.history, *span.core][-(grid.warm_up + 1) :]
            span = _Open(span.number + 1, frame.shot, history=history, fades_in=closed.fades_out)
        span.core.append(frame)
        span.repeats.append([])
    if span is not None:
        yield _close(span, None, grid, profilers)


def _close(span: _Open, ahead: Frame | None, grid: Grid, profilers: Profilers) -> Span:
    """Lay out the walk. `ahead` is the first frame of the next span of the same shot."""
    core, history = span.core, span.history
    if history:
        warm = min(grid.warm_up, len(history))
        steps = [*history[-warm:], *core]
        before = history[0] if len(history) > warm else steps[min(1, len(steps) - 1)]
    else:
        warm = min(grid.warm_up, len(core) - 1)
        steps = [*reversed(core[1 : warm + 1]), *core]
        before = core[min(warm + 1, len(core) - 1)]
    after = ahead or steps[max(len(steps) - 2, 0)]
    opens = not history
    grain, lines = profilers.spectrum, profilers.lines
    return Span(
        number=span.number,
        shot=span.shot,
        walk=(before, *steps, after),
        warm=warm,
        repeats=tuple(tuple(group) for group in span.repeats),
        noise=profilers.noise.profile(core, opens_shot=opens),
        spectrum=None if grain is None else grain.profile(core, opens_shot=opens),
        lines=None if lines is None else lines.profile(core, opens_shot=opens),
        fades_in=span.fades_in,
        fades_out=min(grid.warm_up, len(core)) if ahead is not None else 0,
    )
