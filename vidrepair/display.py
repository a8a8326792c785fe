"""Planes as the R'G'B' of a screen: what sheets and reports show of a picture.

Every depth, range, matrix and sampling comes down to 8 bits, limited range stretched to the
screen's. HDR (PQ and HLG) is dimmed to what a plain screen shows, so that it can be judged by eye;
its colours are not those of a graded copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrepair.frames import FloatArray, Picture, Plane
from vidrepair.overlay import chroma_span, luma_range
from vidrepair.planes import padded_size, rgb_to_ycbcr, to_generator
from vidrepair.tags import UNSAID, Clip

PQ, HLG = 16, 18
"""FFmpeg's numbers of the transfers of SMPTE ST 2084 and ARIB STD-B67."""
WHITE = 203.0
"""cd/m2 of diffuse white in HDR film (ITU-R BT.2408)."""
BRIGHTEST = 1000.0
"""cd/m2 that become a plain screen's white."""
GAMMA = 2.2
"""Of that screen."""
GAIN = 8
"""How many times a difference is shown."""
_TO_BT709 = np.array(
    [
        [1.6605, -0.5876, -0.0728],
        [-0.1246, 1.1329, -0.0083],
        [-0.0182, -0.1006, 1.1187],
    ],
    dtype=np.float32,
)
"""Linear R, G, B of BT.2020 to those of BT.709 (ITU-R BT.2087)."""

Shown = NDArray[np.uint8]
"""(H, W, 3) R', G', B'."""


def show_planes(planes: Sequence[Plane], picture: Picture, transfer: int = UNSAID) -> Shown:
    """(H, W, 3) of a picture's planes; `transfer` is FFmpeg's number. Alpha is not shown."""
    colours = _to_rgb(_parts(planes, picture), picture)
    if transfer in (PQ, HLG):
        colours = _dimmed(colours, transfer)
    return _as_bytes(colours)


def show_difference(before: Sequence[Plane], after: Sequence[Plane], picture: Picture) -> Shown:
    """(H, W, 3): mid-gray, and GAIN times what was added to each sample."""
    change = _parts(after, picture) - _parts(before, picture)
    change *= GAIN
    black, white = luma_range(picture)
    change[0] += (0.5 * (white - black) + black) / picture.format.peak
    return _as_bytes(_to_rgb(change, picture))


def show_matte(
    planes: Sequence[Plane], picture: Picture, touched: NDArray[np.bool_] | None
) -> Shown:
    """(H, W, 3): the picture, gray and dim, and red over what is `touched` (H, W)."""
    black, white = luma_range(picture)
    luma = (_parts(planes, picture)[0] * picture.format.peak - black) / (white - black)
    shown = np.repeat(_as_bytes(0.35 * luma)[..., None], 3, axis=2)
    if touched is not None:
        shown[touched] = (255, 48, 32)
    return shown


def upright(picture: NDArray[Any], clip: Clip) -> NDArray[Any]:
    """(H, W, ...) as a player turns it."""
    return np.rot90(picture, (clip.rotation // 90) % 4) if clip.rotation % 90 == 0 else picture


def _parts(planes: Sequence[Plane], picture: Picture) -> FloatArray:
    """(3, H, W) in the generator's unit."""
    parts = np.empty((3, *padded_size(picture)), dtype=np.float32)
    to_generator(planes, picture, parts)
    return parts[:, : picture.height, : picture.width]


def _to_rgb(parts: FloatArray, picture: Picture) -> FloatArray:
    """(H, W, 3) R'G'B' from black 0 to white 1 of the generator's (3, H, W)."""
    peak = picture.format.peak
    black, white = luma_range(picture)
    span = peak if picture.format.family == "rgb" else chroma_span(picture)
    weights = np.linalg.inv(rgb_to_ycbcr(picture.matrix))
    weights *= (peak / (white - black), peak / span, peak / span)
    colours = np.tensordot(parts, weights.astype(np.float32), axes=(0, 1))
    colours -= np.float32(black / (white - black))
    return np.asarray(colours, dtype=np.float32)


def _as_bytes(colours: FloatArray) -> Shown:
    return (colours * 255.0).round().clip(0.0, 255.0).astype(np.uint8)


def _dimmed(colours: FloatArray, transfer: int) -> FloatArray:
    """HDR R'G'B' (H, W, 3) as a plain screen's: the brightest part of each sample is compressed,
    extended Reinhard, and the others keep their ratio to it.
    """
    light = (_pq if transfer == PQ else _hlg)(colours.clip(0.0, 1.0)) / WHITE
    light = np.maximum(light @ _TO_BT709.T, 0.0)
    most = np.maximum(light.max(axis=2, keepdims=True), 1e-6)
    top = BRIGHTEST / WHITE
    return np.asarray((light * (1.0 + most / top**2) / (1.0 + most)) ** (1.0 / GAMMA))


def _pq(signal: FloatArray) -> FloatArray:
    """cd/m2 (SMPTE ST 2084, equation 4.1)."""
    power = signal ** np.float32(1.0 / 78.84375)
    ratio = np.maximum(power - 0.8359375, 0.0) / (18.8515625 - 18.6875 * power)
    return np.asarray(10000.0 * ratio ** np.float32(1.0 / 0.1593017578125))


def _hlg(signal: FloatArray) -> FloatArray:
    """cd/m2 on a display of 1000 (ITU-R BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3.0, (np.exp((signal - c) / a) + b) / 12.0)
    luma = scene @ np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
    return np.asarray(1000.0 * np.maximum(luma, 1e-6)[..., None] ** 0.2 * scene, np.float32)
