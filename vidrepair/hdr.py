"""HDR10: the display a film was graded on, and how bright it gets, in every spelling of it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

MASTERING, LIGHT = "MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"
"""FFmpeg's names of the side data."""
CHROMATICITY, LUMINANCE = 50000, 10000
"""Steps per unit, and per cd/m2, in which H.264, HEVC and MP4 store them (SMPTE ST 2086)."""
Point = tuple[Fraction, Fraction]


@dataclass(frozen=True, slots=True)
class MasteringDisplay:
    """SMPTE ST 2086: CIE 1931 x, y of the primaries and of white, luminances in cd/m2.

    What the source does not say is zero, as HEVC has it.
    """

    red: Point
    green: Point
    blue: Point
    white: Point
    least: Fraction
    most: Fraction


@dataclass(frozen=True, slots=True)
class LightLevel:
    """CTA 861.3, in cd/m2."""

    most: int
    """MaxCLL: of the brightest sample."""
    mean: int
    """MaxFALL: of the brightest frame's mean."""


@dataclass(frozen=True, slots=True)
class Hdr10:
    """Static HDR metadata; one of both is there."""

    display: MasteringDisplay | None
    light: LightLevel | None

    def params(self, spelling: str) -> str:
        """For `x264-params`, `x265-params` and `svtav1-params`, which are `spelling`."""
        display, light, more = _SPELLINGS[spelling]
        said = []
        if self.display is not None:
            plain = spelling == "svtav1-params"
            said.append(f"{display}={_plain(self.display) if plain else _steps(self.display)}")
        if self.light is not None:
            said.append(f"{light}={self.light.most},{self.light.mean}")
        return ":".join((*said, *more))


_SPELLINGS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "x264-params": ("mastering-display", "cll", ()),
    "x265-params": ("master-display", "max-cll", ("hdr10=1",)),
    "svtav1-params": ("mastering-display", "content-light", ()),
}


def read_hdr(side: Mapping[str, bytes]) -> Hdr10 | None:
    """What the side data of a frame, by FFmpeg's names, say; None when they say nothing."""
    display, light = side.get(MASTERING), side.get(LIGHT)
    read = Hdr10(
        None if display is None else _display(display),
        None if light is None else LightLevel(*struct.unpack("=2I", light[:8])),
    )
    return read if read != Hdr10(None, None) else None


def _display(data: bytes) -> MasteringDisplay:
    """FFmpeg's AVMasteringDisplayMetadata: rationals of R, G, B, white, least, most; two flags."""
    numbers = struct.unpack("=22i", data[:88])
    pairs = zip(numbers[:20:2], numbers[1:20:2], strict=True)
    values = [Fraction(above, below) if below else Fraction(0) for above, below in pairs]
    red, green, blue, white = ((values[at], values[at + 1]) for at in (0, 2, 4, 6))
    return MasteringDisplay(red, green, blue, white, least=values[8], most=values[9])


def steps(display: MasteringDisplay) -> tuple[int, ...]:
    """G, B, R, white as x and y, the largest and the least luminance, in steps of ST 2086."""
    points = (display.green, display.blue, display.red, display.white)
    places = [round(value * CHROMATICITY) for point in points for value in point]
    return (*places, *(round(value * LUMINANCE) for value in (display.most, display.least)))


def _steps(display: MasteringDisplay) -> str:
    return "G({},{})B({},{})R({},{})WP({},{})L({},{})".format(*steps(display))


def _plain(display: MasteringDisplay) -> str:
    # In steps too: so that a copy of a copy stays what it is.
    values = steps(display)
    places = [value / CHROMATICITY for value in values[:8]]
    bounds = [value / LUMINANCE for value in values[8:]]
    return "G({:g},{:g})B({:g},{:g})R({:g},{:g})WP({:g},{:g})L({:.10g},{:.10g})".format(
        *places, *bounds
    )
