"""A file or y4m pipe -> Frame, and the packets of all other streams, in one demux."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av

from vidrepair.carriers import Repacker, plane_views
from vidrepair.containers import Pipe, describe, open_container, video_stream, work_format
from vidrepair.errors import InputError
from vidrepair.frames import Frame
from vidrepair.interlace import Deinterlacer, Interlacing, look_for_combing
from vidrepair.quantiser import EXPORT, TELLING, quantiser_step
from vidrepair.tags import Clip, Copied, Damage

READ_ERRORS = 100
"""So many failed reads in a row, and the file is taken to have ended."""
STATED_LENGTH = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi")
"""Containers whose header says how long they are, so that truncation shows."""
MISSING = 1.0
"""Seconds by which a film may end before its stated length and still be whole."""
ASKED = 5
"""Every fifth frame is asked for its quantiser."""
COLLECTED = 200
"""Frames between two runs of the garbage collector while frames are asked."""


def open_source(path: Path | None, *, tell_quantiser: bool = False) -> Source:
    """Open a file, or y4m on standard input, up to its first frame.

    `tell_quantiser` lets the frames of H.264 and MPEG-2 carry the step of their quantiser; they
    are then decoded in a thread for each slice instead of each frame.

    Raises InputError when it is missing, unreadable, a playlist, has no picture, or not one
    frame can be decoded.
    """
    name = "standard input" if path is None else str(path)
    origin = Pipe() if path is None else path
    container = open_container(origin)
    try:
        stream = video_stream(container, name)
        tells = tell_quantiser and stream.codec_context.name in TELLING
        if tells:
            # With a thread for each frame, FFmpeg tells the steps before it knows them.
            stream.thread_type = "SLICE"
            stream.codec_context.options = EXPORT
        else:
            stream.thread_type = "AUTO"
        return Source(container, stream, name, origin, tells=tells)
    except BaseException:
        container.close()
        raise


class Source:
    """An open film: its facts, and once, in order, its frames and packets.

    Owns the container and refuses everything after `close`: PyAV would crash.
    """

    def __init__(
        self, container: Any, stream: Any, name: str, origin: Path | Pipe, *, tells: bool = False
    ) -> None:
        self.container = container
        """Opaque to all but streams."""
        self.damage = Damage()
        """What has been met so far."""
        self._origin = origin
        self._stream = stream
        self._tells = tells
        self._closed = False
        self._seen = 0.0
        self._repacker = Repacker()
        self._bwdif: Deinterlacer | None = None
        self._items = self._decoded()
        self._held: list[Any] = []
        for item in self._items:
            self._held.append(item)
            if not isinstance(item, Copied):
                break
        else:
            raise InputError(f"{name} holds no frame that can be decoded; copy it again")
        self.clip: Clip = describe(container, stream, self._held[-1], name)
        covers = {facts.index for facts in self.clip.others if facts.kind == "cover"}
        # FFmpeg hands the attached pictures out before everything else.
        self.covers: dict[int, bytes] = {
            item.stream: bytes(item.packet)
            for item in self._held
            if isinstance(item, Copied) and item.stream in covers
        }
        """The attached pictures by stream index, encoded as they are in the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the container; frames that are out stay valid. Idempotent.

        No other thread may be inside `read` meanwhile.
        """
        if self._closed:
            return
        self._closed = True
        self._items.close()
        self._held.clear()
        self.container.close()

    def cancel(self) -> None:
        """From any thread: `read` ends soon, even one that waits for a pipe."""
        if isinstance(self._origin, Pipe):
            self._origin.cancel()

    def read(self) -> Iterator[Frame | Copied]:
        """Yield every frame in output order, and every packet of the other streams.

        Holds no frame but the first. Raises InputError when size or pixel format change on the
        way. Damage is counted in `damage` and ends nothing.
        """
        clock = _Clock(self.clip)
        number = 0
        items = self._all() if self._bwdif is None else self._bwdif.frames(self._all())
        for item in items:
            if isinstance(item, Copied):
                yield item
                continue
            pts, repaired = clock.stamp(item)
            if repaired:
                self._count(repaired_pts=1)
            yield self._frame(item, number, pts)
            number += 1
        stated = self.clip.duration if self.clip.container in STATED_LENGTH else None
        if stated is not None and self._seen < float(self.clip.start) + stated - MISSING:
            self.damage = replace(self.damage, truncated=True)

    def deinterlace(self) -> None:
        """From now on each frame is made progressive by FFmpeg's bwdif, one for one."""
        self._bwdif = Deinterlacer(self.clip)
        self.clip = replace(self.clip, field_order=1)

    def interlacing(self) -> Interlacing:
        """Whether the film is interlaced: by its flags, and by what its frames show.

        A pipe cannot be looked at ahead: there only the flag counts.
        """
        flagged = self.clip.interlaced
        if isinstance(self._origin, Pipe):
            return Interlacing(flagged, combed=flagged)
        return look_for_combing(self._origin, self.clip)

    def _all(self) -> Iterator[Any]:
        """What was read to see the first frame, then the rest."""
        while self._held:
            yield self._held.pop(0)
        if not self._closed:
            yield from self._items

    def _frame(self, decoded: Any, number: int, pts: int) -> Frame:
        """Check a decoded frame and wrap it, its planes as views."""
        clip, picture = self.clip, self.clip.picture
        size = (decoded.width, decoded.height)
        if size != (picture.width, picture.height) or decoded.format.name != clip.stored_format:
            raise InputError(
                f"the picture of {clip.name} changes at frame {number} from"
                f" {picture.width}x{picture.height} {clip.stored_format} to"
                f" {size[0]}x{size[1]} {decoded.format.name};"
                " cut the file there and repair the parts"
            )
        if decoded.format.name == "pal8" and work_format(decoded) != picture.format:
            raise InputError(
                f"frame {number} of {clip.name} turns transparent, which its first frame is not;"
                " convert it to rgba with ffmpeg first"
            )
        if decoded.is_corrupt:
            self._count(corrupt_frames=1)
        if decoded.interlaced_frame and not clip.interlaced and self._bwdif is None:
            self._count(interlaced_frames=1)
        carrier = self._repacker.repack(decoded, picture.format.name)
        return Frame(
            planes=plane_views(carrier, picture.format),
            picture=picture,
            number=number,
            pts=pts,
            time_base=clip.time_base,
            duration=decoded.duration or 0,
            carrier=carrier,
            corrupt=bool(decoded.is_corrupt),
            quantiser_step=self._quantiser_step(decoded, number),
        )

    def _quantiser_step(self, decoded: Any, number: int) -> float:
        """What the frames that are asked tell; 0 for the others."""
        if not self._tells or number % ASKED:
            return 0.0
        told = decoded.side_data.get("VIDEO_ENC_PARAMS")
        # A frame and its side data hold each other: only the collector frees what was looked at.
        if number % COLLECTED == 0:
            gc.collect()
        return quantiser_step(bytes(told)) if told is not None else 0.0

    def _decoded(self) -> Generator[Any]:
        """Decoded frames and copied packets, through every error on the way."""
        for packet in self._packets():
            if packet.stream.index != self._stream.index:
                # The last packet of a stream is an empty one that flushes its decoder.
                if packet.size:
                    yield Copied(packet.stream.index, self._time(packet), packet)
                continue
            self._time(packet)
            if packet.is_corrupt:
                self._count(corrupt_packets=1)
            try:
                frames = packet.decode()
            except (av.FFmpegError, EOFError):
                self._count(decode_errors=1)
                continue
            yield from frames

    def _packets(self) -> Iterator[Any]:
        """All packets, flushing ones included; a failed read is counted and tried again."""
        failed = 0
        while failed < READ_ERRORS:
            try:
                for packet in self.container.demux():
                    failed = 0
                    yield packet
            except av.FFmpegError:
                failed += 1
                self._count(decode_errors=1)
            else:
                return
        last: Any = av.Packet()
        last.stream = self._stream
        yield last

    def _time(self, packet: Any) -> float:
        """Decoding time in seconds, -inf when unknown; remembers how far the file went."""
        ticks = packet.dts if packet.dts is not None else packet.pts
        if ticks is None or not packet.time_base:
            return float("-inf")
        seconds = float(ticks * packet.time_base)
        self._seen = max(self._seen, seconds + float((packet.duration or 0) * packet.time_base))
        return seconds

    def _count(self, **found: int) -> None:
        more = {name: getattr(self.damage, name) + count for name, count in found.items()}
        self.damage = replace(self.damage, **more)


class _Clock:
    """Gives every frame a time that is later than that of the frame before."""

    def __init__(self, clip: Clip) -> None:
        rate = clip.rate or Fraction(25)
        self._step = max(Fraction(1), 1 / (rate * clip.time_base))
        self._next = Fraction(clip.video_start / clip.time_base)
        self._last: int | None = None
        self._timed = False

    def stamp(self, decoded: Any) -> tuple[int, bool]:
        """The frame's pts, and whether it was made up though the film has times.

        AVI with B-frames and raw streams have none at all: there frames are counted.
        """
        pts, repaired = decoded.pts, False
        if pts is None or (self._last is not None and pts <= self._last):
            repaired = self._timed
            pts = round(self._next)
            if self._last is not None:
                pts = max(pts, self._last + 1)
            self._next += self._step
        else:
            self._timed = True
            self._next = pts + self._step
        self._last = pts
        return pts, repaired
