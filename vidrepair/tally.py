"""What a run counts, and what repair has done to the frames on their way to the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from vidrepair.frames import Answer, FloatArray, Frame, Picture
from vidrepair.matte import UNTOUCHED, Touch, rebuilt_touch, touch_of
from vidrepair.report import ShotShare


@dataclass(slots=True)
class _ShotTally:
    """One shot as far as it is written."""

    number: int
    first: int
    """Its first frame's number."""
    frames: int = 0
    touched: int = 0
    """Samples of luma under a matte."""
    samples: dict[str, int] = field(default_factory=dict)
    """The same by kind of damage; places of two kinds may overlap."""

    def add(self, more: _ShotTally) -> None:
        """The same shot goes on."""
        self.frames += more.frames
        self.touched += more.touched
        self.samples = _sum(self.samples, more.samples)


@dataclass(frozen=True, slots=True)
class _Counts:
    """What was counted by some time."""

    frames: int = 0
    repeats: int = 0
    copies: int = 0
    rebuilt: int = 0
    defects: Mapping[str, int] = field(default_factory=dict)


class Tally:
    """The counts of one run; one thread's own, but for what is read at the end."""

    def __init__(self, picture: Picture, *, stride: int = 1) -> None:
        """Of a film of such pictures; `stride` is 2 where their fields are repaired apart."""
        self._picture, self._stride = picture, stride
        self._touches: dict[int, Touch] = {}
        self._motions: dict[int, FloatArray] = {}
        self._last: dict[int | None, Touch] = {}
        """By parity: of the last frame that was asked about."""
        self._shots: list[_ShotTally] = []
        self._recent: list[_ShotTally] = []
        """Of what `news` has not told yet."""
        self.frames = 0
        self.repeats = 0
        self.copies = 0
        self.rebuilt = 0
        self._noise: dict[int, tuple[float, float]] = {}
        """Of each span by its first frame, or field, luma and chroma, on the 8-bit scale."""
        self._levels = (0.0, 0.0, 0)
        """Sums of luma and chroma, and the number, of spans that were told of."""
        self.defects: dict[str, int] = {}
        """Repaired places by kind."""
        self._told = _Counts()
        """Of what `news` has told."""

    def listen(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """The answers; what is done to their frames is written down until those are written."""
        for answer in answers:
            if answer.step == 0:
                noise = answer.span.noise
                levels = (255.0 * float(part.mean()) for part in (noise.luma, noise.chroma))
                self._noise[answer.span.core[0].number] = next(levels), next(levels)
            if answer.step >= answer.span.warm:
                self._note(answer)
            yield answer

    def _note(self, answer: Answer) -> None:
        before, frame, after = answer.span.walk[answer.step : answer.step + 3]
        self._touches[frame.number] = touch_of(answer)
        # Only beside frames that were passed over is the motion of use.
        if answer.repaired.motion is not None and after.number - before.number != 2 * self._stride:
            self._motions[frame.number] = answer.repaired.motion

    def motion(self, number: int) -> FloatArray | None:
        """(4, H/4, W/4) displacement from a frame to those beside it that were not passed over,
        where it is known; it is forgotten once a later frame is counted.
        """
        return self._motions.get(number)

    def touch(self, frame: Frame) -> Touch:
        """What was done to a frame that is finished now, in order.

        A repeat and a copy have no answer of their own, and are touched as their frame is.
        """
        if frame.lost:
            return rebuilt_touch(frame)
        # The other field of a frame may still be asked about.
        oldest = frame.number - self._stride + 1
        self._motions = {n: one for n, one in self._motions.items() if n >= oldest}
        own = self._touches.pop(frame.number, None)
        if own is not None or not (frame.repeat or frame.copy):
            self._last[frame.parity] = own or UNTOUCHED
        return self._last.get(frame.parity, UNTOUCHED)

    def count(self, frame: Frame, touch: Touch) -> None:
        """Count a frame that is written now."""
        if not self._recent or self._recent[-1].number != frame.shot:
            self._recent.append(_ShotTally(frame.shot, frame.number))
        shot = self._recent[-1]
        shot.frames += 1
        shot.touched += 0 if touch.codes is None else int(np.count_nonzero(touch.codes))
        for defect in touch.defects:
            shot.samples[defect.kind] = shot.samples.get(defect.kind, 0) + defect.samples
            # A repeat's places are those of its frame.
            if not (frame.repeat or frame.copy):
                self.defects[defect.kind] = self.defects.get(defect.kind, 0) + 1
        self.frames += 1
        self.repeats += frame.repeat and not frame.lost
        self.copies += frame.copy
        self.rebuilt += frame.lost

    def news(self, first: int) -> dict[str, Any]:
        """For JSON: what was counted since this was asked last, from frame `first` on."""
        before, now = self._told, self._counts()
        self._told = now
        frames = now.frames - before.frames
        spans = range(first * self._stride, (first + frames) * self._stride)
        shots = [asdict(shot) for shot in self._recent]
        self._settle()
        noise = {span: self._noise.pop(span) for span in sorted(self._noise) if span in spans}
        self._add_levels(noise.values())
        return {
            "frames": frames,
            "repeats": now.repeats - before.repeats,
            "copies": now.copies - before.copies,
            "rebuilt": now.rebuilt - before.rebuilt,
            "noise": list(noise.values()),
            "defects": {
                kind: count - before.defects.get(kind, 0) for kind, count in now.defects.items()
            },
            "shots": shots,
        }

    def go_on(self, told: Mapping[str, Any]) -> None:
        """Count on from what another run told of the frames before."""
        self.frames += told["frames"]
        self.repeats += told["repeats"]
        self.copies += told["copies"]
        self.rebuilt += told["rebuilt"]
        self._add_levels(told["noise"])
        self.defects = _sum(self.defects, told["defects"])
        self._recent = [_ShotTally(**shot) for shot in told["shots"]]
        self._settle()
        self._told = self._counts()

    def _counts(self) -> _Counts:
        return _Counts(
            self.frames, int(self.repeats), int(self.copies), int(self.rebuilt), dict(self.defects)
        )

    def _settle(self) -> None:
        """What is recent becomes part of the whole."""
        for shot in self._recent:
            if self._shots and self._shots[-1].number == shot.number:
                self._shots[-1].add(shot)
            else:
                self._shots.append(shot)
        self._recent = []

    def _add_levels(self, pairs: Iterable[Sequence[float]]) -> None:
        luma, chroma, count = self._levels
        for one, other in pairs:
            luma, chroma, count = luma + one, chroma + other, count + 1
        self._levels = luma, chroma, count

    def noise(self) -> tuple[float, float]:
        """The mean deviation of all spans, luma and chroma, on the 8-bit scale."""
        luma, chroma, count = self._levels
        open_ones = list(self._noise.values())
        total = max(count + len(open_ones), 1)
        return (
            (luma + sum(pair[0] for pair in open_ones)) / total,
            (chroma + sum(pair[1] for pair in open_ones)) / total,
        )

    def touched(self) -> float:
        """The share of all luma samples that lie under a matte."""
        self._settle()
        size = self._picture.width * self._picture.height
        return sum(shot.touched for shot in self._shots) / max(self.frames * size, 1)

    def shares(self) -> tuple[ShotShare, ...]:
        """The same for each shot and kind."""
        self._settle()
        size = self._picture.width * self._picture.height
        return tuple(
            ShotShare(
                shot=shot.number,
                first=shot.first,
                frames=shot.frames,
                touched=shot.touched / (shot.frames * size),
                kinds={
                    kind: samples / (shot.frames * size)
                    for kind, samples in sorted(shot.samples.items())
                },
            )
            for shot in self._shots
        )


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
