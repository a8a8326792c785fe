"""The command line called in this process, and films compared by their samples."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from clips import read_frames, samples_of

from vidrepair.cli import main


def call(*args: str | Path) -> Result:
    """Run the command line with these words."""
    return CliRunner().invoke(main, [str(arg) for arg in args])


class Crash(BaseException):
    """The process is gone."""


def crashed_in(monkeypatch: pytest.MonkeyPatch, where: str, *words: str | Path) -> None:
    """Call the command; it is gone as soon as it calls what `where` names."""

    def crash(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(where, crash)
        with pytest.raises(Crash):
            CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def hashes(path: Path) -> list[int]:
    """One of each frame of a film."""
    return [hash(tuple(plane.tobytes() for plane in samples_of(one))) for one in read_frames(path)]
