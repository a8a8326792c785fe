"""A bounded queue between two threads that knows its ends: closed, or broken off."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from threading import Condition
from typing import Generic, TypeVar

Item = TypeVar("Item")


class BrokenOff(Exception):
    """The other end, or the owner, gave up; the real error is raised elsewhere."""


class Channel(Generic[Item]):
    """At most `size` items wait; `waited_full` and `waited_empty` tell who held up whom."""

    def __init__(self, size: int) -> None:
        self._items: deque[Item] = deque()
        self._size = size
        self._changed = Condition()
        self._closed = False
        self._broken = False
        self._begun = False
        self.waited_full = 0.0
        """Seconds that the writer waited for room."""
        self.waited_empty = 0.0
        """Seconds that the reader waited for an item, the first one left out."""

    def put(self, item: Item) -> None:
        """Wait for room and append. Raises BrokenOff."""
        with self._changed:
            started = time.monotonic()
            while len(self._items) >= self._size and not self._broken:
                self._changed.wait()
            self.waited_full += time.monotonic() - started
            if self._broken:
                raise BrokenOff
            self._items.append(item)
            self._changed.notify_all()

    def close(self) -> None:
        """No more items will come; those there are still delivered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def break_off(self) -> None:
        """Wake both ends with BrokenOff; what waits is dropped."""
        with self._changed:
            self._broken = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        """Items until the channel is closed and empty. Raises BrokenOff."""
        while True:
            with self._changed:
                started = time.monotonic()
                while not self._items and not self._closed and not self._broken:
                    self._changed.wait()
                if self._begun:
                    self.waited_empty += time.monotonic() - started
                self._begun = True
                if self._broken:
                    raise BrokenOff
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
