"""Broken frames, found: flagged by the decoder and by a second cue, or named.

What a decoder flags may look perfect, and what it damages lasts in frames that it does not flag:
those that were predicted from it, before and after. So each flagged frame is compared block by
block with what its sound neighbours let expect, brought together by the motion between them; how
far off the expectation is wrong by nature is seen at a sound frame nearby. Several pairs of
neighbours are tried, since the nearest may share the damage.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vidrepair.frames import FloatArray, Frame
from vidrepair.motion_between import halved, meet
from vidrepair.regions import Mask, connected_regions, dilate

BLOCK = 16
"""Samples of luma along the side of a block: a macroblock of most codecs."""
BEHIND, AHEAD = 4, 8
"""Frames before and after a flagged one that are looked at."""
LOST = 1 / 3
"""Share of broken blocks from which on a frame is of no use."""
GROWN = 4
"""Samples by which holes reach over broken blocks: deblocking filters smear that far."""
_PAIRS = ((0, 0), (0, 1), (2, 0), (3, 2), (0, 5), (0, -1), (3, -1))
"""The neighbours tried: how many sound frames lie between, before and after; -1 is the farthest.
Measured on damaged H.264, MPEG-2 and MPEG-4: the nearest pair alone finds half as much."""
_LOOK = 1 << 18
"""Samples of the picture that is looked at, at most; larger ones are halved."""
_OFF = 3.0 / 255.0
"""Mean difference from the expectation, below which a block is sound."""
_BEYOND = 5.0 / 255.0
"""The same of what lies beyond both neighbours, wherever between them."""
_UNLIKE, _UNLIKE_BEYOND = 1.5, 2.5
"""Times the natural difference."""
_DOUBT = 1.5
"""By which these are multiplied for frames that are not flagged themselves."""
_APART = 0.7
"""Times the difference of the neighbours from each other."""
_ENOUGH = 0.8
"""Of the evidence that the best pair gives, from which on a nearer one is taken."""
_AGREED = 0.8
"""Of evidence and of broken blocks that two pairs share, from which on no others are tried."""
_REGION = 9
"""Blocks that touch one another below which they are not believed, or a fiftieth of all."""
_TOGETHER, _ENCLOSED = 2, 5
"""Broken blocks of the eight around one that is believed, and around one that is taken along."""
_UNRELATED = 0.4
"""Natural difference, in the median, over the deviation of the whole picture, above which two
frames are not of one shot."""
_STRICT_OFF, _STRICT = 10.0 / 255.0, 3.0
"""Mean difference, and times the natural one, where one neighbour is all there is."""
_FLAT, _DETAIL = 1.0 / 255.0, 4.0 / 255.0
"""Deviations of a block below which it shows nothing, and above which it shows something."""
_SPREAD = 3
"""Blocks that damage goes on by from a frame to the next one."""
_LASTS = 0.25
"""Share of it that lasts: where it falls further a key frame has ended it."""


@dataclass(slots=True, eq=False)
class _Held:
    """A frame on its way through, and what is known of it."""

    frame: Frame
    named: bool
    broken: Mask | None = None
    """(rows, columns) of blocks."""

    @property
    def suspect(self) -> bool:
        """Flagged, and not lost anyway."""
        return self.frame.corrupt and not self.named

    @property
    def sound(self) -> bool:
        """Others may be judged by it."""
        return not (self.frame.corrupt or self.named)

    def marked(self) -> Frame:
        """The frame with what was found."""
        if self.named:
            return replace(self.frame, lost=True)
        if self.broken is None:
            return self.frame
        if self.broken.mean() >= LOST:
            return replace(self.frame, lost=True)
        size = self.frame.picture
        holes = self.broken.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)
        return replace(self.frame, holes=dilate(holes, GROWN)[: size.height, : size.width])


def mark_broken(frames: Iterable[Frame], named: Sequence[range] = ()) -> Iterator[Frame]:
    """Yield every frame once, in order, with `lost` or `holes` set where it is broken.

    Frames that are named are lost, whatever they show. Of a frame that the decoder flags those
    blocks are broken that differ from what its neighbours let expect; so are such blocks, around
    the same places, of the frames between those neighbours. A third of all blocks makes a frame
    lost, fewer are holes. The answer depends on 15 frames before and 11 after. Holds 3 frames
    back, 11 where one is flagged, and 8 of the past.
    """
    held: deque[_Held] = deque()
    judged = out = 0  # places in `held` of the next to be judged, and to be yielded
    source = iter(frames)
    more = True
    while more or out < len(held):
        arrived = next(source, None) if more else None
        more = arrived is not None
        if arrived is not None:
            held.append(_Held(arrived, any(arrived.number in part for part in named)))
        while judged < len(held):
            if held[judged].suspect:
                if more and len(held) <= judged + AHEAD:
                    break
                _judge(held, judged)
            judged += 1
        while out < len(held) and (out + BEHIND <= judged or not more):
            yield held[out].marked()
            out += 1
        while out and judged > 2 * BEHIND:
            held.popleft()
            judged, out = judged - 1, out - 1


def _judge(held: Sequence[_Held], index: int) -> None:
    """Mark the broken blocks of a flagged frame, and of those between its sound neighbours."""
    looks = _Looks(held)
    before = [n for n in range(index - 1, index - 2 * BEHIND - 1, -1) if n >= 0 and held[n].sound]
    last = min(index + AHEAD, len(held) - 1)
    after = [n for n in range(index + 1, last + 1) if held[n].sound]
    found = _findings(looks, index, before, after)
    if not found:
        _mark(held[index], _broken_by_one_side(looks, index, before, after))
        return
    most = max(one.evidence for one in found)
    best = next(one for one in found if one.evidence >= _ENOUGH * most)
    _mark(held[index], best.broken)
    sides = best.sides
    for way in (range(index - 1, sides.before, -1), range(index + 1, sides.after)):
        lasting = best.broken
        for other in way:
            seen = _compare(looks, sides, other)
            # The farther from both sides, the less is known by nature.
            off = min(other - sides.before, sides.after - other) / (index - sides.before)
            beside = _broken(seen, best.natural, _DOUBT * max(off, 1.0))
            beside &= dilate(lasting, _SPREAD)
            if np.count_nonzero(beside) < _LASTS * np.count_nonzero(lasting):
                break
            _mark(held[other], beside)
            lasting = beside


def _findings(
    looks: _Looks, index: int, before: Sequence[int], after: Sequence[int]
) -> list[_Finding]:
    """What the pairs of sound frames around a flagged one say of it, the nearest pair first.

    Once a pair with another frame after says the same as one before it, the others are spared.
    """
    found: list[_Finding] = []
    for nearer, farther in _PAIRS:
        if nearer >= len(before) or farther >= len(after) or not after:
            continue
        sides = _Sides(before[nearer], after[farther])
        # As far from the one before as the frame in question is, or the task would be easier.
        usual = [n for n in before if n <= 2 * sides.before - index]
        if not usual or sides.before < index - BEHIND:
            continue
        natural = _compare(looks, _Sides(usual[0], sides.after), sides.before)
        if float(np.median(natural.off)) > _UNRELATED * float(looks.of(sides.before).std()):
            continue
        seen = _compare(looks, sides, index)
        broken = _broken(seen, natural)
        # Sides that disagree are no evidence: one of them may share the damage.
        evidence = float((seen.off - 0.5 * seen.apart)[broken].clip(0.0).sum())
        new = _Finding(sides, natural, broken, evidence)
        agreed = any(new.agrees(other) for other in found)
        found.append(new)
        if agreed:
            break
    return found


def _mark(held: _Held, broken: Mask) -> None:
    """Add what was found to what is known of a frame."""
    if broken.any():
        held.broken = broken if held.broken is None else held.broken | broken


class _Looks:
    """The lumas of held frames, small enough, made when they are asked for."""

    def __init__(self, held: Sequence[_Held]) -> None:
        self._held = held
        self._made: dict[int, FloatArray] = {}
        self._halvings = 0
        samples = held[0].frame.luma.size
        while samples >> 2 * self._halvings > _LOOK and BLOCK >> self._halvings > 2:
            self._halvings += 1

    def of(self, index: int) -> FloatArray:
        """(h, w), 0..1."""
        if index not in self._made:
            frame = self._held[index].frame
            luma = frame.luma.astype(np.float32) * np.float32(1.0 / frame.picture.format.peak)
            for _ in range(self._halvings):
                luma = halved(luma)
            self._made[index] = luma
        return self._made[index]

    def time(self, index: int) -> int:
        """The frame's pts."""
        return self._held[index].frame.pts

    def detail(self, index: int) -> FloatArray:
        """The deviations within a frame's blocks."""
        picture = self.of(index)
        power = self.blocks(np.square(picture)) - np.square(self.blocks(picture))
        return np.asarray(np.sqrt(power.clip(0.0)))

    def blocks(self, picture: FloatArray) -> FloatArray:
        """The means of a picture's blocks, of those at an odd edge with the edge repeated."""
        side = BLOCK >> self._halvings
        wide = np.pad(picture, [(0, -size % side) for size in picture.shape], mode="edge")
        rows, columns = (size // side for size in wide.shape)
        return np.asarray(wide.reshape(rows, side, columns, side).mean(axis=(1, 3)), np.float32)


@dataclass(frozen=True, slots=True)
class _Sides:
    """Places of two sound frames."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
    """Of a frame with those on its sides, by blocks (rows, columns), shares of the peak."""

    off: FloatArray
    """Mean difference from the middle of both sides."""
    beyond: FloatArray
    """How far it lies beyond both, at the best of the displacements within a sample of the one
    that suits the whole frame: sides that disagree, or a camera that shakes, do not count."""
    apart: FloatArray
    """Mean difference of the sides."""


@dataclass(frozen=True, slots=True, eq=False)
class _Finding:
    """What one pair of sides says of a frame."""

    sides: _Sides
    natural: _Comparison
    """Of the sound frame before with those on its own sides."""
    broken: Mask
    evidence: float
    """The difference that is no doubt the frame's, summed over its broken blocks."""

    def agrees(self, other: _Finding) -> bool:
        """Whether there is damage, and a pair with another frame after finds much the same."""
        least, most = sorted((self.evidence, other.evidence))
        if self.sides.after == other.sides.after or least <= 0.0 or least < _AGREED * most:
            return False
        both, either = self.broken & other.broken, self.broken | other.broken
        return bool(np.count_nonzero(both) >= _AGREED * np.count_nonzero(either))


def _compare(looks: _Looks, sides: _Sides, index: int) -> _Comparison:
    """What a frame shows beside what is to be expected between two others."""
    first, here, last = (looks.time(n) for n in (sides.before, index, sides.after))
    share = (here - first) / (last - first)
    near, far = meet(looks.of(sides.before), looks.of(sides.after), share)
    # A place that one side does not show is no evidence: as if they were black and white.
    near, far = np.nan_to_num(near, nan=0.0), np.nan_to_num(far, nan=1.0)
    middle, half = (near + far) * np.float32(0.5), np.abs(far - near) * np.float32(0.5)
    shown = looks.of(index)
    height, width = shown.shape
    wide = np.pad(shown, 2, mode="edge")
    beyond = {}
    for down, across in product(range(5), range(5)):
        moved = wide[down : down + height, across : across + width]
        beyond[down, across] = looks.blocks(np.maximum(np.abs(moved - middle) - half, 0.0))
    best = min(beyond, key=lambda at: (float(np.median(beyond[at])), at != (2, 2)))
    close = [
        left for at, left in beyond.items() if max(abs(at[0] - best[0]), abs(at[1] - best[1])) <= 1
    ]
    return _Comparison(
        looks.blocks(np.abs(shown - middle)), np.min(close, axis=0), looks.blocks(2.0 * half)
    )


def _broken(seen: _Comparison, natural: _Comparison, doubt: float = 1.0) -> Mask:
    """Blocks that differ from the expectation by more than sound ones around them do by nature.

    `doubt` multiplies what counts as natural.
    """
    off = seen.off > np.maximum(_OFF, doubt * _UNLIKE * _largest_around(natural.off))
    off &= seen.off > _APART * seen.apart
    # What is broken lies in rows of blocks, as they are coded.
    beyond, usual = _along(seen.beyond), _along(_largest_around(natural.beyond))
    found = off | (
        (beyond > np.maximum(_BEYOND, doubt * _UNLIKE_BEYOND * usual))
        & (seen.beyond > 0.5 * _BEYOND)
    )
    return _together(found)


def _broken_by_one_side(
    looks: _Looks, index: int, before: Sequence[int], after: Sequence[int]
) -> Mask:
    """The same where sound frames are on one side only, or on the other side of a cut.

    Stricter, and a frame that is broken all over is of another shot, but for blocks of flat gray.
    """
    detail = looks.detail(index)
    local, flat = [], []
    for side in (before, after):
        if len(side) < 2:
            continue
        near, farther = side[:2]
        natural = _largest_around(_unexplained(looks, farther, near))
        broken = _unexplained(looks, near, index) > np.maximum(_STRICT_OFF, _STRICT * natural)
        if broken.mean() < LOST:
            local.append(_together(broken))
        else:
            gray = (detail < _FLAT) & (looks.detail(near) > _DETAIL)
            flat.append(_together(broken & gray))
    return min(local or flat or [np.zeros(detail.shape, dtype=bool)], key=np.count_nonzero)


def _unexplained(looks: _Looks, near: int, index: int) -> FloatArray:
    """Mean difference, by blocks, of a frame from another one that is moved to it."""
    shown = looks.of(index)
    off = np.abs(meet(looks.of(near), shown, 1.0)[0] - shown)
    return looks.blocks(np.nan_to_num(off, nan=0.0))


def _largest_around(blocks: FloatArray) -> FloatArray:
    """The largest of 3 x 3 blocks."""
    wide = np.pad(blocks, 1, mode="edge")
    return np.asarray(sliding_window_view(wide, (3, 3)).max(axis=(2, 3)))


def _along(blocks: FloatArray) -> FloatArray:
    """Means of five blocks of a row."""
    wide = np.pad(blocks, ((0, 0), (2, 2)), mode="edge")
    return np.asarray(sliding_window_view(wide, 5, axis=1).mean(axis=2))


def _together(broken: Mask) -> Mask:
    """With what is all but enclosed, without blocks that are all but alone and small regions."""
    for least, kept in ((_TOGETHER, False), (_ENCLOSED, True)):
        wide = np.pad(broken, 1)
        around = sliding_window_view(wide, (3, 3)).sum(axis=(2, 3)) - broken
        broken = broken | (around >= least) if kept else broken & (around >= least)
    large = np.zeros_like(broken)
    for region in connected_regions(broken):
        if len(region.rows) >= min(_REGION, max(broken.size // 50, 1)):
            large[region.rows, region.columns] = True
    return large
