"""The times of the frames of a film, in few bytes: ten hours have a million."""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
TOGETHER = 4096
"""Times that are packed in one go."""


def pack_times(times: Sequence[int]) -> str:
    """Times of any rhythm: the first, and the steps from each to the next, packed."""
    return b64encode(_packed(np.array(times, np.int64))).decode()


def unpack_times(packed: str) -> list[int]:
    """What `pack_times` packed."""
    times: list[int] = _unpacked(b64decode(packed)).tolist()
    return times


def _packed(times: Integers) -> bytes:
    # A step may be longer than any time; both ways it is taken modulo 2^64.
    steps = np.diff(times, prepend=np.int64(0)).astype("<i8")
    return zlib.compress(steps.tobytes(), 9)


def _unpacked(packed: bytes) -> Integers:
    return np.frombuffer(zlib.decompress(packed), "<i8").cumsum(dtype=np.int64)


class PackedTimes:
    """Times that come one by one. Those of a steady rhythm take a few bits each."""

    def __init__(self, times: Iterable[int] = ()) -> None:
        self._blocks: list[bytes] = []
        self._open: list[int] = []
        """The latest, of which a block is to be."""
        for time in times:
            self.append(time)

    def __len__(self) -> int:
        return TOGETHER * len(self._blocks) + len(self._open)

    def append(self, time: int) -> None:
        """Take the next one."""
        self._open.append(time)
        if len(self._open) == TOGETHER:
            self._blocks.append(_packed(np.array(self._open, np.int64)))
            self._open = []

    def blocks(self, count: int | None = None) -> Iterator[Integers]:
        """All, or the first `count`, in order: TOGETHER at once, the last time fewer."""
        left = len(self) if count is None else min(count, len(self))
        for number in range(-(-left // TOGETHER)):
            yield self._block(number)[:left]
            left -= TOGETHER

    def _block(self, number: int) -> Integers:
        if number < len(self._blocks):
            return _unpacked(self._blocks[number])
        return np.array(self._open, np.int64)

    def __iter__(self) -> Iterator[int]:
        for block in self.blocks():
            yield from block.tolist()

    def __getitem__(self, index: int) -> int:
        """That one, or counted from the end; raises IndexError where there is none."""
        place = index if index >= 0 else len(self) + index
        if not 0 <= place < len(self):
            raise IndexError(f"{index} of {len(self)} times")
        return int(self._block(place // TOGETHER)[place % TOGETHER])

    def unpacked(self, count: int | None = None) -> Integers:
        """All, or the first `count`, at once: eight bytes each."""
        blocks = list(self.blocks(count))
        return np.concatenate(blocks) if blocks else np.zeros(0, np.int64)
