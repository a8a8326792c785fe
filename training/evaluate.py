"""The evaluation protocol: known noise on clean clips, PSNR per frame, clip and set.

Noise is drawn once per clip with a seed of the clip's name and the level, added to R'G'B',
clipped and rounded to 8 bits; 384x256 centre crops, 24 frames.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.checkpoint import read_checkpoint
from training.control import make_generator
from training.data import each_clip, read_clip
from vidrepair.engines.generator import Generator, load_generator
from vidrepair.models import load_weights
from vidrepair.noise import known_profile
from vidrepair.planes import rgb_to_ycbcr

CROP = (256, 384)
FRAMES = 24
CALM = {"calendar", "city", "market", "baseball"}
WARM_UP = 8

Restore = Callable[[Tensor, float], Tensor]
"""Noisy (T, 3, H, W) uint8 R'G'B' and sigma on the 8-bit scale -> restored, float 0..255."""


@dataclass(frozen=True, slots=True)
class Score:
    """The PSNR of each frame of one clip at one level."""

    clip: str
    sigma: float
    psnr: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the frames, dB."""
        return float(np.mean(self.psnr))


def clean_clip(path: Path) -> Tensor:
    """The clean centre crop (T, 3, 256, 384) uint8 R'G'B', at most 24 frames.

    A smaller clip is taken whole.
    """
    clip = read_clip(path, FRAMES)
    sizes = zip(clip.shape[-2:], CROP, strict=True)
    top, left = (max((size - crop) // 2, 0) for size, crop in sizes)
    return clip[..., top : top + CROP[0], left : left + CROP[1]]


def add_known_noise(clean: Tensor, name: str, sigma: float) -> Tensor:
    """Clean uint8 -> noisy uint8; the seed is that of the clip's name and the level."""
    noisy = []
    for t, frame in enumerate(clean.numpy()):
        rng = np.random.default_rng((zlib.crc32(name.encode()), int(sigma), t))
        noise = rng.standard_normal(frame.shape) * sigma
        noisy.append(np.clip(np.round(frame + noise), 0, 255).astype(np.uint8))
    return torch.from_numpy(np.stack(noisy))


def psnr(clean: Tensor, restored: Tensor) -> tuple[float, ...]:
    """PSNR of each frame over R', G', B', dB, peak 255."""
    error = (clean.double() - restored.double()).square().mean(dim=(1, 2, 3))
    return tuple(float(10.0 * np.log10(255.0**2 / max(e, 1e-9))) for e in error.tolist())


def evaluate(folder: Path, restore: Restore, sigmas: tuple[float, ...]) -> list[Score]:
    """Score `restore` on every clip of the folder at every level."""
    scores = []
    for path in each_clip(folder):
        clean = clean_clip(path)
        for sigma in sigmas:
            restored = restore(add_known_noise(clean, path.stem, sigma), sigma)
            # What a viewer gets: rounded to 8 bits.
            restored = restored.round().clamp(0.0, 255.0)
            scores.append(Score(path.stem, sigma, psnr(clean, restored)))
    return scores


def table(scores: list[Score]) -> str:
    """A Markdown table: a row per clip and the means of all, calm and fast clips."""
    sigmas = sorted({score.sigma for score in scores})
    clips = sorted({score.clip for score in scores})
    found = {(score.clip, score.sigma): score for score in scores}
    rows = [
        f"| PSNR, dB, at sigma | frames | {' | '.join(f'{s:g}' for s in sigmas)} |",
        "|---|---|" + "---|" * len(sigmas),
    ]

    def row(name: str, of: list[str]) -> str:
        frames = sum(len(found[clip, sigmas[0]].psnr) for clip in of)
        means = [np.mean([found[clip, sigma].mean for clip in of]) for sigma in sigmas]
        return f"| {name} | {frames} | {' | '.join(f'{mean:.2f}' for mean in means)} |"

    rows += [row(clip, [clip]) for clip in clips]
    rows.append(row("**all**", clips))
    calm = [clip for clip in clips if clip in CALM]
    if calm:
        rows.append(row("**calm**", calm))
        rows.append(row("**fast**", [clip for clip in clips if clip not in CALM]))
    return "\n".join(rows)


def summary(scores: dict[str, list[Score]]) -> str:
    """A Markdown table of means over all clips: a row for each tool."""
    sigmas = sorted({score.sigma for of in scores.values() for score in of})
    rows = [f"| | {' | '.join(f'{s:g}' for s in sigmas)} |", "|---|" + "---|" * len(sigmas)]
    for name, of in scores.items():
        means = [np.mean([score.mean for score in of if score.sigma == s]) for s in sigmas]
        rows.append(f"| {name} | {' | '.join(f'{mean:.2f}' for mean in means)} |")
    return "\n".join(rows)


def load_checkpoint(checkpoint: Path, *, averaged: bool = True) -> Generator:
    """The generator of a training's checkpoint, by default with the averaged weights.

    Raises ValueError when its network is none of today's.
    """
    saved = read_checkpoint(checkpoint)
    model = make_generator(saved["config"]["size"], saved["config"].get("control", "none"))
    weights = saved["average" if averaged else "model"]
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"{checkpoint} holds another network than {saved['config']['size']} is now; train on "
            "from it with start_from first"
        ) from error
    return _ready(model)


def load_network(path: Path) -> Generator:
    """The generator of a training's checkpoint, or of released weights, a .safetensors file.

    Raises ValueError as `load_checkpoint` does, and ModelError for weights that are damaged.
    """
    if path.suffix != ".safetensors":
        return load_checkpoint(path)
    return _ready(load_generator(load_weights(path)))


def _ready(model: Generator) -> Generator:
    return model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stub lacks it


def generator_restore(model: Generator, *, mirrored: bool = True, bf16: bool = True) -> Restore:
    """Restore a clip as one span of one shot, the noise known."""

    def restore(noisy: Tensor, sigma: float) -> Tensor:
        noise = torch.from_numpy(known_profile(sigma, sigma, rgb=True).array())[None]
        spanned = run_span(model, to_ycbcr(noisy), noise, mirrored=mirrored, bf16=bf16)
        return noisy.float() + to_rgb(spanned.residual)

    return restore


def to_ycbcr(rgb: Tensor) -> Tensor:
    """R'G'B' (T, 3, H, W), 0..255 -> the generator's unit, full range BT.709."""
    matrix = torch.from_numpy(rgb_to_ycbcr()).float()
    return torch.einsum("ij,tjhw->tihw", matrix, rgb.float() / 255.0)


def to_rgb(ycbcr: Tensor) -> Tensor:
    """The way back, for pictures and for residuals: 0..255, or a difference of such."""
    matrix = torch.from_numpy(rgb_to_ycbcr()).float()
    return 255.0 * torch.einsum("ij,tjhw->tihw", torch.linalg.inv(matrix), ycbcr)


def command_restore(command: str) -> Restore:
    """Restore through a command line with {in}, {out} and {s}, over lossless R'G'B' files."""

    def restore(noisy: Tensor, sigma: float) -> Tensor:
        with tempfile.TemporaryDirectory() as folder:
            paths = {"in": f"{folder}/noisy.mkv", "out": f"{folder}/restored.mkv"}
            write_lossless(Path(paths["in"]), noisy)
            run_command(command, {**paths, "s": f"{sigma:g}"})
            return read_clip(Path(paths["out"])).float()

    return restore


def run_command(command: str, values: dict[str, str]) -> None:
    """Run a command line with its {names} filled in.

    Raises ValueError when it lacks {in} or {out}, is no command, or fails.
    """
    if "{in}" not in command or "{out}" not in command:
        raise ValueError(f"{command!r} lacks {{in}} or {{out}}, the names of the files")
    try:
        subprocess.run(shlex.split(command.format(**values)), check=True)  # noqa: S603  # the user's own command
    except KeyError as error:
        raise ValueError(
            f"{command!r} names {{{error.args[0]}}}, which is not known here"
        ) from error
    except FileNotFoundError as error:
        raise ValueError(f"{command!r} is no command on this machine") from error
    except subprocess.CalledProcessError as error:
        raise ValueError(f"{command!r} failed with {error.returncode}; see above") from error


def write_lossless(path: Path, clip: Tensor) -> None:
    """Write (T, 3, H, W) uint8 R'G'B' as FFV1 in Matroska, 25 frames a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = clip.shape[-2:]
        stream.pix_fmt = "bgr0"
        for picture in clip.permute(0, 2, 3, 1).contiguous().numpy():
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="bgr0")))
        container.mux(stream.encode(None))


@dataclass(frozen=True, slots=True, eq=False)
class Spanned:
    """What the generator answers for every frame of a shot, on the CPU, in its own unit."""

    residual: Tensor
    """(T, 3, H, W)"""
    fill: Tensor
    """(T, 3, H, W)"""
    defect: Tensor
    """(T, 1, H, W)"""


def run_span(
    model: Generator, frames: Tensor, noise: Tensor, *, mirrored: bool, bf16: bool
) -> Spanned:
    """Run through a shot (T, 3, H, W) of any size, with or without a mirrored warm-up."""
    device = next(model.parameters()).device
    height, width = frames.shape[-2:]
    frames = functional.pad(frames, (0, -width % 16, 0, -height % 16), mode="reflect").to(device)
    noise = noise.to(device)
    last = len(frames) - 1
    warm = min(WARM_UP, last) if mirrored else 0
    walk = [*range(warm, 0, -1), *range(last + 1)]
    state = model.initial_state(frames[:1])
    out = []
    with torch.inference_mode():
        for i, t in enumerate(walk):
            # Beyond an end the neighbour on the other side stands in.
            before = walk[i - 1] if i else min(t + 1, last)
            after = walk[i + 1] if i + 1 < len(walk) else max(t - 1, 0)
            _, aligned = model.align(frames[[before, t, after]][None], state)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                *answers, state = model.restore(frames[t : t + 1], aligned, noise)
            if i >= warm:
                out.append([answer[0, :, :height, :width].cpu() for answer in answers])
    residual, fill, defect = (torch.stack(parts) for parts in zip(*out, strict=True))
    return Spanned(residual, fill, defect)
