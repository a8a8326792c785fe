"""Elements that Matroska files are made of: an identifier, a size, and what is in it.

EBML, RFC 8794, section 6.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

SEGMENT, CRC = 0x18538067, 0xBF
SEEK_HEAD, SEEK, SEEK_ID, SEEK_PLACE = 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
CHAPTERS, EDITION, ATOM = 0x1043A770, 0x45B9, 0xB6
MOST = 1 << 20
"""Bytes of chapters that are looked at."""
FARTHEST = 1 << 60
"""Bytes; no file has a place behind."""
HEAD = 4096
"""Bytes of a file that its own header lies in."""


def elements_in(data: bytes | memoryview, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """The identifier, start and size of each element, as far as whole heads go."""
    while at < len(data):
        long = 9 - data[at].bit_length()
        kind = int.from_bytes(data[at : at + long], "big")
        at += long
        if at >= len(data) or not data[at]:
            return
        long = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + long], "big") & ((1 << 7 * long) - 1)
        yield kind, at + long, size
        at += long + size


def make_element(kind: int, content: bytes, long: int = 0) -> bytes:
    """An element whose size is written in `long` bytes, or in as few as possible."""
    long = long or next(count for count in range(1, 9) if len(content) < (1 << 7 * count) - 1)
    size = (len(content) | 1 << 7 * long).to_bytes(long, "big")
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + size + content


def make_whole(kind: int, value: int) -> bytes:
    """An element that holds a whole number."""
    return make_element(kind, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def renew_checksum(parts: bytearray) -> None:
    """That of all that follows it, where the first element is one."""
    for kind, start, size in elements_in(bytes(parts)):
        if kind == CRC:
            covered = zlib.crc32(parts[start + size :])
            parts[start : start + size] = struct.pack("<I", covered)
        return


def count_chapters(path: Path) -> int:
    """How many chapters a Matroska file holds, those in others too, by the place that its list of
    places says; 0 where it says none. Raises OSError.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        for segment, size in _inside(head, SEGMENT):
            for start, length in _inside(head[segment : segment + size], SEEK_HEAD):
                seeks = head[segment + start : segment + start + length]
                place = _place_of(CHAPTERS, seeks)
                if place is not None and place < FARTHEST:
                    file.seek(segment + place)
                    return _atoms(memoryview(file.read(MOST)))
    return 0


def _inside(data: bytes, wanted: int) -> Iterator[tuple[int, int]]:
    """Start and size of the elements of a kind."""
    return ((start, size) for kind, start, size in elements_in(data) if kind == wanted)


def _place_of(wanted: int, seeks: bytes) -> int | None:
    for start, size in _inside(seeks, SEEK):
        parts = seeks[start : start + size]
        told = {kind: parts[at : at + long] for kind, at, long in elements_in(parts)}
        if int.from_bytes(told.get(SEEK_ID, b""), "big") == wanted:
            return int.from_bytes(told.get(SEEK_PLACE, b""), "big")
    return None


def _atoms(data: memoryview) -> int:
    """Of the first element, which holds all chapters."""
    kind, start, size = next(elements_in(data), (0, 0, 0))
    if kind != CHAPTERS:
        return 0
    waiting, count = [data[start : start + size]], 0
    while waiting:
        part = waiting.pop()
        for kind, at, long in elements_in(part):
            if kind in (EDITION, ATOM):
                count += kind == ATOM
                waiting.append(part[at : at + long])
    return count


def stated_size(path: Path) -> int | None:
    """Bytes of the whole file by its header; None where it leaves them open. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    for kind, start, size in elements_in(head):
        if kind == SEGMENT:
            # All ones: written to a pipe, or cut off before the size was known.
            return None if size & (size + 1) == 0 else start + size
    return None
