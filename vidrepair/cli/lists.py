"""The options of lists that editing systems share: markers that are written, cuts that are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from vidrepair.cli.types import FILE

_OPTIONS = (
    click.option(
        "--markers",
        type=FILE,
        metavar="FILE",
        help="Write shots and the worst damage as markers, at the source's timecode: an .otio"
        " timeline, an .edl with locators, or a .resolve.edl with the markers of DaVinci Resolve.",
    ),
    click.option(
        "--shots",
        type=FILE,
        metavar="FILE",
        help="Take the cuts from this list instead of finding them: .otio, .edl, or a .txt of frame"
        " numbers or times.",
    ),
)


def marker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options, handed to it as `markers` and `shots`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
