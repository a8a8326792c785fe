"""Clean pictures: folders of clips and stills, held as uint8 RGB, shown as moving crops."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.config import RELATIVE, DataConfig
from training.degrade.learned import LearnedGrain, load_grain
from training.degrade.shapes import Shapes, load_shapes
from training.degrade.storage import unpack_codes
from training.pairs import PAIR_STORAGE, Pair, load_pair

CLIP_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True, slots=True)
class Pool:
    """Everything there is to show: clips (T, 3, H, W) and photos (3, H, W), uint8 RGB."""

    clips: list[Tensor]
    photos: list[Tensor]
    shapes: Shapes
    """Marks of damage."""
    pairs: tuple[Pair, ...] = ()
    """Really encoded."""
    grains: tuple[LearnedGrain, ...] = ()

    def __post_init__(self) -> None:
        if not self.clips and not self.photos:
            raise ValueError("every clip has one frame only; set data.clips to a folder of videos")

    def summary(self) -> str:
        """What there is, for people."""
        found = {"clip": self.clips, "photograph": self.photos, "pair": self.pairs}
        return ", ".join(
            f"{len(all_)} {name}{'' if len(all_) == 1 else 's'}"
            for name, all_ in found.items()
            if all_
        )


def load_pool(config: DataConfig, device: torch.device, *, crop: int = 1) -> Pool:
    """Decode every file of the configured folders into the memory of the device.

    Raises ValueError where a folder or a file is no good, and where a square of `crop` samples is
    larger than one of them.
    """
    videos = list_files("data.clips", config.clips, CLIP_SUFFIXES, config.exclude)
    stills = list_files("data.photos", config.photos, PHOTO_SUFFIXES, config.exclude)
    if not videos and not stills:
        folders = ", ".join(config.clips + config.photos) or "nothing that data names"
        raise ValueError(
            f"no clip and no photograph in {folders}; set data.clips to a folder of "
            f"{', '.join(CLIP_SUFFIXES)}, or data.photos to one of {', '.join(PHOTO_SUFFIXES)}"
        )
    clips = [_checked(path, read_clip(path), crop).to(device) for path in videos]
    photos = [_checked(path, read_photo(path), crop).to(device) for path in stills]
    shapes = load_shapes(list_shapes(config) if config.damage else [], device)
    encoded = _list_pairs(config)
    pairs = tuple(load_pair(path, device) for path in encoded)
    for path, pair in zip(encoded, pairs, strict=True):
        _checked(path, pair.noisy_luma, crop)
    if config.grain_share:
        for name in config.grains:
            if not Path(name).exists():
                raise ValueError(
                    f"data.grains names {name}, which is not there; make it by grain-gan, or mend "
                    f"the name: {RELATIVE}"
                )
    grains = tuple(load_grain(Path(name)) for name in config.grains if config.grain_share)
    return Pool([clip for clip in clips if len(clip) > 1], photos, shapes, pairs, grains)


def _checked(path: Path, pictures: Tensor, crop: int) -> Tensor:
    """Pictures (..., H, W) of a file that a crop fits into."""
    height, width = pictures.shape[-2:]
    if crop > min(height, width):
        raise ValueError(
            f"batch.crop is {crop}, and {path} is {width}x{height}; use a smaller one, or leave "
            "that out by data.exclude, which takes beginnings of names"
        )
    return pictures


def _list_pairs(config: DataConfig) -> list[Path]:
    if not config.pair_share:
        return []
    encoded = list_files("data.pairs", config.pairs, (".npz",), config.exclude)
    if not encoded:
        raise ValueError(
            f"data.pair_share is {config.pair_share:g}, but there is no pair; make some with "
            "encode-pairs, or set it to 0"
        )
    return encoded


def require_empty(folder: Path) -> None:
    """Raise ValueError when a folder that is to be filled holds something."""
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name another folder")


def list_shapes(config: DataConfig) -> list[Path]:
    """The pictures of single marks; those of whole scans are another matter."""
    files = list_files("data.shapes", config.shapes, (".png",), config.exclude)
    return [path for path in files if "scan" not in path.stem]


def list_files(
    key: str, folders: tuple[str, ...], suffixes: tuple[str, ...], exclude: tuple[str, ...]
) -> list[Path]:
    """The files with one of the endings, in order.

    `key` is the setting that names the folders. Raises ValueError where one is not there.
    """
    found: list[Path] = []
    for folder in folders:
        if not Path(folder).is_dir():
            told = RELATIVE if key.startswith("data.") else "name one with clips"
            raise ValueError(f"{key} names {folder}, which is no folder; {told}")
        found += [path for path in sorted(Path(folder).iterdir()) if path.suffix in suffixes]
    return [path for path in found if not path.name.startswith(exclude or ("\0",))]


def each_clip(folder: Path) -> Iterator[Path]:
    """The clips of a folder, in order; each is named on stderr, for the protocols take minutes.

    Raises ValueError where there is none.
    """
    found = list_files("FOLDER", (str(folder),), CLIP_SUFFIXES, ())
    if not found:
        raise ValueError(f"{folder} holds no clip; name a folder with {', '.join(CLIP_SUFFIXES)}")
    for number, path in enumerate(found, start=1):
        print(f"{number}/{len(found)} {path.name}", file=sys.stderr)  # noqa: T201  # as it says
        yield path


def read_clip(path: Path, limit: int | None = None) -> Tensor:
    """Decode a clip to (T, 3, H, W) uint8 RGB, by PyAV or, where it is missing, OpenCV."""
    try:
        import av
    except ImportError:
        return _read_clip_opencv(path, limit)
    try:
        with av.open(f"file:{path}") as container:
            # Untagged video would be taken as BT.601; ours is BT.709.
            frames = [
                frame.to_ndarray(format="rgb24", src_colorspace="itu709")
                for frame in islice(container.decode(video=0), limit)
            ]
    except (av.error.FFmpegError, IndexError) as error:
        raise _undecoded(path) from error
    if not frames:
        raise _undecoded(path)
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()


def _read_clip_opencv(path: Path, limit: int | None) -> Tensor:
    import cv2

    capture = cv2.VideoCapture(str(path))
    frames: list[Any] = []
    while limit is None or len(frames) < limit:
        there, picture = capture.read()
        if not there:
            break
        frames.append(picture[:, :, ::-1])
    capture.release()
    if not frames:
        raise _undecoded(path)
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()


def _undecoded(path: Path) -> ValueError:
    return ValueError(
        f"cannot decode {path}; remove it from the folder, or leave it out by data.exclude"
    )


def read_photo(path: Path) -> Tensor:
    """Decode a still to (3, H, W) uint8 RGB."""
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise _undecoded(path)
    return torch.from_numpy(picture[:, :, ::-1].copy()).permute(2, 0, 1).contiguous()


def show(
    pool: Pool, frames: int, crop: int, rng: np.random.Generator, photo_share: float
) -> Tensor:
    """Show a random photograph with probability `photo_share`, else a random clip.

    Returns (frames, 3, crop, crop) float RGB 0..1.
    """
    still = not pool.clips or (bool(pool.photos) and rng.random() < photo_share)
    return (show_photo if still else show_clip)(pool, frames, crop, rng)


def show_clip(pool: Pool, frames: int, crop: int, rng: np.random.Generator) -> Tensor:
    """Show a random clip: (frames, 3, crop, crop) float RGB 0..1.

    Time is reversed, sped up or held still; short clips are played forth and back. Half the
    crops are scaled down, which makes compressed sources sharp again.
    """
    weights = np.array([clip.numel() for clip in pool.clips], dtype=np.float64) ** 0.5
    clip = pool.clips[rng.choice(len(pool.clips), p=weights / weights.sum())]
    scale = 1.0 if rng.random() < 0.5 else rng.uniform(1.0, 2.2)
    side = int(min(round(crop * scale), *clip.shape[-2:]))
    top = int(rng.integers(clip.shape[-2] - side + 1))
    left = int(rng.integers(clip.shape[-1] - side + 1))
    speed = int(rng.choice([0, 1, 2, 3], p=[0.03, 0.77, 0.15, 0.05]))
    times = _walk(len(clip), frames, speed, rng)
    window = clip[torch.from_numpy(times).to(clip.device), :, top : top + side, left : left + side]
    picture = window.float() / 255.0
    if side != crop:
        picture = functional.interpolate(
            picture, size=(crop, crop), mode="bilinear", antialias=True, align_corners=False
        )
    return _turn(picture, rng)


def _walk(length: int, frames: int, speed: int, rng: np.random.Generator) -> np.ndarray:
    """Frame numbers of a showing: a walk forth and back through the clip, from anywhere on."""
    period = 2 * (length - 1)
    walk = (rng.integers(period) + speed * np.arange(frames)) % period
    times: np.ndarray[Any, Any] = np.where(walk < length, walk, period - walk)
    return times


def _turn(picture: Tensor, rng: np.random.Generator) -> Tensor:
    if rng.random() < 0.5:
        picture = picture.flip(-1)
    if rng.random() < 0.5:
        picture = picture.flip(-2)
    if rng.random() < 0.5:
        picture = picture.transpose(-1, -2)
    return picture.clamp(0.0, 1.0)


def show_pair(
    pair: Pair, frames: int, crop: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """A random crop of a pair, played forth and back where it is too short.

    Returns noisy and clean (frames, 3, crop, crop), chroma repeated, in the generator's unit, and
    `hole` (frames, crop, crop), 0 or 1. Raises ValueError when `crop` is larger than a pair.
    """
    count, height, width = pair.noisy_luma.shape
    if crop > min(height, width):
        raise ValueError(f"batch.crop is {crop}, pairs are {width}x{height}; use a smaller one")
    top, left = (2 * int(rng.integers((side - crop) // 2 + 1)) for side in (height, width))
    times = torch.from_numpy(_walk(count, frames, 1, rng)).to(pair.noisy_luma.device)
    axes = tuple(axis for axis in (-2, -1) if rng.random() < 0.5)

    def cut(plane: Tensor, per: int) -> Tensor:
        rows, columns = (slice(at // per, (at + crop) // per) for at in (top, left))
        return plane[times][..., rows, columns].flip(axes)

    noisy, clean = (
        unpack_codes(cut(luma, 1), cut(chroma, 2), PAIR_STORAGE)
        for luma, chroma in (
            (pair.noisy_luma, pair.noisy_chroma),
            (pair.clean_luma, pair.clean_chroma),
        )
    )
    return noisy, clean, cut(pair.hole, 1).float()


def show_photo(pool: Pool, frames: int, crop: int, rng: np.random.Generator) -> Tensor:
    """Show a random still under a camera that pans, zooms, turns and trembles.

    Returns (frames, 3, crop, crop) float RGB 0..1; speeds are log-uniform up to 20 pixels a
    frame, a fifth of the showings are locked.
    """
    photo = pool.photos[rng.integers(len(pool.photos))]
    height, width = photo.shape[-2:]
    times = np.arange(frames)
    moves = rng.random() < 0.8
    speed = moves * math.exp(rng.uniform(math.log(0.05), math.log(20.0)))
    angle = rng.uniform(0, 2 * math.pi)
    tremble = moves * rng.choice([0.0, 0.3, 1.0])
    path = np.stack([np.cos(angle) * speed * times, np.sin(angle) * speed * times])
    path = path + tremble * rng.standard_normal((2, frames))
    path += np.array([[rng.uniform(0, width)], [rng.uniform(0, height)]])
    zooming = moves * (rng.random() < 0.4) * rng.normal(0, 0.002)
    turning = moves * (rng.random() < 0.4) * rng.normal(0, 0.003)
    zoom = rng.uniform(1.0, 1.8) * np.exp(zooming * times)
    half = np.arange(crop) - (crop - 1) / 2
    down, across = np.meshgrid(half, half, indexing="ij")
    cos = (zoom * np.cos(turning * times))[:, None, None]
    sin = (zoom * np.sin(turning * times))[:, None, None]
    x = path[0][:, None, None] + cos * across - sin * down
    y = path[1][:, None, None] + sin * across + cos * down
    grid = np.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], axis=-1)
    # The picture is first made as small as the zoom asks, so that sampling does not alias.
    factor = float(np.mean(zoom))
    source = functional.interpolate(
        photo[None].float() / 255.0, scale_factor=1 / factor, mode="bilinear", antialias=True
    )
    shown = functional.grid_sample(
        source.expand(frames, -1, -1, -1),
        torch.from_numpy(grid).float().to(photo.device),
        mode="bicubic",
        padding_mode="reflection",
        align_corners=False,
    )
    return _turn(shown, rng)
