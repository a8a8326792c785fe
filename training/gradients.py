"""Loss and gradients of one batch; on a GPU one CUDA graph, captured once and replayed.

A step launches some ten thousand small kernels. Launched one by one they keep Python busier than
the card, and it would hardly get to anything else (`torch.cuda.graph`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.config import LossConfig
from training.lanes import Stretch
from training.losses import defect_error, fidelity, fill_error, shift_error, warp_error
from vidrepair.engines.generator import Generator

_WARM_UP = 3
"""Passes before the capture: libraries choose their algorithms in them."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What the lanes of one step see, stacked; (B, n + 2, ...) where a stretch has (n + 2, ...)."""

    noisy: Tensor
    clean: Tensor
    damage: Tensor
    noise: Tensor
    sigma: Tensor
    state: Tensor
    """The memory that each lane starts from."""

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, in a fixed order."""
        return (self.noisy, self.clean, self.damage, self.noise, self.sigma, self.state)


_Run = Callable[[Inputs], tuple[Tensor, Tensor]]


class Gradients:
    """Runs every lane through its stretch, and leaves the gradients with the parameters."""

    def __init__(
        self, model: Generator, parameters: list[nn.Parameter], weights: LossConfig
    ) -> None:
        self._model = model
        self._parameters = parameters
        self._weights = weights
        self._captured: _Captured | None = None

    def __call__(self, batch: list[Stretch], state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns the loss, detached, and the memory of the lanes after the stretch."""
        inputs = stack(self._model, batch, state)
        if inputs.noisy.device.type != "cuda":
            return self._run(inputs)
        if self._captured is None or not self._captured.fits(inputs):
            self._captured = None  # its memory is needed again
            self._captured = _Captured(self._run, inputs, self._parameters)
        return self._captured.replay(inputs)

    def _run(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        passage = run_stretch(self._model, inputs, self._weights)
        passage.loss.backward()
        return passage.loss.detach(), passage.state

    @staticmethod
    def facts() -> dict[str, Any]:
        """For the log, beside the loss: nothing."""
        return {}


class _Captured:
    """A pass as a graph, with the memory that it reads and writes."""

    def __init__(self, run: _Run, inputs: Inputs, parameters: list[nn.Parameter]) -> None:
        self._inputs = Inputs(*(tensor.clone() for tensor in inputs.tensors()))
        self._parameters = parameters
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UP):
                self._forget()
                run(self._inputs)
        torch.cuda.current_stream().wait_stream(beside)
        self._forget()
        self._graph = torch.cuda.CUDAGraph()
        # A thread brings the next batch to the card meanwhile: that is no part of it.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._answer = run(self._inputs)
        self._gradients = [parameter.grad for parameter in parameters]

    def fits(self, inputs: Inputs) -> bool:
        """Whether it was captured for such shapes."""
        pairs = zip(self._inputs.tensors(), inputs.tensors(), strict=True)
        return all(mine.shape == new.shape for mine, new in pairs)

    def replay(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        for mine, new in zip(self._inputs.tensors(), inputs.tensors(), strict=True):
            mine.copy_(new)
        self._graph.replay()
        # A replay writes into these, whatever became of them since.
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        loss, state = self._answer
        return loss.clone(), state.clone()

    def _forget(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """What came of a stretch of n steps."""

    loss: Tensor
    """The mean over the steps."""
    state: Tensor
    """The memory after it, detached."""
    errors: list[Tensor]
    """n times (B, 3, H, W) fp32: restored less clean, zero where damaged."""
    motions: list[Tensor]
    """n times (B, 4, H/4, W/4), as `Generator.align` tells it."""


def run_stretch(model: Generator, inputs: Inputs, weights: LossConfig) -> Passage:
    """Run every lane through its stretch.

    Nothing here may depend on a value on the host: it is captured.
    """
    noisy, clean, damage, sigma = inputs.noisy, inputs.clean, inputs.damage, inputs.sigma
    # A batch without any damage says nothing of fill and defect.
    damaged = damage.amax()
    state = inputs.state
    steps = noisy.shape[1] - 2
    total = noisy.new_zeros(())
    before: tuple[Tensor, Tensor] | None = None
    errors, motions = [], []
    # One autocast around all steps: it keeps the weights it has cast until it ends.
    with torch.autocast(noisy.device.type, torch.bfloat16):
        for t in range(1, steps + 1):
            frames = noisy[:, t - 1 : t + 2]
            motion, aligned = model.align(frames, state)
            residual, fill, defect, state = model.restore(frames[:, 1], aligned, inputs.noise)
            with torch.autocast(noisy.device.type, enabled=False):
                # Under dirt there is no noise to take away: that is the fill's.
                whole = 1.0 - damage[:, t].amax(dim=1, keepdim=True)
                error = (frames[:, 1] + residual - clean[:, t]) * whole
                total = total + fidelity(error, sigma, weights.epsilon)
                total = total + weights.shift * shift_error(error)
                if before is not None:
                    change = (error - before[0]) * whole * before[1]
                    total = total + weights.temporal * fidelity(change, sigma, weights.epsilon)
                if weights.warp:
                    total = total + weights.warp * warp_error(clean[:, t - 1 : t + 2], motion)
                filled = weights.fill * fill_error(fill - clean[:, t], 1.0 - whole)
                found = weights.defect * defect_error(defect, damage[:, t])
                total = total + damaged * (filled + found)
            before = (error, whole)
            errors.append(error)
            motions.append(motion)
    # A single bad pass must not poison the lane for as long as its showing lasts.
    state = torch.nan_to_num(state.detach(), 0.0, 0.0, 0.0)
    return Passage(total / steps, state, errors, motions)


def stack(model: Generator, batch: list[Stretch], state: Tensor | None) -> Inputs:
    """The lanes of one step side by side, on from the memory `state`, or from none."""
    first = torch.stack([stretch.noisy[0] for stretch in batch])
    if state is None:
        state = model.initial_state(first)
    fresh = torch.tensor([stretch.fresh for stretch in batch], device=first.device)
    return Inputs(
        noisy=torch.stack([stretch.noisy for stretch in batch]),
        clean=torch.stack([stretch.clean for stretch in batch]),
        damage=torch.stack([stretch.damage for stretch in batch]),
        noise=torch.stack([stretch.noise for stretch in batch]),
        sigma=torch.tensor([stretch.sigma for stretch in batch], device=first.device),
        # The state starts at zero at the beginning of a showing.
        state=state.masked_fill(fresh[:, None, None, None], 0.0),
    )
