"""Processes that make stretches into memory that they share with the training."""

from __future__ import annotations

import mmap
import multiprocessing
import pickle
import signal
import warnings
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import Tensor

from training.config import BatchConfig, TrainConfig
from training.data import Pool
from training.degrade.damage import CLASSES
from training.degrade.noise import KNOTS
from training.lanes import TENSORS, Place, Stretch, run_lane

_AHEAD = 6
"""Batches that there is room for: a long showing is made at once, and takes as long as several."""

Start = tuple[int, Place | None]
"""The number of a lane, and where it starts."""
_Facts = tuple[float, bool, Place]
"""What a stretch has beside its tensors: sigma, fresh, after."""


class Makers:
    """Some processes, each with lanes of its own, and room for a few batches.

    They are forked, and so see the clips and photographs without a copy.
    """

    def __init__(
        self, pool: Pool, config: TrainConfig, starts: Sequence[Start], workers: int
    ) -> None:
        self._shelves = [_Shelf(config.batch) for _ in range(_AHEAD * len(starts))]
        self._lanes = len(starts)
        self._ends: list[Connection] = []
        self._processes = []
        context = multiprocessing.get_context("fork")
        for worker in range(workers):
            mine, its = context.Pipe()
            self._ends.append(mine)
            lanes = {lane: starts[lane] for lane in range(worker, len(starts), workers)}
            # Every process inherits the ends on this side of those before it, and would keep them
            # open when this one is gone.
            arguments = (pool, config, lanes, self._shelves, its, list(self._ends))
            process = context.Process(target=_make, args=arguments, daemon=True)
            with warnings.catch_warnings():
                # Python 3.12 warns of a fork beside threads; these processes start none, take no
                # lock of the training's, and touch no card.
                warnings.filterwarnings("ignore", category=DeprecationWarning)
                process.start()
            its.close()
            self._processes.append(process)
        for _ in range(_AHEAD):
            self.give_back()

    def take(self, number: int) -> list[Stretch]:
        """Batch `number`, counted from 0, in the order of the lanes; its tensors are shared.

        Raises what a lane raised, or RuntimeError when a process has died.
        """
        facts: dict[int, _Facts] = {}
        for end in self._ends:
            facts |= self._receive(end)
        first = number % _AHEAD * self._lanes
        return [self._shelves[first + lane].stretch(*facts[lane]) for lane in range(self._lanes)]

    def _receive(self, end: Connection) -> dict[int, _Facts]:
        try:
            answer = end.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError(
                "a process that makes training data died; is memory short? set batch.workers lower"
            ) from error
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer)

    def give_back(self) -> None:
        """The room of the oldest batch taken may be used again."""
        for end in self._ends:
            with suppress(OSError):  # one that died is told of at the next `take`
                end.send(True)

    def stop(self) -> None:
        """End them at once."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()


class _Shelf:
    """Shared room for the tensors of one stretch."""

    def __init__(self, batch: BatchConfig) -> None:
        frames, side = batch.frames + 2, batch.crop
        self.noisy = _shared((frames, 3, side, side), torch.float32)
        self.clean = _shared((frames, 3, side, side), torch.float32)
        self.damage = _shared((frames, len(CLASSES), side, side), torch.uint8)
        self.noise = _shared((2, KNOTS), torch.float32)

    def fill(self, stretch: Stretch) -> _Facts:
        """Copy a stretch into it; returns the rest."""
        for name in TENSORS:
            getattr(self, name).copy_(getattr(stretch, name))
        return stretch.sigma, stretch.fresh, stretch.after

    def stretch(self, sigma: float, fresh: bool, after: Place) -> Stretch:
        """What lies here."""
        return Stretch(self.noisy, self.clean, self.damage, self.noise, sigma, fresh, after)


def _shared(shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
    """A tensor of memory that forked processes write into, and this one sees."""
    size = int(np.prod(shape)) * kind.itemsize
    return torch.frombuffer(mmap.mmap(-1, size), dtype=kind).view(shape)


def _make(
    pool: Pool,
    config: TrainConfig,
    starts: dict[int, Start],
    shelves: list[_Shelf],
    end: Connection,
    others: list[Connection],
) -> None:
    """A process: fill the shelves of its lanes, one batch for each word that there is room."""
    for asked in (signal.SIGINT, signal.SIGTERM):  # told to a whole group, the training knows
        signal.signal(asked, signal.SIG_IGN)
    for other in others:
        other.close()
    torch.set_num_threads(1)
    width = len(shelves) // _AHEAD
    try:
        lanes = {lane: run_lane(pool, config, *start) for lane, start in starts.items()}
        for number in count():
            end.recv()
            first = number % _AHEAD * width
            end.send({lane: shelves[first + lane].fill(next(lanes[lane])) for lane in lanes})
    except (EOFError, ConnectionError):
        return  # the training is over
    except Exception as error:  # noqa: BLE001  # handed over, and raised there
        with suppress(ConnectionError):
            end.send(_portable(error))


def _portable(error: Exception) -> Exception:
    """An error that survives being sent; one that would not is told in words."""
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  # errors pickle badly in every way
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error if isinstance(again, type(error)) else RuntimeError(str(error))
