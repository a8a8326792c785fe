"""vidrepair verify: whether a file carries all that its source does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from vidrepair.cli.headings import Needing
from vidrepair.cli.target import reading_options
from vidrepair.cli.types import FILE, NAMES
from vidrepair.comparison import ShotFigures, compare_pictures
from vidrepair.errors import CheckFailed, InputError, UsageError
from vidrepair.expectation import Made, loss_name
from vidrepair.parts import split_at_changes
from vidrepair.report import Difference
from vidrepair.settings import DEINTERLACED, LOSSES, Interlace, Job, OutputSettings, SourceSettings
from vidrepair.verification import check_files


@click.command(cls=Needing)
@click.argument("output", type=FILE, metavar="OUT")
@click.option("--against", type=FILE, required=True, metavar="IN", help="The source of OUT.")
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="OUT was made with this.")
@reading_options
@click.option(
    "--on-change",
    type=click.Choice(("split",)),
    help="OUT was made with this: it and its parts are compared with their stretches of IN,"
    " without --picture and --frames.",
)
@click.option("--fill-gaps", is_flag=True, help="OUT was made with this.")
@click.option("--interlace", type=click.Choice(DEINTERLACED), help="OUT was made with this.")
@click.option(
    "--allow-loss",
    type=NAMES,
    default=(),
    metavar="NAME,...",
    help="What was given up, such as audio.",
)
@click.option("--whole", is_flag=True, help="Decode every frame of OUT, not the ends alone.")
@click.option(
    "--picture", is_flag=True, help="Compare the samples too: PSNR, SSIM, change by shot."
)
@click.option(
    "--matte",
    type=FILE,
    metavar="FILE",
    help="With --picture: inside and outside of this matte; no sample outside may differ.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def verify(
    output: Path,
    against: Path,
    frames: int | None,
    reading: SourceSettings,
    on_change: str | None,
    fill_gaps: bool,
    interlace: Interlace | None,
    allow_loss: tuple[str, ...],
    whole: bool,
    picture: bool,
    matte: Path | None,
    as_json: bool,
) -> None:
    """Say whether OUT carries everything that IN does, and exit with 5 if not.

    Compared are the number and the times of the frames, the tags and side data of the picture,
    all other streams with the times and the bytes of their packets, chapters, attachments and
    the tags of the file.
    """
    lost = OutputSettings(allow_loss=frozenset(allow_loss)).allow_loss
    made = Made(fill_gaps, lost, interlace or "auto")
    if on_change is not None and (picture or matte is not None or frames is not None):
        raise UsageError(
            "--picture and --frames tell of one film; leave them out with --on-change split"
        )
    differences: tuple[Difference, ...] = ()
    for part, stretch in _parts(output, against, reading, on_change):
        if on_change is not None and not as_json:
            click.echo(f"compared with its stretch of {against}: {part}")
        differences += check_files(
            part, against, frames=frames, reading=stretch, made=made, whole=whole
        )
    shots: tuple[ShotFigures, ...] = ()
    if picture or matte is not None:
        shots, stray = compare_pictures(output, against, matte, reading.rate)
        differences += stray
    if as_json:
        click.echo(json.dumps(_as_dict(output, against, differences, shots), indent=2))
    else:
        for line in (*shots, *differences):
            click.echo(line)
    if differences:
        one = len(differences) == 1
        count = "1 thing; it is" if one else f"{len(differences)} things; they are"
        hints = f"{_given_up(differences)}{_cut(differences, reading, frames)}"
        raise CheckFailed(f"{output} differs from {against} in {count} listed above{hints}")
    if not as_json:
        what = "frames, times, tags, streams, packets, chapters and attachments"
        proof = ", and no sample changed outside the matte" if matte is not None else ""
        click.echo(f"{output}: as {against}, compared were {what}{proof}")


def _given_up(differences: tuple[Difference, ...]) -> str:
    """How to pass over what was given up, if anything was."""
    if any(difference.what == "size" for difference in differences):
        return "; pictures of another size are of another film: check the names"
    names = [loss_name(difference) for difference in differences]
    known = [name for name in names if name in LOSSES]
    if not known:
        return ""
    over = "what was given up" if len(known) == len(names) else f"{len(known)} of them"
    return f"; --allow-loss {','.join(sorted(set(known)))} passes over {over}"


def _cut(differences: tuple[Difference, ...], reading: SourceSettings, frames: int | None) -> str:
    """What OUT may have been made with, where it has not the frames of IN."""
    lacks = [one for one in differences if one.what == "number of frames"]
    if not lacks or not int(lacks[0].found.split()[0]) < int(lacks[0].expected):
        return ""
    if frames is not None or reading.start is not None or reading.end is not None:
        return ""
    return "; if OUT is a part of IN, say so: --frames, --ss and --to are as they were for run"


def _parts(
    output: Path, against: Path, reading: SourceSettings, on_change: str | None
) -> Iterator[tuple[Path, SourceSettings]]:
    """Every file that was written, and the part of the source that it was made of."""
    if on_change is None:
        yield output, reading
        return
    written = OutputSettings(overwrite=True)  # they are there
    for job in split_at_changes(Job(against, output, target=written, reading=reading)):
        assert job.output is not None
        if not job.output.is_file():
            raise InputError(f"{job.output}, a part of {output}, is not there; make it anew")
        yield job.output, job.reading


def _as_dict(
    output: Path,
    against: Path,
    differences: tuple[Difference, ...],
    shots: tuple[ShotFigures, ...],
) -> dict[str, object]:
    return {
        "output": str(output),
        "against": str(against),
        "differences": [difference.as_dict() for difference in differences],
        "picture": [shot.as_dict() for shot in shots],
    }
