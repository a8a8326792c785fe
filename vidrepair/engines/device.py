"""An NVIDIA card as three queues of work: what goes up, what is computed, what comes down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from numpy.typing import NDArray

from vidrepair.errors import EngineError, UsageError
from vidrepair.frames import Fetch, Place

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise EngineError(
        "engines on a card need torch, which is not installed; pip install 'vidrepair[rtx]', or "
        "use --backend openvino"
    ) from error

log = logging.getLogger(__name__)

Work = Callable[[int], None]
"""Is handed the CUDA stream into which its work goes."""


class Device(Place, Protocol):
    """Where engines run. Everything is done in the order in which it is asked for."""

    name: str
    memory: torch.device
    total_memory: int
    """Bytes."""

    def empty(self, *shape: int) -> Tensor:
        """fp32 on the device, contents undefined."""
        ...

    def upload(self, planes: Sequence[NDArray[Any]]) -> tuple[Tensor, ...]:
        """Copies on the device; nobody waits for them but the computations asked for later."""
        ...

    def enqueue(self, work: Work) -> Callable[[], float]:
        """Put work into the queue of computations; the answer waits for it, and tells seconds."""
        ...

    def capture(self, work: Work) -> Work:
        """The same work, whose kernels are started all at once."""
        ...

    def wait(self) -> None:
        """Until nothing is left to do."""
        ...


class CudaDevice:
    """One NVIDIA card and streams of ours on it: on the default one TensorRT would wait.

    Raises UsageError for a name that is none of a card, EngineError where no card can be used,
    and when one fails later.
    """

    def __init__(self, name: str) -> None:
        try:
            self.memory = torch.device("cuda:0" if name in ("auto", "cuda") else name)
        except RuntimeError:
            self.memory = torch.device("cpu")
        if self.memory.type != "cuda":
            raise UsageError(f"--device {name} is no NVIDIA card; use cuda, cuda:1 or auto")
        try:
            self._up, self._compute, self._down = (torch.cuda.Stream(self.memory) for _ in range(3))
            facts = torch.cuda.get_device_properties(self.memory)
        except (RuntimeError, AssertionError) as error:
            raise EngineError(
                f"the NVIDIA card of --device {name} cannot be used ({first_line(error)}); if "
                "there is one, check the driver by nvidia-smi and that torch is built for CUDA, "
                "else use --backend openvino"
            ) from error
        self.name, self.total_memory = facts.name, facts.total_memory
        self._graphs = torch.cuda.graph_pool_handle()
        # The same bytes on every run, and fp32 that is fp32: motion suffers from TF32.
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False

    @contextmanager
    def working(self) -> Iterator[None]:
        with self._on(self._compute):
            yield

    @contextmanager
    def _on(self, stream: torch.cuda.Stream) -> Iterator[None]:
        try:
            with torch.cuda.device(self.memory), torch.cuda.stream(stream), torch.inference_mode():
                yield
        except RuntimeError as error:  # of CUDA, out of memory among them
            raise EngineError(
                f"{self.name} failed ({first_line(error)}); close what else uses the card, or try "
                "--backend openvino"
            ) from error

    def empty(self, *shape: int) -> Tensor:
        with self.working():
            return torch.empty(shape, device=self.memory)

    def upload(self, planes: Sequence[NDArray[Any]]) -> tuple[Tensor, ...]:
        with self._on(self._up):
            there = tuple(self._copy_up(plane) for plane in planes)
            self._compute.wait_stream(self._up)
            for tensor in there:
                # Memory of the stream that goes up, which must not take it back too early.
                tensor.record_stream(self._compute)
        return there

    def _copy_up(self, plane: NDArray[Any]) -> Tensor:
        # Torch keeps pinned memory, and knows when a copy from it is through.
        kind = torch.from_numpy(plane[:0].copy()).dtype
        staged = torch.empty(plane.shape, dtype=kind, pin_memory=True)
        staged.numpy()[...] = plane
        return staged.to(self.memory, non_blocking=True)

    def enqueue(self, work: Work) -> Callable[[], float]:
        # Blocking: a thread that waits for one leaves the processor to others.
        started, ended = (torch.cuda.Event(enable_timing=True, blocking=True) for _ in range(2))
        with self.working():
            started.record(self._compute)
            work(self._compute.cuda_stream)
            ended.record(self._compute)

        def wait() -> float:
            with self.working():
                ended.synchronize()
                return float(started.elapsed_time(ended)) / 1000.0

        return wait

    def start_fetch(self, arrays: Sequence[Tensor]) -> Fetch:
        arrived = torch.cuda.Event(blocking=True)
        with self._on(self._down):
            self._down.wait_stream(self._compute)
            copies = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in arrays]
            for copy, tensor in zip(copies, arrays, strict=True):
                copy.copy_(tensor, non_blocking=True)
            arrived.record(self._down)
        kept = [*arrays]  # until the copies are through

        def wait() -> tuple[NDArray[Any], ...]:
            with self._on(self._down):
                arrived.synchronize()
                kept.clear()
                return tuple(copy.numpy() for copy in copies)

        return wait

    def capture(self, work: Work) -> Work:
        with self.working():
            for _ in range(2):  # what libraries do at their first call cannot be captured
                work(self._compute.cuda_stream)
        self.wait()
        graph = torch.cuda.CUDAGraph()
        try:
            # Of this thread alone: others may be at work on another engine.
            with (
                self.working(),
                torch.cuda.graph(
                    graph, self._graphs, self._compute, capture_error_mode="thread_local"
                ),
            ):
                work(self._compute.cuda_stream)
        except EngineError as error:
            log.warning("no CUDA graph: %s; kernels start one by one", error)
            return work

        def replay(_stream: int) -> None:
            graph.replay()

        return replay

    def wait(self) -> None:
        with self.working():
            for stream in (self._up, self._compute, self._down):
                stream.synchronize()


def first_line(error: BaseException) -> str:
    """What an error of torch says, without its advice and traces."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
