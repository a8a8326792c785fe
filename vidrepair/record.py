"""What a journal says: the job, and its segments that are finished."""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from vidrepair.packed_times import unpack_times
from vidrepair.segment_plan import Plan, Planned, plan_of

FORMAT = 2
"""Of the journal; another one is not read."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A finished stretch of a film."""

    number: int
    """Counted from 0."""
    first: int
    """The number of its first frame, in output order."""
    frames: int
    end: int
    """Ticks of the film's time base at which its last frame ends, as it is written."""
    times: str
    """The pts of its frames, packed by `pack_times`."""
    sha256: str
    """Of its file."""
    size: int
    """Bytes of it."""
    tally: str
    """JSON: what was counted in it."""
    touches: str = ""
    """The sha256 of the file of what was repaired in it; empty where nobody wants to know."""

    @property
    def after(self) -> int:
        """The number of the frame that follows it."""
        return self.first + self.frames

    def pts(self) -> list[int]:
        """Of every frame."""
        return unpack_times(self.times)


class Segments:
    """Finished stretches, in order, packed.

    A film of ten hours has thousands, and most of what is known of one is asked for once, at the
    end.
    """

    def __init__(self) -> None:
        self._first = b""
        """The line of the first; the others are much like it, which packs them well."""
        self._others: list[bytes] = []
        self._last: Segment | None = None

    def append(self, segment: Segment, line: bytes) -> None:
        """One more, and what it is as JSON: {"segment": {...}}."""
        self._last = segment
        if not self._first:
            self._first = line
            return
        packer = zlib.compressobj(level=9, zdict=self._first)
        self._others.append(packer.compress(line) + packer.flush())

    def __len__(self) -> int:
        return bool(self._first) + len(self._others)

    def __getitem__(self, at: int) -> Segment:
        count = len(self)
        if not -count <= at < count:
            raise IndexError(at)
        at %= count
        if at == count - 1 and self._last is not None:
            return self._last
        return _parse_segment(self._line(at))

    def __iter__(self) -> Iterator[Segment]:
        return (self[at] for at in range(len(self)))

    def _line(self, at: int) -> bytes:
        if at == 0:
            return self._first
        return zlib.decompressobj(zdict=self._first).decompress(self._others[at - 1])


def _parse_segment(line: bytes) -> Segment:
    return Segment(**json.loads(line)["segment"])


@dataclass(slots=True)
class Record:
    """What the good lines of a journal say."""

    job: dict[str, Any] | None = None
    """What the job is; None where nothing was begun."""
    segments: Segments = field(default_factory=Segments)
    mixed: list[tuple[int, str]] = field(default_factory=list)
    """Segments from which on another version or engine was at work, and which."""
    plan: Plan | None = None
    """All segments, where they had to be known beforehand."""
    ended: dict[str, Any] | None = None
    """What was told when the film had no more segments; None where it may have more."""
    joined: dict[str, Any] | None = None
    """What tells the finished film from another; None where it is not finished."""
    alike: bool = False
    """Whether the film that it replaces cannot be told from it by that: the same size, the same
    ends, as where frames are of one size.
    """
    foreign: bool = False
    """Whether it is of another format, and cannot be read from there on."""
    kept: bool = False
    """Whether the job is done, and the film can be changed."""
    size: int = 0
    """Bytes of the good lines."""
    starts: array[int] = field(default_factory=lambda: array("Q"))
    """Where the line of each segment starts."""

    @property
    def unfinished(self) -> bool:
        """Whether a job was begun, by whatever version, and is not done.

        A run that ends right when it makes its folder, or removes it, leaves one without a job.
        """
        return self.foreign or (self.job is not None and not self.kept)

    @property
    def whole(self) -> bool:
        """Whether every segment is finished."""
        planned = None if self.plan is None else len(self.plan.segments)
        return self.ended is not None and planned in (None, len(self.segments))

    @property
    def frames(self) -> int:
        """That are finished, from the first on."""
        return sum(segment.frames for segment in self.segments)

    def as_plan(self) -> Plan:
        """Its segments, as if they were to be computed."""
        ones = self.segments
        follow = [one.pts()[0] for one in islice(ones, 1, None)]
        return Plan(
            Planned(one.number, one.first, one.frames, until)
            for one, until in zip(ones, [*follow, None], strict=True)
        )

    def take(self, line: bytes) -> bool:
        """Learn what a line says; False for one that is broken, or of another format."""
        checksum, _, text = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(text):
            return False
        entry = json.loads(text)
        if "job" in entry:
            if entry["format"] != FORMAT:
                self.foreign = True
                return False
            self._take_job(entry["job"])
        elif "segment" in entry:
            self.segments.append(Segment(**entry["segment"]), text)
            self.starts.append(self.size)
        elif "plan" in entry:
            self.plan = plan_of(entry["plan"])
        elif "end" in entry:
            self.ended = entry["end"]
        elif "joined" in entry:
            self.joined, self.alike = entry["joined"], entry.get("alike", False)
        elif "kept" in entry:
            self.kept = True
        self.size += len(line) + 1
        return True

    def _take_job(self, job: dict[str, Any]) -> None:
        if self.job is not None and self.segments:
            before, now = self.job["facts"], job["facts"]
            for name in ("version", "engine"):
                if before.get(name) != now.get(name):
                    self.mixed.append((len(self.segments), f"{name} {_shown(now.get(name))}"))
        self.job = job


def _shown(value: Any) -> str:
    """What tells an engine in a sentence, or a version as it is."""
    if not isinstance(value, Mapping):
        return str(value)
    return " ".join(str(value.get(name, "")) for name in ("backend", "version", "precision"))


def parse_record(data: bytes) -> Record:
    """What the lines of a journal say up to the first that is broken."""
    record = Record()
    for line in data.split(b"\n")[:-1]:  # one that does not end is not whole
        if not record.take(line):
            break
    return record
