"""What repair did to each frame of a segment, in a file of its own, until the film is joined."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vidrepair.errors import DamagedSegment
from vidrepair.files import Closing, drop
from vidrepair.frames import Defect, Picture
from vidrepair.matte import Touch

_HEAD = struct.Struct("<II")
"""Bytes of JSON, and of the matte that follows, packed by zlib; 0 where nothing was touched."""


class TouchWriter(Closing):
    """Writes one file; it counts once `finish` has made sure that it is on the disk."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hash = hashlib.sha256()

    def add(self, touch: Touch) -> None:
        """Append what was done to the next frame."""
        text = json.dumps([asdict(defect) for defect in touch.defects], default=float).encode()
        codes = touch.codes
        packed = b"" if codes is None or not codes.any() else zlib.compress(codes.tobytes(), 1)
        data = _HEAD.pack(len(text), len(packed)) + text + packed
        self._file.write(data)
        self._hash.update(data)

    def finish(self) -> str:
        """Close it, on the disk; the sha256 of all of it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        drop(self._file)


def read_touches(path: Path, picture: Picture, sha256: str) -> Iterator[Touch]:
    """What a file tells of each frame, of `picture`'s size.

    Raises DamagedSegment, before anything, where the file is not the one of that hash.
    """
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise DamagedSegment(f"{path} is not as it was written")
        file.seek(0)
        while head := file.read(_HEAD.size):
            length, packed = _HEAD.unpack(head)
            defects = tuple(_defect(told) for told in json.loads(file.read(length)))
            codes = None
            if packed:
                data = np.frombuffer(zlib.decompress(file.read(packed)), np.uint8)
                codes = data.reshape(picture.height, picture.width)
            yield Touch(codes, defects)


def _defect(told: dict[str, Any]) -> Defect:
    top, left, bottom, right = told.pop("box")
    return Defect(**told, box=(top, left, bottom, right))
