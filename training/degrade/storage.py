"""How video is stored: matrix, range, chroma sampling, bits. Draw first, apply second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vidrepair.planes import rgb_to_ycbcr


@dataclass(frozen=True, slots=True)
class Storage:
    """The format that a clip is stored in."""

    matrix: str = "bt709"
    full_range: bool = True
    sampling: tuple[int, int] = (1, 1)
    """Luma samples per chroma sample, across and down."""
    bits: int | None = None
    """Bits of Y', Cb, Cr; None for R'G'B' sources, whose Y'CbCr is never rounded."""

    @property
    def peak(self) -> float:
        """The largest code."""
        return float(2 ** (self.bits or 8) - 1)


def draw_storage(rng: np.random.Generator) -> Storage:
    """A random format: nearly half R'G'B', else mostly 4:2:0, limited range, 8 bits."""
    if rng.random() < 0.45:
        return Storage()
    sampling = ((2, 2), (1, 1), (2, 1))[rng.choice(3, p=[0.7, 0.2, 0.1])]
    return Storage(
        matrix="bt709" if rng.random() < 0.6 else "bt601",
        full_range=bool(rng.random() < 0.25),
        sampling=sampling,
        bits=8 if rng.random() < 0.85 else 10,
    )


def to_stored(rgb: Tensor, storage: Storage) -> Tensor:
    """R'G'B' (T, 3, H, W) 0..1 -> unrounded Y'CbCr in the generator's unit (code / peak).

    Subsampled chroma is the mean of its site, repeated to full size.
    """
    matrix = torch.from_numpy(rgb_to_ycbcr(storage.matrix)).to(rgb)
    ycbcr = torch.einsum("ij,tjhw->tihw", matrix, rgb)
    if not storage.full_range:
        depth = 2.0 ** ((storage.bits or 8) - 8) / storage.peak
        scale = torch.tensor([219.0, 224.0, 224.0]).to(rgb) * depth
        offset = torch.tensor([16.0, 0.0, 0.0]).to(rgb) * depth
        ycbcr = ycbcr * scale[:, None, None] + offset[:, None, None]
    return repeat_chroma(ycbcr, storage)


def repeat_chroma(ycbcr: Tensor, storage: Storage) -> Tensor:
    """Average chroma over its site and repeat it to full size."""
    across, down = storage.sampling
    if (across, down) == (1, 1):
        return ycbcr
    chroma = functional.avg_pool2d(ycbcr[:, 1:], (down, across))
    chroma = chroma.repeat_interleave(down, -2).repeat_interleave(across, -1)
    return torch.cat((ycbcr[:, :1], chroma), dim=1)


def quantise(ycbcr: Tensor, storage: Storage) -> Tensor:
    """Round to codes and clip to the code range; R'G'B' sources are left as they are."""
    if storage.bits is None:
        return ycbcr
    middle = 2.0 ** (storage.bits - 1)
    offset = torch.tensor([0.0, middle, middle]).to(ycbcr)[:, None, None]
    codes = torch.round(ycbcr * storage.peak + offset).clamp(0.0, storage.peak)
    return (codes - offset) / storage.peak


def pack_codes(ycbcr: Tensor, storage: Storage) -> tuple[Tensor, Tensor]:
    """Y'CbCr (T, 3, H, W) in the generator's unit -> the codes that a file would hold, uint8.

    Luma (T, H, W) and chroma (T, 2, H / down, W / across), each site's first sample: chroma is
    repeated. Raises ValueError for more than eight bits.
    """
    if storage.bits != 8:
        raise ValueError("only codes of eight bits are packed")
    across, down = storage.sampling
    codes = quantise(ycbcr, storage) * storage.peak
    chroma = codes[:, 1:, ::down, ::across] + 128.0
    return codes[:, 0].round().byte(), chroma.round().byte()


def unpack_codes(luma: Tensor, chroma: Tensor, storage: Storage) -> Tensor:
    """The way back, eight bits: (T, 3, H, W), chroma repeated to full size."""
    across, down = storage.sampling
    wide = chroma.repeat_interleave(down, -2).repeat_interleave(across, -1)
    return torch.cat((luma[:, None].float(), wide.float() - 128.0), dim=1) / storage.peak
