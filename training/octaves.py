"""Power of grain by octave of frequency, and its high-pass: how grain is told from the picture.

Windows are under a Hann window, so that octaves of small spots and of their surroundings leak
alike; sums run over many windows before anything is divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrepair.frames import FloatArray

SMOOTH = 2.0
"""Deviation of the Gaussian whose complement is the high-pass, samples."""
WINDOW = 16
"""Side of a window whose spectrum is taken, samples."""
OCTAVES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Cycles per sample; the ends of three octaves."""
ROUNDING = 1.0 / 12.0
"""Variance of rounding to codes, once, in codes."""

Array = NDArray[np.float64]


def high_pass(clip: FloatArray) -> FloatArray:
    """(T, H, W) without its smoothed self."""
    import cv2

    return np.stack([plane - cv2.GaussianBlur(plane, (0, 0), SMOOTH) for plane in clip])


def steepness(clip: FloatArray) -> FloatArray:
    """(T, H, W) squared gradient of the smoothed mean of a frame and its two neighbours."""
    import cv2

    padded = np.concatenate((clip[:1], clip, clip[-1:]))
    mean = (padded[:-2] + padded[1:-1] + padded[2:]) / np.float32(3.0)
    smooth = np.stack([cv2.GaussianBlur(plane, (0, 0), SMOOTH) for plane in mean])
    return np.asarray(np.square(np.gradient(smooth, axis=(1, 2))).sum(axis=0))


def windows_of(picture: NDArray[Any]) -> NDArray[Any]:
    """(..., H, W) -> (N, WINDOW, WINDOW), side by side; what is left on the right and below is not
    looked at.
    """
    *others, height, width = picture.shape
    rows, columns = height // WINDOW, width // WINDOW
    cut = picture[..., : rows * WINDOW, : columns * WINDOW]
    parts = cut.reshape(*others, rows, WINDOW, columns, WINDOW).swapaxes(-3, -2)
    return parts.reshape(-1, WINDOW, WINDOW)


def spectra(windows: NDArray[Any]) -> NDArray[np.complex128]:
    """The transforms of windows (N, side, side) about their means, under a Hann window."""
    side = windows.shape[-1]
    weight = np.outer(hann(side), hann(side))
    mean = (windows * weight).sum(axis=(1, 2), keepdims=True) / weight.sum()
    return np.asarray(np.fft.fft2((windows - mean) * weight))


def hann(side: int) -> Array:
    """(side,) the window."""
    return np.asarray(np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2)


def by_octave(power: Array, edges: Sequence[float] | Array) -> Array:
    """(N, side, side) -> (N, octaves) sums over rings of frequencies."""
    axis = np.fft.fftfreq(power.shape[-1])
    radius = np.hypot(axis[:, None], axis)
    rings = [(radius >= low) & (radius < high) for low, high in pairwise(edges)]
    return np.stack([power[:, ring].sum(axis=1) for ring in rings], axis=1)


def octave_powers(windows: NDArray[Any]) -> Array:
    """(N, side, side) -> (N, 3) power of each window by octave of OCTAVES."""
    return by_octave(np.abs(spectra(windows)) ** 2, OCTAVES)


def trimmed_mean(values: Array) -> Array:
    """Means over the first axis of (N, 3) or (N, 3, M), without the quarter that reaches furthest.

    Inside, around or undamaged, summed over what follows: dirt of the film's own and things that
    move spoil some spots. A median would not do: products of few samples are skewed, the more so
    the fewer there are.
    """
    reach = np.abs(values.reshape(*values.shape[:2], -1).sum(axis=2)).max(axis=1)
    kept = np.argsort(reach, kind="stable")[: max(-(-3 * len(values) // 4), 1)]
    return np.asarray(values[kept].mean(axis=0))


def decibels(one: Array, other: Array) -> Array:
    """NaN where either has no power to be told."""
    told = (one > 0.0) & (other > 0.0)
    return 10.0 * np.log10(np.where(told, one, 1.0) / np.where(told, other, np.nan))
