"""How a frame is lit against its neighbour."""

from __future__ import annotations

import numpy as np
import pytest

from vidrepair.exposure import Exposure
from vidrepair.frames import FloatArray

BLACK = np.array([16.0 / 255.0, 0.0, 0.0], dtype=np.float32)[:, None]


def samples(count: int = 400) -> FloatArray:
    """(3, n) of a picture: luma between black and white, and some colour."""
    rng = np.random.default_rng(4)
    luma = rng.uniform(0.1, 0.7, (1, count))
    return np.concatenate([luma, rng.uniform(-0.2, 0.2, (2, count))]).astype(np.float32)


@pytest.mark.parametrize("gain", [0.7, 0.93, 1.2])
def test_a_gain_about_black_is_found(gain: float) -> None:
    there = samples()
    noise = np.random.default_rng(5).normal(0.0, 0.01, there.shape).astype(np.float32)
    shown = BLACK + np.float32(gain) * (there - BLACK)
    lit = Exposure.between(there, shown + noise)
    assert lit.gain == pytest.approx(gain, rel=0.01)
    np.testing.assert_allclose(lit.on(there), shown, atol=0.005)
    np.testing.assert_allclose(lit.away(shown[0]), there[0], atol=0.008)


def test_a_tint_of_the_light_is_left_of_each_plane() -> None:
    there = samples()
    tint = np.array([0.0, -0.03, 0.02], dtype=np.float32)[:, None]
    shown = BLACK + np.float32(0.8) * (there - BLACK) + tint
    np.testing.assert_allclose(Exposure.between(there, shown).on(there), shown, atol=0.002)


def test_white_that_is_blown_tells_nothing_and_stays() -> None:
    there = samples()
    there[0, ::2] = 0.98
    shown = BLACK + np.float32(0.8) * (there - BLACK)
    shown[0, ::2] = 0.98
    lit = Exposure.between(there, shown)
    np.testing.assert_allclose(lit.on(there)[0], shown[0], atol=0.005)


def test_what_moves_is_no_light() -> None:
    there = samples()
    assert Exposure.between(there, there[:, ::-1].copy()) == Exposure()
    assert Exposure.between(there, there) == Exposure()
    assert Exposure.between(there[:, :20], 0.8 * there[:, :20]) == Exposure()


def test_one_sample_that_is_no_number_lights_nothing() -> None:
    there = samples()
    there[0, 7] = np.nan
    assert np.isfinite(Exposure.between(there, 0.8 * samples()).left).all()


def test_noise_alone_lights_nothing() -> None:
    there = samples()
    noise = np.random.default_rng(6).normal(0.0, 0.02, there.shape).astype(np.float32)
    assert Exposure.between(there, there + noise) == Exposure()
