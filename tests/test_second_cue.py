"""What is asked of a spot that the generator overlooked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vidrepair.evidence import Evidence
from vidrepair.exposure import Exposure
from vidrepair.regions import Box, Mask
from vidrepair.second_cue import (
    BOLD,
    COLOUR,
    MISFIT_BOLD,
    RING_SHARE_BOLD,
    UNREST,
    stands_out,
)

SIDE = 48
SPOT = (slice(19, 29), slice(19, 29))
CONTRAST = 0.4
LIT = Exposure()


def spot() -> Mask:
    found = np.zeros((SIDE, SIDE), dtype=bool)
    found[SPOT] = True
    return found


def gray(contrast: float = CONTRAST, misfit: float = 0.01) -> Evidence:
    """A gray square on an even ground that both neighbours show without it."""
    shown = np.zeros((3, SIDE, SIDE), dtype=np.float32)
    shown[0][SPOT] = contrast
    return Evidence(
        box=Box(0, 0, SIDE, SIDE),
        inside=spot(),
        doubted=spot(),
        shown=shown,
        expected=np.zeros_like(shown),
        known=np.ones((SIDE, SIDE), dtype=bool),
        contrast=shown[0],
        worst=shown[0],
        apart=np.zeros((SIDE, SIDE), dtype=np.float32),
        valid=np.ones((SIDE, SIDE), dtype=bool),
        misfit=misfit,
        displacements=((0.0, 0.0), (0.0, 0.0)),
        exposures=(LIT, LIT),
    )


def coloured(share: float) -> Evidence:
    evidence = gray()
    evidence.shown[1][SPOT] = share
    return evidence


def restless(share: float) -> Evidence:
    """So much of what lies farther around the square is off, too."""
    evidence = gray()
    worst = evidence.worst.copy()
    around = np.ones((SIDE, SIDE), dtype=bool)
    around[14:34, 14:34] = False
    rows, columns = np.nonzero(around)
    count = round(share * len(rows))
    worst[rows[:count], columns[:count]] = CONTRAST
    return replace(evidence, worst=worst)


@pytest.mark.parametrize(
    ("evidence", "agrees", "word", "bold"),
    [
        # How much of its ring agrees counts where the generator gives no word.
        (gray(), 1.0, True, True),
        (gray(), RING_SHARE_BOLD - 0.01, True, False),
        # Faint, and hardly more than the misfit of the motion.
        (gray(BOLD - 0.01), 1.0, True, False),
        (gray(BOLD + 0.01), 1.0, True, True),
        (gray(misfit=1.1 * CONTRAST / MISFIT_BOLD), 1.0, True, False),
        (gray(misfit=0.9 * CONTRAST / MISFIT_BOLD), 1.0, True, True),
        # As a tennis ball, and as a hand of an arm.
        (coloured(COLOUR + 0.01), 1.0, False, False),
        (coloured(-COLOUR - 0.01), 1.0, False, False),
        (coloured(COLOUR - 0.01), 1.0, True, True),
        (restless(1.2 * UNREST), 1.0, False, False),
        (restless(0.8 * UNREST), 1.0, True, True),
    ],
)
def test_what_stands_out(evidence: Evidence, agrees: float, word: bool, bold: bool) -> None:
    cells = [(evidence, spot())]
    assert stands_out(cells, agrees, bold=False) == word
    assert stands_out(cells, agrees, bold=True) == bold


def test_colour_that_is_covered_may_be_shown() -> None:
    evidence = coloured(COLOUR + 0.01)
    evidence.expected[1][SPOT] = -0.1
    assert stands_out([(evidence, spot())], 1.0, bold=True)


def test_what_is_not_off_does_not_stand_out() -> None:
    assert not stands_out([(gray(), np.zeros_like(spot()))], 1.0, bold=False)
