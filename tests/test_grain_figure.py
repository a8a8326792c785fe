"""Learned grain in one figure, and grain that is known."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from clips import write_clip

from training.__main__ import main
from training.grain_figure import deviation_by_luma, draw_grain, radial_power
from training.grain_patches import SIDE, find_patches, true_patches
from training.octaves import octave_powers


def white(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, SIDE, SIDE)).astype(np.float32)


def test_white_grain_has_even_power_and_a_wave_stands_out() -> None:
    grain = white(200, 1)
    frequencies, power = radial_power(grain)
    assert 0.0 < frequencies[0] < frequencies[-1] <= 0.5
    assert np.ptp(power[1:]) < 0.6  # the first ring loses to the mean that is taken out
    wave = np.sin(2.0 * np.pi * 0.25 * np.arange(SIDE, dtype=np.float32))
    frequencies, power = radial_power(grain + 2.0 * wave)
    assert frequencies[int(np.argmax(power))] == pytest.approx(0.25, abs=0.03)


def test_deviation_follows_luma() -> None:
    level = np.linspace(0.1, 0.9, 400, dtype=np.float32)
    places, deviations = deviation_by_luma(white(400, 2) * level[:, None, None], level)
    np.testing.assert_allclose(deviations, places, rtol=0.03)


def test_the_figure_shows_every_set_in_three_panels(tmp_path: Path) -> None:
    level = np.linspace(0.2, 0.8, 40, dtype=np.float32)
    sets = {name: (white(40, seed), level) for seed, name in enumerate(("real", "gan"))}
    sets["loud"] = 2.0 * white(40, 3), level
    draw_grain(tmp_path / "a.png", sets)
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture is not None
    panels = np.array_split(picture.astype(int), 3, axis=1)
    for colour in ((180, 119, 31), (14, 127, 255), (44, 160, 44)):  # matplotlib's, B, G, R
        for panel in panels:
            assert (np.abs(panel - colour).max(axis=2) < 8).sum() > 30


def test_known_grain_is_what_was_added(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    added = rng.normal(0.0, 6.0, (4, 64, 96)).round()
    for name, grain in (("clean", 0.0 * added), ("noisy", added)):
        frames = [
            av.VideoFrame.from_ndarray((100.0 + one).astype(np.uint8), format="gray")
            for one in grain
        ]
        write_clip(tmp_path / f"{name}.mkv", frames=frames, size=(96, 64), pix_fmt="gray")
    deviation = 6.0 / 255.0
    truth = true_patches(tmp_path / "noisy.mkv", tmp_path / "clean.mkv", deviation)
    assert truth.grain.shape == (24, SIDE, SIDE)
    assert float(truth.grain.std()) == pytest.approx(1.0, rel=0.02)
    np.testing.assert_allclose(truth.level, 100.0 / 255.0, rtol=1e-3)
    write_clip(tmp_path / "small.mkv", frames=4, size=(64, 64), pix_fmt="gray")
    write_clip(tmp_path / "short.mkv", frames=2, size=(96, 64), pix_fmt="gray")
    write_clip(tmp_path / "rgb.mov", frames=4, size=(96, 64), codec="png", pix_fmt="rgb24")
    for name, said in (
        ("small.mkv", "small.mkv is not of the size and length of .*noisy.mkv; give the same film"),
        ("short.mkv", "short.mkv is not of the size and length"),
        ("rgb.mov", "rgb.mov holds R'G'B'"),
        ("noisy.mkv", "noisy.mkv has the grain that .*noisy.mkv has"),
    ):
        with pytest.raises(ValueError, match=said):
            true_patches(tmp_path / "noisy.mkv", tmp_path / name, deviation)


def test_what_shimmers_softly_is_no_grain(tmp_path: Path) -> None:
    """Water in an area that is flat otherwise: less of it than of the grain, and much coarser."""
    rng = np.random.default_rng(6)
    shape = (16, 160, 320)
    grain = 6.0 * rng.standard_normal(shape)
    water = np.stack([cv2.GaussianBlur(one, (0, 0), 4.0) for one in rng.standard_normal(shape)])
    water *= 5.0 / water.std()
    water[:, :, :192] = 0.0
    path = tmp_path / "lake.mkv"
    frames = [
        av.VideoFrame.from_ndarray((120.0 + one).round().astype(np.uint8), format="gray")
        for one in grain + water
    ]
    write_clip(path, frames=frames, size=(320, 160), pix_fmt="gray")
    found = find_patches(path)
    assert 255.0 * found.deviation == pytest.approx(6.0, rel=0.03)
    low, _, high = octave_powers(found.grain.astype(float)).sum(axis=0)
    plain = octave_powers(white(400, 3).astype(float)).sum(axis=0)
    assert low / high == pytest.approx(plain[0] / plain[2], rel=0.12)
    assert len(found.grain) >= 0.5 * 16 * 5 * 6


@pytest.mark.parametrize("option", ["-o", "--plot"])
def test_footage_is_never_written_over(tmp_path: Path, option: str) -> None:
    film = tmp_path / "film.mkv"
    write_clip(film, frames=4, size=(64, 64), pix_fmt="gray")
    before = film.read_bytes()
    words = ["grain-gan", str(film), "-o", str(tmp_path / "a.safetensors"), option, str(film)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "is a file that is read; choose another name" in done.output
    assert film.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "a.txt"], "a.txt has to end in .safetensors"),
        (["-o", "a.safetensors", "--plot", "a.pdf"], "a.pdf has to end in .png"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "film.mkv", frames=4, size=(64, 64), pix_fmt="gray")
    write_clip(tmp_path / "other.mkv", frames=4, size=(64, 96), pix_fmt="gray")
    (tmp_path / "note.txt").write_text("no film\n" * 99)
    done = CliRunner().invoke(main, ["grain-gan", "film.mkv", *options])
    assert done.exit_code == 2
    assert said in done.output
    assert "patches" not in done.output
    assert not list(tmp_path.glob("a.*"))
