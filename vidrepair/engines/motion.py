"""Where things went from one picture to the next: steps of Lucas and Kanade, judged by nets."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidrepair.engines.layers import SLOPE, enlarge, reduce, silence, smooth, warp

_GRID = 4
"""Motion has one displacement for so many samples squared, or more."""
_DAMPING = 1e-3
"""Added to the squared gradients, (luma per sample)^2: with less than that in a window its step is
near zero."""
_FARTHEST = 2.0
"""Samples, of the scale at hand, that one step may move along each axis."""
_DETAIL_GAIN = 8.0


class MotionNet(nn.Module):
    """Displacement from one picture to another, coarse to fine, on their luma.

    At each scale the second picture is moved by what is known so far, and one step of Lucas and
    Kanade (1981) finds what is missing: least squares over a window, by its 2x2 structure tensor.
    A small net then says how far to trust the step, and adds to it. The step is computed, not
    learned: products of gradients are what convolutions find hardest to learn.
    """

    SCALES = (16, 8, 2, 1)
    """Of the pictures. The motion itself is never finer than quarter size."""
    SMOOTHINGS = (1, 1, 2, 2)
    """How often the window's sums are smoothed; noise grows where the samples are fine."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(self._net(width) for _ in self.SCALES)

    @staticmethod
    def _net(width: int) -> nn.Sequential:
        widths = (8, width, width, width, 3)
        layers = [nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)]
        silence(layers[-1])
        first, second, third, last = layers
        assert last.bias is not None
        nn.init.constant_(last.bias[2:], 1.0)  # trust the step
        active = [part for layer in (first, second, third) for part in (layer, nn.LeakyReLU(SLOPE))]
        return nn.Sequential(*active, last)

    def forward(self, here: Tensor, there: Tensor) -> Tensor:
        """Luma (B, 1, H, W) twice -> motion (B, 2, H/4, W/4), in full-size pixels."""
        known = self.SCALES[0]
        motion = torch.zeros_like(reduce(here, known)).expand(-1, 2, -1, -1)
        for scale, smoothings, net in zip(self.SCALES, self.SMOOTHINGS, self.nets, strict=True):
            first, second = (reduce(luma, scale) for luma in (here, there))
            grid = max(scale, _GRID)
            motion = enlarge(motion, known // grid)
            pool, known = grid // scale, grid
            moved = warp(second, motion / scale, pool)
            step, seen = _lucas_kanade(first, moved, pool, smoothings)
            answer = net(torch.cat((seen, motion / grid), dim=1))
            motion = motion + scale * (answer[:, 2:] * step + answer[:, :2])
        return motion


def _lucas_kanade(here: Tensor, there: Tensor, pool: int, smoothings: int) -> tuple[Tensor, Tensor]:
    """The displacement at which `there`, sampled by `warp`, agrees with `here`, from nearby.

    Both are luma (B, 1, h, w). Returns the step (B, 2, h/pool, w/pool) in samples of theirs, and
    what a net should see to judge it (B, 6, h/pool, w/pool): detail, difference, the step, texture
    (the trace of the structure tensor) and mismatch (the squared difference).
    """
    across, down = _gradients((here + there) / 2.0)
    change = there - here
    factors = ((across, across), (across, down), (down, down), (across, change), (down, change))
    products = [one * other for one, other in (*factors, (change, change))]
    # Each by itself: joined first, they would be the largest thing in memory.
    sums = torch.cat([reduce(product, pool) for product in products], dim=1)
    pooled, difference = reduce(here, pool), reduce(change, pool)
    for _ in range(smoothings):
        sums = smooth(sums)
    xx, xy, yy, xt, yt, energy = sums.split(1, dim=1)
    xx, yy = xx + _DAMPING, yy + _DAMPING
    step = torch.cat((xy * yt - yy * xt, xy * xt - xx * yt), dim=1) / (xx * yy - xy * xy)
    step = step.clamp(-_FARTHEST, _FARTHEST)
    # Logarithms, brought to about -1 to 1 for luma in 0..1.
    texture = ((xx + yy).log() + 6.0) / 3.0
    mismatch = ((energy + 1e-6).log() + 8.0) / 3.0
    detail = pooled - smooth(pooled)
    seen = (detail * _DETAIL_GAIN, difference * _DETAIL_GAIN, step, texture, mismatch)
    return step, torch.cat(seen, dim=1)


def _gradients(luma: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences across and down, borders replicated."""
    wide = functional.pad(luma, (1, 1, 1, 1), mode="replicate")
    across = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2.0
    down = (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2.0
    return across, down
