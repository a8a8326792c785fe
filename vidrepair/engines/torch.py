"""The reference engine, on a processor or where else torch works. Needs the [train] extra."""

from __future__ import annotations

from typing import Any

import numpy as np

from vidrepair.engines.plan import Plan
from vidrepair.engines.protocol import Identity
from vidrepair.engines.ring import FrameRing
from vidrepair.engines.tiles import Tile, cut_tiles
from vidrepair.errors import EngineError, UsageError
from vidrepair.frames import Batch, LaneStep, Picture, Repaired
from vidrepair.models import ModelFiles
from vidrepair.planes import padded_size

try:
    import torch
    from torch import Tensor

    from vidrepair.engines.generator import Generator, load_generator
except ImportError as error:
    raise EngineError(
        "the torch engine needs torch, which is not installed; pip install 'vidrepair[train]'"
    ) from error


class TorchEngine:
    """The generator itself, one lane after the other."""

    worked = None

    def __init__(
        self,
        files: ModelFiles,
        picture: Picture,
        plan: Plan,
        *,
        bf16: bool,
        device: str = "cpu",
        damage: bool = False,
    ) -> None:
        self._device = _open_device(device)
        if self._device.type == "cpu":
            torch.set_num_threads(plan.threads)
        self._bf16 = bf16
        self._damage = damage
        self._model: Generator = load_generator(files.load_weights()).eval()
        self._model.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        height, width = padded_size(picture)
        self._tiles = cut_tiles(height, width, plan.tile, files.card.halo)
        self._rings = [FrameRing(height, width) for _ in range(plan.lanes)]
        self._states: dict[int, Tensor] = {}
        self.identity = Identity(
            backend="torch",
            version=torch.__version__,
            weights=files.card.sha256,
            precision="bf16" if bf16 else "fp32",
            device=device,
            height=height,
            width=width,
            lanes=plan.lanes,
            tile=plan.tile,
            threads=plan.threads if self._device.type == "cpu" else 0,
        )

    def step(self, batch: Batch) -> list[Repaired]:
        """One step of each lane; in a batch a lane's result would depend on the others."""
        try:
            with torch.inference_mode():
                return [self._step(step) for step in batch.lanes]
        except (RuntimeError, torch.OutOfMemoryError) as error:
            raise EngineError(
                f"the torch engine failed on {self._device} ({str(error).splitlines()[0]}); "
                "try a smaller --memory, or --backend openvino"
            ) from error

    def _step(self, step: LaneStep) -> Repaired:
        frames = torch.from_numpy(self._rings[step.lane].take(step)).to(self._device)[None]
        noise = torch.from_numpy(step.noise).to(self._device)[None]
        state = None if step.fresh else self._states.get(step.lane)
        if state is None:
            state = self._model.initial_state(frames[:, 1])
        motion, aligned = self._model.align(frames, state)
        denoise, fill, defect, state = self._restore(frames[:, 1], aligned, noise)
        self._states[step.lane] = state
        if not self._damage:
            return Repaired(_array(denoise))
        return Repaired(_array(denoise), _array(fill), _array(defect), _array(motion))

    def _restore(self, frame: Tensor, aligned: Tensor, noise: Tensor) -> list[Tensor]:
        whole: list[Tensor] = []
        for tile in self._tiles:
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
                parts = self._model.restore(
                    frame[..., *tile.window()], aligned[..., *tile.window(2)], noise
                )
            if len(self._tiles) == 1:
                return list(parts)
            whole = whole or [_like(frame, part, tile) for part in parts]
            for target, part in zip(whole, parts, strict=True):
                scale = frame.shape[-1] // target.shape[-1]
                target[..., *tile.kept(scale)] = part[..., *tile.inside(scale)]
        return whole

    def cancel(self) -> None:
        """A step of torch cannot be cut short; it ends by itself."""

    def close(self) -> None:
        """Give the memory back."""
        self._states.clear()
        self._rings.clear()


def _open_device(name: str) -> torch.device:
    """The device, once a tensor was put on it. Its fp32 is fp32: motion suffers from TF32."""
    torch.backends.cudnn.allow_tf32 = False
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"--device {name} does not work with this torch ({str(error).splitlines()[0]}); "
            "use cpu, cuda where there is one, or auto"
        ) from error
    return device


def _like(frame: Tensor, part: Tensor, tile: Tile) -> Tensor:
    """An empty picture of the whole frame's size, at the scale and with the channels of `part`."""
    scale = tile.width // part.shape[-1]
    return part.new_empty(1, part.shape[1], frame.shape[-2] // scale, frame.shape[-1] // scale)


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor[0].float().cpu().numpy()
