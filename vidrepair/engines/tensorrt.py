"""NVIDIA's engines: both graphs as engines of TensorRT or TensorRT-RTX, all lanes in one batch.

The state stays on the card, in two buffers that take turns; of three neighbouring frames only the
new one goes up. Nothing waits inside a step but once, for what comes down.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vidrepair.engines.cache import Build, Entry
from vidrepair.engines.device import Device, first_line
from vidrepair.engines.key import EngineRequest, Shape
from vidrepair.engines.library import make_log
from vidrepair.engines.protocol import Identity, require_finite
from vidrepair.errors import EngineError
from vidrepair.frames import Batch, LaneStep, Repaired
from vidrepair.models import ModelCard
from vidrepair.models.card import UNSHUFFLED


class TensorRtEngine:
    """Runs engines for a batch of lanes; a lane with nothing to do repeats what it last saw.

    `library` is the module of `request.flavour`. Raises EngineError when an engine cannot be had,
    is not this card's or this network's, or does not fit into the card's memory.
    """

    def __init__(
        self,
        card: ModelCard,
        request: EngineRequest,
        build: Build,
        device: Device,
        library: Any,
        *,
        damage: bool = False,
    ) -> None:
        shape = request.profile.best
        self._device = device
        self._cancelled = False
        with device.active():
            self.entry = build(request)
            log = make_log(library)
            try:
                self._on = _Buffers.on(device, shape, card.state_channels)
                self._given = device.staging(*self._on.frames.shape)
                self._told = device.staging(*self._on.noise.shape)
                wanted = self._on.outputs if damage else {"denoise": self._on.outputs["denoise"]}
                self._taken = {name: device.staging(*out.shape) for name, out in wanted.items()}
            except RuntimeError as error:
                raise EngineError(
                    f"{shape.lanes} pictures of {shape.width}x{shape.height} do not fit into the "
                    f"memory of {device.name} ({first_line(error)}); use --backend openvino"
                ) from error
            self._align = _Graph("align", self.entry, library, log)
            self._align.bind(self._on.align())
            self._restore = _Graph("restore", self.entry, library, log)
            self._restore.bind(self._on.restore())
        self.identity = Identity(
            backend=request.flavour,
            version=library.__version__,
            weights=card.sha256,
            precision=request.precision,
            device=device.name,
            height=shape.height,
            width=shape.width,
            lanes=shape.lanes,
            tile=0,
            engine=self.entry.digest,
        )

    def step(self, batch: Batch) -> list[Repaired]:
        """One step of each lane of the batch, all of them at once."""
        if self._cancelled:
            raise EngineError("the run was cancelled")
        for lane in batch.lanes:
            new = slice(None) if lane.fresh else slice(2, 3)
            self._given[lane.lane, new].copy_(torch.from_numpy(lane.frames[new]))
            self._told[lane.lane].copy_(torch.from_numpy(lane.noise))
        try:
            self._device.enqueue(lambda stream: self._work(batch.lanes, stream))
            self._device.wait()
        except RuntimeError as error:
            raise EngineError(
                f"{self.identity.backend} failed on {self._device.name} ({first_line(error)}); "
                "try --backend openvino"
            ) from error
        self._on.states.reverse()
        return [self._repaired(lane.lane) for lane in batch.lanes]

    def _work(self, lanes: tuple[LaneStep, ...], stream: int) -> None:
        """Everything of a step, in the order of the queue."""
        on = self._on
        for step in lanes:
            at = step.lane
            if step.fresh:
                on.states[0][at].zero_()
                on.frames[at].copy_(self._given[at], non_blocking=True)
            else:
                on.frames[at, 0].copy_(on.frames[at, 1])
                on.frames[at, 1].copy_(on.frames[at, 2])
                on.frames[at, 2].copy_(self._given[at, 2], non_blocking=True)
            on.noise[at].copy_(self._told[at], non_blocking=True)
        on.frame.copy_(on.frames[:, 1])
        self._align.place("state", on.states[0])
        self._restore.place("state", on.states[1])
        self._align.run(stream)
        self._restore.run(stream)
        for name, target in self._taken.items():
            target.copy_(on.outputs[name], non_blocking=True)

    def _repaired(self, lane: int) -> Repaired:
        taken = {name: value[lane].numpy().copy() for name, value in self._taken.items()}
        repaired = Repaired(**taken)
        require_finite(repaired, self.identity)
        return repaired

    def cancel(self) -> None:
        """A step on a card takes milliseconds; the one after it does not start."""
        self._cancelled = True

    def close(self) -> None:
        """Give the card's memory back; what is left of an engine cannot step any more."""
        self._cancelled = True
        with suppress(RuntimeError):  # of a step that failed, and was told there
            self._device.wait()
        for name in ("_align", "_restore", "_on", "_given", "_told", "_taken"):
            if hasattr(self, name):
                delattr(self, name)


@dataclass(frozen=True, slots=True)
class _Buffers:
    """The tensors on the card, all fp32; the contract of `engines.generator` says what they are."""

    frames: Tensor
    frame: Tensor
    noise: Tensor
    aligned: Tensor
    states: list[Tensor]
    """Of t-1 and of t; they change places after each step."""
    outputs: dict[str, Tensor]

    @classmethod
    def on(cls, device: Device, shape: Shape, memory: int) -> _Buffers:
        """Allocate them, and clear what a lane that never had anything to do would show."""
        lanes, height, width = shape.lanes, shape.height, shape.width
        half = (height // 2, width // 2)
        buffers = cls(
            frames=device.empty(lanes, 3, 3, height, width),
            frame=device.empty(lanes, 3, height, width),
            noise=device.empty(lanes, 2, 17),
            aligned=device.empty(lanes, memory + UNSHUFFLED, *half),
            states=[device.empty(lanes, memory, *half) for _ in range(2)],
            outputs={
                "denoise": device.empty(lanes, 3, height, width),
                "fill": device.empty(lanes, 3, height, width),
                "defect": device.empty(lanes, 1, height, width),
                "motion": device.empty(lanes, 4, height // 4, width // 4),
            },
        )

        def clear(_stream: int) -> None:
            for tensor in (buffers.frames, buffers.noise, *buffers.states):
                tensor.zero_()

        # In the queue of the steps: another stream's zeros could come after a step's frames.
        device.enqueue(clear)
        device.wait()
        return buffers

    def align(self) -> dict[str, Tensor]:
        """The tensors of one graph."""
        return {
            "frames": self.frames,
            "state": self.states[0],
            "motion": self.outputs["motion"],
            "aligned": self.aligned,
        }

    def restore(self) -> dict[str, Tensor]:
        """The tensors of the other."""
        return {
            "frame": self.frame,
            "aligned": self.aligned,
            "noise": self.noise,
            "state": self.states[1],
            **{name: self.outputs[name] for name in ("denoise", "fill", "defect")},
        }


class _Graph:
    """One engine, loaded, with the places of its tensors."""

    def __init__(self, name: str, entry: Entry, library: Any, log: Any) -> None:
        self._name, self._library, self._log = name, library, log
        self._runtime = library.Runtime(log)
        self._engine: Any = self._runtime and self._runtime.deserialize_cuda_engine(
            entry.read(name)
        )
        if self._engine is None:
            raise self._failed("cannot be loaded; is it this card's, and is the driver new enough?")
        self._context: Any = self._engine.create_execution_context()
        if self._context is None:
            raise self._failed("does not fit into the card's memory; use --backend openvino")

    def bind(self, tensors: dict[str, Tensor]) -> None:
        """Tell shapes and places of all inputs and outputs; the tensors have to live on."""
        engine, context, library = self._engine, self._context, self._library
        known = {engine.get_tensor_name(at) for at in range(engine.num_io_tensors)}
        if known != tensors.keys():
            raise self._failed(f"has the tensors {', '.join(sorted(known))}; build it again")
        for name, tensor in tensors.items():
            if engine.get_tensor_dtype(name) != library.DataType.FLOAT:
                raise self._failed(f"does not have {name} in fp32; build it again")
            is_input = engine.get_tensor_mode(name) == library.TensorIOMode.INPUT
            if is_input and not context.set_input_shape(name, tuple(tensor.shape)):
                raise self._failed(f"was not built for {name} of shape {tuple(tensor.shape)}")
        if missing := context.infer_shapes():
            raise self._failed(f"lacks the shape of {', '.join(missing)}")
        for name, tensor in tensors.items():
            # An output of another size would be written beyond its place.
            if tuple(context.get_tensor_shape(name)) != tuple(tensor.shape):
                raise self._failed(f"has another shape of {name}; build it again")
            self.place(name, tensor)

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
