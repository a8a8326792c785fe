"""What is known about an opened source, and which pixel formats we work in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Protocol

from vidrepair.frames import Picture, PixelFormat
from vidrepair.timecode import doubled_timecode

FULL_RANGE = 2
"""FFmpeg's AVCOL_RANGE_JPEG; 1 is limited, 0 is not said."""
UNSAID = 2
"""FFmpeg's "unspecified" for matrix, primaries and transfer."""
PROGRESSIVE = (0, 1)
"""FFmpeg's AV_FIELD_UNKNOWN and AV_FIELD_PROGRESSIVE."""


# Written anew by every muxer; copied they would be stale.
_STALE = (
    "DURATION",
    "ENCODER",
    "BPS",
    "NUMBER_OF_",
    "_STATISTICS_",
    "VENDOR_ID",
    "MAJOR_BRAND",
    "MINOR_VERSION",
    "COMPATIBLE_BRANDS",
)


def _planar() -> dict[str, PixelFormat]:
    """All planar little-endian formats of 8 to 16 bits that FFmpeg knows, by name."""
    layouts: dict[str, tuple[tuple[int, int], tuple[int, ...]]] = {
        "yuv410p": ((4, 4), (8,)),
        "yuv411p": ((4, 1), (8,)),
        "yuv440p": ((1, 2), (8, 10, 12)),
        "yuv420p": ((2, 2), (8, 9, 10, 12, 14, 16)),
        "yuv422p": ((2, 1), (8, 9, 10, 12, 14, 16)),
        "yuv444p": ((1, 1), (8, 9, 10, 12, 14, 16)),
    }
    with_alpha: dict[str, tuple[int, ...]] = {
        "yuva420p": (8, 9, 10, 16),
        "yuva422p": (8, 9, 10, 12, 16),
        "yuva444p": (8, 9, 10, 12, 16),
    }
    found: list[PixelFormat] = []
    for name, (sampling, depths) in layouts.items():
        found += [PixelFormat(_sized(name, bits), "yuv", bits, sampling) for bits in depths]
    for name, depths in with_alpha.items():
        sampling = layouts[name.replace("yuva", "yuv")][0]
        found += [PixelFormat(_sized(name, bits), "yuv", bits, sampling, True) for bits in depths]
    found += [PixelFormat(_sized("gray", bits), "gray", bits) for bits in (8, 9, 10, 12, 14, 16)]
    found += [PixelFormat(_sized("gbrp", bits), "rgb", bits) for bits in (8, 9, 10, 12, 14, 16)]
    found += [
        PixelFormat(_sized("gbrap", bits), "rgb", bits, alpha=True) for bits in (8, 10, 12, 14, 16)
    ]
    # The one packed pair: gray with alpha has no planar form, its luma is a strided view.
    found += [PixelFormat(_sized("ya", bits, 8), "gray", bits, alpha=True) for bits in (8, 16)]
    return {entry.name: entry for entry in found}


def _sized(name: str, bits: int, always: int = 0) -> str:
    """FFmpeg's name of a depth: yuv420p, yuv420p10le, gray, gray10le, ya8, ya16le."""
    if bits == 8:
        return f"{name}{always or ''}"
    return f"{name}{bits}le"


_FORMATS = _planar()

# Packed, semi-planar and padded formats, and the planar one that holds the same samples.
# Each pair is proved in tests: swscale changes no sample between them.
_REPACKED = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "nv42": "yuv444p",
    "nv20le": "yuv422p10le",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "y210le": "yuv422p10le",
    "y212le": "yuv422p12le",
    "xv30le": "yuv444p10le",
    "xv36le": "yuv444p12le",
    "vyu444": "yuv444p",
    "vuyx": "yuv444p",
    "vuya": "yuva444p",
    "ayuv": "yuva444p",
    "ayuv64le": "yuva444p16le",
    "pal8": "gbrp",
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "0rgb": "gbrp",
    "0bgr": "gbrp",
    "rgba": "gbrap",
    "bgra": "gbrap",
    "argb": "gbrap",
    "abgr": "gbrap",
    "rgb48le": "gbrp16le",
    "bgr48le": "gbrp16le",
    "rgb48be": "gbrp16le",
    "rgba64le": "gbrap16le",
    "rgba64be": "gbrap16le",
    "bgra64le": "gbrap16le",
    "x2rgb10le": "gbrp10le",
    "x2bgr10le": "gbrp10le",
    "monow": "gray",
    "monob": "gray",
    "gbrp10msble": "gbrp10le",
    "gbrp12msble": "gbrp12le",
    "yuv444p10msble": "yuv444p10le",
    "yuv444p12msble": "yuv444p12le",
    "rgb555le": "gbrp",
    "rgb565le": "gbrp",
    **{f"yuvj{layout}p": f"yuv{layout}p" for layout in ("411", "420", "422", "440", "444")},
    **{
        f"p{chroma}{bits}{order}": f"yuv4{max(chroma, 2)}{chroma}p{bits}le"
        for chroma in (0, 2, 4)
        for bits in (10, 12, 16)
        for order in ("le", "be")
    },
}


def pixel_format(name: str) -> PixelFormat | None:
    """The format of that name if it is one we work in, else None."""
    return _FORMATS.get(name)


def native_format(name: str) -> str | None:
    """The planar little-endian format that holds the samples of format `name` unchanged.

    None when there is none: float samples, fewer than 8 or more than 16 bits, Bayer patterns,
    hardware surfaces. A pal8 picture with transparent colours needs gbrap instead of gbrp.
    """
    if name in _FORMATS:
        return name
    if name in _REPACKED:
        return _REPACKED[name]
    swapped = f"{name[:-2]}le"
    return swapped if name.endswith("be") and swapped in _FORMATS else None


def kept_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of one stream, or of a file, that stay true in another file.

    MOV and MP4 call a track's title `name`; `title` is what every muxer understands.
    """
    kept = {key: value for key, value in tags.items() if not key.upper().startswith(_STALE)}
    if "creation_time" in kept:
        # MP4 may say it in two ways, and FFmpeg 9 tells both.
        kept["creation_time"] = _moment(kept["creation_time"].split(";")[0])
    if "name" in kept and "title" not in kept:
        kept["title"] = kept.pop("name")
    return kept


def _moment(text: str) -> str:
    """A time as FFmpeg's muxers write it, where it says its zone; else as it is."""
    with suppress(ValueError, OverflowError):
        told = datetime.fromisoformat(text)
        # FFmpeg does not read the number of a week.
        if told.tzinfo is not None and "W" not in text:
            written = told.astimezone(UTC).isoformat(timespec="microseconds")
            return written.replace("+00:00", "Z")
    return text


def luma_matrix(code: int, picture_family: str, width: int, height: int) -> str:
    """The key of planes.LUMA_WEIGHTS for FFmpeg's matrix `code`.

    Where the source says nothing, pictures of up to 1024x576 are BT.601, larger ones BT.709, as
    players have it. What is none of the three (FCC, SMPTE 240M, YCgCo) takes the nearest.
    """
    if picture_family == "rgb":
        return "bt709"
    if code in (4, 5, 6):
        return "bt601"
    if code in (9, 10):
        return "bt2020"
    if code == UNSAID and picture_family == "yuv" and width <= 1024 and height <= 576:
        return "bt601"
    return "bt709"


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """One stream of a source, the restored video among them."""

    index: int
    kind: str
    """video, audio, subtitle, attachment, data; cover for a picture that is attached."""
    codec: str
    language: str = ""
    title: str = ""
    disposition: tuple[str, ...] = ()

    def __str__(self) -> str:
        extra = " ".join(part for part in (self.language, self.title) if part)
        return f"{self.kind} stream {self.index} ({self.codec}{', ' if extra else ''}{extra})"


@dataclass(frozen=True, slots=True)
class Clip:
    """Everything that is known about an opened source before its first frame is restored."""

    name: str
    container: str
    """FFmpeg's name of the demuxer, such as matroska,webm."""
    codec: str
    """FFmpeg's name of the decoder."""
    lossless: bool
    """The codec is always lossless; H.264 at QP 0 cannot be told apart and is not."""
    picture: Picture
    stored_format: str
    """The decoder's pixel format; `picture.format` is the planar one we work in."""
    time_base: Fraction
    rate: Fraction | None
    """The nominal frame rate; None when the source has none."""
    start: Fraction
    """Seconds at which the earliest stream starts; may be negative."""
    video_start: Fraction
    """Seconds at which the restored stream starts, or the part of it that was asked for."""
    zero: Fraction
    """Seconds at which the restored stream starts in the file; `--ss` and `--to` count from it."""
    duration: float | None
    """Seconds; None when unknown, as on a pipe."""
    frame_count: int | None
    """An estimate."""
    bit_rate: int | None
    """Of the whole file, bits a second."""
    sar: Fraction | None
    """Width of a sample over its height; None when not said."""
    color_range: int
    color_matrix: int
    color_primaries: int
    color_transfer: int
    display_matrix: tuple[int, ...] | None
    """The nine integers of FFmpeg's display matrix; None when there is none."""
    rotation: int
    """Degrees, counter-clockwise."""
    field_order: int
    """FFmpeg's AVFieldOrder."""
    side_data: tuple[str, ...]
    """Names of the side data on the first frame, such as MASTERING_DISPLAY_METADATA."""
    video: StreamFacts
    others: tuple[StreamFacts, ...]
    chapters: int
    metadata: tuple[tuple[str, str], ...]
    video_metadata: tuple[tuple[str, str], ...]
    number: int | None = None
    """Of the first picture, in its name, where the source is numbered pictures."""
    coded_sar: Fraction | None = None
    """The shape that the frames say, which goes along with them; what the file says counts."""

    @property
    def cut(self) -> bool:
        """Only what follows `video_start` was asked for; the output's times start at 0 there."""
        return self.video_start != self.zero

    @property
    def offset(self) -> Fraction:
        """Seconds added to the times of all streams, so that none before zero is lost."""
        return -self.start if self.cut or self.video_start < 0 else Fraction(0)

    def doubled(self) -> Clip:
        """The same film with two frames for each: twice the rate, half the time base."""
        return replace(
            self,
            time_base=self.time_base / 2,
            rate=None if self.rate is None else 2 * self.rate,
            frame_count=None if self.frame_count is None else 2 * self.frame_count,
            number=None,
            metadata=_doubled(self.metadata),
            video_metadata=_doubled(self.video_metadata),
        )

    @property
    def interlaced(self) -> bool:
        """The stream says so; whether its frames are combed, `decode.combed` tells."""
        return self.field_order not in PROGRESSIVE

    def as_dict(self) -> dict[str, Any]:
        """For JSON: numbers, text, lists and dicts only."""
        picture = self.picture
        return {
            "name": plain_text(self.name),
            "container": self.container,
            "codec": self.codec,
            "lossless": self.lossless,
            "width": picture.width,
            "height": picture.height,
            "pixel_format": picture.format.name,
            "stored_format": self.stored_format,
            "bits": picture.format.bits,
            "family": picture.format.family,
            "matrix": picture.matrix,
            "full_range": picture.full_range,
            "color": {
                "range": self.color_range,
                "matrix": self.color_matrix,
                "primaries": self.color_primaries,
                "transfer": self.color_transfer,
            },
            "rate": None if self.rate is None else str(self.rate),
            "time_base": str(self.time_base),
            "start": float(self.video_start),
            "duration": self.duration,
            "frame_count": self.frame_count,
            "bit_rate": self.bit_rate,
            "sample_aspect_ratio": None if self.sar is None else str(self.sar),
            "rotation": self.rotation,
            "interlaced": self.interlaced,
            "side_data": list(self.side_data),
            "streams": [_stream(facts) for facts in (self.video, *self.others)],
            "chapters": self.chapters,
            "metadata": {plain_text(key): plain_text(value) for key, value in self.metadata},
        }

    def summary(self) -> str:
        """A few lines for people."""
        picture = self.picture
        rate = "no fixed rate" if self.rate is None else f"{float(self.rate):.5g} fps"
        length = "length unknown" if self.duration is None else f"{self.duration:.2f} s"
        matrix = picture.matrix if picture.format.family == "yuv" else picture.format.family
        count = self.frame_count
        about = f"about {counted(count, 'frame')}" if count else "frames unknown"
        extra = (" (lossless)" if self.lossless else "") + (", interlaced" * self.interlaced)
        lines = [f"{one_line(self.name)}: {self.container}, {length}, {about}"]
        lines.append(
            f"  {picture.width}x{picture.height} {picture.format.name} {matrix}"
            f" {'full' if picture.full_range else 'limited'} range, {rate}, {self.codec}{extra}"
        )
        lines += [f"  {one_line(str(facts))}" for facts in self.others]
        if self.chapters:
            lines.append(f"  {self.chapters} chapters")
        return "\n".join(lines)


def _stream(facts: StreamFacts) -> dict[str, Any]:
    return {
        "index": facts.index,
        "kind": facts.kind,
        "codec": facts.codec,
        "language": plain_text(facts.language),
        "title": plain_text(facts.title),
        "disposition": list(facts.disposition),
    }


def plain_text(text: str) -> str:
    """Text that any terminal and JSON reader takes: stray bytes become replacement marks."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def counted(count: int, noun: str) -> str:
    """How many of something there are, for people: 1 frame, 2 frames."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def one_line(text: str) -> str:
    """The same without line breaks and what else a terminal would obey: a file's title may hold
    anything.
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in plain_text(text))


@dataclass(frozen=True, slots=True)
class Damage:
    """What the decoder met."""

    corrupt_packets: int = 0
    corrupt_frames: int = 0
    """Decoded, but flagged by the decoder."""
    decode_errors: int = 0
    """Packets or reads that gave nothing but an error."""
    repaired_pts: int = 0
    """Frames whose time was missing or not later than that of the frame before, or counted from
    a clock that wrapped or started anew."""
    truncated: bool = False
    """The file ends well before the length that it states."""
    missing_seconds: float = 0.0
    """By so much, where it is truncated and states a length."""
    interlaced_frames: int = 0
    """Flagged as such in a film that is progressive where it was looked at."""
    changed: bool = False
    """The file was written to while it was read."""

    @property
    def lossy(self) -> bool:
        """Whether something of the film could not be read."""
        broken = self.corrupt_packets or self.corrupt_frames or self.decode_errors
        return bool(broken or self.truncated)

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        counts = {
            "corrupt packet": self.corrupt_packets,
            "corrupt frame": self.corrupt_frames,
            "decode error": self.decode_errors,
            "repaired timestamp": self.repaired_pts,
        }
        said = [counted(count, what) for what, count in counts.items() if count]
        if self.truncated:
            missing = self.missing_seconds
            last = f": the last {missing:.1f} s are missing" if missing else ""
            said.append(f"the file is truncated{last}")
        if self.changed:
            said.append("the file changed while it was read: what was written may be of both")
        if self.interlaced_frames:
            said.append(f"{self.interlaced_frames} interlaced frames, treated as progressive")
        return ", ".join(said)


@dataclass(frozen=True, slots=True, eq=False)
class Copied:
    """A packet of another stream, on its way past the engine."""

    stream: int
    """Index in the source."""
    seconds: float
    """Decoding time, -inf when unknown; only for the order of writing."""
    packet: Any
    """Opaque to all but decode and streams."""


class Passengers(Protocol):
    """The streams that travel beside the picture; `streams.plan_copies` makes them."""

    def board(self, output: Any, offset: Fraction) -> None:
        """Add everything to an open output, before its header; `offset` seconds are added."""

    def mux(self, output: Any, item: Copied) -> None:
        """Write one packet, or drop it if its stream stays behind."""


def _doubled(tags: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """With the timecode of twice the rate."""
    return tuple(
        (key, doubled_timecode(value) if key.lower() == "timecode" else value)
        for key, value in tags
    )
