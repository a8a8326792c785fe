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
    """Rising times of any rhythm: the first, and the steps from each to the next, packed."""
    # A step may be longer than any time.
    steps = [after - before for before, after in pairwise(times)]
    data = struct.pack(f"<{len(times[:1])}q{len(steps)}Q", *times[:1], *steps)
    return b64encode(zlib.compress(data, 9)).decode()


def unpack_times(packed: str) -> list[int]:
    """What `pack_times` packed."""
    data = zlib.decompress(b64decode(packed))
    count = len(data) // 8
    first = min(count, 1)
    return list(accumulate(struct.unpack(f"<{first}q{count - first}Q", data)))


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
