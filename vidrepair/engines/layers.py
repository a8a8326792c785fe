"""What the nets are made of: resampling, and how layers start."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.1
"""Of every leaky ReLU, below zero."""


def warp(source: Tensor, motion: Tensor, mode: str = "bilinear") -> Tensor:
    """Sample `source` (B, C, H, W) at each position displaced by `motion` (B, 2, H, W).

    Displacements are x then y, in pixels of `source`; `mode` is bilinear or bicubic, borders
    replicated. Both must be fp32: in half precision coordinates are off by up to a pixel.
    """
    height, width = motion.shape[-2:]
    x = torch.arange(width, device=motion.device, dtype=torch.float32)
    y = torch.arange(height, device=motion.device, dtype=torch.float32)
    x, y = (2.0 * x + 1.0) / width - 1.0, (2.0 * y + 1.0) / height - 1.0
    # A row and a column, not a whole grid, which engines would keep. Turned as a matrix, and not
    # stacked from x and y: so OpenVINO takes half the memory, and on large pictures less time.
    row = torch.stack((x, torch.zeros_like(x)), dim=-1)
    column = torch.stack((torch.zeros_like(y), y), dim=-1)[:, None]
    pixel = torch.stack((x.new_full((), 2.0 / width), y.new_full((), 2.0 / height)))
    turned = motion.flatten(2).transpose(1, 2).unflatten(1, (height, width))
    grid = turned * pixel + row + column
    return functional.grid_sample(
        source, grid, mode=mode, padding_mode="border", align_corners=False
    )


def enlarge(picture: Tensor, factor: int) -> Tensor:
    """Bilinear enlargement of (B, C, H, W); the values stay as they are."""
    if factor == 1:
        return picture
    return functional.interpolate(
        picture, scale_factor=float(factor), mode="bilinear", align_corners=False
    )


def smooth(picture: Tensor) -> Tensor:
    """Mean of 3x3 samples of (B, C, H, W), borders replicated."""
    return functional.avg_pool2d(
        functional.pad(picture, (1, 1, 1, 1), mode="replicate"), 3, stride=1
    )


def reduce(picture: Tensor, factor: int) -> Tensor:
    """Means of factor x factor samples: (B, C, H, W) -> (B, C, H/factor, W/factor)."""
    if factor == 1:
        return picture
    # One channel each: OpenVINO would fill three up to sixteen.
    planes = functional.avg_pool2d(picture.flatten(0, 1)[:, None], factor)
    reduced: Tensor = planes[:, 0].unflatten(0, picture.shape[:2])
    return reduced


def silence(layer: nn.Conv2d) -> None:
    """Let a layer start by answering nothing."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
