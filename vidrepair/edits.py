"""What the edit list of an MP4 or MOV file says of a track: when it ends, and its texts appear.

FFmpeg states one number as the length of a track, and that counts from the start of the file or
from the first frame, by who wrote it: FFmpeg up to 8 puts the time from the first frame's start
to the last one's end into `mdhd`, others the lengths of all samples, and the reader cuts that
where the edit list ends. Of a track of text it takes the first sample that begins in the edit for
the start of the edit, though another is on the screen by then, and the lengths of all from the
front of the file. The list itself is plain.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, islice
from pathlib import Path

from vidrepair.boxes import boxes_in, find_box

MOST = 256 << 20
"""Bytes of an index that is read: one of 10 h of picture and sound has 50 MB."""

MOST_TEXTS = 1 << 20
"""Samples of text that are looked at; a film has a few thousand."""

MOST_EDITS = 1 << 16
"""Edits of a list that is believed; most lists have one or two."""


def shown_until(path: Path, track: int) -> tuple[Fraction, Fraction] | None:
    """Seconds of the file at which that track ends, and the unit that they are counted in.

    `track` is its track_ID, which FFmpeg calls the id of the stream (ISO/IEC 14496-12, 8.3.2 and
    8.6.6). None where there is no edit list, or it does not say, or the file is none of that kind.
    """
    with suppress(OSError, struct.error, IndexError):
        for number, trak, unit in _tracks(path):
            if number == track:
                return _end(trak, unit)
    return None


@dataclass(frozen=True, slots=True)
class Sample:
    """One text, or the pause between two."""

    size: int
    """Bytes."""
    start: int
    """Ticks of its track since the start of the film."""
    length: int
    """Ticks."""


def shown_texts(path: Path, tracks: Collection[int]) -> dict[int, list[Sample]]:
    """By track_ID, the samples of tracks of text that their edit lists show, where these begin
    within the track.

    The first is cut where the edit begins. Tracks without such a list, and with several edits, are
    left out.
    """
    found: dict[int, list[Sample]] = {}
    with suppress(OSError, struct.error, IndexError):
        for number, trak, unit in _tracks(path):
            with suppress(struct.error, IndexError, ZeroDivisionError):
                if number in tracks:
                    found[number] = list(_texts(trak, unit))
    return found


def _tracks(path: Path) -> Iterator[tuple[int, bytes, Fraction]]:
    """The number of each track, its box, and the unit of its edits in seconds. Raises as reading
    does.
    """
    with path.open("rb") as file:
        found = find_box(file, b"moov")
        if found is None or found[1] > MOST:
            return
        file.seek(found[0])
        moov = file.read(found[1])
    unit = Fraction(1, _behind_times(moov, b"mvhd") or 1)
    for box in boxes_in(moov):
        # No track has the number 0.
        if box[4:8] == b"trak" and (number := _behind_times(box, b"tkhd")):
            yield number, box, unit


def _only(box: bytes, *kinds: bytes) -> bytes | None:
    """The box that lies in it by that way; None where there is none."""
    for kind in kinds:
        inner = next((part for part in boxes_in(box) if part[4:8] == kind), None)
        if inner is None:
            return None
        box = inner
    return box


def _behind_times(box: bytes, kind: bytes) -> int:
    """The number behind both times of the header of that kind in a box; 0 where there is none."""
    header = _only(box, kind)
    if header is None:
        return 0
    return int(struct.unpack_from(">I", header, 28 if header[8] else 20)[0])


def _edits(trak: bytes) -> list[tuple[int, int]]:
    """Length and start of each edit: in units of the film, and of the track; -1 shows nothing."""
    edits = _only(trak, b"edts", b"elst")
    if edits is None:
        return []
    entry = ">Qq4x" if edits[8] else ">Ii4x"
    (count,) = struct.unpack_from(">I", edits, 12)
    end = 16 + count * struct.calcsize(entry)
    known = end <= len(edits) and count <= MOST_EDITS
    return list(struct.iter_unpack(entry, edits[16:end])) if known else []


def _end(trak: bytes, unit: Fraction) -> tuple[Fraction, Fraction] | None:
    lengths = [length for length, _ in _edits(trak)]
    # A film that is written piece by piece is not told how long it will be.
    return (sum(lengths) * unit, unit) if lengths and lengths[-1] else None


def _texts(trak: bytes, unit: Fraction) -> Iterator[Sample]:
    edits = _edits(trak)
    waits = sum(length for length, start in edits if start == -1) * unit
    shown = [start for _, start in edits if start != -1]
    table = _only(trak, b"mdia", b"minf", b"stbl") or b""
    times, sizes = _only(table, b"stts"), _only(table, b"stsz")
    if len(shown) != 1 or shown[0] <= 0 or times is None or sizes is None:
        return
    media = _only(trak, b"mdia") or b""
    begins = round(waits * _behind_times(media, b"mdhd"))
    if begins >= 1 << 62:
        return
    each = [size for (size,) in struct.iter_unpack(">I", sizes[20 : 20 + 4 * MOST_TEXTS])]
    spread = (
        length
        for count, length in struct.iter_unpack(">II", times[16 : 16 + 8 * MOST_TEXTS])
        for _ in range(count)
    )
    lengths = list(islice(spread, len(each)))
    starts = accumulate(lengths, initial=-shown[0])
    for size, start, length in zip(each, starts, lengths, strict=False):
        if start + length > 0:
            first = max(start, 0)
            yield Sample(size, begins + first, start + length - first)
