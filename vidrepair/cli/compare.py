"""vidrepair compare: two films beside one another."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import click

from vidrepair.cli.headings import Needing
from vidrepair.cli.types import CROP, FILE, RATE, TIME, is_given
from vidrepair.errors import UsageError
from vidrepair.regions import Box
from vidrepair.side_by_side import MODES, CompareJob, Mode
from vidrepair.side_by_side import compare as write_comparison


@click.command(cls=Needing)
@click.argument("first", type=FILE, metavar="A")
@click.argument("second", type=FILE, metavar="B")
@click.option(
    "-o",
    "--output",
    type=FILE,
    required=True,
    metavar="OUT",
    help="A .png file is a sheet, .mp4 and .mkv are videos, without sound.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace OUT if it exists.")
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="side",
    show_default=True,
    help="Of a video: A beside B, or A left and B right of an edge that goes to and fro.",
)
@click.option(
    "--crop", type=CROP, metavar="WxH+X+Y", help="Show only this part, X and Y its left upper end."
)
@click.option(
    "--at",
    type=TIME,
    multiple=True,
    metavar="T",
    help="Of a sheet: the frames at these times, not those of the largest change; as often as you"
    " like.",
)
@click.option(
    "--frames", type=int, default=6, show_default=True, metavar="N", help="Of a sheet: how many."
)
@click.option(
    "--rate", type=RATE, metavar="N", help="Frames a second of those that are numbered pictures."
)
def compare(
    first: Path,
    second: Path,
    output: Path,
    overwrite: bool,
    mode: Mode,
    crop: Box | None,
    at: tuple[Fraction, ...],
    frames: int,
    rate: Fraction | None,
) -> None:
    """Show two films, or a film and its source, beside one another: where they differ most."""
    sheet = output.suffix.lower() == ".png"
    for flag, belongs in (("frames", sheet), ("mode", not sheet)):
        if is_given(flag) and not belongs:
            kind = "a .png sheet" if flag == "frames" else "a video"
            raise UsageError(f"--{flag} is for {kind}, and {output} is none; leave it out")
    if at and is_given("frames"):
        raise UsageError("--at names the frames; leave --frames out")
    job = CompareJob(first, second, output, mode, crop, at, frames, overwrite, rate)
    click.echo(write_comparison(job).summary())
