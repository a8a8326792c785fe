"""Whether FFmpeg's index is that of the samples that an edit list shows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vidrepair.edits import Sample
from vidrepair.text_times import _paired

SAMPLES = [Sample(6, 0, 50), Sample(2, 50, 70), Sample(7, 120, 30), Sample(2, 150, 0)]


def entries(*pairs: tuple[int, int]) -> list[Any]:
    """Of times and sizes."""
    return [SimpleNamespace(timestamp=time, size=size) for time, size in pairs]


@pytest.mark.parametrize(
    ("index", "fits"),
    [
        # All moved alike but for the first; what lies behind the end is left out.
        (entries((-90, 6), (10, 2), (80, 7), (110, 2)), True),
        (entries((-90, 6), (10, 2), (80, 7)), True),
        (entries((-90, 6)), True),
        # Another size, another step, one more.
        (entries((-90, 6), (10, 2), (80, 8)), False),
        (entries((-90, 6), (10, 2), (90, 7)), False),
        (entries((-90, 6), (10, 2), (80, 7), (110, 2), (120, 2)), False),
    ],
)
def test_the_same_samples(index: list[Any], fits: bool) -> None:
    pairs = _paired(index, SAMPLES)
    assert pairs == (list(zip(index, SAMPLES, strict=False)) if fits else [])
