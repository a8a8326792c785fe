"""vidrepair estimate: what a run will take, before it is begun."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from vidrepair.cli.engine import engine_options
from vidrepair.cli.headings import Headed
from vidrepair.cli.progress import progress_options, show_messages, show_progress
from vidrepair.cli.repair import repair_options
from vidrepair.cli.target import reading_options, target_options
from vidrepair.cli.types import complete_files, path_or_pipe
from vidrepair.errors import VidrepairError
from vidrepair.estimation import (
    PIECES,
    Estimate,
    Failure,
    check,
    estimate_job,
    failure,
    table,
    total,
)
from vidrepair.jobs.inputs import films_in, is_folder
from vidrepair.jobs.naming import Naming
from vidrepair.report import Progress, steady_progress
from vidrepair.settings import (
    EngineSettings,
    Job,
    OutputSettings,
    RepairSettings,
    SourceSettings,
)


@click.command(cls=Headed)
@click.argument("sources", nargs=-1, required=True, metavar="IN...", shell_complete=complete_files)
@click.option(
    "--pieces",
    type=int,
    default=PIECES,
    show_default=True,
    metavar="N",
    help="Parts of each film that are really run; more of them know a film of many kinds better.",
)
@click.option(
    "--ext",
    metavar=".EXT",
    help="The container of the result: .mkv, .mp4, .mov or .webm. By default that of the film if it"
    " is one of them, else .mkv.",
)
@click.option("--json", "as_json", is_flag=True, help="On stdout, for programs.")
@target_options
@reading_options
@repair_options
@engine_options
@progress_options
def estimate(
    sources: tuple[str, ...],
    pieces: int,
    ext: str | None,
    as_json: bool,
    target: OutputSettings,
    reading: SourceSettings,
    repair: RepairSettings,
    engine: EngineSettings,
    progress: str,
    log_level: str,
) -> None:
    """Say what a run of each IN will take: time, disk and memory.

    IN is a film, or a folder: all films in it and below. A few pieces of each film are restored
    with the options of run, and thrown away. One film that fails does not stop the others.
    """
    show_messages(log_level, progress)
    common = Job(None, None, repair, engine, target, reading=reading)
    check(common, pieces)
    naming = Naming(Path(), ext=ext)
    found = []
    for name in dict.fromkeys(_films(sources)):
        with show_progress(progress) as observer:
            found.append(_estimate(name, common, naming, pieces, observer))
    error = failure(found)
    if error is not None and len(found) == 1 and not as_json:
        raise error  # a table of it would say the same
    if as_json:
        told = {"files": [one.as_dict() for one in found], "total": total(found)}
        click.echo(json.dumps(told, indent=1))
    else:
        click.echo(table(found))
    if error is not None:
        raise error


for _unused in estimate.params:
    # Taken, for a command line of run has them, but nothing is written that they could tell of.
    if _unused.name in ("overwrite", "mask_out") and isinstance(_unused, click.Option):
        _unused.hidden = True


def _films(names: Sequence[str]) -> Iterator[str]:
    """The films that are named, and those in folders."""
    for name in names:
        path = path_or_pipe(name)
        films = [] if path is None or not is_folder(path) else films_in(path)
        # A folder without any is told of like a film that cannot be read.
        yield from [str(film.source) for film in films] or [name]


def _estimate(
    name: str,
    common: Job,
    naming: Naming,
    pieces: int,
    observer: Callable[[Progress], None],
) -> Estimate | Failure:
    """One film, or why not."""
    began = time.monotonic()

    def told(done: int, expected: int) -> None:
        observer(steady_progress(done, expected, time.monotonic() - began))

    source = path_or_pipe(name)
    try:
        output = None if source is None else naming.output_of(source, Path())
        return estimate_job(replace(common, source=source, output=output), pieces, told)
    except VidrepairError as error:
        return Failure(name, str(error), error.exit_code)
