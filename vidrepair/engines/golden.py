"""Whether a compiled engine computes what the generator computes: asked of each before it is used.

Compilers of engines have been wrong before, on samplers and on half precision above all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidrepair.engines.device import Device
from vidrepair.engines.generator import load_generator
from vidrepair.engines.layers import enlarge
from vidrepair.engines.protocol import Engine
from vidrepair.errors import EngineError
from vidrepair.frames import Batch, LaneStep
from vidrepair.models import ModelFiles

_STEPS = 3
_NOISE = 0.05
"""Deviation of the noise, as a share of the peak code."""
_ALLOWED = {"fp32": (0.25, 0.03), "fp16": (2.0, 0.25)}
"""Largest and root mean square difference, in 8-bit code values."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far an engine was from the generator in fp32, in 8-bit code values."""

    largest: float
    rms: float

    def as_dict(self) -> dict[str, float]:
        """For the manifest."""
        return {"largest": round(self.largest, 4), "rms": round(self.rms, 5)}

    def require(self, precision: str) -> None:
        """Raise EngineError where that is more than the precision explains."""
        largest, rms = _ALLOWED[precision]
        if not (self.largest <= largest and self.rms <= rms):
            raise EngineError(
                f"the compiled engine differs from the generator by {self.largest:.2g} code "
                f"values, {self.rms:.2g} rms (allowed in {precision}: {largest}, {rms}); remove it "
                "by vidrepair engines prune --limit 0, or use --backend openvino"
            )


def compare(engine: Engine, files: ModelFiles, device: Device) -> Agreement:
    """Run some steps of a made film through all lanes and through the generator.

    The engine's lanes have to start afresh afterwards. Raises ModelError without a .safetensors.
    """
    identity = engine.identity
    film = _film(identity.height, identity.width)
    noise = np.full((2, 17), _NOISE, dtype=np.float32)
    model = load_generator(files.load_weights()).to(device.memory)
    state: Tensor | None = None
    differences = []
    for t in range(_STEPS):
        lanes = range(identity.lanes)
        frames = film[t : t + 3].numpy()
        steps = tuple(LaneStep(lane, frames, noise, fresh=t == 0) for lane in lanes)
        got = [torch.from_numpy(answer.denoise) for answer in engine.step(Batch(steps))]
        with torch.inference_mode():
            given = film[t : t + 3][None].to(device.memory)
            before = model.initial_state(given[:, 1]) if state is None else state
            told = torch.from_numpy(noise)[None].to(device.memory)
            truth, _, _, state, _ = model(given, before, told)
        differences += [255.0 * (one - truth[0].cpu()) for one in got]
    every = torch.stack(differences)
    return Agreement(float(every.abs().max()), float(every.square().mean().sqrt()))


def _film(height: int, width: int) -> Tensor:
    """(_STEPS + 2, 3, H, W): a pan over soft shapes, noisy; the same one every time.

    There is no motion to find in noise alone, and rounding would decide it.
    """
    rng = torch.Generator().manual_seed(0)
    across = width // 8 + _STEPS + 2
    coarse = torch.rand(1, 3, height // 8, across, generator=rng)
    scene = enlarge(coarse, 8)[0]
    scene[1:] -= 0.5
    frames = torch.stack([scene[..., 3 * t : 3 * t + width] for t in range(_STEPS + 2)])
    return frames + _NOISE * torch.randn(frames.shape, generator=rng)
