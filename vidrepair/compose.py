"""Repaired -> Frame: one formula, the fade at span borders, and the order of the film.

    out = round((1 - w) (in + d) + w (fill + grain))

`in` are the decoded samples, `d` strength x residual, `w` the matte. Where w and d are 0 the
decoded sample comes out as it went in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from vidrepair.frames import Answer, Fetch, Frame, Repaired, Span
from vidrepair.planes import add_residual, residual_planes


def compose(
    answers: Iterable[Answer], denoise: tuple[float, float], *, ahead: int = 0
) -> Iterator[Frame]:
    """Yield every frame of the film, repeats too, in order, with its new planes.

    `denoise` is the share of the residual added, 0..1, of luma and of chroma; for R'G'B' both
    act on the Y'CbCr of the generator. Holds finished frames until their turn, and the
    residuals of the frames that fade between two spans. So many finished frames as `ahead` may be
    on their way home before the first of them is waited for.
    """
    coming: deque[_Coming] = deque()
    for one in _in_order(answers, denoise):
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


def _in_order(answers: Iterable[Answer], denoise: tuple[float, float]) -> Iterator[_Coming]:
    """Every frame, begun to be brought home."""
    fading: dict[int, _Half] = {}
    finished: dict[int, _Coming] = {}
    following: int | None = None
    for answer in answers:
        following = answer.span.core[0].number if following is None else following
        with answer.repaired.place.working():
            whole = _settle(answer, fading)
        if whole is None:
            continue
        fetch = _finish(answer.frame, whole, denoise)
        for frame in (answer.frame, *whole.repeats):
            finished[frame.number] = _Coming(frame, fetch)
        while following in finished:
            yield finished.pop(following)
            following += 1


@dataclass(frozen=True, slots=True, eq=False)
class _Half:
    """An answer, its residual weighted, and the repeats of its frame where the span owns it."""

    repaired: Repaired
    repeats: tuple[Frame, ...] = ()


def _settle(answer: Answer, fading: dict[int, _Half]) -> _Half | None:
    """The final residual of the answered frame, or None while its other half is awaited.

    Over the last core frames of a span the residual goes linearly over to that of the next
    span's warm-up, so that nothing pulses at the border. Either half may come first.
    """
    span, repaired = answer.span, answer.repaired
    core = answer.step - span.warm
    repeats = span.repeats[core] if core >= 0 else ()
    share = _share(span, answer.step)
    if share == 0.0:
        return None
    if share == 1.0 or repaired.denoise is None:
        half = _Half(repaired, repeats)
    else:
        half = _Half(replace(repaired, denoise=share * repaired.denoise), repeats)
    if share == 1.0:
        return half
    other = fading.pop(answer.frame.number, None)
    if other is None:
        fading[answer.frame.number] = half
        return None
    return _joined(half, other)


def _joined(half: _Half, other: _Half) -> _Half:
    """The sum of both halves; on the host, where they come from two places."""
    repeats = half.repeats or other.repeats
    here, there = half.repaired, other.repaired
    if here.denoise is None or there.denoise is None:
        return _Half(Repaired(None), repeats)
    if here.place is there.place:
        return _Half(replace(here, denoise=here.denoise + there.denoise), repeats)
    ours, theirs = (one.place.start_fetch((one.denoise,))()[0] for one in (here, there))
    return _Half(Repaired(ours + theirs), repeats)


def _share(span: Span, step: int) -> float:
    """The weight of one step's residual in the finished frame: 0 to 1."""
    if step >= span.warm:
        left = span.steps - step  # 1 at the last core frame
        return min(1.0, left / (span.fades_out + 1))
    return max(0.0, 1.0 - (span.warm - step) / (span.fades_in + 1))


def _finish(frame: Frame, whole: _Half, denoise: tuple[float, float]) -> Fetch | None:
    """Add the residual at its strength, where it lives; the planes, begun to be brought home."""
    repaired = whole.repaired
    if repaired.denoise is None or not any(denoise):
        return None
    bits = frame.picture.format.bits
    with repaired.place.working():
        changes = residual_planes(repaired.denoise, frame.picture, denoise)
        given = frame.planes if repaired.planes is None else repaired.planes
        planes = [add_residual(*pair, bits) for pair in zip(given, changes, strict=True)]
    return repaired.place.start_fetch(planes)
