"""What of a stream other containers than MP4 and MOV are given where an edit list hides some."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vidrepair.tags import StreamFacts
from vidrepair.tracks import Packets, Track


def track(kind: str, codec: str, hidden: int, count: int = 5) -> Track:
    numbers = np.arange(count)
    packets = Packets(Fraction(1, 1000), "", *[numbers] * 5, hidden=hidden)
    return Track(StreamFacts(1, kind, codec), (), (), packets)


@pytest.mark.parametrize(
    ("kind", "codec", "hidden", "left"),
    [
        ("audio", "aac", 3, [2, 3, 4]),
        ("audio", "aac", 1, [0, 1, 2, 3, 4]),
        ("audio", "pcm_s16le", 3, [3, 4]),
        ("audio", "aac", 5, []),
        ("subtitle", "mov_text", 3, [3, 4]),
        ("data", "bin_data", 2, [2, 3, 4]),
        # The frames of a second film need those before them.
        ("video", "h264", 3, [0, 1, 2, 3, 4]),
        ("audio", "aac", 0, [0, 1, 2, 3, 4]),
    ],
)
def test_what_is_shown(kind: str, codec: str, hidden: int, left: list[int]) -> None:
    assert track(kind, codec, hidden).shown().packets.times.tolist() == left
