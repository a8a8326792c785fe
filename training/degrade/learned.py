"""Learned grain: drawn from what `python -m training grain-gan` wrote, in any size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor
from torch.nn import functional

from training.degrade.grain_net import LATENT, REACH, GrainNet, Regression
from training.degrade.storage import Storage, quantise, to_stored
from vidrepair.models.weights import GRAIN_KEY, write_beside
from vidrepair.planes import rgb_to_ycbcr

KINDS = ("gan", "vae", "autoregressive")


@dataclass(frozen=True, slots=True, eq=False)
class LearnedGrain:
    """The grain of some footage."""

    kind: str
    """One of KINDS."""
    model: GrainNet | Regression
    deviation: float
    """Of the grain in luma, 0..1 from black to white, over what it was learned from."""
    chroma: float = 0.0
    """Deviation of chroma as a share of it."""
    residual: float = 0.0
    """Of the vae: deviation of what its decoder leaves open, in units of the grain's."""

    def draw(self, luma: Tensor, seed: int) -> Tensor:
        """Grain for a luma (T, 1, H, W) 0..1, black to white: the same shape and unit.

        New in each frame. Depends on the seed alone, and never repeats within it.
        """
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            if isinstance(self.model, Regression):
                return self.deviation * self.model.draw(luma, generator)
            fields = [self._field(frame[None], generator) for frame in luma]
        return self.deviation * torch.cat(fields)

    def _field(self, luma: Tensor, generator: torch.Generator) -> Tensor:
        """One frame at a time: the layers of a whole film would not fit into memory."""
        assert isinstance(self.model, GrainNet)
        wide = functional.pad(luma, (REACH, REACH, REACH, REACH), mode="replicate")
        z = torch.randn(1, LATENT, *wide.shape[-2:], generator=generator)
        field: Tensor = self.model(z, wide)
        if self.residual:
            beside = torch.randn(luma.shape, generator=generator)
            field = field + self.residual * self.model.strength(luma) * beside
        return field


def add_learned(
    rgb: Tensor, grain: LearnedGrain, storage: Storage, *, strength: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Clean R'G'B' (T, 3, H, W) 0..1 -> noisy and clean Y'CbCr as stored, generator's unit.

    `strength` is a factor on the grain as it was found.
    """
    clean = to_stored(rgb, storage)
    weights = torch.from_numpy(rgb_to_ycbcr(storage.matrix)[0]).to(rgb)
    luma = torch.einsum("c,tchw->thw", weights, rgb)[:, None]
    scale = (1.0, 1.0) if storage.full_range else (219.0 / 255.0, 224.0 / 255.0)
    noise = torch.zeros_like(clean)
    noise[:, :1] = scale[0] * grain.draw(luma, seed)
    if grain.chroma:
        across, down = storage.sampling
        sites = luma[..., ::down, ::across]
        for plane in (1, 2):
            field = scale[1] * grain.chroma * grain.draw(sites, seed + plane)
            field = field.repeat_interleave(down, -2).repeat_interleave(across, -1)
            noise[:, plane : plane + 1] = field[..., : rgb.shape[-2], : rgb.shape[-1]]
    return quantise(clean + strength * noise, storage), clean


def write_grain(path: Path, grain: LearnedGrain, figures: dict[str, Any]) -> None:
    """Write it as .safetensors, with how it was found to compare."""
    if isinstance(grain.model, Regression):
        tensors = {name: getattr(grain.model, name) for name in Regression.__slots__}
    else:
        tensors = grain.model.state_dict()
    facts = {
        "kind": grain.kind,
        "deviation": grain.deviation,
        "chroma": grain.chroma,
        "residual": grain.residual,
        "figures": figures,
    }
    arrays = {
        name: np.ascontiguousarray(value.detach().float().numpy())
        for name, value in tensors.items()
    }
    write_beside(path, save(arrays, metadata={GRAIN_KEY: json.dumps(facts)}))


def load_grain(path: Path) -> LearnedGrain:
    """Read what `write_grain` wrote. Raises ValueError for any other file."""
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[GRAIN_KEY])
            names = list(file.keys())
            tensors = {name: torch.from_numpy(file.get_tensor(name)) for name in names}
        model: GrainNet | Regression
        if facts["kind"] == "autoregressive":
            model = Regression(**tensors)
        else:
            model = GrainNet()
            model.load_state_dict(tensors)
            model.eval()
        numbers = {name: float(facts[name]) for name in ("deviation", "chroma", "residual")}
        return LearnedGrain(facts["kind"], model, **numbers)
    except FileNotFoundError as error:
        raise ValueError(f"there is no {path}; make one with grain-gan") from error
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} is no learned grain; make one with grain-gan") from error
