"""What FFmpeg writes into its log while something is tried: some of it is told nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from av import logging

QUIET = -8
"""FFmpeg's AV_LOG_QUIET."""


@contextmanager
def listening(level: int = logging.INFO) -> Iterator[Callable[[], str]]:
    """Gather the log of this thread; call what is yielded for its lines so far.

    The level holds for the whole process meanwhile, so this is for the time before the work. What
    other threads say, such as those of a decoder that is ahead, goes nowhere.
    """
    _level.raise_to(level)
    try:
        with logging.Capture(local=False), logging.Capture(local=True) as lines:
            heard: list[Any] = lines
            yield lambda: "\n".join(str(line[2]).strip() for line in heard if line[0] <= level)
    finally:
        _level.let_go()


class _Level:
    """How much FFmpeg says, which is one for all threads: the most that anyone who listens asks.

    Once nobody does it is as it was before; each would put back what another had set.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._listeners = 0
        self._before: int | None = None
        self._skips = True

    def raise_to(self, level: int) -> None:
        with self._lock:
            if not self._listeners:
                self._before, self._skips = logging.get_level(), logging.get_skip_repeated()
            now = logging.get_level() if self._listeners else None
            logging.set_level(level if now is None else max(level, now))
            logging.set_skip_repeated(False)  # else what was said the last time is not heard again
            self._listeners += 1

    def let_go(self) -> None:
        with self._lock:
            self._listeners -= 1
            if not self._listeners:
                logging.set_skip_repeated(self._skips)
                _restore(self._before)


_level = _Level()


def _restore(level: int | None) -> None:
    """The level before; where none was set, silence.

    A thread may be inside PyAV's callback still, and PyAV compares there with the level: None
    would end in a traceback on stderr.
    """
    logging.set_level(logging.PANIC if level is None else level)
    if level in (None, logging.PANIC):
        logging.set_libav_level(QUIET)
        logging.restore_default_callback()
