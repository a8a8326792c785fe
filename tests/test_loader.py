"""Batches made ahead, and several processes that train together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.config import TrainConfig
from training.data import load_pool
from training.lanes import TENSORS
from training.loader import load_batches
from training.loop import train
from training.pairs import Pair
from training.ranks import Rank
from vidrepair.engines.generator import FAST, Generator

CPU = torch.device("cpu")


def test_processes_change_no_sample(config: TrainConfig) -> None:
    pool = load_pool(config.data, CPU)
    alone = load_batches(pool, config, (), Rank(), CPU)
    forked = replace(config, batch=replace(config.batch, workers=2))
    ahead = load_batches(pool, forked, (), Rank(), CPU)
    for _ in range(9):  # more than there is room for
        for one, other in zip(next(alone), next(ahead), strict=True):
            for name in TENSORS:
                assert torch.equal(getattr(one, name), getattr(other, name))
            facts = [(of.sigma, of.fresh, of.after) for of in (one, other)]
            assert facts[0] == facts[1]
    ahead.close()  # conftest.py looks for threads that are left
    assert not multiprocessing.active_children()


def test_an_error_in_a_process_is_raised_where_the_batch_is_asked_for(config: TrainConfig) -> None:
    luma, chroma = torch.zeros(3, 16, 16).byte(), torch.zeros(3, 2, 8, 8).byte()
    small = Pair(luma, chroma, luma, chroma, luma, torch.tensor(0.0))
    pool = replace(load_pool(config.data, CPU), pairs=(small,))
    data = replace(config.data, pair_share=1.0)
    config = replace(config, data=data, batch=replace(config.batch, workers=1))
    with pytest.raises(ValueError, match="pairs are 16x16"):
        next(load_batches(pool, config, (), Rank(), CPU))


def test_a_process_that_was_killed_is_told_of(config: TrainConfig) -> None:
    pool = load_pool(config.data, CPU)
    config = replace(config, batch=replace(config.batch, workers=1))
    batches = load_batches(pool, config, (), Rank(), CPU)
    next(batches)
    (maker,) = multiprocessing.active_children()
    assert maker.pid is not None
    os.kill(maker.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="died"):
        sum(len(batch) for batch in batches)


def test_each_process_has_lanes_of_its_own(config: TrainConfig) -> None:
    pool = load_pool(config.data, CPU)
    first, second = (next(load_batches(pool, config, (), Rank(n, 2), CPU)) for n in (0, 1))
    assert not torch.equal(first[0].noisy, second[0].noisy)
    wide = replace(config, batch=replace(config.batch, lanes=4))
    whole = next(load_batches(pool, wide, (), Rank(), CPU))
    for one, other in zip(first + second, whole, strict=True):
        assert torch.equal(one.noisy, other.noisy)


def test_no_thread_of_a_group_outlives_it(root: Path) -> None:
    program = """
import glob
import torch.distributed as dist
from training.ranks import leave_ranks
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
import torch._dynamo  # as torch's optimisers do at their first step
names = lambda: [open(path).read() for path in glob.glob("/proc/self/task/*/comm")]
assert any("gloo" in name for name in names())
leave_ranks()
print(sum("gloo" in name for name in names()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.stdout == "0\n", done.stderr


def test_two_processes_train_as_one_with_twice_the_lanes(
    config: TrainConfig, workplace: Path, tmp_path: Path, root: Path
) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--standalone", "-m", "training", "train", str(workplace / "tiny.toml")]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    for _ in range(2):  # cut off after a step, and gone on with
        done = subprocess.run(
            [*command, "--out", str(tmp_path / "two"), "--minutes", "0"],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    lanes, two_steps = 2 * config.batch.lanes, replace(config.schedule, steps=2)
    wide = replace(config, batch=replace(config.batch, lanes=lanes), schedule=two_steps)
    train(wide, tmp_path / "one")
    one, two = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("one", "two")
    )
    assert two["progress"]["step"] == 2
    assert two["places"] == one["places"]
    assert two["progress"]["pixels"] == one["progress"]["pixels"]
    # Gradients are summed in another order, in bfloat16, and both optimisers amplify what is tiny:
    # so compare where the weights have gone.
    torch.manual_seed(config.seed)
    start = Generator(FAST).state_dict()
    moves = [
        torch.cat([(saved["model"][name] - value).flatten() for name, value in start.items()])
        for saved in (one, two)
    ]
    assert torch.cosine_similarity(moves[0], moves[1], dim=0) > 0.98
    assert float(moves[0].norm()) == pytest.approx(float(moves[1].norm()), rel=0.02)
