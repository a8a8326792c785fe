"""What decides the result of a job, as JSON: compared when an unfinished one goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from vidrepair.outputs import OutputPlan
from vidrepair.sequences import is_pattern, is_sequence, marks_of
from vidrepair.settings import Job
from vidrepair.version import __version__

ENDS = 1 << 20
"""Bytes from the start and from the end of a file that tell it from another."""
_BLOCK = 1 << 16
HASHED = "sha256"
"""A word in the names of facts that are hashes;"""
WEIGHTS = "engine weights"
"""and one that is, too."""
MIXABLE = ("version", "engine")
"""What may change on the way where that is asked for."""


def job_facts(job: Job, plan: OutputPlan, engine: Mapping[str, Any]) -> dict[str, Any]:
    """Source, settings, version and engine; `engine` is its identity."""
    repair, reading, target = job.repair, job.reading, job.target
    masks = {"mask": repair.mask_in, "protect mask": repair.protect}
    files = {name: mask.path for name, mask in masks.items() if mask is not None}
    others = {"analysis": job.analysis, "shots": job.shots, "noise profile": repair.noise_profile}
    files |= {name: path for name, path in others.items() if path is not None}
    facts = {
        "version": __version__,
        # How many spans go side by side changes no result.
        "engine": {name: value for name, value in engine.items() if name != "lanes"},
        "source": {} if job.source is None else file_facts(job.source),
        "files": {name: file_facts(path) for name, path in files.items()},
        "repair": repair.as_dict(),
        "reading": {name: _text(value) for name, value in asdict(reading).items()},
        "output": {
            "codec": plan.codec,
            "container": plan.container,
            "pixel format": plan.pix_fmt,
            "options": dict(plan.options),
            "overlay": target.overlay,
            "matte or sidecar": target.told_places,
            "frames": target.frames,
            "segment": target.segment,
        },
    }
    # As it will be read again: JSON has no tuples.
    return dict(json.loads(json.dumps(facts)))


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is not as it was, such as "engine precision was fp32 and is bf16"."""
    return [_told(*one) for one in _differing("", before, now)]


def _told(name: str, was: Any, is_now: Any) -> str:
    what, hashed, _ = name.partition(HASHED)
    if hashed or name == WEIGHTS:
        return f"{what.strip()} has other content"  # nobody reads hashes
    return f"{name} was {was} and is {is_now}"


def _differing(
    where: str, before: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*before, *now}):
        was, is_now = before.get(name), now.get(name)
        path = f"{where} {name}".strip()
        if isinstance(was, Mapping) and isinstance(is_now, Mapping):
            yield from _differing(path, was, is_now)
        elif was != is_now:
            yield path, was, is_now


def file_facts(path: Path) -> dict[str, Any]:
    """What tells a file from another that takes its name; of a folder its time alone."""
    found: dict[str, Any] = {"path": str(path.absolute())}
    try:
        if path.is_dir():
            return found | {"changed": path.stat().st_mtime_ns}
        return found | (_pictures_facts(path) if is_pattern(path) else content_facts(path))
    except OSError:
        return found


def _pictures_facts(pattern: Path) -> dict[str, Any]:
    """Of all pictures of a pattern; their samples are too many to be read twice."""
    marks = marks_of(pattern)
    digest = hashlib.sha256(json.dumps(list(marks.items())).encode())
    return {"pictures": len(marks), f"{HASHED} of their sizes and times": digest.hexdigest()}


def with_options(arguments: Sequence[str], more: Sequence[str]) -> list[str]:
    """The words of a command line, options added to them."""
    # After a -- there are no options any more.
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return [*arguments[:at], *more, *arguments[at:]]


def without_option(arguments: Sequence[str], name: str) -> list[str]:
    """The words of a command line without an option and its value."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*kept, word, *words]
        if word == name:
            next(words, None)
        elif not word.startswith(f"{name}="):
            kept.append(word)
    return kept


def content_facts(path: Path) -> dict[str, Any]:
    """What tells a file from another, whatever its name, and numbered pictures likewise.

    Raises OSError.
    """
    if is_sequence(path):
        return _pictures_facts(path)
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        _digest(file, ENDS, digest)
        if size > ENDS:
            file.seek(-min(ENDS, size - ENDS), os.SEEK_END)
            _digest(file, ENDS, digest)
    return {"bytes": size, f"{HASHED} of its ends": digest.hexdigest()}


def _digest(file: BinaryIO, count: int, digest: Any) -> None:
    """So many bytes at most, a block at a time: what a large one took, a process would keep."""
    while count > 0 and (block := file.read(min(count, _BLOCK))):
        digest.update(block)
        count -= len(block)


def _text(value: Any) -> Any:
    return value if value is None or isinstance(value, int | str) else str(value)
