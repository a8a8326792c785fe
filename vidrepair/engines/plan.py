"""How many lanes run and how large a tile is: a pure function of picture, model and memory."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from vidrepair.engines.key import Shape
from vidrepair.engines.tiles import window_size
from vidrepair.errors import EngineError, UsageError
from vidrepair.frames import Picture
from vidrepair.planes import padded_size
from vidrepair.settings import EngineSettings

# Measured with the `fast` network in fp32 (docs/performance.md): bytes per pixel of the whole
# picture (three frames, motion and what finds it at full size, warped memory, outputs, the
# state), and per pixel of a window (the U-Net's intermediate results).
_PICTURE_BYTES = 320
_WINDOW_BYTES = 680

_LARGE = 1920 * 1088
_MOST_LANES = 8
"""On a card, which a few small pictures fill."""
_MEMORY_SHARE = 0.4
_CARD_SHARE = 0.8
"""Of a card's memory: libraries, and whoever else draws on it, have the rest."""
_SMALLEST_TILE = 128


@dataclass(frozen=True, slots=True)
class Plan:
    """The layout of an engine's work."""

    lanes: int
    tile: int
    """Side of a tile; 0: the picture in one piece."""
    threads: int


def total_memory() -> int:
    """The machine's memory in bytes, all of it, free or not: so that a plan can be repeated.

    In a container that of the container.
    """
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 8 << 30  # not told on this system
    try:
        return min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        return machine


def plan_work(picture: Picture, settings: EngineSettings, *, width: int, halo: int) -> Plan:
    """Lay out the work on a processor. `width` is the network's at half size, `halo`
    its reach.

    One lane for each thread up to two while the picture is at most 1920x1088, else one; where the
    memory does not hold them fewer lanes, and then tiles as large as it allows. A tile that is
    asked for is taken. Raises UsageError when not even the smallest tile fits.
    """
    threads = settings.threads or os.cpu_count() or 1
    height, columns = padded_size(picture)
    memory = settings.memory << 20 if settings.memory else int(total_memory() * _MEMORY_SHARE)
    lanes = min(2, threads) if height * columns <= _LARGE else 1
    return _fit(picture, settings, Plan(lanes, 0, threads), memory, width=width, halo=halo)


def plan_card(
    picture: Picture, settings: EngineSettings, *, width: int, halo: int, memory: int | None
) -> Plan:
    """The batch for an NVIDIA card: as many lanes as make one picture of 1920x1088, 1 to 8.

    Fewer, and then tiles, where `memory`, the card's bytes, or what the settings allow of it does
    not hold them; None for a card that is not at hand. Raises UsageError for a picture that no
    engine takes, EngineError for one that the card does not hold.
    """
    height, columns = padded_size(picture)
    lanes = min(max(_LARGE // max(columns * height, 1), 1), _MOST_LANES)
    Shape(lanes, height, columns)  # refuses what no engine takes
    if settings.memory:
        memory = settings.memory << 20
    elif memory is not None:
        memory = int(memory * _CARD_SHARE)
    if memory is None:
        return Plan(lanes, 0 if settings.tile == "auto" else settings.tile, 0)
    try:
        return _fit(picture, settings, Plan(lanes, 0, 0), memory, width=width, halo=halo)
    except UsageError as error:
        if settings.memory:
            raise
        raise EngineError(
            f"the card's memory does not hold a picture of {picture.width}x{picture.height}; use "
            "--backend openvino"
        ) from error


def _fit(
    picture: Picture, settings: EngineSettings, plan: Plan, memory: int, *, width: int, halo: int
) -> Plan:
    """The plan with as many of its lanes, and as large a tile, as `memory` bytes hold."""
    height, columns = padded_size(picture)
    scale = width / 32
    whole = height * columns * _PICTURE_BYTES * scale
    lanes = plan.lanes
    if settings.tile != "auto":
        rows, across = window_size(height, columns, settings.tile, halo)
        needed = whole + rows * across * _WINDOW_BYTES * scale
        return replace(plan, lanes=max(min(lanes, int(memory / needed)), 1), tile=settings.tile)
    while lanes > 1 and whole + height * columns * _WINDOW_BYTES * scale > memory / lanes:
        lanes -= 1  # before tiles, which restore their halos twice
    left = memory / lanes - whole
    if height * columns * _WINDOW_BYTES * scale <= left:
        return replace(plan, lanes=lanes)
    side = int(max(left / (_WINDOW_BYTES * scale), 0.0) ** 0.5) - 2 * halo
    side -= side % 16
    if side < _SMALLEST_TILE:
        raise UsageError(
            f"{memory >> 20} MB do not hold a picture of {picture.width}x{picture.height}; "
            "raise --memory"
        )
    return replace(plan, lanes=lanes, tile=side)
