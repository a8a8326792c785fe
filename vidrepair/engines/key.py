"""What a compiled engine depends on, all of it: one bit of difference is another engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from vidrepair.errors import UsageError
from vidrepair.planes import STRIDE
from vidrepair.version import __version__

Flavour = Literal["tensorrt", "rtx"]
Precision = Literal["fp32", "fp16"]
FLAVOURS: tuple[str, ...] = get_args(Flavour)
PRECISIONS: tuple[str, ...] = get_args(Precision)
_LARGEST = 8192


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """Lanes, height and width of what an engine takes in one step."""

    lanes: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if not 1 <= self.lanes <= 64:
            raise UsageError(f"--lanes {self.lanes} is out of range; use 1 to 64")
        for side in (self.width, self.height):
            if side % STRIDE or not STRIDE <= side <= _LARGEST:
                raise UsageError(
                    f"{self.width}x{self.height} is not a size that an engine on a card has; sides "
                    f"are multiples of {STRIDE} up to {_LARGEST}"
                )

    def __str__(self) -> str:
        return f"{self.lanes}x{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Profile:
    """The shapes that an engine runs: from `least` to `most`, tuned for `best`."""

    least: Shape
    best: Shape
    most: Shape

    def __post_init__(self) -> None:
        for axis in ("lanes", "height", "width"):
            least, best, most = (getattr(s, axis) for s in (self.least, self.best, self.most))
            if not least <= best <= most:
                raise UsageError(f"{axis} {best} is not between {least} and {most}")

    @classmethod
    def static(cls, shape: Shape) -> Profile:
        """One shape alone, which is what a card runs fastest."""
        return cls(shape, shape, shape)

    @classmethod
    def dynamic(cls, shape: Shape) -> Profile:
        """Every size from 64x64 to twice `shape`, and up to as many lanes."""
        twice = (min(2 * side, _LARGEST) for side in (shape.height, shape.width))
        least = Shape(1, min(64, shape.height), min(64, shape.width))
        return cls(least, shape, Shape(shape.lanes, *twice))

    @classmethod
    def from_dict(cls, told: Mapping[str, Mapping[str, int]]) -> Profile:
        """From a manifest. Raises KeyError or TypeError where it tells something else."""
        return cls(*(Shape(**told[name]) for name in ("least", "best", "most")))

    @property
    def is_static(self) -> bool:
        return self.least == self.most

    def holds(self, shape: Shape) -> bool:
        """Whether an engine of this profile runs the shape."""
        return all(
            getattr(self.least, axis) <= getattr(shape, axis) <= getattr(self.most, axis)
            for axis in ("lanes", "height", "width")
        )


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """The engine that is wanted."""

    model: str
    """A released name, or the path of a .safetensors."""
    flavour: Flavour
    profile: Profile
    precision: Precision = "fp32"
    """Of the convolutions of `restore`; `align` is fp32 always."""
    tile: int = 0
    """Side of the tiles that `restore` is cut into, for a static profile; 0 never cuts."""
    capabilities: tuple[str, ...] = ()
    """Compute capabilities such as 8.6, for TensorRT-RTX alone; none: portable."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that decides what is in an engine's files.

    The files themselves cannot: the builders write other bytes each time.
    """

    model: str
    """Its name, for people; the weights decide."""
    weights: str
    """sha256 of the weights."""
    graphs: str
    """sha256 of what makes the graphs beside the weights: the code, or the files."""
    flavour: Flavour
    library: str
    """Version of TensorRT or of TensorRT-RTX."""
    target: str
    """GPU and compute capability that it was tuned on, capabilities that it was built for, or
    `portable`."""
    precision: Precision
    profile: Profile
    tile: int = 0
    vidrepair: str = field(default=__version__)

    def as_dict(self) -> dict[str, Any]:
        """For the manifest; tells everything that `digest` hashes."""
        return asdict(self)

    @property
    def digest(self) -> str:
        """sha256 over all fields but the name."""
        told = {name: value for name, value in self.as_dict().items() if name != "model"}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def summary(self) -> str:
        """One line for people."""
        profile = self.profile
        size = str(profile.best) if profile.is_static else f"{profile.least} to {profile.most}"
        if self.tile:
            size += f" in tiles of {self.tile}"
        return f"{self.model} {size} {self.precision}, {self.flavour} {self.library}, {self.target}"
