"""What the nets are made of: resampling, and how layers start."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.1
"""Of every leaky ReLU, below zero."""


def warp(source: Tensor, motion: Tensor, factor: int = 1, mode: str = "bilinear") -> Tensor:
    """Sample `source` (B, C, H, W) at each position displaced by `motion` (B, 2, H/f, W/f).

    Displacements are x then y, in pixels of `source`, enlarged bilinearly by `factor`; `mode` is
    bilinear or bicubic, borders replicated. Both must be fp32: in half precision coordinates are
    off by up to a pixel.
    """
    height, width = (factor * side for side in motion.shape[-2:])
    pixel = torch.stack((motion.new_full((), 2.0 / width), motion.new_full((), 2.0 / height)))
    grid = _fine_grid(motion, pixel, factor) if factor > 1 else _grid(motion, pixel)
    return functional.grid_sample(
        source, grid, mode=mode, padding_mode="border", align_corners=False
    )


def _grid(motion: Tensor, pixel: Tensor) -> Tensor:
    """Where `warp` looks, (B, H, W, 2) in -1..1."""
    height, width = motion.shape[-2:]
    x, y = _ramp(width, motion), _ramp(height, motion)
    # A row and a column, not a whole grid, which engines would keep. Turned as a matrix, and not
    # stacked from x and y: so OpenVINO takes half the memory, and on large pictures less time.
    row = torch.stack((x, torch.zeros_like(x)), dim=-1)
    column = torch.stack((torch.zeros_like(y), y), dim=-1)[:, None]
    turned: Tensor = motion.flatten(2).transpose(1, 2).unflatten(1, (height, width))
    return turned * pixel + row + column


def _fine_grid(motion: Tensor, pixel: Tensor, factor: int) -> Tensor:
    """The same for motion at 1/factor size, (B, H * factor, W * factor, 2).

    One convolution computes all fine positions within a coarse one, place and displacement
    together: a third of the time of enlarging the motion and adding the places to it.
    """
    height, width = motion.shape[-2:]
    around = functional.pad(motion * pixel[:, None, None], (1, 1, 1, 1), mode="replicate")
    x, y = _ramp(width, motion, 1), _ramp(height, motion, 1)
    row = torch.stack((x, torch.zeros_like(x)))[:, None]
    column = torch.stack((torch.zeros_like(y), y))[:, :, None]
    phases = functional.conv2d(around + row + column, _phases_kernel(factor, motion))
    # (B, f * f * 2, h, w), the parts of a channel down, across, x or y.
    lines: Tensor = phases.permute(0, 2, 3, 1).unflatten(3, (factor, 2 * factor)).transpose(2, 3)
    return lines.reshape(motion.shape[0], height * factor, width * factor, 2)


def _ramp(size: int, like: Tensor, beyond: int = 0) -> Tensor:
    """The middles of `size` samples that span -1..1, and of some beyond both ends."""
    places = torch.arange(-beyond, size + beyond, device=like.device, dtype=torch.float32)
    return (2.0 * places + 1.0) / size - 1.0


def _phases_kernel(factor: int, like: Tensor) -> Tensor:
    """(f * f * 2, 2, 3, 3): the bilinear weights of the neighbours at each fine position."""
    away = (torch.arange(factor, device=like.device, dtype=torch.float32) + 0.5) / factor - 0.5
    near = torch.arange(-1, 2, device=like.device, dtype=torch.float32)
    line = (1.0 - (away[:, None] - near).abs()).clamp(min=0.0)
    square = torch.einsum("ai,bj->abij", line, line)
    axes = torch.eye(2, device=like.device, dtype=torch.float32)
    kernel: Tensor = torch.einsum("abij,cd->abcdij", square, axes).flatten(0, 2)
    return kernel


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
