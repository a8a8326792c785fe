"""Pictures of single marks: what dust, dirt and hair look like, as opacity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SIDE = 96
"""Side of the square that every shape fills, in samples."""
_DRAWN = 64
_THIN = ("hair", "lint", "scratch")
"""In the names of pictures whose marks are long and narrow."""
_FAINT = 20
"""Of 255: what is fainter does not belong to a mark."""
_SMALLEST = 20
"""Samples of a picture; a mark of fewer has no form."""
_MOST = 12
"""Marks taken from one picture, so that none of them outweighs the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Marks to choose from."""

    pictures: Tensor
    """(N, 1, SIDE, SIDE), opacity 0..1; the longer side of each mark fills the square."""
    thin: np.ndarray
    """(N,) bool: hair, lint and the like, which are seldom small."""

    def __post_init__(self) -> None:
        if not len(self.pictures) or len(self.pictures) != len(self.thin):
            raise ValueError("no shapes of damage; give a folder of opacity pictures, or none")


def load_shapes(paths: list[Path], device: torch.device) -> Shapes:
    """Every mark of the pictures, white on black; drawn ones where there is no picture.

    Marks that do not touch are taken apart. Raises ValueError for what is no picture.
    """
    if not paths:
        return draw_shapes(np.random.default_rng(0), device)
    pictures, thin = [], []
    for path in paths:
        marks = _take_apart(path)
        pictures += [_fit(mark) for mark in marks]
        thin += [any(name in path.stem for name in _THIN)] * len(marks)
    return Shapes(torch.stack(pictures).to(device), np.array(thin))


def _take_apart(path: Path) -> list[Tensor]:
    """The marks of a picture, largest first, each (h, w) opacity 0..1 with its edge."""
    import cv2

    opacity = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if opacity is None:
        raise ValueError(f"cannot decode {path}; remove it from the folder")
    _, labels, facts, _ = cv2.connectedComponentsWithStats((opacity > _FAINT).astype(np.uint8))
    marks = []
    # 0 is what lies around them.
    for label in sorted(range(1, len(facts)), key=lambda n: -facts[n, cv2.CC_STAT_AREA])[:_MOST]:
        left, top, width, height, area = facts[label]
        if area < _SMALLEST:
            break
        window = slice(top, top + height), slice(left, left + width)
        mark = np.where(labels[window] == label, opacity[window], 0)
        marks.append(torch.from_numpy(mark.astype(np.float32) / 255.0))
    return marks


def draw_shapes(rng: np.random.Generator, device: torch.device) -> Shapes:
    """Blobs with ragged edges, and bent fibres, for machines without pictures of damage."""
    blobs = [_fit(_blob(rng)) for _ in range(_DRAWN)]
    fibres = [_fit(_fibre(rng)) for _ in range(_DRAWN // 2)]
    thin = np.arange(len(blobs) + len(fibres)) >= len(blobs)
    return Shapes(torch.stack(blobs + fibres).to(device), thin)


def _fit(opacity: Tensor) -> Tensor:
    """Cut (h, w) to what it shows and enlarge or reduce that to (1, SIDE, SIDE), its form kept."""
    seen = opacity > 0.1
    rows, columns = (seen.any(dim=axis).nonzero() for axis in (1, 0))
    if not len(rows):
        return torch.zeros(1, SIDE, SIDE)
    cut = opacity[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1][None, None]
    inner = SIDE - 4  # an empty edge, so that sampling beyond it finds nothing
    scale = inner / max(cut.shape[-2:])
    size = [max(1, round(side * scale)) for side in cut.shape[-2:]]
    fitted = functional.interpolate(cut, size=size, mode="bilinear", antialias=True)[0, 0]
    top, left = ((SIDE - side) // 2 for side in size)
    out = torch.zeros(1, SIDE, SIDE)
    out[0, top : top + size[0], left : left + size[1]] = fitted.clamp(0.0, 1.0)
    return out


def _blob(rng: np.random.Generator) -> Tensor:
    """A disc whose edge waves, (SIDE, SIDE): sums of sines around its centre."""
    axis = torch.linspace(-1.0, 1.0, SIDE)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    angle, radius = torch.atan2(y, x), torch.hypot(x, y * rng.uniform(1.0, 2.5))
    edge = torch.full_like(angle, 0.6)
    for waves in range(2, 8):
        phase, height = rng.uniform(0.0, 2.0 * math.pi), rng.normal(0.0, 0.35 / waves)
        edge = edge + height * torch.sin(waves * angle + phase)
    return torch.sigmoid((edge - radius) * rng.uniform(8.0, 40.0))


def _fibre(rng: np.random.Generator) -> Tensor:
    """A thin line that bends at random, (SIDE, SIDE)."""
    steps = 160
    turn = rng.normal(0.0, 0.012) * np.arange(steps) + np.cumsum(rng.normal(0.0, 0.06, steps))
    heading = rng.uniform(0.0, 2.0 * math.pi) + turn
    path = np.cumsum(np.stack([np.sin(heading), np.cos(heading)]), axis=1)
    path -= path.min(axis=1, keepdims=True)
    path *= 0.9 * (SIDE - 1) / max(path.max(), 1.0)
    axis = torch.arange(SIDE, dtype=torch.float32)
    at = torch.from_numpy(path).float() + 0.05 * SIDE
    distance = ((axis[:, None, None] - at[0]) ** 2 + (axis[None, :, None] - at[1]) ** 2).amin(-1)
    return torch.exp(-0.5 * distance / rng.uniform(0.8, 2.5))
