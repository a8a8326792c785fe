"""A million times in little memory."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from vidrepair.packed_times import TOGETHER, PackedTimes

COUNT = 2 * TOGETHER + 5
TIMES = [*range(7, 40 * COUNT, 40), -(2**63), 2**63 - 1][-COUNT:]
"""Of three blocks, the last of which is not full; two leaps at the end."""


def test_times_come_back_as_they_were() -> None:
    taken = PackedTimes(TIMES)
    assert len(taken) == COUNT
    assert list(taken) == taken.unpacked().tolist() == TIMES
    assert [len(block) for block in taken.blocks()] == [TOGETHER, TOGETHER, 5]
    for place in (0, TOGETHER - 1, TOGETHER, COUNT - 1, -1, -COUNT):
        assert taken[place] == TIMES[place]


@pytest.mark.parametrize("count", [0, 1, TOGETHER - 1, TOGETHER, TOGETHER + 1, COUNT, COUNT + 1])
def test_the_first_so_many(count: int) -> None:
    taken = PackedTimes(TIMES)
    assert taken.unpacked(count).tolist() == TIMES[:count]
    assert all(len(block) for block in taken.blocks(count))


def test_nothing() -> None:
    taken = PackedTimes()
    assert (len(taken), list(taken), list(taken.blocks())) == (0, [], [])
    assert taken.unpacked().dtype == np.int64
    for place in (0, -1):
        with pytest.raises(IndexError, match="of 0 times"):
            taken[place]


def test_a_steady_rhythm_takes_less_than_a_byte_for_each() -> None:
    rounded = PackedTimes(round(n * 1001 / 24) for n in range(50 * TOGETHER))
    held = sum(sys.getsizeof(block) for block in rounded._blocks)
    assert held < 0.1 * len(rounded)
