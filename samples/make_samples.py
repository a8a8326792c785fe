"""Make the sample clips from two films of the Blender Foundation; see README.md beside this file.

    python samples/make_samples.py FOLDER_OF_SOURCES [--out FOLDER]

Every random draw comes from the seed of its recipe and the encoder runs on one thread, so the
same versions of PyAV and numpy give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import click
import numpy as np
from av.audio.resampler import AudioResampler
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Array = NDArray[np.float32]
Picture = tuple[Codes, Codes, Codes]
"""Y', Cb, Cr of 4:2:0 in limited range; the chroma planes have half the size, rounded up."""
Damage = Callable[[list[Picture], np.random.Generator], list[Picture]]

AAC_FRAME = 1024
BT709 = 1
LIMITED = 1
BLACK, WHITE, NEUTRAL = 16, 235, 128

LUMA_LEVELS = (0.0, 0.1, 0.3, 0.6, 1.0)
SENSOR_SIGMA = (10.0, 16.0, 18.0, 15.0, 12.0)
"""Deviation of luma in code values at LUMA_LEVELS (0 is black, 1 is white): a small sensor in a
dim room, strongest in the shadows and weaker at black and at white, where the camera clips."""
CHROMA_SIGMA = 7.0
GRAIN_SIGMA = 6.0
FLICKER = 0.06
DUST_A_FRAME = 7.0
HAIR_A_FRAME = 0.12
SCRATCHES = 3


@dataclass(frozen=True, slots=True)
class Sound:
    """(channels, samples) float32, planar, -1 to 1."""

    samples: Array
    rate: int
    layout: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one sample is made."""

    name: str
    source: str
    start: int
    """First frame of the source."""
    end: int
    """One past the last frame."""
    size: tuple[int, int]
    """Width and height."""
    rate: int
    crf: int
    seed: int
    damage: Damage
    missing: int | None = None
    """Frame of the sample that is left out; its time stays empty."""


def keep_clean(pictures: list[Picture], draw: np.random.Generator) -> list[Picture]:
    """Nothing is added."""
    del draw
    return pictures


def add_sensor_noise(pictures: list[Picture], draw: np.random.Generator) -> list[Picture]:
    """Independent luma noise whose strength follows the level, and coarse chroma noise."""
    noisy = []
    for luma, *chroma in pictures:
        level = (luma.astype(np.float32) - BLACK) / (WHITE - BLACK)
        sigma = np.interp(level, LUMA_LEVELS, SENSOR_SIGMA)
        grain = draw.standard_normal(luma.shape, np.float32) * sigma
        spots = [CHROMA_SIGMA * _smooth_noise(plane.shape, draw) for plane in chroma]
        cb, cr = (_codes(plane + spot) for plane, spot in zip(chroma, spots, strict=True))
        noisy.append((_codes(luma + grain), cb, cr))
    return noisy


def add_film_damage(pictures: list[Picture], draw: np.random.Generator) -> list[Picture]:
    """Grain, flicker, dust and hairs of one frame each, and scratches that stay and wander."""
    gains = _flicker_gains(len(pictures), draw)
    scratches = [_draw_scratch(pictures[0][0].shape, draw) for _ in range(SCRATCHES)]
    worn = []
    for number, picture in enumerate(pictures):
        shape = picture[0].shape
        luma = (picture[0].astype(np.float32) - BLACK) * gains[number] + BLACK
        luma += GRAIN_SIGMA * _smooth_noise(shape, draw)
        planes = (luma, picture[1].astype(np.float32), picture[2].astype(np.float32))
        for scratch in scratches:
            planes = _cover(planes, *scratch.cover(shape, number))
        for _ in range(int(draw.poisson(DUST_A_FRAME))):
            planes = _cover(planes, _draw_speck(shape, draw), _draw_tone(draw))
        for _ in range(int(draw.poisson(HAIR_A_FRAME))):
            planes = _cover(planes, _draw_hair(shape, draw), _draw_tone(draw))
        worn.append((_codes(planes[0]), _codes(planes[1]), _codes(planes[2])))
    return worn


@dataclass(frozen=True, slots=True)
class _Scratch:
    """A vertical line that wanders sideways as the film runs past the grain of sand."""

    column: float
    wander: float
    period: float
    opacity: float
    width: float
    tone: float
    tilt: float

    def cover(self, shape: tuple[int, ...], number: int) -> tuple[Array, float]:
        """Opacity (H, W) 0..1 in frame `number`, and the code of the scratch."""
        rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        sway = self.wander * np.sin(2 * np.pi * (number + rows / shape[0]) / self.period)
        distance = np.abs(columns - self.column - sway - self.tilt * rows)
        opacity = self.opacity * np.clip(self.width - distance + 0.5, 0, 1)
        return opacity.astype(np.float32), self.tone


def _draw_scratch(shape: tuple[int, ...], draw: np.random.Generator) -> _Scratch:
    return _Scratch(
        column=float(draw.uniform(0.1, 0.9) * shape[1]),
        wander=float(draw.uniform(1, 4)),
        period=float(draw.uniform(40, 120)),
        opacity=float(draw.uniform(0.35, 0.7)),
        width=float(draw.uniform(0.4, 0.9)),
        tone=_draw_tone(draw),
        tilt=float(draw.uniform(-0.01, 0.01)),
    )


def _draw_tone(draw: np.random.Generator) -> float:
    """Dirt on the print is dark, dirt on the negative is bright."""
    return float(draw.uniform(18, 45) if draw.random() < 0.5 else draw.uniform(200, 232))


def _draw_speck(shape: tuple[int, ...], draw: np.random.Generator) -> Array:
    """Opacity (H, W) 0..1 of a ragged blob of 1 to 9 pixels radius, mostly small."""
    middle = draw.uniform(0, 1, 2) * shape
    radius = 1.0 + 8.0 * draw.random() ** 4
    waves, phases = draw.uniform(0, 0.25, 4), draw.uniform(0, 2 * np.pi, 4)
    stretch, opacity = draw.uniform(0.6, 1.6), draw.uniform(0.6, 1.0)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    down, across = (rows - middle[0]) * stretch, columns - middle[1]
    angle = np.arctan2(down, across)
    edge = 1 + sum(
        w * np.cos(k * angle + p) for k, w, p in zip(range(2, 6), waves, phases, strict=True)
    )
    blob: Array = opacity * np.clip(radius * edge - np.hypot(down, across) + 0.5, 0, 1)
    return blob.astype(np.float32)


def _draw_hair(shape: tuple[int, ...], draw: np.random.Generator) -> Array:
    """Opacity (H, W) 0..1 of a bent thread about 1.5 pixels wide and 30 to 90 long."""
    start = draw.uniform(0, 1, 2) * shape
    length, heading, bend = draw.uniform(30, 90), draw.uniform(0, 2 * np.pi), draw.uniform(-3, 3)
    opacity = draw.uniform(0.6, 0.95)
    steps = np.linspace(0, 1, int(length))
    heading_at = heading + bend * steps
    points_down = start[0] + np.cumsum(np.sin(heading_at))
    points_across = start[1] + np.cumsum(np.cos(heading_at))
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    distance = np.full(shape, np.inf, np.float32)
    for down, across in zip(points_down, points_across, strict=True):
        np.minimum(distance, np.hypot(rows - down, columns - across), out=distance)
    thread: Array = opacity * np.clip(1.25 - distance, 0, 1)
    return thread.astype(np.float32)


def _cover(
    planes: tuple[Array, Array, Array], opacity: Array, tone: float
) -> tuple[Array, Array, Array]:
    """Blend luma to `tone` and chroma to gray; a chroma sample takes the mean of its sites."""
    luma, cb, cr = planes
    height, width = opacity.shape
    even = np.pad(opacity, ((0, height % 2), (0, width % 2)), mode="edge")
    quarter = even.reshape(cb.shape[0], 2, cb.shape[1], 2).mean((1, 3))
    gray = [plane + quarter * (NEUTRAL - plane) for plane in (cb, cr)]
    return luma + opacity * (tone - luma), gray[0], gray[1]


def _flicker_gains(count: int, draw: np.random.Generator) -> Array:
    """(count,) gains around 1: a new draw each frame on top of a slow swing."""
    swing = np.sin(2 * np.pi * np.arange(count) / 37)
    jitter = draw.standard_normal(count)
    return (1 + FLICKER * (0.6 * swing + 0.8 * jitter).clip(-2, 2)).astype(np.float32)


def _smooth_noise(shape: tuple[int, ...], draw: np.random.Generator) -> Array:
    """Gaussian noise of deviation 1, blurred by (1, 2, 1) / 4 down and across."""
    white = draw.standard_normal((shape[0] + 2, shape[1] + 2), np.float32)
    down = white[:-2] + 2 * white[1:-1] + white[2:]
    both = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    noise: Array = both / np.float32(6)  # sqrt(1 + 4 + 1), once for each direction
    return noise


def _codes(plane: NDArray[Any]) -> Codes:
    """Round to what a camera stores: limited range, 8 bits."""
    codes: Codes = np.clip(np.rint(plane), BLACK, 240).astype(np.uint8)
    return codes


RECIPES = (
    Recipe("bunny_clean.mp4", "bigbuckbunny.mp4", 0, 132, (854, 480), 25, 18, 1, keep_clean),
    Recipe(
        "tears_noisy.mp4",
        "tears_of_steel_battle.webm",
        *(655, 775, (640, 266), 24, 26, 2, add_sensor_noise),
    ),
    Recipe(
        "film_damaged.mkv",
        "tears_of_steel_battle.webm",
        *(170, 290, (640, 266), 24, 22, 3, add_film_damage, 75),
    ),
)


def read_pictures(path: Path, recipe: Recipe) -> list[Picture]:
    """Decode the frames [start, end) of the source, scaled to the size of the recipe."""
    scaler = VideoReformatter()
    pictures = []
    with av.open(path) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number >= recipe.end:
                break
            if number >= recipe.start:
                width, height = recipe.size
                small = scaler.reformat(frame, width, height, "yuv420p", interpolation="BICUBIC")
                planes = [_plane(small, index).copy() for index in range(3)]
                pictures.append((planes[0], planes[1], planes[2]))
    if len(pictures) < recipe.end - recipe.start:
        raise click.ClickException(f"{path} has fewer than {recipe.end} frames; wrong file?")
    return pictures


def read_sound(path: Path, recipe: Recipe) -> Sound:
    """Decode the sound of the same stretch of time."""
    with av.open(path) as container:
        context = container.streams.audio[0].codec_context
        rate, layout = context.sample_rate, context.layout.name
        # Both sources start at pts 0 without a gap, so counting samples keeps the time.
        resampler = AudioResampler("fltp", layout, rate)
        frames: list[Array] = [
            piece.to_ndarray().astype(np.float32)
            for frame in container.decode(audio=0)
            for piece in resampler.resample(frame)
        ]
    samples = np.concatenate(frames, axis=1)
    first, last = (rate * number // recipe.rate for number in (recipe.start, recipe.end))
    return Sound(samples[:, first:last], rate, layout)


def write_sample(path: Path, recipe: Recipe, pictures: Sequence[Picture], sound: Sound) -> None:
    """Encode H.264 and AAC; without `recipe.missing`, frame n stands at n / rate."""
    # Without bitexact, Matroska draws a random identity and the bytes differ each time.
    with av.open(path, "w", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", recipe.rate)
        video.width, video.height = recipe.size
        video.pix_fmt = "yuv420p"
        context = video.codec_context
        context.time_base = Fraction(1, recipe.rate)
        context.options = {"crf": str(recipe.crf), "preset": "slow", "threads": "1"}
        context.color_range, context.colorspace = LIMITED, BT709
        context.color_primaries, context.color_trc = BT709, BT709
        audio = container.add_stream("aac", sound.rate, layout=sound.layout)
        audio.bit_rate = 64_000 * sound.samples.shape[0]
        for frame in _video_frames(pictures, recipe):
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for piece in _audio_frames(sound):
            container.mux(audio.encode(piece))
        container.mux(audio.encode(None))


def _video_frames(pictures: Sequence[Picture], recipe: Recipe) -> Iterator[av.VideoFrame]:
    width, height = recipe.size
    for number, picture in enumerate(pictures):
        if number == recipe.missing:
            continue
        frame = av.VideoFrame(width, height, "yuv420p")
        for index, plane in enumerate(picture):
            _plane(frame, index)[:] = plane
        frame.pts, frame.time_base = number, Fraction(1, recipe.rate)
        yield frame


def _audio_frames(sound: Sound) -> Iterator[av.AudioFrame]:
    for start in range(0, sound.samples.shape[1], AAC_FRAME):
        piece = np.ascontiguousarray(sound.samples[:, start : start + AAC_FRAME])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=sound.layout)
        frame.sample_rate = sound.rate
        frame.pts, frame.time_base = start, Fraction(1, sound.rate)
        yield frame


def _plane(frame: av.VideoFrame, index: int) -> Codes:
    """A writable view (H, W) of one plane, without the padding at the end of its rows."""
    plane = frame.planes[index]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


@click.command()
@click.argument("sources", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(__file__).parent,
    help="Where the samples are written; beside this script if unset.",
)
def main(sources: Path, out: Path) -> None:
    """Make every sample from the two films in SOURCES."""
    for recipe in RECIPES:
        source = sources / recipe.source
        pictures = read_pictures(source, recipe)
        pictures = recipe.damage(pictures, np.random.default_rng(recipe.seed))
        write_sample(out / recipe.name, recipe, pictures, read_sound(source, recipe))
        click.echo(f"{out / recipe.name}: {(out / recipe.name).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
