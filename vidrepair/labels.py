"""What is written on streams and files: languages, titles, marks, tags; and what of it is kept.

Matroska takes nearly everything. MP4 and MOV know some marks, a few hundred languages and the tags
of a list; what they do with the rest is found by writing a file of a few hundred bytes into memory
and reading it back, the only sure way.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av

from vidrepair.tags import StreamFacts, kept_tags

# Tags that are not UTF-8 survive a copy byte for byte; PyAV 19 does so on its own and no
# longer knows the option.
TEXT_ERRORS: dict[str, Any] = (
    {"metadata_errors": "surrogateescape"} if int(av.__version__.split(".")[0]) < 19 else {}
)
_NOT_TRIED = ("filename", "mimetype", "timecode", "reel_name")
TOLD_APART = ("title", "name", "language", *_NOT_TRIED)
"""Tags of a stream that have a meaning of their own."""
WRITTEN_BY_MUXERS = ("creation_time", "handler_name")
"""Of a stream, by each in its own way; the file's own creation_time is kept."""
_BIBLIOGRAPHIC = (
    "alb=sqi arm=hye baq=eus bur=mya chi=zho cze=ces dut=nld fre=fra geo=kat ger=deu gre=ell"
    " ice=isl mac=mkd mao=mri may=msa per=fas rum=ron slo=slk tib=bod wel=cym"
)
_TWO_LETTERS = (
    "ar=ara bg=bul ca=cat cs=ces cy=cym da=dan de=deu el=ell en=eng es=spa et=est eu=eus fa=fas"
    " fi=fin fr=fra ga=gle gl=glg he=heb hi=hin hr=hrv hu=hun hy=hye id=ind is=isl it=ita ja=jpn"
    " ka=kat ko=kor lt=lit lv=lav mk=mkd ms=msa nb=nob nl=nld nn=nno no=nor pl=pol pt=por ro=ron"
    " ru=rus sk=slk sl=slv sq=sqi sr=srp sv=swe ta=tam te=tel th=tha tr=tur uk=ukr ur=urd vi=vie"
    " zh=zho"
)
_MOV_CODES = (
    "deu=ger ell=gre eus=baq cym=wel fas=per hye=arm isl=ice kat=geo mkd=mac msa=may mya=bur"
    " nld=dut sqi=alb zho=chi bod=tib"
)


def _pairs(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in text.split())}


BIBLIOGRAPHIC = _pairs(_BIBLIOGRAPHIC)
"""The older one of the two codes that ISO 639-2 has for a language, and the other."""
TWO_LETTERS = _pairs(_TWO_LETTERS)
"""ISO 639-1, which Matroska takes and MP4 does not, and ISO 639-2."""
APPLE = {"sve": "swe", "hr ": "hrv", "sr ": "srp", "fo ": "fao", "pa ": "pan", "iri": "gle"}
"""What FFmpeg calls some of the languages that MOV numbers, and ISO 639-2."""
MOV_CODES = _pairs(_MOV_CODES) | {long: short for short, long in APPLE.items()}
"""What MOV's muxer has to be told instead of the code of ISO 639-2; it drops what it does not
know."""
TOLD_TWICE = {"captions": "hearing_impaired", "descriptions": "visual_impaired"}
"""Marks for which MP4 has one word; FFmpeg reads both of a pair where one is written."""
LOST_WITH = {
    "audio": "audio",
    "subtitle": "subtitles",
    "attachment": "attachments",
    "cover": "covers",
    "data": "data",
    "unknown": "data",
    "video": "video",
}
"""What is lost with a stream of that kind, as `--allow-loss` takes it."""
FRAGMENTED = "+empty_moov+default_base_moof"
"""Options that let MP4 and MOV describe everything before the first packet."""

STEREO_TAG = "stereo_mode"
WEBM_STEREO = ("mono", "left_right", "right_left", "top_bottom", "bottom_top")
"""What WebM takes of it; FFmpeg writes no header with another."""

Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """What a reader finds on a stream or a file."""

    tags: Tags
    """Keys in small letters."""
    marks: frozenset[str] = frozenset()
    """FFmpeg's dispositions."""


@dataclass(frozen=True, slots=True)
class Unsaid:
    """What a container does not say of one stream."""

    stream: int
    """Index in the source."""
    facts: tuple[str, ...]
    """As `verify` calls them: language, title, disposition forced, tag note."""
    words: str

    @property
    def names(self) -> frozenset[str]:
        """By the stream, as `of_stream` has them."""
        return frozenset(of_stream(self.stream, fact) for fact in self.facts)


def of_stream(stream: int, fact: str) -> str:
    """The name of a loss that concerns one stream of the source alone."""
    return f"{fact} of stream {stream}"


def meaning(language: str) -> str:
    """One code for all codes of a language; empty where none is said."""
    code = APPLE.get(language, language)
    code = TWO_LETTERS.get(code, code)
    return "" if code == "und" else BIBLIOGRAPHIC.get(code, code)


def language_for(container: str, language: str) -> str:
    """The code for a language that the muxer of that name keeps, if there is one."""
    code = APPLE.get(language, language)
    if container not in ("mp4", "mov"):
        return code
    # MP4 has room for three letters: of en-US it keeps that it is English.
    code = meaning(code.replace("_", "-").split("-")[0].lower()) if len(code) != 3 else code
    return MOV_CODES.get(meaning(code), meaning(code)) if container == "mov" else code


def stream_tags(container: str, found: dict[str, str]) -> dict[str, str]:
    """The tags of a stream as they are to be written."""
    return {
        key: language_for(container, value) if key.lower() == "language" else value
        for key, value in kept_tags(found).items()
        if container != "webm" or key.lower() != STEREO_TAG or value in WEBM_STEREO
    }


def unsaid(container: str, facts: StreamFacts, found: dict[str, str]) -> Unsaid | None:
    """What the container will not say of a stream; `found` are its tags in the source."""
    written = stream_tags(container, found)
    tags = {
        key: value
        for key, value in written.items()
        if key.lower() not in (*WRITTEN_BY_MUXERS, *_NOT_TRIED)
    }
    if facts.kind == "cover":
        # Covers have no tags of their own, but for the name of their file.
        lost = sorted(key for key in tags if key.lower() not in TOLD_APART)
        return _told(facts, "", [], lost, container)
    if facts.kind not in ("video", "audio", "subtitle"):
        return None
    kept = _tried(
        container, _stub_for(container, facts), tuple(sorted(tags.items())), facts.disposition
    )
    there = dict(kept.tags)
    language = facts.language
    if meaning(there.get("language", "")) == meaning(language):
        language = ""
    marks = [mark for mark in facts.disposition if mark not in kept.marks]
    lost = sorted(
        key
        for key, value in tags.items()
        if key.lower() not in ("language", "name") and there.get(key.lower()) != value
    )
    lost += sorted(kept_tags(found).keys() - written.keys())
    return _told(facts, language, marks, lost, container)


def _stub_for(container: str, facts: StreamFacts) -> str:
    """The codec of a stream that is labelled like that one: Matroska's text has marks of its own,
    its pictures have tags, and WebVTT says some marks by its codec.
    """
    if container in ("mp4", "mov"):
        return "pcm_s16le" if container == "mov" else "aac"
    if facts.kind != "subtitle":
        return "vp8" if facts.kind == "video" else "opus"
    return "webvtt" if container == "webm" or facts.codec == "webvtt" else "subrip"


def _told(
    facts: StreamFacts, language: str, marks: list[str], tags: list[str], container: str
) -> Unsaid | None:
    said = [("the language", [language] if language else []), ("the mark", marks)]
    said.append(("the tag", tags))
    parts = [
        f"{what}{'s' if len(names) > 1 else ''} {', '.join(names)}" for what, names in said if names
    ]
    if not parts:
        return None
    names = [
        *(["language"] if language else []),
        *(f"disposition {mark}" for mark in marks),
        *("title" if key.lower() == "title" else f"tag {key.lower()}" for key in tags),
    ]
    words = f"{facts}: {spoken(container)} does not keep {' and '.join(parts)}"
    return Unsaid(facts.index, tuple(names), words)


def spoken(container: str) -> str:
    """The name of a container for people."""
    names = {"matroska": "Matroska", "webm": "WebM", "yuv4mpegpipe": "y4m"}
    names["image2"] = "a row of pictures"
    return names.get(container, container.upper())


@dataclass(frozen=True, slots=True)
class FileTags:
    """How the tags of a file get into a container."""

    all: bool
    """MP4 and MOV are told to write all tags, in a way of their own."""
    lost: tuple[str, ...]
    """Keys that a reader will not find as they are."""


def file_tags(container: str, tags: Tags, *, cover: bool) -> FileTags:
    """How to write the tags of a file so that as many as can be are kept.

    With `cover`, MP4 holds one, and FFmpeg's muxer would lose it if told to write all tags: a
    picture is worth more than they are.
    """
    lost = _not_kept(container, tags, "") if tags else ()
    if not lost or cover or container not in ("mp4", "mov"):
        return FileTags(all=False, lost=lost)
    return FileTags(all=True, lost=_not_kept(container, tags, "+use_metadata_tags"))


def _not_kept(container: str, tags: Tags, flags: str) -> tuple[str, ...]:
    codec = _stub_for(container, StreamFacts(0, "audio", ""))
    data = _written(container, codec, file_tags=tags, flags=flags)
    with av.open(io.BytesIO(data), **TEXT_ERRORS) as read:
        there = {key.lower(): value for key, value in kept_tags(read.metadata).items()}
    return tuple(key for key, value in tags if there.get(key.lower()) != value)


@lru_cache(maxsize=256)
def _tried(container: str, codec: str, tags: Tags, marks: tuple[str, ...]) -> Labels:
    """The labels of a stream as they are read from a file."""
    data = _written(container, codec, tags=tags, marks=marks)
    with av.open(io.BytesIO(data), **TEXT_ERRORS) as read:
        # The second one: the first stream of a kind is marked as the default one.
        stream: Any = read.streams[1]
        found = {key.lower(): value for key, value in kept_tags(stream.metadata).items()}
        names = (
            flag.name for flag in av.stream.Disposition if flag.name and stream.disposition & flag
        )
        return Labels(tuple(found.items()), frozenset(names))


def _written(
    container: str,
    codec: str,
    *,
    tags: Tags = (),
    marks: Sequence[str] = (),
    file_tags: Tags = (),
    flags: str = "",
) -> bytes:
    """A file of two streams of that codec, the second with these labels."""
    small = io.BytesIO()
    options = {"movflags": FRAGMENTED + flags} if container in ("mp4", "mov") else {}
    output: Any = av.open(small, "w", format=container, options=options, **TEXT_ERRORS)
    try:
        streams = [_stub(output, codec) for _ in range(2)]
        streams[1].metadata.update(dict(tags))
        streams[1].disposition = _bits(marks)
        output.metadata.update(dict(file_tags))
        output.start_encoding()
        for stream in streams if container in ("matroska", "webm") else ():
            output.mux(stub_packet(stream))
    finally:
        with suppress(av.FFmpegError, ValueError):
            output.close()
    return small.getvalue()


def stub_packet(stream: Any) -> Any:
    """A packet that holds nothing: without one, nothing is read of a stream of Matroska."""
    packet: Any = av.Packet(b"\0\0")
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = 0
    packet.duration, packet.is_keyframe = 10, True
    return packet


def _stub(output: Any, codec: str) -> Any:
    if codec in ("pcm_s16le", "aac"):
        return output.add_stream(codec, rate=48000)
    if codec == "opus":
        return output.add_mux_stream(codec, 48000)
    if codec == "vp8":
        return output.add_mux_stream(codec, 25, width=16, height=16)
    stream = output.add_mux_stream(codec)
    stream.time_base = Fraction(1, 1000)
    return stream


def _bits(marks: Sequence[str]) -> Any:
    bits = sum(int(av.stream.Disposition[mark]) for mark in marks)
    return av.stream.Disposition(bits & ~int(av.stream.Disposition.attached_pic))
