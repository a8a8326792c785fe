"""The settings of a job; each checks itself and names the flag that is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vidrepair.errors import UsageError

BACKENDS = ("auto", "openvino", "onnxruntime", "torch", "tensorrt", "rtx", "identity")
KINDS = ("dust", "scratch", "dropout")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class DamageSettings:
    """Which damage is repaired."""

    kinds: tuple[str, ...] = KINDS
    """Of KINDS; none leaves all damage as it is."""
    min_confidence: float = 0.75
    """0 to 1; a defect that is less sure stays."""

    def __post_init__(self) -> None:
        kinds: Any = self.kinds  # from Python anything may come
        if isinstance(kinds, str):
            raise UsageError(f"kinds takes several of {', '.join(KINDS)}, such as ('dust',)")
        for kind in self.kinds:
            if kind not in KINDS:
                known = ", ".join(KINDS)
                raise UsageError(f"--repair {kind} is unknown; use all, none, or some of {known}")
        if not 0.0 <= self.min_confidence <= 1.0:
            raise UsageError(
                f"--min-confidence {self.min_confidence:g} is out of range; use 0 to 1"
            )

    def takes(self, kind: str, confidence: float) -> bool:
        """Whether a defect of this kind is repaired."""
        return kind in self.kinds and confidence >= self.min_confidence


@dataclass(frozen=True, slots=True)
class RepairSettings:
    """What is done to the picture."""

    denoise: Pair = (100.0, 100.0)
    """Share of the noise removed, luma and chroma, 0 to 100."""
    noise: Pair | None = None
    """Standard deviation on the 8-bit scale before clipping, luma and chroma; for R'G'B'
    sources the first is that of each sample. None: measured span by span."""
    damage: DamageSettings = field(default_factory=DamageSettings)
    grain: float = 0.0
    """Share of the measured grain that is made anew and added after denoising, 0 to 100."""
    deflicker: float = 0.0
    """Share of the flicker that is taken away, 0 to 100."""

    def __post_init__(self) -> None:
        _check_pair("--denoise", self.denoise, 100.0)
        if self.noise is not None:
            _check_pair("--noise", self.noise, 255.0)
        if self.grain > 0.0 and not any(self.denoise):
            raise UsageError(
                "--grain puts back what --denoise takes away, and --denoise is 0; leave one out"
            )
        for flag, value in (("--grain", self.grain), ("--deflicker", self.deflicker)):
            if not 0.0 <= value <= 100.0:
                raise UsageError(f"{flag} {value:g} is out of range; use 0 to 100")

    @property
    def asks(self) -> bool:
        """Whether anything is to be done at all."""
        return any(self.denoise) or self.mends

    @property
    def mends(self) -> bool:
        """Whether damage is repaired."""
        return bool(self.damage.kinds)

    @property
    def makes_grain(self) -> bool:
        """Whether grain has to be made: for its own sake, or over what is filled in."""
        return self.grain > 0.0 or (self.mends and min(self.denoise) < 100.0)


def _check_pair(flag: str, pair: Any, most: float) -> None:
    """From Python anything may come, one number above all."""
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise UsageError(f"{flag} takes two numbers, luma and chroma, such as (70.0, 70.0)")
    for value in pair:
        if not 0.0 <= value <= most:
            raise UsageError(f"{flag} {value:g} is out of range; use 0 to {most:g}")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What computes it."""

    model: str = "fast"
    """A released name, or the path of a weights file."""
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    tile: int | Literal["auto"] = "auto"
    """Side of a tile in pixels, a multiple of 16; 0 never tiles."""
    threads: int = 0
    """CPU threads of the engine; 0 takes all."""
    memory: int | None = None
    """Megabytes the engine may use; None takes a fixed share of the machine's memory."""
    trust_engine: Path | None = None
    """Folder of a compiled engine outside the cache. Loading one runs code that is in it."""

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise UsageError(f"--backend {self.backend} is unknown; use {', '.join(BACKENDS)}")
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"--precision {self.precision} is unknown; use {', '.join(PRECISIONS)}"
            )
        if self.tile != "auto" and (self.tile < 0 or self.tile % 16):
            raise UsageError(
                f"--tile {self.tile} is not a multiple of 16; use one, such as 256, 0 or auto"
            )
        if self.trust_engine is not None and self.backend not in ("auto", "tensorrt", "rtx"):
            raise UsageError(f"--trust-engine is not one of --backend {self.backend}; leave it out")
        if self.threads < 0:
            raise UsageError(f"--threads {self.threads} is negative; use 0 for all")
        if self.memory is not None and self.memory < 256:
            raise UsageError(f"--memory {self.memory} is too little; use at least 256 (megabytes)")

    def idle(self) -> EngineSettings:
        """The same for a run that changes nothing."""
        return replace(self, backend="identity", trust_engine=None)


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """How the result is written. None means: as the source suggests."""

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    overwrite: bool = False
    frames: int | None = None
    """Stop the output after so many frames; they equal the full run's."""
    mask_out: Path | None = None
    """Where the matte goes, an .mkv file: gray, at least 1 wherever repair changed a sample."""

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise UsageError(f"--frames {self.frames} leaves nothing to write; use 1 or more")
        if self.mask_out is not None:
            object.__setattr__(self, "mask_out", Path(self.mask_out))  # a str is as good
            if self.mask_out.suffix.lower() != ".mkv":
                raise UsageError(f"--mask-out {self.mask_out} has to be an .mkv file")


@dataclass(frozen=True, slots=True)
class Job:
    """One file to repair. A path of None is a y4m pipe: standard input or output."""

    source: Path | None
    output: Path | None
    repair: RepairSettings = field(default_factory=RepairSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    target: OutputSettings = field(default_factory=OutputSettings)
