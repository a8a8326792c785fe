"""Many files, one after the other: what is done to each is settled before the first.

`plan_batch` turns names and lists into items, `run_item` runs one and says how it ended, whatever
happens.
"""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vidrepair.codecs import check_quality
from vidrepair.engines import Build
from vidrepair.errors import UsageError, VidrepairError
from vidrepair.jobs.inputs import Found, find_inputs
from vidrepair.jobs.manifest import ManifestEntry
from vidrepair.jobs.naming import Naming, absolute, is_within
from vidrepair.jobs.workers import run_with_workers
from vidrepair.journal import folder_of, read_record
from vidrepair.pipeline import Observer
from vidrepair.report import Report
from vidrepair.settings import Job
from vidrepair.tags import plain_text

Outcome = Literal["restored", "skipped", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("restored", "skipped", "failed")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """What all files of a batch have in common."""

    naming: Naming
    common: Job = field(default_factory=lambda: Job(None, None))
    """The job of each file, but for its source and its output."""
    skip_existing: bool = False
    """Leave a file out whose output is there."""

    def __post_init__(self) -> None:
        target = self.common.target
        if target.mask_out is not None:
            raise UsageError(
                "--mask-out names the matte of one film, and a batch makes many films; leave it"
                " out, and use vidrepair mask for each matte"
            )
        if target.sidecar is not None or self.common.analysis is not None:
            raise UsageError("a sidecar tells of one film, and a batch makes many; leave it out")
        if target.markers is not None or self.common.shots is not None:
            raise UsageError(
                "--markers and --shots name the list of one film, and a batch makes many films;"
                " give each its own in a --manifest"
            )
        if self.skip_existing and target.overwrite:
            raise UsageError("--skip-existing keeps what -y replaces; leave one out")
        check_quality(target)


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One file of a batch: what is read, what is written, and how."""

    source: Path
    output: Path
    job: Job
    naming: Naming
    skip_existing: bool = False
    refusal: str = ""
    """Why it is not even tried; empty where it is."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """How one file of a batch ended."""

    item: BatchItem
    outcome: Outcome
    seconds: float = 0.0
    report: Report | None = None
    """Of a file that was restored."""
    reason: str = ""
    """Why it was skipped, or failed; of a restored one the damage that was met."""
    exit_code: int = 0
    """What `vidrepair run` would have ended with."""

    @property
    def frames(self) -> int:
        """Those that were written."""
        return 0 if self.report is None else self.report.frames

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "file": plain_text(str(self.item.source)),
            "output": None if self.item.refusal else plain_text(str(self.item.output)),
            "result": self.outcome,
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "reason": plain_text(self.reason),
            "exit": self.exit_code,
        }


def plan_batch(
    names: Sequence[str], entries: Sequence[ManifestEntry], settings: BatchSettings
) -> list[BatchItem]:
    """The files of a batch, in order: those that are named, then those of a list.

    A file that both name is taken once, as the list has it. Raises UsageError, before any work,
    where there is no file, where an output would leave its folder, be that of two files, or be one
    of the inputs, and for wrong settings; VidrepairError for a folder that cannot be read.
    """
    listed = {absolute(entry.source) for entry in entries}
    found = find_inputs(names, settings.naming.folder)
    items = [item_of(one, settings) for one in found if absolute(one.source) not in listed]
    items += [_listed_item(entry, settings) for entry in entries]
    if not items:
        raise UsageError(f"no video file in {', '.join(names)}; check the names")
    claims = Claims(item.source for item in items)
    for item in items:
        claims.claim(item)
    return items


def item_of(found: Found, settings: BatchSettings) -> BatchItem:
    """The item of a file that was named or found.

    Raises UsageError for an output that leaves its folder, or that would be found as a film.
    """
    naming = settings.naming
    output = naming.output_of(found.source, found.place)
    top = found.top
    if top is not None and is_within(output, top) and not is_within(naming.folder, top):
        raise UsageError(
            f"the output {output} would lie among the films of {top}, and be taken for one; choose"
            " another folder for the outputs"
        )
    return _item(found.source, output, settings.common, settings)


def run_item(
    item: BatchItem, observer: Observer | None = None, build: Build | None = None
) -> BatchResult:
    """Repair one file of a batch and say how that ended; no Exception leaves it.

    `observer` and `build` are those of `run_with_workers`. Folders that its output needs are made,
    and a job that was broken off goes on where it was.
    """
    started = time.monotonic()
    if item.refusal:
        return BatchResult(item, "failed", reason=item.refusal, exit_code=UsageError.exit_code)
    try:
        if item.skip_existing and item.output.is_file():
            return BatchResult(item, "skipped", reason=f"{item.output} exists")
        for path in (item.output, item.job.target.markers):
            if path is not None:
                # Once more: a link may have come since the batch was planned.
                item.naming.check_inside(path)
                make_folder(path.parent)
        report = run_with_workers(_taken_up(item.job), observer, build)
    except VidrepairError as error:
        seconds = time.monotonic() - started
        return BatchResult(item, "failed", seconds, None, str(error), error.exit_code)
    except OSError as error:
        reason = f"{item.source} or {item.output}: {error.strerror or error}; check both names"
        return BatchResult(item, "failed", time.monotonic() - started, None, reason, 1)
    except Exception as error:  # noqa: BLE001  # whatever it is, the other files are to be done
        log.debug("%s", traceback.format_exc())
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        reason = f"{item.source}: {what}; that is our fault: report it, with --log-level debug"
        return BatchResult(item, "failed", time.monotonic() - started, None, reason, 1)
    met = str(report.damage)
    reason = f"damage met in the source: {met}" if met else ""
    return BatchResult(item, "restored", time.monotonic() - started, report, reason)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless it is there. Raises a VidrepairError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(
            f"{folder} cannot be a folder, a file is in the way; choose another one"
        ) from None
    except OSError as error:
        raise VidrepairError(
            f"the folder {folder} cannot be made ({error.strerror}); choose another one or change"
            " the permissions"
        ) from error


class Claims:
    """Which outputs are spoken for, and by whom; an output is never an input."""

    def __init__(self, sources: Iterable[Path] = ()) -> None:
        self._sources: dict[object, Path] = {}
        self._outputs: dict[object, Path] = {}
        for source in sources:
            self.add_source(source)

    def add_source(self, source: Path) -> None:
        """Let no output be this file."""
        for name in _names(source):
            self._sources[name] = source

    def claim(self, item: BatchItem) -> None:
        """Speak for the output of an item. Raises UsageError where that must not be."""
        for name in _names(item.output):
            # What the disk knew a source by may be another file's by now.
            if (read := self._sources.get(name)) is not None and _same(item.output, read):
                raise UsageError(
                    f"{item.output}, the output of {item.source}, is the input {read}; choose"
                    " another folder for the outputs, or another --name"
                )
        self._claim_place(
            item.output,
            item.source,
            "set them apart with --name, such as {parent}_{stem}{ext}, or give them outputs in a"
            " --manifest",
        )
        if item.job.target.markers is not None:
            self._claim_place(item.job.target.markers, item.source, "give each its own list")

    def _claim_place(self, path: Path, source: Path, remedy: str) -> None:
        place = os.path.normcase(os.path.realpath(path))
        other = self._outputs.setdefault(place, source)
        if other is not source:
            raise UsageError(f"{other} and {source} would both become {path}; {remedy}")


def _same(one: Path, two: Path) -> bool:
    """Whether two paths lead to one file, there or not."""
    return not set(_names(one)).isdisjoint(_names(two))


def _names(path: Path) -> list[object]:
    """What a file is known by: its place, links followed, and what the disk knows it by."""
    names: list[object] = [os.path.normcase(os.path.realpath(path))]
    try:
        facts = path.stat()
    except OSError:
        return names
    return [*names, (facts.st_dev, facts.st_ino)]


def _taken_up(job: Job) -> Job:
    """The job, going on with what a batch that was broken off has left of it.

    Raises UsageError where the film is there, and was not to be replaced.
    """
    target, output = job.target, job.output
    if output is None or target.overwrite:
        return job
    unfinished = target.journal and read_record(folder_of(output)).unfinished
    if output.is_file() and not unfinished:
        raise UsageError(f"{output} exists; add --skip-existing to leave it, or -y to replace it")
    return replace(job, target=replace(target, resume=unfinished))


def _listed_item(entry: ManifestEntry, settings: BatchSettings) -> BatchItem:
    common, markers = entry.applied(settings.common), entry.markers_of(settings.naming)
    try:
        common = replace(common, target=replace(common.target, markers=markers))
        check_quality(common.target)
    except UsageError as error:
        raise UsageError(f"{entry.where}: {error}") from error
    return _item(entry.source, entry.output_of(settings.naming), common, settings)


def _item(source: Path, output: Path, common: Job, settings: BatchSettings) -> BatchItem:
    job = replace(common, source=source, output=output)
    return BatchItem(source, output, job, settings.naming, settings.skip_existing)
