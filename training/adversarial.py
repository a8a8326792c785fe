"""The adversarial stage: the repair generator against a discriminator of clean film.

The game of Goodfellow et al. 2014, with the degraded stretch in place of z. Its anchor is the loss
of the stage before, so that what is added is texture where there was texture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.collapse import Watch, octave_power
from training.config import AdversarialConfig, TrainConfig
from training.discriminator import (
    Discriminator,
    accuracy,
    discriminator_loss,
    generator_loss,
)
from training.gradients import Inputs, Passage, run_stretch, stack
from training.lanes import Stretch
from training.losses import excess_energy, low_error
from training.ranks import Rank
from vidrepair.engines.generator import Generator, local_mean, noise_map
from vidrepair.engines.layers import warp


class Adam:
    """Adam for G, behind the face of `Optimiser`: the motion stays as fidelity taught it."""

    def __init__(self, model: nn.Module, config: AdversarialConfig, clip: float) -> None:
        self.parameters = []
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith("restorer"))
            if parameter.requires_grad:
                self.parameters.append(parameter)
        self._config, self._clip = config, clip
        self._adam = _adam(self.parameters, config)

    def step(self, share: float) -> tuple[float, bool]:
        """One step at `share` of the rate; none where the gradient is not finite."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self._clip)
        done = bool(norm.isfinite())
        if done:
            self._adam.param_groups[0]["lr"] = self._config.rate * share
            self._adam.step()
        for parameter in self.parameters:
            parameter.grad = None
        return float(norm), done

    def state_dict(self) -> dict[str, Any]:
        return {"adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        _load(self._adam, state["adam"], self._config)


def _load(adam: torch.optim.Adam, state: dict[str, Any], config: AdversarialConfig) -> None:
    """Its moments; rate and betas stay those of the settings of now."""
    adam.load_state_dict(state)
    adam.param_groups[0].update(lr=config.rate, betas=(config.beta1, 0.999))


def _adam(parameters: list[nn.Parameter], config: AdversarialConfig) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=config.rate, betas=(config.beta1, 0.999))


class Opponent:
    """D, its optimiser and the watch over the game: what a checkpoint holds beside G."""

    def __init__(self, config: AdversarialConfig, device: torch.device) -> None:
        self.model = Discriminator(width=config.width).to(device)
        self.parameters = list(self.model.parameters())
        self.adam = _adam(self.parameters, config)
        self._config = config
        self.watch = Watch(config.patience)

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "adam": self.adam.state_dict(),
            "watch": self.watch.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        _load(self.adam, state["adam"], self._config)
        self.watch.load_state_dict(state["watch"])


class Duel:
    """One step of the game: D learns, then G's gradients are left with its parameters."""

    def __init__(
        self, model: Generator, config: TrainConfig, opponent: Opponent, rank: Rank
    ) -> None:
        self._model = model
        self._config = config
        self._opponent = opponent
        self._rank = rank
        self._losses: dict[str, Tensor] = {}

    def __call__(self, batch: list[Stretch], state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns the loss of G, detached, and the memory of the lanes after the stretch.

        Raises CollapsedError when the game is over.
        """
        inputs = stack(self._model, batch, state)
        passage = run_stretch(self._model, inputs, self._config.loss)
        real, fake = three_frames(passage, inputs)
        sigma = inputs.sigma.repeat(len(fake) // len(inputs.sigma))
        lost, right = self._teach(real, fake.detach(), sigma)
        loss, played = self._generator_loss(inputs, passage, fake, sigma)
        loss.backward()
        self._losses = {"d": lost, "g": played}
        self._watch(right, fake, real, float(loss.detach()))
        return loss.detach(), passage.state

    def _watch(self, right: float, fake: Tensor, real: Tensor, loss: float) -> None:
        """All processes see the same, and stop together."""
        powers = [octave_power(part[:, 1:2]) for part in (fake, real)]
        seen = torch.tensor([right, loss, *powers[0], *powers[1]], dtype=torch.float64)
        right, loss, *shared = self._rank.mean(seen.to(self._rank.device)).tolist()
        count = len(powers[0])
        watch = self._opponent.watch
        watch.see(right, np.array(shared[:count]), np.array(shared[count:]), loss)

    def _teach(self, real: Tensor, fake: Tensor, sigma: Tensor) -> tuple[Tensor, float]:
        """A step of D; returns its loss and accuracy before it."""
        opponent = self._opponent
        for parameter in opponent.parameters:
            parameter.grad = None
        told = opponent.model(torch.cat((real, fake)), sigma.repeat(2)).chunk(2)
        loss = discriminator_loss(self._config.adversarial.form, *told)
        loss.backward()
        self._rank.share_gradients(opponent.parameters)
        opponent.adam.step()
        return loss.detach(), accuracy(*told)

    def _generator_loss(
        self, inputs: Inputs, passage: Passage, fake: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What G makes small, and of that its part in the game."""
        weights = self._config.adversarial
        for parameter in self._opponent.parameters:
            parameter.requires_grad_(False)
        played = generator_loss(weights.form, self._opponent.model(fake, sigma))
        for parameter in self._opponent.parameters:
            parameter.requires_grad_(True)
        loss = weights.anchor * passage.loss + weights.weight * played
        told = noise_level(inputs)
        for t, error in enumerate(passage.errors, start=1):
            low = low_error(error, inputs.sigma, self._config.loss.epsilon)
            beyond = excess_energy(error, weights.allowed * told[:, t])
            loss = loss + (weights.lock * low + weights.bound * beyond) / len(passage.errors)
        return loss, played.detach()

    def facts(self) -> dict[str, Any]:
        """For the log: both losses at the last step, D's accuracy and the spectrum."""
        losses = {name: round(float(loss), 5) for name, loss in self._losses.items()}
        return losses | self._opponent.watch.facts()


def three_frames(passage: Passage, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Luma of three frames, the outer two moved onto the middle one: (N, 3, H, W), clean, restored.

    Both along the same motion: what D is to see is whether detail stays with what it is on, and
    not how things move.
    """
    clean = [inputs.clean[:, t, :1] for t in range(1, len(passage.errors) + 1)]
    fake = [luma + error[:, :1] for luma, error in zip(clean, passage.errors, strict=True)]
    middles = range(1, len(clean) - 1)
    stacks = [
        torch.cat([_moved(film[t - 1 : t + 2], passage.motions[t].detach()) for t in middles])
        for film in (clean, fake)
    ]
    return stacks[0], stacks[1]


def _moved(frames: list[Tensor], motion: Tensor) -> Tensor:
    back, ahead = motion.split(2, dim=1)
    before, here, after = frames
    sides = [warp(*pair, 4, mode="bicubic") for pair in ((before, back), (after, ahead))]
    return torch.cat((sides[0], here, sides[1]), dim=1)


def noise_level(inputs: Inputs) -> Tensor:
    """The deviation of the luma's noise, as G is told it: (B, n + 2, 1, H/4, W/4)."""
    frames = inputs.noisy.flatten(0, 1)
    noise = inputs.noise.repeat_interleave(inputs.noisy.shape[1], dim=0)
    told: Tensor = noise_map(noise, local_mean(frames)[:, :1])[:, :1]
    level: Tensor = told.unflatten(0, inputs.noisy.shape[:2])
    return level
