"""The matte as a film of its own: gray, frame by frame, white where the picture was repaired."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vidrepair.frames import Answer, Defect, Frame, Picture, PixelFormat
from vidrepair.tags import FULL_RANGE, Clip

GRAY = PixelFormat("gray", "gray", 8)
Codes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Touch:
    """What repair has done to one frame."""

    codes: Codes | None = None
    """(H, W) 0..255, at least 1 where it changed anything; None: nowhere."""
    defects: tuple[Defect, ...] = ()
    """The places."""


UNTOUCHED = Touch()


def touch_of(answer: Answer) -> Touch:
    """What the mattes of an answer and of its frame, and their defects, say."""
    repaired, frame = answer.repaired, answer.frame
    picture, found, defects = frame.picture, [], repaired.defects
    if repaired.matte is not None:
        shown = repaired.matte[: picture.height, : picture.width]
        found.append(np.asarray(np.ceil(255.0 * shown), dtype=np.uint8))
    if frame.filled is not None:
        codes = frame.filled.codes(picture)
        found.append(codes if repaired.left is None else np.where(repaired.left, 0, codes))
        pieces = (piece.defect for piece in frame.filled.pieces)
        defects += tuple(one for one in pieces if one not in repaired.refused)
    return Touch(np.maximum.reduce(found), defects) if found else UNTOUCHED


def rebuilt_touch(frame: Frame) -> Touch:
    """What is done to a frame that is made anew: everything."""
    size = frame.picture
    whole = Defect(
        "rebuilt", frame.number, (0, 0, size.height, size.width), 1.0, size.height * size.width
    )
    codes = np.full((size.height, size.width), 255, dtype=np.uint8)
    if frame.protected is not None:
        codes[frame.protected] = 0
    return Touch(codes, (whole,))


def matte_clip(clip: Clip) -> Clip:
    """What the matte of a film is: gray, of its size and times, with nothing beside."""
    return replace(
        clip,
        picture=_grayed(clip.picture),
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
    picture = _grayed(frame.picture)
    plane = np.zeros((picture.height, picture.width), np.uint8) if codes is None else codes
    return replace(frame, planes=(plane,), picture=picture, carrier=None)


def _grayed(picture: Picture) -> Picture:
    """A matte of its size."""
    return Picture(picture.width, picture.height, GRAY, full_range=True)
