"""The spectrum of grain, measured.

Grain is half of what two neighbouring frames differ by where the picture stands still: how strong
it is at each luma level stands in the noise profile, what is measured here is how it is spread
over the frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from vidrepair.cues import picture_shift, without_bars
from vidrepair.frames import FloatArray, Frame, GrainSpectrum
from vidrepair.grain import BLOCK, FREQUENCIES, between, filter_kernel, site_means
from vidrepair.planes import rgb_to_ycbcr
from vidrepair.regions import Area

TILE = 32
"""Side of a tile whose spectrum is taken, in samples of its own plane."""
PAIRS = 8
"""Pairs of neighbouring frames that are looked at in a span, at most,"""
SAMPLES = 8_000_000
"""or as many as hold so many samples of luma, but two: large pictures have tiles enough."""
CALMEST = 24
"""Tiles of a pair, at each of eight levels, that are looked at closely."""
CALM = 0.05
"""Share of the tiles of a level that are taken to be calm."""
ALIKE = 1.3
"""Tiles count up to this much above the calm ones' variance: 32x32 samples of coarse grain
scatter by a fifth."""
COMMON = 0.1
"""Share of the tiles below which a level says nothing."""
MOVED = 0.1
"""Share of a difference above which displacement explains it."""
ENOUGH = 4
"""Tiles that are needed to measure over time; below, tiles are taken as they are."""
FLOOR = 1e-4
"""Density of power, in shares of the mean, below which rounding and leakage tell nothing."""
TURNS = 3
"""Turns in which the table is fitted to what was seen."""
FAINT = (0.2 / 255.0) ** 2
"""Variance below which there is nothing but rounding."""


Array = NDArray[np.float64]
_SHARES = np.r_[0.5, np.ones(FREQUENCIES - 2), 0.5] / (FREQUENCIES - 1)
"""What each frequency of the table holds of an axis."""


@dataclass(frozen=True, slots=True, eq=False)
class SpectrumMeasurement:
    """What one span showed: spectra as in GrainSpectrum, and how many tiles they were seen in."""

    spectrum: GrainSpectrum
    tiles: tuple[int, int]
    """Of luma and of chroma; 0 where nothing was seen."""


@dataclass(frozen=True, slots=True, eq=False)
class _Tiles:
    """Tiles of one pair of frames, with nothing in them but noise, if they are calm."""

    noise: FloatArray
    """(N, planes, 32, 32), of the deviation that a single frame has."""
    luma: FloatArray
    """(N, 32, 32) of the luma at the same sites."""
    level: FloatArray
    """(N,) mean luma."""
    moved: FloatArray
    """(N,) share of the difference that displacement explained; it is taken out."""
    spatial: bool = False
    """Seen in single frames, and a curved surface taken out."""


def measure_spectrum(frames: Sequence[Frame]) -> SpectrumMeasurement:
    """Measure the spectrum of the grain of one span of one shot from its frames, 1 to 64.

    Any depth, sampling and family: R'G'B' is measured in the Y'CbCr of the full-range BT.709
    matrix. At most 16 frames are looked at. Nothing is seen in planes of less than 32x32 samples.
    Raises ValueError when there are no frames.
    """
    if not frames:
        raise ValueError("no frame to measure the grain of; a span has at least one")
    unique = [frame for frame in frames if not frame.repeat] or list(frames[:1])
    area = without_bars(unique[0])
    seen = [_look(unique[i], unique[j], area) for i, j in _pairs(len(unique), unique[0].luma.size)]
    found = [_calm([tiles[channel] for tiles in seen]) for channel in range(len(seen[0]))]
    if None in found:
        # What a codec repeats from frame to frame can be seen in space only, as single frames can.
        still = [_look(frame, frame, area) for frame in unique[:: len(unique) // 4 + 1]]
        found = [
            calm or _calm([tiles[channel] for tiles in still]) for channel, calm in enumerate(found)
        ]
    luma, chroma = (*found, None)[:2]
    return SpectrumMeasurement(
        GrainSpectrum(
            _power(luma),
            _power(chroma),
            np.zeros(2, np.float32) if chroma is None else _follows(chroma),
        ),
        (0 if luma is None else len(luma.level), 0 if chroma is None else len(chroma.level)),
    )


def combine(own: SpectrumMeasurement, before: SpectrumMeasurement | None) -> GrainSpectrum:
    """The spectrum of a span from its own measurement and that of the span before.

    Their mean, weighted by the tiles seen. Both are raw, so nothing is handed on from span to
    span. White where neither saw anything. Rounded to four digits, as people edit it.
    """
    both = [own] if before is None else [own, before]

    def mean(channel: int, name: str) -> FloatArray:
        weights = [one.tiles[channel] for one in both]
        parts = [getattr(one.spectrum, name).astype(float) for one in both]
        values = np.average(parts, axis=0, weights=weights) if any(weights) else parts[0]
        return np.array([float(f"{value:.4g}") for value in values.flat], np.float32).reshape(
            values.shape
        )

    return GrainSpectrum(mean(0, "luma"), mean(1, "chroma"), mean(1, "follows"))


def _pairs(count: int, samples: int) -> list[tuple[int, int]]:
    """The neighbours to compare, of so many samples each, spread over the span."""
    if count < 2:
        return [(0, 0)]
    starts = (
        np.linspace(0, count - 2, min(max(round(SAMPLES / samples), 2), PAIRS, count - 1))
        .round()
        .astype(int)
    )
    # Odd and even starts in turn: pictures drawn on twos repeat every second frame.
    starts = np.clip(starts + (starts + np.arange(len(starts))) % 2, 0, count - 2)
    return [(start, start + 1) for start in sorted(set(starts.tolist()))]


def _shares(frame: Frame, area: Area) -> list[FloatArray]:
    """Y' and, unless it is gray, Cb and Cr of the area, in shares of the peak."""
    form = frame.picture.format
    scale = np.float32(1.0 / form.peak)
    if form.family == "rgb":
        parts = [plane[area] * scale for plane in frame.planes[:3]]
        matrix = rgb_to_ycbcr().astype(np.float32)
        return [sum(m * p for m, p in zip(row, parts, strict=True)) for row in matrix]
    across, down = form.sampling
    sub = tuple(
        slice(s.start and s.start // n, s.stop and -(-s.stop // n))
        for s, n in zip(area, (down, across), strict=True)
    )
    areas = (area, sub, sub)[: 1 if form.family == "gray" else 3]
    return [plane[part] * scale for plane, part in zip(frame.planes[:3], areas, strict=False)]


def _look(one: Frame, two: Frame, area: Area) -> list[_Tiles]:
    """The calmest tiles of luma and, unless it is gray, of chroma."""
    pair = [_shares(one, area), _shares(two, area)]
    shift = (0, 0) if one is two else picture_shift(pair[0][0], pair[1][0])
    luma = _overlap([shares[0] for shares in pair], shift)
    single = one is two
    looks = [_calmest([luma], luma, single)]
    if len(pair[0]) > 1:
        across, down = one.picture.format.sampling
        # Chroma follows an odd motion of luma to half a sample.
        moved = (round(shift[0] / down), round(shift[1] / across))
        sites = [site_means(shares[0], down, across) for shares in pair]
        chroma = [_overlap([shares[i] for shares in pair], moved) for i in (1, 2)]
        looks.append(_calmest(chroma, _overlap(sites, moved), single))
    return looks


def _overlap(planes: list[FloatArray], shift: tuple[int, int]) -> list[FloatArray]:
    """The parts of two planes that show the same when the second has moved by `shift`."""
    one, two = planes
    for axis, move in enumerate(shift):
        length = one.shape[axis] - abs(move)
        rows = [slice(max(at, 0), max(at, 0) + length) for at in (-move, move)]
        one, two = (
            part[rows[i]] if axis == 0 else part[:, rows[i]] for i, part in enumerate((one, two))
        )
    return [one, two]


def _split(plane: FloatArray, rows: int, columns: int) -> FloatArray:
    """(rows, columns, 32, 32) tiles of a plane, as a view."""
    down, across = plane.strides
    return as_strided(
        plane, (rows, columns, TILE, TILE), (TILE * down, TILE * across, down, across)
    )


def _calmest(planes: list[list[FloatArray]], luma: list[FloatArray], single: bool) -> _Tiles:
    """The tiles that differ least between two frames, at each of eight luma levels.

    `planes` holds the same plane of both frames, one or two times. In a `single` frame what tiles
    differ by from a curved surface takes the place of the difference.
    """
    rows, columns = (
        min(plane.shape[axis] for plane in (planes[0][0], luma[0])) // TILE for axis in (0, 1)
    )
    lights: list[FloatArray] = []
    differences = [one if single else one - two for one, two in planes]
    variance = np.zeros((rows, columns), np.float32)
    usable = np.ones((rows, columns), np.bool_)
    for difference in differences:
        means = _block_sums(difference, rows, columns) / 64.0
        powers = _block_sums(difference * difference, rows, columns)
        # A block in which nothing differs was skipped by the codec, or is clipped.
        usable &= single | (powers > 0.0).all(axis=(1, 3))
        mean = means.mean(axis=(1, 3))
        variance += powers.mean(axis=(1, 3)) / 64.0 - mean**2
        lights.append(mean)
    level = _block_sums(luma[0], rows, columns).mean(axis=(1, 3)) / 64.0
    usable &= (variance > FAINT) & (level > 0.02) & (level < 0.98)
    place = _least(variance, level, usable)
    noise, moved = [], np.zeros(len(place[0]), np.float32)
    means = _block_sums(luma[0] - luma[1], rows, columns).mean(axis=(1, 3)) / 64.0
    for plane, light in zip((*planes, luma), (*lights, means), strict=True):
        tiles = [_split(part, rows, columns)[place] for part in plane]
        if single:
            one, share = _detail(tiles[0]), 0.0 * moved
        else:
            one, share = _stilled(tiles[0] - tiles[1], tiles[0] + tiles[1], _around(light)[place])
        noise.append(one)
        moved = np.maximum(moved, share)
    return _Tiles(np.stack(noise[:-1], axis=1), noise[-1], level[place], moved, single)


def _block_sums(plane: FloatArray, rows: int, columns: int) -> FloatArray:
    """(rows, 4, columns, 4) sums over the 8x8 blocks of each tile."""
    whole = plane[: rows * TILE, : columns * TILE].reshape(rows * 4, 8, columns * TILE)
    # Down the columns first: numpy is slow at sums over a short last axis.
    return np.asarray(whole.sum(axis=1).reshape(rows, 4, columns, 4, 8).sum(axis=4))


def _least(
    variance: FloatArray, level: FloatArray, usable: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the usable tiles of the least variance, at each of eight levels."""
    chosen = []
    for step in range(8):
        here = np.flatnonzero(usable & (np.floor(level * 8.0) == step))
        count = min(CALMEST, -(-len(here) // 4))
        chosen.append(here[np.argsort(variance.flat[here], kind="stable")[:count]])
    rows, columns = np.unravel_index(np.concatenate(chosen), variance.shape)
    return rows, columns


def _around(means: FloatArray) -> FloatArray:
    """Median of the means of 3x3 tiles: a change of light, but no coarse grain."""
    rows, columns = means.shape
    if not means.size:
        return means
    edged = np.pad(means, 1, mode="edge")
    near = [edged[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return np.asarray(np.median(near, axis=0))


def _stilled(
    difference: FloatArray, total: FloatArray, light: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The difference of tiles (N, 32, 32), over sqrt(2), without light and displacement.

    The displacement is that of Lucas and Kanade (1981), by the slopes of the sum of both frames:
    its noise is independent of the difference's. Also says which share of the difference it
    explained.
    """
    difference = (difference - light[:, None, None]) * np.float32(0.5**0.5)
    down, across = np.zeros_like(total), np.zeros_like(total)
    down[:, 1:-1] = total[:, 2:] - total[:, :-2]
    across[:, :, 1:-1] = total[:, :, 2:] - total[:, :, :-2]
    slopes = (down, across)
    products = [np.einsum("nij,nij->n", a, b) for a in slopes for b in slopes]
    sides = [np.einsum("nij,nij->n", a, difference) for a in slopes]
    determinant = products[0] * products[3] - products[1] ** 2 + np.float32(1e-20)
    move_down = (sides[0] * products[3] - sides[1] * products[1]) / determinant
    move_across = (sides[1] * products[0] - sides[0] * products[1]) / determinant
    before = np.square(difference).sum(axis=(1, 2))
    difference -= move_down[:, None, None] * down + move_across[:, None, None] * across
    share = 1.0 - np.square(difference).sum(axis=(1, 2)) / np.maximum(before, 1e-20)
    return difference, np.asarray(share)


def _detail(tiles: FloatArray) -> FloatArray:
    """Tiles (N, 32, 32) without their curved surface of second degree."""
    side = np.linspace(-1.0, 1.0, TILE)
    terms = [side[:, None] ** i * side**j for i in range(3) for j in range(3 - i)]
    basis, _ = np.linalg.qr(np.stack([term.ravel() for term in terms], axis=1))
    flat = tiles.reshape(len(tiles), TILE * TILE)
    basis = basis.astype(np.float32)
    return np.asarray((flat - (flat @ basis) @ basis.T).reshape(tiles.shape))


def _calm(looks: list[_Tiles]) -> _Tiles | None:
    """The tiles of all pairs that show noise alone, or None where they are too few.

    Which ones are alike depends on how coarse the grain is, and that on which ones are taken: the
    first choice gives the coarseness, the second is used.
    """
    noise, luma, level, moved = (
        np.concatenate([getattr(look, name) for look in looks])
        for name in ("noise", "luma", "level", "moved")
    )
    all_tiles = _Tiles(noise, luma, level, moved, looks[0].spatial)
    calm = _alike(all_tiles, ALIKE)
    if len(calm.level) >= min(ENOUGH, len(looks)):
        power = _power(calm)
        # The variance of a tile's variance: its 1024 samples are so many the fewer the narrower
        # the spectrum is.
        scatter = np.sqrt(2.0 * (_SHARES @ power**2 @ _SHARES)) / TILE
        calm = _alike(all_tiles, float(np.clip((1.0 + 2.0 * scatter) / (1.0 - scatter), 1.2, 2.5)))
    return calm if len(calm.level) >= min(ENOUGH, len(looks)) else None


def _alike(tiles: _Tiles, most: float) -> _Tiles:
    """The tiles whose variance is at most so many times that of the calm ones of their level."""
    variance = np.square(tiles.noise).mean(axis=(1, 2, 3))
    good = (tiles.moved <= MOVED) & (variance > 0.0)
    steps = np.floor(tiles.level * 8.0)
    total = np.count_nonzero(good)
    for step in np.unique(steps[good]):
        here = good & (steps == step)
        # A level that few tiles show is likely to show them moving.
        common = np.count_nonzero(here) >= COMMON * total
        floor = np.quantile(variance[here], CALM) if common else 0.0
        good[here] = variance[here] <= most * floor
    return _Tiles(
        tiles.noise[good], tiles.luma[good], tiles.level[good], tiles.moved[good], tiles.spatial
    )


def _power(tiles: _Tiles | None) -> FloatArray:
    """(9, 9) density of power of the tiles; white where there are none.

    The median over tiles of periodograms under a Hann window, each in shares of its own power:
    what a speck or an edge adds to a few tiles does not count.
    """
    if tiles is None:
        return np.ones((FREQUENCIES, FREQUENCIES), np.float32)
    flat = tiles.noise.reshape(-1, TILE, TILE)
    hann = np.sin(np.pi * np.arange(TILE) / TILE).astype(np.float32) ** 2
    flat = flat * (hann[:, None] * hann)
    flat /= np.sqrt(np.maximum(np.square(flat).sum(axis=(1, 2), keepdims=True), 1e-20))
    periodograms = np.square(np.abs(np.fft.rfft2(flat)))
    half = np.median(periodograms, axis=0)
    # Where the transform is real the median lies lower: ln 2 against 0.455 of the mean.
    half[:: TILE // 2, :: TILE // 2] *= np.log(2.0) / 0.455
    folded = 0.5 * (half[: TILE // 2 + 1] + half[np.r_[0, TILE - 1 : TILE // 2 - 1 : -1]])
    if tiles.spatial:
        # What surface was taken out took with it what lies beside frequency 0.
        folded[0, 0] = folded[0, 1] = folded[1, 0] = (
            folded[1, 1] + folded[0, 2] + folded[2, 0]
        ) / 3
    weights = between(np.arange(TILE // 2 + 1) / TILE)
    weights /= weights.sum(axis=0)
    folded = np.maximum(folded / folded.mean(), FLOOR)
    table = np.ones((FREQUENCIES, FREQUENCIES))
    overlap = np.fft.fft(np.abs(np.fft.fft(hann, BLOCK)) ** 2).real
    for _ in range(TURNS):
        expected = _expected(table, overlap)
        ratio = np.log(folded / np.maximum(expected / expected.mean(), FLOOR))
        table *= np.exp(weights.T @ ratio @ weights)
    return np.asarray(table / (_SHARES @ table @ _SHARES), dtype=np.float32)


def _expected(power: Array, overlap: Array) -> Array:
    """(17, 17) the periodogram to be expected of tiles of grain that is made of this power.

    `overlap` (64,) is the autocorrelation of the tiles' window.
    """
    transform = np.abs(np.fft.fft2(filter_kernel(power), (BLOCK, BLOCK))) ** 2
    seen = np.fft.ifft2(transform).real * np.outer(overlap, overlap)
    return np.asarray(np.fft.fft2(seen).real[: TILE + 1 : 2, : TILE + 1 : 2])


def _follows(tiles: _Tiles) -> FloatArray:
    """(2,) correlation of both planes of chroma with luma: the median over tiles."""
    common = np.einsum("npij,nij->np", tiles.noise, tiles.luma)
    own = np.square(tiles.noise).sum(axis=(2, 3)) * np.square(tiles.luma).sum(axis=(1, 2))[:, None]
    median = np.median(common / np.sqrt(np.maximum(own, 1e-20)), axis=0)
    return np.asarray(median, dtype=np.float32)
