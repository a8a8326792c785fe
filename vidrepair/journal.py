"""The journal of a long job: which segments of its film are finished, and of what job they are.

It lies in a folder beside the film, OUT.vrjob, with the segments. Every line carries a checksum
and is on the disk before the next step: whatever ends the run, and wherever the file breaks off,
the lines before are good. What follows a broken line counts for nothing.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vidrepair.errors import UsageError, VidrepairError
from vidrepair.files import Closing, sync

if sys.platform != "win32":
    import fcntl

FORMAT = 1
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
    times: tuple[tuple[int, int, int], ...]
    """The pts of its frames: runs of a first one, a step, and a number of frames."""
    sha256: str
    """Of its file."""
    size: int
    """Bytes of it."""
    tally: dict[str, Any]
    """What the run had counted by its end, and not told before."""
    touches: str = ""
    """The sha256 of the file of what was repaired in it; empty where nobody wants to know."""

    def pts(self) -> list[int]:
        """Of every frame."""
        return [first + step * n for first, step, count in self.times for n in range(count)]


def runs_of(times: list[int]) -> tuple[tuple[int, int, int], ...]:
    """Rising times as runs of equal steps."""
    runs: list[tuple[int, int, int]] = []
    for time in times:
        if runs:
            first, step, count = runs[-1]
            if count == 1 or time == first + step * count:
                runs[-1] = (first, time - first if count == 1 else step, count + 1)
                continue
        runs.append((time, 0, 1))
    return tuple(runs)


def folder_of(output: Path) -> Path:
    """Where the journal of a film lies."""
    return output.with_name(f"{output.name}.vrjob")


@dataclass(slots=True)
class Record:
    """What the good lines of a journal say."""

    job: dict[str, Any] | None = None
    """What the job is; None where nothing was begun."""
    segments: list[Segment] = field(default_factory=list)
    ended: dict[str, Any] | None = None
    """What was told when the film had no more segments; None where it may have more."""
    size: int = 0
    """Bytes of the good lines."""
    starts: list[int] = field(default_factory=list)
    """Where the line of each segment starts."""

    def take(self, line: bytes) -> bool:
        """Learn what a line says; False for one that is broken. Raises UsageError for a journal of
        another format.
        """
        checksum, _, text = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(text):
            return False
        entry = json.loads(text)
        if "job" in entry:
            if entry["format"] != FORMAT:
                raise UsageError(
                    "the journal is of another version of vidrepair; resume with that, or remove it"
                )
            self.job = entry["job"]
        elif "segment" in entry:
            told = entry["segment"]
            runs = tuple(tuple(run) for run in told["times"])
            self.segments.append(Segment(**{**told, "times": runs}))
            self.starts.append(self.size)
        elif "end" in entry:
            self.ended = entry["end"]
        self.size += len(line) + 1
        return True


def read_record(folder: Path) -> Record:
    """What the journal in a folder says; nothing where there is none."""
    try:
        return _parse((folder / "journal").read_bytes())
    except OSError:
        return Record()


def _parse(data: bytes) -> Record:
    """What the lines of a journal say up to the first that is broken."""
    record = Record()
    for line in data.split(b"\n")[:-1]:  # one that does not end is not whole
        if not record.take(line):
            break
    return record


class Journal(Closing):
    """An open journal; nobody else has it."""

    def __init__(self, folder: Path) -> None:
        """Opens what is there, or makes a new one. Raises VidrepairError where another run has it
        open, or the folder cannot be written.
        """
        self.folder = folder
        try:
            folder.mkdir(exist_ok=True)
            with suppress(OSError):  # some network file systems cannot
                sync(folder.parent)
            self._file = (folder / "journal").open("a+b", buffering=0)
        except OSError as error:
            raise VidrepairError(
                f"{folder} cannot be written ({error.strerror}); free it, or add --no-journal"
            ) from error
        self._aside = False
        self._lock()
        self._file.seek(0)
        self.record = _parse(self._file.read())
        """As far as it is on the disk."""

    def set_aside(self) -> None:
        """What is there is of no account; it stays on the disk until `start`."""
        self._aside = self.record.size > 0
        self.record = Record()

    def leave(self) -> None:
        """The run is over: nothing is left of a job of which nothing was finished."""
        if self.record.segments or self._aside:
            self.close()
        else:
            self.remove()

    def start(self, job: Mapping[str, Any]) -> None:
        """Begin anew: whatever was there is gone."""
        self._aside = False
        self._cut(Record())
        for path in self.folder.glob("*.[pt]*"):
            path.unlink()
        self._append({"job": dict(job), "format": FORMAT})

    def go_on(self, job: Mapping[str, Any]) -> None:
        """What the job is from here on."""
        if job != self.record.job:
            self._append({"job": dict(job), "format": FORMAT})

    def path(self, number: int) -> Path:
        """Where a segment's packets are."""
        return self.folder / f"{number:06}.packets"

    def touches_path(self, number: int) -> Path:
        """Where it is written what was repaired in a segment."""
        return self.folder / f"{number:06}.touches"

    def add(self, segment: Segment) -> None:
        """A segment whose file is on the disk is finished."""
        with suppress(OSError):  # some network file systems cannot
            sync(self.folder)
        self._append({"segment": asdict(segment)})

    def end(self, told: Mapping[str, Any]) -> None:
        """The film has no more segments."""
        self._append({"end": dict(told)})

    def forget(self, number: int) -> None:
        """That segment and all that follow are not finished."""
        self._file.seek(0)
        self._cut(_parse(self._file.read(self.record.starts[number])))

    def remove(self) -> None:
        """The film has its name: nothing of this is needed any more."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        self._file.close()

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise VidrepairError(
                f"another run is at work in {self.folder}; wait for it, or choose another output"
            ) from error

    def _cut(self, record: Record) -> None:
        """Back to what a record says."""
        self._file.truncate(record.size)
        self.record = record

    def _write(self, data: bytes) -> None:
        """All of it: a disk that fills takes a part without an error."""
        while data:
            written = self._file.write(data)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[written:]

    def _append(self, entry: Mapping[str, Any]) -> None:
        text = json.dumps(entry, sort_keys=True).encode()
        line = b"%08x %s" % (zlib.crc32(text), text)
        try:
            self._file.truncate(self.record.size)  # what a crash left unfinished
            self._write(line + b"\n")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise VidrepairError(
                f"{self.folder} cannot be written ({error.strerror}); free some space and go on"
                " with vidrepair resume"
            ) from error
        self.record.take(line)
