"""The cuts that a list says, before they are fitted to a film."""

from __future__ import annotations

from dataclasses import dataclass


class NoList(ValueError):
    """A file is no list of cuts, or none of such a film; the message says why, but for its name."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Where shots start, in frames of the list's rate."""

    starts: tuple[int, ...]
    """Counted from the start of the list."""
    length: int
    """Of the list."""
    clock: int | None
    """Frames since midnight that the list's timecode shows at its start; None where it has none."""
    source: tuple[int, ...] | None = None
    """The same as `starts` by the timecode of what was cut, since midnight; None where that is not
    known of each.
    """
    whole: bool = True
    """Whether it starts where the film does: a list of edits does, one of markers need not."""
