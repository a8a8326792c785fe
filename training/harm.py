"""The fourth protocol: what is done to clips that need nothing.

Told that there is no noise, a tool has to answer the very samples it got. Measuring for itself, it
may take away what it finds of grain in the clean clip, and shift no brightness.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from training.data import each_clip
from training.evaluate import clean_clip, command_restore, to_ycbcr
from training.noise_truth import store
from vidrepair.noise import combine, measure_span

BLOCK = 64


@dataclass(frozen=True, slots=True)
class Harm:
    """One clip; 8-bit scale."""

    clip: str
    identical: bool
    """With no noise told."""
    sigma: float
    """Deviation of the luma, as the tool measures it in the clean clip."""
    change: float
    """Root mean square change of the luma, blind."""
    shift: float
    """Largest change of the mean of a 64x64 block, in one of R', G', B', on one frame, blind."""

    @property
    def allowed(self) -> float:
        """What may change."""
        return 1.2 * self.sigma + 0.3


def measure_harm(folder: Path, command: str) -> list[Harm]:
    """Run a command line with {in}, {out} and {s}, which becomes 0 and auto, on clean clips."""
    told, blind = (command_restore(command.replace("{s}", s)) for s in ("0", "auto"))
    found = []
    for path in each_clip(folder):
        clean = clean_clip(path)
        change = blind(clean, 0.0) - clean
        profile = torch.from_numpy(combine(measure_span(store(clean, "gbrp")), None).luma)
        found.append(
            Harm(
                path.stem,
                identical=torch.equal(told(clean, 0.0), clean.float()),
                sigma=255.0 * float(_typical(profile, to_ycbcr(clean)[:, 0])),
                change=255.0 * float(to_ycbcr(change)[:, 0].square().mean().sqrt()),
                shift=float(_block_means(change).abs().max()),
            )
        )
    return found


def _typical(profile: Tensor, luma: Tensor) -> Tensor:
    """Root mean square of a profile (17,) over the samples of a picture."""
    place = luma.clamp(0.0, 1.0) * (len(profile) - 1)
    below = place.long().clamp(max=len(profile) - 2)
    levels = torch.lerp(profile[below], profile[below + 1], place - below)
    return levels.square().mean().sqrt()


def _block_means(change: Tensor) -> Tensor:
    """Of whole blocks; those of a smaller clip are as large as the clip."""
    side = min(BLOCK, *change.shape[-2:])
    return functional.avg_pool2d(change, side)


def table(found: list[Harm]) -> str:
    """Markdown: a row for each clip."""
    rows = [
        "| clip | no noise told | own sigma | rms change | allowed | largest shift of a block |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        same = "identical" if one.identical else "CHANGED"
        cells = [same, *(f"{v:.2f}" for v in (one.sigma, one.change, one.allowed, one.shift))]
        rows.append(f"| {one.clip} | {' | '.join(cells)} |")
    return "\n".join(rows)
