"""vidrepair probe: what a file is."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import click

from vidrepair.cli.types import RATE
from vidrepair.decode import open_source


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="IN")
@click.option("--rate", type=RATE, metavar="N", help="Frames a second of numbered pictures.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def probe(source: Path, rate: Fraction | None, as_json: bool) -> None:
    """Say what IN holds: picture, timing, tags, streams."""
    with open_source(source, rate=rate) as opened:
        clip = opened.clip
    if as_json:
        click.echo(json.dumps(clip.as_dict(), indent=2))
    else:
        click.echo(clip.summary())
