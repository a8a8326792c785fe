"""Frame -> packets of one codec: the samples, times and flags that an encoder is handed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from vidrepair.carriers import Cloner, Repacker, new_carrier, plane_views
from vidrepair.errors import CannotCarry, VidrepairError
from vidrepair.exact_time import holds_time
from vidrepair.frames import Frame
from vidrepair.outputs import OutputPlan
from vidrepair.tags import Clip

COLOUR_VOLUME = 0x2C
"""Byte of a DNxHR frame whose bits 1 and 2 tell the matrix (SMPTE ST 2019-1, CLV)."""
VOLUMES = {1: 0, 9: 1, 10: 2}
"""Of FFmpeg's matrix: BT.709, BT.2020 twice; 3 leaves it to the container."""


def add_film(container: Any, clip: Clip, plan: OutputPlan) -> Any:
    """Add the restored stream to an open output: its codec, colours, shape and tags."""
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


class Encoder:
    """Makes packets of the frames of one film, or of one segment of it, in order."""

    def __init__(self, clip: Clip, plan: OutputPlan, stream: Any, name: str) -> None:
        """`stream` is what `add_film` made, `name` what is written, for messages."""
        self._clip, self._plan, self._stream, self._name = clip, plan, stream, name
        picture = clip.picture
        self._cloner = Cloner(picture.width, picture.height, picture.format.name, clip.time_base)
        self._repacker = Repacker()
        self._flagger = _Flagger(clip, plan.fields) if plan.fields else None
        self._offset = round(plan.offset / clip.time_base)
        self._waiting: Frame | None = None
        self._durations: dict[int, int] = {}
        self._frames = 0
        self._gap = 0
        self._shown_from = 0
        """The first pts."""
        self._coded_from: Any = None
        """The first dts; None before."""
        self.irregular = 0
        """Gaps between frames that differ from the one before."""
        self.end = 0
        """Ticks of the film's time base at which the last frame ends, as it is written."""

    def encode(self, frame: Frame) -> Iterator[Any]:
        """The packets that are ready once a frame has come. Its carrier and planes are read, never
        written.

        Holds one frame: how long it lasts is known when the next one comes.
        """
        last, self._waiting = self._waiting, frame
        if last is not None:
            gap = frame.pts - last.pts
            self.irregular += bool(self._gap) and abs(gap - self._gap) > 1
            self._gap = gap
            yield from self._encode(last, gap)

    def finish(self, until: int | None = None) -> Iterator[Any]:
        """The rest; `until` is the pts of the frame that would come next, where there is one.

        Raises VidrepairError when there was no frame.
        """
        last, self._waiting = self._waiting, None
        if last is None:
            raise VidrepairError(f"no frame was written to {self._name}; look at the source")
        duration = last.duration or self._gap or self._usual_gap()
        yield from self._encode(last, duration if until is None else until - last.pts)
        # Not encode(None): that would hold up Ctrl-C until the whole lookahead is flushed.
        final = None
        for packet in self._stream.codec_context.encode_lazy(None):
            if final is not None:
                yield final
            final = self._told(packet)
        if final is not None:
            duration = final.duration or 0
            inner = final.pts + duration < self.end
            if until is None and inner and self._plan.container in ("mp4", "mov"):
                # There a film lasts as long as its packets in the order of coding; where the last
                # of them is shown last, its end counts.
                lasts = final.dts + duration - self._coded_from
                lacks = max(self.end - self._shown_from - lasts, 0)
                final.duration = duration + lacks
            yield final

    def _usual_gap(self) -> int:
        return max(1, round(1 / (self._clip.rate * self._clip.time_base))) if self._clip.rate else 1

    def _encode(self, frame: Frame, duration: int) -> Iterator[Any]:
        self._frames += 1
        pts = frame.pts + self._offset
        if self._plan.exact and not holds_time(pts * frame.time_base, self._plan.container):
            raise CannotCarry(
                f"frame {frame.number} at {frame.seconds:.6f} s has a time that {self._name} cannot"
                " hold; write an .mp4 or .mov file, or leave --exact-time out"
            )
        self.end = pts + duration
        if self._frames == 1:
            self._shown_from = pts
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
        for packet in self._stream.codec_context.encode_lazy(carrier):
            yield self._told(packet)

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

    def _told(self, packet: Any) -> Any:
        """A packet with what encoders get wrong put right."""
        if self._plan.codec == "dnxhd" and self._clip.picture.format.family == "yuv":
            # FFmpeg's encoder says BT.709 whatever it is told, and players believe it.
            head = np.frombuffer(packet, np.uint8)
            head[COLOUR_VOLUME] |= VOLUMES.get(self._clip.color_matrix, 3) << 1
        if self._plan.pictures is not None:
            packet = _copied(packet, self._plan.pictures.dressed(bytes(packet), packet.pts))
        if self._frames <= 2:
            # x265 leaves the dts of so short a film uninitialised, and MP4 then refuses it.
            packet.dts = packet.pts
        if (duration := self._durations.pop(packet.pts, 0)) > 0:
            packet.duration = duration
        if self._coded_from is None:
            self._coded_from = packet.dts
        return packet


def _copied(packet: Any, content: bytes) -> Any:
    """A packet that holds something else."""
    copy: Any = av.Packet(content)
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
    return copy


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
