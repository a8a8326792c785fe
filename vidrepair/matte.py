"""The matte as a film of its own: gray, frame by frame, white where the picture was repaired."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vidrepair.frames import FloatArray, Frame, Picture, PixelFormat
from vidrepair.tags import FULL_RANGE, Clip

GRAY = PixelFormat("gray", "gray", 8)
Codes = NDArray[np.uint8]


def matte_codes(matte: FloatArray, picture: Picture) -> Codes:
    """A matte (H, W), padded size, 0..1 -> (H, W) 0..255, at least 1 where it is not 0."""
    shown = matte[: picture.height, : picture.width]
    return np.asarray(np.ceil(255.0 * shown), dtype=np.uint8)


def matte_clip(clip: Clip) -> Clip:
    """What the matte of a film is: gray, of its size and times, with nothing beside."""
    size = clip.picture
    return replace(
        clip,
        picture=Picture(size.width, size.height, GRAY, full_range=True),
        stored_format=GRAY.name,
        color_range=FULL_RANGE,
        lossless=True,
        side_data=(),
        others=(),
        chapters=0,
        metadata=(),
        video_metadata=(),
    )


def matte_frame(frame: Frame, codes: Codes | None) -> Frame:
    """The matte of one frame; None is all black."""
    size = frame.picture
    picture = Picture(size.width, size.height, GRAY, full_range=True)
    plane = np.zeros((size.height, size.width), np.uint8) if codes is None else codes
    return replace(frame, planes=(plane,), picture=picture, carrier=None)
