"""A file or y4m pipe -> Frame, and the packets of all other streams, in one demux."""

from __future__ import annotations

import gc
import math
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av

from vidrepair.carried import Carried, read_carried
from vidrepair.carriers import Repacker, plane_views
from vidrepair.containers import (
    Pipe,
    close_reader,
    describe,
    ends_within_frame,
    fraction,
    last_packet,
    open_container,
    video_stream,
    work_format,
)
from vidrepair.errors import InputError, PictureChanged, UsageError
from vidrepair.excerpt import Excerpt
from vidrepair.files import Closing
from vidrepair.frames import Frame
from vidrepair.interlace import Deinterlacer, Interlacing, look_for_combing
from vidrepair.origins import Origin, marks_on, name_of, origin_named, remarks_on, was_changed
from vidrepair.quantiser import EXPORT, TELLING, quantiser_step
from vidrepair.sequence_header import SequenceHeaders
from vidrepair.sequences import SEQUENCE, ImageSequence, is_sequence
from vidrepair.settings import DEINTERLACED, Interlace
from vidrepair.tags import Clip, Copied, Damage
from vidrepair.text_times import TextTimes
from vidrepair.timecode import doubled_timecode, later_timecode
from vidrepair.timeline import FrameClock, Timeline

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
SOUGHT = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", SEQUENCE)
"""Containers in which a place is found without reading all that lies before."""
LEAD = Fraction(5)
"""Seconds that are read before a start that was asked for: a subtitle may be on the screen still,
and sound may lie in the file before the picture that it belongs to."""
BEHIND = 10.0
"""Seconds by which packets of other streams may lie behind others of the same time."""
FAR = 60.0
"""Seconds of the film behind a part of it after which no stream is waited for: one that is silent
there, or none, would else be looked for up to the end of the file."""


def open_source(
    path: Path | None,
    *,
    tell_quantiser: bool = False,
    stream: int | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    lead: Fraction = LEAD,
    rate: Fraction | None = None,
) -> Source:
    """Open a file, numbered pictures, or y4m on standard input, up to its first frame.

    `tell_quantiser` lets the frames of H.264 and MPEG-2 carry the step of their quantiser; they
    are then decoded in a thread for each slice instead of each frame. `stream` is the number of
    the video stream to restore, by default the first. With `start`, in seconds from where the
    picture starts, the first frame is the one at or after it, and of the other streams comes what
    belongs to the rest; times stay those of the file. `lead` is how many seconds before it are read
    for that, more than none. A picture that changes its size or format at `end` or later, likewise
    in seconds, ends the film there instead of raising. `rate` is that of numbered pictures, such
    as frames/%06d.dpx, and of nothing else.

    Raises InputError when it is missing, unreadable, a playlist, has no picture, or not one
    frame can be decoded, and for pictures that lack a number; UsageError for a stream that is no
    video, a start behind the end, and pictures without a rate.
    """
    origin = origin_named(path, rate)
    open_at = partial(_open, origin, tell_quantiser, stream, end, lead)
    if start is None or start <= 0:
        return open_at(Fraction(0), sought=False)
    source = open_at(start, sought=True)
    if not source.overshot or source.clip.container not in SOUGHT:
        return source
    # The file's index is wrong.
    source.close()
    return open_at(start, sought=False)


def open_film(path: Path, rate: Fraction | None, **asked: Any) -> Source:
    """The same, where the rate is for numbered pictures alone, and others need none."""
    return open_source(path, rate=rate if is_sequence(path) else None, **asked)


def _open(
    origin: Origin,
    tell_quantiser: bool,
    number: int | None,
    end: Fraction | None,
    lead: Fraction,
    start: Fraction,
    *,
    sought: bool,
) -> Source:
    name = name_of(origin)
    container = open_container(origin)
    try:
        stream = video_stream(container, name, number)
        tells = tell_quantiser and stream.codec_context.name in TELLING
        if tells:
            # With a thread for each frame, FFmpeg tells the steps before it knows them.
            stream.thread_type = "SLICE"
            stream.codec_context.options = EXPORT
        else:
            stream.thread_type = "AUTO"
        if sought and container.format.name in SOUGHT:
            _seek(container, stream, start - lead)
        return Source(container, stream, name, origin, tells=tells, start=start, end=end)
    except BaseException:
        close_reader(container)
        raise


class Source(Closing):
    """An open film: its facts, and once, in order, its frames and packets.

    Owns the container and refuses everything after `close`: PyAV would crash.
    """

    def __init__(
        self,
        container: Any,
        stream: Any,
        name: str,
        origin: Origin,
        *,
        tells: bool = False,
        start: Fraction = Fraction(0),
        end: Fraction | None = None,
    ) -> None:
        self.container = container
        """Opaque to all but streams."""
        self.damage = Damage()
        """What has been met so far."""
        self.decoded = 0
        """Frames so far, those before the first that was asked for among them."""
        self._marks = marks_on(origin)
        self._timeline = Timeline(container.format.name)
        self._texts = TextTimes(container)
        self._headers = SequenceHeaders(stream.codec_context.name)
        self._clock = FrameClock(stream)
        self._excerpt = Excerpt(stream, start)
        self._last = None if end is None else self._excerpt.zero + end
        self._origin = origin
        self._stream = stream
        self._tells = tells
        self._closed = False
        self._seen = 0.0
        self._packet = 0
        """Bytes of the film's last packet."""
        self._repacker = Repacker()
        self._bwdif: Deinterlacer | None = None
        self._passes_over = False
        self._until = math.inf
        self._left_off = False
        self.ended = False
        """Whether `read` came to the end of the film; its consumer may break off before."""
        self.by_fields = False
        """Set before `read` where fields are repaired apart: an interlaced frame is no damage."""
        self.alone = False
        """Set before `read` where nothing is wanted of what follows `end`, nor decoded then."""
        self.enough: int | None = None
        """Set before `read` where so many frames are wanted: what the picture does then is all
        the same."""
        self._items = self._decoded()
        self._held: list[Any] = []
        first = self._first(name, start)
        described = describe(container, stream, first, name)
        self.carried: Carried = read_carried(container, stream, first)
        """What the film carries beside its samples."""
        self._stated = stated_end(described)
        self.clip: Clip = self._numbered(self._excerpt.clip(described))
        if isinstance(origin, ImageSequence):
            # The first that was asked for tells its own, and others count from where a film starts.
            skipped = self.clip.video_start - self.clip.zero
            timecode = later_timecode(self.carried.timecode, -skipped, origin.rate)
            self.carried = replace(self.carried, timecode=timecode)
        self.overshot = self._excerpt.met == 1 and self.clip.cut
        """The place that was sought was passed, so that frames before the first may be missing."""
        self.covers = _covers(self._held, self.clip)
        """The attached pictures by stream index, encoded as they are in the file."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is worth telling of the film; looked for only where it is asked."""
        return remarks_on(self._origin, self.clip)

    def close(self) -> None:
        """Close the container; frames that are out stay valid. Idempotent.

        No other thread may be inside `read` meanwhile.
        """
        if self._closed:
            return
        self._closed = True
        self._items.close()
        self._held.clear()
        close_reader(self.container)

    def cancel(self) -> None:
        """From any thread: `read` ends soon, even one that waits for a pipe."""
        if isinstance(self._origin, Pipe):
            self._origin.cancel()

    def read(self) -> Iterator[Frame | Copied]:
        """Yield every frame in output order, and every packet of the other streams.

        Holds no frame but the first. Raises PictureChanged when size or pixel format change on
        the way. Damage is counted in `damage` and ends nothing.
        """
        number = 0
        items = self._all() if self._bwdif is None else self._bwdif.frames(self._all())
        for item in items:
            if isinstance(item, Copied):
                yield item
                continue
            yield self._frame(item, number)
            number += 1
        if self._stated is not None and self._seen < self._stated - MISSING:
            missing = round(self._stated - self._seen, 3)
            self.damage = replace(self.damage, truncated=True, missing_seconds=missing)
        origin = self._origin
        y4m = self.clip.container == "yuv4mpegpipe" and not self._closed
        if y4m and not isinstance(origin, ImageSequence):
            cut = ends_within_frame(origin, self._packet)
            self.damage = replace(self.damage, truncated=self.damage.truncated or cut)
        self.damage = replace(self.damage, changed=was_changed(origin, self._marks))
        self.ended = not self._left_off

    def deinterlace(self, *, doubled: bool = False) -> None:
        """From now on each frame is made progressive by FFmpeg's bwdif; with `doubled`, each of
        its fields: twice the frames, at twice the rate, in half the time base.

        Raises UsageError for a size or format that the filter does not take.
        """
        self._bwdif = Deinterlacer(self.clip, doubled=doubled)
        self.clip = replace(self.clip, field_order=1)
        if doubled:
            self.clip = self.clip.doubled()
            timecode = doubled_timecode(self.carried.timecode)
            self.carried = replace(self.carried, timecode=timecode)

    def deinterlace_as(self, way: Interlace) -> None:
        """The same as a way of `--interlace` asks; nothing where that leaves the fields alone."""
        if way in DEINTERLACED:
            self.deinterlace(doubled=way == "bwdif-fields")

    def read_beside(self, until: float = math.inf) -> Iterator[Copied]:
        """The packets of the other streams alone, instead of `read` or where that was broken off;
        the film is not decoded. What is needed up to a time of the file, in seconds, is among them.
        """
        self._passes_over, self._until = True, until
        for item in self._all():
            if isinstance(item, Copied):
                if item.seconds >= until + BEHIND:
                    return
                yield item

    def interlacing(self) -> Interlacing:
        """Whether the film is interlaced: by its flags, and by what its frames show.

        A pipe cannot be looked at ahead: there only the flag counts.
        """
        flagged = self.clip.interlaced
        if isinstance(self._origin, Pipe):
            return Interlacing(flagged, combed=flagged)
        return look_for_combing(self._origin, self.clip)

    def _first(self, name: str, start: Fraction) -> Any:
        """The first frame; it is held, and what comes before it."""
        for item in self._items:
            self._held.append(item)
            if not isinstance(item, Copied):
                return item
        if start and self._clock.counted:
            raise UsageError(
                f"--ss {float(start):g} lies behind the end of {name}, whose last frame is at"
                f" {float(self._clock.seconds - self._excerpt.zero):.3f} s; choose less"
            )
        raise InputError(f"{name} holds no frame that can be decoded; copy it again")

    def _all(self) -> Iterator[Any]:
        """What was read to see the first frame, then the rest; every frame is checked."""
        number = 0
        while self._held or not self._closed:
            item = self._held.pop(0) if self._held else next(self._items, None)
            if item is None:
                return
            if not isinstance(item, Copied):
                try:
                    self._check(item, number)
                except PictureChanged:
                    if not self._goes_beyond(item, number):
                        raise
                    self._leave_off()
                    yield from self._beside(_seconds(item) + LEAD)
                    return
                number += 1
                if self.alone and self._last is not None and _seconds(item) >= self._last:
                    self._leave_off()
                    return
            yield item

    def _leave_off(self) -> None:
        """The film is not read to its end, and so its stated length says nothing."""
        self._stated, self._left_off = None, True

    def _goes_beyond(self, decoded: Any, number: int) -> bool:
        """Whether a frame lies behind all that was asked for."""
        late = self._last is not None and _seconds(decoded) >= self._last
        pace = 2 if self._bwdif is not None and self._bwdif.doubled else 1
        return late or (self.enough is not None and pace * number >= self.enough)

    def _beside(self, until: Fraction) -> Iterator[Copied]:
        """What else the file holds up to a time: sound may lie behind the picture it belongs to."""
        for item in self._items:
            if isinstance(item, Copied):
                yield item
            elif _seconds(item) >= until:
                return

    def _check(self, decoded: Any, number: int) -> None:
        """Refuse a frame of another size or format: before a filter scales it."""
        clip, picture = self.clip, self.clip.picture
        size = (decoded.width, decoded.height)
        if size != (picture.width, picture.height) or decoded.format.name != clip.stored_format:
            seconds = _seconds(decoded) - self._excerpt.zero
            where, remedy = clip.name, "add --on-change split, or cut the file there"
            if isinstance(self._origin, ImageSequence):
                there = self._origin.file(self._origin.first + round(seconds * self._origin.rate))
                where, remedy = f"{where}, {there.name},", "make all pictures alike"
            raise PictureChanged(
                f"the picture of {where} changes at frame {number}"
                f" ({float(seconds):.3f} s) from"
                f" {picture.width}x{picture.height} {clip.stored_format} to"
                f" {size[0]}x{size[1]} {decoded.format.name}; {remedy}",
                seconds,
            )
        if decoded.format.name == "pal8" and work_format(decoded) != picture.format:
            raise InputError(
                f"frame {number} of {clip.name} turns transparent, which its first frame is not;"
                " convert it to rgba with ffmpeg first"
            )

    def _frame(self, decoded: Any, number: int) -> Frame:
        """Wrap a decoded frame, its planes as views."""
        clip, picture = self.clip, self.clip.picture
        if decoded.is_corrupt:
            self._count(corrupt_frames=1)
        woven = decoded.interlaced_frame and not clip.interlaced
        if woven and self._bwdif is None and not self.by_fields:
            self._count(interlaced_frames=1)
        carrier = self._repacker.repack(decoded, picture.format.name)
        return Frame(
            planes=plane_views(carrier, picture.format),
            picture=picture,
            number=number,
            pts=decoded.pts,
            time_base=clip.time_base,
            duration=self._clock.length(decoded),
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
        for found in self._packets():
            mended = self._timeline.mend(found)
            packet = self._texts.placed(found)
            if packet.stream.index != self._stream.index:
                # The last packet of a stream is an empty one that flushes its decoder.
                if packet.size and self._excerpt.takes_packet(packet):
                    yield Copied(packet.stream.index, self._time(packet), packet)
                continue
            seconds = self._time(packet)
            self._packet = packet.size or self._packet
            if mended and packet.size:
                self._count(repaired_pts=1)
            if self._passes_over:
                if seconds >= self._until + FAR:
                    return
                continue
            self._clock.hear(packet)
            if packet.is_corrupt:
                self._count(corrupt_packets=1)
            yield from filter(self._takes_frame, self._held_before(packet))
            try:
                frames = packet.decode()
            except (av.FFmpegError, EOFError) as error:
                if isinstance(self._origin, ImageSequence):
                    raise InputError(self._unreadable(self._origin, error)) from error
                self._count(decode_errors=1)
                continue
            yield from filter(self._takes_frame, frames)

    def _held_before(self, packet: Any) -> list[Any]:
        """The frames that the decoder holds where another size begins; it starts anew then."""
        frames: list[Any] = []
        if not self._headers.turn(packet):
            return frames
        try:
            frames = last_packet(self._stream).decode()
        except (av.FFmpegError, EOFError):
            self._count(decode_errors=1)
        finally:
            self._stream.codec_context.flush_buffers()
        return frames

    def _unreadable(self, pictures: ImageSequence, error: Exception) -> str:
        """What is told of the picture after the last that was decoded: one that is left out would
        move all that follow.
        """
        last = round(self._clock.seconds * pictures.rate) if self._clock.counted else -1
        reason = getattr(error, "strerror", None) or str(error)
        return (
            f"{pictures.file(pictures.first + last + 1)} cannot be decoded ({reason}); scan or"
            " render it again, or put a copy of its neighbour there and name it with --bad-frames"
        )

    def _numbered(self, clip: Clip) -> Clip:
        """With the number of the first picture, where there is one."""
        if not isinstance(self._origin, ImageSequence):
            return clip
        skipped = round((clip.video_start - clip.zero) * self._origin.rate)
        return replace(clip, number=self._origin.first + skipped)

    def _takes_frame(self, decoded: Any) -> bool:
        """Give a frame its time; whether it belongs to what was asked for."""
        self.decoded += 1
        if self._clock.stamp(decoded):
            self._count(repaired_pts=1)
        first = not self._excerpt.found
        if not self._excerpt.takes_frame(decoded):
            return False
        if first and self._excerpt.met > 1:
            # What was met before is no damage of this part.
            self.damage = Damage()
            self._held = [item for item in self._held if self._excerpt.takes_packet(item.packet)]
        return True

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
        yield last_packet(self._stream)

    def _time(self, packet: Any) -> float:
        """Decoding time in seconds, -inf when unknown; remembers how far the file went."""
        ticks = packet.dts if packet.dts is not None else packet.pts
        if ticks is None or not packet.time_base:
            return float("-inf")
        # It is shown when all that were coded before it are, or later: of a slow film by seconds.
        shown = max(ticks, ticks if packet.pts is None else packet.pts) + (packet.duration or 0)
        self._seen = max(self._seen, float(shown * packet.time_base))
        return float(ticks * packet.time_base)

    def _count(self, **found: int) -> None:
        more = {name: getattr(self.damage, name) + count for name, count in found.items()}
        self.damage = replace(self.damage, **more)


def _seek(container: Any, stream: Any, seconds: Fraction) -> None:
    """To the key frame before a time; where that fails the file is read from its start."""
    unit = fraction(stream.time_base) or Fraction(1, 90000)
    place = (stream.start_time or 0) + math.floor(seconds / unit)
    if container.format.name == SEQUENCE:
        place = max(place, 0)  # before the first picture FFmpeg would look behind the last
    with suppress(av.FFmpegError):
        container.seek(place, stream=stream)


def _seconds(decoded: Any) -> Fraction:
    """When a decoded frame is shown."""
    return Fraction(decoded.pts * decoded.time_base)


def _covers(held: list[Any], clip: Clip) -> dict[int, bytes]:
    """The attached pictures; FFmpeg hands them out before everything else."""
    streams = {facts.index for facts in clip.others if facts.kind == "cover"}
    packets = (item for item in held if isinstance(item, Copied))
    return {item.stream: bytes(item.packet) for item in packets if item.stream in streams}


def stated_end(clip: Clip) -> float | None:
    """Where the file ends by what its header says, in seconds."""
    if clip.duration is None or clip.container not in STATED_LENGTH:
        return None
    return float(clip.start) + clip.duration
