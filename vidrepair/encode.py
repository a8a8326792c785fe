"""Frame -> file or pipe: written beside under a temporary name, renamed only when whole."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import av

from vidrepair.encoder import Encoder, add_film
from vidrepair.errors import VidrepairError
from vidrepair.files import FULL, Unfinished
from vidrepair.frames import Frame
from vidrepair.headers import Header, complete
from vidrepair.labels import TEXT_ERRORS, spoken
from vidrepair.outputs import OutputPlan, plan_output
from vidrepair.placement import FilePlace, FolderPlace, PipePlace, Place
from vidrepair.sequences import is_sequence
from vidrepair.tags import Clip, Copied, Passengers

__all__ = ["OutputPlan", "Target", "open_target", "plan_output"]

MOST_WAITING = 64 << 20
"""Bytes of copied packets that wait for the picture."""


def open_target(
    clip: Clip,
    plan: OutputPlan,
    output: Path | None,
    passengers: Passengers | None = None,
    folder: Path | None = None,
) -> Target:
    """Open the file that `plan` describes, or standard output, and write its header.

    `passengers` are the other streams; None writes the picture alone. Until it has its name it lies
    in `folder`, of the same disk, or beside. Raises VidrepairError
    when it cannot be written.
    """
    target = Target(clip, plan, output, passengers, folder)
    try:
        target.start()
    except BaseException:
        target.abort()
        raise
    return target


class Target(Unfinished):
    """A file in the making: no error, and no lack of one, leaves it under its final name.

    One thread writes; `copy` and `cancel` may be called from others.
    """

    def __init__(
        self,
        clip: Clip,
        plan: OutputPlan,
        output: Path | None,
        passengers: Passengers | None,
        folder: Path | None = None,
    ) -> None:
        self._clip, self._plan, self._output = clip, plan, output
        self._passengers = passengers
        with self._explained():
            self._place = _place_of(output, folder)
        self._container: Any = None
        """An _Output."""
        self._encoder: Encoder | None = None
        self._stream: Any = None
        self._closed = False
        self._cancelled = False
        self._copied: deque[Copied] = deque()
        self._copied_bytes = 0
        self._muxing = Lock()

    def start(self) -> None:
        """Open the file, add all streams, write the header."""
        plan = self._plan
        with self._explained():
            url, options = self._place.url, dict(plan.muxing)
            container: Any = av.open(
                url, "w", format=plan.container, options=options, **TEXT_ERRORS
            )
            self._container = _Output(container, self._place.written, plan.header)
            self._stream = add_film(container, self._clip, plan)
            self._encoder = Encoder(self._clip, plan, self._stream, self._name)
            if self._passengers is not None:
                self._passengers.board(container, plan.offset)
            container.metadata.update(dict(plan.metadata))
            container.start_encoding()

    def write(self, frame: Frame) -> None:
        """Encode one frame, in order. Its carrier and planes are read, never written.

        Holds one frame: how long it lasts is known when the next one comes.
        """
        self._check_open()
        assert self._encoder is not None
        with self._explained():
            for packet in self._encoder.encode(frame):
                self.take(packet)

    def take(self, packet: Any) -> None:
        """Write one packet of the film, in the order of coding, after what goes before it."""
        seconds = float((packet.dts if packet.dts is not None else packet.pts) * packet.time_base)
        packet.stream = self._stream
        with self._explained():
            self._mux_copied(seconds - float(self._plan.offset))
            with self._muxing:
                self._container.opened.mux(packet)

    def copy(self, item: Copied) -> None:
        """Take a packet of another stream, from any thread.

        It is written when the picture has got there, or sooner where more wait than memory
        should hold: sound that goes on long after the last picture, slides of minutes.
        """
        if self._passengers is None:
            return
        with self._muxing:
            if self._closed:
                return
            self._copied.append(item)
            self._copied_bytes += item.packet.size
            with self._explained():
                while self._copied_bytes > MOST_WAITING:
                    self._mux_next()

    def cancel(self) -> None:
        """From any thread: `write` and `finish` raise VidrepairError as soon as they can."""
        self._cancelled = True

    def finish(self) -> None:
        """Write what is left, and give the file its name."""
        self.end()
        self.publish()

    def end(self) -> None:
        """Write what is left; the file is whole then, and waits for `publish` or `reject`.

        Raises VidrepairError when no frame was written, the disk is full or the pipe is closed.
        """
        self._check_open()
        assert self._encoder is not None
        with self._explained():
            for packet in self._encoder.finish():
                self.take(packet)
                self._check_open()
        self.end_at(self._encoder.end)

    def end_at(self, ticks: int) -> None:
        """Write what is left beside the film, whose last frame ends there as it is written."""
        end = float("inf")
        if self._plan.cut:
            end = float(ticks * self._clip.time_base - self._plan.offset)
        with self._explained():
            self._mux_copied(end)
            with self._muxing:
                self._closed = True
                self._container.close()

    @property
    def offset(self) -> Fraction:
        """Seconds added to the times of all streams."""
        return self._plan.offset

    @property
    def written(self) -> Path | None:
        """Where the file lies until it has its name; None for standard output."""
        return self._place.written

    def publish(self) -> None:
        """Give the finished file its name. Raises VidrepairError where something took it."""
        with self._explained():
            self._publish()

    def reject(self) -> Path | None:
        """Keep the finished file under a name that says that it failed; where it is."""
        with self._explained():
            return self._place.reject()

    def losses(self) -> list[str]:
        """What the target could not hold and only the frames themselves told."""
        irregular = 0 if self._encoder is None else self._encoder.irregular
        if not self._plan.renumbered or not irregular:
            return []
        what = spoken(self._plan.container)
        lost = f"the times of the frames are not carried by {what}: {irregular} irregular gaps"
        return [f"{lost} became one rate; write an .mkv file to keep them"]

    def abort(self) -> None:
        """Close everything and delete the temporary file. Idempotent; after `finish` no-op."""
        # Before it is closed: MP4 would be rewritten with its index in front, all gigabytes.
        self._place.delete()
        with self._muxing:
            if not self._closed:
                self._closed = True
                self._copied.clear()
                if self._container is not None:
                    # The disk may be full or the pipe gone: this error is not the one to tell of.
                    with suppress(av.FFmpegError, OSError, ValueError):
                        self._container.opened.close()
        self._place.delete()  # Windows deletes no open file

    @property
    def _name(self) -> str:
        return "standard output" if self._output is None else str(self._output)

    def _check_open(self) -> None:
        if self._cancelled:
            raise VidrepairError(f"writing {self._name} was cancelled")
        if self._closed:
            raise VidrepairError(f"{self._name} is closed already")

    def _mux_copied(self, until: float) -> None:
        """Write the waiting packets up to `until`, in seconds of the source."""
        with self._muxing:
            while self._copied and self._copied[0].seconds < until:
                self._mux_next()

    def _mux_next(self) -> None:
        item = self._copied.popleft()
        self._copied_bytes -= item.packet.size
        if self._passengers is not None:
            self._passengers.mux(self._container.opened, item)

    def _publish(self) -> None:
        """Make sure that it is on the disk, then give it its name."""
        for _ in self._place.sync():
            if self._cancelled:
                raise VidrepairError(f"writing {self._name} was cancelled")
        self._place.publish(overwrite=self._plan.overwrite)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what PyAV and the system raise into one sentence."""
        try:
            yield
        except (av.FFmpegError, OSError, ValueError) as error:
            number = getattr(error, "errno", None)
            reason = getattr(error, "strerror", None) or str(error)
            if number in FULL:
                raise VidrepairError(
                    f"no space left for {self._name} ({reason});"
                    " free some, or write to another folder"
                ) from error
            if number == errno.EPIPE:
                raise VidrepairError(
                    "standard output was closed by its reader before the end; nothing more"
                    " can be written"
                ) from error
            raise VidrepairError(
                f"{self._name} cannot be written ({reason}); try another folder or --codec ffv1"
                " into an .mkv file"
            ) from error


class _Output:
    """An open output of PyAV; when it is closed its header says what FFmpeg's muxer does not."""

    def __init__(self, opened: Any, path: Path | None, header: Header | None) -> None:
        self.opened = opened
        self._path, self._header = path, header

    def close(self) -> None:
        self.opened.close()
        if self._path is not None and self._header is not None:
            complete(self._path, self._header)


def _place_of(output: Path | None, folder: Path | None) -> Place:
    if output is None:
        return PipePlace()
    return FolderPlace(output, folder) if is_sequence(output) else FilePlace(output, folder)
