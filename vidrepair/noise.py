"""The noise profile: standard deviation of the stored samples by luma level, known or measured.

A block that stands still, or moves and is flat, differs from the same block of the next frame by
noise alone; half the variance of the difference is the noise's. Which blocks those are is judged
on other samples, so that choosing the calmest does not make the noise look weaker than it is.
Blocks that a codec skipped, and single frames, are measured in space. See docs/noise.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidrepair.cues import Cue, compare, without_bars
from vidrepair.frames import FloatArray, Frame, NoiseProfile
from vidrepair.planes import rgb_to_ycbcr
from vidrepair.regions import Mask

KNOTS = 17
LEVELS = np.linspace(0.0, 1.0, KNOTS)

GROUPS = 5
"""Groups of four frames, that is of two pairs, that are looked at in a span."""
CALMEST = 0.003
"""Share of the blocks of a level that gives its first estimate."""
FEWEST = 16
"""Blocks that a level must show to be measured on its own."""
ALIKE = 1.35
"""Blocks judged up to this much above the first estimate of the variance give the second."""
FLAT = (0.1 / 255.0) ** 2
"""Variance below which a block of the picture has no texture at all."""
COMMON = 0.05
"""Share of the blocks above which a level is common."""
SLACK = 1.1
"""How much steeper than the steepest noise a curve may be: what is measured scatters."""

CODED = 0.1
"""Deviation of what a codec changed, by the step of its quantiser; half of it in chroma."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NoiseMeasurement:
    """What one span showed, before it is filled and smoothed; rows are luma and chroma."""

    variance: FloatArray
    """(2, 17) of the stored samples, in shares of the peak code squared; 0 where not seen."""
    blocks: FloatArray
    """(2, 17) blocks that showed the level; 0 where it was not measured."""


def measure_span(frames: Sequence[Frame]) -> NoiseMeasurement:
    """Measure the noise of one span of one shot from its unique frames, 1 to 64.

    Any depth, sampling and family: R'G'B' is measured in the Y'CbCr of the full-range BT.709
    matrix, gray has no chroma noise. At most 20 frames are looked at. Raises ValueError when
    there are none.
    """
    if not frames:
        raise ValueError("no frame to measure the noise of; a span has at least one")
    unique = [frame for frame in frames if not frame.repeat] or list(frames[:1])
    area = without_bars(unique[0])
    groups = [
        [compare(unique[i], unique[j], area) for i, j in group] for group in _groups(len(unique))
    ]
    rows = [_measure_channel(groups, channel) for channel in range(len(groups[0][0]))]
    rows += [(np.zeros(KNOTS), np.zeros(KNOTS))] * (2 - len(rows))
    variance, blocks = (np.array(part, dtype=np.float32) for part in zip(*rows, strict=True))
    # What a codec changed stays as it is from frame to frame: the measurement passes over it.
    steps = [frame.quantiser_step for frame in unique if frame.quantiser_step > 0.0]
    coded = CODED * float(np.mean(steps or [0.0])) / 255.0
    variance += np.array([[coded], [0.5 * coded]], dtype=np.float32) ** 2 * (blocks > 0)
    return NoiseMeasurement(variance, blocks)


def combine(own: NoiseMeasurement, before: NoiseMeasurement | None) -> NoiseProfile:
    """The profile of a span from its own measurement and that of the span before.

    Their mean, weighted by blocks, in which the span before counts as at most twice and at
    least half the own variance. Both are raw, so nothing is handed on from span to span.
    """
    curves = []
    for channel in (0, 1):
        variance, blocks = (part[channel].astype(float) for part in (own.variance, own.blocks))
        if before is not None:
            old, old_blocks = before.variance[channel], before.blocks[channel]
            limited = np.where(blocks > 0, np.clip(old, 0.5 * variance, 2.0 * variance), old)
            total = blocks + old_blocks
            variance = (blocks * variance + old_blocks * limited) / np.maximum(total, 1e-6)
            blocks = total
        curves.append(np.sqrt(_fill(_limit(variance, blocks), blocks)).astype(np.float32))
    return NoiseProfile(*curves)


def _groups(count: int) -> list[list[tuple[int, int]]]:
    """The pairs to compare: groups of two disjoint neighbouring pairs, spread over the span."""
    if count < 4:
        # A single frame is compared with itself: every block counts as skipped.
        return [[(i, i + 1)] for i in range(count - 1)] or [[(0, 0)]]
    starts = np.linspace(0, count - 4, GROUPS).round().astype(int)
    # Odd and even starts in turn: pictures drawn on twos repeat every second frame.
    starts = np.clip(starts + (starts + np.arange(GROUPS)) % 2, 0, count - 4)
    return [[(s, s + 1), (s + 2, s + 3)] for s in sorted(set(starts.tolist()))]


def _measure_channel(groups: list[list[list[Cue]]], channel: int) -> tuple[Array, Array]:
    """Variance and blocks (17,) of luma, channel 0, or chroma, 1."""
    usable = _told_apart([pair[0] for group in groups for pair in group])
    seen: list[tuple[FloatArray, FloatArray, FloatArray, Mask]] = []
    for group in groups:
        for pair in group:
            if not usable[id(pair[0])]:
                continue
            cue = pair[channel]
            others = [p[channel] for p in group if p is not pair and usable[id(p[0])]]
            flat = cue.skipped & (cue.texture < FLAT)
            inside = np.isfinite(cue.level)
            seen.append(
                (
                    cue.variance[inside],
                    _judge(cue, others)[inside],
                    cue.level[inside],
                    flat[inside],
                )
            )
    values, judged, levels, flats = zip(*seen, strict=True)
    return _by_level(
        np.concatenate(values),
        np.concatenate(judged),
        np.concatenate(levels),
        np.concatenate(flats),
    )


def _told_apart(cues: list[Cue]) -> dict[int, bool]:
    """Which pairs, by id, show two frames rather than one frame coded twice.

    A repeated frame that was coded anew differs by far less than the noise: less than other
    pairs do, and less than the calmest parts of the picture vary in space.
    """
    change = []
    for cue in cues:
        moved = cue.variance[~cue.skipped & np.isfinite(cue.variance)]
        change.append(np.quantile(moved, 0.1) if len(moved) > 0.05 * cue.skipped.size else 0.0)
    told = {}
    for cue, own in zip(cues, change, strict=True):
        in_space = np.nanquantile(cue.texture, 0.1)
        told[id(cue)] = bool(own >= 0.12 * min(max(change), in_space))
    return told


def _judge(cue: Cue, others: list[Cue]) -> FloatArray:
    """How calm each block is, from samples that its own variance does not contain.

    From the blocks around it, and from the same place in the other pair of frames.
    """
    calm = cue.beside
    if others:
        other = others[0]
        useless = cue.skipped | other.skipped | np.isnan(other.variance)
        calm = np.where(useless, calm, (2.0 * calm + other.variance) / 3.0)
    return np.asarray(calm + 2.0 * cue.motion)


def _by_level(
    values: FloatArray, judged: FloatArray, levels: FloatArray, flat: Mask
) -> tuple[Array, Array]:
    """Variance and number of blocks at the 17 levels, from all blocks (N,) of a span."""
    position = levels * (KNOTS - 1)
    variance, blocks = np.zeros(KNOTS), np.zeros(KNOTS)
    for knot in range(KNOTS):
        weight = 1.0 - np.abs(position - knot)
        here = weight > 0.0
        if np.count_nonzero(flat[here]) <= 0.5 * np.count_nonzero(here):
            # A codec that smoothed part of the level away says nothing about the rest.
            here &= ~flat
        if np.count_nonzero(here) >= FEWEST:
            variance[knot] = _calm_variance(values[here], judged[here], weight[here])
            blocks[knot] = weight[here].sum()
    if not blocks.any() and len(values):
        # A tiny picture: what there is stands for the levels that it shows.
        seen = np.unique(np.clip(np.round(position).astype(int), 0, KNOTS - 1))
        variance[seen] = _calm_variance(values, judged, np.ones_like(values))
        blocks[seen] = len(values) / len(seen)
    return variance, blocks


def _calm_variance(values: FloatArray, judged: FloatArray, weight: NDArray[np.floating]) -> float:
    """The noise's variance from the blocks of one level.

    First that of the calmest blocks, then the mean of all that are judged as calm.
    """
    count = min(len(values), max(FEWEST, int(CALMEST * len(values))))
    calmest = np.argpartition(judged, count - 1)[:count]
    median = float(np.median(values[calmest]))
    # The mean, for few samples of coarse grain lie far to one side; but no block counts much.
    first = float(np.minimum(values[calmest], 1.6 * median).mean())
    alike = (judged <= ALIKE * first) & (values <= 2.5 * first)
    if alike.sum() < count:
        return first
    return float(np.average(values[alike], weights=weight[alike]))


def _limit(variance: Array, blocks: Array) -> Array:
    """Variance (17,) of the rare levels, no further above the common ones' than noise can be.

    A level that only few, textured blocks show would otherwise pass for a noisy one. Towards
    white the variance of noise grows with the level at most, as that of light does; towards
    black with its square upside down, as that of a sensor does after its gamma. Levels next to
    black and white set no limit: clipping makes noise vanish there.
    """
    knots = np.arange(KNOTS)
    share = blocks / max(blocks.sum(), 1.0)
    common = (share > COMMON) & (variance > 0.0) & (knots >= 2) & (knots <= KNOTS - 4)
    limited = variance.copy()
    for knot in knots[common]:
        ratio = np.maximum(knots, 1) / knot
        growth = np.where(ratio > 1.0, ratio, ratio**-2)
        limited = np.where(
            share > COMMON, limited, np.minimum(limited, variance[knot] * SLACK * growth)
        )
    return limited


def _fill(variance: Array, blocks: Array) -> Array:
    """Give levels that were not seen the value between, or beside, those that were."""
    seen = np.flatnonzero(blocks > 0)
    if not len(seen):
        return np.zeros(KNOTS)
    return np.asarray(np.interp(np.arange(KNOTS), seen, variance[seen]))


def known_profile(luma: float, chroma: float, *, rgb: bool) -> NoiseProfile:
    """The effective, clipped profile of white Gaussian noise that is known.

    `luma` and `chroma` are standard deviations before clipping on the 8-bit scale; with `rgb`,
    `luma` is that of each of R', G', B' and `chroma` is ignored. Clipping is that of a gray
    patch: the mean moves inwards and the deviation shrinks near black and white.
    """
    if not rgb:
        return NoiseProfile(
            _clipped(luma / 255.0), np.full(KNOTS, chroma / 255.0, dtype=np.float32)
        )
    gray = _clipped(luma / 255.0)
    gains = np.sqrt((rgb_to_ycbcr() ** 2).sum(axis=1))
    chroma_gain = float(np.sqrt((gains[1] ** 2 + gains[2] ** 2) / 2.0))
    return NoiseProfile(
        (gray * gains[0]).astype(np.float32), (gray * chroma_gain).astype(np.float32)
    )


def _clipped(sigma: float) -> FloatArray:
    """Deviation of clip(level + sigma n, 0, 1) at the 17 levels of its own mean."""
    if sigma == 0.0:
        return np.zeros(KNOTS, dtype=np.float32)
    # Midpoints of 400 equal shares of the normal distribution, by inverting its CDF on a grid.
    grid = np.linspace(-6.0, 6.0, 4801)
    density = np.exp(-0.5 * grid**2)
    cumulative = np.cumsum(density) / density.sum()
    normal = np.interp((np.arange(400) + 0.5) / 400, cumulative, grid)
    level = np.linspace(0.0, 1.0, 129)
    seen = np.clip(level[:, None] + sigma * normal, 0.0, 1.0)
    curve = np.interp(LEVELS, seen.mean(axis=1), seen.std(axis=1))
    return np.asarray(curve, dtype=np.float32)
