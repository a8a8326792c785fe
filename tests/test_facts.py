"""The facts of a finished file."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from clips import write_clip

from vidrepair import facts
from vidrepair.facts import _InOrder, read_facts

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


@pytest.mark.parametrize(
    ("codec", "options"),
    [("libx264", {"g": "10", "bf": "3"}), ("libx264", {"g": "100", "bf": "3"}), ("rawvideo", {})],
    ids=["many", "one", "all"],
)
@pytest.mark.parametrize("held", [1, 2000, 1 << 20])
def test_a_film_of_few_key_frames_is_not_held_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, options: dict[str, str], held: int
) -> None:
    path = tmp_path / "a.mkv"
    write_clip(path, frames=48, codec=codec, options=options)
    told = read_facts(path)
    monkeypatch.setattr(facts, "MOST_HELD", held)
    most = 0

    class Reader(facts._Reader):
        def _take(self, packet: av.Packet) -> None:
            nonlocal most
            super()._take(packet)
            if self._clip is not None:
                most = max(most, sum(each.size for each in self._group))

    monkeypatch.setattr(facts, "_Reader", Reader)
    found = read_facts(path)
    assert most <= held
    assert (found.flaws, list(found.pts)) == ((), list(told.pts))
    if codec != "rawvideo":  # all that is as long as a frame is one
        _spoil_last(path)
        assert any("cannot be decoded" in flaw for flaw in read_facts(path).flaws)


def _spoil_last(path: Path) -> None:
    """Of the last packet nothing is left but its length."""
    with av.open(str(path)) as film:
        last = [bytes(packet) for packet in film.demux() if packet.size][-1]
    data = path.read_bytes()
    at = data.rindex(last)
    path.write_bytes(data[: at + 4] + bytes(len(last) - 4) + data[at + len(last) :])
