"""Every stream but the restored one: what a target takes is copied, the rest is named."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Any

import av

from vidrepair.containers import facts
from vidrepair.excerpt import cut_chapters
from vidrepair.labels import Unsaid, spoken
from vidrepair.routes import Route, find_route
from vidrepair.stream_losses import (
    CHAPTERED,
    chapters_lost,
    left_behind,
    not_as_they_were,
    silent_on,
    unsaid_of,
)
from vidrepair.subtitles import Converter
from vidrepair.tags import Clip, Copied, StreamFacts, counted
from vidrepair.tracks import kept_hidden

# What of these kinds holds not one packet MP4 and MOV leave out.
NEEDS_PACKETS = ("audio", "video")
MOV_TEXT_HEAD = 2
"""Bytes of a packet of MP4's text that say how long it is; one that has no more shows nothing."""
UNSAID_LENGTH = Fraction(2)
"""Seconds that a text is shown in MP4 and MOV which does not say how long; they drop it else."""
UNENDING = Fraction(2**32 - 1, 1000)
"""Seconds by which FFmpeg says that a subtitle of a DVD has no end."""
EARLY = Fraction(1, 10)
"""Seconds by which chapters may lie before their pictures and nobody sees it."""
# One refused packet does not end the work; these errors are the target's own.
LOST_TARGET = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE, errno.EIO, errno.EROFS)


def plan_copies(
    container: Any,
    clip: Clip,
    target: str,
    covers: Mapping[int, bytes],
    *,
    end: Fraction | None = None,
) -> Copies:
    """Find out, without a file, which streams of an open source `target` takes.

    `container` and `covers` (cover pictures by stream index) are the source's own, `target` is
    FFmpeg's name of the muxer. `end` is where the picture is stopped, in seconds of the file.
    """
    routes: dict[int, Route] = {}
    left: list[StreamFacts] = []
    silent: list[Unsaid] = []
    for stream in container.streams:
        if stream.index == clip.video.index:
            continue
        fact = facts(stream)
        if _rebuilt(fact, stream.metadata, clip, target):
            continue
        route = find_route(stream, fact, target, covers)
        if route is None:
            left.append(fact)
        else:
            routes[stream.index] = route
            silent += unsaid_of(stream, route, target)
    chapters = cut_chapters(container.chapters(), clip, end)
    warnings = [
        *left_behind(left, target),
        *not_as_they_were(routes.values(), target),
        *silent_on(silent),
        *chapters_lost(container, chapters, clip, target),
    ]
    depths = {
        film.index: film.codec_context.reorder_depth
        for film in container.streams.video
        if film.codec_context is not None
    }
    kept = chapters if target in CHAPTERED else []
    lost = {name for one in silent for name in one.names}
    lost |= {"chapters"} if chapters and not kept else set()
    return Copies(
        routes,
        depths,
        kept,
        target,
        end=end,
        part=clip.cut,
        warnings=tuple(warnings),
        left=frozenset(fact.index for fact in left),
        lost=frozenset(lost),
    )


class Copies:
    """The streams that travel beside the picture, from one source to one target."""

    def __init__(
        self,
        routes: Mapping[int, Route],
        depths: Mapping[int, int],
        chapters: list[Any],
        target: str,
        *,
        end: Fraction | None = None,
        part: bool = False,
        warnings: tuple[str, ...] = (),
        left: frozenset[int] = frozenset(),
        lost: frozenset[str] = frozenset(),
    ) -> None:
        self.warnings = warnings
        """What is left behind or converted, by name."""
        self.left = left
        """Streams that stay behind, by index in the source."""
        self.lost = lost
        """Chapters, where they are, and what is not said of single streams, by
        `labels.of_stream`."""
        self.converted = frozenset(index for index, route in routes.items() if route.source)
        """Text subtitles that are written in another codec, by index in the source."""
        self.empty: dict[int, set[int]] = {index: set() for index in self.converted}
        """Of each of these, the numbers of the packets, from 0, that were left out: they show
        nothing, such as drawings, or were dropped."""
        self.dropped: dict[int, int] = {}
        """Packets, by stream, whose times ran backwards or that the muxer refused."""
        self._routes = routes
        self._texts = {
            index: Converter(route.source, route.target)
            for index, route in routes.items()
            if route.source
        }
        self._chapters = chapters
        self._target = target
        self._end, self._part = end, part
        self._streams: dict[int, Any] = {}
        self._offset = Fraction(0)
        self._last: dict[int, int] = {}
        self._heard: Counter[int] = Counter()
        """Packets, by stream, of text that is converted."""
        self._hidden: dict[int, Copied] = {}
        """By stream, the latest packet that an edit list hides."""
        self._lead = Fraction(0)
        """Seconds before zero at which another film was to begin."""
        self._depths = depths
        """How many frames a film's order of coding runs ahead of that of showing."""

    def board(self, output: Any, offset: Fraction) -> None:
        """Add everything to an open output, before its header.

        `offset` are seconds, added to the time of every packet and chapter.
        """
        self._offset = offset
        for index, route in self._routes.items():
            stream = route.add(output)
            if stream is not None:
                self._streams[index] = stream
        if self._chapters:
            chapters = [_later(chapter, offset) for chapter in self._chapters]
            if self._target in ("mp4", "mov"):
                # Their muxer passes over chapters that have no title, and moves the others up.
                for chapter in chapters:
                    chapter["metadata"] = {"title": "", **chapter["metadata"]}
                # Their first one starts at 0 whatever it says, and would end too early.
                chapters[0]["start"] = min(0, chapters[0]["start"])
            output.set_chapters(chapters)

    def mux(self, output: Any, item: Copied) -> None:
        """Write one packet; one of a stream that stays behind, or is out of time, is dropped."""
        if item.stream not in self._streams:
            return
        if self._hides(item):
            self._hidden[item.stream] = item
            return
        before = self._hidden.pop(item.stream, None)
        if before is not None and kept_hidden(self._routes[item.stream].facts):
            self._write(output, before)
        self._write(output, item)

    def _hides(self, item: Copied) -> bool:
        """Whether a packet stands before the first that an edit list shows, and is not written."""
        begun = item.stream in self._last or self._target in ("mp4", "mov")
        facts = self._routes[item.stream].facts
        return item.packet.is_discard and not begun and kept_hidden(facts) is not None

    def _write(self, output: Any, item: Copied) -> None:
        if self._routes[item.stream].facts.kind == "subtitle":
            if self._target in ("mp4", "mov"):
                _ended(item.packet)
            if self._end is not None:
                _cut(item.packet, self._end)
        packet = self._converted(item)
        if packet is None:
            return
        dts = self._decoding_time(packet, item.stream)
        last = self._last.get(item.stream, dts)
        if dts < last:
            self._drop(item.stream)
            return
        self._last[item.stream] = dts
        if not packet.duration and self._routes[item.stream].facts.kind in NEEDS_PACKETS:
            # MP4 does not show a last packet of no duration, and a first one has none before it.
            length = self._routes[item.stream].length / packet.time_base
            packet.duration = dts - last or ceil(length)  # rounded down, nothing might be left
        # No packet is shown before it is decoded; where a damaged one says so, muxers refuse it.
        packet.pts = dts if packet.pts is None else max(packet.pts, dts)
        packet.dts = dts
        self._send(output, packet, item.stream)

    def _send(self, output: Any, packet: Any, index: int) -> None:
        """Mux a packet of a stream, moved as all are; one that the muxer refuses is dropped."""
        ticks = _ticks(self._offset, packet.time_base)
        packet.pts += ticks
        packet.dts += ticks
        lead = self._lead
        if packet.pts < 0 and self._routes[index].facts.kind == "video":
            lead = max(lead, -packet.pts * packet.time_base)
        packet.stream = self._streams[index]
        try:
            output.mux(packet)
        except av.FFmpegError as error:
            if error.errno in LOST_TARGET:
                raise
            self._drop(index)
        else:
            self._lead = lead

    def _drop(self, index: int) -> None:
        """Note that the last packet of a stream was not written."""
        self.dropped[index] = self.dropped.get(index, 0) + 1
        if index in self.empty:
            self.empty[index].add(self._heard[index] - 1)

    def losses(self) -> list[str]:
        """What was lost on the way, by name."""
        dropped = [
            f"{self._routes[index].facts}: {counted(count, 'packet')} dropped: times that run"
            " backwards, or refused by the target"
            for index, count in self.dropped.items()
        ]
        if self._chapters and self._lead > EARLY and self._target in ("matroska", "webm"):
            dropped.append(
                f"chapters lie {float(self._lead):.3f} s before their pictures: frames of another"
                f" film start there that an edit list hid, and {spoken(self._target)} lets nothing"
                " start below zero"
            )
        silent = [self._routes[index].facts for index in self._streams.keys() - self._last.keys()]
        if self._target not in ("mp4", "mov"):
            hidden = [fact for fact in silent if fact.index in self._hidden]
            return [
                *dropped,
                *(f"{fact} is empty: an edit list hides all that it holds" for fact in hidden),
                *(
                    f"{fact} is empty: no key frame of it lies in this part of the film"
                    for fact in silent
                    if fact.kind == "video" and self._part
                ),
            ]
        return dropped + [
            f"{fact} is not carried: it holds no packet, and {spoken(self._target)} leaves it out"
            for fact in sorted(silent, key=lambda fact: fact.index)
            if fact.kind in NEEDS_PACKETS
        ]

    def _converted(self, item: Copied) -> Any:
        """The packet as it is written; None for text that shows nothing."""
        packet, converter = item.packet, self._texts.get(item.stream)
        if converter is None:
            # The muxer says itself where a text ends, and would say it twice.
            is_text = self._routes[item.stream].facts.codec == "mov_text"
            return None if is_text and packet.size <= MOV_TEXT_HEAD else packet
        number = self._heard[item.stream]
        self._heard[item.stream] += 1
        start = packet.pts if packet.pts is not None else packet.dts
        found = converter.convert(bytes(packet), start or 0, packet.duration or 0)
        if found is None:
            self.empty[item.stream].add(number)
            return None
        text: Any = av.Packet(found[0])
        text.time_base = packet.time_base
        text.pts = text.dts = start
        text.duration = found[1]
        text.is_keyframe = True
        return text

    def _decoding_time(self, packet: Any, index: int) -> int:
        """The packet's dts, or where it says none, the one that follows from those before.

        Matroska knows no dts; of films with B-frames some packets stay without.
        """
        last = self._last.get(index)
        if packet.dts is not None:
            return int(packet.dts)
        step = packet.duration or 1
        if last is None:
            return (packet.pts or 0) - self._depths.get(index, 0) * step
        return last + step if packet.pts is None else min(packet.pts, last + step)


def _ended(packet: Any) -> None:
    """Let what does not say how long it is on the screen end at all, for MP4 and MOV."""
    if not packet.duration or packet.duration * packet.time_base >= UNENDING:
        packet.duration = round(UNSAID_LENGTH / packet.time_base)


def _cut(packet: Any, end: Fraction) -> None:
    """Let what is on the screen end there with the picture."""
    if packet.pts is not None and packet.duration:
        left = _ticks(end, packet.time_base) - packet.pts
        packet.duration = max(1, min(packet.duration, left))


def _ticks(seconds: Fraction, unit: Any) -> int:
    return round(seconds * Fraction(unit.denominator, unit.numerator))


def _later(chapter: Mapping[str, Any], offset: Fraction) -> dict[str, Any]:
    ticks = _ticks(offset, chapter["time_base"])
    return {**chapter, "start": chapter["start"] + ticks, "end": chapter["end"] + ticks}


def _rebuilt(fact: StreamFacts, tags: Mapping[str, str], clip: Clip, target: str) -> bool:
    """Data streams that the muxers make anew: the text track of chapters, and timecode.

    PyAV shows no more of a data stream than its handler's name, and the timecode that it holds;
    telemetry has a name of its own.
    Other containers than MP4 and MOV hold neither as a stream.
    """
    if fact.kind != "data" or target not in CHAPTERED or not clip.container.startswith("mov"):
        return False
    name = tags.get("handler_name", "").lower().replace(" ", "")
    texts = clip.chapters > 0 and (not name or "text" in name or "subtitle" in name)
    timed = "timecode" in dict(clip.video_metadata)
    times = not name or any(word in name for word in ("timecode", "tcd", "tmcd"))
    return texts or (timed and times) or "timecode" in tags
