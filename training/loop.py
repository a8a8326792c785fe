"""The training loop, from top to bottom."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch

from training.adversarial import Adam, Duel, Opponent
from training.checkpoint import Standing, Student, gather, resume, save
from training.collapse import CollapsedError
from training.config import ScheduleConfig, TrainConfig
from training.control import make_generator
from training.data import load_pool
from training.diary import Diary, check_validation
from training.gradients import Gradients
from training.interruption import Asked
from training.loader import load_batches
from training.optimiser import Average, Optimiser
from training.ranks import Rank, join_ranks, leave_ranks
from training.ticker import Tell, silent


def pick_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one. Its fp32 is made fp32: motion suffers from TF32.

    Raises ValueError for a device that is not there.
    """
    torch.backends.cudnn.allow_tf32 = False
    card = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if card else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device is {name!r}; use auto, cpu or cuda") from error
    if device.type == "cuda" and not card:
        raise ValueError(f"device is {name}, and torch finds no card here; use auto or cpu")
    return device


def learning_share(step: int, schedule: ScheduleConfig) -> float:
    """Warm-up, stable, decay: the share of the full learning rates at a step."""
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    left = schedule.steps - step
    if left >= schedule.decay:
        return 1.0
    return 0.02 + 0.98 * left / schedule.decay


def train(
    config: TrainConfig,
    out: Path,
    minutes: float | None = None,
    *,
    asked: Asked | None = None,
    tell: Tell = silent,
) -> int:
    """Train, or go on training, until `schedule.steps`, for so many minutes, or until `asked`.

    `out` holds `checkpoint.pt`, rewritten every `checkpoint_every` steps and resumed from
    when it is there; `log.jsonl`, one line per `log_every` steps; and, where there is something
    to validate on, `curve.png` and `validation.png`. Returns the steps that are done; `tell` hears
    of them meanwhile.
    Raises CollapsedError when the adversarial stage has nothing to teach any more.
    """

    def over(spent: float) -> bool:
        return bool(asked and asked.number) or (minutes is not None and spent > minutes)

    rank, device = join_ranks(pick_device(config.device))
    try:
        return _train(config, out, over, tell, rank, device)
    except CollapsedError as error:
        raise error.at(out) from error
    finally:
        leave_ranks()


def _train(
    config: TrainConfig,
    out: Path,
    over: Callable[[float], bool],
    tell: Tell,
    rank: Rank,
    device: torch.device,
) -> int:
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    student = _student(config, device)
    standing = resume(config, out, student, rank)
    progress, state = dict(standing.progress), standing.state
    pool = load_pool(config.data, torch.device("cpu"), crop=config.batch.crop)
    if config.schedule.validate_every:
        check_validation(config.data.validation)
    gradients = _gradients(config, student, rank)
    out.mkdir(parents=True, exist_ok=True)
    diary = Diary(out, progress, config.schedule.steps, tell, writes=rank.first)
    diary.say(f"{pool.summary()}, {device}; {_begins(config, out, progress['step'])}")
    with closing(load_batches(pool, config, standing.places, rank, device)) as batches:
        while progress["step"] < config.schedule.steps:
            share = learning_share(progress["step"], config.schedule)
            batch = diary.wait_for(batches)
            loss, state = gradients(batch, state)
            rank.share_gradients(student.optimiser.parameters)
            norm, done = student.optimiser.step(share)
            progress["step"] += 1
            progress["pixels"] += rank.count * len(batch) * batch[0].noisy[1:-1, 0].numel()
            progress["skipped"] += not done
            if done:
                student.average.update(student.model, progress["step"])
                diary.note(loss)
            diary.tick()
            step = progress["step"]
            ends = rank.agree(over(diary.minutes))
            last = ends or step == config.schedule.steps
            if last or step % config.schedule.log_every == 0:
                diary.log(share, norm, gradients.facts())
            if last or _is_due(step, config.schedule):
                places = [stretch.after for stretch in batch]
                standing = gather(Standing(progress, places, state), rank)
                if rank.first:
                    save(out, config, student, standing)
            if ends:
                break
            if config.schedule.validate_every and step % config.schedule.validate_every == 0:
                diary.validate(student.averaged, config.data.validation)
    return int(progress["step"])


def _is_due(step: int, schedule: ScheduleConfig) -> bool:
    """Whether a step is saved: also before a validation, which may be broken off."""
    before = schedule.validate_every and step % schedule.validate_every == 0
    return bool(before) or step % schedule.checkpoint_every == 0


def _begins(config: TrainConfig, out: Path, done: int) -> str:
    """Where a training goes on from, or begins, for whoever waits."""
    steps = config.schedule.steps
    if done:
        return f"going on from step {done} of {steps} in {out}"
    start = f"the weights of {config.start_from}" if config.start_from else "nothing"
    return f"{steps} steps, beginning with {start}"


def _student(config: TrainConfig, device: torch.device) -> Student:
    model = make_generator(config.size, config.control).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    average = Average(model, config.optimiser.ema)
    if config.stage == "adversarial":
        adam = Adam(model, config.adversarial, config.optimiser.clip)
        return Student(model, adam, average, Opponent(config.adversarial, device))
    return Student(model, Optimiser(model, config.optimiser), average)


def _gradients(config: TrainConfig, student: Student, rank: Rank) -> Gradients | Duel:
    if student.opponent is not None:
        return Duel(student.model, config, student.opponent, rank)
    return Gradients(student.model, student.optimiser.parameters, config.loss)
