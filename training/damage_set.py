"""The fixed damage that the third protocol scores: single frames, everything drawn from a seed."""

from __future__ import annotations

import dataclasses
import tomllib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.config import DataConfig
from training.data import list_shapes
from training.degrade.damage import VISIBLE, DamageRecipe, Dropout, Scratch, apply_damage
from training.degrade.marks import Marks, choose_shapes, no_marks
from training.degrade.shapes import Shapes, load_shapes

KINDS = ("opaque dust", "translucent dust", "scratch", "lasting scratch", "dropout")


@dataclass(frozen=True, slots=True)
class DamageSet:
    """What is drawn on every frame, on average."""

    seed: int
    noise: float
    """Deviation of the white noise beside it, 8-bit scale."""
    dust: float
    hair: float
    opaque: float
    """Share of dust and hair; the others are translucent."""
    scratches: float
    lasting: float
    """Scratches that run through a whole clip."""
    dropouts: float
    hole: int
    """Side of the hole in the middle frame, in samples."""


def load_damage_set(path: Path) -> DamageSet:
    """Read a TOML file. Raises ValueError for a key that is missing or unknown."""
    values = tomllib.loads(path.read_text())
    names = {field.name for field in dataclasses.fields(DamageSet)}
    if wrong := sorted(names ^ set(values)):
        raise ValueError(
            f"{path.name}: {', '.join(wrong)} is missing or unknown; see configs/eval-damage.toml"
        )
    return DamageSet(**values)


def load_marks(folder: Path | None) -> Shapes:
    """Marks of a folder of opacity pictures; drawn ones without it."""
    data = DataConfig(shapes=(str(folder),) if folder else ())
    return load_shapes(list_shapes(data), torch.device("cpu"))


def damage_clip(
    name: str, picture: Tensor, damage: DamageSet, shapes: Shapes
) -> tuple[Tensor, dict[str, NDArray[np.bool_]]]:
    """R'G'B' (T, 3, H, W) 0..1 -> damaged, and where each of KINDS changed it visibly (T, H, W)."""
    rng = np.random.default_rng((damage.seed, zlib.crc32(name.encode())))
    size = (len(picture), *picture.shape[-2:])
    damaged, masks = picture, {}
    for kind, recipe in draw_recipes(damage, shapes, size, rng).items():
        before = damaged
        damaged, _ = apply_damage(damaged, recipe, shapes)
        masks[kind] = ((damaged - before).abs().amax(dim=1) > VISIBLE).numpy()
    return damaged, masks


def draw_recipes(
    damage: DamageSet, shapes: Shapes, size: tuple[int, int, int], rng: np.random.Generator
) -> dict[str, DamageRecipe]:
    """What of each of KINDS lies on a clip of (frames, height, width)."""
    frames, height, width = size
    dust = [_draw_dust(damage, shapes, size, rng, opacity) for opacity in ((1.0, 1.0), (0.3, 0.7))]
    single = _frames(rng, damage.scratches, frames)
    scratches = tuple(_draw_scratch(rng, width, frame, frame) for frame in single)
    lasting = tuple(
        _draw_scratch(rng, width, 0, frames - 1) for _ in range(int(rng.poisson(damage.lasting)))
    )
    dropouts = tuple(
        Dropout(
            frame=frame,
            top=int(rng.integers(height)),
            rows=int(rng.integers(1, 4)),
            left=int(rng.integers(-width // 4, width)),
            length=int(rng.uniform(16.0, width)),
            paint=(None, 0.0, 1.0)[rng.integers(3)],
            seed=int(rng.integers(2**31)),
        )
        for frame in _frames(rng, damage.dropouts, frames)
    )
    recipes = (
        *(DamageRecipe(marks) for marks in dust),
        DamageRecipe(no_marks(), scratches=scratches),
        DamageRecipe(no_marks(), scratches=lasting),
        DamageRecipe(no_marks(), dropouts=dropouts),
    )
    return dict(zip(KINDS, recipes, strict=True))


def _draw_scratch(rng: np.random.Generator, width: int, first: int, last: int) -> Scratch:
    """A line from top to bottom; one that lasts drifts, trembles and breaks."""
    lasts = last > first
    return Scratch(
        first=first,
        last=last,
        x=rng.uniform(0.0, width),
        drift=rng.normal(0.0, 0.2) * lasts,
        jitter=0.3 * lasts,
        tilt=rng.normal(0.0, 0.01),
        width=rng.uniform(1.0, 3.0),
        opacity=rng.uniform(0.5, 1.0),
        paint=float(rng.choice([0.05, 0.95])),
        broken=0.2 * lasts,
        seed=int(rng.integers(2**31)),
    )


def _frames(rng: np.random.Generator, mean: float, frames: int) -> list[int]:
    """Numbers of the frames that events of a mean number for each lie on."""
    return np.repeat(np.arange(frames), rng.poisson(mean, frames)).tolist()


def _draw_dust(
    damage: DamageSet,
    shapes: Shapes,
    size: tuple[int, int, int],
    rng: np.random.Generator,
    opacity: tuple[float, float],
) -> Marks:
    """Dust and hair whose opacity lies in a range, 1 being as opaque as the shape itself."""
    frames, height, width = size
    share = damage.opaque if opacity[0] == 1.0 else 1.0 - damage.opaque
    frame = np.array(_frames(rng, share * (damage.dust + damage.hair), frames), dtype=np.int64)
    count = len(frame)
    thin = rng.random(count) < damage.hair / (damage.dust + damage.hair)
    return Marks(
        frame=frame,
        shape=choose_shapes(rng, shapes, thin),
        y=rng.uniform(0.0, height, count),
        x=rng.uniform(0.0, width, count),
        size=np.where(thin, rng.uniform(16.0, 48.0, count), rng.uniform(4.0, 20.0, count)),
        angle=rng.uniform(0.0, 2.0 * np.pi, count),
        opacity=rng.uniform(*opacity, count),
        paint=rng.choice([0.05, 0.95], count),
    )
