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
        rgb = _move(rgb, recipe.weave * rng.standard_normal((len(rgb), 2)))
    if recipe.flicker > 0.0 or recipe.uneven > 0.0:
        gain = 1.0 + recipe.flicker * rng.standard_normal((len(rgb), 1, 1, 1))
        gain = gain + recipe.uneven * rng.standard_normal((len(rgb), 1, _GRID, _GRID))
        over = torch.from_numpy(gain).to(rgb)
        over = functional.interpolate(over, size=rgb.shape[-2:], mode="bicubic")
        rgb = (rgb * over).clamp(0.0, 1.0)
    return rgb


def _move(rgb: Tensor, offset: np.ndarray) -> Tensor:
    """Each frame displaced by (x, y) samples, bilinear, edges replicated."""
    height, width = rgb.shape[-2:]
    theta = np.tile(np.eye(2, 3), (len(rgb), 1, 1))
    theta[:, :, 2] = 2.0 * offset / np.array([width, height])
    grid = functional.affine_grid(
        torch.from_numpy(theta).to(rgb), list(rgb.shape), align_corners=False
    )
    return functional.grid_sample(
        rgb, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
