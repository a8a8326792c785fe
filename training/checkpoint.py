"""What a training needs to go on: written beside, then renamed; read where it is there."""

from __future__ import annotations

import copy
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.adversarial import Adam, Opponent
from training.config import RELATIVE, TrainConfig
from training.lanes import Place
from training.optimiser import Average, Optimiser
from training.ranks import Rank
from training.widen import widen
from vidrepair.engines.generator import Generator
from vidrepair.models.weights import write_beside


@dataclass(frozen=True, slots=True, eq=False)
class Student:
    """The generator that is trained, and what trains it."""

    model: Generator
    optimiser: Optimiser | Adam
    average: Average
    opponent: Opponent | None = None
    """The discriminator and all of its own, in the adversarial stage."""

    def averaged(self) -> Generator:
        """The generator with the averaged weights, ready to run."""
        model = copy.deepcopy(self.model).eval()
        model.load_state_dict(self.average.weights)
        return model


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Where a training stands."""

    progress: dict[str, Any]
    """Steps, pixels, seconds and skipped steps so far."""
    places: Sequence[Place] = ()
    """Of the lanes, of this process or, gathered, of all; none for the beginning."""
    state: Tensor | None = None
    """The memory of the lanes, (lanes, S, h, w)."""


def gather(standing: Standing, rank: Rank) -> Standing:
    """Places and memory of all processes, in their order; every process has to call it."""
    assert standing.state is not None
    device = standing.state.device
    places = torch.tensor([dataclasses.astuple(place) for place in standing.places], device=device)
    return replace(
        standing,
        places=[Place(*place) for place in rank.gather(places).tolist()],
        state=rank.gather(standing.state),
    )


def save(out: Path, config: TrainConfig, student: Student, standing: Standing) -> None:
    """Write `checkpoint.pt`, whole or not at all: a cut-off training loses nothing.

    Of the memory only that of lanes within a showing: it would double the file. The adversarial
    stage leaves a copy, `good.pt`, while its watch is calm.
    """
    state = standing.state
    assert state is not None
    within = [place.stretch > 0 for place in standing.places]
    opponent = {} if student.opponent is None else {"opponent": student.opponent.state_dict()}
    content = opponent | {
        "model": student.model.state_dict(),
        "average": student.average.weights,
        "optimiser": student.optimiser.state_dict(),
        "state": state[torch.tensor(within, device=state.device)],
        "places": [dataclasses.astuple(place) for place in standing.places],
        "progress": dict(standing.progress),
        "config": dataclasses.asdict(config),
    }
    _store(out / "checkpoint.pt", content)
    if student.opponent is not None and student.opponent.watch.calm:
        _store(out / "good.pt", content)


def write_trunk(checkpoint: Path, out: Path) -> None:
    """Keep of a checkpoint what a later training may start from (`start_from`).

    The averaged weights, which it starts with, and the raw ones, both in half precision. The state
    of the optimiser, three times as large, is soon found again.
    """
    saved = read_checkpoint(checkpoint)
    trunk = {
        name: {key: value.half() for key, value in saved[name].items()}
        for name in ("model", "average")
    }
    _store(out, trunk | {"progress": saved["progress"], "config": saved["config"]})


def blend_weights(
    one: Mapping[str, Tensor], other: Mapping[str, Tensor], percent: float
) -> dict[str, Tensor]:
    """Weights so many percent of the way from one network to another of the same graph."""
    return {
        name: torch.lerp(one[name].float(), value.float(), percent / 100.0)
        for name, value in other.items()
    }


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint or a trunk holds, on the CPU. Raises ValueError for any other file."""
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        parts = ("model", "average", "progress", "config")
        return saved | {part: saved[part] for part in parts}  # all of them have to be there
    except FileNotFoundError as error:
        raise ValueError(f"there is no {path}; name a checkpoint.pt or a trunk") from error
    except OSError:
        raise
    except Exception as error:  # torch reads anything as a pickle, and fails in every way
        raise ValueError(
            f"{path} is no checkpoint of a training; name a checkpoint.pt or a trunk"
        ) from error


def _store(path: Path, content: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_beside(path, buffer.getvalue())


def resume(config: TrainConfig, out: Path, student: Student, rank: Rank) -> Standing:
    """Load the checkpoint of `out`, or the trunk to start from, or begin.

    From a checkpoint the same steps follow as without the break (on a GPU up to rounding), as
    long as neither the data nor the batch have changed. A trunk starts with its averaged weights,
    and may be that of a smaller network. Raises ValueError when the trunk is that of a larger one,
    or `out` holds the training of another network, or of another part of it.
    """
    path = out / "checkpoint.pt"
    fresh = {"step": 0, "pixels": 0, "seconds": 0.0, "skipped": 0}
    if not path.exists():
        return (
            _begin(Path(config.start_from), student, fresh)
            if config.start_from
            else Standing(fresh)
        )
    try:
        saved = read_checkpoint(path)
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged; move it away to begin anew, or name another folder"
        ) from error
    _check_same(saved, config, student.model, out)
    if (done := saved["progress"]["step"]) > config.schedule.steps:
        raise ValueError(
            f"{out} has done {done} steps, and schedule.steps is {config.schedule.steps}; set it "
            "higher, or name another folder"
        )
    student.model.load_state_dict(saved["model"])
    student.average.load(saved["average"])
    student.optimiser.load_state_dict(saved["optimiser"])
    if student.opponent is not None:
        student.opponent.load_state_dict(saved["opponent"])
    places = [Place(*place) for place in saved["places"]]
    places, state = _lanes(config, places, saved["state"], student.model, rank)
    known = {key: saved["progress"].get(key, value) for key, value in fresh.items()}
    return Standing(known, places, state)


def _check_same(saved: dict[str, Any], config: TrainConfig, model: Generator, out: Path) -> None:
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    same = shapes == {name: value.shape for name, value in saved["model"].items()}
    was = saved["config"]
    stage = was.get("stage", "fidelity")
    if stage != config.stage:
        raise ValueError(
            f"{out} holds a training of stage {stage}, not {config.stage}; set stage={stage} to go "
            "on, or name another folder, with start_from the checkpoint of this one"
        )
    part = was["optimiser"].get("only", "")
    if part != config.optimiser.only:
        raise ValueError(
            f"{out} trains with optimiser.only={part!r}, not {config.optimiser.only!r}; "
            "name another folder, with start_from the checkpoint of this one"
        )
    width = was.get("adversarial", {}).get("width", config.adversarial.width)
    if stage == "adversarial" and width != config.adversarial.width:
        raise ValueError(
            f"{out} trains against a discriminator of width {width}, not "
            f"{config.adversarial.width}; set adversarial.width to that, or name another folder"
        )
    if not same or was.get("control", "none") != config.control:
        raise ValueError(
            f"{out} holds the training of another network, of size {was['size']} and control "
            f"{was.get('control', 'none')}; set both to these to go on, or name another folder"
        )


def _begin(trunk: Path, student: Student, fresh: dict[str, Any]) -> Standing:
    if not trunk.exists():
        raise ValueError(f"start_from names {trunk}, which is not there; {RELATIVE}")
    saved = read_checkpoint(trunk)
    try:
        weights = widen(saved["average"], student.model)
    except ValueError as error:
        raise ValueError(
            f"start_from names {trunk}, of size {saved['config']['size']}, which does not fit into "
            "the size that is trained; set size to the same, or start from another"
        ) from error
    student.model.load_state_dict(weights)
    student.average.load(weights)
    # What these weights have seen counts on; what came of these steps does not.
    return Standing(fresh | {key: saved["progress"].get(key, 0) for key in ("pixels", "seconds")})


def _lanes(
    config: TrainConfig, places: list[Place], within: Tensor, model: Generator, rank: Rank
) -> tuple[list[Place], Tensor | None]:
    """Places and memory of this process; with another batch each lane begins its next showing."""
    batch = config.batch
    lanes = batch.lanes * rank.count
    mine = slice(rank.number * batch.lanes, (rank.number + 1) * batch.lanes)
    if len(places) != lanes or (len(within) and within.shape[-1] != batch.crop // 2):
        return [Place(place.showing + (place.stretch > 0)) for place in places][mine], None
    device = next(model.parameters()).device
    frame = torch.zeros(lanes, 3, batch.crop, batch.crop, device=device)
    state = model.initial_state(frame)
    state[[place.stretch > 0 for place in places]] = within.to(device)
    return places[mine], state[mine]
