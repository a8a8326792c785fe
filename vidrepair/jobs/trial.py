"""A job in a process of its own, and what that took: nothing else adds to its memory and time.

`python -m vidrepair.jobs.trial` is that process: the job comes in by standard input, what it took
goes out by standard output.
"""

from __future__ import annotations

import json
import logging
import os
import pickle  # noqa: S403  # only what this program itself has written is read
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from vidrepair.errors import EngineError, VidrepairError
from vidrepair.pipeline import run_job
from vidrepair.settings import Job


@dataclass(frozen=True, slots=True)
class Trial:
    """What one run took."""

    frames: int
    """Written."""
    seconds: float
    """By the clock on the wall, start-up included."""
    cpu: float
    """Seconds of all its threads on all processors."""
    memory: int | None
    """Bytes that were resident at most; None where the system does not tell."""


def run_apart(job: Job) -> Trial:
    """Run a job in a new process that sees the same modules.

    An engine for a card has to be there already. Raises VidrepairError, with the exit code of what
    the job raised.
    """
    # Never the modules of the folder that one happens to be in.
    paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
    started = time.monotonic()
    done = subprocess.run(  # noqa: S603  # this Python
        [sys.executable, "-P", "-m", __name__],
        input=pickle.dumps(job),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    seconds = time.monotonic() - started
    if done.returncode != 0:
        raise EngineError(
            f"a trial of {job.source} ended with {done.returncode}: the system may have ended it for"
            f" its memory; choose less with --memory{_last_line(done.stderr)}"
        )
    told = json.loads(done.stdout)
    if "message" in told:
        error = VidrepairError(told["message"])
        error.exit_code = told["exit"]
        raise error
    return Trial(seconds=seconds, **told)


def peak_memory() -> int | None:
    """Bytes of this process that were resident at most so far; None where nobody tells."""
    try:
        # The peak that rusage tells is inherited: a new process starts with that of its parent.
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


def main() -> None:
    """The process of a trial."""
    # The one result on standard output; whatever else is said has no place there.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    job = pickle.load(sys.stdin.buffer)  # noqa: S301
    try:
        report = run_job(job)
    except VidrepairError as error:
        told = {"message": str(error), "exit": error.exit_code}
    else:
        told = {"frames": report.frames, "cpu": time.process_time(), "memory": peak_memory()}
    with answer:
        json.dump(told, answer)


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return f" ({lines[-1]})" if lines else ""


if __name__ == "__main__":
    main()
