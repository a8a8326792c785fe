"""A stand-in for a video codec: what quantising a noisy picture leaves of its noise.

Blocks of 8x8 are predicted from the decoded frame before or coded for themselves, transformed by
the DCT and quantised with a dead zone, as in MPEG-2 and H.264 (ITU-T H.264, 8.5: the step
doubles every 6 QP, from 0.625 at QP 0). No motion search, no deblocking: what is here is what
matters to a denoiser, grain that survives in some blocks, freezes in others, and comes back
with the next intra frame.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.degrade.storage import Storage, quantise
from vidrepair.quantiser import h264_step

BLOCK = 8


@dataclass(frozen=True, slots=True)
class CodingRecipe:
    """How one clip is coded."""

    qp: float
    """Of H.264's scale, luma and chroma of predicted frames; intra frames take 3 less."""
    gop: int
    """Frames from one intra frame to the next."""
    skip: float = 0.5
    """Blocks that differ by less than this share of the quantiser's step, rms, are repeated: an
    encoder that weighs bits against errors drops such residuals."""
    qp_deviation: float = 0.0
    """From frame to frame."""
    seed: int = 0

    @property
    def quantiser_step(self) -> float:
        """What a decoder would tell of it, in 8-bit code values."""
        return h264_step(self.qp - 3.0 * (self.gop == 1))


def draw_coding(rng: np.random.Generator, storage: Storage) -> CodingRecipe | None:
    """Four in ten of the clips that are stored as video: hardly visible to poor; else None."""
    if storage.bits is None or rng.random() < 0.6:
        return None
    return CodingRecipe(
        qp=float(rng.uniform(14.0, 33.0)),
        gop=int(rng.choice([1, 12, 48, 250])),
        skip=float(rng.uniform(0.2, 0.8)),
        qp_deviation=float(rng.choice([0.0, 2.0])),
        seed=int(rng.integers(2**31)),
    )


def code(stored: Tensor, recipe: CodingRecipe, storage: Storage) -> Tensor:
    """Stored Y'CbCr (T, 3, H, W), H and W multiples of 16, in the generator's unit -> decoded."""
    rng = np.random.default_rng(recipe.seed)
    decoded: list[Tensor] = []
    first = int(rng.integers(recipe.gop))
    for t, frame in enumerate(stored):
        intra = t == 0 or (t + first) % recipe.gop == 0
        qp = recipe.qp - 3.0 * intra + recipe.qp_deviation * rng.standard_normal()
        step = h264_step(qp) / 255.0
        before = None if intra else decoded[-1]
        past = (None, None) if before is None else (before[:1], before[1:])
        steps = (step, recipe.skip * step)
        luma = _code_planes(frame[:1], past[0], steps)
        chroma = _code_chroma(frame[1:], past[1], steps, storage)
        decoded.append(torch.cat((luma, chroma)))
    return quantise(torch.stack(decoded), storage)


def _code_chroma(
    planes: Tensor, before: Tensor | None, steps: tuple[float, float], storage: Storage
) -> Tensor:
    """Chroma at its own size, repeated after."""
    across, down = storage.sampling
    if (across, down) == (1, 1):
        return _code_planes(planes, before, steps)
    small = planes[..., ::down, ::across]
    small_before = None if before is None else before[..., ::down, ::across]
    coded = _code_planes(small, small_before, steps)
    return coded.repeat_interleave(down, -2).repeat_interleave(across, -1)


def _code_planes(planes: Tensor, before: Tensor | None, steps: tuple[float, float]) -> Tensor:
    """Planes (C, h, w), each block from the frame before or for itself, whatever is closer.

    `steps` are the quantiser's and the difference below which a block is skipped.
    """
    step, skipped = steps
    blocks = _blocks(planes)
    # The mean of a block is its first coefficient over 8, quantised as all are.
    mean = (blocks.mean(dim=(-1, -2), keepdim=True) * BLOCK / step).round() * step / BLOCK
    prediction, rounding = mean, 1.0 / 3.0
    if before is not None:
        past = _blocks(before)
        inter = (blocks - past).square().mean(dim=(-1, -2), keepdim=True)
        own = (blocks - mean).square().mean(dim=(-1, -2), keepdim=True)
        prediction, rounding = torch.where(inter < own, past, mean), 1.0 / 6.0
    matrix = _dct(blocks.device, blocks.dtype)
    levels = matrix @ (blocks - prediction) @ matrix.T / step
    # The encoder's dead zone: small levels are rounded down more often than up.
    levels = levels.sign() * (levels.abs() + rounding).floor()
    back = prediction + matrix.T @ (levels * step) @ matrix
    if before is not None:
        back = torch.where(inter < skipped**2, past, back)
    columns = back.flatten(-2).transpose(-1, -2)
    folded: Tensor = functional.fold(columns, planes.shape[-2:], kernel_size=BLOCK, stride=BLOCK)
    return folded[:, 0]


def _blocks(planes: Tensor) -> Tensor:
    """(C, h, w) -> (C, N, 8, 8)."""
    columns = functional.unfold(planes[:, None], kernel_size=BLOCK, stride=BLOCK)
    blocks: Tensor = columns.transpose(-1, -2).unflatten(-1, (BLOCK, BLOCK))
    return blocks


@functools.cache
def _dct(device: torch.device, dtype: torch.dtype) -> Tensor:
    """The orthonormal DCT-II as a matrix (8, 8), a row for each frequency."""
    n = np.arange(BLOCK)
    matrix = np.cos(math.pi / BLOCK * np.outer(n, n + 0.5)) * math.sqrt(2.0 / BLOCK)
    matrix[0] /= math.sqrt(2.0)
    return torch.from_numpy(matrix).to(device, dtype)
