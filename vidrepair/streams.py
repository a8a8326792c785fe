"""Every stream but the restored one: what a target takes is copied, the rest is named."""

from __future__ import annotations

import errno
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any

import av

from vidrepair.channels import LAYOUT, keeps_layout, layout_of
from vidrepair.containers import facts
from vidrepair.exact_time import MILLISECOND
from vidrepair.excerpt import cut_chapters
from vidrepair.labels import FRAGMENTED, TEXT_ERRORS, Unsaid, spoken, stream_tags, unsaid
from vidrepair.subtitles import HEADER, Converter, convertible
from vidrepair.tags import Clip, Copied, StreamFacts

# What the muxers take at all; tried below besides, since a passed trial alone proves nothing.
CARRIED_KINDS = {
    "matroska": ("video", "audio", "subtitle", "attachment", "cover"),
    "mp4": ("video", "audio", "subtitle", "cover"),
    "mov": ("video", "audio", "subtitle"),
    "webm": ("video", "audio", "subtitle"),
}
CHAPTERED = ("matroska", "mp4", "mov", "webm")
# What text subtitles become where they cannot be copied.
TEXTS = {"matroska": "subrip", "mp4": "mov_text", "mov": "mov_text", "webm": "webvtt"}
NAMED = 20
"""Streams of one kind that are left behind are named one by one up to that many."""
# What of these kinds holds not one packet MP4 and MOV leave out.
NEEDS_PACKETS = ("audio", "video")
MOV_TEXT_HEAD = 2
"""Bytes of a packet of MP4's text that say how long it is; one that has no more shows nothing."""
TEXT_UNIT = Fraction(1, 240_000)
"""Of text that is converted for MP4 and MOV. Their muxer takes a text for ended once the ticks of
any other stream are more than its own: coarser ones would end it too soon, and put off one that
begins meanwhile."""
UNSAID_LENGTH = Fraction(2)
"""Seconds that a text is shown in MP4 and MOV which does not say how long; they drop it else."""
# Streams that MP4 and MOV cannot describe before they have seen a packet.
DESCRIBED_BY_PACKETS = ("ac3", "eac3", "mlp", "truehd", "vc1", "dnxhd")
# One refused packet does not end the work; these errors are the target's own.
LOST_TARGET = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE, errno.EIO, errno.EROFS)
COVER_FILES = {"png": ("cover.png", "image/png"), "mjpeg": ("cover.jpg", "image/jpeg")}


def plan_copies(
    container: Any,
    clip: Clip,
    target: str,
    covers: Mapping[int, bytes],
    *,
    end: Fraction | None = None,
) -> Copies:
    """Find out, without a file, which streams of an open source `target` takes.

    `container` and `covers` (cover pictures by stream index) are the source's own, `target` is
    FFmpeg's name of the muxer. `end` is where the picture is stopped, in seconds of the file.
    """
    routes: dict[int, _Route] = {}
    left: list[StreamFacts] = []
    silent: list[Unsaid] = []
    for stream in container.streams:
        if stream.index == clip.video.index:
            continue
        fact = facts(stream)
        if _rebuilt(fact, stream.metadata.get("handler_name", ""), clip, target):
            continue
        route = _route(stream, fact, target, covers)
        if route is None:
            left.append(fact)
        else:
            routes[stream.index] = route
            silent += _unsaid(stream, route, target)
    chapters = cut_chapters(container.chapters(), clip, end)
    warnings = [
        *_left_behind(left, target),
        *_converted(routes.values(), target),
        *_young(routes.values(), target),
        *_silent(silent),
        *_chaptered(chapters, clip, target),
    ]
    depths = {
        film.index: film.codec_context.reorder_depth
        for film in container.streams.video
        if film.codec_context is not None
    }
    kept = chapters if target in CHAPTERED else []
    lost = {name for one in silent for name in one.names}
    lost |= {"chapters"} if chapters and not kept else set()
    return Copies(
        routes,
        depths,
        kept,
        target,
        warnings=tuple(warnings),
        left=frozenset(fact.index for fact in left),
        lost=frozenset(lost),
    )


_Add = Callable[[Any], Any]
"""Adds a stream to an output and returns it, or None when it has no packets."""


@dataclass(frozen=True, slots=True)
class _Route:
    """How one stream gets into the target."""

    facts: StreamFacts
    add: _Add
    source: str = ""
    """The codec of text that is converted, as FFmpeg calls it; empty for a copy."""
    target: str = ""
    """What it becomes."""
    length: Fraction = Fraction(0)
    """Of a packet of sound, in seconds, where its codec says so."""
    header: bytes = b""
    """Of a file with that stream alone; empty where it is described by its packets."""


class Copies:
    """The streams that travel beside the picture, from one source to one target."""

    def __init__(
        self,
        routes: Mapping[int, _Route],
        depths: Mapping[int, int],
        chapters: list[Any],
        target: str,
        *,
        warnings: tuple[str, ...] = (),
        left: frozenset[int] = frozenset(),
        lost: frozenset[str] = frozenset(),
    ) -> None:
        self.warnings = warnings
        """What is left behind or converted, by name."""
        self.left = left
        """Streams that stay behind, by index in the source."""
        self.lost = lost
        """Chapters, where they are, and what is not said of single streams, by
        `labels.of_stream`."""
        self.converted = frozenset(index for index, route in routes.items() if route.source)
        """Text subtitles that are written in another codec, by index in the source."""
        self.empty: dict[int, set[int]] = {index: set() for index in self.converted}
        """Of each of these, the numbers of the packets, from 0, that were left out: they show
        nothing, such as drawings, or were dropped."""
        self.dropped: dict[int, int] = {}
        """Packets, by stream, whose times ran backwards or that the muxer refused."""
        self._routes = routes
        self._texts = {
            index: Converter(route.source, route.target)
            for index, route in routes.items()
            if route.source
        }
        self._chapters = chapters
        self._target = target
        self._streams: dict[int, Any] = {}
        self._offset = Fraction(0)
        self._last: dict[int, int] = {}
        self._heard: Counter[int] = Counter()
        """Packets, by stream, of text that is converted."""
        self._depths = depths
        """How many frames a film's order of coding runs ahead of that of showing."""

    def board(self, output: Any, offset: Fraction) -> None:
        """Add everything to an open output, before its header.

        `offset` are seconds, added to the time of every packet and chapter.
        """
        self._offset = offset
        for index, route in self._routes.items():
            stream = route.add(output)
            if stream is not None:
                self._streams[index] = stream
        if self._chapters:
            output.set_chapters([_later(chapter, offset) for chapter in self._chapters])

    def mux(self, output: Any, item: Copied) -> None:
        """Write one packet; one of a stream that stays behind, or is out of time, is dropped."""
        stream = self._streams.get(item.stream)
        if stream is None:
            return
        packet = self._converted(item)
        if packet is None:
            return
        dts = self._decoding_time(packet, item.stream)
        last = self._last.get(item.stream, dts)
        if dts < last:
            self._drop(item.stream)
            return
        self._last[item.stream] = dts
        if not packet.duration and self._routes[item.stream].facts.kind in NEEDS_PACKETS:
            # MP4 does not show a last packet of no duration, and a first one has none before it.
            length = self._routes[item.stream].length / packet.time_base
            packet.duration = dts - last or ceil(length)  # rounded down, nothing might be left
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
            self._drop(item.stream)

    def _drop(self, index: int) -> None:
        """Note that the last packet of a stream was not written."""
        self.dropped[index] = self.dropped.get(index, 0) + 1
        if index in self.empty:
            self.empty[index].add(self._heard[index] - 1)

    def losses(self) -> list[str]:
        """What was lost on the way, by name."""
        dropped = [
            f"{self._routes[index].facts}: {count} packets were dropped, for their times run"
            " backwards or the target refused them"
            for index, count in self.dropped.items()
        ]
        if self._target not in ("mp4", "mov"):
            return dropped
        silent = (self._routes[index].facts for index in self._streams.keys() - self._last.keys())
        return dropped + [
            f"{fact} is not carried: it holds no packet, and {spoken(self._target)} leaves it out"
            for fact in sorted(silent, key=lambda fact: fact.index)
            if fact.kind in NEEDS_PACKETS
        ]

    def _converted(self, item: Copied) -> Any:
        """The packet as it is written; None for text that shows nothing."""
        packet, converter = item.packet, self._texts.get(item.stream)
        if converter is None:
            # The muxer says itself where a text ends, and would say it twice.
            is_text = self._routes[item.stream].facts.codec == "mov_text"
            return None if is_text and packet.size <= MOV_TEXT_HEAD else packet
        number = self._heard[item.stream]
        self._heard[item.stream] += 1
        start = packet.pts if packet.pts is not None else packet.dts
        lasts = packet.duration or 0
        if not lasts and self._target in ("mp4", "mov"):
            lasts = round(UNSAID_LENGTH / packet.time_base)
        found = converter.convert(bytes(packet), start or 0, lasts)
        if found is None:
            self.empty[item.stream].add(number)
            return None
        text: Any = av.Packet(found[0])
        text.time_base = packet.time_base
        text.pts = text.dts = start
        text.duration = found[1]
        text.is_keyframe = True
        return text

    def _decoding_time(self, packet: Any, index: int) -> int:
        """The packet's dts, or where it says none, the one that follows from those before.

        Matroska knows no dts; of films with B-frames some packets stay without.
        """
        last = self._last.get(index)
        if packet.dts is not None:
            return int(packet.dts)
        step = packet.duration or 1
        if last is None:
            return (packet.pts or 0) - self._depths.get(index, 0) * step
        return last + step if packet.pts is None else min(packet.pts, last + step)


def _ticks(seconds: Fraction, unit: Any) -> int:
    return round(seconds * Fraction(unit.denominator, unit.numerator))


def _later(chapter: Mapping[str, Any], offset: Fraction) -> dict[str, Any]:
    ticks = _ticks(offset, chapter["time_base"])
    return {**chapter, "start": chapter["start"] + ticks, "end": chapter["end"] + ticks}


def _rebuilt(fact: StreamFacts, handler: str, clip: Clip, target: str) -> bool:
    """Data streams that the muxers make anew: the text track of chapters, and timecode.

    PyAV shows no more of a data stream than its handler's name; telemetry has one of its own.
    Other containers than MP4 and MOV hold neither as a stream.
    """
    if fact.kind != "data" or target not in CHAPTERED or not clip.container.startswith("mov"):
        return False
    name = handler.lower().replace(" ", "")
    texts = clip.chapters > 0 and (not name or "text" in name or "subtitle" in name)
    timed = "timecode" in dict(clip.video_metadata)
    times = not name or any(word in name for word in ("timecode", "tcd", "tmcd"))
    return texts or (timed and times)


def _reason(fact: StreamFacts, target: str) -> str:
    """Why a stream stays behind."""
    if fact.kind == "audio" and target == "matroska":
        return (
            f"what writes Matroska here does not know {fact.codec} in it; make FLAC of it first:"
            " ffmpeg -i IN -map 0 -c copy -c:a flac OUT.mkv"
        )
    return f"{spoken(target)} does not take it"


def _unsaid(stream: Any, route: _Route, target: str) -> Iterator[Unsaid]:
    """What the target does not say of a stream that it takes."""
    fact = route.facts
    if (unkept := unsaid(target, fact, dict(stream.metadata))) is not None:
        yield unkept
    if fact.kind == "audio" and stream.codec_context is not None:
        layout = layout_of(stream.codec_context).name
        if not keeps_layout(target, fact.codec, layout, route.header):
            words = f"{fact}: {spoken(target)} does not keep the layout of its channels, {layout}"
            yield Unsaid(fact.index, (LAYOUT,), words)


def _left_behind(left: list[StreamFacts], target: str) -> Iterator[str]:
    """Every stream by name; of very many of a kind, their number."""
    counts = Counter(fact.kind for fact in left)
    for fact in left:
        if counts[fact.kind] <= NAMED:
            yield f"{fact} is not carried: {_reason(fact, target)}"
    for kind, count in counts.items():
        if count > NAMED:
            first = next(fact for fact in left if fact.kind == kind)
            yield (
                f"{count} {kind} streams are not carried, the first of them {first}:"
                f" {spoken(target)} does not take them"
            )


def _young(routes: Iterable[_Route], target: str) -> Iterator[str]:
    """What old readers of the file will not play as it is."""
    for route in routes:
        codec = route.facts.codec
        if target == "mp4" and codec.startswith("pcm_") and codec != "pcm_s16le":
            yield (
                f"{route.facts}: {codec} in MP4 is new, and FFmpeg up to 5.1 plays noise for it;"
                " write a .mov file if it is to be read there"
            )


def _converted(routes: Iterable[_Route], target: str) -> Iterator[str]:
    texts = [route for route in routes if route.source]
    for route in texts[:NAMED]:
        yield (
            f"{route.facts} becomes {route.target}, for {spoken(target)} does not take it as it is:"
            " bold, italic and underlined words stay so, other styles and places are lost"
        )
    if len(texts) > NAMED:
        yield f"so do {len(texts) - NAMED} more subtitle streams"


def _silent(found: list[Unsaid]) -> Iterator[str]:
    for lost in found[:NAMED]:
        yield lost.words
    if len(found) > NAMED:
        yield f"nor all that is said of {len(found) - NAMED} more streams"


def _chaptered(chapters: list[Any], clip: Clip, target: str) -> Iterator[str]:
    """What happens to chapters that the target does not hold as they are."""
    if chapters and target not in CHAPTERED:
        yield f"{len(chapters)} chapters are not carried: {spoken(target)} does not take them"
    if chapters and target in ("mp4", "mov"):
        # Their chapters are a track of text, which starts with its first sample.
        begins = float(chapters[0]["start"] * chapters[0]["time_base"])
        zero = float(clip.video_start) if clip.cut else min(0.0, float(clip.video_start))
        if begins - zero > 1e-3:
            yield (
                f"the first chapter, from {begins:.3f} s on, starts at 0: {spoken(target)} holds"
                " no time before the first chapter"
            )


def _route(
    stream: Any, fact: StreamFacts, target: str, covers: Mapping[int, bytes]
) -> _Route | None:
    """How a stream gets into the target; None when it does not."""
    if fact.kind not in CARRIED_KINDS.get(target, ()):
        return None
    if fact.kind == "cover" and target == "matroska":
        # The muxer refuses covers as streams, but an attached picture of these types is one.
        names = COVER_FILES.get(fact.codec)
        cover = covers.get(fact.index)
        if names is None or cover is None:
            return None
        tags = {"filename": names[0], **stream.metadata, "mimetype": names[1]}
        copy = _Route(fact, lambda output: _attach(output, tags, cover))
    else:
        copy = _Route(
            fact, lambda output: _template(output, stream, target), length=_packet_length(stream)
        )
    if (header := _trial(target, fact.codec, copy.add)) is not None:
        return replace(copy, header=header)
    context = getattr(stream, "codec_context", None)
    codec = "" if context is None else context.codec.canonical_name
    if fact.kind != "subtitle" or not convertible(codec):
        return None
    text = TEXTS[target]
    converted = _Route(fact, lambda output: _text(output, stream, text, target), codec, text)
    return None if _trial(target, text, converted.add) is None else converted


def _packet_length(stream: Any) -> Fraction:
    """Seconds of sound in a packet; 0 where the codec has no packets of one length."""
    context = stream.codec_context
    if stream.type != "audio" or context is None:
        return Fraction(0)
    return Fraction(context.frame_size or 0, context.sample_rate or 1)


def _attach(output: Any, tags: Mapping[str, str], data: bytes) -> None:
    added = output.add_attachment(tags["filename"], tags["mimetype"], data)
    if "title" in tags:
        added.metadata["title"] = tags["title"]


def _template(output: Any, stream: Any, target: str) -> Any:
    # Not opaque, PyAV would look for an encoder of the same name to copy video.
    copy = output.add_stream_from_template(stream, opaque=True)
    _name_alike(copy, stream, target)
    return copy


def _text(output: Any, stream: Any, codec: str, target: str) -> Any:
    """A stream of text that is converted."""
    copy = output.add_stream(codec)
    copy.codec_context.subtitle_header = HEADER
    unit = TEXT_UNIT if codec == "mov_text" else MILLISECOND
    copy.codec_context.time_base = copy.time_base = unit
    _name_alike(copy, stream, target)
    return copy


def _name_alike(copy: Any, stream: Any, target: str) -> None:
    # Neither follows the template by itself; attachments need their names for the header.
    copy.metadata.update(stream_tags(target, stream.metadata))
    copy.disposition = stream.disposition


def _trial(target: str, codec: str, add: _Add) -> bytes | None:
    """A header with that stream alone; None when it cannot be written.

    MP4 and MOV describe a stream only at the end, where it is too late to refuse it; fragmented
    they do so at once.
    """
    early = target in ("mp4", "mov") and codec not in DESCRIBED_BY_PACKETS
    options = {"movflags": FRAGMENTED} if early else {}
    written = io.BytesIO()
    output: Any = av.open(written, "w", format=target, options=options, **TEXT_ERRORS)
    try:
        add(output)
        output.start_encoding()
    except (ValueError, av.FFmpegError):
        return None
    finally:
        # What the trailer says without packets is of no interest: the header was the question.
        with suppress(ValueError, av.FFmpegError):
            output.close()
    return written.getvalue() if early else b""
