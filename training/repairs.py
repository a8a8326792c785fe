"""The sixth protocol: what a tool makes of damage, through its command line, and of clean clips.

The damage is that of the third protocol, on grain of deviation 2. The tool is told to remove damage
alone, and writes its matte: inside the true damage it is scored against the clean clip, and outside
its matte every sample has to be the one it was given.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from training.damage_set import KINDS, DamageSet, damage_clip
from training.data import each_clip, read_clip
from training.defects import around, objects_found, regions
from training.degrade.shapes import Shapes
from training.evaluate import add_known_noise, clean_clip, run_command, write_lossless
from training.references import can_run, filter_command
from vidrepair.regions import Mask

MEDIAN = (
    "format=gbrp,tpad=start=1:stop=1:start_mode=clone:stop_mode=clone,tmedian=radius=1,format=bgr0"
)
"""FFmpeg's median of three frames, its ends repeated, or it would swallow them."""


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """Counts over clips."""

    errors: dict[str, NDArray[np.float64]]
    """By kind: squared errors inside before and after, and how many values."""
    objects: dict[str, tuple[int, int]]
    """By kind: how many there are, and those that half lie in the matte."""
    outside: int
    """Samples that were changed outside the matte."""
    excess: float
    """Share of the samples in the matte beyond the truth grown by two."""
    touched: float
    """Share of the samples of the clean clip in the matte."""
    largest: int
    """Samples of its largest region there."""


def measure_repairs(
    folder: Path, command: str, damage: DamageSet, shapes: Shapes
) -> dict[str, list[Repaired]]:
    """Run a command line with {in}, {out} and {matte} on every clip, and the reference beside."""
    runs: dict[str, Callable[[Tensor], tuple[Tensor, Mask]]] = {"this": _runner(command)}
    if can_run():
        runs["median of three frames"] = _runner(filter_command(MEDIAN))
    found: dict[str, list[Repaired]] = {name: [] for name in runs}
    for path in each_clip(folder):
        for name, run in runs.items():
            found[name].append(_measure(path.stem, clean_clip(path), run, damage, shapes))
    return found


def _runner(command: str) -> Callable[[Tensor], tuple[Tensor, Mask]]:
    """R'G'B' (T, 3, H, W) -> repaired, and the matte (T, H, W), or what changed without one."""

    def run(shown: Tensor) -> tuple[Tensor, Mask]:
        with tempfile.TemporaryDirectory() as folder:
            paths = {name: f"{folder}/{name}.mkv" for name in ("in", "out", "matte")}
            write_lossless(Path(paths["in"]), shown)
            run_command(command, paths)
            out = read_clip(Path(paths["out"]))
            if not Path(paths["matte"]).exists():
                return out, (out != shown).any(dim=1).numpy()
            return out, (read_clip(Path(paths["matte"]))[:, 0] > 0).numpy()

    return run


def _measure(
    name: str,
    clean: Tensor,
    run: Callable[[Tensor], tuple[Tensor, Mask]],
    damage: DamageSet,
    shapes: Shapes,
) -> Repaired:
    damaged, masks = damage_clip(name, clean.float() / 255.0, damage, shapes)
    shown = add_known_noise((damaged * 255.0).round().byte(), name, damage.noise)
    grainy = add_known_noise(clean, name, damage.noise)
    out, matte = run(shown)
    _, quiet = run(grainy)
    true = around(np.logical_or.reduce(list(masks.values())))
    off = [(each.float() - clean.float()).square().sum(dim=1).numpy() for each in (shown, out)]
    changed = (out != shown).any(dim=1).numpy()
    return Repaired(
        errors={
            kind: np.array([off[0][mask].sum(), off[1][mask].sum(), 3.0 * mask.sum()])
            for kind, mask in masks.items()
        },
        objects={
            kind: (len(of), objects_found(of, around(matte)))
            for kind, of in ((kind, regions(mask)) for kind, mask in masks.items())
        },
        outside=int((changed & ~matte).sum()),
        excess=float((matte & ~true).mean()),
        touched=float(quiet.mean()),
        largest=max((places.shape[1] for _, places in regions(quiet)), default=0),
    )


def table(found: dict[str, list[Repaired]]) -> str:
    """Markdown: rows by kind and tool."""
    rows = [
        "| tool | kind | objects | in the matte | PSNR inside, dB |",
        "|---|---|---|---|---|",
    ]
    for name, of in found.items():
        for kind in KINDS:
            before, after, values = np.sum([one.errors[kind] for one in of], axis=0)
            there, marked = (sum(one.objects[kind][i] for one in of) for i in (0, 1))
            inside = [10.0 * np.log10(255.0**2 * values / max(e, 1e-9)) for e in (before, after)]
            rows.append(
                f"| {name} | {kind} | {there} | {marked / max(there, 1):.3f} | "
                f"{inside[0]:.2f} -> {inside[1]:.2f} |"
            )
    rows.append("")
    for name, of in found.items():
        rows.append(
            f"{name}: {sum(one.outside for one in of)} samples changed outside the matte, matte "
            f"beyond the truth {np.mean([one.excess for one in of]):.3%}; of clean clips "
            f"{np.mean([one.touched for one in of]):.4%} touched, largest region "
            f"{max(one.largest for one in of)} samples."
        )
    return "\n".join(rows)
