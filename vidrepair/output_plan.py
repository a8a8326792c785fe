"""Everything that is decided about an output before the first frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vidrepair.codecs import Options
from vidrepair.dpx import DpxHeaders
from vidrepair.headers import Header


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """Container, codec, format, tags, and what gets lost."""

    container: str
    """FFmpeg's name of the muxer."""
    codec: str
    """FFmpeg's name of the encoder."""
    pix_fmt: str
    """The format that the encoder takes; holds the same samples as the source's."""
    rate: Fraction
    time_base: Fraction
    read_as: str = ""
    """The format that decoders of the output give, where it is another."""
    options: Options = ()
    """Of the encoder."""
    muxing: Options = ()
    """Of the muxer."""
    metadata: Options = ()
    film_metadata: Options = ()
    """Of the film's own stream, instead of the source's; its title may hold room for `header`."""
    tag: str = ""
    """The codec's four letters, where the muxer's choice does not play everywhere."""
    offset: Fraction = Fraction(0)
    """Seconds added to the times of all streams, so that none before zero is lost."""
    fields: str = ""
    """tff or bff where frames are written as two fields; empty for whole frames."""
    header: Header | None = None
    """What is put into the header of the finished file, for FFmpeg's muxers cannot be told."""
    pictures: DpxHeaders | None = None
    """What is put into the headers of numbered DPX pictures."""
    renumbered: bool = False
    """Frames lie at 1/rate each; the target knows no other times."""
    overwrite: bool = False
    exact: bool = False
    """Refuse a time that the container would round."""
    cut: bool = False
    """The other streams end with the picture, which was stopped early."""
    notes: tuple[str, ...] = ()
    """What was chosen for the user, in words."""
    warnings: tuple[str, ...] = ()
    """What will not be carried, in words."""
    lost: frozenset[str] = frozenset()
    """The same by name, as `--allow-loss` takes it."""
