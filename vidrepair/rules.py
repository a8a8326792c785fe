"""What may be repaired of what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vidrepair.frames import Defect, Frame
from vidrepair.regions import Box
from vidrepair.settings import DamageSettings

Veto = Callable[[Defect], bool]
"""Whether a defect that was found may be repaired."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user wants repaired."""

    wanted: DamageSettings
    allows: Veto | None = None

    def allow(self, defect: Defect) -> bool:
        """Whether this is to be."""
        sure = defect.kind == "broken" or self.wanted.takes(defect.kind, defect.confidence)
        return sure and (self.allows is None or self.allows(defect))


def defect_at(kind: str, frame: Frame, box: Box, confidence: float) -> Defect:
    """One place of a frame."""
    edges = (box.top, box.left, box.bottom, box.right)
    return Defect(kind, frame.number, edges, round(confidence, 3))
