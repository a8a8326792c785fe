"""A contact sheet: rows of pictures side by side, with words above them, as one PNG."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidrepair.display import Shown
from vidrepair.files import write_bytes
from vidrepair.regions import Box
from vidrepair.tags import one_line

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

# Pillow is imported where a sheet is drawn: no other command needs it, or waits for it.

WIDEST = 2400
"""Pixels across."""
NARROWEST = 960
"""Of a sheet of small pictures: the words need some room."""
MARGIN, GAP = 28, 10
TITLE, HEAD, TEXT, LABEL = 36, 27, 22, 20
"""Heights of the letters."""
SMALL_LABEL = 11
"""The least of a word above a narrow picture."""
FONTS = ("DejaVuSans.ttf", "Arial.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf")
"""Files that are looked for where a machine keeps its fonts."""
LEADING = 1.45
"""Height of a line, in that of its letters."""
GROUND, BRIGHT, PALE, MARK = (34, 34, 34), (240, 240, 240), (176, 176, 176), (255, 214, 64)
"""Colours: a neutral dark ground takes least from the judgement of a picture."""
SMALLEST = 224
"""Pixels across a picture below which it is magnified, by a whole number."""
FLAT = 0.5
"""Height of a detail over its width, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Pictures of one size side by side, each with a word above it."""

    labels: tuple[str, ...]
    pictures: tuple[Shown, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One frame."""

    title: str
    caption: str
    strips: tuple[Strip, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """What a sheet shows."""

    title: str
    lines: tuple[str, ...]
    """Below the title; long ones are broken."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Frames:
    """How the frames of a film are shown in so many columns."""

    width: int
    """Of the film's picture, its samples square, in pixels of a sheet."""
    height: int
    detail: Box | None
    """Size of what is magnified beside it; None where the whole is shown in full."""
    zoom: int
    """Of the detail."""


def plan_frames(width: int, height: int, columns: int, sar: Fraction | None = None) -> Frames:
    """How a picture of `width` x `height` samples is shown: in full where there is room, else
    smaller, with a detail of single samples below. `sar` is the width of a sample over its height.
    """
    room = (WIDEST - 2 * MARGIN - (columns - 1) * GAP) // columns
    square = max(round(width * (sar or 1)), 1)
    if width <= room and square <= room:
        zoom = max(SMALLEST // width, 1) if width < SMALLEST else 1
        return Frames(zoom * square, zoom * height, None, 1)
    scale = min(room / square, room / height)
    zoom = 2 if width < 2 * room else 1
    wide = min(width, room // zoom)
    tall = min(height, max(round(FLAT * wide), 1))
    whole = max(round(scale * square), 1), max(round(scale * height), 1)
    return Frames(*whole, Box(0, 0, tall, wide), zoom)


def whole(picture: Shown, plan: Frames) -> Shown:
    """A picture in the size of a plan; one that is shown in full keeps its samples."""
    height, width = picture.shape[:2]
    if (plan.width, plan.height) == (width, height):
        return picture
    from PIL import Image

    larger = plan.width >= width and plan.height >= height
    method = Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(picture).resize((plan.width, plan.height), method))


def detail(picture: Shown, window: Box, zoom: int) -> Shown:
    """A window of a picture, each sample a square of `zoom` pixels."""
    part = picture[window.window()]
    return part.repeat(zoom, axis=0).repeat(zoom, axis=1)


def outlined(picture: Shown, window: Box, plan: Frames, size: tuple[int, int]) -> Shown:
    """A picture in the size of a plan, and on it where a window of its (height, width) lies."""
    from PIL import Image, ImageDraw

    down, across = plan.height / size[0], plan.width / size[1]
    image = Image.fromarray(picture)
    box = (
        window.left * across,
        window.top * down,
        window.right * across - 1,
        window.bottom * down - 1,
    )
    ImageDraw.Draw(image).rectangle(box, outline=MARK, width=2)
    return np.asarray(image)


def clock(seconds: float) -> str:
    """Hours, minutes, seconds and milliseconds."""
    whole_seconds, thousandths = divmod(round(1000 * seconds), 1000)
    return f"{timedelta(seconds=whole_seconds)}.{thousandths:03d}"


def write_sheet(sheet: Sheet, path: Path, *, overwrite: bool = False) -> None:
    """Write a sheet as PNG. Raises what `files.write_bytes` raises."""
    from PIL import Image

    held = BytesIO()
    Image.fromarray(draw(sheet)).save(held, "PNG", compress_level=4)
    write_bytes(path, [held.getvalue()], overwrite=overwrite)


def draw(sheet: Sheet) -> Shown:
    """(H, W, 3) of a sheet."""
    widths = [_strip_width(strip) for row in sheet.rows for strip in row.strips]
    width = max([*widths, NARROWEST - 2 * MARGIN]) + 2 * MARGIN
    pen = _Pen(width)
    pen.write(sheet.title, TITLE, BRIGHT)
    for line in sheet.lines:
        pen.write(line, TEXT, PALE)
    for row in sheet.rows:
        pen.skip(MARGIN)
        pen.write(row.title, HEAD, BRIGHT)
        pen.write(row.caption, TEXT, PALE)
        for strip in row.strips:
            pen.skip(GAP)
            pen.place(strip)
    pen.skip(MARGIN)
    return pen.finish()


def _strip_width(strip: Strip) -> int:
    across = sum(int(picture.shape[1]) for picture in strip.pictures)
    return across + GAP * (len(strip.pictures) - 1)


class _Pen:
    """Goes down a sheet, and notes what is drawn; it is as high as it has to be."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._down = MARGIN
        self._words: list[tuple[int, int, str, int, tuple[int, int, int]]] = []
        self._pictures: list[tuple[int, int, Shown]] = []

    def skip(self, pixels: int) -> None:
        self._down += pixels

    def write(self, text: str, size: int, colour: tuple[int, int, int]) -> None:
        """A paragraph."""
        for line in _broken(one_line(text), size, self._width - 2 * MARGIN):
            self._words.append((MARGIN, self._down, line, size, colour))
            self._down += round(LEADING * size)

    def place(self, strip: Strip) -> None:
        """Pictures and their labels."""
        across, tallest = MARGIN, 0
        line = round(LEADING * LABEL)
        for label, picture in zip(strip.labels, strip.pictures, strict=True):
            height, width = picture.shape[:2]
            size = LABEL
            while size > SMALL_LABEL and _length(label, size) > width:
                size -= 1
            word = _shortened(label, size, width)
            self._words.append((across, self._down, word, size, PALE))
            self._pictures.append((across, self._down + line, picture))
            across += width + GAP
            tallest = max(tallest, height)
        self._down += line + tallest

    def finish(self) -> Shown:
        """The sheet."""
        from PIL import Image, ImageDraw

        image = Image.new("RGB", (self._width, self._down), GROUND)
        brush = ImageDraw.Draw(image)
        for left, top, text, size, colour in self._words:
            brush.text((left, top), text, fill=colour, font=_font(size, text))
        for left, top, picture in self._pictures:
            image.paste(Image.fromarray(picture), (left, top))
        return np.asarray(image)


def _font(size: int, text: str) -> FreeTypeFont | ImageFont:
    """Pillow's own knows the letters of English alone: others are drawn by one of the machine."""
    from PIL import ImageFont

    for name in () if text.isascii() else FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)


def _broken(text: str, size: int, width: int) -> list[str]:
    """Lines of words that fit into a width."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _length(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(_shortened(word, size, width))
    return lines


def _shortened(text: str, size: int, width: int) -> str:
    """The text, its middle left out where it does not fit."""
    kept = len(text)
    short = text
    while kept > 2 and _length(short, size) > width:
        kept -= 1
        short = f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"
    return short


def _length(text: str, size: int) -> float:
    return _font(size, text).getlength(text)
