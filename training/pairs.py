"""Really encoded pairs: a noisy stretch as a codec left it, and its original."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from training.degrade.storage import Storage

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
