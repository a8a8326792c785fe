"""What a batch came to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vidrepair.errors import PartialSuccess, VidrepairError
from vidrepair.jobs.batch import OUTCOMES, BatchResult, Outcome
from vidrepair.tags import counted, plain_text

HEADINGS = ("file", "result", "frames", "seconds", "reason")


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """All files that a batch has done, in order."""

    results: tuple[BatchResult, ...]

    def count(self, outcome: Outcome) -> int:
        """How many files ended so."""
        return sum(result.outcome == outcome for result in self.results)

    @property
    def damaged(self) -> int:
        """How many were restored from a file that was broken or cut off."""
        return sum(bool(result.report and result.report.damage.lossy) for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        files = [result.as_dict() for result in self.results]
        counts = {str(outcome): self.count(outcome) for outcome in OUTCOMES}
        return {"files": files, **counts, "damaged": self.damaged}

    def table(self) -> str:
        """A line for each file, and one for all of them."""
        rows = [HEADINGS, *(_cells(result) for result in self.results)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"{name:<{widths[0]}}  {result:<{widths[1]}}  {frames:>{widths[2]}}"
            f"  {seconds:>{widths[3]}}  {reason}".rstrip()
            for name, result, frames, seconds, reason in rows
        ]
        counts = ", ".join(f"{self.count(outcome)} {outcome}" for outcome in OUTCOMES)
        if self.damaged:
            counts += f"; {self.damaged} of those restored met damage in the source"
        return "\n".join([*lines, counts])

    def failure(self) -> VidrepairError | None:
        """What the batch ends with: the code of the first file where none came through."""
        failed = [result for result in self.results if result.outcome == "failed"]
        if not failed:
            return None
        said = f"{len(failed)} of {counted(len(self.results), 'file')} failed"
        if len(failed) < len(self.results):
            return PartialSuccess(said)
        error = VidrepairError(said)
        error.exit_code = failed[0].exit_code
        return error


def latest(results: Iterable[BatchResult]) -> BatchSummary:
    """The summary of a batch that did some files more than once: the last time counts."""
    last = {(result.item.source, result.item.output): result for result in results}
    return BatchSummary(tuple(last.values()))


def one_line(text: str) -> str:
    """A name or a sentence as a cell of a table: on one line, with nothing that moves a cursor."""
    flat = " ".join(plain_text(text).split())
    return "".join(mark if mark.isprintable() else "?" for mark in flat)


def _cells(result: BatchResult) -> tuple[str, ...]:
    name, reason = one_line(str(result.item.source)), one_line(result.reason)
    return (name, result.outcome, str(result.frames), f"{result.seconds:.1f}", reason)
