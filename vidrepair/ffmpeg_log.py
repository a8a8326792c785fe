"""What FFmpeg writes into its log while something is tried: some of it is told nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    before, skips = logging.get_level(), logging.get_skip_repeated()
    logging.set_level(level)
    logging.set_skip_repeated(False)  # else what was said the last time is not heard again
    try:
        with logging.Capture(local=False), logging.Capture(local=True) as lines:
            heard: list[Any] = lines
            yield lambda: "\n".join(str(line[2]).strip() for line in heard)
    finally:
        logging.set_skip_repeated(skips)
        _restore(before)


def _restore(level: int | None) -> None:
    """The level before; where none was set, silence.

    A thread may be inside PyAV's callback still, and PyAV compares there with the level: None
    would end in a traceback on stderr.
    """
    logging.set_level(logging.PANIC if level is None else level)
    if level in (None, logging.PANIC):
        logging.set_libav_level(QUIET)
        logging.restore_default_callback()
