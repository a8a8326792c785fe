"""What FFmpeg writes into its log while something is tried: some of it is told nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from av import logging


@contextmanager
def listening(level: int = logging.INFO) -> Iterator[Callable[[], str]]:
    """Gather the log of this thread; call what is yielded for its lines so far.

    The level holds for the whole process meanwhile, so this is for the time before the work.
    """
    before = logging.get_level()
    logging.set_level(level)
    try:
        with logging.Capture(local=True) as lines:
            heard: list[Any] = lines
            yield lambda: "\n".join(str(line[2]).strip() for line in heard)
    finally:
        logging.set_level(before)
