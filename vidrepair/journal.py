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
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vidrepair.errors import UsageError, VidrepairError
from vidrepair.files import Closing, sync
from vidrepair.segment_plan import Plan, Planned, plan_of

if sys.platform != "win32":
    import fcntl

FORMAT = 2
"""Of the journal; another one is not read."""
JOURNAL = "journal"
"""Its name."""
BEFORE, AFTER = "journal.before", "journal.after"
"""The names of what it was before a film is changed, and of what it will be."""
WORKER = "worker."
"""How the names of workers' journals start."""
KEPT = -1
"""The number of no worker: what it finished stays when a segment before it is lost."""


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
    plan: Plan | None = None
    """All segments, where they had to be known beforehand."""
    ended: dict[str, Any] | None = None
    """What was told when the film had no more segments; None where it may have more."""
    joined: dict[str, Any] | None = None
    """What tells the finished film from another; None where it is not finished."""
    kept: bool = False
    """Whether the job is done, and the film can be changed."""
    size: int = 0
    """Bytes of the good lines."""
    starts: list[int] = field(default_factory=list)
    """Where the line of each segment starts."""

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
        follow = [one.times[0][0] for one in ones[1:]]
        return Plan(
            Planned(one.number, one.first, one.frames, until)
            for one, until in zip(ones, [*follow, None], strict=True)
        )

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
        elif "plan" in entry:
            self.plan = plan_of(entry["plan"])
        elif "end" in entry:
            self.ended = entry["end"]
        elif "joined" in entry:
            self.joined = entry["joined"]
        elif "kept" in entry:
            self.kept = True
        self.size += len(line) + 1
        return True


def worker_name(worker: int) -> str:
    """That of the journal of a worker, which the job's takes over in time."""
    return f"{WORKER}{worker}"


def has_parts(folder: Path) -> bool:
    """Whether there are journals of workers."""
    return any(folder.glob(f"{WORKER}*"))


def read_record(folder: Path, name: str = JOURNAL) -> Record:
    """What a journal in a folder says; nothing where there is none."""
    try:
        return _parse((folder / name).read_bytes())
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

    def __init__(self, folder: Path, name: str = JOURNAL) -> None:
        """Opens what is there, or makes a new one. Raises VidrepairError where another run has it
        open, or the folder cannot be written.
        """
        self.folder = folder
        try:
            folder.mkdir(exist_ok=True)
            with suppress(OSError):  # some network file systems cannot
                sync(folder.parent)
            self._file = (folder / name).open("a+b", buffering=0)
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

    def start_over(self) -> None:
        """Forget what is there, for good."""
        self._aside = False
        self._cut(Record())

    def leave(self) -> None:
        """The run is over: nothing is left of a job of which nothing was finished."""
        if self.record.segments or self.record.plan or self._aside:
            self.close()
        else:
            self.remove()

    def start(self, job: Mapping[str, Any]) -> None:
        """Begin anew: whatever was there is gone."""
        self.start_over()
        for path in self.folder.iterdir():
            if path.name != JOURNAL:
                path.unlink()
        self._append({"job": dict(job), "format": FORMAT})

    def go_on(self, job: Mapping[str, Any]) -> None:
        """What the job is from here on."""
        if job != self.record.job:
            self._append({"job": dict(job), "format": FORMAT})

    def path(self, first: int) -> Path:
        """Where the packets of the segment with that first frame are."""
        return self.folder / f"{first:09}.packets"

    def heads_path(self, first: int) -> Path:
        """Where all of them but their data is, once the film has those."""
        return self.folder / f"{first:09}.heads"

    def touches_path(self, first: int) -> Path:
        """Where it is written what was repaired in a segment."""
        return self.folder / f"{first:09}.touches"

    @property
    def analysis_path(self) -> Path:
        """Where the analysis that a finished film was made with is kept."""
        return self.folder / "analysis.json"

    def add(self, segment: Segment) -> None:
        """A segment whose file is on the disk is finished."""
        with suppress(OSError):  # some network file systems cannot
            sync(self.folder)
        self._append({"segment": asdict(segment)})

    def plan(self, plan: Plan) -> None:
        """These are all the segments."""
        self._append({"plan": plan.as_json()})

    def apart(self) -> dict[int, Segment]:
        """What workers of this job have finished, and is not taken over, by its number."""
        assert self.record.job is not None
        found = {}
        for path in sorted(self.folder.glob(f"{WORKER}*")):
            told = read_record(self.folder, path.name)
            if told.job is not None and told.job["facts"] == self.record.job["facts"]:
                found.update({one.number: one for one in told.segments})
        return {n: one for n, one in found.items() if n >= len(self.record.segments)}

    def take_over(self) -> None:
        """What workers have finished, as far as nothing before it is missing."""
        found = self.apart()
        while (segment := found.get(len(self.record.segments))) is not None:
            self._append({"segment": asdict(segment)})

    def renumber(self) -> None:
        """Segments that are apart get the numbers that they have in the plan."""
        job, plan, apart = self.record.job, self.record.plan, list(self.apart().values())
        assert job is not None
        assert plan is not None
        numbers = {one.first: one.number for one in plan.segments}
        self._set_apart(job, [replace(one, number=numbers[one.first]) for one in apart])

    def _set_apart(self, job: Mapping[str, Any], segments: Iterable[Segment]) -> None:
        """These, and no others, are finished beyond those that are taken over."""
        self._drop(f"{WORKER}*")
        with Journal(self.folder, worker_name(KEPT)) as other:
            other.go_on(job)
            for segment in segments:
                other.add(segment)

    def end(self, told: Mapping[str, Any]) -> None:
        """The film has no more segments."""
        self._append({"end": dict(told)})

    def join(self, told: Mapping[str, Any]) -> None:
        """The film is finished, and gets its name now."""
        self._append({"joined": dict(told)})

    def forget(self, numbers: Collection[int]) -> None:
        """Those segments are not finished. Nor are those that follow, unless there is a plan."""
        job, plan = self.record.job, self.record.plan
        finished = [*self.record.segments, *self.apart().values()]
        kept = [one for one in finished if one.number not in numbers]
        if (gone := min(numbers)) < len(self.record.segments):
            self._file.seek(0)
            self._cut(_parse(self._file.read(self.record.starts[gone])))
        if plan is None or job is None:
            return
        self._set_apart(job, kept[len(self.record.segments) :])
        if self.record.plan is None:
            self.plan(plan)

    def keep(self) -> None:
        """The film has its name, and what is needed to change it is here, but for the packets."""
        self._append({"kept": True})
        self._drop("*.packets", f"{WORKER}*", BEFORE)
        self.close()

    def begin_redo(
        self, job: Mapping[str, Any], segments: Iterable[Segment], plan: Plan | None
    ) -> None:
        """The film of a job that is done is to be changed into that of another, of which these
        segments, whose packets are there, are finished. `plan` is that of all, where it is known.
        `end_redo` takes it back.
        """
        ended = self.record.ended
        self._set_apart(job, segments)
        shutil.copy(self.folder / JOURNAL, self.folder / BEFORE)
        with Journal(self.folder, AFTER) as after:
            after.start_over()
            after.go_on(job)
            if plan is not None and ended is not None:
                after.plan(plan)
                after.end(ended)
        (self.folder / AFTER).replace(self.folder / JOURNAL)
        with suppress(OSError):  # some network file systems cannot
            sync(self.folder)
        self.close()

    def end_redo(self) -> None:
        """The film stays as it is."""
        (self.folder / BEFORE).replace(self.folder / JOURNAL)
        self._drop("*.packets", f"{WORKER}*")

    def _drop(self, *patterns: str) -> None:
        for pattern in patterns:
            for path in self.folder.glob(pattern):
                path.unlink()

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
