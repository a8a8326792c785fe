"""The frames that a lane sees, in the generator's unit, in memory of the host."""

from __future__ import annotations

import numpy as np

from vidrepair.frames import FloatArray, Frame, LaneStep
from vidrepair.planes import to_generator

# Frames converted into one stretch of memory, so that three neighbours are one array; when
# the end is reached the last two move to the front.
_LENGTH = 6


class FrameRing:
    """Converts each frame of a lane once."""

    def __init__(self, height: int, width: int) -> None:
        self._frames: FloatArray = np.empty((_LENGTH, 3, height, width), dtype=np.float32)
        self._at = 0

    def take(self, step: LaneStep) -> FloatArray:
        """(3, 3, H, W): t-1, t, t+1, padded; valid until the next call."""
        if step.fresh:
            self._at = 0
            for at, frame in enumerate(step.frames[:2]):
                self._convert(frame, at)
        elif self._at + 3 > _LENGTH:
            self._frames[:2] = self._frames[self._at : self._at + 2]
            self._at = 0
        self._convert(step.frames[2], self._at + 2)
        self._at += 1
        return self._frames[self._at - 1 : self._at + 2]

    def _convert(self, frame: Frame, at: int) -> None:
        to_generator(frame.planes, frame.picture, self._frames[at])
