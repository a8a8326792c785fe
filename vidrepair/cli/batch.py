"""vidrepair batch: many files, folders, or a list of films."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import click

from trt_build.build import build_engine
from vidrepair.cli.batch_progress import BatchDisplay
from vidrepair.cli.engine import engine_options, worker_options
from vidrepair.cli.headings import Lacking
from vidrepair.cli.interruption import INTERRUPTED, TERMINATED, Terminated
from vidrepair.cli.progress import progress_options, show_messages
from vidrepair.cli.repair import repair_options
from vidrepair.cli.target import reading_options, target_options
from vidrepair.cli.types import FILE, complete_files
from vidrepair.errors import UsageError, VidrepairError
from vidrepair.jobs.batch import (
    BatchItem,
    BatchResult,
    BatchSettings,
    make_folder,
    plan_batch,
    run_item,
)
from vidrepair.jobs.manifest import read_manifest
from vidrepair.jobs.naming import TEMPLATE, Naming
from vidrepair.jobs.summary import BatchSummary, latest
from vidrepair.jobs.watch import INTERVAL, watch_folders
from vidrepair.settings import (
    EngineSettings,
    Job,
    OutputSettings,
    RepairSettings,
    SourceSettings,
)

OF_ONE = {
    "--report": "make each its own afterwards: vidrepair report OUT --against IN",
    "--sidecar": "run such a film by itself: vidrepair run IN -o OUT --sidecar",
    "--analysis": "run such a film by itself: vidrepair run IN -o OUT --analysis FILE",
}
"""What tells of one film, and how to have it."""


class _OfMany(Lacking):
    """It has nothing that tells of one film, as run does."""

    def explain(self, option: str) -> None:
        if option in OF_ONE:
            raise UsageError(
                f"{option} tells of one film, and a batch makes many; {OF_ONE[option]}"
            ) from None


@click.command(cls=_OfMany)
@click.argument("inputs", nargs=-1, metavar="INPUTS...", shell_complete=complete_files)
@click.option(
    "-P",
    "--output-folder",
    "folder",
    type=FILE,
    required=True,
    metavar="OUTDIR",
    help="Where the results go; it is made if it is missing.",
)
@click.option(
    "--manifest",
    type=FILE,
    metavar="FILE",
    help="A list of films with settings of their own, as CSV or JSON: see docs/batch.md.",
)
@click.option(
    "--name",
    default=TEMPLATE,
    show_default=True,
    metavar="TEMPLATE",
    help="What a result is called; {parent} is the folder of the film.",
)
@click.option(
    "--ext",
    metavar=".EXT",
    help="The container of all results: .mkv, .mp4, .mov or .webm. By default that of the film if"
    " it is one of them, else .mkv.",
)
@click.option("--skip-existing", is_flag=True, help="Leave out the films whose result is there.")
@click.option(
    "--watch",
    is_flag=True,
    help="Go on looking into the folders, and take what comes once it has stopped growing; Ctrl-C"
    " ends it.",
)
@click.option(
    "--watch-interval",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help=f"Between two looks; {INTERVAL:g} by default.",
)
@click.option("--json", "as_json", is_flag=True, help="The summary on stdout, for programs.")
@target_options
@reading_options
@repair_options
@engine_options
@worker_options
@progress_options
def batch(
    inputs: tuple[str, ...],
    folder: Path,
    manifest: Path | None,
    name: str,
    ext: str | None,
    skip_existing: bool,
    watch: bool,
    watch_interval: float | None,
    as_json: bool,
    target: OutputSettings,
    reading: SourceSettings,
    repair: RepairSettings,
    engine: EngineSettings,
    workers: int,
    ray: str | None,
    progress: str,
    log_level: str,
) -> None:
    """Repair many films, one after the other, into OUTDIR.

    INPUTS are files, patterns, and folders, whose own folders are made again below OUTDIR. One
    that fails does not stop the others: the table at the end says why, and the exit code is 7, or
    that of the first where all failed.
    """
    show_messages(log_level, progress)
    common = Job(None, None, repair, engine, target, reading=reading, workers=workers, ray=ray)
    settings = BatchSettings(Naming(folder, name, ext), common, skip_existing)
    if not inputs and manifest is None:
        raise UsageError("nothing to repair; name files, folders, patterns or a --manifest")
    if watch and manifest is not None:
        raise UsageError("--manifest lists films and --watch waits for them; leave one out")
    if watch_interval is not None and not watch:
        raise UsageError("--watch-interval belongs to --watch; add that, or leave it out")
    items: Iterable[BatchItem]
    if watch:
        items, total = watch_folders(inputs, settings, watch_interval or INTERVAL), None
    else:
        entries = [] if manifest is None else read_manifest(manifest)
        items = plan_batch(inputs, entries, settings)
        total = len(items)
    was_there = folder.is_dir()
    make_folder(folder)
    try:
        _run(items, BatchDisplay(progress, total), as_json=as_json)
    finally:
        if not was_there:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _run(items: Iterable[BatchItem], display: BatchDisplay, *, as_json: bool) -> None:
    """Run a batch up to its summary. Raises a VidrepairError unless all files came through."""
    results: list[BatchResult] = []
    stop: BaseException | None = None
    begun = 0
    try:
        for begun, item in enumerate(items, 1):  # noqa: B007  # counts those that were begun
            with display.file(item) as shown:
                build = partial(build_engine, progress=shown.compiling)
                result = run_item(item, shown, build)
                results.append(result)  # at once: Ctrl-C may come while it is told
                if result.report is not None:
                    shown.done(result.report)
            display.finished(result)
    except (KeyboardInterrupt, Terminated) as error:
        stop = error
    summary = latest(results)
    display.summary(summary)
    if as_json:
        click.echo(json.dumps(summary.as_dict()))
    whole = display.total is None and isinstance(stop, KeyboardInterrupt) and begun == len(results)
    # Who watches folders ends it so: between two films nothing is broken off.
    failure = summary.failure() if stop is None or whole else _stopped(stop, summary, display)
    if failure is not None:
        raise failure


def _stopped(stop: BaseException, summary: BatchSummary, display: BatchDisplay) -> VidrepairError:
    """What a batch ends with that was broken off."""
    interrupted = isinstance(stop, KeyboardInterrupt)
    of = "" if display.total is None else f" of {display.total}"
    error = VidrepairError(
        f"{'interrupted' if interrupted else 'terminated'} after {len(summary.results)}{of} files;"
        " nothing else has its final name; the same command with --skip-existing does the rest"
    )
    error.exit_code = INTERRUPTED if interrupted else TERMINATED
    return error
