"""Timecode of a part of a film: hours, minutes, seconds and frames, later by so much."""

from __future__ import annotations

import re
from fractions import Fraction

_WRITTEN = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d+)", re.ASCII)


def doubled_timecode(timecode: str) -> str:
    """What a clock of twice the rate shows at the same moment; text that is no timecode stays."""
    read = _WRITTEN.fullmatch(timecode)
    if read is None:
        return timecode
    return f"{timecode[: read.start(5)]}{2 * int(read[5]):0{len(read[5])}}"


def later_timecode(timecode: str, seconds: Fraction, rate: Fraction | None) -> str:
    """The timecode of the frame that is shown `seconds` later; text that is none stays.

    With ; or . before the frames it drops numbers (SMPTE ST 12-1 section 5.2.2): of each minute
    but every tenth the first two at 29.97 frames a second, the first four at 59.94. After 24 h it
    starts anew.
    """
    read = _WRITTEN.fullmatch(timecode)
    if read is None or rate is None:
        return timecode
    nominal = round(rate)
    dropped = nominal // 15 if read[4] != ":" else 0
    hours, minutes, whole, frames = (int(read[group]) for group in (1, 2, 3, 5))
    if nominal < 1 or minutes > 59 or whole > 59 or frames >= nominal:
        return timecode
    total = 60 * hours + minutes
    count = (60 * total + whole) * nominal + frames - dropped * (total - total // 10)
    per_ten = 600 * nominal - 9 * dropped
    count = (count + round(seconds * rate)) % (144 * per_ten)
    tens, rest = divmod(count, per_ten)
    # The first of ten minutes drops none.
    minute = max(0, (rest - dropped) // (60 * nominal - dropped))
    number = count + dropped * (9 * tens + minute)
    clock, frame = divmod(number, nominal)
    digits = max(2, len(read[5]))
    return f"{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}{read[4]}{frame:0{digits}}"
