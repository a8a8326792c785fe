"""How far a build is, on the terminal."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from trt_build.build import build_engine
from vidrepair.engines.cache import Entry
from vidrepair.engines.key import EngineRequest


def build_with_bar(request: EngineRequest) -> Entry:
    """The engine from the cache, or built under a bar on the terminal."""
    bar = Progress(
        TextColumn("compiling {task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("", total=None)
        return build_engine(
            request,
            progress=lambda what, done, total: bar.update(
                task, description=what, completed=done, total=total
            ),
        )
