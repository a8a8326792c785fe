"""Whether a container can hold the times of a film as they are."""

from __future__ import annotations

from fractions import Fraction

from vidrepair.tags import Clip

MILLISECOND = Fraction(1, 1000)
"""What Matroska's times are counted in, whatever is asked for."""
COARSE = {"matroska": "Matroska", "webm": "WebM"}
"""The muxers of which that is true."""


def inexact_times(clip: Clip, target: str) -> str | None:
    """Why `target` cannot hold the times of any picture of that rate and time base as they are.

    None where it can, or where only the frames tell: then ask `holds_time` of each. Matroska
    counts milliseconds; MP4 and MOV take over the time base of the source.
    """
    if target not in COARSE:
        return None
    regular = clip.rate is not None and _whole(1 / clip.rate)
    if _whole(clip.time_base) or regular:
        return None
    return (
        f"{COARSE[target]} holds milliseconds and not the times of {clip.name}, which counts in"
        f" {clip.time_base} s; write an .mp4 or .mov file, or leave --exact-time out"
    )


def holds_time(seconds: Fraction, target: str) -> bool:
    """Whether a time is written as it is."""
    return target not in COARSE or _whole(seconds)


def _whole(seconds: Fraction) -> bool:
    return (seconds / MILLISECOND).denominator == 1
