"""Times that can be trusted: of frames that have none, and of clocks that wrap or restart.

The clock of transport and program streams has 33 bits of 90 kHz (ISO/IEC 13818-1 section 2.4.3.6)
and starts anew after 26.5 h; recordings that were put one behind the other start anew wherever
that was done.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from vidrepair.containers import fraction, frame_rate, path_of
from vidrepair.edits import shown_until

WRAPPING = ("mpegts", "mpeg")
"""FFmpeg's names of the demuxers whose times are mended."""
CYCLE = Fraction(2**33, 90000)
"""Seconds after which the clock starts anew."""
BACK = Fraction(1, 10)
"""Seconds by which the times of a stream may run backwards without being a new start; FFmpeg's
own tool allows as much."""
CONTINUOUS = ("video", "audio")
"""Of these, packets follow one another without gaps; only they tell a new start."""


class Timeline:
    """Mends the times of all packets of a file, in the order of the file.

    FFmpeg undoes the first wrap and no other. What is shifted is shifted in all streams alike, so
    that sound and picture stay together. A gap forwards is left as it is.
    """

    def __init__(self, container: str) -> None:
        self._mends = container in WRAPPING
        self._shift = Fraction(0)
        """Of what comes after the last new start."""
        self._shifts: dict[int, Fraction] = {}
        """Of each stream: at a new start, late packets of the part before are on their way yet."""
        self._last: dict[int, Fraction] = {}
        """Decoding time of the last packet, mended, of each stream."""
        self._end: Fraction | None = None
        """The latest end of a packet of sound or picture, mended."""
        self._heard: Fraction | None = None
        """Decoding time of the last packet of all, mended."""

    def mend(self, packet: Any) -> bool:
        """Give a packet its place on the line; whether its times were changed.

        Takes FFmpeg's packet, changes its pts and dts.
        """
        if self._mends and packet.stream.type == "audio" and packet.pts is not None:
            packet.dts = packet.pts  # sound has no order of coding: another dts is damage
        ticks = packet.dts if packet.dts is not None else packet.pts
        if not self._mends or ticks is None or not packet.time_base:
            return False
        unit = Fraction(packet.time_base.numerator, packet.time_base.denominator)
        place = self._place(packet, ticks * unit)
        self._remember(packet, place, (packet.duration or 0) * unit)
        step = round(place / unit) - ticks
        if step:
            packet.dts = None if packet.dts is None else packet.dts + step
            packet.pts = None if packet.pts is None else packet.pts + step
        return bool(step)

    def _place(self, packet: Any, own: Fraction) -> Fraction:
        """Where a packet of that time belongs, in seconds."""
        if self._heard is None:
            return own
        heard, index = self._heard, packet.stream.index
        places = {
            shift: _next_to(heard, own + shift)
            for shift in (self._shifts.get(index, self._shift), self._shift)
        }
        shift = min(places, key=lambda known: abs(places[known] - heard))
        last = self._last.get(index)
        self._shifts[index] = shift
        backwards = last is not None and places[shift] < last - BACK
        if self._end is None or not backwards or packet.stream.type not in CONTINUOUS:
            return places[shift]
        # A new start: from here on, behind everything that was there before.
        self._shift = self._shifts[index] = self._end - own
        return self._end

    def _remember(self, packet: Any, place: Fraction, lasts: Fraction) -> None:
        index = packet.stream.index
        if packet.stream.type in CONTINUOUS:
            step = place - self._last.get(index, place)
            end = place + (lasts or min(step, BACK))
            self._end = end if self._end is None else max(self._end, end)
        self._last[index] = self._heard = place


def _next_to(heard: Fraction, seconds: Fraction) -> Fraction:
    """The same time of the cycle that lies next to what was heard."""
    return seconds + CYCLE * round((heard - seconds) / CYCLE)


class FilmEnd:
    """Told of the packets of a film in the order of the file, knows how long its last frame is
    shown.

    MP4 and MOV give a packet the time up to the next one in the order of coding. Where frames are
    shown in another order that says nothing. The length of the whole film tells then, which counts
    up to the end of the packet that is coded last: unless that one waits longer to be shown than
    the first. Nothing is known then, nor where a part of the film is left out before: by an edit
    list, or for its start was sought. The length counts from the first frame or from the start of
    the file, whichever ends where the edit list does.
    """

    def __init__(self, stream: Any) -> None:
        self.latest: int | None = None
        """Time of the frame that is shown last, of those so far."""
        self.ended = False
        """No packet is to come."""
        self._mov = stream.container.format.name.startswith("mov")
        self._whole = _whole(stream) if self._mov else 0
        self._missing = stream.frames
        self._waits: list[int] = []
        """Of the first and the last packet, from decoding to being shown."""
        self._length = 0

    def add(self, packet: Any) -> None:
        """Take a packet of the film; an empty one is its end."""
        self.ended = not packet.size
        if packet.size and packet.is_discard:
            self._missing = -1  # the stated length is not that of what is shown
        if self.ended or packet.pts is None or packet.is_discard:
            return
        self._missing -= 1
        wait = packet.pts - (packet.pts if packet.dts is None else packet.dts)
        self._waits = [*self._waits[:1], wait]
        if self.latest is None or packet.pts >= self.latest:
            self.latest, self._length = packet.pts, packet.duration or 0
        elif self._mov:
            self._length = 0

    @property
    def length(self) -> int:
        """How long that frame is shown, in units of the stream; 0 where that is not known."""
        if self._length or self.latest is None or not self._mov:
            return self._length
        # A file that was cut off still says how long it was.
        told = not self._missing and self._waits[-1] <= self._waits[0]
        return max(0, self._whole - self.latest) if told else 0


def _whole(stream: Any) -> int:
    """The time at which the film ends that an MP4 or MOV file states."""
    duration = stream.duration or 0
    ends = ((stream.start_time or 0) + duration, duration)
    told = shown_until(path_of(stream.container), stream.id) if ends[0] > duration else None
    if told is None:
        return ends[0]
    end = told[0] / stream.time_base
    nearest = min(ends, key=lambda one: abs(one - end))
    return nearest if abs(nearest - end) * stream.time_base <= told[1] else round(end)


class FrameClock:
    """Gives every frame a time that is later than that of the frame before."""

    def __init__(self, stream: Any) -> None:
        rate = frame_rate(stream) or Fraction(25)
        self._unit = fraction(stream.time_base) or Fraction(1, 90000)
        self._step = max(Fraction(1), 1 / (rate * self._unit))
        self._next = Fraction(stream.start_time or 0)
        self._last: int | None = None
        self._timed = False
        # There B-frames alone have a pts; the dts of the others, as decoded, lie between those.
        self._by_dts = (stream.container.format.name, stream.codec_context.name) == ("avi", "mpeg4")
        self._end = FilmEnd(stream)

    @property
    def counted(self) -> bool:
        """A frame was met."""
        return self._last is not None

    @property
    def seconds(self) -> Fraction:
        """The time of the last frame."""
        return (self._last or 0) * self._unit

    def hear(self, packet: Any) -> None:
        """Take a packet of the film, before it is decoded."""
        self._end.add(packet)

    def length(self, decoded: Any) -> int:
        """How long a frame is shown, in units of the film; 0 where that is not known."""
        is_last = self._end.ended and decoded.pts == self._end.latest
        return (self._end.length if is_last else 0) or decoded.duration or 0

    def stamp(self, decoded: Any) -> bool:
        """Set the frame's pts; whether it was made up though the film has times.

        AVI with B-frames and raw streams have none at all: there frames are counted.
        """
        pts, repaired = decoded.pts, False
        if pts is None and self._by_dts:
            pts = decoded.pts = decoded.dts
        if pts is None or (self._last is not None and pts <= self._last):
            # What a decoder gives at the end of a file comes without a dts.
            repaired = self._timed and not (self._by_dts and pts is None)
            pts = round(self._next)
            if self._last is not None:
                pts = max(pts, self._last + 1)
            self._next += self._step
            decoded.pts = pts
        else:
            self._timed = True
            self._next = pts + self._step
        self._last = pts
        return repaired
