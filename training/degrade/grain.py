"""How noise hangs together in space: seeded fields of mean 0 and deviation 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

GRAINS = ("white", "blurred", "regressive", "resampled", "mosaic")
_LAG = 2
"""Rows and columns that an autoregressive sample looks back."""


@dataclass(frozen=True, slots=True)
class Grain:
    """A texture of noise."""

    kind: str = "white"
    """One of GRAINS: blurred by a lens or a denoiser, autoregressive as AV1 describes film grain,
    enlarged with its picture, or as demosaicing a sensor leaves it (R'G'B' only)."""
    size: float = 0.0
    """Radius of the blur in samples, or the factor of the enlargement."""


WHITE = Grain()


def draw_field(grain: Grain, like: Tensor, seed: int) -> Tensor:
    """Noise of the shape and device of `like`, (T, 3, H, W) float32; each frame its own."""
    generator = torch.Generator(like.device).manual_seed(seed)

    def white(height: int, width: int) -> Tensor:
        return torch.randn(*like.shape[:2], height, width, generator=generator, device=like.device)

    height, width = like.shape[-2:]
    if grain.kind == "resampled":
        small = white(round(height / grain.size) + 2, round(width / grain.size) + 2)
        field = functional.interpolate(
            small, scale_factor=grain.size, mode="bilinear", align_corners=False
        )
        field = field[..., :height, :width]
        return field / field.square().mean().sqrt()
    field = white(height, width)
    if grain.kind == "blurred":
        # Two products with banded matrices: many times faster than one-channel convolutions.
        down, across = (_blur_matrix(size, grain.size, like) for size in (height, width))
        return down @ field @ across.T
    if grain.kind == "regressive":
        return _regress(field, seed)
    return _demosaic(field, seed) if grain.kind == "mosaic" else field


def _blur_matrix(size: int, radius: float, like: Tensor) -> Tensor:
    """(size, size): a Gaussian of `radius` around each sample that keeps white noise's variance."""
    at = torch.arange(size, device=like.device, dtype=like.dtype)
    distance = (at[:, None] - at).abs()
    # Cut off, because products with denormal numbers are slow.
    weights = torch.exp(-0.5 * (distance / radius) ** 2) * (distance < 5.0 * radius)
    return weights / weights.square().sum(dim=1, keepdim=True).sqrt()


def _regress(white: Tensor, seed: int) -> Tensor:
    """Solve x = sum(a x of the samples before) + white on a torus, in the frequency domain.

    The model of film grain in AV1 (specification, 7.18.3.3), with random coefficients: like
    their nearest neighbours, less like the others.
    """
    rng = np.random.default_rng(seed)
    row, column = np.meshgrid(np.arange(-_LAG, 1), np.arange(-_LAG, _LAG + 1), indexing="ij")
    before = (row < 0) | (column < 0)
    weights = rng.normal(0.0, 0.06, row.shape) * before
    weights[-1, _LAG - 1], weights[-2, _LAG] = rng.uniform(0.1, 0.45, 2)
    weights *= min(1.0, 0.92 / np.abs(weights).sum())  # or it would grow without end
    kernel = white.new_zeros(white.shape[-2:])
    kernel[0, 0] = 1.0
    for y, x, weight in zip(row[before], column[before], weights[before], strict=True):
        kernel[-y, -x] -= weight
    field: Tensor = torch.fft.irfft2(
        torch.fft.rfft2(white) / torch.fft.rfft2(kernel), s=white.shape[-2:]
    )
    return field / field.square().mean().sqrt()


def _demosaic(white: Tensor, seed: int) -> Tensor:
    """What bilinear demosaicing makes of white noise on a Bayer sensor; (T, 3, H, W) is R'G'B'."""
    height, width = white.shape[-2:]
    phase = seed % 4
    y = torch.arange(height, device=white.device)[:, None] + phase // 2
    x = torch.arange(width, device=white.device) + phase % 2
    red, blue = (y % 2 == 0) & (x % 2 == 0), (y % 2 == 1) & (x % 2 == 1)
    sites = torch.stack((red, ~(red | blue), blue)).to(white)
    wide = white.new_tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 4.0
    cross = white.new_tensor([[0.0, 1.0, 0.0], [1.0, 4.0, 1.0], [0.0, 1.0, 0.0]]) / 4.0
    kernels = torch.stack((wide, cross, wide))[:, None]
    padded = functional.pad(white * sites, (1, 1, 1, 1), mode="reflect")
    field = functional.conv2d(padded, kernels, groups=3)
    return field / field.square().mean(dim=(0, 2, 3), keepdim=True).sqrt()
