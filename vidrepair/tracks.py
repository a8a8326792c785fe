"""One stream of a file: what is said of it, and what its packets hold."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from vidrepair.channels import LAYOUT, layout_of, same_layout
from vidrepair.containers import facts, fraction
from vidrepair.packed_times import Integers
from vidrepair.picture_facts import colour_facts, same_meaning
from vidrepair.tags import StreamFacts, kept_tags, plain_text

UNKNOWN = -(2**63)
"""FFmpeg's AV_NOPTS_VALUE: a time that the file does not say."""

ALONE = ("pcm_", "flac", "alac")
"""Sound whose packets are decoded without those before, by the beginning of FFmpeg's names."""


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """All packets of one stream, in the order of the file; the data themselves are not kept."""

    time_base: Fraction
    sha256: str
    """Of all data, one packet after the other: other packets of the same data have the same."""
    times: Integers
    """(n,) pts, else dts, in time_base units; UNKNOWN where the file says neither."""
    dts: Integers
    durations: Integers
    """0 where unknown."""
    sizes: Integers
    """Bytes."""
    checksums: Integers
    """CRC-32 of each packet, so that the one that differs can be named."""
    hidden: int = 0
    """How many of the first an edit list of MP4 or MOV hides."""

    def __len__(self) -> int:
        return len(self.times)

    def kept(self, which: Integers) -> Packets:
        """Some of them, by number; their common hash is that of all, and no longer of use."""
        return Packets(
            self.time_base,
            "" if len(which) < len(self) else self.sha256,
            self.times[which],
            self.dts[which],
            self.durations[which],
            self.sizes[which],
            self.checksums[which],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One stream, with what its packets hold."""

    facts: StreamFacts
    form: tuple[tuple[str, str], ...]
    """Name and value: of sound its rate and channels, of pictures their size, shape and colours,
    of ASS its styles."""
    tags: tuple[tuple[str, str], ...]
    """Those that stay true in another file; keys in small letters."""
    packets: Packets
    attachment: tuple[str, str, str] | None = None
    """Name, type and sha256 of an attached file."""

    def shown(self) -> Track:
        """The stream as other containers than MP4 and MOV are given it: without what is hidden."""
        kept = kept_hidden(self.facts)
        if kept is None:
            return self
        # What stands before nothing that is shown is not written at all.
        first = self.packets.hidden - (kept if self.packets.hidden < len(self.packets) else 0)
        if first <= 0:
            return self
        return replace(self, packets=self.packets.kept(np.arange(first, len(self.packets))))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        packets, unit = self.packets, self.packets.time_base
        known = packets.times[packets.times != UNKNOWN]
        ends = (
            [float(int(each) * unit) for each in (known.min(), known.max())] if len(known) else []
        )
        return {
            "index": self.facts.index,
            "kind": self.facts.kind,
            "codec": self.facts.codec,
            "form": dict(self.form),
            "language": plain_text(self.facts.language),
            "title": plain_text(self.facts.title),
            "disposition": list(self.facts.disposition),
            "tags": {plain_text(key): plain_text(value) for key, value in self.tags},
            "packets": len(packets),
            "bytes": int(packets.sizes.sum()),
            "sha256": self.attachment[2] if self.attachment else packets.sha256,
            "attachment": [plain_text(text) for text in self.attachment[:2]]
            if self.attachment
            else None,
            "first_and_last": ends,
        }


@dataclass(slots=True)
class Gathered:
    """Of one stream, while it is read."""

    annexed: str
    """The codec whose packets carry headers here that other containers do without; else empty."""
    time_base: Fraction = Fraction(1)
    sha256: Any = field(default_factory=hashlib.sha256)
    times: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    durations: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    checksums: array[int] = field(default_factory=lambda: array("q"))
    hidden: int = 0

    def add(self, packet: Any) -> None:
        self.hidden += packet.is_discard and self.hidden == len(self.times)
        data = _bare(bytes(packet), self.annexed) if self.annexed else memoryview(packet)
        dts = UNKNOWN if packet.dts is None else packet.dts
        self.time_base = fraction(packet.time_base) or self.time_base
        self.sha256.update(data)
        self.checksums.append(zlib.crc32(data))
        self.sizes.append(len(data))
        self.times.append(dts if packet.pts is None else packet.pts)
        self.dts.append(dts)
        self.durations.append(packet.duration or 0)

    def packets(self) -> Packets:
        columns = (self.times, self.dts, self.durations, self.sizes, self.checksums)
        times, dts, durations, sizes, checksums = (np.array(one, np.int64) for one in columns)
        digest = self.sha256.hexdigest()
        return Packets(self.time_base, digest, times, dts, durations, sizes, checksums, self.hidden)


def kept_hidden(told: StreamFacts) -> int | None:
    """How many packets of a stream are kept of those that an edit list of MP4 and MOV hides at the
    start, and other containers would show; None for all.

    One of sound, where a decoder makes noise of the first packet without the one before.
    """
    if told.kind not in ("audio", "subtitle", "data"):
        return None
    return int(told.kind == "audio" and not told.codec.startswith(ALONE))


def track_of(stream: Any) -> Track:
    """A stream without its packets."""
    told = facts(stream)
    attachment = None
    if told.kind == "attachment":
        digest = hashlib.sha256(bytes(stream.data)).hexdigest()
        attachment = (stream.metadata.get("filename", ""), told.codec, digest)
    form = tuple(form_of(stream, told))
    return Track(told, form, tags_of(stream.metadata), Gathered("").packets(), attachment)


def form_of(stream: Any, told: StreamFacts) -> Iterator[tuple[str, str]]:
    """Name and value of what a stream is, beside its packets."""
    context = getattr(stream, "codec_context", None)
    if context is None:
        return
    if stream.type == "audio":
        layout = layout_of(context)
        yield "sample rate", f"{context.sample_rate} Hz"
        yield "channels", str(layout.nb_channels)
        yield LAYOUT, layout.name
    elif stream.type == "video":
        yield "size", f"{context.width}x{context.height}"
        if told.kind == "cover":
            return
        yield "sample aspect ratio", str(fraction(stream.sample_aspect_ratio) or Fraction(1))
        colours = (context.colorspace, context.color_primaries, context.color_trc)
        yield from colour_facts(int(context.color_range), *map(int, colours))
    elif told.codec in ("ass", "ssa"):
        styles = bytes(context.extradata or b"").rstrip(b"\0\r\n")
        yield "styles", f"of sha256 {hashlib.sha256(styles).hexdigest()}"


def lost_form(form: Iterable[tuple[str, str]], found: Mapping[str, str]) -> Iterator[str]:
    """The names of what a copy does not say as its source does; `found` is the form of the copy.

    What the source leaves open may be anything.
    """
    for name, expected in form:
        value = found.get(name, "not said")
        if expected in (value, "not said") or (name == LAYOUT and same_layout(expected, value)):
            continue
        # Of colours the muxers change nothing but the range, and that of Y'CbCr.
        if not same_meaning(name, "yuv", expected, value):
            yield name


def tags_of(found: Any) -> tuple[tuple[str, str], ...]:
    """Those that stay true in another file; keys in small letters."""
    return tuple(sorted((key.lower(), value) for key, value in kept_tags(found).items()))


def annexed(stream: Any) -> str:
    """The codec of a copied stream whose packets a muxer will strip of headers; else empty."""
    context = getattr(stream, "codec_context", None)
    name = context.name if context is not None else ""
    extra = bytes(context.extradata or b"") if context is not None else b""
    if name == "aac" and not extra:
        return "aac"
    return name if name in ("h264", "hevc") and extra[:1] == b"\0" else ""


def _bare(data: bytes, codec: str) -> bytes:
    """A packet as MP4 and Matroska hold it.

    AAC without the header of ISO/IEC 14496-3 1.A.2.2 (ADTS); H.264 and HEVC with the length of
    each unit before it, in place of the start codes of their Annex B.
    """
    if codec == "aac":
        # As FFmpeg's filter has it, which does not look at the bits of the layer.
        marked = len(data) > 7 and data[0] == 0xFF and data[1] & 0xF0 == 0xF0
        return data[7 if data[1] & 1 else 9 :] if marked else data
    units = [unit.rstrip(b"\0") for unit in re.split(b"\0\0\1", data)]
    return b"".join(struct.pack(">I", len(unit)) + unit for unit in units if unit)
