"""Texts of MP4 and MOV at the time that the edit list says, which FFmpeg mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import av

from vidrepair.containers import path_of
from vidrepair.edits import Sample, shown_texts


class TextTimes:
    """Puts the texts of an open MP4 or MOV file where its edit lists say; all else stays."""

    def __init__(self, container: Any) -> None:
        self._places: dict[int, dict[int, Sample]] = {}
        """By stream, and by the time that FFmpeg gives."""
        streams = container.streams.subtitles
        if not (container.format.name.startswith("mov") and streams):
            return
        shown = shown_texts(path_of(container), [stream.id for stream in streams])
        for stream in streams:
            samples = shown.get(stream.id)
            pairs = _paired(stream.index_entries, samples) if samples else []
            if pairs:
                self._places[stream.index] = {entry.timestamp: one for entry, one in pairs}

    def placed(self, packet: Any) -> Any:
        """The packet, or one like it at the right time, which no edit list hides."""
        known = self._places.get(packet.stream.index)
        sample = None if known is None or not packet.size else known.get(packet.pts)
        if sample is None:
            return packet
        moved: Any = av.Packet(bytes(packet))
        moved.stream, moved.time_base = packet.stream, packet.time_base
        moved.pts = moved.dts = sample.start
        moved.duration, moved.is_keyframe = sample.length, packet.is_keyframe
        return moved


def _paired(entries: Any, samples: Sequence[Sample]) -> list[tuple[Any, Sample]]:
    """FFmpeg's entry for each sample; none where it does not have the same ones.

    Behind the first, which the edit cuts, its times are those of the samples, all moved alike. What
    lies behind the end of the edit it leaves out.
    """
    pairs = list(zip(entries, samples, strict=False))
    moved = {entry.timestamp - sample.start for entry, sample in pairs[1:]}
    same = all(entry.size == sample.size for entry, sample in pairs)
    return pairs if same and len(moved) <= 1 and len(entries) <= len(samples) else []
