"""Jobs in a process of their own, and what each took: nothing else adds to its memory and time.

`python -m vidrepair.trial` is that process: jobs come in by standard input, a line of JSON each,
and what they took goes out by standard output.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidrepair.errors import EngineError, VidrepairError, tell_error, told_error
from vidrepair.files import Closing
from vidrepair.job_text import job_from_json, job_to_json
from vidrepair.pipeline import run_job
from vidrepair.run import Run
from vidrepair.settings import Job


@dataclass(frozen=True, slots=True)
class Cost:
    """What some work took."""

    cpu: float
    """Seconds of all threads on all processors."""
    seconds: float
    """By the clock on the wall."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.cpu + other.cpu, self.seconds + other.seconds)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.cpu - other.cpu, self.seconds - other.seconds)

    def __mul__(self, factor: float) -> Cost:
        return Cost(self.cpu * factor, self.seconds * factor)


@dataclass(frozen=True, slots=True)
class Trial:
    """One job."""

    frames: int
    """Written."""
    opening: Cost
    """Up to the first frame; of the first job of a process also the start of the process."""
    work: Cost
    """From there to the finished file."""
    memory: int | None
    """Bytes of the process that were resident at most so far; None where nobody tells."""
    core: int
    """T, frames of a span of the film."""
    span: int
    """The same in this job."""
    warm_up: int
    """Steps that lead to that."""
    lanes: int
    """Spans that are computed side by side."""
    doubled: bool
    """A frame is made of each field."""
    segmented: bool
    """The film was written in segments."""
    left: frozenset[int]
    """Streams of the source that stay behind."""
    codec: str
    """FFmpeg's name of the encoder."""
    container: str
    """And of the muxer."""
    engine: dict[str, Any]
    """Its identity."""


class Trials(Closing):
    """A process that runs jobs, one after another."""

    def __init__(self) -> None:
        # Never the modules of the folder that one happens to be in.
        paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
        self._began: float | None = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603  # this Python
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
            text=True,
        )

    def run(self, job: Job) -> Trial:
        """Run a job there. Raises what the job raised."""
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        began, self._began = self._began or time.monotonic(), None
        try:
            pipe_in.write(json.dumps(job_to_json(job)) + "\n")
            pipe_in.flush()
            line = pipe_out.readline()
        except BrokenPipeError:
            line = ""
        lasted = time.monotonic() - began
        if not line:
            raise EngineError(
                f"a trial of {job.source} was ended by the system with {self._process.wait()},"
                " perhaps for its memory; choose less with --memory"
            )
        told = json.loads(line)
        if "error" in told:
            raise told_error(told)
        work = Cost(told.pop("work_cpu"), told.pop("work_seconds"))
        opening = Cost(told.pop("opening_cpu"), lasted - work.seconds)
        left = frozenset(told.pop("left"))
        return Trial(opening=opening, work=work, left=left, **told)

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """The process."""
    # The answers alone on standard output; whatever else is said has no place there.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    before = 0.0
    for line in sys.stdin:
        told = _run(job_from_json(json.loads(line)), before)
        before = time.process_time()
        print(json.dumps(told), file=answers, flush=True)


def _run(job: Job, before: float) -> dict[str, Any]:
    """What a job took, `before` being the CPU seconds up to it; or what it ended with."""
    from trt_build.build import build_engine

    told: dict[str, Any] = {}
    opened = Cost(0.0, 0.0)

    def note(run: Run) -> None:
        nonlocal opened
        opened = Cost(time.process_time(), time.monotonic())
        told.update(_facts(run))

    try:
        report = run_job(job, build=build_engine, opened=note)
    except VidrepairError as error:
        return dict(tell_error(error))
    work = Cost(time.process_time(), time.monotonic()) - opened
    return {
        **told,
        "frames": report.frames,
        "opening_cpu": opened.cpu - before,
        "work_cpu": work.cpu,
        "work_seconds": work.seconds,
        "memory": peak_memory(),
    }


def _facts(run: Run) -> dict[str, Any]:
    assert run.planned is not None
    plan, copies = run.planned
    identity = run.engine.identity
    return {
        "core": run.grid.core,
        "span": run.spans.core,
        "warm_up": run.spans.warm_up,
        "lanes": identity.lanes,
        "doubled": run.way == "bwdif-fields",
        "segmented": run.in_segments,
        "left": sorted(copies.left),
        "codec": plan.codec,
        "container": plan.container,
        "engine": identity.as_dict(),
    }


def peak_memory() -> int | None:
    """Bytes of this process that were resident at most so far; None where nobody tells."""
    try:
        # What rusage tells is inherited: a new process starts with the peak of its parent.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


if __name__ == "__main__":
    main()
