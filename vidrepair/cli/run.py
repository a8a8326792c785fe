"""vidrepair run: repair one file or pipe."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from trt_build.build import build_engine
from vidrepair.cli.engine import engine_options, worker_options
from vidrepair.cli.headings import Headed
from vidrepair.cli.lists import marker_options
from vidrepair.cli.progress import progress_options, show_messages, show_progress
from vidrepair.cli.repair import repair_options
from vidrepair.cli.target import reading_options, target_options
from vidrepair.cli.types import FILE, complete_files, path_or_pipe
from vidrepair.errors import InputError, UsageError, VidrepairError
from vidrepair.jobs.workers import run_with_workers
from vidrepair.journal import finished_segments, folder_of, is_at_work, read_record
from vidrepair.parts import split_at_changes
from vidrepair.planning import check_planned
from vidrepair.report import NOTE, Report
from vidrepair.report_page import ReportJob, check_page, make_report, report_of_job
from vidrepair.sequences import sidecar_of
from vidrepair.settings import (
    EngineSettings,
    Job,
    OutputSettings,
    RepairSettings,
    SourceSettings,
)

ARGUMENTS = "vidrepair.arguments"

log = logging.getLogger(__name__)


class _Recorded(Headed):
    """Remembers the words that it was called with: they are what `resume` repeats."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


@click.command(cls=_Recorded)
@click.argument("source", metavar="IN", shell_complete=complete_files)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    shell_complete=complete_files,
    help="mkv, mp4, mov or webm; numbered pictures such as out/%06d.dpx; - is y4m.",
)
@target_options
@reading_options
@repair_options
@click.option(
    "--on-change",
    type=click.Choice(("fail", "split")),
    default="fail",
    show_default=True,
    help="Where size or format of the picture change on the way: refuse, or go on in another file,"
    " such as film.part2.mkv beside film.mkv, and so on.",
)
@click.option(
    "--sidecar",
    is_flag=True,
    help="Write what was found beside OUT, as OUT.vr.json: of a whole film, not of a part.",
)
@click.option(
    "--report",
    "wants_page",
    is_flag=True,
    help="Show on a page what was done, once OUT is finished: OUT.vr.html. With --sidecar it also"
    " says what each place was taken for.",
)
@click.option(
    "--analysis",
    type=FILE,
    metavar="FILE",
    help="Follow a sidecar, edited or not: its shots, its noise, and of the damage what it keeps.",
)
@marker_options
@engine_options
@worker_options
@progress_options
def run(
    source: str,
    output: str,
    target: OutputSettings,
    reading: SourceSettings,
    repair: RepairSettings,
    on_change: str,
    sidecar: bool,
    wants_page: bool,
    analysis: Path | None,
    markers: Path | None,
    shots: Path | None,
    engine: EngineSettings,
    workers: int,
    ray: str | None,
    progress: str,
    log_level: str,
) -> None:
    """Repair IN into OUT, keeping sound, subtitles, timing and tags.

    IN is any video file, numbered pictures (DPX, TIFF or PNG) such as scan/%06d.dpx with --rate 24,
    or - for a y4m pipe. A pipe answers once two or three spans of 64
    frames of one shot have come in, on a card up to nine.
    """
    show_messages(log_level, progress)
    out = path_or_pipe(output)
    if out is None and sys.stdout.isatty():
        raise UsageError(
            "y4m would fill this terminal; pipe it into another program, or name a file with -o"
        )
    if sidecar:
        if out is None:
            raise UsageError("--sidecar lies beside OUT, and a pipe has no place; leave it out")
        target = replace(target, sidecar=sidecar_of(out))
    target = replace(target, markers=markers)
    if on_change == "split":
        target = replace(target, journal=False)  # one journal tells of one film
    arguments = click.get_current_context().meta[ARGUMENTS]
    job = Job(
        path_or_pipe(source),
        out,
        repair,
        engine,
        target,
        analysis,
        reading,
        arguments,
        workers,
        ray,
        shots,
    )
    parts = split_at_changes(job) if on_change == "split" else [job]
    for part in parts[1:]:
        check_planned(part)  # or it would be refused when those before it are written
    pages = [report_of_job(part) if wants_page else None for part in parts]
    for page in pages:
        if page is not None:
            check_page(page)
    for part, page in zip(parts, pages, strict=True):
        report = _run(part, progress)
        if page is not None:
            _show(page, report, progress)


def _run(job: Job, progress: str) -> Report:
    try:
        with show_progress(progress) as observer:
            build = partial(build_engine, progress=observer.compiling)
            report = run_with_workers(job, observer, build)
            observer.done(report)
    except (UsageError, InputError):
        raise  # to go on would end in the same
    except BaseException:
        _tell_of_rest(job.output)
        raise
    return report


def _show(page: ReportJob, report: Report, progress: str) -> None:
    """The page of a film that is finished, whatever becomes of this."""
    try:
        with show_progress(progress) as observer:
            made = make_report(page, report, observer)
    except VidrepairError as error:
        raise VidrepairError(
            f"{page.output} is finished, and its report is not: {error}; vidrepair report makes it"
        ) from error
    click.echo(json.dumps(made.as_dict()) if progress == "json" else made.summary(), err=True)


def _tell_of_rest(output: Path | None) -> None:
    """After a run that was broken off: what of it is finished, and how it goes on."""
    if output is None or not folder_of(output).is_dir() or is_at_work(folder_of(output)):
        return
    folder = folder_of(output)
    record = read_record(folder)
    frames = sum(segment.frames for segment in finished_segments(folder, record))
    if record.kept or not frames:
        return
    log.log(NOTE, "%d frames are finished; vidrepair resume %s goes on from there", frames, output)
