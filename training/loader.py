"""Batches made ahead of the training, so that no device waits for its data."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
from queue import Full, Queue

import torch

from training.config import TrainConfig
from training.data import Pool
from training.lanes import Place, Stretch, run_lane
from training.ranks import Rank

_AHEAD = 2
"""Batches that wait for the training."""

Batch = list[Stretch]
_Item = Batch | BaseException
"""What the making thread hands over: a batch, or why there will be none."""


def load_batches(
    pool: Pool, config: TrainConfig, places: Sequence[Place], rank: Rank
) -> Generator[Batch]:
    """The next stretch of every lane of this process, each from its place on, for ever.

    Threads make them ahead where `batch.workers` says so; they change no sample.
    """
    count = config.batch.lanes
    numbers = range(rank.number * count, (rank.number + 1) * count)
    lanes = [run_lane(pool, config, *start) for start in zip_longest(numbers, places[:count])]
    on_gpu = pool.device.type == "cuda"
    workers = config.batch.workers or (min(count, os.cpu_count() or 1) if on_gpu else 0)
    return _ahead(lanes, pool.device, workers) if workers else _in_turn(lanes)


def _in_turn(lanes: Sequence[Iterator[Stretch]]) -> Generator[Batch]:
    while True:
        yield [next(lane) for lane in lanes]


def _ahead(
    lanes: Sequence[Iterator[Stretch]], device: torch.device, workers: int
) -> Generator[Batch]:
    """Holds up to three batches. Errors of a lane are raised here; closing it ends the threads."""
    batches: Queue[_Item] = Queue(_AHEAD)
    closed = threading.Event()

    def fill() -> None:
        try:
            with ThreadPoolExecutor(workers, thread_name_prefix="lane") as pool:
                while not closed.is_set():
                    _offer(list(pool.map(partial(_advance, device=device), lanes)), batches, closed)
        except BaseException as error:  # noqa: BLE001  # handed over, and raised there
            _offer(error, batches, closed)

    maker = threading.Thread(target=fill, name="batches", daemon=True)
    maker.start()
    try:
        while True:
            item = batches.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closed.set()
        maker.join()


def _offer(item: _Item, queue: Queue[_Item], closed: threading.Event) -> None:
    """Put it into the queue as soon as there is room, unless nobody will take it any more."""
    while not closed.is_set():
        try:
            queue.put(item, timeout=0.1)
        except Full:
            continue
        break


def _advance(lane: Iterator[Stretch], device: torch.device) -> Stretch:
    """The next stretch, on a stream of its own: it must not queue up behind the training step."""
    if device.type != "cuda":
        return next(lane)
    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        stretch = next(lane)
    stream.synchronize()
    return stretch
