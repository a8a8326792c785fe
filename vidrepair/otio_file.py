"""OpenTimelineIO: a film cut into its shots, with markers.

The library writes; it needs the extra `otio`. What others wrote is read as the JSON that it is: the
library ends the process where a file is nested too deeply, or has null for its tracks.
"""

from __future__ import annotations

import importlib
import json
from fractions import Fraction
from typing import Any

from vidrepair.errors import UsageError
from vidrepair.listed import Listed, NoList
from vidrepair.markers import SHOT, MarkedFilm
from vidrepair.version import __version__

COLOURS = {
    SHOT: "GREEN",
    "dust": "YELLOW",
    "scratch": "RED",
    "dropout": "CYAN",
    "masked": "BLUE",
}
"""Of each kind; all others are MAGENTA."""
SAME = 5e-4
"""Share by which two rates may differ and be the same: 23.98 and 23.976 are, 24 is another."""

LARGEST = 1e12
"""A number of frames that is none any more."""


def open_library() -> Any:
    """OpenTimelineIO. Raises UsageError where it is not installed."""
    try:
        return importlib.import_module("opentimelineio")
    except ImportError as error:
        raise UsageError(
            ".otio files are written by OpenTimelineIO; pip install 'vidrepair[otio]' (for Python"
            " 3.11 to 3.13), or name an .edl file"
        ) from error


def timeline_text(film: MarkedFilm) -> str:
    """The timeline: a clip for each shot, by the film's timecode, and above them the markers."""
    otio = open_library()
    clock = film.clock
    start, rate = film.shots[0], float(clock.rate)

    def span(first: int, frames: int) -> Any:
        times = (otio.opentime.RationalTime(value, rate) for value in (first, frames))
        return otio.opentime.TimeRange(*times)

    available = span(clock.start + start, film.after - start)
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    for number, (first, after) in enumerate(film.clips()):
        if film.media is None:
            media = otio.schema.MissingReference(film.name, available)
        else:
            media = otio.schema.ExternalReference(film.media.absolute().as_uri(), available)
            media.name = film.media.name
        cut = span(clock.start + first, after - first)
        track.append(otio.schema.Clip(f"Shot {number}", media, cut))
    timeline = otio.schema.Timeline(film.name)
    timeline.global_start_time = otio.opentime.RationalTime(clock.start + start, rate)
    timeline.metadata["vidrepair"] = {
        "version": __version__,
        "start_timecode": clock.show(start),
        "drop_frame": clock.dropping,
    }
    timeline.tracks.append(track)
    for one in film.markers:
        marker = otio.schema.Marker(one.name, span(one.place - start, one.frames))
        marker.color = COLOURS.get(one.kind, "MAGENTA")
        marker.comment = one.note
        marker.metadata["vidrepair"] = {"kind": one.kind, "note": one.note}
        timeline.tracks.markers.append(marker)
    return f"{timeline.to_json_string(indent=2)}\n"


def read_timeline(text: str, rate: Fraction) -> Listed:
    """The cuts of the first track with a picture: where its clips, gaps and stacks meet.

    A transition counts from its middle, where they meet, too. Raises NoList for what is no
    timeline, or none of this rate.
    """
    timeline = _timeline(_parse(text))
    track = next((one for one in _children(timeline["tracks"]) if _is_picture(one)), None)
    if track is None:
        raise NoList("it holds no track with a picture")
    starts: list[int] = []
    sources: list[int | None] = []
    place = 0
    for item in _children(track):
        if _kind(item) == "Transition":
            continue
        length = _length(item, rate)
        if length > 0:
            starts.append(place)
            sources.append(_source(item, rate))
            place += length
    if not starts:
        raise NoList("its clips have no length")
    begins = timeline.get("global_start_time")
    known = tuple(one for one in sources if one is not None)
    return Listed(
        tuple(starts),
        place,
        clock=None if begins is None else _frames(begins, rate),
        source=known if len(known) == len(starts) else None,
    )


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise NoList(
            f"it is no JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise NoList("it is no JSON of a timeline: it is nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise NoList(f"it is no JSON: {error}") from error


def _kind(item: Any) -> str:
    """The name of a schema, without its version."""
    name = item.get("OTIO_SCHEMA") if isinstance(item, dict) else None
    return name.partition(".")[0] if isinstance(name, str) else ""


def _timeline(found: Any) -> dict[str, Any]:
    """The timeline of a file, or the first of those that it collects."""
    if _kind(found) == "SerializableCollection":
        found = next((one for one in _children(found) if _kind(one) == "Timeline"), None)
    if _kind(found) != "Timeline" or _kind(found.get("tracks")) != "Stack":
        raise NoList("it holds no timeline of OpenTimelineIO")
    return dict(found)


def _children(item: Any) -> list[Any]:
    children = item.get("children")
    return children if isinstance(children, list) else []


def _is_picture(track: Any) -> bool:
    return _kind(track) == "Track" and track.get("kind") == "Video" and bool(_children(track))


def _span(item: Any) -> dict[str, Any] | None:
    """The part that is shown of an item: what it says, or all of its media."""
    if not isinstance(item, dict):
        raise NoList("one of its clips is none")
    media = item.get("media_reference")  # of the first version of clips
    several = item.get("media_references")
    active = item.get("active_media_reference_key")
    if isinstance(several, dict) and isinstance(active, str):
        media = several.get(active)
    whole = media.get("available_range") if isinstance(media, dict) else None
    span = item.get("source_range") or whole
    return span if isinstance(span, dict) else None


def _length(item: Any, rate: Fraction) -> int:
    span = _span(item)
    if span is not None:
        return _frames(span.get("duration"), rate)
    inside = [_length(child, rate) for child in _children(item) if _kind(child) != "Transition"]
    if not inside:
        raise NoList(f"its {_kind(item) or 'clip'} {item.get('name')!r} has no length")
    return sum(inside) if _kind(item) == "Track" else max(inside)


def _source(item: Any, rate: Fraction) -> int | None:
    """Where a clip starts by the timecode of its media; None where that counts otherwise."""
    span = _span(item)
    if _kind(item) != "Clip" or span is None:
        return None
    try:
        return _frames(span.get("start_time"), rate)
    except NoList:
        return None


def _frames(time: Any, rate: Fraction) -> int:
    """A time in whole frames. Raises NoList for one of another rate."""
    value, own = (_number(time, name) for name in ("value", "rate"))
    if abs(own / float(rate) - 1.0) > SAME:
        raise NoList(f"it counts {own:.5g} frames a second, and the film has {float(rate):.5g}")
    return round(value)


def _number(time: Any, name: str) -> float:
    number = time.get(name) if isinstance(time, dict) else None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise NoList("a time in it is no number of frames")
    if not abs(number) < LARGEST:  # which NaN is not, either
        raise NoList(f"a time in it is {number}, which is no number of frames")
    return float(number)
