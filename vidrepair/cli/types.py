"""Parameter types of the commands."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from vidrepair.errors import UsageError
from vidrepair.regions import Box
from vidrepair.settings import Pair
from vidrepair.spelling import read_kinds, read_pair, read_rate, read_time


def is_given(option: str) -> bool:
    """Whether an option stands on the command line, rather than at its default."""
    source = click.get_current_context().get_parameter_source(option)
    return source is ParameterSource.COMMANDLINE


def complete_files(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """For a shell: names of files, where a word may be something else, too."""
    return [CompletionItem(incomplete, type="file")]


def complete_words(
    *words: str,
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """For a shell: some usual words, where others may be given as well."""

    def complete(
        _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]

    return complete


class PairType(click.ParamType[Pair | None]):
    """One or two numbers, luma and chroma, or auto."""

    name = "pair"

    def convert(
        self, value: str | Pair, param: click.Parameter | None, ctx: click.Context | None
    ) -> Pair | None:
        if not isinstance(value, str):
            return value
        if value == "auto":
            return None
        try:
            return read_pair(value)
        except ValueError:
            auto = "auto, or " if param is not None and param.name == "noise" else ""
            self.fail(f"{value!r} is not {auto}a number or two, such as 20 or 20,10", param, ctx)


class StrengthsType(click.ParamType[tuple[Pair, ...]]):
    """Several shares, each one number or luma/chroma."""

    name = "strengths"

    def convert(
        self,
        value: str | tuple[Pair, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[Pair, ...]:
        if not isinstance(value, str):
            return value
        try:
            return tuple(read_pair(part.replace("/", ",")) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers, such as 50,70,100 or 50/100", param, ctx)


class TileType(click.ParamType[int | None]):
    """A whole number, or auto."""

    name = "tile"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        if value == "auto":
            return None
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither auto nor a whole number", param, ctx)


class SizeType(click.ParamType[tuple[int, int]]):
    """Width and height, such as 854x480."""

    name = "size"

    def convert(
        self,
        value: str | tuple[int, int],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, int]:
        if not isinstance(value, str):
            return value
        try:
            width, height = (int(side) for side in value.lower().split("x"))
        except ValueError:
            self.fail(f"{value!r} is not WxH, such as 1920x1080", param, ctx)
        return width, height


class RepairType(click.ParamType[tuple[str, ...]]):
    """Kinds of damage, all or none."""

    name = "repair"

    def convert(
        self,
        value: str | tuple[str, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, ...]:
        if not isinstance(value, str):
            return value
        try:
            return read_kinds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def frame_list(text: str) -> tuple[range, ...]:
    """Read a list of frames such as `17,40-44`, both ends counted in.

    Raises UsageError.
    """
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part, re.ASCII)
        if match is None:
            raise UsageError(
                f"--bad-frames {text}: {part.strip() or 'an empty part'} is no frame; use numbers"
                " and ranges, counted from 0, such as 17,40-44"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"--bad-frames {text}: {part.strip()} runs backwards; turn it round")
        found.append(range(first, last + 1))
    return tuple(found)


class CropType(click.ParamType[Box]):
    """A part of a picture, such as 640x360+100+50."""

    name = "crop"

    def convert(
        self, value: str | Box, param: click.Parameter | None, ctx: click.Context | None
    ) -> Box:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"(\d+)x(\d+)\+(\d+)\+(\d+)", value, re.ASCII)
        if match is None:
            self.fail(f"{value!r} is not WxH+X+Y, such as 640x360+100+50", param, ctx)
        width, height, left, top = map(int, match.groups())
        return Box(top, left, top + height, left + width)


class FramesType(click.ParamType[tuple[range, ...]]):
    """Numbers of frames and ranges of them."""

    name = "frames"

    def convert(
        self,
        value: str | tuple[range, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[range, ...]:
        del param, ctx  # click's own signature
        return frame_list(value) if isinstance(value, str) else value


class FractionType(click.ParamType[Fraction]):
    """An exact number in the spelling that `read` knows; it raises ValueError for any other."""

    def __init__(self, name: str, read: Callable[[str], Fraction]) -> None:
        self.name = name
        self._read = read

    def convert(
        self, value: str | Fraction, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class NamesType(click.ParamType[tuple[str, ...]]):
    """Several names, with commas between."""

    name = "names"

    def convert(
        self,
        value: str | tuple[str, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, ...]:
        del param, ctx  # click's own signature
        if not isinstance(value, str):
            return value
        return tuple(filter(None, (part.strip() for part in value.split(","))))


class PairsType(click.ParamType[tuple[str, str]]):
    """A key and its value."""

    name = "option"

    def convert(
        self,
        value: str | tuple[str, str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        if not isinstance(value, str):
            return value
        key, equals, text = value.partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is not KEY=VALUE, such as tune=grain", param, ctx)
        return key, text


CROP = CropType()
FILE = click.Path(path_type=Path, readable=False)
"""What cannot be read the tool refuses itself, and by its own exit code."""
FRAMES = FramesType()
NAMES = NamesType()
PAIRS = PairsType()
PAIR = PairType()
RATE = FractionType("rate", read_rate)
REPAIR = RepairType()
SIZE = SizeType()
STRENGTHS = StrengthsType()
TILE = TileType()
TIME = FractionType("time", read_time)


def path_or_pipe(name: str) -> Path | None:
    """A path, or None for `-`."""
    return None if name == "-" else Path(name)
