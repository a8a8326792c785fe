"""Engines: what runs the generator. `make_engine` picks the one that the settings ask for."""

from __future__ import annotations

from importlib.util import find_spec

from vidrepair.engines.identity import IdentityEngine
from vidrepair.engines.plan import Plan, plan_work
from vidrepair.engines.protocol import Engine, Identity
from vidrepair.engines.steps import repair
from vidrepair.errors import EngineError, UsageError
from vidrepair.frames import Picture
from vidrepair.models import ModelFiles
from vidrepair.settings import EngineSettings

__all__ = ["Engine", "Identity", "IdentityEngine", "Plan", "make_engine", "plan_work", "repair"]


def make_engine(
    files: ModelFiles, picture: Picture, settings: EngineSettings, *, damage: bool = False
) -> Engine:
    """Compile the engine for one picture size.

    `auto` takes OpenVINO, in bf16 where the processor has it. Raises UsageError for a device or
    a precision that the backend does not have, EngineError when it cannot be started.
    """
    if settings.backend == "identity":
        return IdentityEngine(picture)
    card = files.card
    plan = plan_work(picture, settings, width=card.widths[0], halo=card.halo)
    if settings.backend == "torch":
        from vidrepair.engines.torch import TorchEngine

        return TorchEngine(
            files,
            picture,
            plan,
            bf16=settings.precision == "bf16",
            device=settings.device,
            damage=damage,
        )
    if settings.device not in ("auto", "cpu"):
        raise UsageError(
            f"--device {settings.device} is not one of the openvino backend; use cpu, or add "
            "--backend torch"
        )
    if find_spec("openvino") is None:
        raise EngineError(
            "OpenVINO is not installed here; pip install 'vidrepair[train]' and use --backend torch"
        )
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
