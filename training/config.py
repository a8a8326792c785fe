"""The settings of one training, read from a TOML file; every field can be set by --set."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STAGES = ("fidelity", "adversarial")
FORMS = ("minimax", "non-saturating", "hinge")
SIZES = ("fast", "base")
CONTROLS = ("none", "single")
RELATIVE = "what a TOML file names is relative to the file, what --set names to where you are"
"""Told where a file or folder of the settings is not there."""
_FOLDERS = {"clips", "photos", "shapes", "pairs", "grains", "validation"}
"""The keys of data that name files and folders."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where the clean pictures come from, and how they are shown."""

    clips: tuple[str, ...] = ()
    """Folders of video files, one shot each."""
    photos: tuple[str, ...] = ()
    """Folders of stills, shown with synthetic camera motion."""
    shapes: tuple[str, ...] = ()
    """Folders of opacity pictures of single marks of damage; without any, marks are drawn."""
    pairs: tuple[str, ...] = ()
    """Folders of really encoded pairs, made by `python -m training encode-pairs`."""
    grains: tuple[str, ...] = ()
    """Files of learned grain, made by `python -m training grain-gan`."""
    validation: tuple[str, ...] = ()
    """Folders of clips that are never trained on, to watch the progress with."""
    photo_share: float = 0.3
    """Share of the showings that are stills."""
    damage: float = 0.0
    """Share of the showings that may be damaged, unsteady, or full of what looks like damage."""
    pair_share: float = 0.0
    """Share of the showings that are really encoded pairs."""
    grain_share: float = 0.0
    """Share of the showings whose noise is learned grain."""
    exclude: tuple[str, ...] = ()
    """Name prefixes of files that are left out."""

    def __post_init__(self) -> None:
        for name in ("photo_share", "damage", "pair_share", "grain_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"data.{name} is {getattr(self, name)}; use a share, 0 to 1")
        if self.grain_share and not self.grains:
            raise ValueError("data.grain_share needs data.grains, files made by grain-gan")


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """How much is seen at each step."""

    lanes: int = 6
    """Showings advancing side by side."""
    frames: int = 10
    """Frames of each lane per step; gradients flow through all of them."""
    crop: int = 96
    """Side of the square shown, a multiple of 16."""
    long_share: float = 0.25
    """Share of showings that run on for up to `long_frames`, the state carried, detached."""
    long_frames: int = 80
    """Length of the long showings."""
    workers: int = 0
    """Processes that make the next batches meanwhile; 0 makes one per core for a GPU, and none
    on a CPU, where they would only take it away from the training."""

    def __post_init__(self) -> None:
        for name in ("lanes", "frames", "long_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"batch.{name} is {getattr(self, name)}; use 1 or more")
        if self.workers < 0:
            raise ValueError(f"batch.workers is {self.workers}; use 0 or more")
        if self.crop < 16 or self.crop % 16:
            raise ValueError(f"batch.crop is {self.crop}; use a multiple of 16")


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """Warm-up, stable, decay: the decay is linear to 2 % and ends at `steps`."""

    steps: int = 20000
    warmup: int = 100
    decay: int = 5000
    checkpoint_every: int = 250
    log_every: int = 50
    validate_every: int = 0
    """Steps between validations on `data.validation`; 0 never validates."""

    def __post_init__(self) -> None:
        for name in ("steps", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"schedule.{name} is {getattr(self, name)}; use 1 or more")
        for name in ("warmup", "decay", "validate_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"schedule.{name} is {getattr(self, name)}; use 0 or more")


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """Muon for the filter banks inside, AdamW for the first and last ones and all biases."""

    muon: float = 0.01
    adamw: float = 0.001
    clip: float = 1.0
    outlier: float = 20.0
    """Steps whose gradient is so many times the usual one are skipped."""
    ema: float = 0.999
    only: str = ""
    """Train the weights whose names begin so, such as motion_net; all of them when empty."""

    def __post_init__(self) -> None:
        for name in ("muon", "adamw", "clip"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"optimiser.{name} is {getattr(self, name)}; use more than 0")
        if not 0.0 <= self.ema < 1.0:
            raise ValueError(f"optimiser.ema is {self.ema}; use 0 to below 1, such as 0.999")
        if not self.outlier > 1.0:
            raise ValueError(f"optimiser.outlier is {self.outlier}; use more than 1, such as 20")


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights of the terms beside the Charbonnier term, which has weight 1."""

    temporal: float = 0.1
    shift: float = 0.02
    """Of the shift of the means of blocks, in 8-bit code values."""
    warp: float = 5.0
    """Of the warping loss, which alone trains the motion."""
    fill: float = 0.05
    """Of the fill's error inside damage, in units of its epsilon."""
    defect: float = 0.3
    """Of the cross-entropy and the Dice term of the defect map."""
    epsilon: float = 0.5
    """Charbonnier's epsilon, in standard deviations of the noise."""


@dataclass(frozen=True, slots=True)
class AdversarialConfig:
    """The stage after fidelity: G against a discriminator, held by an anchor."""

    form: str = "non-saturating"
    """Of the loss: `minimax`, `non-saturating` or `hinge`."""
    weight: float = 0.1
    """Of the game in the loss of G."""
    anchor: float = 1.0
    """Of the whole loss of fidelity."""
    lock: float = 0.2
    """Of the error of the means of 8x8 samples, in deviations of such a mean of the noise."""
    bound: float = 1.0
    """Of what the error has beyond the energy allowed."""
    allowed: float = 0.5
    """Deviation that an error of 8x8 samples may have, as a share of the measured noise's."""
    rate: float = 2e-4
    """Of Adam, for both; that of G follows warm-up and decay, that of D does not."""
    beta1: float = 0.5
    width: int = 32
    """Channels of the first layer of D."""
    patience: int = 200
    """Steps over which a collapse has to last."""

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"adversarial.form is {self.form!r}; use {', '.join(FORMS)}")
        for name in ("weight", "anchor", "lock", "bound", "allowed"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"adversarial.{name} is {getattr(self, name)}; use 0 or more")
        if not self.rate > 0.0 or not 0.0 <= self.beta1 < 1.0:
            raise ValueError("adversarial.rate has to be above 0, beta1 from 0 to below 1")
        for name in ("width", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"adversarial.{name} is {getattr(self, name)}; use 1 or more")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training, whole."""

    name: str = "fast"
    stage: str = "fidelity"
    """`adversarial` goes on from the weights of `start_from`, against a discriminator."""
    size: str = "fast"
    control: str = "none"
    """`single` trains the control that sees one frame at a time."""
    seed: int = 1
    device: str = "auto"
    threads: int = 0
    """CPU threads; 0 leaves the choice to torch."""
    start_from: str = ""
    """A checkpoint or a trunk whose weights to start from; empty starts from scratch."""
    data: DataConfig = field(default_factory=DataConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)

    def __post_init__(self) -> None:
        for name, known in (("size", SIZES), ("control", CONTROLS), ("stage", STAGES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)}; use {' or '.join(known)}")
        for name in ("seed", "threads"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use 0 or more")
        if self.stage == "adversarial":
            self._check_adversarial()
        if self.optimiser.only.startswith("motion") and (
            self.control != "none" or not self.loss.warp
        ):
            raise ValueError("nothing trains the motion: leave out control, and set loss.warp")
        if self.schedule.validate_every and not self.data.validation:
            raise ValueError("schedule.validate_every needs data.validation, a folder of clips")

    def _check_adversarial(self) -> None:
        if not self.start_from:
            raise ValueError("stage adversarial needs start_from, weights trained for fidelity")
        if self.optimiser.only not in {"", "restorer"}:
            raise ValueError("stage adversarial trains the restorer; leave out optimiser.only")
        if self.batch.frames < 3:
            raise ValueError(f"batch.frames is {self.batch.frames}; the discriminator needs 3")


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> TrainConfig:
    """Read a TOML file, then apply `key=value` overrides such as `schedule.steps=100`.

    What the file names is relative to the file, what an override names to the current folder.
    Raises ValueError for what is no TOML, an unknown key and a value of another kind.
    """
    values = _rooted(_checked(TrainConfig, _read(path), path.name), path.parent)
    for override in overrides:
        _merge(values, _checked(TrainConfig, _nested(override), f"--set {override}"))
    config: TrainConfig = _build(TrainConfig, values)
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8 (byte {error.start}); save it so, or give another file,"
            " such as training/configs/fast.toml"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(
            f"{path}: {error}; mend it there: KEY = VALUE in a line, texts in quotation marks"
        ) from error


def _nested(override: str) -> dict[str, Any]:
    """`batch.crop=96` as the file would have it: {"batch": {"crop": 96}}."""
    name, equals, text = override.partition("=")
    if not equals:
        raise ValueError(f"--set {override}: use KEY=VALUE, such as schedule.steps=100")
    *tables, key = name.split(".")
    values: dict[str, Any] = {key: _parse(text)}
    for table in reversed(tables):
        values = {table: values}
    return values


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _checked(kind: Any, values: dict[str, Any], where: str, within: str = "") -> dict[str, Any]:
    """The values as the fields have them; `within` names their table.

    Raises ValueError where one is unknown or of another kind.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}
    made: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{within}.{key}" if within else key
        if key not in fields:
            known = ", ".join(fields)
            raise ValueError(f"{where}: there is no key {name}; {within or 'the file'} has {known}")
        nested = fields[key].default_factory
        if nested is dataclasses.MISSING:
            made[key] = _of_kind(f"{where}: {name}", value, fields[key].type)
        elif isinstance(value, dict):
            made[key] = _checked(nested, value, where, name)
        else:
            raise ValueError(f"{where}: {name} is a table; set a key of it, such as {name}.KEY")
    return made


_KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "a text"),
    "tuple[str, ...]": ((list,), 'a list of texts, such as ["clips"]'),
}


def _of_kind(name: str, value: Any, kind: Any) -> Any:
    """The value as the field has it. Raises ValueError when it is of another kind."""
    if kind == "tuple[str, ...]" and isinstance(value, str):
        return (value,)  # one folder
    known, told = _KINDS[kind]
    texts = not isinstance(value, list) or all(isinstance(part, str) for part in value)
    if isinstance(value, bool) or not isinstance(value, known) or not texts:
        raise ValueError(f"{name} is {value!r}; it has to be {told}")
    return tuple(value) if isinstance(value, list) else value


def _rooted(values: dict[str, Any], root: Path) -> dict[str, Any]:
    """What names files and folders, as seen from the current folder instead of from `root`."""

    def seen(name: str) -> str:
        return str(root / name)

    data = values.get("data", {})
    for key in _FOLDERS & data.keys():
        data[key] = tuple(seen(name) for name in data[key])
    if values.get("start_from"):
        values["start_from"] = seen(values["start_from"])
    return values


def _merge(values: dict[str, Any], others: dict[str, Any]) -> None:
    """Put others over values, table by table."""
    for key, value in others.items():
        if isinstance(value, dict):
            _merge(values.setdefault(key, {}), value)
        else:
            values[key] = value


def _build(kind: Any, values: dict[str, Any]) -> Any:
    nested = {f.name: f.default_factory for f in dataclasses.fields(kind)}
    return kind(
        **{
            key: _build(nested[key], value) if isinstance(value, dict) else value
            for key, value in values.items()
        }
    )
