"""Timecode: hours, minutes, seconds and frames, as a clock of some rate shows them."""

from __future__ import annotations

import re
from fractions import Fraction

_WRITTEN = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d{2,4})", re.ASCII)


def doubled_timecode(timecode: str) -> str:
    """What a clock of twice the rate shows at the same moment; text that is no timecode stays."""
    read = _WRITTEN.fullmatch(timecode)
    if read is None:
        return timecode
    return f"{timecode[: read.start(5)]}{2 * int(read[5]):0{len(read[5])}}"


def drops(timecode: str) -> bool:
    """Whether its clock leaves out numbers: it has ; or . before the frames."""
    read = _WRITTEN.fullmatch(timecode)
    return read is not None and read[4] != ":"


def frame_of(timecode: str, rate: Fraction) -> int | None:
    """How many frames the clock has counted since midnight; None for text that it never shows."""
    read, nominal = _WRITTEN.fullmatch(timecode), round(rate)
    if read is None:
        return None
    hours, minutes, whole, frames = (int(read[group]) for group in (1, 2, 3, 5))
    if nominal < 1 or minutes > 59 or whole > 59 or frames >= nominal:
        return None
    total = 60 * hours + minutes
    left_out = _left_out(nominal, dropping=read[4] != ":") * (total - total // 10)
    return (60 * total + whole) * nominal + frames - left_out


def timecode_of(frame: int, rate: Fraction, mark: str = ":", digits: int = 2) -> str:
    """What the clock shows so many frames after midnight; after 24 h it starts anew.

    With ; or . as the mark before the frames it drops numbers (SMPTE ST 12-1 section 5.2.2): of
    each minute but every tenth the first two at 29.97 frames a second, the first four at 59.94.
    """
    nominal = round(rate)
    dropped = _left_out(nominal, dropping=mark != ":")
    per_ten = 600 * nominal - 9 * dropped
    frame %= 144 * per_ten
    tens, rest = divmod(frame, per_ten)
    # The first of ten minutes drops none.
    minute = max(0, (rest - dropped) // (60 * nominal - dropped))
    clock, number = divmod(frame + dropped * (9 * tens + minute), nominal)
    return f"{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}{mark}{number:0{digits}}"


def day(rate: Fraction, *, dropping: bool) -> int:
    """How many frames the clock shows in 24 hours."""
    nominal = round(rate)
    return 144 * (600 * nominal - 9 * _left_out(nominal, dropping=dropping))


def later_timecode(timecode: str, seconds: Fraction, rate: Fraction | None) -> str:
    """The timecode of the frame that is shown `seconds` later; text that is none stays."""
    read = _WRITTEN.fullmatch(timecode)
    count = None if rate is None else frame_of(timecode, rate)
    if read is None or rate is None or count is None:
        return timecode
    return timecode_of(count + round(seconds * rate), rate, read[4], max(2, len(read[5])))


def _left_out(nominal: int, *, dropping: bool) -> int:
    """Numbers that are left out of a minute; only clocks of 30 a second, and its multiples, do."""
    return nominal // 15 if dropping and nominal % 30 == 0 else 0
