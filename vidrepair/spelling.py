"""Settings as people spell them, on the command line and in lists of files.

What is no such setting raises ValueError, with a sentence that quotes it.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from fractions import Fraction

from vidrepair.settings import KINDS, Pair


def read_number(text: str) -> float:
    """One number, such as 12.5."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def read_pair(text: str) -> Pair:
    """Luma and chroma, such as 20,10; one number is both."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise ValueError(f"{text!r} is not a number or two, such as 20 or 20,10")
    return numbers[0], numbers[-1]


def read_kinds(text: str) -> tuple[str, ...]:
    """Kinds of damage: all, none, or some with commas between."""
    if text in ("all", "none"):
        return KINDS if text == "all" else ()
    kinds = tuple(part.strip() for part in text.split(","))
    if whole := [kind for kind in kinds if kind in ("all", "none")]:
        raise ValueError(f"{whole[0]!r} goes with nothing else; take it alone, or leave it out")
    if wrong := [kind for kind in kinds if kind not in KINDS]:
        near = get_close_matches(wrong[0], KINDS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{wrong[0]!r} is not all, none or some of {', '.join(KINDS)}{hint}")
    return kinds


def read_rate(text: str) -> Fraction:
    """Frames a second: a number or a fraction; 23.976 and its like are what they round."""
    if re.fullmatch(r"\d+(\.\d+)?|\d+/0*[1-9]\d*", text, re.ASCII) is None:
        raise ValueError(f"{text!r} is no rate such as 24, 23.976 or 24000/1001")
    rate = Fraction(text)
    for whole in (24, 30, 48, 60, 120):
        exact = Fraction(whole * 1000, 1001)
        if rate in (round(exact, 2), round(exact, 3)):
            return exact
    return rate


def _instead(text: str) -> str:
    """What to write for other spellings that people are used to."""
    if re.fullmatch(r"(\d+:){3}\d+|(\d+:){2}\d+;\d+", text, re.ASCII):
        return "; write frames as a fraction of a second, 12 of them at 25 a second as .480"
    if "," in text:
        return "; a fraction is written with a point, and each time is given by itself"
    return ""


def read_time(text: str) -> Fraction:
    """Seconds, or hours, minutes and seconds with colons; in seconds."""
    if re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text, re.ASCII) is None:
        raise ValueError(f"{text!r} is no time such as 83.5 or 00:01:23.500{_instead(text)}")
    seconds, first, *rest = Fraction(0), *map(Fraction, text.split(":"))
    if any(part >= 60 for part in rest):
        raise ValueError(f"{text!r} is no time: minutes and seconds go up to 59")
    for part in (first, *rest):
        seconds = seconds * 60 + part
    return seconds
