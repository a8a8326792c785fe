"""NVIDIA's engines: both graphs, compiled by TensorRT or TensorRT-RTX, on a card's tensors."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vidrepair.engines.cache import Entry
from vidrepair.engines.device import Device
from vidrepair.engines.gpu import Buffers
from vidrepair.engines.library import make_log
from vidrepair.errors import EngineError


class TensorRtProgram:
    """The `Program` of a compiled engine. `library` is the module that compiled it.

    Raises EngineError when the engine is not this card's or not this network's, or does not fit
    into the card's memory.
    """

    def __init__(self, entry: Entry, library: Any, device: Device, buffers: Buffers) -> None:
        # TensorRT-RTX may not be captured while it still compiles kernels for the card.
        self.capturable = library.__name__ == "tensorrt"
        log = make_log(library)
        with device.working():
            self._align = _Graph("align", entry, library, log)
            self._restore = _Graph("restore", entry, library, log)
        whole, window = buffers.whole, buffers.window
        self._align.bind(
            {
                "frames": buffers.frames,
                "state": whole.state,
                "motion": buffers.motion,
                "aligned": whole.aligned,
            }
        )
        self._restore.bind(
            {
                "frame": window.frame,
                "aligned": window.aligned,
                "noise": buffers.noise,
                "state": window.state,
                **window.outputs,
            }
        )

    def align(self, stream: int) -> None:
        """As `Program.align`."""
        self._align.run(stream)

    def restore(self, stream: int) -> None:
        """As `Program.restore`."""
        self._restore.run(stream)


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
            if not context.set_tensor_address(name, tensor.data_ptr()):
                raise self._failed(f"refused the place of {name}")

    def run(self, stream: int) -> None:
        """Put one execution into a stream."""
        if not self._context.execute_async_v3(stream):
            raise self._failed("failed")

    def _failed(self, what: str) -> EngineError:
        said = f" ({self._log.last_error})" if self._log.last_error else ""
        return EngineError(f"the engine of {self._name} {what}{said}")
