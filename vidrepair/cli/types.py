"""Parameter types of the commands."""

from __future__ import annotations

from pathlib import Path

import click

from vidrepair.settings import KINDS, Pair


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
            numbers = [float(part) for part in value.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 2):
            auto = "auto, or " if param is not None and param.name == "noise" else ""
            self.fail(f"{value!r} is not {auto}a number or two, such as 20 or 20,10", param, ctx)
        return numbers[0], numbers[-1]


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
        if value in ("all", "none"):
            return KINDS if value == "all" else ()
        kinds = tuple(part.strip() for part in value.split(","))
        if wrong := [kind for kind in kinds if kind not in KINDS]:
            self.fail(f"{wrong[0]!r} is not all, none or some of {', '.join(KINDS)}", param, ctx)
        return kinds


class FramesType(click.ParamType[tuple[tuple[int, int], ...]]):
    """Numbers of frames and ranges of them."""

    name = "frames"

    def convert(
        self,
        value: str | tuple[tuple[int, int], ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[tuple[int, int], ...]:
        if not isinstance(value, str):
            return value
        ranges = []
        for part in value.split(",") if value.strip() else ():
            first, dash, last = (piece.strip() for piece in part.partition("-"))
            ends = (first, last if dash else first)
            if not all(end.isascii() and end.isdigit() for end in ends):
                self.fail(f"{part!r} is neither a frame nor a range such as 40-44", param, ctx)
            ranges.append((int(ends[0]), int(ends[1])))
            if ranges[-1][0] > ranges[-1][1]:
                self.fail(f"{part!r} ends before it starts", param, ctx)
        return tuple(ranges)


FRAMES = FramesType()
PAIR = PairType()
REPAIR = RepairType()
SIZE = SizeType()
TILE = TileType()


def path_or_pipe(name: str) -> Path | None:
    """A path, or None for `-`."""
    return None if name == "-" else Path(name)
