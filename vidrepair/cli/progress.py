"""Progress and messages for people (a bar on stderr) and for wrappers (JSON lines on stderr)."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from vidrepair.report import Progress as State
from vidrepair.report import Report
from vidrepair.tags import one_line

KINDS = ("auto", "bar", "json", "none")
LEVELS = ("error", "warning", "note", "info", "debug")


def progress_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of what it says while it runs."""
    shown = click.option(
        "--progress",
        type=click.Choice(KINDS),
        default="auto",
        show_default=True,
        help="On stderr: a bar, JSON lines, or only the closing line; auto is a bar on a terminal.",
    )
    told = click.option("--log-level", type=click.Choice(LEVELS), default="note", show_default=True)
    return shown(told(command))


class Shown(Protocol):
    """Called with every state, and once with the report."""

    def __call__(self, state: State) -> None: ...

    def compiling(self, what: str, done: int, total: int) -> None:
        """Called while an engine is compiled, before the first state."""
        ...

    def done(self, report: Report) -> None: ...


class Messages(logging.Handler):
    """Log records on stderr: a line for people, or a JSON object for wrappers."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self.as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        level, message = record.levelname.lower(), record.getMessage()
        line = f"vidrepair: {level}: {one_line(message)}"
        if self.as_json:
            line = json.dumps({"event": level, "message": message})
        # Not through a stream of our own: a bar that is being drawn takes stderr over.
        click.echo(line, err=True)


def show_messages(level: str, kind: str) -> None:
    """Log from `level` up in the way that suits this kind of progress."""
    logging.basicConfig(
        level=level.upper(), handlers=[Messages(as_json=kind == "json")], force=True
    )


@contextmanager
def show_progress(kind: str) -> Iterator[Shown]:
    """Show a run in the way asked for; `auto` is a bar on a terminal, else nothing."""
    kind = _settled(kind)
    if kind == "json":
        yield _Lines()
    elif kind == "none":
        yield _Summary()
    else:
        bar = _Bar()
        with bar.display:
            yield bar


@contextmanager
def show_one_of_many(kind: str, heading: str) -> Iterator[Shown]:
    """Show one of several runs, the heading above its bar; its closing line is the caller's."""
    kind = _settled(kind)
    if kind == "json":
        yield _Lines()
    elif kind == "none":
        yield _Nothing()
    else:
        bar = _Bar()
        line = Text(heading, no_wrap=True, overflow="ellipsis")
        with Live(Group(line, bar.display), console=bar.display.console, transient=True):
            yield _Moving(bar)


def _settled(kind: str) -> str:
    if kind == "auto":
        return "bar" if sys.stderr.isatty() else "none"
    return kind


class _Nothing:
    """Shows nothing."""

    def __call__(self, state: State) -> None:
        """A state is not shown."""

    def compiling(self, what: str, done: int, total: int) -> None:
        """Nor is a build."""

    def done(self, report: Report) -> None:
        """Nor what was done."""


class _Summary(_Nothing):
    """The closing line only."""

    def done(self, report: Report) -> None:
        click.echo(report.summary(), err=True)


class _Lines(_Summary):
    """One JSON object a line."""

    def __call__(self, state: State) -> None:
        click.echo(json.dumps(state.as_dict()), err=True)

    def compiling(self, what: str, done: int, total: int) -> None:
        event = {"event": "compiling", "what": what, "done": done, "total": total}
        click.echo(json.dumps(event), err=True)

    def done(self, report: Report) -> None:
        click.echo(json.dumps(report.as_dict()), err=True)


class _Bar(_Summary):
    """A bar with frames per second, the time left and the limiting stage."""

    def __init__(self) -> None:
        self.display = Progress(
            BarColumn(),
            TextColumn("{task.fields[count]} frames"),
            TextColumn("{task.fields[fps]:.1f} fps"),
            TimeRemainingColumn(),
            TextColumn("limit: {task.fields[limit]}"),
            console=Console(stderr=True),
        )
        self._task = self.display.add_task("", total=None, count="0", fps=0.0, limit="decode")

    def __call__(self, state: State) -> None:
        self.display.update(
            self._task,
            completed=state.frames,
            total=state.total,
            count=str(state.frames) if state.total is None else f"{state.frames}/{state.total}",
            fps=state.fps,
            limit=state.limit,
        )

    def compiling(self, what: str, done: int, total: int) -> None:
        self.display.update(
            self._task, completed=done, total=total, count=f"compiling {what}, no", fps=0.0
        )

    def done(self, report: Report) -> None:
        self.display.update(
            self._task, completed=report.frames, total=report.frames, count=str(report.frames)
        )
        self.display.stop()
        super().done(report)


class _Moving(_Nothing):
    """A bar as long as it moves, without its closing line."""

    def __init__(self, bar: _Bar) -> None:
        self._bar = bar

    def __call__(self, state: State) -> None:
        self._bar(state)

    def compiling(self, what: str, done: int, total: int) -> None:
        self._bar.compiling(what, done, total)
