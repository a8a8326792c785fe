"""One contact sheet of all degradations: a row for each, frames of a showing side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.config import DataConfig
from training.data import Pool, load_pool, show_clip
from training.degrade.coding import CodingRecipe, code
from training.degrade.damage import DamageRecipe, apply_damage, draw_damage
from training.degrade.distractors import KINDS, Distractor, order_frames, play
from training.degrade.film import FilmRecipe, project
from training.degrade.grain import Grain
from training.degrade.marks import draw_marks
from training.degrade.noise import NoiseRecipe, add_noise
from training.degrade.shapes import Shapes
from training.degrade.storage import Storage, pack_codes, unpack_codes
from training.encoding import EncodingRecipe, run_encoding
from training.pairs import PAIR_STORAGE
from vidrepair.planes import rgb_to_ycbcr

FRAMES = 6
CROP = 192
_TITLE = 18
_SEED = 3

Effect = Callable[[Tensor], Tensor]


def draw_sheet(data: DataConfig, out: Path) -> int:
    """Write a PNG with one row for each degradation; returns the number of rows."""
    import cv2

    device = torch.device("cpu")
    pool = load_pool(replace(data, damage=1.0, pair_share=0.0), device)
    rows = [
        _row(name, effect(_clip(pool, number)))
        for number, (name, effect) in enumerate(_effects(pool.shapes).items())
    ]
    half = math.ceil(len(rows) / 2)
    blank = np.zeros_like(rows[0])
    columns = [np.concatenate(part) for part in (rows[:half], [*rows[half:], blank][:half])]
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), np.concatenate(columns, axis=1)[:, :, ::-1])
    return len(rows)


def _clip(pool: Pool, number: int) -> Tensor:
    return show_clip(pool, FRAMES, CROP, np.random.default_rng((_SEED, number)))


def _row(name: str, clip: Tensor) -> np.ndarray:
    """Frames side by side under their title, uint8 R'G'B'."""
    import cv2

    frames = (clip.clamp(0.0, 1.0) * 255.0).round().byte().permute(0, 2, 3, 1).numpy()
    strip = np.concatenate(list(frames), axis=1)
    title = np.zeros((_TITLE, strip.shape[1], 3), dtype=np.uint8)
    cv2.putText(title, name, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
    return np.concatenate([title, strip])


def _effects(shapes: Shapes) -> dict[str, Effect]:
    """Every degradation by name, at a strength that shows."""
    effects: dict[str, Effect] = {
        "white R'G'B' noise, 20": _noise(NoiseRecipe(luma=20 / 255, seed=1)),
        "Y'CbCr noise, 12 and 16": _noise(
            NoiseRecipe(in_rgb=False, luma=12 / 255, chroma=16 / 255, seed=1), PAIR_STORAGE
        ),
        "Poisson-Gaussian noise": _noise(
            NoiseRecipe(luma=20 / 255, shot=1.0, seed=1), PAIR_STORAGE
        ),
    }
    for grain in (Grain("blurred", 1.6), Grain("regressive"), Grain("resampled", 1.8)):
        recipe = NoiseRecipe(in_rgb=False, luma=14 / 255, chroma=4 / 255, shot=0.5, grain=grain)
        effects[f"{grain.kind} grain"] = _noise(recipe)
    effects["demosaiced noise"] = _noise(NoiseRecipe(luma=20 / 255, grain=Grain("mosaic")))
    for qp in (24.0, 30.0):
        effects[f"noise 10, coded at QP {qp:g}"] = _coded(CodingRecipe(qp, gop=4, seed=1))
    h264 = (("crf", "28"), ("preset", "veryfast"), ("g", "12"))
    mpeg2 = (("qmin", "6"), ("qmax", "6"), ("g", "12"))
    effects["noise 10, H.264 at crf 28"] = _encoded("libx264", h264, broken=False)
    effects["noise 10, a broken MPEG-2 stream"] = _encoded("mpeg2video", mpeg2, broken=True)
    effects["flicker"] = lambda clip: project(clip, FilmRecipe(flicker=0.1, uneven=0.05, seed=2))
    effects["weave"] = lambda clip: project(clip, FilmRecipe(weave=1.5, seed=2))
    effects["dust and hair"] = lambda clip: _damaged(clip, shapes, _dust)
    for name in ("scratches", "dropouts", "holes"):
        effects[name] = _drawn(shapes, name)
    for kind in KINDS:
        event = (Distractor(kind, 0.7, seed=4),)
        effects[f"hard negative: {kind}"] = lambda clip, event=event: play(clip, event)[  # type: ignore[misc]
            torch.from_numpy(order_frames(len(clip), event))
        ]
    return effects


def _noise(recipe: NoiseRecipe, storage: Storage | None = None) -> Effect:
    return lambda clip: _shown(add_noise(clip, recipe, storage or Storage())[0], storage)


def _coded(recipe: CodingRecipe) -> Effect:
    def effect(clip: Tensor) -> Tensor:
        noisy = add_noise(clip, NoiseRecipe(luma=10 / 255, seed=1), PAIR_STORAGE)[0]
        return _shown(code(noisy, recipe, PAIR_STORAGE), PAIR_STORAGE)

    return effect


def _encoded(codec: str, options: tuple[tuple[str, str], ...], *, broken: bool) -> Effect:
    def effect(clip: Tensor) -> Tensor:
        noisy = add_noise(clip, NoiseRecipe(luma=10 / 255, seed=1), PAIR_STORAGE)[0]
        luma, chroma = pack_codes(noisy, PAIR_STORAGE)
        recipe = EncodingRecipe(codec, options, broken, seed=7)
        coded = run_encoding((luma.numpy(), chroma.numpy()), recipe)
        luma, chroma = torch.from_numpy(coded.luma), torch.from_numpy(coded.chroma)
        return _shown(unpack_codes(luma, chroma, PAIR_STORAGE), PAIR_STORAGE)

    return effect


def _shown(stored: Tensor, storage: Storage | None) -> Tensor:
    """Stored Y'CbCr as R'G'B'."""
    if storage is not None and not storage.full_range:
        offset = torch.tensor([16.0, 0.0, 0.0])[:, None, None] / 255.0
        stored = (stored - offset) * torch.tensor([255 / 219, 255 / 224, 255 / 224])[:, None, None]
    inverse = torch.linalg.inv(torch.from_numpy(rgb_to_ycbcr())).to(stored)
    return torch.einsum("ij,tjhw->tihw", inverse, stored)


def _damaged(clip: Tensor, shapes: Shapes, draw: Callable[..., DamageRecipe]) -> Tensor:
    size = (len(clip), *clip.shape[-2:])
    return apply_damage(clip, draw(np.random.default_rng(_SEED), shapes, size), shapes)[0]


def _dust(rng: np.random.Generator, shapes: Shapes, size: tuple[int, int, int]) -> DamageRecipe:
    marks = [draw_marks(rng, shapes, size) for _ in range(20)]
    return DamageRecipe(max(marks, key=lambda drawn: len(drawn.x)))


def _drawn(shapes: Shapes, name: str) -> Effect:
    """The first clip's worth of damage that holds some of this kind, and nothing else."""

    def draw(rng: np.random.Generator, of: Shapes, size: tuple[int, int, int]) -> DamageRecipe:
        while True:
            recipe = draw_damage(rng, of, size)
            if found := getattr(recipe, name):
                return DamageRecipe(draw_marks(rng, of, (0, *size[1:])), **{name: found})

    return lambda clip: _damaged(clip, shapes, draw)
