"""Tiles: how a picture too large for the memory is restored piece by piece."""

from __future__ import annotations

from dataclasses import dataclass

STRIDE = 16


@dataclass(frozen=True, slots=True)
class Tile:
    """One window of a picture, and the part of it that is kept; all in full-size pixels."""

    top: int
    left: int
    height: int
    width: int
    keep_top: int
    """First row kept, counted in the picture."""
    keep_left: int
    keep_bottom: int
    keep_right: int

    def window(self, scale: int = 1) -> tuple[slice, slice]:
        """Rows and columns of the window in a picture reduced by `scale`."""
        return (
            slice(self.top // scale, (self.top + self.height) // scale),
            slice(self.left // scale, (self.left + self.width) // scale),
        )

    def kept(self, scale: int = 1) -> tuple[slice, slice]:
        """Rows and columns of the picture that this tile is responsible for."""
        return (
            slice(self.keep_top // scale, self.keep_bottom // scale),
            slice(self.keep_left // scale, self.keep_right // scale),
        )

    def inside(self, scale: int = 1) -> tuple[slice, slice]:
        """The kept part, counted in the window."""
        return (
            slice((self.keep_top - self.top) // scale, (self.keep_bottom - self.top) // scale),
            slice((self.keep_left - self.left) // scale, (self.keep_right - self.left) // scale),
        )


def window_size(height: int, width: int, side: int, halo: int) -> tuple[int, int]:
    """Height and width of every tile's window: the tile with its halo, within the picture."""
    if side == 0:
        return height, width
    return min(height, side + 2 * halo), min(width, side + 2 * halo)


def cut_tiles(height: int, width: int, side: int, halo: int) -> list[Tile]:
    """Tile a picture of (height, width), multiples of 16, into windows of one size.

    Each window reaches `halo` (a multiple of 16) beyond what is kept of it, or ends with the
    picture, so that the picture's own border is seen by the network as it is.
    """
    rows, columns = window_size(height, width, side, halo)
    return [
        Tile(top, left, rows, columns, keep_top, keep_left, keep_bottom, keep_right)
        for top, keep_top, keep_bottom in _cuts(height, rows, halo)
        for left, keep_left, keep_right in _cuts(width, columns, halo)
    ]


def _cuts(size: int, window: int, halo: int) -> list[tuple[int, int, int]]:
    """(window start, kept start, kept end) along one side."""
    cuts = []
    kept = 0
    while kept < size:
        start = max(0, min(kept - halo, size - window))
        end = size if start + window == size else start + window - halo
        cuts.append((start, kept, end))
        kept = end
    return cuts
