"""What a training tells of itself: a log, PSNR on clips it never saw, a curve, a picture."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data import CLIP_SUFFIXES, list_files
from training.evaluate import add_known_noise, clean_clip, generator_restore, psnr
from training.loader import Batch
from training.ticker import Tell, Ticker, silent
from vidrepair.engines.generator import Generator

SIGMAS = (10.0, 30.0, 50.0)
FRAMES = 8
CLIPS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One clip at one deviation, (T, 3, H, W) uint8 R'G'B'."""

    clean: Tensor
    noisy: Tensor
    restored: Tensor


class Diary:
    """Keeps the account of a training of so many steps, and writes it down.

    `tell` hears how far it is, where this process is the one that writes.
    """

    def __init__(
        self,
        out: Path,
        progress: dict[str, Any],
        steps: int,
        tell: Tell,
        *,
        writes: bool,
    ) -> None:
        self._out = out
        self._progress = progress
        self._writes = writes
        self.say = tell if writes else silent
        """Tells whoever waits a line."""
        self._ticker = Ticker(self.say, steps, progress["step"])
        self._losses: list[Tensor] = []
        self._waited = 0.0
        self._started = self._logged = time.monotonic()

    @property
    def minutes(self) -> float:
        """Since the training was started, this time."""
        return (time.monotonic() - self._started) / 60.0

    def wait_for(self, batches: Iterator[Batch]) -> Batch:
        """The next batch; the time until it is there counts as waited."""
        asked = time.monotonic()
        batch = next(batches)
        self._waited += time.monotonic() - asked
        return batch

    def note(self, loss: Tensor) -> None:
        """Keep the loss of a step that was done."""
        self._losses.append(loss)

    def tick(self) -> None:
        """A step is over."""
        self._ticker.step(lambda: "" if not self._losses else f"loss {float(self._losses[-1]):.4g}")

    def log(self, share: float, norm: float, facts: dict[str, Any]) -> None:
        """One line on the steps since the last one, with what else there is to tell.

        The loss is the mean of those that were done, null where none was, of this process; `wait`
        the share of the time in which the device waited for its data.
        """
        now = time.monotonic()
        took, self._logged = now - self._logged, now
        self._progress["seconds"] += took
        wait, self._waited = round(self._waited / max(took, 1e-9), 4), 0.0
        loss = round(torch.stack(self._losses).mean().item(), 5) if self._losses else None
        self._losses.clear()
        shown = round(norm, 3) if math.isfinite(norm) else None
        line = {"loss": loss, "share": round(share, 4), "norm": shown, "wait": wait}
        self._write(line | facts)

    def validate(self, averaged: Callable[[], Generator], folders: tuple[str, ...]) -> None:
        """Score the averaged model, and draw the picture and the curve anew."""
        if not self._writes:
            return
        began = time.monotonic()
        means, pictures = validate(averaged(), folders)
        took = time.monotonic() - began  # no time of the training's
        self._logged += took
        self._ticker.leave_out(took)
        self._write({"psnr": means})
        found = ", ".join(f"{value:.2f} dB at {sigma}" for sigma, value in means.items())
        self.say(f"step {self._progress['step']}: {found}")
        draw_pictures(pictures, self._out / "validation.png")
        draw_curve(self._out / "log.jsonl", self._out / "curve.png")

    def _write(self, facts: dict[str, Any]) -> None:
        if self._writes:
            with (self._out / "log.jsonl").open("a") as file:
                file.write(json.dumps(self._progress | facts) + "\n")


def check_validation(folders: tuple[str, ...]) -> None:
    """Raise ValueError, before the first step, when there is nothing to validate on."""
    if not list_files("data.validation", folders, CLIP_SUFFIXES, ()):
        raise ValueError(f"no clip in {', '.join(folders)}; set data.validation to one with clips")


def validate(model: Generator, folders: tuple[str, ...]) -> tuple[dict[str, float], list[Shown]]:
    """Known noise on the first eight frames of four clips: mean PSNR by deviation, and pictures.

    The first frame and the last do not count, for they lack a neighbour.
    """
    paths = list_files("data.validation", folders, CLIP_SUFFIXES, ())
    chosen = paths[:: max(1, len(paths) // CLIPS)][:CLIPS]
    restore = generator_restore(model)
    values: dict[float, list[float]] = {sigma: [] for sigma in SIGMAS}
    pictures: list[Shown] = []
    for path in chosen:
        clean = clean_clip(path)[:FRAMES]
        for sigma in SIGMAS:
            noisy = add_known_noise(clean, path.stem, sigma)
            restored = restore(noisy, sigma).round().clamp(0.0, 255.0)
            found = psnr(clean, restored)
            values[sigma] += found[1:-1] or found
            if sigma == SIGMAS[1]:
                pictures.append(Shown(clean, noisy, restored.byte()))
    return {f"{s:g}": round(float(np.mean(of)), 3) for s, of in values.items()}, pictures


def draw_pictures(pictures: list[Shown], out: Path) -> None:
    """Write a PNG: noisy, restored and clean side by side, a row for each clip."""
    from training.vision import make_grid, save_image

    at = FRAMES // 2
    tiles = [
        part[min(at, len(part) - 1)]
        for shown in pictures
        for part in (shown.noisy, shown.restored, shown.clean)
    ]
    height, width = (min(tile.shape[axis] for tile in tiles) for axis in (-2, -1))
    cut = torch.stack([tile[:, :height, :width] for tile in tiles]).float() / 255.0
    save_image(make_grid(cut, nrow=3, padding=4), out)


def draw_curve(log: Path, out: Path) -> None:
    """Write a PNG of the loss and of the validations of a log, over the pixels seen."""
    import cv2

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    curves = {"loss": [(line["pixels"], line["loss"]) for line in lines if line.get("loss")]}
    for sigma in SIGMAS:
        name = f"{sigma:g}"
        seen = [(line["pixels"], line["psnr"][name]) for line in lines if "psnr" in line]
        curves[f"PSNR at {name}, dB"] = seen
    panels = [_panel(name, curve) for name, curve in curves.items() if len(curve) > 1]
    if panels:
        cv2.imwrite(str(out), np.concatenate(panels))


def _panel(name: str, curve: list[tuple[float, float]]) -> np.ndarray:
    """One curve, (160, 800, 3) uint8, its range written beside it."""
    import cv2

    height, width, edge = 160, 800, 24
    x, y = np.array(curve, dtype=np.float64).T
    low, high = float(y.min()), float(y.max())
    across = edge + (x - x[0]) / max(x[-1] - x[0], 1.0) * (width - 2 * edge)
    down = height - edge - (y - low) / max(high - low, 1e-9) * (height - 2 * edge)
    panel = np.full((height, width, 3), 255, dtype=np.uint8)
    points = np.stack([across, down], axis=1).round().astype(np.int32)
    cv2.polylines(panel, [points], isClosed=False, color=(160, 60, 0), thickness=1)
    title = f"{name}: {y[0]:.3f} to {y[-1]:.3f} (least {low:.3f}, most {high:.3f})"
    title += f", {x[-1] / 1e9:.2f} gigapixels"
    cv2.putText(panel, title, (edge, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1)
    return panel
