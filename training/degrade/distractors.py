"""Hard negatives: what looks like damage for a frame or two and belongs to the picture.

All of it is painted into the clean clip, so that a generator that takes it away pays for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
KINDS = ("rain", "sparks", "glints", "flash", "object", "repeat", "copy")


@dataclass(frozen=True, slots=True)
class Distractor:
    """One kind of event in a clip."""

    kind: str
    strength: float
    """0..1: how much of it."""
    seed: int


def draw_distractors(rng: np.random.Generator) -> tuple[Distractor, ...]:
    """None in two thirds of the clips, else one or two kinds."""
    if rng.random() < 0.67:
        return ()
    kinds = rng.choice(KINDS, size=int(rng.integers(1, 3)), replace=False)
    return tuple(
        Distractor(str(kind), float(rng.random()), int(rng.integers(2**31))) for kind in kinds
    )


def play(rgb: Tensor, distractors: tuple[Distractor, ...]) -> Tensor:
    """R'G'B' (T, 3, H, W) 0..1 with all of them in it."""
    for distractor in distractors:
        rng = np.random.default_rng(distractor.seed)
        rgb = _PLAYERS[distractor.kind](rgb, distractor.strength, rng)
    return rgb


def order_frames(count: int, distractors: tuple[Distractor, ...]) -> NDArray[np.int64]:
    """Which frame each place shows: repeats show the one before, its noise included."""
    order = np.arange(count)
    for distractor in distractors:
        if distractor.kind == "repeat":
            rng = np.random.default_rng(distractor.seed)
            order = _hold(count, 0.05 + 0.45 * distractor.strength, rng)
    return order


def _hold(count: int, chance: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which of `count` frames each place shows when any may show the one before again."""
    again = rng.random(count) < chance
    return np.maximum.accumulate(np.where(again, 0, np.arange(count)))


def _rain(rgb: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Bright streaks, new in each frame, all falling the same way."""
    slope, length = rng.normal(0.0, 0.15), rng.uniform(6.0, 24.0)
    light = rng.uniform(0.1, 0.35)
    count = int(strength * rgb.shape[-1] * rgb.shape[-2] / 1500) + 1
    layer = _dark(rgb)
    for t in range(len(rgb)):
        y, x = rng.uniform(0, rgb.shape[-2], count), rng.uniform(0, rgb.shape[-1], count)
        steps = np.arange(int(length))
        _splat(layer[t], y[:, None] + steps, x[:, None] + slope * steps, light)
    return _lit(rgb, layer)


def _sparks(rgb: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Bright points that fly apart, fall, and last a few frames."""
    origin = rng.uniform(0.2, 0.8, 2) * np.array(rgb.shape[-2:])
    layer = _dark(rgb)
    for _ in range(int(60 * strength) + 5):
        start, life = int(rng.integers(len(rgb))), int(rng.integers(1, 6))
        speed = rng.normal(0.0, 6.0, 2)
        for age in range(min(life, len(rgb) - start)):
            at = origin + speed * age + np.array([0.5 * age**2, 0.0])
            tail = np.linspace(0.0, 1.0, 4)
            _splat(layer[start + age], at[0] - speed[0] * tail, at[1] - speed[1] * tail, 0.8)
    return _lit(rgb, layer)


def _glints(rgb: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Single samples and small spots of bright places that flash for a frame."""
    layer = _dark(rgb)
    bright = rgb.amax(dim=1) > rgb.amax(dim=1).flatten(1).quantile(0.8, dim=1)[:, None, None]
    for t in range(len(rgb)):
        places = bright[t].nonzero().cpu().numpy()
        if len(places):
            chosen = places[rng.integers(len(places), size=int(20 * strength) + 1)]
            _splat(layer[t], chosen[:, 0], chosen[:, 1], rng.uniform(0.4, 1.0))
    return _lit(rgb, layer)


def _flash(rgb: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """One frame, or two, far brighter."""
    lit = rgb.clone()
    at = int(rng.integers(len(rgb)))
    lit[at : at + int(rng.integers(1, 3))] *= 1.2 + 0.8 * strength
    return lit.clamp(0.0, 1.0)


def _object(rgb: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """A small thing that crosses the picture fast: a bird, a ball."""
    height, width = rgb.shape[-2:]
    side = max(2, int((0.02 + 0.1 * strength) * width))
    color = torch.from_numpy(rng.uniform(0.0, 1.0, 3)).to(rgb)[:, None, None]
    start, speed = rng.uniform(0, (height, width)), rng.normal(0.0, 0.12, 2) * (height, width)
    moving = rgb.clone()
    for t in range(len(rgb)):
        top, left = (start + speed * t).astype(int)
        if -side < top < height and -side < left < width:
            part = moving[t, :, max(top, 0) : top + side, max(left, 0) : left + side]
            part.copy_(color.expand_as(part))
    return moving


def _copy(rgb: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Near-copies: some frames show the picture before, as telecine and slow motion do."""
    order = _hold(len(rgb), 0.1 + 0.4 * strength, rng)
    return rgb[torch.from_numpy(order).to(rgb.device)]


def _same(rgb: Tensor, _strength: float, _rng: np.random.Generator) -> Tensor:
    return rgb


def _dark(like: Tensor) -> Floats:
    """(T, H, W) without any light; filled on the processor, then moved at once."""
    return np.zeros((len(like), *like.shape[-2:]))


def _lit(rgb: Tensor, light: Floats) -> Tensor:
    """White light added to each frame."""
    return (rgb + torch.from_numpy(light).to(rgb)[:, None]).clamp(0.0, 1.0)


def _splat(plane: Floats, y: Floats, x: Floats, light: float) -> None:
    """Add light at real places of (h, w), shared between the four samples around each."""
    height, width = plane.shape
    y, x = np.broadcast_arrays(y, x)
    top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    for down in (0, 1):
        for across in (0, 1):
            row, column = top + down, left + across
            share = (1.0 - np.abs(y - row)) * (1.0 - np.abs(x - column))
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            np.add.at(plane, (row[inside], column[inside]), share[inside] * light)


_PLAYERS = {
    "rain": _rain,
    "sparks": _sparks,
    "glints": _glints,
    "flash": _flash,
    "object": _object,
    "copy": _copy,
    "repeat": _same,
}
assert set(_PLAYERS) == set(KINDS)
