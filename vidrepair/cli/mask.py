"""vidrepair mask: the matte alone."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path

import click

from trt_build.build import build_engine
from vidrepair.cli.engine import engine_options
from vidrepair.cli.headings import Headed
from vidrepair.cli.progress import progress_options, show_messages, show_progress
from vidrepair.cli.repair import repair_options
from vidrepair.cli.types import FILE, RATE, path_or_pipe
from vidrepair.pipeline import run_job
from vidrepair.settings import (
    EngineSettings,
    Job,
    OutputSettings,
    RepairSettings,
    SourceSettings,
)


@click.command(cls=Headed)
@click.argument("source", metavar="IN")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="An .mkv (FFV1) or .mov file (ProRes), a folder, or a pattern such as matte_%06d.png.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace FILE if it exists.")
@click.option("--frames", type=int, metavar="N", help="Stop after N frames.")
@click.option(
    "--analysis",
    type=FILE,
    metavar="FILE",
    help="Follow a sidecar: of the damage, what it keeps.",
)
@click.option("--rate", type=RATE, metavar="N", help="Frames a second of numbered pictures.")
@repair_options
@engine_options
@progress_options
def mask(
    source: str,
    output: str,
    overwrite: bool,
    frames: int | None,
    analysis: Path | None,
    rate: Fraction | None,
    repair: RepairSettings,
    engine: EngineSettings,
    progress: str,
    log_level: str,
) -> None:
    """Write only the matte of IN: gray, above 0 where run would repair the picture."""
    show_messages(log_level, progress)
    target = OutputSettings(overwrite=overwrite, frames=frames, mask_out=output, writes=False)
    reading = SourceSettings(rate=rate)
    job = Job(path_or_pipe(source), Path(output), repair, engine, target, analysis, reading)
    with show_progress(progress) as observer:
        build = partial(build_engine, progress=observer.compiling)
        observer.done(run_job(job, observer, build))
