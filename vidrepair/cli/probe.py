"""vidrepair probe: what a file is."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import click

from vidrepair.cli.types import FILE, RATE
from vidrepair.decode import open_source
from vidrepair.losses import alpha_beside
from vidrepair.picture_facts import picture_facts
from vidrepair.tags import one_line, plain_text
from vidrepair.verification import source_facts

TOLD = ("size", "pixel format", "range", "matrix")
"""Facts about the picture that the summary tells by itself."""
USUAL = ("none", "not said", "progressive", "1", "left")
"""What of the others is not worth a word."""


@click.command()
@click.argument("source", type=FILE, metavar="IN")
@click.option("--rate", type=RATE, metavar="N", help="Frames a second of numbered pictures.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option(
    "--facts",
    "wants_facts",
    is_flag=True,
    help="All that verify compares, as JSON: IN is decoded to its end for the time of every frame,"
    " and the packets of every other stream are counted and hashed.",
)
def probe(source: Path, rate: Fraction | None, as_json: bool, wants_facts: bool) -> None:
    """Say what IN holds: picture, timing, tags, streams."""
    with open_source(source, rate=rate) as opened:
        clip = opened.clip
        picture = dict(picture_facts(clip, opened.carried))
        facts = source_facts(opened).as_dict() if wants_facts else None
        remarks = opened.remarks
    if as_json or wants_facts:
        told = clip.as_dict() | {"picture": picture, "remarks": list(map(plain_text, remarks))}
        told |= {} if facts is None else {"facts": facts}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(clip.summary())
    notable = [
        f"{name} {value}"
        for name, value in picture.items()
        if name not in TOLD and value not in USUAL
    ]
    if alpha_beside(clip):
        notable.append("alpha beside the picture")
    if notable:
        click.echo(f"  {', '.join(notable)}")
    for remark in remarks:
        click.echo(f"  {one_line(remark)}")
