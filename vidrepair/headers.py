"""What FFmpeg's muxers cannot be told of a film is put into the header of the finished file.

Nothing in the file moves: the film is muxed under a title with room at its end, and the room is
then spent on what is missing. Matroska gets DisplayWidth and DisplayHeight (RFC 9559, 5.1.4.1.28)
and MasteringMetadata, MaxCLL, MaxFALL; MP4 and MOV get the boxes pasp,
mdcv and clli (ISO/IEC 14496-12, 12.1.4 to 12.1.8).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import nextafter
from pathlib import Path
from typing import BinaryIO

from vidrepair.boxes import boxes_in, find_box, make_box
from vidrepair.ebml import SEGMENT, elements_in, make_element, make_whole, renew_checksum
from vidrepair.errors import VidrepairError
from vidrepair.hdr import CHROMATICITY, LUMINANCE, Hdr10, steps

ROOM = 240
"""Bytes kept free in a Matroska track: all that is ever missing takes up to 190."""
FILLER = "\N{MIDDLE DOT}"
"""Two bytes of UTF-8, and no title ends in so many of them."""
MOST = 16 << 20
"""Bytes of a Matroska file that its tracks lie in: they come before covers, fonts and pictures."""
TRACKS, TRACK, NAME, VOID = 0x1654AE6B, 0xAE, 0x536E, 0xEC
VIDEO, COLOUR, WIDTH, HEIGHT = 0xE0, 0x55B0, 0xB0, 0xBA
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT, ASPECT = 0x54B0, 0x54BA, 0x54B2, 3
MAX_CLL, MAX_FALL, MASTERING = 0x55BC, 0x55BD, 0x55D0


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of the film's track has to say, and FFmpeg's muxer does not."""

    container: str
    """FFmpeg's name of the muxer."""
    title: str = ""
    """The track's own."""
    sar: Fraction | None = None
    hdr: Hdr10 | None = None

    @property
    def placeholder(self) -> str:
        """The title to mux the film under."""
        room = ROOM if _is_matroska(self.container) else len(_boxes(self))
        return self.title + FILLER * (room // 2)


def complete(path: Path, header: Header) -> None:
    """Put into a finished file what its header lacks.

    Raises VidrepairError when the place kept for it is not found.
    """
    with path.open("r+b") as file:
        done = (
            _matroska(file, header) if _is_matroska(header.container) else _quicktime(file, header)
        )
    if not done:
        raise VidrepairError(
            f"the header of {path.name} is not as FFmpeg writes it; please report this,"
            " and write to another container meanwhile"
        )


def _is_matroska(container: str) -> bool:
    return container in ("matroska", "webm")


def _matroska(file: BinaryIO, header: Header) -> bool:
    """Rewrite the film's track, in its place and size, and the checksum of all tracks."""
    data = file.read(MOST)
    segment = next((start for kind, start, _ in elements_in(data, 0) if kind == SEGMENT), 0)
    for kind, start, size in elements_in(data, segment):
        if kind == TRACKS:
            tracks = bytearray(data[start : start + size])
            if not _fill_track(tracks, header):
                return False
            renew_checksum(tracks)
            file.seek(start)
            file.write(tracks)
            return True
    return False


def _fill_track(tracks: bytearray, header: Header) -> bool:
    for kind, start, size in elements_in(bytes(tracks), 0):
        track = bytes(tracks[start : start + size])
        if kind != TRACK or header.placeholder.encode() not in track:
            continue
        filled = b"".join(_track_parts(track, header))
        room = size - len(filled)
        if room < 9:
            return False
        tracks[start : start + size] = filled + make_element(VOID, bytes(room - 9), 8)
        return True
    return False


def _track_parts(track: bytes, header: Header) -> Iterator[bytes]:
    for kind, start, size in elements_in(track, 0):
        content = track[start : start + size]
        if kind == VIDEO:
            yield make_element(VIDEO, b"".join(_video_parts(content, header)))
        elif kind == NAME:
            yield make_element(NAME, header.title.encode()) if header.title else b""
        elif kind != VOID:
            yield make_element(kind, content)


def _video_parts(video: bytes, header: Header) -> Iterator[bytes]:
    sizes, coloured = {}, False
    for kind, start, size in elements_in(video, 0):
        content = video[start : start + size]
        if kind in (WIDTH, HEIGHT):
            sizes[kind] = int.from_bytes(content, "big")
        if kind == COLOUR:
            coloured = True
            content += _brightness(header.hdr)
        if header.sar is None or kind not in (DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT):
            yield make_element(kind, content)
    if header.sar is not None:
        yield from _display(Fraction(sizes[WIDTH]), sizes[HEIGHT], header.sar)
    if header.hdr is not None and not coloured:
        yield make_element(COLOUR, _brightness(header.hdr))


def _display(width: Fraction, height: int, sar: Fraction) -> Iterator[bytes]:
    """In samples where that is exact, else as the aspect of the whole picture."""
    wide, high, unit = width * sar, Fraction(height), 0
    if wide.denominator != 1:
        shape = wide / high
        wide, high, unit = Fraction(shape.numerator), Fraction(shape.denominator), ASPECT
    yield make_whole(DISPLAY_WIDTH, int(wide)) + make_whole(DISPLAY_HEIGHT, int(high))
    if unit:
        yield make_whole(DISPLAY_UNIT, unit)


def _brightness(hdr: Hdr10 | None) -> bytes:
    """Elements of a Colour element."""
    said = b""
    if hdr is not None and hdr.light is not None:
        said += make_whole(MAX_CLL, hdr.light.most) + make_whole(MAX_FALL, hdr.light.mean)
    if hdr is not None and hdr.display is not None:
        places = steps(hdr.display)
        # Matroska has red first, and the luminances last, the largest before the least.
        ordered = (*places[4:6], *places[0:4], *places[6:])
        units = (CHROMATICITY,) * 8 + (LUMINANCE,) * 2
        said += make_element(
            MASTERING,
            b"".join(
                make_element(MASTERING + 1 + index, struct.pack(">d", _at_least(value, unit)))
                for index, (value, unit) in enumerate(zip(ordered, units, strict=True))
            ),
        )
    return said


def _at_least(value: int, unit: int) -> float:
    """The quotient, never a hair below: FFmpeg cuts the fraction off where it reads it."""
    quotient = value / unit
    return quotient if quotient * unit >= value else nextafter(quotient, float("inf"))


def _boxes(header: Header) -> bytes:
    """pasp, mdcv and clli of a sample entry; an even number of bytes."""
    said, hdr = b"", header.hdr
    if header.sar is not None:
        said += struct.pack(">I4s2I", 16, b"pasp", *header.sar.as_integer_ratio())
    if hdr is not None and hdr.display is not None:
        said += struct.pack(">I4s8H2I", 32, b"mdcv", *steps(hdr.display))
    if hdr is not None and hdr.light is not None:
        light = (min(level, 0xFFFF) for level in (hdr.light.most, hdr.light.mean))
        said += struct.pack(">I4s2H", 12, b"clli", *light)
    return said


def _quicktime(file: BinaryIO, header: Header) -> bool:
    """Move the room from the track's name to its sample entry: no other box changes its place."""
    found = find_box(file, b"moov")
    if found is None:
        return False
    start, size = found
    file.seek(start)
    parts = list(boxes_in(file.read(size)))
    for index, part in enumerate(parts):
        if part[4:8] == b"trak" and header.placeholder.encode() in part:
            parts[index] = _moved(part, header)
            moov = make_box(b"moov", b"".join(parts))
            if len(moov) == size:
                file.seek(start)
                file.write(moov)
            return len(moov) == size
    return False


_HOLDERS = {b"trak": 8, b"mdia": 8, b"minf": 8, b"stbl": 8, b"stsd": 16, b"udta": 8}
"""Boxes on the way to what changes, and where the boxes inside them start."""
SAMPLE_ENTRY = 86
"""Bytes of a visual sample entry before the boxes in it."""


def _moved(box: bytes, header: Header) -> bytes:
    """A box, and all those in it, with the boxes added to the sample entry and the name cut."""
    kind = box[4:8]
    if kind == b"name" and header.placeholder.encode() in box:
        title = header.title.encode()
        # A name of nothing would still be one.
        return make_box(b"name" if title else b"free", title)
    if kind not in _HOLDERS:
        return box
    start = _HOLDERS[kind]
    parts = list(boxes_in(box, start))
    if kind == b"stsd":
        parts[0] = parts[0][:SAMPLE_ENTRY] + _boxes(header) + parts[0][SAMPLE_ENTRY:]
        parts[0] = make_box(parts[0][4:8], parts[0][8:])
    return make_box(kind, box[8:start] + b"".join(_moved(part, header) for part in parts))
