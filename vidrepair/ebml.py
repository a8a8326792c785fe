"""Elements that Matroska files are made of: an identifier, a size, and what is in it.

EBML, RFC 8794, section 6.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

SEGMENT, CRC = 0x18538067, 0xBF
HEAD = 4096
"""Bytes of a file that its own header lies in."""


def elements_in(data: bytes, at: int = 0) -> Iterator[tuple[int, int, int]]:
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


def stated_size(path: Path) -> int | None:
    """Bytes of the whole file by its header; None where it leaves them open. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    for kind, start, size in elements_in(head):
        if kind == SEGMENT:
            # All ones: written to a pipe, or cut off before the size was known.
            return None if size & (size + 1) == 0 else start + size
    return None
