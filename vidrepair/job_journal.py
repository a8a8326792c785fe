"""The journal of a job: begun, taken up again, or refused."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vidrepair.errors import UsageError
from vidrepair.extent import total_frames
from vidrepair.job_facts import MIXABLE, changes, job_facts
from vidrepair.journal import (
    JOURNAL,
    Journal,
    at_work,
    folder_of,
    is_at_work,
    read_record,
    worker_name,
)
from vidrepair.outputs import OutputPlan
from vidrepair.record import Record
from vidrepair.segment_plan import Plan, Share
from vidrepair.segments import damaged
from vidrepair.settings import Job
from vidrepair.tags import Clip

log = logging.getLogger(__name__)


def goes_in_segments(job: Job, clip: Clip, plan: OutputPlan) -> bool:
    """Whether a film is long enough, and all that is written can be taken up again.

    Raises UsageError for an unfinished job that is not asked for, and for one that is asked for
    and not there; VidrepairError for one that another run is at work on.
    """
    asked = job.target
    if job.output is None:
        return False
    folder = folder_of(job.output)
    try:
        there = folder.exists()
    except OSError as error:
        raise UsageError(
            f"{job.output.name[:30]}... cannot be written ({error.strerror}); names of what lies"
            " beside it are 8 bytes longer: choose a shorter one"
        ) from error
    record = read_record(folder)
    if record.unfinished and not (asked.resume or asked.overwrite):
        if is_at_work(folder):
            raise at_work(folder)
        raise UsageError(
            f"an unfinished job for {job.output} lies in {folder}; go on with vidrepair resume"
            f" {job.output}, or add -y to begin anew"
        )
    if asked.resume and not there:
        raise UsageError(f"there is no unfinished job for {job.output}; start it with run")
    if asked.resume and record.kept:
        raise UsageError(f"the job of {job.output} is done; there is nothing to resume")
    if job.source is None or not asked.journal or plan.container == "yuv4mpegpipe":
        return False
    total = total_frames(clip, job)
    return asked.resume or total is None or total > asked.segment


def open_journal(
    job: Job, plan: OutputPlan, engine: Mapping[str, Any], total: int | None, owned: ExitStack
) -> Journal:
    """The journal of a film that goes in segments, of `total` frames where that is known; `engine`
    is the identity.

    Nothing of an older job is lost before `begin`. Raises UsageError where what is to be taken up
    was another job.
    """
    assert job.output is not None
    journal = Journal(folder_of(job.output))
    owned.callback(journal.leave)
    told = _told(job, plan, engine, total)
    if not job.target.resume:
        journal.set_aside()
        return journal
    check_format(journal.record, journal.folder)
    if journal.record.job is None:
        raise UsageError(
            f"{journal.folder} says nothing of a job; remove it, and start anew with run"
        )
    _check_unchanged(journal.record.job, told, journal.folder, mixed=job.target.allow_mixed)
    journal.take_over()
    if lost := damaged(journal):
        which = f"segment {lost[0]} is damaged; it"
        if len(lost) > 1:
            which = f"segments {', '.join(map(str, lost))} are damaged; each"
        follow = "is" if journal.record.plan is not None else "and what follows are"
        log.warning("%s %s computed again", which, follow)
        journal.forget(lost)
    journal.go_on({**told, "arguments": journal.record.job["arguments"]})
    return journal


def check_format(record: Record, folder: Path) -> None:
    """Refuse a journal of another format. Raises UsageError."""
    if record.foreign:
        raise UsageError(
            f"{folder} is of another version of vidrepair; resume it with that, or begin anew with"
            " run -y"
        )


def begin(
    job: Job,
    plan: OutputPlan,
    engine: Mapping[str, Any],
    total: int | None,
    journal: Journal | None,
) -> None:
    """Everything is open: only now what an older job left may go."""
    if job.output is None or job.target.resume:
        return
    folder = folder_of(job.output)
    if journal is not None:
        journal.start(_told(job, plan, engine, total))
    elif (folder / JOURNAL).is_file():
        Journal(folder).remove()


def open_share(
    job: Job, plan: OutputPlan, engine: Mapping[str, Any], share: Share, owned: ExitStack
) -> tuple[Journal, Plan]:
    """The journal of one worker of a job that was planned, and the plan.

    Raises UsageError where its engine, or anything else, is not that of the job.
    """
    assert job.output is not None
    folder = folder_of(job.output)
    whole = read_record(folder)
    if whole.job is None or whole.plan is None:
        raise UsageError(f"{folder} has no plan; start anew with run")
    told = _told(job, plan, engine, None)
    _check_unchanged(whole.job, told, folder, mixed=False)
    journal = Journal(folder, worker_name(share.worker))
    owned.callback(journal.close)
    if journal.record.job is not None and journal.record.job["facts"] != whole.job["facts"]:
        journal.start_over()
    journal.go_on(whole.job)
    return journal, whole.plan


def _told(
    job: Job, plan: OutputPlan, engine: Mapping[str, Any], total: int | None
) -> dict[str, Any]:
    """What a journal is told of a job."""
    return {
        "arguments": list(job.arguments),
        "folder": str(Path.cwd()),
        "frames": total,
        "facts": job_facts(job, plan, engine),
    }


def _check_unchanged(
    before: Mapping[str, Any], now: Mapping[str, Any], folder: Path, *, mixed: bool
) -> None:
    """Refuse to go on with another job than the one that was begun."""
    was, is_now = before["facts"], now["facts"]
    found = changes(was, is_now)
    if not found:
        return
    same = [{name: told[name] for name in told if name not in MIXABLE} for told in (was, is_now)]
    mixable = not changes(*same)
    if mixed and mixable:
        return
    remedy = "undo that, or begin anew with run -y"
    if mixable:
        remedy = "add --allow-mixed to go on so, or begin anew with run -y"
    raise UsageError(f"{folder} was made otherwise: {'; '.join(found)}; {remedy}")
