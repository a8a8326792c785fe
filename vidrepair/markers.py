"""What is marked of a film for those who look it through: its shots, and its worst damage."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path

from vidrepair.film_clock import FilmClock
from vidrepair.findings import Analysis, DefectFacts, ShotFacts

SHOT = "shot"
"""The kind of a marker that says where a shot starts; all others are kinds of damage."""
REBUILT = "rebuilt"
MOST = 100
"""Markers of damage in a film, the worst."""
OFF = Fraction(1, 4)
"""Share of a frame by which times may lie beside a steady rate: containers round them."""
APART = 1
"""Seconds by which two markers of one kind are apart, so that one bad stretch does not take all."""


@dataclass(frozen=True, slots=True)
class Marker:
    """A place of a film."""

    place: int
    """Of the first frame, as `FilmClock` counts."""
    frames: int
    kind: str
    name: str
    note: str


@dataclass(frozen=True, slots=True)
class MarkedFilm:
    """A film with its markers, at the nominal rate of its clock."""

    name: str
    media: Path | None
    """The file that is looked through; None for a pipe."""
    clock: FilmClock
    shots: tuple[int, ...]
    """The places at which they start, rising; the first is that of the film."""
    after: int
    """The place that follows the last frame."""
    markers: tuple[Marker, ...]
    """In order of their places; at one place the shot first."""

    def clips(self) -> list[tuple[int, int]]:
        """The first place of each shot, and the place that follows its last."""
        return list(pairwise([*self.shots, self.after]))


def mark(
    analysis: Analysis, places: Sequence[int], name: str, media: Path | None, clock: FilmClock
) -> MarkedFilm:
    """The markers of a film. `places` are those of its frames, by their numbers; what is known of
    later frames is left out.
    """
    shots = [shot for shot in analysis.shots if shot.first < len(places)]
    found = [_shot(shot, analysis, places) for shot in shots]
    # Frames closer than the clock ticks share a place.
    starts = tuple(sorted({places[shot.first] for shot in shots}))
    found += _worst(analysis, places, clock)
    found.sort(key=lambda one: (one.place, one.kind != SHOT, one.kind))
    return MarkedFilm(name, media, clock, starts, max(places) + 1, tuple(found))


def unsteady(film: str, times: Iterable[Fraction], clock: FilmClock) -> list[str]:
    """A sentence where the frames of a film, shown at these seconds, do not lie at its rate."""
    if max(map(clock.off, times)) <= OFF:
        return []
    said = f"the frames of {film} do not come at a steady rate; each marker sits on the nearest"
    return [f"{said} frame of {float(clock.rate):.5g} a second"]


def _shot(shot: ShotFacts, analysis: Analysis, places: Sequence[int]) -> Marker:
    last = min(shot.last, len(places) - 1)
    note = f"frames {shot.first} to {last}"
    touched = {one.shot: one.touched for one in analysis.figures.shots}.get(shot.number)
    if touched:
        note += f", {touched:.2%} of the picture repaired"
    return Marker(places[shot.first], 1, SHOT, f"Shot {shot.number}", note)


@dataclass(slots=True)
class _Stretch:
    """Places of damage that are marked as one: those of a frame, or a scratch that lasts."""

    kind: str
    first: int
    last: int
    worst: float = 0.0
    """The largest share of the picture that was repaired in one of its frames."""
    defects: list[DefectFacts] = field(default_factory=list)

    @property
    def largest(self) -> DefectFacts:
        return max(self.defects, key=_area)

    def is_like(self, other: _Stretch) -> bool:
        """Whether who looks at the other sees this one, too."""
        beside = self.kind == "scratch" == other.kind and not _meets(self.largest, other.largest)
        return self.kind == other.kind and not beside


def _worst(analysis: Analysis, places: Sequence[int], clock: FilmClock) -> list[Marker]:
    """At most MOST, those that changed most of a frame first."""
    frames = len(places)
    kept = [one for one in analysis.defects if one.keep and one.frame < frames]
    picture = analysis.source.width * analysis.source.height
    starts = frozenset(shot.first for shot in analysis.shots)
    found = [
        *_lost(analysis, frames, starts),
        *_scratches(kept, picture, starts),
        *_spots(kept, picture),
    ]
    cuts = sorted(starts)
    chosen: list[_Stretch] = []
    for one in sorted(found, key=lambda one: (-one.worst, one.first, one.kind)):
        near = (
            other
            for other in chosen
            if abs(places[one.first] - places[other.first]) < APART * clock.rate
            and bisect_right(cuts, one.first) == bisect_right(cuts, other.first)
        )
        if not any(map(one.is_like, near)):
            chosen.append(one)
            if len(chosen) == MOST:
                break
    return [
        Marker(
            places[one.first],
            places[one.last] - places[one.first] + 1,
            one.kind,
            one.kind,
            _note(one),
        )
        for one in chosen
    ]


def _note(one: _Stretch) -> str:
    length = one.last - one.first + 1
    over = f"{length} frames" if length > 1 else f"frame {one.first}"
    if not one.defects:
        return f"{over} made anew"
    largest = one.largest
    top, left, bottom, right = largest.box
    where = f"{right - left}x{bottom - top}+{left}+{top}"
    count = sum(other.frame == largest.frame for other in one.defects)
    several = f"{count} places, the largest {where}" if count > 1 else f"at {where}"
    return f"{over}, {several}, {one.worst:.2%} of the picture, confidence {largest.confidence:.2f}"


def _lost(analysis: Analysis, frames: int, starts: frozenset[int]) -> Iterator[_Stretch]:
    """Neighbouring frames of a shot that were made anew."""
    before: _Stretch | None = None
    for frame in analysis.lost:
        if frame >= frames:
            break
        if before is not None and frame == before.last + 1 and frame not in starts:
            before.last = frame
            continue
        if before is not None:
            yield before
        before = _Stretch(REBUILT, frame, frame, 1.0)
    if before is not None:
        yield before


def _spots(defects: Iterable[DefectFacts], picture: int) -> Iterator[_Stretch]:
    """All of one kind in a frame; scratches are stretches of their own."""
    others = (one for one in defects if one.kind != "scratch")
    ordered = sorted(others, key=lambda one: (one.frame, one.kind))
    for (frame, kind), places in groupby(ordered, key=lambda one: (one.frame, one.kind)):
        ones = list(places)
        yield _Stretch(kind, frame, frame, _share(ones, picture), ones)


def _scratches(
    defects: Iterable[DefectFacts], picture: int, starts: frozenset[int]
) -> list[_Stretch]:
    """Those of neighbouring frames of a shot whose columns overlap are one that lasts."""
    found: list[_Stretch] = []
    going: list[_Stretch] = []
    ordered = sorted((one for one in defects if one.kind == "scratch"), key=lambda one: one.frame)
    for frame, places in groupby(ordered, key=lambda one: one.frame):
        going = [one for one in going if one.last >= frame - 1 and frame not in starts]
        for place in places:
            same = next((one for one in going if _meets(one.defects[-1], place)), None)
            if same is None:
                same = _Stretch("scratch", frame, frame)
                going.append(same)
                found.append(same)
            same.last = frame
            same.defects.append(place)
            same.worst = max(same.worst, _share([place], picture))
    return found


def _meets(one: DefectFacts, other: DefectFacts) -> bool:
    return one.box[1] < other.box[3] and other.box[1] < one.box[3]


def _share(defects: Iterable[DefectFacts], picture: int) -> float:
    """Of the picture, boxes that overlap counted twice."""
    return min(sum(map(_area, defects)) / picture, 1.0)


def _area(one: DefectFacts) -> int:
    top, left, bottom, right = one.box
    return (bottom - top) * (right - left)
