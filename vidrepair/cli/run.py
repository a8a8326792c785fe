"""vidrepair run: repair one file or pipe."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path

import click

from trt_build.build import build_engine
from vidrepair.cli.engine import engine_options
from vidrepair.cli.progress import progress_options, show_messages, show_progress
from vidrepair.cli.repair import repair_options
from vidrepair.cli.types import TIME, path_or_pipe
from vidrepair.errors import UsageError
from vidrepair.pipeline import run_job
from vidrepair.settings import (
    OVERLAYS,
    EngineSettings,
    Job,
    OutputSettings,
    Overlay,
    RepairSettings,
    SourceSettings,
)


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
    "--video-stream",
    type=int,
    metavar="N",
    help="Repair this stream, by its number in probe; by default the first video. The others are"
    " copied.",
)
@click.option(
    "--ss", type=TIME, metavar="T", help="Start there: seconds, or HH:MM:SS.mmm, into the picture."
)
@click.option("--to", type=TIME, metavar="T", help="Stop there, counted as --ss counts.")
@click.option(
    "--exact-time", is_flag=True, help="Refuse a container that would round the frames' times."
)
@repair_options
@click.option(
    "--mask-out",
    metavar="FILE",
    help="Write the matte there, gray, above 0 where the picture was repaired: an .mkv (FFV1) or"
    " .mov file (ProRes), a folder, or a pattern such as matte_%06d.png.",
)
@click.option(
    "--overlay",
    type=click.Choice(OVERLAYS),
    help="Show on the picture what was repaired (red, luma) or changed at all (diff).",
)
@click.option("--sidecar", is_flag=True, help="Write what was found beside OUT, as OUT.vr.json.")
@click.option(
    "--analysis",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Follow a sidecar, edited or not: its shots, its noise, and of the damage what it keeps.",
)
@engine_options
@progress_options
def run(
    source: str,
    output: str,
    overwrite: bool,
    codec: str | None,
    crf: float | None,
    preset: str | None,
    pix_fmt: str | None,
    frames: int | None,
    video_stream: int | None,
    ss: Fraction | None,
    to: Fraction | None,
    exact_time: bool,
    repair: RepairSettings,
    mask_out: str | None,
    overlay: Overlay | None,
    sidecar: bool,
    analysis: Path | None,
    engine: EngineSettings,
    progress: str,
    log_level: str,
) -> None:
    """Repair IN into OUT, keeping sound, subtitles, timing and tags.

    IN is any video file, or - for a y4m pipe. A pipe answers once two or three spans of 64
    frames of one shot have come in, on a card up to nine.
    """
    show_messages(log_level, progress)
    target = path_or_pipe(output)
    if sidecar and target is None:
        raise UsageError("--sidecar is written beside OUT, and a pipe has no place; leave it out")
    beside = target.with_name(f"{target.name}.vr.json") if sidecar and target else None
    job = Job(
        path_or_pipe(source),
        target,
        repair,
        engine,
        OutputSettings(
            *(codec, crf, preset, pix_fmt, overwrite, frames, mask_out, overlay),
            sidecar=beside,
            exact_time=exact_time,
        ),
        analysis,
        SourceSettings(video_stream, ss, to),
    )
    with show_progress(progress) as observer:
        build = partial(build_engine, progress=observer.compiling)
        report = run_job(job, observer, build)
        observer.done(report)
