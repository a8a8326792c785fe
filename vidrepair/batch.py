"""Frames of a shot -> spans with their warm-up, on a fixed grid.

A span is T core frames, counted in unique frames from the shot's first. It starts W frames
earlier from a zero state; at a shot's start, where there is no earlier frame, the frames after
the first one stand in, mirrored. What look-ahead lacks at a shot's end is mirrored too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Generic, TypeVar

from vidrepair.frames import Frame, GrainSpectrum, NoiseProfile, Span
from vidrepair.lines import LineEvidence

Measurement = TypeVar("Measurement")
Profile = TypeVar("Profile")
Choice = Callable[[int], int | None]
"""Which stretch of the film a span that opens with this frame, or field, is computed for; None for
none."""
TAIL = 3
"""Core frames of a span that is there for the last frames of the one before: where those are lost,
they are made of the first of these, whose damage is judged by the two that follow."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The lengths that a model was trained for; they stand in its card."""

    warm_up: int = 8
    """W."""
    core: int = 64
    """T."""

    def shared(self, lanes: int, frames: int) -> Grid:
        """With spans so short that a few frames keep all lanes busy, as a whole film does; and with
        the same share of steps that only lead to them, or hardly more.
        """
        core = -(-min(self.core, frames) // lanes)
        return Grid(-(-self.warm_up * core // self.core), core)


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
    followers: list[list[Frame]] = field(default_factory=list)
    """What follows each core frame and is passed over."""
    history: list[Frame] = field(default_factory=list)
    """The last W + 1 unique frames before the core, of the same shot."""
    fades_in: int = 0

    def opens(self) -> int:
        """The number of the first frame that it shows."""
        return min(frame.number for frame in (self.core[0], *self.followers[0]))

    def shown(self) -> int:
        return len(self.core) + sum(len(group) for group in self.followers)

    def follows(self, frame: Frame, most: int) -> bool:
        """Whether a frame that is passed over goes with the last one."""
        return frame.passed_over and frame.shot == self.shot and self.shown() < most

    def add(self, frame: Frame, leading: list[Frame]) -> None:
        """One more core frame, and those before it that found no other."""
        self.core.append(frame)
        self.followers.append(leading)


@dataclass(frozen=True, slots=True)
class Profilers:
    """What is measured of every span."""

    noise: Profiler[NoiseProfile]
    spectrum: Profiler[GrainSpectrum] | None = None
    """Only where grain is made."""
    lines: Profiler[LineEvidence] | None = None
    """Only where scratches are repaired."""


def _all(_number: int) -> int | None:
    return 0


def _nowhere(_number: int) -> bool:
    return False


def cut_spans(
    frames: Iterable[Frame],
    grid: Grid,
    profilers: Callable[[], Profilers],
    *,
    chosen: Choice = _all,
    behind: Callable[[int], bool] = _nowhere,
    told: Callable[[Span], None] | None = None,
) -> Iterator[Span]:
    """Group frames, stamped with shots and what is passed over, into spans, in order.

    The even and the odd fields of interlaced film are two clips, with spans of their own. Of each
    it holds one span and W + 1 frames, and measures it with `profilers` of its own.

    Spans that are not `chosen` are passed over, and not measured unless the next one is chosen.
    What follows the last one of a stretch, and fades in over it, comes shortened. `told` hears of
    every span, chosen or not, so that all are measured.

    `behind` says of the frame, or field, that opens a span whether it lies behind all that are
    chosen: no more frames are taken then than the first of these, in its shot, has to fade in.
    """
    numbers = count()
    clips: dict[int | None, _Cutter] = {}
    for frame in frames:
        if frame.parity not in clips:
            clips[frame.parity] = _Cutter(grid, profilers(), numbers, chosen, behind, told)
        yield from clips[frame.parity].take(frame)
        if all(clip.ended for clip in clips.values()):
            return
    for clip in clips.values():
        yield from clip.finish()


class _Cutter:
    """Cuts one clip."""

    def __init__(
        self,
        grid: Grid,
        profilers: Profilers,
        numbers: Iterator[int],
        chosen: Choice,
        behind: Callable[[int], bool],
        told: Callable[[Span], None] | None,
    ) -> None:
        self._grid = grid
        self._chosen = chosen
        self._behind = behind
        self._told = told
        self.ended = False
        """Nothing that is chosen needs another frame."""
        self._before: int | None = None
        """The stretch of the last span."""
        self._profilers = profilers
        self._numbers = numbers
        self._span: _Open | None = None
        self._leading: list[Frame] = []

    def take(self, frame: Frame) -> Iterator[Span]:
        """The next frame; the span that it ends, if any.

        A span ends after T unique frames, or 4 T in all, so that a long freeze stays within
        bounds. Lost frames before the first sound one go with that.
        """
        span, core = self._span, self._grid.core
        if span is not None and span.follows(frame, 4 * core):
            span.followers[-1].append(frame)
            return
        if span is None and frame.lost and len(self._leading) < core:
            self._leading.append(frame)
            return
        if span is None:
            span = _Open(next(self._numbers), frame.shot)
        elif frame.shot != span.shot:
            yield from self._closed(span, None, frame)
            span = _Open(next(self._numbers), frame.shot)
        elif len(span.core) == core or span.shown() >= 4 * core:
            yield from self._closed(span, frame, frame)
            history = [*span.history, *span.core][-(self._grid.warm_up + 1) :]
            number, fades_in = next(self._numbers), _fades_out(span, self._grid)
            span = _Open(number, frame.shot, history=history, fades_in=fades_in)
        span.add(frame, self._leading)
        self._span, self._leading = span, []

    def finish(self) -> Iterator[Span]:
        """The last span."""
        span = self._span
        if span is None and self._leading:  # all is lost: it stays as it is
            span = _Open(next(self._numbers), self._leading[0].shot)
            for frame in self._leading:
                span.add(frame, [])
        if span is not None:
            yield from self._closed(span, None, None)

    def _closed(self, span: _Open, ahead: Frame | None, following: Frame | None) -> Iterator[Span]:
        """The span, if it is chosen. `following` opens the next one, `ahead` too if in its shot."""
        before, here = self._before, self._chosen(span.opens())
        self._before = here
        cut = following is not None and ahead is None and self._behind(following.number)
        self.ended = cut or self._behind(span.opens())
        fades = before is not None and before != here and span.fades_in > 0
        # The next one looks back at this one's measurements.
        looked_at = following is not None and self._chosen(following.number) is not None
        if here is None and not looked_at and not fades and self._told is None:
            return
        closed = _close(span, ahead, self._grid, self._profilers)
        if self._told is not None:
            self._told(closed)
        if before is not None and fades:
            yield tail_of(closed, before)
        if here is not None:
            yield replace(closed, stretch=here)


def tail_of(span: Span, stretch: int) -> Span:
    """As much of a span as the one before, of that stretch, needs to end."""
    return replace(
        span,
        walk=span.walk[: 1 + span.warm + TAIL + 1],
        followers=span.followers[:TAIL],
        fades_out=0,
        stretch=stretch,
    )


def _fades_out(span: _Open, grid: Grid) -> int:
    """How many of its last frames fade to the next span of its shot."""
    return min(grid.warm_up, len(span.core))


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
        followers=tuple(tuple(group) for group in span.followers),
        noise=profilers.noise.profile(core, opens_shot=opens),
        spectrum=None if grain is None else grain.profile(core, opens_shot=opens),
        lines=None if lines is None else lines.profile(core, opens_shot=opens),
        fades_in=span.fades_in,
        fades_out=_fades_out(span, grid) if ahead is not None else 0,
    )
