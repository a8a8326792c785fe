"""How a command ends before its time."""

from __future__ import annotations

import _thread
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer, main_thread

INTERRUPTED, TERMINATED = 130, 143
"""The exit codes."""


AGAIN = 0.05
"""Seconds after which a lost interruption is told once more."""


class Terminated(BaseException):
    """SIGTERM came."""


@contextmanager
def telling_lost() -> Iterator[None]:
    """An interruption that fell into a finaliser is told once more, in the main thread.

    Python drops what is raised there, and the program would go on as if nobody had asked.
    """
    before = sys.unraisablehook

    def tell(lost: sys.UnraisableHookArgs) -> None:
        if not isinstance(lost.exc_value, Terminated | KeyboardInterrupt):
            before(lost)
            return
        number = signal.SIGTERM if isinstance(lost.exc_value, Terminated) else signal.SIGINT
        again = Timer(AGAIN, _tell_main, (number,))
        again.daemon = True
        again.start()

    sys.unraisablehook = tell
    try:
        yield
    finally:
        sys.unraisablehook = before


def _tell_main(number: signal.Signals) -> None:
    if hasattr(signal, "pthread_kill"):  # wakes a thread that sleeps, too
        signal.pthread_kill(main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(number)
