"""The protocol of texture: what a denoiser leaves of it, by octave, and whether it stands still.

Known noise as in `evaluate`. Textured are the windows whose clean detail is in the upper half of
their clip. In the flattest quarter the error tells of noise left or made. Flicker is how much the
error changes from one frame to the next where clean film stands still.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.checkpoint import blend_weights
from training.data import each_clip
from training.evaluate import (
    FRAMES,
    Restore,
    add_known_noise,
    clean_clip,
    generator_restore,
    load_network,
    psnr,
)
from training.octaves import OCTAVES, octave_powers, windows_of
from vidrepair.planes import rgb_to_ycbcr

SIGMAS = (30.0, 50.0)
_TEXTURED = 0.5
"""Quantile of clean detail from which a window counts."""
_FLAT = 0.25
"""Quantile of clean detail up to which a window is flat."""
_FLOOR = 100.0
"""Power of a window's octave that nobody sees."""
_STILL = 1.0
"""Code values by which the smoothed luma of clean film may change where it stands still."""


@dataclass(frozen=True, slots=True)
class Texture:
    """One restoration of one clip at one deviation."""

    name: str
    clip: str
    sigma: float
    psnr: float
    octaves: tuple[float, ...]
    """Restored over clean power, dB, by octave of frequency, in textured windows."""
    flat: float
    """Error in flat windows, root mean square, code values."""
    flicker: float
    """Root mean square, code values; NaN where nothing stands still."""


def restores_of(checkpoints: tuple[Path, ...], blends: tuple[float, ...]) -> dict[str, Restore]:
    """By name: each checkpoint, and so many percent of the way from the first to the last."""
    models = [load_network(path) for path in checkpoints]
    names = [f"{path.parent.name}/{path.name}" for path in checkpoints]
    restores = {name: generator_restore(model) for name, model in zip(names, models, strict=True)}
    first, last = models[0].state_dict(), models[-1].state_dict()
    for percent in blends:
        between = copy.deepcopy(models[0])
        between.load_state_dict(blend_weights(first, last, percent))
        restores[f"blend {percent:g} %"] = generator_restore(between)
    return restores


def measure_texture(
    folder: Path, restores: dict[str, Restore], sigmas: tuple[float, ...], frames: int = FRAMES
) -> Iterator[Texture]:
    """Every restoration of every clip of the folder."""
    for path in each_clip(folder):
        clean = clean_clip(path)[:frames]
        for sigma in sigmas:
            noisy = add_known_noise(clean, path.stem, sigma)
            for name, restore in restores.items():
                restored = restore(noisy, sigma).round().clamp(0.0, 255.0)
                lumas = _luma(clean), _luma(restored)
                figures = texture_left(*lumas), flat_error(*lumas), flicker(*lumas)
                decibels = float(np.mean(psnr(clean, restored)))
                yield Texture(name, path.stem, sigma, decibels, *figures)


def texture_left(clean: Tensor, restored: Tensor) -> tuple[float, ...]:
    """Restored over clean power of luma (T, H, W), dB, by octave, in textured windows."""
    powers = [octave_powers(_windows(luma)) for luma in (clean, restored)]
    detail = powers[0].sum(axis=1)
    textured = detail >= np.quantile(detail, _TEXTURED)
    # Windows count alike: a sum of powers would tell of the few with strong edges alone.
    ratios = 10.0 * np.log10((powers[1][textured] + _FLOOR) / (powers[0][textured] + _FLOOR))
    return tuple(float(octave) for octave in ratios.mean(axis=0))


def flat_error(clean: Tensor, restored: Tensor) -> float:
    """Of luma (T, H, W) in flat windows, about its mean in each: root mean square."""
    detail = octave_powers(_windows(clean)).sum(axis=1)
    windows = _windows(restored - clean)[detail <= np.quantile(detail, _FLAT)]
    return float(windows.std(axis=(1, 2)).mean())


def flicker(clean: Tensor, restored: Tensor) -> float:
    """Change of the error of luma (T, H, W) from frame to frame where clean film stands still."""
    smooth = functional.avg_pool2d(clean[:, None], 5, stride=1, padding=2)[:, 0]
    still = (smooth[1:] - smooth[:-1]).abs() < _STILL
    change = torch.diff(restored - clean, dim=0)
    return float(change[still].square().mean().sqrt()) if bool(still.any()) else float("nan")


def table(found: list[Texture]) -> str:
    """Markdown: means over the clips, a row for each deviation and restoration."""
    names = list(dict.fromkeys(one.name for one in found))
    bands = [f"{low:g} to {high:g}" for low, high in pairwise(OCTAVES)]
    heads = " | ".join(f"texture, dB, {band}" for band in bands)
    rows = [
        f"| sigma | | PSNR, dB | {heads} | error in flat | flicker |",
        "|---|---|---|" + "---|" * (len(bands) + 2),
    ]
    for sigma in sorted({one.sigma for one in found}):
        for name in names:
            of = [one for one in found if (one.sigma, one.name) == (sigma, name)]
            octaves = np.mean([one.octaves for one in of], axis=0)
            rows.append(
                f"| {sigma:g} | {name} | {np.mean([one.psnr for one in of]):.2f} | "
                f"{' | '.join(f'{octave:+.2f}' for octave in octaves)} | "
                f"{np.mean([one.flat for one in of]):.2f} | "
                f"{np.nanmean([one.flicker for one in of]):.2f} |"
            )
    return "\n".join(rows)


def _luma(rgb: Tensor) -> Tensor:
    weights = torch.from_numpy(rgb_to_ycbcr()[0]).float()
    return torch.einsum("c,tchw->thw", weights, rgb.float())


def _windows(luma: Tensor) -> Any:
    """(T, H, W) -> (N, WINDOW, WINDOW)."""
    return windows_of(luma.double().numpy())
