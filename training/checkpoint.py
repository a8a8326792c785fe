"""What a training needs to go on: written beside, then renamed; read where it is there."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.config import TrainConfig
from training.lanes import Place
from training.optimiser import Average, Optimiser
from vidrepair.engines.generator import Generator
from vidrepair.models.weights import write_beside


@dataclass(frozen=True, slots=True, eq=False)
class Student:
    """The generator that is trained, and what trains it."""

    model: Generator
    optimiser: Optimiser
    average: Average


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Where a training begins, or goes on."""

    progress: dict[str, Any]
    """Steps, pixels, seconds and skipped steps so far."""
    places: Sequence[Place] = ()
    """Of the lanes; none for the beginning."""
    state: Tensor | None = None
    """The memory of all lanes."""


def save(
    out: Path,
    config: TrainConfig,
    student: Student,
    progress: dict[str, Any],
    places: Sequence[Place],
    state: Tensor,
) -> None:
    """Write `checkpoint.pt`, whole or not at all: a cut-off training loses nothing.

    Of the memory (lanes, S, h, w) only that of lanes within a showing: it would double the file.
    """
    within = [place.stretch > 0 for place in places]
    _store(
        out / "checkpoint.pt",
        {
            "model": student.model.state_dict(),
            "average": student.average.weights,
            "optimiser": student.optimiser.state_dict(),
            "state": state[torch.tensor(within, device=state.device)],
            "places": [dataclasses.astuple(place) for place in places],
            "progress": dict(progress),
            "config": dataclasses.asdict(config),
        },
    )


def write_trunk(checkpoint: Path, out: Path) -> None:
    """Keep of a checkpoint what a later training starts from (`start_from`): the averaged weights.

    The state of the optimiser, three times as large, is soon found again.
    """
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    # torch.save writes tensors that stand twice once.
    trunk = {"model": saved["average"], "average": saved["average"]}
    _store(out, trunk | {"progress": saved["progress"], "config": saved["config"]})


def _store(path: Path, content: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_beside(path, buffer.getvalue())


def resume(config: TrainConfig, out: Path, student: Student) -> Start:
    """Load the checkpoint of `out`, or the trunk to start from, or begin.

    From a checkpoint the same steps follow as without the break (on a GPU up to rounding), as
    long as neither the data nor the batch have changed. Raises ValueError when the weights to
    start from are of another network.
    """
    path = out / "checkpoint.pt"
    fresh = {"step": 0, "pixels": 0, "seconds": 0.0, "skipped": 0}
    if not path.exists() and not config.start_from:
        return Start(fresh)
    start_from = path if path.exists() else Path(config.start_from)
    saved = torch.load(start_from, map_location="cpu", weights_only=True)
    try:
        student.model.load_state_dict(saved["model"])
    except RuntimeError as error:
        raise ValueError(
            f"{start_from} holds weights of another network than this one; start without it"
        ) from error
    for name, value in saved["average"].items():
        student.average.weights[name].copy_(value)
    if not path.exists():
        return Start({**fresh, **saved["progress"], "step": 0})
    student.optimiser.load_state_dict(saved["optimiser"])
    places = [Place(*place) for place in saved["places"]]
    return Start(saved["progress"], *_lanes(config, places, saved["state"], student.model))


def _lanes(
    config: TrainConfig, places: list[Place], within: Tensor, model: Generator
) -> tuple[list[Place], Tensor | None]:
    """Places and memory; with another batch each lane begins its next showing."""
    batch = config.batch
    if len(places) != batch.lanes or (len(within) and within.shape[-1] != batch.crop // 2):
        return [Place(place.showing + (place.stretch > 0)) for place in places], None
    device = next(model.parameters()).device
    frame = torch.zeros(batch.lanes, 3, batch.crop, batch.crop, device=device)
    state = model.initial_state(frame)
    state[[place.stretch > 0 for place in places]] = within.to(device)
    return places, state
