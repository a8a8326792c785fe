"""OpenTimelineIO: a film cut into its shots, with markers; needs the extra `otio`."""

from __future__ import annotations

import importlib
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


def open_library() -> Any:
    """OpenTimelineIO. Raises UsageError where it is not installed."""
    try:
        return importlib.import_module("opentimelineio")
    except ImportError as error:
        raise UsageError(
            ".otio files need OpenTimelineIO; pip install 'vidrepair[otio]', or name an .edl file"
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
    timeline, or none of this rate; UsageError as `open_library`.
    """
    otio = open_library()
    timeline = _timeline(otio, text)
    track = next((one for one in timeline.video_tracks() if len(one)), None)
    if track is None:
        raise NoList("it holds no track with a picture")
    starts, sources, place = [], [], 0
    for item in track:
        if isinstance(item, otio.schema.Transition):
            continue
        try:
            length = _frames(item.duration(), rate)
            if isinstance(item, otio.schema.Clip):
                sources.append(_frames(item.trimmed_range().start_time, rate))
        except otio.exceptions.OTIOError as error:
            raise NoList(f"a clip of it has no length ({error})") from error
        if length > 0:
            starts.append(place)
            place += length
    if not starts:
        raise NoList("its clips have no length")
    begins = timeline.global_start_time
    return Listed(
        tuple(starts),
        place,
        clock=None if begins is None else _frames(begins, rate),
        source=tuple(sources) if len(sources) == len(starts) else None,
    )


def _timeline(otio: Any, text: str) -> Any:
    """The timeline of a file, or the first of those that it collects."""
    try:
        found = otio.core.deserialize_json_from_string(text)
    except (otio.exceptions.OTIOError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise NoList(f"it is no OpenTimelineIO file ({reason[:120]})") from error
    if isinstance(found, otio.schema.SerializableCollection):
        found = next((one for one in found if isinstance(one, otio.schema.Timeline)), None)
    if not isinstance(found, otio.schema.Timeline):
        raise NoList("it holds no timeline")
    return found


def _frames(time: Any, rate: Fraction) -> int:
    """A time in whole frames. Raises NoList for one of another rate."""
    if abs(time.rate / float(rate) - 1.0) > SAME:
        raise NoList(
            f"it counts {time.rate:.5g} frames a second, and the film has {float(rate):.5g}"
        )
    frames: int = round(time.value)
    return frames
