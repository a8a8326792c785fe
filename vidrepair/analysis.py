"""An analysis in the making, and as a later run follows it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vidrepair.errors import InputError
from vidrepair.findings import (
    Analysis,
    DefectFacts,
    Edges,
    FigureFacts,
    Figures,
    Fingerprint,
    GapFacts,
    InterlaceFacts,
    LightFacts,
    ShotFacts,
    SourceFacts,
    SpanFacts,
    storable,
)
from vidrepair.frames import Defect, Frame, GrainSpectrum, NoiseProfile, Span
from vidrepair.settings import DEINTERLACED
from vidrepair.sidecar import read_analysis
from vidrepair.tags import Clip
from vidrepair.version import __version__

OVERLAP = 0.5
"""Intersection over union from which a place that was found is one that is listed."""


class Share(Protocol):
    """How much of a shot was repaired, as a report has it."""

    @property
    def shot(self) -> int: ...

    @property
    def frames(self) -> int: ...

    @property
    def touched(self) -> float: ...

    @property
    def kinds(self) -> Mapping[str, float]: ...


class AnalysisBuilder:
    """Gathers an analysis while a run goes on.

    Each method keeps to lists of its own, so that threads may fill it side by side, a method to
    a thread; `build` comes after the last of them. Frames and spans are not held.
    """

    def __init__(self) -> None:
        self._fingerprint = Fingerprint()
        self._starts: list[tuple[int, int]] = []
        self._marked: dict[str, list[int]] = {
            name: [] for name in ("repeats", "copies", "lost", "rebuilt")
        }
        self._spans: list[SpanFacts] = []
        self._defects: dict[tuple[int, str, Edges], DefectFacts] = {}
        self._lights: list[LightFacts] | None = None
        self._gaps: list[GapFacts] = []

    def listen(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames of the film, as decoded, with their marks and shots, each taken."""
        for frame in frames:
            self.add_frame(frame)
            yield frame

    def add_frame(self, frame: Frame) -> None:
        """Take the next frame of the film, as decoded, with its marks and its shot."""
        self._fingerprint.add(frame)
        if not self._starts or self._starts[-1][0] != frame.shot:
            self._starts.append((frame.shot, frame.number))
        for name, is_one in (
            ("repeats", frame.repeat),
            ("copies", frame.copy),
            ("lost", frame.lost),
            ("rebuilt", frame.holes is not None and not frame.lost),
        ):
            if is_one:
                self._marked[name].append(frame.number)

    def add_span(self, span: Span) -> None:
        """Take what was measured of the next span."""
        opening, ending = ((span.core[end], *span.followers[end]) for end in (0, -1))
        first = min(map(_whole_number, opening))  # lost frames may come before the core
        last = max(map(_whole_number, ending))
        parity = span.core[0].parity
        assert np.isfinite(span.noise.array()).all(), "noise that is no number"
        self._spans.append(
            SpanFacts(span.number, span.shot, parity, first, last, span.noise, span.spectrum)
        )

    def add_defects(self, defects: Iterable[Defect]) -> None:
        """Take places of whole frames that were repaired; of two that are the same the surer one
        stays. Frames that are made anew are listed as such.
        """
        for defect in defects:
            if defect.kind == "rebuilt":
                continue
            top, left, bottom, right = (int(edge) for edge in defect.box)
            facts = DefectFacts(
                int(defect.frame), defect.kind, (top, left, bottom, right), float(defect.confidence)
            )
            place = (facts.frame, facts.kind, facts.box)
            other = self._defects.get(place)
            if other is None or other.confidence < facts.confidence:
                self._defects[place] = facts

    def add_light(self, frame: int, gain: float) -> None:
        """Take the flicker of the next frame; where none comes, nobody asked."""
        if self._lights is None:
            self._lights = []
        self._lights.append(LightFacts(frame, float(gain)))

    def add_gap(self, after_frame: int, frames: int) -> None:
        """Take a gap in the times, in order."""
        self._gaps.append(GapFacts(after_frame, frames))

    def build(
        self,
        clip: Clip,
        *,
        engine: Mapping[str, Any],
        settings: Mapping[str, Any],
        interlace: InterlaceFacts | None = None,
        shares: Iterable[Share] = (),
        held: Iterable[DefectFacts] = (),
    ) -> Analysis:
        """The analysis of the film as far as it was seen: to its end, unless a part of it is made.

        `engine` is the identity as a dict, `settings` what decided what was found, `shares` how
        much of each shot was repaired, `held` are places that were to be left as they are.
        """
        return Analysis(
            tool=f"vidrepair {__version__}",
            source=self._source(clip),
            engine=storable(engine, "engine"),
            settings=storable(settings, "settings"),
            interlace=interlace or InterlaceFacts(),
            shots=self._shots(),
            spans=tuple(sorted(self._spans, key=lambda span: span.number)),
            defects=self._places(held),
            flicker=None if self._lights is None else tuple(self._lights),
            gaps=tuple(self._gaps),
            figures=_figures(list(shares)),
            **{name: tuple(numbers) for name, numbers in self._marked.items()},
        )

    def update(
        self, analysis: Analysis, *, shares: Iterable[Share], held: Iterable[DefectFacts]
    ) -> Analysis:
        """An analysis of the same film whose shots and noise are as they were, but of which other
        places were repaired: these alone were taken.
        """
        return replace(analysis, defects=self._places(held), figures=_figures(list(shares)))

    def _places(self, held: Iterable[DefectFacts]) -> tuple[DefectFacts, ...]:
        """All, in order."""
        left = {(one.frame, one.kind, one.box): one for one in held}
        places = left | self._defects
        return tuple(places[place] for place in sorted(places))

    def _source(self, clip: Clip) -> SourceFacts:
        seen, picture = self._fingerprint, clip.picture
        # Stray bytes of a file name become replacement marks.
        name = Path(clip.name).name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return SourceFacts(
            name=name,
            width=picture.width,
            height=picture.height,
            pixel_format=picture.format.name,
            frames=seen.frames,
            first_pts=seen.first_pts,
            last_pts=seen.last_pts,
            time_base=clip.time_base,
            fingerprint=seen.hexdigest(),
            marks=seen.marks,
        )

    def _shots(self) -> tuple[ShotFacts, ...]:
        ends = [first - 1 for _, first in self._starts[1:]] + [self._fingerprint.frames - 1]
        return tuple(
            ShotFacts(number, first, last)
            for (number, first), last in zip(self._starts, ends, strict=True)
        )


def _figures(shares: Sequence[Share]) -> Figures:
    """Those of the film from those of its shots."""
    frames = max(sum(share.frames for share in shares), 1)
    names = sorted({name for share in shares for name in share.kinds})

    def mean(values: Iterable[float]) -> float:
        pairs = zip(shares, values, strict=True)
        return min(float(sum(share.frames * value for share, value in pairs)) / frames, 1.0)

    return Figures(
        touched=mean(share.touched for share in shares),
        kinds={name: mean(share.kinds.get(name, 0.0) for share in shares) for name in names},
        shots=tuple(
            FigureFacts(
                share.shot,
                float(share.touched),
                # Places of one kind that overlap are counted twice.
                {name: min(float(value), 1.0) for name, value in sorted(share.kinds.items())},
            )
            for share in shares
        ),
    )


def _whole_number(frame: Frame) -> int:
    """The number of the frame that a field is of, or of the frame itself."""
    return frame.number if frame.parity is None else frame.number // 2


class Guide:
    """An analysis that a run follows; where `where` names its file.

    Answers depend on frame numbers and the file alone. One thread takes the frames of the film,
    by `number_shots` or `see`, and calls `finish`; the rest may be called from any.
    """

    def __init__(self, analysis: Analysis, where: str, clip: Clip) -> None:
        """Raises InputError where it is of another film than the opened source."""
        self._analysis, self._where = analysis, where
        self._refuse(analysis.mismatch(clip))
        self._fingerprint = Fingerprint()
        self._shots = frozenset(shot.first for shot in analysis.shots)
        self._spans: dict[int | None, list[SpanFacts]] = {}
        for span in analysis.spans:
            self._spans.setdefault(span.parity, []).append(span)
        self._interlaced = None not in self._spans
        self._defects: dict[int, list[DefectFacts]] = {}
        for defect in analysis.defects:
            self._defects.setdefault(defect.frame, []).append(defect)

    def number_shots(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield every decoded frame once, in order, stamped with its shot. Raises as `see`."""
        shot = -1
        for frame in frames:
            self.see(frame)
            shot += self.starts_shot(frame.number)
            yield replace(frame, shot=shot)

    def see(self, frame: Frame) -> None:
        """Take the next decoded frame of the film. Raises InputError once it is another film."""
        seen, own = self._fingerprint, self._analysis.source
        seen.add(frame)
        if seen.frames > own.frames:
            self._refuse(f"it ends after {own.frames} frames, and this one does not")
        if seen.marks != own.marks[: len(seen.marks)]:
            self._refuse(f"it differs within the first {seen.frames} frames")

    def finish(self) -> None:
        """The film has ended. Raises InputError where it is another."""
        self._refuse(self._analysis.mismatch_at_end(self._fingerprint))

    def check_way(self, *, fields: bool, settings: Mapping[str, Any]) -> None:
        """Refuse what would put its frames elsewhere: raises InputError, naming the option.

        `fields` says that the run takes frames apart, `settings` are its repair's.
        """
        own = self._analysis.settings
        if self._interlaced != fields:
            made, way = (
                ("fields", "fields") if self._interlaced else ("whole frames", "progressive")
            )
            raise InputError(f"{self._where} was made of {made}; add --interlace {way}")
        ways = (own.get("interlace"), settings["interlace"])
        if ways[0] != ways[1] and not set(ways).isdisjoint(DEINTERLACED):
            raise InputError(f"{self._where} was made with --interlace {ways[0]}; add it here, too")
        if own.get("fill_gaps", settings["fill_gaps"]) != settings["fill_gaps"]:
            given = "with" if own["fill_gaps"] else "without"
            raise InputError(f"{self._where} was made {given} --fill-gaps; run it so, too")

    def remarks(self, engine: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
        """A sentence where it was made with another engine or other settings than these."""
        found = self._analysis.differences(engine, settings)
        if not found:
            return []
        return [f"{self._where} was made otherwise, and may not fit: {', '.join(found)}"]

    def starts_shot(self, frame: int) -> bool:
        """Whether a shot starts with the frame of that number."""
        return frame in self._shots

    def noise_of(self, first: int) -> NoiseProfile:
        """The noise of the span whose core starts with the frame, or field, of that number.

        Shots that were edited move the spans after them: then that of the one that holds it.
        """
        return self._span(first).noise

    @property
    def analysis(self) -> Analysis:
        """What is followed."""
        return self._analysis

    def held(self) -> list[DefectFacts]:
        """The places that are listed and not to be repaired."""
        return [defect for defect in self._analysis.defects if not defect.keep]

    @property
    def has_spectra(self) -> bool:
        """Whether the grain's spectrum is known all over the film."""
        return all(span.spectrum is not None for span in self._analysis.spans)

    def spectrum_of(self, first: int) -> GrainSpectrum:
        """The spectrum of the same span, where the film has spectra."""
        spectrum = self._span(first).spectrum
        assert spectrum is not None, "has_spectra was not asked"
        return spectrum

    def kept(self, frame: int, kind: str, box: Edges) -> bool:
        """Whether a place that was found in a whole frame is repaired.

        Of those listed for the frame, of its kind and overlapping it by half (intersection over
        union), the closest decides; where two are as close, both have to say so.
        """
        closest, answer = OVERLAP, None
        for listed in self._defects.get(frame, ()):
            if listed.kind != kind:
                continue
            overlap = _overlap(listed.box, box)
            if overlap > closest or (overlap == closest and answer is None):
                closest, answer = overlap, listed.keep
            elif overlap == closest:
                answer = answer and listed.keep
        return bool(answer)

    def allows(self, defect: Defect) -> bool:
        """The same of a defect, of a field where the film is interlaced."""
        frame, (top, left, bottom, right) = defect.frame, defect.box
        if self._interlaced:
            frame, top = frame // 2, 2 * top
            bottom = min(2 * bottom, self._analysis.source.height)
        return self.kept(frame, defect.kind, (top, left, bottom, right))

    def _span(self, first: int) -> SpanFacts:
        number, parity = divmod(first, 2) if self._interlaced else (first, None)
        spans = self._spans[parity]
        return spans[max(bisect_right(spans, number, key=lambda span: span.first) - 1, 0)]

    def _refuse(self, reason: str | None) -> None:
        if reason is not None:
            raise InputError(
                f"{self._where} is the analysis of another film: {reason}; write one of this film"
                " with vidrepair analyze"
            )


def _overlap(one: Edges, other: Edges) -> float:
    """Intersection over union of two boxes that are not empty."""
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    if height <= 0 or width <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return height * width / (areas - height * width)


def open_guide(path: Path | None, clip: Clip) -> Guide | None:
    """What a run over an opened source follows; None where it follows nothing.

    Raises InputError as `read_analysis` and `Guide` do.
    """
    return None if path is None else Guide(read_analysis(path), str(path), clip)
