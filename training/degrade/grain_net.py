"""What makes grain: a small net that turns white noise into it, and an autoregressive filter.

Both know the luma that the grain lies on, look at a bounded neighbourhood only, and so draw fields
of any size that repeat as little as the white noise that they are made of.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.patch_nets import through
from vidrepair.engines.layers import silence

LATENT = 4
"""Planes of white noise, z."""
REACH = 6
"""Samples beyond an edge that a field depends on."""
LAG = 3
"""Rows and columns that an autoregressive sample looks back, as AV1 has it at most."""
LEVELS = 17
"""Luma levels, 0..1, between which the autoregressive model's deviation is piecewise linear."""
QUANTILES = 257


class GrainNet(nn.Module):
    """z and luma (B, LATENT + 1, H + 2 REACH, W + 2 REACH) -> grain (B, 1, H, W), deviation one.

    A linear filter of z, which alone could have any spectrum, what convolutions add to it, and a
    gain by luma.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.filter = nn.Conv2d(LATENT, 1, 2 * REACH + 1, bias=False)
        self.layers = nn.ModuleList(
            (
                nn.Conv2d(LATENT + 1, width, 5),
                nn.Conv2d(width, width, 5),
                nn.Conv2d(width, width, 3),
                nn.Conv2d(width, 1, 3),
            )
        )
        self.level = nn.Conv2d(1, 8, 1)
        self.gain = nn.Conv2d(8, 1, 1)
        silence(self.gain)
        nn.init.zeros_(self.filter.weight)
        with torch.no_grad():  # white at first
            self.filter.weight[0, :, REACH, REACH] = LATENT**-0.5

    def forward(self, z: Tensor, luma: Tensor) -> Tensor:
        """`z` (B, LATENT, H + 2 REACH, W + 2 REACH), `luma` (B, 1, the same) 0..1."""
        field = self.filter(z) + through(self.layers, torch.cat((z, 2.0 * luma - 1.0), dim=1))
        made: Tensor = field * self.strength(luma[..., REACH:-REACH, REACH:-REACH])
        return made

    def strength(self, luma: Tensor) -> Tensor:
        """The gain at a luma (B, 1, H, W)."""
        gain: Tensor = self.gain(self.level(2.0 * luma - 1.0).tanh())
        return gain.clamp(-3.0, 3.0).exp()


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """Each sample a weighted sum of those before it, and an innovation; as film grain in AV1.

    The innovations are drawn from those found, so that the histogram need not be a Gaussian's.
    """

    weights: Tensor
    """(LAG + 1, 2 LAG + 1): of rows above and columns around; 0 from the sample itself on."""
    innovations: Tensor
    """(QUANTILES,) their quantiles."""
    curve: Tensor
    """(LEVELS,) deviation by luma."""

    def draw(self, luma: Tensor, generator: torch.Generator) -> Tensor:
        """Grain (B, 1, H, W) for a luma (B, 1, H, W) 0..1."""
        count, _, height, width = luma.shape
        # On a torus, larger than the picture: what wraps around is cut off.
        size = (height + 8 * LAG, width + 8 * LAG)
        at = torch.rand(count, 1, *size, generator=generator) * (QUANTILES - 1)
        below = at.long().clamp(max=QUANTILES - 2)
        white = torch.lerp(self.innovations[below], self.innovations[below + 1], at - below)
        kernel = torch.zeros(size)
        kernel[0, 0] = 1.0
        for row in range(LAG + 1):
            for column in range(2 * LAG + 1):
                kernel[row, LAG - column] -= self.weights[LAG - row, column]
        field = torch.fft.irfft2(torch.fft.rfft2(white) / torch.fft.rfft2(kernel), s=size)
        field = field[..., :height, :width]
        place = luma.clamp(0.0, 1.0) * (LEVELS - 1)
        low = place.long().clamp(max=LEVELS - 2)
        deviation = torch.lerp(self.curve[low], self.curve[low + 1], place - low)
        return torch.mul(field, deviation)
