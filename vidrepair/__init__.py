"""Give a noisy, worn or damaged video back clean, with everything else in it kept."""

from __future__ import annotations

from vidrepair.api import probe, repair
from vidrepair.errors import (
    CannotCarry,
    CheckFailed,
    EngineError,
    InputError,
    ModelError,
    UsageError,
    VidrepairError,
)
from vidrepair.report import Progress, Report
from vidrepair.settings import (
    DamageSettings,
    EngineSettings,
    Job,
    MaskSettings,
    OutputSettings,
    RepairSettings,
)
from vidrepair.tags import Clip
from vidrepair.version import __version__

__all__ = [
    "CannotCarry",
    "CheckFailed",
    "Clip",
    "DamageSettings",
    "EngineError",
    "EngineSettings",
    "InputError",
    "Job",
    "MaskSettings",
    "ModelError",
    "OutputSettings",
    "Progress",
    "RepairSettings",
    "Report",
    "UsageError",
    "VidrepairError",
    "__version__",
    "probe",
    "repair",
]
