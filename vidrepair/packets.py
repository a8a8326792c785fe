"""Encoded packets in a file of their own: what a segment is until the film is joined."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av

from vidrepair.containers import video_stream
from vidrepair.errors import DamagedSegment
from vidrepair.files import Closing, drop

MAGIC = b"vidrepair packets 1\n"
_HEAD = struct.Struct("<qqqII")
"""pts, dts, duration in the encoder's time base; 1 for a key frame; bytes that follow."""
Head = tuple[int, int, int, bool]
"""pts, dts, duration, and whether it is a key frame."""
LARGEST = 1 << 30
"""Bytes of a packet; more is none."""


class PacketWriter(Closing):
    """Writes one file of packets; it counts once `finish` has made sure that it is on the disk."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._hash = hashlib.sha256()
        self.size = 0
        """Bytes so far."""
        self._write(MAGIC)

    def add(self, packet: Any) -> None:
        """Append one packet, in the order of coding."""
        dts = packet.pts if packet.dts is None else packet.dts
        self.add_bytes((packet.pts, dts, packet.duration or 0, packet.is_keyframe), bytes(packet))

    def add_bytes(self, head: Head, data: bytes) -> None:
        """The same by its parts."""
        self._write(_HEAD.pack(*head, len(data)) + data)

    def finish(self) -> str:
        """Close it, on the disk; the sha256 of all of it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        drop(self._file)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)


def read_packets(path: Path, time_base: Fraction, sha256: str) -> Iterator[Any]:
    """The packets of a file, in order; their data are known to be good only once all came.

    Raises DamagedSegment where the file is not the one of that hash.
    """
    damaged = DamagedSegment(f"{path} is not as it was written")
    digest = hashlib.sha256()
    with path.open("rb") as file:

        def take(count: int) -> bytes:
            data = file.read(count)
            digest.update(data)
            return data

        if take(len(MAGIC)) != MAGIC:
            raise damaged
        while head := take(_HEAD.size):
            if len(head) < _HEAD.size:
                raise damaged
            pts, dts, duration, key, size = _HEAD.unpack(head)
            data = take(size) if size <= LARGEST else b""
            if len(data) < size or not size:
                raise damaged
            packet: Any = av.Packet(data)
            packet.pts, packet.dts, packet.duration = pts, dts, duration
            packet.time_base, packet.is_keyframe = time_base, bool(key)
            yield packet
    if digest.hexdigest() != sha256:
        raise damaged


def write_heads(path: Path, heads: Path, sha256: str) -> None:
    """Write what a file of packets says of them, but not their data, into another.

    Raises DamagedSegment as `read_packets`.
    """
    with PacketWriter(heads) as writer:
        for packet in read_packets(path, Fraction(1), sha256):
            writer.add_bytes((packet.pts, packet.dts, packet.duration, packet.is_keyframe), b"")
        writer.finish()


def read_heads(path: Path) -> Iterator[Head]:
    """What `write_heads` wrote, in order. Raises DamagedSegment where it is not whole."""
    data = path.read_bytes()
    if not data.startswith(MAGIC) or (len(data) - len(MAGIC)) % _HEAD.size:
        raise DamagedSegment(f"{path} is not as it was written")
    for pts, dts, duration, key, _ in _HEAD.iter_unpack(data[len(MAGIC) :]):
        yield pts, dts, duration, bool(key)


def film_data(path: Path) -> Iterator[bytes]:
    """The data of the packets of a film, in the order of coding, as its encoder gave them."""
    with av.open(f"file:{path}") as container:
        video = video_stream(container, str(path))
        header = bytes(video.codec_context.extradata or b"")
        length = _prefix(video.codec_context.name, header)
        for packet in container.demux(video):
            if packet.size:
                yield _started(bytes(packet), length) if length else bytes(packet)


def _prefix(codec: str, header: bytes) -> int:
    """Bytes of the length before each unit of H.264 and HEVC in a container; 0 for others.

    ISO/IEC 14496-15, lengthSizeMinusOne of either configuration record.
    """
    places = {"h264": 4, "hevc": 21}
    if codec not in places or header[:1] != b"\x01":
        return 0
    return (header[places[codec]] & 3) + 1


def _started(data: bytes, length: int) -> bytes:
    """Units that follow one another by their length, each with a start code instead (annex B)."""
    parts, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + length])
        parts.append(b"\0\0\0\1" + data[at + length : at + length + size])
        at += length + size
    return b"".join(parts)
