"""Damage of film and tape: drawn first, applied second, with the map of what it changed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.degrade.marks import Marks, draw_marks, no_marks, render_marks
from training.degrade.shapes import Shapes

CLASSES = ("dust", "scratch", "dropout", "hole")
"""Planes of the defect map."""
VISIBLE = 4.0 / 255.0
"""A change below this in all of R', G', B' is no defect: nobody sees it."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """A line along the film, over some frames or all of them."""

    first: int
    last: int
    x: float
    """Of its middle, at frame `first`."""
    drift: float
    """Samples a frame."""
    jitter: float
    """Deviation of its place from frame to frame, in samples."""
    tilt: float
    """Samples across for each sample down."""
    width: float
    opacity: float
    paint: float
    broken: float
    """Share of its length that is missing, in pieces that change from frame to frame."""
    seed: int


@dataclass(frozen=True, slots=True)
class Dropout:
    """Lines of a tape that were not read: a stretch of some rows, on one frame."""

    frame: int
    top: int
    rows: int
    left: int
    length: int
    paint: float | None
    """0..1; None is noise."""
    seed: int


@dataclass(frozen=True, slots=True)
class Hole:
    """A piece of the picture that holds anything else, on some frames: a splice, a tear, a logo."""

    first: int
    last: int
    top: int
    left: int
    height: int
    width: int
    shift: tuple[int, int]
    """Where its content comes from, in samples down and across."""
    gain: float


@dataclass(frozen=True, slots=True, eq=False)
class DamageRecipe:
    """Everything that is wrong with one clip."""

    marks: Marks
    scratches: tuple[Scratch, ...] = ()
    dropouts: tuple[Dropout, ...] = ()
    holes: tuple[Hole, ...] = ()


def draw_damage(
    rng: np.random.Generator, shapes: Shapes, size: tuple[int, int, int]
) -> DamageRecipe:
    """Damage for a clip of (frames, height, width); 30 % of clips carry none."""
    if rng.random() < 0.3:
        return DamageRecipe(no_marks())
    return DamageRecipe(
        draw_marks(rng, shapes, size),
        tuple(_draw_scratch(rng, size) for _ in range(_count(rng, 0.35, 3))),
        tuple(_draw_dropout(rng, size) for _ in range(_count(rng, 0.2, 2 * size[0]))),
        tuple(_draw_hole(rng, size) for _ in range(_count(rng, 0.25, 3))),
    )


def apply_damage(rgb: Tensor, recipe: DamageRecipe, shapes: Shapes) -> tuple[Tensor, Tensor]:
    """R'G'B' (T, 3, H, W) 0..1 -> damaged, and the true map (T, 4, H, W) of CLASSES, 0 or 1.

    Holes first, as a splice lies under the dust; the map says what each class changed visibly.
    """
    damaged, planes = rgb, []
    for change in (_add_holes, _add_dropouts, _add_scratches, _add_dust):
        before = damaged
        damaged = change(damaged, recipe, shapes)
        planes.append(((damaged - before).abs().amax(dim=1) > VISIBLE).to(rgb))
    return damaged, torch.stack(planes[::-1], dim=1)


def _count(rng: np.random.Generator, chance: float, most: int) -> int:
    """With this chance 1 to `most`, few more often than many; else none."""
    if rng.random() >= chance:
        return 0
    return int(math.exp(rng.uniform(0.0, math.log(most + 1))))


def _draw_scratch(rng: np.random.Generator, size: tuple[int, int, int]) -> Scratch:
    frames, _, width = size
    first = int(rng.integers(frames)) if rng.random() < 0.3 else 0
    lasting = first == 0 and rng.random() < 0.7
    return Scratch(
        first=first,
        last=frames - 1 if lasting else int(rng.integers(first, frames)),
        x=rng.uniform(0.0, width),
        drift=rng.normal(0.0, 0.3),
        jitter=rng.choice([0.0, 0.4, 1.5]),
        tilt=rng.normal(0.0, 0.01),
        width=math.exp(rng.uniform(math.log(0.6), math.log(6.0))),
        opacity=rng.uniform(0.2, 1.0),
        paint=rng.uniform(0.8, 1.0) if rng.random() < 0.6 else rng.uniform(0.0, 0.2),
        broken=rng.choice([0.0, rng.uniform(0.1, 0.7)]),
        seed=int(rng.integers(2**31)),
    )


def _draw_dropout(rng: np.random.Generator, size: tuple[int, int, int]) -> Dropout:
    frames, height, width = size
    return Dropout(
        frame=int(rng.integers(frames)),
        top=int(rng.integers(height)),
        rows=int(rng.integers(1, 5)),
        left=int(rng.integers(-width // 4, width)),
        length=int(math.exp(rng.uniform(math.log(8.0), math.log(2.0 * width)))),
        paint=(None, 0.0, 1.0, float(rng.random()))[rng.integers(4)],
        seed=int(rng.integers(2**31)),
    )


def _draw_hole(rng: np.random.Generator, size: tuple[int, int, int]) -> Hole:
    frames, height, width = size
    first = int(rng.integers(frames))
    tall, wide = (int(n * math.exp(rng.uniform(math.log(0.04), math.log(0.4)))) for n in size[1:])
    if rng.random() < 0.2:  # a splice: the whole width
        wide = width
    return Hole(
        first=first,
        last=first if rng.random() < 0.6 else int(rng.integers(first, frames)),
        top=int(rng.integers(-tall // 2, height - tall // 2)),
        left=0 if wide == width else int(rng.integers(-wide // 2, width - wide // 2)),
        height=max(tall, 2),
        width=max(wide, 2),
        shift=(int(rng.integers(8, height)), int(rng.integers(8, width))),
        gain=rng.choice([0.0, 0.5, 1.0, 1.6]),
    )


def _add_dust(rgb: Tensor, recipe: DamageRecipe, shapes: Shapes) -> Tensor:
    opacity, paint = render_marks(recipe.marks, shapes, (len(rgb), *rgb.shape[-2:]))
    return torch.lerp(rgb, paint.expand_as(rgb), opacity)


def _add_scratches(rgb: Tensor, recipe: DamageRecipe, _shapes: Shapes) -> Tensor:
    for scratch in recipe.scratches:
        frames = slice(scratch.first, scratch.last + 1)
        opacity = _scratch_opacity(scratch, rgb[frames])
        changed = torch.lerp(rgb[frames], torch.full_like(rgb[frames], scratch.paint), opacity)
        rgb = torch.cat((rgb[: frames.start], changed, rgb[frames.stop :]))
    return rgb


def _scratch_opacity(scratch: Scratch, like: Tensor) -> Tensor:
    """(T, 1, H, W) for the frames that show it."""
    frames, _, height, width = like.shape
    rng = np.random.default_rng(scratch.seed)
    centre = scratch.x + scratch.drift * np.arange(frames)
    centre = centre + scratch.jitter * rng.standard_normal(frames)
    y = torch.arange(height, device=like.device, dtype=like.dtype)
    x = torch.arange(width, device=like.device, dtype=like.dtype)
    place = torch.from_numpy(centre).to(like)[:, None] + scratch.tilt * (y - height / 2)
    distance = (x - place[..., None]).abs()
    # The share of each sample that the line covers.
    profile = (0.5 * scratch.width + 0.5 - distance).clamp(0.0, min(1.0, scratch.width))
    if scratch.broken > 0.0:
        pieces = max(height // 12, 2)
        there = torch.from_numpy(rng.random((frames, 1, pieces))).to(like) > scratch.broken
        there = functional.interpolate(there.to(like), size=height, mode="linear")
        profile = profile * there[:, 0, :, None]
    return (scratch.opacity * profile)[:, None]


def _add_dropouts(rgb: Tensor, recipe: DamageRecipe, _shapes: Shapes) -> Tensor:
    damaged = rgb.clone() if recipe.dropouts else rgb
    for drop in recipe.dropouts:
        part = damaged[
            drop.frame,
            :,
            drop.top : drop.top + drop.rows,
            max(drop.left, 0) : max(drop.left + drop.length, 0),
        ]
        if drop.paint is None:
            generator = torch.Generator(rgb.device).manual_seed(drop.seed)
            part.copy_(torch.rand(part.shape, generator=generator, device=rgb.device))
        else:
            part.fill_(drop.paint)
    return damaged


def _add_holes(rgb: Tensor, recipe: DamageRecipe, _shapes: Shapes) -> Tensor:
    damaged = rgb.clone() if recipe.holes else rgb
    for hole in recipe.holes:
        window = (
            slice(hole.first, hole.last + 1),
            slice(None),
            slice(max(hole.top, 0), max(hole.top + hole.height, 0)),
            slice(max(hole.left, 0), max(hole.left + hole.width, 0)),
        )
        content = rgb.roll(hole.shift, dims=(-2, -1)) * hole.gain
        damaged[window] = content[window].clamp(0.0, 1.0)
    return damaged
