"""The finished file against its source: frames, times, tags, every other stream, and the picture.

The source's facts were taken while it was read; only the output is opened again. What a container
cannot say is no difference: Matroska holds milliseconds and moves a film with all its streams
where one starts below zero, MP4 and MOV mark the first stream of a kind as the default one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrepair.carried import CAPTIONS, DOLBY_VISION, HDR10_PLUS
from vidrepair.decode import Source, open_source
from vidrepair.errors import InputError, UsageError
from vidrepair.facts import (
    UNKNOWN,
    Chapter,
    Facts,
    FactsBuilder,
    Integers,
    Packets,
    Track,
    read_facts,
)
from vidrepair.frames import Frame
from vidrepair.losses import HARMLESS_SIDE_DATA
from vidrepair.masks import MaskReader, open_masks
from vidrepair.planes import matte_planes
from vidrepair.repeats import mark_repeats
from vidrepair.report import Difference
from vidrepair.settings import MaskSettings
from vidrepair.shots import number_shots
from vidrepair.streams import MOV_LANGUAGES
from vidrepair.tags import Clip

CUT_SLACK = Fraction(1)
"""Seconds by which a stream may end before a picture that was stopped early: packets lie up to
that far from their picture in a file."""
BLACK = 0.5 / 255.0
"""Share of the way to white up to which a matte is black: what is 0 of 8 bits."""
CHAPTER_SLACK = Fraction(1, 1000)
"""Seconds; MP4 holds chapters in milliseconds."""
_TOLD_APART = ("title", "name", "language", "filename", "mimetype", "timecode")
"""Tags of a stream that are compared as what they mean."""
_WRITTEN_BY_MUXERS = ("creation_time", "handler_name")
"""Of a stream, by each in its own way; the file's own creation_time is compared."""
_MEANT = {short: long for long, short in MOV_LANGUAGES.items()}
_MEANT |= {"cze": "ces", "fre": "fra", "rum": "ron", "slo": "slk", "sve": "swe", "und": ""}
"""Both codes of ISO 639-2 for one language are one language; MOV knows Swedish as sve."""
_LOSS_NAMES = {
    "mastering display": "hdr10",
    "content light level": "hdr10",
    "sample aspect ratio": "sar",
    "field order": "field-order",
    "chroma location": "chroma-location",
}
_MPEG_AUDIO = ("mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float")
"""MP4 does not say which layer it holds: the packets do."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What was said before the first frame to come out otherwise than it went in."""

    offset: Fraction = Fraction(0)
    """Seconds added to the times of all streams, as in OutputPlan."""
    frames: int | None = None
    """The picture was stopped after so many, and the other streams with it."""
    renumbered: bool = False
    """y4m: nothing but the number, the size and the format of the frames is held."""
    left: frozenset[int] = frozenset()
    """Streams that are not carried, by index in the source."""
    converted: frozenset[int] = frozenset()
    """Subtitles written in another codec: their times are compared, not their bytes."""
    thinned: frozenset[int] = frozenset()
    """Streams of which packets were dropped, and counted, for their times ran backwards."""
    read_as: str = ""
    """The pixel format that decoders of the output give, where it is not the source's."""
    lost: frozenset[str] = frozenset()
    """What was warned of, by the names of `--allow-loss`."""

    def excuses(self, difference: Difference) -> bool:
        """Whether it was told of."""
        return loss_name(difference.what) in self.lost


def loss_name(what: str) -> str:
    """The name that `--allow-loss` has for a difference; that of the difference where it has none.

    What belongs to a stream is not excused: the streams that are lost have their numbers.
    """
    if what.startswith("tag "):
        return "tags"
    if what.startswith("side data "):
        name = what.removeprefix("side data ")
        known = {
            CAPTIONS: "captions",
            HDR10_PLUS: "hdr10plus",
            **dict.fromkeys(DOLBY_VISION, "dovi"),
        }
        return known.get(name, "side-data")
    return _LOSS_NAMES.get(what, what)


def check(
    source: Facts, output: Path, allowed: Expectation | None = None, *, whole: bool = False
) -> tuple[Difference, ...]:
    """Read `output` once and say where it is not as its source, and not as announced.

    `whole` decodes every frame; else the first and those after the last key frame, while all
    packets are read. A file that cannot be read differs; nothing is raised for it.
    """
    try:
        found = read_facts(output, whole=whole)
    except InputError as error:
        return (Difference("content", "the file", "readable", f"not ({error})"),)
    return compare(source, found, allowed or Expectation())


def check_files(
    output: Path, against: Path, *, frames: int | None = None, whole: bool = False
) -> tuple[Difference, ...]:
    """The same for two files that lie there; `frames` as the output was made with.

    Raises InputError when one of them cannot be read.
    """
    with open_source(against) as source:
        builder = FactsBuilder(source.container, source.clip.video.index)
        for item in source.read():
            if isinstance(item, Frame):
                builder.add_frame(item)
            else:
                builder.add_packet(item)
        clip = source.clip
        facts = builder.build(clip)
    # As plan_output has it.
    offset = -clip.start if clip.video_start < 0 else Fraction(0)
    return compare(facts, read_facts(output, whole=whole), Expectation(offset, frames))


def compare(source: Facts, found: Facts, allowed: Expectation) -> tuple[Difference, ...]:
    """Where two files differ, and not as announced; without a word about samples."""
    expected = source.pts if allowed.frames is None else source.pts[: allowed.frames]
    told = [Difference("content", "the file", "whole", flaw) for flaw in found.flaws]
    if allowed.renumbered:
        told += _numbers(len(expected), len(found.pts))
        told += _picture(source, found, ("size", "pixel format"))
        return tuple(told)
    clock = _clock(source, found, allowed)
    told += _frames(clock.ticks(expected, source.time_base, found.time_base), found)
    told += _picture(source, found, read_as=allowed.read_as)
    told += _names(source.film, found.film, "the picture", found.container)
    told += _tracks(source, found, allowed, clock)
    chapters = _kept_chapters(source, expected, clock)
    if len(found.chapters) == len(source.chapters):
        chapters = source.chapters  # none needs to be left out
    told += _chapters(chapters, found, clock)
    told += _tags(source.tags, found.tags, "the file", ("timecode",))
    return tuple(difference for difference in told if not allowed.excuses(difference))


@dataclass(frozen=True, slots=True)
class _Clock:
    """What happens to the times of a source on their way."""

    offset: Fraction
    """Seconds that we add."""
    moved: Fraction = Fraction(0)
    """Seconds that Matroska's muxer adds, so that nothing starts below zero."""
    end: Fraction | None = None
    """Where a picture that was stopped early ends, in seconds of the source."""

    def ticks(self, times: Integers, unit: Fraction, target: Fraction) -> Integers:
        """Times in units of `unit`, each rounded once to units of `target`.

        Half away from zero, as FFmpeg does. UNKNOWN stays.
        """
        scale = unit / target
        own = np.where(times == UNKNOWN, 0, times + round(self.offset / unit)) * scale.numerator
        size = (2 * np.abs(own) + scale.denominator) // (2 * scale.denominator)
        placed = np.sign(own) * size + round(self.moved / target)
        return np.where(times == UNKNOWN, UNKNOWN, placed)


def _clock(source: Facts, found: Facts, allowed: Expectation) -> _Clock:
    end = None
    if allowed.frames is not None and len(source.pts):
        end = int(source.pts[: allowed.frames + 1][-1]) * source.time_base
    clock = _Clock(allowed.offset, end=end)
    if not (len(source.pts) and len(found.pts)) or not found.container.startswith("matroska"):
        return clock
    carried = [track for track in source.tracks if track.facts.index not in allowed.left]
    starts = [
        int(clock.ticks(_times(track.packets), track.packets.time_base, found.time_base).min())
        for track in carried
        if len(track.packets) and UNKNOWN not in track.packets.times
    ]
    first = int(clock.ticks(source.pts[:1], source.time_base, found.time_base)[0])
    lowest = min([first, *starts])
    moved = int(found.pts[0]) - first
    # Sound that is ahead of zero only by its codec's delay is not moved at all.
    if lowest < 0 < moved and abs(moved + lowest) <= 1:
        return _Clock(allowed.offset, moved * found.time_base, end)
    return clock


def _times(packets: Packets) -> Integers:
    """As they are written: nothing is shown before it is decoded."""
    return np.maximum(packets.times, packets.dts)


def _numbers(expected: int, found: int, note: str = "") -> Iterator[Difference]:
    if expected != found:
        yield Difference("number of frames", "the picture", str(expected), f"{found}{note}")


def _frames(expected: Integers, found: Facts) -> Iterator[Difference]:
    """Their number, and the time of each; `expected` in units of the output."""
    times, unit = found.pts, found.time_base
    if len(expected) != len(times):
        missing = np.setdiff1d(expected, times)
        note = f", none at {_seconds(missing[0], unit)}" if len(missing) else ""
        yield from _numbers(len(expected), len(times), note)
        return
    yield from _off(expected, times, unit, "frame", "the picture")


def _off(
    expected: Integers, found: Integers, unit: Fraction, what: str, where: str, slack: int = 0
) -> Iterator[Difference]:
    """One difference for all times that are not as expected; UNKNOWN is expected of none."""
    wrong = np.flatnonzero((np.abs(expected - found) > slack) & (expected != UNKNOWN))
    if not len(wrong):
        return
    first = wrong[0]
    yield Difference(
        f"time of {what}",
        where,
        f"{_seconds(expected[first], unit)} for {what} {first}{_more(wrong)}",
        _seconds(found[first], unit),
    )


def _seconds(ticks: int, unit: Fraction) -> str:
    """Exact, and for people."""
    if ticks == UNKNOWN:
        return "not said"
    return f"{float(int(ticks) * unit):.6f} s ({ticks} x {unit})"


def _picture(
    source: Facts, found: Facts, only: Sequence[str] = (), read_as: str = ""
) -> Iterator[Difference]:
    values = dict(found.picture)
    form = dict(source.picture)["pixel format"]
    for name, told in source.picture:
        value = read_as if read_as and name == "pixel format" else told
        if only and name not in only:
            continue
        if values[name] != value and not _same_meaning(name, form, {value, values[name]}):
            yield Difference(name, "the picture", value, values[name])
    if only:
        return
    for name in source.side_data:
        if name not in HARMLESS_SIDE_DATA and name not in found.side_data:
            yield Difference(f"side data {name}", "the picture", "present", "missing")


def _same_meaning(name: str, form: str, values: set[str]) -> bool:
    """Whether two values of a fact show the same picture of that pixel format."""
    if name == "range":
        # MP4 cannot leave it open, and Y'CbCr that says nothing is limited everywhere.
        return form.startswith("gbr") or (form[0] == "y" and values == {"not said", "limited"})
    if name == "matrix":
        return form.startswith("gbr")
    # Left is what everybody takes for granted.
    return name == "chroma location" and values == {"not said", "left"}


def _names(
    source: Track, found: Track, where: str, container: str, *, first: bool = True
) -> Iterator[Difference]:
    """Language, title, disposition and tags of one stream; `first` of its kind that might be
    marked as the default one.
    """
    pairs = [
        ("language", _language(source), _language(found)),
        ("title", source.facts.title, found.facts.title),
    ]
    if source.facts.kind == "cover":
        pairs = []  # its title is the name of its file, which only Matroska has
    for what, one, other in pairs:
        if one != other:
            yield Difference(what, where, one or "none", other or "none")
    marks, marked = set(source.facts.disposition), set(found.facts.disposition)
    if container.startswith("mov"):
        marked -= _added_by_mov(marks, first=first) - marks
    if marks != marked:
        names = (" ".join(sorted(names)) or "none" for names in (marks, marked))
        yield Difference("disposition", where, *names)
    yield from _tags(source.tags, found.tags, where, (*_TOLD_APART, *_WRITTEN_BY_MUXERS))


def _added_by_mov(marks: set[str], *, first: bool) -> set[str]:
    """The first of its kind is the default one, and what is for the hard of hearing is captions."""
    added = {"default"} if first else set()
    return added | ({"captions"} if "hearing_impaired" in marks else set())


def _language(track: Track) -> str:
    return _MEANT.get(track.facts.language, track.facts.language)


def _tags(
    source: Sequence[tuple[str, str]],
    found: Sequence[tuple[str, str]],
    where: str,
    passed_over: Sequence[str],
) -> Iterator[Difference]:
    before, after = (
        {key: value for key, value in tags if key not in passed_over} for tags in (source, found)
    )
    for key, value in before.items():
        if after.get(key) != value:
            yield Difference(f"tag {key}", where, value, after.get(key, "missing"))
    for key in sorted(after.keys() - before.keys()):
        yield Difference(f"tag {key}", where, "none", after[key])


def _tracks(
    source: Facts, found: Facts, allowed: Expectation, clock: _Clock
) -> Iterator[Difference]:
    """Every other stream: there, in order, named as before, with its packets and their times."""
    wanted = [
        track
        for track in source.tracks
        if track.facts.index not in allowed.left and not _made_anew(track, source)
    ]
    there = [track for track in found.tracks if not _made_anew(track, found)]
    pairs = _paired(wanted, there)
    marked = {track.facts.kind for track in wanted if "default" in track.facts.disposition}
    seen: Counter[str] = Counter()
    for track in wanted:
        where, other = str(track.facts), pairs.get(track.facts.index)
        if other is None:
            yield Difference("stream", where, "present", "missing")
            continue
        kind = track.facts.kind
        first = seen[kind] == 0 and kind not in marked
        seen[kind] += 1
        yield from _names(track, other, where, found.container, first=first)
        yield from _content(track, other, where, allowed, clock)
    known = {id(track) for track in pairs.values()}
    for track in there:
        if id(track) not in known:
            yield Difference("stream", f"{track.facts} of the output", "none", "present")
    yield from _order([(one, pairs[one.facts.index]) for one in wanted if one.facts.index in pairs])


def _order(pairs: Sequence[tuple[Track, Track]]) -> Iterator[Difference]:
    """Files have no order beside streams that are played, nor have covers."""
    played = [pair for pair in pairs if pair[0].facts.kind not in ("attachment", "cover")]
    places = [other.facts.index for _, other in played]
    if places != sorted(places):
        order = sorted(played, key=lambda pair: pair[1].facts.index)
        expected, found = (
            ", ".join(str(track.facts.index) for track, _ in row) for row in (played, order)
        )
        yield Difference("order of streams", "the file", expected, found)


def _made_anew(track: Track, facts: Facts) -> bool:
    """Data streams that muxers write of what they know otherwise: chapters' text, timecode."""
    if track.facts.kind != "data":
        return False
    tags = dict(track.tags)
    name = tags.get("handler_name", "").lower().replace(" ", "")
    texts = bool(facts.chapters) and ("text" in name or "subtitle" in name)
    return not name or texts or "timecode" in tags


def _paired(wanted: Sequence[Track], there: Sequence[Track]) -> dict[int, Track]:
    """The stream of the output for each of the source, by its index.

    What holds the same is the same, whatever it is called; then codec and language tell, and at
    last the order: so a stream that is lost does not make all after it differ.
    """
    pairs: dict[int, Track] = {}
    for kind in {track.facts.kind for track in wanted}:
        own, others = ([one for one in row if one.facts.kind == kind] for row in (wanted, there))
        if len(own) == len(others):
            # None is lost: of several that hold the same, the one in its place is meant.
            same = (pair for pair in zip(own, others, strict=True) if _alike(*pair))
            pairs |= {track.facts.index: other for track, other in same}
    taken = {id(other) for other in pairs.values()}
    free = [other for other in there if id(other) not in taken]
    keys = (
        lambda track: (track.facts.kind, _digest(track), _language(track)),
        lambda track: (track.facts.kind, _digest(track)),
        lambda track: (track.facts.kind, track.facts.codec, _language(track)),
        lambda track: track.facts.kind,
    )
    for key in keys:
        for track in wanted:
            match = next((other for other in free if key(other) == key(track)), None)
            if match is not None and track.facts.index not in pairs:
                pairs[track.facts.index] = match
                free.remove(match)
    return pairs


def _alike(one: Track, other: Track) -> bool:
    return _digest(one) == _digest(other)


def _digest(track: Track) -> str:
    return track.attachment[2] if track.attachment else track.packets.sha256


def _content(
    source: Track, found: Track, where: str, allowed: Expectation, clock: _Clock
) -> Iterator[Difference]:
    """What a stream holds: the packets with their times, or the bytes of an attachment."""
    index, kind = source.facts.index, source.facts.kind
    converted = index in allowed.converted
    codecs = (source.facts.codec, found.facts.codec)
    if codecs[0] != codecs[1] and not converted and not set(codecs) <= set(_MPEG_AUDIO):
        yield Difference("codec", where, *codecs)
    if source.form != found.form:
        yield Difference("form", where, source.form, found.form)
    if kind in ("attachment", "cover"):
        if not _alike(source, found):
            yield Difference("content", where, f"sha256 {_digest(source)}", _digest(found))
        return
    packets, written = source.packets, found.packets
    if converted:
        # mov_text says with an empty packet that nothing is shown; two bytes are its length.
        written = _kept(written, np.flatnonzero(written.sizes > 2))
        packets = _kept(packets, np.flatnonzero(packets.sizes > 2))
    elif index in allowed.thinned:
        packets = _kept(packets, _found_again(packets, written))
    elif clock.end is not None:
        yield from _cut(packets, written, where, clock)
        packets = _kept(packets, np.arange(min(len(packets), len(written))))
    # MP4 and MOV count samples: what Matroska said in milliseconds comes out exact.
    slack = int(packets.time_base / written.time_base) if codecs[0].startswith("pcm_") else 0
    yield from _packets(packets, written, where, clock, None if converted else slack)


def _kept(packets: Packets, which: Integers) -> Packets:
    """Some of the packets; their common hash is that of all and no longer of use."""
    return Packets(
        packets.time_base,
        "" if len(which) < len(packets) else packets.sha256,
        packets.times[which],
        packets.dts[which],
        packets.durations[which],
        packets.sizes[which],
        packets.checksums[which],
    )


def _found_again(packets: Packets, written: Packets) -> Integers:
    """Where the written packets stand among those of the source, in order."""
    wanted = zip(written.sizes.tolist(), written.checksums.tolist(), strict=True)
    looked = iter(enumerate(zip(packets.sizes.tolist(), packets.checksums.tolist(), strict=True)))
    places = [
        next((place for place, there in looked if there == packet), None) for packet in wanted
    ]
    return np.array([place for place in places if place is not None], dtype=np.int64)


def _cut(packets: Packets, written: Packets, where: str, clock: _Clock) -> Iterator[Difference]:
    """A stream that ends with a picture stopped early does so near its end."""
    assert clock.end is not None
    if len(written) < len(packets):
        following = int(packets.times[len(written)])
        if following != UNKNOWN and following * packets.time_base < clock.end - CUT_SLACK:
            end = f"the picture's, {float(clock.end):.3f} s"
            yield Difference("end", where, end, f"{float(following * packets.time_base):.3f} s")


def _packets(
    source: Packets, found: Packets, where: str, clock: _Clock, slack: int | None
) -> Iterator[Difference]:
    """Bytes and times, the latter to `slack` units of the output; None: the bytes are others."""
    expected = clock.ticks(_times(source), source.time_base, found.time_base)
    unit = found.time_base
    if len(source) == len(found):
        wrong = np.flatnonzero(source.checksums != found.checksums)
        if slack is not None and len(wrong):
            at = f"as in the source for packet {wrong[0]}{_more(wrong)}"
            yield Difference("content", where, at, "another")
        yield from _off(expected, found.times, unit, "packet", where, slack or 0)
    elif slack is not None and source.sha256 == found.sha256:
        # The same bytes in larger or smaller packets, as PCM in MOV: where both begin one.
        starts, there = (np.cumsum(each.sizes) - each.sizes for each in (source, found))
        _, own, other = np.intersect1d(starts, there, return_indices=True)
        yield from _off(expected[own], found.times[other], unit, "packet", where, slack)
    else:
        shorter = min(len(source), len(found))
        same = source.checksums[:shorter] == found.checksums[:shorter]
        first = shorter if same.all() else int(np.argmin(same))
        note = f"{len(found)}, other ones from packet {first} on"
        yield Difference("number of packets", where, str(len(source)), note)


def _more(wrong: Integers) -> str:
    return f" (and of {len(wrong) - 1} more)" if len(wrong) > 1 else ""


def _kept_chapters(source: Facts, frames: Integers, clock: _Clock) -> tuple[Chapter, ...]:
    """Those that the picture shows something of, cut where it is."""
    starts = int(frames[0]) * source.time_base if source.cut and len(frames) else None
    kept = []
    for chapter in source.chapters:
        start = chapter.start if starts is None else max(chapter.start, starts)
        end = chapter.end if clock.end is None else min(chapter.end, clock.end)
        if start < end or (start, end) == (chapter.start, chapter.end):
            kept.append(Chapter(start, end, chapter.title))
    return tuple(kept)


def _chapters(source: Sequence[Chapter], found: Facts, clock: _Clock) -> Iterator[Difference]:
    """Number, titles and starts; MP4 and MOV let each end where the next one starts."""
    if len(source) != len(found.chapters):
        numbers = (str(len(chapters)) for chapters in (source, found.chapters))
        yield Difference("chapters", "the file", *numbers)
        return
    for number, (one, other) in enumerate(zip(source, found.chapters, strict=True)):
        where = f"chapter {number}"
        if one.title != other.title:
            yield Difference("chapters", where, one.title or "no title", other.title or "no title")
        late = other.start - one.start - clock.offset
        # Matroska's muxer moves the streams below zero, and leaves the chapters where they are.
        if min(abs(late), abs(late - clock.moved)) > CHAPTER_SLACK:
            times = (f"{float(time):.3f} s" for time in (one.start + clock.offset, other.start))
            yield Difference("chapters", where, *times)


@dataclass(frozen=True, slots=True)
class PlaneFigures:
    """One plane of the output against the source, over the frames of a shot."""

    psnr: float
    """dB; infinite where no sample differs."""
    ssim: float
    """Mean structural similarity, 1 for equal pictures."""
    samples: int
    changed: int
    largest: int
    """Difference, in code values."""
    before: float
    """Mean code value of the source."""
    after: float

    def as_dict(self) -> dict[str, float | None]:
        """For JSON, which knows no infinity."""
        return {
            "psnr": round(self.psnr, 4) if np.isfinite(self.psnr) else None,
            "ssim": round(self.ssim, 6),
            "samples": self.samples,
            "changed": self.changed,
            "largest": self.largest,
            "mean_before": round(self.before, 4),
            "mean_after": round(self.after, 4),
        }

    def __str__(self) -> str:
        share = self.changed / self.samples
        return (
            f"PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.4f}, {share:.4%} of the samples changed,"
            f" by at most {self.largest}, mean {self.before:.2f} -> {self.after:.2f}"
        )


@dataclass(frozen=True, slots=True)
class ShotFigures:
    """The picture of one shot."""

    shot: int
    first: int
    """Frame, counted from 0."""
    frames: int
    region: str
    """all, or inside or outside of the matte."""
    planes: tuple[tuple[str, PlaneFigures], ...]
    """By name: Y, Cb, Cr, or R, G, B, and A for alpha. Planes without a sample there are left
    out."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "shot": self.shot,
            "first": self.first,
            "frames": self.frames,
            "region": self.region,
            "planes": {name: figures.as_dict() for name, figures in self.planes},
        }

    def __str__(self) -> str:
        where = "" if self.region == "all" else f", {self.region} the matte"
        head = f"shot {self.shot}, frames {self.first} to {self.first + self.frames - 1}{where}"
        return "\n".join([head, *(f"  {name}: {figures}" for name, figures in self.planes)])


def compare_pictures(
    output: Path, against: Path, matte: Path | None = None
) -> tuple[tuple[ShotFigures, ...], tuple[Difference, ...]]:
    """Compare all samples of two films frame by frame, by the shots of the source.

    `matte` is a film, or numbered pictures, of the same frames, black where nothing may have
    changed: a sample that did is a difference. A chroma sample belongs to the matte where one of
    its luma sites does, an alpha sample never. Ends with the shorter film. Raises UsageError
    where the pictures are not of one size and format, InputError for what cannot be read, and
    for a matte of another size or length.
    """
    sums: dict[tuple[int, str], _ShotSums] = {}
    stray: dict[int, int] = {}
    with ExitStack() as owned:
        one, other = (owned.enter_context(open_source(path)) for path in (against, output))
        _check_alike(one.clip, other.clip)
        masks = None
        if matte is not None:
            asked = MaskSettings(matte, threshold=BLACK)
            masks = owned.enter_context(open_masks(asked, one.clip, flag="--matte"))
        marked = number_shots(mark_repeats(_frames_of(one)))
        for before, after in zip(marked, _frames_of(other), strict=False):
            measured = _measure(before, after)
            regions = _regions(before, len(measured), masks)
            for name, where in regions.items():
                shot = sums.setdefault((before.shot, name), _ShotSums(before.number))
                changed = shot.add(measured, where, whole=name == "outside")
                if name == "outside" and changed:
                    stray[before.number] = changed
    figures = (shot.figures(number, name) for (number, name), shot in sums.items())
    return tuple(shot for shot in figures if shot.planes), tuple(_stray(stray))


def _stray(stray: dict[int, int]) -> Iterator[Difference]:
    if stray:
        first, frames = min(stray), len(stray)
        found = f"{sum(stray.values())} in {frames} frames, the first in frame {first}"
        yield Difference("samples changed outside the matte", "the picture", "none", found)


def _frames_of(source: Source) -> Iterator[Frame]:
    return (item for item in source.read() if isinstance(item, Frame))


def _check_alike(one: Clip, other: Clip) -> None:
    before, after = (f"{p.width}x{p.height} {p.format.name}" for p in (one.picture, other.picture))
    if before != after:
        raise UsageError(
            f"{other.name} is {after} and {one.name} {before}; only pictures of one size and"
            " pixel format can be compared, leave --picture out"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """One plane of one frame against another's."""

    name: str
    before: NDArray[Any]
    after: NDArray[Any]
    steps: NDArray[np.int32]
    """(H, W) absolute differences in code values."""
    likeness: NDArray[np.float64]
    """Structural similarity of each window."""
    peak: int


def _measure(before: Frame, after: Frame) -> list[_Measured]:
    form = before.picture.format
    names = {"yuv": ("Y", "Cb", "Cr"), "rgb": ("R", "G", "B"), "gray": ("Y",)}[form.family]
    planes: list[tuple[Any, Any]] = list(zip(before.planes, after.planes, strict=True))
    if form.alpha:
        names = (*names, "A")
        planes.append((_alpha(before), _alpha(after)))
    return [
        _Measured(
            name,
            *pair,
            steps=np.abs(pair[0].astype(np.int32) - pair[1]),
            likeness=_ssim(*pair, form.peak),
            peak=form.peak,
        )
        for name, pair in zip(names, planes, strict=True)
    ]


def _alpha(frame: Frame) -> NDArray[Any]:
    """(H, W) of the carrier: the last plane, or every second sample of gray with alpha."""
    plane = frame.carrier.planes[-1]
    rows = np.frombuffer(plane, "u1" if frame.picture.format.bits == 8 else "<u2")
    rows = rows.reshape(plane.height, -1)
    if plane.line_size < 0:
        rows = rows[::-1]  # as in `carriers.plane_views`
    packed = frame.picture.format.name.startswith("ya")
    return rows[:, 1 : 2 * plane.width : 2] if packed else rows[:, : plane.width]


def _regions(
    frame: Frame, planes: int, masks: MaskReader | None
) -> dict[str, list[NDArray[np.bool_] | None]]:
    """Where in each plane a region lies; None is everywhere."""
    if masks is None:
        return {"all": [None] * planes}
    touched = masks.read(frame.number).astype(np.float32)
    inside = [plane > 0 for plane in matte_planes(touched, frame.picture)]
    if len(inside) < planes:
        inside.append(np.zeros_like(inside[0]))  # alpha is never touched
    return {"inside": list(inside), "outside": [~where for where in inside]}


@dataclass(slots=True)
class _PlaneSums:
    samples: int = 0
    squares: float = 0.0
    changed: int = 0
    largest: int = 0
    before: float = 0.0
    after: float = 0.0
    likeness: float = 0.0
    windows: int = 0
    peak: int = 255

    def add(self, measured: _Measured, where: NDArray[np.bool_] | None, *, whole: bool) -> int:
        """Take a frame in; how many samples of it have changed there.

        Only windows count that lie in the region, as a `whole` or in part.
        """
        steps, before, after = measured.steps, measured.before, measured.after
        likeness = measured.likeness
        if where is not None:
            steps, before, after = steps[where], before[where], after[where]
            # A window is outside where no sample of it is inside.
            held = _window_sums((~where if whole else where).astype(np.float64)) > 0
            likeness = likeness[held != whole]
        changed = int(np.count_nonzero(steps))
        self.samples += steps.size
        self.squares += float(np.square(steps, dtype=np.float64).sum()) if changed else 0.0
        self.changed += changed
        self.largest = max(self.largest, int(steps.max(initial=0)))
        self.before += float(before.sum(dtype=np.float64))
        self.after += float(after.sum(dtype=np.float64))
        self.likeness += float(likeness.sum())
        self.windows += likeness.size
        self.peak = measured.peak
        return changed

    def figures(self) -> PlaneFigures:
        error = self.squares / self.samples
        psnr = 10.0 * np.log10(self.peak**2 / error) if error else float("inf")
        ssim = self.likeness / self.windows if self.windows else 1.0
        means = (self.before / self.samples, self.after / self.samples)
        return PlaneFigures(float(psnr), ssim, self.samples, self.changed, self.largest, *means)


@dataclass(slots=True)
class _ShotSums:
    """Of one shot and region."""

    first: int
    frames: int = 0
    planes: dict[str, _PlaneSums] = field(default_factory=dict)

    def add(
        self,
        measured: Sequence[_Measured],
        where: Sequence[NDArray[np.bool_] | None],
        *,
        whole: bool,
    ) -> int:
        """Take a frame in; how many samples of it have changed there."""
        self.frames += 1
        return sum(
            self.planes.setdefault(each.name, _PlaneSums()).add(each, place, whole=whole)
            for each, place in zip(measured, where, strict=True)
        )

    def figures(self, shot: int, region: str) -> ShotFigures:
        planes = tuple((name, s.figures()) for name, s in self.planes.items() if s.samples)
        return ShotFigures(shot, self.first, self.frames, region, planes)


def _ssim(one: NDArray[Any], other: NDArray[Any], peak: int) -> NDArray[np.float64]:
    """Structural similarity of windows of 8 x 8 samples, 4 apart; of the whole where smaller.

    Wang et al., "Image quality assessment", IEEE Transactions on Image Processing 13 (2004),
    equation 13, with flat windows as FFmpeg's ssim filter has them.
    """
    rows, columns = (max(side // 4 - 1, 1) for side in one.shape)
    if np.array_equal(one, other):
        return np.ones((rows, columns))
    a, b = one.astype(np.float64), other.astype(np.float64)
    products = (a, b, a * a + b * b, a * b)
    count = 64.0 if min(one.shape) >= 8 else float(one.size)
    first, second, squares, cross = (_window_sums(part) / count for part in products)
    level, contrast = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    means = first * second
    spread = squares - first**2 - second**2
    shape = (2.0 * (cross - means) + contrast) / (spread + contrast)
    likeness: NDArray[np.float64] = shape * (2 * means + level) / (first**2 + second**2 + level)
    return likeness


def _window_sums(plane: NDArray[Any]) -> NDArray[Any]:
    """Sums over windows of 8 x 8, 4 apart; the sum of all where it is smaller."""
    height, width = plane.shape
    if min(height, width) < 8:
        return np.broadcast_to(plane.sum(), (max(height // 4 - 1, 1), max(width // 4 - 1, 1)))
    cut = plane[: height // 4 * 4, : width // 4 * 4]
    cells = cut.reshape(height // 4, 4, width // 4, 4).sum(axis=(1, 3))
    sums: NDArray[Any] = cells[:-1, :-1] + cells[1:, :-1] + cells[:-1, 1:] + cells[1:, 1:]
    return sums
