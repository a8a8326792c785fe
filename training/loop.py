"""The training loop, from top to bottom."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor

from training.checkpoint import Standing, Student, gather, resume, save
from training.config import LossConfig, ScheduleConfig, TrainConfig
from training.control import make_generator
from training.data import load_pool
from training.diary import Diary, check_validation
from training.lanes import Stretch
from training.loader import load_batches
from training.losses import defect_error, fidelity, fill_error, shift_error, warp_error
from training.optimiser import Average, Optimiser
from training.ranks import Rank, join_ranks, leave_ranks
from vidrepair.engines.generator import Generator


def pick_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one. Its fp32 is made fp32: motion suffers from TF32."""
    torch.backends.cudnn.allow_tf32 = False
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


def train(config: TrainConfig, out: Path, minutes: float | None = None) -> int:
    """Train, or go on training, until `schedule.steps` or for so many minutes.

    `out` holds `checkpoint.pt`, rewritten every `checkpoint_every` steps and resumed from
    when it is there; `log.jsonl`, one line per `log_every` steps; and, where there is something
    to validate on, `curve.png` and `validation.png`. Returns the steps that are done.
    """
    rank, device = join_ranks(pick_device(config.device))
    try:
        return _train(config, out, minutes, rank, device)
    finally:
        leave_ranks()


def _train(
    config: TrainConfig, out: Path, minutes: float | None, rank: Rank, device: torch.device
) -> int:
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    student = _student(config, device)
    standing = resume(config, out, student, rank)
    progress, state = dict(standing.progress), standing.state
    pool = load_pool(config.data, device)
    if config.schedule.validate_every:
        check_validation(config.data.validation)
    diary = Diary(out, progress, writes=rank.first)
    with closing(load_batches(pool, config, standing.places, rank)) as batches:
        while progress["step"] < config.schedule.steps:
            share = learning_share(progress["step"], config.schedule)
            batch = diary.wait_for(batches)
            loss, state = _loss(student.model, batch, state, config.loss)
            loss.backward()
            rank.share_gradients(student.optimiser.parameters)
            norm, done = student.optimiser.step(share)
            progress["step"] += 1
            progress["pixels"] += rank.count * len(batch) * batch[0].noisy[1:-1, 0].numel()
            progress["skipped"] += not done
            if done:
                student.average.update(student.model, progress["step"])
                diary.note(loss.detach())
            step = progress["step"]
            if step % config.schedule.log_every == 0 or step == config.schedule.steps:
                diary.log(share, norm)
            if config.schedule.validate_every and step % config.schedule.validate_every == 0:
                diary.validate(student.averaged, config.data.validation)
            over = rank.agree(minutes is not None and diary.minutes > minutes)
            last = over or step == config.schedule.steps
            if last or step % config.schedule.checkpoint_every == 0:
                places = [stretch.after for stretch in batch]
                standing = gather(Standing(progress, places, state), rank)
                if rank.first:
                    save(out, config, student, standing)
            if over:
                break
    return int(progress["step"])


def _student(config: TrainConfig, device: torch.device) -> Student:
    model = make_generator(config.size, config.control).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    return Student(model, Optimiser(model, config.optimiser), Average(model, config.optimiser.ema))


def _loss(
    model: Generator, batch: list[Stretch], state: Tensor | None, weights: LossConfig
) -> tuple[Tensor, Tensor]:
    """Run every lane through its stretch. Returns the loss and the detached state."""
    noisy = torch.stack([stretch.noisy for stretch in batch])
    clean = torch.stack([stretch.clean for stretch in batch])
    damage = torch.stack([stretch.damage for stretch in batch])
    damaged = bool(damage.any())
    noise = torch.stack([stretch.noise for stretch in batch])
    sigma = torch.tensor([stretch.sigma for stretch in batch], device=noisy.device)
    state = _memory(model, batch, state)
    steps = noisy.shape[1] - 2
    total = noisy.new_zeros(())
    before: tuple[Tensor, Tensor] | None = None
    # One autocast around all steps: it keeps the weights it has cast until it ends.
    with torch.autocast(noisy.device.type, torch.bfloat16):
        for t in range(1, steps + 1):
            frames = noisy[:, t - 1 : t + 2]
            motion, aligned = model.align(frames, state)
            residual, fill, defect, state = model.restore(frames[:, 1], aligned, noise)
            with torch.autocast(noisy.device.type, enabled=False):
                # Under dirt there is no noise to take away: that is the fill's.
                whole = 1.0 - damage[:, t].amax(dim=1, keepdim=True)
                error = (frames[:, 1] + residual - clean[:, t]) * whole
                total = total + fidelity(error, sigma, weights.epsilon)
                total = total + weights.shift * shift_error(error)
                if before is not None:
                    change = (error - before[0]) * whole * before[1]
                    total = total + weights.temporal * fidelity(change, sigma, weights.epsilon)
                total = total + weights.warp * warp_error(clean[:, t - 1 : t + 2], motion)
                if damaged:
                    total = total + weights.fill * fill_error(fill - clean[:, t], 1.0 - whole)
                    total = total + weights.defect * defect_error(defect, damage[:, t])
            before = (error, whole)
    # A single bad pass must not poison the lane for as long as its showing lasts.
    return total / steps, torch.nan_to_num(state.detach(), 0.0, 0.0, 0.0)


def _memory(model: Generator, batch: list[Stretch], state: Tensor | None) -> Tensor:
    """The state that each lane starts from: zero at the beginning of a showing."""
    first = torch.stack([stretch.noisy[0] for stretch in batch])
    if state is None:
        return model.initial_state(first)
    fresh = torch.tensor([stretch.fresh for stretch in batch], device=first.device)
    return state.masked_fill(fresh[:, None, None, None], 0.0)
