"""Ctrl-C and SIGTERM, heard between two steps: what was learned is saved before the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import current_thread, main_thread
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Asked:
    """Whether somebody has asked for an end."""

    number: int = 0
    """Of the signal; 0 while nobody has."""

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


@contextmanager
def listening() -> Iterator[Asked]:
    """The first signal is kept for whoever looks, the second ends at once as KeyboardInterrupt.

    A signal that is ignored, as by what a script starts in the background, stays so.
    """
    asked = Asked()

    def hear(number: int, _frame: FrameType | None) -> None:
        if asked.number:
            raise KeyboardInterrupt
        asked.number = number
        # Not print: the step that was interrupted may be in the middle of one. Who read it may have
        # been interrupted, too.
        with suppress(OSError):
            os.write(2, b"stopping after this step; once more to lose what was not saved\n")

    if current_thread() is not main_thread():  # only it hears signals
        yield asked
        return
    heard = [one for one in _SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, hear) for number in heard}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
