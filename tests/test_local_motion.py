"""How a window moves to another picture: as one, or turning and growing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vidrepair.frames import FloatArray
from vidrepair.local_motion import LocalMotion, find_motion
from vidrepair.regions import Box, Mask

SIZE = (96, 96)
BOX = Box(24, 24, 72, 72)
MOVE = (1.5, -2.25)
"""Rows and columns that the middle of BOX moves by."""


def texture() -> FloatArray:
    noise = np.random.default_rng(3).normal(0.0, 1.0, SIZE).astype(np.float32)
    return np.asarray(0.5 + cv2.GaussianBlur(noise, (0, 0), 3.0), np.float32)


def moved(turn: float, growth: float) -> FloatArray:
    """What the other picture shows: the middle of BOX MOVE away, the rest turned and larger."""
    middle = 47.5
    cos, sin = growth * np.cos(turn), growth * np.sin(turn)
    # From a place to the same thing there; OpenCV asks for the way back.
    way = np.array(
        [
            [cos, -sin, middle + MOVE[1] - cos * middle + sin * middle],
            [sin, cos, middle + MOVE[0] - sin * middle - cos * middle],
        ]
    )
    size = (SIZE[1], SIZE[0])
    return cv2.warpAffine(
        texture(), way, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )


def field() -> FloatArray:
    """The motion that the generator says, of the middle alone."""
    whole = np.zeros((2, SIZE[0] // 4, SIZE[1] // 4), dtype=np.float32)
    whole[0], whole[1] = MOVE[1], MOVE[0]
    return whole


def ring() -> Mask:
    """All of BOX but its middle, which is in doubt."""
    sure = np.ones((48, 48), dtype=bool)
    sure[16:32, 16:32] = False
    return sure


@pytest.mark.parametrize(("turn", "growth"), [(0.06, 1.0), (-0.05, 1.0), (0.0, 1.06), (0.04, 0.95)])
def test_a_window_that_turns_or_grows_is_followed(turn: float, growth: float) -> None:
    there = moved(turn, growth)[None]
    motion, left = find_motion(texture(), ring(), BOX, there, field())
    assert motion.turn is not None
    assert left < 0.003
    seen = motion.picture(there, BOX)[0] - texture()[BOX.window()]
    assert np.abs(seen[~ring()]).max() < 0.01


def test_what_moves_as_one_is_not_turned() -> None:
    motion, left = find_motion(texture(), ring(), BOX, moved(0.0, 1.0)[None], field())
    assert motion.turn is None
    assert motion.move == pytest.approx(MOVE, abs=0.13)
    assert left < 0.008


def test_what_moves_otherwise_does_not_pull() -> None:
    """A quarter of the surroundings is white, as a sleeve that is gone by then."""
    there = moved(0.05, 1.0)[None]
    luma = texture()
    luma[24:36, 24:72] = 1.0
    motion, _ = find_motion(luma, ring(), BOX, there, field())
    assert motion.turn is not None
    seen = motion.picture(there, BOX)[0] - texture()[BOX.window()]
    assert np.abs(seen[~ring()]).max() < 0.02


def test_more_than_a_window_can_turn_is_left_as_one() -> None:
    motion, left = find_motion(texture(), ring(), BOX, moved(0.5, 1.3)[None], field())
    assert motion.turn is None
    assert left > 0.02


def test_a_narrow_strip_does_not_tell_how_the_window_turns() -> None:
    strip = np.zeros((48, 48), dtype=bool)
    strip[:, :3] = True
    motion, _ = find_motion(texture(), strip, BOX, moved(0.06, 1.0)[None], field())
    assert motion.turn is None


@pytest.mark.parametrize("size", [(1, 48), (48, 1), (2, 2)])
def test_windows_of_any_size_have_a_motion(size: tuple[int, int]) -> None:
    box = Box(0, 0, *size)
    luma = texture()[: size[0], : size[1]]
    motion, left = find_motion(luma, np.ones(size, dtype=bool), box, luma[None], field())
    assert left == 0.0
    assert (motion.picture(luma[None], box)[0] == luma).all()


def test_what_is_not_finite_turns_nothing() -> None:
    there = moved(0.06, 1.0)[None].copy()
    there[0, 40:50, 40:50] = np.nan
    motion, _ = find_motion(texture(), np.ones((48, 48), dtype=bool), BOX, there, field())
    assert motion.turn is None


@pytest.mark.parametrize("column", [10, 11])
@pytest.mark.parametrize("move", [-0.5, 0.5, 1.5])
def test_a_line_of_one_sample_is_in_the_mask_of_half_a_sample(column: int, move: float) -> None:
    line = np.zeros((24, 24), dtype=bool)
    line[:, column] = True
    found = LocalMotion(Box(0, 0, 24, 24), (0.0, move)).mask(line, Box(0, 0, 24, 24))
    assert np.count_nonzero(found.any(axis=0)) == 3


def test_a_mask_goes_where_the_picture_goes() -> None:
    """What is in doubt at a corner of the window lies elsewhere than its middle says."""
    there = moved(0.06, 1.0)
    motion, _ = find_motion(texture(), ring(), BOX, there[None], field())
    corner = (BOX.top + 3, BOX.left + 3)
    row, column = (float(at) for at in motion.places(*(np.array(at) for at in corner)))
    doubted = np.zeros(SIZE, dtype=bool)
    doubted[round(row), round(column)] = True
    assert abs(row - corner[0] - MOVE[0]) > 1.0
    found = motion.mask(doubted, BOX)
    assert found[3, 3]
    assert np.count_nonzero(found) <= 16


def test_the_edge_of_the_picture_is_repeated() -> None:
    box = Box(0, 0, 24, 24)
    there = moved(0.05, 1.0)[None]
    motion, _ = find_motion(texture(), np.ones((24, 24), dtype=bool), box, there, field())
    assert np.isfinite(motion.picture(there, Box(-8, -8, 30, 30))).all()
