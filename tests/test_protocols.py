"""The protocols that weights are judged by, on clips small enough to know the answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from clips import write_clip
from motion import hold_still
from torch import Tensor

from training.__main__ import main
from training.coded import CODINGS
from training.config import TrainConfig
from training.damage_set import KINDS, DamageSet, load_damage_set, load_marks
from training.defects import measure_defects
from training.defects import table as defects_table
from training.evaluate import (
    add_known_noise,
    clean_clip,
    evaluate,
    psnr,
    table,
)
from training.harm import measure_harm
from training.loop import train
from training.positions import CORE, measure_positions
from training.positions import draw as draw_positions
from training.positions import table as positions_table
from vidrepair.engines.generator import FAST, Generator

DAMAGE = DamageSet(
    seed=1,
    noise=1.0,
    dust=3.0,
    hair=1.0,
    opaque=0.5,
    scratches=1.0,
    lasting=3.0,
    dropouts=1.0,
    hole=8,
)


def test_a_generator_that_changes_nothing_is_flat_over_the_span(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mkv", frames=6, size=(16, 16))
    moving, still = measure_positions(tmp_path, Generator(FAST), 20.0)
    assert (moving.clip, still.clip) == ("clip", "locked still")
    for found in (moving, still):
        assert max(found.position) == min(found.position)
        assert found.border == pytest.approx(1.0, abs=1e-6)
        assert found.mirrored == found.cold
        assert len(found.film) == 4 * CORE
    assert "| clip |" in positions_table([moving, still])
    plot = tmp_path / "plot.png"
    draw_positions([moving, still], plot)
    drawn = cv2.imread(str(plot))
    assert drawn is not None
    assert drawn.shape[1] == 900


def test_coded_noise_is_scored_through_a_command(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    write_clip(clips / "clip.mkv", frames=5, size=(64, 48))
    arguments = ["evaluate-coded", str(clips), "--command", "cp {in} {out}"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    rows = [row for row in result.output.splitlines() if row.startswith("| clip |")]
    assert [name.strip() for name in rows[0].split("|")[2:-1]] == [c.name for c in CODINGS]
    # Copied, nothing is gained; and the codings differ.
    assert rows[1].count("(+0.00)") == len(CODINGS)
    before = [float(cell.split("->")[0]) for cell in rows[1].split("|")[2:-1]]
    assert all(20.0 < value < 35.0 for value in before)
    assert len(set(before)) == len(CODINGS)


def test_known_noise_is_known(workplace: Path) -> None:
    clean = clean_clip(workplace / "clips" / "clip0.avi")
    assert clean.shape == (6, 3, 64, 96)  # smaller than the crop: whole
    noisy = add_known_noise(clean, "clip0", 10.0)
    assert torch.equal(noisy, add_known_noise(clean, "clip0", 10.0))
    inside = (clean > 60) & (clean < 195)
    assert float((noisy.float() - clean.float())[inside].std()) == pytest.approx(10.0, rel=0.03)
    # Clipping near black and white takes some of the noise away.
    unclipped = 20 * np.log10(255 / 10)
    assert unclipped < np.mean(psnr(clean, noisy)) < unclipped + 0.6


def test_a_score_is_the_mean_over_clips(workplace: Path) -> None:
    scores = evaluate(workplace / "clips", lambda noisy, _sigma: noisy.float(), (10.0, 30.0))
    assert [(score.clip, score.sigma) for score in scores] == [
        (clip, sigma) for clip in ("clip0", "clip1") for sigma in (10.0, 30.0)
    ]
    rows = table(scores).splitlines()
    mean = np.mean([score.mean for score in scores if score.sigma == 10.0])
    assert rows[-1].startswith(f"| **all** | 12 | {mean:.2f} |")


def test_the_command_line_scores_a_checkpoint(
    config: TrainConfig, workplace: Path, tmp_path: Path
) -> None:
    train(replace(config, schedule=replace(config.schedule, steps=1)), tmp_path)
    arguments = ["evaluate", str(workplace / "clips"), "--sigma", "30"]
    done = CliRunner().invoke(main, [*arguments, "--checkpoint", str(tmp_path / "checkpoint.pt")])
    assert done.exit_code == 0, done.output
    assert "| clip0 | 6 |" in done.output
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_references_stand_beside_the_score(
    workplace: Path, tmp_path: Path, config: TrainConfig, ffmpeg: str
) -> None:
    assert ffmpeg
    train(replace(config, schedule=replace(config.schedule, steps=1)), tmp_path)
    arguments = ["evaluate", str(workplace / "clips"), "--sigma", "20", "--references"]
    done = CliRunner().invoke(main, [*arguments, "--checkpoint", str(tmp_path / "checkpoint.pt")])
    assert done.exit_code == 0, done.output
    rows = dict(row.strip("| ").split(" | ")[:2] for row in done.stdout.splitlines()[-4:])
    assert list(rows) == ["restored", "noisy", "nlmeans", "hqdn3d"]
    assert float(rows["nlmeans"]) > float(rows["noisy"]) + 3.0
    assert float(rows["hqdn3d"]) > float(rows["noisy"]) + 1.0


def test_a_reference_that_cannot_run_is_named(
    workplace: Path, tmp_path: Path, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(replace(config, schedule=replace(config.schedule, steps=1)), tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["evaluate", str(workplace / "clips"), "--sigma", "20", "--references"]
    done = CliRunner().invoke(main, [*arguments, "--checkpoint", str(tmp_path / "checkpoint.pt")])
    assert done.exit_code == 0, done.output
    assert "hqdn3d, nlmeans: missing, this machine has no ffmpeg" in done.output


class _Oracle(Generator):
    """Marks what is far from gray, and fills with gray: right on a gray clip."""

    def restore(self, frame: Tensor, aligned: Tensor, noise: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        residual, fill, defect, state = super().restore(frame, aligned, noise)
        gray = torch.tensor([0.5, 0.0, 0.0])[:, None, None].expand_as(fill)
        far = (frame - gray).abs().amax(dim=1, keepdim=True) > 0.05
        return residual, gray, far.float().expand_as(defect), state


def gray_clip(path: Path) -> Path:
    gray = np.full((4, 48, 64, 3), 128, dtype=np.uint8)
    from training.evaluate import write_lossless

    write_lossless(path, torch.from_numpy(gray).permute(0, 3, 1, 2).contiguous())
    return path


def test_a_detector_that_sees_all_damage_is_scored_so(tmp_path: Path) -> None:
    gray_clip(tmp_path / "gray.mkv")
    (found,) = measure_defects(tmp_path, _Oracle(FAST), DAMAGE, load_marks(None))
    assert set(found.objects) == set(KINDS)
    assert all(count > 0 for count in found.objects.values())
    for kind in ("opaque dust", "scratch"):
        assert found.recalled[kind][9] == found.objects[kind]
    assert found.right[9] == found.marked[9] > 0
    assert not found.false.any()
    assert found.energy[9] > 0.98 * found.energy[-1]
    assert found.exchange == 0.0
    report = defects_table([found])
    assert "precision 1.000" in report
    assert "| hole |  |  | 5" in report  # half a code value: above 50 dB


def test_a_detector_that_sees_nothing_recalls_nothing(tmp_path: Path) -> None:
    gray_clip(tmp_path / "gray.mkv")
    generator = Generator(FAST)
    hold_still(generator)
    (found,) = measure_defects(tmp_path, generator, DAMAGE, load_marks(None))
    assert not found.marked.any()
    assert not found.false.any()
    assert not sum(counts[0] for counts in found.recalled.values())
    assert "| opaque dust |" in defects_table([found])
    assert found.exchange < 1.0  # filled from the neighbours


def test_the_fixed_damage_is_described_whole(tmp_path: Path, root: Path) -> None:
    assert load_damage_set(root / "training/configs/eval-damage.toml").seed == 1
    path = tmp_path / "damage.toml"
    path.write_text("seed = 1\n")
    with pytest.raises(ValueError, match=r"damage.toml.*noise"):
        load_damage_set(path)


def test_harm_is_what_changes_a_clean_clip(tmp_path: Path, ffmpeg: str) -> None:
    assert ffmpeg
    gray_clip(tmp_path / "gray.mkv")
    (harmless,) = measure_harm(tmp_path, "cp {in} {out}")
    assert harmless.identical
    assert (harmless.change, harmless.shift) == (0.0, 0.0)
    brighter = "ffmpeg -v error -y -i {in} -vf lutrgb=r=val+2:g=val+2:b=val+2 -c:v ffv1 {out}"
    (harm,) = measure_harm(tmp_path, brighter)
    assert not harm.identical
    assert harm.change == pytest.approx(2.0, abs=0.01)
    assert harm.shift == pytest.approx(2.0, abs=0.01)
    assert harm.change > harm.allowed


def test_before_and_after_stand_side_by_side(workplace: Path, tmp_path: Path, ffmpeg: str) -> None:
    assert ffmpeg
    darker = (
        "ffmpeg -v error -y -i {in} -vf drawbox=x=40:y=20:w=8:h=8:c=black:t=fill -c:v ffv1 {out}"
    )
    arguments = ["before-after", str(workplace / "clips"), "--out", str(tmp_path)]
    done = CliRunner().invoke(main, [*arguments, "--command", darker], catch_exceptions=False)
    assert done.stdout.split() == [str(tmp_path / f"clip{n}.png") for n in (0, 1)]
    sheet = cv2.imread(str(tmp_path / "clip0.png"))
    assert sheet is not None
    assert sheet.shape == (3 * 68 + 4, 3 * 100 + 4, 3)
    before, after, change = (sheet[4:68, 4 + 100 * n : 100 + 100 * n] for n in range(3))
    assert after[20:28, 40:48].max() < 25
    assert before[20:28, 40:48].mean() > 40
    assert abs(change.astype(int) - 127)[:, 60:].max() < 20
