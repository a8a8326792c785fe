"""Short pieces of a film as files of their own, packets as they are; and what such a file weighs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vidrepair.containers import fraction, open_container, video_stream
from vidrepair.decode import open_source
from vidrepair.errors import InputError, VidrepairError
from vidrepair.files import FULL
from vidrepair.labels import TEXT_ERRORS
from vidrepair.streams import Copies, plan_copies
from vidrepair.tags import Clip, Copied

BEHIND = Fraction(2)
"""Seconds of the film by which what goes with it may lie behind it in a file."""
CONTAINERS = {"matroska": ".mkv", "mov": ".mov", "nut": ".nut", "avi": ".avi"}
"""FFmpeg's names of what a piece is tried in, one after the other: none takes every codec. The
last two carry the film alone here."""
TAGGED = ("rawvideo", "utvideo")
"""Codecs whose four letters say how samples are stored."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of some frames of a film, its first stream, and of what goes with them."""

    path: Path
    start: float
    """Seconds into the film at which it begins, with a key frame."""
    left: int
    """Bytes of what goes with them and is not in the file."""


@dataclass(frozen=True, slots=True)
class Weight:
    """The packets of the film in a file, and the rest of it."""

    keys: int
    """Key frames."""
    key_bytes: int
    others: int
    """Frames that need other ones."""
    other_bytes: int
    beside: int
    """Bytes of all that is not the film: sound, headers, indexes."""

    @property
    def film(self) -> int:
        """Bytes of the film."""
        return self.key_bytes + self.other_bytes


def cut_piece(
    clip: Clip, covers: Mapping[int, bytes], start: Fraction, packets: int, folder: Path
) -> Piece:
    """Copy so many packets of a film into a file in `folder`, from the key frame before `start` on.

    `start` is in seconds from where the film starts, `covers` are its attached pictures. A packet
    is a frame, or a field where fields are coded apart. Raises InputError where there is no key
    frame, and for a codec that no container here takes; VidrepairError where nothing can be
    written.
    """
    reasons = []
    for container, suffix in CONTAINERS.items():
        into = folder / f"piece{suffix}"
        try:
            piece = _cut(clip, covers, start, packets, container, into)
            _check(piece, clip)
        except (av.FFmpegError, OSError, ValueError, InputError) as error:
            into.unlink(missing_ok=True)
            if getattr(error, "errno", None) in FULL:
                raise VidrepairError(
                    f"no space left for a piece of {clip.name} in {folder}; free some, or name"
                    " another folder in the environment, as TMPDIR"
                ) from error
            reasons.append(f"{container}: {getattr(error, 'strerror', None) or error}")
        else:
            return piece
    raise InputError(f"no piece of {clip.name} can be cut out ({'; '.join(reasons)})")


def weigh(path: Path) -> Weight:
    """Weigh a file whose film is its first stream that is no cover.

    Raises InputError when it cannot be read.
    """
    keys, others = [], []
    container = open_container(path)
    try:
        film = video_stream(container, str(path))
        for packet in container.demux(film):
            if packet.size:
                (keys if packet.is_keyframe else others).append(packet.size)
    finally:
        container.close()
    beside = path.stat().st_size - sum(keys) - sum(others)
    return Weight(len(keys), sum(keys), len(others), sum(others), beside)


def count_packets(clip: Clip) -> int:
    """Of a film that does not say how long it is. Reads all of the file, and decodes nothing.

    Raises InputError when it cannot be read.
    """
    container = open_container(Path(clip.name))
    try:
        film = video_stream(container, clip.name, clip.video.index)
        return sum(1 for packet in container.demux(film) if packet.size)
    except av.FFmpegError as error:
        raise InputError(f"{clip.name} cannot be read to its end ({error.strerror})") from error
    finally:
        container.close()


def _cut(
    clip: Clip,
    covers: Mapping[int, bytes],
    start: Fraction,
    packets: int,
    container: str,
    into: Path,
) -> Piece:
    """Raises what PyAV raises where the container does not take the film."""
    source = open_container(Path(clip.name))
    try:
        film = video_stream(source, clip.name, clip.video.index)
        copies = plan_copies(source, clip, container, covers, end=Fraction(0))  # no chapters
        _seek(source, film, start)
        writer = _Writer(film, copies, container, into)
        for packet in _taken(source, film, clip.rate, packets):
            writer.write(packet)
        begins = writer.close()
    finally:
        source.close()
    return Piece(into, float(begins - clip.zero), writer.left)


def _check(piece: Piece, clip: Clip) -> None:
    """Raises InputError for a piece that cannot be read, or is read as something else.

    Containers take samples of some formats for those of another.
    """
    with open_source(piece.path) as opened:
        found = opened.clip
        if (found.codec, found.stored_format) != (clip.codec, clip.stored_format):
            raise InputError(f"it is read as {found.codec} {found.stored_format}")


def _seek(container: Any, film: Any, start: Fraction) -> None:
    """To the key frame before a time; where that fails, the file is read from where it starts."""
    if start > 0:
        unit = fraction(film.time_base) or Fraction(1, 90000)
        with suppress(av.FFmpegError):
            container.seek((film.start_time or 0) + math.floor(start / unit), stream=film)


def _taken(container: Any, film: Any, rate: Fraction | None, packets: int) -> Iterator[Any]:
    """Some packets of the film from the next key frame on, and those that go with them."""
    first: Fraction | None = None
    last: float | Fraction = math.inf
    left = packets
    for packet in container.demux():
        ours = packet.stream.index == film.index
        seconds = _seconds(packet)
        if not packet.size or (first is None and not (ours and packet.is_keyframe)):
            continue
        if first is None:
            first = seconds or Fraction(0)
            last = first + packets / rate if rate else math.inf
        if ours:
            if not left and (last == math.inf or seconds is None or seconds > last + BEHIND):
                return
            # Frames that are shown before the key frame need others that are not here.
            if left and (seconds is None or seconds >= first):
                left -= 1
                yield packet
        elif seconds is None or first <= seconds < last:
            yield packet


def _seconds(packet: Any) -> Fraction | None:
    """When a packet is shown, or decoded where it does not say."""
    unit = fraction(packet.time_base)
    ticks = packet.dts if packet.pts is None else packet.pts
    return None if ticks is None or unit is None else ticks * unit


class _Writer:
    """Writes packets to a new file, whose times start at zero."""

    def __init__(self, film: Any, copies: Copies, container: str, into: Path) -> None:
        self._source, self._copies, self._container, self._into = film, copies, container, into
        self._output: Any = None
        self._film: Any = None
        self._begins = Fraction(0)
        self._last: int | None = None
        self.left = 0
        """Bytes that were not written."""

    def write(self, packet: Any) -> None:
        """Write one packet, the first one of the film."""
        index = packet.stream.index
        if self._output is None:
            self._begins = _seconds(packet) or Fraction(0)
            self._open()
        if index != self._source.index:
            if index in self._copies.left:
                self.left += packet.size
            else:
                self._copies.mux(self._output, Copied(index, 0.0, packet))
            return
        self._time(packet)
        packet.stream = self._film
        self._output.mux(packet)

    def close(self) -> Fraction:
        """End the file; the second of the source at which it begins."""
        if self._output is None:
            raise InputError("there is no key frame")
        self._output.close()
        return self._begins

    def _open(self) -> None:
        self._output = av.open(
            f"file:{self._into}", "w", format=self._container, **TEXT_ERRORS
        )
        self._film = self._output.add_stream_from_template(self._source, opaque=True)
        if self._source.codec_context.name in TAGGED:
            self._film.codec_context.codec_tag = self._source.codec_context.codec_tag
        self._copies.board(self._output, -self._begins)
        self._output.start_encoding()

    def _time(self, packet: Any) -> None:
        """Give a packet of the film times that a muxer takes: decoded in order, shown later."""
        step = packet.duration or 1
        if packet.dts is None:
            ahead = self._source.codec_context.reorder_depth * step
            packet.dts = (packet.pts or 0) - ahead if self._last is None else self._last + step
        if self._last is not None:
            packet.dts = max(packet.dts, self._last + 1)
        self._last = packet.dts
        packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        shift = round(self._begins / fraction(packet.time_base)) if packet.time_base else 0
        packet.dts, packet.pts = packet.dts - shift, packet.pts - shift
