"""A job as JSON and back: what another process is told of it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidrepair.settings import (
    DamageSettings,
    EngineSettings,
    Job,
    MaskSettings,
    OutputSettings,
    RepairSettings,
    SourceSettings,
)

KIND = "kind"
"""The key that says what a value was; JSON has hardly any kinds of its own."""
_NOUNS = {
    noun.__name__: noun
    for noun in (
        *(DamageSettings, EngineSettings, Job, MaskSettings),
        *(OutputSettings, RepairSettings, SourceSettings),
    )
}


def job_to_json(job: Job) -> Any:
    """What json.dumps takes."""
    return _to_json(job)


def job_from_json(told: Any) -> Job:
    """The job again. Raises UsageError where its settings do not hold, as they do when made."""
    job = _from_json(told)
    assert isinstance(job, Job)
    return job


def _to_json(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value):
        found = {field.name: _to_json(getattr(value, field.name)) for field in fields(value)}
        return {KIND: type(value).__name__, **found}
    if isinstance(value, Path | Fraction):
        return {KIND: "Path" if isinstance(value, Path) else "Fraction", "text": str(value)}
    if isinstance(value, range):
        return {KIND: "range", "ends": [value.start, value.stop]}
    kind = "frozenset" if isinstance(value, frozenset) else "tuple"
    items = sorted(value) if kind == "frozenset" else value
    return {KIND: kind, "items": [_to_json(item) for item in items]}


def _from_json(told: Any) -> Any:
    if not isinstance(told, dict):
        return told
    kind = told[KIND]
    if kind in _NOUNS:
        given = {name: _from_json(value) for name, value in told.items() if name != KIND}
        return _NOUNS[kind](**given)
    if kind in ("Path", "Fraction"):
        return Path(told["text"]) if kind == "Path" else Fraction(told["text"])
    if kind == "range":
        return range(*told["ends"])
    items = [_from_json(item) for item in told["items"]]
    return frozenset(items) if kind == "frozenset" else tuple(items)
