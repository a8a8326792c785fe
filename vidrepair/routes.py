"""How one stream gets into a target: found out with its own muxer, in memory, before the work."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av

from vidrepair.containers import facts
from vidrepair.exact_time import MILLISECOND
from vidrepair.labels import FRAGMENTED, TEXT_ERRORS, stream_tags, stub_packet
from vidrepair.subtitles import HEADER, convertible
from vidrepair.tags import StreamFacts
from vidrepair.tracks import form_of

# What the muxers take at all; tried below besides, since a passed trial alone proves nothing.
CARRIED_KINDS = {
    "matroska": ("video", "audio", "subtitle", "attachment", "cover"),
    "mp4": ("video", "audio", "subtitle", "cover"),
    "mov": ("video", "audio", "subtitle"),
    "webm": ("video", "audio", "subtitle"),
}
# What text subtitles become where they cannot be copied.
TEXTS = {"matroska": "subrip", "mp4": "mov_text", "mov": "mov_text", "webm": "webvtt"}
TEXT_UNIT = Fraction(1, 240_000)
"""Of text that is converted for MP4 and MOV. Their muxer takes a text for ended once the ticks of
any other stream are more than its own: coarser ones would end it too soon, and put off one that
begins meanwhile."""
# Streams that MP4 and MOV cannot describe before they have seen a packet.
DESCRIBED_BY_PACKETS = ("ac3", "eac3", "mlp", "truehd", "vc1", "dnxhd")
COVER_FILES = {"png": ("cover.png", "image/png"), "mjpeg": ("cover.jpg", "image/jpeg")}

Add = Callable[[Any], Any]
"""Adds a stream to an output and returns it, or None when it has no packets."""


@dataclass(frozen=True, slots=True)
class Route:
    """How one stream gets into the target."""

    facts: StreamFacts
    add: Add
    source: str = ""
    """The codec of text that is converted, as FFmpeg calls it; empty for a copy."""
    target: str = ""
    """What it becomes."""
    length: Fraction = Fraction(0)
    """Of a packet of sound, in seconds, where its codec says so."""
    said: Mapping[str, str] | None = None
    """What a copy of sound or of a film says of itself; None where its packets do."""


def find_route(
    stream: Any, fact: StreamFacts, target: str, covers: Mapping[int, bytes]
) -> Route | None:
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
        copy = Route(fact, lambda output: _attach(output, tags, cover))
    else:
        copy = Route(
            fact, lambda output: _template(output, stream, target), length=_packet_length(stream)
        )
    if (written := _trial(target, fact.codec, copy.add)) is not None:
        return replace(copy, said=_said(written, fact.kind))
    context = getattr(stream, "codec_context", None)
    codec = "" if context is None else context.codec.canonical_name
    if fact.kind != "subtitle" or not convertible(codec):
        return None
    text = TEXTS[target]
    converted = Route(fact, lambda output: _text(output, stream, text, target), codec, text)
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


def _trial(target: str, codec: str, add: Add) -> bytes | None:
    """A file with that stream alone, empty; None when not even its header can be written.

    MP4 and MOV describe a stream only at the end, where it is too late to refuse it; fragmented
    they do so at once.
    """
    early = target in ("mp4", "mov") and codec not in DESCRIBED_BY_PACKETS
    options = {"movflags": FRAGMENTED} if early else {}
    written = io.BytesIO()
    output: Any = av.open(written, "w", format=target, options=options, **TEXT_ERRORS)
    try:
        stream = add(output)
        output.start_encoding()
        if target in ("matroska", "webm") and getattr(stream, "type", "") == "video":
            output.mux(stub_packet(stream))
    except (ValueError, av.FFmpegError):
        return None
    finally:
        # What the trailer says without packets is of no interest: the header was the question.
        with suppress(ValueError, av.FFmpegError):
            output.close()
    return written.getvalue()


def _said(written: bytes, kind: str) -> Mapping[str, str] | None:
    """What a reader finds of a sound or a film in a file that holds no more."""
    if kind not in ("audio", "video"):
        return None
    with suppress(ValueError, av.FFmpegError), av.open(io.BytesIO(written), **TEXT_ERRORS) as read:
        for stream in read.streams:
            return dict(form_of(stream, facts(stream)))
    return None
