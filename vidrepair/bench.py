"""How fast this machine is: each stage alone, and the whole path, in one run.

Machines are shared and differ from minute to minute; figures of one run can be compared with one
another, and with nothing else.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vidrepair.batch import Grid, Profiler, Profilers, cut_spans
from vidrepair.decode import open_source
from vidrepair.engines import Build, make_engine, open_engine
from vidrepair.engines import repair as run_engine
from vidrepair.engines.protocol import Identity
from vidrepair.errors import UsageError
from vidrepair.frames import Frame, Picture, Span
from vidrepair.models import find_model
from vidrepair.noise import combine, measure_span
from vidrepair.pipeline import run_job
from vidrepair.repeats import mark_repeats
from vidrepair.report import Report
from vidrepair.sequences import is_sequence
from vidrepair.settings import EngineSettings, Job, OutputSettings
from vidrepair.shots import number_shots

Result = TypeVar("Result")
_SIGMA = 8.0
"""Of the noise on a made film, 8-bit code values."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What is measured."""

    engine: EngineSettings
    source: Path | None = None
    """A film; None makes one of `size`."""
    size: tuple[int, int] = (854, 480)
    """Width and height."""
    frames: int = 192
    """Of the film, from its start."""
    preset: str = "veryfast"
    """Of x264."""

    def __post_init__(self) -> None:
        if self.frames < 8:
            raise UsageError(f"--frames {self.frames} tells nothing; use 8 or more")
        if min(self.size) < 16:
            width, height = self.size
            raise UsageError(f"--size {width}x{height} is too small; use 16x16 or more")


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What came out. Times are of the wall clock."""

    width: int
    height: int
    frames: int
    engine: dict[str, Any]
    """Its identity, `ms_per_frame` alone, warm-up steps shared over the frames, and `fps`."""
    end_to_end: dict[str, float]
    """`fps` and `seconds` of a whole run into H.264."""
    stages: dict[str, float]
    """Milliseconds a frame of each stage alone; `without engine` is a whole run that changes
    nothing."""
    busy: float
    """Share of the whole run, start-up left out, in which the engine waited for no other stage."""
    floor: dict[str, float] | None
    """What a step takes at least on this processor or card; None for other engines."""
    peak_memory_mb: float | None
    """Resident, of the whole run; None where the system does not tell."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def summary(self) -> str:
        """A few lines for people."""
        rows = [f"  {name:<14} {value:8.2f} ms a frame" for name, value in self.stages.items()]
        memory = "" if self.peak_memory_mb is None else f", {self.peak_memory_mb:.0f} MB at most"
        size = f"{self.width}x{self.height}"
        return "\n".join(
            (
                f"{self.frames} frames of {size}, {Identity(**self.engine['identity']).summary()}",
                *rows,
                *self._floor(),
                self._speeds() + memory,
            )
        )

    def _speeds(self) -> str:
        alone, whole = self.engine["fps"], self.end_to_end["fps"]
        return f"engine alone {alone:.2f} fps, whole run {whole:.2f} fps; busy {self.busy:.0%}"

    def _floor(self) -> list[str]:
        if self.floor is None:
            return []
        arithmetic, memory = self.floor["arithmetic_ms"], self.floor["memory_ms"]
        return [
            f"at this machine's best a step is {arithmetic} ms of arithmetic, {memory} of memory"
        ]


def run_bench(settings: BenchSettings, build: Build | None = None) -> BenchReport:
    """Measure the whole path first, for its memory, then each stage alone.

    `build` compiles an engine for a card where there is none yet. Raises a VidrepairError as a
    run does.
    """
    with tempfile.TemporaryDirectory(prefix="vidrepair-bench-") as folder:
        source = settings.source or _make_film(Path(folder) / "film.y4m", settings)
        model = _prepare(source, settings, build)
        settings = replace(settings, engine=replace(settings.engine, model=model))
        whole = _run(source, Path(folder) / "whole.mkv", settings, settings.engine)
        peak = _peak_memory()
        without = _run(source, Path(folder) / "without.mkv", settings, settings.engine.idle())
        (picture, frames), decoding = _clocked(lambda: _decode(source, settings.frames))
    card = find_model(settings.engine.model).card
    grid = Grid(card.warm_up, card.core_length(picture))
    spans, planning = _clocked(lambda: _plan(frames, grid))
    identity, on_card, inferring = _infer(picture, spans, settings.engine)
    count = len(frames)
    stages = {
        "decode": decoding,
        "shots, noise": planning,
        "engine": inferring,
        "without engine": without.seconds,
    }
    return BenchReport(
        width=picture.width,
        height=picture.height,
        frames=count,
        engine={
            "identity": identity.as_dict(),
            "ms_per_frame": round(1000.0 * inferring / count, 3),
            "fps": round(count / inferring, 3),
        },
        end_to_end={"fps": round(whole.fps, 3), "seconds": round(whole.seconds, 3)},
        stages={name: round(1000.0 * seconds / count, 3) for name, seconds in stages.items()},
        busy=round(whole.busy, 3),
        floor=_floor(picture, identity, settings.engine, on_card=on_card),
        peak_memory_mb=peak,
    )


def _make_film(path: Path, settings: BenchSettings) -> Path:
    """A pan over soft shapes with white noise, y4m 4:2:0; the same one every time."""
    width, height = settings.size
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    chroma = np.full(2 * ((height + 1) // 2) * ((width + 1) // 2), 128, dtype=np.uint8).tobytes()
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n".encode())
        for number in range(settings.frames):
            place = columns + 4 * number
            luma = 110.0 + 60.0 * np.sin(place / 23.0) * np.cos(rows / 17.0)
            luma += 20.0 * np.sin(place * rows / 900.0)
            noisy = luma + rng.normal(0.0, _SIGMA, luma.shape)
            file.write(b"FRAME\n" + noisy.clip(16, 235).astype(np.uint8).tobytes() + chroma)
    return path


def _prepare(source: Path, settings: BenchSettings, build: Build | None) -> str:
    """Compile what a card's cache lacks: that is done once, and is no speed. The model's name."""
    if is_sequence(source):
        raise UsageError("numbered pictures are not measured; run them into an .mkv file first")
    with open_source(source) as opened:
        picture = opened.clip.picture
    files, engine = open_engine(picture, settings.engine, build=build)
    engine.close()
    return files.name


def _run(source: Path, output: Path, settings: BenchSettings, engine: EngineSettings) -> Report:
    """A whole run into H.264."""
    target = OutputSettings(codec="h264", preset=settings.preset, frames=settings.frames)
    return run_job(Job(source, output, engine=engine, target=target))


def _decode(source: Path, count: int) -> tuple[Picture, list[Frame]]:
    with open_source(source, tell_quantiser=True) as opened:
        frames: list[Frame] = []
        for item in opened.read():
            if isinstance(item, Frame):
                frames.append(item)
            if len(frames) == count:
                break
        return opened.clip.picture, frames


def _plan(frames: Sequence[Frame], grid: Grid) -> list[Span]:
    """Repeats, shots, spans and their noise."""
    shots = number_shots(mark_repeats(frames))
    return list(cut_spans(shots, grid, lambda: Profilers(Profiler(measure_span, combine))))


def _infer(
    picture: Picture, spans: Sequence[Span], settings: EngineSettings
) -> tuple[Identity, bool, float]:
    """Run the spans through the engine, warm-up and all, and drop what comes out.

    Its identity, whether it is a card's, and the seconds.
    """
    engine = make_engine(find_model(settings.model), picture, settings)
    try:
        for _ in run_engine(spans[: engine.identity.lanes], engine):
            break  # what is allocated at the first step is not speed
        _, seconds = _clocked(lambda: sum(1 for _ in run_engine(spans, engine)))
        on_card = engine.worked is not None
    finally:
        engine.close()
    return engine.identity, on_card, seconds


def _floor(
    picture: Picture, identity: Identity, settings: EngineSettings, *, on_card: bool
) -> dict[str, float] | None:
    if not on_card and identity.backend != "openvino":
        return None
    from vidrepair.engines.floor import measure_card_floor, measure_floor

    if on_card:
        device = "cuda:0" if settings.device in ("auto", "cuda") else settings.device
        half, files = identity.precision != "fp32", find_model(settings.model)
        return measure_card_floor(files, picture, half=half, device=device).as_dict()
    bf16 = identity.precision == "bf16"
    files = find_model(settings.model)
    return measure_floor(files, picture, bf16=bf16, threads=settings.threads).as_dict()


def _clocked(work: Callable[[], Result]) -> tuple[Result, float]:
    """Do it, and say how many seconds it took."""
    start = time.monotonic()
    result = work()
    return result, time.monotonic() - start


def _peak_memory() -> float | None:
    """Megabytes of this process at most so far."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
