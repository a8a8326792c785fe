"""Interlaced film: found by its flags and by combing, and made progressive where that is asked.

What is repaired as fields never comes here: `fields` takes whole frames apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vidrepair.carriers import Repacker, plane_views
from vidrepair.combing import combed
from vidrepair.containers import open_container, video_stream
from vidrepair.errors import UsageError
from vidrepair.settings import Interlace
from vidrepair.tags import Clip

COMBING_FRAMES = 24
"""Looked at from the start and from the middle of a film."""
BOTTOM_FIRST = (3, 4)
"""FFmpeg's AV_FIELD_BB and AV_FIELD_TB."""


@dataclass(frozen=True, slots=True)
class Interlacing:
    """What a film says of its fields, and what it shows."""

    flagged: bool
    combed: bool
    """Frames are woven of two moments."""

    def way(self, asked: Interlace) -> Interlace:
        """How it is repaired where that is asked for: fields, bwdif or progressive."""
        if asked != "auto":
            return asked
        return "fields" if self.combed else "progressive"

    def remarks(self, asked: Interlace) -> list[str]:
        """What is worth telling of that."""
        if asked != "auto" or self.flagged == self.combed:
            return []
        if self.combed:
            said = (
                "the film is combed and does not say so (interlaced, or telecined): its fields are"
                " repaired apart; add --interlace progressive if that is wrong"
            )
        else:
            said = "the film is flagged as interlaced and shows whole frames; they are repaired so"
        return [said]


def look_for_combing(path: Path, clip: Clip) -> Interlacing:
    """Look at some frames of a file, opened once more."""
    looked = _Samples(path, clip)
    found = combed(looked.lumas())
    return Interlacing(clip.interlaced or looked.flagged, found)


class Deinterlacer:
    """FFmpeg's bwdif over decoded frames, one for one, with their side data.

    Every frame must have the size and format of the film: the filter would scale another one
    silently. Raises UsageError at once for a film that it does not take.
    """

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._try()
        self._graph = self._new_graph()

    def frames(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items; each decoded frame among them as it comes out of the filter."""
        for item in items:
            if not isinstance(item, av.VideoFrame):
                yield item
                continue
            self._graph.vpush(item)
            yield from self._ready()
        self._graph.vpush(None)
        yield from self._ready()

    def _try(self) -> None:
        """See what becomes of a frame of the film's format, in a graph of its own."""
        clip, picture = self._clip, self._clip.picture
        frame: Any = av.VideoFrame(picture.width, picture.height, clip.stored_format)
        frame.pts, frame.time_base = 0, clip.time_base
        try:
            graph = self._new_graph()
            graph.vpush(frame)
            graph.vpush(None)
            kept = graph.vpull().format.name == clip.stored_format
        except av.FFmpegError as error:
            raise UsageError(
                f"--interlace bwdif does not take a picture of {picture.width}x{picture.height}"
                f" {clip.stored_format} ({error.strerror}; it may be too small);"
                " use --interlace fields"
            ) from error
        if not kept:
            raise UsageError(
                f"--interlace bwdif cannot keep {clip.stored_format}; use --interlace fields"
            )

    def _new_graph(self) -> Any:
        clip = self._clip
        graph: Any = av.filter.Graph()
        graph.threads = 1
        source = graph.add(
            "buffer",
            video_size=f"{clip.picture.width}x{clip.picture.height}",
            pix_fmt=clip.stored_format,
            time_base=f"{clip.time_base.numerator}/{clip.time_base.denominator}",
        )
        parity = "bff" if clip.field_order in BOTTOM_FIRST else "tff"
        bwdif = graph.add("bwdif", f"mode=send_frame:parity={parity}:deint=all")
        graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
        return graph

    def _ready(self) -> Iterator[Any]:
        while True:
            try:
                frame = self._graph.vpull()
            except (BlockingIOError, EOFError):
                return
            # The filter counts in a time base of its own.
            ratio = frame.time_base / self._clip.time_base
            frame.pts, frame.time_base = round(frame.pts * ratio), self._clip.time_base
            yield frame


class _Samples:
    """Frames from the start and the middle of a file, opened once more."""

    def __init__(self, path: Path, clip: Clip) -> None:
        self._path, self._clip = path, clip
        self._repacker = Repacker()
        self.flagged = False
        """One of those that were looked at says that it is interlaced."""

    def lumas(self) -> Iterator[NDArray[np.uint8]]:
        """Their lumas, of 8 bits."""
        clip = self._clip
        if clip.picture.height < 32 or clip.picture.format.family == "rgb":
            return  # nothing was ever interlaced there, and idet needs some lines
        container = open_container(self._path)
        try:
            stream = video_stream(container, clip.name, clip.video.index)
            long = (clip.frame_count or 0) > 2 * COMBING_FRAMES
            for place in (0.0, 0.5) if long else (0.0,):
                if place and clip.duration:
                    container.seek(int((float(clip.start) + place * clip.duration) * av.time_base))
                for frame in islice(_readable(container, stream), COMBING_FRAMES):
                    if (frame.width, frame.height) == (clip.picture.width, clip.picture.height):
                        yield self._luma(frame)
        except av.FFmpegError:
            return  # damage is met, and counted, in the one real pass
        finally:
            container.close()

    def _luma(self, frame: Any) -> NDArray[np.uint8]:
        self.flagged |= bool(frame.interlaced_frame)
        form = self._clip.picture.format
        luma = plane_views(self._repacker.repack(frame, form.name), form)[0]
        return (luma >> (form.bits - 8)).astype(np.uint8)


def _readable(container: Any, stream: Any) -> Iterator[Any]:
    """Frames of a stream, without those that fail."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except (av.FFmpegError, EOFError):
            continue
