"""The media path without the engine: what the pipeline does around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vidrepair import DamageSettings, RepairSettings
from vidrepair.decode import open_source
from vidrepair.encode import OutputPlan, open_target, plan_output
from vidrepair.frames import Frame
from vidrepair.settings import OutputSettings
from vidrepair.streams import plan_copies
from vidrepair.tags import Clip, Damage

IDLE = RepairSettings(denoise=(0.0, 0.0), damage=DamageSettings(kinds=()))
"""Nothing is done to the picture."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What a pass through the media path gave."""

    clip: Clip
    plan: OutputPlan
    left: tuple[str, ...]
    """Streams that were left behind, by name."""
    damage: Damage
    frames: int


def pass_through(
    source: Path | None,
    output: Path | None,
    settings: OutputSettings | None = None,
    change: Callable[[Frame], Frame] = lambda frame: frame,
) -> Passed:
    """Decode `source` and encode it into `output`, each frame through `change`."""
    settings = settings or OutputSettings()
    count = 0
    with open_source(source) as opened:
        plan = plan_output(opened.clip, output, settings)
        copies = plan_copies(opened.container, opened.clip, plan.container, opened.covers)
        with open_target(opened.clip, plan, output, copies) as target:
            for item in opened.read():
                if isinstance(item, Frame):
                    target.write(change(item))
                    count += 1
                    if count == settings.frames:
                        break
                else:
                    target.copy(item)
            target.finish()
        return Passed(opened.clip, plan, copies.warnings, opened.damage, count)
