"""Workers that are processes of this machine."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from vidrepair.errors import VidrepairError, tell_error, told_error
from vidrepair.pipeline import work_job
from vidrepair.segment_plan import Share
from vidrepair.settings import Job

PATIENCE = 5.0
"""Seconds that a worker has to end when it is told to."""


@dataclass(slots=True)
class Outcome:
    """How a round of work ended."""

    warnings: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    """A clause on each worker that ended without a word."""

    def take(self, told: Mapping[str, Any]) -> None:
        """What a worker says last. Raises the error that it tells of."""
        if "error" in told:
            raise told_error(told)
        self.warnings += told["warnings"]


def do_share(job: Job, share: Share, tell: Callable[[int], None]) -> dict[str, Any]:
    """Do it, and say for JSON how it ended; `tell` is told how many frames are finished."""
    try:
        warnings = work_job(job, share, lambda progress: tell(progress.frames))
    except VidrepairError as error:
        return dict(tell_error(error))
    return {"warnings": list(warnings)}


@dataclass(frozen=True, slots=True)
class _Worker:
    """One process, and the line to it."""

    number: int
    process: SpawnProcess
    line: Connection


def work_here(shares: Sequence[tuple[Job, Share]], tell: Callable[[int, int], None]) -> Outcome:
    """Do the shares one after the other, in this process. Raises as `work_job`."""
    outcome = Outcome()
    for job, share in shares:
        outcome.take(do_share(job, share, partial(tell, share.worker)))
    return outcome


def work_in_processes(
    shares: Sequence[tuple[Job, Share]], tell: Callable[[int, int], None]
) -> Outcome:
    """Start a process for each share, and wait for all; none is left behind.

    `tell` is told how many frames a worker has finished. Raises the first error that one of them
    tells of; the others are ended then.
    """
    outcome = Outcome()
    workers: list[_Worker] = []
    try:
        for job, share in shares:
            workers.append(_start(job, share))
        going: dict[Any, _Worker] = {worker.line: worker for worker in workers}
        while going:
            for line in wait(list(going)):
                if not _hear(going[line], outcome, tell):
                    del going[line]
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join(PATIENCE)
            worker.process.kill()  # one that was stopped hears nothing else
            worker.process.join()
            worker.line.close()
    return outcome


def _start(job: Job, share: Share) -> _Worker:
    # Not forked: a process with threads, PyAV and an engine in it cannot be.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(job, share, theirs), daemon=True)
    with _without_interrupts():
        process.start()
    theirs.close()
    return _Worker(share.worker, process, ours)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that is started meanwhile hears no Ctrl-C; this one does when it is over."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hear(worker: _Worker, outcome: Outcome, tell: Callable[[int, int], None]) -> bool:
    """Take what a worker says; False once it has ended. Raises the error that it tells of."""
    try:
        told = json.loads(worker.line.recv_bytes())
    except (EOFError, ConnectionError):
        worker.process.join()
        how = worker.process.exitcode or 0
        reason = f"by signal {-how}" if how < 0 else f"with exit code {how}"
        outcome.deaths.append(f"worker {worker.number} was ended {reason}")
        return False
    if "frames" in told:
        tell(worker.number, told["frames"])
        return True
    outcome.take(told)
    return False


def _work(job: Job, share: Share, line: Connection) -> None:
    """What a worker's process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's Ctrl-C the parent knows
    # What is worth telling comes back on the line, or was told before.
    logging.getLogger("vidrepair").setLevel(logging.ERROR)
    threading.Thread(target=_end_with_parent, args=(line,), daemon=True).start()

    def tell(told: Mapping[str, Any]) -> None:
        line.send_bytes(json.dumps(told).encode())

    tell(do_share(job, share, lambda frames: tell({"frames": frames})))


def _end_with_parent(line: Connection) -> None:
    """Nobody is left to work for."""
    with suppress(EOFError, OSError):
        line.recv_bytes()
    os._exit(1)
