"""What the first frame and the headers of a film carry beside its samples."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.sidedata.sidedata import Type

from vidrepair.ffmpeg_log import listening
from vidrepair.hdr import Hdr10, read_hdr

CAPTIONS, HDR10_PLUS, FILM_GRAIN = "A53_CC", "DYNAMIC_HDR_PLUS", "FILM_GRAIN_PARAMS"
UNTOLD = "00:00:00;00"
"""What FFmpeg reads in a DPX header that says a rate and no timecode, all its bits set."""
SITINGS = ("not said", "left", "center", "topleft", "top", "bottomleft", "bottom")
"""FFmpeg's names of the places of chroma, in the order of its AVChromaLocation."""
REEL = "reel_name"
"""FFmpeg's name of that tag."""
CENTRED = (2, 4, 6)
"""Of these, between two columns."""
PROFILE = "ICC_PROFILE"
DOLBY_VISION = ("DOVI_RPU_BUFFER", "DOVI_METADATA")


@dataclass(frozen=True, slots=True)
class Carried:
    """Facts about a film that an encoder or a container has to be told."""

    side_data: tuple[str, ...] = ()
    """FFmpeg's names of all side data on the first frame."""
    hdr: Hdr10 | None = None
    chroma_location: int = 0
    """FFmpeg's AVChromaLocation, as in SITINGS."""
    field_order: str = ""
    """tff or bff as the first frame says; empty when it is not interlaced."""
    timecode: str = ""
    """Of the first frame, such as 01:00:00:00."""
    reel: str = ""
    """The name of the tape or card that the timecode counts on."""
    film_grain: bool = False
    """An AV1 film whose grain is made by the decoder."""

    def siting(self, sampling: tuple[int, int]) -> int:
        """Where the chroma of pictures of that sampling lies: that of 4:2:2 has every row, and
        lies left or in the centre; where each sample has its own there is nothing to say.
        """
        place = self.chroma_location
        if sampling == (2, 1) and place:
            return CENTRED[0] if place in CENTRED else 1
        return place if sampling == (2, 2) else 0


def read_carried(container: Any, stream: Any, first: Any) -> Carried:
    """Look at an open source and at the first frame that its film was decoded to."""
    side_data, told = side_data_of(first), _told_of(first)
    return Carried(
        side_data=tuple(sorted(side_data)),
        hdr=read_hdr(side_data),
        chroma_location=_chroma_location(told),
        field_order=_field_order(first, told),
        timecode=_tag("timecode", container, stream) or _frame_timecode(stream, first),
        reel=_tag(REEL, container, stream),
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
    return _through(frame, "sidedata", f"mode={mode}:type={Type.ICC_PROFILE.value}")


def _through(frame: Any, *filtering: str) -> Any:
    """What a filter of FFmpeg, by its name and options, makes of a frame; None for nothing, and
    for a frame that filters do not take.
    """
    graph: Any = av.filter.Graph()
    graph.threads = 1
    size = f"{frame.width}x{frame.height}"
    try:
        source = graph.add("buffer", video_size=size, pix_fmt=frame.format.name, time_base="1/25")
        graph.link_nodes(source, graph.add(*filtering), graph.add("buffersink")).configure()
        graph.vpush(frame)
        return graph.vpull()
    except (av.FFmpegError, ValueError):
        return None


def _told_of(first: Any) -> str:
    """What FFmpeg's showinfo writes into the log of a frame: PyAV does not tell which field comes
    first, nor up to 18 where the chroma lies.
    """
    with listening() as said:
        _through(first, "showinfo")
    return said()


def _chroma_location(told: str) -> int:
    found = re.search(r" cl:(\w+) ", told)
    return SITINGS.index(found[1]) if found and found[1] in SITINGS else 0


def _field_order(first: Any, told: str) -> str:
    found = re.search(r" i:([TB]) ", told) if first.interlaced_frame else None
    return {"T": "tff", "B": "bff"}[found[1]] if found else ""


def _tag(wanted: str, container: Any, stream: Any) -> str:
    """Of the film itself, of the file, or of a track of its own, as MOV has it for timecode."""
    holders = [stream.metadata, container.metadata]
    holders += [other.metadata for other in container.streams]
    for tags in holders:
        for key, value in tags.items():
            if key.lower() == wanted:
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
