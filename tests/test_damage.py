"""Damage, unsteadiness, distractors and coding as they are drawn for training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from training.conditioning import measured_profile, tell_noise
from training.degrade.coding import CodingRecipe, code, draw_coding
from training.degrade.damage import (
    CLASSES,
    VISIBLE,
    DamageRecipe,
    Dropout,
    Hole,
    Scratch,
    apply_damage,
    draw_damage,
)
from training.degrade.distractors import (
    KINDS,
    Distractor,
    draw_distractors,
    order_frames,
    play,
)
from training.degrade.film import FilmRecipe, draw_film, project
from training.degrade.marks import Marks, no_marks, render_marks
from training.degrade.noise import NoiseRecipe, add_noise, true_profile
from training.degrade.shapes import SIDE, Shapes, draw_shapes, load_shapes
from training.degrade.storage import Storage, quantise, to_stored
from vidrepair.noise import CODED

CPU = torch.device("cpu")
SIZE = (5, 64, 96)
STORED = Storage(full_range=False, sampling=(2, 2), bits=8)


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    return draw_shapes(np.random.default_rng(1), CPU)


def gray(level: float = 0.5) -> Tensor:
    return torch.full((SIZE[0], 3, *SIZE[1:]), level)


def disc() -> Shapes:
    """One round mark."""
    axis = torch.linspace(-1.0, 1.0, SIDE)
    radius = torch.hypot(axis[:, None], axis[None])
    return Shapes((radius < 0.9).float()[None, None], np.array([False]))


def mark(**changes: float) -> Marks:
    """One black, opaque mark on frame 2."""
    values = {"y": 30.0, "x": 50.0, "size": 12.0, "angle": 0.4, "opacity": 1.0, "paint": 0.0}
    real = {name: np.array([value]) for name, value in {**values, **changes}.items()}
    return Marks(frame=np.array([2]), shape=np.array([0]), **real)


NONE = DamageRecipe(no_marks())


@pytest.mark.parametrize("size", [5.0, 12.0, 40.0])
def test_a_mark_lies_where_it_was_drawn_and_is_as_large(size: float) -> None:
    opacity, _ = render_marks(mark(size=size, y=30.3, x=50.8), disc(), SIZE)
    assert not opacity[[0, 1, 3, 4]].any()
    seen = opacity[2, 0]
    y, x = (torch.arange(n) + 0.5 for n in SIZE[1:])
    assert float((seen.sum(1) * y).sum() / seen.sum()) == pytest.approx(30.3, abs=0.15)
    assert float((seen.sum(0) * x).sum() / seen.sum()) == pytest.approx(50.8, abs=0.15)
    assert float(seen.sum()) == pytest.approx(np.pi / 4 * (0.9 * size) ** 2, rel=0.12)


def test_the_map_is_what_changed_visibly() -> None:
    recipe = DamageRecipe(mark(opacity=0.6))
    damaged, defect = apply_damage(gray(), recipe, disc())
    changed = (damaged - gray()).abs().amax(dim=1)
    assert defect.shape == (5, len(CLASSES), 64, 96)
    assert torch.equal(defect[:, 0] == 1.0, changed > VISIBLE)
    assert not defect[:, 1:].any()
    assert float(damaged.min()) == pytest.approx(0.5 * 0.4, abs=0.01)
    # Paint of the picture's own brightness is no defect, however opaque.
    assert not apply_damage(gray(), DamageRecipe(mark(paint=0.5)), disc())[1].any()


def test_a_scratch_stays_at_its_column() -> None:
    scratch = Scratch(1, 3, 20.0, 1.0, 0.0, 0.0, 2.0, 1.0, 1.0, 0.0, seed=1)
    damaged, defect = apply_damage(gray(), replace(NONE, scratches=(scratch,)), disc())
    assert not defect[[0, 4]].any()
    for t in (1, 2, 3):
        columns = defect[t, 1].all(dim=0).nonzero().flatten().tolist()
        assert np.mean(columns) == pytest.approx(20.0 + (t - 1), abs=0.5)
        assert 2 <= len(columns) <= 3
    assert float(damaged.max()) == 1.0


def test_a_broken_scratch_is_missing_in_parts() -> None:
    scratch = Scratch(0, 4, 20.0, 0.0, 0.0, 0.0, 2.0, 1.0, 1.0, 0.5, seed=1)
    tall = torch.full((5, 3, 480, 32), 0.5)
    defect = apply_damage(tall, replace(NONE, scratches=(scratch,)), disc())[1]
    share = defect[:, 1, :, 19:21].mean(dim=(1, 2))
    assert float(share.min()) > 0.2
    assert float(share.max()) < 0.9


def test_a_dropout_takes_its_rows_and_a_hole_its_rectangle() -> None:
    drop = Dropout(frame=3, top=10, rows=2, left=-5, length=30, paint=1.0, seed=0)
    hole = Hole(1, 2, top=20, left=40, height=8, width=12, shift=(9, 9), gain=0.0)
    recipe = replace(NONE, dropouts=(drop,), holes=(hole,))
    damaged, defect = apply_damage(gray(), recipe, disc())
    assert torch.equal(defect[3, 2].nonzero().amin(0), torch.tensor([10, 0]))
    assert torch.equal(defect[3, 2].nonzero().amax(0), torch.tensor([11, 24]))
    assert defect[:, 3].sum() == 2 * 8 * 12
    assert not damaged[1:3, :, 20:28, 40:52].any()
    assert not defect[:, :2].any()


def test_damage_is_drawn_in_scale_and_from_its_seed(shapes: Shapes) -> None:
    size = (4, 256, 256)
    covered, numbers = [], []
    for seed in range(40):
        recipe = draw_damage(np.random.default_rng(seed), shapes, size)
        numbers.append(len(recipe.marks.frame) / (4 * 256 * 256))
        opacity, _ = render_marks(recipe.marks, shapes, size)
        covered.append(float((opacity > 0.2).float().mean()))
    assert max(numbers) <= 5e-3
    assert sum(number == 0.0 for number in numbers) >= 5  # clean clips, against false alarms
    assert 0.005 < max(covered) < 0.08  # worn film: 1.4 to 2.5 %
    one, two = (draw_damage(np.random.default_rng(3), shapes, size) for _ in range(2))
    assert np.array_equal(one.marks.x, two.marks.x)
    assert one.scratches == two.scratches


def test_no_damage_is_the_picture_itself(shapes: Shapes) -> None:
    picture = torch.rand(5, 3, 64, 96)
    damaged, defect = apply_damage(picture, NONE, shapes)
    assert torch.equal(damaged, picture)
    assert not defect.any()


def test_shapes_come_from_pictures_and_are_taken_apart(tmp_path: Path) -> None:
    picture = np.zeros((80, 120), dtype=np.uint8)
    picture[30:40, 50:90] = 255
    picture[60:66, 10:16] = 200
    picture[70, 100] = 255  # too small to have a form
    path = tmp_path / "drawn_hair_00.png"
    cv2.imwrite(str(path), picture)
    loaded = load_shapes([path], CPU)
    assert loaded.pictures.shape == (2, 1, SIDE, SIDE)
    assert loaded.thin.tolist() == [True, True]
    # 10 by 40 fill the square's width, with two empty samples at both ends.
    rows, columns = (loaded.pictures[0, 0] > 0.5).nonzero().T
    assert int(columns.max() - columns.min()) + 1 == SIDE - 4
    assert int(rows.max() - rows.min()) + 1 == pytest.approx((SIDE - 4) / 4, abs=1)
    assert float(loaded.pictures[1].max()) == pytest.approx(200 / 255)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match="cannot decode"):
        load_shapes([tmp_path / "text.png"], CPU)


@pytest.mark.parametrize("size", [4.0, 12.0, 40.0, 178.0])
def test_marks_of_every_form_keep_their_area_at_every_size(shapes: Shapes, size: float) -> None:
    """Also fibres, which would vanish between samples if they were not reduced first."""
    area = shapes.pictures.sum(dim=(1, 2, 3)) * (size / SIDE) ** 2
    for number in range(0, len(area), 7):
        placed = replace(mark(size=size, y=128.0, x=128.0), shape=np.array([number]))
        opacity, _ = render_marks(placed, shapes, (3, 256, 256))
        assert float(opacity.sum()) == pytest.approx(float(area[number]), rel=0.4, abs=0.3)


def test_dust_on_a_hole_is_dust_and_under_it_is_nothing() -> None:
    hole = Hole(2, 2, top=0, left=0, height=64, width=96, shift=(9, 9), gain=0.0)
    white = DamageRecipe(mark(paint=1.0), holes=(hole,))
    damaged, defect = apply_damage(gray(), white, disc())
    assert float(damaged[2].max()) == 1.0
    assert torch.equal(defect[2, 0] == 1.0, damaged[2, 0] > VISIBLE)
    black = DamageRecipe(mark(paint=0.0), holes=(hole,))
    assert not apply_damage(gray(), black, disc())[1][:, 0].any()


def test_flicker_and_weave_have_their_deviation() -> None:
    lit = project(gray(0.4).repeat(8, 1, 1, 1), FilmRecipe(flicker=0.1, seed=2))
    assert float(lit.mean(dim=(1, 2, 3)).std() / 0.4) == pytest.approx(0.1, rel=0.4)
    assert float(lit.std(dim=(2, 3)).max()) < 1e-5
    ramp = torch.linspace(0.2, 0.8, 96).expand(5, 3, 64, 96)
    moved = project(ramp, FilmRecipe(weave=1.0, seed=2)) - ramp
    step = 0.6 / 95
    places = moved[:, 0, 32, 48] / step
    expected = np.random.default_rng(2).standard_normal((5, 2))[:, 0]
    assert places.tolist() == pytest.approx(expected.tolist(), abs=0.02)
    assert torch.equal(project(ramp, FilmRecipe()), ramp)


@pytest.mark.parametrize("kind", KINDS)
def test_a_distractor_changes_the_picture_within_its_range(kind: str) -> None:
    still = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)).repeat(6, 1, 1, 1)
    film = (still * torch.linspace(0.7, 1.0, 6)[:, None, None, None]).clamp(0.0, 1.0)
    event = (Distractor(kind, 0.9, seed=3),)
    played = play(film, event)
    assert played.min() >= 0.0
    assert played.max() <= 1.0
    assert torch.equal(played, play(film, event))
    order = order_frames(6, event)
    assert not torch.equal(played, film) or order.tolist() != list(range(6))
    assert all(order[t] in (t, order[t - 1]) for t in range(1, 6))


def test_coding_freezes_fine_noise_and_keeps_a_fine_picture() -> None:
    noisy, clean = add_noise(gray().repeat(3, 1, 1, 1), NoiseRecipe(luma=0.03, seed=1), STORED)

    def in_time(qp: float) -> tuple[float, float]:
        coded = code(noisy, CodingRecipe(qp, gop=250), STORED)
        step = (coded[2:] - coded[1:-1])[:, 0]
        return float((coded - clean)[:, 0].std()), float(step.std()) / np.sqrt(2.0)

    before = float((noisy - clean)[:, 0].std())
    for qp, least in ((4.0, 0.9), (26.0, 0.3)):
        error, change = in_time(qp)
        assert error > least * before
        # What is frozen is an error, but no change in time.
        assert change < 1.05 * error
    assert in_time(26.0)[1] < 0.5 * in_time(26.0)[0]
    assert in_time(50.0)[0] < 0.5 * before


def test_coded_samples_are_codes_and_chroma_is_repeated() -> None:
    noisy, _ = add_noise(torch.rand(4, 3, 32, 48), NoiseRecipe(luma=0.05, seed=1), STORED)
    recipe = CodingRecipe(24.0, gop=2, qp_deviation=2.0, seed=5)
    coded = code(noisy, recipe, STORED)
    codes = coded * 255.0
    assert torch.allclose(codes, codes.round(), atol=1e-3)
    assert torch.equal(coded[:, 1:, ::2, ::2], coded[:, 1:, 1::2, 1::2])
    assert torch.equal(
        coded, code(noisy, CodingRecipe(24.0, gop=2, qp_deviation=2.0, seed=5), STORED)
    )


def test_what_is_drawn_leaves_most_clips_alone() -> None:
    rng = np.random.default_rng(0)
    assert 0.5 < np.mean([draw_coding(rng, STORED) is None for _ in range(400)]) < 0.7
    assert draw_coding(rng, Storage()) is None
    assert 0.55 < np.mean([draw_film(rng) == FilmRecipe() for _ in range(400)]) < 0.8
    assert 0.55 < np.mean([draw_distractors(rng) == () for _ in range(400)]) < 0.8


def test_what_is_measured_of_a_stretch_is_what_the_tool_measures() -> None:
    picture = torch.linspace(0.3, 0.6, 128).expand(12, 3, 128, 128).contiguous()
    noisy, clean = add_noise(picture, NoiseRecipe(luma=0.04, seed=1), STORED)
    measured = measured_profile(noisy, STORED)
    truth = true_profile(noisy, clean)
    assert measured.shape == (2, 17)
    assert torch.allclose(measured[:, 5:9], truth[:, 5:9], rtol=0.1)
    with pytest.raises(ValueError, match="stored"):
        measured_profile(noisy, Storage())


def test_the_quantiser_adds_to_what_is_measured() -> None:
    flat = quantise(to_stored(gray(), STORED), STORED)
    nothing, coded = (measured_profile(flat, STORED, step)[0] for step in (0.0, 20.0))
    assert float(nothing.max()) < 0.1 / 255.0
    assert coded.mul(255.0).tolist() == pytest.approx([CODED * 20.0] * 17, rel=0.01)


def test_coded_noise_is_told_as_measured_two_times_in_three() -> None:
    noisy, clean = add_noise(gray().repeat(3, 1, 1, 1), NoiseRecipe(luma=0.03, seed=1), STORED)
    coded = code(noisy, CodingRecipe(28.0, gop=250), STORED)
    measured = measured_profile(coded[:12], STORED)
    assert float(measured[0, 8]) < 2.0 * float(true_profile(coded, clean)[0, 8])
    rng = np.random.default_rng(0)
    told = [tell_noise(coded, clean, STORED, rng, quantiser_step=0.0) for _ in range(60)]
    assert 25 < sum(torch.equal(profile, measured) for profile in told) < 55
    uncoded = [tell_noise(coded, clean, STORED, rng) for _ in range(20)]
    assert not any(torch.equal(profile, measured) for profile in uncoded)
