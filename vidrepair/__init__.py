"""Give a noisy, worn or damaged video back clean, with everything else in it kept."""

from __future__ import annotations

from vidrepair.api import compare, estimate, preview, probe, repair, verify, write_report
from vidrepair.errors import (
    CannotCarry,
    CheckFailed,
    EngineError,
    InputError,
    ModelError,
    UsageError,
    VidrepairError,
)
from vidrepair.report import Difference, Progress, Report
from vidrepair.settings import (
    DamageSettings,
    EngineSettings,
    Job,
    MaskSettings,
    OutputSettings,
    RepairSettings,
    SourceSettings,
)
from vidrepair.tags import Clip
from vidrepair.version import __version__

__all__ = [
    "CannotCarry",
    "CheckFailed",
    "Clip",
    "DamageSettings",
    "Difference",
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
    "SourceSettings",
    "UsageError",
    "VidrepairError",
    "__version__",
    "compare",
    "estimate",
    "preview",
    "probe",
    "repair",
    "verify",
    "write_report",
]
