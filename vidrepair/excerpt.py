"""A part of a film, from a time on: which frames belong to it, and which packets go with them."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import replace
from fractions import Fraction
from typing import Any

from vidrepair.containers import COVER, fraction
from vidrepair.tags import Clip


class Excerpt:
    """Told of every frame and packet in the order of the file, says which are taken.

    The part starts with the first frame that is shown at or after `start`, in seconds from where
    `stream` starts. Sound is cut between packets: those that start with that frame or later are
    taken. Subtitles that are on the screen by then start with it. Another video starts with its
    first key frame. With a start of 0 everything is taken.
    """

    def __init__(self, stream: Any, start: Fraction) -> None:
        self._unit = fraction(stream.time_base) or Fraction(1, 90000)
        self.zero = (stream.start_time or 0) * self._unit
        """Seconds at which the stream starts."""
        self.met = 0
        """Frames so far, up to the first that was taken."""
        self.found = False
        """That one was met."""
        self._whole = start <= 0
        self._from = self.zero + start
        self._appeared: dict[int, list[int]] = {}
        """By stream, the pts of the subtitles before the part, in order of time."""
        self._keys: dict[int, int] = {}
        """By stream, the pts of the key frame that another video starts with."""

    def clip(self, clip: Clip) -> Clip:
        """The facts of the part."""
        if self._whole or self._from == clip.zero:
            return clip
        skipped = float(self._from - clip.start)
        duration = None if clip.duration is None else max(0.0, clip.duration - skipped)
        count = clip.frame_count
        if count is not None and duration is not None and clip.duration:
            count = max(1, round(count * duration / clip.duration))
        return replace(
            clip,
            start=self._from,
            video_start=self._from,
            duration=duration,
            frame_count=count,
        )

    def takes_frame(self, decoded: Any) -> bool:
        """Whether a decoded frame, its pts set, belongs to the part."""
        if self.found:
            return True
        self.met += 1
        seconds = decoded.pts * self._unit
        if not self._whole and seconds < self._from:
            return False
        self.found = True
        self._from = seconds
        return True

    def takes_packet(self, packet: Any) -> bool:
        """Whether a packet of another stream belongs to the part.

        Before the first frame was found this may say yes to what is refused when asked again. A
        subtitle that is on the screen is given the time of the first frame.
        """
        unit = fraction(packet.time_base)
        ticks = packet.pts if packet.pts is not None else packet.dts
        if self._whole or ticks is None or unit is None:
            return True
        kind = packet.stream.type
        if kind == "video":
            return self._takes_video(packet, ticks, unit)
        if kind == "subtitle":
            return self._is_seen(packet, ticks, unit)
        return bool(ticks * unit >= self._from)

    def _is_seen(self, packet: Any, ticks: int, unit: Fraction) -> bool:
        """Whether a subtitle appears in the part, or is on the screen when it begins.

        One that does not say how long, as those that are pictures, is until the next appears.
        """
        start, ends = math.ceil(self._from / unit), ticks + (packet.duration or 0)
        before = self._appeared.setdefault(packet.stream.index, [])
        if not self.found or ticks < start:
            insort(before, ticks)
        if ticks >= start:
            return True
        if packet.duration and ends * unit <= self._from:
            return False
        if not self.found:
            return True
        if not packet.duration and ticks < before[bisect_left(before, start) - 1]:
            return False
        if packet.duration:
            packet.duration = max(1, ends - start)
        packet.pts = packet.dts = start
        return True

    def _takes_video(self, packet: Any, ticks: int, unit: Fraction) -> bool:
        """From the first key frame on, without what is shown before it and needs older frames."""
        index = packet.stream.index
        if packet.stream.disposition & COVER:
            return True
        if ticks * unit < self._from:
            if self._keys.get(index, ticks) * unit < self._from:
                self._keys.pop(index, None)
            return False
        if index not in self._keys:
            if not packet.is_keyframe:
                return False
            self._keys[index] = ticks
        return ticks >= self._keys[index]


def cut_chapters(
    chapters: list[dict[str, Any]], clip: Clip, end: Fraction | None = None
) -> list[dict[str, Any]]:
    """Those that the part shows something of, cut where it is; times stay those of the file.

    `end` is where the picture is stopped, in seconds of the file. Chapters are PyAV's.
    """
    kept = []
    for chapter in chapters:
        unit = fraction(chapter["time_base"]) or Fraction(1, 1000)
        starts, ends = chapter["start"], chapter["end"]
        if clip.cut:
            starts = max(starts, math.ceil(clip.video_start / unit))
        if end is not None:
            ends = min(ends, math.floor(end / unit))
        whole = (starts, ends) == (chapter["start"], chapter["end"])
        if whole or starts < ends:
            kept.append({**chapter, "start": starts, "end": ends})
    return kept
