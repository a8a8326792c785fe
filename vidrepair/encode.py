"""Frame -> file or pipe: written beside under a temporary name, renamed only when whole."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import av
import numpy as np

from vidrepair.carriers import Cloner, Repacker, new_carrier, plane_views
from vidrepair.errors import CannotCarry, VidrepairError
from vidrepair.exact_time import holds_time
from vidrepair.files import FULL, Unfinished, beside, sync
from vidrepair.frames import Frame
from vidrepair.headers import Header, complete
from vidrepair.labels import TEXT_ERRORS
from vidrepair.outputs import OutputPlan, plan_output
from vidrepair.tags import Clip, Copied, Passengers

__all__ = ["OutputPlan", "Target", "open_target", "plan_output"]

MOST_WAITING = 64 << 20
"""Bytes of copied packets that wait for the picture."""
COLOUR_VOLUME = 0x2C
"""Byte of a DNxHR frame whose bits 1 and 2 tell the matrix (SMPTE ST 2019-1, CLV)."""
VOLUMES = {1: 0, 9: 1, 10: 2}
"""Of FFmpeg's matrix: BT.709, BT.2020 twice; 3 leaves it to the container."""


def open_target(
    clip: Clip, plan: OutputPlan, output: Path | None, passengers: Passengers | None = None
) -> Target:
    """Open the file that `plan` describes, or standard output, and write its header.

    `passengers` are the other streams; None writes the picture alone. Raises VidrepairError
    when it cannot be written.
    """
    target = Target(clip, plan, output, passengers)
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
        self, clip: Clip, plan: OutputPlan, output: Path | None, passengers: Passengers | None
    ) -> None:
        self._clip, self._plan, self._output = clip, plan, output
        self._passengers = passengers
        self._temporary = None if output is None else beside(output)
        self._container: Any = None
        """An _Output."""
        self._stream: Any = None
        self._closed = False
        self._cancelled = False
        picture = clip.picture
        self._cloner = Cloner(picture.width, picture.height, picture.format.name, clip.time_base)
        self._repacker = Repacker()
        self._flagger = _Flagger(clip, plan.fields) if plan.fields else None
        self._offset = round(plan.offset / clip.time_base)
        self._waiting: Frame | None = None
        self._durations: dict[int, int] = {}
        self._frames = 0
        self._gap = 0
        self._irregular = 0
        self._end = 0
        self._copied: deque[Copied] = deque()
        self._copied_bytes = 0
        self._muxing = Lock()

    def start(self) -> None:
        """Open the file, add all streams, write the header."""
        url = "pipe:1" if self._temporary is None else f"file:{self._temporary}"
        plan = self._plan
        with self._explained():
            container: Any = av.open(
                url, "w", format=plan.container, options=dict(plan.muxing), **TEXT_ERRORS
            )
            self._container = _Output(container, self._temporary, plan.header)
            self._stream = self._add_video(container)
            if self._passengers is not None:
                self._passengers.board(container, plan.offset)
            container.metadata.update(dict(plan.metadata))
            container.start_encoding()

    def write(self, frame: Frame) -> None:
        """Encode one frame, in order. Its carrier and planes are read, never written.

        Holds one frame: how long it lasts is known when the next one comes.
        """
        self._check_open()
        last, self._waiting = self._waiting, frame
        if last is not None:
            gap = frame.pts - last.pts
            self._irregular += bool(self._gap) and abs(gap - self._gap) > 1
            self._gap = gap
            self._encode(last, gap)

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
        last, self._waiting = self._waiting, None
        if last is None:
            raise VidrepairError(f"no frame was written to {self._name}; look at the source")
        self._encode(last, last.duration or self._gap or self._usual_gap())
        with self._explained():
            # Not encode(None): that would hold up Ctrl-C until the whole lookahead is flushed.
            for packet in self._stream.codec_context.encode_lazy(None):
                self._mux(packet)
                self._check_open()
            end = float("inf")
            if self._plan.cut:
                end = float(self._end * self._clip.time_base - self._plan.offset)
            self._mux_copied(end)
            with self._muxing:
                self._closed = True
                self._container.close()

    @property
    def written(self) -> Path | None:
        """Where the file lies until it has its name; None for standard output."""
        return self._temporary

    def publish(self) -> None:
        """Give the finished file its name. Raises VidrepairError where something took it."""
        with self._explained():
            self._publish()

    def reject(self) -> Path | None:
        """Keep the finished file as NAME.failed.ext, or NAME.failed-2.ext and so on; where it is.

        Nothing is replaced: a file of that name may be the source itself.
        """
        if self._temporary is None or self._output is None:
            return None
        with self._explained():
            failed = _taken(self._output)
            try:
                self._temporary.replace(failed)
            except OSError:
                failed.unlink()
                raise
        return failed

    def losses(self) -> list[str]:
        """What the target could not hold and only the frames themselves told."""
        if not self._plan.renumbered or not self._irregular:
            return []
        lost = f"the times of the frames are not carried by y4m: {self._irregular} irregular gaps"
        return [f"{lost} became one rate; write an .mkv file to keep them"]

    def abort(self) -> None:
        """Close everything and delete the temporary file. Idempotent; after `finish` no-op."""
        # Before it is closed: MP4 would be rewritten with its index in front, all gigabytes.
        self._delete()
        with self._muxing:
            if not self._closed:
                self._closed = True
                self._waiting = None
                self._copied.clear()
                if self._container is not None:
                    # The disk may be full or the pipe gone: this error is not the one to tell of.
                    with suppress(av.FFmpegError, OSError, ValueError):
                        self._container.opened.close()
        self._delete()  # Windows deletes no open file

    def _delete(self) -> None:
        if self._temporary is not None:
            with suppress(FileNotFoundError, PermissionError):
                self._temporary.unlink()

    @property
    def _name(self) -> str:
        return "standard output" if self._output is None else str(self._output)

    def _usual_gap(self) -> int:
        return max(1, round(1 / (self._clip.rate * self._clip.time_base))) if self._clip.rate else 1

    def _check_open(self) -> None:
        if self._cancelled:
            raise VidrepairError(f"writing {self._name} was cancelled")
        if self._closed:
            raise VidrepairError(f"{self._name} is closed already")

    def _add_video(self, container: Any) -> Any:
        clip, plan = self._clip, self._plan
        stream = container.add_stream(plan.codec, rate=plan.rate, options=dict(plan.options))
        context = stream.codec_context
        stream.width, stream.height = clip.picture.width, clip.picture.height
        stream.pix_fmt = plan.pix_fmt
        context.time_base = stream.time_base = plan.time_base
        context.color_range = clip.color_range
        context.colorspace = clip.color_matrix
        context.color_primaries = clip.color_primaries
        context.color_trc = clip.color_transfer
        if clip.sar is not None:
            context.sample_aspect_ratio = clip.sar
        if plan.tag:
            context.codec_tag = plan.tag
        if clip.display_matrix is not None:
            stream.set_display_matrix(clip.display_matrix)
        stream.metadata.update(dict(plan.film_metadata))
        marks = (av.stream.Disposition[name] for name in clip.video.disposition)
        stream.disposition = av.stream.Disposition(sum(marks))
        return stream

    def _encode(self, frame: Frame, duration: int) -> None:
        self._frames += 1
        pts = frame.pts + self._offset
        if self._plan.exact and not holds_time(pts * frame.time_base, self._plan.container):
            raise CannotCarry(
                f"frame {frame.number} at {frame.seconds:.6f} s has a time that {self._name} cannot"
                " hold; write an .mp4 or .mov file, or leave --exact-time out"
            )
        self._end = pts + duration
        carrier = self._loaded(frame)
        carrier.pict_type = 0  # or the encoder repeats the source's choice of I, P and B
        carrier.pts, carrier.time_base, carrier.duration = pts, frame.time_base, duration
        if self._plan.renumbered:
            carrier.pts, carrier.time_base, carrier.duration = frame.number, self._plan.time_base, 1
        else:
            # Encoders lose or miscount durations of variable rates.
            self._durations[pts] = duration
        if carrier.format.name != self._stream.pix_fmt:
            raise VidrepairError(f"frame {frame.number} is {carrier.format.name}, not as planned")
        with self._explained():
            for packet in self._stream.codec_context.encode_lazy(carrier):
                self._mux(packet)

    def _loaded(self, frame: Frame) -> Any:
        """A frame with the samples to write and the side data of the decoded one."""
        form = frame.picture.format
        if frame.carrier is None:
            return self._dressed(self._tagged(new_carrier(frame)))
        clone = self._cloner.clone(frame.carrier)
        stored = plane_views(frame.carrier, form)
        pairs = list(zip(stored, frame.planes, strict=True))
        if not all(_same_memory(own, new) for own, new in pairs):
            clone.make_writable()
            for own, new in zip(plane_views(clone, form, writable=True), frame.planes, strict=True):
                np.copyto(own, new, casting="equiv")
        return self._dressed(clone)

    def _tagged(self, carrier: Any) -> Any:
        """A new carrier with the film's colours: some encoders ask each frame for them."""
        clip = self._clip
        carrier.color_range, carrier.colorspace = clip.color_range, clip.color_matrix
        carrier.color_primaries, carrier.color_trc = clip.color_primaries, clip.color_transfer
        return carrier

    def _dressed(self, carrier: Any) -> Any:
        """In the format that the encoder takes, and with an order of its fields where it has them.

        A frame that is flagged has its own. The others take the film's: an encoder that codes
        fields would take the bottom one of them for the first.
        """
        if self._flagger is not None and not carrier.interlaced_frame:
            carrier = self._flagger.flag(carrier)
        return self._repacker.repack(carrier, self._plan.pix_fmt)

    def _mux(self, packet: Any) -> None:
        packet.stream = self._stream
        if self._plan.codec == "dnxhd" and self._clip.picture.format.family == "yuv":
            # FFmpeg's encoder says BT.709 whatever it is told, and players believe it.
            head = np.frombuffer(packet, np.uint8)
            head[COLOUR_VOLUME] |= VOLUMES.get(self._clip.color_matrix, 3) << 1
        if self._frames <= 2:
            # x265 leaves the dts of so short a film uninitialised, and MP4 then refuses it.
            packet.dts = packet.pts
        if (duration := self._durations.pop(packet.pts, 0)) > 0:
            packet.duration = duration
        seconds = float((packet.dts if packet.dts is not None else packet.pts) * packet.time_base)
        self._mux_copied(seconds - float(self._plan.offset))
        with self._muxing:
            self._container.opened.mux(packet)

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
        if self._temporary is None or self._output is None:
            return
        sync(self._temporary)
        if self._cancelled:
            raise VidrepairError(f"writing {self._name} was cancelled")
        if self._output.exists() and not self._plan.overwrite:
            raise VidrepairError(f"{self._output} appeared meanwhile; add -y to replace it")
        self._temporary.replace(self._output)
        with suppress(OSError):  # some network file systems cannot; the file has its name
            sync(self._output.parent)

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


class _Flagger:
    """Says of frames that they are two fields, and which comes first; PyAV has no word for it."""

    def __init__(self, clip: Clip, fields: str) -> None:
        picture = clip.picture
        graph: Any = av.filter.Graph()
        graph.threads = 1
        source = graph.add(
            "buffer",
            video_size=f"{picture.width}x{picture.height}",
            pix_fmt=picture.format.name,
            time_base=str(clip.time_base),
        )
        sink = graph.add("buffersink")
        graph.link_nodes(source, graph.add("setfield", f"mode={fields}"), sink).configure()
        self._graph = graph

    def flag(self, frame: Any) -> Any:
        """A new frame over the same samples."""
        self._graph.vpush(frame)
        return self._graph.vpull()


def _same_memory(one: Any, other: Any) -> bool:
    first, second = one.__array_interface__, other.__array_interface__
    return bool(first["data"][0] == second["data"][0] and one.strides == other.strides)


def _taken(output: Path) -> Path:
    """The first name for a rejected file that is free; an empty file holds it from then on."""
    for number in count(1):
        mark = ".failed" if number == 1 else f".failed-{number}"
        failed = output.with_suffix(f"{mark}{output.suffix}")
        with suppress(FileExistsError):
            failed.touch(exist_ok=False)
            break
    return failed
