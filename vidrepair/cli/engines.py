"""vidrepair engines: the compiled engines of this user, as vidrepair-build has them."""

from __future__ import annotations

import click

from trt_build.cli import list_engines, prune


@click.group()
def engines() -> None:
    """List or remove the engines that were compiled for NVIDIA cards."""


engines.add_command(list_engines)
engines.add_command(prune)
