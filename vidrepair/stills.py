"""What a file of one picture keeps beside its samples, found by writing one and reading it back."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from vidrepair.codecs import CODECS, stored_format
from vidrepair.tags import FULL_RANGE, Clip

SIDE = 16
"""Samples of the picture that is tried."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a reader finds, as `Clip` has it."""

    sar: Fraction
    color_range: int
    color_primaries: int
    color_transfer: int

    def lost(self, clip: Clip) -> frozenset[str]:
        """Which of these are not those of a film: sar, range, primaries, transfer."""
        family = clip.picture.format.family
        open_ranges = (0, FULL_RANGE) if family == "gray" else ()  # that of gray, where it is open
        same_range = self.color_range == clip.color_range or (
            self.color_range in open_ranges and clip.color_range in open_ranges
        )
        differs = {
            "sar": self.sar != (clip.sar or Fraction(1)),
            "range": family != "rgb" and not same_range,
            "primaries": self.color_primaries != clip.color_primaries,
            "transfer": self.color_transfer != clip.color_transfer,
        }
        return frozenset(name for name, lost in differs.items() if lost)


def kept_by_picture(codec: str, clip: Clip) -> Kept:
    """What a picture of that codec, one of `codecs.PICTURES`, keeps of what a film says."""
    form = stored_format(codec, clip.picture)
    context: Any = av.CodecContext.create(CODECS[codec].encoder, "w")
    context.width = context.height = SIDE
    context.pix_fmt, context.time_base = form, Fraction(1, 25)
    context.thread_count = 1  # or the picture comes out when the next one went in
    context.sample_aspect_ratio = clip.sar or Fraction(1)
    frame: Any = av.VideoFrame(SIDE, SIDE, form)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.pts = 0
    for told in (context, frame):
        told.color_range, told.colorspace = clip.color_range, clip.color_matrix
        told.color_primaries, told.color_trc = clip.color_primaries, clip.color_transfer
    packet = context.encode(frame)[0]
    reader: Any = av.CodecContext.create(CODECS[codec].encoder, "r")
    reader.thread_count = 1
    found = [*reader.decode(packet), *reader.decode(None)][0]
    sar = reader.sample_aspect_ratio
    return Kept(
        sar=Fraction(sar.numerator, sar.denominator) if sar else Fraction(1),
        color_range=int(found.color_range),
        color_primaries=int(found.color_primaries),
        color_transfer=int(found.color_trc),
    )
