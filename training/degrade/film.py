"""What a projector, a scanner and a lamp do to a whole frame: flicker and weave.

They belong to the clean picture of a stretch as much as to the damaged one: the generator is to
live with them, not to take them away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vidrepair.engines.layers import warp

_GRID = 4
"""Flicker differs over the picture: on a grid of this many gains each way, interpolated."""


@dataclass(frozen=True, slots=True)
class FilmRecipe:
    """Unsteadiness of one clip."""

    flicker: float = 0.0
    """Deviation of the gain from frame to frame."""
    uneven: float = 0.0
    """Deviation of the gain over the picture, beside that."""
    weave: float = 0.0
    """Deviation of the frame's place, in samples, each way."""
    seed: int = 0


def draw_film(rng: np.random.Generator) -> FilmRecipe:
    """Two clips in three are steady."""
    if rng.random() < 0.67:
        return FilmRecipe()
    return FilmRecipe(
        flicker=float(rng.choice([0.0, rng.uniform(0.005, 0.12)])),
        uneven=float(rng.choice([0.0, rng.uniform(0.0, 0.05)])),
        weave=float(rng.choice([0.0, rng.uniform(0.1, 1.5)])),
        seed=int(rng.integers(2**31)),
    )


def project(rgb: Tensor, recipe: FilmRecipe) -> Tensor:
    """R'G'B' (T, 3, H, W) 0..1 as an unsteady projector shows it."""
    rng = np.random.default_rng(recipe.seed)
    if recipe.weave > 0.0:
        offset = torch.from_numpy(recipe.weave * rng.standard_normal((len(rgb), 2))).to(rgb)
        rgb = warp(rgb, offset[:, :, None, None].expand(-1, -1, *rgb.shape[-2:]))
    if recipe.flicker > 0.0 or recipe.uneven > 0.0:
        gain = 1.0 + recipe.flicker * rng.standard_normal((len(rgb), 1, 1, 1))
        gain = gain + recipe.uneven * rng.standard_normal((len(rgb), 1, _GRID, _GRID))
        over = torch.from_numpy(gain).to(rgb)
        over = functional.interpolate(over, size=rgb.shape[-2:], mode="bicubic")
        rgb = (rgb * over).clamp(0.0, 1.0)
    return rgb
