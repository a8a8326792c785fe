"""Is a frame as good wherever its span starts? PSNR by position, after cuts, and at borders.

Clips are played forth and back to 264 frames, with noise drawn anew at each showing; a still is
shown by a locked camera. The same frames are computed at several positions by moving the start
of their span.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data import each_clip
from training.evaluate import (
    CALM,
    WARM_UP,
    add_known_noise,
    clean_clip,
    psnr,
    run_span,
    to_rgb,
    to_ycbcr,
)
from vidrepair.engines.generator import Generator
from vidrepair.noise import known_profile

LENGTH = 264
"""Frames; four spans, so that there are three borders."""
CORE = 64
POSITIONS = (0, 4, 16, 40, 63)
TARGETS = (90, 101, 113)
"""Frames that are computed at every position."""
AFTER_CUT = 16


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured on one clip."""

    clip: str
    position: tuple[float, ...]
    """PSNR at each of POSITIONS, mean over TARGETS, dB, before the fade."""
    faded: float
    """PSNR of the first core frame's predecessor with the fade half way, dB."""
    mirrored: tuple[float, ...]
    """PSNR of the first 16 frames after a cut, with a mirrored warm-up."""
    cold: tuple[float, ...]
    """The same from a zero state at frame 0."""
    border: float
    """Largest step between frames near a border, over that of the same frames inside a span."""
    film: tuple[float, ...]
    """PSNR of every frame of a film of four spans, as the tool joins them."""


def long_clip(clean: Tensor, name: str, sigma: float) -> tuple[Tensor, Tensor]:
    """LENGTH frames of a clip played forth and back: clean and noisy, uint8 R'G'B'."""
    walk = [*range(len(clean)), *range(len(clean) - 2, 0, -1)]
    shown = clean[[walk[t % len(walk)] for t in range(LENGTH)]]
    return shown, add_known_noise(shown, name, sigma)


class _Bench:
    """A long clip and the generator on it."""

    def __init__(self, model: Generator, clean: Tensor, noisy: Tensor, sigma: float) -> None:
        self._model, self._clean, self._noisy = model, clean, noisy
        self._noise = torch.from_numpy(known_profile(sigma, sigma, rgb=True).array())[None]

    def restore(self, start: int, stop: int, *, mirrored: bool = False) -> Tensor:
        """Frames start..stop - 1 (float R'G'B'), the state zero before `start`."""
        rgb = self._noisy[start : stop + 1]
        spanned = run_span(self._model, to_ycbcr(rgb), self._noise, mirrored=mirrored, bf16=True)
        return (rgb.float() + to_rgb(spanned.residual))[: stop - start]

    def psnr(self, start: int, restored: Tensor) -> tuple[float, ...]:
        truth = self._clean[start : start + len(restored)]
        return psnr(truth, restored.round().clamp(0.0, 255.0))

    def at(self, position: int) -> float:
        """Mean PSNR of the targets when each is the core frame `position` of its span."""
        found = []
        for target in TARGETS:
            start = target - position - WARM_UP
            found.append(self.psnr(target, self.restore(start, target + 1)[-1:])[0])
        return float(np.mean(found))

    def film(self) -> tuple[Tensor, list[int]]:
        """Four spans with their fades, as the tool joins them, and the frames they start at."""
        starts = [CORE, 2 * CORE, 3 * CORE]
        film = self.restore(0, CORE, mirrored=True)
        for start in starts:
            span = self.restore(start - WARM_UP, min(start + CORE, LENGTH - 1))
            share = torch.arange(1, WARM_UP + 1).float()[:, None, None, None] / (WARM_UP + 1)
            film[-WARM_UP:] = (1 - share) * film[-WARM_UP:] + share * span[:WARM_UP]
            film = torch.cat((film, span[WARM_UP:]))
        return film, starts

    def border(self, film: Tensor, starts: list[int]) -> float:
        """Root mean square step of the error over span borders, over the usual step.

        The usual one is that of the same two frames in one long span: other frames of a clip may
        be calmer or wilder whatever is done to them.
        """
        unbroken = self._steps(self.restore(0, len(film), mirrored=True))
        near = [t for start in starts for t in range(start - WARM_UP - 1, start)]
        return float((self._steps(film)[near] / unbroken[near]).max())

    def _steps(self, film: Tensor) -> Tensor:
        error = film - self._clean[: len(film)].float()
        return (error[1:] - error[:-1]).square().mean(dim=(1, 2, 3)).sqrt()


def measure_positions(folder: Path, model: Generator, sigma: float) -> list[Found]:
    """Measure every clip of a folder, and one of its frames shown by a locked camera."""
    clips = {path.stem: clean_clip(path) for path in each_clip(folder)}
    still = next(iter(clips.values()))[:1]
    clips["locked still"] = still.expand(2, -1, -1, -1)
    return [_measure(name, clean, model, sigma) for name, clean in clips.items()]


def _measure(name: str, clean: Tensor, model: Generator, sigma: float) -> Found:
    bench = _Bench(model, *long_clip(clean, name, sigma), sigma)
    first = CORE  # any frame may follow a cut
    mirrored = bench.restore(first, first + 2 * AFTER_CUT, mirrored=True)
    cold = bench.restore(first, first + 2 * AFTER_CUT)
    film, starts = bench.film()
    middle = starts[0] - WARM_UP // 2
    return Found(
        name,
        tuple(bench.at(position) for position in POSITIONS),
        bench.psnr(middle, film[middle : middle + 1])[0],
        bench.psnr(first, mirrored[:AFTER_CUT]),
        bench.psnr(first, cold[:AFTER_CUT]),
        bench.border(film, starts),
        bench.psnr(0, film),
    )


def table(found: list[Found]) -> str:
    """Markdown: a row per clip; the first 16 frames after a cut in three averages."""
    head = [*(f"position {p}" for p in POSITIONS), "cut: frame 0, mirrored / cold"]
    head += ["frames 1-3", "frames 4-15", "border step", "faded", "film: least, mean"]
    rows = [f"| clip | {' | '.join(head)} |", "|---|" + "---|" * len(head)]

    def pair(one: Found, part: slice) -> str:
        return f"{np.mean(one.mirrored[part]):.2f} / {np.mean(one.cold[part]):.2f}"

    for one in found:
        cells = [f"{value:.2f}" for value in one.position]
        cells += [pair(one, slice(0, 1)), pair(one, slice(1, 4)), pair(one, slice(4, 16))]
        kind = " (calm)" if one.clip in CALM else ""
        cells += [f"{one.border:.2f}", f"{one.faded:.2f}"]
        later = one.film[AFTER_CUT:]
        cells.append(f"{min(later):.2f}, {np.mean(later):.2f}")
        rows.append(f"| {one.clip}{kind} | {' | '.join(cells)} |")
    return "\n".join(rows)


def draw(found: list[Found], path: Path) -> None:
    """Plot PSNR against the position, relative to each clip's best, and after a cut."""
    import cv2

    height, width, left = 420, 900, 60
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    low, high = -1.5, 0.2

    def point(x: float, value: float) -> tuple[int, int]:
        return int(x), int(height - 30 - (max(value, low) - low) / (high - low) * (height - 60))

    for value in (-1.0, -0.5, -0.15, 0.0):
        cv2.line(canvas, point(left, value), point(width - 20, value), (220, 220, 220), 1)
        cv2.putText(canvas, f"{value:+.2f} dB", point(2, value), 0, 0.4, (0, 0, 0), 1)
    for number, one in enumerate(found):
        shade = int(255 * number / len(found))
        colour = (shade, 80, 255 - shade)
        best = max(one.position)
        marks = [
            point(left + position * 6, value - best)
            for position, value in zip(POSITIONS, one.position, strict=True)
        ]
        after = [point(left + 420 + t * 25, value - best) for t, value in enumerate(one.mirrored)]
        for line in (marks, after):
            for a, b in pairwise(line):
                cv2.line(canvas, a, b, colour, 1, cv2.LINE_AA)
    cv2.putText(canvas, "position in the span (0 to 63)", (left, height - 8), 0, 0.45, 0, 1)
    cv2.putText(canvas, "frames after a cut (0 to 15)", (left + 420, height - 8), 0, 0.45, 0, 1)
    cv2.imwrite(str(path), np.concatenate([canvas, _draw_films(found, width, left)]))


def _draw_films(found: list[Found], width: int, left: int) -> NDArray[np.uint8]:
    """PSNR of every frame of the films, relative to their median; span borders are marked."""
    import cv2

    height = 300
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    length = len(found[0].film)
    across = (width - left - 20) / length

    def point(frame: int, value: float) -> tuple[int, int]:
        return int(left + frame * across), int(height / 2 - max(-1.4, min(value, 1.4)) * 90)

    for border in range(CORE, length, CORE):
        cv2.line(canvas, point(border, -1.4), point(border, 1.4), (220, 220, 220), 1)
    for value in (-1.0, 0.0, 1.0):
        cv2.putText(canvas, f"{value:+.1f} dB", (2, point(0, value)[1]), 0, 0.4, (0, 0, 0), 1)
    for number, one in enumerate(found):
        shade = int(255 * number / len(found))
        marks = [point(t, value - np.median(one.film)) for t, value in enumerate(one.film)]
        for a, b in pairwise(marks):
            cv2.line(canvas, a, b, (shade, 80, 255 - shade), 1, cv2.LINE_AA)
    cv2.putText(canvas, "frames of a film of four spans", (left, height - 8), 0, 0.45, 0, 1)
    return canvas
