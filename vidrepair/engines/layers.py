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
    # Turned first and joined with what is constant for a size: OpenVINO is slow at stacking.
    centres = torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)), dim=-1) + 0.5
    pixel = torch.stack((x.new_full((), 2.0 / width), y.new_full((), 2.0 / height)))
    grid = (motion.permute(0, 2, 3, 1) + centres) * pixel - 1.0
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
