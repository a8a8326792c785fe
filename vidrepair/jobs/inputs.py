"""Files, folders and patterns -> the films that are meant."""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidrepair.errors import UsageError, VidrepairError
from vidrepair.jobs.naming import absolute, is_within

VIDEO = frozenset(
    {
        *(".mkv", ".webm", ".mp4", ".m4v", ".mov", ".qt", ".avi", ".mpg", ".mpeg", ".m1v", ".m2v"),
        *(".mpv", ".vob", ".ts", ".m2t", ".m2ts", ".mts", ".mxf", ".dv", ".flv", ".wmv", ".asf"),
        *(".ogv", ".3gp", ".3g2", ".y4m", ".nut", ".ivf", ".obu", ".264", ".h264", ".265", ".hevc"),
    }
)
"""Endings by which a film is known in a folder."""
OURS = re.compile(
    r".*\.failed(-\d+)?\.[^.]+|(.*[._-])?matte(\.part\d+)?\.[^.]+|.*\.vr\.(json|html)",
    re.IGNORECASE,
)
"""Names of what we leave beside films: results that failed their check, mattes, sidecars."""
MAGIC = re.compile(r"[*?[]")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A film that was named, or found."""

    source: Path
    place: Path = Path()
    """The folder that its output goes to, below that of the outputs."""
    top: Path | None = None
    """The folder that was named and that it was found in."""


def find_inputs(names: Sequence[str], outputs: Path) -> list[Found]:
    """The films that are named, those in folders and behind patterns; each once.

    What is named is taken whatever it is, there or not: its job says what is wrong with it. What
    lies in the folder `outputs` is not found. Raises UsageError for a pattern that fits nothing,
    and where films and outputs would share a folder; VidrepairError for a folder that cannot be
    read.
    """
    found: dict[Path, Found] = {}
    for name in names:
        for path in _paths(name, outputs):
            films = films_in(path, outputs) if is_folder(path) else [Found(path)]
            for film in films:
                found.setdefault(absolute(film.source), film)
    return list(found.values())


def films_in(folder: Path, outputs: Path | None = None) -> list[Found]:
    """The films in a folder and below, by name; hidden ones and what we left there are not.

    Symbolic links to folders are followed, each folder being looked into once, and `outputs`
    never. Raises as `find_inputs`.
    """
    if outputs is not None and os.path.realpath(folder) == os.path.realpath(outputs):
        raise UsageError(
            f"{outputs} is the folder of the films itself, where a result cannot be told from a"
            f" film; choose another one, such as {outputs / 'restored'}"
        )
    films = [
        Found(path, path.parent.relative_to(folder), folder)
        for path in _walk(folder, outputs)
        if _is_film(path)
    ]
    return sorted(films, key=lambda film: film.source)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, or leads to one."""
    return os.path.isdir(path)  # noqa: PTH112  # is_dir() raises behind a closed folder


def _paths(name: str, outputs: Path) -> list[Path]:
    """What a name stands for: itself, or where there is no such file, what fits the pattern."""
    if name == "-":
        raise UsageError("a batch reads files, and - is a pipe; use vidrepair run for it")
    if not name:
        raise UsageError("an input without a name; name a file, a folder or a pattern")
    if os.path.lexists(name) or not MAGIC.search(name):
        return [Path(name)]
    paths = _fitting(name)
    # A pattern that was meant for films must not catch their results the next time.
    base = _base(name)[0]
    if is_within(outputs, base) and os.path.realpath(outputs) != os.path.realpath(base):
        paths = [path for path in paths if not is_within(path, outputs)]
    if not paths:
        raise UsageError(f"no file fits {name}; check the pattern")
    return paths


def _fitting(pattern: str) -> list[Path]:
    """The paths that fit a pattern, as a shell would find them: no hidden ones; ** is any depth."""
    base, rest = _base(pattern)
    try:
        # Path.glob, not the module glob: its ** does not follow links round in circles.
        paths = sorted(base.glob(str(rest)))
    except (ValueError, NotImplementedError, IndexError) as error:
        raise UsageError(f"{pattern} is no pattern ({error}); use *, ?, [] and /**/") from None
    shown = [path for path in paths if not _hidden(path.relative_to(base), rest)]
    return [path for path in shown if is_folder(path) or not OURS.fullmatch(path.name)]


def _base(pattern: str) -> tuple[Path, Path]:
    """The folder before the first part that is a pattern, and the rest."""
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if MAGIC.search(part))
    return Path(*parts[:first]), Path(*parts[first:])


def _hidden(path: Path, pattern: Path) -> bool:
    asked = any(part.startswith(".") for part in pattern.parts)
    return not asked and any(part.startswith(".") for part in path.parts)


def _is_film(path: Path) -> bool:
    if path.suffix.lower() not in VIDEO:
        return False
    if OURS.fullmatch(path.name):
        log.info("%s is left out: by its name it is a matte, or a result that failed", path)
        return False
    return True


def _walk(top: Path, outputs: Path | None) -> Iterator[Path]:
    """All that is not hidden and no folder, in `top` and below. No folder is entered twice."""
    entered = {None if outputs is None else _identity(outputs)} - {None}
    # Links wait until the rest is done: what lies in the tree itself is found at its own place.
    folders, links = deque([top]), deque[Path]()
    while folders or links:
        folder = folders.popleft() if folders else links.popleft()
        if (identity := _identity(folder)) in entered:
            continue
        entered.add(identity)
        for path in _entries(folder):
            if not is_folder(path):
                yield path
            elif path.is_symlink():
                links.append(path)
            else:
                folders.append(path)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise VidrepairError(
            f"the folder {folder} cannot be read ({error.strerror}); change its permissions, or"
            " leave it out"
        ) from error


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells one file from all others; None where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
