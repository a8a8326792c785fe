"""A film written in segments: what is finished stays finished, whatever ends the run.

Each segment is a film of its own for the encoder, from its first key frame to its last packet.
Its packets lie in a file that is on the disk before the journal names it. When the last one is
there, they are joined by packet copy with everything else that the source holds.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from shutil import disk_usage
from typing import Any

import av

from vidrepair.encode import OutputPlan, Target
from vidrepair.encoder import Encoder, add_film
from vidrepair.errors import DamagedSegment, VidrepairError
from vidrepair.files import FULL, Closing
from vidrepair.frames import Frame
from vidrepair.fresh_memory import fill_with_zeros
from vidrepair.journal import Journal
from vidrepair.matte import Touch
from vidrepair.packed_times import pack_times
from vidrepair.packets import PacketWriter, read_packets
from vidrepair.record import Segment
from vidrepair.report import spoken_size
from vidrepair.segment_plan import Plan, Planned, Seams
from vidrepair.tags import Clip, Copied
from vidrepair.touches import TouchWriter, read_touches

AHEAD = 2.0
"""Seconds by which the other streams are read before the film is written."""


@dataclass(slots=True)
class _Open:
    """The segment under construction."""

    number: int
    encoder: Encoder
    container: Any
    """Its muxer, which writes nothing: encoders belong to one."""
    packets: PacketWriter
    touches: TouchWriter | None
    first: int
    times: list[int]


class SegmentedTarget(Closing):
    """Takes what a target takes, into segments."""

    def __init__(
        self,
        clip: Clip,
        plan: OutputPlan,
        journal: Journal,
        borders: Seams | Plan,
        tally: Callable[[int], dict[str, Any]],
        total: int | None,
        *,
        touches: bool = False,
    ) -> None:
        """`borders` say where segments end: a plan where only some of them are written. `tally`
        tells what was counted since it was asked last, from a frame on; `total` is how many frames
        there will be. With `touches`, what is repaired is kept for a matte or a sidecar.
        """
        self._touches = touches
        self._clip, self._plan = clip, plan
        self._journal, self._borders, self._tally, self._total = journal, borders, tally, total
        self._open: _Open | None = None
        self._cancelled = False
        self._bytes = self._frames = 0
        """Of what this run has finished."""

    def write(self, frame: Frame) -> None:
        """Encode one frame, in order."""
        if self._cancelled:
            raise VidrepairError(f"writing {self._journal.folder} was cancelled")
        length = 0 if self._open is None else len(self._open.times)
        ends = self._borders.ends_before(frame.number, length)
        with self._explained():
            if ends and self._open is not None:
                self._finish(frame.pts)
            if self._open is None:
                self._open = self._begin(frame)
            self._open.times.append(frame.pts)
            for packet in self._open.encoder.encode(frame):
                self._open.packets.add(packet)

    def end_stretch(self, last: Planned) -> None:
        """What follows the `last` segment is written by somebody else, or was.

        Raises VidrepairError where not all of its frames have come.
        """
        if self._open is not None:
            if (reached := self._open.first + len(self._open.times)) < last.after:
                raise fell_short(self._clip, reached, last.after)
            with self._explained():
                self._finish(last.until)

    def note(self, touch: Touch) -> None:
        """Keep what was done to the frame that was written last."""
        if self._open is not None and self._open.touches is not None:
            with self._explained():
                self._open.touches.add(touch)

    def copy(self, item: Copied) -> None:
        """The packets of other streams are read again when the film is joined."""

    def cancel(self) -> None:
        """From any thread: `write` raises VidrepairError soon."""
        self._cancelled = True

    def end(self) -> None:
        """The last frame has come."""
        if self._open is not None:
            with self._explained():
                self._finish(None)
        elif not self._journal.record.segments:
            raise VidrepairError("no frame was written; look at the source")

    def losses(self) -> list[str]:
        """None."""
        return []

    def close(self) -> None:
        """Let go of the segment under construction."""
        if self._open is not None:
            self._open.packets.close()
            if self._open.touches is not None:
                self._open.touches.close()
            self._open.container.close()
            self._open = None
            fill_with_zeros(on=False)

    def _begin(self, frame: Frame) -> _Open:
        container: Any = av.open(io.BytesIO(), "w", format=self._plan.container)
        stream = add_film(container, self._clip, self._plan)
        number = self._borders.number_of(frame.number, len(self._journal.record.segments))
        path = self._journal.path(frame.number)
        encoder = Encoder(self._clip, self._plan, stream, str(path))
        touches = TouchWriter(self._journal.touches_path(frame.number)) if self._touches else None
        fill_with_zeros(on=self._plan.codec == "libx264")
        return _Open(number, encoder, container, PacketWriter(path), touches, frame.number, [])

    def _finish(self, until: int | None) -> None:
        """End the segment; the next frame, if any, is shown at `until`."""
        assert self._open is not None
        opened = self._open
        for packet in opened.encoder.finish(until):
            opened.packets.add(packet)
            if self._cancelled:
                raise VidrepairError(f"writing {self._journal.folder} was cancelled")
        segment = Segment(
            number=opened.number,
            first=opened.first,
            frames=len(opened.times),
            end=opened.encoder.end,
            times=pack_times(opened.times),
            sha256=opened.packets.finish(),
            size=opened.packets.size,
            tally=json.dumps(self._tally(opened.first)),
            touches="" if opened.touches is None else opened.touches.finish(),
        )
        self._journal.add(segment)
        self.close()
        self._check_room(segment)

    def _check_room(self, segment: Segment) -> None:
        """Refuse, after the first segment rather than after a night, what will not fit.

        The film is there twice when it is joined: as segments, and whole.
        """
        self._bytes += segment.size
        self._frames += segment.frames
        total = max(self._total or 0, segment.after)
        left = total - segment.after
        needed = self._bytes / self._frames * (left + total)
        free = disk_usage(self._journal.folder).free
        if needed > free:
            raise VidrepairError(
                f"the film will need about {spoken_size(needed)} more at"
                f" {self._journal.folder.parent}, where {spoken_size(free)} are free; free some and"
                " go on with vidrepair resume, or begin anew with --no-journal, which needs half"
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what PyAV and the system raise into one sentence."""
        folder = self._journal.folder
        try:
            yield
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if getattr(error, "errno", None) in FULL:
                raise VidrepairError(
                    f"no space left in {folder} ({reason}); free some and go on with"
                    " vidrepair resume"
                ) from error
            raise VidrepairError(
                f"{folder} cannot be written ({reason}); try another folder, or another --codec"
            ) from error


def fell_short(clip: Clip, now: int, before: int) -> VidrepairError:
    """A film that is read again gave fewer frames, as over a network that failed meanwhile."""
    return VidrepairError(
        f"{clip.name} ended after {now} frames, and had at least {before} before; see to its disk"
        " or network, and go on with vidrepair resume"
    )


def damaged(journal: Journal) -> list[int]:
    """The numbers of segments whose files are not what they were; reads them all."""
    return sorted(one.number for one in journal.finished() if not _whole(journal, one))


def _whole(journal: Journal, segment: Segment) -> bool:
    files = {journal.path(segment.first): segment.sha256}
    if segment.touches:
        files[journal.touches_path(segment.first)] = segment.touches
    for path, sha256 in files.items():
        try:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    return False
        except FileNotFoundError:
            return False
        except OSError as error:  # it may be there, and good
            raise VidrepairError(
                f"{path} cannot be read ({error.strerror}); see to the disk and try again"
            ) from error
    return True


def frames_of(journal: Journal, clip: Clip) -> Iterator[tuple[Frame, Touch]]:
    """Number and time of every frame of all segments, without samples, and what was done to it.

    Raises DamagedSegment where a file is not what it was; that segment and all that follow are
    forgotten then.
    """
    for segment in journal.record.segments:
        path = journal.touches_path(segment.first)
        with _forgetting(journal, segment):
            touches = read_touches(path, clip.picture, segment.touches)
            for offset, (pts, touch) in enumerate(zip(segment.pts(), touches, strict=True)):
                yield Frame((), clip.picture, segment.first + offset, pts, clip.time_base), touch


@contextmanager
def _forgetting(journal: Journal, segment: Segment) -> Iterator[None]:
    """A segment that is damaged is forgotten, and all that follow, so that `resume` computes them
    again.
    """
    try:
        yield
    except (DamagedSegment, FileNotFoundError) as error:
        journal.forget([segment.number])
        raise DamagedSegment(
            f"segment {segment.number} of {journal.folder} is damaged ({error}); vidrepair resume"
            " computes it and what follows again"
        ) from error


def join(
    journal: Journal,
    target: Target,
    beside: Iterator[Copied],
    time_base: Any,
    end: float = math.inf,
) -> None:
    """Write the packets of all segments, in order, and those of the other streams between them
    that start before `end`, in seconds of the source.

    Raises DamagedSegment where one is not what it was; it and all that follow are forgotten then.
    """
    held: Copied | None = next(beside, None)
    last: int | None = None
    for segment in journal.record.segments:
        with _forgetting(journal, segment):
            for packet in read_packets(journal.path(segment.first), time_base, segment.sha256):
                # Encoders guess the first times of decoding where frames do not lie evenly.
                if last is not None and packet.dts <= last:
                    packet.dts = last + 1
                last = packet.dts
                until = float(packet.dts * time_base - target.offset) + AHEAD
                while held is not None and held.seconds < min(until, end):
                    target.copy(held)
                    held = next(beside, None)
                while held is not None and end <= held.seconds < until:
                    held = next(beside, None)
                target.take(packet)
    for item in chain([] if held is None else [held], beside):
        if item.seconds < end:
            target.copy(item)
    target.end_at(journal.record.segments[-1].end)
