"""One figure of learned grain beside the real: power by frequency, histogram, deviation by luma."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.octaves import OCTAVES, by_octave, spectra
from vidrepair.frames import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 8
"""Of luma, at most, of as many patches each,"""
FEWEST = 12
"""and so many at least."""
_EDGES = np.linspace(-4.0, 4.0, 49)
"""Of the histogram, in deviations of the real grain."""
_RINGS = 16
Array = NDArray[np.float64]


def radial_power(grain: FloatArray) -> tuple[Array, Array]:
    """Patches (N, side, side) -> frequencies, cycles per sample, and the mean power at each, dB."""
    power = (np.abs(spectra(grain.astype(np.float64))) ** 2).mean(axis=0)
    axis = np.fft.fftfreq(grain.shape[-1])
    radius = np.hypot(axis[:, None], axis)
    edges = np.linspace(0.5 / grain.shape[-1], OCTAVES[-1], _RINGS + 1)
    count, places, powers = by_octave(np.stack([np.ones_like(radius), radius, power]), edges)
    there = count > 0
    return places[there] / count[there], 10.0 * np.log10(powers[there] / count[there])


def deviation_by_luma(grain: FloatArray, level: FloatArray) -> tuple[Array, Array]:
    """Patches and the luma under each -> mean luma of some groups, and their deviations."""
    count = max(min(LEVELS, len(level) // FEWEST), 1)
    groups = np.array_split(np.argsort(level, kind="stable"), count)
    places = [level[group].mean() for group in groups]
    return np.array(places), np.array([np.sqrt(np.square(grain[group]).mean()) for group in groups])


def require_matplotlib() -> None:
    """Raise ValueError where it is missing."""
    if find_spec("matplotlib") is None:
        raise ValueError('a figure needs matplotlib; pip install "matplotlib>=3.9"')


def draw_grain(path: Path, sets: Mapping[str, tuple[FloatArray, FloatArray]]) -> None:
    """Write a PNG. `sets` are patches (N, side, side) in one unit and the luma under each (N,), by
    what is to be told of each; the first is the real one. Raises ValueError where matplotlib is
    missing.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 4.8), layout="constrained")
    power, share, luma = figure.subplots(1, 3)
    middles = 0.5 * (_EDGES[1:] + _EDGES[:-1])
    for number, (name, (grain, level)) in enumerate(sets.items()):
        style = {"linewidth": 2.4 if number == 0 else 1.3, "label": name}
        power.plot(*radial_power(grain), **style)
        share.plot(middles, np.histogram(grain, _EDGES, density=True)[0], **style)
        luma.plot(*deviation_by_luma(grain, level), marker="o", markersize=4, **style)
    power.set_xscale("log", base=2)
    _name(power, "cycles per sample", "power, dB")
    _name(luma, "luma, 0 black to 1 white", "deviation, of all the real grain")
    _name(share, "sample, in deviations of the real grain", "density")
    luma.set_ylim(bottom=0.0)
    luma.set_xlim(0.0, 1.0)
    figure.legend(*power.get_legend_handles_labels(), loc="outside lower center", frameon=False)
    figure.savefig(path, dpi=110)


def _name(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.3)
