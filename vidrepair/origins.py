"""What a film is read from: a file, numbered pictures, or a pipe."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

from vidrepair import boxes, ebml
from vidrepair.containers import Pipe
from vidrepair.dpx import read_rate
from vidrepair.errors import UsageError
from vidrepair.sequences import ImageSequence, Marks, marks_of, origin_of
from vidrepair.tags import Clip, counted

Origin = Path | Pipe | ImageSequence
STATED_SIZES = {
    "matroska,webm": ebml.stated_size,
    "mov,mp4,m4a,3gp,3g2,mj2": boxes.stated_size,
}
"""What reads a file's own word on its size, by container."""
RATE_SLACK = 0.01
"""Frames a second; headers of pictures hold few digits, such as 23.98."""


def origin_named(path: Path | None, rate: Fraction | None) -> Origin:
    """What a name stands for, None being standard input. Raises as `sequences.origin_of`."""
    if path is not None:
        return origin_of(path, rate)
    if rate is not None:
        raise UsageError("--rate is for numbered pictures, and a y4m pipe says its own; leave it")
    return Pipe()


def name_of(origin: Origin) -> str:
    """For people."""
    if isinstance(origin, Pipe):
        return "standard input"
    return str(origin.pattern if isinstance(origin, ImageSequence) else origin)


def remarks_on(origin: Origin, clip: Clip) -> tuple[str, ...]:
    """A file may have been cut off, pictures may say another rate than the one asked for."""
    if isinstance(origin, Path):
        return _on_end(origin, clip)
    if not isinstance(origin, ImageSequence) or clip.codec != "dpx":
        return ()
    said = read_rate(origin.file(origin.first))
    if said is None or abs(said - float(origin.rate)) < RATE_SLACK:
        return ()
    return (f"the pictures say {said:.5g} frames a second; --rate {origin.rate} is taken",)


def _on_end(path: Path, clip: Clip) -> tuple[str, ...]:
    """A sentence on what a file lacks by its own header; of other containers none is known."""
    read = STATED_SIZES.get(clip.container)
    try:
        missing = 0 if read is None else (read(path) or 0) - path.stat().st_size
    except OSError:  # deleted meanwhile, and what is open can be read
        return ()
    if missing <= 0:
        return ()
    lacks = f"{counted(missing, 'byte')} are missing at its end by its own header"
    return (f"{path} is cut off: {lacks}; copy it again if there is a whole one",)


def marks_on(origin: Origin) -> os.stat_result | Marks | None:
    """What shows whether somebody writes to it."""
    if isinstance(origin, Pipe):
        return None
    return marks_of(origin.pattern) if isinstance(origin, ImageSequence) else origin.stat()


def was_changed(origin: Origin, marks: os.stat_result | Marks | None) -> bool:
    """Whether somebody wrote to it; a file that took the name of another is not the same."""
    if isinstance(origin, Pipe) or marks is None:
        return False
    if isinstance(origin, ImageSequence):
        return marks_of(origin.pattern) != marks
    assert isinstance(marks, os.stat_result)
    try:
        now = origin.stat()
    except OSError:
        return False  # deleted, but what was open was read to its end
    if (now.st_dev, now.st_ino) != (marks.st_dev, marks.st_ino):
        return False
    return (now.st_size, now.st_mtime_ns) != (marks.st_size, marks.st_mtime_ns)
