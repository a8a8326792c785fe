"""Cuts that the user says: a list of them, fitted to a film, and the frames numbered by it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from vidrepair.edl import read_edl
from vidrepair.errors import InputError
from vidrepair.film_clock import FilmClock
from vidrepair.frames import Frame
from vidrepair.listed import Listed, NoList
from vidrepair.otio_file import read_timeline
from vidrepair.spelling import read_time
from vidrepair.timecode import frame_of, timecode_of

LARGEST = 64 << 20
"""Bytes of a list; what is larger is a film given by mistake."""
UNCOUNTED = "the film has no frame rate by which its times could be counted"
SLACK = 1
"""Seconds by which a film may be longer than its file says."""


@dataclass(frozen=True, slots=True)
class Length:
    """How long a film is, as far as its file says; `Cuts.finish` knows better."""

    seconds: Fraction | None = None
    """From place 0."""
    frames: int | None = None
    """An estimate."""


class Cuts:
    """Where shots start. One thread takes the frames, and calls `finish` after the last."""

    def __init__(self, starts: Iterable[int], where: str, clock: FilmClock | None) -> None:
        """`starts` are places of the clock, or numbers of frames where that is None."""
        self.starts = tuple(sorted(set(starts)))
        self._where, self._clock = where, clock
        self._met = 0

    def number_shots(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield every frame once, in order, stamped with its shot from 0 up.

        A shot starts at the first frame at or after its place that shows something new: none
        starts with a repeat.
        """
        shot, due = 0, False
        for index, frame in enumerate(frames):
            due = self._pass(self._place(frame)) or due
            if due and not frame.passed_over:
                shot += index > 0
                due = False
            yield replace(frame, shot=shot)

    def finish(self) -> None:
        """The film has ended. Raises InputError where it is shorter than the list."""
        if self._met < len(self.starts):
            late = self.starts[self._met]
            said = f"frame {late}" if self._clock is None else self._clock.show(late)
            raise InputError(
                f"{self._where} does not fit the film: a shot is to start at {said}, and the film"
                " ends before; name the list of this film"
            )

    def _place(self, frame: Frame) -> int:
        if self._clock is None:
            return frame.number
        return self._clock.place(frame.pts * frame.time_base)

    def _pass(self, place: int) -> bool:
        """Whether a shot starts at that place, or between it and the one before."""
        before = self._met
        while self._met < len(self.starts) and self.starts[self._met] <= place:
            self._met += 1
        return self._met > before


def read_cuts(path: Path, clock: FilmClock | None, length: Length) -> Cuts:
    """The cuts of an .otio, .edl or .txt file for a film of that clock and length.

    Raises InputError, in one sentence that names the file, where it cannot be read, is no list,
    or does not fit the film.
    """
    try:
        return _read(path, clock, length)
    except NoList as error:
        raise InputError(f"{path}: {error}; name a list of the cuts of this film") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text; name a list of cuts") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error}); check the name"
        ) from error


def _read(path: Path, clock: FilmClock | None, length: Length) -> Cuts:
    if path.stat().st_size > LARGEST:
        raise NoList("it is too large for a list of cuts")
    text = path.read_text(encoding="utf-8-sig")
    kind = path.suffix.lower()
    if kind == ".txt":
        starts, counted = _numbers(text, clock)
        if counted:
            _check_times(starts, clock, length)
        else:
            _check_numbers(starts, length)
        return Cuts(starts, str(path), clock if counted else None)
    if clock is None:
        raise NoList(UNCOUNTED)
    read = read_timeline if kind == ".otio" else read_edl
    return Cuts(_fitted(read(text, clock.rate), clock, length), str(path), clock)


def _fitted(listed: Listed, clock: FilmClock, length: Length) -> tuple[int, ...]:
    """The places of a film at which its shots start: by the timecode of the list, or from its
    start where it has none; else by that of what was cut; else, where the film has none, from the
    start of both.
    """
    after = None if length.seconds is None else (length.seconds + SLACK) * clock.rate
    ways: list[tuple[int, ...]] = []
    # Without a timecode and a length nothing tells whether the film is where the list's is.
    timed = clock.known or after is not None or not listed.whole
    if listed.clock is None:
        ways.append(listed.starts)
    elif timed:
        ways.append(tuple(clock.from_start(listed.clock + one) for one in listed.starts))
    if listed.source is not None and timed:
        ways.append(tuple(map(clock.from_start, listed.source)))
    if listed.whole and not clock.known:
        ways.append(listed.starts)
    for places in ways:
        rising = all(one < two for one, two in pairwise(places))
        if rising and (after is None or places[-1] < after):
            return places
    mark = ";" if clock.dropping else ":"
    edges = (listed.starts[0], listed.starts[-1])
    first, last = (timecode_of((listed.clock or 0) + one, clock.rate, mark) for one in edges)
    film = f"starts at {clock.show(0)}"
    if length.seconds is not None:
        film += f" and ends at {clock.show(int(length.seconds * clock.rate))}"
    raise NoList(f"its shots start from {first} to {last}, and the film {film}")


def _check_times(places: list[int], clock: FilmClock | None, length: Length) -> None:
    """Refuse, before any work, what lies behind the end of a film."""
    if clock is None or length.seconds is None:
        return
    last = max(places)
    if last >= (length.seconds + SLACK) * clock.rate:
        place, end = last / clock.rate, float(length.seconds)
        raise NoList(f"a shot is to start at {float(place):.3f} s, and the film ends at {end:.3f}")


def _check_numbers(numbers: list[int], length: Length) -> None:
    """The same, where it is far behind: the number of frames is an estimate."""
    last = max(numbers)
    if length.frames is not None and last > 100 + length.frames * 3 // 2:
        raise NoList(f"a shot is to start at frame {last}, and the film has about {length.frames}")


def _numbers(text: str, clock: FilmClock | None) -> tuple[list[int], bool]:
    """What a plain list says, and whether it is places of the clock: all frame numbers, or all
    times, as seconds with a point, with colons, or timecodes.
    """
    lines = (line.partition("#")[0] for line in text.splitlines())
    words = [word for line in lines for word in re.split(r"[\s,]+", line) if word]
    if not words:
        raise NoList("it names no cut")
    below = next((word for word in words if word.startswith("-")), None)
    if below is not None:
        raise NoList(f"{below} lies before the film; frames and times count from 0")
    if all(re.fullmatch(r"\d{1,12}", word, re.ASCII) for word in words):
        return [int(word) for word in words], False
    plain = next((word for word in words if re.fullmatch(r"\d+", word, re.ASCII)), None)
    if plain is not None:
        raise NoList(f"it mixes frames and times; write {plain} as {plain}.0 if it is seconds")
    if clock is None:
        raise NoList(UNCOUNTED)
    return [_place(word, clock) for word in words], True


def _place(word: str, clock: FilmClock) -> int:
    frame = frame_of(word, clock.rate)
    if frame is not None:
        return clock.from_start(frame)
    try:
        return clock.place(clock.zero + read_time(word))
    except ValueError as error:
        raise NoList(
            f"{error}, nor a timecode of {float(clock.rate):.5g} frames a second"
        ) from None
