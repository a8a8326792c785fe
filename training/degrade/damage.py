"""Damage of film and tape: drawn first, applied second, with the map of what it changed.

Sizes and densities are those of ten scans of worn film (hand-marked outlines): at a width of
1024 samples 1,500 to 2,500 marks on a frame that cover 1.4 to 2.5 % of it, half of them
below 4 samples in area, one in twenty above 11 to 35.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.degrade.shapes import SIDE, Shapes

CLASSES = ("dust", "scratch", "dropout", "hole")
"""Planes of the defect map."""
VISIBLE = 4.0 / 255.0
"""A change below this in all of R', G', B' is no defect: nobody sees it."""
_PATCHES = (8, 16, 32, 64, 128, 256)
"""Sides of the squares that marks are rendered in; a square holds a mark at any angle."""
_DENSEST = 2.5e-3
"""Marks per sample on the worst film."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Dust, dirt, hair and blotches, each on one frame; N values in each array."""

    frame: NDArray[np.int64]
    shape: NDArray[np.int64]
    y: Floats
    x: Floats
    size: Floats
    """Longer side in samples."""
    angle: Floats
    opacity: Floats
    """0..1."""
    paint: Floats
    """0..1, what the mark itself looks like: dark dirt, or bright where the negative was dirty."""


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
    paint: float
    """0..1; below zero: noise."""
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
        return DamageRecipe(_no_marks())
    return DamageRecipe(
        draw_marks(rng, shapes, size),
        tuple(_draw_scratch(rng, size) for _ in range(_count(rng, 0.35, 3))),
        tuple(_draw_dropout(rng, size) for _ in range(_count(rng, 0.2, 2 * size[0]))),
        tuple(_draw_hole(rng, size) for _ in range(_count(rng, 0.25, 3))),
    )


def draw_marks(rng: np.random.Generator, shapes: Shapes, size: tuple[int, int, int]) -> Marks:
    """Dust and hair, from hardly any to the worst film; dark, bright or both."""
    frames, height, width = size
    density = _DENSEST * math.exp(-rng.uniform(0.0, 6.0))
    # Dirt comes in bursts: the number varies from frame to frame more than by chance.
    mean = density * height * width * rng.gamma(2.0, 0.5, size=frames)
    numbers = rng.poisson(mean)
    count = int(numbers.sum())
    thin = rng.random(count) < rng.uniform(0.0, 0.15)
    size_px = np.where(
        thin,
        np.exp(rng.normal(math.log(20.0), 0.6, count)),
        2.0 + np.exp(rng.normal(math.log(1.5), 0.9, count)),
    )
    kinds = [np.flatnonzero(shapes.thin == flag) for flag in (False, True)]
    kinds = [kind if len(kind) else np.arange(len(shapes.thin)) for kind in kinds]
    shape = np.where(thin, rng.choice(kinds[1], count), rng.choice(kinds[0], count))
    bright = rng.random(count) < rng.choice([0.0, 0.5, 1.0])
    paint = np.where(bright, rng.uniform(0.8, 1.0, count), rng.uniform(0.0, 0.25, count))
    translucent = rng.random(count) < 0.3
    return Marks(
        frame=np.repeat(np.arange(frames), numbers),
        shape=shape,
        y=rng.uniform(0.0, height, count),
        x=rng.uniform(0.0, width, count),
        size=np.minimum(size_px, 180.0),
        angle=rng.uniform(0.0, 2.0 * math.pi, count),
        opacity=np.where(translucent, rng.uniform(0.15, 0.7, count), rng.uniform(0.8, 1.0, count)),
        paint=paint,
    )


def apply_damage(rgb: Tensor, recipe: DamageRecipe, shapes: Shapes) -> tuple[Tensor, Tensor]:
    """R'G'B' (T, 3, H, W) 0..1 -> damaged, and the true map (T, 4, H, W) of CLASSES, 0 or 1.

    Holes first, as a splice lies under the dust; the map says what each class changed visibly.
    """
    damaged, planes = rgb, []
    for change in (_add_dust, _add_scratches, _add_dropouts, _add_holes):
        before = damaged
        damaged = change(damaged, recipe, shapes)
        planes.append(((damaged - before).abs().amax(dim=1) > VISIBLE).to(rgb))
    return damaged, torch.stack(planes, dim=1)


def _no_marks() -> Marks:
    whole, real = np.zeros(0, dtype=np.int64), np.zeros(0)
    return Marks(whole, whole, real, real, real, real, real, real)


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
        paint=rng.choice([-1.0, 0.0, 1.0, rng.random()]),
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


def render_marks(marks: Marks, shapes: Shapes, size: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Opacity and paint, (T, 1, H, W) each. Where marks overlap the more opaque one shows."""
    frames, height, width = size
    device = shapes.pictures.device
    edge = _PATCHES[-1]
    # A margin around the frame takes what sticks out.
    tall, wide = height + 2 * edge, width + 2 * edge
    opacity = torch.zeros(frames * tall * wide, device=device)
    weight, weighted = torch.zeros_like(opacity), torch.zeros_like(opacity)
    # Turned by 45 degrees a mark needs 1.42 times its side, and a sample of margin.
    needed = 1.42 * marks.size + 2.0
    for smaller, side in zip((0, *_PATCHES), _PATCHES, strict=False):
        chosen = np.flatnonzero((needed > smaller) & (needed <= side))
        for start in range(0, len(chosen), 4096):
            these = chosen[start : start + 4096]
            patches = _render(marks, these, shapes, side)
            corner = np.stack([marks.y[these], marks.x[these]]).astype(np.int64) + edge - side // 2
            base = (marks.frame[these] * tall + corner[0]) * wide + corner[1]
            inside = torch.arange(side, device=device)
            at = torch.from_numpy(base).to(device)[:, None, None] + inside[:, None] * wide + inside
            flat, values = at.flatten(), patches.flatten()
            opacity.scatter_reduce_(0, flat, values, "amax")
            # The fourth power: the paint is nearly that of the most opaque mark.
            share = values**4
            paint = (
                torch.from_numpy(marks.paint[these]).to(patches)[:, None, None].expand_as(patches)
            )
            weight.index_add_(0, flat, share)
            weighted.index_add_(0, flat, share * paint.flatten())
    shown = [
        plane.view(frames, 1, tall, wide)[..., edge:-edge, edge:-edge]
        for plane in (opacity, weighted / weight.clamp(min=1e-12))
    ]
    return shown[0], shown[1]


def _render(marks: Marks, these: NDArray[np.int64], shapes: Shapes, side: int) -> Tensor:
    """Opacity patches (n, side, side) of some marks, turned, at their size and sub-sample place."""
    device = shapes.pictures.device

    def column(values: Floats) -> Tensor:
        return torch.from_numpy(values[these]).to(device, torch.float32)

    pictures = shapes.pictures
    # Reduced first where the patch is smaller, so that thin marks do not vanish between samples.
    factor = max(1, SIDE // (2 * side))
    if factor > 1:
        pictures = functional.avg_pool2d(pictures, factor)
    scale = side / column(marks.size).clamp(min=1.0)
    cos, sin = (f(column(marks.angle)) * scale for f in (torch.cos, torch.sin))
    offset = [-2.0 * (column(values) % 1.0) / side for values in (marks.x, marks.y)]
    rows = [
        torch.stack((cos, -sin, cos * offset[0] - sin * offset[1]), dim=1),
        torch.stack((sin, cos, sin * offset[0] + cos * offset[1]), dim=1),
    ]
    grid = functional.affine_grid(
        torch.stack(rows, dim=1), [len(these), 1, side, side], align_corners=False
    )
    chosen = pictures[torch.from_numpy(marks.shape[these]).to(device)]
    patches = functional.grid_sample(chosen, grid, mode="bilinear", align_corners=False)
    return patches[:, 0] * column(marks.opacity)[:, None, None]


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
        if drop.paint < 0.0:
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
