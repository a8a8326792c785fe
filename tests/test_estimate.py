"""estimate: what a run will take is told beforehand, and the run is the judge of it."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from clips import Extras, moving, write_clip

import vidrepair
from vidrepair.calibration import SHORT
from vidrepair.cli import main
from vidrepair.errors import EngineError, UsageError
from vidrepair.inventory import take_inventory
from vidrepair.job_text import job_from_json, job_to_json
from vidrepair.settings import (
    LOSSES,
    DamageSettings,
    EngineSettings,
    Job,
    MaskSettings,
    OutputSettings,
    RepairSettings,
    SourceSettings,
)
from vidrepair.trial import Trials

IDLE = ("--denoise", "0", "--repair", "none")
"""Nothing is computed."""
FRAMES = 600
SIZE = (64, 48)
NEAR = 0.15
"""How far, as a share of the truth, a size may be off."""
SETTINGS = RepairSettings(denoise=(0.0, 0.0), damage=DamageSettings(kinds=()))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film longer than its pieces, whose noise grows in three steps; with sound."""
    path = tmp_path_factory.mktemp("estimate") / "film.mkv"
    parts = [moving(*SIZE, FRAMES // 3, noise=noise) for noise in (2.0, 8.0, 14.0)]
    frames = [frame for part in parts for frame in part]
    options, sound = {"crf": "10"}, Extras(audio=1)
    write_clip(path, frames=frames, size=SIZE, codec="libx264", options=options, extras=sound)
    return path


def estimate(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["estimate", *map(str, args), *IDLE])


def told_by(*args: str | Path) -> dict[str, Any]:
    """What --json gave, of an estimate that came through."""
    result = estimate("--json", *args)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(code: int, *args: str | Path) -> str:
    """The one sentence of an estimate that ends with a code."""
    result = estimate(*args)
    assert result.exit_code == code, result.output
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize("journal", [True, False])
def test_the_sizes_are_those_of_the_run(film: Path, tmp_path: Path, *, journal: bool) -> None:
    output = tmp_path / "run.mkv"
    target = OutputSettings(journal=journal)
    found = vidrepair.estimate(film, output, settings=SETTINGS, target=target)
    assert not output.exists()
    vidrepair.repair(film, output, settings=SETTINGS, target=target)
    size = output.stat().st_size
    assert found.frames == take_inventory(output).frames == FRAMES
    assert found.ran < FRAMES
    assert abs(found.output - size) <= NEAR * size
    assert found.segmented == journal
    picture = take_inventory(output).film if journal else 0
    assert abs(found.disk - size - picture) <= NEAR * (size + picture)


def test_a_short_film_is_run_whole(tmp_path: Path) -> None:
    source, output = tmp_path / "short.mkv", tmp_path / "run.mkv"
    write_clip(source, frames=20)
    assert SHORT >= 20
    found = vidrepair.estimate(source, output, settings=SETTINGS)
    vidrepair.repair(source, output, settings=SETTINGS)
    assert (found.frames, found.ran, found.counted_by) == (20, 20, "run")
    assert found.output == found.disk == output.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.mkv", "short.mkv"]


def test_json_says_all_of_each_film_and_of_all(film: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.mkv"
    write_clip(short, frames=20)
    told = told_by(short, film, "--pieces", "1", "-c", "ffv1")
    fields = {"source", "frames", "counted_by", "seconds", "cpu", "start", "output", "disk"}
    fields |= {"memory", "ran", "took", "segmented", "codec", "engine", "fps"}
    assert [set(one) for one in told["files"]] == [fields, fields]
    assert {one["codec"] for one in told["files"]} == {"ffv1"}
    total = told["total"]
    assert total["frames"] == 20 + FRAMES
    assert total["output"] == sum(one["output"] for one in told["files"])
    # What lies beside one film is gone before the next is begun.
    assert total["disk"] == total["output"] + told["files"][1]["disk"] - told["files"][1]["output"]
    assert total["memory"] == max(one["memory"] for one in told["files"]) > 1 << 24
    assert total["cpu"] > 0


@pytest.mark.parametrize(
    ("options", "frames"),
    [(("--ss", "4", "--to", "5.2"), 30), (("--ss", "15"), 225)],
)
def test_a_part_of_a_film(film: Path, options: tuple[str, ...], frames: int) -> None:
    assert told_by(film, "--pieces", "1", *options)["total"]["frames"] == frames


def test_a_bad_film_does_not_stop_the_others(film: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.mkv"
    text.write_text("no film\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    result = estimate(text, film, empty, "-", "--pieces", "1", "--frames", "50")
    assert result.exit_code == 7
    assert "3 of 4 files failed" in result.stderr
    lines = result.stdout.splitlines()
    names = [str(text), str(film), str(empty), "-", "in"]
    assert [line.split()[0] for line in lines[1:]] == names
    assert [("failed: " in line) for line in lines[1:]] == [True, False, True, True, False]


def test_a_folder_is_all_films_in_it(tmp_path: Path) -> None:
    for name in ("b.mkv", "sub/a.mkv", "notes.txt", "a.failed.mkv"):
        path = tmp_path / "reels" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(path.with_suffix(".mkv"), frames=4)
        path.with_suffix(".mkv").rename(path)
    (tmp_path / "empty").mkdir()
    told = told_by(tmp_path / "reels")
    assert [Path(one["source"]).name for one in told["files"]] == ["b.mkv", "a.mkv"]
    nothing = estimate(tmp_path / "empty")
    assert nothing.exit_code == 3
    assert "is a folder; name one video file in it" in nothing.stderr


def test_what_cannot_be_estimated_is_told_in_a_sentence(film: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("no film\n")
    assert "pipe" in refused(2, "-")
    assert "missing.mkv" in refused(3, tmp_path / "missing.mkv")
    assert "text.txt" in refused(3, text)
    assert str(tmp_path) in refused(3, tmp_path)
    assert "--pieces 0" in refused(2, film, "--pieces", "0")
    assert "--mask-out" in refused(2, film, "--mask-out", "matte.mkv")
    assert "--ext" in refused(2, film, "--ext", ".avi")
    assert "--ss" in refused(2, film, "--ss", "1000")


def test_a_job_is_the_same_as_text(tmp_path: Path) -> None:
    job = Job(
        tmp_path / "in.mkv",
        tmp_path / "out.mkv",
        RepairSettings(mask_in=MaskSettings(tmp_path / "mask.mkv"), bad_frames=(range(3, 9),)),
        EngineSettings(),
        OutputSettings(encoder_options=(("tune", "film"),), allow_loss=frozenset(LOSSES)),
        reading=SourceSettings(end=Fraction(10, 3)),
    )
    assert job_from_json(json.loads(json.dumps(job_to_json(job)))) == job


def test_a_trial_that_dies_is_told(film: Path, tmp_path: Path) -> None:
    with Trials() as trials:
        trials._process.kill()
        trials._process.wait()
        with pytest.raises(EngineError, match="ended"):
            trials.run(Job(film, tmp_path / "out.mkv"))


def test_a_trial_that_fails_raises_with_its_exit_code(film: Path, tmp_path: Path) -> None:
    with Trials() as trials, pytest.raises(vidrepair.VidrepairError) as caught:
        trials.run(Job(film, tmp_path / "out.mkv", target=OutputSettings(codec="no-such-codec")))
    assert caught.value.exit_code == UsageError.exit_code
