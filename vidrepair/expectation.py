"""What of a finished file may differ from its source, for it was said before the first frame."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from vidrepair.carried import CAPTIONS, DOLBY_VISION, HDR10_PLUS
from vidrepair.channels import LAYOUT
from vidrepair.labels import LOST_WITH, of_stream
from vidrepair.losses import ALPHA_TAG
from vidrepair.report import Difference
from vidrepair.settings import Interlace

MISSING = "missing"
"""What is found of a stream that is not there."""
_LOSS_NAMES = {
    "mastering display": "hdr10",
    "content light level": "hdr10",
    "sample aspect ratio": "sar",
    "field order": "field-order",
    "display offset": "display-offset",
    "chroma location": "chroma-location",
    "time of frame": "times",
    "reel name": "tags",
    "primaries": "colours",
    "transfer": "colours",
    "disposition": "marks",
    "title": "titles",
    "language": "languages",
    f"tag {ALPHA_TAG}": "alpha",
    LAYOUT: "layouts",
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What was said before the first frame to come out otherwise than it went in."""

    offset: Fraction = Fraction(0)
    """Seconds added to the times of all streams, as in OutputPlan."""
    frames: int | None = None
    """The picture was stopped after so many, and the other streams with it."""
    renumbered: bool = False
    """y4m: nothing but the number, the size and the format of the frames is held."""
    left: frozenset[int] = frozenset()
    """Streams that are not carried, by index in the source."""
    converted: frozenset[int] = frozenset()
    """Subtitles written in another codec: their times are compared, not their bytes."""
    empty: Mapping[int, Collection[int]] = field(default_factory=dict)
    """Of these, by stream, the numbers of the packets that were left out."""
    thinned: Mapping[int, int] = field(default_factory=dict)
    """By stream, how many packets were dropped, for their times ran backwards."""
    read_as: str = ""
    """The pixel format that decoders of the output give, where it is not the source's."""
    lost: frozenset[str] = frozenset()
    """What was warned of, by the names of `--allow-loss`, and by `of_stream`."""
    rate: Fraction | None = None
    """That of an output that is numbered pictures."""
    mov: bool = False
    """The output is MP4 or MOV."""

    def excuses(self, difference: Difference) -> bool:
        """Whether it was told of."""
        return not self.lost.isdisjoint({loss_name(difference), difference.what})

    def says(self, stream: int, what: str) -> bool:
        """Whether the output is to say this of a stream of the source."""
        return of_stream(stream, what) not in self.lost


@dataclass(frozen=True, slots=True)
class Made:
    """How a file was made, as far as it shows in the check."""

    fill_gaps: bool = False
    """Frames that the times lack were made."""
    lost: frozenset[str] = frozenset()
    """Of settings.LOSSES: what was given up."""
    interlace: Interlace = "auto"
    """How its fields were repaired."""


def loss_name(difference: Difference) -> str:
    """The name of a difference for `--allow-loss`, or its own where it has none there."""
    what = difference.what
    if what == "stream" and difference.found == MISSING:
        return LOST_WITH[difference.where.split()[0]]
    if what.startswith("tag ") and what not in _LOSS_NAMES:
        return "tags"
    if what.startswith("side data "):
        name = what.removeprefix("side data ")
        known = {
            CAPTIONS: "captions",
            HDR10_PLUS: "hdr10plus",
            **dict.fromkeys(DOLBY_VISION, "dovi"),
        }
        return known.get(name, "side-data")
    return _LOSS_NAMES.get(what, what)
