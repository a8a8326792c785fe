"""Engines: what runs the generator. `make_engine` picks the one that the settings ask for."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import cast

from vidrepair.engines.cache import Build, read_trusted
from vidrepair.engines.identity import IdentityEngine
from vidrepair.engines.key import FLAVOURS, Flavour
from vidrepair.engines.nvidia import open_on_card, open_torch, suits_card, suits_torch
from vidrepair.engines.plan import Plan, plan_work
from vidrepair.engines.protocol import Engine, Identity
from vidrepair.engines.steps import Spare, repair
from vidrepair.errors import EngineError, UsageError
from vidrepair.frames import Picture
from vidrepair.models import ModelFiles, find_model, released_models
from vidrepair.settings import EngineSettings, Look

__all__ = [
    "Build",
    "Engine",
    "Identity",
    "IdentityEngine",
    "Plan",
    "Spare",
    "make_engine",
    "open_engine",
    "plan_work",
    "repair",
]

log = logging.getLogger(__name__)


_AUTO: dict[Look, tuple[str, str]] = {
    "fidelity": ("base", "fast"),
    "natural": ("fast-natural", "fast-natural"),
}
"""What `--model auto` is on a card, and elsewhere: the larger one where it costs no waiting."""


def open_engine(
    picture: Picture,
    settings: EngineSettings,
    *,
    damage: bool = False,
    build: Build | None = None,
) -> tuple[ModelFiles, Engine]:
    """The model that the settings ask for, and its engine made ready by `make_engine`.

    `auto` is the model of a trusted engine, else the larger one on a card, and the faster one where
    that does not fit or there is none. Raises what `find_model` and `make_engine` raise.
    """
    failure = None
    files = _pick_model(picture, settings)
    on_card, elsewhere = _AUTO[settings.look]
    larger = files.name == on_card != elsewhere
    if settings.model == "auto" and larger and settings.trust_engine is None:
        try:
            engine = _open_card(files, picture, settings, damage, build)
        except (EngineError, UsageError) as error:
            engine, failure = None, error
        if engine is not None:
            return files, engine
        files = find_model(elsewhere)
    engine = make_engine(files, picture, settings, damage=damage, build=build)
    if failure is not None and engine.worked is not None:
        log.warning("%s; the model %s is used", failure, files.name)
    return files, engine


def _pick_model(picture: Picture, settings: EngineSettings) -> ModelFiles:
    """The model that the settings name; for `auto` the one that suits what may run it."""
    if settings.model != "auto":
        return find_model(_with_look(settings))
    if settings.trust_engine is not None:
        weights = read_trusted(settings.trust_engine).manifest["key"].get("weights")
        for files in map(find_model, released_models()):
            if files.card.sha256 == weights:
                return files
    backend = settings.backend
    suits = backend in FLAVOURS or (backend == "torch" and suits_torch(settings))
    suits = suits or (backend == "auto" and bool(suits_card(picture, settings)))
    on_card, elsewhere = _AUTO[settings.look]
    return find_model(on_card if suits else elsewhere)


def _with_look(settings: EngineSettings) -> str:
    """The name of a model in the look that is asked for. Raises UsageError where it has none."""
    if settings.look == "fidelity":
        return settings.model
    name = f"{settings.model}-{settings.look}"
    if name not in released_models():
        raise UsageError(
            f"there is no --look {settings.look} of --model {settings.model}; leave one of them out"
        )
    return name


def make_engine(
    files: ModelFiles,
    picture: Picture,
    settings: EngineSettings,
    *,
    damage: bool = False,
    build: Build | None = None,
) -> Engine:
    """Make the engine for one picture size ready.

    `auto` takes TensorRT or TensorRT-RTX where there is a card and one of them is installed, else
    OpenVINO, in bf16 where the processor has it, or onnxruntime where there is none. `build`
    compiles for a card what its cache lacks; without it there has to be an engine already. Raises
    UsageError for a device or a precision that the backend does not have, EngineError when it
    cannot be started.
    """
    if settings.backend == "identity":
        return IdentityEngine(picture)
    try:
        engine = _open_card(files, picture, settings, damage, build)
    except EngineError as error:
        if not _may_fall_back(settings):
            raise
        log.warning("%s; the processor is used", error)
        engine = None
    if engine is not None:
        return engine
    if settings.precision == "fp16":
        raise UsageError(
            f"--precision fp16 is a card's, and --backend {settings.backend} runs on the processor "
            "here; use fp32, bf16 or auto"
        )
    card = files.card
    plan = plan_work(picture, settings, width=card.widths[0], halo=card.halo)
    if settings.backend == "torch":
        from vidrepair.engines.torch import TorchEngine

        return TorchEngine(
            files,
            picture,
            plan,
            bf16=settings.precision == "bf16",
            device="cpu" if settings.device == "auto" else settings.device,
            damage=damage,
        )
    return _on_processor(files, picture, settings, plan, damage)


def _open_card(
    files: ModelFiles,
    picture: Picture,
    settings: EngineSettings,
    damage: bool,
    build: Build | None,
) -> Engine | None:
    """An engine of an NVIDIA card where one is asked for, or `auto` may try one; else None.

    Raises EngineError where there is none that works.
    """
    flavour = settings.backend
    if settings.trust_engine is not None and flavour == "auto":
        flavour = read_trusted(settings.trust_engine).manifest["key"]["flavour"]
    if flavour in FLAVOURS:
        known = cast("Flavour", flavour)
        return open_on_card(files, picture, settings, known, damage=damage, build=build)
    if settings.backend == "torch" and suits_torch(settings):
        return open_torch(files, picture, settings, damage=damage)
    if settings.backend != "auto":
        return None
    failures = []
    for known in suits_card(picture, settings):
        try:
            return open_on_card(files, picture, settings, known, damage=damage, build=build)
        except EngineError as error:
            failures.append(str(error))
    if failures:
        raise EngineError("; ".join(failures))
    return None


def _may_fall_back(settings: EngineSettings) -> bool:
    """Whether the processor will do as well: nothing that is asked for is a card's alone."""
    free = settings.backend == "auto" and settings.trust_engine is None
    return free and settings.precision != "fp16" and settings.device == "auto"


def _on_processor(
    files: ModelFiles, picture: Picture, settings: EngineSettings, plan: Plan, damage: bool
) -> Engine:
    if settings.device not in ("auto", "cpu"):
        raise UsageError(
            f"--device {settings.device} is not one of a processor's backend; use cpu, or add "
            "--backend torch, tensorrt or rtx"
        )
    if settings.backend == "onnxruntime" or (
        settings.backend == "auto" and find_spec("openvino") is None
    ):
        return _on_onnxruntime(files, picture, settings, plan, damage)
    if find_spec("openvino") is None:
        raise EngineError("OpenVINO is not installed here; use --backend onnxruntime or torch")
    from vidrepair.engines.openvino import OpenVinoEngine, has_bf16

    if settings.precision == "bf16" and not has_bf16():
        raise UsageError("--precision bf16 is not one of this processor; use fp32 or auto")
    bf16 = settings.precision != "fp32" and has_bf16()
    try:
        return OpenVinoEngine(files, picture, plan, bf16=bf16, damage=damage)
    except RuntimeError as error:
        raise EngineError(
            f"the openvino engine cannot be started ({str(error).strip().splitlines()[-1]}); "
            "try --backend torch"
        ) from error


def _on_onnxruntime(
    files: ModelFiles, picture: Picture, settings: EngineSettings, plan: Plan, damage: bool
) -> Engine:
    if settings.precision == "bf16":
        raise UsageError("--precision bf16 is not one of onnxruntime; use fp32 or auto")
    if find_spec("onnxruntime") is None:
        raise EngineError(
            "onnxruntime is not installed here; pip install onnxruntime, or pip install "
            "'vidrepair[train]' and use --backend torch"
        )
    from vidrepair.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(files, picture, plan, damage=damage)
