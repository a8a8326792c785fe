"""The sample clips are what samples/README.md says, and the script that makes them keeps to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from samples.make_samples import (
    CHROMA_SIGMA,
    LUMA_LEVELS,
    RECIPES,
    SENSOR_SIGMA,
    Picture,
    Recipe,
    Sound,
    add_film_damage,
    add_sensor_noise,
    keep_clean,
    main,
    read_pictures,
    read_sound,
    write_sample,
)

SMALL = Recipe("small.mkv", "source.mkv", 2, 7, (34, 18), 25, 10, 1, keep_clean)


@dataclass(frozen=True, slots=True)
class Content:
    luma: list[NDArray[np.uint8]]
    times: list[Fraction]
    sound_seconds: float


def flat(level: int, count: int = 1, size: tuple[int, int] = (160, 120)) -> list[Picture]:
    width, height = size
    half = (-(-height // 2), -(-width // 2))
    luma = np.full((height, width), level, np.uint8)
    chroma = np.full(half, 128, np.uint8)
    return [(luma, chroma, chroma)] * count


def read(path: Path) -> Content:
    luma, times, heard = [], [], 0
    with av.open(path) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            luma.append(rows[:, : plane.width].copy())
            assert frame.pts is not None
            base = frame.time_base
            times.append(frame.pts * Fraction(base.numerator, base.denominator))
    with av.open(path) as container:
        rate = container.streams.audio[0].codec_context.sample_rate
        heard = sum(frame.samples for frame in container.decode(audio=0))
    return Content(luma, times, heard / rate)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_clip_is_what_its_recipe_says(samples: Path, recipe: Recipe) -> None:
    content = read(samples / recipe.name)
    numbers = [n for n in range(recipe.end - recipe.start) if n != recipe.missing]
    assert [round(time * recipe.rate) for time in content.times] == numbers
    width, height = recipe.size
    assert {luma.shape for luma in content.luma} == {(height, width)}
    # AAC rounds up to whole packets and fills the first one.
    assert abs(content.sound_seconds - (recipe.end - recipe.start) / recipe.rate) < 0.1
    with av.open(samples / recipe.name) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.color_range, context.colorspace) == (1, 1)


def test_the_clips_are_as_noisy_as_their_names(samples: Path) -> None:
    """The median step between frames, where nothing moves, is noise."""

    def step(name: str, first: int) -> float:
        luma = np.stack(read(samples / name).luma[first : first + 12]).astype(np.float32)
        return float(np.median(np.abs(np.diff(luma, axis=0))) * 1.4826 / np.sqrt(2))

    assert step("bunny_clean.mp4", 100) < 1.5
    assert 12 < step("tears_noisy.mp4", 100) < 20


def test_the_readme_names_credits_and_counts_every_clip(samples: Path) -> None:
    text = (samples / "README.md").read_text(encoding="utf-8")
    clips = {path.name for path in samples.iterdir() if path.suffix in {".mp4", ".mkv"}}
    assert clips == {recipe.name for recipe in RECIPES}
    for recipe in RECIPES:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{recipe.name}`"))
        frames = recipe.end - recipe.start - (recipe.missing is not None)
        assert f"{recipe.size[0]}x{recipe.size[1]}, {recipe.rate} fps, {frames} frames" in row
    assert "Creative Commons Attribution 3.0" in text
    assert text.count("Blender\n  Foundation") + text.count("Blender Foundation") >= 2


@pytest.mark.parametrize("level", [16, 60, 126, 200])
def test_sensor_noise_follows_the_level(level: int) -> None:
    luma, cb, cr = add_sensor_noise(flat(level), np.random.default_rng(1))[0]
    sigma = float(np.interp((level - 16) / 219, LUMA_LEVELS, SENSOR_SIGMA))
    # At black half of the noise is cut off: a half normal's deviation, with its zeros.
    share = np.sqrt(0.5 - 0.5 / np.pi) if level == 16 else 1.0
    assert np.std(luma) == pytest.approx(share * sigma, rel=0.04)
    assert np.std([cb, cr]) == pytest.approx(CHROMA_SIGMA, rel=0.06)
    assert abs(np.corrcoef(luma[:, 1:].ravel(), luma[:, :-1].ravel())[0, 1]) < 0.03
    assert np.corrcoef(cb[:, 1:].ravel(), cb[:, :-1].ravel())[0, 1] > 0.5


def test_film_damage_lasts_one_frame_but_for_the_scratches() -> None:
    pictures = flat(120, 24, (321, 181))
    worn = add_film_damage(pictures, np.random.default_rng(5))
    luma = np.stack([picture[0] for picture in worn]).astype(np.float32)
    luma -= np.median(luma, axis=(1, 2), keepdims=True)
    damaged = np.abs(luma) > 40
    share = damaged.mean((0, 1))
    scratched = np.convolve(share > 0.05, np.ones(9), "same") > 0
    assert scratched.any(), "no scratch runs through the clip"
    assert scratched.mean() < 0.3
    specks = damaged[:, :, ~scratched]
    assert 20 < specks.sum((1, 2)).mean() < 1000
    # Where a speck lies now, none lies one frame later, except by chance.
    assert (specks[:-1] & specks[1:]).sum() / specks[:-1].sum() < 0.02


def test_flicker_changes_each_frame_by_a_few_percent() -> None:
    worn = add_film_damage(flat(180, 40), np.random.default_rng(2))
    levels = np.array([float(np.median(picture[0])) for picture in worn])
    assert 3 < levels.std() < 20
    assert np.abs(levels - 180).max() <= 0.13 * (180 - 16)


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    silence = Sound(np.zeros((2, 8820), np.float32), 44100, "stereo")
    for name in ("one.mkv", "two.mkv"):
        pictures = add_film_damage(flat(100, 5, SMALL.size), np.random.default_rng(7))
        write_sample(tmp_path / name, SMALL, pictures, silence)
    assert (tmp_path / "one.mkv").read_bytes() == (tmp_path / "two.mkv").read_bytes()


def test_a_sample_starts_and_ends_where_its_recipe_says(tmp_path: Path) -> None:
    """Frame n of the source has the luma 20 n + 30, and its sound is n / 100."""
    source = tmp_path / "source.mkv"
    pictures = [picture for n in range(9) for picture in flat(30 + 20 * n, 1, SMALL.size)]
    loudness = np.repeat(np.arange(9, dtype=np.float32) / 100, 48000 // 25)
    sound = Sound(np.stack([loudness, loudness]), 48000, "stereo")
    write_sample(source, replace(SMALL, start=0, end=9), pictures, sound)

    cut = read_pictures(source, SMALL)
    assert [int(np.median(picture[0])) for picture in cut] == [70, 90, 110, 130, 150]
    heard = read_sound(source, SMALL)
    assert heard.samples.shape == (2, 5 * 1920)

    write_sample(tmp_path / "gap.mkv", replace(SMALL, missing=3), cut, heard)
    content = read(tmp_path / "gap.mkv")
    assert [round(time * 25) for time in content.times] == [0, 1, 2, 4]
    assert [int(np.median(luma)) for luma in content.luma] == [70, 90, 110, 150]


def test_a_source_that_is_too_short_is_named(tmp_path: Path) -> None:
    silence = Sound(np.zeros((2, 4410), np.float32), 44100, "stereo")
    short = tmp_path / RECIPES[0].source
    write_sample(short, replace(SMALL, name="short.mp4"), flat(50, 3, SMALL.size), silence)
    result = CliRunner().invoke(main, [str(tmp_path), "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "fewer than 132 frames" in result.output
