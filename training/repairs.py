"""The sixth protocol: what a tool makes of damage, through its command line, and of clean clips.

The damage is that of the third protocol, on grain of deviation 2. The tool is told to remove damage
alone, and writes its matte: inside the true damage it is scored against the clean clip, and outside
its matte every sample has to be the one it was given. Classical filters stand beside it.

Flicker is a protocol of its own: one random gain for each frame, put on the clean clips.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.damage_set import KINDS, DamageSet, damage_clip
from training.data import each_clip, read_clip
from training.defects import around, objects_found, regions
from training.degrade.shapes import Shapes
from training.evaluate import (
    add_known_noise,
    clean_clip,
    command_restore,
    run_command,
    to_ycbcr,
    write_lossless,
)
from training.references import Mend, damage_references, flicker_references
from vidrepair.regions import Mask

SEEN = 2
"""Code values beyond which an undamaged sample counts as changed."""
FLICKER = 0.08
"""Change of the light of a frame at most, as a share, either way."""

Run = Callable[[Tensor], tuple[Tensor, Mask]]
"""R'G'B' (T, 3, H, W) uint8 -> repaired, and the matte (T, H, W), or what changed without one."""


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """Counts over clips."""

    errors: dict[str, NDArray[np.float64]]
    """By kind: squared errors inside before and after, and how many values."""
    objects: dict[str, tuple[int, int]]
    """By kind: how many there are, and those that half lie in the matte."""
    outside: int
    """Samples that were changed outside the matte."""
    changed: float
    """Share of the undamaged samples that are off by more than SEEN in one of R', G', B'."""
    excess: float
    """Share of the samples in the matte beyond the truth grown by two."""
    touched: float
    """Share of the samples of the clean clip in the matte."""
    largest: int
    """Samples of its largest region there."""


def measure_repairs(
    folder: Path, command: str, damage: DamageSet, shapes: Shapes
) -> dict[str, list[Repaired]]:
    """Run a command line with {in}, {out} and {matte} on every clip, the references beside it."""
    runs = {"this": command_run(command)}
    runs |= {name: _without_matte(mend) for name, mend in damage_references().items()}
    found: dict[str, list[Repaired]] = {name: [] for name in runs}
    for path in each_clip(folder):
        for name, run in runs.items():
            found[name].append(_measure(path.stem, clean_clip(path), run, damage, shapes))
    return found


def command_run(command: str) -> Run:
    """Run a command line with {in}, {out} and, if it writes one, {matte}, over lossless files."""

    def run(shown: Tensor) -> tuple[Tensor, Mask]:
        with tempfile.TemporaryDirectory() as folder:
            paths = {name: f"{folder}/{name}.mkv" for name in ("in", "out", "matte")}
            write_lossless(Path(paths["in"]), shown)
            run_command(command, paths)
            out = read_clip(Path(paths["out"]))
            if not Path(paths["matte"]).exists():
                return out, _differs(out, shown)
            return out, (read_clip(Path(paths["matte"]))[:, 0] > 0).numpy()

    return run


def _without_matte(mend: Mend) -> Run:
    def run(shown: Tensor) -> tuple[Tensor, Mask]:
        out = mend(shown)
        return out, _differs(out, shown)

    return run


def _differs(one: Tensor, other: Tensor, by: int = 0) -> Mask:
    """(T, H, W) where one of R', G', B' differs by more."""
    off = (one.short() - other.short()).abs().amax(dim=1)
    return np.asarray((off > by).numpy())


def _measure(name: str, clean: Tensor, run: Run, damage: DamageSet, shapes: Shapes) -> Repaired:
    damaged, masks = damage_clip(name, clean.float() / 255.0, damage, shapes)
    shown = add_known_noise((damaged * 255.0).round().byte(), name, damage.noise)
    grainy = add_known_noise(clean, name, damage.noise)
    out, matte = run(shown)
    _, quiet = run(grainy)
    true = around(np.logical_or.reduce(list(masks.values())))
    off = [(each.float() - clean.float()).square().sum(dim=1).numpy() for each in (shown, out)]
    return Repaired(
        errors={
            kind: np.array([off[0][mask].sum(), off[1][mask].sum(), 3.0 * mask.sum()])
            for kind, mask in masks.items()
        },
        objects={
            kind: (len(of), objects_found(of, around(matte)))
            for kind, of in ((kind, regions(mask)) for kind, mask in masks.items())
        },
        outside=int((_differs(out, shown) & ~matte).sum()),
        changed=float(_differs(out, shown, SEEN)[~true].mean()),
        excess=float((matte & ~true).mean()),
        touched=float(quiet.mean()),
        largest=max((places.shape[1] for _, places in regions(quiet)), default=0),
    )


def _psnr(error: float, values: float) -> float:
    """Of a sum of squared errors over so many values, dB; of none at all, infinite."""
    return float(10.0 * np.log10(255.0**2 * values / max(error, 1e-9))) if values else np.inf


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
            inside = [_psnr(error, values) for error in (before, after)]
            rows.append(
                f"| {name} | {kind} | {there} | {marked / max(there, 1):.3f} | "
                f"{inside[0]:.2f} -> {inside[1]:.2f} |"
            )
    rows.append("")
    for name, of in found.items():
        rows.append(
            f"{name}: {sum(one.outside for one in of)} samples changed outside the matte, matte "
            f"beyond the truth {np.mean([one.excess for one in of]):.3%}, "
            f"{np.mean([one.changed for one in of]):.3%} of the undamaged samples changed by more "
            f"than {SEEN}; of clean clips "
            f"{np.mean([one.touched for one in of]):.4%} touched, largest region "
            f"{max(one.largest for one in of)} samples."
        )
    return "\n".join(rows)


@dataclass(frozen=True, slots=True)
class Steadied:
    """The steps of the mean luma of one clip, from frame to frame: rms, 8-bit code values."""

    own: float
    """Of the clean clip."""
    steps: tuple[float, float]
    """With made flicker, and of what the tool made of it."""
    left: tuple[float, float]
    """The same of the difference from the clean clip: its own steps are not counted."""


def measure_flicker(folder: Path, command: str) -> dict[str, list[Steadied]]:
    """Put known flicker on every clip; run a command line with {in} and {out}, and FFmpeg's."""
    restore = command_restore(command)
    runs: dict[str, Mend] = {"this": lambda shown: restore(shown, 0.0).byte()}
    runs |= flicker_references()
    found: dict[str, list[Steadied]] = {name: [] for name in runs}
    for path in each_clip(folder):
        clean = clean_clip(path)
        shown = add_flicker(clean, path.stem)
        for name, run in runs.items():
            found[name].append(_steadied(clean, shown, run(shown)))
    return found


def add_flicker(clean: Tensor, name: str) -> Tensor:
    """R'G'B' (T, 3, H, W) uint8 with a gain of its own on each frame; the name is the seed."""
    rng = np.random.default_rng((zlib.crc32(name.encode()), 1))
    gains = torch.from_numpy(rng.uniform(1.0 - FLICKER, 1.0 + FLICKER, len(clean))).float()
    return (clean * gains[:, None, None, None]).round().clamp(0.0, 255.0).byte()


def _steadied(clean: Tensor, shown: Tensor, out: Tensor) -> Steadied:
    means = [_light(clip) for clip in (clean, shown, out)]

    def rms(course: NDArray[np.float64]) -> float:
        return float(np.sqrt(np.square(np.diff(course)).mean()))

    return Steadied(
        own=rms(means[0]),
        steps=(rms(means[1]), rms(means[2])),
        left=(rms(means[1] - means[0]), rms(means[2] - means[0])),
    )


def _light(clip: Tensor) -> NDArray[np.float64]:
    """(T,) mean luma, 8-bit code values."""
    return np.asarray(255.0 * to_ycbcr(clip)[:, 0].double().mean(dim=(1, 2)).numpy())


def flicker_table(found: dict[str, list[Steadied]]) -> str:
    """Markdown: a row for each tool, root mean squares over the clips."""
    rows = [
        "| tool | clips | steps of the clean clips | steps | off the clean clips |",
        "|---|---|---|---|---|",
    ]
    for name, of in found.items():
        values = [(one.own, *one.steps, *one.left) for one in of]
        own, before, after, off, left = np.sqrt(np.square(values).mean(axis=0))
        rows.append(
            f"| {name} | {len(of)} | {own:.2f} | {before:.2f} -> {after:.2f} | "
            f"{off:.2f} -> {left:.2f} |"
        )
    return "\n".join(rows)
