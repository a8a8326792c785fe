"""The third protocol: fixed damage on clean clips, found and filled by the generator alone.

Dust and hair, scratches and dropouts on single frames, and scratches that last, with a little
noise. A true defect is a connected region of what one kind changed visibly; it counts as found when
half of it lies within two samples of what was marked, and a marked region counts as right when half
of it lies within two samples of true damage. The threshold is the lowest one at which nine in ten
marked are right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.damage_set import KINDS, DamageSet, damage_clip
from training.data import each_clip
from training.degrade.shapes import Shapes
from training.evaluate import add_known_noise, clean_clip, run_span, to_rgb, to_ycbcr
from vidrepair.engines.generator import Generator
from vidrepair.noise import known_profile
from vidrepair.regions import Mask, Points, connected_regions, dilate

THRESHOLDS = (*np.arange(0.05, 1.0, 0.05).round(2).tolist(), 0.97, 0.98, 0.99, 0.995, 0.998)
PRECISION = 0.9
_NEAR = 2
"""Samples by which marked and true damage may be apart."""

Map = NDArray[np.float32]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Counts over clips; the first axis of the arrays is that of THRESHOLDS."""

    objects: dict[str, int]
    recalled: dict[str, Counts]
    marked: Counts
    """Regions that were marked, and of them:"""
    right: Counts
    energy: NDArray[np.float64]
    """Of the damage, where it was marked; the last value is all of it."""
    false: NDArray[np.float64]
    """Share of the samples of the undamaged clip that is marked."""
    fill: dict[str, tuple[float, int]]
    """Sum of squared errors of the fill inside each kind and in the hole, and how many values."""
    exchange: float
    """Root mean square change of the fill in the hole for other garbage, 8-bit scale."""


def measure_defects(
    folder: Path, model: Generator, damage: DamageSet, shapes: Shapes
) -> list[Found]:
    """Damage every clip of the folder, and count."""
    return [
        _measure(path.stem, clean_clip(path), model, damage, shapes) for path in each_clip(folder)
    ]


def _measure(
    name: str, clean: Tensor, model: Generator, damage: DamageSet, shapes: Shapes
) -> Found:
    picture = clean.float() / 255.0
    damaged, masks = damage_clip(name, picture, damage, shapes)
    true = around(np.logical_or.reduce(list(masks.values())))

    def run(shown: Tensor) -> tuple[Tensor, Map]:
        codes = (shown * 255.0).round().byte()
        return _repair(model, add_known_noise(codes, name, damage.noise), damage.noise)

    fill, defect = run(damaged)
    quiet = run(picture)[1]
    errors = (fill - clean.float()).square().sum(dim=1).numpy()
    power = (damaged - picture).square().sum(dim=1).numpy()
    hole, exchange = _exchange(picture, damage.hole, run)
    inside = {
        kind: (float(errors[mask].sum()), 3 * int(mask.sum())) for kind, mask in masks.items()
    }
    marked = [defect > threshold for threshold in THRESHOLDS]
    near = [around(mask) for mask in marked]
    found = [regions(mask) for mask in marked]
    objects = {kind: regions(mask) for kind, mask in masks.items()}
    return Found(
        objects={kind: len(of) for kind, of in objects.items()},
        recalled={
            kind: np.array([objects_found(of, close) for close in near])
            for kind, of in objects.items()
        },
        marked=np.array([len(of) for of in found]),
        right=np.array([objects_found(of, true) for of in found]),
        energy=np.array([*(power[mask].sum() for mask in marked), power.sum()]),
        false=np.array([(quiet > threshold).mean() for threshold in THRESHOLDS]),
        fill=inside | {"hole": hole},
        exchange=exchange,
    )


def _repair(model: Generator, noisy: Tensor, sigma: float) -> tuple[Tensor, Map]:
    """Noisy R'G'B' (T, 3, H, W) uint8 -> the fill in R'G'B', 0..255, and the defect map."""
    noise = torch.from_numpy(known_profile(sigma, sigma, rgb=True).array())[None]
    spanned = run_span(model, to_ycbcr(noisy), noise, mirrored=True, bf16=True)
    return to_rgb(spanned.fill), spanned.defect[:, 0].numpy()


def _exchange(
    picture: Tensor, side: int, run: Callable[[Tensor], tuple[Tensor, Map]]
) -> tuple[tuple[float, int], float]:
    """A hole in the middle frame, filled with white, and with noise.

    Returns the squared error of the fill in it with the number of values, and the change.
    """
    at = len(picture) // 2
    top, left = ((length - side) // 2 for length in picture.shape[-2:])
    window = (at, slice(None), slice(top, top + side), slice(left, left + side))
    fills = []
    for garbage in (torch.ones(3, side, side), torch.rand(3, side, side, generator=_seeded())):
        shown = picture.clone()
        shown[window] = garbage
        fills.append(run(shown)[0][window])
    errors = [(fill - 255.0 * picture[window]).square().sum().item() for fill in fills]
    change = (fills[0] - fills[1]).square().mean().sqrt().item()
    return (sum(errors), 2 * fills[0].numel()), change


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def regions(mask: Mask) -> list[tuple[int, Points]]:
    """Connected regions of (T, H, W): the frame, and the rows and columns of their samples."""
    return [
        (t, np.stack([region.rows, region.columns]))
        for t, plane in enumerate(mask)
        for region in connected_regions(plane)
    ]


def around(mask: Mask) -> Mask:
    """What lies within two samples of a mask (T, H, W)."""
    return dilate(mask, _NEAR)


def objects_found(regions: list[tuple[int, Points]], mask: Mask) -> int:
    """How many regions lie in the mask by half at least."""
    return sum(mask[t, places[0], places[1]].mean() >= 0.5 for t, places in regions)


def table(found: list[Found]) -> str:
    """Markdown: recall by kind at the threshold that gives the precision, and the fill."""
    marked, right = (sum(getattr(one, part) for one in found) for part in ("marked", "right"))
    precision = right / np.maximum(marked, 1)
    reached = np.flatnonzero((precision >= PRECISION) & (marked > 0))
    at = int(reached[0]) if len(reached) else int(precision.argmax())
    rows = ["| | objects | recall | PSNR of the fill inside, dB |", "|---|---|---|---|"]
    for kind in (*KINDS, "hole"):
        error, values = (sum(one.fill[kind][part] for one in found) for part in (0, 1))
        inside = 10.0 * np.log10(255.0**2 * values / max(error, 1e-9))
        objects = sum(one.objects.get(kind, 0) for one in found)
        recalled = sum(one.recalled[kind][at] for one in found) if objects else 0
        recall = f"{recalled / objects:.3f}" if objects else ""
        rows.append(f"| {kind} | {objects or ''} | {recall} | {inside:.2f} |")
    energy = sum(one.energy[at] for one in found) / sum(one.energy[-1] for one in found)
    false = np.mean([one.false[at] for one in found])
    exchange = np.sqrt(np.mean([one.exchange**2 for one in found]))
    rows.append("")
    rows.append(
        f"Threshold {THRESHOLDS[at]:g}: precision {precision[at]:.3f} of {marked[at]} regions, "
        f"{energy:.1%} of the damage's energy marked, {false:.3%} of undamaged clips marked; "
        f"other garbage in the hole moves the fill by {exchange:.2f} code values (rms)."
    )
    return "\n".join(rows)
