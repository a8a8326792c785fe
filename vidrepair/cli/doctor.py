"""vidrepair doctor: what this machine offers, and whether the main path works."""

from __future__ import annotations

import os
import platform
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import click
import numpy as np

from trt_build.build import build_engine
from vidrepair import __version__
from vidrepair.engines import make_engine
from vidrepair.engines.library import find_flavours, has_card
from vidrepair.engines.plan import total_memory
from vidrepair.errors import EngineError, VidrepairError
from vidrepair.frames import Batch, Frame, LaneStep, Picture, PixelFormat
from vidrepair.models import find_model, released_models
from vidrepair.settings import EngineSettings

PACKAGES = (
    "av",
    "numpy",
    "openvino",
    "safetensors",
    "click",
    "rich",
    "torch",
    "tensorrt-cu13",
    "tensorrt-rtx-cu13",
)


@click.command()
def doctor() -> None:
    """Check the installation: versions, processor, models, and one step of each engine."""
    click.echo(
        f"vidrepair {__version__}, Python {platform.python_version()}, {platform.platform()}"
    )
    click.echo(f"{os.cpu_count()} processors, {total_memory() / 2**30:.1f} GiB of memory")
    for package in PACKAGES:
        try:
            click.echo(f"  {package} {version(package)}")
        except PackageNotFoundError:
            click.echo(f"  {package} is not installed")
    click.echo(f"  {'an' if has_card() else 'no'} NVIDIA card")
    failed = False
    for name in released_models():
        for backend in ("openvino", "torch", *find_flavours()):
            failed |= not _try(name, backend)
    if failed:
        raise SystemExit(6)


def _try(model: str, backend: str) -> bool:
    """Run one step of a small picture and say how it went; torch may be missing."""
    picture = Picture(64, 64, PixelFormat("yuv420p", "yuv", 8, (2, 2)))
    try:
        settings = EngineSettings(model=model, backend=backend)
        engine = make_engine(find_model(model), picture, settings, build=build_engine)
    except VidrepairError as error:
        click.echo(f"  model {model} on {backend}: {error}")
        return backend == "torch" and find_spec("torch") is None
    rng = np.random.default_rng(0)
    planes = tuple(rng.integers(0, 256, size, np.uint8) for size in ((64, 64), (32, 32), (32, 32)))
    frame = Frame(planes, picture, 0, 0, Fraction(1, 25))
    noise = np.full((2, 17), 0.1, dtype=np.float32)
    try:
        answer = engine.step(Batch((LaneStep(0, (frame, frame, frame), noise, fresh=True),)))[0]
        if not answer.is_finite():
            raise EngineError("its output is not finite")
    except VidrepairError as error:
        click.echo(f"  model {model} on {backend}: {error}")
        return False
    finally:
        engine.close()
    click.echo(f"  model {model} on {backend}: works ({engine.identity.summary()})")
    return True
