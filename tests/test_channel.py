from __future__ import annotations

import threading

import pytest

from vidrepair.channel import BrokenOff, Channel


def test_items_come_in_order_and_the_end_is_seen() -> None:
    channel: Channel[int] = Channel(2)

    def write() -> None:
        for item in range(100):
            channel.put(item)
        channel.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert list(channel) == list(range(100))
    writer.join()


def test_breaking_off_wakes_a_writer_without_room() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    threading.Timer(0.05, channel.break_off).start()
    with pytest.raises(BrokenOff):
        channel.put(2)


def test_breaking_off_wakes_a_waiting_reader() -> None:
    channel: Channel[int] = Channel(1)
    threading.Timer(0.05, channel.break_off).start()
    with pytest.raises(BrokenOff):
        list(channel)
