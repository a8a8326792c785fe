"""What the header of a DPX file says beside its samples (SMPTE ST 268-1, sections 5 to 9).

FFmpeg writes the first three of its five parts: no timecode, no rate, no edge code. All fields that
tell of the film are taken from the picture that one was made of.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidrepair.sequences import ImageSequence
from vidrepair.timecode import later_timecode

HEADER = 2048
"""Bytes of all parts but the user's own."""
GENERIC = 1664
"""Of these, what is the same for film and video; FFmpeg writes no more."""
TIMECODE, FILM_RATE, VIDEO_RATE = 1920, 1724, 1940
"""Where they lie."""
UNDEFINED = 0xFFFFFFFF
_ORDERS = {b"SDPX": ">", b"XPDS": "<"}
_DROP = 0x40
"""Bit of the frames of a timecode that drops numbers (SMPTE ST 12-1)."""
_TEXTS = (
    *((260, 200), (460, 200)),  # project, copyright
    *((801, 2), (820, 32)),  # transfer and colorimetry, description of the samples
    *((1432, 24 + 100 + 64), (1636, 28)),  # the scanner and what it scanned
    *((1664, 48), (1732, 188)),  # edge code and format of the film, slate
    *((1928, 4), (1972, 76)),  # fields
)
"""Offset and length of what has no order of bytes."""
_WORDS = (
    *range(784, 800, 4),  # codes of black and white
    *range(1408, 1432, 4),
    *range(1628, 1636, 4),
    *range(1712, 1732, 4),
    *(1920, 1924),
    *range(1932, 1972, 4),
)
"""Offsets of numbers of four bytes."""
_HALVES = (768, *range(1620, 1628, 2))
"""And of two: orientation, border."""
_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class DpxHeaders:
    """The headers of a row of pictures."""

    rate: Fraction
    timecode: str = ""
    """Of the first, where `source` does not say those of all."""
    source: ImageSequence | None = None
    """The DPX pictures that they were made of."""
    first: int = 0
    """Number of the first of these."""

    def dressed(self, picture: bytes, number: int) -> bytes:
        """A file as FFmpeg writes it with all that is known of the picture `number`, from 0."""
        order = _ORDERS[picture[:4]]
        (start,) = struct.unpack_from(order + "I", picture, 4)
        header = bytearray(picture[: min(start, GENERIC)].ljust(HEADER, b"\0"))
        for offset in _WORDS[_WORDS.index(1712) :]:
            struct.pack_into(order + "I", header, offset, UNDEFINED)
        if self.source is not None:
            _take_over(header, order, _header_of(self.source.file(self.first + number)))
        elif (code := _code_of(later_timecode(self.timecode, number / self.rate, self.rate))) >= 0:
            struct.pack_into(order + "I", header, TIMECODE, code)
        for offset in (FILM_RATE, VIDEO_RATE):
            struct.pack_into(order + "f", header, offset, float(self.rate))
        samples = picture[start:]
        parts = ((4, HEADER), (16, HEADER + len(samples)), (24, GENERIC), (28, HEADER - GENERIC))
        for offset, value in (*parts, (808, HEADER)):
            struct.pack_into(order + "I", header, offset, value)
        return bytes(header) + samples


def read_rate(path: Path) -> float | None:
    """Frames a second that a DPX file says; None where it says none."""
    header = _header_of(path)
    for offset in (FILM_RATE, VIDEO_RATE):
        rate = _number(header, offset, "f")
        if rate is not None and 1 <= rate <= 1000:  # NaN, which is undefined, is neither
            return float(rate)
    return None


def _header_of(path: Path) -> bytes:
    """The parts of it that there are; nothing for what is no DPX file."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER)
    except OSError:  # it was read before, and is gone
        return b""
    offset = _number(head, 4, "I")
    return b"" if offset is None else head[:offset]


def _number(header: bytes, offset: int, kind: str) -> int | None:
    order = _ORDERS.get(header[:4])
    if order is None or len(header) < offset + 4:
        return None
    value: int = struct.unpack_from(order + kind, header, offset)[0]
    return value


def _take_over(header: bytearray, order: str, source: bytes) -> None:
    """Every field of a header that the other one has, in the order of bytes of the first."""
    theirs = _ORDERS.get(source[:4])
    if theirs is None:
        return
    for offset, length in _TEXTS:
        if offset + length <= len(source):
            header[offset : offset + length] = source[offset : offset + length]
    for offsets, kind in ((_WORDS, "I"), (_HALVES, "H")):
        for offset in offsets:
            if offset + struct.calcsize(kind) <= len(source):
                (value,) = struct.unpack_from(theirs + kind, source, offset)
                struct.pack_into(order + kind, header, offset, value)


def _code_of(timecode: str) -> int:
    """As DPX holds it; -1 for text that is none."""
    read = _TIMECODE.fullmatch(timecode)
    if read is None:
        return -1
    digits = bytearray(int(read[group], 16) for group in (1, 2, 3, 5))
    if read[4] != ":":
        digits[3] |= _DROP
    return int.from_bytes(digits, "big")


def is_timecode(text: str) -> bool:
    """Whether DPX can hold it."""
    return _code_of(text) >= 0
