"""The loop over spans and lanes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from vidrepair.engines.protocol import Engine
from vidrepair.frames import Answer, Batch, FloatArray, LaneStep, Span
from vidrepair.planes import padded_size, to_generator

# Frames converted into one stretch of memory, so that three neighbours are one array; when
# the end is reached the last two move to the front.
_RING = 6


class Lane:
    """One span on its way through the engine."""

    def __init__(self, number: int, span: Span) -> None:
        height, width = padded_size(span.walk[0].picture)
        self.number = number
        self.span = span
        self.step = 0
        self._noise = span.noise.array()
        self._ring = np.empty((_RING, 3, height, width), dtype=np.float32)
        self._at = 0
        to_generator(span.walk[0], self._ring[0])
        to_generator(span.walk[1], self._ring[1])

    def restart(self, span: Span) -> None:
        """Take the next span in the same memory."""
        self.span, self.step, self._at = span, 0, 0
        self._noise = span.noise.array()
        to_generator(span.walk[0], self._ring[0])
        to_generator(span.walk[1], self._ring[1])

    @property
    def ended(self) -> bool:
        return self.step == self.span.steps

    def take(self) -> LaneStep:
        """Convert the next frame of look-ahead and lay out the step."""
        if self._at + 3 > _RING:
            self._ring[:2] = self._ring[self._at : self._at + 2]
            self._at = 0
        to_generator(self.span.walk[self.step + 2], self._ring[self._at + 2])
        frames: FloatArray = self._ring[self._at : self._at + 3]
        self._at += 1
        return LaneStep(self.number, frames, self._noise, fresh=self.step == 0)


def repair(spans: Iterable[Span], engine: Engine, *, damage: bool = False) -> Iterator[Answer]:
    """Run every span through the engine, `engine.identity.lanes` of them in lockstep.

    A lane whose span ends takes the next span at the next step. Answers of one span come in
    order; those of different spans are interleaved.
    """
    waiting = iter(spans)
    lanes: list[Lane | None] = [None] * engine.identity.lanes
    while True:
        for number, lane in enumerate(lanes):
            if lane is not None and not lane.ended:
                continue
            span = next(waiting, None)
            if span is None:
                lanes[number] = None
            elif lane is None:
                lanes[number] = Lane(number, span)
            else:
                lane.restart(span)
        active = [lane for lane in lanes if lane is not None]
        if not active:
            return
        answers = engine.step(Batch(tuple(lane.take() for lane in active), damage))
        for lane, repaired in zip(active, answers, strict=True):
            yield Answer(lane.span, lane.step, repaired)
            lane.step += 1
