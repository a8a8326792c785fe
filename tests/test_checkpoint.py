"""Trainings that are cut off, go on, start from trunks, and grow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from training.__main__ import main
from training.config import TrainConfig
from training.evaluate import load_checkpoint, run_span
from training.loop import train
from training.publish import publish
from training.widen import widen
from vidrepair.engines.generator import BASE, FAST, Generator, GeneratorShape
from vidrepair.errors import ModelError


def read_log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_training_that_was_cut_off_goes_on(config: TrainConfig, tmp_path: Path) -> None:
    short = replace(config, schedule=replace(config.schedule, steps=2))
    train(short, tmp_path)
    first = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    train(config, tmp_path)
    second = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (first["progress"]["step"], second["progress"]["step"]) == (2, 4)
    assert second["progress"]["pixels"] == 4 * 2 * 3 * 32 * 32
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3, 4]
    moved = [
        name for name, value in first["model"].items() if (value != second["model"][name]).any()
    ]
    assert "restorer.denoise.weight" in moved
    assert not list(tmp_path.glob("*.part"))


def test_a_training_that_was_cut_off_twice_ends_as_if_it_had_not_been(
    config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(config, data=replace(config.data, damage=0.5))
    # Long showings: the breaks fall into the middle of some, with a memory to carry over.
    config = replace(config, batch=replace(config.batch, long_share=1.0, long_frames=12))
    for _ in range(2):
        train(config, tmp_path / "cut", minutes=0.0)  # one step each
    train(config, tmp_path / "cut")
    train(config, tmp_path / "whole")
    cut_off, whole = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
        for name in ("cut", "whole")
    )
    assert cut_off["places"] == whole["places"]
    assert torch.equal(cut_off["state"], whole["state"])
    for part in ("model", "average"):
        for name, value in whole[part].items():
            assert torch.equal(value, cut_off[part][name]), name


def test_another_batch_goes_on_with_the_next_showings(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, batch=replace(config.batch, long_share=1.0, long_frames=12))
    train(config, tmp_path, minutes=0.0)
    before = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert before["places"] == [(0, 1), (0, 1)]
    # Only lanes within a showing have a memory that is worth its room.
    assert before["state"].shape[0] == 2
    train(replace(config, batch=replace(config.batch, lanes=3)), tmp_path, minutes=0.0)
    after = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert after["places"] == [(1, 1), (1, 1), (0, 1)]


def test_weights_of_another_network_are_named(config: TrainConfig, tmp_path: Path) -> None:
    base = replace(config, size="base", schedule=replace(config.schedule, steps=1))
    train(base, tmp_path / "base")
    start_from = str(tmp_path / "base" / "checkpoint.pt")
    with pytest.raises(ValueError, match="does not fit"):
        train(replace(config, start_from=start_from), tmp_path / "fast")


@pytest.mark.parametrize("path", sorted(Path("training/trunks").glob("*.pt")), ids=str)
def test_every_trunk_starts_a_training(path: Path, config: TrainConfig, tmp_path: Path) -> None:
    assert path.stat().st_size < 16 << 20
    schedule = replace(config.schedule, steps=1)
    size = torch.load(path, weights_only=True)["config"]["size"]
    train(replace(config, size=size, start_from=str(path), schedule=schedule), tmp_path)


def test_a_training_starts_from_a_trunk(config: TrainConfig, tmp_path: Path) -> None:
    train(replace(config, schedule=replace(config.schedule, steps=2)), tmp_path / "before")
    trunk = tmp_path / "trunk.pt"
    checkpoint = tmp_path / "before" / "checkpoint.pt"
    done = CliRunner().invoke(main, ["trunk", str(checkpoint), str(trunk)])
    assert done.exit_code == 0, done.output
    assert trunk.stat().st_size < 0.4 * checkpoint.stat().st_size
    train(
        replace(config, start_from=str(trunk), schedule=replace(config.schedule, steps=1)),
        tmp_path / "next",
    )
    after = torch.load(tmp_path / "next" / "checkpoint.pt", weights_only=True)
    assert after["progress"]["step"] == 1
    assert after["progress"]["pixels"] == 3 * 2 * 3 * 32 * 32  # what the trunk saw counts


@pytest.mark.parametrize(
    "shape", [BASE, GeneratorShape((40, 48, 112), (2, 1, 3), 24)], ids=["base", "deeper"]
)
def test_a_wider_network_answers_what_the_narrower_one_answers(shape: GeneratorShape) -> None:
    torch.manual_seed(1)
    narrow, wide = Generator(FAST), Generator(shape)
    with torch.no_grad():
        for weight in narrow.parameters():
            weight.add_(0.01 * torch.randn_like(weight))
    wide.load_state_dict(widen(narrow.state_dict(), wide))
    # A pan: where no motion is to be found, rounding alone moves the answer.
    scene = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 7), scale_factor=8, mode="bilinear")
    frames = torch.cat([scene[..., t : t + 32, 2 * t : 2 * t + 48] for t in range(4)])
    noise = torch.full((1, 2, 17), 0.05)
    before, after = (
        run_span(model, frames, noise, mirrored=True, bf16=False) for model in (narrow, wide)
    )
    assert before.residual.abs().max() > 0.001
    for part in ("residual", "fill", "defect"):
        torch.testing.assert_close(getattr(after, part), getattr(before, part), atol=1e-4, rtol=0.0)


def test_a_narrower_network_cannot_take_a_wider_ones_weights() -> None:
    with pytest.raises(ValueError, match="more than"):
        widen(Generator(BASE).state_dict(), Generator(FAST))


def test_the_control_sees_one_frame_at_a_time(config: TrainConfig, tmp_path: Path) -> None:
    train(replace(config, control="single"), tmp_path)
    control = load_checkpoint(tmp_path / "checkpoint.pt", averaged=False)
    frames, noise = torch.rand(5, 3, 32, 32), torch.full((1, 2, 17), 0.05)
    whole = run_span(control, frames, noise, mirrored=True, bf16=False)
    alone = run_span(control, frames[2:3], noise, mirrored=True, bf16=False)
    assert whole.residual.any()
    assert torch.equal(whole.residual[2:3], alone.residual)


def test_an_unknown_size_or_control_is_named(config: TrainConfig) -> None:
    for name in ("size", "control"):
        with pytest.raises(ValueError, match=f"{name} is huge"):
            replace(config, **{name: "huge"})


def test_another_networks_folder_is_named(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, schedule=replace(config.schedule, steps=1))
    train(config, tmp_path)
    for changes in ({"size": "base"}, {"control": "single"}):
        with pytest.raises(ValueError, match="name another folder"):
            train(replace(config, **changes), tmp_path)


def test_a_control_is_never_released(config: TrainConfig, tmp_path: Path) -> None:
    train(replace(config, control="single"), tmp_path)
    with pytest.raises(ModelError, match="a control"):
        publish(tmp_path / "checkpoint.pt", "fast", tmp_path / "out", training_data="none")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "part", ["motion_net", "restorer.denoise", "restorer.eighth.0.first.weight"]
)
def test_a_part_is_trained_alone(config: TrainConfig, tmp_path: Path, part: str) -> None:
    """With both optimisers, with AdamW alone, with Muon alone."""
    trunk = "training/trunks/fast.pt"
    optimiser = replace(config.optimiser, only=part)
    alone = replace(config, optimiser=optimiser, start_from=trunk)
    saved = torch.load(trunk, weights_only=True)["average"]
    start = {name: value.float() for name, value in saved.items()}
    train(alone, tmp_path)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for weights in (saved["model"], saved["average"]):
        moved = {name for name, value in weights.items() if not torch.equal(value, start[name])}
        assert moved
        assert all(name.startswith(part) for name in moved)
    with pytest.raises(ValueError, match=f"only='{part}', not ''"):
        train(replace(config, start_from=trunk), tmp_path)


def test_a_part_that_cannot_be_trained_alone(config: TrainConfig, tmp_path: Path) -> None:
    nothing = replace(config, optimiser=replace(config.optimiser, only="nothing"))
    with pytest.raises(ValueError, match="use motion_net, restorer"):
        train(nothing, tmp_path)
    alone = replace(config, optimiser=replace(config.optimiser, only="motion_net"))
    with pytest.raises(ValueError, match="nothing trains the motion"):
        replace(alone, control="single")
