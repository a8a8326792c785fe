"""A film in memory: read and written as it is, given grain that is known, laid under opaque dust.

Everything made is drawn from seeds of the film's name.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.degrade.damage import VISIBLE
from training.degrade.grain import WHITE, Grain, draw_field
from training.degrade.marks import Marks, choose_shapes, render_marks
from training.degrade.shapes import Shapes
from training.evaluate import CROP
from vidrepair.frames import FloatArray, Frame, Picture
from vidrepair.regions import Mask

FRAMES = 48
"""Of a film that are looked at, from the start."""
FEWEST_FRAMES = 4
MADE = ("fine", "coarse")
"""Grain that a clean film can be given: white, and autoregressive as AV1 describes it."""
SPOTS = 8
"""Spots of dust on a frame, as far as there is room."""
SIZES = (8.0, 30.0)
"""Their longer side, samples."""
APART = 64.0
"""Samples between the middles of two spots of one frame or of two that follow one another: a tool
may take them for one thing that moves."""
Clip = tuple[NDArray[Any], ...]
"""Planes (T, h, w) of codes."""


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A film in memory, and its picture without grain where that is known."""

    name: str
    planes: Clip
    picture: Picture
    clean: Clip | None = None

    @property
    def scale(self) -> float:
        """8-bit code values per code."""
        return 255.0 / self.picture.format.peak

    def luma(self, planes: Clip) -> FloatArray:
        """The luma of some clip of this format, (T, H, W) on the 8-bit scale."""
        return planes[0].astype(np.float32) * np.float32(self.scale)


def read_film(path: Path, limit: int = FRAMES) -> Film:
    """Decode the first frames, the centre 384x256 of them or the whole of a smaller picture."""
    frames = read_frames(path, limit)
    if len(frames) < FEWEST_FRAMES:
        raise ValueError(f"{path} has {len(frames)} frames; a film needs {FEWEST_FRAMES} and more")
    picture = frames[0].picture
    if picture.format.family == "rgb":
        raise ValueError(f"{path} holds R'G'B'; give a film of Y'CbCr or gray")
    # Cut where chroma has a sample of its own, at any sampling.
    sides = (picture.height, picture.width)
    top, left = (max((side - crop) // 8 * 4, 0) for side, crop in zip(sides, CROP, strict=True))
    height, width = (min(side, crop) for side, crop in zip(sides, CROP, strict=True))
    across, down = picture.format.sampling
    planes = []
    for index in range(len(frames[0].planes)):
        x, y = (across, down) if index else (1, 1)
        window = (
            slice(top // y, -(-(top + height) // y)),
            slice(left // x, -(-(left + width) // x)),
        )
        planes.append(np.stack([frame.planes[index][window] for frame in frames]))
    return Film(path.stem, tuple(planes), replace(picture, width=width, height=height))


def read_frames(path: Path, limit: int | None = None) -> list[Frame]:
    """The frames of a file, with planes of their own."""
    from vidrepair.decode import open_source

    frames: list[Frame] = []
    with open_source(path) as source:
        for item in source.read():
            if isinstance(item, Frame):
                planes = tuple(plane.copy() for plane in item.planes)
                frames.append(replace(item, planes=planes, carrier=None))
            if len(frames) == limit:
                break
    return frames


def write_film(path: Path, film: Film) -> None:
    """Write it as FFV1 in Matroska, 25 frames a second, in its own format."""
    import av
    from av.video.reformatter import ColorRange

    picture = film.picture
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height = picture.width, picture.height
        stream.pix_fmt = picture.format.name
        stream.codec_context.color_range = (
            ColorRange.JPEG if picture.full_range else ColorRange.MPEG
        )
        for planes in zip(*film.planes, strict=True):
            frame = av.VideoFrame(picture.width, picture.height, picture.format.name)
            for target, plane in zip(frame.planes, planes, strict=True):
                rows = np.frombuffer(memoryview(target), plane.dtype).reshape(target.height, -1)
                rows[:, : target.width] = plane
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def add_grain(film: Film, kind: str) -> Film:
    """Give a clean film grain of one of MADE: new in each frame, drawn from a seed of its name.

    Fine grain is white, of deviation 4 in luma and 2 in chroma; coarse grain has 2 to 6 in luma,
    most in the middle tones, and 2.5 in chroma. Raises ValueError for another kind.
    """
    if kind not in MADE:
        raise ValueError(f"grain {kind!r} is unknown; use {' or '.join(MADE)}")
    seed = zlib.crc32(f"{film.name} {kind}".encode())
    scale = film.picture.format.peak / 255.0
    noisy = []
    for index, plane in enumerate(film.planes):
        like = torch.empty(len(plane), 1, *plane.shape[1:])
        field = draw_field(Grain("regressive") if kind == "coarse" else WHITE, like, seed + index)
        level = plane / film.picture.format.peak
        deviation = np.full(plane.shape, (4.0, 2.0)[index > 0])
        if kind == "coarse":
            deviation = np.full(plane.shape, 2.5) if index else 2.0 + 16.0 * level * (1.0 - level)
        grain = field[:, 0].numpy() * deviation * scale
        codes = np.clip(np.round(plane + grain), 0, film.picture.format.peak)
        noisy.append(codes.astype(plane.dtype))
    return replace(film, planes=tuple(noisy), clean=film.planes)


def lay_dust(film: Film, shapes: Shapes | None = None) -> tuple[Clip, Mask]:
    """The film under opaque drawn dust, and where it changed luma visibly (T, H, W)."""
    from training.damage_set import load_marks

    shapes = load_marks(None) if shapes is None else shapes
    size = film.planes[0].shape
    marks = _draw_spots(film, shapes, np.random.default_rng(zlib.crc32(film.name.encode())))
    opacity, paint = (part[:, 0].numpy() for part in render_marks(marks, shapes, size))
    peak = film.picture.format.peak
    across, down = film.picture.format.sampling
    planes = []
    for index, plane in enumerate(film.planes):
        share = opacity if not index else site_means(opacity, down, across)
        # Dust has no colour.
        target = paint * peak if not index else np.float32(2 ** (film.picture.format.bits - 1))
        planes.append(np.round(plane + share * (target - plane)).astype(plane.dtype))
    change = np.abs(planes[0].astype(np.float32) - film.planes[0])
    return tuple(planes), change > VISIBLE * peak


def site_means(clip: FloatArray, down: int, across: int) -> FloatArray:
    """(T, H, W) -> the mean over each chroma site; beyond an odd edge the last sample counts."""
    height, width = clip.shape[1:]
    whole = np.pad(clip, ((0, 0), (0, -height % down), (0, -width % across)), mode="edge")
    shape = (len(clip), whole.shape[1] // down, down, whole.shape[2] // across, across)
    return np.asarray(whole.reshape(shape).mean(axis=(2, 4)))


def _draw_spots(film: Film, shapes: Shapes, rng: np.random.Generator) -> Marks:
    """Opaque spots that stand alone in time, each of the paint that shows more."""
    frames, height, width = film.planes[0].shape
    placed: list[tuple[int, float, float]] = []
    for frame in range(1, frames - 1):
        for _ in range(SPOTS * 4):
            if sum(spot[0] == frame for spot in placed) == SPOTS:
                break
            y, x = (
                rng.uniform(12.0, max(height - 12.0, 13.0)),
                rng.uniform(12.0, max(width - 12.0, 13.0)),
            )
            near = [spot for spot in placed if frame - spot[0] <= 1]
            if all(np.hypot(y - spot[1], x - spot[2]) >= APART for spot in near):
                placed.append((frame, y, x))
    numbers, y, x = (np.array(part) for part in zip(*placed, strict=True))
    count = len(numbers)
    rows, columns = (np.clip(at.astype(int), 0, side - 1) for at, side in ((y, height), (x, width)))
    dark = film.planes[0][numbers, rows, columns] > 0.5 * film.picture.format.peak
    return Marks(
        frame=numbers,
        shape=choose_shapes(rng, shapes, np.zeros(count, dtype=bool)),
        y=y,
        x=x,
        size=rng.uniform(*SIZES, count),
        angle=rng.uniform(0.0, 2.0 * np.pi, count),
        opacity=np.ones(count),
        paint=np.where(dark, 0.05, 0.95),
    )
