"""Texts of MP4 and MOV at the time that the edit list says, which FFmpeg mistakes."""

from __future__ import annotations

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
            pairs = list(zip(stream.index_entries, samples, strict=False)) if samples else []
            if all(entry.size == sample.size for entry, sample in pairs):
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
