"""Between decoded planes and the generator's pictures: colour matrices, repeats, padding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidrepair.frames import FloatArray, Frame, Picture, Plane

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


_TO_YCBCR = rgb_to_ycbcr().astype(np.float32)
_FROM_YCBCR = np.linalg.inv(rgb_to_ycbcr()).astype(np.float32)


def padded_size(picture: Picture) -> tuple[int, int]:
    """Height and width as the generator sees them: rounded up to multiples of 16."""
    return -(-picture.height // STRIDE) * STRIDE, -(-picture.width // STRIDE) * STRIDE


def to_generator(frame: Frame, out: FloatArray) -> None:
    """Write a frame into `out` (3, H, W), padded size, in the generator's unit.

    Y' is code / peak, Cb and Cr (code - half range) / peak; subsampled chroma is repeated,
    gray has chroma 0, R'G'B' goes through the full-range BT.709 matrix. What is lacking on
    the right and below is mirrored.
    """
    picture = frame.picture
    height, width = picture.height, picture.width
    scale = np.float32(1.0 / picture.format.peak)
    view = out[:, :height, :width]
    if picture.format.family == "rgb":
        rgb = np.stack([plane.astype(np.float32) for plane in frame.planes]) * scale
        np.einsum("ij,jhw->ihw", _TO_YCBCR, rgb, out=view, optimize=True)
    else:
        np.multiply(frame.planes[0], scale, out=view[0], dtype=np.float32)
        view[1:] = 0.0
        middle = np.float32(2 ** (picture.format.bits - 1)) * scale
        for plane, target in zip(frame.planes[1:], view[1:], strict=False):
            samples = np.multiply(plane, scale, dtype=np.float32)
            samples -= middle
            _repeat(samples, target, picture.format.sampling)
    _mirror(out, height, width)


def _repeat(samples: FloatArray, target: FloatArray, sampling: tuple[int, int]) -> None:
    """Copy each sample to all of its luma sites; sites beyond an odd edge do not exist."""
    across, down = sampling
    for row in range(down):
        for column in range(across):
            site = target[row::down, column::across]
            site[...] = samples[: site.shape[0], : site.shape[1]]


def _mirror(out: FloatArray, height: int, width: int) -> None:
    """Fill `out` beyond height and width with its mirrored picture."""
    full_height, full_width = out.shape[1:]
    if full_width > width:
        columns = _reflected(width, full_width)
        out[:, :height, width:] = out[:, :height, columns]
    if full_height > height:
        out[:, height:] = out[:, _reflected(height, full_height)]


def _reflected(size: int, full: int) -> NDArray[np.intp]:
    """Where positions size..full - 1 look: mirrored at the last sample, again and again."""
    period = max(2 * (size - 1), 1)
    there = np.arange(size, full) % period
    return np.minimum(there, period - there)


def residual_planes(residual: FloatArray, picture: Picture) -> tuple[FloatArray, ...]:
    """A residual (3, H, W), padded size, as code values for each plane of the picture.

    A subsampled chroma sample takes the mean over its luma sites; R'G'B' goes back through
    the inverse of the BT.709 matrix.
    """
    form = picture.format
    peak = np.float32(form.peak)
    if form.family == "rgb":
        cropped = residual[:, : picture.height, : picture.width]
        rgb = np.einsum("ij,jhw->ihw", _FROM_YCBCR * peak, cropped, optimize=True)
        return tuple(np.ascontiguousarray(plane, dtype=np.float32) for plane in rgb)
    luma = residual[0, : picture.height, : picture.width] * peak
    if form.family == "gray":
        return (luma,)
    return luma, *(_site_means(part, picture) * peak for part in residual[1:])


def _site_means(residual: FloatArray, picture: Picture) -> FloatArray:
    """(H, W) -> the mean over each chroma site, at the chroma plane's size.

    Of a site that reaches over an odd edge only what lies inside counts: beyond it stands the
    mirrored picture, which is another site's.
    """
    across, down = picture.format.sampling
    total = np.zeros(chroma_size(picture), dtype=np.float32)
    # Strided sums: several times faster than a mean over two axes of a reshaped view.
    for row in range(down):
        for column in range(across):
            site = residual[row : picture.height : down, column : picture.width : across]
            total[: site.shape[0], : site.shape[1]] += site
    total *= np.float32(1.0 / (across * down))
    if short := picture.width % across:
        total[:, -1] *= np.float32(across / short)
    if short := picture.height % down:
        total[-1] *= np.float32(down / short)
    return total


def chroma_size(picture: Picture) -> tuple[int, int]:
    """Height and width of the chroma planes."""
    across, down = picture.format.sampling
    return -(-picture.height // down), -(-picture.width // across)


def add_residual(plane: Plane, residual: FloatArray, bits: int) -> Plane:
    """round(plane + residual), half to even, clipped to the code range; the plane's dtype.

    This is the one place where samples are rounded. Where the residual is 0 the sample stays
    as it is: float32 holds every code of 16 bits exactly.
    """
    total = residual + plane
    np.rint(total, out=total)
    np.clip(total, 0.0, np.float32(2**bits - 1), out=total)
    return total.astype(np.uint8) if plane.dtype == np.uint8 else total.astype(np.uint16)
