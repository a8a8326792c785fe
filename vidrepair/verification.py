"""The finished file against its source: frames, times, tags, every other stream.

The source's facts were taken while it was read; only the output is opened again. What a container
cannot say is no difference: Matroska holds milliseconds and moves a film with all its streams
where one starts below zero, MP4 and MOV mark the first stream of a kind as the default one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidrepair.decode import Source, open_source
from vidrepair.errors import InputError
from vidrepair.expectation import Expectation, Made
from vidrepair.expected_times import Clock, source_clock, spoken_time, times_off
from vidrepair.facts import Chapter, Facts, FactsBuilder, read_facts
from vidrepair.frames import Frame
from vidrepair.gaps import with_made
from vidrepair.losses import HARMLESS_SIDE_DATA, TIMECODE
from vidrepair.picture_facts import same_meaning
from vidrepair.report import Difference
from vidrepair.sequences import SEQUENCE, is_sequence
from vidrepair.settings import DEINTERLACED, SourceSettings
from vidrepair.stream_check import check_names, check_streams, check_tags

_TEXTS = ("subrip", "srt", "mov_text", "webvtt")
"""FFmpeg's names of what text becomes where it cannot be copied."""
_READ_AS_TEXT = (*_TEXTS, "ass", "ssa", "text")
"""Of subtitles in a source."""
CHAPTER_SLACK = Fraction(2, 1000)
"""Seconds; MP4 and Matroska's readers hold chapters in milliseconds, and a cut rounds them too."""


def check(
    source: Facts, output: Path, allowed: Expectation | None = None, *, whole: bool = False
) -> tuple[Difference, ...]:
    """Read `output` once and say where it is not as its source, and not as announced.

    `whole` decodes every frame; else the first and those after the last key frame, while all
    packets are read. A file that cannot be read differs; nothing is raised for it.
    """
    allowed = allowed or Expectation()
    try:
        found = read_facts(output, whole=whole, rate=allowed.rate)
    except InputError as error:
        return (Difference("content", "the file", "readable", f"not ({error})"),)
    return compare(source, found, allowed)


def check_files(
    output: Path,
    against: Path,
    *,
    frames: int | None = None,
    reading: SourceSettings | None = None,
    made: Made | None = None,
    whole: bool = False,
) -> tuple[Difference, ...]:
    """The same for two files that lie there; `frames`, `reading` and `made` tell how one was made.

    Raises InputError when one of them cannot be read.
    """
    made = made or Made()
    asked = reading or SourceSettings()
    # That of the source is for both; one that is no pictures may come with pictures made of it.
    rate = None if is_sequence(output) and not is_sequence(against) else asked.rate
    with open_source(
        against, stream=asked.stream, start=asked.start, end=asked.end, rate=rate
    ) as source:
        source.enough = frames
        source.deinterlace_as(made.interlace)
        if made.interlace in DEINTERLACED:
            made = replace(made, lost=made.lost | {"field-order"})
        clip = source.clip
        facts = source_facts(source, fill_gaps=made.fill_gaps)
    if asked.end is not None:
        end = clip.zero + asked.end
        ticks = math.ceil(end / facts.time_base)
        before = sum(int(np.count_nonzero(block < ticks)) for block in facts.pts.blocks())
        frames = before if frames is None else min(frames, before)
    found = read_facts(output, whole=whole, rate=asked.rate or clip.rate)
    texts, left = _texts(facts, found, "subtitles" in made.lost)
    allowed = Expectation(clip.offset, frames, left=left, lost=made.lost, converted=texts)
    return compare(facts, found, allowed)


def source_facts(source: Source, *, fill_gaps: bool = False) -> Facts:
    """The facts of an opened source, read and decoded to its end; with `fill_gaps` also of the
    frames that are made then.
    """
    clip = source.clip
    builder = FactsBuilder(source.container, clip.video.index, source.carried)
    for frame in with_made(_heard(source, builder), clip, fill=fill_gaps):
        builder.add_frame(frame)
    return builder.build(clip)


def _texts(source: Facts, found: Facts, given_up: bool) -> tuple[frozenset[int], frozenset[int]]:
    """The subtitles that a run writes in another codec for such a file, and, where some may be
    missing, those that it left: pictures. By index in the source.
    """
    own, there = (
        [track for track in facts.tracks if track.facts.kind == "subtitle"]
        for facts in (source, found)
    )
    left: list[int] = []
    if len(own) != len(there) and given_up:
        left = [track.facts.index for track in own if track.facts.codec not in _READ_AS_TEXT]
        own = [track for track in own if track.facts.codec in _READ_AS_TEXT]
    if len(own) != len(there):
        return frozenset(), frozenset()
    converted = (
        before.facts.index
        for before, after in zip(own, there, strict=True)
        if before.facts.codec != after.facts.codec and after.facts.codec in _TEXTS
    )
    return frozenset(converted), frozenset(left)


def _heard(source: Source, builder: FactsBuilder) -> Iterator[Frame]:
    """The frames of a source; the packets of the other streams go to `builder`."""
    for item in source.read():
        if isinstance(item, Frame):
            yield item
        else:
            builder.add_packet(item)


def compare(source: Facts, found: Facts, allowed: Expectation) -> tuple[Difference, ...]:
    """Where two files differ, and not as announced; without a word about samples."""
    allowed = replace(allowed, mov=found.container.startswith("mov"))
    if not allowed.mov:
        source = replace(source, tracks=tuple(track.shown() for track in source.tracks))
    count = len(source.pts) if allowed.frames is None else min(allowed.frames, len(source.pts))
    told = [Difference("content", "the file", "whole", flaw) for flaw in found.flaws]
    if allowed.renumbered:
        # What y4m does not say about the picture nobody can read there.
        told += _numbers(count, len(found.pts))
        only = () if found.container == SEQUENCE else ("size", "pixel format")
        told += _picture(source, found, only)
        return tuple(difference for difference in told if not allowed.excuses(difference))
    clock = source_clock(source, found, allowed)
    told += _frames(source, found, clock, count)
    if count == len(source.pts) == len(found.pts):
        told += _last_frame(source, found)
    told += _picture(source, found, read_as=allowed.read_as)
    told += check_names(source.film, found.film, "the picture", allowed)
    told += check_streams(source, found, allowed, clock)
    chapters = _kept_chapters(source, count, len(found.chapters), allowed)
    if found.container.startswith("matroska"):
        chapters = _readable(chapters, clock.offset)
    told += _chapters(chapters, found, clock, mov=allowed.mov)
    told += check_tags(source.tags, found.tags, "the file", ("timecode",))
    return tuple(difference for difference in told if not allowed.excuses(difference))


def _numbers(expected: int, found: int, note: str = "") -> Iterator[Difference]:
    if expected != found:
        yield Difference("number of frames", "the picture", str(expected), f"{found}{note}")


def _frames(source: Facts, found: Facts, clock: Clock, count: int) -> Iterator[Difference]:
    """Their number, which is to be `count`, and the time of each."""
    unit = found.time_base
    placed = (clock.ticks(block, source.time_base, unit) for block in source.pts.blocks(count))
    if count != len(found.pts):
        expected = np.concatenate([*placed, np.zeros(0, np.int64)])
        missing = np.setdiff1d(expected, found.pts.unpacked())
        # Where more are missing than the number says, the films have other times altogether.
        few = 0 < len(missing) <= count - len(found.pts)
        note = f" with none at {spoken_time(missing[0], unit)}" if few else ""
        yield from _numbers(count, len(found.pts), note)
        return
    pairs = zip(placed, found.pts.blocks(), strict=True)
    yield from times_off(pairs, unit, "frame", "the picture")


def _last_frame(source: Facts, found: Facts) -> Iterator[Difference]:
    """How long it is shown, to a unit of the output; some files do not say it."""
    shown, there = source.last * source.time_base, found.last * found.time_base
    if source.last > 0 and found.last > 0 and abs(shown - there) > found.time_base:
        times = (f"{float(time):.3f} s" for time in (shown, there))
        yield Difference("length of the last frame", "the picture", *times)


def _picture(
    source: Facts, found: Facts, only: Sequence[str] = (), read_as: str = ""
) -> Iterator[Difference]:
    values = dict(found.picture)
    form = dict(source.picture)["pixel format"]
    for name, told in source.picture:
        value = read_as if read_as and name == "pixel format" else told
        if only and name not in only:
            continue
        if values[name] != value and not same_meaning(name, form, value, values[name]):
            yield Difference(name, "the picture", value, values[name])
    if only:
        return
    for name in source.side_data:
        if name == TIMECODE and source.container == SEQUENCE:
            continue  # compared above
        if name not in HARMLESS_SIDE_DATA and name not in found.side_data:
            yield Difference(f"side data {name}", "the picture", "present", "missing")


def _kept_chapters(source: Facts, frames: int, count: int, allowed: Expectation) -> list[Chapter]:
    """Those that the first `frames` show something of, as `excerpt.cut_chapters` has them.

    Where the picture was stopped early, those behind it may be missing: `count` are there.
    """
    kept = list(source.chapters)
    if not frames:
        return kept
    if source.cut:
        begin = source.pts[0] * source.time_base
        moved = (replace(each, start=max(each.start, begin)) for each in kept)
        kept = [
            one for one, each in zip(moved, kept, strict=True) if one == each or one.start < one.end
        ]
    if allowed.frames is not None:
        last = source.pts[frames - 1] * source.time_base
        while len(kept) > count and kept[-1].start > last:
            kept.pop()
    return kept


def _readable(chapters: Sequence[Chapter], offset: Fraction) -> list[Chapter]:
    """Those that FFmpeg reads from Matroska, where `offset` was added to their times: each has to
    start later than all before it, but for those that start at 0. The file holds the others.
    """
    read: list[Chapter] = []
    for chapter in chapters:
        if not read or read[-1].start + offset == 0 or chapter.start > read[-1].start:
            read.append(chapter)
    return read


def _chapters(
    source: Sequence[Chapter], found: Facts, clock: Clock, *, mov: bool
) -> Iterator[Difference]:
    """Number, titles, starts and ends.

    MP4 and MOV let each end where the next one starts, and the first one start at 0.
    """
    if len(source) != len(found.chapters):
        numbers = (str(len(chapters)) for chapters in (source, found.chapters))
        yield Difference("chapters", "the file", *numbers)
        return
    for number, (one, other) in enumerate(zip(source, found.chapters, strict=True)):
        where = f"chapter {number}"
        if one.title != other.title:
            yield Difference("chapters", where, one.title or "no title", other.title or "no title")
        if not (mov and number == 0 and abs(other.start) <= CHAPTER_SLACK):
            yield from _chapter_time(one.start, other.start, where, clock)
        # What ends behind a picture that was stopped early was cut there.
        if not mov and (clock.end is None or one.end <= clock.end):
            yield from _chapter_time(one.end, other.end, f"{where}, its end", clock)


def _chapter_time(
    source: Fraction, found: Fraction, where: str, clock: Clock
) -> Iterator[Difference]:
    expected = source + clock.offset
    # Matroska's muxer moves the streams below zero, and leaves the chapters where they are.
    if min(abs(found - expected), abs(found - expected - clock.moved)) > CHAPTER_SLACK:
        times = (f"{float(time):.3f} s" for time in (expected, found))
        yield Difference("chapters", where, *times)
