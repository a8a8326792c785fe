"""Looks at a film from end to end without reading it all, and chooses frames worth showing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vidrepair.carriers import Repacker, plane_views
from vidrepair.containers import close_reader, fraction, open_container, video_stream
from vidrepair.decode import SOUGHT, Source, open_film
from vidrepair.errors import InputError
from vidrepair.frames import Frame
from vidrepair.noise import combine, measure_span
from vidrepair.planes import block_means
from vidrepair.sequences import origin_at
from vidrepair.tags import Clip

LOOKS = 40
"""Places of a film that are looked at, about."""
SEEN = 4
"""Frames in a row that are looked at in each: the noise needs two pairs."""
READ_THROUGH = 600
"""Frames up to which a film is read from end to end: it may have hardly a key frame."""
ROWS, COLUMNS, TALL = 24, 32, 10
"""Cells that a picture falls into, and rows that are read of each."""
MIDDLE = (640, 360)
"""Width and height of the part whose noise is measured."""
EMPTY = 1.5 / 255.0
"""Deviation of the cells below which a picture shows nothing: black, white, a title's ground."""
REASONS = ("noisiest", "most motion", "darkest", "brightest")
"""What a frame is chosen for, by what tells most."""
STRETCH = "one of a long stretch"
APART = 0.25
"""Share of an even spacing by which two chosen frames are apart, if the film allows it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one place of a film shows. Levels are shares of the peak code."""

    seconds: Fraction
    """Of its frame, from where the picture starts."""
    luma: float
    """Mean."""
    contrast: float
    """Deviation of the means of its cells."""
    motion: float
    """Mean change of a cell beside that of all of them, the least of three steps, those between
    equal frames left out: neither a cut nor dirt nor flicker counts."""
    noise: float
    """Deviation, mean over the levels."""


@dataclass(frozen=True, slots=True)
class Place:
    """A frame that was chosen."""

    seconds: Fraction
    """From where the picture starts; the first frame at or after it is meant."""
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """What was seen of a film."""

    looks: tuple[Look, ...]
    decoded: int
    """Frames that it took."""


def scan_film(path: Path, clip: Clip, stream: int | None = None) -> Scan:
    """Look at about LOOKS places, spread evenly: a key frame and the three frames after it.

    A film of at most READ_THROUGH frames, and one that cannot be searched, is read through. Raises
    InputError when there is no frame that can be decoded.
    """
    count = clip.frame_count
    short = count is None or clip.duration is None or count <= READ_THROUGH
    scan = Scan((), 0) if short or clip.container not in SOUGHT else _leap(path, clip)
    if len(scan.looks) < min(LOOKS // 4, 1 + (count or 0) // 250):
        with open_film(path, clip.rate, stream=stream) as source:
            read = _read_through(source)
        scan = Scan(read.looks, scan.decoded + read.decoded)
    if not scan.looks:
        raise InputError(f"{path} holds no frame that can be decoded; copy it again")
    return scan


def choose(looks: Sequence[Look], count: int) -> tuple[Place, ...]:
    """At most `count` places in order of time: one for each of REASONS, which may fall together,
    then those that lie farthest from all others. Pictures that show nothing come last.
    """
    shown = [look for look in looks if look.contrast > EMPTY] or list(looks)
    length = float(max(look.seconds for look in looks) - min(look.seconds for look in looks))
    spacing = APART * length / count
    chosen: dict[Look, list[str]] = {}
    for reason in REASONS:
        if len(chosen) < count:
            best = _best(reason, shown, list(chosen), spacing)
            chosen.setdefault(best, []).append(reason)
    for _ in range(count - len(chosen)):
        left = [look for look in shown if look not in chosen]
        left = left or [look for look in looks if look not in chosen]
        if not left:
            break
        chosen[max(left, key=lambda look: _distance(look, chosen))] = [STRETCH]
    places = (Place(look.seconds, tuple(reasons)) for look, reasons in chosen.items())
    return tuple(sorted(places, key=lambda place: place.seconds))


def _best(reason: str, looks: Sequence[Look], chosen: Sequence[Look], spacing: float) -> Look:
    """The look that a reason asks for; one beside a chosen one is no news, unless it is that."""
    value = {
        "noisiest": lambda look: look.noise,
        "most motion": lambda look: look.motion,
        "darkest": lambda look: -look.luma,
        "brightest": lambda look: look.luma,
    }[reason]
    free = [look for look in looks if look in chosen or _distance(look, chosen) >= spacing]
    return max(free or looks, key=value)


def _distance(look: Look, others: Sequence[Look] | dict[Look, list[str]]) -> float:
    """Seconds to the nearest of the others."""
    return min((abs(float(look.seconds - one.seconds)) for one in others), default=float("inf"))


def _leap(path: Path, clip: Clip) -> Scan:
    """From key frame to key frame, at most LOOKS of them."""
    looks: dict[Fraction, Look] = {}
    decoded = 0
    container = open_container(origin_at(path, clip.rate))
    try:
        stream = video_stream(container, clip.name, clip.video.index)
        stream.thread_type = "AUTO"
        reader = _Reader(container, stream, clip)
        for number in range(LOOKS):
            seconds = (clip.duration or 0.0) * (number + 0.5) / LOOKS
            frames = reader.read(clip.zero + Fraction(seconds))
            decoded += len(frames)
            if frames and (look := _look(frames, clip.zero)).seconds not in looks:
                looks[look.seconds] = look
    except av.FFmpegError:
        pass  # what can be seen elsewhere is enough, and damage is met again where it matters
    finally:
        close_reader(container)
    return Scan(tuple(looks[at] for at in sorted(looks)), decoded)


class _Reader:
    """The frames from a key frame on."""

    def __init__(self, container: Any, stream: Any, clip: Clip) -> None:
        self._container, self._stream, self._clip = container, stream, clip
        self._unit = fraction(stream.time_base) or Fraction(1, 90000)
        self._repacker = Repacker()

    def read(self, seconds: Fraction) -> list[Frame]:
        """At most SEEN frames from the key frame at or before a time of the file."""
        self._container.seek(int(seconds / self._unit), stream=self._stream)
        # The next look seeks again: what the decoder holds by then is dropped.
        return list(islice(self._frames(), SEEN))

    def _frames(self) -> Iterator[Frame]:
        picture = self._clip.picture
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except (av.FFmpegError, EOFError):
                continue
            for number, decoded in enumerate(frames):
                same = (decoded.width, decoded.height) == (picture.width, picture.height)
                if decoded.pts is None or not same:
                    continue
                carrier = self._repacker.repack(decoded, picture.format.name)
                yield Frame(
                    planes=plane_views(carrier, picture.format),
                    picture=picture,
                    number=number,
                    pts=decoded.pts,
                    time_base=self._unit,
                    carrier=carrier,
                )


def _read_through(source: Source) -> Scan:
    """Every frame is decoded, and about LOOKS to 2 LOOKS are looked at.

    Where the length is not known the looks are thinned out as they become too many.
    """
    every, count = max((source.clip.frame_count or 0) // LOOKS, 1), 0
    looks: list[Look] = []
    held: list[Frame] = []
    for item in source.read():
        if not isinstance(item, Frame):
            continue
        count += 1
        if item.number % every >= SEEN:
            continue
        held = [*held[-SEEN + 1 :], item]
        if len(held) == SEEN and held[0].number % every == 0:
            looks.append(_look(held, source.clip.zero))
        if len(looks) == 2 * LOOKS:
            looks, every = looks[::2], 2 * every
    if not looks and held:
        looks.append(_look(held, source.clip.zero))
    return Scan(tuple(looks), count)


def _look(frames: Sequence[Frame], zero: Fraction) -> Look:
    """What some frames in a row show; the first is the one that is meant."""
    first = frames[0]
    peak = first.picture.format.peak
    cells = [block_means(frame.luma, ROWS, COLUMNS, TALL) / peak for frame in frames]
    return Look(
        seconds=first.pts * first.time_base - zero,
        luma=float(cells[0].mean()),
        contrast=float(cells[0].std()),
        motion=_motion(cells),
        noise=float(combine(measure_span([_middle(one) for one in frames]), None).luma.mean()),
    )


def _motion(cells: Sequence[NDArray[np.floating[Any]]]) -> float:
    steps = [other - one for one, other in pairwise(cells)]
    if not steps:
        return 0.0
    # A frame that is shown twice says nothing of motion.
    steps = [step for step in steps if step.any()] or steps
    own = [np.abs(step - np.median(step)) for step in steps]
    return float(np.min(own, axis=0).mean())


def _middle(frame: Frame) -> Frame:
    """The middle of a large picture: enough to tell noisy from calm."""
    picture, planes = frame.picture, []
    width, height = min(picture.width, MIDDLE[0]), min(picture.height, MIDDLE[1])
    for index, plane in enumerate(frame.planes):
        chroma = picture.format.family == "yuv" and index > 0
        across, down = picture.format.sampling if chroma else (1, 1)
        left, top = (picture.width - width) // 8 * 4, (picture.height - height) // 8 * 4
        rows = slice(top // down, -(-(top + height) // down))
        planes.append(plane[rows, left // across : -(-(left + width) // across)])
    return replace(
        frame, planes=tuple(planes), picture=replace(picture, width=width, height=height)
    )
