"""Text subtitles: the words and the plain styles of one codec, written in another.

A packet holds one cue, its time is the packet's. Bold, italic and underlined stay; places,
colours, fonts, karaoke and drawings do not.
"""

from __future__ import annotations

import html
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

BOLD, ITALIC, UNDERLINED = 1, 2, 4
"""Bits of a face, as 3GPP TS 26.245 section 5.17 has them."""
LETTERS = {BOLD: "b", ITALIC: "i", UNDERLINED: "u"}
WRITABLE = ("subrip", "webvtt", "mov_text")
"""FFmpeg's names of the codecs that `convert` writes."""
HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n"
    b"[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour,"
    b" OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing,"
    b" Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0"
    b"\r\n\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)
"""What FFmpeg's encoders want to hear before the first cue, as its SubRip decoder says it."""
FONT_SIZE = 16
"""Of a styled piece of mov_text; players scale it."""
_MARKUP = re.compile(r"<(/?)(b|i|u|s|font|br)\b[^<>]*>|\{\\[^{}]*\}", re.IGNORECASE)
"""What is no tag of SubRip is a word: `<Bob>` says who speaks."""
_WEBVTT = re.compile(
    r"<(/?)(b|i|u|c|v|lang|ruby|rt)\b[^<>]*>|<[\d:.]+>|\{\\[^{}]*\}", re.IGNORECASE
)
_OVERRIDE = re.compile(r"\{([^{}]*)\}")
_SWITCH = re.compile(r"\\(b|i|u|p)(\d{1,9})(?![a-z\d])|\\(r)")
_NO_LETTER = re.compile(r"&#[1-9][0-9]{7,};?")
"""A number beyond all letters, which Python may refuse to read."""
_ZEROS = re.compile(r"(?<=&#)0+(?=[0-9])")
"""Before a number; very many of them it may refuse, too."""
_LONGEST = 0xFFFF
"""Bytes of text that mov_text can hold."""
MOST_BYTES = 1 << 18
"""Of a packet of text that are read; a cue has a few hundred."""
MOST_SHOWN = 32
"""Cues on the screen at once; of more, the latest."""


@dataclass(frozen=True, slots=True)
class Run:
    """A piece of a cue in one face."""

    text: str
    face: int = 0


Cue = tuple[Run, ...]


class Converter:
    """The packets of one stream, one after the other, written in another codec.

    Both are FFmpeg's names of codecs; `source` is `convertible`, `target` one of WRITABLE.
    """

    def __init__(self, source: str, target: str) -> None:
        self._read, self._write = _READERS[source], _WRITERS[target]
        self._alone = target == "mov_text"
        """One cue ends where the next begins: what is on the screen still is said again."""
        self._shown: list[tuple[int, Cue]] = []

    def convert(self, payload: bytes, start: int, lasts: int) -> tuple[bytes, int] | None:
        """A packet's payload and how long it lasts; None for one that shows nothing.

        Times are in one unit, whichever. Of cues that overlap in mov_text, the later one shows
        both until both have ended.
        """
        cue = _tidied(self._read(payload[:MOST_BYTES]))
        if not cue:
            return None
        if not self._alone:
            return self._write(cue), lasts
        shown = [(end, runs) for end, runs in self._shown if end > start]
        self._shown = [*shown, (start + lasts, cue)][-MOST_SHOWN:]
        joined: list[Run] = []
        for _, runs in self._shown:
            joined += [*([Run("\n")] if joined else []), *runs]
        return self._write(tuple(joined)), max(end for end, _ in self._shown) - start


def convertible(source: str) -> bool:
    """Whether packets of that codec can be converted at all: they hold text."""
    return source in _READERS


def _tidied(runs: Iterator[Run]) -> Cue:
    """Equal faces joined, no empty lines, nothing around it."""
    pieces = [(char, run.face) for run in runs for char in run.text.replace("\r", "")]
    kept: list[tuple[str, int]] = []
    for char, face in pieces:
        if char == "\0" or (char == "\n" and (not kept or kept[-1][0] == "\n")):
            continue  # an empty line ends a cue of SubRip and WebVTT
        kept.append((char, face))
    while kept and kept[-1][0].isspace():
        kept.pop()
    if not any(not char.isspace() for char, _ in kept):
        return ()
    faces = groupby(kept, key=lambda pair: pair[1])
    return tuple(Run("".join(char for char, _ in group), face) for face, group in faces)


def _read_markup(payload: bytes, markup: re.Pattern[str] = _MARKUP) -> Iterator[Run]:
    """SubRip, with the tags of HTML that its players know, and ASS overrides that some leave."""
    text = payload.decode("utf-8", "replace")
    face, at = 0, 0
    for tag in markup.finditer(text):
        yield Run(text[at : tag.start()], face)
        at = tag.end()
        name = (tag[2] or "").lower()
        if name == "br":
            yield Run("\n", face)
        bit = {"b": BOLD, "i": ITALIC, "u": UNDERLINED}.get(name, 0)
        face = face & ~bit if tag[1] else face | bit
    yield Run(text[at:], face)


def _read_webvtt(payload: bytes) -> Iterator[Run]:
    """WebVTT has tags of its own, and entities, of which `html` knows more than enough."""
    for run in _read_markup(payload, _WEBVTT):
        letters = _NO_LETTER.sub("\ufffd", _ZEROS.sub("", run.text))
        yield Run(html.unescape(letters), run.face)


def _read_ass(payload: bytes) -> Iterator[Run]:
    r"""A dialogue line as Matroska holds it: eight fields, then the text with {\overrides}."""
    text = payload.decode("utf-8", "replace").split(",", 8)[-1]
    face, drawing = 0, False
    for place, part in enumerate(_OVERRIDE.split(text)):
        if place % 2 == 0:
            if not drawing:
                words = part.replace("\\N", "\n").replace("\\n", " ").replace("\\h", "\u00a0")
                yield Run(words, face)
            continue
        for name, value, reset in _SWITCH.findall(part):
            if reset:
                face = 0
            elif name == "p":
                drawing = int(value) > 0
            else:
                bit = {"b": BOLD, "i": ITALIC, "u": UNDERLINED}[name]
                # Bold may be a weight, of which 400 is the usual one.
                face = face | bit if int(value) not in (0, 100, 200, 300, 400) else face & ~bit


def _read_plain(payload: bytes) -> Iterator[Run]:
    yield Run(payload.decode("utf-8", "replace"))


def _read_mov_text(payload: bytes) -> Iterator[Run]:
    """A length, the text, then boxes; `styl` has the faces (3GPP TS 26.245 section 5.17)."""
    length = int.from_bytes(payload[:2], "big")
    raw, boxes = payload[2 : 2 + length], payload[2 + length :]
    utf16 = raw[:2] in (b"\xfe\xff", b"\xff\xfe")
    text = raw.decode("utf-16" if utf16 else "utf-8", "replace")
    faces = [0] * len(text)
    box = done = 0
    while box + 8 <= len(boxes):
        size, kind = struct.unpack_from(">I4s", boxes, box)
        if size < 8:
            break
        if kind == b"styl":
            for at in range(box + 10, min(box + size, len(boxes)) - 11, 12):
                start, end, _, face = struct.unpack_from(">HHHB", boxes, at)
                if start >= done:  # they are in order, and do not overlap
                    faces[start:end] = [face & 7] * len(faces[start:end])
                    done = end
        box += size
    for char, face in zip(text, faces, strict=True):
        yield Run(char, face)


def _write_markup(cue: Cue, escape: Callable[[str], str]) -> bytes:
    parts = []
    for run in cue:
        letters = [letter for bit, letter in LETTERS.items() if run.face & bit]
        opened = "".join(f"<{letter}>" for letter in letters)
        closed = "".join(f"</{letter}>" for letter in reversed(letters))
        parts.append(f"{opened}{escape(run.text)}{closed}")
    return "".join(parts).encode()


def _write_subrip(cue: Cue) -> bytes:
    return _write_markup(cue, str)


def _write_webvtt(cue: Cue) -> bytes:
    return _write_markup(cue, lambda text: html.escape(text, quote=False))


def _write_mov_text(cue: Cue) -> bytes:
    text = "".join(run.text for run in cue).encode()[:_LONGEST].decode("utf-8", "ignore").encode()
    styles, at = [], 0
    for run in cue:
        end = at + len(run.text)
        if run.face and end <= _LONGEST:
            styles.append(struct.pack(">HHHBB4B", at, end, 1, run.face, FONT_SIZE, *[255] * 4))
        at = end
    box = b""
    if styles:
        size = 10 + 12 * len(styles)
        box = struct.pack(">I4sH", size, b"styl", len(styles)) + b"".join(styles)
    return struct.pack(">H", len(text)) + text + box


_READERS: dict[str, Callable[[bytes], Iterator[Run]]] = {
    "subrip": _read_markup,
    "webvtt": _read_webvtt,
    "ass": _read_ass,
    "mov_text": _read_mov_text,
    "text": _read_plain,
}
_WRITERS: dict[str, Callable[[Cue], bytes]] = {
    "subrip": _write_subrip,
    "webvtt": _write_webvtt,
    "mov_text": _write_mov_text,
}
