"""The loop over spans and lanes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from vidrepair.engines.protocol import Engine
from vidrepair.errors import EngineError
from vidrepair.frames import Answer, Batch, LaneStep, Repaired, Span

log = logging.getLogger(__name__)


class Lane:
    """A place in the batch, and the span on its way through it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.span: Span | None = None
        self.step = 0

    def start(self, span: Span | None) -> None:
        """Take the next span; None leaves the lane empty."""
        self.span, self.step = span, 0

    @property
    def waits(self) -> bool:
        """Whether it has nothing to do."""
        return self.span is None or self.step == self.span.steps

    def take(self) -> Asked:
        """Lay out the next step."""
        assert self.span is not None
        asked = Asked(self, self.span, self.step)
        self.step += 1
        return asked


@dataclass(frozen=True, slots=True)
class Asked:
    """One step of one lane, under way."""

    lane: Lane
    span: Span
    step: int

    def seen(self) -> LaneStep:
        """What the engine sees."""
        before, here, after = self.span.walk[self.step : self.step + 3]
        noise = self.span.noise.array()
        return LaneStep(self.lane.number, (before, here, after), noise, fresh=self.step == 0)

    def answer(self, repaired: Repaired) -> Answer:
        """What came out of it."""
        return Answer(self.span, self.step, repaired)


class Spare:
    """An engine in fp32 for spans that overflow what is narrower; made when it is needed."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make
        self._engine: Engine | None = None
        self.warnings: list[str] = []
        """What it was needed for."""

    def finish(self, span: Span, step: int, precision: str) -> Iterator[Answer]:
        """The span's answers from `step` on, which overflows `precision`, computed from its start.

        Raises EngineError where they are not finite either.
        """
        number = span.walk[step + 1].number
        self.warnings.append(
            f"the output of frame {number} is not finite in {precision}; its span goes on in fp32"
        )
        log.warning("%s", self.warnings[-1])
        if self._engine is None:
            self._engine = self._make()
        lane = Lane(0)
        lane.start(span)
        while not lane.waits:
            asked = lane.take()
            repaired = self._engine.step(Batch((asked.seen(),)))[0]
            if not repaired.is_finite():
                raise _not_finite(self._engine)
            if asked.step >= step:
                yield asked.answer(repaired)

    def cancel(self) -> None:
        """As an engine's."""
        if self._engine is not None:
            self._engine.cancel()

    def close(self) -> None:
        """As an engine's."""
        if self._engine is not None:
            self._engine.close()


def repair(spans: Iterable[Span], engine: Engine, spare: Spare | None = None) -> Iterator[Answer]:
    """Run every span through the engine, `engine.identity.lanes` of them in lockstep.

    A lane whose span ends takes the next span at the next step. Answers of one span come in
    order; those of different spans are interleaved. Each step is looked at while the next one is
    under way. A span whose output is not finite goes on in `spare`, from there to its end;
    without one that is an EngineError.
    """
    waiting = iter(spans)
    lanes = [Lane(number) for number in range(engine.identity.lanes)]
    given: list[tuple[Asked, Repaired]] = []
    exhausted = False
    while True:
        if not exhausted and any(lane.waits for lane in lanes):
            # The next span may be long in coming: what is there goes out first.
            yield from _checked(given, engine, spare)
            given = []
            exhausted = not _start(lanes, waiting)
        asked = [lane.take() for lane in lanes if not lane.waits]
        if not asked:
            yield from _checked(given, engine, spare)
            return
        answers = engine.step(Batch(tuple(one.seen() for one in asked)))
        yield from _checked(given, engine, spare)
        # Of a span that was given up only now, this step is of no use.
        given = [
            (one, repaired)
            for one, repaired in zip(asked, answers, strict=True)
            if one.lane.span is one.span
        ]


def _start(lanes: Iterable[Lane], waiting: Iterator[Span]) -> bool:
    """Give each lane that waits a span; False once there are no more."""
    for lane in lanes:
        if lane.waits:
            span = next(waiting, None)
            lane.start(span)
            if span is None:
                return False
    return True


def _checked(
    given: Iterable[tuple[Asked, Repaired]], engine: Engine, spare: Spare | None
) -> Iterator[Answer]:
    """The answers of one step; a span whose answer is not finite leaves its lane."""
    for asked, repaired in given:
        if repaired.is_finite():
            yield asked.answer(repaired)
            continue
        if spare is None:
            raise _not_finite(engine)
        if asked.lane.span is asked.span:
            asked.lane.start(None)
        yield from spare.finish(asked.span, asked.step, engine.identity.precision)


def _not_finite(engine: Engine) -> EngineError:
    return EngineError(
        f"the engine's output is not finite in {engine.identity.precision}; the source or --noise "
        "is at fault, or the model's weights are"
    )
