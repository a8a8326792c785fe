"""A picture without its lasting scratches, and where they lay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vidrepair.frames import FloatArray, NoiseProfile, Picture, at_levels
from vidrepair.lines import Line
from vidrepair.strips import smoothed

Neighbours = Sequence[tuple[FloatArray, FloatArray]]
SIDE = 4
"""Samples looked at on each side of a line to fill it."""
SLANTS = 4
"""Rows up or down at most, from the middle of a line to its side, along the picture's structure."""
PLAIN = (3.0 / 255.0) ** 2
"""Variance of the sides along a line below which nothing tells how opaque it is."""
SLACK = 2.0 / 255.0
"""How far what fills a line may lie beyond both of its sides."""
ROUGH = 3
"""Rows up and down whose mean is taken out of what is rough along a line."""
AMPLIFIED = 2.5
"""Times the variance of the noise that is added at most where it is divided by the opacity."""
STRETCH = 24
"""Rows up and down over which roughness is measured."""
AGREE = (5.0 / 255.0) ** 2
"""Mean square difference of its sides at which a neighbour counts for 0.6."""


def line_matte(lines: Sequence[Line], picture: Picture) -> FloatArray:
    """(H, W) 0..1: where lines lie, soft over a sample beyond their width."""
    matte = np.zeros((picture.height, picture.width), dtype=np.float32)
    for line in lines:
        path = line.columns()[:, None]
        reach = int(np.ceil(0.5 * line.width + 2.0))
        columns = np.round(path).astype(np.int64) + np.arange(-reach, reach + 1)
        weight = np.clip(0.5 * line.width + 1.5 - np.abs(columns - path), 0.0, 1.0)
        rows = np.broadcast_to(np.arange(line.first, line.last)[:, None], columns.shape)
        inside = (columns >= 0) & (columns < picture.width)
        at = rows[inside], columns[inside]
        matte[at] = np.maximum(matte[at], weight[inside])
    return matte


def line_fill(
    picture: FloatArray,
    lines: Sequence[Line],
    neighbours: Neighbours = (),
    noise: NoiseProfile | None = None,
) -> FloatArray:
    """A picture (3, H, W) without its lines, in the generator's unit.

    What a half-transparent line leaves of the picture below it is kept: each of its columns is
    fitted as k B + m, B being the picture interpolated between both sides. Of an opaque one nothing
    is left, and B stands in its place. `neighbours` are other frames, warped to this one, each
    with a mask (H, W) 0..1 of where it may be used: not where it shows a line of its own. With
    `noise`, that of the picture, what is filled has as much as its sides. Only samples within two
    of a line differ from `picture`, which may be padded on the right and below.
    """
    out = picture.copy()
    for line in lines:
        _fill_piece(out, line, neighbours, noise)
    return out


def _fill_piece(
    out: FloatArray, line: Line, neighbours: Neighbours, noise: NoiseProfile | None
) -> None:
    """Replace one piece of a line in place."""
    width = out.shape[2]
    path = line.columns()
    rows = np.arange(line.first, line.last)[:, None]
    if noise is not None:
        beside = np.clip(np.round(path).astype(np.int64) - SIDE, 0, width - 1)
        level = smoothed(out[0, rows[:, 0], beside], 4)
        curves = (noise.luma, noise.chroma, noise.chroma)
        deviations = np.stack([at_levels(curve, level) for curve in curves]).astype(np.float32)
    # Chroma, whose samples may stand for two of luma, is taken from a sample further away.
    for channels, beyond in ((slice(0, 1), 0), (slice(1, 3), 1)):
        half = int(np.ceil(0.5 * line.width + 0.5)) + beyond
        offsets = np.arange(-half - SIDE, half + SIDE + 1)
        columns = np.round(path).astype(np.int64)[:, None] + offsets
        at = rows, np.clip(columns, 0, width - 1)
        window = out[channels][:, *at]
        shown = [(picture[channels][:, *at], valid[at]) for picture, valid in neighbours]
        clear = _blend(*_uncover(window, half), window, shown)
        if noise is not None:
            clear = _as_rough(clear, window, deviations[channels])
        clear = _within(clear, window)
        inner = columns[:, SIDE:-SIDE]
        inside = (inner >= 0) & (inner < width)
        places = np.broadcast_to(rows, inner.shape)[inside], inner[inside]
        out[channels][:, *places] = clear[:, inside]


def _as_rough(clear: FloatArray, window: FloatArray, deviations: FloatArray) -> FloatArray:
    """A filled line (C, n, m) with as much noise as its sides have.

    `deviations` (C, n) are those of the noise. Too much is there where it was divided by the
    opacity; what is missing is taken from the sides, from other rows.
    """
    beside = np.concatenate([window[:, :, :SIDE], window[:, :, -SIDE:]], axis=2)
    rough, own = (one - smoothed(one, ROUGH, 1) for one in (beside, clear))
    there, here = (smoothed(np.square(one).mean(axis=2), STRETCH, 1) for one in (rough, own))
    variance = np.square(deviations)
    kept = np.maximum(there, here - AMPLIFIED * variance)  # what is rougher is the picture's
    share = np.sqrt(np.minimum(kept / np.maximum(here, 1e-12), 1.0))[..., None]
    smooth = clear - (1.0 - share) * own
    # Of what is rougher than noise, an edge or a texture, none belongs on the line.
    noise = np.clip(rough, -2.5 * deviations[..., None], 2.5 * deviations[..., None])
    power = smoothed(np.square(noise).mean(axis=2), STRETCH, 1)
    wanted = np.minimum(there, variance)
    missing = np.clip(wanted - here, 0.0, None) / np.maximum(power, 1e-12)
    columns = np.resize([*range(SIDE - 1, -1, -1)], clear.shape[2])
    middle = clear.shape[2] // 2
    columns[middle:] = 2 * SIDE - 1 - columns[: clear.shape[2] - middle][::-1]
    taken = np.roll(noise, ROUGH + 2, axis=1)[:, :, columns]
    return np.asarray(smooth + np.sqrt(missing)[..., None] * taken, dtype=np.float32)


def _within(clear: FloatArray, window: FloatArray) -> FloatArray:
    """A filled line, nowhere brighter or darker than both of its sides about there.

    Where a line ends or changes abruptly, what was taken for the picture's detail is its own.
    """
    sides = np.concatenate([window[:, :, :SIDE], window[:, :, -SIDE:]], axis=2)
    about = [np.pad(one, ((0, 0), (2, 2)), mode="edge") for one in (sides.min(2), sides.max(2))]
    low, high = (sliding_window_view(one, 5, axis=1) for one in about)
    return np.clip(clear, low.min(2)[..., None] - SLACK, high.max(2)[..., None] + SLACK)


def _bridge(window: FloatArray, half: int) -> FloatArray:
    """(3, n, 2 half + 1): what lies between both sides of a window, along their structure."""
    count = window.shape[1]
    first = window[0]
    left, right = first[:, SIDE - 3 : SIDE], first[:, -SIDE : -SIDE + 3 or None]
    at = np.arange(count)
    costs = []
    for slant in range(-SLANTS, SLANTS + 1):
        one, other = (np.clip(at + n * slant, 0, count - 1) for n in (1, -1))
        cost = np.abs(left[one][:, ::-1] - right[other]).mean(axis=1)
        costs.append(smoothed(cost, 3) + 0.05 * abs(slant))
    slant = np.argmin(costs, axis=0) - SLANTS
    offsets = np.arange(-half, half + 1) / (half + 1.0)
    above = np.clip(np.round(at[:, None] + slant[:, None] * (1.0 + offsets)), 0, count - 1)
    below = np.clip(np.round(at[:, None] - slant[:, None] * (1.0 - offsets)), 0, count - 1)
    weight = (0.5 + 0.5 * offsets).astype(np.float32)
    ends = window[:, :, SIDE - 2 : SIDE].mean(axis=2), window[:, :, -SIDE : -SIDE + 2].mean(axis=2)
    bridge = (1.0 - weight) * ends[0][:, above.astype(int)]
    bridge += weight * ends[1][:, below.astype(int)]
    return np.asarray(bridge, dtype=np.float32)


def _uncover(window: FloatArray, half: int) -> tuple[FloatArray, FloatArray]:
    """The picture below a line, and the share 0..1 of its detail that is kept, by column."""
    covered, ground = window[:, :, SIDE:-SIDE], _bridge(window, half)
    smooth, level = smoothed(covered, 4, 1), smoothed(ground, 4, 1)
    centred = level - level.mean(axis=1, keepdims=True)
    spread = np.square(centred).mean(axis=1)
    shared = (centred * smooth).mean(axis=1)
    # Where the ground hardly varies, nothing tells k: it is taken for 1, a line that adds.
    k = np.clip((shared + PLAIN) / (spread + PLAIN), 0.0, 1.0)[:, None]
    rest = covered - k * ground
    rest -= smoothed(rest, 6, 1)
    kept = np.clip((k - 0.15) / 0.4, 0.0, 1.0)
    return ground + kept * rest / np.maximum(k, 0.15), kept[:, 0]


def _blend(
    clear: FloatArray,
    kept: FloatArray,
    window: FloatArray,
    neighbours: Neighbours,
) -> FloatArray:
    """Mix in what warped neighbours show below the line, where they agree with its sides."""
    total = np.zeros_like(clear[0])
    sums = np.zeros_like(clear)
    sides = [*range(SIDE), *range(-SIDE, 0)]
    for shown, valid in neighbours:
        away = window[:, :, sides] - shown[:, :, sides]
        # Light may have changed, and a warp is seldom right to the sample.
        level = smoothed(away.mean(axis=2, keepdims=True), 4, 1)
        error = smoothed(np.square(away - level).mean(axis=(0, 2)), 3)
        trust = np.exp(-error / (2.0 * AGREE))[:, None] * valid[:, SIDE:-SIDE]
        sums += trust * (shown[:, :, SIDE:-SIDE] + level)
        total += trust
    share = total / (total + 0.2 + 1.5 * kept[:, None])
    return np.asarray(clear + share * (sums / np.maximum(total, 1e-6) - clear), dtype=np.float32)
