"""What `vidrepair bench` measures hangs together; how fast it is is no test's business."""

from __future__ import annotations

import json
from pathlib import Path

import clips
import pytest
import torch
from click.testing import CliRunner
from torch.utils.flop_counter import FlopCounterMode

from vidrepair.bench import BenchSettings, run_bench
from vidrepair.cli import main
from vidrepair.engines.floor import measure_card_floor, measure_floor
from vidrepair.engines.generator import FAST, Generator
from vidrepair.errors import UsageError
from vidrepair.frames import Picture, PixelFormat
from vidrepair.models import find_model
from vidrepair.settings import EngineSettings


def test_the_stages_and_the_whole_are_told_as_json() -> None:
    result = CliRunner().invoke(main, ["bench", "--size", "64x48", "--frames", "10", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["width"], told["height"], told["frames"]) == (64, 48, 10)
    assert told["stages"].keys() == {"decode", "shots, noise", "engine", "without engine"}
    assert all(value > 0.0 for value in told["stages"].values())
    assert told["engine"]["fps"] == pytest.approx(1000 / told["engine"]["ms_per_frame"], rel=1e-2)
    assert told["engine"]["identity"]["backend"] == "openvino"
    # Ten frames of a stamp: the whole run is more than its engine.
    assert told["end_to_end"]["seconds"] > 10e-3 * told["engine"]["ms_per_frame"]
    assert 0.0 < told["busy"] <= 1.0
    assert told["peak_memory_mb"] > 50.0


def test_a_film_of_ones_own_is_measured_as_far_as_asked(tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    clips.write_clip(film, frames=14, size=(80, 48))
    report = run_bench(
        BenchSettings(EngineSettings(backend="torch", device="cpu"), film, frames=12)
    )
    assert (report.width, report.height, report.frames) == (80, 48, 12)
    assert report.floor is None
    assert "12 frames of 80x48, torch" in report.summary()
    assert [path.name for path in tmp_path.iterdir()] == ["film.mkv"]


def test_the_floor_counts_what_torch_counts() -> None:
    height, width = 48, 96
    picture = Picture(width, height, PixelFormat("yuv420p", "yuv", 8, (2, 2)))
    floor = measure_floor(find_model("fast"), picture, bf16=False, threads=1)
    frames, state = torch.zeros(1, 3, 3, height, width), torch.zeros(1, 44, height // 2, width // 2)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        Generator(FAST)(frames, state, torch.zeros(1, 2, 17))
    # The noise map is a product of matrices, too, of no account.
    assert floor.gflop == pytest.approx(counter.get_total_flops() / 1e9, rel=1e-3)
    # Frames, state and aligned; frame, aligned; motion; denoise, fill, defect, state.
    planes = (9 + 11 + 14) + (3 + 14) + 0.25 + (3 + 3 + 1 + 11)
    assert floor.megabytes == pytest.approx(height * width * planes * 4e-6, rel=1e-2)


def test_a_card_is_measured_as_a_processor_is() -> None:
    picture = Picture(96, 48, PixelFormat("yuv420p", "yuv", 8, (2, 2)))
    files = find_model("fast")
    here = measure_floor(files, picture, bf16=False, threads=1)
    there = measure_card_floor(files, picture, half=False, device="cpu", side=256)
    assert there.gflop == pytest.approx(here.gflop, rel=1e-3)
    assert there.megabytes == pytest.approx(here.megabytes, rel=1e-3)
    assert 0.5 < there.gflops < 1e5
    assert 0.05 < there.gigabytes_per_second < 1e4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "2"], "--frames 2 tells nothing"),
        (["--size", "8x8"], "--size 8x8 is too small"),
        (["--size", "large"], "'large' is not WxH"),
    ],
)
def test_what_tells_nothing_is_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert message in str(result.exception) + result.stderr
    assert isinstance(result.exception, (UsageError, SystemExit))
