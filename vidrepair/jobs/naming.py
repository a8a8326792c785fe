"""What the outputs of many files are called; none of them ever leaves its folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from vidrepair.errors import UsageError
from vidrepair.outputs import CONTAINERS
from vidrepair.sequences import is_sequence

FIELDS = ("stem", "ext", "parent")
"""What a template may say of a source: its name without the ending, or of numbered pictures that of
their folder; the ending of the output with its dot; and the name of the folder that it is in."""
TEMPLATE = "{stem}_restored{ext}"
KEPT = (".mkv", ".mp4", ".mov", ".webm")
"""Endings that an output takes over from its source, and that `--ext` takes."""


@dataclass(frozen=True, slots=True)
class Naming:
    """Where the outputs go, and by which names."""

    folder: Path
    """They lie in it, or in folders below it."""
    template: str = TEMPLATE
    """Of FIELDS in braces; may name folders, too."""
    ext: str | None = None
    """Of KEPT; None keeps that of the source if it is one of them, else it is .mkv."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))  # a str is as good
        _check_template(self.template)
        if self.ext is not None:
            ext = self.ext if self.ext.startswith(".") else f".{self.ext}"
            if ext.lower() not in KEPT:
                raise UsageError(f"--ext {self.ext} is unknown; use {', '.join(KEPT)}")
            object.__setattr__(self, "ext", ext)

    def output_of(self, source: Path, place: Path) -> Path:
        """The output of a source, by the template, in the folder `place` below ours.

        Raises UsageError where that leads out of our folder, or ends in no container.
        """
        kept = source.suffix if source.suffix.lower() in KEPT else ".mkv"
        parent = absolute(source).parent.name
        stem = parent if is_sequence(source) else source.stem
        name = self.template.format(stem=stem, ext=self.ext or kept, parent=parent)
        # Put together only after the check: a name that starts with / would drop the place.
        self._check(name, f"--name makes {name!r} of {source}, which")
        return self._joined(place / name)

    def inside(self, name: str, what: str) -> Path:
        """The path of an output by its name below our folder; `what` begins the refusal.

        Raises UsageError where that leads out of our folder, or ends in no container.
        """
        self._check(name, what)
        return self._joined(Path(name))

    def beside(self, name: str, what: str) -> Path:
        """The same of a file that goes with an output, whatever its ending."""
        self._check_place(name, what)
        return self._joined(Path(name))

    def _joined(self, name: Path) -> Path:
        path = self.folder / name
        self.check_inside(path)
        return path

    def check_inside(self, path: Path) -> None:
        """Refuse a path that a symbolic link leads out of our folder. Raises UsageError."""
        if not is_within(path, self.folder):
            raise UsageError(
                f"{path} leads out of {self.folder} by a symbolic link; remove the link, or choose"
                " another name"
            )

    def _check(self, name: str, what: str) -> None:
        """Refuse a name by how it is spelled."""
        self._check_place(name, what)
        if "\0" in name or Path(name).suffix.lower() not in CONTAINERS:
            raise UsageError(
                f"{what} ends in no container that can be written; use .mkv, .mp4, .mov or .webm"
            )

    def _check_place(self, name: str, what: str) -> None:
        path = Path(name)
        if path.anchor or ".." in path.parts:
            raise UsageError(f"{what} leads out of {self.folder}; use a name within it, without ..")


def absolute(path: Path) -> Path:
    """A path from the root on, without .. in it; links are not followed."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow them


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder or below it, all symbolic links followed."""
    # Path.resolve() raises where links run in a circle.
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _check_template(template: str) -> None:
    """Refuse all but plain fields: a format may ask for the insides of what it is given."""
    known = ", ".join(f"{{{field}}}" for field in FIELDS)
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UsageError(
            f"--name {template} is no template ({error}); use a name with {known} in it"
        ) from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in FIELDS or form or conversion):
            asked = field + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise UsageError(f"--name {template}: {{{asked}}} is unknown; use {known}")
