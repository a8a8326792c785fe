"""The grain of a fill: what a tool put over opaque dust, against its surroundings and the truth.

Everything is measured on a frame about its two neighbours, which are whole there, so that what
stands still, picture or texture, is not taken for grain. Deviations are in 8-bit code values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.octaves import (
    OCTAVES,
    ROUNDING,
    WINDOW,
    Array,
    by_octave,
    hann,
    high_pass,
    spectra,
    steepness,
    trimmed_mean,
)
from vidrepair.frames import FloatArray
from vidrepair.regions import Box, Mask, Region, connected_regions, dilate

COVERED = 0.98
"""Share of a spot that the matte has to cover: a rim that is left is no grain."""
RING = (4, 20)
"""Samples away from a spot that its surroundings begin and end."""
HELD = 0.9
"""Share of a window's weight that a repaired spot has to hold."""


@dataclass(frozen=True, slots=True, eq=False)
class FillFigures:
    """One strength of one film: what was repaired, its surroundings, the same places undamaged."""

    denoise: int
    laid: int
    """Spots on frames that have two neighbours."""
    spots: int
    """Of them those that were repaired whole."""
    variance: tuple[float, float, float]
    """Of the high-pass of a frame about its neighbours: inside, around, inside undamaged."""
    spread: float
    """Standard error of the ratio of the first and the last, drawn over spots."""
    power: tuple[float, float, float]
    """Mean square of the high-pass of single frames, texture too where it is not known."""
    grain: tuple[float, float]
    """Variance of the high-pass of the grain that was made over the fill, and of all the grain that
    the undamaged film has there; the fill's own faults are not in it."""
    correlation: tuple[float, float, float]
    """Of the high-pass with the neighbouring frames, at the same places; medians over spots.
    Texture counts where the picture is not known."""
    windows: int
    octaves: tuple[Array, Array, Array]
    """Power in each of three octaves."""


@dataclass(frozen=True, slots=True, eq=False)
class Fill:
    """What a tool made of dust at some strength: luma (T, H, W) on the 8-bit scale, and where."""

    film: FloatArray
    """Undamaged, with all its grain."""
    whole: FloatArray
    """The same at this strength."""
    repaired: FloatArray
    bare: FloatArray
    """Repaired at full strength: the fill without grain."""
    truth: Mask
    matte: Mask
    rounding: float = ROUNDING
    """Variance of rounding to codes."""


@dataclass(frozen=True, slots=True, eq=False)
class _Spot:
    """A spot that was repaired whole, between two frames that are whole there."""

    frame: int
    box: Box
    """Of all that is looked at."""
    held: Mask
    """What was repaired."""
    inside: Mask
    """The same without its rim, which the high-pass shares with what lies around."""
    around: Mask


def measure_fill(
    denoise: int, seen: Fill, clean: FloatArray | None, quiet: FloatArray
) -> FillFigures:
    """Compare the inside of repaired spots with their surroundings and the undamaged film.

    `clean` (T, H, W) is the picture without grain, where it is known, `quiet` an estimate of it. Of
    the spots the half counts at which the smoothed picture is flattest: what moves there looks the
    same. Raises ValueError where no spot was repaired whole.
    """
    laid = sum(len(connected_regions(plane)) for plane in seen.truth[1:-1])
    spots = _find_spots(seen)
    slope = steepness(seen.whole)
    busy = [
        float(slope[spot.frame, *spot.box.window()][spot.inside | spot.around].mean())
        for spot in spots
    ]
    calm = [spots[i] for i in np.argsort(busy, kind="stable")[: -(-len(spots) // 2)]]
    if not calm:
        raise ValueError(f"none of {laid} spots of dust was repaired whole; there is no fill")
    pair = (seen.repaired, seen.whole)
    shown = pair if clean is None else (pair[0] - clean, pair[1] - clean)
    found = _at_spots(shown, calm)
    octaves, windows = _spot_octaves(shown, calm, seen)
    chosen = np.random.default_rng(0).integers(len(calm), size=(200, len(calm)))
    drawn = [trimmed_mean(found[some, :, 0]) for some in chosen]
    grain = (seen.repaired - seen.bare, seen.film - (quiet if clean is None else clean))
    made, _, own = _three(trimmed_mean(_at_spots(grain, calm)[:, :, 1]))
    return FillFigures(
        denoise=denoise,
        laid=laid,
        spots=len(spots),
        variance=_three(trimmed_mean(found[:, :, 0])),
        spread=float(np.std([inside / whole for inside, _, whole in drawn])),
        power=_three(trimmed_mean(found[:, :, 1])),
        # A difference of two clips was rounded twice.
        grain=(made - seen.rounding, own - seen.rounding * (clean is None)),
        correlation=_three(np.median(found[:, :, 2], axis=0)),
        windows=windows,
        octaves=octaves,
    )


def _find_spots(seen: Fill) -> list[_Spot]:
    """The spots that the matte covers, where neither neighbour was dirty or repaired."""
    dirty = seen.truth | seen.matte
    height, width = dirty.shape[1:]
    spots = []
    for frame in range(1, len(dirty) - 1):
        for region in connected_regions(seen.truth[frame]):
            covered = seen.matte[frame, region.rows, region.columns].mean() >= COVERED
            beside = dirty[[frame - 1, frame + 1]][:, region.rows, region.columns]
            if covered and not beside.any():
                box = region.box.grown(RING[1] + WINDOW, height, width)
                spots.append(_spot(frame, box, region, dirty))
    return [spot for spot in spots if spot.inside.any() and spot.around.any()]


def _spot(frame: int, box: Box, region: Region, dirty: Mask) -> _Spot:
    own = np.zeros(dirty.shape[1:], dtype=bool)
    own[region.rows, region.columns] = True
    window = (slice(frame - 1, frame + 2), *box.window())
    near = dirty[window]
    own = own[box.window()]
    beside = dilate(near[0] | near[2], 2)
    held = near[1] & dilate(own, RING[0]) & ~beside
    around = dilate(own, RING[1]) & ~dilate(np.asarray(near.any(axis=0)), RING[0])
    return _Spot(frame, box, held, ~dilate(~held, 1), around)


def _at_spots(clips: Sequence[FloatArray], spots: Sequence[_Spot]) -> Array:
    """(spots, 3, 3) of inside and around in the first clip and inside in the second.

    Of the high-pass: variance about both neighbours, variance, correlation with them.
    """
    repaired, whole = (high_pass(clip) for clip in clips)
    return np.array(
        [
            [
                _at_spot(repaired, spot, spot.inside),
                _at_spot(repaired, spot, spot.around),
                _at_spot(whole, spot, spot.inside),
            ]
            for spot in spots
        ]
    )


def _at_spot(clip: FloatArray, spot: _Spot, mask: Mask) -> Array:
    """(3,) as in _at_spots.

    Half a squared difference would be half the neighbours'; the product of both differences has
    the variance of the frame between alone, where the three have nothing in common.
    """
    before, here, after = (
        clip[t, *spot.box.window()][mask].astype(float)
        for t in range(spot.frame - 1, spot.frame + 2)
    )
    about = ((here - before) * (here - after)).mean()
    power = [np.square(each).mean() for each in (before, here, after)]
    likeness = [
        (here * other).mean() / np.sqrt(max(power[1] * own, 1e-12))
        for other, own in ((before, power[0]), (after, power[2]))
    ]
    return np.array([about, power[1], np.mean(likeness)])


def _three(values: Array) -> tuple[float, float, float]:
    inside, around, whole = values.tolist()
    return inside, around, whole


def _spot_octaves(
    clips: Sequence[FloatArray], spots: Sequence[_Spot], seen: Fill
) -> tuple[tuple[Array, Array, Array], int]:
    """Power by octave inside and around in the first clip, inside in the second; windows."""
    weight = np.outer(hann(WINDOW), hann(WINDOW)) ** 2
    dirty = seen.truth | seen.matte
    found = []
    for spot in spots:
        if min(spot.held.shape) < WINDOW:
            continue
        places = np.lib.stride_tricks.sliding_window_view(spot.held, (WINDOW, WINDOW))
        share = np.einsum("abij,ij->ab", places, weight / weight.sum())
        best = np.unravel_index(int(share.argmax()), share.shape)
        clean = _clean_places(spot, dirty)
        if share[best] < HELD or not clean:
            continue
        corner = (int(best[0]) + spot.box.top, int(best[1]) + spot.box.left)
        sides = [_octaves_about(clips[0], spot.frame, at) for at in clean]
        inside, whole = (_octaves_about(clip, spot.frame, corner) for clip in clips)
        found.append([inside, np.mean(sides, axis=0), whole])
    middle = trimmed_mean(np.array(found)) if found else np.zeros((3, len(OCTAVES) - 1))
    return (middle[0], middle[1], middle[2]), len(found)


def _clean_places(spot: _Spot, dirty: Mask) -> list[tuple[int, int]]:
    """Corners of windows around a spot that nothing was repaired in, in three frames."""
    window = (slice(spot.frame - 1, spot.frame + 2), *spot.box.window())
    near = dilate(np.asarray(dirty[window].any(axis=0)), RING[0])
    height, width = near.shape
    return [
        (top + spot.box.top, left + spot.box.left)
        for top in range(0, height - WINDOW + 1, WINDOW // 2)
        for left in range(0, width - WINDOW + 1, WINDOW // 2)
        if not near[top : top + WINDOW, left : left + WINDOW].any()
    ]


def _octaves_about(clip: FloatArray, frame: int, corner: tuple[int, int]) -> Array:
    """(3,) power by octave of a frame about its neighbours, as in _at_spot, in one window."""
    before, here, after = (
        clip[t, corner[0] : corner[0] + WINDOW, corner[1] : corner[1] + WINDOW]
        for t in range(frame - 1, frame + 2)
    )
    first, second = (spectra((here - other)[None])[0] for other in (before, after))
    return np.asarray(by_octave((first * second.conj()).real[None], OCTAVES)[0])
