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

from vidrepair.carried import side_data_of
from vidrepair.carriers import Repacker, plane_views
from vidrepair.combing import combed
from vidrepair.containers import close_reader, open_container, video_stream
from vidrepair.errors import UsageError
from vidrepair.sequences import ImageSequence
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
    telecined: bool = False
    """Every second frame is to be shown for three fields, not two: film on video, by flags."""
    side_data: frozenset[str] = frozenset()
    """FFmpeg's names of what the frames that were looked at carry beside their samples."""

    def way(self, asked: Interlace) -> Interlace:
        """How it is repaired where that is asked for: fields, bwdif or progressive."""
        if asked != "auto":
            return asked
        return "fields" if self.combed else "progressive"

    def remarks(self, asked: Interlace) -> list[str]:
        """What is worth telling of that."""
        pulled = (
            "the film is telecined by its flags (soft telecine): each of its frames is repaired"
            " once, and shown as long as the file says"
        )
        told = [pulled] if self.telecined else []
        if asked != "auto" or self.flagged == self.combed:
            return told
        if self.combed:
            said = (
                "the film is combed and does not say so (interlaced, or telecined): its fields are"
                " repaired apart; add --interlace progressive if that is wrong"
            )
        else:
            said = "the film is flagged as interlaced and shows whole frames; they are repaired so"
        return [*told, said]


def look_for_combing(path: Path | ImageSequence, clip: Clip) -> Interlacing:
    """Look at some frames of a file, opened once more."""
    looked = _Samples(path, clip)
    found = combed(looked.lumas())
    return Interlacing(
        clip.interlaced or looked.flagged, found, looked.telecined(), frozenset(looked.side_data)
    )


class Deinterlacer:
    """FFmpeg's bwdif over decoded frames, with their side data: one frame for each, or with
    `doubled` one for each field, in half the film's time base.

    Every frame must have the size and format of the film: the filter would scale another one
    silently. Raises UsageError at once for a film that it does not take.
    """

    def __init__(self, clip: Clip, *, doubled: bool = False) -> None:
        self._clip = clip
        self.doubled = doubled
        self._unit = clip.time_base / 2 if doubled else clip.time_base
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
        mode = "send_field" if self.doubled else "send_frame"
        bwdif = graph.add("bwdif", f"mode={mode}:parity={parity}:deint=all")
        graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
        return graph

    def _ready(self) -> Iterator[Any]:
        while True:
            try:
                frame = self._graph.vpull()
            except (BlockingIOError, EOFError):
                return
            # The filter counts in a time base of its own.
            ratio = frame.time_base / self._unit
            frame.pts, frame.time_base = round(frame.pts * ratio), self._unit
            yield frame


class _Samples:
    """Frames from the start and the middle of a file, opened once more."""

    def __init__(self, path: Path | ImageSequence, clip: Clip) -> None:
        self._path, self._clip = path, clip
        self._repacker = Repacker()
        self.flagged = False
        """One of those that were looked at says that it is interlaced."""
        self.side_data: set[str] = set()
        """What they carry: captions may begin after the first frame."""
        self._times: list[int] = []
        """When those from the start are shown, in units of the stream."""

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
                    if not place and frame.pts is not None:
                        self._times.append(frame.pts)
                    self.side_data.update(side_data_of(frame))
                    if (frame.width, frame.height) == (clip.picture.width, clip.picture.height):
                        yield self._luma(frame)
        except av.FFmpegError:
            return  # damage is met, and counted, in the one real pass
        finally:
            close_reader(container)

    def telecined(self) -> bool:
        """Whether they are shown for three fields and for two in turns."""
        steps = np.diff(np.array(self._times, dtype=np.float64))
        if len(steps) < 8 or (steps <= 0).any():
            return False
        ratios = np.maximum(steps[1:], steps[:-1]) / np.minimum(steps[1:], steps[:-1])
        return bool(np.mean(np.abs(ratios - 1.5) < 0.1) > 0.8)

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
