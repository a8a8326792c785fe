"""Grain made anew for every frame, of a strength and a spectrum that were measured.

White noise hashed from frame, plane and place is filtered to the spectrum and scaled by the level:
it is new in every frame, the same in every run, and a window of it equals that window of the whole
picture's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from vidrepair.frames import (
    FloatArray,
    GrainProfile,
    GrainSpectrum,
    NoiseProfile,
    Picture,
    at_levels,
)
from vidrepair.planes import rgb_to_ycbcr
from vidrepair.regions import Area

FREQUENCIES = 9
"""Frequencies down and across at which the power is told: 0, 1/16 .. 1/2 cycles per sample."""
BLOCK = 64
"""Side of the square blocks that grain is made in, in samples of its plane, on a fixed grid."""
REACH = 12
"""Samples each way that a filter reaches: its spectrum is resolved to 1/16 cycles per sample."""
CELL = 4
"""Side in luma samples of the cells whose mean tells the level: grain must not choose its own."""
SEPARABLE = 0.998
"""Share of a filter's energy that its separable parts must hold together."""


Array = NDArray[np.float64]
Words = NDArray[np.uint32]


def make_grain(
    profile: GrainProfile,
    luma: FloatArray,
    picture: Picture,
    seed: int,
    window: Area | None = None,
) -> FloatArray:
    """Make the grain of one frame, or of a window of it: (3, h, w) in the generator's unit.

    `luma` is the whole picture's, (H, W) in shares of the peak code, without its noise; also in
    the padded size. `window` are its rows and columns that are wanted, by default all. `seed` is
    the frame's number: another frame has other grain, and the same one the same, in any window.
    R'G'B' has the grain of its Y'CbCr of the full-range BT.709 matrix. planes.residual_planes turns
    it into code values, and each sample then has the deviation of the profile at its level:
    subsampled chroma is made at its own size and repeated. Gray has no chroma. The rounding of
    codes, which the profile has in it and which comes back when the sum is rounded, is taken off.
    """
    wanted = _bounds(window, luma.shape)
    cells = [(start // CELL, -(-stop // CELL)) for start, stop in wanted]
    (top, bottom), (left, right) = cells
    height, width = (bottom - top) * CELL, (right - left) * CELL
    grain = np.zeros((3, height, width), np.float32)
    form = picture.format
    across, down = form.sampling if form.family == "yuv" else (1, 1)
    curves = deviations(profile.noise, picture)
    level = _levels(luma, cells)
    filters = _filters(profile.spectrum, (down, across))
    for plane in range(1 if form.family == "gray" else 3):
        curve = curves[min(plane, 1)]
        if not curve.any():
            continue
        step = (down, across) if plane else (1, 1)
        size = (height // step[0], width // step[1])
        corner = (top * CELL // step[0], left * CELL // step[1])
        field = _unit_grain(filters, seed, plane, corner, size)
        field = field.reshape(len(level), CELL // step[0], size[1])
        scale = at_levels(curve, level).astype(np.float32)
        field *= np.repeat(scale, CELL // step[1], axis=1)[:, None]
        field = np.repeat(field.reshape(size), step[1], axis=1) if step[1] > 1 else field
        grain[plane].reshape(size[0], step[0], width)[...] = field.reshape(size[0], 1, width)
    (first, last), (start, stop) = wanted
    return grain[
        :, first - top * CELL : last - top * CELL, start - left * CELL : stop - left * CELL
    ]


def _bounds(window: Area | None, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """First and last + 1 of the rows and of the columns."""
    slices = window or (slice(None), slice(None))
    return [s.indices(length)[:2] for s, length in zip(slices, shape, strict=True)]


def deviations(noise: NoiseProfile, picture: Picture) -> list[Array]:
    """The 17 deviations of luma and of chroma, without that of rounding to codes."""
    rounding = np.array([1.0, 1.0]) / 12.0 / picture.format.peak**2
    if picture.format.family == "rgb":
        gains = np.square(rgb_to_ycbcr()).sum(axis=1)
        rounding *= (gains[0], gains[1:].mean())
    return [
        np.sqrt(np.maximum(np.square(curve.astype(float)) - lost, 0.0))
        for curve, lost in zip((noise.luma, noise.chroma), rounding, strict=True)
    ]


def removed_shares(
    noise: NoiseProfile, residual: FloatArray, luma: FloatArray, picture: Picture
) -> tuple[float, float]:
    """How much of the measured grain a residual takes away: shares 0..1 of its deviation.

    Of luma and of chroma; the median over blocks of 8x8 samples of their planes. `residual` is
    (3, H, W) of the generator, `luma` (H, W) without noise. What a network takes for picture stays
    in it: coarse or faint grain, or what a codec made of it.
    """
    form = picture.format
    across, down = form.sampling if form.family == "yuv" else (1, 1)
    inside = (slice(0, picture.height), slice(0, picture.width))
    shares = []
    for curve, parts, step in zip(
        deviations(noise, picture),
        ([residual[0]], [] if form.family == "gray" else list(residual[1:])),
        ((1, 1), (down, across)),
        strict=True,
    ):
        light = _blocks(site_means(luma[inside], *step)).mean(axis=(1, 3))
        expected = at_levels(curve, light) ** 2
        powers = [
            np.square(_blocks(site_means(part[inside], *step))).mean(axis=(1, 3)) for part in parts
        ]
        ratios = [power[expected > 0.0] / expected[expected > 0.0] for power in powers]
        seen = np.concatenate(ratios) if ratios else np.zeros(0)
        shares.append(float(np.sqrt(min(np.median(seen), 1.0))) if len(seen) else 1.0)
    return shares[0], shares[1]


def _blocks(plane: FloatArray) -> FloatArray:
    """(rows, 8, columns, 8) of a plane (H, W), what is left over apart."""
    rows, columns = (length // 8 for length in plane.shape)
    return plane[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8)


def _levels(luma: FloatArray, cells: list[tuple[int, int]]) -> FloatArray:
    """The level of the cells: the mean of each and of the eight around it, clipped to 0..1."""
    reach, beyond = [], []
    for (start, stop), length in zip(cells, luma.shape, strict=True):
        last = min(stop + 1, -(-length // CELL))
        first = max(start - 1, 0)
        reach.append(slice(first * CELL, last * CELL))
        beyond.append((first - start + 1, stop + 1 - last))
    part = luma[reach[0], reach[1]]
    short = [(0, -length % CELL) for length in part.shape]
    if any(after for _, after in short):
        part = np.pad(part, short, mode="edge")
    rows, columns = (length // CELL for length in part.shape)
    means = part.reshape(rows, CELL, columns * CELL).mean(axis=1).reshape(rows, columns, CELL)
    edged = np.pad(means.mean(axis=2), beyond, mode="edge")
    height, width = edged.shape[0] - 2, edged.shape[1] - 2
    around = sum(edged[i : i + height, j : j + width] for i in range(3) for j in range(3))
    return np.asarray(np.clip(around / np.float32(9.0), 0.0, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class _Filters:
    """What turns white noise into grain of one spectrum, on planes of one sampling."""

    bands: tuple[FloatArray, FloatArray]
    """Of luma and chroma, (parts, 2, 64, 88): the separable parts' filters down and across, as
    matrices that make 64 samples of 88."""
    shared: tuple[float, float]
    """Share, as a factor -1..1, of luma's own white noise in that of Cb and of Cr."""
    sampling: tuple[int, int]
    """Luma samples per chroma sample, down and across."""


@lru_cache(maxsize=16)
def _filters(spectrum: GrainSpectrum, sampling: tuple[int, int]) -> _Filters:
    """The filters of a spectrum."""
    of_luma, of_chroma = filter_kernel(spectrum.luma), filter_kernel(spectrum.chroma)
    common = _coherence(of_luma, of_chroma, sampling)
    shared = np.clip(spectrum.follows / max(common, 0.1), -1.0, 1.0)
    luma = _bands(of_luma / _seen(of_luma, (1, 1)))
    chroma = _bands(of_chroma / _seen(of_chroma, sampling))
    return _Filters((luma, chroma), (float(shared[0]), float(shared[1])), sampling)


def filter_kernel(power: NDArray[np.floating]) -> Array:
    """(25, 25) the symmetric filter whose square transform is the power; of energy 1.

    Between its frequencies the power is interpolated in decibels.
    """
    weights = between(np.abs(np.fft.fftfreq(BLOCK)))
    decibels = np.log(np.maximum(power.astype(float), 1e-6 * power.max() + 1e-20))
    kernel = np.fft.fftshift(np.fft.ifft2(np.exp(0.5 * (weights @ decibels @ weights.T))).real)
    middle = slice(BLOCK // 2 - REACH, BLOCK // 2 + REACH + 1)
    outer = np.maximum(np.abs(np.arange(-REACH, REACH + 1)) / (REACH + 1) - 0.5, 0.0)
    taper = np.cos(np.pi * outer) ** 2
    kernel = kernel[middle, middle] * (taper[:, None] * taper)
    return np.asarray(kernel / np.sqrt(max(np.square(kernel).sum(), 1e-20)))


def _seen(kernel: Array, sampling: tuple[int, int]) -> float:
    """Share of the grain's deviation that the noise profile has in it, at least a half.

    It is measured in blocks of 8x8 luma samples about the mean of 3x3 blocks, and so does not see
    what is coarser.
    """
    frequencies: Array = np.fft.fftfreq(BLOCK).astype(np.float64)
    own, around = (
        np.outer(*(_mean_response(frequencies, side / step) for step in sampling))
        for side in (8, 24)
    )
    power = np.abs(np.fft.fft2(kernel, (BLOCK, BLOCK))) ** 2
    share = (power * (1.0 - 2.0 * own * around + around**2)).sum() / power.sum()
    return max(float(np.sqrt(share)), 0.5)


def _mean_response(frequencies: Array, length: float) -> Array:
    """The transform of a mean over `length` samples."""
    return np.asarray(np.sinc(frequencies * length) / np.sinc(frequencies))


def _bands(kernel: Array) -> FloatArray:
    """(parts, 2, 64, 88) the separable parts of a kernel as matrices, of its energy together."""
    left, values, right = np.linalg.svd(kernel)
    energy = np.cumsum(values**2)
    parts = int(np.searchsorted(energy, SEPARABLE * energy[-1])) + 1
    values = values[:parts] * np.sqrt(energy[-1] / energy[parts - 1])
    bands = np.zeros((parts, 2, BLOCK, BLOCK + 2 * REACH), np.float32)
    for part, value in enumerate(np.sqrt(values)):
        for row in range(BLOCK):
            reach = slice(row, row + 2 * REACH + 1)
            bands[part, 0, row, reach] = value * left[:, part]
            bands[part, 1, row, reach] = value * right[part]
    return bands


def _coherence(luma: Array, chroma: Array, sampling: tuple[int, int]) -> float:
    """Correlation of chroma grain with its sites' mean luma, both of the same white noise.

    Both are sums over that noise; the weights are laid out on the luma grid and compared.
    """
    down, across = sampling
    one = np.kron(chroma, np.ones(sampling))
    other = np.zeros_like(one)
    side = 2 * REACH + 1
    for i in range(down):
        for j in range(across):
            top, left = REACH * (down - 1) + i, REACH * (across - 1) + j
            other[top : top + side, left : left + side] += luma
    product = np.sqrt(np.square(one).sum() * np.square(other).sum())
    return float((one * other).sum() / max(product, 1e-20))


def unit_grain(
    spectrum: GrainSpectrum, sampling: tuple[int, int], plane: int, size: tuple[int, int]
) -> FloatArray:
    """Grain (h, w) of a spectrum in one plane, 0 to 2, in its own samples.

    Of deviation 1 as the noise profile sees it: more, where the grain is coarse. `sampling` are
    luma samples per chroma sample, down and across. For those who study the grain.
    """
    return _unit_grain(_filters(spectrum, sampling), 0, plane, (0, 0), size)


def _unit_grain(
    filters: _Filters, seed: int, plane: int, corner: tuple[int, int], size: tuple[int, int]
) -> FloatArray:
    """Grain (h, w) of deviation 1, as the profile sees it, from row and column `corner` of a plane.

    Computed in whole blocks of one grid, each by products of matrices of one size: the same
    arithmetic on the same numbers, so that a window equals the whole to the last bit.
    """
    first = [at // BLOCK for at in corner]
    count = [-(-(at + n) // BLOCK) - f for at, n, f in zip(corner, size, first, strict=True)]
    start = (first[0] * BLOCK - REACH, first[1] * BLOCK - REACH)
    extent = (count[0] * BLOCK + 2 * REACH, count[1] * BLOCK + 2 * REACH)
    white = _white(filters, seed, plane, start, extent)
    down, across = white.strides
    side = BLOCK + 2 * REACH
    blocks = as_strided(
        white, (*count, side, side), (BLOCK * down, BLOCK * across, down, across), writeable=False
    )
    made: FloatArray = np.zeros((*count, BLOCK, BLOCK), np.float32)
    for vertical, horizontal in filters.bands[min(plane, 1)]:
        made += np.matmul(np.matmul(vertical, blocks), horizontal.T)
    whole = made.transpose(0, 2, 1, 3).reshape(count[0] * BLOCK, count[1] * BLOCK)
    top, left = corner[0] - first[0] * BLOCK, corner[1] - first[1] * BLOCK
    return np.ascontiguousarray(whole[top : top + size[0], left : left + size[1]])


def _white(
    filters: _Filters, seed: int, plane: int, start: tuple[int, int], extent: tuple[int, int]
) -> FloatArray:
    """White noise (h, w) of deviation 1; that of chroma holds a share of luma's."""
    own = _hashed(seed, plane, start, extent)
    shared = filters.shared[plane - 1] if plane else 0.0
    if shared == 0.0:
        return own
    down, across = filters.sampling
    luma = _hashed(
        seed, 0, (start[0] * down, start[1] * across), (extent[0] * down, extent[1] * across)
    )
    # The mean of white noise over sites is white, of less deviation.
    sites = site_means(luma, down, across) * np.float32((down * across) ** 0.5)
    own *= np.float32((1.0 - shared**2) ** 0.5)
    own += np.float32(shared) * sites
    return own


def _hashed(seed: int, plane: int, start: tuple[int, int], extent: tuple[int, int]) -> FloatArray:
    """White Gaussian noise (h, w) that is a function of seed, plane, row and column alone.

    A hash of 32 bits for each two samples, by multiplications and shifts (the constants are those
    of C. Wellons' lowbias32); its halves are ranks in the normal distribution. Written out here
    because numpy's generators may change their streams, and have no places.
    """
    keys = [np.uint32(_mixed(4 * seed + plane, turn)) for turn in (1, 2)]
    # Filters reach over the picture's edge: coordinates are moved so that none is negative.
    rows, columns = (np.arange(n) + s + BLOCK for s, n in zip(start, extent, strict=True))
    pairs = np.arange(columns[0] // 2, columns[-1] // 2 + 1)
    words: Words = (rows[:, None].astype(np.uint32) << np.uint32(16)) + pairs.astype(np.uint32)
    words ^= keys[0]
    words ^= words >> np.uint32(16)
    words *= np.uint32(0x7FEB352D)
    # The second key between the rounds: no frame is another's noise in another order.
    words += keys[1]
    words ^= words >> np.uint32(15)
    words *= np.uint32(0x846CA68B)
    words ^= words >> np.uint32(16)
    ranks = words.astype("<u4", copy=False).view("<u2")
    odd = int(columns[0] % 2)
    return np.asarray(_normal()[ranks[:, odd : odd + extent[1]]])


def _mixed(value: int, turn: int) -> int:
    """32 bits of a hash of a number (the finaliser of splitmix64)."""
    whole = 2**64 - 1
    value = (value + turn * 0x9E3779B97F4A7C15) & whole
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & whole
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & whole
    return (value ^ (value >> 31)) >> 32


@lru_cache(maxsize=1)
def _normal() -> FloatArray:
    """(65536,) the normal distribution's values at as many equal shares, of deviation 1."""
    grid = np.linspace(-6.0, 6.0, 9601)
    density = np.exp(-0.5 * grid**2)
    cumulative = np.cumsum(density) - 0.5 * density
    ranks = (np.arange(65536) + 0.5) / 65536
    values = np.interp(ranks, cumulative / density.sum(), grid)
    return np.asarray(values / values.std(), dtype=np.float32)


def between(frequencies: Array) -> Array:
    """(N, 9) weights that interpolate N frequencies 0..1/2 between those of the table."""
    position = frequencies[:, None] * 2 * (FREQUENCIES - 1)
    return np.asarray(np.maximum(1.0 - np.abs(position - np.arange(FREQUENCIES)), 0.0))


def site_means(luma: FloatArray, down: int, across: int) -> FloatArray:
    """(H, W) -> the mean luma of each whole chroma site."""
    rows, columns = luma.shape[0] // down, luma.shape[1] // across
    parts = [
        luma[i : rows * down : down, j : columns * across : across]
        for i in range(down)
        for j in range(across)
    ]
    return np.asarray(sum(parts) / np.float32(len(parts)))
