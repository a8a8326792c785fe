"""Grain as a product: what was made anew for a whole film, against what was taken away.

By plane, in the flatter half of the picture's blocks. Deviations are in 8-bit code values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.grain_film import Clip, Film, site_means
from training.octaves import (
    OCTAVES,
    ROUNDING,
    WINDOW,
    Array,
    by_octave,
    decibels,
    high_pass,
    spectra,
    steepness,
    trimmed_mean,
)
from vidrepair.frames import FloatArray
from vidrepair.regions import Mask

LEVELS = 8
"""Bins of luma."""
FEWEST = 0.01
"""Share of the blocks below which a bin says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class ProductFigures:
    """Made and original grain of one plane."""

    plane: str
    deviation: tuple[float, float]
    """Made and original, of 16x16 blocks about their means."""
    levels: Array
    """(8,) made against original by luma; NaN where the film hardly shows it."""
    octaves: Array
    """(4,) made against original, dB."""
    correlation: tuple[float, float]
    """With the next frame, made and original."""
    total: Array
    """(4,) power of a frame about its neighbours, of the finished film against the given one, dB:
    with what the tool did not take away."""


def measure_product(film: Film, quiet: Clip, again: Clip) -> tuple[ProductFigures, ...]:
    """Made grain against the original, plane by plane, where the picture is flat.

    `quiet` is the film without its grain as the tool makes it, `again` with grain put back. The
    original is what a clean film was given, or else what the tool took away. The flatter half of
    the blocks counts.
    """
    shown = quiet if film.clean is None else film.clean
    luma = film.luma(shown)
    slope = steepness(luma)
    found = []
    for index, name in zip(range(len(film.planes)), ("Y", "Cb", "Cr"), strict=False):
        was, bare, now, base = (
            clip[index].astype(np.float32) * np.float32(film.scale)
            for clip in (film.planes, quiet, again, shown)
        )
        across, down = film.picture.format.sampling if index else (1, 1)
        light, steep = (site_means(each, down, across) for each in (luma, slope))
        grain = (now - bare, was - base)
        # A difference of two clips that were both rounded was rounded once too often.
        rounding = ROUNDING * film.scale**2 * np.array([1.0, film.clean is None])
        flat = _flat(steep, WINDOW)
        variances = np.stack([_tiles(each, WINDOW)[flat].var(axis=(1, 2)) for each in grain])
        variances = variances.astype(float) - rounding[:, None]
        levels = _tiles(light, WINDOW)[flat].mean(axis=(1, 2)) / 256.0
        made, original = (_octave_means(each, steep) for each in grain)
        correlations = [_next_correlation(each) for each in grain]
        found.append(
            ProductFigures(
                plane=name,
                deviation=_two(np.sqrt(np.maximum(np.median(variances, axis=1), 0.0))),
                levels=_by_level(variances, levels),
                octaves=decibels(made, original),
                correlation=(correlations[0], correlations[1]),
                total=decibels(*_about_neighbours((now, was), steep)),
            )
        )
    return tuple(found)


def _two(values: Array) -> tuple[float, float]:
    made, original = values.tolist()
    return made, original


def _flat(steep: FloatArray, side: int) -> Mask:
    """(N,) which blocks are of the flatter half."""
    values = _tiles(steep, side).mean(axis=(1, 2))
    return np.asarray(values <= np.median(values))


def _tiles(clip: FloatArray, side: int) -> FloatArray:
    """(T, H, W) -> (N, side, side), what is left over on the right and below apart."""
    rows, columns = (length // side for length in clip.shape[1:])
    whole = clip[:, : rows * side, : columns * side]
    cut = whole.reshape(len(clip), rows, side, columns, side).swapaxes(2, 3)
    return cut.reshape(-1, side, side)


def _by_level(variances: Array, levels: Array) -> Array:
    """(8,) ratio of deviations, made and original (2, N), by luma (N,) 0..1."""
    steps = np.minimum((levels * LEVELS).astype(int), LEVELS - 1)
    ratios = np.full(LEVELS, np.nan)
    for step in range(LEVELS):
        here = steps == step
        if here.sum() >= FEWEST * len(steps):
            made, original = np.maximum(np.median(variances[:, here], axis=1), 0.0)
            ratios[step] = np.sqrt(made / original) if original > 0.0 else np.nan
    return ratios


def _octave_means(grain: FloatArray, steep: FloatArray) -> Array:
    """(4,) the median power of 32x32 windows by octave, from 1/32 cycles per sample up."""
    side = 2 * WINDOW
    windows = _tiles(grain, side)[_flat(steep, side)]
    if not len(windows):
        return np.zeros(len(OCTAVES))
    power = np.abs(spectra(windows)) ** 2
    return np.asarray(np.median(by_octave(power, (OCTAVES[0] / 2.0, *OCTAVES)), axis=0))


def _next_correlation(grain: FloatArray) -> float:
    """Of the high-pass with the next frame's: the median over frames."""
    detail = high_pass(grain).reshape(len(grain), -1).astype(float)
    power = np.sqrt(np.square(detail[1:]).sum(axis=1) * np.square(detail[:-1]).sum(axis=1))
    return float(np.median((detail[1:] * detail[:-1]).sum(axis=1) / np.maximum(power, 1e-12)))


def _about_neighbours(clips: Sequence[FloatArray], steep: FloatArray) -> Array:
    """(2, 4) power by octave of the frames of two clips about their neighbours, in flat windows."""
    side = 2 * WINDOW
    flat = _flat(steep[1:-1], side)
    if not len(flat):
        return np.zeros((2, len(OCTAVES)))
    powers = []
    for clip in clips:
        first, second = (
            spectra(_tiles(clip[1:-1] - other, side)[flat]) for other in (clip[:-2], clip[2:])
        )
        about = (first * second.conj()).real
        powers.append(by_octave(about, (OCTAVES[0] / 2.0, *OCTAVES)))
    return trimmed_mean(np.stack(powers, axis=1))
