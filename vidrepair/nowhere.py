"""The target of a run that writes no film: what is wanted is beside it."""

from __future__ import annotations

from vidrepair.files import Closing
from vidrepair.frames import Frame
from vidrepair.tags import Copied


class Nowhere(Closing):
    """Takes what a target takes, and keeps nothing."""

    def write(self, frame: Frame) -> None:
        """Forget a frame."""

    def copy(self, item: Copied) -> None:
        """Forget a packet."""

    def cancel(self) -> None:
        """Nothing is under way."""

    def end(self) -> None:
        """Nothing is left to be written."""

    def losses(self) -> list[str]:
        """None."""
        return []

    def close(self) -> None:
        """Nothing is held."""
