"""Encoded packets in a file of their own: what a segment is until the film is joined."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vidrepair.errors import DamagedSegment
from vidrepair.files import Closing

MAGIC = b"vidrepair packets 1\n"
_HEAD = struct.Struct("<qqqII")
"""pts, dts, duration in the encoder's time base; 1 for a key frame; bytes that follow."""
LARGEST = 1 << 30
"""Bytes of a packet; more is none."""


class PacketWriter(Closing):
    """Writes one file of packets; it counts once `finish` has made sure that it is on the disk."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self.size = 0
        """Bytes so far."""
        self._write(MAGIC)

    def add(self, packet: Any) -> None:
        """Append one packet, in the order of coding."""
        data = bytes(packet)
        dts = packet.pts if packet.dts is None else packet.dts
        head = _HEAD.pack(packet.pts, dts, packet.duration or 0, packet.is_keyframe, len(data))
        self._write(head + data)

    def finish(self) -> str:
        """Close it, on the disk; the sha256 of all of it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        self._file.close()

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
