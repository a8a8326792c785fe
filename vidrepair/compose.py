"""Repaired -> Frame: one formula, the fade at span borders, and the order of the film.

    out = round((1 - w) (in + d) + w (fill + grain))

`in` are the decoded samples, cleared of lasting scratches, `d` strength x residual, `w` the matte.
Where nothing was cleared and w and d are 0 the decoded sample comes out as it went in.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from vidrepair.frames import (
    HOST,
    Answer,
    Array,
    Fetch,
    FloatArray,
    Frame,
    GrainProfile,
    Picture,
    Plane,
    Repaired,
    Span,
)
from vidrepair.grain import make_grain, removed_shares
from vidrepair.planes import add_residual, matte_planes, padded_size, residual_planes, to_generator
from vidrepair.settings import Pair, RepairSettings

BETWEEN = 1.5
"""Variance of the grain, in that of what neighbours independently have, that makes the mean of two
of them vary about them as a frame of its own does: (a + b) / 2 + g about a and b has g - 1/2."""
KEPT_ALIKE = 3.0
"""Power of the share that is not removed. Where little is kept, the generator keeps it for many
frames, and a fill has all of it; measured on films with made grain."""


@dataclass(frozen=True, slots=True)
class Strengths:
    """How much of what can be done is done."""

    denoise: tuple[float, float] = (1.0, 1.0)
    """Share of the residual added, 0..1, of luma and of chroma; for R'G'B' both act on the Y'CbCr
    of the generator."""
    grain: float = 0.0
    """Share of the measured grain that is added, 0..1."""
    most: float | None = None
    """Share of the peak that no sample is changed by more than."""

    @classmethod
    def asked(cls, repair: RepairSettings, denoise: Pair | None = None) -> Strengths:
        """Those of the settings, which count in percent and codes of 8 bits; `denoise` instead of
        their own.
        """
        luma, chroma = (share / 100.0 for share in denoise or repair.denoise)
        most = None if repair.max_change is None else repair.max_change / 255.0
        return cls((luma, chroma), repair.grain / 100.0, most)

    def over_fill(self, removed: tuple[float, float]) -> tuple[float, float]:
        """Share of the grain that a fill gets, of luma and of chroma: as much as there is around.

        `removed` is the share of the measured deviation that the generator takes away. Of that
        1 - denoise is left around. What it cannot take is left at any strength; the fill, a mean of
        both neighbours, has half of its variance, and so lies between them.
        """
        shares = []
        for denoise, part in zip(self.denoise, removed, strict=True):
            # What is left of the old grain and the new have nothing to do with each other.
            shown = (1.0 - denoise) ** 2 + self.grain**2
            kept = (1.0 - part**2) ** KEPT_ALIKE
            # Where no grain is wanted none is made, whoever has measured it.
            made = shown + max(BETWEEN - shown, 0.0) * kept if shown > 0.0 else 0.0
            shares.append(math.sqrt(made))
        return shares[0], shares[1]

    def bounded(self, change: Array, picture: Picture) -> Array:
        """A change in code values, of numpy or torch, that goes no further than it may."""
        if self.most is None:
            return change
        codes = math.floor(self.most * picture.format.peak)
        return change.clip(-codes, codes)


def compose(answers: Iterable[Answer], strengths: Strengths, *, ahead: int = 0) -> Iterator[Frame]:
    """Yield every frame of the film, repeats too, in order, with its new planes.

    Holds finished frames until their turn, and the residuals of the frames that fade between two
    spans. So many finished frames as `ahead` may be on their way home before the first of them is
    waited for.
    """
    coming: deque[_Coming] = deque()
    for one in _in_order(answers, strengths):
        coming.append(one)
        if len(coming) > ahead:
            yield coming.popleft().wait()
    while coming:
        yield coming.popleft().wait()


@dataclass(slots=True)
class _Coming:
    """A frame whose planes may still be on their way home; its repeats share them."""

    frame: Frame
    fetch: Fetch | None
    """None: the frame stays as it is."""

    def wait(self) -> Frame:
        return self.frame if self.fetch is None else replace(self.frame, planes=self.fetch())


def _in_order(answers: Iterable[Answer], strengths: Strengths) -> Iterator[_Coming]:
    """Every frame, begun to be brought home."""
    fading: dict[int, _Half] = {}
    finished: dict[int, _Coming] = {}
    following: int | None = None
    for answer in answers:
        if following is None:
            following = answer.span.opens
        with answer.repaired.place.working():
            whole = _settle(answer, fading)
        if whole is None:
            continue
        for coming in _with_followers(whole, strengths):
            finished[coming.frame.number] = coming
        while following in finished:
            yield finished.pop(following)
            following += 1


def _with_followers(whole: _Half, strengths: Strengths) -> Iterator[_Coming]:
    """A frame and what was passed over for it: repeats are the same, copies change as it does,
    lost ones stay as they are for now.
    """
    fetch = _finish(whole, strengths)
    yield _Coming(whole.frame, fetch)
    for other in whole.followers:
        if other.copy and fetch is not None:
            fetch = _finish_at_home(other, whole, strengths)
        yield _Coming(other, None if other.lost else fetch)


@dataclass(frozen=True, slots=True, eq=False)
class _Half:
    """An answer, its residual weighted, and what follows its frame where the span owns it."""

    frame: Frame
    """As the span has it."""
    repaired: Repaired
    followers: tuple[Frame, ...] = ()
    grain: GrainProfile | None = None
    """Of the span that owns the frame, where it is known."""
    owned: bool = False
    """By the span that answered: the frame is of its core."""
    share: float = 1.0
    """The weight of the residual."""


def _settle(answer: Answer, fading: dict[int, _Half]) -> _Half | None:
    """The final residual of the answered frame, or None while its other half is awaited.

    Over the last core frames of a span the residual goes linearly over to that of the next
    span's warm-up, so that nothing pulses at the border. Either half may come first.
    """
    span, repaired = answer.span, answer.repaired
    core = answer.step - span.warm
    followers = span.followers[core] if core >= 0 else ()
    grain = span.grain if core >= 0 else None
    share = _share(span, answer.step)
    if share == 0.0:
        return None
    if share == 1.0 or repaired.denoise is None:
        weighed = repaired
    else:
        weighed = replace(repaired, denoise=share * repaired.denoise)
    half = _Half(answer.frame, weighed, followers, grain, core >= 0, share)
    if share == 1.0:
        return half
    other = fading.pop(answer.frame.number, None)
    if other is None:
        fading[answer.frame.number] = half
        return None
    return _joined(half, other)


def _joined(half: _Half, other: _Half) -> _Half:
    """The sum of both halves; on the host, where they come from two places."""
    # The span that owns the frame has looked for its damage; the one that warms up on it has not.
    owner, guest = (half, other) if half.owned else (other, half)
    here, there = owner.repaired, guest.repaired
    if here.denoise is None or there.denoise is None:
        return replace(owner, repaired=Repaired(None))
    alone = _filled_alone(owner.frame, guest.frame)
    if here.place is there.place and alone is None:
        return replace(owner, repaired=replace(here, denoise=here.denoise + there.denoise))
    ours, theirs = (one.place.start_fetch((one.denoise,))()[0] for one in (here, there))
    total = ours + theirs
    if alone is not None:
        # The other span has answered to a scratch that is here no more.
        height, width = alone.shape
        under = total[:, :height, :width]
        under += alone * (ours[:, :height, :width] / owner.share - under)
    both = replace(here, denoise=total, place=HOST, planes=None)
    return replace(owner, repaired=both)


def _filled_alone(owner: Frame, guest: Frame) -> FloatArray | None:
    """(H, W) 0..1: by how much more one span has filled a frame than the other."""
    if owner.filled is None:
        return None
    codes = owner.filled.codes(owner.picture).astype(np.float32)
    if guest.filled is not None:
        codes = (codes - guest.filled.codes(guest.picture)).clip(min=0.0)
    return codes / np.float32(255.0) if codes.any() else None


def _share(span: Span, step: int) -> float:
    """The weight of one step's residual in the finished frame: 0 to 1."""
    if step >= span.warm:
        left = span.steps - step  # 1 at the last core frame
        return min(1.0, left / (span.fades_out + 1))
    return max(0.0, 1.0 - (span.warm - step) / (span.fades_in + 1))


def _finish(whole: _Half, strengths: Strengths) -> Fetch | None:
    """Add what is asked for, where it lives; the planes, begun to be brought home."""
    frame, repaired = whole.frame, whole.repaired
    if repaired.denoise is None:
        return None
    filled = frame.filled is not None and (strengths.most is not None or repaired.left is not None)
    if strengths.grain > 0.0 or repaired.matte is not None or filled:
        return _finish_at_home(frame, whole, strengths)
    if not any(strengths.denoise):
        return None
    bits = frame.picture.format.bits
    with repaired.place.working():
        changes = residual_planes(repaired.denoise, frame.picture, strengths.denoise)
        given = frame.planes if repaired.planes is None else repaired.planes
        planes = [
            add_residual(plane, strengths.bounded(change, frame.picture), bits)
            for plane, change in zip(given, changes, strict=True)
        ]
    return repaired.place.start_fetch(planes)


def _finish_at_home(frame: Frame, whole: _Half, strengths: Strengths) -> Fetch:
    """The same on the host, with grain, and the fill under the matte."""
    repaired, picture = whole.repaired, frame.picture
    (denoise,) = repaired.place.start_fetch((repaired.denoise,))()
    shown = np.empty((3, *padded_size(picture)), dtype=np.float32)
    to_generator(frame.planes, picture, shown)
    changes = residual_planes(denoise, picture, strengths.denoise)
    luma = shown[0] + denoise[0]
    if repaired.matte is not None:
        assert repaired.fill is not None
        # Grain is as strong as where there was no dirt.
        luma = np.where(repaired.matte > 0.0, repaired.fill[0], luma)
    if strengths.grain > 0.0 and whole.grain is not None:
        grain = make_grain(whole.grain, luma, picture, frame.number)
        added = residual_planes(grain, picture, (strengths.grain, strengths.grain))
        changes = tuple(change + more for change, more in zip(changes, added, strict=True))
    if repaired.matte is not None and repaired.fill is not None:
        fill = repaired.fill - shown
        if whole.grain is not None:
            removed = removed_shares(whole.grain.noise, denoise, luma, picture)
            shares = strengths.over_fill(removed)
            _add_grain(fill, repaired.matte, luma, frame, whole.grain, shares)
        changes = _under_matte(changes, fill, repaired.matte, picture)
    bits = picture.format.bits
    decoded = frame.planes
    if frame.filled is not None:
        decoded = frame.filled.decoded
        changes = _from_decoded(changes, frame.planes, decoded)
        if repaired.left is not None:
            left = matte_planes(repaired.left.astype(np.float32), picture)
            changes = tuple((1.0 - w) * change for w, change in zip(left, changes, strict=True))
    planes = [
        add_residual(plane, strengths.bounded(change, picture), bits)
        for plane, change in zip(decoded, changes, strict=True)
    ]
    return HOST.start_fetch(planes)


def _from_decoded(
    changes: tuple[FloatArray, ...], planes: tuple[Plane, ...], decoded: tuple[Plane, ...]
) -> tuple[FloatArray, ...]:
    """Changes of planes that were filled, as changes of what was decoded."""
    return tuple(
        change + np.subtract(plane, before, dtype=np.float32)
        for change, plane, before in zip(changes, planes, decoded, strict=True)
    )


def _add_grain(
    fill: FloatArray,
    matte: FloatArray,
    luma: FloatArray,
    frame: Frame,
    profile: GrainProfile,
    shares: tuple[float, float],
) -> None:
    """Put grain over the fill (3, H, W), as far as the matte (H, W) goes."""
    rows, columns = (np.flatnonzero(matte.any(axis=axis)) for axis in (1, 0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    grain = make_grain(profile, luma, frame.picture, frame.number, window)
    scale = np.array([shares[0], shares[1], shares[1]], dtype=np.float32)
    fill[:, *window] += grain * scale[:, None, None]


def _under_matte(
    changes: tuple[FloatArray, ...], fill: FloatArray, matte: FloatArray, picture: Picture
) -> tuple[FloatArray, ...]:
    """What is added to each plane where a matte lays the fill, less the frame, over it."""
    weights = matte_planes(matte, picture)
    return tuple(
        (1.0 - weight) * change + weight * instead
        for weight, change, instead in zip(
            weights, changes, residual_planes(fill, picture), strict=True
        )
    )
