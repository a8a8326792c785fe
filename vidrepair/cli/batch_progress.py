"""What a batch tells while it goes on: a bar with a line above it, a line a file, or JSON lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from vidrepair.cli.progress import Shown, show_one_of_many
from vidrepair.jobs.batch import BatchItem, BatchResult
from vidrepair.jobs.summary import BatchSummary, one_line
from vidrepair.tags import plain_text


class BatchDisplay:
    """Shows the files of a batch as they are begun and finished, on stderr."""

    def __init__(self, kind: str, total: int | None) -> None:
        self.total = total
        """How many files there are; None where more may come."""
        self._kind = kind
        self._number = 0

    @contextmanager
    def file(self, item: BatchItem) -> Iterator[Shown]:
        """Show one file while it is worked on; what is logged meanwhile says its name."""
        self._number += 1
        if self._kind == "json":
            # The place of a file that is refused is not known.
            output = None if item.refusal else plain_text(str(item.output))
            source = plain_text(str(item.source))
            self._tell("file", number=self._number, of=self.total, source=source, output=output)
        with (
            show_one_of_many(
                self._kind, f"{self._counted()}, {one_line(item.source.name)}"
            ) as shown,
            _named_messages(one_line(str(item.source))),
        ):
            yield shown

    def finished(self, result: BatchResult) -> None:
        """Tell how the file ended."""
        if self._kind != "json":
            click.echo(f"{self._counted()}: {_sentence(result)}", err=True)
        elif result.outcome == "failed":
            self._tell("error", message=plain_text(result.reason), exit=result.exit_code)
        elif result.outcome == "skipped":
            self._tell("skipped", message=plain_text(result.reason))

    def summary(self, summary: BatchSummary) -> None:
        """Tell how all files ended."""
        if self._kind == "json":
            self._tell("summary", **summary.as_dict())
        else:
            click.echo(summary.table(), err=True)

    def _counted(self) -> str:
        return f"{self._number}" if self.total is None else f"{self._number}/{self.total}"

    def _tell(self, event: str, **facts: Any) -> None:
        click.echo(json.dumps({"event": event, **facts}), err=True)


def _sentence(result: BatchResult) -> str:
    name = one_line(str(result.item.source))
    if result.outcome == "restored":
        met = f"; {one_line(result.reason)}" if result.reason else ""
        return f"{name}: restored, {result.frames} frames in {result.seconds:.1f} s{met}"
    return f"{name}: {result.outcome}: {one_line(result.reason)}"


@contextmanager
def _named_messages(name: str) -> Iterator[None]:
    """Put the name of the file before every message: it may come from any thread."""

    def add_name(record: logging.LogRecord) -> bool:
        record.msg, record.args = f"{name}: {record.getMessage()}", ()
        return True

    handlers = list(logging.root.handlers)
    for handler in handlers:
        handler.addFilter(add_name)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(add_name)
