"""vidrepair report: one page on what a repair did."""

from __future__ import annotations

import json
from pathlib import Path

import click

from vidrepair.cli.headings import Needing
from vidrepair.cli.progress import progress_options, show_messages, show_progress
from vidrepair.cli.target import reading_options
from vidrepair.cli.types import FILE, NAMES
from vidrepair.errors import UsageError
from vidrepair.expectation import Made
from vidrepair.report_page import ReportJob, make_report, page_of
from vidrepair.sequences import sidecar_of
from vidrepair.settings import DEINTERLACED, Interlace, OutputSettings, SourceSettings


@click.command(cls=Needing)
@click.argument("output", type=FILE, metavar="OUT")
@click.option("--against", type=FILE, required=True, metavar="IN", help="The source of OUT.")
@click.option(
    "-o", "--page", type=FILE, metavar="FILE.html", help="Instead of OUT.vr.html beside the film."
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace the page if it exists.")
@click.option(
    "--sidecar",
    type=FILE,
    metavar="FILE",
    help="What run --sidecar wrote; by default OUT.vr.json, where that lies beside the film.",
)
@click.option("--no-sidecar", is_flag=True, help="Leave OUT.vr.json out, as of another run.")
@click.option(
    "--matte", type=FILE, metavar="FILE", help="What --mask-out wrote: shown instead of boxes."
)
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="OUT was made with this.")
@reading_options
@click.option("--fill-gaps", is_flag=True, help="OUT was made with this; a sidecar says it, too.")
@click.option("--interlace", type=click.Choice(DEINTERLACED), help="OUT was made with this.")
@click.option(
    "--allow-loss", type=NAMES, default=(), metavar="NAME,...", help="OUT was made with this."
)
@click.option("--json", "as_json", is_flag=True, help="On stdout, what was shown.")
@progress_options
def report(
    output: Path,
    against: Path,
    page: Path | None,
    overwrite: bool,
    sidecar: Path | None,
    no_sidecar: bool,
    matte: Path | None,
    frames: int | None,
    reading: SourceSettings,
    fill_gaps: bool,
    interlace: Interlace | None,
    allow_loss: tuple[str, ...],
    as_json: bool,
    progress: str,
    log_level: str,
) -> None:
    """Show on one HTML page what was changed between IN and OUT: frames before and after, damage,
    noise, flicker, shots, settings, and how OUT differs from what was promised.

    The page needs no network and no other file. Both films are read from end to end. Differences
    from the source are shown and do not change the exit code; vidrepair verify is there for that.
    """
    show_messages(log_level, progress)
    lost = OutputSettings(allow_loss=frozenset(allow_loss)).allow_loss
    job = ReportJob(
        output,
        against,
        page or page_of(output),
        sidecar=_sidecar(output, sidecar, left_out=no_sidecar),
        matte=matte,
        made=Made(fill_gaps, lost, interlace or "auto"),
        reading=reading,
        frames=frames,
        overwrite=overwrite,
    )
    with show_progress(progress) as observer:
        made = make_report(job, observer=observer)
    click.echo(json.dumps(made.as_dict()) if as_json else made.summary())


def _sidecar(output: Path, named: Path | None, *, left_out: bool) -> Path | None:
    """The one that is named, or lies beside the film."""
    if named is not None and left_out:
        raise UsageError("--sidecar names what --no-sidecar leaves out; leave one of them out")
    beside = sidecar_of(output)
    if named is not None:
        return named
    return None if left_out or not beside.exists() else beside
