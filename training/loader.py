"""Batches made ahead of the training, so that no device waits for its data.

Making a stretch takes hundreds of small operations. Threads would queue up for Python's lock, and
small kernels on the GPU take its time from the training: so processes make them, on the CPU.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import count, zip_longest
from queue import Full, Queue

import torch

from training.config import TrainConfig
from training.data import Pool
from training.lanes import TENSORS, Place, Stretch, run_lane
from training.makers import Makers, Start
from training.ranks import Rank

Batch = list[Stretch]
_Item = Batch | BaseException
"""What the fetching thread hands over: a batch, or why there will be none."""


def load_batches(
    pool: Pool, config: TrainConfig, places: Sequence[Place], rank: Rank, device: torch.device
) -> Generator[Batch]:
    """The next stretch of every lane of this process, each from its place on, for ever.

    Processes make them ahead where `batch.workers` says so; they change no sample. `pool` lies on
    the CPU, the stretches on the device.
    """
    lanes = config.batch.lanes
    numbers = range(rank.number * lanes, (rank.number + 1) * lanes)
    starts = list(zip_longest(numbers, places[:lanes]))
    workers = config.batch.workers
    if not workers and device.type == "cuda":
        workers = max(1, len(os.sched_getaffinity(0)) // rank.count)
    if not workers:
        return _in_turn([run_lane(pool, config, *start) for start in starts])
    return _ahead(pool, config, starts, min(workers, lanes), device)


def _in_turn(lanes: Sequence[Iterator[Stretch]]) -> Generator[Batch]:
    while True:
        yield [next(lane) for lane in lanes]


def _ahead(
    pool: Pool, config: TrainConfig, starts: Sequence[Start], workers: int, device: torch.device
) -> Generator[Batch]:
    """Errors of a lane are raised here; closing it ends the thread and the processes."""
    makers = Makers(pool, config, starts, workers)
    batches: Queue[_Item] = Queue(1)
    closed = threading.Event()

    def fetch() -> None:
        # Of its own, or every copy would queue up behind the step under way. No batch is let go
        # of before its step has ended: the optimiser waits for the gradient's norm.
        stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        try:
            for number in count():
                with torch.cuda.stream(stream):
                    batch = [_moved(stretch, device) for stretch in makers.take(number)]
                makers.give_back()
                if not _offer(batch, batches, closed):
                    return
        except BaseException as error:  # noqa: BLE001  # handed over, and raised there
            _offer(error, batches, closed)

    fetcher = threading.Thread(target=fetch, name="batches", daemon=True)
    fetcher.start()
    try:
        while True:
            item = batches.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closed.set()
        makers.stop()
        fetcher.join()


def _offer(item: _Item, queue: Queue[_Item], closed: threading.Event) -> bool:
    """Put it into the queue as soon as there is room. False when nobody will take it any more."""
    while not closed.is_set():
        try:
            queue.put(item, timeout=0.1)
        except Full:
            continue
        return True
    return False


def _moved(stretch: Stretch, device: torch.device) -> Stretch:
    """A copy on the device, complete when this returns."""
    tensors = {name: getattr(stretch, name).to(device, copy=True).float() for name in TENSORS}
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return replace(stretch, **tensors)
