"""What every engine offers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol

from vidrepair.frames import Batch, Repaired


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything that decides a result beside the source and the settings.

    The same identity means equal bytes.
    """

    backend: str
    version: str
    weights: str
    """sha256 of the weights; empty for the identity engine."""
    precision: str
    device: str
    height: int
    width: int
    lanes: int
    tile: int
    """Side of a tile; 0 when the picture is restored in one piece."""
    threads: int = 0
    """Where their number changes a result, which it does for torch; else 0."""
    engine: str = ""
    """sha256 of the compiled engine's files, where there are any."""

    def as_dict(self) -> dict[str, str | int]:
        """For reports and sidecars."""
        return asdict(self)

    def summary(self) -> str:
        """One line for people."""
        tiles = f", tiles of {self.tile}" if self.tile else ""
        return f"{self.backend} {self.precision} on {self.device}, {self.lanes} lanes{tiles}"


class Engine(Protocol):
    """Runs the generator for lanes in lockstep, and keeps each lane's memory.

    Who shares a step with whom never changes a result.
    """

    @property
    def identity(self) -> Identity: ...

    def step(self, batch: Batch) -> list[Repaired]:
        """One step of each lane of the batch, answered in the order of the batch.

        What it answers may still be under way, see `Repaired`. Raises EngineError when the device
        fails.
        """
        ...

    @property
    def worked(self) -> float | None:
        """Seconds that a device of its own has worked; None where its caller's thread works."""
        ...

    def cancel(self) -> None:
        """Make a running step end soon; callable from any thread. The engine is then spent."""
        ...

    def close(self) -> None:
        """Give everything back; a second call does nothing."""
        ...
