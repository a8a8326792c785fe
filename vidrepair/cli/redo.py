"""vidrepair redo: change a finished film where its sidecar was edited."""

from __future__ import annotations

import json
from pathlib import Path

import click

from vidrepair.cli.headings import Needing
from vidrepair.cli.progress import progress_options, show_messages
from vidrepair.cli.resume import changed_words, go_on, recall_options
from vidrepair.cli.types import FILE
from vidrepair.errors import InputError, UsageError
from vidrepair.jobs.redo import begin_redo, end_redo


@click.command(cls=Needing)
@click.argument("output", type=FILE, metavar="OUT")
@click.option(
    "--analysis",
    type=FILE,
    required=True,
    metavar="FILE",
    help="The sidecar of OUT, edited.",
)
@recall_options
@progress_options
def redo(
    output: Path, analysis: Path, progress: str, log_level: str, **given: int | str | None
) -> None:
    """Compute anew what an edit of the sidecar changes in OUT, and leave the rest as it is.

    OUT is a film that `vidrepair run --sidecar` wrote in segments. Only segments with a frame that
    the edit touches are computed; OUT is replaced once all is done and checked.
    """
    show_messages(log_level, progress)
    left, total = begin_redo(output, analysis)
    said = f"{left} of {total} frames are computed anew"
    if not left:
        said = f"{analysis} asks for nothing else than {output} shows; it stays"
    if progress == "json":
        said = json.dumps({"event": "redo", "frames": left, "total": total})
    if progress != "none" or not left:
        click.echo(said, err=True)
    if not left:
        return
    try:
        go_on(output, [*changed_words(given), "--progress", progress, "--log-level", log_level])
    except (UsageError, InputError):
        end_redo(output)
        raise
