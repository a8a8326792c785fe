"""The discriminator: told clean film from restored film, and what both sides lose by it.

Goodfellow et al. 2014: D(x) is the probability that x is clean. Here nets answer its logit, so that
D = sigmoid(logit), log D = -softplus(-logit) and log(1 - D) = -softplus(logit).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.octaves import SMOOTH
from training.patch_nets import judge_layers, through

_DETAIL = 0.02
"""Deviation of the detail of a picture, in 0..1: what D sees is brought to about one."""


def discriminator_loss(form: str, real: Tensor, fake: Tensor) -> Tensor:
    """What D makes small, of its logits for clean and for restored patches.

    Minimax and non-saturating: -(E[log D(x)] + E[log(1 - D(G(z)))]). Hinge (Lim and Ye 2017):
    E[max(0, 1 - logit(x))] + E[max(0, 1 + logit(G(z)))].
    """
    if form == "hinge":
        return functional.relu(1.0 - real).mean() + functional.relu(1.0 + fake).mean()
    # -log D(x) is softplus(-logit), and -log(1 - D(G(z))) is softplus(logit).
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def generator_loss(form: str, fake: Tensor) -> Tensor:
    """What G makes small, of D's logits for what it made.

    Minimax: E[log(1 - D(G(z)))], whose slope vanishes where D is sure. Non-saturating:
    -E[log D(G(z))]. Hinge: -E[logit(G(z))].
    """
    if form == "minimax":
        return -functional.softplus(fake).mean()
    if form == "non-saturating":
        return functional.softplus(-fake).mean()
    return -fake.mean()


def accuracy(real: Tensor, fake: Tensor) -> float:
    """Share of the patches that D takes for what they are; a half where it guesses."""
    return 0.5 * float((real > 0.0).float().mean() + (fake < 0.0).float().mean())


def high_pass(picture: Tensor) -> Tensor:
    """(B, C, H, W) without its smoothed self; borders replicated."""
    reach = round(3.0 * SMOOTH)
    at = torch.arange(-reach, reach + 1, device=picture.device, dtype=picture.dtype)
    line = torch.exp(-0.5 * (at / SMOOTH) ** 2)
    line = line / line.sum()
    planes = picture.flatten(0, 1)[:, None]
    padded = functional.pad(planes, (reach, reach, reach, reach), mode="replicate")
    smooth = functional.conv2d(padded, line[None, None, :, None])
    smooth = functional.conv2d(smooth, line[None, None, None, :])
    detail: Tensor = picture - smooth[:, 0].unflatten(0, picture.shape[:2])
    return detail


class Discriminator(nn.Module):
    """Patches of 20x20 samples and three frames -> logits, every layer's gain bounded by one.

    Spectral norm (Miyato et al. 2018). It sees detail alone: of a wave of 1/12 cycle per sample
    0.42 is left, of 1/16 0.26, of 1/32 0.07, so that hardly a gradient of its changes brightness.
    """

    def __init__(self, frames: int = 3, width: int = 32) -> None:
        super().__init__()
        self.layers = judge_layers(frames + 1, width)

    def forward(self, luma: Tensor, sigma: Tensor) -> Tensor:
        """`luma` (B, frames, H, W) 0..1, `sigma` (B,), the noise that was in it, 0..1.

        Returns logits (B, 1, H/4, W/4): of each patch, that it is clean film.
        """
        detail = high_pass(luma) / _DETAIL
        # How much texture is to be expected depends on the noise: from 1 to 60 codes it runs 0..1.
        level = (255.0 * sigma).clamp(min=1.0).log() / 4.1
        plane = level[:, None, None, None].expand(-1, 1, *luma.shape[-2:])
        return through(self.layers, torch.cat((detail, plane), dim=1))
