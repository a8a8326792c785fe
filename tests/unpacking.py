"""What packed and semi-planar formats mean, by numpy alone: the truth for repacking."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Planes = list[NDArray[Any]]

# Components in the order of memory, type, bits of padding below.
INTERLEAVED = {
    "vyu444": ("VYU", "u1", 0),
    "vuyx": ("VUYX", "u1", 0),
    "vuya": ("VUYA", "u1", 0),
    "ayuv": ("AYUV", "u1", 0),
    "xv36le": ("UYVX", "<u2", 4),
    "ayuv64le": ("AYUV", "<u2", 0),
    "rgb24": ("RGB", "u1", 0),
    "bgr24": ("BGR", "u1", 0),
    "rgb0": ("RGB0", "u1", 0),
    "bgr0": ("BGR0", "u1", 0),
    "0rgb": ("0RGB", "u1", 0),
    "0bgr": ("0BGR", "u1", 0),
    "rgba": ("RGBA", "u1", 0),
    "bgra": ("BGRA", "u1", 0),
    "argb": ("ARGB", "u1", 0),
    "abgr": ("ABGR", "u1", 0),
    "rgb48le": ("RGB", "<u2", 0),
    "bgr48le": ("BGR", "<u2", 0),
    "rgb48be": ("RGB", ">u2", 0),
    "rgba64le": ("RGBA", "<u2", 0),
    "rgba64be": ("RGBA", ">u2", 0),
    "bgra64le": ("BGRA", "<u2", 0),
}
# Where Y, Cb, Cr lie in each pair of pixels, type, bits of padding below.
HALVED = {
    "yuyv422": ((0, 1, 3), "u1", 0),
    "uyvy422": ((1, 0, 2), "u1", 0),
    "yvyu422": ((0, 3, 1), "u1", 0),
    "y210le": ((0, 1, 3), "<u2", 6),
    "y212le": ((0, 1, 3), "<u2", 4),
}
# Lowest bit of each component in a 32-bit word.
WORDS = {"x2rgb10le": (20, 10, 0), "x2bgr10le": (0, 10, 20), "xv30le": (10, 0, 20)}
# Luma samples per chroma sample across, whether Cr comes first, type, bits of padding below.
SEMI_PLANAR = {
    "nv12": (2, False, "u1", 0),
    "nv21": (2, True, "u1", 0),
    "nv16": (2, False, "u1", 0),
    "nv24": (1, False, "u1", 0),
    "nv42": (1, True, "u1", 0),
    "nv20le": (2, False, "<u2", 0),
    **{
        f"p{layout}{bits}{order}": (1 if layout == 4 else 2, False, kind, 16 - bits)
        for layout in (0, 2, 4)
        for bits in (10, 12, 16)
        for order, kind in (("le", "<u2"), ("be", ">u2"))
    },
}
PACKED = (*INTERLEAVED, *HALVED, *WORDS, *SEMI_PLANAR, "monow", "monob", "pal8")


def random_frame(name: str, width: int = 48, height: int = 16) -> Any:
    """A frame of any packed format, full of random bytes."""
    frame: Any = av.VideoFrame(width, height, name)
    random = np.random.default_rng(7)
    for plane in frame.planes:
        noise = random.integers(0, 256, plane.buffer_size, dtype=np.uint8)
        if name == "nv20le":
            noise.view("<u2")[:] &= 1023
        plane.update(noise.tobytes())
    return frame


def rows(frame: Any, index: int, kind: str, values: int) -> NDArray[Any]:
    """The first `values` entries of each row of one plane."""
    plane = frame.planes[index]
    return np.frombuffer(plane, kind).reshape(plane.height, -1)[:, :values]


def unpacked(frame: Any) -> Planes:
    """Y, Cb, Cr or R, G, B, and alpha if there is one, or gray: (H, W) code values each."""
    name, width = frame.format.name, frame.width
    if name in INTERLEAVED:
        return _interleaved(frame, *INTERLEAVED[name])
    if name in HALVED:
        (luma, blue, red), kind, shift = HALVED[name]
        row = rows(frame, 0, kind, 2 * width) >> shift
        return [row[:, luma::2], row[:, blue::4], row[:, red::4]]
    if name in WORDS:
        words = rows(frame, 0, "<u4", width)
        return [words >> shift & 1023 for shift in WORDS[name]]
    if name in SEMI_PLANAR:
        across, swapped, kind, shift = SEMI_PLANAR[name]
        pairs = rows(frame, 1, kind, 2 * width // across) >> shift
        chroma = [pairs[:, 0::2], pairs[:, 1::2]]
        return [rows(frame, 0, kind, width) >> shift, *(chroma[::-1] if swapped else chroma)]
    if name == "pal8":
        words = np.frombuffer(frame.planes[1], "=u4")[rows(frame, 0, "u1", width)]
        return [words >> shift & 255 for shift in (16, 8, 0, 24)]
    bits = np.unpackbits(rows(frame, 0, "u1", (width + 7) // 8), axis=1)[:, :width]
    return [255 * (bits if name == "monob" else 1 - bits)]


def _interleaved(frame: Any, letters: str, kind: str, shift: int) -> Planes:
    row = rows(frame, 0, kind, len(letters) * frame.width) >> shift
    wanted = "YUVA" if "Y" in letters else "RGBA"
    return [row[:, letters.index(c) :: len(letters)] for c in wanted if c in letters]
