"""Places in a film: its nominal frames, counted from its first, and the timecode of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from vidrepair.timecode import day, drops, frame_of, timecode_of


@dataclass(frozen=True, slots=True)
class FilmClock:
    """The clock of a film: at a steady rate, whatever the times of its frames are."""

    rate: Fraction
    """Frames a second."""
    zero: Fraction = Fraction(0)
    """Seconds of the file at which the first frame is shown: place 0."""
    timecode: str = ""
    """Of place 0; text that is none counts as 00:00:00:00."""

    @property
    def known(self) -> bool:
        """Whether the film has a timecode of its own."""
        return frame_of(self.timecode, self.rate) is not None

    @property
    def start(self) -> int:
        """Frames from midnight to place 0."""
        return frame_of(self.timecode, self.rate) or 0

    @property
    def dropping(self) -> bool:
        """Whether its timecode leaves out numbers."""
        return self.known and drops(self.timecode)

    def place(self, seconds: Fraction) -> int:
        """The place of a frame that is shown at a time of the file: the nearest, or of two the
        earlier.
        """
        return math.ceil((seconds - self.zero) * self.rate - Fraction(1, 2))

    def off(self, seconds: Fraction) -> Fraction:
        """By what share of a frame a time of the file lies beside its place."""
        return abs((seconds - self.zero) * self.rate - self.place(seconds))

    def show(self, place: int) -> str:
        """The timecode of a place, with ; where it drops numbers."""
        return timecode_of(self.start + place, self.rate, ";" if self.dropping else ":")

    def from_start(self, frame: int) -> int:
        """The place of a frame that is counted from midnight; the day may have changed since."""
        return (frame - self.start) % day(self.rate, dropping=self.dropping)
