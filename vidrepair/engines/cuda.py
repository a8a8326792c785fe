"""The generator itself on a card: what runs where nothing has compiled it."""

from __future__ import annotations

import torch

from vidrepair.engines.device import Device
from vidrepair.engines.generator import load_generator
from vidrepair.engines.gpu import Buffers
from vidrepair.models import ModelFiles

TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""Of the weights of `restore`; `align`, and what is weighed by the gates, is fp32 always."""


class TorchProgram:
    """The `Program` of torch's own kernels, channels last, replayed as one CUDA graph."""

    capturable = True

    def __init__(self, files: ModelFiles, precision: str, device: Device, buffers: Buffers) -> None:
        self._on = buffers
        model = load_generator(files.load_weights())
        model.restorer.to(TYPES[precision])
        with device.working():
            self._model = model.to(device.memory, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it

    def align(self, stream: int) -> None:  # noqa: ARG002  # torch knows its stream
        """As `Program.align`."""
        on = self._on
        with torch.inference_mode():
            motion, aligned = self._model.align(on.frames, on.whole.state)
            on.motion.copy_(motion)
            on.whole.aligned.copy_(aligned)

    def restore(self, stream: int) -> None:  # noqa: ARG002
        """As `Program.restore`."""
        window = self._on.window
        with torch.inference_mode():
            *answers, state = self._model.restore(window.frame, window.aligned, self._on.noise)
            for name, tensor in zip(("denoise", "fill", "defect"), answers, strict=True):
                window.outputs[name].copy_(tensor)
            window.state.copy_(state)
