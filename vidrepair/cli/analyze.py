"""vidrepair analyze: what would be done to a film, as a file to be read and edited."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path

import click

from trt_build.build import build_engine
from vidrepair.cli.engine import engine_options
from vidrepair.cli.headings import Lacking
from vidrepair.cli.lists import marker_options
from vidrepair.cli.progress import progress_options, show_messages, show_progress
from vidrepair.cli.repair import repair_options
from vidrepair.cli.types import FILE, RATE
from vidrepair.errors import UsageError
from vidrepair.pipeline import run_job
from vidrepair.sequences import sidecar_of
from vidrepair.settings import (
    CUT_OUT,
    EngineSettings,
    Job,
    OutputSettings,
    RepairSettings,
    SourceSettings,
)


class _OfTheWhole(Lacking):
    """It takes no part of a film, as run does."""

    def explain(self, option: str) -> None:
        if option in ("--frames", "--ss", "--to"):
            raise UsageError(
                f"analyze tells of the whole film; leave {option} out, or {CUT_OUT}"
            ) from None


@click.command(cls=_OfTheWhole)
@click.argument("source", type=FILE, metavar="IN")
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="FILE",
    help="By default beside IN, as IN.vr.json.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace FILE if it exists.")
@click.option("--rate", type=RATE, metavar="N", help="Frames a second of numbered pictures.")
@repair_options
@marker_options
@engine_options
@progress_options
def analyze(
    source: Path,
    output: Path | None,
    overwrite: bool,
    rate: Fraction | None,
    repair: RepairSettings,
    markers: Path | None,
    shots: Path | None,
    engine: EngineSettings,
    progress: str,
    log_level: str,
) -> None:
    """Find shots, noise, damage and flicker of IN, and write them down; no film is written.

    Edit the file if you like ("keep": false leaves a place as it is), and follow it with
    vidrepair run IN -o OUT --analysis FILE and the same options. docs/sidecar.md has its parts.
    """
    show_messages(log_level, progress)
    sidecar = output or sidecar_of(source)
    target = OutputSettings(overwrite=overwrite, sidecar=sidecar, markers=markers, writes=False)
    reading = SourceSettings(rate=rate)
    job = Job(source, sidecar, repair, engine, target, reading=reading, shots=shots)
    with show_progress(progress) as observer:
        build = partial(build_engine, progress=observer.compiling)
        observer.done(run_job(job, observer, build))
