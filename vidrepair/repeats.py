"""Repeats and copies: frames that show the picture of the frame before once more.

A repeat equals the frame before in every sample. A copy was one until a codec changed it a little:
film printed twice, slow motion, pulldown. It shows the same noise and the same dust as the frame
that it copies, so it is no second witness of what is picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from vidrepair.frames import FloatArray, Frame

PROBE_ROWS = 8
"""Rows compared first: they tell nearly all different frames apart."""

MOST = 3
"""Copies of one frame at most."""
SMALLEST = 16
"""Side of a picture below which there is too little to tell a copy by."""
BANDS, TALL = 32, 4
"""Bands of rows, spread over the picture, that are looked at first; rows in each."""
WIDE = 32
"""Columns of a cell; every band falls into cells."""
LIVE = 0.25
"""Variance of the detail of a cell, in 8-bit code values squared, that is not black or flat."""
NOISY, OFTEN = 1.0, 0.3
"""Variance of the detail of a cell with noise worth telling; the share of such cells that a frame
must have: titles and drawings have less."""
ALIKE = 0.25
"""A copy differs by at most this share of what fresh noise would make it differ by,"""
CALMEST, CALM_ALIKE = 0.25, 0.5
"""and, in the quarter of the live cells with least detail, by this: there is the least texture."""
STEP = 0.125
"""A copy differs by at most this share of the step that led to the frame that it copies: else the
picture stands or hardly moves, and its noise may be new but weak beside its texture."""
CALM_STEP = 0.25
"""The same of the half of the cells whose step was least: one thing that stops does not count."""
SKIPPED = 0.75
"""Mean square, in 8-bit code values, of what is left alone by a codec."""
AWAKE = 1.0
"""Mean square of a step, in 8-bit code values, below which the picture stood still: then there is
nothing that a copy could be told from."""
RELATED = 0.3
"""Share of the variance of the cells of two frames above which their difference tells a cut."""
BLOCK = 8
"""Side of the blocks of which not one may differ"""
STRIKING = 6.0
"""by more than so many times what fresh noise would make it differ by."""
STRIP = 32
"""Rows compared at once: they stay in the processor's cache."""


@dataclass(slots=True)
class _Group:
    """A frame that is neither repeat nor copy, and what its copies are told by."""

    first: Frame
    bands: FloatArray
    """Of `first`."""
    before: FloatArray | None
    """Bands of the frame before `first`; None where there is none of the same kind."""
    copies: int = 0


def mark_repeats(frames: Iterable[Frame], before: Frame | None = None) -> Iterator[Frame]:
    """Yield every frame once, in order, with `repeat` and `copy` set; none is both.

    A repeat equals the frame before in every sample of every plane, at any depth, and is of
    the same size and format. A copy is compared with the last frame that is neither: it differs
    from it by far less than that frame's noise in every part of the picture, and by far less
    than that frame differs from the one before it. At most three in a row are copies; what
    equals a copy is one too, and not counted. The first frame is neither.

    Lost frames are handed on and do not count; frames that masks mark otherwise are neither.

    So the marks depend on nothing before the last frame that is neither and its predecessor. A
    job that starts at a frame that is neither hands in that predecessor as `before`, and finds
    the same marks as a job that started earlier. Holds two frames of history, whose samples must
    not be written to before four more were taken.
    """
    previous, bands = before, None if before is None else _bands(before)
    group: _Group | None = None
    for frame in frames:
        if frame.lost:
            yield frame
            continue
        repeat = copy = False
        if group is not None and not _marked_alike(group.first, frame):
            group = None
        if group is not None and previous is not None and _equal(previous, frame):
            copy, repeat = previous.copy, not previous.copy
        else:
            last, bands = bands, _bands(frame)
            if group is not None and _copies(group, frame, bands):
                copy = True
                group.copies += 1
            else:
                group = _Group(frame, bands, last if _alike(previous, frame) else None)
        marked = frame
        if (repeat, copy) != (frame.repeat, frame.copy):
            marked = replace(frame, repeat=repeat, copy=copy)
        yield marked
        previous = marked


def _marked_alike(one: Frame, other: Frame) -> bool:
    """Whether masks say the same of two frames."""
    pairs = (
        (one.masked, other.masked),
        (one.protected, other.protected),
        (one.holes, other.holes),
    )
    return all(
        a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs
    )


def _alike(one: Frame | None, other: Frame) -> bool:
    """Whether there are two frames of one kind."""
    return one is not None and one.picture == other.picture and len(one.planes) == len(other.planes)


def _equal(one: Frame, other: Frame) -> bool:
    """Whether two frames hold the same samples of the same kind."""
    if not _alike(one, other):
        return False
    pairs = tuple(zip(one.planes, other.planes, strict=True))
    probe = slice(None, None, max(one.picture.height // PROBE_ROWS, 1))
    return all(np.array_equal(a[probe], b[probe]) for a, b in pairs) and all(
        np.array_equal(a, b) for a, b in pairs
    )


def _copies(group: _Group, frame: Frame, bands: FloatArray) -> bool:
    """Whether a frame that does not equal its predecessor is a copy of the group's first."""
    first, before = group.first, group.before
    if before is None or group.copies == MOST or not _alike(first, frame):
        return False
    # What is damaged in one of two is not the same picture, even where it was concealed.
    if first.corrupt or frame.corrupt or min(frame.luma.shape) < SMALLEST:
        return False
    difference = _cells(np.square(bands - group.bands))
    noise = _cells(_detail(group.bands))
    if np.mean(noise >= NOISY) < OFTEN:
        return False
    live = noise > LIVE
    typical = float(np.median(noise[live]))
    return (
        _below_noise(difference[live], noise[live])
        and _below_step(difference, _cells(np.square(group.bands - before)))
        and _related(before, group.bands, typical)
        and not _strikes(first, frame, STRIKING * 2.0 * typical)
    )


def _below_noise(difference: FloatArray, noise: FloatArray) -> bool:
    """Whether live cells (N,) differ by far less than fresh noise would make them differ."""
    calm = noise <= np.quantile(noise, CALMEST)
    return bool(
        difference.sum() <= ALIKE * 2.0 * noise.sum()
        and difference[calm].sum() <= CALM_ALIKE * 2.0 * noise[calm].sum()
    )


def _below_step(difference: FloatArray, step: FloatArray) -> bool:
    """Whether cells differ by far less than they did in the step before."""
    calm = step <= np.median(step)
    return bool(
        step.mean() >= AWAKE
        and difference.sum() <= STEP * step.sum()
        and difference[calm].mean() <= CALM_STEP * step[calm].mean() + SKIPPED
    )


def _related(before: FloatArray, bands: FloatArray, noise: float) -> bool:
    """Whether no cut lies between two frames; then the step between them says nothing."""
    one, other = _cells(before), _cells(bands)
    # Noise, coarse grain above all, is left in the means of the cells.
    return bool((one - other).var() <= RELATED * (one.var() + other.var()) + 0.25 * noise)


def _strikes(first: Frame, frame: Frame, most: float) -> bool:
    """Whether a block of any plane differs by more than `most`, in 8-bit code values squared.

    An edge that trembles by a fraction of a sample may: a block with detail of its own is
    measured by that.
    """
    most *= (frame.picture.format.peak / 255.0) ** 2
    for a, b in zip(first.planes, frame.planes, strict=True):
        for top in range(0, max(len(a) - STRIP + 1, 1), STRIP):
            rows = slice(top, top + STRIP if top + 2 * STRIP <= len(a) else None)
            one, other = a[rows], b[rows]
            # No mean is larger than the largest: most strips need no more than this.
            if float((np.maximum(one, other) - np.minimum(one, other)).max()) ** 2 <= most:
                continue
            samples = one.astype(np.float32)
            change = _means(np.square(other - samples), (BLOCK, BLOCK))
            detail = _means(_detail(samples), (BLOCK, BLOCK))
            if (change > np.maximum(2.0 * STRIKING * detail, most)).any():
                return True
    return False


def _bands(frame: Frame) -> FloatArray:
    """(bands, rows, W) of luma in 8-bit code values."""
    luma = frame.luma
    height, width = luma.shape
    gap = max(height // BANDS, TALL)
    count = max(height // gap, 1)
    bands = luma[: count * gap].reshape(count, -1, width)[:, :TALL]
    scaled: FloatArray = bands * np.float32(255.0 / frame.picture.format.peak)
    return scaled


def _detail(samples: FloatArray) -> FloatArray:
    """The square of what samples (..., W) differ by from those two columns beside them.

    Its mean is the variance of white noise. 0 at the two columns at each side.
    """
    detail = np.zeros_like(samples)
    around = samples[..., :-4] + samples[..., 4:]
    around *= np.float32(0.5)
    around -= samples[..., 2:-2]
    detail[..., 2:-2] = np.square(around, out=around) * np.float32(1.0 / 1.5)
    return detail


def _cells(bands: FloatArray) -> FloatArray:
    """(bands, columns) means of the cells of (bands, rows, W)."""
    rows = bands.shape[1]
    return _means(bands.reshape(-1, bands.shape[2]), (rows, WIDE))


def _means(samples: FloatArray, size: tuple[int, int]) -> FloatArray:
    """(rows, columns) means of the blocks of (H, W); what is left over goes to the last ones."""
    return _runs(_runs(samples, size[0]).T, size[1]).T


def _runs(samples: FloatArray, length: int) -> FloatArray:
    """(N / length, M) means of runs of rows of (N, M); what is left over goes to the last."""
    whole = max(len(samples) // length, 1) * length
    # Strided sums: several times faster than a reduction over an inner axis.
    sums = samples[:whole:length].copy()
    for start in range(1, min(length, len(samples))):
        sums += samples[start:whole:length]
    sums *= np.float32(1.0 / min(length, len(samples)))
    if rest := max(len(samples) - whole, 0):
        sums[-1] *= length
        sums[-1] += samples[whole:].sum(axis=0)
        sums[-1] *= 1.0 / (length + rest)
    return sums
