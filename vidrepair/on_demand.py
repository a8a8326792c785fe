"""A film whose frames are asked for in any order: planned once, then restored span by span.

A run goes through a film once. A host asks for frame 5000, and then for frame 17. So the first
frame that is asked for lets the whole film be read: its cuts and repeats, the light of its frames
and the noise of its spans are remembered, its samples are not. A span is then restored whole when
one of its frames is asked for, from frames that are read again. Spans and frames are those of a
run.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from threading import Lock

from vidrepair.batch import Grid, cut_spans, tail_of
from vidrepair.broken import mark_broken
from vidrepair.compose import Strengths, compose
from vidrepair.defects import find_defects
from vidrepair.engines import Build, repair
from vidrepair.errors import UsageError
from vidrepair.flicker import Light, measure_light, steady
from vidrepair.frames import Answer, Frame, Picture, Plane, Span
from vidrepair.grain_table import read_profile
from vidrepair.profilers import profilers_for
from vidrepair.rebuild import rebuild_lost
from vidrepair.repeats import mark_repeats
from vidrepair.run import open_engines
from vidrepair.scratch_clearing import Clearing
from vidrepair.settings import EngineSettings, RepairSettings
from vidrepair.shots import number_shots
from vidrepair.tally import Tally

Planes = tuple[Plane, ...]


class OnDemand:
    """The restored frames of a film that can be read at any place. From any thread.

    `read` gives the decoded frame of a number, every time the same samples. `kept` spans stay in
    memory once they are restored, those that were asked for last.
    """

    def __init__(
        self,
        picture: Picture,
        count: int,
        read: Callable[[int], Frame],
        asked: RepairSettings,
        engine: EngineSettings,
        owned: ExitStack,
        *,
        kept: int = 2,
        build: Build | None = None,
    ) -> None:
        """Open the engine, which `owned` closes; nothing is read yet.

        Raises EngineError, InputError for a noise profile, and UsageError for what is not to be had
        frame by frame.
        """
        _check(asked, kept)
        self._picture, self._count, self._read, self._asked = picture, count, read, asked
        self._kept = kept
        self._grain = read_profile(asked.noise_profile)
        files, self._engine, self._spare = open_engines(picture, asked, engine, build, owned)
        self._grid = Grid(files.card.warm_up, files.card.core_length(picture))
        self._lights: dict[int, Light] = {}
        self._spans: list[Span] = []
        """All of the film, without samples."""
        self._opens: list[int] = []
        """The first frame of each."""
        self._restored: OrderedDict[int, dict[int, Planes]] = OrderedDict()
        self._lock = Lock()

    def frame(self, number: int) -> Planes:
        """The restored planes of a frame, (H, W) each. They are shared: not to be written to."""
        with self._lock:
            if not self._spans:
                self._plan()
            at = bisect_right(self._opens, number) - 1
            if at not in self._restored:
                # Before, not after: so many spans and no more are in memory.
                while len(self._restored) >= self._kept:
                    self._restored.popitem(last=False)
                self._restored[at] = self._restore(at)
            self._restored.move_to_end(at)
            return self._restored[at][number]

    def _plan(self) -> None:
        """Read the film once, and remember its spans without samples."""
        frames: Iterator[Frame] = map(self._read, range(self._count))
        if self._asked.mends:
            frames = mark_broken(frames, self._asked.bad_frames)
        frames = self._steadied(number_shots(mark_repeats(frames)))
        rgb = self._picture.format.family == "rgb"
        spans = [
            _emptied(span)
            for span in cut_spans(
                frames, self._grid, lambda: profilers_for(self._asked, self._grain, rgb=rgb)
            )
        ]
        self._spans, self._opens = spans, [span.opens for span in spans]

    def _steadied(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames without flicker, if that is asked for; their light is remembered."""
        if not self._asked.deflicker:
            yield from frames
            return
        for frame, light in measure_light(frames):
            self._lights[frame.number] = light
            yield self._without_flicker(frame)

    def _without_flicker(self, frame: Frame) -> Frame:
        light = self._lights.get(frame.number)
        if light is None or frame.lost:
            return frame
        return steady(frame, light, self._asked.deflicker / 100.0)

    def _filled(self, span: Span) -> Span:
        """A span with the samples of its frames, each read once."""
        found: dict[int, Frame] = {}

        def filled(frame: Frame) -> Frame:
            if frame.number not in found:
                read = self._read(frame.number)
                whole = replace(frame, planes=read.planes, carrier=read.carrier)
                found[frame.number] = self._without_flicker(whole)
            return found[frame.number]

        return replace(
            span,
            walk=tuple(map(filled, span.walk)),
            followers=tuple(tuple(map(filled, group)) for group in span.followers),
        )

    def _restore(self, at: int) -> dict[int, Planes]:
        """The finished frames of a span, by number."""
        after = self._count if at + 1 == len(self._spans) else self._opens[at + 1]
        found = {}
        for frame in self._finished(self._answers(at)):
            if frame.number >= after:
                break
            found[frame.number] = frame.planes
        return found

    def _answers(self, at: int) -> Iterator[Answer]:
        """Of the span, and of as much of the next one as it fades to."""
        span = self._spans[at]
        spans = [span]
        if span.fades_out:
            spans.append(tail_of(self._spans[at + 1], span.stretch))
        spare = None if self._engine.identity.precision == "fp32" else self._spare
        clear = Clearing.asked(self._asked).clear
        return repair(map(clear, map(self._filled, spans)), self._engine, spare)

    def _finished(self, answers: Iterator[Answer]) -> Iterator[Frame]:
        """As a run finishes them."""
        asked, tally = self._asked, Tally(self._picture)
        if asked.mends:
            answers = find_defects(answers, asked.damage)
        frames = compose(tally.listen(answers), Strengths.asked(asked))
        for frame in rebuild_lost(frames, motion_of=tally.motion):
            tally.touch(frame)  # forgets what is done with
            yield frame


def _check(asked: RepairSettings, kept: int) -> None:
    if asked.mask_in or asked.protect or asked.fill_gaps:
        raise UsageError(
            "masks and fill_gaps go through a film frame by frame, which a host does not; leave"
            " them out, or use vidrepair run"
        )
    if asked.interlace not in ("auto", "progressive"):
        raise UsageError(
            f"interlace {asked.interlace} is not for frames that a host hands over; separate the"
            " fields, or make them progressive, before"
        )
    if kept < 1:
        raise UsageError(f"{kept} spans cannot be kept; use 1 or more")


def _emptied(span: Span) -> Span:
    """The same without samples, which are read again."""

    def empty(frame: Frame) -> Frame:
        return replace(frame, planes=(), carrier=None)

    return replace(
        span,
        walk=tuple(map(empty, span.walk)),
        followers=tuple(tuple(map(empty, group)) for group in span.followers),
    )
