"""Combing: whether frames are woven from two fields of different times, by FFmpeg's idet."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

COMBED_SHARE = 0.3
"""Telecined film has two combed frames in five."""
COMBED_FRAMES = 6
"""Fewer say nothing: quick cuts look combed too."""


def combed(lumas: Iterable[NDArray[np.uint8]]) -> bool:
    """Whether (H, W) 8-bit lumas in film order are woven from two fields of different times.

    FFmpeg's idet tells field from frame; one field order must prevail, which fine texture,
    noise and dirt do not show. Static and progressive film is not combed.
    """
    counts = {"tff": 0, "bff": 0}
    total = 0
    graph: Any = None
    for number, luma in enumerate(lumas):
        if graph is None:
            graph = _field_detector(luma.shape[1], luma.shape[0])
        frame = _gray(luma, number)
        graph.vpush(frame)
        while (seen := _pull(graph)) is not None:
            total += 1
            _tally(counts, seen)
    if graph is None:
        return False
    graph.vpush(None)
    while (seen := _pull(graph)) is not None:
        total += 1
        _tally(counts, seen)
    most, least = max(counts.values()), min(counts.values())
    return most >= COMBED_FRAMES and most >= COMBED_SHARE * total and least <= most / 4


def _field_detector(width: int, height: int) -> Any:
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add("buffer", video_size=f"{width}x{height}", pix_fmt="gray", time_base="1/25")
    graph.link_nodes(source, graph.add("idet"), graph.add("buffersink")).configure()
    return graph


def _gray(luma: NDArray[np.uint8], number: int) -> Any:
    """An 8-bit frame of an 8-bit luma."""
    frame = av.VideoFrame(luma.shape[1], luma.shape[0], "gray")
    plane: Any = frame.planes[0]
    view = np.frombuffer(plane, "u1").reshape(luma.shape[0], -1)
    view[:, : luma.shape[1]] = luma
    frame.pts, frame.time_base = number, Fraction(1, 25)
    return frame


def _pull(graph: Any) -> Any:
    """The next frame, or None when the graph wants more or has ended."""
    try:
        return graph.vpull()
    except (av.BlockingIOError, EOFError):
        return None


def _tally(counts: dict[str, int], seen: Any) -> None:
    # Not idet's verdict over several frames: where noise leaves most of them undetermined, that
    # one holds on to a single wrong frame.
    verdict = seen.metadata.get("lavfi.idet.single.current_frame", "")
    if verdict in counts:
        counts[verdict] += 1
