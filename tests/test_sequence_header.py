"""Where MPEG-1 and MPEG-2 begin pictures of another size."""

from __future__ import annotations

import av
import pytest

from vidrepair.sequence_header import START, SequenceHeaders

SMALL, LARGE = START + bytes([4, 0, 48, 9]), START + bytes([6, 0, 64, 9])


@pytest.mark.parametrize(
    ("codec", "packets", "turns"),
    [
        ("mpeg2video", [SMALL, b"frame", b"more" + SMALL, LARGE, b"frame", SMALL], [3, 5]),
        ("mpeg1video", [b"frame", LARGE, SMALL], [2]),
        ("mpeg2video", [SMALL, b"", START, LARGE], [3]),
        ("h264", [SMALL, LARGE], []),
    ],
    ids=["there and back", "a first one is none", "nothing, and a head alone", "another codec"],
)
def test_turns(codec: str, packets: list[bytes], turns: list[int]) -> None:
    headers = SequenceHeaders(codec)
    assert [at for at, one in enumerate(packets) if headers.turn(av.Packet(one))] == turns
