"""A word to whoever waits: how far something is, every so often."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import click

SECONDS = 15.0
"""Between two words."""

Tell = Callable[[str], None]


def to_stderr(line: str) -> None:
    """Whoever waits may have gone."""
    with suppress(OSError):
        click.echo(line, err=True)


def silent(_: str) -> None:
    """Nobody waits."""


class Ticker:
    """Counts steps, and says by the clock how far they are."""

    def __init__(self, tell: Tell, steps: int, done: int = 0) -> None:
        self._tell, self._steps, self._done = tell, steps, done
        self._told = time.monotonic()
        self._at = done

    def step(self, what: Callable[[], str] = str) -> None:
        """One more is done; `what` is asked for what else there is to say of it."""
        self._done += 1
        now = time.monotonic()
        if now - self._told < SECONDS and self._done < self._steps:
            return
        each = (now - self._told) / (self._done - self._at)
        left = timedelta(seconds=round(each * (self._steps - self._done)))
        told = (f"step {self._done} of {self._steps}", what(), f"{each:.2g} s each")
        self._tell(", ".join(filter(None, (*told, f"{left} left"))))
        self._told, self._at = now, self._done

    def leave_out(self, seconds: float) -> None:
        """So long something else was done."""
        self._told += seconds
