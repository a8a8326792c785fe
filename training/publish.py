"""A training's checkpoint -> a release: weights, graphs and card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save
from torch import Tensor

from training.checkpoint import blend_weights, read_checkpoint
from training.evaluate import load_checkpoint
from training.ticker import Tell, silent
from trt_build.export import build_graphs, write_graphs
from vidrepair.engines.generator import LOOK_AHEAD, SHAPES, STRIDE, GeneratorShape, load_generator
from vidrepair.errors import ModelError
from vidrepair.models import ModelCard, ModelFiles, WeightsFile, find_model
from vidrepair.models.weights import CARD_KEY, Weights, fingerprint, write_beside


@dataclass(frozen=True, slots=True)
class Blend:
    """Weights between those of fidelity and those of a checkpoint gone on from them."""

    percent: float
    """0 is fidelity, 100 the checkpoint."""
    fidelity: Path | None = None
    """A checkpoint or a trunk; None takes what the checkpoint started from."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.percent <= 100.0:
            raise ModelError(f"a blend is {self.percent:g} %; use 0 to 100")


def publish(
    checkpoint: Path,
    name: str,
    folder: Path,
    *,
    training_data: str,
    notes: str = "",
    blend: Blend | None = None,
    tell: Tell = silent,
) -> ModelFiles:
    """Release the averaged weights of a checkpoint as NAME in `folder`, replacing what is there.

    `training_data` says what it saw and under which licences; `notes` stand among the figures
    of the training; `tell` hears of what is done meanwhile. Raises ModelError when a weight is not
    finite, EngineError when a graph differs from torch; then nothing has changed.
    """
    saved = read_checkpoint(checkpoint)
    size = saved["config"]["size"]
    if (control := saved["config"].get("control", "none")) != "none":
        raise ModelError(f"{checkpoint} is a control ({control}), not a generator to release")
    weighed = load_checkpoint(checkpoint).state_dict()
    if blend is not None:
        weighed, told = mix(checkpoint, weighed, saved["config"], blend)
        notes = f"{told}; {notes}" if notes else told
    # Contiguous: training is channels-last, and safetensors writes memory as it lies.
    weights: Weights = {
        key: np.ascontiguousarray(value.float().numpy(), dtype=np.float16)
        for key, value in weighed.items()
    }
    for key, values in weights.items():
        if not np.isfinite(values).all():
            raise ModelError(
                f"{key} of {checkpoint} is not finite in half precision; publish an earlier one"
            )
    card = _card(name, size, weights, training_data, _figures(saved["progress"], notes))
    path = folder / f"{name}.safetensors"
    tell("making the two graphs and comparing them with torch: some minutes")
    graphs = build_graphs(load_generator(WeightsFile(path, card, weights)), card)
    write_graphs(graphs, folder, name)
    write_beside(path, save(weights, metadata={CARD_KEY: card.to_json()}))
    return find_model(path)


def mix(
    checkpoint: Path, natural: dict[str, Tensor], config: dict[str, Any], blend: Blend
) -> tuple[dict[str, Tensor], str]:
    """The weights in between, and what they are in words; both have one graph.

    Raises ModelError where it is not known what fidelity was, or its network is another.
    """
    start = blend.fidelity or Path(config.get("start_from") or "")
    if start == Path():
        raise ModelError(
            f"{checkpoint} was trained from nothing; name the weights to blend with, --fidelity"
        )
    fidelity = read_checkpoint(start)["average"]
    if {key: value.shape for key, value in fidelity.items()} != {
        key: value.shape for key, value in natural.items()
    }:
        raise ModelError(f"{start} and {checkpoint} hold different networks; blend within one")
    weights = blend_weights(fidelity, natural, blend.percent)
    zero, hundred = (f"{path.parent.name}/{path.name}" for path in (start, checkpoint))
    return weights, f"blend {blend.percent:g} % of {zero} (0) and {hundred} (100)"


def _card(
    name: str,
    size: str,
    weights: Weights,
    training_data: str,
    training: dict[str, float | int | str],
) -> ModelCard:
    shape: GeneratorShape = SHAPES[size]
    return ModelCard(
        name=name,
        size=size,
        widths=shape.widths,
        blocks=shape.blocks,
        motion_width=shape.motion_width,
        halo=shape.halo,
        sha256=fingerprint(weights),
        training_data=training_data,
        training=training,
        look_ahead=LOOK_AHEAD,
        stride=STRIDE,
    )


def _figures(progress: dict[str, Any], notes: str) -> dict[str, float | int | str]:
    figures: dict[str, float | int | str] = {
        "steps": int(progress["step"]),
        "pixels": int(progress["pixels"]),
        "seconds": round(float(progress["seconds"])),
    }
    return figures | ({"notes": notes} if notes else {})
