"""Grain over what was repaired, and grain put back: figures of fills whose truth is known."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clips import write_clip
from numpy.typing import NDArray

from training.evaluate import write_lossless
from training.grain_fill import Fill, FillFigures, measure_fill
from training.grain_film import FRAMES, Film, add_grain, lay_dust, read_film, write_film
from training.grain_product import LEVELS, measure_product
from training.grain_protocol import measure_grain, table
from vidrepair.frames import Picture, PixelFormat

Array = NDArray[np.float32]
SIZE = (14, 192, 256)
SIGMA = 4.0
TOOL = (
    f"{sys.executable} -c 'from vidrepair.cli import main; main()' run {{in}} -o {{out}} -c ffv1 "
    "{options} --progress none --log-level error"
)


def scene() -> Array:
    """A still, soft picture."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[2]].astype(np.float32)
    still = 120.0 + 40.0 * np.sin(columns / 40.0) + 20.0 * np.cos(rows / 30.0)
    return np.broadcast_to(still, SIZE).astype(np.float32)


def white(seed: int) -> Array:
    return np.random.default_rng(seed).normal(0.0, SIGMA, SIZE).astype(np.float32)


def blurred(grain: Array) -> Array:
    """Of the same deviation, with less of the last octave."""
    coarse = np.stack([cv2.GaussianBlur(plane, (0, 0), 0.8) for plane in grain])
    return np.asarray(coarse * (SIGMA / coarse.std()))


def spots() -> NDArray[np.bool_]:
    """Discs of 24 samples, never twice at one place in frames that follow one another."""
    mask = np.zeros(SIZE, dtype=np.uint8)
    for frame in range(1, SIZE[0] - 1):
        for place in range(3):
            row, column = 40 + 110 * (frame % 2), 40 + 85 * place
            cv2.circle(mask[frame], (column, row), 12, 1, -1)
    return np.asarray(mask > 0)


def figures(over_fill: Array, *, known: bool = True) -> FillFigures:
    """Of a film whose spots were filled with the right picture and this grain."""
    clean, mask = scene(), spots()
    film = np.round(clean + white(1))
    fill = np.where(mask, np.round(clean + over_fill), film)
    bare = np.where(mask, clean, film)
    seen = Fill(film, film, fill, bare, mask, mask)
    return measure_fill(0, seen, clean if known else None, clean)


@pytest.mark.parametrize("known", [True, False])
def test_grain_of_the_film_s_own_kind_is_found_alike(known: bool) -> None:
    found = figures(white(2), known=known)
    inside, around, whole = found.variance
    assert (found.laid, found.spots) == (36, 36)
    # The high-pass keeps 0.98 of white noise.
    assert whole == pytest.approx(SIGMA**2, rel=0.08)
    assert inside / around == pytest.approx(1.0, abs=0.1)
    assert inside / whole == pytest.approx(1.0, abs=0.1)
    assert found.grain[0] / found.grain[1] == pytest.approx(1.0, abs=0.1)
    assert found.correlation == pytest.approx((0.0, 0.0, 0.0), abs=0.06)
    assert found.windows >= 15
    for other in found.octaves[1:]:
        assert np.abs(10.0 * np.log10(found.octaves[0] / other)).max() < 1.5


def test_weak_grain_is_found_weak() -> None:
    found = figures(0.7 * white(2))
    assert found.variance[0] / found.variance[2] == pytest.approx(0.5, abs=0.07)
    assert found.power[0] / found.power[2] == pytest.approx(0.5, abs=0.07)
    assert found.variance[1] == pytest.approx(found.variance[2], rel=0.1)


def test_grain_that_stands_still_is_found_alike_its_neighbours() -> None:
    # What a fill copies of the frame before flickers half as much as grain of its own.
    frozen = figures(np.roll(white(1), 1, axis=0))
    assert frozen.correlation[0] == pytest.approx(0.5, abs=0.1)
    assert abs(frozen.correlation[2]) < 0.05
    assert frozen.variance[0] < 0.2 * frozen.variance[2]


def test_coarse_grain_is_told_from_fine() -> None:
    found = figures(blurred(white(2)))
    ratio = 10.0 * np.log10(found.octaves[0] / found.octaves[2])
    assert ratio[2] < -2.0
    assert ratio[0] > 3.0


def test_a_rim_that_was_left_is_no_fill() -> None:
    clean, mask = scene(), spots()
    film = clean + white(1)
    small = np.stack([cv2.erode(plane.astype(np.uint8), np.ones((3, 3))) for plane in mask]) > 0
    seen = Fill(film, film, film, film, mask, small)
    with pytest.raises(ValueError, match="none of 36 spots"):
        measure_fill(0, seen, clean, clean)


def gray_film(planes: Array) -> Film:
    return Film("made", (planes,), Picture(SIZE[2], SIZE[1], PixelFormat("gray", "gray", 8)))


def test_a_product_is_judged_against_what_was_there() -> None:
    clean = np.round(scene())
    film = replace(gray_film(np.round(clean + white(1))), clean=(clean,))
    quiet = np.round(clean)
    (same,) = measure_product(film, (quiet,), (np.round(quiet + white(2)),))
    assert same.plane == "Y"
    assert same.deviation == pytest.approx((SIGMA, SIGMA), rel=0.05)
    assert same.levels.shape == (LEVELS,)
    assert np.nanmax(np.abs(same.levels - 1.0)) < 0.08
    assert np.isnan(same.levels[7])  # the film has nothing so bright
    assert np.abs(same.octaves).max() < 0.6
    assert np.abs(same.correlation).max() < 0.02
    assert np.abs(same.total).max() < 1.2
    (weak,) = measure_product(film, (quiet,), (np.round(quiet + 0.5 * blurred(white(2))),))
    assert weak.deviation[0] / weak.deviation[1] == pytest.approx(0.5, abs=0.04)
    assert weak.octaves[3] < -9.0
    assert weak.octaves[1] > -3.5
    assert weak.total[3] < -9.0


def test_made_grain_is_known(tmp_path: Path) -> None:
    write_film(tmp_path / "flat.mkv", gray_film(np.full(SIZE, 128, np.uint8)))
    film = read_film(tmp_path / "flat.mkv")
    for kind, deviation in (("fine", 4.0), ("coarse", 6.0)):
        noisy = add_grain(film, kind)
        assert noisy.clean is not None
        assert np.array_equal(noisy.clean[0], film.planes[0])
        grain = noisy.planes[0].astype(float) - film.planes[0]
        assert grain.std() == pytest.approx(deviation, rel=0.08)
        assert abs(np.mean(grain[1:] * grain[:-1])) < 0.05 * deviation**2
        beside = np.mean(grain[:, :, 1:] * grain[:, :, :-1]) / deviation**2
        assert abs(beside) < 0.02 if kind == "fine" else beside > 0.1
        assert np.array_equal(noisy.planes[0], add_grain(film, kind).planes[0])
    with pytest.raises(ValueError, match="'silver' is unknown; use fine or coarse"):
        add_grain(film, "silver")


@pytest.mark.parametrize(
    ("pix_fmt", "size"), [("yuv420p", (401, 259)), ("yuv422p10le", (64, 48)), ("gray", (33, 47))]
)
def test_a_film_is_read_and_written_as_it_is(
    pix_fmt: str, size: tuple[int, int], tmp_path: Path
) -> None:
    write_clip(tmp_path / "in.mkv", frames=5, size=size, pix_fmt=pix_fmt)
    film = read_film(tmp_path / "in.mkv")
    assert film.planes[0].shape == (5, min(size[1], 256), min(size[0], 384))
    write_film(tmp_path / "out.mkv", film)
    again = read_film(tmp_path / "out.mkv")
    assert again.picture.format == film.picture.format
    assert all(np.array_equal(*pair) for pair in zip(film.planes, again.planes, strict=True))
    dusty, truth = lay_dust(film)
    assert truth.any()
    assert not truth[0].any()
    assert not truth[-1].any()
    # Dust is where the truth says, but for a soft edge that nobody sees.
    changed = np.abs(dusty[0].astype(float) - film.planes[0])
    assert changed[~truth].max() <= 4.0 * film.picture.format.peak / 255.0
    assert all(np.array_equal(*pair) for pair in zip(dusty, lay_dust(film)[0], strict=True))


def test_spots_stand_alone_in_time() -> None:
    _, truth = lay_dust(gray_film(np.round(scene()).astype(np.uint8)))
    assert not (truth[1:] & truth[:-1]).any()
    assert 0.002 < truth[1:-1].mean() < 0.05


def test_the_whole_tool_is_measured(tmp_path: Path) -> None:
    film = gray_film(np.round(scene())[:8, :144, :208].astype(np.uint8))
    film = replace(film, picture=replace(film.picture, width=208, height=144))
    write_film(tmp_path / "still.mkv", film)
    found = measure_grain(tmp_path / "still.mkv", TOOL, "fine", (0,))
    (kept,) = found.fills
    assert kept.spots >= 3
    # Few spots: only what is grossly wrong is seen here.
    assert 0.5 < kept.variance[0] / kept.variance[2] < 1.6
    assert kept.correlation[0] < 0.4
    (luma,) = found.products
    assert luma.deviation[0] / luma.deviation[1] == pytest.approx(1.0, abs=0.15)
    rows = table([found]).splitlines()
    assert [row.split("|")[1].strip() for row in rows if row] == [
        *("film", "---", "still"),
        *("film", "---", "still"),
    ]
    assert rows[2].count("|") == rows[0].count("|")
    assert rows[-1].count("|") == rows[4].count("|")


def test_what_cannot_be_measured_is_told(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mkv", frames=6, size=(64, 48))
    with pytest.raises(ValueError, match=r"lacks \{options\}"):
        measure_grain(tmp_path / "clip.mkv", "cp {in} {out}")
    # A tool that repairs nothing has no fill.
    with pytest.raises(ValueError, match=r"none of \d+ spots of dust"):
        measure_grain(tmp_path / "clip.mkv", "sh -c 'cp {in} {out}' {options}")
    write_clip(tmp_path / "short.mkv", frames=3, size=(64, 48))
    with pytest.raises(ValueError, match=r"short\.mkv has 3 frames"):
        read_film(tmp_path / "short.mkv")
    write_lossless(tmp_path / "rgb.mkv", torch.zeros(5, 3, 48, 64, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"rgb\.mkv holds R'G'B'"):
        read_film(tmp_path / "rgb.mkv")
    write_clip(tmp_path / "long.mkv", frames=FRAMES + 2, size=(32, 32))
    assert len(read_film(tmp_path / "long.mkv").planes[0]) == FRAMES
