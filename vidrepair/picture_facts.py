"""What is said of a film's picture, as names and values in words: matrix and bt709."""

from __future__ import annotations

from enum import IntEnum
from fractions import Fraction

from av.video.reformatter import ColorPrimaries, ColorTrc

from vidrepair.carried import SITINGS, Carried
from vidrepair.hdr import Hdr10, steps
from vidrepair.tags import FULL_RANGE, UNSAID, Clip
from vidrepair.timecode import later_timecode

RANGES = {0: "not said", 1: "limited", FULL_RANGE: "full"}
MATRICES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m"}
MATRICES |= {8: "ycgco", 9: "bt2020nc", 10: "bt2020c", 14: "ictcp", UNSAID: "not said"}
FIELDS = {2: "tff", 3: "bff", 4: "bff", 5: "tff"}
"""By what is shown first, of FFmpeg's AVFieldOrder; 4 and 5 are coded the other way round."""
COLOURS = ("range", "matrix", "primaries", "transfer")
"""Facts about them."""
MATRIX_SLACK = 2
"""Units of 1/65536; Matroska holds the angle of a display matrix."""
BY_CONTAINER = " by its container alone"
"""Players and filters ask the frames, and take such a film for progressive."""


def picture_facts(clip: Clip, carried: Carried) -> tuple[tuple[str, str], ...]:
    """Name and value of every fact about the picture but its samples."""
    return (*_coded(clip), *_beside(clip, carried))


def _coded(clip: Clip) -> list[tuple[str, str]]:
    """Of the samples and how they are shown."""
    picture = clip.picture
    return [
        ("size", f"{picture.width}x{picture.height}"),
        ("pixel format", picture.format.name),
        ("sample aspect ratio", str(clip.sar or Fraction(1))),
        *colour_facts(
            clip.color_range, clip.color_matrix, clip.color_primaries, clip.color_transfer
        ),
        ("rotation", _rotation(clip)),
        ("display offset", _offset(clip)),
    ]


def colour_facts(span: int, matrix: int, primaries: int, transfer: int) -> list[tuple[str, str]]:
    """What FFmpeg's numbers say of the colours; `span` is its color_range."""
    values = (
        RANGES.get(span, str(span)),
        MATRICES.get(matrix, str(matrix)),
        _named(ColorPrimaries, primaries),
        _named(ColorTrc, transfer),
    )
    return list(zip(COLOURS, values, strict=True))


def same_meaning(name: str, form: str, expected: str, found: str) -> bool:
    """Whether two values of a fact show the same picture of that pixel format."""
    if name == "range":
        if form.startswith("gray"):  # untagged it is full, as players have it
            return {expected, found} == {"not said", "full"}
        # MP4 cannot leave it open, and Y'CbCr that says nothing is limited everywhere.
        return form.startswith(("gbr", "rgb", "bgr")) or (
            form[:1] == "y" and {expected, found} == {"not said", "limited"}
        )
    if name == "rotation":
        return _nearly(expected, found)
    if name == "matrix":
        return form.startswith(("gbr", "gray", "ya"))  # gray has no colours to mix
    if name == "field order":
        return f"{found}{BY_CONTAINER}" == expected  # the frames may say so, too
    # Left is what everybody takes for granted.
    return name == "chroma location" and {expected, found} == {"not said", "left"}


def _beside(clip: Clip, carried: Carried) -> list[tuple[str, str]]:
    """What stands beside the samples of the first frame."""
    hdr = carried.hdr or Hdr10(None, None)
    display = "none"
    if hdr.display is not None:
        display = "G({},{})B({},{})R({},{})WP({},{})L({},{})".format(*steps(hdr.display))
    timecode = carried.timecode
    if timecode and clip.cut:
        timecode = later_timecode(timecode, clip.video_start - clip.zero, clip.rate)
    place = carried.siting(clip.picture.format.sampling)
    return [
        ("field order", carried.field_order or _stated_order(clip)),
        ("mastering display", display),
        (
            "content light level",
            "none" if hdr.light is None else f"{hdr.light.most} {hdr.light.mean}",
        ),
        ("chroma location", SITINGS[place]),
        ("timecode", timecode or "none"),
        ("reel name", carried.reel or "none"),
    ]


def _stated_order(clip: Clip) -> str:
    """The order of fields of a film whose frames do not say that they are interlaced."""
    order = FIELDS.get(clip.field_order)
    return f"{order}{BY_CONTAINER}" if order else "progressive"


def _named(names: type[IntEnum], code: int) -> str:
    """FFmpeg's name of a code, where PyAV knows it."""
    if code == UNSAID:
        return "not said"
    return names(code).name.lower() if code in list(names) else str(code)


def _nearly(one: str, other: str) -> bool:
    """Whether two display matrices are one, but for the rounding of an angle."""
    rows = [list(map(int, text.partition("matrix ")[2].split())) for text in (one, other)]
    return all(rows) and max(abs(a - b) for a, b in zip(*rows, strict=True)) <= MATRIX_SLACK


def _rotation(clip: Clip) -> str:
    """The display matrix but for its offset; none where it turns nothing."""
    matrix = clip.display_matrix
    if matrix is None:
        return "none"
    turn = (*matrix[:6], matrix[8])
    if turn == (1 << 16, 0, 0, 0, 1 << 16, 0, 1 << 30):
        return "none"
    return f"{clip.rotation} degrees, matrix {' '.join(map(str, turn))}"


def _offset(clip: Clip) -> str:
    """By how much the display matrix moves the picture, in samples; none where it does not."""
    x, y = (clip.display_matrix or (0,) * 9)[6:8]
    return f"{x / (1 << 16):g} {y / (1 << 16):g}" if x or y else "none"
