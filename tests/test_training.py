"""The training path on real, tiny files: pack, show, train, resume, score."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from clips import write_clip

from training.__main__ import main
from training.coded import CODINGS
from training.config import DataConfig, OptimiserConfig, ScheduleConfig, TrainConfig, load_config
from training.data import load_pool, show_clip, show_photo
from training.degrade.damage import CLASSES
from training.degrade.distractors import KINDS, Distractor, play
from training.evaluate import (
    Restore,
    add_known_noise,
    clean_clip,
    evaluate,
    generator_restore,
    load_checkpoint,
    psnr,
    table,
)
from training.lanes import run_lane
from training.loop import learning_share, train
from training.losses import defect_error, fill_error
from training.optimiser import Average, Optimiser, split_parameters
from training.pack import pack
from training.positions import CORE, measure_positions
from training.positions import draw as draw_positions
from training.positions import table as positions_table
from vidrepair.engines.generator import FAST, Generator

CONFIG = """
threads = 1
[data]
clips = ["clips"]
photos = ["photos"]
photo_share = 0.5
[batch]
lanes = 2
frames = 3
crop = 32
long_share = 0.5
long_frames = 6
[schedule]
steps = 4
warmup = 2
decay = 2
checkpoint_every = 2
log_every = 1
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration beside two clips and a photograph."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "clips").mkdir()
    (folder / "photos").mkdir()
    for number in range(2):
        write_clip(folder / "clips" / f"clip{number}.mkv", frames=6, size=(96, 64))
    picture = np.random.default_rng(0).integers(0, 255, (80, 120, 3)).astype(np.uint8)
    cv2.imwrite(str(folder / "photos" / "photo.png"), picture)
    (folder / "tiny.toml").write_text(CONFIG)
    return folder


@pytest.fixture
def config(workplace: Path) -> TrainConfig:
    return load_config(workplace / "tiny.toml")


def read_log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_config_names_what_it_does_not_know(workplace: Path) -> None:
    config = load_config(workplace / "tiny.toml", ("schedule.steps=9", "name=other"))
    assert (config.schedule.steps, config.name) == (9, "other")
    assert config.data.clips == (str(workplace / "clips"),)
    with pytest.raises(ValueError, match="stepz"):
        load_config(workplace / "tiny.toml", ("schedule.stepz=9",))


def test_the_contact_sheet_has_a_row_for_each_degradation(workplace: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    arguments = ["show-degradations", str(workplace / "tiny.toml"), str(out)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert f"{out}: 19 degradations" in result.output
    sheet = cv2.imread(str(out))
    assert sheet is not None
    assert sheet.std() > 10


def test_showings_have_their_size_and_range(config: TrainConfig) -> None:
    pool = load_pool(config.data, torch.device("cpu"))
    assert (len(pool.clips), len(pool.photos)) == (2, 1)
    for show in (show_clip, show_photo):
        shown = show(pool, 9, 32, np.random.default_rng(1))
        assert shown.shape == (9, 3, 32, 32)
        assert float(shown.min()) >= 0.0
        assert float(shown.max()) <= 1.0


def test_a_lane_starts_fresh_and_goes_on_in_long_showings(config: TrainConfig) -> None:
    pool = load_pool(config.data, torch.device("cpu"))
    lane = run_lane(pool, config, 0)
    seen = [next(lane) for _ in range(40)]
    assert seen[0].fresh
    going_on = [showing for showing in seen if not showing.fresh]
    assert 5 < len(going_on) < 30
    assert all(showing.noisy.shape == (5, 3, 32, 32) for showing in seen)
    # A stretch that goes on starts where the one before ended.
    for before, after in pairwise(seen):
        if not after.fresh:
            assert torch.equal(before.noisy[-2:], after.noisy[:2])


def test_the_rate_warms_up_stays_and_decays() -> None:
    schedule = ScheduleConfig(steps=1000, warmup=100, decay=200)
    shares = [learning_share(step, schedule) for step in (0, 99, 500, 800, 900, 999)]
    assert shares == pytest.approx([0.01, 1.0, 1.0, 1.0, 0.51, 0.0249])


def test_muon_takes_the_filter_banks_inside_and_nothing_else() -> None:
    model = Generator(FAST)
    banks, rest = split_parameters(model)
    assert len(banks) + len(rest) == len(list(model.parameters()))
    assert all(bank.ndim == 4 for bank in banks)
    edges = {id(model.restorer.enter.weight), id(model.restorer.denoise.weight)}
    assert edges <= {id(parameter) for parameter in rest}
    inside = model.restorer.eighth[0].first.weight  # type: ignore[union-attr]
    assert id(inside) in {id(bank) for bank in banks}


def test_a_step_with_a_wild_gradient_is_skipped() -> None:
    model = Generator(FAST)
    optimiser = Optimiser(model, OptimiserConfig())
    weight = model.restorer.denoise.weight

    def step(gradient: float) -> bool:
        before = weight.detach().clone()
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        done = optimiser.step(1.0)[1]
        assert done != torch.equal(weight, before)
        return done

    assert step(1e-3)
    assert step(2e-3)
    assert not step(float("nan"))
    assert not step(1.0)
    assert step(1e-3)


def test_the_average_follows_the_weights() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    average = Average(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(5.0)
    for step in range(200):
        average.update(model, step)
    assert float(average.weights["weight"]) == pytest.approx(5.0, abs=1e-3)


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
    train(replace(config, schedule=replace(config.schedule, steps=1)), tmp_path / "fast")
    start_from = str(tmp_path / "fast" / "checkpoint.pt")
    with pytest.raises(ValueError, match="another network"):
        train(replace(config, size="base", start_from=start_from), tmp_path / "base")


@pytest.mark.parametrize("path", sorted(Path("training/trunks").glob("*.pt")), ids=str)
def test_every_trunk_starts_a_training(path: Path, config: TrainConfig, tmp_path: Path) -> None:
    assert path.stat().st_size < 16 << 20
    schedule = replace(config.schedule, steps=1)
    size = torch.load(path, weights_only=True)["config"]["size"]
    train(replace(config, size=size, start_from=str(path), schedule=schedule), tmp_path)


@pytest.mark.gpu
def test_all_of_a_training_runs_on_a_gpu(workplace: Path, tmp_path: Path) -> None:
    changes = ("data.damage=1.0", "batch.lanes=8", "device=cuda", "schedule.steps=12")
    train(load_config(workplace / "tiny.toml", changes), tmp_path)
    device = torch.device("cuda")
    clip = torch.rand(6, 3, 64, 96, device=device)
    for kind in KINDS:
        assert play(clip, (Distractor(kind, 0.9, seed=3),)).device.type == "cuda"
    assert load_checkpoint(tmp_path / "checkpoint.pt").restorer.repair.weight.any()


@pytest.mark.parametrize("change", ["data.damage=50", "data.photo_share=-1", "optimiser.outlier=0"])
def test_a_setting_out_of_range_is_named(workplace: Path, change: str) -> None:
    with pytest.raises(ValueError, match=change.split("=", maxsplit=1)[0]):
        load_config(workplace / "tiny.toml", (change,))


def test_training_learns(config: TrainConfig, workplace: Path, tmp_path: Path) -> None:
    schedule = replace(config.schedule, steps=150, warmup=5, decay=50)
    train(replace(config, schedule=schedule, data=replace(config.data, photos=())), tmp_path)
    model = load_checkpoint(tmp_path / "checkpoint.pt")

    def mean(restore: Restore) -> float:
        return float(
            np.mean([score.mean for score in evaluate(workplace / "clips", restore, (30,))])
        )

    assert mean(generator_restore(model)) > mean(lambda noisy, _sigma: noisy.float()) + 1.0


def test_a_training_starts_from_a_trunk(config: TrainConfig, tmp_path: Path) -> None:
    train(replace(config, schedule=replace(config.schedule, steps=2)), tmp_path / "before")
    trunk = tmp_path / "trunk.pt"
    checkpoint = tmp_path / "before" / "checkpoint.pt"
    done = CliRunner().invoke(main, ["trunk", str(checkpoint), str(trunk)])
    assert done.exit_code == 0, done.output
    assert trunk.stat().st_size < 0.6 * checkpoint.stat().st_size
    train(
        replace(config, start_from=str(trunk), schedule=replace(config.schedule, steps=1)),
        tmp_path / "next",
    )
    after = torch.load(tmp_path / "next" / "checkpoint.pt", weights_only=True)
    assert after["progress"]["step"] == 1
    assert after["progress"]["pixels"] == 3 * 2 * 3 * 32 * 32  # what the trunk saw counts


def test_pack_keeps_within_its_limit(config: TrainConfig, tmp_path: Path) -> None:
    everything = pack(config.data, tmp_path / "all", 100.0)
    assert [(one.kind, one.taken) for one in everything] == [
        ("clips", 2),
        ("photos", 1),
        ("shapes", 0),
    ]
    size = (tmp_path / "all" / "clips" / "clip0.mkv").stat().st_size
    photo = (tmp_path / "all" / "photos" / "photo.png").stat().st_size
    most = (2 * size + photo) * 0.7 / 1e6
    pack(config.data, tmp_path / "part", most)
    total = sum(path.stat().st_size for path in (tmp_path / "part").rglob("*.*"))
    assert 0 < total <= most * 1e6
    with pytest.raises(ValueError, match="not empty"):
        pack(config.data, tmp_path / "part", most)
    with pytest.raises(ValueError, match="max-mb"):
        pack(config.data, tmp_path / "none", 0.0)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.clips"):
        load_pool(DataConfig(clips=(str(tmp_path),)), torch.device("cpu"))


def test_known_noise_is_known(workplace: Path) -> None:
    clean = clean_clip(workplace / "clips" / "clip0.mkv")
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
    assert rows[-2].startswith(f"| **all** | 12 | {mean:.2f} |")


def test_the_command_line_scores_a_checkpoint(
    config: TrainConfig, workplace: Path, tmp_path: Path
) -> None:
    train(replace(config, schedule=replace(config.schedule, steps=1)), tmp_path)
    arguments = ["evaluate", str(workplace / "clips"), "--sigma", "30"]
    done = CliRunner().invoke(main, [*arguments, "--checkpoint", str(tmp_path / "checkpoint.pt")])
    assert done.exit_code == 0, done.output
    assert "| clip0 | 6 |" in done.output
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_training_needs_no_pyav() -> None:
    """GPU machines may lack it, and the tests marked gpu have to run there."""
    code = (
        "import sys, importlib.metadata as m; sys.modules['av'] = None; old = m.version;"
        "m.version = lambda name: 1 / 0 if name == 'av' else old(name);"
        "import training.loop, training.evaluate, training.pack, training.sheet, "
        "training.positions, training.coded, vidrepair.engines.generator"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr


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


def test_showings_may_be_damaged(config: TrainConfig) -> None:
    config = replace(config, data=replace(config.data, damage=1.0))
    pool = load_pool(config.data, torch.device("cpu"))
    lane = run_lane(pool, config, 0)
    stretches = [next(lane) for _ in range(60)]
    damaged = [stretch for stretch in stretches if stretch.damage.any()]
    assert 10 < len(damaged) < 60
    inside, outside = [], []
    for stretch in damaged:
        assert stretch.damage.shape == (5, len(CLASSES), 32, 32)
        where = stretch.damage.amax(dim=1) > 0.0
        error = (stretch.noisy - stretch.clean).square().mean(dim=1)
        if bool(where.all()):
            continue
        inside.append(float(error[where].mean().sqrt()))
        outside.append(float(error[~where].mean().sqrt()))
        # What is told of the noise is not that of the damage.
        assert stretch.sigma == pytest.approx(max(outside[-1], 1.0 / 255.0), rel=0.5)
    assert np.mean(inside) > 1.5 * np.mean(outside)


def test_damage_trains_the_heads_that_repair_it(workplace: Path, tmp_path: Path) -> None:
    config = load_config(workplace / "tiny.toml", ("data.damage=1.0", "schedule.steps=6"))
    train(config, tmp_path)
    moved = load_checkpoint(tmp_path / "checkpoint.pt", averaged=False)
    assert moved.restorer.repair.weight.abs().max() > 0.0


def test_the_fill_is_judged_inside_damage_alone() -> None:
    damage = torch.zeros(1, 1, 16, 16)
    damage[..., 4:8, 4:8] = 1.0
    assert float(fill_error(torch.ones(1, 3, 16, 16) * (1.0 - damage), damage)) == 0.0
    assert float(fill_error(torch.ones(1, 3, 16, 16), damage)) > 1.0


def test_the_defect_map_is_judged_everywhere_but_in_holes() -> None:
    damage = torch.zeros(1, len(CLASSES), 16, 16)
    damage[0, 0, 4:8, 4:8] = 1.0
    damage[0, 3, 10:14, 10:14] = 1.0
    truth = damage[:, :1]
    assert float(defect_error(truth, damage)) == pytest.approx(0.0, abs=1e-3)
    in_hole = (truth + damage[:, 3:]).clamp(max=1.0)
    assert float(defect_error(in_hole, damage)) == pytest.approx(0.0, abs=1e-3)
    assert float(defect_error(1.0 - truth, damage)) > 5.0
    assert float(defect_error(torch.zeros_like(truth), damage)) > 0.9


def test_coded_noise_is_scored_through_a_command(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    write_clip(clips / "clip.mkv", frames=5, size=(64, 48))
    arguments = ["evaluate-coded", str(clips), "--command", "cp {in} {out}", "--sigma", "10"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    rows = [row for row in result.output.splitlines() if row.startswith("| clip |")]
    assert [name.strip() for name in rows[0].split("|")[2:-1]] == [c.name for c in CODINGS]
    # Copied, nothing is gained; and the codings differ.
    assert rows[1].count("(+0.00)") == len(CODINGS)
    before = [float(cell.split("->")[0]) for cell in rows[1].split("|")[2:-1]]
    assert all(20.0 < value < 35.0 for value in before)
    assert len(set(before)) == len(CODINGS)
