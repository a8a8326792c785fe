"""The engine that changes nothing: for tests, and for `--denoise 0`."""

from __future__ import annotations

from vidrepair.engines.protocol import Identity
from vidrepair.frames import Batch, Picture, Repaired
from vidrepair.planes import padded_size


class IdentityEngine:
    """Answers every step with no change."""

    worked = None

    def __init__(self, picture: Picture) -> None:
        height, width = padded_size(picture)
        self.identity = Identity(
            backend="identity",
            version="1",
            weights="",
            precision="exact",
            device="cpu",
            height=height,
            width=width,
            lanes=1,
            tile=0,
        )

    def step(self, batch: Batch) -> list[Repaired]:
        """One empty answer for each lane."""
        return [Repaired(denoise=None) for _ in batch.lanes]

    def cancel(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing is held."""
