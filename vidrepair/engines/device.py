"""An NVIDIA card as a queue of work with memory of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from vidrepair.errors import EngineError, UsageError

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise EngineError(
        "engines on a card need torch, which is not installed; pip install 'vidrepair[rtx]', or "
        "use --backend openvino"
    ) from error


class Device(Protocol):
    """Where engines run."""

    name: str
    memory: torch.device

    def active(self) -> AbstractContextManager[object]:
        """Libraries that ask for the current card get this one."""
        ...

    def empty(self, *shape: int) -> Tensor:
        """fp32 on the device, contents undefined."""
        ...

    def staging(self, *shape: int) -> Tensor:
        """fp32 on the host, for copies that nobody waits for."""
        ...

    def enqueue(self, work: Callable[[int], None]) -> None:
        """Put work into the queue; it is handed the queue's CUDA stream."""
        ...

    def wait(self) -> None:
        """Until the queue is empty."""
        ...


class CudaDevice:
    """One NVIDIA card and a stream of ours on it: on the default one TensorRT would wait.

    Raises UsageError for a name that is none of a card, EngineError where no card can be used.
    """

    def __init__(self, name: str) -> None:
        try:
            self.memory = torch.device("cuda:0" if name in ("auto", "cuda") else name)
        except RuntimeError:
            self.memory = torch.device("cpu")
        if self.memory.type != "cuda":
            raise UsageError(f"--device {name} is no NVIDIA card; use cuda, cuda:1 or auto")
        try:
            self._stream = torch.cuda.Stream(self.memory)
            self.name = torch.cuda.get_device_name(self.memory)
        except (RuntimeError, AssertionError) as error:
            raise EngineError(
                f"the NVIDIA card of --device {name} cannot be used ({first_line(error)}); check "
                "the driver by nvidia-smi, or use --backend openvino"
            ) from error

    def active(self) -> AbstractContextManager[object]:
        return torch.cuda.device(self.memory)

    def empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, device=self.memory)

    def staging(self, *shape: int) -> Tensor:
        return torch.empty(shape, pin_memory=True)

    def enqueue(self, work: Callable[[int], None]) -> None:
        with self.active(), torch.cuda.stream(self._stream):
            work(self._stream.cuda_stream)

    def wait(self) -> None:
        self._stream.synchronize()


def first_line(error: BaseException) -> str:
    """What an error of torch says, without its advice and traces."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
