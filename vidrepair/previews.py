"""A preview: some frames of a film, restored without the film, on one contact sheet.

The module is not called preview: that is the function of the API.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vidrepair.decode import open_source
from vidrepair.display import Shown, show_difference, show_matte, show_planes, upright
from vidrepair.engines import Build
from vidrepair.errors import UsageError
from vidrepair.files import check_writable, same_file
from vidrepair.glimpse import Glimpse, Glimpses, Subject
from vidrepair.interlace import Interlacing
from vidrepair.overlay import luma_range
from vidrepair.regions import Box, Mask, busiest_windows, dilate
from vidrepair.report import NOTE, Progress, steady_progress
from vidrepair.scan import Place, choose, scan_film
from vidrepair.settings import DEINTERLACED, EngineSettings, Pair, RepairSettings
from vidrepair.sheet import (
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
from vidrepair.tags import Clip, counted, one_line, plain_text
from vidrepair.version import __version__

log = logging.getLogger(__name__)

MOST_FRAMES = 24
MOST_STRENGTHS = 6
REPAIRED = 20.0
"""What a repaired sample counts, in 8-bit code values of change, where a detail is chosen."""
DIM = 0.2
"""Luma from black to white up to which a change is hard to see, and a detail of it tells little."""
HARDLY = 1.5
"""Noise, on the 8-bit scale, below which strengths look alike."""
PREVIEW = (
    "This is a preview: each frame was restored on its own, from the frames around it. In the"
    " finished film it may differ a little."
)


@dataclass(frozen=True, slots=True)
class PreviewJob:
    """A sheet to be made."""

    source: Path
    output: Path
    """A .png file."""
    repair: RepairSettings = field(default_factory=RepairSettings)
    """Without what goes with the film frame by frame: masks, and frames that are named."""
    engine: EngineSettings = field(default_factory=EngineSettings)
    strengths: tuple[Pair, ...] = ()
    """Shares of the noise removed, luma and chroma, 0 to 100: a column for each. None: that of
    `repair` alone."""
    frames: int = 6
    """Chosen from the whole film."""
    at: tuple[Fraction, ...] = ()
    """Seconds from where the picture starts: these frames instead."""
    stream: int | None = None
    """The number of the video stream; None takes the first."""
    overwrite: bool = False
    rate: Fraction | None = None
    """Frames a second of numbered pictures; a film says its own."""

    def __post_init__(self) -> None:
        if self.output.suffix.lower() != ".png":
            raise UsageError(f"{self.output} is no .png file, which a preview is; name one")
        if not 1 <= self.frames <= MOST_FRAMES:
            raise UsageError(f"--frames {self.frames} is out of range; use 1 to {MOST_FRAMES}")
        if len(self.at) > MOST_FRAMES:
            raise UsageError(f"--at is given {len(self.at)} times; give it {MOST_FRAMES} at most")
        if len(self.strengths) > MOST_STRENGTHS:
            many = len(self.strengths)
            raise UsageError(f"--denoise has {many} strengths; use {MOST_STRENGTHS} at most")
        asked = self.repair
        if asked.mask_in or asked.protect or asked.bad_frames or asked.fill_gaps:
            raise UsageError(
                "a preview jumps through the film: masks, --bad-frames and --fill-gaps go with it"
                " frame by frame; leave them out"
            )
        for pair in self.shares:
            replace(asked, denoise=pair)  # says what is wrong with it

    @property
    def shares(self) -> tuple[Pair, ...]:
        """The strengths that are shown, each once."""
        return tuple(dict.fromkeys(self.strengths)) or (self.repair.denoise,)


@dataclass(frozen=True, slots=True)
class PreviewFrame:
    """One frame of a sheet."""

    seconds: float
    """From where the picture starts."""
    frame: int | None
    """Counted from 0; None where the film has no rate."""
    reasons: tuple[str, ...]
    noise: Pair
    """Found, luma and chroma, on the 8-bit scale."""
    defects: dict[str, int]
    """Places that are repaired, by kind."""
    touched: float
    """Share of the samples of luma that are repaired."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "seconds": round(self.seconds, 6),
            "frame": self.frame,
            "reasons": list(self.reasons),
            "noise": [round(part, 3) for part in self.noise],
            "defects": self.defects,
            "touched": self.touched,
        }

    @property
    def when(self) -> str:
        """Time, and number if there is one."""
        number = "" if self.frame is None else f", frame {self.frame}"
        return f"{clock(self.seconds)}{number}"

    def __str__(self) -> str:
        luma, chroma = self.noise
        places = ", ".join(f"{count} {kind}" for kind, count in sorted(self.defects.items()))
        repaired = f"{places}, {self.touched:.2%} of the picture" if places else "nothing"
        return f"noise: {luma:.1f} luma, {chroma:.1f} chroma (of 255); repaired: {repaired}"


@dataclass(frozen=True, slots=True)
class PreviewReport:
    """What was shown."""

    source: str
    output: str
    frames: tuple[PreviewFrame, ...]
    engine: dict[str, str | int]
    decoded: int
    """Frames that had to be read."""
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "event": "done",
            "source": plain_text(self.source),
            "output": plain_text(self.output),
            "frames": [frame.as_dict() for frame in self.frames],
            "engine": self.engine,
            "decoded": self.decoded,
            "seconds": round(self.seconds, 3),
        }

    def summary(self) -> str:
        """A line for the sheet, and one for each frame."""
        count = counted(len(self.frames), "frame")
        first = f"{self.output}: {count} of {self.source} in {self.seconds:.1f} s"
        lines = [first, *(f"{frame.when}: {frame}" for frame in self.frames)]
        return "\n".join(map(one_line, lines))


def make_preview(
    job: PreviewJob,
    observer: Callable[[Progress], None] | None = None,
    build: Build | None = None,
) -> PreviewReport:
    """Choose frames, restore each in a span of its own, and write the sheet.

    `observer` is told after each frame. Raises a VidrepairError; nothing but a finished sheet gets
    the name.
    """
    started = time.monotonic()
    if same_file(job.output, job.source):
        raise UsageError(f"{job.output} is the film itself; choose another name")
    check_writable(job.output, overwrite=job.overwrite)
    with ExitStack() as owned:
        subject = _open(job)
        places, decoded = _places(job, subject.clip)
        glimpses = Glimpses(subject, owned, build)
        frames, rows = [], []
        for glimpse in glimpses.restore(places):
            facts = _facts(glimpse, subject.clip)
            title = f"{facts.when}   {', '.join(facts.reasons)}"
            frames.append(facts)
            rows.append(Row(title, str(facts), _strips(glimpse, subject)))
            if observer is not None:
                observer(steady_progress(len(rows), len(places), time.monotonic() - started))
        _tell_if_alike(job, frames)
        told = (PREVIEW, *_told(subject, glimpses))
        sheet = Sheet(f"vidrepair preview of {job.source.name}", told, tuple(rows))
        write_sheet(sheet, job.output, overwrite=job.overwrite)
        return PreviewReport(
            source=subject.clip.name,
            output=str(job.output),
            frames=tuple(frames),
            engine=glimpses.engine.identity.as_dict(),
            decoded=decoded + glimpses.decoded,
            seconds=time.monotonic() - started,
        )


def _tell_if_alike(job: PreviewJob, frames: list[PreviewFrame]) -> None:
    """Before somebody looks for a difference between columns that have none."""
    most = max(max(frame.noise) for frame in frames)
    if len(job.shares) > 1 and most < HARDLY:
        log.log(NOTE, "hardly any noise (up to %.1f of 255): the strengths look alike", most)


def _open(job: PreviewJob) -> Subject:
    """The film, and how its fields are repaired."""
    asked = job.repair.interlace
    with open_source(job.source, stream=job.stream, rate=job.rate) as source:
        found = Interlacing(source.clip.interlaced, combed=False)
        if asked != "progressive":
            found = source.interlacing()
        for remark in (*source.remarks, *found.remarks(asked)):
            log.warning(remark)
        way = found.way(asked)
        source.deinterlace_as(way)
        return Subject(job.source, source.clip, way, job.repair, job.shares, job.engine, job.rate)


def _places(job: PreviewJob, clip: Clip) -> tuple[tuple[Place, ...], int]:
    """The frames that are shown, and how many were read to choose them."""
    if job.at:
        return tuple(Place(seconds, ("as asked",)) for seconds in dict.fromkeys(job.at)), 0
    scan = scan_film(job.source, clip, clip.video.index)
    return choose(scan.looks, job.frames), scan.decoded


def _facts(glimpse: Glimpse, clip: Clip) -> PreviewFrame:
    frame, touch = glimpse.frame, glimpse.touch
    defects: dict[str, int] = {}
    for defect in touch.defects:
        defects[defect.kind] = defects.get(defect.kind, 0) + 1
    return PreviewFrame(
        seconds=float(frame.pts * frame.time_base - clip.zero),
        frame=frame.number if clip.rate else None,
        reasons=glimpse.place.reasons,
        noise=glimpse.noise,
        defects=defects,
        touched=0.0 if touch.codes is None else float((touch.codes > 0).mean()),
    )


def _strips(glimpse: Glimpse, subject: Subject) -> tuple[Strip, ...]:
    """The whole frame, and a detail of it where that is not shown sample by sample."""
    clip, shares = subject.clip, subject.strengths
    picture = glimpse.frame.picture
    labels = ("before", *_names(shares), f"difference x8{_of_last(shares)}", "repaired (red)")
    turned = clip.rotation % 180 != 0
    size = (picture.height, picture.width) if turned else (picture.width, picture.height)
    sar = 1 / clip.sar if turned and clip.sar else clip.sar
    plan = plan_frames(*size, len(labels), sar)
    codes = glimpse.touch.codes
    touched = None if codes is None else codes > 0
    bold = touched
    if touched is not None and plan.width < size[0]:
        # A speck of one sample would be gone where the picture is shown smaller.
        bold = dilate(touched, size[0] // plan.width)
    shown = _pictures(glimpse, clip)
    small = [whole(one, plan) for one in (*shown, _matte(glimpse, clip, bold))]
    if plan.detail is None:
        return (Strip(labels, tuple(small)),)
    window = _window(glimpse, clip, plan.detail)
    small[0] = outlined(small[0], window, plan, (size[1], size[0]))
    exact = (*shown, _matte(glimpse, clip, touched))
    close = tuple(detail(one, window, plan.zoom) for one in exact)
    words = (f"detail, x{plan.zoom}", *[""] * (len(labels) - 1))
    return Strip(labels, tuple(small)), Strip(words, close)


def _pictures(glimpse: Glimpse, clip: Clip) -> list[Shown]:
    """Before, after in every strength, and the difference of the last one."""
    picture, transfer = glimpse.frame.picture, clip.color_transfer
    shown = [show_planes(planes, picture, transfer) for planes in (glimpse.decoded, *glimpse.after)]
    shown.append(show_difference(glimpse.decoded, glimpse.after[-1], picture))
    return [upright(one, clip) for one in shown]


def _matte(glimpse: Glimpse, clip: Clip, touched: Mask | None) -> Shown:
    return upright(show_matte(glimpse.decoded, glimpse.frame.picture, touched), clip)


def _window(glimpse: Glimpse, clip: Clip, size: Box) -> Box:
    """Where a frame was changed most."""
    picture = glimpse.frame.picture
    change = glimpse.after[-1][0].astype(np.float32) - glimpse.decoded[0]
    weights = np.abs(change) * (255.0 / picture.format.peak)
    black, white = luma_range(picture)
    shown = np.maximum(glimpse.decoded[0], glimpse.after[-1][0])
    weights *= ((shown - float(black)) / (DIM * (white - black))).clip(0.1, 1.0)
    if glimpse.touch.codes is not None:
        weights[glimpse.touch.codes > 0] += REPAIRED
    return busiest_windows(upright(weights, clip), size.height, size.width)[0]


def _names(shares: tuple[Pair, ...]) -> tuple[str, ...]:
    if len(shares) == 1:
        return ("after",)
    return tuple(f"after, denoise {_share(pair)}" for pair in shares)


def _of_last(shares: tuple[Pair, ...]) -> str:
    return "" if len(shares) == 1 else f" (denoise {_share(shares[-1])})"


def _share(pair: Pair) -> str:
    luma, chroma = pair
    return f"{luma:g}" if luma == chroma else f"{luma:g}/{chroma:g}"


def _told(subject: Subject, glimpses: Glimpses) -> tuple[str, str]:
    """The film, and what was asked for."""
    clip, asked = subject.clip, subject.repair
    picture = clip.picture
    film = [
        f"{picture.width}x{picture.height} {picture.format.name}, {clip.codec}",
        "" if clip.rate is None else f"{float(clip.rate):g} fps",
        "" if clip.duration is None else clock(clip.duration),
        "fields repaired apart" if subject.fields else "",
        "" if subject.way not in DEINTERLACED else f"made progressive by {subject.way}",
        "" if clip.number is None else f"frame 0 is picture {clip.number}",
    ]
    kinds = ", ".join(asked.damage.kinds) or "none"
    sure = f" (confidence {asked.damage.min_confidence:g})" if asked.mends else ""
    noise = "measured"
    if asked.noise is not None:
        noise = ",".join(f"{part:g}" for part in asked.noise)
    elif asked.noise_profile is not None:
        noise = asked.noise_profile.name
    identity = glimpses.engine.identity
    settings = [
        f"denoise {', '.join(map(_share, subject.strengths))}",
        f"noise {noise}",
        f"repair {kinds}{sure}",
        f"deflicker {asked.deflicker:g}" if asked.deflicker else "",
        f"grain {asked.grain:g}" if asked.grain else "",
        "" if asked.max_change is None else f"max-change {asked.max_change:g}",
        f"model {glimpses.model}, {identity.backend} {identity.precision}",
        f"vidrepair {__version__}",
    ]
    return "; ".join(filter(None, film)), "; ".join(filter(None, settings))
