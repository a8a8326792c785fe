"""Places of a film that a repair changed more than their surroundings, found from both films.

What denoising does has no mean over a few samples, and an even change of brightness is a line over
luma; what is left of a block's mean step beside these is a change of the place itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heappush, heappushpop

import numpy as np

from vidrepair.display import Shown, show_planes
from vidrepair.findings import DefectFacts, Edges
from vidrepair.frames import FloatArray, Frame, Plane
from vidrepair.regions import Box, Mask, connected_regions

LEAST, TIMES = 6.0, 7.0
"""A block stands out by so many code values of 8 bits, and so many deviations of all blocks of the
frame (by their median)."""
CROWDED = 0.01
"""Share of the blocks that may stand out at most: where there are more, the strongest."""
PER_FRAME = 16
"""Places of a frame that are looked at, the strongest."""
KEPT, KEPT_UNLISTED = 12, 36
"""Places that are shown of one kind, the strongest,"""
KEPT_UNSURE = 12
"""and of the rest those that are least sure."""
SOFT = 2
"""Samples that a repair reaches beyond the box of its finding: a soft edge."""
CERTAIN = 0.995
"""Confidence from which a place is not among them, whatever the others are: it is said to be 1."""
SMALLEST, LARGEST, MARGIN = 64, 160, 16
"""Samples across what is shown of a place, and around it."""
UNLISTED = "unlisted"
"""The kind of a change that no finding tells of."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A place that was changed, in one frame or in several in a row."""

    kind: str
    """As DefectFacts has it, rebuilt, or UNLISTED."""
    first: int
    last: int
    frame: int
    """The one in which it was changed most, which is shown."""
    seconds: float
    """Of that frame."""
    box: Box
    """In that frame."""
    strength: float
    """Root of the sum of the squared steps of its blocks, in code values of 8 bits."""
    confidence: float | None
    """Of the finding; None where there is none."""
    window: Box
    """What is shown."""
    before: Shown
    after: Shown
    listed: Edges | None = None
    """The box of the finding, as the sidecar has it; None where there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """A place in one frame."""

    kind: str
    box: Box
    strength: float
    confidence: float | None = None
    listed: Edges | None = None

    def joined(self, other: Spot) -> Spot:
        """Both as one."""
        strength = math.hypot(self.strength, other.strength)
        return replace(self, box=Box.around((self.box, other.box)), strength=strength)


def block_side(height: int, width: int) -> int:
    """Samples across a block: 4 up to 810 rows, more in larger pictures."""
    return 4 * max(1, round(min(height, width) / 540))


def local_change(luma: Plane, step: FloatArray, peak: int) -> FloatArray:
    """The mean step of each block, less what an even change of brightness explains; (h, w), on the
    8-bit scale. `luma` (H, W) is that of the first film, `step` the second film less the first.
    """
    side = block_side(*step.shape)
    steps = _block_means(step, side)
    levels = _block_means(luma, side) * (255.0 / peak)
    centred = levels - levels.mean()
    spread = float(np.square(centred).mean())
    # Below, a flat picture: there is no line to be told.
    slope = float((steps * centred).mean()) / spread if spread > 1.0 else 0.0
    return np.asarray(steps - steps.mean() - slope * centred, dtype=np.float32)


def standing_out(change: FloatArray) -> Mask:
    """(h, w) which blocks stand out of the change of a frame."""
    size = np.abs(change)
    limit = max(LEAST, TIMES * 1.4826 * float(np.median(size)))
    marked = size > limit
    if marked.mean() > CROWDED:
        marked = size > max(limit, float(np.quantile(size, 1.0 - CROWDED)))
    return np.asarray(marked)


def spots_of(
    change: FloatArray,
    marked: Mask,
    size: tuple[int, int],
    listed: Sequence[DefectFacts],
    *,
    rebuilt: bool,
) -> list[Spot]:
    """The places of one frame of (height, width), each with what was found there.

    What stands out within one finding is one place: a scratch is as long as it is.
    """
    side = block_side(*size)
    found: dict[object, Spot] = {}
    for region in connected_regions(marked):
        part = region.box
        box = Box(*(side * edge for edge in (part.top, part.left, part.bottom, part.right)))
        steps = change[region.rows, region.columns]
        strength = float(np.sqrt(np.square(steps, dtype=np.float64).sum()))
        of = _finding_at(box, listed)
        if of is not None:
            own = Spot(of.kind, box, strength, of.confidence, of.box)
            found[of] = own if of not in found else found[of].joined(own)
        else:
            found[box] = Spot("rebuilt" if rebuilt else UNLISTED, box, strength)
    return sorted(found.values(), key=lambda spot: -spot.strength)[:PER_FRAME]


def _finding_at(box: Box, listed: Sequence[DefectFacts]) -> DefectFacts | None:
    for one in listed:
        top, left, bottom, right = one.box
        across = left - SOFT < box.right and box.left < right + SOFT
        if across and top - SOFT < box.bottom and box.top < bottom + SOFT:
            return one
    return None


def _block_means(plane: Plane | FloatArray, side: int) -> FloatArray:
    """Means of whole blocks; a rest on the right and below is left out, all of a tiny picture is
    one block.
    """
    height, width = (max(size // side, 1) for size in plane.shape)
    cut = plane[: height * side, : width * side]
    tall, wide = cut.shape[0] // height, cut.shape[1] // width
    cells = cut[: height * tall, : width * wide].reshape(height, tall, width, wide)
    return np.asarray(cells.mean(axis=(1, 3), dtype=np.float32))


class _Top:
    """Keeps so many places, those of the greatest worth, and of equals the first."""

    def __init__(self, count: int) -> None:
        self._most, self._seen = count, 0
        self._heap: list[tuple[float, int, Place]] = []

    def add(self, worth: float, place: Place) -> Place | None:
        """Take a place in; the one that is left out for it."""
        self._seen += 1
        entry = (worth, -self._seen, place)
        if len(self._heap) < self._most:
            heappush(self._heap, entry)
            return None
        return heappushpop(self._heap, entry)[2]

    def places(self) -> list[Place]:
        """Those that are kept, in no order."""
        return [entry[2] for entry in self._heap]


class Places:
    """Joins the spots of a film to places; keeps of each kind the strongest, and the least sure."""

    def __init__(self, transfers: tuple[int, int]) -> None:
        """`transfers` are FFmpeg's numbers, of both films."""
        self._transfers = transfers
        self._open: list[Place] = []
        self._strongest: dict[str, _Top] = {}
        self._unsure: dict[str, _Top] = {}
        self.frames: dict[str, list[int]] = {}
        """The frames in which a kind was seen."""
        self.counts: Counter[str] = Counter()
        """How many places of a kind there were, whether they are kept or not."""

    def add(self, first: Frame, second: Frame, spots: Sequence[Spot], seconds: float) -> None:
        """Take in the next frame of both films, and its spots."""
        going_on: list[Place] = []
        for spot in spots:
            numbers = self.frames.setdefault(spot.kind, [])
            if not numbers or numbers[-1] != first.number:
                numbers.append(first.number)
            before = next((one for one in self._open if _is_same(one, spot)), None)
            if before is not None:
                self._open.remove(before)
            place = before
            if before is None or before.strength < spot.strength:
                place = self._shown(first, second, spot, seconds)
                if before is not None:
                    place = replace(place, first=before.first)
            assert place is not None
            going_on.append(replace(place, last=first.number))
        for ended in self._open:
            self._keep(ended)
        self._open = going_on

    def best(self) -> tuple[Place, ...]:
        """Those that are kept, in order of time."""
        for ended in self._open:
            self._keep(ended)
        self._open = []
        kept = (place for top in self._strongest.values() for place in top.places())
        unsure = (place for top in self._unsure.values() for place in top.places())
        return tuple(
            sorted((*kept, *unsure), key=lambda one: (one.frame, one.box.top, one.box.left))
        )

    def _keep(self, place: Place) -> None:
        self.counts[place.kind] += 1
        count = KEPT_UNLISTED if place.kind == UNLISTED else KEPT
        strongest = self._strongest.setdefault(place.kind, _Top(count))
        less = strongest.add(place.strength, place)
        if less is not None and less.confidence is not None and less.confidence < CERTAIN:
            unsure = self._unsure.setdefault(place.kind, _Top(KEPT_UNSURE))
            unsure.add(-less.confidence, less)

    def _shown(self, first: Frame, second: Frame, spot: Spot, seconds: float) -> Place:
        window = _window(spot.box, first.picture.height, first.picture.width)
        before, after = (
            show_part(frame, window, transfer)
            for frame, transfer in zip((first, second), self._transfers, strict=True)
        )
        number = first.number
        return Place(
            *(spot.kind, number, number, number, seconds, spot.box, spot.strength, spot.confidence),
            window=window,
            before=before,
            after=after,
            listed=spot.listed,
        )


def _is_same(place: Place, spot: Spot) -> bool:
    """Whether a spot lies where a place was in the frame before."""
    one, other = place.box, spot.box
    return (
        place.kind == spot.kind
        and one.top < other.bottom
        and other.top < one.bottom
        and one.left < other.right
        and other.left < one.right
    )


def _window(box: Box, height: int, width: int) -> Box:
    """What is shown of a place; on multiples of 4, which all chroma has."""
    spans = []
    for start, stop, size in ((box.top, box.bottom, height), (box.left, box.right, width)):
        span = min(max(stop - start + 2 * MARGIN, SMALLEST), LARGEST, size)
        low = min(max((start + stop - span) // 2, 0), size - span) // 4 * 4
        spans.append((low, low + span))
    (top, bottom), (left, right) = spans
    return Box(top, left, bottom, right)


def show_part(frame: Frame, box: Box, transfer: int) -> Shown:
    """(h, w, 3) of a part of a frame; its edges lie on whole samples of chroma."""
    picture = frame.picture
    across, down = picture.format.sampling
    planes = []
    for index, plane in enumerate(frame.planes):
        x, y = (across, down) if picture.format.family == "yuv" and index else (1, 1)
        planes.append(plane[box.top // y : -(-box.bottom // y), box.left // x : -(-box.right // x)])
    return show_planes(planes, replace(picture, width=box.width, height=box.height), transfer)
