"""Whether a compiled engine computes what the generator computes: asked of each before it is used.

Compilers of engines have been wrong before, on samplers and on half precision above all.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidrepair.engines.generator import load_generator
from vidrepair.engines.layers import enlarge
from vidrepair.engines.protocol import Engine
from vidrepair.errors import EngineError
from vidrepair.frames import Batch, Frame, LaneStep, Picture, PixelFormat
from vidrepair.models import ModelFiles
from vidrepair.planes import to_generator

_FORMAT = PixelFormat("yuv444p16le", "yuv", 16)
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
    loss: float
    """Decibels of PSNR that the engine's pictures have less than the generator's."""

    def as_dict(self) -> dict[str, float]:
        """For the manifest."""
        return {
            "largest": round(self.largest, 4),
            "rms": round(self.rms, 5),
            "loss": round(self.loss, 4),
        }

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.largest:.3g} code values at most, {self.rms:.2g} rms, {self.loss:.3f} dB less"
        )

    def require(self, precision: str) -> None:
        """Raise EngineError where that is more than the precision explains."""
        largest, rms = _ALLOWED[precision]
        if not (self.largest <= largest and self.rms <= rms):
            raise EngineError(
                f"the compiled engine differs from the generator by {self.summary()} (allowed in "
                f"{precision}: {largest} and {rms}); remove it by vidrepair engines prune "
                "--limit 0, or use --backend openvino"
            )


def compare(engine: Engine, files: ModelFiles) -> Agreement:
    """Run some steps of a made film through all lanes and through the generator.

    The engine's lanes have to start afresh afterwards. Raises ModelError without a .safetensors.
    """
    identity = engine.identity
    clean, noisy = _film(identity.height, identity.width)
    frames = [_frame(picture, number) for number, picture in enumerate(noisy)]
    film = torch.stack([_seen(frame) for frame in frames])
    noise = np.full((2, 17), _NOISE, dtype=np.float32)
    expected = _expected(files, film, noise)
    differences, errors = [], []
    for t in range(_STEPS):
        seen = (frames[t], frames[t + 1], frames[t + 2])
        steps = tuple(LaneStep(n, seen, noise, fresh=t == 0) for n in range(identity.lanes))
        for answer in engine.step(Batch(steps)):
            assert answer.denoise is not None
            found = torch.from_numpy(answer.place.start_fetch((answer.denoise,))()[0])
            differences.append(255.0 * (found - expected[t]))
            errors.append(film[t + 1] + found - clean[t + 1])
    every = torch.stack(differences)
    truth = film[1:-1] + expected - clean[1:-1]
    worse = torch.stack(errors).square().mean() / truth.square().mean()
    return Agreement(
        float(every.abs().max()), float(every.square().mean().sqrt()), 10.0 * float(worse.log10())
    )


def _expected(files: ModelFiles, film: Tensor, noise: NDArray[np.float32]) -> Tensor:
    """(_STEPS, 3, H, W): what the generator answers, in fp32, on the processor.

    Beside an engine a card may have no room for it, and where it is wrong, both could be.
    """
    model = load_generator(files.load_weights())
    told = torch.from_numpy(noise)[None]
    found = []
    with torch.inference_mode():
        state = model.initial_state(film[:1])
        for t in range(_STEPS):
            residual, _, _, state, _ = model(film[t : t + 3][None], state, told)
            found.append(residual[0])
    return torch.stack(found)


def _frame(picture: Tensor, number: int) -> Frame:
    """A picture in the generator's unit, (3, H, W), in 16 bits."""
    peak = float(_FORMAT.peak)
    middle = torch.tensor([0.0, 0.5, 0.5])[:, None, None]
    codes = ((picture + middle) * peak).round().clamp(0.0, peak).numpy().astype(np.uint16)
    height, width = codes.shape[1:]
    return Frame(tuple(codes), Picture(width, height, _FORMAT), number, number, Fraction(1, 25))


def _seen(frame: Frame) -> Tensor:
    """What an engine sees of a frame."""
    out = torch.empty(3, frame.picture.height, frame.picture.width)
    to_generator(frame.planes, frame.picture, out.numpy())
    return out


def _film(height: int, width: int) -> tuple[Tensor, Tensor]:
    """(_STEPS + 2, 3, H, W): a pan over soft shapes, clean and noisy; the same one every time.

    There is no motion to find in noise alone, and rounding would decide it.
    """
    rng = torch.Generator().manual_seed(0)
    across = width // 8 + _STEPS + 2
    coarse = torch.rand(1, 3, height // 8, across, generator=rng)
    scene = enlarge(coarse, 8)[0]
    scene[1:] -= 0.5
    frames = torch.stack([scene[..., 3 * t : 3 * t + width] for t in range(_STEPS + 2)])
    return frames, frames + _NOISE * torch.randn(frames.shape, generator=rng)
