"""Muon for the filter banks inside, AdamW for the rest; an average of the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from training.config import OptimiserConfig

# The first and the last convolutions map between pictures and features: not for Muon.
_EDGES = ("restorer.enter", "restorer.denoise", "restorer.repair")


class Optimiser:
    """Both optimisers behind one `step`.

    torch's Muon (Jordan et al. 2024: momentum 0.95, Nesterov, five Newton-Schulz steps,
    scaled by sqrt(max(1, rows / columns))) takes matrices only, so each filter bank is handed
    over as a view (out, in x height x width) of the same memory. Freezes every weight of the model
    that `config.only` does not name; raises ValueError where none is left.
    """

    def __init__(self, model: nn.Module, config: OptimiserConfig) -> None:
        self.config = config
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(config.only))
        banks, rest = split_parameters(model)
        if not banks + rest:
            raise ValueError(
                f"optimiser.only is {config.only!r}, and no weight is named so; use motion_net,"
                " restorer, restorer.repair or nothing"
            )
        self.parameters = banks + rest
        self.banks = [(bank, nn.Parameter(_flat(bank.data, like=bank))) for bank in banks]
        self.parts: dict[str, tuple[torch.optim.Optimizer, float]] = {}
        """Those that have something to train, and their full rates."""
        if banks:
            flats = [flat for _, flat in self.banks]
            muon = torch.optim.Muon(flats, lr=config.muon, momentum=0.95, weight_decay=0.0)
            self.parts["muon"] = muon, config.muon
        if rest:
            adamw = torch.optim.AdamW(rest, lr=config.adamw, betas=(0.9, 0.99), weight_decay=0.0)
            self.parts["adamw"] = adamw, config.adamw
        self.typical = 0.0
        """Norm of the gradient, a running mean; 0 before the first step."""

    def step(self, share: float) -> tuple[float, bool]:
        """One step at `share` of the full rates; none where the gradient is an outlier.

        Returns the norm of the gradient, and whether the step was done.
        """
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.config.clip))
        # One bad batch must not spoil the weights, nor the moments of both optimisers.
        done = not self._is_outlier(norm)
        if done:
            self._apply(share)
        for parameter in self.parameters:
            parameter.grad = None
        return norm, done

    def _apply(self, share: float) -> None:
        for bank, flat in self.banks:
            flat.grad = None if bank.grad is None else _flat(bank.grad, like=bank)
        for optimiser, rate in self.parts.values():
            for group in optimiser.param_groups:
                group["lr"] = rate * share
            optimiser.step()

    def _is_outlier(self, norm: float) -> bool:
        """Not finite, or far above what has been usual; a lasting rise becomes usual in time."""
        if not math.isfinite(norm):
            return True
        most = self.config.outlier * self.typical if self.typical else math.inf
        self.typical += 0.02 * (min(norm, most) - self.typical) if self.typical else norm
        return norm > most

    def state_dict(self) -> dict[str, Any]:
        states = {name: optimiser.state_dict() for name, (optimiser, _) in self.parts.items()}
        return {**states, "typical": self.typical}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, (optimiser, _) in self.parts.items():
            optimiser.load_state_dict(state[name])
        self.typical = state["typical"]


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """What is trained: the filter banks for Muon, and everything else, in the model's order."""
    banks: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        inner = parameter.ndim == 4 and not name.startswith(_EDGES)
        # Nor the first and last layers of the motion's nets: 8 channels in, 3 out.
        inner = inner and min(parameter.shape[:2]) > 8
        (banks if inner else rest).append(parameter)
    return banks, rest


def _flat(values: Tensor, like: Tensor) -> Tensor:
    """A filter bank, or its gradient, as a matrix in the memory order of the bank `like`."""
    channels_last = like.permute(0, 2, 3, 1).is_contiguous()
    return (values.permute(0, 2, 3, 1) if channels_last else values).reshape(len(values), -1)


class Average:
    """An exponential moving average of a model's weights, with a warm-up of its own."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go on from these."""
        for name, value in weights.items():
            self.weights[name].copy_(value)

    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model's weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            now = model.state_dict()
            torch._foreach_lerp_(
                list(self.weights.values()), [now[name] for name in self.weights], 1.0 - decay
            )
