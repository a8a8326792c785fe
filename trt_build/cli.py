"""vidrepair-build: parse and call."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from vidrepair.errors import VidrepairError


class _Commands(click.Group):
    """Turns our errors into one sentence on stderr and their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except VidrepairError as error:
            click.echo(f"vidrepair-build: {error}", err=True)
            sys.exit(error.exit_code)
        except OSError as error:
            click.echo(f"vidrepair-build: {error}; check the folder and its disk", err=True)
            sys.exit(VidrepairError.exit_code)


@click.group(cls=_Commands)
def main() -> None:
    """Build what the engines run from a model's weights."""


@main.command()
@click.argument("model")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the two .onnx files.",
)
def export(model: str, output: Path) -> None:
    """Write MODEL, a released name or a .safetensors, as ONNX; prints the paths of both files."""
    try:
        from trt_build.export import export as run
    except ImportError as error:
        raise VidrepairError(
            f"{error.name} is not installed; pip install 'vidrepair[train]'"
        ) from error
    for path in run(model, output):
        click.echo(path)
