"""Grain by itself: patches of it from flat, still areas of footage, told from the picture.

In such an area the picture is a smooth surface that stays, and the mean of K frames holds a Kth of
the grain's power. Where more is left of it, there is texture, or what moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.grain_film import FEWEST_FRAMES
from training.octaves import octave_powers
from vidrepair.decode import open_source
from vidrepair.frames import FloatArray, Frame

SIDE = 32
"""Of a patch, samples."""
WINDOW = 8
"""Frames whose mean is taken, K."""
LONGEST = 480
"""Frames of a film that are looked at, from the start."""
FEWEST = 64
"""Patches that there have to be."""
MOST = 4096
_LEFT = 0.12
"""Share of its power that the mean of an area may have beyond a Kth."""
_BRIGHTER = 1.8
"""Times the usual power at its brightness, beyond which an area holds more than grain."""
_COARSER = 1.5
"""Times the usual ratio of power in the lowest octave to that in the uppermost, beyond which
something moves in an area: softer than the grain, and too slowly to be found again."""
_ALIKE = 0.55
"""Correlation of two frames at the best displacement: what moves is found again, grain is not."""
_COLOURLESS = 1.5
"""Deviation of chroma, 8-bit code values, up to which a film is gray, whatever its format."""
_FAR = 5.5
"""Deviations that grain does not reach in a thousand samples: dust does."""
_LEAST = 2.0 / 12.0 / 255.0**2
"""Power of grain that is more than rounding."""
_BINS = 8


def _surfaces() -> NDArray[np.float64]:
    """(SIDE * SIDE, 6): planes and bowls, orthonormal."""
    across = np.linspace(-1.0, 1.0, SIDE)
    y, x = (axis.ravel() for axis in np.meshgrid(across, across, indexing="ij"))
    parts = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=1)
    return np.asarray(np.linalg.qr(parts)[0])


_BASIS = _surfaces()


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Grain, in units of its deviation over all patches; in full range, code 0..1."""

    grain: FloatArray
    """(N, SIDE, SIDE), each of mean 0 and of a frame of its own."""
    level: FloatArray
    """(N,) luma under it, 0 black to 1 white."""
    area: NDArray[np.int64]
    """(N,) which area at which time it is from: K patches have one number."""
    deviation: float
    """Of the grain in luma, 0..1 of the range from black to white."""
    chroma: float
    """Deviation of chroma as a share of luma's; 0 for gray film."""
    footage: str = ""
    """The name of the file."""

    def part(self, chosen: NDArray[np.bool_]) -> Patches:
        """Some of them, in the same units."""
        grain, level, area = self.grain[chosen], self.level[chosen], self.area[chosen]
        return replace(self, grain=grain, level=level, area=area)


def find_patches(path: Path, *, gray: bool = False) -> Patches:
    """Read a film and cut its grain out.

    `gray` is for a model of luma alone. Raises ValueError where the film is too short, has no flat,
    still area, no grain, or with `gray` has colour; InputError when it cannot be read.
    """
    areas: list[_Area] = []
    count, found, quiet, coloured = 0, 0, 0, False
    for frames in _windows(path):
        _check_picture(path, frames[0])
        count += len(frames)
        coloured = coloured or _has_colour(frames)
        if gray and coloured:
            raise ValueError(f"{path} has colour; leave out --gray, or give gray footage")
        if len(frames) >= FEWEST_FRAMES:
            for area in _areas(*_full_range(frames)):
                quiet += area.quiet
                if area.flat:
                    areas.append(area)
            found = sum(len(area.grain) for area in areas)
        if found > 4 * MOST:
            break
    if count < FEWEST_FRAMES:
        raise ValueError(
            f"{path} has {'1 frame' if count == 1 else f'{count} frames'}; grain is told from the "
            f"picture by what changes, so give {FEWEST_FRAMES} frames and more"
        )
    kept = _alike_areas(areas)
    found = sum(len(area.grain) for area in kept)
    if found < FEWEST:
        seen = f"the {count} frames of {path} show {found} patches of {SIDE}x{SIDE} samples"
        raise ValueError(_too_few(seen, bare=quiet >= max(FEWEST // WINDOW, len(areas))))
    return replace(_gather(kept, coloured=coloured), footage=path.name)


def _check_picture(path: Path, frame: Frame) -> None:
    if frame.picture.format.family == "rgb":
        raise ValueError(f"{path} holds R'G'B'; give footage of Y'CbCr or gray")
    height, width = frame.planes[0].shape
    if min(height, width) < SIDE:
        raise ValueError(
            f"{path} is {width}x{height}; give footage of {SIDE}x{SIDE} samples or more, as large "
            "as the film that the grain is for"
        )


def _too_few(seen: str, *, bare: bool) -> str:
    told = f"{seen} that are flat, still and grainy, {FEWEST} are needed"
    if bare:
        return (
            f"{told}, for most flat areas have no grain; give the film as it was shot or scanned, "
            "and no copy that was cleaned, or coded until it was gone"
        )
    return (
        f"{told}; give a longer shot, or one with an even area at rest, such as a sky, a wall or a "
        "title"
    )


def true_patches(noisy: Path, clean: Path, deviation: float) -> Patches:
    """Grain that is known: what a film has more than the same film without it, in squares of any
    picture, in units of `deviation`.

    Raises ValueError where the two do not go together, InputError where one cannot be read.
    """
    grain, level = [], []
    for one, other in zip_longest(_windows(noisy), _windows(clean), fillvalue=()):
        luma, bare = _same_luma(noisy, one, clean, other)
        rows, columns = (range(0, size - SIDE + 1, SIDE) for size in luma.shape[1:])
        for top, left in ((top, left) for top in rows for left in columns):
            square = (slice(None), slice(top, top + SIDE), slice(left, left + SIDE))
            under = bare[square].mean(axis=(1, 2))
            # What is cut off at black or white is no grain any more.
            good = np.abs(under - 0.5) < 0.5 - 3.0 * deviation
            grain.append((luma[square] - bare[square])[good])
            level.append(under[good])
    found: FloatArray = np.concatenate(grain)
    if not len(found):
        raise ValueError(f"{clean} is black or white everywhere; give a film with a picture")
    if np.square(found).mean() <= _LEAST:
        raise ValueError(f"{clean} has the grain that {noisy} has; give the film without it")
    found = found - found.mean(axis=(1, 2), keepdims=True)
    chosen = np.sort(np.random.default_rng(0).permutation(len(found))[: MOST // 16])
    even = (found[chosen] / deviation).astype(np.float32)
    levels = np.concatenate(level)[chosen].astype(np.float32)
    return Patches(even, levels, np.arange(len(chosen)), deviation, 0.0)


def _same_luma(
    noisy: Path, one: Sequence[Frame], clean: Path, other: Sequence[Frame]
) -> tuple[FloatArray, FloatArray]:
    """Luma of the same frames of both. Raises ValueError where they are not the same."""
    for path, frames in ((noisy, one), (clean, other)):
        if frames:
            _check_picture(path, frames[0])
    if len(one) == len(other) and one[0].luma.shape == other[0].luma.shape:
        return _full_range(one)[0], _full_range(other)[0]
    raise ValueError(
        f"{clean} is not of the size and length of {noisy}; give the same film, frame for frame, "
        "without its grain"
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Area:
    """A square through a window of frames."""

    grain: FloatArray
    """(K, SIDE, SIDE), or fewer: without the frames with dust."""
    level: float
    power: float
    coarse: float
    """Power in the lowest octave over that in the uppermost."""
    flat: bool
    quiet: bool
    """A surface between black and white that does not change by more than rounding."""
    chroma: float
    """Power of chroma's change from frame to frame, halved."""


def _windows(path: Path) -> Iterator[list[Frame]]:
    """The frames of a film, WINDOW at a time; the last ones may be fewer."""
    with open_source(path) as source:
        frames = (item for item in source.read() if isinstance(item, Frame))
        window: list[Frame] = []
        for frame in islice(frames, LONGEST):
            planes = tuple(plane.copy() for plane in frame.planes)
            window.append(replace(frame, planes=planes, carrier=None))
            if len(window) == WINDOW:
                yield window
                window = []
        if window:
            yield window


def _full_range(frames: Sequence[Frame]) -> tuple[FloatArray, FloatArray | None]:
    """Luma (K, H, W), 0 black to 1 white, and chroma (K, 2, h, w) about 0."""
    full = frames[0].picture.full_range
    unit = 1.0 / frames[0].picture.format.peak
    low, scale = (0.0, 1.0) if full else (16.0 / 255.0, 219.0 / 255.0)
    codes = np.stack([frame.planes[0] for frame in frames]).astype(np.float32)
    luma = (codes * unit - low) / scale
    if len(frames[0].planes) == 1:
        return luma, None
    codes = np.stack([np.stack(frame.planes[1:3]) for frame in frames]).astype(np.float32)
    return luma, (codes * unit - 0.5) / (1.0 if full else 224.0 / 255.0)


def _areas(luma: FloatArray, chroma: FloatArray | None) -> Iterator[_Area]:
    """Every square of a window, flat or not."""
    count, height, width = luma.shape
    for top in range(0, height - SIDE + 1, SIDE):
        for left in range(0, width - SIDE + 1, SIDE):
            block = luma[:, top : top + SIDE, left : left + SIDE].reshape(count, -1)
            yield _look_at(block, _chroma_power(chroma, luma.shape, top, left))


def _look_at(block: FloatArray, colour: float) -> _Area:
    """A square (K, SIDE * SIDE) through a window: its grain, and whether it is grain alone."""
    mean = block.mean(axis=0)
    surface = _BASIS @ (_BASIS.T @ mean)
    grain = block - surface
    steps = grain.mean(axis=1, keepdims=True)
    grain = grain - steps
    powers = np.square(grain).mean(axis=1)
    whole = np.abs(grain).max(axis=1) <= _FAR * np.median(powers) ** 0.5
    power = float(powers.mean())
    deviation, level = power**0.5, float(mean.mean())
    patches = grain.reshape(len(block), SIDE, SIDE).astype(np.float32)
    flat = bool(
        float(np.square(mean - surface).mean()) <= (1.0 / len(block) + _LEFT) * power
        and float(steps.std()) <= 0.5 * deviation + 1.0 / 255.0
        # What is cut off at black or white is no grain any more.
        and 3.0 * deviation < level < 1.0 - 3.0 * deviation
        and power > _LEAST
        and whole.sum() > 1
        and _alike(patches) < _ALIKE
    )
    if not flat:
        quiet = power <= _LEAST and 0.02 < level < 0.98  # bars have none in any film
        return _Area(patches[whole], level, 0.0, 0.0, flat, quiet, colour)
    low, *_, high = octave_powers(patches[whole]).sum(axis=0)
    coarse = float(low / max(high, 1e-30))
    return _Area(
        patches[whole], level, float(powers[whole].mean()), coarse, flat, quiet=False, chroma=colour
    )


def _alike(patches: FloatArray) -> float:
    """How much frames are like the ones before them, at the displacement where most; 0..1."""
    spectra = np.fft.rfft2(patches)
    both = np.fft.irfft2(spectra[1:] * spectra[:-1].conj(), s=patches.shape[1:])
    power = np.sqrt(np.square(patches).sum(axis=(1, 2)))
    return float((both.max(axis=(1, 2)) / (power[1:] * power[:-1] + 1e-12)).mean())


def _chroma_power(chroma: FloatArray | None, luma: tuple[int, ...], top: int, left: int) -> float:
    if chroma is None:
        return 0.0
    down, across = luma[1] // chroma.shape[2], luma[2] // chroma.shape[3]
    rows = slice(top // down, (top + SIDE) // down)
    columns = slice(left // across, (left + SIDE) // across)
    return float(np.square(np.diff(chroma[:, :, rows, columns], axis=0)).mean()) / 2.0


def _alike_areas(areas: list[_Area]) -> list[_Area]:
    """Those that hold grain alone: not much coarser, nor stronger, than the quiet ones."""
    coarsest = _COARSER * np.quantile([area.coarse for area in areas], 0.3) if areas else 0.0
    even = [area for area in areas if area.coarse <= coarsest]
    return [area for area, usual in zip(even, _usual(even), strict=True) if area.power < usual]


def _gather(kept: list[_Area], *, coloured: bool) -> Patches:
    grain: NDArray[Any] = np.concatenate([area.grain for area in kept])
    level: NDArray[Any] = np.repeat(
        [area.level for area in kept], [len(area.grain) for area in kept]
    )
    area = np.repeat(np.arange(len(kept)), [len(area.grain) for area in kept])
    if len(grain) > MOST:
        chosen = np.sort(np.random.default_rng(0).permutation(len(grain))[:MOST])
        grain, level, area = grain[chosen], level[chosen], area[chosen]
    deviation = float(np.sqrt(np.square(grain).mean()))
    power = float(np.median([one.chroma for one in kept]))
    chroma = power**0.5 / deviation if coloured else 0.0
    scaled = (grain / deviation).astype(np.float32)
    return Patches(scaled, level.astype(np.float32), area, deviation, chroma)


def _usual(areas: list[_Area]) -> Any:
    """The power up to which areas of a brightness hold grain alone: that of the quiet ones."""
    if not areas:
        return []
    power = np.array([area.power for area in areas])
    at = np.clip([int(area.level * _BINS) for area in areas], 0, _BINS - 1)
    quiet = {bin_: np.quantile(power[at == bin_], 0.3) for bin_ in set(at.tolist())}
    return [_BRIGHTER * quiet[bin_] for bin_ in at.tolist()]


def _has_colour(frames: list[Frame]) -> bool:
    picture = frames[0].picture
    if len(frames[0].planes) < 3:
        return False
    middle = 2.0 ** (picture.format.bits - 1)
    unit = 255.0 / picture.format.peak
    planes = [plane.astype(np.float32) - middle for plane in frames[0].planes[1:3]]
    return max(float(np.sqrt(np.square(plane).mean())) for plane in planes) * unit > _COLOURLESS
