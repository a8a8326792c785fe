"""vidrepair markers: what an analysis knows of a film, as markers for editing systems."""

from __future__ import annotations

from pathlib import Path

import click

from vidrepair.cli.headings import Needing
from vidrepair.cli.progress import show_messages
from vidrepair.cli.types import FILE
from vidrepair.errors import InputError, UsageError
from vidrepair.marking import mark_film
from vidrepair.sequences import is_sequence, sidecar_of
from vidrepair.tags import counted


@click.command(cls=Needing)
@click.argument("film", type=FILE, metavar="FILM")
@click.option(
    "--analysis",
    type=FILE,
    metavar="FILE",
    help="Its sidecar; by default beside FILM, as FILM.vr.json.",
)
@click.option(
    "-o",
    "--output",
    type=FILE,
    required=True,
    metavar="OUT",
    help="An .otio timeline, an .edl with locators, or a .resolve.edl with the markers of DaVinci"
    " Resolve.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace OUT if it exists.")
@click.option(
    "--video-stream", type=int, metavar="N", help="Of this stream; by default the first video."
)
def markers(
    film: Path, analysis: Path | None, output: Path, overwrite: bool, video_stream: int | None
) -> None:
    """Write shots and the worst damage of FILM as markers, from its sidecar; nothing is run.

    FILM is the film that was looked at, or the one that was repaired: the markers carry its
    timecode. Of FILM only the packets are read. docs/timelines.md says which host reads what.
    """
    show_messages("note", "none")
    if is_sequence(film):
        raise UsageError(
            f"{film} is numbered pictures; take run --markers, or analyze --markers, for them"
        )
    sidecar = analysis or sidecar_of(film)
    if not film.exists():
        raise InputError(f"{film} does not exist; check the name and the folder")
    if film.is_dir():
        raise InputError(f"{film} is a folder; name a film in it")
    if analysis is None and not sidecar.exists():
        raise UsageError(
            f"{film} has no sidecar beside it; write it with vidrepair analyze {film} -o {sidecar},"
            " or name it with --analysis"
        )
    count = mark_film(film, sidecar, output, stream=video_stream, overwrite=overwrite)
    click.echo(f"{output}: {counted(count, 'marker')}")
