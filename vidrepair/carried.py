"""What the first frame and the headers of a film carry beside its samples."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.sidedata.sidedata import Type

from vidrepair.ffmpeg_log import listening
from vidrepair.hdr import Hdr10, read_hdr
from vidrepair.headers import read_siting

CAPTIONS, HDR10_PLUS, FILM_GRAIN = "A53_CC", "DYNAMIC_HDR_PLUS", "FILM_GRAIN_PARAMS"
UNTOLD = "00:00:00;00"
"""What FFmpeg reads in a DPX header that says a rate and no timecode, all its bits set."""
TOP_LEFT = 3
"""Of FFmpeg's AVChromaLocation, where DV of 625 lines has its chroma (IEC 61834-2)."""
PROFILE = "ICC_PROFILE"
DOLBY_VISION = ("DOVI_RPU_BUFFER", "DOVI_METADATA")


@dataclass(frozen=True, slots=True)
class Carried:
    """Facts about a film that an encoder or a container has to be told."""

    side_data: tuple[str, ...] = ()
    """FFmpeg's names of all side data on the first frame."""
    hdr: Hdr10 | None = None
    chroma_location: int = 0
    """FFmpeg's AVChromaLocation; 0 is not said, 1 left, 2 centre, 3 top left."""
    field_order: str = ""
    """tff or bff as the first frame says; empty when it is not interlaced."""
    timecode: str = ""
    """Of the first frame, such as 01:00:00:00."""
    film_grain: bool = False
    """An AV1 film whose grain is made by the decoder."""


def read_carried(container: Any, stream: Any, first: Any) -> Carried:
    """Look at an open source and at the first frame that its film was decoded to."""
    side_data = side_data_of(first)
    return Carried(
        side_data=tuple(sorted(side_data)),
        hdr=read_hdr(side_data),
        chroma_location=_chroma_location(stream, first),
        field_order=_field_order(first),
        timecode=_timecode(container, stream) or _frame_timecode(stream, first),
        film_grain=_traced(stream, "av1", "film_grain_params_present") == 1,
    )


def side_data_of(first: Any) -> dict[str, bytes]:
    """What a decoded frame carries beside its samples, by FFmpeg's names; of a colour profile no
    more than that there is one.
    """
    # PyAV frees the name of a profile, which FFmpeg frees once more: nobody may look at one.
    profile = {PROFILE: b""} if _filtered(first, "select") is not None else {}
    shown = _filtered(first, "delete") if profile else first
    try:
        found = shown.side_data
    except ValueError:  # PyAV 18 met side data of a type that it does not know, and shows none
        return profile
    # By type: where one comes twice, PyAV 19 counts it once and hides the last by number.
    entries = {kind.name: found.get(kind) for kind in Type if kind.name != PROFILE}
    return profile | {name: bytes(entry) for name, entry in entries.items() if entry is not None}


def _filtered(frame: Any, mode: str) -> Any:
    """A second frame, without its colour profile for "delete"; None where there is no profile to
    "select".
    """
    graph: Any = av.filter.Graph()
    graph.threads = 1
    size = f"{frame.width}x{frame.height}"
    source = graph.add("buffer", video_size=size, pix_fmt=frame.format.name, time_base="1/25")
    looked = graph.add("sidedata", f"mode={mode}:type={Type.ICC_PROFILE.value}")
    graph.link_nodes(source, looked, graph.add("buffersink")).configure()
    graph.vpush(frame)
    try:
        return graph.vpull()
    except BlockingIOError:
        return None


def _chroma_location(stream: Any, first: Any) -> int:
    """PyAV 18 does not tell, but the header of a copy in Matroska does."""
    told = getattr(first, "chroma_location", None)
    if told is not None:
        return int(told)
    if stream.codec_context.name == "dvvideo":  # which Matroska does not take
        return TOP_LEFT if first.format.name == "yuv420p" else 0
    copy = io.BytesIO()
    with suppress(av.FFmpegError, ValueError):
        output: Any = av.open(copy, "w", format="matroska")
        try:
            output.add_stream_from_template(stream, opaque=True)
            output.start_encoding()
        finally:
            with suppress(av.FFmpegError, ValueError):
                output.close()
    return read_siting(copy.getvalue())


def _field_order(first: Any) -> str:
    """PyAV does not tell which field comes first; FFmpeg's showinfo writes it into the log."""
    if not first.interlaced_frame:
        return ""
    graph: Any = av.filter.Graph()
    graph.threads = 1
    size = f"{first.width}x{first.height}"
    source = graph.add("buffer", video_size=size, pix_fmt=first.format.name, time_base="1/25")
    graph.link_nodes(source, graph.add("showinfo"), graph.add("buffersink")).configure()
    with listening() as said:
        graph.vpush(first)
        graph.vpull()
    found = re.search(r" i:([TB]) ", said())
    return {"T": "tff", "B": "bff"}[found[1]] if found else ""


def _timecode(container: Any, stream: Any) -> str:
    """Of the film itself, of the file, or of a track of its own."""
    holders = [stream.metadata, container.metadata]
    holders += [other.metadata for other in container.streams]
    for tags in holders:
        for key, value in tags.items():
            if key.lower() == "timecode":
                return str(value)
    return ""


def _frame_timecode(stream: Any, first: Any) -> str:
    """Of a DPX picture, whose container says nothing."""
    if stream.codec_context.name != "dpx":
        return ""
    told = str(first.metadata.get("timecode", ""))
    return "" if told == UNTOLD else told


def _traced(stream: Any, codec: str, name: str) -> int | None:
    """A value in the global headers of a film of that codec; None when it is not there."""
    if stream.codec_context.codec.canonical_name != codec:
        return None
    with listening() as said, suppress(av.FFmpegError, ValueError):
        BitStreamFilterContext("trace_headers", in_stream=stream)
    found = re.search(rf"\b{name}\s+[01]+ = (\d+)", said())
    return int(found[1]) if found else None
