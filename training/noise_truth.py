"""The noise measurement against the truth: `python -m training.noise_truth FOLDER`.

Known Gaussian noise is added to the R'G'B' of every clip of the folder, clipped to 8 bits and
stored, as 4:2:0 limited range or as it is. The truth is the deviation of (noisy - clean) as
stored, by the level of the smoothed noisy luma; the clip's own floor is what the measurement
finds in the clean clip. Figures are measured / sqrt(truth^2 + floor^2), luma and chroma.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from training.data import CLIP_SUFFIXES, list_files, read_clip
from training.evaluate import FRAMES, add_known_noise
from vidrepair.frames import Frame, Picture, PixelFormat
from vidrepair.noise import KNOTS, combine, measure_span
from vidrepair.planes import rgb_to_ycbcr

SIGMAS = (5.0, 10.0, 20.0, 30.0, 50.0)
COMMON = 0.03
"""Share of the samples above which a level is judged on its own."""

Storage = Literal["yuv420p", "gbrp"]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What the stored planes really show, by level; rows are luma and chroma."""

    variance: Array
    """(2, 17), on the 8-bit scale."""
    share: Array
    """(2, 17): share of the samples at the level, 0..1."""


@dataclass(frozen=True, slots=True)
class Row:
    """The measurement of one clip at one level of noise; pairs are luma and chroma."""

    clip: str
    sigma: float
    floor: tuple[float, float]
    """Measured on the clean clip: rms over its samples, on the 8-bit scale."""
    ratio: tuple[float, float]
    """Measured over expected, rms over the samples."""
    levels: tuple[float, ...]
    """Measured over expected at each common level, luma's and then chroma's."""


def store(clip: Tensor, storage: Storage) -> list[Frame]:
    """(T, 3, H, W) uint8 R'G'B' -> 8-bit frames: BT.709 limited range 4:2:0, or R'G'B'."""
    height, width = clip.shape[-2:]
    form = (
        PixelFormat("gbrp", "rgb", 8)
        if storage == "gbrp"
        else PixelFormat("yuv420p", "yuv", 8, (2, 2))
    )
    picture = Picture(width, height, form, "bt709", storage == "gbrp")
    frames = []
    for number, shown in enumerate(clip.numpy()):
        planes = tuple(shown) if storage == "gbrp" else _subsample(shown)
        frames.append(Frame(planes, picture, number, number, Fraction(1, 25)))
    return frames


def _subsample(shown: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    packed = np.ascontiguousarray(shown.transpose(1, 2, 0))
    stored = av.VideoFrame.from_ndarray(packed, format="rgb24").reformat(
        format="yuv420p", dst_colorspace="itu709", src_color_range="JPEG", dst_color_range="MPEG"
    )
    return tuple(
        np.frombuffer(memoryview(plane), np.uint8)
        .reshape(plane.height, plane.line_size)[:, : plane.width]
        .copy()
        for plane in stored.planes
    )


def measure(frames: Sequence[Frame]) -> Array:
    """Blind: variance (2, 17) on the 8-bit scale."""
    return (255.0 * combine(measure_span(frames), None).array().astype(np.float64)) ** 2


def true_noise(noisy: Sequence[Frame], clean: Sequence[Frame]) -> Truth:
    """The truth of frames stored the same way, each sample shared by its two levels."""
    sums, counts = np.zeros((2, KNOTS)), np.zeros((2, KNOTS))
    for one, other in zip(noisy, clean, strict=True):
        seen, kept = _ycbcr(one), _ycbcr(other)
        level = _smooth(seen[0])
        for channel, planes in enumerate((seen[:1], seen[1:])):
            height, width = planes[0].shape
            if channel and level.shape != planes[0].shape:
                level = level[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3))
            numbers = (0, 1) if channel == 0 else (1, 3)
            error = np.mean(
                [(a - b) ** 2 for a, b in zip(planes, kept[slice(*numbers)], strict=True)], axis=0
            )
            position = np.clip(level / 255.0, 0.0, 1.0).ravel() * (KNOTS - 1)
            below = np.minimum(position.astype(int), KNOTS - 2)
            for knot, weight in ((below, below + 1 - position), (below + 1, position - below)):
                sums[channel] += np.bincount(knot, weight * error.ravel(), KNOTS)
                counts[channel] += np.bincount(knot, weight, KNOTS)
    return Truth(sums / np.maximum(counts, 1e-9), counts / counts.sum(axis=1, keepdims=True))


def _ycbcr(frame: Frame) -> list[Array]:
    planes = [plane.astype(np.float64) for plane in frame.planes]
    if frame.picture.format.family == "rgb":
        return list(np.einsum("ij,jhw->ihw", rgb_to_ycbcr(), np.stack(planes)))
    return planes


def _smooth(luma: Array) -> Array:
    """Mean of 5x5 samples, borders replicated."""
    rows, columns = luma.shape
    padded = np.pad(luma, 2, mode="edge")
    down = np.sum([padded[i : i + rows] for i in range(5)], axis=0)
    return np.asarray(np.sum([down[:, j : j + columns] for j in range(5)], axis=0) / 25.0)


def compare(path: Path, storage: Storage, sigmas: Sequence[float] = SIGMAS) -> list[Row]:
    """One row per level of noise for one clip, of which at most 24 frames are taken."""
    shown = read_clip(path, FRAMES)
    clean = store(shown, storage)
    own = measure(clean)
    rows = []
    for sigma in sigmas:
        noisy = store(add_known_noise(shown, path.stem, sigma), storage)
        truth = true_noise(noisy, clean)
        found, expected = measure(noisy), truth.variance + own
        floor, ratio = (
            np.sqrt((a * truth.share).sum(axis=1) / (b * truth.share).sum(axis=1))
            for a, b in ((own, np.ones_like(own)), (found, expected))
        )
        common = truth.share > COMMON
        levels = np.sqrt(found[common] / expected[common])
        rows.append(
            Row(path.stem, sigma, _pair(floor), _pair(ratio), tuple(float(x) for x in levels))
        )
    return rows


def _pair(values: Array) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def table(rows: Sequence[Row]) -> str:
    """Markdown: the floor, then luma / chroma ratios by sigma, then how single levels did."""
    sigmas = sorted({row.sigma for row in rows})
    lines = [
        f"| clip | floor | {' | '.join(f'{sigma:g}' for sigma in sigmas)} |",
        "|---|---|" + "---|" * len(sigmas),
    ]
    for clip in sorted({row.clip for row in rows}):
        of = sorted((row for row in rows if row.clip == clip), key=lambda row: row.sigma)
        cells = [of[0].floor, *(row.ratio for row in of)]
        lines.append(f"| {clip} | {' | '.join(f'{y:.2f} / {c:.2f}' for y, c in cells)} |")
    levels = np.array([level for row in rows for level in row.levels])
    near = np.mean(np.abs(levels - 1.0) <= 0.15)
    note = (
        f"Single levels that hold over {COMMON:.0%} of the samples: {len(levels)}, "
        f"{near:.1%} of them within 15 %, from {levels.min():.2f} to {levels.max():.2f}."
    )
    lines += ["", note]
    return "\n".join(lines)


def main() -> None:
    """Print one table for each storage."""
    parser = argparse.ArgumentParser(description="Noise measured against known noise.")
    parser.add_argument("folder", type=Path, help="A folder of clean clips.")
    folder = parser.parse_args().folder
    paths = list_files("FOLDER", (str(folder),), CLIP_SUFFIXES, ())
    storages: tuple[Storage, ...] = ("yuv420p", "gbrp")
    for storage in storages:
        rows = [row for path in paths for row in compare(path, storage)]
        sys.stdout.write(f"\n### {storage}\n\n{table(rows)}\n")


if __name__ == "__main__":
    main()
