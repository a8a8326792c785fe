"""What was found in a film, and its text, which people edit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from vidrepair.frames import FloatArray, Frame, GrainSpectrum, NoiseProfile
from vidrepair.sidecar_schema import plain, rules
from vidrepair.tags import Clip

VERSION = 1
"""Of the file; others are refused."""

SCALE = 255.0
"""Deviations are written in code values of 8 bits, as `--noise` takes them."""

SAMPLES = 64
"""Samples of a frame that its fingerprint looks at, across and down; twice as many at most."""

MARK = 16
"""Digits of the fingerprint that are kept on the way."""

ROW = 20
"""Frame numbers in a line of the file."""

Edges = tuple[int, int, int, int]
"""Top, left, bottom, right of a box; the last two are one beyond."""


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """Which film was looked at."""

    name: str
    """Without its folder; for people only."""
    width: int
    height: int
    pixel_format: str
    frames: int
    """All of them, repeats too."""
    first_pts: int
    last_pts: int
    time_base: Fraction
    fingerprint: str
    """As `Fingerprint` has it after the last frame."""
    marks: tuple[str, ...]
    """Its first digits after 1, 2, 4, 8 ... frames."""


@dataclass(frozen=True, slots=True)
class InterlaceFacts:
    """What is known of interlacing."""

    flagged: bool = False
    """The stream says so."""
    combed: bool = False
    """Its frames are, whatever it says."""


@dataclass(frozen=True, slots=True)
class ShotFacts:
    """One shot, its last frame included."""

    number: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class SpanFacts:
    """What was measured of one span, its last frame included."""

    number: int
    shot: int
    """The one that it was measured in."""
    parity: int | None
    """0 for the even rows of interlaced film, 1 for the odd ones; None for whole frames."""
    first: int
    last: int
    noise: NoiseProfile
    spectrum: GrainSpectrum | None = None
    """None where nobody makes grain."""


@dataclass(frozen=True, slots=True)
class DefectFacts:
    """One place of one frame."""

    frame: int
    kind: str
    """As frames.Defect has it."""
    box: Edges
    confidence: float
    keep: bool = True
    """Whether it is repaired: False leaves the place as it was."""


@dataclass(frozen=True, slots=True)
class LightFacts:
    """The flicker of one frame."""

    frame: int
    gain: float
    """Mean luma by that of the steady light."""


@dataclass(frozen=True, slots=True)
class GapFacts:
    """Frames that are missing, by the times of those around."""

    after_frame: int
    frames: int


@dataclass(frozen=True, slots=True)
class FigureFacts:
    """How much of one shot was repaired."""

    shot: int
    touched: float
    """Share of the samples of luma, 0..1."""
    kinds: dict[str, float]
    """The same by kind of damage."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How much of the film was repaired."""

    touched: float
    kinds: dict[str, float]
    shots: tuple[FigureFacts, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """All that was found in one film."""

    tool: str
    """What wrote it, such as vidrepair 0.1.0."""
    source: SourceFacts
    engine: dict[str, Any]
    """The identity of what computed it; `weights` is the sha256 of its weights."""
    settings: dict[str, Any]
    """Those that decided what was found: text, numbers, true, false, null, and lists and objects
    of them."""
    interlace: InterlaceFacts
    shots: tuple[ShotFacts, ...]
    spans: tuple[SpanFacts, ...]
    defects: tuple[DefectFacts, ...]
    flicker: tuple[LightFacts, ...] | None
    """None where nobody asked."""
    repeats: tuple[int, ...]
    """Frames that equal the one before."""
    copies: tuple[int, ...]
    """Frames that show the one before but for what a codec changed."""
    lost: tuple[int, ...]
    """Frames of which nothing was of use."""
    rebuilt: tuple[int, ...]
    """Frames of which a part was made anew."""
    gaps: tuple[GapFacts, ...]
    figures: Figures

    def to_json(self) -> str:
        """The text of the file: a fact to a line, always in the same order."""
        return "".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The text in pieces."""
        yield f'{{\n  "vidrepair_analysis": {VERSION},\n  "tool": {plain(self.tool)},\n'
        source = _fields(self.source)
        base = self.source.time_base
        source["time_base"] = f"{base.numerator}/{base.denominator}"
        for name, facts in (
            ("source", source),
            ("engine", self.engine),
            ("settings", self.settings),
        ):
            yield from _block(name, "{}", (f"{plain(key)}: {plain(facts[key])}" for key in facts))
        yield f'  "interlace": {_line(self.interlace)},\n'
        yield from _block("shots", "[]", map(_line, self.shots))
        yield from _block("spans", "[]", map(_span_text, self.spans))
        yield from _block("defects", "[]", map(_line, self.defects))
        if self.flicker is None:
            yield '  "flicker": null,\n'
        else:
            yield from _block("flicker", "[]", map(_line, self.flicker))
        for name in ("repeats", "copies", "lost", "rebuilt"):
            yield from _block(name, "[]", _rows(getattr(self, name)))
        yield from _block("gaps", "[]", map(_line, self.gaps))
        figures = self.figures
        yield f'  "figures": {{\n    "touched": {plain(figures.touched)},\n'
        yield f'    "kinds": {plain(figures.kinds)},\n'
        shots = ",".join(f"\n      {_line(shot)}" for shot in figures.shots)
        yield f'    "shots": [{shots}]\n  }}\n}}\n'

    def mismatch(self, clip: Clip) -> str | None:
        """In a few words what tells the film from that of an opened source; None: nothing yet."""
        own, picture = self.source, clip.picture
        return _first_difference(
            ("size", f"{own.width}x{own.height}", f"{picture.width}x{picture.height}"),
            ("pixel format", own.pixel_format, picture.format.name),
            ("time base", str(own.time_base), str(clip.time_base)),
        )

    def mismatch_at_end(self, seen: Fingerprint) -> str | None:
        """The same after the last frame of a source, by its fingerprint."""
        own = self.source
        return _first_difference(
            ("number of frames", str(own.frames), str(seen.frames)),
            ("fingerprint", own.fingerprint[:MARK], seen.hexdigest()[:MARK]),
        )

    def differences(self, engine: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
        """What of the engine and the settings it was made with differs from these, by name.

        Such as "damage.kinds was dust and is dust, scratch"; for warnings.
        """
        found = []
        for name, given in (("engine", engine), ("settings", settings)):
            own, here = dict(_flat(getattr(self, name))), dict(_flat(storable(given, name)))
            for key in sorted(own.keys() | here.keys()):
                was, now = own.get(key), here.get(key)
                if was != now:
                    found.append(f"{key} was {spoken(was)} and is {spoken(now)}")
        return found


def spoken(value: Any) -> str:
    """A value of a setting for people."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(spoken, value)) or "none"
    return str(value)


def _first_difference(*facts: tuple[str, str, str]) -> str | None:
    """Of name, what is written and what is here."""
    for name, written, here in facts:
        if written != here:
            return f"its {name} is {written}, not {here}"
    return None


def storable(facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The engine or the settings as they come back from JSON: lists for tuples."""
    return dict(rules().properties[name].checked(json.loads(plain(dict(facts))), name))


def _flat(facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and value of each setting, those of an object by its name and theirs."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", entry) for inner, entry in value.items())
        else:
            yield name, value


class Fingerprint:
    """Tells one film from another: a hash over the times and some samples of its frames."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._marks: list[str] = []
        self.frames = 0
        """Seen so far."""
        self.first_pts = 0
        self.last_pts = 0

    def add(self, frame: Frame) -> None:
        """Take the next frame, as decoded: its time, and 64 to 127 luma samples each way."""
        luma = frame.luma
        rows, columns = (max(side // SAMPLES, 1) for side in luma.shape)
        # Of one byte order and width everywhere; pts in text, as they may be of any size.
        self._hash.update(f"{frame.pts}\n".encode())
        self._hash.update(luma[::rows, ::columns].astype("<u2").tobytes())
        self.first_pts = frame.pts if self.frames == 0 else self.first_pts
        self.last_pts = frame.pts
        self.frames += 1
        if self.frames & (self.frames - 1) == 0:
            self._marks.append(self.hexdigest()[:MARK])

    def hexdigest(self) -> str:
        """64 digits, over all frames so far."""
        return self._hash.hexdigest()

    @property
    def marks(self) -> tuple[str, ...]:
        """The first digits after 1, 2, 4, 8 ... frames: another film is found out early."""
        return tuple(self._marks)


def _fields(facts: Any) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in facts.__slots__}


def _line(facts: Any) -> str:
    return plain(_fields(facts))


def _block(name: str, brackets: str, entries: Iterable[str]) -> Iterator[str]:
    """A list or an object, an entry to a line."""
    yield f'  "{name}": {brackets[0]}'
    comma = ""
    for entry in entries:
        yield f"{comma}\n    {entry}"
        comma = ","
    end = "\n  " if comma else ""
    yield f"{end}{brackets[1]},\n"


def _rows(numbers: Sequence[int]) -> Iterator[str]:
    for start in range(0, len(numbers), ROW):
        yield ", ".join(map(str, numbers[start : start + ROW]))


def _span_text(span: SpanFacts) -> str:
    """Four or six lines: the span, and a curve or a table to a line."""
    names = ("number", "shot", "parity", "first", "last")
    head = plain({name: getattr(span, name) for name in names}).removesuffix("}")
    luma, chroma = (_numbers(curve, SCALE) for curve in (span.noise.luma, span.noise.chroma))
    spectrum = "null"
    if span.spectrum is not None:
        own = span.spectrum
        powers = [
            f'{{"power": [{", ".join(map(_numbers, power))}]' for power in (own.luma, own.chroma)
        ]
        spectrum = (
            f'{{\n      "luma": {powers[0]}}},\n      "chroma": {powers[1]},\n'
            f'        "follows_luma": {_numbers(own.follows)}}}}}'
        )
    return (
        f'{head}, "noise": {{\n      "luma": {luma},\n      "chroma": {chroma}}},'
        f' "spectrum": {spectrum}}}'
    )


def _numbers(values: FloatArray, scale: float = 1.0) -> str:
    return "[" + ", ".join(_digits(value, scale) for value in values) + "]"


def _digits(value: np.float32, scale: float) -> str:
    """The fewest digits, of six at least, that bring back the float32 times a scale."""
    for digits in range(6, 18):
        text = f"{scale * float(value):.{digits}g}"
        if np.float32(float(text) / scale) == value:
            break
    return text
