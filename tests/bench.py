"""Speed of the whole path beside that of the engine alone, in one run: python tests/bench.py IN.

Prints Markdown tables of frames per second and of CPU time by stage, all threads counted. By
hand, never in CI: machines are shared, and only ratios of one run can be trusted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vidrepair import EngineSettings, OutputSettings, Report, repair
from vidrepair.batch import Grid, Profiler, cut_spans
from vidrepair.decode import open_source
from vidrepair.engines import make_engine
from vidrepair.engines import repair as run_engine
from vidrepair.frames import Frame, Picture, Span
from vidrepair.models import find_model
from vidrepair.noise import combine, measure_span
from vidrepair.repeats import mark_repeats
from vidrepair.shots import number_shots

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Took:
    """Wall and CPU seconds of the whole process."""

    wall: float
    cpu: float


def clocked(work: Callable[[], Result]) -> tuple[Result, Took]:
    """Do it, and say what it took."""
    wall, cpu = time.monotonic(), time.process_time()
    result = work()
    return result, Took(time.monotonic() - wall, time.process_time() - cpu)


def decode(source: Path) -> tuple[Picture, list[Frame]]:
    """Every frame of the film."""
    with open_source(source) as opened:
        frames = [item for item in opened.read() if isinstance(item, Frame)]
        return opened.clip.picture, frames


def plan_spans(frames: list[Frame], grid: Grid) -> list[Span]:
    """Repeats, shots, spans and their noise."""
    profiler = Profiler(measure_span, combine)
    return list(cut_spans(number_shots(mark_repeats(frames)), grid, profiler))


def infer(picture: Picture, spans: list[Span], settings: EngineSettings) -> tuple[int, Took]:
    """Run the spans through the engine, warm-up and all, and drop what comes out."""
    engine = make_engine(find_model(settings.model), picture, settings)
    for _ in run_engine(spans[:1], engine):
        break  # what is allocated at the first step is not speed
    frames, took = clocked(
        lambda: sum(answer.step >= answer.span.warm for answer in run_engine(spans, engine))
    )
    engine.close()
    return frames, took


def run_whole(source: Path, settings: EngineSettings, preset: str) -> Report:
    """Restore the film into H.264."""
    with tempfile.TemporaryDirectory() as folder:
        target = OutputSettings(codec="h264", preset=preset)
        return repair(source, Path(folder) / "out.mkv", engine=settings, target=target)


def measure(source: Path, settings: EngineSettings, preset: str) -> tuple[str, list[str]]:
    """A row of speeds, and the rows of CPU time by stage."""
    (picture, frames), decoding = clocked(lambda: decode(source))
    card = find_model(settings.model).card
    grid = Grid(card.warm_up, card.core_length(picture))
    spans, planning = clocked(lambda: plan_spans(frames, grid))
    count, alone = infer(picture, spans, settings)
    report, whole = clocked(lambda: run_whole(source, settings, preset))
    rest = whole.cpu - decoding.cpu - planning.cpu - alone.cpu
    stages = {
        "decode": decoding.cpu,
        "repeats, shots, noise, spans": planning.cpu,
        "engine": alone.cpu,
        "start-up, compose, encode, mux": rest,
    }
    fps = count / alone.wall
    speeds = f"{count} | {fps:.1f} | {report.fps:.1f} | {report.fps / fps:.0%}"
    rows = [
        f"| {name} | {1000 * cpu / count:.1f} | {cpu / whole.cpu:.0%} |"
        for name, cpu in stages.items()
    ]
    return speeds, rows


def main() -> None:
    """Measure as often as asked."""
    parser = argparse.ArgumentParser(description="The whole path beside the engine alone.")
    parser.add_argument("source", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--model", default="fast")
    given = parser.parse_args()
    rows = [
        "| run | frames | engine alone, fps | whole path, fps | share |",
        "|---|---|---|---|---|",
    ]
    stages: list[str] = []
    for run in range(given.runs):
        speeds, stages = measure(given.source, EngineSettings(model=given.model), given.preset)
        rows.append(f"| {run + 1} | {speeds} |")
    rows += ["", "| stage | CPU ms a frame | share |", "|---|---|---|", *stages]
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
