"""The engine of an NVIDIA card for a job: looked up, built where it is missing, checked, opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidrepair.engines.cache import Build, EngineCache, Entry, read_trusted
from vidrepair.engines.key import EngineRequest, Flavour, Precision, Profile, Shape
from vidrepair.engines.library import (
    current_capability,
    driver_version,
    find_flavours,
    has_card,
    load_library,
    make_key,
)
from vidrepair.engines.plan import Plan, plan_card
from vidrepair.engines.protocol import Engine, Identity
from vidrepair.errors import EngineError, UsageError
from vidrepair.frames import Picture
from vidrepair.models import ModelCard, ModelFiles
from vidrepair.planes import padded_size
from vidrepair.settings import EngineSettings

if TYPE_CHECKING:
    from vidrepair.engines.golden import Agreement

_AGREEMENT = "agreement"
"""Where a manifest tells how far the engine was from the generator."""


def suits_card(picture: Picture, settings: EngineSettings) -> tuple[Flavour, ...]:
    """The libraries with which `auto` may try a card for what is asked, the best one first."""
    if settings.device == "cpu" or settings.precision == "bf16":
        return ()
    try:
        Shape(1, *padded_size(picture))
    except UsageError:
        return ()
    return find_flavours()


def suits_torch(settings: EngineSettings) -> bool:
    """Whether torch is to use a card: one is named, or there is one that this torch can use."""
    if settings.device != "auto":
        return settings.device.startswith("cuda")
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def open_on_card(
    files: ModelFiles,
    picture: Picture,
    settings: EngineSettings,
    flavour: Flavour,
    *,
    damage: bool = False,
    build: Build | None = None,
) -> Engine:
    """The engine for a picture, whose first use on this machine compares it with the generator.

    A static one is looked up, one of this card's capability, a dynamic one that runs the shape
    too; what is missing is built by `build`. Raises UsageError for what no engine of a card
    does, EngineError when none can be had or it computes something else.
    """
    opened = _open(files, picture, settings, flavour, damage=damage, build=build)
    try:
        if settings.trust_engine is not None:
            _agreement(opened, files)  # each time: what its manifest says was noted elsewhere
        elif not opened.was_compared():
            _compare(opened, files)
    except EngineError:
        opened.engine.close()
        raise
    return opened.engine


def open_torch(
    files: ModelFiles, picture: Picture, settings: EngineSettings, *, damage: bool = False
) -> Engine:
    """Torch's own kernels on a card, for which nothing is compiled, in fp16 unless asked otherwise.

    Raises as `open_on_card` does.
    """
    from vidrepair.engines.device import CudaDevice  # first: it says what is missing

    import torch  # isort: skip

    from vidrepair.engines.cuda import TorchProgram
    from vidrepair.engines.gpu import Buffers, GpuEngine

    precision = "fp16" if settings.precision == "auto" else settings.precision
    device = CudaDevice(settings.device)
    plan = _plan(files.card, picture, settings, device.total_memory)
    buffers = Buffers.on(device, picture, plan, files.card)
    program = TorchProgram(files, precision, device, buffers)
    identity = _identity(
        "torch", torch.__version__, files.card, precision, device.name, picture, plan
    )
    return GpuEngine(identity, buffers, program, device, damage=damage)


def verify_on_card(
    files: ModelFiles,
    picture: Picture,
    settings: EngineSettings,
    flavour: Flavour,
    *,
    build: Build | None = None,
) -> Agreement:
    """Compare the engine for a picture with the generator, whatever was noted of it before.

    Raises as `open_on_card` does.
    """
    opened = _open(files, picture, settings, flavour, damage=False, build=build)
    try:
        return _compare(opened, files)
    finally:
        opened.engine.close()


@dataclass(frozen=True, slots=True)
class _Opened:
    """An engine, its files, and the card that it runs on, whose module imports torch."""

    engine: Engine
    entry: Entry
    device: Any

    def was_compared(self) -> bool:
        """Whether it agreed with the generator, on this card, by this driver."""
        told = self.entry.manifest
        here = {"card": self.device.name, "driver": driver_version()}
        return _AGREEMENT in told and all(told.get(name) == fact for name, fact in here.items())


def _open(
    files: ModelFiles,
    picture: Picture,
    settings: EngineSettings,
    flavour: Flavour,
    *,
    damage: bool,
    build: Build | None,
) -> _Opened:
    if settings.precision == "bf16":
        raise UsageError(f"--precision bf16 is not one of {flavour}; use fp16, fp32 or auto")
    if settings.trust_engine is not None:
        _require(settings.trust_engine, {"flavour": flavour})
    library = load_library(flavour)
    from vidrepair.engines.device import CudaDevice  # isort: skip  # first: it says what is missing
    from vidrepair.engines.gpu import Buffers, GpuEngine
    from vidrepair.engines.tensorrt import TensorRtProgram

    device = CudaDevice(settings.device)
    card = files.card
    plan = _plan(card, picture, settings, device.total_memory)
    precision: Precision = "fp32" if settings.precision == "fp32" else "fp16"
    profile = Profile.static(Shape(plan.lanes, *padded_size(picture)))
    request = EngineRequest(files.name, flavour, profile, precision, plan.tile)
    with device.working():  # the key asks for the current card
        if settings.trust_engine is not None:
            entry = _trusted(settings.trust_engine, request, card)
        else:
            entry = _find(request, card, library) or (build or _refuse)(request)
    buffers = Buffers.on(device, picture, plan, card)
    program = TensorRtProgram(entry, library, device, buffers)
    identity = replace(
        _identity(flavour, library.__version__, card, precision, device.name, picture, plan),
        engine=entry.digest,
    )
    return _Opened(GpuEngine(identity, buffers, program, device, damage=damage), entry, device)


def _plan(card: ModelCard, picture: Picture, settings: EngineSettings, memory: int) -> Plan:
    return plan_card(picture, settings, width=card.widths[0], halo=card.halo, memory=memory)


def _identity(
    backend: str,
    version: str,
    card: ModelCard,
    precision: str,
    device: str,
    picture: Picture,
    plan: Plan,
) -> Identity:
    height, width = padded_size(picture)
    return Identity(
        backend=backend,
        version=version,
        weights=card.sha256,
        precision=precision,
        device=device,
        height=height,
        width=width,
        lanes=plan.lanes,
        tile=plan.tile,
    )


def _agreement(opened: _Opened, files: ModelFiles) -> Agreement:
    """Raises EngineError where an engine computes something else."""
    from vidrepair.engines.golden import compare

    agreement = compare(opened.engine, files)
    agreement.require(opened.engine.identity.precision)
    return agreement


def _compare(opened: _Opened, files: ModelFiles) -> Agreement:
    """The same, and notes how far it was."""
    agreement = _agreement(opened, files)
    noted = {
        _AGREEMENT: agreement.as_dict(),
        "card": opened.device.name,
        "driver": driver_version(),
    }
    EngineCache().note(opened.entry, noted)
    return agreement


def _trusted(folder: Path, request: EngineRequest, card: ModelCard) -> Entry:
    """An engine from outside the cache, if it does what is requested. Raises EngineError."""
    entry = _require(
        folder, {"weights": card.sha256, "precision": request.precision, "tile": request.tile}
    )
    shape = request.profile.best
    if not Profile.from_dict(entry.manifest["key"]["profile"]).holds(shape):
        raise EngineError(
            f"--trust-engine {folder} was not built for {shape}; it is {entry.summary}"
        )
    return entry


def _require(folder: Path, wanted: Mapping[str, str | int]) -> Entry:
    """The engine in a folder, whose key has what is wanted."""
    entry = read_trusted(folder)
    for name, value in wanted.items():
        told = entry.manifest["key"].get(name)
        if told != value:
            raise EngineError(
                f"--trust-engine {folder} has the {name} {told}, and {value} is wanted; "
                "build one, or leave it out"
            )
    return entry


def _find(request: EngineRequest, card: ModelCard, library: Any) -> Entry | None:
    """An engine in the cache that does what is requested, on the current card."""
    cache = EngineCache()
    requests = [request]
    if request.flavour == "rtx" and has_card():
        requests.append(replace(request, capabilities=(current_capability(),)))
    for wanted in requests:
        try:
            key = make_key(wanted, card, library)
        except UsageError:  # TensorRT-RTX does not build for this very capability
            continue
        if found := cache.find(key) or cache.find_covering(key):
            return found
    return None


def _refuse(request: EngineRequest) -> Entry:
    shape = request.profile.best
    raise EngineError(
        f"there is no engine for {shape.lanes} lanes of {shape.width}x{shape.height} yet; "
        f"vidrepair-build engine {request.model} --flavour {request.flavour} --precision "
        f"{request.precision} --lanes {shape.lanes} --size {shape.width}x{shape.height}"
        + (f" --tile {request.tile}" if request.tile else "")
    )
