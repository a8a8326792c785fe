"""Lasting scratches as nouns: what may be one on a frame, on many, and what it is taken for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Halves = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of a scratch on one frame, in samples of its luma."""

    column: float
    """Of its middle at row 0, also where it lies on other rows alone."""
    slope: float
    """Columns for each row down."""
    width: float
    bright: bool
    strength: float
    """How far it stands out from its sides, 8-bit codes."""
    first: int
    """Rows [first, last)."""
    last: int
    confidence: float
    """0..1."""

    def columns(self) -> NDArray[np.float64]:
        """Its middle at each of its rows."""
        return np.asarray(self.column + self.slope * np.arange(self.first, self.last))


@dataclass(frozen=True, slots=True)
class Slip:
    """What a line did since the frame before against the picture on both of its sides."""

    went: float
    """Columns the line moved."""
    passed: float
    """Columns the picture beside it moved, median of what could be told."""
    matched: Halves
    """Columns by which the line moved further, in the upper and in the lower half; NaN: not known.
    The line was found as the picture was, by matching;"""
    fitted: Halves
    """or fitted in each frame."""
    moved: float
    """Share of the parts told that moved otherwise than the line."""
    told: float
    """Share of the parts, quarters of both sides, whose motion could be told."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What may be a line on one frame, in columns of the measured picture."""

    number: int
    """The frame's."""
    column: float
    """Of its middle, at half the height."""
    lean: float
    """Columns from the first row to the last."""
    halves: Halves
    """Its column in the upper and in the lower half alone, its lean taken out."""
    width: float
    bright: bool
    strength: float
    """8-bit codes."""
    share: float
    """Of the height that shows it."""
    shape: float
    """0..1: how much it looks like a scratch."""
    slip: Slip | None = None


Run = tuple[Sight, ...]
"""One line on the frames that show it, in order."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How the picture moved away from all lines since the frame before."""

    number: int
    """The frame's."""
    parts: tuple[float, ...]
    """Columns that each part of the picture moved; NaN: not known."""


@dataclass(frozen=True, slots=True)
class LineMeasurement:
    """All that may be lines in one span, before it is judged; some kilobytes."""

    runs: tuple[Run, ...]
    drifts: tuple[Drift, ...] = ()
    """In order, of the frames that show what may well be a line."""
    extent: tuple[int, int] = (0, 0)
    """Numbers of the first and of the last frame that was looked at."""


@dataclass(frozen=True, slots=True)
class LineEvidence:
    """The lines of one span, and the confidence in each."""

    runs: tuple[Run, ...]
    confidence: tuple[float, ...]
    extent: tuple[int, int] = (0, 0)
    """Numbers of the first and of the last frame that was measured."""
