"""vidrepair bench: how fast this machine is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from trt_build.progress import build_with_bar
from vidrepair.bench import BenchSettings, run_bench
from vidrepair.cli.engine import engine_options
from vidrepair.cli.types import FILE, SIZE
from vidrepair.settings import EngineSettings


@click.command()
@click.argument("source", metavar="[IN]", required=False, type=FILE)
@click.option(
    "--size", type=SIZE, default="854x480", metavar="WxH", show_default=True, help="Without IN."
)
@click.option("--frames", type=int, default=192, metavar="N", show_default=True, help="At most.")
@engine_options
@click.option("--preset", default="veryfast", show_default=True, help="Of x264.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def bench(
    source: Path | None,
    size: tuple[int, int],
    frames: int,
    engine: EngineSettings,
    preset: str,
    as_json: bool,
) -> None:
    """Measure each stage alone and a whole run, on the film IN or on one that is made.

    Trust the ratios within one run before the absolute figures. Nothing is kept.
    """
    report = run_bench(BenchSettings(engine, source, size, frames, preset), build_with_bar)
    click.echo(json.dumps(report.as_dict(), indent=1) if as_json else report.summary())
