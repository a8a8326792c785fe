"""A larger network that starts where a smaller one stands, after Net2Net (Chen et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor

from vidrepair.engines.generator import Generator

_FACTS = 8
"""The last inputs of the U-Net: three disagreements, the local mean and the noise map. The features
lie before them."""

Weights = dict[str, Tensor]


def widen(small: Weights, model: Generator) -> Weights:
    """Weights for `model` with which it answers what the smaller network answers.

    What the smaller one has is copied. New channels keep what `model` was initialised with, and
    nothing old listens to them yet; new residual blocks answer nothing yet. Returns new tensors.
    Raises ValueError where the network of `small` is not the smaller one.
    """
    large = {name: value.cpu().clone() for name, value in model.state_dict().items()}
    if unknown := set(small) - set(large):
        raise ValueError(f"{min(unknown)} is not in the larger network")
    for name, old in small.items():
        new = large[name]
        if old.ndim != new.ndim or any(a > b for a, b in zip(old.shape, new.shape, strict=True)):
            raise ValueError(f"{name} is {tuple(old.shape)}, more than {tuple(new.shape)}")
        if old.ndim == 1:
            new[: len(old)] = old
            continue
        at = torch.arange(old.shape[1])
        if name == "restorer.enter.weight":
            at[-_FACTS:] += new.shape[1] - old.shape[1]
        rows = new[: old.shape[0]].zero_()
        rows[:, at] = old.to(new.dtype)
    return large
