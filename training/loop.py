"""The training loop, from top to bottom."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.config import LossConfig, ScheduleConfig, TrainConfig
from training.data import Pool, load_pool
from training.lanes import Place, Showing, run_lane
from training.losses import defect_error, fidelity, fill_error, warp_error
from training.optimiser import Average, Optimiser
from vidrepair.engines.generator import SHAPES, Generator


def pick_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one."""
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def learning_share(step: int, schedule: ScheduleConfig) -> float:
    """Warm-up, stable, decay: the share of the full learning rates at a step."""
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    left = schedule.steps - step
    if left >= schedule.decay:
        return 1.0
    return 0.02 + 0.98 * left / schedule.decay


def train(config: TrainConfig, out: Path, minutes: float | None = None) -> None:
    """Train, or go on training, until `schedule.steps` or for so many minutes.

    `out` holds `checkpoint.pt`, rewritten every `checkpoint_every` steps and resumed from
    when it is there, and `log.jsonl`, one line per `log_every` steps.
    """
    device = pick_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    model = Generator(SHAPES[config.size]).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    optimiser = Optimiser(model, config.optimiser)
    average = Average(model, config.optimiser.ema)
    start = _resume(config, out, model, optimiser, average)
    progress, state = start.progress, start.state
    batches = _batches(load_pool(config.data, device), config, start.places)
    started = logged = time.monotonic()
    losses: list[Tensor] = []
    while progress["step"] < config.schedule.steps:
        share = learning_share(progress["step"], config.schedule)
        showings = next(batches)
        loss, state = _loss(model, showings, state, config.loss)
        loss.backward()
        norm = optimiser.step(share)
        progress["step"] += 1
        progress["pixels"] += config.batch.lanes * config.batch.frames * config.batch.crop**2
        average.update(model, progress["step"])
        losses.append(loss.detach())
        now = time.monotonic()
        if progress["step"] % config.schedule.log_every == 0:
            progress["seconds"] += now - logged
            logged = now
            _log(out, progress, torch.stack(losses).mean().item(), share, norm)
            losses.clear()
        over = minutes is not None and now - started > minutes * 60
        last = over or progress["step"] == config.schedule.steps
        if last or progress["step"] % config.schedule.checkpoint_every == 0:
            _save(
                out,
                {
                    "model": model.state_dict(),
                    "average": average.weights,
                    "optimiser": optimiser.state_dict(),
                    "state": state,
                    "places": [dataclasses.astuple(showing.after) for showing in showings],
                    "progress": dict(progress),
                    "config": dataclasses.asdict(config),
                },
            )
        if over:
            break


def _loss(
    model: Generator, showings: list[Showing], state: Tensor | None, weights: LossConfig
) -> tuple[Tensor, Tensor]:
    """Run every lane through its stretch. Returns the loss and the detached state."""
    noisy = torch.stack([showing.noisy for showing in showings])
    clean = torch.stack([showing.clean for showing in showings])
    damage = torch.stack([showing.damage for showing in showings])
    damaged = bool(damage.any())
    noise = torch.stack([showing.noise for showing in showings])
    sigma = torch.tensor([showing.sigma for showing in showings], device=noisy.device)
    if state is None:
        state = model.initial_state(noisy[:, 0])
    going_on = [not showing.fresh for showing in showings]
    state = state * torch.tensor(going_on, device=noisy.device)[:, None, None, None]
    steps = noisy.shape[1] - 2
    total = noisy.new_zeros(())
    before: Tensor | None = None
    # One autocast around all steps: it keeps the weights it has cast until it ends.
    with torch.autocast(noisy.device.type, torch.bfloat16):
        for t in range(1, steps + 1):
            frames = noisy[:, t - 1 : t + 2]
            motion, aligned = model.align(frames, state)
            residual, fill, defect, state = model.restore(frames[:, 1], aligned, noise)
            with torch.autocast(noisy.device.type, enabled=False):
                where = damage[:, t].amax(dim=1, keepdim=True)
                # Under dirt there is no noise to take away: that is the fill's.
                error = (frames[:, 1] + residual - clean[:, t]) * (1.0 - where)
                total = total + fidelity(error, sigma, weights.epsilon)
                if before is not None:
                    step = fidelity(error - before, sigma, weights.epsilon)
                    total = total + weights.temporal * step
                total = total + weights.warp * warp_error(clean[:, t - 1 : t + 2], motion)
                if damaged:
                    total = total + weights.fill * fill_error(fill - clean[:, t], where)
                    total = total + weights.defect * defect_error(defect, damage[:, t])
            before = error
    assert state is not None
    return total / steps, state.detach()


@dataclass(frozen=True, slots=True, eq=False)
class _Start:
    """Where a training begins, or goes on."""

    progress: dict[str, Any]
    places: list[Place]
    """Of the lanes; as many as there were."""
    state: Tensor | None
    """The memory of all lanes."""


def _batches(pool: Pool, config: TrainConfig, places: list[Place]) -> Iterator[list[Showing]]:
    """The next stretch of every lane, each from its place on."""
    lanes = [
        run_lane(pool, config, lane, place)
        for lane, place in zip_longest(range(config.batch.lanes), places[: config.batch.lanes])
    ]
    while True:
        yield [next(lane) for lane in lanes]


def _resume(
    config: TrainConfig, out: Path, model: Generator, optimiser: Optimiser, average: Average
) -> _Start:
    """Load the checkpoint of `out`, or the trunk to start from, or begin.

    From a checkpoint the same steps follow as without the break, as long as neither the batch
    nor the data have changed.
    """
    path = out / "checkpoint.pt"
    start = _Start({"step": 0, "pixels": 0, "seconds": 0.0}, [], None)
    if path.exists():
        saved = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        places = [Place(*place) for place in saved["places"]]
        size = (config.batch.lanes, config.batch.crop // 2)
        fits = saved["state"].shape[::3] == size
        state = saved["state"].to(next(model.parameters()).device) if fits else None
        start = _Start(saved["progress"], places, state)
    elif config.start_from:
        saved = torch.load(config.start_from, map_location="cpu", weights_only=True)
        model.load_state_dict(saved["model"])
        start = _Start({**saved["progress"], "step": 0}, [], None)
    else:
        return start
    for name, value in saved["average"].items():
        average.weights[name].copy_(value)
    return start


def _save(out: Path, checkpoint: dict[str, Any]) -> None:
    """Write beside, fsync, rename: a cut-off training loses nothing."""
    out.mkdir(parents=True, exist_ok=True)
    beside = out / "checkpoint.part"
    with beside.open("wb") as file:
        torch.save(checkpoint, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(out / "checkpoint.pt")


def _log(out: Path, progress: dict[str, Any], loss: float, share: float, norm: float) -> None:
    out.mkdir(parents=True, exist_ok=True)
    line = {**progress, "loss": round(loss, 5), "share": round(share, 4), "norm": round(norm, 3)}
    with (out / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
