"""Between decoded planes and the generator's pictures: colour matrices, repeats, padding.

One code for arrays of numpy and tensors of torch, by the operations that both have: on a card
only decoded planes go up, and only finished planes come down.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrepair.frames import Array, FloatArray, Picture, Plane

STRIDE = 16

# (Kr, Kb) of ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance).
LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


def rgb_to_ycbcr(matrix: str = "bt709") -> NDArray[np.float64]:
    """The 3x3 matrix from R'G'B' 0..1 to full-range Y' 0..1 and Cb, Cr -0.5..0.5."""
    kr, kb = LUMA_WEIGHTS[matrix]
    luma = np.array([kr, 1.0 - kr - kb, kb])
    blue = (np.array([0.0, 0.0, 1.0]) - luma) / (2.0 * (1.0 - kb))
    red = (np.array([1.0, 0.0, 0.0]) - luma) / (2.0 * (1.0 - kr))
    return np.stack([luma, blue, red])


_TO_YCBCR = rgb_to_ycbcr()
_FROM_YCBCR = np.linalg.inv(rgb_to_ycbcr())


def padded_size(picture: Picture) -> tuple[int, int]:
    """Height and width as the generator sees them: rounded up to multiples of 16."""
    return -(-picture.height // STRIDE) * STRIDE, -(-picture.width // STRIDE) * STRIDE


def to_generator(planes: Sequence[Array], picture: Picture, out: Array) -> None:
    """Write a frame's planes into `out` (3, H, W), padded size, in the generator's unit.

    Y' is code / peak, Cb and Cr (code - half range) / peak; subsampled chroma is repeated,
    gray has chroma 0, R'G'B' goes through the full-range BT.709 matrix. What is lacking on
    the right and below is mirrored. Planes and `out` are of one library, on one device.
    """
    height, width = picture.height, picture.width
    view = out[:, :height, :width]
    if picture.format.family == "rgb":
        for code, plane in zip(view, planes, strict=True):
            code[...] = plane
        mixed = _mix(_TO_YCBCR / picture.format.peak, view)
        for target, part in zip(view, mixed, strict=True):
            target[...] = part
    else:
        view[0] = planes[0]
        view[0] *= 1.0 / picture.format.peak
        view[1:] = 0.0
        for plane, target in zip(planes[1:], view[1:], strict=False):
            _repeat(plane, target, picture.format.sampling)
        colours = view[1 : len(planes)]
        colours -= float(2 ** (picture.format.bits - 1))
        colours *= 1.0 / picture.format.peak
    _mirror(out, height, width)


def _mix(matrix: NDArray[Any], planes: Sequence[Array]) -> list[Array]:
    """A matrix of colours, row by row, on three planes of floats."""
    return [
        sum(float(weight) * plane for weight, plane in zip(row, planes, strict=True))
        for row in matrix
    ]


def _repeat(samples: Array, target: Array, sampling: tuple[int, int]) -> None:
    """Copy each sample to all of its luma sites; sites beyond an odd edge do not exist."""
    across, down = sampling
    for row in range(down):
        for column in range(across):
            site = target[row::down, column::across]
            site[...] = samples[: site.shape[0], : site.shape[1]]


def _mirror(out: Array, height: int, width: int) -> None:
    """Fill `out` beyond height and width with its mirrored picture."""
    for column in range(width, out.shape[2]):
        out[:, :height, column] = out[:, :height, _reflected(column, width)]
    for row in range(height, out.shape[1]):
        out[:, row] = out[:, _reflected(row, height)]


def _reflected(position: int, size: int) -> int:
    """Where a position beyond `size` looks: mirrored at the last sample, again and again."""
    period = max(2 * (size - 1), 1)
    there = position % period
    return min(there, period - there)


def residual_planes(
    residual: Array, picture: Picture, denoise: tuple[float, float] = (1.0, 1.0)
) -> tuple[Array, ...]:
    """A residual (3, H, W), padded size, as code values for each plane of the picture.

    `denoise` are the shares of luma and chroma that are wanted; for R'G'B' both act on the
    Y'CbCr of the generator. A subsampled chroma sample takes the mean over its luma sites;
    R'G'B' goes back through the inverse of the BT.709 matrix.
    """
    form = picture.format
    luma, chroma = (share * form.peak for share in denoise)
    cropped = residual[:, : picture.height, : picture.width]
    if form.family == "rgb":
        return tuple(_mix(_FROM_YCBCR * (luma, chroma, chroma), cropped))
    if form.family == "gray":
        return (cropped[0] * luma,)
    return cropped[0] * luma, *(_site_means(part, picture) * chroma for part in cropped[1:])


def _site_means(residual: Array, picture: Picture) -> Array:
    """(H, W) -> the mean over each chroma site, at the chroma plane's size.

    Of a site that reaches over an odd edge only what lies inside counts: beyond it stands the
    mirrored picture, which is another site's.
    """
    across, down = picture.format.sampling
    total = residual[::down, ::across] * 1.0
    # Strided sums: several times faster than a mean over two axes of a reshaped view.
    for row, column in list(product(range(down), range(across)))[1:]:
        site = residual[row::down, column::across]
        total[: site.shape[0], : site.shape[1]] += site
    total *= 1.0 / (across * down)
    if short := picture.width % across:
        total[:, -1] *= across / short
    if short := picture.height % down:
        total[-1] *= down / short
    return total


def matte_planes(matte: Array, picture: Picture) -> tuple[Array, ...]:
    """A matte (H, W), padded size, 0..1, for each plane of the picture.

    A subsampled chroma sample takes the largest of its luma sites.
    """
    cropped = matte[: picture.height, : picture.width]
    if picture.format.family == "gray":
        return (cropped,)
    if picture.format.family == "rgb":
        return (cropped, cropped, cropped)
    across, down = picture.format.sampling
    largest = cropped[::down, ::across] * 1.0
    for row, column in list(product(range(down), range(across)))[1:]:
        site = cropped[row::down, column::across]
        part = largest[: site.shape[0], : site.shape[1]]
        part[...] = np.maximum(part, site)
    return cropped, largest, largest


def block_means(plane: Plane, rows: int, columns: int, tall: int) -> FloatArray:
    """(rows, columns) means of the blocks that an (H, W) plane of any size falls into.

    At most `tall` rows of a block are read.
    """
    height, width = plane.shape
    tall = min(max(height // rows, 1), tall)
    read = np.arange(rows * tall) * height // (rows * tall)
    # The narrowest type that holds the sums: half the time for 8 bits.
    total = np.uint16 if plane.dtype == np.uint8 else np.uint32
    bands = plane[read].reshape(rows, tall, width).sum(axis=1, dtype=total)
    starts = np.arange(columns) * width // columns
    # In a picture narrower than its blocks reduceat takes the one sample at each start.
    wide = np.maximum(np.diff(starts, append=width), 1)
    sums = np.add.reduceat(bands, starts, axis=1, dtype=np.float32)
    means: FloatArray = sums / (tall * wide).astype(np.float32)
    return means


def chroma_size(picture: Picture) -> tuple[int, int]:
    """Height and width of the chroma planes."""
    across, down = picture.format.sampling
    return -(-picture.height // down), -(-picture.width // across)


def add_residual(plane: Array, residual: Array, bits: int) -> Array:
    """round(plane + residual), half to even, clipped to the code range; the plane's dtype.

    This is the one place where samples are rounded. Where the residual is 0 the sample stays
    as it is: float32 holds every code of 16 bits exactly.
    """
    total = _cast(plane, residual.dtype)
    total += residual
    return _cast(total.round().clip(0.0, 2.0**bits - 1.0), plane.dtype)


def _cast(array: Array, dtype: Any) -> Array:
    """The one thing that numpy and torch call differently."""
    return array.astype(dtype) if isinstance(array, np.ndarray) else array.to(dtype)
