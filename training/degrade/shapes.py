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


def load_shapes(folders: tuple[str, ...], device: torch.device) -> Shapes:
    """Every .png of the folders, white being the mark; drawn ones where no folder is given.

    A picture whose name holds `scan` shows many marks at once and is left out.
    """
    if not folders:
        return draw_shapes(np.random.default_rng(0), device)
    import cv2

    pictures, thin = [], []
    for path in sorted(path for folder in folders for path in Path(folder).glob("*.png")):
        if "scan" in path.stem:
            continue
        opacity = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if opacity is None:
            raise ValueError(f"cannot decode {path}; remove it from the folder")
        pictures.append(_fit(torch.from_numpy(opacity.astype(np.float32) / 255.0)))
        thin.append(any(name in path.stem for name in ("hair", "lint", "scratch")))
    if not pictures:
        raise ValueError(f"no .png in {', '.join(folders)}; see data.shapes")
    return Shapes(torch.stack(pictures).to(device), np.array(thin))


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
    turn = np.cumsum(rng.normal(0.0, 0.012)) + np.cumsum(rng.normal(0.0, 0.06, steps))
    heading = rng.uniform(0.0, 2.0 * math.pi) + turn
    path = np.cumsum(np.stack([np.sin(heading), np.cos(heading)]), axis=1)
    path -= path.min(axis=1, keepdims=True)
    path *= 0.9 * (SIDE - 1) / max(path.max(), 1.0)
    axis = torch.arange(SIDE, dtype=torch.float32)
    at = torch.from_numpy(path).float() + 0.05 * SIDE
    distance = ((axis[:, None, None] - at[0]) ** 2 + (axis[None, :, None] - at[1]) ** 2).amin(-1)
    return torch.exp(-0.5 * distance / rng.uniform(0.8, 2.5))
