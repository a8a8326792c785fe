"""The facts of a finished file."""

from __future__ import annotations

import pytest

from vidrepair.facts import _InOrder

# Time shown and time decoded of each packet, in the order of the file.
REORDERED = [(0, -80), (120, -40), (40, 0), (80, 40), (240, 80), (160, 120), (200, 160)]
BEHIND = [(0, 0), (80, 80), (40, 120), (160, 160)]  # one is to be shown before it is decoded


@pytest.mark.parametrize(
    "packets",
    [REORDERED, BEHIND, [(pts, None) for pts, _ in REORDERED], [(40, 40), (40, 80), (80, 90)], []],
    ids=["reordered", "behind", "undecoded", "twice", "none"],
)
def test_times_come_out_in_the_order_of_showing(packets: list[tuple[int, int | None]]) -> None:
    order = _InOrder()
    for packet in packets:
        order.add(*packet)
    assert list(order.times()) == sorted(pts for pts, _ in packets)
