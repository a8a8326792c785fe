"""A few pieces of a film, really run: what a whole run is told by."""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from vidrepair.decode import SOUGHT, open_source
from vidrepair.errors import UsageError
from vidrepair.inventory import Inventory, key_before, stated_frames, take_inventory
from vidrepair.settings import Job, SourceSettings
from vidrepair.tags import Clip
from vidrepair.trial import Trial, Trials

log = logging.getLogger(__name__)

READ_THROUGH = 1 << 30
"""Bytes of a file up to which it is read to its end, to count what is in it."""
BRIEF = 16
"""Frames of the short trials, which tell what a run takes beside its frames."""
SHORT = 192
"""Frames up to which a film is run whole at once."""
WORTH = 1.5
"""A film is run whole unless it is so many times as long as all its pieces."""
AMPLE = 6.0
"""Seconds that a piece after the first may take; where frames are cheap pieces are longer, and so
tell more."""
LONGEST = 3
"""Spans for each lane, of such a piece: encoders set key frames of their own after 250 frames."""
USUAL_RATE = Fraction(25)
"""Frames a second of a film that does not say, and is as long as nobody knows."""

Told = Callable[[int, int], None]
"""Is told how many frames were run, and how many will be, about."""


@dataclass(frozen=True, slots=True)
class Film:
    """What is known of a film before anything is run."""

    job: Job
    """What is asked for. Its output is a name in no folder."""
    clip: Clip
    frames: int
    """That will be read."""
    counted_by: str
    """packets, container or duration."""
    rate: Fraction
    """Frames a second; a mean where they do not lie evenly."""
    start: Fraction
    """Where what is asked for starts and ends, in seconds from the start of the picture."""
    end: Fraction
    inventory: Inventory | None
    """Of what is asked for; None for a file that was not read through."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a film, run."""

    start: Fraction
    """In seconds from the start of the picture."""
    trial: Trial
    output: Inventory
    """What was written."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """All that was run of a film."""

    pieces: tuple[Piece, ...]
    """Spread over it; the film itself where it was run whole."""
    first: Piece | None = None
    """A short one that was the first of its process; None where the film was run whole."""
    again: Piece | None = None
    """The same when all else was done."""
    memory: int | None = None
    """Bytes of the process at most."""


def survey(job: Job) -> Film:
    """Look at a film; files of up to READ_THROUGH are read to their end.

    Raises InputError when it cannot be read, UsageError for a pipe, and for a part that is none.
    """
    if job.source is None:
        raise UsageError("a pipe can be read only once; name a file to estimate")
    asked, path = job.reading, job.source
    with open_source(
        path, stream=asked.stream, start=asked.start, end=asked.end, rate=asked.rate
    ) as source:
        clip = source.clip
        for remark in source.remarks:
            log.warning(remark)
    start = asked.start or Fraction(0)
    inventory, stated = None, stated_frames(path, clip.video.index)
    if path.stat().st_size <= READ_THROUGH or (clip.duration is None and stated is None):
        until = None if asked.end is None else clip.zero + asked.end
        first = clip.zero + start if start else None
        inventory = take_inventory(path, clip.video.index, first, until)
    frames = clip.frame_count or 0 if inventory is None else inventory.frames
    lasts = Fraction(clip.duration or frames / (clip.rate or USUAL_RATE))
    rate = clip.rate or (frames / lasts if lasts else USUAL_RATE)
    if inventory is None and asked.end is not None:
        frames = min(frames, math.ceil((asked.end - start) * rate))
    if job.target.frames is not None:
        frames = min(frames, job.target.frames)
    if not frames:
        raise UsageError(f"no frame of {clip.name} lies between --ss and --to; choose more of it")
    by = "duration" if stated is None or asked.start or asked.end else "container"
    return Film(
        job=job,
        clip=clip,
        frames=frames,
        counted_by=by if inventory is None else "packets",
        rate=rate,
        start=start,
        end=start + frames / rate,
        inventory=inventory,
    )


def calibrate(film: Film, pieces: int, told: Told | None = None) -> Calibration:
    """Run so many pieces of a film, or a short film whole, into files that do not stay.

    Raises a VidrepairError as a run of the film does.
    """
    told = told or _tell_nobody
    with TemporaryDirectory(prefix="vidrepair-estimate-") as folder:
        if film.frames <= SHORT:
            return _run_whole(film, Path(folder), told)
        with Trials() as trials:
            first = _run(film, trials, film.start, BRIEF, Path(folder))
            if film.frames > WORTH * pieces * _whole_lanes(first.trial):
                done, found = BRIEF, []
                for piece in _run_pieces(film, trials, first.trial, pieces, Path(folder)):
                    found.append(piece)
                    done += piece.trial.frames
                    told(done, done + (pieces - len(found)) * piece.trial.frames + BRIEF)
                again = _run(film, trials, film.start, BRIEF, Path(folder))
                return Calibration(tuple(found), first, again, again.trial.memory)
        return _run_whole(film, Path(folder), told)


def _tell_nobody(done: int, total: int) -> None:
    """Nobody asked."""


def _run_whole(film: Film, folder: Path, told: Told) -> Calibration:
    """In a process of its own, so that nothing else adds to its start and its memory."""
    output = _output(film, folder)
    with Trials() as trials:
        trial = trials.run(replace(film.job, output=output))
    told(trial.frames, trial.frames)
    return Calibration((Piece(film.start, trial, take_inventory(output)),), memory=trial.memory)


def _run_pieces(
    film: Film, trials: Trials, first: Trial, count: int, folder: Path
) -> Iterator[Piece]:
    """Pieces from the middle of as many equal parts of the film.

    Each keeps all lanes of the engine busy, and is longer where frames are cheap. Many short ones
    tell more than a few long ones, for scenes differ.
    """
    part, done = (film.end - film.start) / count, film.start
    length = least = _whole_lanes(first)
    for number in range(count):
        middle = film.start + part * (2 * number + 1) / 2
        start = _place(film, middle - length / film.rate / 2, done, length)
        piece = _run(film, trials, start, length, folder)
        yield piece
        done = start + length / film.rate
        if number == 0:
            each = piece.trial.work.seconds * first.core / length
            most = round(film.frames / (2 * count * first.core))
            spans = min(math.floor(AMPLE / max(each, 0.01)), LONGEST * first.lanes, most)
            length = max(spans * first.core, least)


def _whole_lanes(first: Trial) -> int:
    """Frames of a piece that keeps all lanes busy; `first` is a trial of the same film."""
    return first.core * (1 if first.lanes > 1 else 2)


def _place(film: Film, wanted: Fraction, free: Fraction, length: int) -> Fraction:
    """A start for a piece near the one that is wanted, but not before `free`.

    A key frame, the one before it or else the one after it: from any other, what lies between would
    be decoded as well, and counted.
    """
    clip, path = film.clip, film.job.source
    assert path is not None
    if clip.container not in SOUGHT:
        return wanted
    latest = film.end - length / film.rate
    keys: tuple[Fraction, ...]
    if film.inventory is None:
        key = key_before(path, clip.zero + wanted, clip.video.index)
        keys = () if key is None else (key,)
    else:
        after = bisect_right(film.inventory.keys, clip.zero + wanted)
        keys = film.inventory.keys[max(after - 1, 0) : after + 1]
    starts = (key - clip.zero for key in keys)
    return next((start for start in starts if free <= start <= latest), max(wanted, free))


def _run(film: Film, trials: Trials, start: Fraction, frames: int, folder: Path) -> Piece:
    """Run a piece, not in segments: to join it, its start would be sought again."""
    job, output = film.job, _output(film, folder)
    # What counts the frames of the whole film would not fit a piece.
    repair = replace(job.repair, mask_in=None, protect=None, bad_frames=())
    target = replace(job.target, frames=None, journal=False, overwrite=True)
    reading = SourceSettings(film.clip.video.index, start or None, start + frames / film.rate)
    asked = replace(job, output=output, repair=repair, target=target, reading=reading, trial=True)
    trial = trials.run(asked)
    piece = Piece(start, trial, take_inventory(output))
    output.unlink()
    return piece


def _output(film: Film, folder: Path) -> Path:
    assert film.job.output is not None
    return folder / f"film{film.job.output.suffix}"
