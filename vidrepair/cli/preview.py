"""vidrepair preview: some frames of a film, restored at once, on one sheet."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path

import click

from trt_build.build import build_engine
from vidrepair.cli.engine import engine_options
from vidrepair.cli.headings import Needing
from vidrepair.cli.progress import progress_options, show_messages, show_progress
from vidrepair.cli.repair import repair_options_anywhere
from vidrepair.cli.types import FILE, RATE, STRENGTHS, TIME, is_given
from vidrepair.errors import UsageError
from vidrepair.previews import PreviewJob, make_preview
from vidrepair.settings import EngineSettings, Pair, RepairSettings


@click.command(cls=Needing)
@click.argument("source", type=FILE, metavar="IN")
@click.option("-o", "--output", type=FILE, required=True, metavar="SHEET.png")
@click.option("-y", "--overwrite", is_flag=True, help="Replace the sheet if it exists.")
@click.option(
    "--frames",
    type=int,
    default=6,
    show_default=True,
    metavar="N",
    help="Chosen from the whole film: noisiest, most motion, darkest, brightest, then one of each"
    " long stretch.",
)
@click.option(
    "--at",
    type=TIME,
    multiple=True,
    metavar="T",
    help="Show the frame at this time instead: seconds, or HH:MM:SS.mmm; as often as you like.",
)
@click.option("--rate", type=RATE, metavar="N", help="Frames a second of numbered pictures.")
@click.option("--video-stream", "stream", type=int, metavar="N", help="By its number in probe.")
@click.option(
    "--denoise",
    "strengths",
    type=STRENGTHS,
    multiple=True,
    default=("100",),
    show_default=True,
    metavar="P,...",
    help="Share of the noise removed, 0 to 100: a column for each. Luma and chroma are 70/100.",
)
@repair_options_anywhere
@engine_options
@click.option("--json", "as_json", is_flag=True, help="On stdout, what was shown.")
@progress_options
def preview(
    source: Path,
    output: Path,
    overwrite: bool,
    frames: int,
    at: tuple[Fraction, ...],
    stream: int | None,
    rate: Fraction | None,
    strengths: tuple[tuple[Pair, ...], ...],
    repair: RepairSettings,
    engine: EngineSettings,
    as_json: bool,
    progress: str,
    log_level: str,
) -> None:
    """Show some frames of IN before and after, on one PNG sheet, without running the film.

    Each is restored with the settings of run, from the frames around it. Settings that suit go
    into vidrepair run IN -o OUT, where --denoise 70/100 is --denoise 70,100.
    """
    show_messages(log_level, progress)
    if at and is_given("frames"):
        raise UsageError("--at names the frames; leave --frames out")
    columns = tuple(chain.from_iterable(strengths))
    job = PreviewJob(source, output, repair, engine, columns, frames, at, stream, overwrite, rate)
    with show_progress(progress) as observer:
        report = make_preview(job, observer, partial(build_engine, progress=observer.compiling))
    click.echo(json.dumps(report.as_dict()) if as_json else report.summary())
