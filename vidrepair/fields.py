"""Interlaced frames <-> two clips of half their height.

The even and the odd rows of interlaced film were taken at two moments. Each of the two is a clip
of its own, with spans of its own: nothing moves between two of its rows. Woven back they lie where
they were, so that field order and motion stay as they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrepair.frames import Frame, Picture, Plane
from vidrepair.matte import Touch


def half_of(picture: Picture) -> Picture:
    """What one field of a picture is; of an odd height both are as high as the higher one."""
    return replace(picture, height=-(-picture.height // 2))


def split_fields(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the even and then the odd rows of every frame as frames of their own.

    Frame n becomes 2 n and 2 n + 1, with `parity` 0 and 1; all else rides along. Planes are views
    where both fields are equally high. Holds nothing.
    """
    for frame in frames:
        half = half_of(frame.picture)
        for parity in (0, 1):
            yield replace(
                frame,
                planes=tuple(_rows(plane, parity) for plane in frame.planes),
                picture=half,
                number=2 * frame.number + parity,
                parity=parity,
                holes=None if frame.holes is None else _rows(frame.holes, parity),
                masked=None if frame.masked is None else _rows(frame.masked, parity),
                protected=None if frame.protected is None else _rows(frame.protected, parity),
            )


def apart(
    fields: Iterable[Frame], stage: Callable[[Iterable[Frame]], Iterator[Frame]]
) -> Iterator[Frame]:
    """Run a stage on the even and on the odd fields, which come and go in turns, each by itself.

    Holds what the stage holds, twice.
    """
    arriving = iter(fields)
    waiting: tuple[deque[Frame], deque[Frame]] = (deque(), deque())

    def of(parity: int) -> Iterator[Frame]:
        while True:
            while not waiting[parity]:
                field = next(arriving, None)
                if field is None:
                    return
                waiting[field.parity or 0].append(field)
            yield waiting[parity].popleft()

    for even, odd in zip(stage(of(0)), stage(of(1)), strict=True):
        yield even
        yield odd


def weave_fields(
    fields: Iterable[tuple[Frame, Touch]], picture: Picture
) -> Iterator[tuple[Frame, Touch]]:
    """Yield the frames of `picture` whose fields come in pairs, each with what was done to it.

    Planes are new ones, the carrier is that of the frame. Holds one field.
    """
    even: tuple[Frame, Touch] | None = None
    for odd in fields:
        if even is None:
            even = odd
            continue
        frame = even[0]
        planes = tuple(
            _woven(one, other, _height(picture, index))
            for index, (one, other) in enumerate(zip(frame.planes, odd[0].planes, strict=True))
        )
        number = frame.number // 2
        touch = _joined(even[1], odd[1], number, picture)
        whole = replace(frame, planes=planes, picture=picture, number=number, parity=None)
        yield replace(whole, holes=None, masked=None, protected=None, filled=None), touch
        even = None


def _rows(plane: NDArray[Any], parity: int) -> NDArray[Any]:
    """Every second row, from row 0 or 1, of a plane or mask; as many as from row 0."""
    rows = plane[parity::2]
    if 2 * len(rows) >= len(plane):
        return rows
    return np.concatenate([rows, rows[-1:] if len(rows) else plane[-1:]])


def _height(picture: Picture, plane: int) -> int:
    """Rows of a plane of a picture."""
    down = picture.format.sampling[1] if plane in (1, 2) and picture.format.family == "yuv" else 1
    return -(-picture.height // down)


def _woven(even: NDArray[np.generic], odd: NDArray[np.generic], height: int) -> Plane:
    """(height, W) of the rows of both."""
    whole = np.empty((height, even.shape[1]), dtype=even.dtype)
    whole[0::2] = even[: -(-height // 2)]
    whole[1::2] = odd[: height // 2]
    return whole


def _joined(even: Touch, odd: Touch, number: int, picture: Picture) -> Touch:
    """What was done to both fields, in rows of the whole frame."""
    codes = None
    if even.codes is not None or odd.codes is not None:
        codes = np.zeros((picture.height, picture.width), dtype=np.uint8)
        for parity, touch in enumerate((even, odd)):
            if touch.codes is not None:
                rows = codes[parity::2]
                rows[...] = touch.codes[: len(rows)]
    defects = []
    for touch in (even, odd):
        for defect in touch.defects:
            if defect.kind == "rebuilt" and touch is odd and even.defects:
                continue  # both fields of a frame are made anew together: one place
            top, left, bottom, right = defect.box
            box = (2 * top, left, min(2 * bottom, picture.height), right)
            samples = 2 * defect.samples if defect.kind == "rebuilt" else defect.samples
            defects.append(replace(defect, frame=number, box=box, samples=samples))
    return Touch(codes, tuple(defects))
