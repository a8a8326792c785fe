"""Damage to the bytes of a file: drawn from a seed, so that every case can be made again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
LARGEST = 4096
"""Bytes of the longest stretch that one mutation touches."""
MOV = rb"....(?=ftyp|moov|mvhd|trak|tkhd|edts|elst|mdia|mdhd|hdlr|minf|stbl|st[a-z]{2}|co64|ctts)"
PLACES = {
    # The size of a box stands before its name, the fields behind it.
    "mp4": MOV + rb"|(?<=mvhd|tkhd|elst|mdhd|stsd|stts|ctts|stsc|stsz|stco)....",
    "mov": MOV + rb"|(?<=mvhd|tkhd|elst|mdhd|stsd|stts|ctts|stsc|stsz|stco)....",
    "avi": rb"(?<=RIFF|LIST|avih|strh|strf|idx1|00dc|01wb)....",
    # Segment, SeekHead, Info, Tracks, Cluster, Cues, Tags, TrackEntry, Video, SimpleBlock and more.
    "mkv": rb"(?<=\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x11\x4d\x9b\x74|\x15\x49\xa9\x66"
    rb"|\x16\x54\xae\x6b|\x1f\x43\xb6\x75|\x1c\x53\xbb\x6b|\x12\x54\xc3\x67|\x2a\xd7\xb1\x83)...."
    rb"|(?<=[\xae\xe0\xe1\xa3\xa0\xb0\xba\xd7\x83\xe7]).{1,2}",
    # Program numbers, the adaptation field's length, the first bytes of tables and PES packets.
    "ts": rb"(?<=\x47)...|(?<=\x00\x00\x01[\xe0\xc0]).{2,4}",
    "y4m": rb"(?<=[WHFAC:])\d+|FRAME",
}
"""Where sizes and counts lie in the headers of a format."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file's bytes, what was done to them, and the seed that tells so."""

    data: bytes
    done: tuple[str, ...]


def mutate(data: bytes, suffix: str, random: np.random.Generator) -> Damaged:
    """Damage the bytes of a file a few times, or many; of `suffix` are the sizes in headers."""
    many = random.random() < 0.25
    count = int(random.integers(6, 60) if many else random.integers(1, 5))
    changed, done = bytearray(data), []
    for _ in range(count):
        if random.random() < 0.4:
            done.append(_extreme(changed, suffix, random))
            continue
        kind = KINDS[int(random.integers(len(KINDS)))]
        done.append(kind(changed, random))
    return Damaged(bytes(changed), tuple(done))


def _place(data: bytearray, random: np.random.Generator) -> int:
    """Anywhere, but often among the headers: near an end of the file."""
    side = min(1500, len(data))
    where = random.random()
    if where < 0.35:
        return int(random.integers(side + 1))
    if where < 0.55:
        return len(data) - int(random.integers(side + 1))
    return int(random.integers(len(data) + 1))


def _stretch(data: bytearray, random: np.random.Generator) -> tuple[int, int]:
    """A stretch of the file, short ones as likely as long ones: [start, end)."""
    start = _place(data, random)
    return start, min(len(data), start + int(LARGEST ** random.random()))


def _flip(data: bytearray, random: np.random.Generator) -> str:
    at = _place(data, random)
    if at < len(data):
        data[at] ^= 1 << int(random.integers(8))
    return f"flip at {at}"


def _zero(data: bytearray, random: np.random.Generator) -> str:
    start, end = _stretch(data, random)
    data[start:end] = bytes(end - start)
    return f"zero {start}-{end}"


def _noise(data: bytearray, random: np.random.Generator) -> str:
    start, end = _stretch(data, random)
    data[start:end] = random.bytes(end - start)
    return f"noise {start}-{end}"


def _cut(data: bytearray, random: np.random.Generator) -> str:
    # Many cuts would leave nothing: most take a little.
    share = random.random() ** 3
    left = max(1, round(len(data) * (1.0 - share)))
    if random.random() < 0.8:
        del data[left:]
        return f"end cut to {left}"
    del data[: len(data) - left]
    return f"start cut to {left}"


def _remove(data: bytearray, random: np.random.Generator) -> str:
    start, end = _stretch(data, random)
    del data[start:end]
    return f"remove {start}-{end}"


def _double(data: bytearray, random: np.random.Generator) -> str:
    start, end = _stretch(data, random)
    data[end:end] = data[start:end]
    return f"double {start}-{end}"


def _swap(data: bytearray, random: np.random.Generator) -> str:
    (one, end), other = _stretch(data, random), _place(data, random)
    size = min(end - one, len(data) - other, abs(other - one))
    first, second = data[one : one + size], data[other : other + size]
    data[one : one + size], data[other : other + size] = second, first
    return f"swap {size} at {one} and {other}"


def _insert(data: bytearray, random: np.random.Generator) -> str:
    at = _place(data, random)
    data[at:at] = random.bytes(int(LARGEST ** random.random()))
    return f"insert at {at}"


def _extreme(data: bytearray, suffix: str, random: np.random.Generator) -> str:
    """A size or count in a header becomes 0, as large as it can be, or another's."""
    found = [match.span() for match in re.finditer(PLACES[suffix], bytes(data), re.DOTALL)]
    if not found:
        return _flip(data, random)
    start, end = found[int(random.integers(len(found)))]
    value = EXTREMES[int(random.integers(len(EXTREMES)))]
    if suffix == "y4m":
        data[start:end] = str(value).encode()
    else:
        order = "little" if suffix == "avi" else "big"
        size = end - start
        data[start:end] = (value % 256**size).to_bytes(size, order)
    return f"{value:#x} at {start}"


KINDS: tuple[Callable[[bytearray, np.random.Generator], str], ...] = (
    *(_flip, _zero, _noise, _cut, _remove, _double, _swap, _insert),
)
