"""The terms of the loss; fidelity in standard deviations of the noise."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from vidrepair.engines.layers import enlarge, warp
from vidrepair.planes import rgb_to_ycbcr


def rgb_error(error: Tensor) -> Tensor:
    """An error in Y'CbCr (B, 3, H, W) as the R'G'B' error that it makes on a screen."""
    return torch.einsum("ij,bjhw->bihw", _to_rgb(error.device), error)


@cache
def _to_rgb(device: torch.device) -> Tensor:
    """(3, 3), made once: what comes from the host cannot be captured in a CUDA graph."""
    inverse: Tensor = torch.linalg.inv(torch.from_numpy(rgb_to_ycbcr("bt709")))
    return inverse.to(device, torch.float32)


def charbonnier(error: Tensor, epsilon: float) -> Tensor:
    """Mean of sqrt(e^2 + epsilon^2) - epsilon (Charbonnier et al. 1994)."""
    return ((error.square() + epsilon * epsilon).sqrt() - epsilon).mean()


def fidelity(error: Tensor, sigma: Tensor, epsilon: float) -> Tensor:
    """Charbonnier over sigma: `error` (B, 3, H, W) in Y'CbCr, `sigma` (B,), at least 1/255."""
    return charbonnier(rgb_error(error) / sigma[:, None, None, None], epsilon)


def shift_error(error: Tensor, side: int = 32) -> Tensor:
    """Mean absolute shift of the blocks of `error` (B, 3, H, W, Y'CbCr), in 8-bit code values.

    Noise leaves the mean of a block alone, and so must its removal. Blocks of a smaller picture
    are as large as it is.
    """
    blocks = functional.avg_pool2d(error, min(side, *error.shape[-2:]))
    return 255.0 * rgb_error(blocks).abs().mean()


def low_error(error: Tensor, sigma: Tensor, epsilon: float, side: int = 8) -> Tensor:
    """`fidelity` of the means of small blocks: what locks the low frequencies of a picture."""
    blocks = functional.avg_pool2d(error, min(side, *error.shape[-2:]))
    # A mean of side^2 samples of noise is so many times quieter.
    return fidelity(blocks, sigma / side, epsilon)


def excess_energy(error: Tensor, allowed: Tensor, side: int = 8) -> Tensor:
    """How far the power of the luma's error goes beyond a bound, in blocks; 0 where it keeps it.

    `error` (B, 3, H, W) in Y'CbCr, `allowed` (B, 1, H/4, W/4): a deviation. Mean of
    max(0, power / (allowed^2 + 1 code^2) - 1).
    """
    power = functional.avg_pool2d(error[:, :1].square(), side)
    bound = functional.avg_pool2d(allowed.square(), side // 4) + 1.0 / 255.0**2
    return functional.relu(power / bound - 1.0).mean()


def warp_error(clean: Tensor, motion: Tensor, epsilon: float = 0.01) -> Tensor:
    """How far the neighbours, moved by `motion`, are from frame t; all of it clean.

    `clean` (B, 3, 3, H, W): t-1, t, t+1; `motion` (B, 4, H/4, W/4). At half size, robust. The
    only loss that trains the motion.
    """
    pooled = functional.avg_pool2d(clean.flatten(0, 1), 2).unflatten(0, clean.shape[:2])
    moved = [
        warp(pooled[:, at], part / 2.0)
        for at, part in zip((0, 2), enlarge(motion, 2).split(2, dim=1), strict=True)
    ]
    errors = [charbonnier(picture - pooled[:, 1], epsilon) for picture in moved]
    return (errors[0] + errors[1]) / 2.0


def fill_error(error: Tensor, damage: Tensor, epsilon: float = 0.02) -> Tensor:
    """How wrong the fill is where frame t is damaged; Charbonnier in units of `epsilon`.

    `error` (B, 3, H, W) of the fill in Y'CbCr, `damage` (B, 1, H, W) 0 or 1. A hundred samples
    more are counted than there are, so that a speck does not weigh as much as a splice.
    """
    each = ((rgb_error(error) / epsilon).square() + 1.0).sqrt() - 1.0
    return (each.mean(dim=1, keepdim=True) * damage).sum() / (damage.sum() + 100.0)


def defect_error(probability: Tensor, damage: Tensor) -> Tensor:
    """Cross-entropy and soft Dice of the defect map; holes are ignored.

    `probability` (B, 1, H, W); `damage` (B, 4, H, W), 0 or 1 of damage.CLASSES. Dice (Milletari et
    al. 2016) keeps the rare class from drowning.
    """
    truth = damage[:, :3].amax(dim=1, keepdim=True)
    counts = torch.maximum(truth, 1.0 - damage[:, 3:])
    sure = probability.clamp(1e-4, 1.0 - 1e-4)
    entropy = functional.binary_cross_entropy(sure, truth, weight=counts)
    both = (probability * truth).sum()
    dice = 1.0 - (2.0 * both + 1.0) / ((probability * counts).sum() + truth.sum() + 1.0)
    return entropy + dice
