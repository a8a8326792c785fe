"""Damaged films through the whole tool: a program that takes seeds on its standard input and
answers each with one line. What ends it is the doing of the seed that it had.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
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
from vidrepair.labels import TEXT_ERRORS

IDLE = ("--denoise", "0", "--repair", "none")
MEMORY = 4 << 30
"""Bytes of address space; a whole file takes 1 GiB, most of it reserved and not touched."""
MOST = 3 << 30
"""Bytes that a worker may hold: 130 MiB are usual, and FFmpeg takes up to 2 GiB where a header of
AVI lies about its size."""
FRAMES = 12
# As nearly the same bytes each time as the encoders give.
PLAIN, EXACT = {"threads": "1"}, {"fflags": "+bitexact"}
SOUND = Extras(audio=1)
LAYER2 = Extras(audio=1, audio_codec="mp2")
PCM = Extras(audio=1, audio_codec="pcm_s16le", chapters=2)
FILMS: dict[str, tuple[str, Extras, dict[str, Any]]] = {
    "h264.mp4": ("libx264", Extras(audio=1, chapters=2), {"options": PLAIN}),
    "hevc.mp4": ("libx265", Extras(audio=2), {}),
    "mpeg2.mp4": ("mpeg2video", LAYER2, {}),
    "h264.mkv": (
        *("libx264", Extras(audio=1, subtitles=2, chapters=2, attachment=b"note")),
        {"options": PLAIN},
    ),
    "hevc10.mkv": ("libx265", SOUND, {"pix_fmt": "yuv420p10le"}),
    "ffv1.mkv": ("ffv1", Extras(audio=1, audio_codec="flac", subtitles=1, cover=True), {}),
    "rgb.mkv": ("ffv1", Extras(chapters=1), {"pix_fmt": "gbrp10le"}),
    "h264.mov": ("libx264", SOUND, {"options": PLAIN}),
    "mpeg4.mov": ("mpeg4", PCM, {}),
    "prores.mov": ("prores_ks", PCM, {"pix_fmt": "yuv422p10le"}),
    "mpeg4.avi": ("mpeg4", LAYER2, {}),
    "ffv1.avi": ("ffv1", Extras(), {}),
    "h264.ts": ("libx264", SOUND, {"options": PLAIN}),
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
class Case:
    """What a seed says besides the damage."""

    name: str
    """The film that is damaged."""
    piped: bool
    """Through standard input."""
    output: str
    options: tuple[str, ...]

    @property
    def suffix(self) -> str:
        """The kind of file that is damaged."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one damaged file."""

    seed: int
    kind: str
    """written (and verified), refused (in a sentence), or unlike (it failed the tool's own check
    and did not get its name); else error, crash, hang, memory, left, thread or unverified."""
    note: str
    name: str
    done: tuple[str, ...] = ()
    code: int | None = None
    seconds: float = 0.0
    memory: int = 0
    """Most bytes that the worker held so far."""

    @property
    def good(self) -> bool:
        """Nothing that does not verify has the final name, and what happened was said."""
        return self.kind in ("written", "refused", "unlike")

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.name}: {self.kind}, {self.note} ({'; '.join(self.done)})"


def write_films(folder: Path) -> None:
    """The whole films that are to be damaged."""
    for name, (codec, extras, more) in FILMS.items():
        clip = folder / name
        write_clip(clip, frames=FRAMES, codec=codec, extras=extras, muxing=EXACT, **more)
    # As we write it: the index in front, and text.
    pass_through(folder / "h264.mkv", folder / "ours.mp4")
    frames = [picture("yuv420p", 64, 48, number) for number in range(FRAMES)]
    (folder / "raw.y4m").write_bytes(y4m(frames))


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
    data = (films / case.name).read_bytes()
    damaged = mutate(data, case.suffix, np.random.default_rng((seed, 2)))
    place = folder / f"seed-{seed}"
    place.mkdir()
    source, output = place / f"in.{case.suffix}", place / case.output
    source.write_bytes(damaged.data)
    heard, started = StringIO(), time.monotonic()
    with redirect_stderr(heard):
        code = _run(source, output, case)
    seconds = round(time.monotonic() - started, 2)
    kind, note = _judge(code, heard.getvalue(), source, output)
    outcome = Outcome(seed, kind, note, case.name, damaged.done, code, seconds, _held())
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
        kind = "memory" if "MemoryError" in said else "error"
        return kind, f"exit code {code}: {said[-2500:]}"
    events = [json.loads(line) for line in said.splitlines()]
    last = str(events[-1].get("message", ""))
    films = {Path(one["output"]).name: one["frames"] for one in events if one["event"] == "done"}
    wrong = next(_wrongs(code, films, source, output), None)
    if wrong is not None:
        return wrong[0], f"{wrong[1]}; exit code {code}: {last}"
    if code in (0, 5):
        return ("unlike", last) if code else ("written", str(films))
    return ("refused", last) if "\n" not in last else ("error", f"several lines: {last}")


def _wrongs(
    code: int, films: Mapping[str, int], source: Path, output: Path
) -> Iterator[tuple[str, str]]:
    """What must not be after any run, of which some `films` of so many frames were told."""
    if _held() > MOST:
        yield "memory", f"{_held()} bytes held"
    if any(thread.name != "MainThread" for thread in threading.enumerate()):
        yield "thread", f"left running: {threading.enumerate()}"
    allowed = {source.name, *films}
    if code:
        allowed.add(folder_of(output).name)  # what is finished, for resume
    if code == 5:
        allowed.add(f"{output.stem}.failed{output.suffix}")
    if left := {path.name for path in source.parent.iterdir()} - allowed:
        yield "left", f"files left: {left}"
    for name, frames in films.items():
        try:
            with av.open(f"file:{output.with_name(name)}", **TEXT_ERRORS) as film:
                count = sum(1 for _ in film.decode(video=0))
        except (av.FFmpegError, OSError) as error:
            yield "unverified", f"{name} cannot be read: {error}"
        else:
            if count != frames:
                yield "unverified", f"{name} holds {count} frames where {frames} were told"


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
