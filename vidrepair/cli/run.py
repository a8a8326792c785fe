"""vidrepair run: repair one file or pipe."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from trt_build.build import build_engine
from vidrepair.cli.engine import engine_options
from vidrepair.cli.progress import KINDS, show_messages, show_progress
from vidrepair.cli.types import PAIR, REPAIR, path_or_pipe
from vidrepair.pipeline import run_job
from vidrepair.settings import (
    DamageSettings,
    EngineSettings,
    Job,
    OutputSettings,
    Pair,
    RepairSettings,
)

LEVELS = ("error", "warning", "info", "debug")


@click.command()
@click.argument("source", metavar="IN")
@click.option("-o", "--output", required=True, metavar="OUT", help="mkv, mp4 or mov; - is y4m.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace OUT if it exists.")
@click.option("-c", "--codec", help="h264, hevc or ffv1; by default as the source suggests.")
@click.option("--crf", type=float, help="Quality of h264 and hevc; lower is better.")
@click.option("--preset", help="Speed of h264 and hevc, such as veryfast or slow.")
@click.option("--pix-fmt", help="Refuse unless the source, and so the result, has this format.")
@click.option("--frames", type=int, metavar="N", help="Stop after N frames.")
@click.option(
    "--denoise",
    type=PAIR,
    default="100",
    metavar="P[,P]",
    show_default=True,
    help="Share of the noise removed, luma and chroma or one number for both, 0 to 100.",
)
@click.option(
    "--noise",
    type=PAIR,
    default="auto",
    metavar="auto|S[,S]",
    show_default=True,
    help="Standard deviation of the noise before clipping, on the 8-bit scale: luma and chroma, or"
    " one number for both; auto measures it.",
)
@click.option(
    "--repair",
    type=REPAIR,
    default="all",
    metavar="all|none|KIND,...",
    show_default=True,
    help="Which damage is repaired: dust (hair too), scratch (also those that last), dropout.",
)
@click.option(
    "--min-confidence",
    type=float,
    default=0.75,
    show_default=True,
    help="Damage that is less sure stays: 0.7 is the least that is believed, 1 the surest.",
)
@click.option(
    "--grain", type=float, default=0, show_default=True, help="Share of the grain put back, 0-100."
)
@click.option(
    "--deflicker",
    type=float,
    default=0,
    show_default=True,
    help="Share of the flicker of old film and of lamps that is taken away, 0-100.",
)
@click.option(
    "--mask-out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the matte there, an .mkv file: gray, above 0 where the picture was repaired.",
)
@engine_options
@click.option(
    "--progress",
    type=click.Choice(KINDS),
    default="auto",
    show_default=True,
    help="On stderr: a bar, JSON lines, or only the closing line; auto is a bar on a terminal.",
)
@click.option("--log-level", type=click.Choice(LEVELS), default="warning", show_default=True)
def run(
    source: str,
    output: str,
    overwrite: bool,
    codec: str | None,
    crf: float | None,
    preset: str | None,
    pix_fmt: str | None,
    frames: int | None,
    denoise: Pair,
    noise: Pair | None,
    repair: tuple[str, ...],
    min_confidence: float,
    grain: float,
    deflicker: float,
    mask_out: Path | None,
    engine: EngineSettings,
    progress: str,
    log_level: str,
) -> None:
    """Repair IN into OUT, keeping sound, subtitles, timing and tags.

    IN is any video file, or - for a y4m pipe. A pipe answers once two or three spans of 64
    frames of one shot have come in, on a card up to nine.
    """
    show_messages(log_level, progress)
    job = Job(
        path_or_pipe(source),
        path_or_pipe(output),
        RepairSettings(denoise, noise, DamageSettings(repair, min_confidence), grain, deflicker),
        engine,
        OutputSettings(codec, crf, preset, pix_fmt, overwrite, frames, mask_out),
    )
    with show_progress(progress) as observer:
        build = partial(build_engine, progress=observer.compiling)
        report = run_job(job, observer, build)
        observer.done(report)
