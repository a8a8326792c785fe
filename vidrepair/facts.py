"""What a file carries, taken while it is read once: frames, packets, names, pictures, tags."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import av
import numpy as np

from vidrepair.carried import Carried, read_carried
from vidrepair.containers import (
    close_reader,
    describe,
    fraction,
    last_packet,
    open_container,
    video_stream,
)
from vidrepair.errors import InputError
from vidrepair.frames import Frame
from vidrepair.hdr import LIGHT, MASTERING
from vidrepair.packed_times import PackedTimes
from vidrepair.picture_facts import picture_facts
from vidrepair.sequences import origin_at
from vidrepair.tags import Clip, Copied, plain_text
from vidrepair.text_times import TextTimes
from vidrepair.timeline import FilmEnd
from vidrepair.tracks import UNKNOWN, Gathered, Track, annexed, tags_of, track_of

MOST_HELD = 256 << 20
"""Bytes of packets that are held for their decoding at the end, but for the last of them; films of
a single key frame have more."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One chapter; times in seconds."""

    start: Fraction
    end: Fraction
    title: str


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Everything that a file carries, but for the samples of its picture."""

    name: str
    container: str
    """FFmpeg's name of the demuxer."""
    pts: PackedTimes
    """Of the frames, in the order of showing, in time_base units."""
    time_base: Fraction
    last: int
    """How long the last frame is shown, in time_base units; 0 where that is not known."""
    picture: tuple[tuple[str, str], ...]
    """Name and value of every fact about the picture, such as matrix and bt709."""
    side_data: tuple[str, ...]
    """What the first frame carries beside its samples and is not said in `picture`."""
    film: Track
    """The restored stream; its packets are not kept."""
    tracks: tuple[Track, ...]
    """All other streams, in the order of the file."""
    chapters: tuple[Chapter, ...]
    tags: tuple[tuple[str, str], ...]
    """Of the file, those that stay true in another; keys in small letters."""
    cut: bool = False
    """Only a part was read, from some time on."""
    flaws: tuple[str, ...] = ()
    """What could not be read, in words."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: numbers, text, lists and dicts only."""
        return {
            "name": plain_text(self.name),
            "container": self.container,
            "frames": len(self.pts),
            "pts": list(self.pts),
            "time_base": str(self.time_base),
            "last_duration": float(self.last * self.time_base),
            "picture": dict(self.picture),
            "side_data": list(self.side_data),
            "film": {plain_text(key): plain_text(value) for key, value in self.film.tags},
            "streams": [track.as_dict() for track in self.tracks],
            "chapters": [
                {"start": float(one.start), "end": float(one.end), "title": plain_text(one.title)}
                for one in self.chapters
            ],
            "tags": {plain_text(key): plain_text(value) for key, value in self.tags},
            "flaws": list(self.flaws),
        }


class FactsBuilder:
    """Takes the facts of a file while others read it; one thread feeds it.

    `container` is open for reading, and `film` the index of the stream that is restored;
    `carried` is what its first frame carries, where that is known already. Keeps 40 bytes for
    each packet, and a few for each frame.
    """

    def __init__(self, container: Any, film: int, carried: Carried | None = None) -> None:
        self._film = film
        self._container = container
        self._carried = carried
        self._tracks = {stream.index: track_of(stream) for stream in container.streams}
        self._gathered = {
            stream.index: Gathered(annexed(stream))
            for stream in container.streams
            if stream.index != film
        }
        self._chapters = tuple(_chapter(entry) for entry in container.chapters())
        self._tags = tags_of(container.metadata)
        self._pts = PackedTimes()
        self._last = 0

    def add_packet(self, item: Copied) -> None:
        """Take a packet of another stream, before anybody changes its times."""
        gathered = self._gathered.get(item.stream)
        if gathered is not None:
            gathered.add(item.packet)

    def add_frame(self, frame: Frame) -> None:
        """Take a frame of the film; in order, as `Source.read` gives them."""
        self.add_pts(frame.pts)
        self._last = frame.duration
        if self._carried is None:
            self.look_at(frame.carrier)

    def add_pts(self, pts: int) -> None:
        """Take the time of a frame alone."""
        self._pts.append(pts)

    def take_times(self, times: PackedTimes, last: int) -> None:
        """Those of all frames are these; they are not copied. `last` as in Facts."""
        self._pts, self._last = times, last

    @property
    def frames(self) -> int:
        """So far."""
        return len(self._pts)

    @property
    def times(self) -> PackedTimes:
        """The pts of the frames so far."""
        return self._pts

    @property
    def last(self) -> int:
        """How long the latest frame is shown, as in Facts."""
        return self._last

    def look_at(self, first: Any) -> None:
        """Note what the first decoded frame carries beside its samples."""
        self._carried = read_carried(self._container, self._container.streams[self._film], first)

    def build(self, clip: Clip, flaws: tuple[str, ...] = ()) -> Facts:
        """The facts so far. `clip` is what `containers.describe` says of the same file."""
        carried = self._carried or Carried()
        told_apart = () if carried.hdr is None else (MASTERING, LIGHT)
        built = {
            index: replace(track, packets=self._gathered[index].packets())
            for index, track in self._tracks.items()
            if index != self._film
        }
        return Facts(
            name=clip.name,
            container=clip.container,
            pts=self._pts,
            time_base=clip.time_base,
            last=self._last,
            picture=picture_facts(clip, carried),
            side_data=tuple(name for name in carried.side_data if name not in told_apart),
            film=self._tracks[self._film],
            tracks=tuple(built.values()),
            chapters=self._chapters,
            tags=self._tags,
            cut=clip.cut,
            flaws=flaws,
        )


def read_facts(path: Path, *, whole: bool = False, rate: Fraction | None = None) -> Facts:
    """The facts of a finished file, read once from its start to its end.

    The times of the frames are those of their packets: every encoder here gives one packet for
    one frame. The first frame and those after the last key frame are decoded; `whole` decodes
    all, and counts what comes out. `rate` is that of numbered pictures, and counts for nothing
    else. Raises InputError when the file cannot be read at all.
    """
    container = open_container(origin_at(path, rate))
    try:
        return _Reader(container, path, whole=whole).read()
    finally:
        close_reader(container)


class _Reader:
    """One pass over a file."""

    def __init__(self, container: Any, path: Path, *, whole: bool) -> None:
        self._container, self._name, self._whole = container, str(path), whole
        self._stream = video_stream(container, self._name)
        self._stream.thread_type = "AUTO"
        if self._stream.codec_context.name != "tiff":  # there it refuses tags that it does not know
            # Else FFmpeg conceals what it cannot decode; of FFV1 it does so even then.
            self._stream.codec_context.options = {"err_detect": "explode"}
        self._builder = FactsBuilder(container, self._stream.index)
        self._clip: Clip | None = None
        self._group: list[Any] = []
        """Packets since the last key frame, or since too many were held and had to be decoded."""
        self._held = 0
        """Their bytes."""
        self._started = False
        """The decoder has had those before, from the last key frame on."""
        self._latest: list[int] = []
        """The times of what it gave for them."""
        self._shown = _InOrder()
        """The times of the packets that are shown."""
        self._decoded = PackedTimes()
        self._end = FilmEnd(self._stream)
        self._texts = TextTimes(container)
        self._flaws: list[str] = []

    def read(self) -> Facts:
        try:
            for packet in self._container.demux():
                self._take(packet)
        except av.FFmpegError as error:
            self._flaws.append(f"reading ends with an error ({error.strerror})")
        if self._clip is None:
            raise InputError(f"{self._name} holds no frame that can be decoded; write it again")
        shown = self._shown.times()
        decoded = self._decoded if self._whole else PackedTimes(self._end_decoded())
        if len(shown) and not (len(decoded) and decoded[-1] == shown[-1]):
            self._flaws.append("the last frame cannot be decoded")
        self._builder.take_times(self._decoded if self._whole else shown, self._end.length)
        return self._builder.build(self._clip, tuple(self._flaws))

    def _take(self, packet: Any) -> None:
        if packet.stream.index != self._stream.index:
            if packet.size:
                text = self._texts.placed(packet)
                self._builder.add_packet(Copied(text.stream.index, 0.0, text))
            return
        self._end.add(packet)
        if packet.size and not packet.is_discard:
            time = packet.dts if packet.pts is None else packet.pts
            self._shown.add(UNKNOWN if time is None else time, packet.dts)
        if self._whole or self._clip is None:
            for pts in self._decode(packet):
                self._decoded.append(pts)
        if packet.is_keyframe:
            self._group.clear()
            self._latest.clear()
            self._held, self._started = 0, False
        if packet.size and not self._whole:
            self._group.append(packet)
            self._held += packet.size
            if self._held > MOST_HELD and self._clip is not None:
                self._latest = self._group_decoded()

    def _decode(self, packet: Any) -> list[int]:
        """The times of the frames that come out."""
        found = []
        try:
            for frame in packet.decode():
                if self._clip is None:
                    self._clip = describe(self._container, self._stream, frame, self._name)
                    self._builder.look_at(frame)
                if frame.is_corrupt:
                    self._flaws.append(f"the frame at pts {frame.pts} is damaged")
                found.append(UNKNOWN if frame.pts is None else frame.pts)
        except (av.FFmpegError, EOFError) as error:
            self._flaws.append(f"the packet at pts {packet.pts} cannot be decoded ({error})")
        return found

    def _end_decoded(self) -> list[int]:
        """The times of the last frames, back to the last key frame at most."""
        last = self._group_decoded() + self._decode(last_packet(self._stream))
        return last or self._latest

    def _group_decoded(self) -> list[int]:
        """The times of the frames that the packets which are held give; they go."""
        if not self._started:
            self._stream.codec_context.flush_buffers()
        found = [pts for packet in self._group for pts in self._decode(packet)]
        self._group.clear()
        self._held, self._started = 0, True
        return found


class _InOrder:
    """Puts the times of packets, which come in the order of decoding, into that of showing."""

    def __init__(self) -> None:
        self._times = PackedTimes()
        self._waiting: list[int] = []
        """A heap: what comes may be shown before."""
        self._last = UNKNOWN
        self._sorted = True

    def add(self, pts: int, dts: int | None) -> None:
        """Take the next packet. No frame is shown before it is decoded, unless the file is broken;
        where `dts` is not told all that came waits.
        """
        heappush(self._waiting, pts)
        while dts is not None and self._waiting and self._waiting[0] <= dts:
            self._take(heappop(self._waiting))

    def times(self) -> PackedTimes:
        """All of them; nothing comes any more."""
        while self._waiting:
            self._take(heappop(self._waiting))
        if not self._sorted:
            self._times = PackedTimes(np.sort(self._times.unpacked()).tolist())
        return self._times

    def _take(self, pts: int) -> None:
        self._sorted = self._sorted and pts >= self._last
        self._last = pts
        self._times.append(pts)


def _chapter(entry: Any) -> Chapter:
    unit = fraction(entry["time_base"]) or Fraction(1)
    title = str(entry["metadata"].get("title", ""))
    return Chapter(entry["start"] * unit, entry["end"] * unit, title)
