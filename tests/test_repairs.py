"""What is scored of a tool that repairs damage or flicker, and of the filters beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from training.__main__ import main
from training.damage_set import KINDS, DamageSet, load_marks
from training.evaluate import write_lossless
from training.references import DAMAGE_NAMES, compensated_median, damage_references
from training.repairs import (
    FLICKER,
    Repaired,
    add_flicker,
    flicker_table,
    measure_flicker,
    measure_repairs,
    table,
)

DAMAGE = DamageSet(
    seed=1,
    noise=1.0,
    dust=3.0,
    hair=1.0,
    opaque=0.5,
    scratches=1.0,
    lasting=0.0,
    dropouts=0.5,
    hole=8,
)
COPY = "cp {in} {out}"


def panning(frames: int = 8, step: int = 3) -> Tensor:
    """A fine pattern (T, 3, 96, 128) uint8 that moves by so many samples a frame."""
    rows, columns = np.mgrid[:96, : 128 + step * frames]
    wave = np.sin(columns / 5.0) * np.cos(rows / 7.0) + 0.5 * np.sin(columns / 11.0 + rows / 6.0)
    wide = (127.5 + 55.0 * wave).round().astype(np.uint8)
    pictures = [wide[:, step * t : step * t + 128] for t in range(frames)]
    return torch.from_numpy(np.stack(pictures))[:, None].repeat(1, 3, 1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lossless(tmp_path / "panning.mkv", panning())
    return tmp_path


def psnr_inside(found: Repaired, kind: str) -> tuple[float, float]:
    before, after, values = found.errors[kind]
    return tuple(10.0 * np.log10(255.0**2 * values / error) for error in (before, after))  # type: ignore[return-value]


def test_each_reference_is_scored_beside_the_tool(folder: Path, ffmpeg: str) -> None:
    assert ffmpeg
    found = measure_repairs(folder, COPY, DAMAGE, load_marks(None))
    assert set(found) == {"this", *DAMAGE_NAMES}
    scores = {name: of[0] for name, of in found.items()}
    assert sorted(scores["this"].errors) == sorted(KINDS)
    for before, after, _ in scores["this"].errors.values():
        assert before == after
    assert scores["this"].changed == scores["this"].touched == scores["this"].outside == 0
    # What moves is torn by a median that does not follow it, and kept by one that does.
    compensated, still = (scores[name] for name in (DAMAGE_NAMES[-1], "median of three frames"))
    before, after = psnr_inside(compensated, "opaque dust")
    assert after > before + 6.0
    assert after > psnr_inside(still, "opaque dust")[1]
    assert compensated.changed < still.changed
    # Of dust larger than its nine samples a spatial median takes away little.
    before, after = psnr_inside(scores["removegrain"], "opaque dust")
    assert before < after < before + 6.0
    report = table(found)
    assert report.count("| opaque dust |") == 4
    assert f"{still.changed:.3%} of the undamaged samples changed by more than 2" in report


def test_undamaged_samples_count_from_three_code_values_on(tmp_path: Path, ffmpeg: str) -> None:
    assert ffmpeg
    folder = tmp_path
    write_lossless(folder / "short.mkv", panning(frames=3)[..., :48, :64].contiguous())
    brighter = "ffmpeg -v error -y -i {in} -vf lutrgb=g=val+STEP -c:v ffv1 {out}"
    for step, share in ((2, 0.0), (3, 1.0)):
        command = brighter.replace("STEP", str(step))
        (found,) = measure_repairs(folder, command, DAMAGE, load_marks(None))["this"]
        assert found.changed == share
        assert found.touched == 1.0


def test_a_median_along_the_motion_leaves_the_ends_and_takes_out_a_spot() -> None:
    clean = panning(step=2)
    spotted = clean.clone()
    spotted[3, :, 40:50, 60:70] = 255
    spotted[0, :, 40:50, 60:70] = 255
    mended = compensated_median(spotted)
    assert torch.equal(mended[0], spotted[0])
    assert torch.equal(mended[-1], spotted[-1])
    off = (mended.float() - clean.float()).abs()
    assert off[3, :, 40:50, 60:70].mean() < 0.1 * (255 - clean[3, :, 40:50, 60:70].float()).mean()
    assert off[2:4, :, 8:-8, 12:-12].mean() < 2.0
    assert torch.equal(mended, compensated_median(spotted))


def test_references_that_cannot_run_are_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "cp").symlink_to("/bin/cp")
    monkeypatch.setenv("PATH", str(bin_folder))
    assert list(damage_references()) == [DAMAGE_NAMES[-1]]
    damage = root / "training/configs/eval-damage.toml"
    arguments = ["evaluate-repair", str(folder), str(damage), "--command", COPY]
    done = CliRunner().invoke(main, [*arguments, "--deflicker", COPY], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    missing = "deflicker, median of three frames, removegrain: missing, this machine has no ffmpeg"
    assert done.stdout.splitlines()[-1] == missing
    assert "| motion-compensated median | dropout |" in done.output
    assert done.stdout.splitlines()[-2].startswith("| this | 1 |")


def test_flicker_is_known_and_what_is_left_of_it_is_scored(folder: Path, ffmpeg: str) -> None:
    assert ffmpeg
    clean = panning()
    shown = add_flicker(clean, "panning")
    gains = [
        float(one.float().mean() / two.float().mean())
        for one, two in zip(shown, clean, strict=True)
    ]
    assert max(gains) - min(gains) > FLICKER
    assert all(abs(gain - 1.0) < FLICKER + 0.005 for gain in gains)
    found = measure_flicker(folder, COPY)
    (same,), (steadied,) = found["this"], found["deflicker"]
    assert same.steps[0] == same.steps[1] > 2.0
    assert same.left[0] == same.left[1] > 2.0
    assert same.own < 0.2 * same.steps[0]
    assert 0.0 < steadied.left[1] < 0.8 * steadied.left[0]
    steps = np.diff([255.0 * (gain - 1.0) / 2.0 for gain in gains])
    assert same.left[0] == pytest.approx(np.sqrt(np.mean(steps**2)), rel=0.05)
    assert flicker_table(found).splitlines()[2].startswith("| this | 1 | 0.")
