"""timecode: what a clock shows later, with and without dropped numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest

from vidrepair.timecode import later_timecode

NTSC = Fraction(30000, 1001)


def counted(frames: int, nominal: int, dropped: int) -> str:
    """The timecode of a frame, counted up one by one from midnight."""
    hours = minutes = seconds = number = 0
    for _ in range(frames):
        number += 1
        if number == nominal:
            number, seconds = 0, seconds + 1
            if seconds == 60:
                seconds, minutes = 0, minutes + 1
                number = dropped if minutes % 10 else 0
                if minutes == 60:
                    minutes, hours = 0, (hours + 1) % 24
    return f"{hours:02}:{minutes:02}:{seconds:02}{';' if dropped else ':'}{number:02}"


@pytest.mark.parametrize("frames", [0, 1, 1799, 1800, 1801, 17981, 17982, 19781, 19782, 107892])
def test_dropped_numbers_are_those_of_a_clock(frames: int) -> None:
    shown = later_timecode("00:00:00;00", frames / NTSC, NTSC)
    assert shown == counted(frames, 30, 2)
    assert later_timecode("00:00:00;00", frames / (2 * NTSC), 2 * NTSC) == counted(frames, 60, 4)
    assert later_timecode("00:00:00:00", Fraction(frames, 25), Fraction(25)) == counted(
        frames, 25, 0
    )


@pytest.mark.parametrize(
    ("before", "seconds", "rate", "after"),
    [
        ("01:00:00:00", Fraction(13, 2), Fraction(25), "01:00:06:12"),
        ("23:59:59:24", Fraction(1, 25), Fraction(25), "00:00:00:00"),
        ("10:00:59;29", 1 / NTSC, NTSC, "10:01:00;02"),
        ("10:09:59;29", 1 / NTSC, NTSC, "10:10:00;00"),
        ("23:59:59;29", 1 / NTSC, NTSC, "00:00:00;00"),
        ("01:00:00:00", Fraction(1), None, "01:00:00:00"),
        ("01:00:00:30", Fraction(1), Fraction(25), "01:00:00:30"),
        ("noon", Fraction(1), Fraction(25), "noon"),
        ("", Fraction(1), Fraction(25), ""),
    ],
)
def test_from_any_time_on(
    before: str, seconds: Fraction, rate: Fraction | None, after: str
) -> None:
    assert later_timecode(before, seconds, rate) == after
