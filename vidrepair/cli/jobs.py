"""vidrepair jobs: the unfinished jobs of a folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from vidrepair.cli.resume import folder_there, go_on, record_of
from vidrepair.cli.types import FILE
from vidrepair.errors import UsageError, VidrepairError
from vidrepair.journal import (
    JOURNAL,
    Journal,
    finished_segments,
    folder_of,
    is_at_work,
    read_record,
)
from vidrepair.report import spoken_size
from vidrepair.tags import one_line, plain_text

FOLDER = click.argument("folder", type=FILE, default=".", metavar="[FOLDER]")
OUT = click.argument("output", type=FILE, metavar="OUT")


@click.group()
def jobs() -> None:
    """List, show, retry and clean jobs that were broken off.

    Finished films with a sidecar have a folder OUT.vrjob, too, for vidrepair redo. They are neither
    listed nor retried; clean removes the folder, and ends that they can be redone.
    """


@jobs.command("list")
@FOLDER
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def list_jobs(folder: Path, as_json: bool) -> None:
    """Name the unfinished jobs of films in and below FOLDER, one a line."""
    found = [(output, _state(output)) for output in _unfinished(folder)]
    if as_json:
        told = [{"output": plain_text(str(output)), **state.as_dict()} for output, state in found]
        click.echo(json.dumps({"jobs": told}, indent=2))
        return
    for output, state in found:
        click.echo(one_line(f"{output}: {state}"))


@jobs.command()
@OUT
def show(output: Path) -> None:
    """Print what the unfinished job of OUT is, as JSON."""
    record = record_of(output)
    finished = finished_segments(folder_of(output), record)
    segments = [{"first": one.first, "frames": one.frames, "bytes": one.size} for one in finished]
    click.echo(json.dumps({"job": record.job, "segments": segments}, indent=2))


@jobs.command()
@FOLDER
def retry(folder: Path) -> None:
    """Go on with every unfinished job in and below FOLDER, one after the other."""
    failed = None
    for output in _unfinished(folder):
        try:
            go_on(output, [])
        except (VidrepairError, click.ClickException) as error:
            click.echo(f"vidrepair: {output}: {error}", err=True)
            failed = failed or error
    if failed is not None:
        raise failed


@jobs.command()
@OUT
def clean(output: Path) -> None:
    """Remove what is left of the job of OUT, and with it that a finished film can be redone."""
    with Journal(folder_there(output)) as journal:  # nobody is at work in it
        journal.remove()


@dataclass(frozen=True, slots=True)
class _State:
    """How far a job is."""

    frames: int = 0
    """Finished."""
    total: int | None = None
    """Before there is a plan, about so many."""
    size: int = 0
    """Bytes of what is finished."""
    resumable: bool = False
    """By its command line; a batch or Python go on with their own."""
    busy: bool = False
    """Another run is at work on it."""
    error: str = ""
    """Why that cannot be told."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "error": plain_text(self.error)}

    def __str__(self) -> str:
        if self.error:
            return self.error
        # Not rounded up: 100 % is all.
        share = " frames"
        if self.total:
            share = f" of about {self.total} frames ({100 * self.frames // self.total} %)"
        begun = "" if self.resumable else "; begun by a batch or from Python, which go on with it"
        busy = "; another run is at work on it" if self.busy else ""
        return f"{self.frames}{share} are finished, {spoken_size(self.size)}{begun}{busy}"


def _state(output: Path) -> _State:
    try:
        record = record_of(output)
        finished = finished_segments(folder_of(output), record)
    except VidrepairError as error:
        return _State(error=str(error))
    assert record.job is not None
    return _State(
        frames=sum(segment.frames for segment in finished),
        # Before there is a plan the container's word has to do.
        total=record.job["frames"] if record.plan is None else record.plan.frames,
        size=sum(segment.size for segment in finished),
        resumable=bool(record.job["arguments"]),
        busy=is_at_work(folder_of(output)),
    )


def _unfinished(folder: Path) -> list[Path]:
    """The films in and below a folder that have a journal; where there is none, it is said."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; name the one that holds the unfinished films")
    found = [
        journal.parent.with_name(journal.parent.name.removesuffix(".vrjob"))
        for journal in sorted(folder.rglob(f"*.vrjob/{JOURNAL}"))
        if not _is_done(journal.parent)
    ]
    if not found:
        click.echo(f"vidrepair: no film in or below {folder} is unfinished", err=True)
    return found


def _is_done(folder: Path) -> bool:
    try:
        return read_record(folder).kept
    except VidrepairError:  # of which the list tells
        return False
