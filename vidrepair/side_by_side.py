"""Two films of one picture, shown beside one another: a contact sheet, or a video.

`comparison` has the figures, this has what is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from vidrepair.decode import Source, open_film
from vidrepair.display import Shown, show_difference, show_planes
from vidrepair.encode import open_target, plan_output
from vidrepair.errors import UsageError
from vidrepair.files import check_writable, same_file
from vidrepair.frames import FloatArray, Frame, Picture, Plane
from vidrepair.in_step import Pair, check_sizes, frames_of, in_step
from vidrepair.overlay import luma_range
from vidrepair.planes import block_means
from vidrepair.regions import Box, busiest_windows
from vidrepair.settings import OutputSettings
from vidrepair.sheet import (
    GAP,
    Row,
    Sheet,
    Strip,
    clock,
    detail,
    outlined,
    plan_frames,
    whole,
    write_sheet,
)
from vidrepair.strongest import Strongest, bucket_of
from vidrepair.tags import Clip, counted

Mode = Literal["side", "wipe"]
MODES: tuple[Mode, ...] = ("side", "wipe")
VIDEOS = (".mp4", ".mkv")
MOST_FRAMES = 24
ROWS, COLUMNS, TALL = 24, 32, 16
"""Cells that a picture falls into; a frame counts by the cell that changed most."""
MAGNIFIED = 3
"""Times that the places of largest change are shown larger,"""
PLACES = 2
"""and how many of them."""
SWEEP, SHARE = Fraction(8), 0.45
"""Seconds in which the edge of a wipe goes there and back, and how far from the middle."""
LINE = 2
"""Samples of the line at that edge."""
LEAD = Fraction(1, 100)
"""Seconds before those that are sought: nothing but the picture is read."""


@dataclass(frozen=True, slots=True)
class CompareJob:
    """What is compared, and how it is shown."""

    first: Path
    """The source, say."""
    second: Path
    output: Path
    """A .png file is a sheet; .mp4 and .mkv are videos."""
    mode: Mode = "side"
    """Of a video: beside one another, or one picture whose left part is the first film's, up to
    an edge that goes to and fro."""
    crop: Box | None = None
    """Only this part of the pictures."""
    at: tuple[Fraction, ...] = ()
    """Of a sheet: these frames, in seconds from where the picture starts, not those of the largest
    change."""
    frames: int = 6
    """Of a sheet: how many."""
    overwrite: bool = False
    rate: Fraction | None = None
    """Frames a second of those that are numbered pictures."""

    def __post_init__(self) -> None:
        ending = self.output.suffix.lower()
        if ending not in (".png", *VIDEOS):
            raise UsageError(
                f"-o {self.output} is neither a .png sheet nor an .mp4 or .mkv video; name one"
            )
        if self.mode not in MODES:
            raise UsageError(f"--mode {self.mode} is unknown; use {' or '.join(MODES)}")
        if not 1 <= self.frames <= MOST_FRAMES or len(self.at) > MOST_FRAMES:
            raise UsageError(f"a sheet shows 1 to {MOST_FRAMES} frames; ask for as many")
        if self.at and not self.sheet:
            raise UsageError("--at chooses frames of a sheet; write a .png file, or leave it out")
        if self.crop is not None and not (self.crop.height and self.crop.width):
            raise UsageError("--crop leaves nothing to show; use WxH+X+Y with a width and height")

    @property
    def sheet(self) -> bool:
        """Whether it is a still."""
        return self.output.suffix.lower() == ".png"


@dataclass(frozen=True, slots=True)
class CompareReport:
    """What was shown."""

    output: str
    frames: int
    """On the sheet, or in the video."""
    compared: int
    """All that were read; where frames are named, those."""
    changed: int
    """Frames of those that differ in luma."""

    def summary(self) -> str:
        """A line for people."""
        differ = f"{self.changed or 'none'} of {counted(self.compared, 'frame')} compared"
        verb = "differs" if self.changed < 2 else "differ"
        return f"{self.output}: {counted(self.frames, 'frame')} shown; {differ} {verb} in luma"


def _change(pair: Pair) -> FloatArray:
    """(H, W) by how much luma differs, on the 8-bit scale."""
    return np.abs(pair.step)


def _score(pair: Pair) -> float:
    """Mean change of the cell that changed most."""
    change = _change(pair)
    rows, columns = (min(n, m) for n, m in zip((ROWS, COLUMNS), change.shape, strict=True))
    codes = (16.0 * change).astype(np.uint16)
    return float(block_means(codes, rows, columns, TALL).max()) / 16.0


def compare(job: CompareJob) -> CompareReport:
    """Write a sheet or a video of two films.

    Raises UsageError where they differ in size, a video also where they do in pixel format, and
    where they have not the same number of frames; InputError for what cannot be read. Nothing but
    a finished file gets the name.
    """
    for path in (job.first, job.second):
        if same_file(job.output, path):
            raise UsageError(f"{job.output} is one of the films itself; choose another name")
    check_writable(job.output, overwrite=job.overwrite)
    with ExitStack() as owned:
        sources = [
            owned.enter_context(open_film(path, job.rate)) for path in (job.first, job.second)
        ]
        first, second = (source.clip for source in sources)
        _check_alike(first, second, job)
        if not job.sheet:
            return _write_video(job, sources[0], sources[1])
        seen = _Seen(job.frames, first.frame_count)
        if job.at:
            pairs: Iterable[Pair] = (_sought(job, seconds) for seconds in dict.fromkeys(job.at))
            shown = [seen.counted(pair) for pair in pairs]
        else:
            for pair in _together(job, sources[0], sources[1]):
                seen.add(pair)
            shown = seen.best()
        write_sheet(_sheet(job, first, shown), job.output, overwrite=job.overwrite)
        return CompareReport(str(job.output), len(shown), seen.compared, seen.changed)


def _check_alike(first: Clip, second: Clip, job: CompareJob) -> None:
    """Refuse what cannot be laid side by side."""
    check_sizes(first, second)
    width, height = first.picture.width, first.picture.height
    crop = job.crop
    if crop is not None and (crop.right > width or crop.bottom > height):
        raise UsageError(f"--crop reaches beyond the picture of {width}x{height}; choose less")
    if job.sheet:
        return
    one, other = first.picture, second.picture
    if (one.format, one.full_range) != (other.format, other.full_range):
        raise UsageError(
            f"{first.name} is {one.format.name} and {second.name} {other.format.name}, or their"
            " ranges differ; a video needs one format, a .png sheet does not"
        )
    across, down = one.format.sampling
    if crop is not None and (
        crop.left % across or crop.width % across or crop.top % down or crop.height % down
    ):
        raise UsageError(
            f"--crop has to lie on multiples of {across}x{down} in a video of {one.format.name};"
            " round it"
        )


class _Seen:
    """Keeps the pairs that differ most, and counts those that do."""

    def __init__(self, count: int, frames: int | None) -> None:
        """`count` are kept of a film of so many `frames`."""
        self._best: Strongest[Pair] = Strongest(count, bucket_of(frames, count))
        self._first: Pair | None = None
        self.compared = self.changed = 0

    def counted(self, pair: Pair) -> Pair:
        """A pair that is shown anyway."""
        self._count(pair)
        return pair

    def add(self, pair: Pair) -> None:
        """Take in the next frame."""
        self._first = self._first or pair
        if not self._count(pair):
            return
        score, number = _score(pair), pair.first.number
        if self._best.wants(score, number):
            self._best.add(score, number, pair)

    def _count(self, pair: Pair) -> bool:
        """Count a pair; whether it differs, in colour at least."""
        differs = bool(pair.step.any())
        self.compared += 1
        self.changed += differs
        planes = zip(pair.first.planes[1:], pair.second.planes[1:], strict=False)
        return differs or any(not np.array_equal(one, other) for one, other in planes)

    def best(self) -> list[Pair]:
        """Those that are kept, in order of time; the first of all where none differs."""
        alike = [] if self._first is None else [self._first]
        return self._best.in_time() or alike


def _together(job: CompareJob, one: Source, other: Source) -> Iterator[Pair]:
    """The frames of both, pair by pair. Raises UsageError where one has more than the other."""
    remedy = "compare films of one length"
    if job.output.suffix.lower() == ".png":
        remedy += ", or name frames with --at"
    names = (str(job.first), str(job.second))
    return in_step(frames_of(one), frames_of(other), names, job.crop, remedy)


def _sought(job: CompareJob, seconds: Fraction) -> Pair:
    """The frames of both that are shown at a time, or first after it. Raises UsageError where a
    film has ended by then.
    """
    found = []
    for path in (job.first, job.second):
        try:
            source = open_film(path, job.rate, start=seconds, lead=LEAD)
        except UsageError as error:
            with open_film(path, job.rate) as source:
                lasts = source.clip.duration
            length = "" if lasts is None else f", which lasts {lasts:.3f} s"
            raise UsageError(
                f"--at {float(seconds):g} lies behind the last frame of {path}{length}; choose less"
            ) from error
        with source:
            frame = next(frames_of(source))
        passed = frame.pts * frame.time_base - source.clip.zero
        number = round(passed * source.clip.rate) if source.clip.rate else 0
        found.append(replace(frame, number=number))
    return Pair.of(found[0], found[1], job.crop)


def _sheet(job: CompareJob, clip: Clip, pairs: Iterable[Pair]) -> Sheet:
    rows = tuple(_row(job, clip, pair) for pair in pairs)
    names = f"A: {job.first}   B: {job.second}"
    picture = clip.picture
    size = f"{picture.width}x{picture.height} {picture.format.name}"
    box = job.crop
    if box is not None:
        size += f", of which {box.width}x{box.height}+{box.left}+{box.top} is shown"
    return Sheet("vidrepair compare", (names, size), rows)


def _row(job: CompareJob, clip: Clip, pair: Pair) -> Row:
    shown = _pictures(job, clip, pair)
    change = _change(pair)
    height, width = change.shape
    plan = plan_frames(width, height, len(shown), clip.sar)
    small = [whole(one, plan) for one in shown]
    strips = []
    if change.any():
        # As wide as the pictures above, all places beside one another.
        room = (len(shown) * (plan.width + GAP) - GAP) // (len(shown) * PLACES) - GAP
        wide = max(room // MAGNIFIED, 16)
        tall = round(0.75 * wide)
        # Squares: one spot counts for more than the noise around it.
        windows = busiest_windows(np.square(change), tall, wide, PLACES)
        for window in windows:
            small[0] = outlined(small[0], window, plan, (height, width))
        close = tuple(detail(one, window, MAGNIFIED) for window in windows for one in shown)
        labels = (f"A, x{MAGNIFIED}", f"B, x{MAGNIFIED}", "difference x8")
        strips.append(Strip(len(windows) * labels, close))
    seconds = float(pair.first.pts * pair.first.time_base - clip.zero)
    share = float((change > 0.0).mean())
    caption = (
        f"luma: {share:.2%} of the samples differ, by {float(change.mean()):.2f} on average"
        f" and at most {float(change.max()):.1f} (of 255)"
    )
    about = "about " if job.at else ""  # what is sought is not counted
    title = f"{clock(seconds)}, {about}frame {pair.first.number}"
    return Row(title, caption, (Strip(("A", "B", "difference x8"), tuple(small)), *strips))


def _pictures(job: CompareJob, clip: Clip, pair: Pair) -> list[Shown]:
    """A, B, and their difference; of the part that is asked for."""
    first, second = pair.first, pair.second
    shown = [
        show_planes(frame.planes, frame.picture, clip.color_transfer) for frame in (first, second)
    ]
    if first.picture == second.picture:
        shown.append(show_difference(first.planes, second.planes, first.picture))
    else:
        # Of two formats what is seen on a screen is compared.
        change = 8 * (shown[1].astype(np.int16) - shown[0])
        shown.append((128 + change).clip(0, 255).astype(np.uint8))
    if job.crop is None:
        return shown
    top_left = job.crop.window()
    return [one[top_left] for one in shown]


def _write_video(job: CompareJob, one: Source, other: Source) -> CompareReport:
    """Both films in one, without sound."""
    clip = _shown_clip(one.clip, job)
    try:
        plan = plan_output(clip, job.output, OutputSettings(overwrite=job.overwrite))
    except UsageError as error:  # it speaks of settings of a run
        if job.output.suffix.lower() == ".mkv":
            raise
        form = clip.picture.format.name
        raise UsageError(f"{job.output} cannot hold {form}; write an .mkv file") from error
    seen = _Seen(1, None)
    count = 0
    with open_target(clip, plan, job.output) as target:
        for pair in _together(job, one, other):
            seen.counted(pair)
            target.write(_joined(pair, clip, job))
            count += 1
        target.finish()
    return CompareReport(str(job.output), count, seen.compared, seen.changed)


def _shown_clip(clip: Clip, job: CompareJob) -> Clip:
    """What the video is: of the source's format and times, with nothing beside its picture."""
    box, _ = _part(clip.picture, job)
    width = 2 * box.width if job.mode == "side" else box.width
    picture = replace(clip.picture, width=width, height=box.height)
    return replace(
        clip,
        picture=picture,
        stored_format=picture.format.name,
        lossless=False,
        display_matrix=None,
        rotation=0,
        field_order=1,
        side_data=(),
        others=(),
        chapters=0,
        metadata=(),
        video_metadata=(),
    )


def _part(picture: Picture, job: CompareJob) -> tuple[Box, tuple[int, int]]:
    """The part that is shown, without a last odd column or row that chroma cannot share; and the
    sampling of the chroma.
    """
    across, down = picture.format.sampling
    box = job.crop or Box(0, 0, picture.height, picture.width)
    width = max(box.width - box.width % across, across)
    height = max(box.height - box.height % down, down)
    return Box(box.top, box.left, box.top + height, box.left + width), (across, down)


def _joined(pair: Pair, clip: Clip, job: CompareJob) -> Frame:
    """One frame of the video."""
    picture = pair.first.picture
    box, sampling = _part(picture, job)
    edge = _edge(pair.first.pts * pair.first.time_base - clip.zero, box.width)
    planes: list[Plane] = []
    for index, (one, other) in enumerate(zip(pair.first.planes, pair.second.planes, strict=True)):
        chroma = picture.format.family == "yuv" and index > 0
        across, down = sampling if chroma else (1, 1)
        rows = slice(box.top // down, box.bottom // down)
        columns = slice(box.left // across, box.right // across)
        left, right = one[rows, columns], other[rows, columns]
        if job.mode == "side":
            planes.append(_beside(left, right))
        else:
            code = 2 ** (picture.format.bits - 1) if chroma else luma_range(picture)[1]
            planes.append(_wiped(left, right, edge // across, max(LINE // across, 1), code))
    return replace(pair.first, planes=tuple(planes), picture=clip.picture, carrier=None)


def _beside(one: Plane, other: Plane) -> Plane:
    joined: Plane = np.concatenate([one, other], axis=1)
    return joined


def _edge(seconds: Fraction, width: int) -> int:
    """The column at which a wipe goes over, a multiple of 4: chroma has its own there."""
    swing = math.sin(2.0 * math.pi * float(seconds / SWEEP))
    return int(width * (0.5 + SHARE * swing)) // 4 * 4


def _wiped(one: Plane, other: Plane, edge: int, line: int, code: int) -> Plane:
    """The first film left of a column, a line there, the second film right of it."""
    mixed = _beside(one[:, :edge], other[:, edge:])
    mixed[:, edge : edge + line] = code
    return mixed
