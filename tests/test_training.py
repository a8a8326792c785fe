"""The training path on real, tiny files: pack, show, train, resume, score."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from training.__main__ import main
from training.checkpoint import read_checkpoint
from training.config import DataConfig, OptimiserConfig, ScheduleConfig, TrainConfig, load_config
from training.data import load_pool, show_clip, show_photo
from training.degrade.damage import CLASSES
from training.evaluate import (
    Restore,
    evaluate,
    generator_restore,
    load_checkpoint,
    load_network,
)
from training.lanes import run_lane
from training.loop import learning_share, train
from training.losses import defect_error, fill_error
from training.optimiser import Average, Optimiser, split_parameters
from training.pack import pack
from vidrepair.engines.generator import FAST, Generator
from vidrepair.errors import ModelError
from vidrepair.models import find_model

BASE = Path(__file__).parents[1] / "training" / "trunks" / "base.pt"


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
    assert f"{out}: 24 degradations" in result.output
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


@pytest.mark.parametrize(
    "change",
    [
        "data.damage=50",
        "data.photo_share=-1",
        "optimiser.outlier=0",
        "optimiser.muon=-1",
        "optimiser.ema=1",
        "optimiser.outlier=nan",
        "batch.workers=-1",
        "threads=-1",
        "seed=-1",
        "schedule.warmup=-1",
        "batch.crop=70",
        "batch.lanes=0",
        "schedule.steps=-1",
        "batch.crop=big",
        "batch.crop",
        "name.x=3",
        "size=huge",
    ],
)
def test_a_setting_out_of_range_is_named(workplace: Path, change: str) -> None:
    with pytest.raises(ValueError, match=change.split("=", maxsplit=1)[0].removesuffix(".x")):
        load_config(workplace / "tiny.toml", (change,))


def test_released_weights_are_scored_like_their_trunk(tmp_path: Path) -> None:
    released = load_network(find_model("base").safetensors).state_dict()
    trunk = load_network(BASE).state_dict()
    assert set(released) == set(trunk)
    assert all(torch.equal(released[name], trunk[name].float()) for name in trunk)
    other = tmp_path / "base.safetensors"
    other.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="damaged or no vidrepair model"):
        load_network(other)


def test_training_learns(config: TrainConfig, workplace: Path, tmp_path: Path) -> None:
    schedule = replace(config.schedule, steps=150, warmup=5, decay=50)
    train(replace(config, schedule=schedule, data=replace(config.data, photos=())), tmp_path)
    model = load_checkpoint(tmp_path / "checkpoint.pt")

    def mean(restore: Restore) -> float:
        return float(
            np.mean([score.mean for score in evaluate(workplace / "clips", restore, (30,))])
        )

    assert mean(generator_restore(model)) > mean(lambda noisy, _sigma: noisy.float()) + 1.0


def test_pack_keeps_within_its_limit(config: TrainConfig, tmp_path: Path) -> None:
    everything = pack(config.data, tmp_path / "all", 100.0)
    assert [(one.kind, one.taken) for one in everything] == [
        ("clips", 2),
        ("photos", 1),
        ("shapes", 0),
        ("pairs", 0),
    ]
    size = (tmp_path / "all" / "clips" / "clip0.avi").stat().st_size
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


def test_training_needs_no_pyav() -> None:
    """GPU machines may lack it, and the tests marked gpu have to run there."""
    code = (
        "import sys, importlib.metadata as m; sys.modules['av'] = None; old = m.version;"
        "m.version = lambda name: 1 / 0 if name == 'av' else old(name);"
        "import training.loop, training.evaluate, training.pack, training.sheet, "
        "training.encoding, training.positions, training.coded, training.defects, "
        "training.references, training.before_after, training.control, vidrepair.engines.generator"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr


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


def test_a_validation_writes_its_picture_and_curve(config: TrainConfig, tmp_path: Path) -> None:
    schedule = replace(config.schedule, validate_every=2)
    with pytest.raises(ValueError, match=r"data\.validation"):
        replace(config, schedule=schedule)
    data = replace(config.data, validation=config.data.clips)
    train(replace(config, data=data, schedule=schedule), tmp_path)
    scores = [line["psnr"] for line in read_log(tmp_path) if "psnr" in line]
    assert len(scores) == 2
    # Hardly trained, it is about as good as the noise.
    assert all(abs(score["10"] - 28.5) < 2.0 for score in scores)
    assert all(0.0 <= line["wait"] < 1.0 for line in read_log(tmp_path) if "loss" in line)
    picture, curve = (cv2.imread(str(tmp_path / f"{n}.png")) for n in ("validation", "curve"))
    assert picture is not None
    assert curve is not None
    assert picture.shape == (2 * 68 + 4, 3 * 100 + 4, 3)
    assert curve.shape == (4 * 160, 800, 3)
    noisy, clean = (picture[4:68, 4 + 100 * n : 100 + 100 * n].astype(float) for n in (0, 2))
    assert (noisy - clean).std() > 20.0


def test_a_folder_without_clips_cannot_validate(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    data = replace(config.data, validation=(str(tmp_path / "empty"),))
    config = replace(config, data=data, schedule=replace(config.schedule, validate_every=2))
    with pytest.raises(ValueError, match="no clip in"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_folder_may_be_a_plain_string(workplace: Path) -> None:
    config = load_config(workplace / "tiny.toml", ("data.clips=clips",))
    assert config.data.clips == ("clips",)


def test_folders_of_a_file_are_relative_to_it_those_of_an_override_to_where_one_is(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('start_from = "../fast.pt"\n[data]\nclips = ["clips"]\ngrains = "/a/b"\n')
    config = load_config(path)
    assert config.start_from == str(tmp_path / "../fast.pt")
    assert config.data.clips == (str(tmp_path / "clips"),)
    assert config.data.grains == ("/a/b",)
    assert load_config(path, ("start_from=runs/x.pt",)).start_from == "runs/x.pt"


@pytest.mark.parametrize(
    ("written", "override", "said"),
    [
        (b"\xff\xfe\x00\x01", "seed=1", "mine.toml is no text in UTF-8 .byte 0.; save it so"),
        (b"seed = = 1", "seed=1", r"mine.toml: .*mend it there: KEY = VALUE"),
        (b"[batch]\nsteps = 3", "seed=1", r"mine.toml: there is no key batch.steps; batch has lan"),
        (b"", "batch.steps=3", "--set batch.steps=3: there is no key batch.steps"),
        (b"batch = 3", "seed=1", "mine.toml: batch is a table; set a key of it"),
        (b"", "batch.crop=big", "--set batch.crop=big: batch.crop is 'big'; it has to be a whole"),
        (b"[data]\nclips = [3]", "seed=1", "data.clips is .3.; it has to be a list of texts"),
    ],
)
def test_a_mistake_is_told_where_it_was_made(
    tmp_path: Path, written: bytes, override: str, said: str
) -> None:
    (tmp_path / "mine.toml").write_bytes(written)
    with pytest.raises(ValueError, match=said):
        load_config(tmp_path / "mine.toml", (override,))


def test_a_crop_larger_than_what_there_is_to_see_is_refused(
    config: TrainConfig, tmp_path: Path
) -> None:
    large = replace(config, batch=replace(config.batch, crop=80))
    with pytest.raises(ValueError, match=r"batch.crop is 80, and .*clip0.avi is 96x64; use a smal"):
        train(large, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_training_saves_what_it_learned(
    workplace: Path, tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    words = [sys.executable, "-m", "training", "train", str(workplace / "tiny.toml")]
    words += ["--out", str(tmp_path / "run"), "--set", f"batch.workers={workers}"]
    steps = ["--set", "schedule.steps=100000", "--set", "schedule.log_every=1"]
    pipe = subprocess.PIPE
    # As a terminal does: all of the group hear it.
    with subprocess.Popen(
        [*words, *steps], stderr=pipe, stdout=pipe, start_new_session=True
    ) as run:
        assert run.stderr is not None
        assert b"2 clips, 1 photograph, cpu; 100000 steps" in run.stderr.readline()
        for _ in range(12000):
            if (tmp_path / "run" / "log.jsonl").exists() or run.poll() is not None:
                break
            time.sleep(0.01)
        os.killpg(run.pid, number)
        out, told = run.communicate(timeout=120)
    assert run.returncode == 128 + number
    assert b"stopping after this step" in told
    assert b"of 100000 steps; the same command goes on" in out
    done = read_checkpoint(tmp_path / "run" / "checkpoint.pt")["progress"]["step"]
    assert done == read_log(tmp_path / "run")[-1]["step"] >= 1
    assert not [path for path in (tmp_path / "run").iterdir() if path.suffix == ".part"]
    more = ["--set", f"schedule.steps={done + 1}"]
    again = subprocess.run([*words, *more], check=True, capture_output=True, text=True)
    assert again.stdout == f"{tmp_path}/run/checkpoint.pt: {done + 1} of {done + 1} steps\n"
    fewer = [*words, "--set", f"schedule.steps={done}"]
    refused = subprocess.run(fewer, check=False, capture_output=True, text=True)
    assert refused.returncode == 1
    assert (
        f"has done {done + 1} steps, and schedule.steps is {done}; set it higher" in refused.stderr
    )


def test_who_listens_may_go_and_nothing_is_lost(workplace: Path, tmp_path: Path) -> None:
    """`train ... 2>&1 | tee log`, and Ctrl-C: the pipe is closed before the training ends."""
    words = [sys.executable, "-m", "training", "train", str(workplace / "tiny.toml")]
    words += ["--out", str(tmp_path), "--set", "schedule.steps=100000"]
    words += ["--set", "schedule.log_every=1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stderr=pipe, stdout=subprocess.DEVNULL) as run:
        assert run.stderr is not None
        run.stderr.readline()
        run.stderr.close()
        time.sleep(0.2)
        run.send_signal(signal.SIGINT)
        assert run.wait(120) == 130
    assert read_checkpoint(tmp_path / "checkpoint.pt")["progress"]["step"] >= 1


_IGNORED = """
import os, signal
from training.interruption import listening

signal.signal(signal.SIGINT, signal.SIG_IGN)
with listening() as asked:
    os.kill(os.getpid(), signal.SIGINT)
    assert asked.number == 0
    os.kill(os.getpid(), signal.SIGTERM)
    assert asked.number == signal.SIGTERM
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        print("ended at once")
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
"""


def test_what_was_ignored_stays_ignored() -> None:
    """In a process of its own: signals are of no use among the threads of other tests."""
    done = subprocess.run(
        [sys.executable, "-c", _IGNORED], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "ended at once\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trunk", "{clip}", "{out}"], "is no checkpoint of a training"),
        (["evaluate", "{empty}", "--command", "cp {{in}} {{out}}"], "holds no clip"),
        (["evaluate", "{clips}", "--command", "false"], "lacks {in} or {out}"),
        (["evaluate", "{clips}", "--command", "false {{in}} {{out}}"], "failed with 1"),
        (["evaluate", "{clips}", "--command", "nosuch {{in}} {{out}}"], "no command on this"),
        (
            ["evaluate", "{clips}", "--command", "cp {{in}} {{out}} {{x}}"],
            "which is not known here",
        ),
        (
            ["train", "{toml}", "--out", "{out}", "--set", "start_from=no.pt"],
            "start_from names no.pt",
        ),
        (
            ["train", "{toml}", "--out", "{out}", "--set", 'data.photos=["no"]'],
            "data.photos names no, which is no folder",
        ),
        (["train", "{toml}", "--out", "{out}", "--set", "device=foo"], "device is 'foo'; use auto"),
        (["train", "{toml}", "--out", "{clip}/x"], "Not a directory; check its name"),
        (
            ["train", "{toml}", "--out", "{out}", "--set", "start_from=" + str(BASE)],
            "of size base, which does not fit into the size that is trained",
        ),
    ],
)
def test_bad_input_gets_one_sentence(
    workplace: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    names = {
        "clip": workplace / "clips" / "clip0.avi",
        "clips": workplace / "clips",
        "empty": tmp_path,
        "out": tmp_path / "out",
        "toml": workplace / "tiny.toml",
    }
    done = CliRunner().invoke(main, [argument.format(**names) for argument in arguments])
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].startswith("Error: ")
    assert message in done.output
    assert not (tmp_path / "out").exists()
