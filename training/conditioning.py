"""What the generator is told of the noise: the truth, the truth disturbed, or a measurement."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from training.degrade.noise import disturb_profile, true_profile
from training.degrade.storage import Storage
from vidrepair.frames import Frame, Picture, PixelFormat
from vidrepair.noise import combine, measure_span

_LOOKED_AT = 12
"""Frames that are measured; the tool looks at 20 of a span."""


def tell_noise(
    noisy: Tensor,
    clean: Tensor,
    storage: Storage,
    rng: np.random.Generator,
    *,
    quantiser_step: float | None = None,
    whole: Tensor | None = None,
) -> Tensor:
    """The profile (2, 17) that goes with a stretch (T, 3, H, W) as stored.

    Noise that was coded, by a quantiser of that step in code values, is measured two times in
    three, as the tool will do: what a codec froze does not show in time, and the generator has to
    learn how much more there is. A crop holds few blocks, so a measurement that motion led far
    astray is cut to twice the truth. `whole` (T, H, W) is 0 where a hole hides the noise, else 1.
    """
    truth = true_profile(noisy, clean, whole)
    if quantiser_step is not None and rng.random() < 0.67:
        measured = measured_profile(noisy[:_LOOKED_AT], storage, quantiser_step).to(noisy)
        return torch.minimum(measured, 2.0 * truth + 1.0 / 255.0)
    return disturb_profile(truth, rng)


def measured_profile(stored: Tensor, storage: Storage, quantiser_step: float = 0.0) -> Tensor:
    """What the tool measures in a stretch (T, 3, H, W) of stored Y'CbCr, unit code / peak.

    `quantiser_step` is what the codec tells, in 8-bit code values; 0 for nothing.
    """
    if storage.bits is None:
        raise ValueError("only stored Y'CbCr is measured; R'G'B' has no bits here")
    across, down = storage.sampling
    form = PixelFormat("yuv", "yuv", storage.bits, storage.sampling)
    height, width = stored.shape[-2:]
    picture = Picture(width, height, form, storage.matrix, storage.full_range)
    middle = 2.0 ** (storage.bits - 1)
    kind = np.uint8 if storage.bits == 8 else np.uint16
    luma, chroma = (
        torch.round(planes * storage.peak + offset).cpu().numpy().astype(kind)
        for planes, offset in ((stored[:, 0], 0.0), (stored[:, 1:, ::down, ::across], middle))
    )
    frames = [
        Frame((luma[t], *chroma[t]), picture, t, t, Fraction(1, 25), quantiser_step=quantiser_step)
        for t in range(len(stored))
    ]
    profile = combine(measure_span(frames), None)
    return torch.from_numpy(profile.array())
