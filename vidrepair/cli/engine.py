"""The options that every command with an engine has."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vidrepair.cli.types import FILE, TILE
from vidrepair.settings import BACKENDS, LOOKS, PRECISIONS, EngineSettings, Look

_OPTIONS = (
    click.option(
        "--model",
        default="auto",
        metavar="auto|NAME|FILE",
        show_default=True,
        help="The generator: auto is base on a card, else fast.",
    ),
    click.option(
        "--look",
        type=click.Choice(LOOKS),
        default="fidelity",
        show_default=True,
        help="natural gives back more of the texture that strong noise hides, but flat places are"
        " less even, and less damage is found.",
    ),
    click.option("--backend", type=click.Choice(BACKENDS), default="auto", show_default=True),
    click.option(
        "--device", default="auto", show_default=True, help="cpu, or a card such as cuda:0."
    ),
    click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True),
    click.option(
        "--tile",
        type=TILE,
        default="auto",
        metavar="auto|0|N",
        show_default=True,
        help="Side of the tiles that large pictures are cut into; 0 never cuts.",
    ),
    click.option("--memory", type=int, metavar="MB", help="What the engine may use."),
    click.option("--threads", type=int, default=0, help="Of the engine; 0 takes all."),
    click.option(
        "--trust-engine",
        type=FILE,
        metavar="FOLDER",
        help="Take this compiled engine, not one of the cache. Loading it runs code that is in it.",
    ),
)

_WORKERS = (
    click.option(
        "--workers",
        type=int,
        default=1,
        show_default=True,
        help="Processes that share a long film; with --device cuda:0,cuda:1 a card for each.",
    ),
    click.option(
        "--ray",
        is_flag=False,
        flag_value="local",
        metavar="[ADDRESS]",
        help="Workers of the Ray cluster at ADDRESS share it; of one on this machine without.",
    ),
)


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command those that say who shares a long film: `workers` and `ray`."""
    for option in reversed(_WORKERS):
        command = option(command)
    return command


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of an engine, handed to it as one `engine`."""

    @functools.wraps(command)
    def wrapped(
        model: str,
        look: Look,
        backend: str,
        device: str,
        precision: str,
        tile: int | None,
        memory: int | None,
        threads: int,
        trust_engine: Path | None,
        **others: Any,
    ) -> Any:
        engine = EngineSettings(
            model=model,
            look=look,
            backend=backend,
            device=device,
            precision=precision,
            tile="auto" if tile is None else tile,
            threads=threads,
            memory=memory,
            trust_engine=trust_engine,
        )
        return command(engine=engine, **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
