"""Every stream but the restored one: what a target takes is copied, the rest is named."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av

from vidrepair.containers import TEXT_ERRORS, facts
from vidrepair.tags import Clip, Copied, StreamFacts, kept_tags

# What the muxers take at all; tried below besides, since a passed trial alone proves nothing.
CARRIED_KINDS = {
    "matroska": ("video", "audio", "subtitle", "attachment", "cover"),
    "mp4": ("video", "audio", "subtitle", "cover"),
    "mov": ("video", "audio", "subtitle"),
}
CHAPTERED = ("matroska", "mp4", "mov")
# MOV knows languages by the older, bibliographic code alone and drops the others.
MOV_LANGUAGES = {
    "ces": "cze",
    "cym": "wel",
    "deu": "ger",
    "ell": "gre",
    "eus": "baq",
    "fas": "per",
    "fra": "fre",
    "hye": "arm",
    "isl": "ice",
    "kat": "geo",
    "mkd": "mac",
    "msa": "may",
    "mya": "bur",
    "nld": "dut",
    "ron": "rum",
    "slk": "slo",
    "sqi": "alb",
    "zho": "chi",
}
# Streams that MP4 and MOV cannot describe before they have seen a packet.
DESCRIBED_BY_PACKETS = ("ac3", "eac3", "mlp", "truehd", "vc1", "dnxhd")
# One refused packet does not end the work; these errors are the target's own.
LOST_TARGET = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE, errno.EIO, errno.EROFS)
COVER_FILES = {"png": ("cover.png", "image/png"), "mjpeg": ("cover.jpg", "image/jpeg")}


def plan_copies(container: Any, clip: Clip, target: str, covers: Mapping[int, bytes]) -> Copies:
    """Find out, without a file, which streams of an open source `target` takes.

    `container` and `covers` (cover pictures by stream index) are the source's own, `target` is
    FFmpeg's name of the muxer.
    """
    routes: dict[int, _Route] = {}
    names: dict[int, str] = {}
    left: list[str] = []
    for stream in container.streams:
        if stream.index == clip.video.index:
            continue
        fact = facts(stream)
        if _rebuilt(fact, stream.metadata.get("handler_name", ""), clip, target):
            continue
        route = _route(stream, fact, target, covers)
        if route is not None and _trial(target, fact.codec, route):
            routes[stream.index] = route
            names[stream.index] = str(fact)
        else:
            left.append(f"{fact} is not carried: {_name(target)} does not take it")
    chapters = container.chapters()
    if chapters and target not in CHAPTERED:
        left.append(f"{len(chapters)} chapters are not carried: {_name(target)} does not take them")
        chapters = []
    depths = {
        film.index: film.codec_context.reorder_depth
        for film in container.streams.video
        if film.codec_context is not None
    }
    return Copies(routes, names, depths, chapters, tuple(left))


_Route = Callable[[Any], Any]
"""Adds a stream to an output and returns it, or None when it has no packets."""


class Copies:
    """The streams that travel beside the picture, from one source to one target."""

    def __init__(
        self,
        routes: Mapping[int, _Route],
        names: Mapping[int, str],
        depths: Mapping[int, int],
        chapters: list[Any],
        warnings: tuple[str, ...],
    ) -> None:
        self.warnings = warnings
        """What is left behind, by name."""
        self.dropped: dict[int, int] = {}
        """Packets, by stream, whose times ran backwards or that the muxer refused."""
        self._routes = routes
        self._names = names
        self._chapters = chapters
        self._streams: dict[int, Any] = {}
        self._offset = Fraction(0)
        self._last: dict[int, int] = {}
        self._depths = depths
        """How many frames a film's order of coding runs ahead of that of showing."""

    def board(self, output: Any, offset: Fraction) -> None:
        """Add everything to an open output, before its header.

        `offset` are seconds, added to the time of every packet and chapter.
        """
        self._offset = offset
        for index, add in self._routes.items():
            stream = add(output)
            if stream is not None:
                self._streams[index] = stream
        if self._chapters:
            output.set_chapters([_later(chapter, offset) for chapter in self._chapters])

    def mux(self, output: Any, item: Copied) -> None:
        """Write one packet; one of a stream that stays behind, or is out of time, is dropped."""
        stream = self._streams.get(item.stream)
        if stream is None:
            return
        packet = item.packet
        dts = self._decoding_time(item)
        if dts < self._last.get(item.stream, dts):
            self.dropped[item.stream] = self.dropped.get(item.stream, 0) + 1
            return
        self._last[item.stream] = dts
        ticks = _ticks(self._offset, packet.time_base)
        # No packet is shown before it is decoded; where a damaged one says so, muxers refuse it.
        packet.pts = (dts if packet.pts is None else max(packet.pts, dts)) + ticks
        packet.dts = dts + ticks
        packet.stream = stream
        try:
            output.mux(packet)
        except av.FFmpegError as error:
            if error.errno in LOST_TARGET:
                raise
            self.dropped[item.stream] = self.dropped.get(item.stream, 0) + 1

    def losses(self) -> list[str]:
        """What was lost on the way, by name."""
        return [
            f"{self._names[index]}: {count} packets were dropped, for their times run backwards"
            " or the target refused them"
            for index, count in self.dropped.items()
        ]

    def _decoding_time(self, item: Copied) -> int:
        """The packet's dts, or where it says none, the one that follows from those before.

        Matroska knows no dts; of films with B-frames some packets stay without.
        """
        packet, last = item.packet, self._last.get(item.stream)
        if packet.dts is not None:
            return int(packet.dts)
        step = packet.duration or 1
        if last is None:
            return (packet.pts or 0) - self._depths.get(item.stream, 0) * step
        return last + step if packet.pts is None else min(packet.pts, last + step)


def _ticks(seconds: Fraction, unit: Any) -> int:
    return round(seconds * Fraction(unit.denominator, unit.numerator))


def _later(chapter: Mapping[str, Any], offset: Fraction) -> dict[str, Any]:
    ticks = _ticks(offset, chapter["time_base"])
    return {**chapter, "start": chapter["start"] + ticks, "end": chapter["end"] + ticks}


def _rebuilt(fact: StreamFacts, handler: str, clip: Clip, target: str) -> bool:
    """Data streams that the muxers make anew: the text track of chapters, and timecode.

    PyAV shows no more of a data stream than its handler's name; telemetry has one of its own.
    """
    if fact.kind != "data" or target not in CHAPTERED:
        return False
    name = handler.lower().replace(" ", "")
    texts = clip.chapters > 0 and ("text" in name or "subtitle" in name)
    times = any(word in name for word in ("timecode", "tcd", "tmcd"))
    return not name or texts or (times and "timecode" in dict(clip.video_metadata))


def _route(
    stream: Any, fact: StreamFacts, target: str, covers: Mapping[int, bytes]
) -> _Route | None:
    """How a stream gets into the target, if its kind does at all."""
    if fact.kind not in CARRIED_KINDS.get(target, ()):
        return None
    if fact.kind == "cover" and target == "matroska":
        # The muxer refuses covers as streams, but what is attached under this name is one.
        names = COVER_FILES.get(fact.codec)
        cover = covers.get(fact.index)
        if names is None or cover is None:
            return None
        return lambda output: _attach(output, *names, cover)
    return lambda output: _template(output, stream, target)


def _attach(output: Any, name: str, mimetype: str, data: bytes) -> None:
    output.add_attachment(name, mimetype, data)


def _template(output: Any, stream: Any, target: str) -> Any:
    # Not opaque, PyAV would look for an encoder of the same name to copy video.
    copy = output.add_stream_from_template(stream, opaque=True)
    # Neither follows the template by itself; attachments need their names for the header.
    copy.metadata.update(kept_tags(stream.metadata))
    if target == "mov" and (language := copy.metadata.get("language")) in MOV_LANGUAGES:
        copy.metadata["language"] = MOV_LANGUAGES[language]
    copy.disposition = stream.disposition
    return copy


def _trial(target: str, codec: str, route: _Route) -> bool:
    """Whether a header with that stream alone can be written.

    MP4 and MOV describe a stream only at the end, where it is too late to refuse it; fragmented
    they do so at once.
    """
    early = target in ("mp4", "mov") and codec not in DESCRIBED_BY_PACKETS
    options = {"movflags": "empty_moov+default_base_moof"} if early else {}
    output: Any = av.open(io.BytesIO(), "w", format=target, options=options, **TEXT_ERRORS)
    try:
        route(output)
        output.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    finally:
        # What the trailer says without packets is of no interest: the header was the question.
        with suppress(ValueError, av.FFmpegError):
            output.close()
    return True


def _name(target: str) -> str:
    return {"matroska": "Matroska", "mp4": "MP4", "mov": "MOV", "yuv4mpegpipe": "y4m"}[target]
