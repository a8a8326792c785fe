"""Noise: drawn first, applied second; and its true profile, measured from what was stored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.degrade.grain import GRAINS, WHITE, Grain, draw_field
from training.degrade.storage import Storage, quantise, repeat_chroma, to_stored

KNOTS = 17
_COARSE = 20.0 / 255.0
"""Grain below this may be coarse: above, nothing could be told from the picture."""
_KINDS = {
    "rgb": 0.45,
    "ycbcr": 0.12,
    "poisson": 0.15,
    "blurred": 0.1,
    "regressive": 0.06,
    "resampled": 0.06,
    "mosaic": 0.06,
}
"""Shares of what noise is like."""


@dataclass(frozen=True, slots=True)
class NoiseRecipe:
    """One clip's noise. Deviations are in 0..1 of the sample range."""

    in_rgb: bool = True
    """Added to R'G'B' before storage, or to the stored Y'CbCr."""
    luma: float = 0.0
    """Deviation in R'G'B', or of Y'."""
    chroma: float = 0.0
    """Deviation of Cb and Cr; unused in R'G'B'."""
    shot: float = 0.0
    """0..1: share of the variance that follows the level (Poisson)."""
    grain: Grain = WHITE
    """How it hangs together in space."""
    seed: int = 0


def draw_noise(rng: np.random.Generator, *, weak: bool = False) -> NoiseRecipe:
    """Nearly half white Gaussian of R'G'B', then Y'CbCr, Poisson-Gaussian and correlated grain.

    5 % of clips carry none. The deviation is uniform from 2 to 55 / 255 in half of the others and
    log-uniform in the rest, for most footage has little; with `weak` log-uniform up to 25 / 255.
    Grain below 20 / 255 is as coarse as that of film, too.
    """
    seed = int(rng.integers(2**31))
    if rng.random() < 0.05:
        return NoiseRecipe(seed=seed)
    kind = str(rng.choice(list(_KINDS), p=list(_KINDS.values())))
    sigma = rng.uniform(2.0, 55.0) / 255.0
    if weak or rng.random() < 0.5:
        most = 25.0 if weak else 55.0
        sigma = math.exp(rng.uniform(math.log(2.0), math.log(most))) / 255.0
    if kind == "rgb":
        return NoiseRecipe(luma=sigma, seed=seed)
    chroma = sigma * rng.uniform(0.2, 1.2)
    in_rgb = kind == "mosaic" or (kind == "poisson" and rng.random() < 0.7)
    coarsest = 1.0 if sigma < _COARSE else 0.5
    sizes = {
        "blurred": rng.uniform(0.4, 2.0 * coarsest),
        "resampled": rng.uniform(1.1, 1.0 + coarsest),
    }
    return NoiseRecipe(
        in_rgb=in_rgb,
        luma=sigma,
        chroma=chroma,
        shot=0.0 if kind == "ycbcr" else float(rng.uniform(0.2, 1.0)),
        grain=Grain(kind, float(sizes.get(kind, 0.0))) if kind in GRAINS else WHITE,
        seed=seed,
    )


def add_noise(rgb: Tensor, recipe: NoiseRecipe, storage: Storage) -> tuple[Tensor, Tensor]:
    """Clean R'G'B' (T, 3, H, W) 0..1 -> noisy and clean Y'CbCr as stored, generator's unit."""
    clean = to_stored(rgb, storage)
    if recipe.luma == 0.0:
        return quantise(clean, storage), clean
    if recipe.in_rgb:
        shown = rgb + recipe.luma * _level_gain(rgb, recipe) * draw_field(
            recipe.grain, rgb, recipe.seed
        )
        # R'G'B' footage is clipped and rounded by its camera, whatever comes after.
        shown = torch.round(shown.clamp(0.0, 1.0) * 255.0) / 255.0
        return quantise(to_stored(shown, storage), storage), clean
    deviation = torch.tensor([recipe.luma, recipe.chroma, recipe.chroma]).to(rgb)
    gain = _level_gain(clean[:, :1], recipe)
    noise = draw_field(recipe.grain, rgb, recipe.seed) * deviation[:, None, None] * gain
    across, down = storage.sampling
    # One sample per chroma site, at full deviation: averaging would make it weaker.
    chroma = noise[:, 1:, ::down, ::across]
    chroma = chroma.repeat_interleave(down, -2).repeat_interleave(across, -1)
    noise = torch.cat((noise[:, :1], chroma[..., : rgb.shape[-2], : rgb.shape[-1]]), dim=1)
    return quantise(repeat_chroma(clean + noise, storage), storage), clean


def _level_gain(level: Tensor, recipe: NoiseRecipe) -> Tensor:
    """Deviation by level, 1 at middle gray: sqrt((1 - shot) + 2 shot level)."""
    return ((1.0 - recipe.shot) + recipe.shot * 2.0 * level.clamp(0.0, 1.0)).sqrt()


def true_profile(noisy: Tensor, clean: Tensor, whole: Tensor | None = None) -> Tensor:
    """The deviation of (noisy - clean) by luma level: (2, 17) for (T, 3, H, W).

    Luma and chroma, at 17 levels 0..1 of smoothed noisy luma, each sample shared between its
    two nearest levels; levels that hardly occur take their neighbours' value. `whole` (T, H, W)
    is 1 where a sample counts, 0 where not; None counts all.
    """
    luma = functional.avg_pool2d(noisy[:, :1], 5, stride=1, padding=2, count_include_pad=False)
    position = luma[:, 0].clamp(0.0, 1.0).flatten() * (KNOTS - 1)
    below = position.long().clamp(max=KNOTS - 2)
    above = position - below
    error = noisy - clean
    power = (error[:, 0].square().flatten(), error[:, 1:].square().mean(dim=1).flatten())

    def share(values: Tensor) -> Tensor:
        """Sum `values` into the two knots around each sample."""
        sums = torch.bincount(below, (1.0 - above) * values, KNOTS)
        return sums + torch.bincount(below + 1, above * values, KNOTS)

    weight = torch.ones_like(above) if whole is None else whole.flatten()
    counts = share(weight)
    sums = torch.stack([share(weight * values) for values in power])
    profile = (sums / counts.clamp(min=1e-6)).sqrt().cpu().numpy()
    shown = counts.cpu().numpy()
    seen = np.flatnonzero(shown >= min(20.0, float(shown.max())))
    levels = np.arange(KNOTS)
    filled = [np.interp(levels, seen, row[seen]) for row in profile]
    return torch.from_numpy(np.stack(filled)).to(noisy)


def disturb_profile(profile: Tensor, rng: np.random.Generator) -> Tensor:
    """Make the known noise as uncertain as a measured one: a gain and a tilt, half the time.

    A floor below one code value stands for what an estimator finds in clean pictures.
    """
    if rng.random() < 0.5:
        return profile
    gain = np.exp(rng.normal(0.0, 0.12, size=(2, 1)))
    tilt = np.exp(rng.normal(0.0, 0.1, size=(2, 1)) * np.linspace(-1.0, 1.0, KNOTS))
    floor = rng.uniform(0.0, 1.0, size=(2, 1)) / 255.0
    factor = torch.from_numpy(gain * tilt).to(profile)
    return (profile * factor).square().add(torch.from_numpy(floor).to(profile) ** 2).sqrt()
