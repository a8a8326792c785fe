"""Speed of the whole path beside that of the engine alone, in one run: python tests/bench.py IN.

Prints a Markdown table of frames per second and of CPU time by stage. By hand, never in CI:
machines are shared, and only ratios of one run can be trusted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from vidrepair import EngineSettings, OutputSettings, RepairSettings, Report, repair
from vidrepair.batch import Grid, Profiler, cut_spans
from vidrepair.decode import open_source
from vidrepair.engines import make_engine
from vidrepair.engines import repair as run_engine
from vidrepair.frames import Frame, Span
from vidrepair.models import find_model
from vidrepair.noise import combine, measure_span
from vidrepair.repeats import mark_repeats
from vidrepair.shots import number_shots


@dataclass(frozen=True, slots=True)
class Alone:
    """The engine with its warm-up steps and nothing around it."""

    frames: int
    seconds: float
    cpu: float

    @property
    def fps(self) -> float:
        return self.frames / self.seconds


def read_spans(source: Path, grid: Grid) -> list[Span]:
    """Every span of the film, decoded beforehand."""
    with open_source(source) as opened:
        frames = (item for item in opened.read() if isinstance(item, Frame))
        profiler = Profiler(measure_span, combine)
        return list(cut_spans(number_shots(mark_repeats(frames)), grid, profiler))


def time_engine(source: Path, settings: EngineSettings) -> Alone:
    """Run the spans of a film through the engine and drop what comes out."""
    files = find_model(settings.model)
    picture = _picture(source)
    spans = read_spans(source, Grid(files.card.warm_up, files.card.core_length(picture)))
    engine = make_engine(files, picture, settings)
    for _ in run_engine(spans[:1], engine):
        break  # what is compiled or allocated at the first step is not speed
    started, cpu = time.monotonic(), time.process_time()
    frames = sum(answer.step >= answer.span.warm for answer in run_engine(spans, engine))
    took = Alone(frames, time.monotonic() - started, time.process_time() - cpu)
    engine.close()
    return took


def _picture(source: Path):  # noqa: ANN202  # the picture of the clip
    with open_source(source) as opened:
        return opened.clip.picture


def time_whole(source: Path, settings: EngineSettings, preset: str) -> tuple[Report, float]:
    """Restore the film into H.264. Returns the report and the CPU seconds of all of it."""
    with tempfile.TemporaryDirectory() as folder:
        cpu = time.process_time()
        report = repair(
            source,
            Path(folder) / "out.mkv",
            settings=RepairSettings(),
            engine=settings,
            target=OutputSettings(codec="h264", preset=preset),
        )
        return report, time.process_time() - cpu


def main() -> None:
    """Measure both, in turn, as often as asked."""
    parser = argparse.ArgumentParser(description="The whole path beside the engine alone.")
    parser.add_argument("source", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--model", default="fast")
    given = parser.parse_args()
    settings = EngineSettings(model=given.model)
    lines = [
        "| run | engine alone, fps | whole path, fps | share | engine CPU, s | all CPU, s |",
        "|---|---|---|---|---|---|",
    ]
    stages: dict[str, float] = {}
    for run in range(given.runs):
        alone = time_engine(given.source, settings)
        report, cpu = time_whole(given.source, settings, given.preset)
        share = report.fps / alone.fps
        lines.append(
            f"| {run + 1} | {alone.fps:.1f} | {report.fps:.1f} | {share:.0%} |"
            f" {alone.cpu:.2f} | {cpu:.2f} |"
        )
        stages = report.stages
    lines += ["", "| stage | CPU, s |", "|---|---|"]
    lines += [f"| {name} | {seconds:.2f} |" for name, seconds in stages.items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
