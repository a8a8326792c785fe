"""vidrepair grain: what an analysis knows of the grain, for other films and other tools."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import click

from vidrepair.cli.headings import Needing
from vidrepair.cli.types import FILE
from vidrepair.errors import UsageError
from vidrepair.files import same_file, write_text
from vidrepair.findings import Analysis, SpanFacts
from vidrepair.frames import GrainProfile, Picture
from vidrepair.grain_table import GrainEntry, film_grain_table, profile_to_json
from vidrepair.sequences import sidecar_of
from vidrepair.sidecar import read_analysis
from vidrepair.tags import pixel_format


@click.command(cls=Needing)
@click.argument("analysis", type=FILE, metavar="FILE")
@click.option(
    "-o",
    "--output",
    type=FILE,
    required=True,
    metavar="OUT",
    help="A .json file: the profile of one shot, for run --noise-profile. A .tbl file: the film"
    " grain table of the whole film, for AV1 encoders.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace OUT if it exists.")
@click.option("--shot", type=int, default=0, show_default=True, help="Whose profile.")
def grain(analysis: Path, output: Path, overwrite: bool, shot: int) -> None:
    """Write down the grain that analyze found: FILE is its sidecar."""
    if (sidecar := sidecar_of(analysis)).exists():
        raise UsageError(f"{analysis} is a film; name its sidecar, {sidecar}")
    found = read_analysis(analysis)
    kind = output.suffix.lower()
    if kind not in (".json", ".tbl"):
        raise UsageError(f"{output} is neither a .json nor a .tbl file; name one of them")
    if same_file(analysis, output):
        raise UsageError(f"{output} is the analysis itself; choose another name")
    if any(span.spectrum is None for span in found.spans):
        raise UsageError(f"{analysis} knows no spectra of grain; write it anew with analyze")
    profiled = kind == ".json"
    text = _profile(found, shot, analysis) if profiled else _table(found)
    write_text(output, [text], overwrite=overwrite)
    click.echo(f"{output}: the grain of {f'shot {shot}' if profiled else 'the whole film'}")


def _profile(found: Analysis, shot: int, where: Path) -> str:
    """That of the longest span of a shot."""
    spans = [span for span in found.spans if span.shot == shot]
    if not spans:
        last = found.shots[-1].number
        raise UsageError(f"{where} has no shot {shot}; use one of 0 to {last}")
    return profile_to_json(_grain(max(spans, key=lambda span: span.last - span.first)))


def _table(found: Analysis) -> str:
    """Every span at its time; frames are taken to be as long as one another."""
    source = found.source
    form = pixel_format(source.pixel_format)
    assert form is not None, "the sidecar was checked"
    ticks = max(source.last_pts - source.first_pts, 1)
    length = Fraction(ticks, max(source.frames - 1, 1)) * source.time_base
    entries = [
        GrainEntry(span.first * length, (span.last + 1) * length, _grain(span))
        for span in found.spans
        if span.parity != 1
    ]
    return film_grain_table(entries, Picture(source.width, source.height, form))


def _grain(span: SpanFacts) -> GrainProfile:
    assert span.spectrum is not None
    return GrainProfile(span.noise, span.spectrum)
