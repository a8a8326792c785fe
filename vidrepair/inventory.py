"""What a file holds, counted by its packets; nothing is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vidrepair.containers import fraction, open_container, video_stream
from vidrepair.errors import InputError


@dataclass(frozen=True, slots=True)
class Inventory:
    """The packets of a film that lie in a part of it, and those of the other streams."""

    size: int
    """Bytes of the whole file."""
    frames: int
    """Packets of the film: one a frame."""
    film: int
    """Their bytes."""
    first: int
    """Bytes of the first of them."""
    keys: tuple[Fraction, ...]
    """When its key frames are shown, in seconds of the file."""
    others: dict[int, int] = field(default_factory=dict)
    """Bytes of each other stream, by its number in the file."""
    packets: int = 0
    """Of all streams together."""

    @property
    def beside(self) -> int:
        """Bytes of a whole file that are no packet: headers, indexes, attachments."""
        return self.size - self.film - sum(self.others.values())


def take_inventory(
    path: Path,
    stream: int | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
) -> Inventory:
    """Read a file through. `stream` is the film's number, by default the first; of all streams
    counts what is shown from `start` on, and before `end`, in seconds of the file.

    Raises InputError when the file cannot be read.
    """
    frames = film = first = packets = 0
    keys: list[Fraction] = []
    others: Counter[int] = Counter()
    for packet, ours, seconds in _packets(path, stream):
        if seconds is not None and (
            (start is not None and seconds < start) or (end is not None and seconds >= end)
        ):
            continue
        packets += 1
        if not ours:
            others[packet.stream.index] += packet.size
            continue
        frames, film, first = frames + 1, film + packet.size, first or packet.size
        if packet.is_keyframe and seconds is not None:
            keys.append(seconds)
    return Inventory(
        path.stat().st_size, frames, film, first, tuple(sorted(keys)), dict(others), packets
    )


def frame_times(path: Path, stream: int | None = None) -> list[Fraction]:
    """When each frame of a film is shown, in order, in seconds of the file.

    Those without a time are left out. Raises InputError when the file cannot be read.
    """
    packets = _packets(path, stream)
    return sorted(seconds for _, ours, seconds in packets if ours and seconds is not None)


def stated_frames(path: Path, stream: int | None = None) -> int | None:
    """How many frames the container says that a film has; None where it does not."""
    with closing(open_container(path)) as container:
        return video_stream(container, str(path), stream).frames or None


def key_before(path: Path, seconds: Fraction, stream: int | None = None) -> Fraction | None:
    """When the key frame at or before a time is shown, in seconds of the file.

    None where the container cannot be searched.
    """
    with closing(open_container(path)) as container:
        film = video_stream(container, str(path), stream)
        unit = fraction(film.time_base) or Fraction(1, 90000)
        try:
            container.seek(int(seconds / unit), stream=film)
            for packet in container.demux(film):
                if packet.is_keyframe and packet.pts is not None:
                    return Fraction(packet.pts) * unit
        except av.FFmpegError:
            pass
    return None


def _packets(path: Path, number: int | None) -> Iterator[tuple[Any, bool, Fraction | None]]:
    """Every packet, whether it is the film's, and when it is shown."""
    with closing(open_container(path)) as container:
        film = video_stream(container, str(path), number)
        try:
            for packet in container.demux():
                if packet.size:
                    unit = fraction(packet.time_base)
                    ticks = packet.dts if packet.pts is None else packet.pts
                    timed = ticks is not None and unit is not None
                    ours = packet.stream.index == film.index
                    yield packet, ours, ticks * unit if timed else None
        except av.FFmpegError as error:
            raise InputError(f"{path} cannot be read to its end ({error.strerror})") from error
