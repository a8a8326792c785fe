"""Dust, dirt, hair and blotches: many small pictures, each at its place on one frame.

Sizes and densities are those of ten scans of worn film (hand-marked outlines): at a width of
1024 samples 1,500 to 2,500 marks on a frame that cover 1.4 to 2.5 % of it, half of them
below 4 samples in area, one in twenty above 11 to 35.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.degrade.shapes import Shapes

_PATCHES = (8, 16, 32, 64, 128, 256)
"""Sides of the squares that marks are rendered in; a square holds a mark at any angle."""
_LARGEST = (_PATCHES[-1] - 2.0) / 1.42
_AT_ONCE = 2**22
"""Samples of patches that are rendered at once."""
_DENSEST = 2.5e-3
"""Marks per sample on the worst film."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Dust, dirt, hair and blotches, each on one frame; N values in each array."""

    frame: NDArray[np.int64]
    shape: NDArray[np.int64]
    y: Floats
    x: Floats
    size: Floats
    """Longer side in samples."""
    angle: Floats
    opacity: Floats
    """0..1."""
    paint: Floats
    """0..1, what the mark itself looks like: dark dirt, or bright where the negative was dirty."""


def draw_marks(rng: np.random.Generator, shapes: Shapes, size: tuple[int, int, int]) -> Marks:
    """Dust and hair, from hardly any to the worst film; dark, bright or both."""
    frames, height, width = size
    density = _DENSEST * math.exp(-rng.uniform(0.0, 6.0))
    # Dirt comes in bursts: the number varies from frame to frame more than by chance.
    mean = density * height * width * rng.gamma(2.0, 0.5, size=frames)
    numbers = rng.poisson(mean)
    count = int(numbers.sum())
    thin = rng.random(count) < rng.uniform(0.0, 0.15)
    size_px = np.where(
        thin,
        np.exp(rng.normal(math.log(20.0), 0.6, count)),
        np.exp(rng.normal(math.log(3.2), 0.65, count)),
    )
    shape = choose_shapes(rng, shapes, thin)
    bright = rng.random(count) < rng.choice([0.0, 0.5, 1.0])
    paint = np.where(bright, rng.uniform(0.8, 1.0, count), rng.uniform(0.0, 0.25, count))
    translucent = rng.random(count) < 0.3
    return Marks(
        frame=np.repeat(np.arange(frames), numbers),
        shape=shape,
        y=rng.uniform(0.0, height, count),
        x=rng.uniform(0.0, width, count),
        size=np.minimum(size_px, _LARGEST),
        angle=rng.uniform(0.0, 2.0 * math.pi, count),
        opacity=np.where(translucent, rng.uniform(0.15, 0.7, count), rng.uniform(0.8, 1.0, count)),
        paint=paint,
    )


def choose_shapes(
    rng: np.random.Generator, shapes: Shapes, thin: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """A shape for each mark: a thin one or another, where there are such, else any."""
    kinds = [np.flatnonzero(shapes.thin == flag) for flag in (False, True)]
    kinds = [kind if len(kind) else np.arange(len(shapes.thin)) for kind in kinds]
    return np.where(thin, rng.choice(kinds[1], len(thin)), rng.choice(kinds[0], len(thin)))


def no_marks() -> Marks:
    """A clean clip."""
    whole, real = np.zeros(0, dtype=np.int64), np.zeros(0)
    return Marks(whole, whole, real, real, real, real, real, real)


def render_marks(marks: Marks, shapes: Shapes, size: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Opacity and paint, (T, 1, H, W) each. Where marks overlap the more opaque one shows."""
    frames, height, width = size
    device = shapes.pictures.device
    # Turned by 45 degrees a mark needs 1.42 times its side, and a sample of margin.
    needed = 1.42 * marks.size + 2.0
    # Half a patch around the frame, of the largest there is, takes what sticks out of it.
    edge = next(side for side in _PATCHES if side >= needed.max(initial=0.0)) // 2
    tall, wide = height + 2 * edge, width + 2 * edge
    opacity = torch.zeros(frames * tall * wide, device=device)
    weight, weighted = torch.zeros_like(opacity), torch.zeros_like(opacity)
    for smaller, side in zip((0, *_PATCHES), _PATCHES, strict=False):
        chosen = np.flatnonzero((needed > smaller) & (needed <= side))
        most = max(1, _AT_ONCE // side**2)
        for start in range(0, len(chosen), most):
            these = chosen[start : start + most]
            patches = _render(marks, these, shapes, side)
            corner = np.stack([marks.y[these], marks.x[these]]).astype(np.int64) + edge - side // 2
            base = (marks.frame[these] * tall + corner[0]) * wide + corner[1]
            inside = torch.arange(side, device=device)
            at = torch.from_numpy(base).to(device)[:, None, None] + inside[:, None] * wide + inside
            flat, values = at.flatten(), patches.flatten()
            opacity.scatter_reduce_(0, flat, values, "amax")
            # The fourth power: the paint is nearly that of the most opaque mark.
            share = values**4
            paint = (
                torch.from_numpy(marks.paint[these]).to(patches)[:, None, None].expand_as(patches)
            )
            weight.index_add_(0, flat, share)
            weighted.index_add_(0, flat, share * paint.flatten())
    shown = [
        plane.view(frames, 1, tall, wide)[..., edge:-edge, edge:-edge]
        for plane in (opacity, weighted / weight.clamp(min=1e-12))
    ]
    return shown[0], shown[1]


def _render(marks: Marks, these: NDArray[np.int64], shapes: Shapes, side: int) -> Tensor:
    """Opacity patches (n, side, side) of some marks, turned, at their size and sub-sample place."""
    device = shapes.pictures.device

    def column(values: Floats) -> Tensor:
        return torch.from_numpy(values[these]).to(device, torch.float32)

    # Reduced first to what a mark of this bucket shows, so that thin ones do not vanish between
    # samples; 128 // side divides SIDE for every side of _PATCHES.
    pictures = _reduced(shapes.pictures, max(1, 128 // side))
    scale = side / column(marks.size).clamp(min=1.0)
    cos, sin = (f(column(marks.angle)) * scale for f in (torch.cos, torch.sin))
    offset = [-2.0 * (column(values) % 1.0) / side for values in (marks.x, marks.y)]
    rows = [
        torch.stack((cos, -sin, cos * offset[0] - sin * offset[1]), dim=1),
        torch.stack((sin, cos, sin * offset[0] + cos * offset[1]), dim=1),
    ]
    grid = functional.affine_grid(
        torch.stack(rows, dim=1), [len(these), 1, side, side], align_corners=False
    )
    chosen = pictures[torch.from_numpy(marks.shape[these]).to(device)]
    patches = functional.grid_sample(chosen, grid, mode="bilinear", align_corners=False)
    return patches[:, 0] * column(marks.opacity)[:, None, None]


@lru_cache(maxsize=16)
def _reduced(pictures: Tensor, factor: int) -> Tensor:
    """Means of factor x factor samples; kept, for every showing needs the same."""
    return functional.avg_pool2d(pictures, factor) if factor > 1 else pictures
