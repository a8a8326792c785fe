"""NVIDIA's engines: both graphs as engines of TensorRT or TensorRT-RTX, all lanes in one batch.

The state stays on the card, in two buffers that take turns; of three neighbouring frames only the
new one goes up. Nothing waits inside a step but once, for what comes down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from vidrepair.engines.cache import Build, Entry
from vidrepair.engines.key import EngineRequest
from vidrepair.engines.library import load_library, make_log
from vidrepair.engines.protocol import Identity
from vidrepair.errors import EngineError, UsageError
from vidrepair.frames import Batch, LaneStep, Repaired
from vidrepair.models import ModelCard
from vidrepair.models.card import UNSHUFFLED

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise EngineError(
        "TensorRT's engines need torch, which is not installed; pip install 'vidrepair[rtx]', or "
        "use --backend openvino"
    ) from error


class Device(Protocol):
    """Where the engines run: memory, and a queue of work."""

    name: str

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
    """One NVIDIA card and a stream of ours on it: on the default one TensorRT would wait."""

    def __init__(self, name: str) -> None:
        try:
            self._device = torch.device("cuda" if name == "auto" else name)
            if self._device.type != "cuda":
                raise UsageError(f"--device {name} is no NVIDIA card; use cuda, cuda:0 or auto")
            self._stream = torch.cuda.Stream(self._device)
            self.name = torch.cuda.get_device_name(self._device)
        except (RuntimeError, AssertionError) as error:
            raise EngineError(
                f"no NVIDIA card can be used ({str(error).strip().splitlines()[0]}); check the "
                "driver by nvidia-smi, or use --backend openvino"
            ) from error

    def empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, device=self._device)

    def staging(self, *shape: int) -> Tensor:
        return torch.empty(shape, pin_memory=True)

    def enqueue(self, work: Callable[[int], None]) -> None:
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            work(self._stream.cuda_stream)

    def wait(self) -> None:
        self._stream.synchronize()


class TensorRtEngine:
    """Runs a static engine for a batch of lanes; an empty lane repeats what it last saw."""

    def __init__(
        self,
        card: ModelCard,
        request: EngineRequest,
        build: Build,
        device: Device,
        *,
        library: Any = None,
        damage: bool = False,
    ) -> None:
        self._library = library or load_library(request.flavour)
        self._device = device
        self._damage = damage
        entry = build(request)
        self._log = make_log(self._library)
        shape = request.profile.best
        lanes, height, width = shape.lanes, shape.height, shape.width
        half, memory = (height // 2, width // 2), card.state_channels
        empty = device.empty
        self._frames = empty(lanes, 3, 3, height, width)
        self._noise = empty(lanes, 2, 17)
        self._states = [empty(lanes, memory, *half), empty(lanes, memory, *half)]
        self._outputs = {
            "denoise": empty(lanes, 3, height, width),
            "fill": empty(lanes, 3, height, width),
            "defect": empty(lanes, 1, height, width),
            "motion": empty(lanes, 4, height // 4, width // 4),
        }
        self._frame = empty(lanes, 3, height, width)
        self._aligned = empty(lanes, memory + UNSHUFFLED, *half)
        for tensor in (self._frames, self._noise, *self._states):
            tensor.zero_()
        wanted = self._outputs if damage else {"denoise": self._outputs["denoise"]}
        self._given = device.staging(*self._frames.shape)
        self._told = device.staging(*self._noise.shape)
        self._taken = {name: device.staging(*value.shape) for name, value in wanted.items()}
        outputs = self._outputs
        self._align = _Graph("align", entry, self._library, self._log)
        self._align.bind(
            frames=self._frames,
            state=self._states[0],
            motion=outputs["motion"],
            aligned=self._aligned,
        )
        self._restore = _Graph("restore", entry, self._library, self._log)
        self._restore.bind(
            frame=self._frame,
            aligned=self._aligned,
            noise=self._noise,
            state=self._states[1],
            **{name: outputs[name] for name in ("denoise", "fill", "defect")},
        )
        self._cancelled = False
        self.identity = Identity(
            backend=request.flavour,
            version=self._library.__version__,
            weights=card.sha256,
            precision=request.precision,
            device=device.name,
            height=height,
            width=width,
            lanes=lanes,
            tile=0,
            engine=entry.digest,
        )

    def step(self, batch: Batch) -> list[Repaired]:
        """One step of each lane of the batch, all of them at once."""
        if self._cancelled:
            raise EngineError("the run was cancelled")
        for lane in batch.lanes:
            self._given[lane.lane].copy_(torch.from_numpy(lane.frames))
            self._told[lane.lane].copy_(torch.from_numpy(lane.noise))
        try:
            self._device.enqueue(lambda stream: self._work(batch.lanes, stream))
            self._device.wait()
        except (RuntimeError, torch.OutOfMemoryError) as error:
            raise EngineError(
                f"{self.identity.backend} failed on {self._device.name} "
                f"({str(error).strip().splitlines()[0]}); try --backend openvino"
            ) from error
        self._states.reverse()
        return [self._repaired(lane.lane) for lane in batch.lanes]

    def _work(self, lanes: tuple[LaneStep, ...], stream: int) -> None:
        """Everything of a step, in the order of the queue."""
        for step in lanes:
            at = step.lane
            if step.fresh:
                self._states[0][at].zero_()
                self._frames[at].copy_(self._given[at], non_blocking=True)
            else:
                self._frames[at, 0].copy_(self._frames[at, 1])
                self._frames[at, 1].copy_(self._frames[at, 2])
                self._frames[at, 2].copy_(self._given[at, 2], non_blocking=True)
            self._noise[at].copy_(self._told[at], non_blocking=True)
        self._frame.copy_(self._frames[:, 1])
        self._align.place("state", self._states[0])
        self._restore.place("state", self._states[1])
        self._align.run(stream)
        self._restore.run(stream)
        for name, target in self._taken.items():
            target.copy_(self._outputs[name], non_blocking=True)

    def _repaired(self, lane: int) -> Repaired:
        taken = {name: value[lane].numpy().copy() for name, value in self._taken.items()}
        # One sum finds a NaN or an infinity anywhere.
        if not np.isfinite(taken["denoise"].sum()):
            raise EngineError(
                f"the engine's output is not finite in {self.identity.precision}; "
                "run with --precision fp32"
            )
        return Repaired(**taken)

    def cancel(self) -> None:
        """A step on a card takes milliseconds; the one after it does not start."""
        self._cancelled = True

    def close(self) -> None:
        """Give the card's memory back."""
        self._device.wait()
        self._states.clear()
        self._outputs.clear()


class _Graph:
    """One engine, loaded, with the places of its tensors."""

    def __init__(self, name: str, entry: Entry, library: Any, log: Any) -> None:
        self._name, self._library, self._log = name, library, log
        self._runtime = library.Runtime(log)
        self._engine: Any = self._runtime and self._runtime.deserialize_cuda_engine(
            entry.file(name).read_bytes()
        )
        if self._engine is None:
            raise self._failed("cannot be loaded; is it this card's, and is the driver new enough?")
        self._context: Any = self._engine.create_execution_context()
        if self._context is None:
            raise self._failed("does not fit into the card's memory; use --backend openvino")

    def bind(self, **tensors: Tensor) -> None:
        """Tell shapes and places of all inputs and outputs; the tensors have to live on."""
        engine = self._engine
        known = {engine.get_tensor_name(at) for at in range(engine.num_io_tensors)}
        if known != tensors.keys():
            raise self._failed(f"has the tensors {', '.join(sorted(known))}; build it again")
        for name, tensor in tensors.items():
            shape = tuple(tensor.shape)
            is_input = engine.get_tensor_mode(name) == self._library.TensorIOMode.INPUT
            if is_input and not self._context.set_input_shape(name, shape):
                raise self._failed(f"was not built for {name} of shape {shape}")
            self.place(name, tensor)
        if missing := self._context.infer_shapes():
            raise self._failed(f"lacks the shape of {', '.join(missing)}")

    def place(self, name: str, tensor: Tensor) -> None:
        """Move an input or output to another tensor of the same shape."""
        if not self._context.set_tensor_address(name, tensor.data_ptr()):
            raise self._failed(f"refused the place of {name}")

    def run(self, stream: int) -> None:
        """Put one execution into a stream."""
        if not self._context.execute_async_v3(stream):
            raise self._failed("failed")

    def _failed(self, what: str) -> EngineError:
        said = f" ({self._log.last_error})" if self._log.last_error else ""
        return EngineError(f"the engine of {self._name} {what}{said}")
