"""The three threads of a run, and what lies between them.

One decodes, up to finished spans; the caller's runs the engine; one composes and encodes. Two
bounded channels keep memory flat. The first failure of any of them ends the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread

from vidrepair.channel import BrokenOff, Channel
from vidrepair.engines import Engine
from vidrepair.frames import Answer, Span

_OF_NO_ACCOUNT = 0.25
"""Share of the engine's time below which its waits name no other stage: it waits for the first
span of any film."""

Work = Callable[[], None]


@dataclass(slots=True)
class Stages:
    """The stages of one run; whoever runs them owns what they use."""

    engine: Engine
    stop_source: Work
    """No more frames come from it, not even from a pipe that nobody writes to."""
    spans: Channel[Span]
    answers: Channel[Answer]
    failures: list[BaseException] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """CPU seconds of each stage's own thread."""
    _began: float = 0.0
    """When the engine's stage did; 0 before."""
    _lasted: float = 0.0
    """Seconds that it took, its waits included; 0 while it goes on."""
    _worked: float = 0.0
    """Seconds that the engine's device had worked before."""

    def drive(self, decode: Work, infer: Work, encode: Work, cancel: Work) -> None:
        """Run the three to their end; raise the first error of any of them.

        `cancel` stops, from this thread, what the workers may be inside of.
        """
        workers = [
            Thread(target=self._guard, args=("decode", decode), name="decode"),
            Thread(target=self._guard, args=("encode", encode), name="encode"),
        ]
        try:
            for worker in workers:
                worker.start()
            self._guard("engine", lambda: self._timed(infer), catch=Exception)
            for worker in workers:
                worker.join()
        except BaseException:
            # Ctrl-C and the like: nobody may be left waiting, least of all inside the engine or
            # the flush of an encoder's lookahead.
            cancel()
            self.break_off()
            _wait_for(workers)
            raise
        if self.failures:
            raise self.failures[0]

    def break_off(self) -> None:
        """Nobody is left waiting: not for a frame, not for a pipe."""
        self.stop_source()
        self.spans.break_off()
        self.answers.break_off()

    def limit(self) -> str:
        """The stage that the engine waits for, or the engine."""
        waits = {"encode": self.answers.waited_full}
        # A decoder that itself waits longer for the engine holds up nobody.
        if self.spans.waited_empty > self.spans.waited_full:
            waits["decode"] = self.spans.waited_empty
        stage = max(waits, key=lambda name: waits[name])
        lasted = self._lasted or time.monotonic() - self._began
        return stage if waits[stage] > _OF_NO_ACCOUNT * lasted else "engine"

    def busy(self) -> float:
        """The share of its time in which the engine waited for nobody; of a card, computed."""
        if not self._lasted:
            return 0.0
        if self.engine.worked is not None:
            return min((self.engine.worked - self._worked) / self._lasted, 1.0)
        waited = self.spans.waited_empty + self.answers.waited_full
        return max(1.0 - waited / self._lasted, 0.0)

    def _timed(self, infer: Work) -> None:
        self._began, self._worked = time.monotonic(), self.engine.worked or 0.0
        try:
            infer()
        finally:
            self._lasted = time.monotonic() - self._began

    def _guard(self, stage: str, work: Work, catch: type[BaseException] = BaseException) -> None:
        """Run one stage; its first failure wakes and ends the others.

        It is raised in the caller's thread, even where an observer called sys.exit() in a
        worker's.
        """
        started = time.thread_time()
        try:
            work()
        except BrokenOff:
            pass
        except catch as error:
            self.failures.append(error)
            self.break_off()
        finally:
            self.seconds[stage] = time.thread_time() - started


def _wait_for(workers: Sequence[Thread]) -> None:
    """A second Ctrl-C is of no use: PyAV crashes when closed in mid-call."""
    for worker in workers:
        while worker.is_alive():
            with suppress(BaseException):
                worker.join()
