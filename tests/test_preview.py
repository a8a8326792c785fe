"""vidrepair preview: frames of a film as the film would have them, without the film."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result
from clips import moving, read_frames, samples_of, write_clip
from PIL import Image

from vidrepair.cli import main
from vidrepair.decode import open_source
from vidrepair.glimpse import Glimpses, Subject
from vidrepair.pipeline import run_job
from vidrepair.scan import Place, choose, scan_film
from vidrepair.settings import EngineSettings, Job, OutputSettings, RepairSettings

SIZE = (160, 112)
FRAMES = 150
IDLE = ("--denoise", "0", "--repair", "none")
"""Nothing is computed."""
DARK, BRIGHT = 30, 90
"""Frames from which ten are darker, or brighter, than all others."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 frames at 25 a second, with noise."""
    path = tmp_path_factory.mktemp("preview") / "film.mkv"
    write_clip(path, frames=moving(*SIZE, FRAMES, noise=8.0), size=SIZE)
    return path


def preview(*args: str | Path) -> Result:
    """The command in this process."""
    return CliRunner().invoke(main, ["preview", *map(str, args)])


def shown(result: Result) -> dict[str, Any]:
    """What --json gave."""
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(folder: Path, code: int, *args: str | Path) -> str:
    """Expect an exit code, one sentence, and the folder as it was."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = preview(*args)
    assert result.exit_code == code, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    return result.stderr


def psnr(one: list[np.ndarray], two: list[np.ndarray]) -> float:
    """Of all planes together, in dB."""
    change = np.concatenate([(a.astype(float) - b).ravel() for a, b in zip(one, two, strict=True)])
    return float(10 * np.log10(255**2 / max(np.mean(change**2), 1e-9)))


def test_a_frame_is_that_of_the_full_run(film: Path, tmp_path: Path):
    settings = RepairSettings()
    full = tmp_path / "full.mkv"
    run_job(Job(film, full, settings, EngineSettings(), OutputSettings(codec="ffv1")))
    finished = read_frames(full)
    with open_source(film) as source:
        clip = source.clip
    strengths = (settings.denoise,)
    subject = Subject(film, clip, "progressive", settings, strengths, EngineSettings())
    numbers = (20, 110)
    places = [Place(Fraction(number, 25), ("as asked",)) for number in numbers]
    with ExitStack() as owned:
        for number, glimpse in zip(numbers, Glimpses(subject, owned).restore(places), strict=True):
            assert glimpse.frame.number == number
            found, wanted = list(glimpse.after[0]), samples_of(finished[number])
            assert psnr(found, wanted) > 40.0
            # The run did something, so this says more than that nothing was done.
            assert psnr(list(glimpse.decoded), wanted) < 35.0


def test_the_sheet_is_a_png_of_its_size(film: Path, tmp_path: Path):
    sizes = []
    for frames in (1, 2):
        sheet = tmp_path / f"{frames}.png"
        report = shown(preview(film, "-o", sheet, "--frames", str(frames), "--json", *IDLE))
        assert len(report["frames"]) == frames
        with Image.open(io.BytesIO(sheet.read_bytes())) as image:
            image.load()
            assert (image.format, image.mode) == ("PNG", "RGB")
            sizes.append(image.size)
    # Four columns of a small picture are narrower than the words; each frame has a row.
    assert [width for width, _ in sizes] == [960, 960]
    assert sizes[1][1] - sizes[0][1] > SIZE[1]


def test_a_column_for_each_strength(film: Path, tmp_path: Path):
    widths = []
    for denoise in ("50,70/100", "20,40,50,70,100"):
        sheet = tmp_path / f"{len(widths)}.png"
        shown(
            preview(
                film, "-o", sheet, "--at", "1", "--denoise", denoise, "--repair", "none", "--json"
            )
        )
        with Image.open(sheet) as image:
            widths.append(image.width)
    # Before, difference and matte beside them: 5 columns of 160 fit, 8 are 1396 with their gaps.
    assert widths == [960, 2 * 28 + 8 * SIZE[0] + 7 * 10]


def test_darkest_and_brightest_are_chosen(tmp_path: Path):
    film = tmp_path / "film.mkv"
    frames = moving(64, 48, 120, noise=4.0)
    for number, frame in enumerate(frames):
        lift = -50 * (DARK <= number < DARK + 10) + 50 * (BRIGHT <= number < BRIGHT + 10)
        luma = np.frombuffer(frame.planes[0], np.uint8)
        luma[:] = np.clip(luma.astype(int) + lift, 0, 255)
    write_clip(film, frames=frames, size=(64, 48))
    with open_source(film) as source:
        clip = source.clip
    places = choose(scan_film(film, clip).looks, 6)
    assert len(places) == 6
    for reason, start in (("darkest", DARK), ("brightest", BRIGHT)):
        (place,) = (place for place in places if reason in place.reasons)
        assert start <= place.seconds * 25 < start + 10, reason


def test_at_gives_that_frame(film: Path, tmp_path: Path):
    sheet = tmp_path / "sheet.png"
    report = shown(preview(film, "-o", sheet, "--at", "2", "--at", "0:03.2", "--json", *IDLE))
    assert [frame["frame"] for frame in report["frames"]] == [50, 80]
    assert [frame["seconds"] for frame in report["frames"]] == [2.0, 3.2]


def test_what_cannot_be_asked(film: Path, tmp_path: Path):
    sheet = tmp_path / "sheet.png"
    assert "behind the last frame" in refused(tmp_path, 2, film, "-o", sheet, "--at", "60", *IDLE)
    assert ".png" in refused(tmp_path, 2, film, "-o", tmp_path / "sheet.jpg", *IDLE)
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(b"no film")
    refused(tmp_path, 3, broken, "-o", sheet, *IDLE)
    refused(tmp_path, 3, tmp_path / "missing.mkv", "-o", sheet, *IDLE)
    sheet.write_bytes(b"mine")
    assert "exists" in refused(tmp_path, 2, film, "-o", sheet, *IDLE)
    shown(preview(film, "-o", sheet, "-y", "--at", "1", "--json", *IDLE))
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_other_commands_do_without_pillow():
    code = (
        "import sys; sys.modules['PIL'] = None;"
        "from vidrepair.cli import main; main(['run', '--help'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_only_a_part_of_a_long_film_is_read(tmp_path: Path):
    film = tmp_path / "long.mp4"
    count = 3000
    frame = moving(64, 48, 1)[0]
    options = {"g": "25", "preset": "ultrafast"}
    pictures = [_copy(frame) for _ in range(count)]
    write_clip(film, frames=pictures, size=(64, 48), codec="libx264", options=options)
    report = shown(preview(film, "-o", tmp_path / "s.png", "--frames", "2", "--json", *IDLE))
    assert 0 < report["decoded"] < count / 3
    asked = shown(preview(film, "-o", tmp_path / "t.png", "--at", "100", "--json", *IDLE))
    assert asked["frames"][0]["frame"] == 2500
    assert 0 < asked["decoded"] < count / 10


def _copy(frame: av.VideoFrame) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(frame.to_ndarray(), format="yuv420p")
