"""The single-frame control: the same network without time, trained on the same pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vidrepair.engines.generator import SHAPES, Generator
from vidrepair.models.card import UNSHUFFLED


class SingleFrame(Generator):
    """Sees frame t where the others see their neighbours, and remembers nothing."""

    def align(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """No motion; the frame itself as both neighbours, and no features."""
        picture = functional.pixel_unshuffle(frames[:, 1], 2)
        motion = picture.new_zeros(len(picture), 4, *(side // 4 for side in frames.shape[-2:]))
        return motion, torch.cat((picture, torch.zeros_like(state[:, UNSHUFFLED:]), picture), dim=1)


def make_generator(size: str, control: str) -> Generator:
    """A new generator of a size, or the control of it."""
    kind = SingleFrame if control == "single" else Generator
    return kind(SHAPES[size])
