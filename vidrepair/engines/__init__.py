"""Engines: what runs the generator. `make_engine` picks the one that the settings ask for."""

from __future__ import annotations

from importlib.util import find_spec

from vidrepair.engines.identity import IdentityEngine
from vidrepair.engines.plan import Plan, plan_work
from vidrepair.engines.protocol import Engine, Identity
from vidrepair.engines.steps import repair
from vidrepair.errors import EngineError
from vidrepair.frames import Picture
from vidrepair.models import ModelFiles
from vidrepair.settings import EngineSettings

__all__ = ["Engine", "Identity", "IdentityEngine", "Plan", "make_engine", "plan_work", "repair"]


def make_engine(
    files: ModelFiles, picture: Picture, settings: EngineSettings, *, damage: bool = False
) -> Engine:
    """Compile the engine for one picture size.

    `auto` takes OpenVINO, in bf16 where the processor has it. Raises EngineError with the
    command that installs what is missing.
    """
    if settings.backend == "identity":
        return IdentityEngine(picture)
    card = files.card
    plan = plan_work(picture, settings, width=card.state_channels, halo=card.halo)
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
    if find_spec("openvino") is None:
        raise EngineError(
            "there is no OpenVINO for this machine; pip install 'vidrepair[train]' and use "
            "--backend torch"
        )
    from vidrepair.engines.openvino import OpenVinoEngine, has_bf16

    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and has_bf16())
    return OpenVinoEngine(files, picture, plan, bf16=bf16, damage=damage)
