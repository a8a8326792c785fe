"""vidrepair-build: parse and call."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from trt_build.progress import build_with_bar
from vidrepair.engines.cache import DEFAULT_LIMIT, EngineCache
from vidrepair.engines.key import (
    FLAVOURS,
    PRECISIONS,
    EngineRequest,
    Flavour,
    Precision,
    Profile,
    Shape,
)
from vidrepair.engines.nvidia import verify_on_card
from vidrepair.engines.plan import plan_card
from vidrepair.errors import UsageError, VidrepairError
from vidrepair.frames import Picture, PixelFormat
from vidrepair.models import find_model
from vidrepair.planes import padded_size
from vidrepair.settings import EngineSettings

Command = TypeVar("Command", bound=Callable[..., Any])
INTERRUPTED = 130
_GIB = 1 << 30


_flavour = click.option(
    "--flavour", type=click.Choice(FLAVOURS), required=True, help="Which library."
)
_size = click.option(
    "--size", metavar="WxH", required=True, help="Of the picture; padded to multiples of 16."
)


def _precision(default: str) -> Callable[[Command], Command]:
    return click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default=default,
        show_default=True,
        help="Of the convolutions of restore.",
    )


class _Commands(click.Group):
    """Turns our errors into one sentence on stderr and their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except VidrepairError as error:
            click.echo(f"vidrepair-build: {error}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("vidrepair-build: interrupted; nothing was written", err=True)
            sys.exit(INTERRUPTED)
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
@_precision("fp32")
def export(model: str, output: Path, precision: str) -> None:
    """Write MODEL, a released name or a .safetensors, as ONNX; prints the paths of both files."""
    try:
        from trt_build.export import export as run
    except ImportError as error:
        raise VidrepairError(
            f"{error.name} is not installed; pip install 'vidrepair[train]'"
        ) from error
    for path in run(model, output, half=precision == "fp16"):
        click.echo(path)


@main.command()
@click.argument("model")
@_flavour
@_size
@_precision("fp16")
@click.option("--lanes", type=int, help="Spans side by side; as many as run takes if not given.")
@click.option(
    "--tile",
    type=int,
    default=0,
    show_default=True,
    help="Side of the tiles that large pictures are cut into; 0 never cuts.",
)
@click.option("--dynamic", is_flag=True, help="Run every size up to twice this one, not it alone.")
@click.option(
    "--compute-capability",
    "capabilities",
    metavar="8.6,8.9",
    default="",
    help="Build for these cards, TensorRT-RTX only; for every card since 8.0 if not given.",
)
def engine(
    model: str,
    flavour: Flavour,
    size: str,
    precision: Precision,
    lanes: int | None,
    tile: int,
    dynamic: bool,
    capabilities: str,
) -> None:
    """Compile MODEL, a released name or a .safetensors, into the cache; prints its folder."""
    picture = _parse_size(size)
    settings = EngineSettings(model=model, tile=tile)
    card = find_model(model).card
    plan = plan_card(picture, settings, width=card.widths[0], halo=card.halo, memory=None)
    shape = Shape(plan.lanes if lanes is None else lanes, *padded_size(picture))
    if tile and dynamic:
        raise UsageError("--dynamic engines are never cut into tiles; leave out one of the two")
    request = EngineRequest(
        model,
        flavour,
        Profile.dynamic(shape) if dynamic else Profile.static(shape),
        precision,
        tile,
        tuple(filter(None, capabilities.split(","))),
    )
    entry = build_with_bar(request)
    click.echo(entry.folder)


@main.command()
@click.argument("model")
@_flavour
@_size
@_precision("fp16")
@click.option("--device", default="auto", show_default=True, help="A card, such as cuda:1.")
def verify(model: str, flavour: Flavour, size: str, precision: Precision, device: str) -> None:
    """Run MODEL's engine on this card beside torch in fp32, and say how far they differ.

    Exits with 6 where that is more than the precision explains.
    """
    picture = _parse_size(size)
    settings = EngineSettings(model=model, device=device, precision=precision)
    agreement = verify_on_card(find_model(model), picture, settings, flavour, build=build_with_bar)
    click.echo(agreement.summary())


def _parse_size(text: str) -> Picture:
    """`854x480` -> a picture of that size; of its format an engine knows nothing."""
    try:
        width, height = (int(side) for side in text.lower().split("x"))
    except ValueError:
        raise UsageError(f"--size {text} is not WxH, such as 1920x1080") from None
    return Picture(width, height, PixelFormat("yuv444p", "yuv", 8))


@main.command(name="list")
def list_engines() -> None:
    """List the compiled engines: size, when last used, what it is, its folder."""
    for entry in EngineCache().entries():
        click.echo(
            f"{entry.size / 2**20:7.1f} MB  {entry.used:%Y-%m-%d}  {entry.summary}  {entry.folder}"
        )


@main.command()
@click.option(
    "--limit",
    type=click.FloatRange(min=0),
    default=DEFAULT_LIMIT / _GIB,
    show_default=True,
    help="GiB that may stay; 0 removes all.",
)
def prune(limit: float) -> None:
    """Remove the engines that were used longest ago, until the rest is small enough."""
    removed = EngineCache().prune(int(limit * _GIB))
    for entry in removed:
        click.echo(f"removed {entry.summary}")
    click.echo(f"{len(removed)} engine{'' if len(removed) == 1 else 's'} removed")
