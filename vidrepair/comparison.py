"""The pictures of two films, sample by sample: what changed, how much, and where.

A repair changes the samples that it repairs and no others; with the matte of a run, this is the
proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrepair.decode import open_film
from vidrepair.errors import UsageError
from vidrepair.frames import Frame
from vidrepair.in_step import frames_of
from vidrepair.masks import BLACK, MaskReader, open_masks
from vidrepair.planes import matte_planes
from vidrepair.repeats import mark_repeats
from vidrepair.report import Difference
from vidrepair.settings import MaskSettings
from vidrepair.shots import number_shots
from vidrepair.tags import Clip

ANY_RATE = Fraction(25)
"""Numbered pictures are opened with; frames are compared by their number."""


@dataclass(frozen=True, slots=True)
class PlaneFigures:
    """One plane of the output against the source, over the frames of a shot."""

    psnr: float
    """dB; infinite where no sample differs."""
    ssim: float
    """Mean structural similarity, 1 for equal pictures."""
    samples: int
    changed: int
    largest: int
    """Difference, in code values."""
    before: float
    """Mean code value of the source."""
    after: float

    def as_dict(self) -> dict[str, float | None]:
        """For JSON, which knows no infinity."""
        return {
            "psnr": round(self.psnr, 4) if np.isfinite(self.psnr) else None,
            "ssim": round(self.ssim, 6),
            "samples": self.samples,
            "changed": self.changed,
            "largest": self.largest,
            "mean_before": round(self.before, 4),
            "mean_after": round(self.after, 4),
        }

    def __str__(self) -> str:
        share = self.changed / self.samples
        return (
            f"PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.4f}, {share:.4%} of the samples changed,"
            f" by at most {self.largest}, mean {self.before:.2f} -> {self.after:.2f}"
        )


@dataclass(frozen=True, slots=True)
class ShotFigures:
    """The picture of one shot."""

    shot: int
    first: int
    """Frame, counted from 0."""
    frames: int
    region: str
    """all, or inside or outside of the matte."""
    planes: tuple[tuple[str, PlaneFigures], ...]
    """By name: Y, Cb, Cr, or R, G, B, and A for alpha. Planes without a sample there are left
    out."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "shot": self.shot,
            "first": self.first,
            "frames": self.frames,
            "region": self.region,
            "planes": {name: figures.as_dict() for name, figures in self.planes},
        }

    def __str__(self) -> str:
        where = "" if self.region == "all" else f", {self.region} the matte"
        head = f"shot {self.shot}, frames {self.first} to {self.first + self.frames - 1}{where}"
        return "\n".join([head, *(f"  {name}: {figures}" for name, figures in self.planes)])


def compare_pictures(
    output: Path, against: Path, matte: Path | None = None, rate: Fraction | None = None
) -> tuple[tuple[ShotFigures, ...], tuple[Difference, ...]]:
    """Compare all samples of two films frame by frame, by the shots of the source.

    `matte` is a film, or numbered pictures, of the same frames, black where nothing may have
    changed: a sample that did is a difference. A chroma sample belongs to the matte where one of
    its luma sites does, an alpha sample never. `rate` is that of numbered pictures, for which any
    will do. Ends with the shorter film. Raises UsageError
    where the pictures are not of one size and format, InputError for what cannot be read, and
    for a matte of another size or length.
    """
    sums: dict[tuple[int, str], _ShotSums] = {}
    stray: dict[int, int] = {}
    with ExitStack() as owned:
        one, other = (
            owned.enter_context(open_film(path, rate or ANY_RATE)) for path in (against, output)
        )
        _check_alike(one.clip, other.clip)
        masks = None
        if matte is not None:
            asked = MaskSettings(matte, threshold=BLACK)
            masks = owned.enter_context(open_masks(asked, one.clip, flag="--matte"))
        marked = number_shots(mark_repeats(frames_of(one)))
        for before, after in zip(marked, frames_of(other), strict=False):
            measured = _measure(before, after)
            regions = _regions(before, len(measured), masks)
            for name, where in regions.items():
                shot = sums.setdefault((before.shot, name), _ShotSums(before.number))
                changed = shot.add(measured, where, whole=name == "outside")
                if name == "outside" and changed:
                    stray[before.number] = changed
    figures = (shot.figures(number, name) for (number, name), shot in sums.items())
    return tuple(shot for shot in figures if shot.planes), tuple(_stray(stray))


def _stray(stray: dict[int, int]) -> Iterator[Difference]:
    if stray:
        first, frames = min(stray), len(stray)
        found = f"{sum(stray.values())} in {frames} frames, the first in frame {first}"
        yield Difference("samples changed outside the matte", "the picture", "none", found)


def _check_alike(one: Clip, other: Clip) -> None:
    before, after = (f"{p.width}x{p.height} {p.format.name}" for p in (one.picture, other.picture))
    if before != after:
        raise UsageError(
            f"{other.name} is {after} and {one.name} {before}; only pictures of one size and"
            " pixel format can be compared, leave --picture out"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """One plane of one frame against another's."""

    name: str
    before: NDArray[Any]
    after: NDArray[Any]
    steps: NDArray[np.int32]
    """(H, W) absolute differences in code values."""
    likeness: NDArray[np.float64]
    """Structural similarity of each window."""
    peak: int


def _measure(before: Frame, after: Frame) -> list[_Measured]:
    form = before.picture.format
    names = {"yuv": ("Y", "Cb", "Cr"), "rgb": ("R", "G", "B"), "gray": ("Y",)}[form.family]
    planes: list[tuple[Any, Any]] = list(zip(before.planes, after.planes, strict=True))
    if form.alpha:
        names = (*names, "A")
        planes.append((_alpha(before), _alpha(after)))
    return [
        _Measured(
            name,
            *pair,
            steps=np.abs(pair[0].astype(np.int32) - pair[1]),
            likeness=_ssim(*pair, form.peak),
            peak=form.peak,
        )
        for name, pair in zip(names, planes, strict=True)
    ]


def _alpha(frame: Frame) -> NDArray[Any]:
    """(H, W) of the carrier: the last plane, or every second sample of gray with alpha."""
    plane = frame.carrier.planes[-1]
    rows = np.frombuffer(plane, "u1" if frame.picture.format.bits == 8 else "<u2")
    rows = rows.reshape(plane.height, -1)
    if plane.line_size < 0:
        rows = rows[::-1]  # as in `carriers.plane_views`
    packed = frame.picture.format.name.startswith("ya")
    return rows[:, 1 : 2 * plane.width : 2] if packed else rows[:, : plane.width]


def _regions(
    frame: Frame, planes: int, masks: MaskReader | None
) -> dict[str, list[NDArray[np.bool_] | None]]:
    """Where in each plane a region lies; None is everywhere."""
    if masks is None:
        return {"all": [None] * planes}
    touched = masks.read(frame.number).astype(np.float32)
    inside = [plane > 0 for plane in matte_planes(touched, frame.picture)]
    if len(inside) < planes:
        inside.append(np.zeros_like(inside[0]))  # alpha is never touched
    return {"inside": list(inside), "outside": [~where for where in inside]}


@dataclass(slots=True)
class _PlaneSums:
    samples: int = 0
    squares: float = 0.0
    changed: int = 0
    largest: int = 0
    before: float = 0.0
    after: float = 0.0
    likeness: float = 0.0
    windows: int = 0
    peak: int = 255

    def add(self, measured: _Measured, where: NDArray[np.bool_] | None, *, whole: bool) -> int:
        """Take a frame in; how many samples of it have changed there.

        Only windows count that lie in the region, as a `whole` or in part.
        """
        steps, before, after = measured.steps, measured.before, measured.after
        likeness = measured.likeness
        if where is not None:
            steps, before, after = steps[where], before[where], after[where]
            # A window is outside where no sample of it is inside.
            held = _window_sums((~where if whole else where).astype(np.float64)) > 0
            likeness = likeness[held != whole]
        changed = int(np.count_nonzero(steps))
        self.samples += steps.size
        self.squares += float(np.square(steps, dtype=np.float64).sum()) if changed else 0.0
        self.changed += changed
        self.largest = max(self.largest, int(steps.max(initial=0)))
        self.before += float(before.sum(dtype=np.float64))
        self.after += float(after.sum(dtype=np.float64))
        self.likeness += float(likeness.sum())
        self.windows += likeness.size
        self.peak = measured.peak
        return changed

    def figures(self) -> PlaneFigures:
        error = self.squares / self.samples
        psnr = 10.0 * np.log10(self.peak**2 / error) if error else float("inf")
        ssim = self.likeness / self.windows if self.windows else 1.0
        means = (self.before / self.samples, self.after / self.samples)
        return PlaneFigures(float(psnr), ssim, self.samples, self.changed, self.largest, *means)


@dataclass(slots=True)
class _ShotSums:
    """Of one shot and region."""

    first: int
    frames: int = 0
    planes: dict[str, _PlaneSums] = field(default_factory=dict)

    def add(
        self,
        measured: Sequence[_Measured],
        where: Sequence[NDArray[np.bool_] | None],
        *,
        whole: bool,
    ) -> int:
        """Take a frame in; how many samples of it have changed there."""
        self.frames += 1
        return sum(
            self.planes.setdefault(each.name, _PlaneSums()).add(each, place, whole=whole)
            for each, place in zip(measured, where, strict=True)
        )

    def figures(self, shot: int, region: str) -> ShotFigures:
        planes = tuple((name, s.figures()) for name, s in self.planes.items() if s.samples)
        return ShotFigures(shot, self.first, self.frames, region, planes)


def _ssim(one: NDArray[Any], other: NDArray[Any], peak: int) -> NDArray[np.float64]:
    """Structural similarity of windows of 8 x 8 samples, 4 apart; of the whole where smaller.

    Wang et al., "Image quality assessment", IEEE Transactions on Image Processing 13 (2004),
    equation 13, with flat windows as FFmpeg's ssim filter has them.
    """
    rows, columns = (max(side // 4 - 1, 1) for side in one.shape)
    if np.array_equal(one, other):
        return np.ones((rows, columns))
    a, b = one.astype(np.float64), other.astype(np.float64)
    products = (a, b, a * a + b * b, a * b)
    count = 64.0 if min(one.shape) >= 8 else float(one.size)
    first, second, squares, cross = (_window_sums(part) / count for part in products)
    level, contrast = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    means = first * second
    spread = squares - first**2 - second**2
    shape = (2.0 * (cross - means) + contrast) / (spread + contrast)
    likeness: NDArray[np.float64] = shape * (2 * means + level) / (first**2 + second**2 + level)
    return likeness


def _window_sums(plane: NDArray[Any]) -> NDArray[Any]:
    """Sums over windows of 8 x 8, 4 apart; the sum of all where it is smaller."""
    height, width = plane.shape
    if min(height, width) < 8:
        return np.broadcast_to(plane.sum(), (max(height // 4 - 1, 1), max(width // 4 - 1, 1)))
    cut = plane[: height // 4 * 4, : width // 4 * 4]
    cells = cut.reshape(height // 4, 4, width // 4, 4).sum(axis=(1, 3))
    sums: NDArray[Any] = cells[:-1, :-1] + cells[1:, :-1] + cells[:-1, 1:] + cells[1:, 1:]
    return sums
