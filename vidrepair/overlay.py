"""The matte, or what was changed, shown on the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrepair.frames import Frame, Picture, Plane
from vidrepair.planes import matte_planes, rgb_to_ycbcr
from vidrepair.regions import Mask, dilate
from vidrepair.settings import Overlay

TINT = 0.5
"""How far a repaired sample goes towards red."""
GAIN = 4
"""How many times the difference is shown."""
Codes = NDArray[np.uint8]
Weights = NDArray[np.float32]
Goal = float | NDArray[np.float32]
"""A code for all samples of a plane, or one for each."""


def show(
    overlay: Overlay, decoded: Frame, finished: Sequence[Plane], codes: Codes | None
) -> tuple[Plane, ...]:
    """The planes to be written instead of the `finished` ones, of their format, type and size.

    `decoded` is the frame as it came out of the decoder, `codes` (H, W) its matte, 0 where nothing
    was repaired; None: nowhere. Alpha is no plane of ours and stays.
    """
    touched = np.zeros(decoded.luma.shape, bool) if codes is None else codes > 0
    if overlay == "red":
        return _reddened(finished, decoded.picture, touched)
    if overlay == "luma":
        return _faded(finished, decoded.picture, touched)
    return _difference(decoded, finished)


def _reddened(planes: Sequence[Plane], picture: Picture, touched: Mask) -> tuple[Plane, ...]:
    """Half red where it was repaired, and all red on the samples around, so that specks are seen.

    Gray film has no red: there it is white on dark samples and black on bright ones.
    """
    weight = np.zeros((picture.height, picture.width), np.float32)
    if not touched.any():
        return tuple(planes)
    weight[dilate(touched, 1)] = 1.0
    weight[touched] = TINT
    return tuple(
        _mixed(plane, share, goal)
        for plane, share, goal in zip(
            planes, matte_planes(weight, picture), _red(planes, picture), strict=True
        )
    )


def _mixed(plane: Plane, weight: Weights, goal: Goal) -> Plane:
    """A plane that goes towards a goal by weight 0..1."""
    mixed = plane.copy()
    place = weight > 0.0
    share, codes = weight[place], plane[place].astype(np.float32)
    there = np.broadcast_to(goal, plane.shape)[place]
    mixed[place] = ((1.0 - share) * codes + share * there).round().astype(plane.dtype)
    return mixed


def _red(planes: Sequence[Plane], picture: Picture) -> tuple[Goal, ...]:
    """The purest red of a picture's own matrix, or, of gray film, what is seen."""
    form = picture.format
    black, white = luma_range(picture)
    if form.family == "rgb":
        return float(form.peak), 0.0, 0.0
    if form.family == "gray":
        dark = planes[0] < (black + white) / 2.0
        return (np.where(dark, np.float32(white), np.float32(black)),)
    luma, *colours = rgb_to_ycbcr(picture.matrix)[:, 0]
    middle, span = 2 ** (form.bits - 1), chroma_span(picture)
    # Full-range chroma would end half a code beyond the peak.
    blue, red = (min(round(middle + span * share), form.peak) for share in colours)
    return float(round(black + luma * (white - black))), float(blue), float(red)


def _faded(planes: Sequence[Plane], picture: Picture, touched: Mask) -> tuple[Plane, ...]:
    """Gray, at half contrast around the middle, but for what was repaired."""
    form = picture.format
    black, white = luma_range(picture)
    luma = _gray(planes, picture)
    pale = ((luma - (black + white) / 2.0) / 2.0 + (black + white) / 2.0).round()
    neutral = 2 ** (form.bits - 1)
    kept = matte_planes(touched.astype(np.float32), picture)
    goals: tuple[Any, ...] = (pale,) * 3 if form.family == "rgb" else (pale, neutral, neutral)
    return tuple(
        np.where(place > 0.0, plane, np.asarray(goal).astype(plane.dtype))
        for plane, place, goal in zip(planes, kept, goals[: len(planes)], strict=True)
    )


def _gray(planes: Sequence[Plane], picture: Picture) -> NDArray[np.float32]:
    """(H, W) luma in code values."""
    if picture.format.family != "rgb":
        return planes[0].astype(np.float32)
    weights = rgb_to_ycbcr(picture.matrix)[0]
    luma = np.zeros(planes[0].shape, np.float32)
    for weight, plane in zip(weights, planes, strict=True):
        luma += np.float32(weight) * plane
    return luma


def _difference(decoded: Frame, finished: Sequence[Plane]) -> tuple[Plane, ...]:
    """Mid-gray, and GAIN times what was added to each sample, within the range of the picture."""
    picture = decoded.picture
    shown: list[Plane] = []
    for index, (before, after) in enumerate(zip(decoded.planes, finished, strict=True)):
        low, middle, high = _range(picture, chroma=picture.format.family == "yuv" and index > 0)
        change = GAIN * (after.astype(np.int32) - before)
        bounded: Any = (middle + change).clip(low, high).astype(after.dtype)
        shown.append(bounded)
    return tuple(shown)


def _range(picture: Picture, *, chroma: bool) -> tuple[int, int, int]:
    """The least, the middle and the greatest code of a plane."""
    bits = picture.format.bits
    black, white = luma_range(picture)
    if not chroma:
        return black, (black + white + 1) // 2, white
    middle, half = 2 ** (bits - 1), (chroma_span(picture) + 1) // 2
    return middle - half, middle, min(middle + half, picture.format.peak)


def luma_range(picture: Picture) -> tuple[int, int]:
    """Codes of black and white. R'G'B' has the full range whatever it says."""
    form = picture.format
    if picture.full_range or form.family == "rgb":
        return 0, form.peak
    scale = int(2 ** (form.bits - 8))
    return 16 * scale, 235 * scale


def chroma_span(picture: Picture) -> int:
    """Codes from the least to the greatest chroma."""
    form = picture.format
    return form.peak if picture.full_range else int(224 * 2 ** (form.bits - 8))
