"""A list of films with their own settings: CSV with a line of headings, or JSON."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from vidrepair.errors import UsageError
from vidrepair.jobs.naming import Naming
from vidrepair.settings import Job
from vidrepair.spelling import read_kinds, read_number, read_pair, read_time


def _read_noise(text: str) -> Any:
    return None if text == "auto" else read_pair(text)


READERS: Mapping[str, Callable[[str], Any]] = {
    "denoise": read_pair,
    "noise": _read_noise,
    "grain": read_number,
    "deflicker": read_number,
    "repair": read_kinds,
    "min-confidence": read_number,
    "interlace": str,
    "codec": str,
    "crf": read_number,
    "preset": str,
    "ss": read_time,
    "to": read_time,
}
"""The settings that a film may have of its own, as the command line calls them."""
FILES = ("shots", "markers")
"""The lists that go with a film: what is read lies by the list of films, what is written by the
outputs."""
KEYS = ("input", "output", *READERS, *FILES)
_OF_REPAIR = ("denoise", "noise", "grain", "deflicker", "interlace")
_OF_DAMAGE = {"repair": "kinds", "min-confidence": "min_confidence"}
_OF_TARGET = ("codec", "crf", "preset")
_OF_READING = {"ss": "start", "to": "end"}


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One film of a list."""

    where: str
    """The list and the line or entry in it, such as `reels.csv, line 3`."""
    source: Path
    output: str | None = None
    """Its name below the folder of the outputs; None takes the template's."""
    settings: tuple[tuple[str, Any], ...] = ()
    """Some of READERS, with their values."""
    shots: Path | None = None
    markers: str | None = None
    """Its name below the folder of the outputs."""

    def output_of(self, naming: Naming) -> Path:
        """Where its result goes. Raises UsageError, with the place, for what must not be."""
        if self.output is not None:
            return naming.inside(self.output, f"{self.where}: the output {self.output!r}")
        try:
            return naming.output_of(self.source, Path())
        except UsageError as error:
            raise UsageError(f"{self.where}: {error}") from error

    def markers_of(self, naming: Naming) -> Path | None:
        """Where its markers go. Raises UsageError, with the place, for what must not be."""
        if self.markers is None:
            return None
        return naming.beside(self.markers, f"{self.where}: the list of markers {self.markers!r}")

    def applied(self, common: Job) -> Job:
        """A job with the settings of this film in place of the common ones.

        Raises UsageError, with the place, for a value that is out of range.
        """
        given = dict(self.settings)
        try:
            damage = replace(common.repair.damage, **_renamed(given, _OF_DAMAGE))
            repair = replace(common.repair, damage=damage, **_of(given, _OF_REPAIR))
            target = replace(common.target, **_of(given, _OF_TARGET))
            reading = replace(common.reading, **_renamed(given, _OF_READING))
            shots = self.shots or common.shots
            return replace(common, repair=repair, target=target, reading=reading, shots=shots)
        except UsageError as error:
            raise UsageError(f"{self.where}: {error}") from error


def read_manifest(path: Path) -> list[ManifestEntry]:
    """Read a list of films; their paths are relative to its own folder.

    Raises UsageError, in one sentence that names the file, the place and the remedy, where it
    cannot be read, names no film, or holds what nobody knows.
    """
    text = _read(path)
    rows = _json_rows if text.lstrip().startswith(("[", "{")) else _csv_rows
    entries = [_entry(path, where, row) for where, row in rows(path, text)]
    if not entries:
        raise UsageError(f"{path} names no film; give it one in a line or entry, or leave it out")
    return entries


def _of(given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def _renamed(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {field: given[name] for name, field in names.items() if name in given}


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no file; --manifest takes a list, as CSV or JSON")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror or error}); check the name and its permissions"
        ) from error
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8; save it as such") from None


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The lines below the headings, by heading; empty cells are left out."""
    lines = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        keys = [key.strip() for key in next(lines, [])]
        _check_keys(f"{path}, line 1", keys)
        for cells in lines:
            where = f"{path}, line {lines.line_num}"
            if len(cells) > len(keys):
                raise UsageError(
                    f"{where} has {len(cells)} cells for {len(keys)} columns; put quotes around a"
                    " value with a comma in it"
                )
            given = zip(keys, (cell.strip() for cell in cells), strict=False)
            row = {key: cell for key, cell in given if cell}
            if row:
                yield where, row
    except csv.Error as error:
        raise UsageError(f"{path}, line {lines.line_num}: {error}; correct the line") from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The entries, their values as text; those that are null are left out."""
    try:
        entries = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path} is no JSON: {error.msg}, line {error.lineno}, column {error.colno}; correct it"
        ) from None
    except ValueError as error:  # a number of thousands of digits
        raise UsageError(f"{path} cannot be read as JSON ({error}); correct it") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply; use a list of objects") from None
    if isinstance(entries, _Pairs) or not isinstance(entries, list):
        raise UsageError(f'{path} is no list of objects; use such as [{{"input": "a.mkv"}}]')
    for number, entry in enumerate(entries, 1):
        where = f"{path}, entry {number}"
        if not isinstance(entry, _Pairs):
            raise UsageError(f'{where} is no object; use such as {{"input": "a.mkv"}}')
        _check_keys(where, [key for key, _ in entry], needed=False)
        yield where, {key: _text(where, key, value) for key, value in entry if value is not None}


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON, in which a key may stand twice."""


def _text(where: str, key: str, value: Any) -> str:
    """A value of JSON as it would be spelled on the command line."""
    named = key in ("input", "output", *FILES)
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and not named:
        return repr(value)
    if isinstance(value, list) and not isinstance(value, _Pairs) and not named:
        return ",".join(_text(where, key, part) for part in value)
    takes = "text" if named else "text, a number, or a list of them"
    raise UsageError(f"{where}: {key} takes {takes}, and {json.dumps(value)} is none; correct it")


def _check_keys(where: str, keys: Sequence[str], *, needed: bool = True) -> None:
    """Refuse what nobody knows, what stands twice, and headings without `input`."""
    for number, key in enumerate(keys):
        if key not in KEYS:
            raise UsageError(f"{where}: {key!r} is unknown; use {', '.join(KEYS)}")
        if key in keys[:number]:
            raise UsageError(f"{where}: {key} stands twice; leave one out")
    if needed and "input" not in keys:
        raise UsageError(f"{where} has no input; the headings are {', '.join(KEYS)}")


def _is_name(text: str) -> bool:
    """Whether a file could be called so at all."""
    try:
        return b"\0" not in os.fsencode(text) and text != ""
    except UnicodeEncodeError:  # half a character, which JSON can spell
        return False


def _entry(path: Path, where: str, row: dict[str, str]) -> ManifestEntry:
    source, output = row.pop("input", ""), row.pop("output", None)
    lists = {key: row.pop(key, None) for key in FILES}
    if not source:
        raise UsageError(f"{where} has no input; name a film, relative to {path.parent}")
    for key, name in (("input", source), ("output", output), *lists.items()):
        if name is not None and not _is_name(name):
            raise UsageError(f"{where}: the {key} {name!r} is no file name; correct it")
    settings = []
    for key, text in row.items():
        try:
            settings.append((key, READERS[key](text)))
        except ValueError as error:
            raise UsageError(f"{where}: {key}: {error}; correct it") from None
    shots = None if lists["shots"] is None else path.parent / lists["shots"]
    markers = lists["markers"]
    return ManifestEntry(where, path.parent / source, output, tuple(settings), shots, markers)
