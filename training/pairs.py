"""Really encoded pairs, read and shown: a noisy stretch as a codec left it, and its original."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from training.degrade.storage import Storage, unpack_codes

PAIR_STORAGE = Storage(full_range=False, sampling=(2, 2), bits=8)
"""BT.709, limited range, 4:2:0, 8 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Code values, uint8: luma (T, H, W) and chroma (T, 2, H/2, W/2)."""

    noisy_luma: Tensor
    noisy_chroma: Tensor
    clean_luma: Tensor
    clean_chroma: Tensor
    hole: Tensor
    """(T, H, W), 1 where a broken stream shows garbage."""
    quantiser_step: Tensor
    """Mean step of the quantiser, in code values; a scalar."""


def load_pair(path: Path, device: torch.device) -> Pair:
    """Read what training.encoding wrote. Raises ValueError when it is something else."""
    try:
        with np.load(path) as arrays:
            tensors = {name: torch.from_numpy(arrays[name]).to(device) for name in arrays}
        return Pair(**tensors)
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is no pair ({error}); make it anew with encode-pairs") from error


def show_pair(
    pair: Pair, frames: int, crop: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """A random crop of a pair, played forth and back where it is too short.

    Returns noisy and clean (frames, 3, crop, crop), chroma repeated, in the generator's unit, and
    `hole` (frames, crop, crop), 0 or 1. Raises ValueError when `crop` is larger than a pair.
    """
    count, height, width = pair.noisy_luma.shape
    if crop > min(height, width):
        raise ValueError(f"batch.crop is {crop}, pairs are {width}x{height}; use a smaller one")
    top, left = (2 * int(rng.integers((side - crop) // 2 + 1)) for side in (height, width))
    walk = (rng.integers(2 * count - 2) + np.arange(frames)) % (2 * count - 2)
    times = torch.from_numpy(np.where(walk < count, walk, 2 * count - 2 - walk))
    times = times.to(pair.noisy_luma.device)
    axes = tuple(axis for axis in (-2, -1) if rng.random() < 0.5)

    def cut(plane: Tensor, per: int) -> Tensor:
        rows, columns = (slice(at // per, (at + crop) // per) for at in (top, left))
        return plane[times][..., rows, columns].flip(axes)

    noisy, clean = (
        unpack_codes(cut(luma, 1), cut(chroma, 2), PAIR_STORAGE)
        for luma, chroma in (
            (pair.noisy_luma, pair.noisy_chroma),
            (pair.clean_luma, pair.clean_chroma),
        )
    )
    return noisy, clean, cut(pair.hole, 1).float()
