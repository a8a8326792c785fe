"""When the edit list of an MP4 or MOV file says that a track ends.

FFmpeg states one number as the length of a track, and that counts from the start of the file or
from the first frame, by who wrote it: FFmpeg up to 8 puts the time from the first frame's start
to the last one's end into `mdhd`, others the lengths of all samples, and the reader cuts that
where the edit list ends. The list itself is plain.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from vidrepair.boxes import boxes_in, find_box

MOST = 256 << 20
"""Bytes of an index that is read: one of 10 h of picture and sound has 50 MB."""


def shown_until(path: Path, track: int) -> tuple[Fraction, Fraction] | None:
    """Seconds of the file at which that track ends, and the unit that they are counted in.

    `track` is its track_ID, which FFmpeg calls the id of the stream (ISO/IEC 14496-12, 8.3.2 and
    8.6.6). None where there is no edit list, or it does not say, or the file is none of that kind.
    """
    with suppress(OSError, struct.error, IndexError), path.open("rb") as file:
        found = find_box(file, b"moov")
        if found is None or found[1] > MOST:
            return None
        file.seek(found[0])
        moov = file.read(found[1])
        for box in boxes_in(moov):
            # No track has the number 0.
            if box[4:8] == b"trak" and _behind_times(box, b"tkhd") == track:
                return _end(box, Fraction(1, _behind_times(moov, b"mvhd") or 1))
    return None


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


def _end(trak: bytes, unit: Fraction) -> tuple[Fraction, Fraction] | None:
    edits = _only(trak, b"edts", b"elst")
    if edits is None:
        return None
    entry = ">Qq4x" if edits[8] else ">Ii4x"
    (count,) = struct.unpack_from(">I", edits, 12)
    end = 16 + count * struct.calcsize(entry)
    if end > len(edits):
        return None
    lengths = [length for length, _ in struct.iter_unpack(entry, edits[16:end])]
    # A film that is written piece by piece is not told how long it will be.
    return (sum(lengths) * unit, unit) if lengths and lengths[-1] else None
