"""The decoded frame that carries planes, tags and side data: seen, repacked, cloned."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from vidrepair.frames import Frame, PixelFormat, Plane

# Only ever used where it moves samples without changing them; without these flags it does not.
EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)
_MEMORY_ORDER = {"yuv": (0, 1, 2), "rgb": (2, 0, 1), "gray": (0,)}
"""Where R', G', B' lie in FFmpeg's G, B, R."""


def plane_views(carrier: Any, form: PixelFormat, *, writable: bool = False) -> tuple[Plane, ...]:
    """Y', Cb, Cr or R', G', B' or gray of a carrier in format `form`, without a copy.

    (H, W) uint8 or little-endian uint16. The views hold the carrier, not its samples: after the
    carrier's `make_writable` they are invalid.
    """
    planes = carrier.planes
    views: list[Plane] = []
    for index in _MEMORY_ORDER[form.family]:
        plane = planes[index]
        rows = np.frombuffer(plane, "u1" if form.bits == 8 else "<u2").reshape(plane.height, -1)
        if plane.line_size < 0:
            rows = rows[::-1]  # PyAV shows a bottom-up picture in the order of memory
        # Gray with alpha is the one format that is packed, in pairs.
        pairs = 2 if form.name.startswith("ya") else 1
        view = rows[:, : pairs * plane.width : pairs]
        view.flags.writeable = writable
        views.append(view)
    return tuple(views)


def new_carrier(frame: Frame) -> Any:
    """A carrier for a frame that was not decoded; it holds the samples and nothing else."""
    size = frame.picture
    carrier = av.VideoFrame(size.width, size.height, size.format.name)
    views = plane_views(carrier, size.format, writable=True)
    for own, new in zip(views, frame.planes, strict=True):
        np.copyto(own, new, casting="equiv")
    return carrier


class Repacker:
    """Moves samples between formats that hold the same ones. One per thread."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()

    def repack(self, frame: Any, name: str) -> Any:
        """The same samples, tags and side data in format `name`; the frame itself if it fits."""
        if frame.format.name == name:
            return frame
        tagged = int(frame.color_range)
        # Equal ranges on both sides, or swscale would squeeze yuvj into limited range.
        moved = self._scaler.reformat(
            frame, format=name, src_color_range=2, dst_color_range=2, interpolation=EXACT
        )
        moved.color_range = 2 if frame.format.name.startswith("yuvj") else tagged
        return moved


class Cloner:
    """Makes second frames that share the samples, tags and side data of the first.

    PyAV cannot copy a frame with its side data; FFmpeg's null filter does, by reference, in a
    few microseconds. `make_writable` on the clone then leaves the first frame as it is, whose
    planes others may still be reading. One per thread, format and size.
    """

    def __init__(self, width: int, height: int, name: str, time_base: Fraction) -> None:
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        source = self._graph.add(
            "buffer", video_size=f"{width}x{height}", pix_fmt=name, time_base=str(time_base)
        )
        self._graph.link_nodes(
            source, self._graph.add("null"), self._graph.add("buffersink")
        ).configure()

    def clone(self, frame: Any) -> Any:
        """A new frame over the same samples."""
        self._graph.vpush(frame)
        return self._graph.vpull()
