"""The schema of the sidecar, and the small part of JSON Schema that it needs to be kept to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

plain = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


class Nonsense(Exception):
    """What is wrong in a file, in words that its name is put before."""


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int, float),  # JSON has one kind of number: 3.0 is whole
}

LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    "const": lambda value, limit: value == limit,
    "enum": lambda value, limit: value in limit,
    "pattern": lambda value, limit: re.search(limit, value) is not None,
    "minimum": lambda value, limit: value >= limit,
    "exclusiveMinimum": lambda value, limit: value > limit,
    "maximum": lambda value, limit: value <= limit,
    "minItems": lambda value, limit: len(value) >= limit,
    "maxItems": lambda value, limit: len(value) <= limit,
}
"""The rest of JSON Schema that sidecar.schema.json uses, on values of the right type."""

_TOP = "the top level"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a schema asks of one value."""

    title: str
    """What it has to be, for messages."""
    types: frozenset[type]
    whole: bool
    limits: tuple[tuple[Callable[[Any, Any], bool], Any], ...]
    items: Rule | None
    """Of a list's entries."""
    properties: dict[str, Rule]
    required: tuple[str, ...]
    others: Rule | None
    """Of an object's entries that are not named; None: there may be none."""

    @classmethod
    def of(cls, schema: Mapping[str, Any], named: Mapping[str, Any]) -> Rule:
        """From a schema; `named` are its $defs."""
        if "$ref" in schema:
            schema = {**named[schema["$ref"].rpartition("/")[2]], **schema}
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        parts = schema.get("properties", {})
        items, others = schema.get("items"), schema.get("additionalProperties")
        return cls(
            title=schema["title"],
            types=frozenset(kind for name in names for kind in _TYPES[name]),
            whole="integer" in names,
            limits=tuple((test, schema[name]) for name, test in LIMITS.items() if name in schema),
            items=cls.of(items, named) if items else None,
            properties={name: cls.of(part, named) for name, part in parts.items()},
            required=tuple(schema.get("required", ())),
            others=cls.of(others, named) if others else None,
        )

    def checked(self, value: Any, place: str) -> Any:
        """A value that keeps to it, whole numbers as int. Raises Nonsense."""
        fits = type(value) in self.types
        if fits and self.whole and type(value) is float:
            fits = value.is_integer()
            value = int(value) if fits else value
        for test, limit in self.limits if fits else ():
            fits = fits and test(value, limit)
        if not fits:
            raise Nonsense(f"{place} is {shown(value)}, and has to be {self.title}")
        if self.items is not None and type(value) is list:
            check = self.items.checked
            return [check(entry, f"{place}[{index}]") for index, entry in enumerate(value)]
        return self._object(value, place) if type(value) is dict else value

    def _object(self, value: dict[str, Any], place: str) -> dict[str, Any]:
        missing = ", ".join(name for name in self.required if name not in value)
        unknown = ", ".join(name for name in value if name not in self.properties)
        if unknown and self.others is None:
            hint = f" (is it {missing}?)" if missing else ""
            raise Nonsense(f"{place or _TOP} has {unknown}, which nobody knows there{hint}")
        if missing:
            raise Nonsense(f"{place or _TOP} lacks {missing}")
        before = f"{place}." if place else ""
        return {
            name: self._rule(name).checked(entry, before + name) for name, entry in value.items()
        }

    def _rule(self, name: str) -> Rule:
        rule = self.properties.get(name, self.others)
        assert rule is not None
        return rule


@lru_cache(maxsize=1)
def rules() -> Rule:
    """What the schema asks of a file."""
    schema = json.loads((files("vidrepair") / "sidecar.schema.json").read_text(encoding="utf-8"))
    return Rule.of(schema, schema["$defs"])


def shown(value: Any) -> str:
    """A value in a message, short."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    text = plain(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
