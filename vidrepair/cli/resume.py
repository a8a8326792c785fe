"""vidrepair resume: go on with a job that was broken off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import click

from vidrepair.cli.progress import progress_options
from vidrepair.cli.run import run
from vidrepair.cli.types import FILE
from vidrepair.errors import UsageError
from vidrepair.job_facts import with_options
from vidrepair.job_journal import check_format
from vidrepair.journal import folder_of, read_record
from vidrepair.record import Record


def recall_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a run that may change when it goes on."""
    for option in reversed(
        (
            click.option("--allow-mixed", is_flag=True, help="Even if version or engine changed."),
            click.option("--threads", type=int, help="Instead of what the run had."),
            click.option("--device", help="Instead of that of the run; cuda:0,cuda:1 for workers."),
            click.option(
                "--memory",
                type=int,
                metavar="MB",
                help="What the engine may use, where the run let it use more than there is.",
            ),
            click.option("--workers", type=int, help="Processes, instead of those of the run."),
            click.option(
                "--ray",
                is_flag=False,
                flag_value="local",
                metavar="[ADDRESS]",
                help="The Ray cluster at ADDRESS, or on this machine, instead of that of the run.",
            ),
        )
    ):
        command = option(command)
    return command


def changed_words(given: Mapping[str, int | str | bool | None]) -> list[str]:
    """Those options as words of a command line."""
    words: list[str] = []
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            words += [flag, str(value)]
    return words


@click.command()
@click.argument("output", type=FILE, metavar="OUT")
@click.option("-y", "--overwrite", is_flag=True, help="Replace OUT if it exists.")
@recall_options
@progress_options
def resume(
    output: Path,
    progress: str,
    log_level: str,
    **given: int | str | bool | None,
) -> None:
    """Go on with the run that was to write OUT and was broken off.

    What is finished is not computed again, and the film is the same as without the break. Source,
    settings, version and engine have to be as they were; after running out of memory add
    --allow-mixed and --memory.
    """
    go_on(output, [*changed_words(given), "--progress", progress, "--log-level", log_level])


def go_on(output: Path, changed: list[str]) -> None:
    """Repeat the command that a job was started with, `changed` added to it."""
    record = record_of(output)
    assert record.job is not None
    if record.kept:
        raise UsageError(f"the job of {output} is done; there is nothing to resume")
    arguments, folder = record.job["arguments"], Path(record.job["folder"])
    if not arguments:
        raise UsageError(
            f"the job of {output} was begun by vidrepair batch, or from Python: repeat that batch,"
            " and it goes on where it was (from Python with OutputSettings(resume=True))"
        )
    if not folder.is_dir():
        raise UsageError(
            f"the job of {output} was started in {folder}, which is not there; make it again"
        )
    wanted = output.absolute()
    with chdir(folder):
        context = run.make_context("run", with_options(arguments, [*changed, "--resume"]))
        if folder_of(Path(context.params["output"])).resolve() != folder_of(wanted).resolve():
            raise UsageError(
                f"the job of {output} was to write {context.params['output']}; move its folder"
                f" {folder_of(wanted)} back beside that"
            )
        with context:
            run.invoke(context)


def folder_there(output: Path) -> Path:
    """Of the job of a film. Raises UsageError where there is none."""
    folder = folder_of(output)
    if not folder.is_dir():
        raise UsageError(
            f"there is no unfinished job for {output}: {folder} is not there; vidrepair jobs list"
            " names those of a folder"
        )
    return folder


def record_of(output: Path) -> Record:
    """What the journal of a film says. Raises UsageError where there is none."""
    folder = folder_there(output)
    record = read_record(folder)
    check_format(record, folder)
    if record.job is None:
        raise UsageError(f"{folder} says nothing of a job; remove it, and start anew with run")
    return record
