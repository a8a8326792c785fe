"""Damaged films through the whole tool, in processes that may crash, hang or run out of memory.

A worker takes seeds on its standard input and answers each with one line; what ends it is the
doing of the seed that it had. Run as a program it is that worker.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from clips import Extras, picture, write_clip, y4m
from mutations import mutate
from passing import pass_through

from vidrepair.cli import main
from vidrepair.journal import folder_of

IDLE = ("--denoise", "0", "--repair", "none")
LIMIT = 60.0
"""Seconds for one file; a whole one takes a tenth of one."""
MEMORY = 4 << 30
"""Bytes of address space; a whole file takes 1 GiB, most of it reserved and not touched."""
FRAMES = 12
PLAIN = {"threads": "1"}  # the same bytes wherever they are made
SOUND = Extras(audio=1)
LAYER2 = Extras(audio=1, audio_codec="mp2")
PCM = Extras(audio=1, audio_codec="pcm_s16le", chapters=2)
FILMS: dict[str, tuple[str, Extras, dict[str, Any]]] = {
    "h264.mp4": ("libx264", Extras(audio=1, chapters=2), {}),
    "hevc.mp4": ("libx265", Extras(audio=2), {}),
    "mpeg2.mp4": ("mpeg2video", LAYER2, {}),
    "h264.mkv": ("libx264", Extras(audio=1, subtitles=2, chapters=2, attachment=b"note"), {}),
    "hevc10.mkv": ("libx265", SOUND, {"pix_fmt": "yuv420p10le"}),
    "ffv1.mkv": ("ffv1", Extras(audio=1, audio_codec="flac", subtitles=1, cover=True), {}),
    "rgb.mkv": ("ffv1", Extras(chapters=1), {"pix_fmt": "bgr0"}),
    "h264.mov": ("libx264", SOUND, {}),
    "mpeg4.mov": ("mpeg4", PCM, {}),
    "prores.mov": ("prores_ks", PCM, {"pix_fmt": "yuv422p10le"}),
    "mpeg4.avi": ("mpeg4", LAYER2, {}),
    "ffv1.avi": ("ffv1", Extras(), {}),
    "h264.ts": ("libx264", SOUND, {}),
    "hevc.ts": ("libx265", Extras(), {}),
    "mpeg2.ts": ("mpeg2video", LAYER2, {"options": {"flags": "+ildct+ilme"}}),
}
LOSSLESS = ("ffv1", "rgb", "raw")
"""Films that MP4 is not for."""
WAYS = (
    *((),) * 4,
    # In pieces, joined at the end from a second reading of the source.
    *(("--segment-frames", "5"),) * 3,
    ("--on-change", "split"),
    ("--ss", "0.17", "--to", "0.4"),
    ("--interlace", "bwdif-fields"),
)
"""Options; most films are read as they are."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one damaged file."""

    seed: int
    kind: str
    """written, refused or unlike, which are good; else error, crash, hang, memory, left, thread
    or unverified."""
    note: str
    name: str = ""
    done: tuple[str, ...] = ()
    code: int | None = None
    memory: int = 0
    """Most bytes that the worker held so far."""

    @property
    def good(self) -> bool:
        """Written and verified, refused in a sentence, or kept from the final name."""
        return self.kind in ("written", "refused", "unlike")

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.name}: {self.kind}, {self.note} ({'; '.join(self.done)})"


def write_films(folder: Path) -> None:
    """The whole films that are to be damaged."""
    for name, (codec, extras, more) in FILMS.items():
        more = {"options": PLAIN, **more} if codec == "libx264" else more
        write_clip(folder / name, frames=FRAMES, codec=codec, extras=extras, **more)
    # As we write it: the index in front, and text.
    pass_through(folder / "h264.mkv", folder / "ours.mp4")
    frames = [picture("yuv420p", 64, 48, number) for number in range(FRAMES)]
    (folder / "raw.y4m").write_bytes(y4m(frames))


def run_seeds(films: Path, folder: Path, seeds: Sequence[int], workers: int = 2) -> list[Outcome]:
    """Damage a film by each seed, and run the tool; `folder` keeps what went wrong."""
    parts = [seeds[number::workers] for number in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda part: list(_supervised(films, folder, part)), parts)
        return sorted((one for part in found for one in part), key=lambda one: one.seed)


def _supervised(films: Path, folder: Path, seeds: Iterable[int]) -> Iterator[Outcome]:
    """The outcome of each seed, from workers that are started anew when one ends."""
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
        self._said = (folder / f"worker-{threading.get_ident()}.txt").open("w+")
        # Arenas of malloc, one for each thread, would be most of its address space.
        environment = {
            **os.environ,
            "MALLOC_ARENA_MAX": "2",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", __file__, str(films), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=environment,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, seed: int) -> Outcome:
        """Run one seed; an end of the process or of the patience is its outcome."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seed}\n")
        self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=LIMIT)
        except queue.Empty:
            self._process.send_signal(signal.SIGABRT)  # says where every thread is
            self._process.wait()
            return self._ended(seed, "hang")
        if not line:
            self._process.wait()
            return self._ended(seed, "crash")
        told = json.loads(line)
        return Outcome(**{**told, "done": tuple(told["done"])})

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def _ended(self, seed: int, kind: str) -> Outcome:
        self._said.seek(0)
        said = self._said.read()
        damaged = draw(seed)
        code = self._process.returncode
        note = f"exit code {code}, which said: {said[-2500:]}"
        return Outcome(seed, kind, note, damaged.name, code=code)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")


@dataclass(frozen=True, slots=True)
class Case:
    """What a seed says besides the damage."""

    name: str
    """The film that is damaged."""
    piped: bool
    """Through standard input."""
    output: str
    options: tuple[str, ...]


def draw(seed: int) -> Case:
    """The film, the file that is written, and how."""
    random = np.random.default_rng((seed, 1))
    names = (*FILMS, "ours.mp4", "raw.y4m")
    name = names[int(random.integers(len(names)))]
    options = WAYS[int(random.integers(len(WAYS)))]
    piped = name == "raw.y4m" and random.random() < 0.5
    mp4 = not name.startswith(LOSSLESS) and random.random() < 0.4
    return Case(name, piped, "out.mp4" if mp4 else "out.mkv", options)


def run_seed(films: Path, folder: Path, seed: int) -> Outcome:
    """Damage a film and run the tool on it, here; what went well is deleted."""
    case = draw(seed)
    suffix = case.name.rpartition(".")[2]
    data = (films / case.name).read_bytes()
    damaged = mutate(data, suffix, np.random.default_rng((seed, 2)))
    place = folder / f"seed-{seed}"
    place.mkdir()
    source, output = place / f"in.{suffix}", place / case.output
    source.write_bytes(damaged.data)
    heard = StringIO()
    with redirect_stderr(heard):
        code = _run(source, output, case)
    kind, note = _judge(code, heard.getvalue(), source, output)
    outcome = Outcome(seed, kind, note, case.name, damaged.done, code, _held())
    if outcome.good:
        shutil.rmtree(place)
    return outcome


def _run(source: Path, output: Path, case: Case) -> int:
    """The exit code of the command line, in this process; -1 for what it does not foresee."""
    name = "-" if case.piped else str(source)
    words = ["run", name, "-o", str(output), "--progress", "json", *IDLE, *case.options]
    try:
        with source.open("rb") as file:
            os.dup2(file.fileno(), 0)
        main(words)
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:  # noqa: BLE001  # what is looked for
        traceback.print_exc()
        return -1
    return 0


def _judge(code: int, said: str, source: Path, output: Path) -> tuple[str, str]:
    """The kind of an outcome, and what there is to say."""
    if code not in (0, 1, 2, 3, 5) or "Traceback" in said:
        return "memory" if "MemoryError" in said else "error", f"exit code {code}: {said[-2500:]}"
    if any(thread.name != "MainThread" for thread in threading.enumerate()):
        return "thread", f"left running: {threading.enumerate()}"
    events = [json.loads(line) for line in said.splitlines()]
    last = str(events[-1].get("message", ""))
    if "allocate memory" in last:
        return "memory", last
    if not all(_plain(str(event.get("message", ""))) for event in events):
        return "error", f"characters that a terminal obeys: {said}"
    films = {Path(one["output"]).name: one["frames"] for one in events if one["event"] == "done"}
    left = {path.name for path in source.parent.iterdir()} - {source.name, *films}
    failed = f"{output.stem}.failed{output.suffix}"
    if left - ({folder_of(output).name} if code else set()) - ({failed} if code == 5 else set()):
        return "left", f"files left after exit code {code}: {left}; {last}"
    for name, frames in films.items():
        if (wrong := _flaw(output.with_name(name), frames)) is not None:
            return "unverified", wrong
    if code == 5:
        return "unlike", last
    if code:
        return ("refused", last) if "\n" not in last else ("error", f"several lines: {last}")
    return "written", str(films)


def _plain(text: str) -> bool:
    return all(letter.isprintable() or letter == "\n" for letter in text)


def _flaw(output: Path, frames: int) -> str | None:
    """What is wrong with a film of so many frames, beside what the tool has checked itself."""
    try:
        with av.open(f"file:{output}") as film:
            count = sum(1 for _ in film.decode(video=0))
    except (av.FFmpegError, OSError) as error:
        return str(error)
    return None if count == frames else f"{count} frames where {frames} were told"


def _held() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _work(films: Path, folder: Path) -> None:
    """Answer each seed with a line."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What libraries print must not stand among the answers, and a film may be standard input.
    answers, seeds = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(0))
    os.dup2(2, 1)
    for seed in seeds:
        outcome = run_seed(films, folder, int(seed))
        answers.write(json.dumps(asdict(outcome)) + "\n")
        answers.flush()


if __name__ == "__main__":
    _work(Path(sys.argv[1]), Path(sys.argv[2]))
