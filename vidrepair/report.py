"""What a run tells while it goes on and when it has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from vidrepair.tags import Damage, counted, one_line, plain_text

NOTE = (logging.INFO + logging.WARNING) // 2
"""Level of messages on what a user should know, and need not mind."""
logging.addLevelName(NOTE, "NOTE")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come."""

    frames: int
    """Written so far."""
    total: int | None
    """An estimate; None when the source does not say."""
    seconds: float
    fps: float
    """Over the last seconds."""
    eta: float | None
    """Seconds left; None when the total is not known."""
    limit: str
    """The stage that the others wait for: decode, engine or encode."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON lines."""
        return {"event": "progress", **asdict(self)}


def steady_progress(frames: int, total: int, seconds: float) -> Progress:
    """Of something that takes `seconds` for so many frames, and the engine almost all of them."""
    fps = frames / seconds if seconds else 0.0
    left = (total - frames) / fps if fps else None
    return Progress(frames, total, seconds, fps, left, "engine")


@dataclass(frozen=True, slots=True)
class ShotShare:
    """How much of one shot was repaired."""

    shot: int
    """Counted from 0."""
    first: int
    """The number of its first frame."""
    frames: int
    touched: float
    """Share of its samples of luma that the fill was laid over."""
    kinds: dict[str, float]
    """The same by kind of damage; places of two kinds may overlap."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did."""

    source: str
    output: str
    written: bool
    """Whether a film was, or only what is beside it."""
    frames: int
    shots: int
    repeats: int
    """Frames identical to the one before, computed once."""
    copies: int
    """Frames that show the one before again, but for what a codec changed; computed once."""
    rebuilt: int
    """Frames that were lost, and made of their neighbours."""
    seconds: float
    engine: dict[str, str | int]
    noise: tuple[float, float]
    """Mean deviation found, luma and chroma, on the 8-bit scale."""
    damage: Damage
    """What the decoder met."""
    defects: dict[str, int]
    """Places that were repaired, by kind, such as dust."""
    touched: float
    """Share of the samples of luma that the fill was laid over."""
    shares: tuple[ShotShare, ...]
    """The same for each shot."""
    stages: dict[str, float]
    """CPU seconds of each stage's own thread; codecs and the engine work in others beside."""
    limit: str
    busy: float
    """Share of the time since the engine was there in which it waited for no other stage."""
    warnings: tuple[str, ...]
    taken: int = 0
    """Frames of an earlier run, which this one went on with."""
    beside: tuple[str, ...] = ()
    """Other files that were written: sidecar, markers, matte."""
    notes: tuple[str, ...] = ()
    """What was worth telling and is nobody's loss, such as what `--for` set."""

    @property
    def fps(self) -> float:
        """Frames per second over the whole run, without those of an earlier one."""
        return (self.frames - self.taken) / self.seconds if self.seconds else 0.0

    def pace(self) -> str:
        """How many frames in what time, and how fast, where any was done by this run."""
        before = f", {self.taken} of them done before," if self.taken else ""
        rate = f" ({self.fps:.1f} fps)" if self.frames > self.taken else ""
        return f"{counted(self.frames, 'frame')}{before} in {self.seconds:.1f} s{rate}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON lines."""
        return {"event": "done", **asdict(self), "fps": round(self.fps, 3)}

    def summary(self) -> str:
        """A line or two for people."""
        luma, chroma = self.noise
        first = (
            f"{self.output}: {self.pace()}, "
            f"{counted(self.shots, 'shot')}, "
            f"noise {luma:.1f} luma {chroma:.1f} chroma; the limit was {self.limit}"
        )
        lines = [first]
        kinds = {kind: count for kind, count in self.defects.items() if count}
        if kinds:
            places = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            done = "repaired" if self.written else "found"
            lines.append(f"{done}: {places}; {self.touched:.4%} of the picture")
        made = [
            f"{count} {one if count == 1 else many}"
            for count, one, many in (
                (self.copies, "near-copy of the frame before", "near-copies of the frame before"),
                (
                    self.rebuilt,
                    "lost frame made of its neighbours",
                    "lost frames made of their neighbours",
                ),
            )
            if count
        ]
        if made:
            lines.append(", ".join(made))
        if met := str(self.damage):
            lines.append(f"damage met in the source: {met}")
        if self.beside:
            lines.append(f"written beside it: {', '.join(self.beside)}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be."""

    what: str
    """Its name, as `Expectation.lost` takes it: matrix, language, time of frame."""
    where: str
    """the picture, the file, the chapters, or a stream by its number in the source."""
    expected: str
    found: str

    def __str__(self) -> str:
        return one_line(f"{self.where}: {self.what} is {self.found}, expected {self.expected}")

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        names = ("what", "where", "expected", "found")
        return {name: plain_text(getattr(self, name)) for name in names}


class Speedometer:
    """Frames per second over the last ten seconds or so."""

    def __init__(self, total: int | None, clock: Callable[[], float], done: int = 0) -> None:
        """Of `total` frames, of which `done` were finished before."""
        self._total, self._clock = total, clock
        self._started = clock()
        self._marks: list[tuple[float, int]] = [(self._started, done)]

    def progress(self, frames: int, limit: str) -> Progress:
        """The state after so many frames."""
        now = self._clock()
        self._marks = [mark for mark in self._marks if now - mark[0] < 10.0] or self._marks[-1:]
        then, before = self._marks[0]
        fps = (frames - before) / (now - then) if now > then else 0.0
        self._marks.append((now, frames))
        left = None if self._total is None or fps == 0.0 else max(self._total - frames, 0) / fps
        return Progress(frames, self._total, now - self._started, fps, left, limit)


class Teller:
    """Tells an observer twice a second or so how far a run is."""

    def __init__(
        self, observer: Callable[[Progress], None] | None, total: int | None, done: int = 0
    ) -> None:
        """Of `total` frames, of which `done` were finished before."""
        self._observer = observer
        self._clock = Speedometer(total, time.monotonic, done)
        self._told = 0.0

    def __call__(self, frames: int, limit: Callable[[], str]) -> None:
        """So many are done now; `limit` says which stage the others wait for."""
        now = time.monotonic()
        if self._observer is not None and now - self._told > 0.5:
            self._told = now
            self._observer(self._clock.progress(frames, limit()))


def spoken_size(size: float) -> str:
    """Bytes as megabytes, or gigabytes, for people."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
