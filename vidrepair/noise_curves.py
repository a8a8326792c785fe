"""The noise of two films by luma, measured in the same few frames at even distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vidrepair.in_step import Pair
from vidrepair.noise import KNOTS, NoiseMeasurement, measure_span

FRAMES, PLACES = 4, 24
"""Frames in a row that are measured together, and the places of a film; twice as many at most."""


@dataclass(frozen=True, slots=True, eq=False)
class NoiseCurve:
    """Deviation by luma, on the 8-bit scale."""

    luma: NDArray[np.float64]
    """(17,) from black to white; NaN where no place showed the level."""
    chroma: NDArray[np.float64]


class NoisePlaces:
    """Takes frame by frame of both films, and measures some; holds FRAMES pairs."""

    def __init__(self, frames: int | None) -> None:
        """Of a film of so many frames."""
        self._stride = max((frames or 0) // PLACES, FRAMES)
        self._held: list[Pair] = []
        self._measured: list[tuple[NoiseMeasurement, NoiseMeasurement]] = []

    def add(self, pair: Pair) -> None:
        """Take in the next frame."""
        if not self._held and pair.first.number % self._stride >= FRAMES:
            return
        if pair.first.passed_over or (self._held and self._held[-1].first.shot != pair.first.shot):
            self._held = []
            return
        self._held.append(pair)
        if len(self._held) == FRAMES:
            # Without what is known of a codec: of the second film nothing is, and none is better.
            one, other = (
                [replace(getattr(p, n), quantiser_step=0.0) for p in self._held]
                for n in ("first", "second")
            )
            self._measured.append((measure_span(one), measure_span(other)))
            self._held = []
        if len(self._measured) > 2 * PLACES:
            self._measured = self._measured[::2]
            self._stride *= 2

    def curves(self) -> tuple[NoiseCurve, NoiseCurve]:
        """Of both films, the mean variance of all places, by blocks."""
        sides = list(zip(*self._measured, strict=True)) or [(), ()]
        return _mean(sides[0]), _mean(sides[1])


def _mean(measured: Sequence[NoiseMeasurement]) -> NoiseCurve:
    total, blocks = np.zeros((2, KNOTS)), np.zeros((2, KNOTS))
    for one in measured:
        total += one.variance * one.blocks
        blocks += one.blocks
    with np.errstate(invalid="ignore", divide="ignore"):
        luma, chroma = 255.0 * np.sqrt(np.where(blocks > 0, total / blocks, np.nan))
    return NoiseCurve(luma, chroma)
