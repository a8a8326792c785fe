"""The sidecar: the file of an analysis, written whole and read with every check.

Its shape is that of sidecar.schema.json, which the reader itself follows, so that the two cannot
differ; what a schema cannot say, such as that boxes lie within the picture, is checked beside.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from vidrepair.errors import InputError
from vidrepair.files import write_text
from vidrepair.findings import (
    SCALE,
    VERSION,
    Analysis,
    DefectFacts,
    Edges,
    FigureFacts,
    Figures,
    GapFacts,
    InterlaceFacts,
    LightFacts,
    ShotFacts,
    SourceFacts,
    SpanFacts,
)
from vidrepair.frames import FloatArray, GrainSpectrum, NoiseProfile
from vidrepair.sidecar_schema import Nonsense, plain, rules, shown


def write_analysis(analysis: Analysis, path: Path, *, overwrite: bool = False) -> None:
    """Write a sidecar; nothing but a whole one gets the name. Raises as `files.write_text`."""
    write_text(path, analysis.lines(), overwrite=overwrite)


def read_analysis(path: Path) -> Analysis:
    """Read a sidecar and check all of it.

    Raises InputError, in one sentence that names the file and the place, where it cannot be
    read, is no JSON, is of another version, or holds what makes no sense.
    """
    try:
        fields = _parse(path)
        _check_version(fields)
        return _analysis(rules().checked(fields, ""))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error}); check the name"
        ) from error
    except Nonsense as wrong:
        raise InputError(
            f"{path}: {wrong}; correct it, or write the file anew with vidrepair analyze"
        ) from wrong


def _parse(path: Path) -> Any:
    """The JSON of a file, in which no object has a name twice."""
    with path.open("rb") as file:
        # A film given by mistake is not read to its end.
        if not file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
            raise Nonsense("it is no analysis, which starts with {")
    try:
        return json.loads(
            path.read_text(encoding="utf-8-sig"),  # some editors put a mark in front
            object_pairs_hook=_object,
            parse_float=_float,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise Nonsense(
            f"it is no JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise Nonsense(f"it is no JSON: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        start = f"{plain(pairs[0][0])}: {shown(pairs[0][1])}"
        raise Nonsense(f"the object that begins with {start} has {twice} twice")
    return found


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Nonsense(f"the number {text[:20]} is too large")
    return value


def _constant(text: str) -> Any:
    raise Nonsense(f"{text} is no number of JSON")


def _check_version(fields: Any) -> None:
    """Before anything else: what another version has is not this one's to judge."""
    if "vidrepair_analysis" not in fields:
        raise Nonsense("it is no analysis: it lacks vidrepair_analysis")
    version = fields["vidrepair_analysis"]
    if version != VERSION or isinstance(version, bool):
        raise Nonsense(
            f"it is an analysis of version {shown(version)}, and this vidrepair reads {VERSION}"
        )


def _analysis(fields: dict[str, Any]) -> Analysis:
    """The noun from what keeps to the schema. Raises Nonsense for what makes no sense."""
    source = _source(fields["source"])
    shots = tuple(ShotFacts(**shot) for shot in fields["shots"])
    spans = tuple(_span(span, index) for index, span in enumerate(fields["spans"]))
    _check_cover(shots, source.frames, "shots")
    _check_spans(spans, source.frames)
    lists = {name: tuple(fields[name]) for name in ("repeats", "copies", "lost", "rebuilt")}
    for name, numbers in lists.items():
        _check_rising(numbers, source.frames, name, "")
    _check_shots(shots, frozenset(lists["repeats"]))
    flicker = fields["flicker"]
    if flicker is not None:
        flicker = tuple(LightFacts(**light) for light in flicker)
        _check_rising([light.frame for light in flicker], source.frames, "flicker", ".frame")
    gaps = tuple(GapFacts(**gap) for gap in fields["gaps"])
    _check_rising([gap.after_frame for gap in gaps], source.frames, "gaps", ".after_frame")
    figures = fields["figures"]
    return Analysis(
        tool=fields["tool"],
        source=source,
        engine=fields["engine"],
        settings=fields["settings"],
        interlace=InterlaceFacts(**fields["interlace"]),
        shots=shots,
        spans=spans,
        defects=_defects(fields["defects"], source),
        flicker=flicker,
        gaps=gaps,
        figures=Figures(
            figures["touched"],
            figures["kinds"],
            tuple(FigureFacts(**shot) for shot in figures["shots"]),
        ),
        **lists,
    )


def _source(fields: dict[str, Any]) -> SourceFacts:
    numerator, denominator = (int(part) for part in fields["time_base"].split("/"))
    base, marks = Fraction(numerator, denominator), tuple(fields["marks"])
    source = SourceFacts(**{**fields, "time_base": base, "marks": marks})
    if source.last_pts < source.first_pts:
        raise Nonsense(f"source.last_pts is {source.last_pts}, before first_pts {source.first_pts}")
    if len(marks) != (needed := source.frames.bit_length()):
        raise Nonsense(
            f"source.marks has {len(marks)} entries, and {source.frames} frames make {needed}"
        )
    return source


def _span(fields: dict[str, Any], index: int) -> SpanFacts:
    if fields["number"] != index:
        raise Nonsense(f"spans[{index}].number is {fields['number']}, and has to be {index}")
    luma, chroma = (_floats(fields["noise"][name], SCALE) for name in ("luma", "chroma"))
    spectrum = fields["spectrum"]
    if spectrum is not None:
        powers = {name: _floats(spectrum[name]["power"]) for name in ("luma", "chroma")}
        for name, power in powers.items():
            if not power.any():
                raise Nonsense(
                    f"spans[{index}].spectrum.{name}.power is 0 everywhere, and has to be 1"
                    " everywhere for white grain"
                )
        follows = _floats(spectrum["chroma"]["follows_luma"])
        spectrum = GrainSpectrum(powers["luma"], powers["chroma"], follows)
    return SpanFacts(**{**fields, "noise": NoiseProfile(luma, chroma), "spectrum": spectrum})


def _floats(values: list[Any], scale: float = 1.0) -> FloatArray:
    return (np.array(values, dtype=np.float64) / scale).astype(np.float32)


class _Stretch(Protocol):
    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int: ...


def _check_cover(
    parts: Sequence[_Stretch], frames: int, name: str, places: Sequence[int] | None = None
) -> None:
    """Refuse shots or spans that leave out a frame of the film or share one.

    `places` are theirs in the list of that name, where they are not all of it.
    """
    following = 0
    for part, place in zip(parts, places or range(len(parts)), strict=True):
        if part.first != following:
            raise Nonsense(
                f"{name}[{place}].first is {part.first}, and has to be {following}: they follow one"
                " another without a gap or an overlap"
            )
        if not part.first <= part.last < frames:
            raise Nonsense(
                f"{name}[{place}].last is {part.last}, and has to be from {part.first} to"
                f" {frames - 1}, the film's last frame"
            )
        following = part.last + 1
    if following != frames:
        raise Nonsense(
            f"{name}[{place}].last is {following - 1}, and has to be {frames - 1}, the film's last"
            " frame"
        )


def _check_spans(spans: Sequence[SpanFacts], frames: int) -> None:
    """Refuse spans that do not cover the film, or each field of it."""
    parities = {span.parity for span in spans}
    if parities not in ({None}, {0, 1}):
        raise Nonsense(
            "the parity of all spans has to be null, or that of some 0 and of the rest 1"
        )
    for parity in parities:
        own = {index: span for index, span in enumerate(spans) if span.parity == parity}
        _check_cover(list(own.values()), frames, "spans", list(own))


def _check_shots(shots: Sequence[ShotFacts], repeats: frozenset[int]) -> None:
    """Refuse shots of one number, and those that no run could start."""
    seen: set[int] = set()
    for index, shot in enumerate(shots):
        if shot.number in seen:
            raise Nonsense(f"shots[{index}].number is {shot.number}, as that of an earlier shot")
        if shot.first in repeats:
            raise Nonsense(
                f"shots[{index}].first is {shot.first}, which repeats the frame before; a shot"
                " starts with a new picture"
            )
        seen.add(shot.number)


def _check_rising(numbers: Sequence[int], frames: int, name: str, tail: str) -> None:
    """Refuse frame numbers outside the film, and those that do not rise."""
    for index, (before, number) in enumerate(pairwise(chain((-1,), numbers))):
        if not before < number < frames:
            raise Nonsense(
                f"{name}[{index}]{tail} is {number}, and has to be from {before + 1} to"
                f" {frames - 1}: numbers rise to the film's last frame"
            )


class _Place(NamedTuple):
    frame: int
    kind: str
    box: Edges


def _defects(entries: list[dict[str, Any]], source: SourceFacts) -> tuple[DefectFacts, ...]:
    """Refuses those outside the film or the picture, and those that stand twice."""
    seen: dict[_Place, int] = {}
    found = []
    for index, entry in enumerate(entries):
        top, left, bottom, right = entry["box"]
        defect = DefectFacts(**{**entry, "box": (top, left, bottom, right)})
        if defect.frame >= source.frames:
            raise Nonsense(
                f"defects[{index}].frame is {defect.frame}, and the film's last is"
                f" {source.frames - 1}"
            )
        if not (top < bottom <= source.height and left < right <= source.width):
            raise Nonsense(
                f"defects[{index}].box is [{top}, {left}, {bottom}, {right}], and has to lie within"
                f" {source.height} rows and {source.width} columns, top above bottom and left"
                " before right"
            )
        place = _Place(defect.frame, defect.kind, defect.box)
        if (other := seen.setdefault(place, index)) != index:
            raise Nonsense(f"defects[{index}] stands at defects[{other}] already")
        found.append(defect)
    return tuple(found)
