"""Before and after: crops of restored films where most was changed, to be looked at."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.data import each_clip, read_clip
from training.evaluate import run_command

FRAMES = 3
CROP = (224, 320)
_SMOOTH = 32


def draw_before_after(folder: Path, out: Path, command: str, frames: int) -> list[Path]:
    """Run a command line with {in}, {out} and {frames} on every film; one PNG for each, into `out`.

    A row for each of three frames, spread over the first `frames`: a crop around the largest
    change, before, after, and the change itself, four times as strong, around gray.
    """
    from training.vision import make_grid, save_image

    out.mkdir(parents=True, exist_ok=True)
    written = []
    for path in each_clip(folder):
        with tempfile.TemporaryDirectory() as temporary:
            restored = Path(temporary) / "restored.mkv"
            values = {"in": str(path), "out": str(restored), "frames": str(frames)}
            run_command(command, values)
            after = read_clip(restored, frames)
        before = read_clip(path, len(after))
        tiles = [tile for t in _spread(len(after)) for tile in _crops(before[t], after[t])]
        written.append(out / f"{path.stem}.png")
        save_image(make_grid(torch.stack(tiles), nrow=3, padding=4), written[-1])
    return written


def _spread(count: int) -> list[int]:
    return [int(t) for t in np.linspace(0, count - 1, FRAMES + 2)[1:-1].round()]


def _crops(before: Tensor, after: Tensor) -> list[Tensor]:
    """Three (3, h, w) pictures, 0..1, of one frame (3, H, W) uint8."""
    change = after.float() - before.float()
    side = min(_SMOOTH, *change.shape[-2:])
    amount = functional.avg_pool2d(change.square().mean(dim=0)[None, None], side, stride=8)[0, 0]
    row, column = divmod(int(amount.argmax()), amount.shape[1])
    tall, wide = (min(side, length) for side, length in zip(CROP, change.shape[-2:], strict=True))
    top = min(max(8 * row + side // 2 - tall // 2, 0), change.shape[-2] - tall)
    left = min(max(8 * column + side // 2 - wide // 2, 0), change.shape[-1] - wide)
    window = (slice(None), slice(top, top + tall), slice(left, left + wide))
    shown = (before[window] / 255.0, after[window] / 255.0, 0.5 + 4.0 * change[window] / 255.0)
    return [picture.clamp(0.0, 1.0) for picture in shown]
