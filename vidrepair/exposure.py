"""How a frame is lit where a neighbour is lit otherwise: film flickers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidrepair.frames import FloatArray

FEWEST = 30
"""Samples that tell of a light, at least."""
EXPLAINED = 0.65
"""Share of the difference that may be left where a light is believed to be its cause."""
_BLACK, _WHITE = 16.0 / 255.0, 235.0 / 255.0
"""Luma that no light changes, and from which the film is blown. In film of full range both lie
farther out: what a gain about this black misses there is in `left`, and white is left as it is."""
_DARK = 0.08
"""Above black, of the peak: darker samples do not tell of a light."""
_GAINS = (0.5, 2.0)
"""Within which a light may change."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """A gain about black, as that of a lamp is, then what is left of each plane."""

    gain: float = 1.0
    left: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def between(cls, there: FloatArray, shown: FloatArray) -> Exposure:
        """By the samples (3, n) around a place, of the neighbour and of the frame: medians, which
        what moves does not move. No change, where that explains little of what they differ by.
        """
        grey = (there[0] < _WHITE) & (shown[0] < _WHITE)
        there, shown = there[:, grey], shown[:, grey]
        if there.shape[1] < FEWEST:
            return cls()
        light, ours = there[0] - _BLACK, shown[0] - _BLACK
        bright = light > _DARK
        gain = 1.0
        if np.count_nonzero(bright) >= FEWEST:
            gain = float(np.clip(np.median(ours[bright] / light[bright]), *_GAINS))
        off = shown - cls(gain).on(there)
        left = np.median(off, axis=1)
        # Written so that what is not finite explains nothing.
        if not np.abs(off[0] - left[0]).mean() <= EXPLAINED * np.abs(ours - light).mean():
            return cls()
        return cls(gain, (float(left[0]), float(left[1]), float(left[2])))

    def on(self, picture: FloatArray) -> FloatArray:
        """(3, ...) of the neighbour as the frame is lit."""
        if self == Exposure():
            return picture
        shape = (3,) + (1,) * (picture.ndim - 1)
        black = np.array([_BLACK, 0.0, 0.0], np.float32).reshape(shape)
        left = np.array(self.left, np.float32).reshape(shape)
        lit = black + left + np.float32(self.gain) * (picture - black)
        return np.where(picture[:1] < _WHITE, lit, picture).astype(np.float32)

    def away(self, luma: FloatArray) -> FloatArray:
        """Luma of the frame as the neighbour is lit."""
        return np.asarray(_BLACK + (luma - _BLACK - self.left[0]) / self.gain, np.float32)
