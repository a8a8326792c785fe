"""The engine of an NVIDIA card for a job: looked up, built where it is missing, checked, opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from vidrepair.engines.cache import Build, EngineCache, Entry
from vidrepair.engines.key import EngineRequest, Flavour, Profile
from vidrepair.engines.library import (
    current_capability,
    find_flavours,
    has_card,
    load_library,
    make_key,
)
from vidrepair.engines.plan import plan_card
from vidrepair.engines.protocol import Engine
from vidrepair.errors import EngineError, UsageError
from vidrepair.frames import Picture
from vidrepair.models import ModelCard, ModelFiles
from vidrepair.settings import EngineSettings

if TYPE_CHECKING:
    from vidrepair.engines.golden import Agreement

_AGREEMENT = "agreement"
"""Where a manifest tells how far the engine was from the generator."""


def suits_card(picture: Picture, settings: EngineSettings) -> tuple[Flavour, ...]:
    """The libraries with which `auto` may try a card for what is asked, the best one first."""
    if settings.device == "cpu" or settings.precision == "bf16" or settings.tile not in ("auto", 0):
        return ()
    try:
        plan_card(picture)
    except UsageError:
        return ()
    return find_flavours()


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
    if _AGREEMENT not in opened.engine.entry.manifest:
        _compare(opened, files)
    return cast("Engine", opened.engine)


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
    """An engine and the card that it runs on; their modules import torch, so are not named here."""

    engine: Any
    device: Any


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
    if settings.tile not in ("auto", 0):
        raise UsageError(f"--tile {settings.tile} is not one of {flavour}, which never cuts; use 0")
    request = EngineRequest(
        settings.model,
        flavour,
        Profile.static(plan_card(picture)),
        "fp32" if settings.precision == "fp32" else "fp16",
    )
    library = load_library(flavour)
    from vidrepair.engines.device import CudaDevice
    from vidrepair.engines.tensorrt import TensorRtEngine

    device = CudaDevice(settings.device)

    def find_or_build(request: EngineRequest) -> Entry:
        return _find(request, files.card, library) or (build or _refuse)(request)

    engine = TensorRtEngine(files.card, request, find_or_build, device, library, damage=damage)
    return _Opened(engine, device)


def _compare(opened: _Opened, files: ModelFiles) -> Agreement:
    """Raises EngineError where an engine computes something else; notes how far it was."""
    from vidrepair.engines.golden import compare

    agreement = compare(opened.engine, files, opened.device)
    agreement.require(opened.engine.identity.precision)
    noted = {_AGREEMENT: agreement.as_dict(), "card": opened.device.name}
    EngineCache().note(opened.engine.entry, noted)
    return agreement


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
    )
