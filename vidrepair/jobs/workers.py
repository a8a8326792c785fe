"""The segments of one film, computed by several processes, each with its share.

Every worker decodes the film from its start, so that numbers, cuts and measurements are what they
are in one process, and computes only its own segments. What it finishes stands in a journal of its
own: whoever dies, nothing of that is lost, and the rest is shared out anew.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from vidrepair.engines import Build
from vidrepair.errors import EngineError
from vidrepair.jobs.cluster import for_cluster, open_cluster
from vidrepair.jobs.processes import Outcome, work_here, work_in_processes
from vidrepair.journal import Journal, finished_segments, folder_of, has_parts, read_record
from vidrepair.pipeline import Observer, plan_job, run_job
from vidrepair.report import Report, Teller
from vidrepair.segment_plan import Share
from vidrepair.settings import Job

Crew = Callable[[Sequence[tuple[Job, Share]], Callable[[int, int], None]], Outcome]
"""Has workers do their shares side by side, telling how many frames each has finished."""

log = logging.getLogger(__name__)

BLOCKS = 8
"""Shares of each worker are about so many blocks of neighbouring segments: at either end of one
some frames are computed twice, and few blocks end at different times."""


def run_with_workers(
    job: Job, observer: Observer | None = None, build: Build | None = None
) -> Report:
    """Repair one file by as many processes as the job says, and as `run_job` does.

    Raises a VidrepairError as that; EngineError where workers die and nothing gets finished.
    """
    if job.ray is not None:
        with open_cluster(job.ray) as cluster:
            count = job.workers if job.workers > 1 else cluster.slots(job)
            return _run(for_cluster(replace(job, workers=count)), observer, build, cluster.work)
    if job.workers == 1 and not _is_planned(job):
        return run_job(job, observer, build)
    work = work_in_processes if job.workers > 1 else work_here
    return _run(job, observer, build, work)


def _run(job: Job, observer: Observer | None, build: Build | None, work: Crew) -> Report:
    """Plan it, have it computed, and put it together."""
    started = time.monotonic()
    shared = _shared_out(job)
    if not plan_job(shared[0], observer, build):
        log.warning("this film goes in one piece; several workers are of no use for it")
        alone = replace(shared[0].engine, threads=job.engine.threads)
        return run_job(replace(shared[0], engine=alone), observer, build)
    going_on = [replace(one, target=replace(one.target, resume=True)) for one in shared]
    taken = _taken(job)
    warnings = compute(going_on, observer, work)
    report = run_job(going_on[0], observer, build, told=True)
    seconds, told = time.monotonic() - started, (*report.warnings, *warnings)
    return replace(report, seconds=seconds, warnings=told, taken=taken)


def _taken(job: Job) -> int:
    """Frames of a planned job that an earlier run has finished."""
    assert job.output is not None
    folder = folder_of(job.output)
    return sum(one.frames for one in finished_segments(folder, read_record(folder)))


def _is_planned(job: Job) -> bool:
    """Whether a job that goes on was begun with workers, or has parts of an older film."""
    if job.output is None or not job.target.resume:
        return False
    folder = folder_of(job.output)
    return read_record(folder).plan is not None or has_parts(folder)


def _shared_out(job: Job) -> list[Job]:
    """The job as each worker sees it: with its device, and its part of the processor."""
    count = job.workers
    devices = [one.strip() for one in job.engine.device.split(",")]
    threads = job.engine.threads or max((os.cpu_count() or 1) // count, 1)
    return [
        replace(
            job,
            engine=replace(job.engine, device=devices[n % len(devices)], threads=threads),
            workers=1,
            ray=None,
        )
        for n in range(count)
    ]


def missing(journal: Journal) -> list[int]:
    """The numbers of the segments of a planned job that nobody has finished."""
    if (plan := journal.record.plan) is None:  # the film has its name, and was made without one
        return []
    done = {segment.number for segment in journal.finished()}
    return [one.number for one in plan.segments if one.number not in done]


def shares_of(numbers: Sequence[int], workers: int) -> list[Share]:
    """Deal segments to workers, in blocks; those who get none are left out."""
    size = max(len(numbers) // (workers * BLOCKS), 1)
    blocks = [numbers[at : at + size] for at in range(0, len(numbers), size)]
    dealt = [
        tuple(number for block in blocks[worker::workers] for number in block)
        for worker in range(workers)
    ]
    return [Share(worker, mine) for worker, mine in enumerate(dealt) if mine]


def compute(jobs: Sequence[Job], observer: Observer | None, work: Crew) -> list[str]:
    """Have every segment of a planned job computed that is not there; what is worth telling.

    `jobs` are the job as each worker sees it, `work` has them do their shares. Raises the first
    error that a worker tells of, and EngineError where they die and nothing gets finished.
    """
    assert jobs[0].output is not None
    warnings = list[str]()
    # Open all the while: nobody else may begin anew meanwhile.
    with Journal(folder_of(jobs[0].output)) as journal:
        left = missing(journal)
        while left:
            shares = shares_of(left, len(jobs))
            counter = _Counter(journal, observer)
            outcome = work([(jobs[one.worker], one) for one in shares], counter)
            warnings += outcome.warnings
            before, left = left, missing(journal)
            if left and len(left) == len(before):
                how = outcome.deaths[0] if outcome.deaths else "the source ended too early"
                raise EngineError(
                    f"{how}, with nothing finished; look for what ended it, such as too little"
                    " memory or a network that failed, and go on with vidrepair resume"
                )
            for death in outcome.deaths:
                log.warning("%s; what it had not finished is shared out anew", death)
    return warnings


class _Counter:
    """Counts the frames that all workers have finished together."""

    def __init__(self, journal: Journal, observer: Observer | None) -> None:
        """Of the planned job that a journal tells of."""
        plan = journal.record.plan
        assert plan is not None
        self._done = sum(segment.frames for segment in journal.finished())
        self._tell = Teller(observer, plan.frames, self._done)
        self._frames: dict[int, int] = {}

    def __call__(self, worker: int, frames: int) -> None:
        """How many one of them has finished."""
        self._frames[worker] = frames
        self._tell(self._done + sum(self._frames.values()), lambda: "engine")
