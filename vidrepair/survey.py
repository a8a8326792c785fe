"""A finished film and its source, read once in step: curves, shots, noise, frames and places that
are worth showing. What `report_page` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidrepair.decode import open_film
from vidrepair.display import Shown, show_planes, upright
from vidrepair.errors import InputError
from vidrepair.expectation import Made
from vidrepair.findings import Analysis, DefectFacts, Fingerprint
from vidrepair.frames import Frame
from vidrepair.gaps import with_made
from vidrepair.in_step import Pair, check_sizes, frames_of, in_step
from vidrepair.masks import BLACK, MaskReader, open_masks
from vidrepair.noise_curves import NoiseCurve, NoisePlaces
from vidrepair.page_stills import sized
from vidrepair.places import Place, Places, block_side, local_change, spots_of, standing_out
from vidrepair.regions import Mask
from vidrepair.repeats import mark_repeats
from vidrepair.report import Progress, Teller
from vidrepair.settings import MaskSettings, SourceSettings
from vidrepair.shots import number_shots
from vidrepair.strongest import Strongest, bucket_of
from vidrepair.tags import Clip, Damage

WORST, TYPICAL = 6, 6
"""Frames that are shown: those of the largest change in one place, and some at even distances."""
LARGEST = 960
"""Pixels on the longer side of a frame that is shown."""
CLEARLY = 8.0
"""Code values of 8 bits from which a sample is changed clearly."""


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """A frame that is shown."""

    number: int
    seconds: float
    worst: bool
    """Else it is one at an even distance from the next."""
    strength: float
    """Change of the place that was changed most, as Place has it."""
    clearly: float
    """Share of its samples that were changed clearly."""
    before: Shown
    after: Shown
    touched: Mask
    """(H, W), of the film's size."""


@dataclass(frozen=True, slots=True)
class ShotChange:
    """How much of a shot was changed."""

    number: int
    first: int
    last: int
    seconds: float
    """Of its first frame."""
    changed: float
    """Share of its samples of luma that differ at all."""
    clearly: float


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What was seen of both films."""

    before: Clip
    after: Clip
    seconds: NDArray[np.float64]
    """(N,) times of the frames, from where the picture starts."""
    lumas: NDArray[np.float64]
    """(2, N) mean luma of both, on the 8-bit scale."""
    clearly: NDArray[np.float64]
    """(N,) share of the samples changed clearly."""
    shots: tuple[ShotChange, ...]
    noise: tuple[NoiseCurve, NoiseCurve]
    stills: tuple[Still, ...]
    places: tuple[Place, ...]
    place_frames: dict[str, list[int]]
    """Frames in which a change of a kind stood out."""
    damage: Damage
    """What the decoder met in the source."""
    place_counts: Mapping[str, int]
    """Places of each kind, of which `places` has some."""
    matte: str
    """Where the overlay comes from: matte, sidecar or change."""


def survey(
    output: Path,
    against: Path,
    *,
    analysis: Analysis | None = None,
    matte: Path | None = None,
    made: Made | None = None,
    reading: SourceSettings | None = None,
    frames: int | None = None,
    observer: Callable[[Progress], None] | None = None,
) -> Survey:
    """Read both films once.

    `analysis` is the sidecar of the repair, `matte` what it touched; `made`, `reading` and `frames`
    tell how the film was made; `observer` hears twice a second or so how far this is. Raises
    UsageError where size or length differ, InputError for what cannot be read, and for an analysis
    of another film.
    """
    made, asked = made or Made(), reading or SourceSettings()
    with ExitStack() as owned:
        one = owned.enter_context(
            open_film(
                against,
                asked.rate,
                tell_quantiser=True,  # so that damage comes out as it did in the run
                stream=asked.stream,
                start=asked.start,
                end=asked.end,
            )
        )
        # Pictures that were made of a film have its rate.
        other = owned.enter_context(open_film(output, asked.rate or one.clip.rate))
        one.deinterlace_as(made.interlace)
        check_sizes(one.clip, other.clip)
        masks = None
        if matte is not None:
            settings = MaskSettings(matte, threshold=BLACK)
            masks = owned.enter_context(open_masks(settings, one.clip, flag="--matte"))
        whole = with_made(frames_of(one), one.clip, fill=made.fill_gaps)
        decoded = _checked(_asked(whole, one.clip, asked, frames), analysis, one.clip)
        gathered = _Gathered(one.clip, other.clip, analysis, masks)
        tell = Teller(observer, other.clip.frame_count)
        pairs = in_step(
            number_shots(mark_repeats(decoded)),
            frames_of(other),
            (str(against) if frames is None else f"{against} by --frames {frames}", str(output)),
            remedy="say by the options of report how OUT was made, or name the film it was made of",
        )
        for pair in pairs:
            gathered.add(pair)
            tell(pair.first.number + 1, lambda: "decode")
        return gathered.finish(one.damage)


def _asked(
    frames: Iterable[Frame], clip: Clip, reading: SourceSettings, most: int | None
) -> Iterator[Frame]:
    """The frames of the source that a run was to repair."""
    end = None if reading.end is None else clip.zero + reading.end
    for frame in islice(frames, most):
        if end is None or frame.pts * frame.time_base < end:
            yield frame


def _checked(frames: Iterable[Frame], analysis: Analysis | None, clip: Clip) -> Iterator[Frame]:
    """The frames of the source, of which an analysis has to tell."""
    if analysis is None:
        yield from frames
        return
    seen = Fingerprint()
    wrong = analysis.mismatch(clip)
    if wrong is None:
        for frame in frames:
            seen.add(frame)
            yield frame
        wrong = analysis.mismatch_at_end(seen)
    if wrong is not None:
        raise InputError(
            f"the sidecar is of another film than {clip.name}: {wrong}; name the one that belongs"
            " to it with --sidecar, or leave it out with --no-sidecar"
        )


class _Gathered:
    """Takes pair by pair, and holds the pictures that are shown and the curves."""

    def __init__(
        self, before: Clip, after: Clip, analysis: Analysis | None, masks: MaskReader | None
    ) -> None:
        self._clips = before, after
        self._analysis, self._masks = analysis, masks
        self._listed: dict[int, list[DefectFacts]] = {}
        for defect in () if analysis is None else analysis.defects:
            if defect.keep:
                self._listed.setdefault(defect.frame, []).append(defect)
        made = () if analysis is None else (*analysis.lost, *analysis.rebuilt)
        self._rebuilt = frozenset(made)
        again = () if analysis is None else (*analysis.repeats, *analysis.copies)
        self._again = frozenset(again)
        """Frames that show the one before again, and were changed with it."""
        self._lost = frozenset(() if analysis is None else analysis.lost)
        self._known: Sequence[DefectFacts] = ()
        """What was found in the frame that is shown."""
        self._curves: list[tuple[float, float, float, float]] = []
        self._shots: list[_ShotSums] = []
        self._places = Places((before.color_transfer, after.color_transfer))
        frames = after.frame_count
        self._bucket = bucket_of(frames, WORST)
        self._worst: Strongest[Still] = Strongest(WORST, self._bucket)
        self._typical = _Evenly(max((frames or 0) // (4 * TYPICAL), 1), TYPICAL)
        self._noise = NoisePlaces(frames)

    def add(self, pair: Pair) -> None:
        """Take in the next frame of both films."""
        first, number = pair.first, pair.first.number
        seconds = float(first.pts * first.time_base - self._clips[0].zero)
        size = np.abs(pair.step)
        changed, clearly = float((size > 0.0).mean()), float((size >= CLEARLY).mean())
        before, after = (
            float(frame.luma.mean()) * 255.0 / frame.picture.format.peak
            for frame in (pair.first, pair.second)
        )
        self._curves.append((seconds, before, after, clearly))
        if not self._shots or self._shots[-1].shot != first.shot:
            self._shots.append(_ShotSums(first.shot, number, seconds))
        self._shots[-1].add(changed, clearly)
        change = local_change(first.luma, pair.step, first.picture.format.peak)
        marked = standing_out(change)
        own = self._listed.get(number, ())
        if number in self._again:
            self._known = (*self._known, *own)
        elif number not in self._lost:  # lost frames may lie between a frame and its repeat
            self._known = own
        rebuilt = number in self._rebuilt
        spots = spots_of(change, marked, size.shape, self._known, rebuilt=rebuilt)
        self._places.add(pair.first, pair.second, spots, seconds)
        self._noise.add(pair)

        strength = max((spot.strength for spot in spots), default=0.0)
        facts = _Facts(seconds, strength, clearly)
        if self._masks is not None:
            touched = self._masks.read(number)
        else:
            touched = self._touched(marked, self._known, size.shape)
        if self._typical.wants(number):
            self._typical.add(number, self._still(pair, facts, touched, worst=False))
        if strength > 0.0 and self._worst.wants(strength, number):
            self._worst.add(strength, number, self._still(pair, facts, touched, worst=True))

    def _touched(self, marked: Mask, listed: Sequence[DefectFacts], size: tuple[int, int]) -> Mask:
        """(H, W) what is shown as repaired where there is no matte."""
        touched = np.zeros(size, dtype=bool)
        if self._analysis is None:
            side = block_side(*size)
            for row, column in zip(*np.nonzero(marked), strict=True):
                touched[side * row : side * (row + 1), side * column : side * (column + 1)] = True
        for defect in listed:
            top, left, bottom, right = defect.box
            touched[top:bottom, left:right] = True
        return touched

    def _still(self, pair: Pair, facts: _Facts, touched: Mask, *, worst: bool) -> Still:
        shown = []
        for frame, clip in zip((pair.first, pair.second), self._clips, strict=True):
            whole = show_planes(frame.planes, frame.picture, clip.color_transfer)
            shown.append(upright(sized(whole, LARGEST, self._clips[0].sar), self._clips[0]))
        held = upright(np.array(touched), self._clips[0])
        return Still(
            *(pair.first.number, facts.seconds, worst, facts.strength, facts.clearly),
            before=shown[0],
            after=shown[1],
            touched=held,
        )

    def finish(self, damage: Damage) -> Survey:
        """All of it, after the last frame."""
        curves = np.array(self._curves, dtype=np.float64).reshape(-1, 4).T
        worst = self._worst.best()
        shown = [still.number for still in worst]
        # Half as far apart as the worst are from each other: else a short film has none left.
        typical = self._typical.kept(shown, self._bucket // 2 + 1)
        origin = "matte" if self._masks is not None else "sidecar"
        if self._masks is not None:
            self._masks.finish()
        return Survey(
            *self._clips,
            seconds=curves[0],
            lumas=curves[1:3],
            clearly=curves[3],
            shots=tuple(one.shot_change() for one in self._shots),
            noise=self._noise.curves(),
            stills=(*worst, *typical),
            places=self._places.best(),
            place_frames=self._places.frames,
            damage=damage,
            place_counts=self._places.counts,
            matte="change" if self._analysis is None and origin == "sidecar" else origin,
        )


@dataclass(frozen=True, slots=True)
class _Facts:
    """Of one frame."""

    seconds: float
    strength: float
    clearly: float


@dataclass(slots=True)
class _ShotSums:
    shot: int
    first: int
    seconds: float
    frames: int = 0
    changed: float = 0.0
    clearly: float = 0.0

    def add(self, changed: float, clearly: float) -> None:
        self.frames += 1
        self.changed += changed
        self.clearly += clearly

    def shot_change(self) -> ShotChange:
        last = self.first + self.frames - 1
        changed, clearly = self.changed / self.frames, self.clearly / self.frames
        return ShotChange(self.shot, self.first, last, self.seconds, changed, clearly)


@dataclass(slots=True)
class _Evenly:
    """Keeps frames at even distances of a film whose length is not known for sure."""

    stride: int
    most: int
    offset: int = field(init=False)
    _kept: list[Still] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.offset = self.stride // 2

    def wants(self, number: int) -> bool:
        return number % self.stride == self.offset

    def add(self, _number: int, still: Still) -> None:
        self._kept.append(still)
        if len(self._kept) > 2 * self.most:
            self._kept = self._kept[1::2]
            self.offset += self.stride
            self.stride *= 2

    def kept(self, beside: Sequence[int], apart: int) -> list[Still]:
        """In order of time, `most` at most, none so near to a frame that is shown already."""
        free = [
            still
            for still in self._kept
            if all(abs(still.number - other) >= apart for other in beside)
        ]
        count = min(len(free), self.most)
        return [free[(2 * part + 1) * len(free) // (2 * count)] for part in range(count)]
