"""Repaired -> Frame: one formula, the fade at span borders, and the order of the film.

    out = round((1 - w) (in + d) + w (fill + grain))

`in` are the decoded samples, `d` strength x residual, `w` the matte. Where w and d are 0 the
decoded sample comes out as it went in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from vidrepair.frames import Answer, FloatArray, Frame, Span
from vidrepair.planes import add_residual, residual_planes


def compose(answers: Iterable[Answer], denoise: tuple[float, float]) -> Iterator[Frame]:
    """Yield every frame of the film, repeats too, in order, with its new planes.

    `denoise` is the share of the residual added, 0..1, of luma and of chroma; for R'G'B' both
    act on the Y'CbCr of the generator. Holds finished frames until their turn, and the
    residuals of the frames that fade between two spans.
    """
    strength = np.array([denoise[0], denoise[1], denoise[1]], dtype=np.float32)[:, None, None]
    fading: dict[int, _Half] = {}
    finished: dict[int, Frame] = {}
    following: int | None = None
    for answer in answers:
        following = answer.span.core[0].number if following is None else following
        whole = _settle(answer, fading)
        if whole is None:
            continue
        frame = _finish(answer.frame, whole.residual, strength)
        finished[frame.number] = frame
        for repeat in whole.repeats:
            finished[repeat.number] = replace(repeat, planes=frame.planes)
        while following in finished:
            yield finished.pop(following)
            following += 1


@dataclass(frozen=True, slots=True, eq=False)
class _Half:
    """A residual, weighted, and the repeats of its frame where the span owns the frame."""

    residual: FloatArray | None
    repeats: tuple[Frame, ...] = ()


def _settle(answer: Answer, fading: dict[int, _Half]) -> _Half | None:
    """The final residual of the answered frame, or None while its other half is awaited.

    Over the last core frames of a span the residual goes linearly over to that of the next
    span's warm-up, so that nothing pulses at the border. Either half may come first.
    """
    span, residual = answer.span, answer.repaired.denoise
    core = answer.step - span.warm
    repeats = span.repeats[core] if core >= 0 else ()
    share = _share(span, answer.step)
    if share == 0.0:
        return None
    if share == 1.0:
        return _Half(residual, repeats)
    half = _Half(None if residual is None else np.float32(share) * residual, repeats)
    other = fading.pop(answer.frame.number, None)
    if other is None:
        fading[answer.frame.number] = half
        return None
    repeats = half.repeats or other.repeats
    if half.residual is None or other.residual is None:
        return _Half(None, repeats)
    return _Half(half.residual + other.residual, repeats)


def _share(span: Span, step: int) -> float:
    """The weight of one step's residual in the finished frame: 0 to 1."""
    if step >= span.warm:
        left = span.steps - step  # 1 at the last core frame
        return min(1.0, left / (span.fades_out + 1))
    return max(0.0, 1.0 - (span.warm - step) / (span.fades_in + 1))


def _finish(frame: Frame, residual: FloatArray | None, strength: FloatArray) -> Frame:
    """Add the residual at its strength."""
    if residual is None or not strength.any():
        return frame
    bits = frame.picture.format.bits
    change = residual if (strength == 1.0).all() else residual * strength
    changes = residual_planes(change, frame.picture)
    planes = tuple(
        add_residual(plane, change, bits)
        for plane, change in zip(frame.planes, changes, strict=True)
    )
    return replace(frame, planes=planes)
