"""A generator whose motion is known."""

from __future__ import annotations

import torch

from vidrepair.engines.generator import Generator


def hold_still(generator: Generator) -> None:
    """A new net trusts its steps, and in white noise or behind damage there is none to trust."""
    for net in generator.motion_net.nets:
        torch.nn.init.zeros_(net[-1].bias)  # type: ignore[index, union-attr, arg-type]
