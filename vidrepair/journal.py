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
from dataclasses import asdict, replace
from io import FileIO
from pathlib import Path
from typing import Any

from vidrepair.errors import VidrepairError
from vidrepair.files import Closing, sync
from vidrepair.record import FORMAT, Record, Segment, parse_record
from vidrepair.segment_plan import Plan
from vidrepair.sequences import beside_film

if sys.platform != "win32":
    import fcntl

JOURNAL = "journal"
"""Its name."""
BEFORE, AFTER = "journal.before", "journal.after"
"""The names of what it was before a film is changed, and of what it will be."""
WORKER = "worker."
"""How the names of workers' journals start."""
KEPT = -1
"""The number of no worker: what it finished stays when a segment before it is lost."""


def folder_of(output: Path) -> Path:
    """Where the journal of a film lies."""
    return beside_film(output, ".vrjob")


def worker_name(worker: int) -> str:
    """That of the journal of a worker, which the job's takes over in time."""
    return f"{WORKER}{worker}"


def has_parts(folder: Path) -> bool:
    """Whether there are journals of workers."""
    return any(folder.glob(f"{WORKER}*"))


def read_record(folder: Path, name: str = JOURNAL) -> Record:
    """What a journal in a folder says; nothing where there is none. Raises VidrepairError where it
    cannot be read.
    """
    try:
        return parse_record((folder / name).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return Record()
    except OSError as error:
        raise VidrepairError(
            f"{folder / name} cannot be read ({error.strerror}); change its permissions"
        ) from error


def finished_segments(folder: Path, record: Record) -> list[Segment]:
    """All of a recorded job that are finished, by itself and by its workers."""
    return [*record.segments, *_finished_apart(folder, record).values()]


def _finished_apart(folder: Path, record: Record) -> dict[int, Segment]:
    """What workers of a recorded job have finished, and is not taken over, by its number."""
    found = {}
    for path in sorted(folder.glob(f"{WORKER}*")):
        told = read_record(folder, path.name)
        if told.job is None or record.job is None:
            continue
        if told.job["facts"] == record.job["facts"]:
            found.update({one.number: one for one in told.segments})
    return {n: one for n, one in found.items() if n >= len(record.segments)}


def _locked(file: FileIO) -> bool:
    """Lock a file; False where another process has it."""
    with suppress(OSError):  # some network file systems cannot
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def is_at_work(folder: Path) -> bool:
    """Whether another process has the journal in a folder open, as far as locks tell."""
    if sys.platform == "win32":
        return False
    try:
        with FileIO(folder / JOURNAL, "r+") as file:
            return not _locked(file)
    except OSError:
        return False


def at_work(folder: Path) -> VidrepairError:
    """What is told of it."""
    return VidrepairError(
        f"another run is at work in {folder}; wait for it, or choose another output"
    )


def _is_at(path: Path, file: FileIO) -> bool:
    """Whether it is still that file: who had it until now may have removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


class Journal(Closing):
    """An open journal; nobody else has it."""

    def __init__(self, folder: Path, name: str = JOURNAL) -> None:
        """Opens what is there, or makes a new one. Raises VidrepairError where another run has it
        open, or the folder cannot be written.
        """
        self.folder = folder
        self._path = folder / name
        try:
            folder.mkdir(exist_ok=True)
            with suppress(OSError):  # some network file systems cannot
                sync(folder.parent)
            self._file = self._path.open("a+b", buffering=0)
        except OSError as error:
            raise VidrepairError(
                f"{folder} cannot be written ({error.strerror}); free it, or add --no-journal"
            ) from error
        self._aside = False
        self._lock()
        self._file.seek(0)
        self.record = parse_record(self._file.read())
        """As far as it is on the disk."""

    def set_aside(self) -> None:
        """What is there is of no account; it stays on the disk until `start`."""
        self._aside = self.record.size > 0 or self.record.foreign
        self.record = Record()

    def start_over(self) -> None:
        """Forget what is there, for good."""
        self._aside = False
        self._cut(Record())

    def leave(self) -> None:
        """The run is over: nothing is left of a job of which nothing was finished."""
        record = self.record
        worth = record.segments or record.plan or record.foreign or has_parts(self.folder)
        if worth or self._aside:
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
        return _finished_apart(self.folder, self.record)

    def finished(self) -> list[Segment]:
        """All that are, by the job itself and by its workers."""
        return finished_segments(self.folder, self.record)

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

    def join(self, told: Mapping[str, Any], *, alike: bool) -> None:
        """The film is finished, and gets its name now. The one that has it may be `alike`."""
        self._append({"joined": dict(told), "alike": alike})

    def forget(self, numbers: Collection[int]) -> None:
        """Those segments are not finished. Nor are those that follow, unless there is a plan."""
        job, plan = self.record.job, self.record.plan
        kept = [one for one in self.finished() if one.number not in numbers]
        if (gone := min(numbers)) < len(self.record.segments):
            self._file.seek(0)
            self._cut(parse_record(self._file.read(self.record.starts[gone])))
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
        """The film stays as it is, unless the new one is finished, and may have its name."""
        if self.record.joined is not None or not (self.folder / BEFORE).is_file():
            return
        (self.folder / BEFORE).replace(self.folder / JOURNAL)
        self.drop_packets()

    def drop_packets(self) -> None:
        """No segment's packets are left, nor what workers have."""
        self._drop("*.packets", f"{WORKER}*")

    def drop_parts(self) -> None:
        """Nothing that somebody had begun to join is left."""
        self._drop("*.part")

    def _drop(self, *patterns: str) -> None:
        for pattern in patterns:
            for path in self.folder.glob(pattern):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def remove(self) -> None:
        """The film has its name: nothing of this is needed any more.

        Whatever breaks that off, what is left tells of no job, and nobody begins one meanwhile.
        """
        if self._file.closed:  # what is there is another run's
            return
        with suppress(OSError):
            self.start_over()
        for path in self.folder.iterdir():
            if path.name != JOURNAL:
                with suppress(OSError):
                    path.unlink()
        if sys.platform == "win32":
            self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def close(self) -> None:
        self._file.close()

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        if not (_locked(self._file) and _is_at(self._path, self._file)):
            self.close()
            raise at_work(self.folder)

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
