"""What the blocks of two neighbouring frames say about the noise.

The motion of the picture as a whole is undone in whole samples, then the frames are compared in
blocks of 8x8 luma samples and of as many chroma samples as lie there. docs/noise.md says why.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidrepair.frames import FloatArray, Frame
from vidrepair.planes import rgb_to_ycbcr
from vidrepair.regions import Area, Mask

BLOCK = 8
"""Side of a block in luma samples; codecs skip blocks on this grid."""
TINY = 1e-12
"""A variance above zero and below any that 16 bits can show."""


@dataclass(frozen=True, slots=True, eq=False)
class Cue:
    """What the blocks of one pair of frames say of luma or of chroma; all (rows, columns).

    Blocks that leave the picture when its motion is undone are NaN, and not `skipped`.
    """

    level: FloatArray
    """Mean luma, 0..1."""
    variance: FloatArray
    """Half that of the difference; where the codec skipped the block that of the picture."""
    beside: FloatArray
    """Mean of `variance` over the eight blocks around."""
    texture: FloatArray
    """Variance of the picture about a plane, or, when nothing differs, of its finest detail:
    noise and texture together."""
    motion: FloatArray
    """Mean square of what the means of the blocks around changed by: hardly noise, so that
    coarse texture that moves is seen below strong noise."""
    skipped: Mask
    """The difference is exactly zero."""


def without_bars(frame: Frame) -> Area:
    """Rows and columns of luma, in whole blocks, inside the black bars of a letterbox."""
    luma, peak = frame.luma, frame.picture.format.peak
    inside = []
    for axis in (1, 0):
        spread = luma.max(axis) - luma.min(axis)
        picture = np.flatnonzero((spread > 3 * peak / 255) | (luma.mean(axis) > 0.12 * peak))
        if len(picture) < BLOCK:
            return slice(None), slice(None)
        first = -(-int(picture[0]) // BLOCK) * BLOCK
        inside.append(slice(first, int(picture[-1]) + 1))
    return inside[0], inside[1]


def _channels(frame: Frame, area: Area) -> list[list[FloatArray]]:
    """[[Y'], [Cb, Cr]], or [[Y']] for gray, in shares of the peak; 0 is middle gray."""
    picture = frame.picture.format
    scale = np.float32(1.0 / picture.peak)
    if picture.family == "rgb":
        shares = [plane[area] * scale - np.float32(0.5) for plane in frame.planes[:3]]
        matrix = rgb_to_ycbcr().astype(np.float32)
        luma, *chroma = (sum(m * s for m, s in zip(row, shares, strict=True)) for row in matrix)
        return [[luma], chroma]
    channels = [[frame.planes[0][area] * scale - np.float32(0.5)]]
    if picture.family == "yuv":
        sub = tuple(
            slice(s.start and s.start // n, s.stop and -(-s.stop // n))
            for s, n in zip(area, reversed(picture.sampling), strict=True)
        )
        channels.append([plane[sub] * scale - np.float32(0.5) for plane in frame.planes[1:3]])
    return channels


def compare(one: Frame, two: Frame, area: Area) -> list[Cue]:
    """The cues of luma and, unless the picture is gray, of chroma."""
    first, second = _channels(one, area), _channels(two, area)
    luma = first[0][0]
    shift = (0, 0) if one is two else picture_shift(luma, second[0][0])
    across, down = one.picture.format.sampling
    cues: list[Cue] = []
    level = np.empty(0, dtype=np.float32)
    for planes, planes_after in zip(first, second, strict=True):
        step = (down, across) if cues else (1, 1)
        size = (BLOCK // step[0], BLOCK // step[1])
        pairs = [_overlap(a, b, shift, step) for a, b in zip(planes, planes_after, strict=True)]
        if not cues:
            level = 0.5 + 0.5 * (_mean(pairs[0][0], size) + _mean(pairs[0][1], size))
        difference, motion = np.mean([_change(a, b, size) for a, b in pairs], axis=0)
        # Two frames alike say nothing in time; then only the finest detail tells noise from
        # texture. Beside noise seen in time the whole variance is the fair measure.
        measure = _texture if difference.any() else _finest
        texture = np.mean([measure(a, size) for a, _ in pairs], axis=0)
        cut = tuple(slice(n) for n in np.minimum(level.shape, texture.shape))
        skipped = difference[cut] == 0.0
        variance = np.where(skipped, texture[cut], difference[cut])
        grid = tuple(-(-n // BLOCK) for n in luma.shape)
        cues.append(
            Cue(
                level=_place(level[cut], shift, grid),
                variance=_place(variance, shift, grid),
                beside=_place(_around(variance, without_own=True), shift, grid),
                texture=_place(texture[cut], shift, grid),
                motion=_place(motion[cut], shift, grid),
                skipped=_place(skipped, shift, grid) == 1.0,
            )
        )
    return cues


def picture_shift(one: FloatArray, two: FloatArray) -> tuple[int, int]:
    """How far the picture as a whole has moved, in luma samples down and across.

    Phase correlation of 4x4 means, up to a quarter of the picture, then the least mean
    absolute difference around it.
    """
    if min(one.shape) < 64:
        return 0, 0
    small = [_mean(plane, (4, 4)) for plane in (one, two)]
    window = np.outer(*(np.hanning(n) for n in small[0].shape))
    before, after = (np.fft.rfft2((plane - plane.mean()) * window) for plane in small)
    cross = np.conj(before) * after
    surface = np.fft.irfft2(cross / np.maximum(np.abs(cross), TINY), s=small[0].shape)
    peak = np.unravel_index(np.argmax(surface), surface.shape)
    coarse = [int(i) if 2 * i < n else int(i) - n for i, n in zip(peak, surface.shape, strict=True)]
    height, width = (n // 4 for n in one.shape)
    sample = one[height : 3 * height : 4, width : 3 * width]

    def distance(shift: tuple[int, int]) -> float:
        down, across = shift
        if abs(down) > height or abs(across) > width:
            return np.inf
        moved = two[height + down : 3 * height + down : 4, width + across : 3 * width + across]
        return float(np.abs(moved - sample).mean())

    best = (4 * coarse[0], 4 * coarse[1])
    for step in (2, 1):
        near = [(best[0] + i, best[1] + j) for i in (-step, 0, step) for j in (-step, 0, step)]
        best = min(near, key=distance)
    return min((0, 0), best, key=distance)


def _overlap(
    one: FloatArray, two: FloatArray, shift: tuple[int, int], step: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """The parts of two planes that show the same, the first one's cut at whole blocks."""
    for axis, (move, sub) in enumerate(zip(shift, step, strict=True)):
        margin = -(-abs(move) // BLOCK) * BLOCK // sub
        length = one.shape[axis] - margin
        start = margin if move < 0 else 0
        moved = start + round(move / sub)
        one = one[start : start + length] if axis == 0 else one[:, start : start + length]
        two = two[moved : moved + length] if axis == 0 else two[:, moved : moved + length]
    return one, two


def _place(values: FloatArray | Mask, shift: tuple[int, int], grid: tuple[int, ...]) -> FloatArray:
    """Blocks of an overlap at their place in the grid of the whole picture, else NaN."""
    placed = np.full(grid, np.nan, dtype=np.float32)
    top, left = (-(-max(-move, 0) // BLOCK) for move in shift)
    placed[top : top + values.shape[0], left : left + values.shape[1]] = values
    return placed


def _split(plane: FloatArray, size: tuple[int, int]) -> FloatArray:
    """(rows, height, columns, width) blocks; what is left over at the far edges is dropped."""
    height, width = size
    short = (max(height - plane.shape[0], 0), max(width - plane.shape[1], 0))
    if any(short):
        plane = np.pad(plane, ((0, short[0]), (0, short[1])), mode="symmetric")
    rows, columns = plane.shape[0] // height, plane.shape[1] // width
    return plane[: rows * height, : columns * width].reshape(rows, height, columns, width)


def _mean(plane: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Mean of each block."""
    # Down the columns first: numpy is slow at sums over a short last axis.
    return np.asarray(_split(plane, size).mean(axis=1).mean(axis=2))


def _change(
    one: FloatArray, two: FloatArray, size: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """Half the variance of two - one about its mean over 3x3 blocks, per block; and motion.

    The mean of 3x3 blocks follows a change of light and leaves coarse grain alone.
    """
    blocks = _split(two - one, size)
    mean = blocks.mean(axis=1).mean(axis=2)
    power = np.einsum("rhcw,rhcw->rc", blocks, blocks) / (size[0] * size[1])
    around = _around(mean)
    half = 0.5 * np.maximum(power - 2.0 * mean * around + around**2, TINY)
    # Exactly zero only where every sample of the block is.
    return np.where(power == 0.0, 0.0, half), _around((mean - around) ** 2)


def _texture(plane: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Variance about the plane of least squares, per block."""
    blocks = _split(plane, size)
    samples = size[0] * size[1]
    down, across = (np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in size)
    columns = blocks.sum(axis=1)
    mean = columns.sum(axis=2) / samples
    slope_across = np.einsum("rcw,w->rc", columns, across)
    slope_down = np.einsum("rhcw,h->rcw", blocks, down).sum(axis=2)
    power = np.einsum("rhcw,rhcw->rc", blocks, blocks) - samples * mean**2
    power -= slope_down**2 / (down @ down * size[1]) + slope_across**2 / (across @ across * size[0])
    return np.asarray(np.maximum(power / (samples - 3), 0.0), dtype=np.float32)


def _finest(plane: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Variance of the diagonal detail of 2x2 samples, that of the samples if they are white."""
    blocks = _split(plane, size)
    down = blocks[:, 0::2] - blocks[:, 1::2]
    detail = 0.5 * (down[..., 0::2] - down[..., 1::2])
    return np.asarray(np.einsum("rhcw,rhcw->rc", detail, detail) * (4 / (size[0] * size[1])))


def _around(values: FloatArray, *, without_own: bool = False) -> FloatArray:
    """Mean of 3x3 blocks, or of the eight around each; edges are repeated outwards."""
    rows, columns = values.shape
    padded = np.pad(values, 1, mode="edge")
    total = sum(padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3))
    return np.asarray((total - values) / 8.0 if without_own else total / 9.0)
