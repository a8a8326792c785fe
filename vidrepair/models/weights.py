"""Weights and card as they stand in a file: .safetensors, or the initialisers of an .onnx.

An ONNX file is read by its wire format, a few fields deep: the engines bring their own
parsers, and neither `onnx` nor protobuf has to be installed to check a file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from vidrepair.errors import ModelError
from vidrepair.models.card import ModelCard, parse_card

CARD_KEY = "vidrepair.card"
"""Where a file's header has the card."""
GRAIN_KEY = "grain"
"""Where the header of learned grain, which is no model, says so."""
GRAPH_KEY = "vidrepair.graph"
"""Where an .onnx has the sha256 of its graph, as the bytes stand in the file."""

LARGEST = 1 << 30
"""Bytes of a file; those of ours are a few megabytes."""

Weights = dict[str, NDArray[np.float16]]
"""Parameter name -> values."""


def write_beside(path: Path, data: bytes) -> None:
    """Write a file beside, fsync, rename: there is the whole of it, or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


# Field numbers of onnx.proto, which never change.
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_GRAPH_INITIALIZER = 5
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_FLOAT16 = 10
_OUTSIDE = b"location"
"""The key under which a tensor anywhere in a graph names the file of its data."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True, eq=False)
class WeightsFile:
    """What one file holds: its card, and all or some of the weights."""

    path: Path
    card: ModelCard
    weights: Weights


def fingerprint(weights: Weights) -> str:
    """sha256 over name, shape and little-endian bytes of every weight, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = weights[name]
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values, dtype="<f2").tobytes())
    return digest.hexdigest()


def read_safetensors(path: Path) -> WeightsFile:
    """Read a .safetensors. Raises ModelError when it is damaged or not one of ours."""
    try:
        _check_size(path)
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, ValueError, OSError, TypeError, AttributeError) as error:
        # The last two for a type that numpy has not, such as bfloat16.
        raise _damaged(path, str(error)) from error
    if GRAIN_KEY in header:
        raise ModelError(
            f"{path} is learned grain, to train with (data.grains), and no model; give the "
            ".safetensors that python -m training publish wrote"
        )
    for name, values in weights.items():
        if values.dtype != np.float16:
            raise _damaged(path, f"{name} is {values.dtype}, not float16")
    return WeightsFile(path, _card(path, header), weights)


def read_onnx(path: Path) -> WeightsFile:
    """Read the card and the half-stored weights of one of our graphs, `align` or `restore`.

    Raises ModelError when the file is damaged, which the hash of its graph tells, or not ours.
    """
    header: dict[str, str] = {}
    graph = memoryview(b"")
    try:
        _check_size(path)
        for number, value in _fields(memoryview(path.read_bytes())):
            if number == _MODEL_METADATA:
                entry = dict(_fields(_message(value)))
                key, text = (bytes(_message(entry[k])) for k in (_ENTRY_KEY, _ENTRY_VALUE))
                header[key.decode()] = text.decode()
                continue
            _check_inside(value)
            if number == _MODEL_GRAPH:
                graph = _message(value)
        weights = dict(_initialisers(graph))
    except (ValueError, KeyError, OSError) as error:
        raise _damaged(path, str(error)) from error
    card = _card(path, header)
    if hashlib.sha256(graph).hexdigest() != header.get(GRAPH_KEY):
        raise _damaged(path, "its graph has another checksum than its header says")
    return WeightsFile(path, card, weights)


def check_weights(*files: WeightsFile) -> None:
    """Raise ModelError unless the files together hold the weights that their cards tell."""
    first = files[0]
    for file in files[1:]:
        check_same_card(first, file)
    weights = {name: values for file in files for name, values in file.weights.items()}
    if fingerprint(weights) != first.card.sha256:
        raise _damaged(first.path, "the weights have another checksum than the model card says")


def check_same_card(first: WeightsFile, second: WeightsFile) -> None:
    """Raise ModelError when two files of one model were not written together."""
    if first.card != second.card:
        raise ModelError(
            f"{first.path} and {second.path} come from different exports; "
            "replace them by files that were written together"
        )


def _check_inside(value: object) -> None:
    """Refuse data of another file, which the engine would open."""
    if isinstance(value, memoryview) and _OUTSIDE in bytes(value):
        raise ValueError("it takes data from another file, which the engine would open")


def _check_size(path: Path) -> None:
    """Raise ValueError for what is too large to be read into memory."""
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"it has {size} bytes, and {LARGEST} are the most")


def _damaged(path: Path, what: str) -> ModelError:
    return ModelError(f"{path} is damaged or no vidrepair model: {what}; fetch or export it again")


def _card(path: Path, header: dict[str, str]) -> ModelCard:
    if CARD_KEY not in header:
        raise ModelError(
            f"{path} has no model card, so it was not made for vidrepair; "
            "give one that python -m training publish wrote"
        )
    return parse_card(header[CARD_KEY], str(path))


def _initialisers(graph: memoryview) -> Iterator[tuple[str, NDArray[np.float16]]]:
    for number, value in _fields(graph):
        if number != _GRAPH_INITIALIZER:
            continue
        shape: list[int] = []
        name, kind, raw = "", 0, memoryview(b"")
        for part, inner in _fields(_message(value)):
            if part == _TENSOR_DIMS:
                # Repeated numbers come one by one, or packed into one string of varints.
                shape += [inner] if isinstance(inner, int) else _varints(inner)
            elif part == _TENSOR_TYPE and isinstance(inner, int):
                kind = inner
            elif part == _TENSOR_NAME:
                name = bytes(_message(inner)).decode()
            elif part == _TENSOR_RAW:
                raw = _message(inner)
        if kind == _FLOAT16:
            yield name, np.frombuffer(raw, dtype="<f2").reshape(shape).astype(np.float16)


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where a message is expected")
    return value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a protobuf message: number, and an integer or the bytes of it."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at + size > len(data):
            raise ValueError("it ends in the middle of a field")
        yield tag >> 3, data[at : at + size]
        at += size


def _varints(data: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("it ends in the middle of a number")
