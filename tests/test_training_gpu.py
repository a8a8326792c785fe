"""The training on a GPU; imports no PyAV, which such machines may lack."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.config import load_config
from training.degrade.distractors import KINDS, Distractor, play
from training.degrade.grain import GRAINS, Grain, draw_field
from training.evaluate import load_checkpoint
from training.loop import train


@pytest.mark.gpu
def test_all_of_a_training_runs_on_a_gpu(workplace: Path, tmp_path: Path) -> None:
    changes = ("data.damage=1.0", "batch.lanes=8", "device=cuda", "schedule.steps=12")
    train(load_config(workplace / "tiny.toml", changes), tmp_path)
    device = torch.device("cuda")
    clip = torch.rand(6, 3, 64, 96, device=device)
    for grain in GRAINS:
        assert draw_field(Grain(grain, 1.5), clip, seed=1).device.type == "cuda"
    for kind in KINDS:
        assert play(clip, (Distractor(kind, 0.9, seed=3),)).device.type == "cuda"
    assert load_checkpoint(tmp_path / "checkpoint.pt").restorer.repair.weight.any()
