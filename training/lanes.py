"""Lanes: showings that advance side by side, each starting as a span starts in the tool."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.conditioning import tell_noise
from training.config import BatchConfig, TrainConfig
from training.data import Pool, show, show_pair
from training.degrade.coding import code, draw_coding
from training.degrade.damage import CLASSES, apply_damage, draw_damage
from training.degrade.distractors import draw_distractors, order_frames, play
from training.degrade.film import draw_film, project
from training.degrade.learned import add_learned
from training.degrade.noise import add_noise, draw_noise
from training.degrade.storage import draw_storage, to_stored
from training.pairs import PAIR_STORAGE

WARM_UP = 8
_STRENGTHS = (0.5, 1.5)
"""Of learned grain, as a factor on what was found: other reels of the stock differ."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lane stands: so many showings, and of the next one so many stretches, are over."""

    showing: int = 0
    stretch: int = 0


TENSORS = ("noisy", "clean", "damage", "noise")
"""The fields of a Stretch that are tensors."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a showing, one training step long.

    `noisy` and `clean` are (n + 2, 3, H, W): a frame of context at both ends, n steps between.
    """

    noisy: Tensor
    """And damaged."""
    clean: Tensor
    damage: Tensor
    """(n + 2, 4, H, W), 0 or 1: what each of damage.CLASSES changed visibly."""
    noise: Tensor
    """(2, 17): what the generator is told."""
    sigma: float
    """True deviation of luma and chroma, root mean square, at least 1/255."""
    fresh: bool
    """The state starts at zero here."""
    after: Place
    """Where the lane goes on."""


def run_lane(
    pool: Pool, config: TrainConfig, lane: int, place: Place | None = None
) -> Iterator[Stretch]:
    """Show one clip after the other, `batch.frames` steps at a time, for ever, from a place on.

    A showing depends on the seed, the lane and its number alone: a training that was cut off
    sees what it would have seen.
    """
    place = place or Place()
    for number in count(place.showing):
        rng = np.random.default_rng((config.seed, lane, number))
        done = place.stretch if number == place.showing else 0
        yield from islice(_show(pool, config, rng, number), done, None)


def _show(
    pool: Pool, config: TrainConfig, rng: np.random.Generator, number: int
) -> Iterator[Stretch]:
    """The stretches of one showing."""
    batch = config.batch
    order = _order(batch, rng)
    encoded = len(pool.pairs) > 0 and rng.random() < config.data.pair_share
    take = _take_pair if encoded else _make
    footage = take(pool, config, int(order.max()) + 1, rng)
    sigma = _deviation(footage)
    order = footage.order[order]
    starts = range(0, len(order) - 2, batch.frames)
    for done, start in enumerate(starts, start=1):
        at = torch.from_numpy(order[start : start + batch.frames + 2]).to(footage.noisy.device)
        yield Stretch(
            footage.noisy[at],
            footage.clean[at],
            footage.damage[at],
            footage.noise,
            sigma,
            fresh=done == 1,
            after=Place(number, done) if done < len(starts) else Place(number + 1),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Footage:
    """A showing as it was stored, and as it should have been."""

    noisy: Tensor
    stored: Tensor
    """The same without noise: damaged where it is."""
    clean: Tensor
    damage: Tensor
    noise: Tensor
    """As in Stretch."""
    order: NDArray[np.int64]
    """As in _Scene."""


def _deviation(footage: _Footage) -> float:
    """Root mean square of the noise outside the holes, at least 1/255."""
    whole = 1.0 - footage.damage[:, CLASSES.index("hole")].mean()
    power = (footage.noisy - footage.stored).square().mean()
    return max(float((power / whole.clamp(min=0.01)).sqrt()), 1.0 / 255.0)


def _make(pool: Pool, config: TrainConfig, frames: int, rng: np.random.Generator) -> _Footage:
    """A clean showing, degraded."""
    data = config.data
    rgb = show(pool, frames, config.batch.crop, rng, data.photo_share)
    storage = draw_storage(rng)
    scene = _play(rgb, pool, rng) if rng.random() < data.damage else _whole(rgb)
    coding = draw_coding(rng, storage)
    noise = draw_noise(rng, weak=coding is not None)
    if pool.grains and rng.random() < data.grain_share:
        grain = pool.grains[rng.integers(len(pool.grains))]
        strength = rng.uniform(*_STRENGTHS)
        noisy, stored = add_learned(
            scene.damaged, grain, storage, strength=strength, seed=noise.seed
        )
    else:
        noisy, stored = add_noise(scene.damaged, noise, storage)
    if coding is not None:
        noisy = code(noisy, coding, storage)
    clean = stored if scene.damaged is scene.clean else to_stored(scene.clean, storage)
    step = None if coding is None else coding.quantiser_step
    told = tell_noise(noisy, stored, storage, rng, quantiser_step=step)
    return _Footage(noisy, stored, clean, scene.damage, told, scene.order)


def _take_pair(pool: Pool, config: TrainConfig, frames: int, rng: np.random.Generator) -> _Footage:
    """A showing that was really encoded; what its stream lost is a hole."""
    pair = pool.pairs[rng.integers(len(pool.pairs))]
    noisy, clean, hole = show_pair(pair, frames, config.batch.crop, rng)
    stored = torch.lerp(clean, noisy, hole[:, None])
    damage = noisy.new_zeros(frames, len(CLASSES), *noisy.shape[-2:])
    damage[:, CLASSES.index("hole")] = hole
    step = float(pair.quantiser_step)
    noise = tell_noise(noisy, stored, PAIR_STORAGE, rng, quantiser_step=step, whole=1.0 - hole)
    return _Footage(noisy, stored, clean, damage, noise, np.arange(frames))


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What stands before the camera, and what became of it before any noise."""

    clean: Tensor
    damaged: Tensor
    damage: Tensor
    """(T, 4, H, W), as in Stretch."""
    order: NDArray[np.int64]
    """Which frame each place shows: repeats show one again, its noise and damage included."""


def _whole(rgb: Tensor) -> _Scene:
    """Nothing is damaged, nothing repeats."""
    frames, _, height, width = rgb.shape
    nothing = rgb.new_zeros(()).expand(frames, len(CLASSES), height, width)
    return _Scene(rgb, rgb, nothing, np.arange(frames))


def _play(rgb: Tensor, pool: Pool, rng: np.random.Generator) -> _Scene:
    """Distractors and an unsteady projector belong to the clean picture; damage does not."""
    distractors = draw_distractors(rng)
    clean = project(play(rgb, distractors), draw_film(rng))
    recipe = draw_damage(rng, pool.shapes, (len(rgb), *rgb.shape[-2:]))
    damaged, damage = apply_damage(clean, recipe, pool.shapes)
    return _Scene(clean, damaged, damage, order_frames(len(rgb), distractors))


def _order(batch: BatchConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of the frames shown, with one of context at both ends.

    Half the showings start cold at frame 0, half after mirrored frames, never frame 0 twice
    in a row; what is lacking at an end is mirrored; some shots have one frame only.
    """
    chunks = 1
    if rng.random() < batch.long_share:
        chunks = max(1, round(batch.long_frames / batch.frames))
    steps = chunks * batch.frames
    if rng.random() < 0.02:
        return np.zeros(steps + 2, dtype=np.int64)[: batch.frames + 2]
    longest = min(WARM_UP, steps - 1)
    warm = int(rng.integers(1, longest + 1)) if rng.random() < 0.5 else 0
    walk = np.concatenate([np.arange(warm, 0, -1), np.arange(steps - warm)])
    before = min(walk[0] + 1, walk.max()) if warm else walk[1]
    return np.concatenate([[before], walk, [walk[-2]]])
