"""Two films of one picture, read frame by frame, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from vidrepair.decode import Source
from vidrepair.errors import UsageError
from vidrepair.frames import FloatArray, Frame
from vidrepair.regions import Box
from vidrepair.tags import Clip


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """The same frame of both films."""

    first: Frame
    second: Frame
    step: FloatArray
    """(H, W) of luma, second less first, on the 8-bit scale, of the part that is looked at."""

    @classmethod
    def of(cls, first: Frame, second: Frame, part: Box | None = None) -> Pair:
        """Two frames of one size; depths may differ."""
        box = part or Box(0, 0, first.picture.height, first.picture.width)
        one, other = (
            np.multiply(
                frame.luma[box.window()], 255.0 / frame.picture.format.peak, dtype=np.float32
            )
            for frame in (first, second)
        )
        return cls(first, second, other - one)


def frames_of(source: Source) -> Iterator[Frame]:
    """The frames of a source, without what goes beside them."""
    return (item for item in source.read() if isinstance(item, Frame))


def in_step(
    first: Iterable[Frame],
    second: Iterable[Frame],
    names: tuple[str, str],
    part: Box | None = None,
    remedy: str = "compare films of one length",
) -> Iterator[Pair]:
    """The frames of both, pair by pair. Raises UsageError where one film, of these names, has more
    than the other.
    """
    for count, (one, other) in enumerate(zip_longest(first, second)):
        if one is None or other is None:
            short = names[0] if one is None else names[1]
            raise UsageError(
                f"{short} ends after {count} frames and the other film goes on; {remedy}"
            )
        yield Pair.of(one, other, part)


def check_sizes(first: Clip, second: Clip) -> None:
    """Raises UsageError where the pictures are not of one size."""
    sizes = [(clip.picture.width, clip.picture.height) for clip in (first, second)]
    if sizes[0] != sizes[1]:
        raise UsageError(
            f"{first.name} is {sizes[0][0]}x{sizes[0][1]} and {second.name}"
            f" {sizes[1][0]}x{sizes[1][1]}; compare pictures of one size"
        )
