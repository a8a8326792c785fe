"""When two nets at play have stopped teaching each other: seen early, said once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from training.octaves import OCTAVES, octave_powers

SURE = 0.99
"""Accuracy of D, lasting, beyond which it teaches nothing any more: its patches are all told."""
INVENTED = 3.0
"""Decibels above clean film in any octave, lasting: G makes what was never there."""
LOST = 6.0
"""Decibels below where the training began, in any octave, lasting."""


class CollapsedError(ValueError):
    """The game is over: what happened."""

    def at(self, out: Path) -> CollapsedError:
        """The same, with where the last good weights lie and what to try."""
        again = "start again in another folder"
        if (out / "good.pt").exists():
            again = "copy good.pt, of the time before, over checkpoint.pt and go on"
        return CollapsedError(
            f"the adversarial training of {out} collapsed: {self}; {again}, with a lower "
            "adversarial.weight or another adversarial.form"
        )


def octave_power(luma: Tensor) -> Any:
    """Power of pictures (B, 1, H, W) by octave of frequency, (3,)."""
    return octave_powers(luma[:, 0].detach().cpu().double().numpy()).sum(axis=0)


class Watch:
    """Running means over about `patience` steps of D's accuracy and of what G's spectrum lacks."""

    def __init__(self, patience: int) -> None:
        self._rate = 1.0 / patience
        self._patience = patience
        self.steps = 0
        self.accuracy = 0.5
        self.excess = [0.0] * (len(OCTAVES) - 1)
        """Decibels of restored over clean film, by octave."""
        self.first: list[float] = []
        """The same after the first `patience` steps."""

    def see(self, accuracy: float, restored: Any, clean: Any, loss: float) -> None:
        """One step: D's accuracy, power by octave of both, the loss of G.

        Raises CollapsedError when the game is over.
        """
        if not math.isfinite(loss):
            raise CollapsedError("the loss is not finite")
        self.steps += 1
        # A plain mean at first, so that early steps do not count for ever.
        rate = max(self._rate, 1.0 / self.steps)
        self.accuracy += rate * (accuracy - self.accuracy)
        now = 10.0 * np.log10((restored + 1e-12) / (clean + 1e-12))
        self.excess = [old + rate * (new - old) for old, new in zip(self.excess, now, strict=True)]
        if self.steps < self._patience:
            return
        self.first = self.first or list(self.excess)
        self._judge()

    @property
    def calm(self) -> bool:
        """Nothing is half as far as it may go: weights of now can be gone back to."""
        lost = (first - now for now, first in zip(self.excess, self.first, strict=False))
        return (
            self.accuracy < (0.5 + SURE) / 2.0
            and max(self.excess) < INVENTED / 2.0
            and max(lost, default=0.0) < LOST / 2.0
        )

    def _judge(self) -> None:
        if self.accuracy > SURE:
            raise CollapsedError(
                f"the discriminator is right in {100 * self.accuracy:.1f} % of cases"
            )
        for octave, (now, first) in enumerate(zip(self.excess, self.first, strict=True)):
            where = f"{OCTAVES[octave]:g} to {OCTAVES[octave + 1]:g} cycles per sample"
            if now > INVENTED:
                raise CollapsedError(f"{now:.1f} dB too much detail at {where}")
            if now < first - LOST:
                raise CollapsedError(f"detail at {where} fell by {first - now:.1f} dB")

    def facts(self) -> dict[str, Any]:
        """For the log."""
        return {
            "accuracy": round(self.accuracy, 4),
            "octaves": [round(float(value), 3) for value in self.excess],
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "accuracy": self.accuracy,
            "excess": [float(value) for value in self.excess],
            "first": [float(value) for value in self.first],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
