"""Files are opened here, and nowhere else: by list, never by trust; and said what they hold."""

from __future__ import annotations

import os
import re
import select
import stat
import struct
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av

from vidrepair.boxes import has_box
from vidrepair.carried import side_data_of
from vidrepair.errors import InputError, UsageError
from vidrepair.frames import Picture, PixelFormat
from vidrepair.labels import TEXT_ERRORS
from vidrepair.sequences import SEQUENCE, ImageSequence
from vidrepair.tags import (
    FULL_RANGE,
    PROGRESSIVE,
    Clip,
    StreamFacts,
    luma_matrix,
    native_format,
    pixel_format,
)

# FFmpeg opens playlists and URLs by default, and takes plain text for ANSI art. Only demuxers
# that read one file of sound and pictures are let in.
FORMATS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,vvc,av1,obu,ivf,ogg,flv,live_flv,"
    "asf,asf_o,wtv,rm,mxf,gxf,nut,nsv,nuv,dv,yuv4mpegpipe,gif,apng,webp,webp_pipe,png_pipe,"
    "jpeg_pipe,bmp_pipe,tiff_pipe,dpx_pipe,mjpeg,mjpeg_2000,smjpeg,vc1,vc1test,dirac,dnxhd,swf,"
    "roq,bink,smk,flic,mlv,cine,ser,lxf,rpl,film_cpk,avs2,avs3,cavsvideo,h261,h263,pva,ty,amv,"
    "cdxl,kux,pmp,v210,mp3,wav,w64,flac,aac,ac3,eac3,aiff,ape,wv,tak,tta"
)
PLAYLIST_ENDINGS = (".m3u", ".m3u8", ".ffconcat", ".mpd", ".sdp", ".pls", ".xspf", ".asx", ".ism")
PLAYLIST_STARTS = (b"#EXTM3U", b"ffconcat version", b"v=0\r\n", b"v=0\n", b"[playlist]", b"<smil")
# A picture is opened by what it is: by its name, img%03d.png would become a sequence.
PICTURES = {
    b"\x89PNG": "png_pipe",
    b"\xff\xd8\xff": "jpeg_pipe",
    b"BM": "bmp_pipe",
    b"II*\x00": "tiff_pipe",
    b"MM\x00*": "tiff_pipe",
}
# Second look, by demuxer. AVI: PyAV's genpts scrambles the times of B-frames. Transport and
# program streams: streams that appear after the first look crash PyAV 18's demux.
REOPENED = {
    "avi": {"fflags": "-genpts"},
    "mpegts": {"probesize": "50000000", "analyzeduration": "20000000"},
    "mpeg": {"probesize": "50000000", "analyzeduration": "20000000"},
}
COVER = int(av.stream.Disposition.attached_pic)
MAX_SIDE = 32768
STARTS = (b"ftyp", b"wide", b"mdat")
"""Kinds of box that an MP4 or MOV file starts with that has its index behind."""
INDEXES = (b"moov", b"meta")
"""Boxes of which a film, or a picture of HEIF or AVIF, has one."""
_TAGGED = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
"""Hours, minutes and seconds of a Matroska track."""
PROTOCOL = "file:"
"""Without it in front, a:b.avi is taken for a protocol and -x.avi for an option."""
BUFFER = 1 << 20
"""Bytes read at a time."""
HEAD = 1024
"""Bytes that hold the first lines of y4m."""
PATIENCE = 0.2
"""Seconds between two looks at whether a pipe was cancelled."""


class Pipe:
    """Standard input for PyAV. A read ends soon after `cancel`, whatever the writer does."""

    def __init__(self) -> None:
        self._number = sys.stdin.fileno()
        self.cancelled = False
        self.head = b""
        """Its first bytes, HEAD or so."""
        self.count = 0
        """Bytes that were read."""

    def cancel(self) -> None:
        """From any thread: the pipe has ended."""
        self.cancelled = True

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        while not self.cancelled:
            # Windows cannot wait for a pipe: there a read takes as long as it takes.
            if os.name == "nt" or select.select([self._number], [], [], PATIENCE)[0]:
                data = os.read(self._number, size)
                self.count += len(data)
                if len(self.head) < HEAD:
                    self.head += data[:HEAD]
                return data
        return b""


def ends_within_frame(origin: Path | Pipe, packet: int) -> bool:
    """Whether y4m of frames of `packet` bytes was cut in one: FFmpeg drops that silently."""
    if isinstance(origin, Pipe):
        if origin.cancelled:
            return False
        head, count = origin.head, origin.count
    else:
        try:
            with origin.open("rb") as file:
                head, count = file.read(HEAD), origin.stat().st_size
        except OSError:  # deleted meanwhile: what was open was read to its end
            return False
    # A line for the film, then one before every frame.
    film = head.find(b"\n") + 1
    frame = head.find(b"\n", film) + 1 - film
    return film > 0 and frame > 0 and (count - film) % (frame + packet) != 0


def open_container(origin: Path | Pipe | ImageSequence) -> Any:
    """Open a file, numbered pictures, or y4m on standard input, for demuxing.

    Raises InputError for everything that is not one readable file with a picture.
    """
    if isinstance(origin, Pipe):
        return _open(origin, "standard input", {}, form="yuv4mpegpipe")
    if isinstance(origin, ImageSequence):
        return _open_sequence(origin)
    head = _check_file(origin)
    form = None if head[4:8] == b"ftyp" else _picture_format(head)
    url = f"{PROTOCOL}{origin}"
    try:
        container = _open(url, str(origin), {}, form=form)
    except InputError as error:
        if head[4:8] in STARTS and not any(has_box(origin, kind) for kind in INDEXES):
            raise InputError(
                f"{origin} has no index (moov): the recording or the copy was cut off before its"
                " end; copy it again, or rebuild it with a tool for that, such as untrunc"
            ) from error
        raise
    again = REOPENED.get(container.format.name)
    if again is None:
        return container
    container.close()
    return _open(url, str(origin), again, form=form)


def last_packet(stream: Any) -> Any:
    """An empty packet, for which a decoder gives what it holds."""
    last: Any = av.Packet()
    last.stream, last.time_base = stream, stream.time_base
    return last


def path_of(container: Any) -> Path:
    """Of a file that `open_container` has opened."""
    return Path(container.name.removeprefix(PROTOCOL))


def close_reader(container: Any) -> None:
    """Close a container, once the threads of its decoders rest.

    PyAV frees a decoder with the interpreter locked; a thread of it that writes to FFmpeg's log
    while `ffmpeg_log.listening` is there to hear it waits for that lock, each for the other.
    """
    for stream in container.streams.video:
        if stream.codec_context is not None:
            stream.codec_context.flush_buffers()
    container.close()


def _open_sequence(pictures: ImageSequence) -> Any:
    """What lies between the first and the last number is there: FFmpeg would end at a gap."""
    options = {
        "framerate": str(pictures.rate),
        "start_number": str(pictures.first),
        "pattern_type": "sequence",
        # Not in the list of all: by it a name alone would open other files.
        "format_whitelist": SEQUENCE,
    }
    return _open(pictures.url, str(pictures.pattern), options, form=SEQUENCE)


def _guess(path: Path) -> str:
    """What somebody who mistyped a name may have meant."""
    try:
        # A folder of a hundred thousand pictures would take a while.
        names = [entry.name for entry in islice(path.parent.iterdir(), 10_000)]
    except OSError:
        names = []
    near = get_close_matches(path.name, names, n=1, cutoff=0.8)
    return f"did you mean {path.parent / near[0]}?" if near else "check the name and the folder"


def _check_file(path: Path) -> bytes:
    """Refuse what is no regular, readable, non-empty file; return its first bytes."""
    try:
        facts = path.stat()
        if stat.S_ISDIR(facts.st_mode):
            raise InputError(
                f"{path} is a folder; name one video file in it, or its numbered pictures, such as"
                f" {path / '%06d.dpx'}"
            )
        if not stat.S_ISREG(facts.st_mode):
            raise InputError(f"{path} is not a regular file; copy it to one, or pipe y4m into -")
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError:
        if str(path) == "-":
            raise InputError("- is a pipe, which only run reads; name a file") from None
        if path.is_symlink():
            raise InputError(
                f"{path} is a link to {path.readlink()}, which is not there; put it back, or name"
                " another file"
            ) from None
        raise InputError(f"{path} does not exist; {_guess(path)}") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}; check its permissions"
        ) from None
    except ValueError:  # a NUL in the name
        raise InputError(f"{str(path)!r} is not a file name; check it") from None
    if not head:
        raise InputError(f"{path} is empty; copy or download it again")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if path.suffix.lower() in PLAYLIST_ENDINGS or start.startswith(PLAYLIST_STARTS):
        raise InputError(
            f"{path} is a playlist, which would open other files; name the video itself"
        )
    return head


def _picture_format(head: bytes) -> str | None:
    """The demuxer for a still picture, by its first bytes."""
    for magic, form in PICTURES.items():
        if head.startswith(magic) and b"acTL" not in head:
            return form
    return None


def _open(url: str | Pipe, name: str, options: Mapping[str, str], *, form: str | None) -> Any:
    guarded = {"format_whitelist": FORMATS, "protocol_whitelist": "file", **options}
    try:
        return av.open(url, "r", format=form, options=guarded, buffer_size=BUFFER, **TEXT_ERRORS)
    except (av.FFmpegError, ValueError, LookupError) as error:
        kinds = {"yuv4mpegpipe": "a y4m stream", SEQUENCE: "pictures of their kind"}
        expected = kinds.get(form or "", "a video file")
        reason = getattr(error, "strerror", None) or str(error)
        remedy = "check that it is complete and plays elsewhere"
        if isinstance(url, Pipe):
            remedy = "pipe into it what ffmpeg -i FILE -f yuv4mpegpipe - writes, or name a file"
        raise InputError(f"{name} cannot be read as {expected} ({reason}); {remedy}") from None


def video_stream(container: Any, name: str, number: int | None = None) -> Any:
    """The video stream of that number in the file; by default the first that is no cover art.

    Raises InputError when there is none at all, UsageError when that one is none.
    """
    found = [stream for stream in container.streams.video if not stream.disposition & COVER]
    if not found:
        kinds = sorted({stream.type for stream in container.streams})
        held = f"only {' and '.join(kinds)}" if kinds else "nothing that is known"
        raise InputError(f"{name} has no video stream, it holds {held}; name a file with a picture")
    chosen = found[0]
    if number is not None:
        chosen = next((stream for stream in found if stream.index == number), None)
        if chosen is None:
            there = ", ".join(f"{stream.index} ({facts(stream).codec})" for stream in found)
            raise UsageError(
                f"stream {number} of {name} is no video; --video-stream takes one of: {there}"
            )
    if chosen.codec_context is None:
        raise InputError(
            f"the video codec of {name} is not known here; convert it with ffmpeg to FFV1 first"
        )
    return chosen


def fraction(value: Any) -> Fraction | None:
    """PyAV 18's Fraction or None, or PyAV 19's AVRational that is falsy when unset."""
    return Fraction(value.numerator, value.denominator) if value else None


def frame_rate(stream: Any) -> Fraction | None:
    """Frames a second, as the file says or FFmpeg guesses; None where neither does."""
    average = fraction(stream.average_rate)
    if average is None and stream.codec_context.name == "mpeg1video":
        # Of a transport stream FFmpeg guesses that of fields, which MPEG-1 has not.
        return fraction(stream.codec_context.framerate)
    return fraction(stream.guessed_rate) or average


def describe(container: Any, stream: Any, first: Any, name: str) -> Clip:
    """Everything that is known, `first` being the first decoded frame.

    Raises InputError when its pixel format or size is beyond the tool.
    """
    context = stream.codec_context
    color_range = _range(first)
    order = context.field_order
    if first.interlaced_frame and order in PROGRESSIVE:
        order = 2  # top field first; which one does not matter to those who ask
    rate = frame_rate(stream)
    duration = _duration(container, stream)
    base = fraction(stream.time_base) or Fraction(1, 90000)
    length = _own_duration(stream)
    if not length or length < 0.0 or (duration and length > duration + 1.0):
        length = duration  # a tag that was taken over from another film
    count = stream.frames or (round(length * rate) if length and rate else None)
    coded_sar = fraction(context.sample_aspect_ratio)
    # Damaged files begin before the time that their header says.
    begins = min(stream.start_time or 0, first.pts) * base
    starts = [s.start_time * s.time_base for s in container.streams if s.start_time is not None]
    return Clip(
        name=name,
        container=container.format.name,
        codec=context.codec.name,
        lossless=context.codec.lossless and not context.codec.lossy,
        picture=_picture(first, color_range, name),
        stored_format=first.format.name,
        time_base=base,
        rate=rate,
        start=min(fraction(min(starts)) or Fraction(0) if starts else Fraction(0), begins),
        video_start=begins,
        zero=begins,
        duration=duration,
        frame_count=count,
        bit_rate=container.bit_rate or None,
        sar=fraction(stream.sample_aspect_ratio) or coded_sar,
        coded_sar=coded_sar,
        color_range=color_range,
        color_matrix=int(first.colorspace),
        color_primaries=int(first.color_primaries),
        color_transfer=int(first.color_trc),
        display_matrix=_display_matrix(first),
        rotation=int(first.rotation),
        field_order=order,
        side_data=tuple(sorted(side_data_of(first))),
        video=facts(stream),
        others=tuple(facts(other) for other in container.streams if other.index != stream.index),
        chapters=len(container.chapters()),
        metadata=tuple(container.metadata.items()),
        video_metadata=tuple(stream.metadata.items()),
    )


def _picture(first: Any, color_range: int, name: str) -> Picture:
    form = work_format(first)
    if form is None:
        raise InputError(
            f"the pixel format {first.format.name} of {name} is not supported;"
            " convert it with ffmpeg -pix_fmt to one of 8 to 16 bits"
        )
    if max(first.width, first.height) > MAX_SIDE:
        raise InputError(
            f"{name} is {first.width}x{first.height}, more than {MAX_SIDE} samples a side; scale it"
        )
    matrix = luma_matrix(int(first.colorspace), form.family, first.width, first.height)
    # FFmpeg too takes gray that says nothing for full range.
    full = color_range == FULL_RANGE or form.family == "rgb"
    full |= form.family == "gray" and color_range == 0
    return Picture(first.width, first.height, form, matrix, full)


def work_format(frame: Any) -> PixelFormat | None:
    """The planar format in which the samples of a decoded frame are worked on."""
    name = native_format(frame.format.name)
    if frame.format.name == "pal8" and _transparent(frame):
        name = "gbrap"
    return None if name is None else pixel_format(name)


def _transparent(frame: Any) -> bool:
    """Whether a colour that the picture uses is not opaque."""
    indices, palette = (bytes(plane) for plane in frame.planes)
    stride = len(indices) // frame.height
    rows = (indices[row * stride : row * stride + frame.width] for row in range(frame.height))
    # Native-endian ARGB: in the high byte of each 32-bit word.
    alphas = [word >> 24 for (word,) in struct.iter_unpack("=I", palette)]
    return any(alphas[index] != 255 for index in set().union(*map(set, rows)))


def _range(first: Any) -> int:
    return FULL_RANGE if first.format.name.startswith("yuvj") else int(first.color_range)


def _display_matrix(first: Any) -> tuple[int, ...] | None:
    matrix = side_data_of(first).get("DISPLAYMATRIX")
    return None if matrix is None else struct.unpack("=9i", matrix)


def _duration(container: Any, stream: Any) -> float | None:
    if container.duration:
        return float(container.duration / av.time_base)
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return None


def _own_duration(stream: Any) -> float | None:
    """Seconds of the stream itself, which others may outlast; Matroska has them as a tag."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    told = _TAGGED.fullmatch(stream.metadata.get("DURATION", ""))
    if told is None:
        return None
    hours, minutes, seconds = map(float, told.groups())
    begins = float((stream.start_time or 0) * stream.time_base)
    return 3600 * hours + 60 * minutes + seconds - begins


def facts(stream: Any) -> StreamFacts:
    """Index, kind, codec and names of one stream."""
    context = getattr(stream, "codec_context", None)
    cover = stream.type == "video" and bool(stream.disposition & COVER)
    tags = stream.metadata
    codec = context.codec.name if context is not None else tags.get("mimetype", "")
    return StreamFacts(
        index=stream.index,
        kind="cover" if cover else stream.type,
        codec=codec or "unknown codec",
        language=tags.get("language", ""),
        title=tags.get("title") or tags.get("name") or tags.get("filename") or "",
        disposition=tuple(
            flag.name for flag in av.stream.Disposition if flag.name and stream.disposition & flag
        ),
    )
