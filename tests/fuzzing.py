"""Seeds handed to workers that may crash, hang or run out of memory: `fuzz_worker` has the work."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fuzz_worker
from fuzz_worker import Outcome, draw

LIMIT = 60.0
"""Seconds for one file; a whole one takes a fifth of one."""


def run_seeds(films: Path, folder: Path, seeds: Sequence[int], workers: int = 2) -> list[Outcome]:
    """Damage a film by each seed, and run the tool; `folder` keeps what went wrong."""
    parts = [seeds[number::workers] for number in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda part: list(_supervised(films, folder, part)), parts)
        return sorted((one for part in found for one in part), key=lambda one: one.seed)


def _supervised(films: Path, folder: Path, seeds: Iterable[int]) -> Iterator[Outcome]:
    """The outcome of each seed, from workers that are started anew where one went wrong."""
    worker: _Worker | None = None
    try:
        for seed in seeds:
            worker = worker or _Worker(films, folder)
            outcome = worker.ask(seed)
            yield outcome
            if not outcome.good:
                worker.end()
                worker = None
    finally:
        if worker is not None:
            worker.end()


class _Worker:
    """A process that runs the tool on one file after the other."""

    def __init__(self, films: Path, folder: Path) -> None:
        self._said = folder / f"worker-{threading.get_ident()}.txt"
        # Arenas of malloc, one for each thread, would be most of its address space.
        added = {"MALLOC_ARENA_MAX": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
        program = [sys.executable, "-X", "faulthandler", str(fuzz_worker.__file__)]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [*program, str(films), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env={**os.environ, **added},
            )
        self._lines: queue.Queue[str] = queue.Queue()
        self._ear = threading.Thread(target=self._listen, name="ear")
        self._ear.start()

    def ask(self, seed: int) -> Outcome:
        """Run one seed; an end of the process or of the patience is its outcome."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seed}\n")
        self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=LIMIT)
        except queue.Empty:
            self._process.send_signal(signal.SIGABRT)  # says where every thread is
            return self._ended(seed, "hang")
        if not line:
            return self._ended(seed, "crash")
        told = json.loads(line)
        return Outcome(**{**told, "done": tuple(told["done"])})

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._ear.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _ended(self, seed: int, kind: str) -> Outcome:
        code = self._process.wait()
        said = self._said.read_text(errors="replace")[-2500:]
        return Outcome(seed, kind, f"exit code {code}, which said: {said}", draw(seed).name)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")
