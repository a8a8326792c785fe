"""Boxes that MP4 and MOV files are made of: a size, four letters, and what is in it.

ISO/IEC 14496-12, 4.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

FILM = (b"mdat", b"moov", b"moof")
"""Kinds of box that hold a film and its index."""
HEAD = 8
"""Bytes before what is in a box: its size, and the letters of its kind."""


def find_box(file: BinaryIO, kind: bytes) -> tuple[int, int] | None:
    """Place and size in bytes of the first box of that kind, of those that are in no other."""
    found = (box for box in _outermost(file) if box[0] == kind)
    return next(((at, size) for _, at, size in found), None)


def _outermost(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and size of each box that is in no other; the last may go on behind the file."""
    at, end = 0, file.seek(0, 2)
    while at + HEAD <= end:
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:16], "big") if size == 1 else size or end - at
        if size < HEAD or not all(32 <= letter < 127 or letter == 169 for letter in head[4:8]):
            return  # something that is no box lies behind the last one
        yield head[4:8], at, size
        at += size


def has_box(path: Path, kind: bytes) -> bool:
    """Whether a file has a box of that kind that is in no other. Raises OSError."""
    with path.open("rb") as file:
        return find_box(file, kind) is not None


def stated_size(path: Path) -> int:
    """Bytes of the whole file by those of its outermost boxes that hold the film. Raises OSError.

    What somebody put behind them may look like a box.
    """
    with path.open("rb") as file:
        ends = (at + size for kind, at, size in _outermost(file) if kind in FILM)
        return max(ends, default=0)


def boxes_in(box: bytes, at: int = HEAD) -> Iterator[bytes]:
    """The boxes in a box, whose first starts there; what is none at its end comes as it is."""
    while at < len(box):
        size = int.from_bytes(box[at : at + 4], "big")
        end = at + size if HEAD <= size <= len(box) - at else len(box)
        yield box[at:end]
        at = end


def make_box(kind: bytes, body: bytes) -> bytes:
    """A box with that in it."""
    return struct.pack(">I4s", HEAD + len(body), kind) + body
