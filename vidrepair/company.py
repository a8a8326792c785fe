"""Company: whether what is taken for dust has its like near it in a neighbour, and what that tells.

A bird, a ball or a spark is somewhere near in the frame before or after, whatever its shape is by
then and however fast it flies. On a dirty film another speck is there by chance. So the same is
looked for a little farther away, too, where only chance can put it: the difference, over the spots
of a span so far, says how many of those in company are things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidrepair.evidence import Evidence, Neighbour
from vidrepair.exposure import Exposure
from vidrepair.frames import FloatArray
from vidrepair.local_motion import Displacement
from vidrepair.regions import Box, Mask, Points, connected_regions

NEAR = 44
"""Samples from a spot's place within which a thing that moves is in the next frame."""
BEYOND = 62
"""Samples within which, and beyond NEAR, as large an area is that tells of chance."""
ALIKE = 0.5
"""Ratio of their sizes down to which two spots are alike."""
TONE = 0.5
"""Share of a spot's contrast that another may be off its tone."""
STANDS_OUT = 0.5
"""Share of a spot's contrast by which a neighbour's differs from this frame."""
PRIOR = (4.0, 4.0, 0.8)
"""Spots, of them in company, and of them in company by chance, that a span begins with."""
THINGS = 0.7
"""Share of the spots in company from which on they are taken for things."""
ALL = 0.7
"""Share of things among all spots from which on those alone are things, too: of four at least."""
FEWEST = 4
"""Spots that tell of all others, at least."""
AT_FIRST = 3
"""A span is dirty that has more spots taken for dust than frames, by so many."""
LONG = 1.8
"""Ratio of the axes of a spot from which on it points somewhere."""
RAIN = 0.6
"""Length of the mean of the doubled directions from which on a span's spots fall as one."""


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """What is off in one frame, to be compared."""

    rows: Points
    columns: Points
    tone: FloatArray
    """(3,) its mean."""
    plane: int
    """The one in which it is off most."""
    contrast: float
    """How far, with its sign."""
    moves: tuple[Displacement, Displacement]
    exposures: tuple[Exposure, Exposure]

    @property
    def direction(self) -> complex:
        """Of its longer axis, the angle doubled, so that up and down are one; 0 of a round one."""
        places = np.stack([self.columns, self.rows]).astype(np.float64)
        # A sample is as wide as it is, and a line of them no thinner.
        spread = np.cov(places) + np.eye(2) / 12.0 if len(self.rows) > 1 else np.eye(2)
        powers, axes = np.linalg.eigh(spread)
        if powers[1] < LONG**2 * powers[0]:
            return 0j
        return complex(axes[0, 1], axes[1, 1]) ** 2


@dataclass(slots=True)
class Odds:
    """The spots of a span so far."""

    spots: float = PRIOR[0]
    near: float = PRIOR[1]
    beyond: float = PRIOR[2]
    small: int = 0
    """Of the spots, those that are no lines."""
    directions: complex = 0j
    """The sum of theirs."""
    frames: int = 0
    """Judged so far."""
    dirt: int = 0
    """Spots in them that were taken for dust, and no things."""

    def count(self, found: Sequence[tuple[bool, bool]], small: Sequence[Spot]) -> None:
        """Take in the spots of a frame: company near, and beyond; and those that are no lines."""
        self.spots += len(found)
        self.near += sum(near for near, _ in found)
        self.beyond += sum(beyond for _, beyond in found)
        self.small += len(small)
        self.directions += sum(spot.direction for spot in small)

    @property
    def is_dirty(self) -> bool:
        """Whether dust is so usual that what looks like it is some."""
        return self.dirt >= self.frames + AT_FIRST

    @property
    def is_rain(self) -> bool:
        """Whether the small spots fall in one direction."""
        return self.small >= FEWEST and abs(self.directions) > RAIN * self.small

    def is_thing(self, *, near: bool) -> bool:
        """Whether a spot, in company or not, is a thing rather than dirt."""
        share, chance = self.near / self.spots, self.beyond / self.spots
        if chance >= 1.0:
            return False
        things = (share - chance) / (1.0 - chance)
        if things < THINGS * share:
            return False
        return near or (things > ALL and self.spots >= FEWEST + PRIOR[0])


def spot_of(cells: list[tuple[Evidence, Mask]]) -> Spot:
    """A region from its cells: what of each is off."""
    seen = [(one, hit) for one, hit in cells if hit.any()]
    places = [np.nonzero(hit) for _, hit in seen]
    rows = [at[0] + one.box.top for (one, _), at in zip(seen, places, strict=True)]
    columns = [at[1] + one.box.left for (one, _), at in zip(seen, places, strict=True)]
    tone = np.concatenate([one.shown[:, hit] for one, hit in seen], axis=1).mean(axis=1)
    off = tone - np.concatenate([one.expected[:, hit] for one, hit in seen], axis=1).mean(axis=1)
    plane = int(np.abs(off).argmax())
    largest = max(seen, key=lambda part: int(part[1].sum()))[0]
    contrast = np.concatenate([one.contrast[hit] for one, hit in seen]).mean()
    return Spot(
        rows=np.concatenate(rows),
        columns=np.concatenate(columns),
        tone=tone,
        plane=plane,
        contrast=float(np.copysign(contrast, off[plane])),
        moves=largest.displacements,
        exposures=largest.exposures,
    )


def company(
    spot: Spot, picture: FloatArray, sides: tuple[Neighbour, Neighbour]
) -> tuple[bool, bool]:
    """Whether a neighbour has its like near its place, and whether beyond.

    `picture` (3, H, W) is the frame's own. The like is of its size and tone, and is what the
    generator marks or what differs from the frame as the spot differs from its neighbours.
    """
    height, width = picture.shape[1:]
    box = Box(
        int(spot.rows.min()),
        int(spot.columns.min()),
        int(spot.rows.max()) + 1,
        int(spot.columns.max()) + 1,
    ).grown(BEYOND, height, width)
    shown = picture[:, *box.window()]
    near = beyond = False
    for side, move, lit in zip(sides, spot.moves, spot.exposures, strict=True):
        rows = np.clip(np.arange(box.top, box.bottom) + round(move[0]), 0, height - 1)
        columns = np.clip(np.arange(box.left, box.right) + round(move[1]), 0, width - 1)
        there = lit.on(side.picture[:, rows[:, None], columns])
        off = (there[spot.plane] - shown[spot.plane]) * np.sign(spot.contrast)
        marked = side.suspected[rows[:, None], columns]
        for mask in (off > STANDS_OUT * abs(spot.contrast), marked):
            for away in _likes(spot, mask, there, box):
                near |= away <= NEAR
                beyond |= NEAR < away <= BEYOND
    return near, beyond


def _likes(spot: Spot, mask: Mask, there: FloatArray, box: Box) -> list[float]:
    """How far from its place the regions of a window are that are like it, in samples."""
    count = len(spot.rows)
    centre = (spot.rows.mean() - box.top, spot.columns.mean() - box.left)
    found = []
    for region in connected_regions(mask):
        if not ALIKE * count <= len(region.rows) <= count / ALIKE:
            continue
        tone = there[:, region.rows, region.columns].mean(axis=1)
        if np.abs(tone - spot.tone).max() > TONE * abs(spot.contrast):
            continue
        place = (region.rows.mean() - centre[0], region.columns.mean() - centre[1])
        found.append(float(np.abs(place).max()))
    return found
