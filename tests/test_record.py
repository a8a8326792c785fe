"""What a journal says is read again as it was written, and takes little memory meanwhile."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from vidrepair.packed_times import pack_times
from vidrepair.record import Record, Segment, parse_record


def segment(number: int) -> Segment:
    """The like of which a long film has thousands."""
    first = 250 * number
    shots = [{"number": number, "first": first, "frames": 250, "touched": 31 * number}]
    tally = {"frames": 250, "repeats": 0, "defects": {"dust": number % 9}, "shots": shots}
    return Segment(
        number=number,
        first=first,
        frames=250,
        end=40 * (first + 250),
        times=pack_times([40 * (first + at) for at in range(250)]),
        sha256=hashlib.sha256(b"%d" % number).hexdigest(),
        size=70_000 + 37 * number % 1000,
        tally=json.dumps(tally),
    )


def lines(count: int) -> Iterator[bytes]:
    for number in range(count):
        told = segment(number)
        entry = {"segment": {name: getattr(told, name) for name in Segment.__slots__}}
        text = json.dumps(entry, sort_keys=True).encode()
        yield b"%08x %s" % (zlib.crc32(text), text)


def test_every_segment_comes_back_as_it_was() -> None:
    record = parse_record(b"".join(line + b"\n" for line in lines(40)))
    assert list(record.segments) == [segment(number) for number in range(40)]
    assert record.segments[-1] == segment(39)
    assert record.segments[-40] == record.segments[0] == segment(0)
    assert record.frames == 40 * 250
    for beyond in (40, -41):
        with pytest.raises(IndexError):
            record.segments[beyond]
    assert not Record().segments


def test_a_segment_takes_few_bytes() -> None:
    told = list(lines(2000))
    record = Record()
    tracemalloc.start()
    for line in told:
        record.take(line)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(record.segments) == 2000
    # A film of ten hours has 3,600: held as they are, each would take four times as much.
    assert taken < 300 * len(told)
