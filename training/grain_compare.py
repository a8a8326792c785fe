"""How like the real thing learned grain is, on patches that no model saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.grain_patches import SIDE, Patches
from training.octaves import octave_powers
from vidrepair.frames import FloatArray

SPECTRUM = 1.5
"""Decibels that an octave may differ by."""
_BINS = 5
_QUANTILES = 512
_NOTHING = 1e-9
"""A power below any grain's, so that a model that draws nothing is far off, and no error."""
_NEAR = 0.9
"""Patches nearer to what was learned from than this share of what real ones are, are copies."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """The distance of drawn grain from real grain."""

    octaves: tuple[float, ...]
    """Drawn over real power, dB, by octave of frequency."""
    histogram: float
    """Wasserstein distance of the samples' distributions, in deviations of the grain."""
    luma: float
    """Drawn over real deviation, dB, root mean square over levels of luma."""
    nearest: float
    """Distance to the nearest patch learned from, as a share of that of real unseen patches."""

    @property
    def keeps(self) -> bool:
        """Its spectrum is right, and it copies nothing."""
        return max(abs(octave) for octave in self.octaves) <= SPECTRUM and self.nearest >= _NEAR

    @property
    def distance(self) -> float:
        """One figure to choose by: each distance in units of what is hardly seen."""
        spectrum = float(np.sqrt(np.mean(np.square(self.octaves))))
        return spectrum / SPECTRUM + self.histogram / 0.05 + self.luma / 1.0

    def figures(self) -> dict[str, Any]:
        """For the file."""
        return {
            "octaves": [round(octave, 3) for octave in self.octaves],
            "histogram": round(self.histogram, 4),
            "luma": round(self.luma, 3),
            "nearest": round(self.nearest, 3),
            "keeps": self.keeps,
        }


def compare(drawn: FloatArray, real: Patches, learned_from: Patches) -> Likeness:
    """`drawn` (N, SIDE, SIDE) at the levels of `real`, in the same unit; `real` was held out."""
    powers = [octave_powers(grain.astype(np.float64)).sum(axis=0) for grain in (drawn, real.grain)]
    octaves = 10.0 * np.log10((powers[0] + _NOTHING) / (powers[1] + _NOTHING))
    probabilities = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    quantiles = [np.quantile(grain, probabilities) for grain in (drawn, real.grain)]
    return Likeness(
        octaves=tuple(float(octave) for octave in octaves),
        histogram=float(np.abs(quantiles[0] - quantiles[1]).mean()),
        luma=_by_luma(drawn, real),
        nearest=_nearest(drawn, learned_from.grain) / _nearest(real.grain, learned_from.grain),
    )


def _by_luma(drawn: FloatArray, real: Patches) -> float:
    edges = np.quantile(real.level, np.linspace(0.0, 1.0, _BINS + 1)[1:-1])
    at = np.searchsorted(edges, real.level, side="right")
    powers = [
        [np.square(grain[at == bin_]).mean() for bin_ in np.unique(at)]
        for grain in (drawn, real.grain)
    ]
    drawn_power, real_power = (np.array(power) + _NOTHING for power in powers)
    differences = 10.0 * np.log10(drawn_power / real_power)
    return float(np.sqrt(np.square(differences).mean()))


def _nearest(patches: FloatArray, among: FloatArray) -> float:
    """Median distance to the nearest of other patches, at the displacement where it is least.

    Patches are brought to one deviation first, or the quiet ones would be near to all.
    """
    count = min(len(patches), 64)
    few = np.fft.rfft2(_even(patches[:: max(len(patches) // count, 1)][:count]))
    others = np.fft.rfft2(_even(among[:: max(len(among) // 512, 1)]))
    best = np.full(len(few), -1.0)
    for one in range(len(few)):
        alike = np.fft.irfft2(few[one] * others.conj(), s=(SIDE, SIDE))
        best[one] = alike.max() / SIDE**2
    return float(np.median(np.sqrt((2.0 - 2.0 * best).clip(min=0.0))))


def _even(patches: FloatArray) -> Any:
    centred = patches - patches.mean(axis=(1, 2), keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=(1, 2), keepdims=True) + 1e-12)
