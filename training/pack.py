"""Pack training files into a folder that is small enough to travel to a GPU machine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.config import DataConfig
from training.data import (
    CLIP_SUFFIXES,
    PHOTO_SUFFIXES,
    list_files,
    list_shapes,
    require_empty,
)

MEGABYTE = 1_000_000
_PAIRS = 0.25
"""Share of the room that pairs may take."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What was taken of a kind of file."""

    kind: str
    taken: int
    found: int
    megabytes: float

    def summary(self) -> str:
        """One line for people."""
        return f"{self.kind}: {self.taken} of {self.found} files, {self.megabytes:.1f} MB"


def pack(data: DataConfig, out: Path, max_mb: float, seed: int = 1) -> list[Packed]:
    """Copy what `data` names into OUT/clips, /photos, /shapes, /pairs and /grains, `max_mb` in all.

    The files are compressed already and stay as they are: OpenCV reads them where PyAV is
    missing. When they are too many, a seeded choice is taken, each kind in proportion to its
    size, but pairs fill a quarter at most. Raises ValueError when OUT holds
    something or not one file fits.
    """
    require_empty(out)
    kinds = {
        "clips": list_files("data.clips", data.clips, CLIP_SUFFIXES, data.exclude),
        "photos": list_files("data.photos", data.photos, PHOTO_SUFFIXES, data.exclude),
        "shapes": list_shapes(data),
        "pairs": list_files("data.pairs", data.pairs, (".npz",), data.exclude),
    }
    if data.grains:
        kinds["grains"] = [Path(name) for name in data.grains]
    sizes = {kind: sum(path.stat().st_size for path in paths) for kind, paths in kinds.items()}
    # Pairs hardly compress: by size they would crowd out all the rest.
    most = {"pairs": min(sizes.pop("pairs"), int(_PAIRS * max_mb * MEGABYTE))}
    share = min(1.0, (max_mb * MEGABYTE - most["pairs"]) / max(sum(sizes.values()), 1))
    most |= {kind: int(share * size) for kind, size in sizes.items()}
    packed = []
    for kind, paths in kinds.items():
        taken = _choose(paths, most[kind], seed)
        (out / kind).mkdir(parents=True, exist_ok=True)
        for path in taken:
            shutil.copyfile(path, out / kind / path.name)
        total = sum(path.stat().st_size for path in taken) / MEGABYTE
        packed.append(Packed(kind, len(taken), len(paths), total))
    if not any(one.taken for one in packed):
        raise ValueError(f"not one file fits into {max_mb:g} MB; raise --max-mb")
    return packed


def _choose(paths: list[Path], most: int, seed: int) -> list[Path]:
    """A random choice of at most `most` bytes; all of them when they fit."""
    order = np.random.default_rng(seed).permutation(len(paths))
    taken, left = [], most
    for index in order:
        size = paths[index].stat().st_size
        if size <= left:
            taken.append(paths[index])
            left -= size
    return taken
