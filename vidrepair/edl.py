"""CMX 3600 edit decision lists: a film cut into its shots, and DaVinci Resolve's list of markers.

An event takes a line: number, reel, channel, kind of edit, then in and out of the source and of
the record, out being the frame after the last (SMPTE ST 258). Comments that follow belong to it:
`* LOC:` is a locator, as Avid writes it. Resolve's list of markers has an event of one frame for
each, and below it the note, then |C:colour |M:name |D:frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

from vidrepair.film_clock import FilmClock
from vidrepair.listed import Listed, NoList
from vidrepair.markers import SHOT, MarkedFilm, Marker
from vidrepair.timecode import drops, frame_of, timecode_of

FASTEST = 99
"""Frames a second that an EDL can count: it has two digits for them."""
COLOURS = {
    SHOT: ("GREEN", "Green"),
    "dust": ("YELLOW", "Yellow"),
    "scratch": ("RED", "Red"),
    "dropout": ("CYAN", "Cyan"),
    "masked": ("BLUE", "Blue"),
}
"""Of each kind: Avid's colour, and Resolve's."""
OTHER = ("MAGENTA", "Fuchsia")
"""Of frames that were broken, or made anew."""
_TIME = r"(\d\d:\d\d:\d\d[:;.]\d\d+)"
_EVENT = re.compile(
    rf"(\d+)\s+(\S.*?)\s+(\S+)\s+(C|D|W\d*|K[BO]?)(?:\s+(\d+))?\s+{_TIME}\s+{_TIME}\s+{_TIME}\s+{_TIME}",
    re.ASCII | re.IGNORECASE,
)
_LIKE_AN_EVENT = re.compile(rf"\d+\s.*{_TIME}", re.ASCII)
_MARKER = re.compile(r"\|C:\s*\S*\s*\|M:(.*?)\s*(?:\|D:\s*\d*\s*)?$")


def cut_list(film: MarkedFilm) -> Iterator[str]:
    """The lines of a list with an event for each shot, and a locator for each marker."""
    yield from _head(film)
    name = film.name if film.media is None else film.media.name
    for number, (first, after) in enumerate(film.clips(), 1):
        yield _event(number, film.clock, first, after)
        yield f"* FROM CLIP NAME: {_line(name)}\n"
        for one in film.markers:
            if first <= one.place < after:
                time, colour = film.clock.show(one.place), COLOURS.get(one.kind, OTHER)[0]
                yield f"* LOC: {time} {colour:<7} {_line(_words(one))}\n"
        yield "\n"


def marker_list(film: MarkedFilm) -> Iterator[str]:
    """The lines of Resolve's list: "Timelines > Import > Timeline Markers from EDL"."""
    yield from _head(film)
    # A timeline of Resolve has one marker at a place.
    groups = groupby(film.markers, key=lambda one: one.place)
    for number, (place, group) in enumerate(groups, 1):
        ones = list(group)
        colour = COLOURS.get(ones[-1].kind, OTHER)[1]
        name = ", ".join(dict.fromkeys(one.name for one in ones))
        note = "; ".join(_words(one) for one in ones)
        length = max(one.frames for one in ones)
        yield _event(number, film.clock, place, place + 1)
        # The note comes first: what follows a | is taken for a tag.
        yield f"{_line(note)} |C:ResolveColor{colour} |M:{_line(name)} |D:{length}\n\n"


def _head(film: MarkedFilm) -> Iterator[str]:
    yield f"TITLE: {_line(film.name)}\n"
    yield f"FCM: {'' if film.clock.dropping else 'NON-'}DROP FRAME\n\n"


def _event(number: int, clock: FilmClock, first: int, after: int) -> str:
    span = f"{clock.show(first)} {clock.show(after)}"
    return f"{number:03d}  AX       V     C        {span} {span}\n"


def _words(one: Marker) -> str:
    return f"{one.name}: {one.note}"


def _line(text: str) -> str:
    """Text that keeps to its place in a line."""
    return " ".join(text.replace("|", "/").split())


@dataclass(frozen=True, slots=True)
class _Event:
    """A line of a list, in frames since midnight."""

    channel: str
    source: int | None
    """None where it counts at another rate."""
    record: int
    after: int
    """The record's out."""
    fade: int
    """Frames of a dissolve or a wipe; 0 for a cut."""


def read_edl(text: str, rate: Fraction) -> Listed:
    """The cuts of a list: where its events begin; or the shots among Resolve's markers, which are
    all of them where none is called so.

    A dissolve counts from its middle; sound does not count. Raises NoList for what is none, or
    is none of this rate.
    """
    events: list[_Event] = []
    names: dict[int, str] = {}
    dropping = False
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line.upper().startswith("FCM:"):
            dropping = "NON" not in line.upper()
        elif found := _EVENT.fullmatch(line):
            events.append(_read_event(found, number, rate, dropping=dropping))
        elif _LIKE_AN_EVENT.match(line):
            raise NoList(f"line {number} is no event of a CMX 3600 list: {line[:60]}")
        elif events and (found := _MARKER.search(line)):
            names[len(events) - 1] = found[1]
    if names:
        return _markers([(events[index], name) for index, name in names.items()])
    return _edits([event for event in events if _is_picture(event.channel)])


def _edits(pictures: Sequence[_Event]) -> Listed:
    """The cuts of the first track of a picture."""
    track = [event for event in pictures if event.channel == pictures[0].channel]
    edits = [event for event in track if event.after > event.record]
    if not edits:
        raise NoList("it has no event with a picture, such as 001 AX V C and four timecodes")
    start = min(event.record for event in edits)
    sources = [event.source + event.fade // 2 for event in edits if event.source is not None]
    return Listed(
        tuple(event.record + event.fade // 2 - start for event in edits),
        max(event.after for event in edits) - start,
        clock=start,
        source=tuple(sources) if len(sources) == len(edits) else None,
    )


def _markers(marked: Sequence[tuple[_Event, str]]) -> Listed:
    shots = [event for event, name in marked if name.strip().lower().startswith(SHOT)]
    starts = tuple(event.record for event in shots or [event for event, _ in marked])
    return Listed(starts, max(starts) + 1, clock=0, whole=False)


def _read_event(found: re.Match[str], line: int, rate: Fraction, *, dropping: bool) -> _Event:
    source, _, record, after = (
        _frame(found[group], rate, dropping=dropping) for group in (6, 7, 8, 9)
    )
    for text, frame in ((found[8], record), (found[9], after)):
        if frame is None:
            a_second = f"{float(rate):.5g} frames a second"
            kind = "no drop frame timecode" if dropping else "no timecode"
            raise NoList(f"line {line} has {text}, which is {kind} of {a_second}")
    assert record is not None
    assert after is not None
    return _Event(found[3].upper(), source, record, after, int(found[5] or 0))


def _frame(text: str, rate: Fraction, *, dropping: bool) -> int | None:
    """Frames since midnight; None where a clock of this rate never shows that."""
    if dropping or drops(text):  # many lists say so once, at their head
        if round(rate) % 30:
            return None
        text = f"{text[:8]};{text[9:]}"
    frame = frame_of(text, rate)
    if frame is None or timecode_of(frame, rate, text[8]) != text:
        return None
    return frame


def _is_picture(channel: str) -> bool:
    """Such as V, V1, B (both) and AA/V."""
    return "V" in channel or channel == "B"
