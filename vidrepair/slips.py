"""How a line moved against the picture: beside it, and anywhere.

All motion is found in the same way, by the least difference of two frames, so that what misleads
one misleads the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vidrepair.frames import FloatArray
from vidrepair.lines import Drift, Sight, Slip
from vidrepair.strips import Array, around_path, line_path

QUARTERS = 4
"""Parts of the height whose motion is told apart: what passes behind a pole is not as tall."""
ACROSS = 8
"""Parts of the width, likewise."""
SLIP = 0.4
"""Columns by which the picture beside a line must move against it to be seen to move."""


def measure_slip(last: Sight, sight: Sight, before: FloatArray, now: FloatArray) -> Slip | None:
    """How a line and both of its sides moved; None where nothing can be told."""
    width = now.shape[1]
    far, reach = int(np.clip(width // 24, 16, 40)), int(np.clip(width // 30, 6, 32))
    own = int(np.ceil(0.5 * max(sight.width, last.width) + 2.0))
    # All shifts are judged on the same columns, none of which ever meets the line.
    gap = own + reach
    paths = [line_path(one.column, one.lean, len(now)) for one in (sight, last)]
    here, there = (
        around_path(now, paths[0], gap + far),
        around_path(before, paths[1], gap + far + reach),
    )
    here, there = (part - part.mean(axis=1, keepdims=True) for part in (here, there))
    left, line, right = (
        _shifts(here[:, start:end], there[:, start : end + 2 * reach])
        for start, end in (
            (0, far),
            (far + gap - own, far + gap + own + 1),
            (far + 2 * gap + 1, 2 * (far + gap) + 1),
        )
    )
    beside = np.stack([left, right])
    ahead = line - beside
    known = np.isfinite(ahead)
    if not known.any():
        return None
    shift = float((np.round(paths[0]) - np.round(paths[1])).mean())
    upper, lower = slice(0, QUARTERS // 2), slice(QUARTERS // 2, QUARTERS)
    fitted = np.subtract(sight.halves, last.halves) - shift
    return Slip(
        went=float(np.median(line[known.any(axis=0)])) + shift,
        passed=float(np.median(beside[known])) + shift,
        matched=(_mean(ahead[:, upper]), _mean(ahead[:, lower])),
        fitted=(
            float(fitted[0]) - _mean(beside[:, upper]),
            float(fitted[1]) - _mean(beside[:, lower]),
        ),
        moved=float((np.abs(ahead[known]) > SLIP).mean()),
        told=float(known.mean()),
    )


def measure_drift(
    sights: Sequence[Sight], before: FloatArray, now: FloatArray, number: int
) -> Drift:
    """How the parts of the picture moved that show none of the lines of frame `number`."""
    width = now.shape[1]
    reach = int(np.clip(width // 30, 6, 32))
    edges = np.linspace(reach, width - reach, ACROSS + 1).astype(int)
    parts = np.full((ACROSS, QUARTERS), np.nan)
    for at, (first, end) in enumerate(pairwise(edges)):
        if not any(
            first - reach - sight.width < sight.column < end + reach + sight.width
            for sight in sights
        ):
            here, there = now[:, first:end], before[:, first - reach : end + reach]
            parts[at] = _shifts(
                here - here.mean(axis=1, keepdims=True), there - there.mean(axis=1, keepdims=True)
            )
    return Drift(number, tuple(parts.ravel().tolist()))


def _mean(values: Array) -> float:
    """Of what is known; NaN if nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _shifts(here: FloatArray, there: FloatArray) -> Array:
    """(QUARTERS,): columns that a window (strips, n) moved within a wider one; NaN: not told."""
    count, wide = here.shape
    windows = sliding_window_view(there, wide, axis=1)
    errors = np.square(windows).sum(axis=2) - 2.0 * np.einsum("nc,nsc->ns", here, windows)
    errors += np.square(here).sum(axis=1, keepdims=True)
    # The levels do not count: light may change, and on a ramp they would pull to no motion.
    errors -= np.square(windows.sum(axis=2) - here.sum(axis=1, keepdims=True)) / wide
    errors /= wide
    reach = errors.shape[1] // 2
    parts = np.array_split(np.arange(count), QUARTERS)
    return np.array([reach - _deepest(errors[part].mean(axis=0)) for part in parts])


def _deepest(errors: FloatArray) -> float:
    """Where the least of some errors lies, to a share of a step; NaN where it cannot be told."""
    at = int(errors.argmin())
    if not 0 < at < len(errors) - 1:
        return np.nan
    # Where two steps make hardly a difference there is nothing to see.
    beside = max(errors[max(at - 2, 0)], errors[min(at + 2, len(errors) - 1)])
    if beside < 1.5 * errors[at] + 0.5:
        return np.nan
    curve = errors[at - 1] - 2.0 * errors[at] + errors[at + 1]
    return at + 0.5 * float(errors[at - 1] - errors[at + 1]) / max(float(curve), 1e-9)
