"""What the small nets have in common: how they run, and what tells real patches from made ones."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from vidrepair.engines.layers import SLOPE


def judge_layers(planes: int, width: int) -> nn.ModuleList:
    """Of `planes` (B, planes, H, W) to a logit for each patch of 20x20 samples, (B, 1, H/4, W/4).

    Every layer's gain is bounded by one: spectral norm (Miyato et al. 2018).
    """
    return nn.ModuleList(
        spectral_norm(layer)
        for layer in (
            nn.Conv2d(planes, width, 3, padding=1),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.Conv2d(2 * width, 2 * width, 4, stride=2, padding=1),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )
    )


def through(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """What comes out of convolutions one after the other, with a leaky ReLU between them."""
    *inner, last = layers
    for layer in inner:
        x = functional.leaky_relu(layer(x), SLOPE)
    found: Tensor = last(x)
    return found
