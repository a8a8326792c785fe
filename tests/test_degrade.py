"""Noise as it is drawn for training, against what a formula or a count says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from training.degrade.grain import GRAINS, Grain, draw_field
from training.degrade.noise import (
    NoiseRecipe,
    add_noise,
    disturb_profile,
    draw_noise,
    true_profile,
)
from training.degrade.storage import Storage, draw_storage, quantise, to_stored

GRAY = torch.full((6, 3, 64, 64), 0.5)
STORED_420 = Storage(full_range=False, sampling=(2, 2), bits=8)


def ramp() -> Tensor:
    """Gray from black to white, (6, 3, 64, 256)."""
    return torch.linspace(0.0, 1.0, 256).expand(6, 3, 64, 256).contiguous()


@pytest.mark.parametrize(
    "recipe",
    [
        NoiseRecipe(luma=0.1, seed=4),
        NoiseRecipe(in_rgb=False, luma=0.1, chroma=0.05, seed=4),
        *(
            NoiseRecipe(in_rgb=False, luma=0.1, chroma=0.05, grain=Grain(kind, 1.5), seed=4)
            for kind in GRAINS
        ),
    ],
)
def test_noise_has_the_deviation_of_its_recipe(recipe: NoiseRecipe) -> None:
    noisy, clean = add_noise(GRAY, recipe, Storage())
    found = (noisy - clean).std(dim=(0, 2, 3))
    # R'G'B' noise of deviation s is .750 s in Y', .642 s in Cb, .677 s in Cr.
    expected = (0.0750, 0.0642, 0.0677) if recipe.in_rgb else (0.1, 0.05, 0.05)
    assert found.tolist() == pytest.approx(expected, rel=0.05)


def likeness(field: Tensor, down: int, across: int) -> float:
    """Correlation of samples with those so many rows and columns further on."""
    height, width = field.shape[-2:]
    near, far = field[..., : height - down, : width - across], field[..., down:, across:]
    return float((near * far).mean() / field.square().mean())


def test_grain_is_correlated_as_its_kind_says() -> None:
    fields = {kind: draw_field(Grain(kind, 1.5), GRAY, seed=1) for kind in GRAINS}
    right = {kind: likeness(field[:, 0], 0, 1) for kind, field in fields.items()}
    assert abs(right["white"]) < 0.03
    # A Gaussian of radius r: exp(-1 / (4 r^2)) between neighbours.
    assert right["blurred"] == pytest.approx(np.exp(-1.0 / (4 * 1.5**2)), abs=0.03)
    assert 0.1 < right["regressive"] < 0.9
    assert 0.3 < right["resampled"] < 0.8
    # Bilinear demosaicing: a red sample is itself, or the mean of two or of four.
    assert right["mosaic"] == pytest.approx(0.75 / 1.125, abs=0.04)
    assert likeness(fields["mosaic"][:, 1], 0, 1) == pytest.approx(0.4, abs=0.04)


def test_each_frame_has_grain_of_its_own() -> None:
    for kind in GRAINS:
        field = draw_field(Grain(kind, 1.5), GRAY, seed=1)
        assert abs(float((field[1:] * field[:-1]).mean())) < 0.03
        assert torch.equal(field, draw_field(Grain(kind, 1.5), GRAY, seed=1))


def test_shot_noise_grows_with_the_light() -> None:
    recipe = NoiseRecipe(luma=0.05, shot=1.0, in_rgb=False, chroma=0.05, seed=2)
    noisy, clean = add_noise(ramp() * 0.6 + 0.2, recipe, Storage())
    error = (noisy - clean)[:, 0]
    dark, light = error[..., :64].std(), error[..., -64:].std()
    assert float(light / dark) == pytest.approx(np.sqrt(0.725 / 0.275), rel=0.08)


def test_the_same_seed_makes_the_same_noise() -> None:
    recipe = NoiseRecipe(luma=0.1, seed=9)
    one, two = (add_noise(GRAY, recipe, STORED_420)[0] for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, add_noise(GRAY, replace(recipe, seed=10), STORED_420)[0])


def test_stored_samples_are_codes_and_chroma_is_repeated() -> None:
    noisy, _ = add_noise(ramp(), NoiseRecipe(luma=0.2, seed=3), STORED_420)
    codes = noisy * 255.0
    assert torch.allclose(codes, codes.round(), atol=1e-3)
    chroma = noisy[:, 1:]
    assert torch.equal(chroma[..., ::2, ::2], chroma[..., 1::2, 1::2])


def test_limited_range_is_where_the_standard_puts_it() -> None:
    white = to_stored(torch.ones(1, 3, 4, 4), STORED_420)
    black = to_stored(torch.zeros(1, 3, 4, 4), STORED_420)
    assert float(white[0, 0, 0, 0]) == pytest.approx(235 / 255)
    assert float(black[0, 0, 0, 0]) == pytest.approx(16 / 255)
    assert quantise(white, STORED_420)[0, 1].abs().max() < 1e-6


def test_the_true_profile_is_that_of_the_clipped_samples() -> None:
    noisy, clean = add_noise(ramp(), NoiseRecipe(luma=0.2, seed=5), Storage(bits=8))
    profile = true_profile(noisy, clean)
    assert profile.shape == (2, 17)
    assert float(profile[0, 8]) == pytest.approx(0.2 * 0.75, rel=0.06)
    # Clipped at black and white, the noise is weaker there.
    assert float(profile[0, 1]) < 0.8 * float(profile[0, 8])


def test_draws_stay_within_their_ranges_and_a_share_is_clean() -> None:
    rng = np.random.default_rng(0)
    recipes = [draw_noise(rng) for _ in range(600)]
    assert max(recipe.luma for recipe in recipes) <= 55 / 255
    clean = np.mean([recipe.luma == 0.0 for recipe in recipes])
    assert 0.02 < clean < 0.09
    assert {draw_storage(rng).sampling for _ in range(100)} == {(1, 1), (2, 1), (2, 2)}


def test_a_disturbed_profile_stays_close() -> None:
    rng = np.random.default_rng(1)
    profile = torch.full((2, 17), 0.1)
    ratios = torch.stack([disturb_profile(profile, rng) / profile for _ in range(200)])
    assert 0.4 < float((ratios == 1.0).float().mean()) < 0.6
    assert float(ratios.min()) > 0.5
    assert float(ratios.max()) < 2.0
