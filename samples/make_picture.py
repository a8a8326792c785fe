"""The before/after picture of the README: `python samples/make_picture.py BEFORE AFTER OUT.png`.

Left the crop of a frame of BEFORE, right the same of AFTER, each sample twice as large.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SCALE = 2
GAP = 4
"""Columns of white between the halves."""

Rgb = NDArray[np.uint8]


def read_frame(path: Path, number: int) -> Rgb:
    """Frame `number` as (H, W, 3) R'G'B'. Raises ValueError when the film is shorter."""
    with av.open(f"file:{path}") as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == number:
                return np.asarray(
                    frame.to_ndarray(format="rgb24", src_colorspace="itu709"), dtype=np.uint8
                )
    raise ValueError(f"{path} has no frame {number}; name an earlier one")


def side_by_side(before: Rgb, after: Rgb, crop: tuple[int, int, int, int]) -> Rgb:
    """Both crops (left, top, width, height) in one picture."""
    left, top, width, height = crop
    halves = [picture[top : top + height, left : left + width] for picture in (before, after)]
    gap = np.full((height, GAP // SCALE, 3), 255, dtype=np.uint8)
    joined = np.concatenate([halves[0], gap, halves[1]], axis=1)
    return joined.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def write_png(path: Path, picture: Rgb) -> None:
    """Write (H, W, 3) R'G'B' as PNG."""
    context: Any = av.CodecContext.create("png", "w")
    context.height, context.width = picture.shape[:2]
    context.pix_fmt, context.time_base = "rgb24", Fraction(1, 25)
    packets = context.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
    path.write_bytes(b"".join(bytes(packet) for packet in [*packets, *context.encode(None)]))


def main() -> None:
    """Read two films, write one picture."""
    parser = argparse.ArgumentParser(description="A before/after picture.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frame", type=int, default=30)
    parser.add_argument("--crop", type=int, nargs=4, default=(160, 20, 208, 160))
    given = parser.parse_args()
    before, after = (read_frame(path, given.frame) for path in (given.before, given.after))
    write_png(given.out, side_by_side(before, after, tuple(given.crop)))


if __name__ == "__main__":
    main()
