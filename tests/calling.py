"""The command line called in this process, and films compared by their samples."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
from clips import read_frames, samples_of

from vidrepair.cli import main


def call(*args: str | Path) -> Result:
    """Run the command line with these words."""
    return CliRunner().invoke(main, [str(arg) for arg in args])


def hashes(path: Path) -> list[int]:
    """One of each frame of a film."""
    return [hash(tuple(plane.tobytes() for plane in samples_of(one))) for one in read_frames(path)]
