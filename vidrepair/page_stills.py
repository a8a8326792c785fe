"""Pictures for a page: encoded to a budget of bytes, as data URIs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO

import numpy as np

from vidrepair.display import Shown
from vidrepair.regions import Mask

# Pillow is imported where it is used: no other command waits for it.

QUALITIES = (88, 80, 70, 58, 44, 30, 18)
"""Of WebP, tried in turn."""
RED = (255, 48, 32)


def sized(picture: Shown, most: int, sar: Fraction | None = None) -> Shown:
    """A picture with square samples, its longer side at most `most` pixels."""
    from PIL import Image

    height, width = picture.shape[:2]
    across = max(round(width * (sar or 1)), 1)
    scale = min(most / max(across, height), 1.0)
    size = max(round(across * scale), 1), max(round(height * scale), 1)
    if size == (width, height):
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def within(pictures: Sequence[Shown], budget: int) -> list[str]:
    """Data URIs of WebP pictures of at most `budget` bytes together: of the best quality of
    QUALITIES at which they fit, and smaller where none does.
    """
    for quality in QUALITIES:
        coded = [_webp(picture, quality) for picture in pictures]
        if sum(map(len, coded)) <= budget:
            return [_uri("webp", data) for data in coded]
    return within([sized(picture, max(*picture.shape[:2], 2) // 2) for picture in pictures], budget)


def red_where(mask: Mask, size: tuple[int, int]) -> str:
    """A data URI of a PNG of (height, width): red where an (H, W) mask is set, else clear.

    Where the picture is smaller than the mask a single sample stays visible.
    """
    from PIL import Image

    rows, columns = (
        np.minimum(np.arange(old) * new // old, new - 1)
        for old, new in zip(mask.shape, size, strict=True)
    )
    small = np.zeros(size, dtype=np.uint8)
    if size[0] <= mask.shape[0] and size[1] <= mask.shape[1]:
        marked = np.nonzero(mask)
        small[rows[marked[0]], columns[marked[1]]] = 1
    else:
        larger = Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST)
        small = np.asarray(larger, dtype=np.uint8)
    image = Image.fromarray(small, "P")
    image.putpalette((0, 0, 0, *RED))
    held = BytesIO()
    image.save(held, "PNG", bits=1, transparency=0, optimize=True)
    return _uri("png", held.getvalue())


def _webp(picture: Shown, quality: int) -> bytes:
    from PIL import Image

    held = BytesIO()
    Image.fromarray(picture).save(held, "WEBP", quality=quality, method=3)
    return held.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(data).decode()}"
