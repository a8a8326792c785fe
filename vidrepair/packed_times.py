"""The times of the frames of a film, in few bytes: ten hours have a million."""

from __future__ import annotations

import struct
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Sequence
from itertools import accumulate, pairwise

TOGETHER = 4096
"""Times that are packed in one go."""


def pack_times(times: Sequence[int]) -> str:
    """Rising times of any rhythm: the steps from each to the next, packed."""
    steps = [after - before for before, after in pairwise((0, *times))]
    return b64encode(zlib.compress(struct.pack(f"<{len(steps)}q", *steps), 9)).decode()


def unpack_times(packed: str) -> list[int]:
    """What `pack_times` packed."""
    data = zlib.decompress(b64decode(packed))
    return list(accumulate(struct.unpack(f"<{len(data) // 8}q", data)))


class PackedTimes:
    """Times that come one by one."""

    def __init__(self) -> None:
        self._packed: list[str] = []
        self._last = array("q")

    def __len__(self) -> int:
        return TOGETHER * len(self._packed) + len(self._last)

    def append(self, time: int) -> None:
        """Take the next one."""
        self._last.append(time)
        if len(self._last) == TOGETHER:
            self._packed.append(pack_times(self._last))
            self._last = array("q")

    def unpacked(self) -> array[int]:
        """All, in order."""
        times = array("q")
        for packed in self._packed:
            times.extend(unpack_times(packed))
        times.extend(self._last)
        return times
