"""The finished file against its source: frames, times, tags, every other stream.

The source's facts were taken while it was read; only the output is opened again. What a container
cannot say is no difference: Matroska holds milliseconds and moves a film with all its streams
where one starts below zero, MP4 and MOV mark the first stream of a kind as the default one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidrepair.carried import CAPTIONS, DOLBY_VISION, HDR10_PLUS
from vidrepair.decode import Source, open_source
from vidrepair.errors import InputError
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
from vidrepair.gaps import Gaps, fill_gaps
from vidrepair.labels import TOLD_APART, TOLD_TWICE, WRITTEN_BY_MUXERS, meaning, of_stream
from vidrepair.losses import HARMLESS_SIDE_DATA, TIMECODE
from vidrepair.report import Difference
from vidrepair.sequences import SEQUENCE, is_sequence
from vidrepair.settings import DEINTERLACED, Interlace, SourceSettings
from vidrepair.streams import LOSSES, MOV_TEXT_HEAD, NEEDS_PACKETS

_TEXTS = ("subrip", "srt", "mov_text", "webvtt")
"""FFmpeg's names of what text becomes where it cannot be copied."""
CUT_SLACK = Fraction(1)
"""Seconds by which a stream may end before a picture that was stopped early: packets lie up to
that far from their picture in a file."""
CHAPTER_SLACK = Fraction(2, 1000)
"""Seconds; MP4 and Matroska's readers hold chapters in milliseconds, and a cut rounds them too."""
AT_ONCE = 1 << 16
"""Times that are computed with in one go: ten hours of film have a million."""
_LOSS_NAMES = {
    "mastering display": "hdr10",
    "content light level": "hdr10",
    "sample aspect ratio": "sar",
    "field order": "field-order",
    "chroma location": "chroma-location",
    "time of frame": "times",
    "primaries": "colours",
    "transfer": "colours",
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
    empty: Mapping[int, Collection[int]] = field(default_factory=dict)
    """Of these, by stream, the numbers of the packets that were left out."""
    thinned: frozenset[int] = frozenset()
    """Streams of which packets were dropped, and counted, for their times ran backwards."""
    read_as: str = ""
    """The pixel format that decoders of the output give, where it is not the source's."""
    lost: frozenset[str] = frozenset()
    """What was warned of, by the names of `--allow-loss`, and by `of_stream`."""
    rate: Fraction | None = None
    """That of an output that is numbered pictures."""
    mov: bool = False
    """The output is MP4 or MOV."""

    def excuses(self, difference: Difference) -> bool:
        """Whether it was told of."""
        return loss_name(difference.what) in self.lost

    def says(self, stream: int, what: str) -> bool:
        """Whether the output is to say this of a stream of the source."""
        return of_stream(stream, what) not in self.lost


@dataclass(frozen=True, slots=True)
class Made:
    """How a file was made, as far as it shows in the check."""

    fill_gaps: bool = False
    """Frames that the times lack were made."""
    lost: frozenset[str] = frozenset()
    """Of settings.LOSSES: what was given up."""
    interlace: Interlace = "auto"
    """How its fields were repaired."""


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
        if made.interlace in DEINTERLACED:
            source.deinterlace(doubled=made.interlace == "bwdif-fields")
            made = replace(made, lost=made.lost | {"field-order"})
        clip = source.clip
        builder = FactsBuilder(source.container, clip.video.index, source.carried)
        for frame in _filled(source, builder, fill=made.fill_gaps):
            builder.add_frame(frame)
        facts = builder.build(clip)
    if asked.end is not None:
        end = clip.zero + asked.end
        before = int(np.count_nonzero(facts.pts < math.ceil(end / facts.time_base)))
        frames = before if frames is None else min(frames, before)
    left = {other.index for other in clip.others if LOSSES.get(other.kind) in made.lost}
    found = read_facts(output, whole=whole, rate=asked.rate or clip.rate)
    texts = _converted_texts(facts, found, left)
    allowed = Expectation(
        clip.offset, frames, left=frozenset(left), lost=made.lost, converted=texts
    )
    return compare(facts, found, allowed)


def _converted_texts(source: Facts, found: Facts, left: Collection[int]) -> frozenset[int]:
    """The subtitles that a run writes in another codec for such a file, by index in the source."""
    own, there = (
        [track for track in facts.tracks if track.facts.kind == "subtitle"]
        for facts in (source, found)
    )
    own = [track for track in own if track.facts.index not in left]
    if len(own) != len(there):
        return frozenset()
    return frozenset(
        before.facts.index
        for before, after in zip(own, there, strict=True)
        if before.facts.codec != after.facts.codec and after.facts.codec in _TEXTS
    )


def _filled(source: Source, builder: FactsBuilder, *, fill: bool) -> Iterator[Frame]:
    """The frames of a source, those that its times lack among them if they were made; the packets
    of the other streams go to `builder`.
    """

    def frames() -> Iterator[Frame]:
        for item in source.read():
            if isinstance(item, Frame):
                yield item
            else:
                builder.add_packet(item)

    clip = source.clip
    if not fill or clip.rate is None:
        return frames()
    return fill_gaps(frames(), 1 / (clip.rate * clip.time_base), Gaps(), fill=True)


def compare(source: Facts, found: Facts, allowed: Expectation) -> tuple[Difference, ...]:
    """Where two files differ, and not as announced; without a word about samples."""
    allowed = replace(allowed, mov=found.container.startswith("mov"))
    expected = source.pts if allowed.frames is None else source.pts[: allowed.frames]
    told = [Difference("content", "the file", "whole", flaw) for flaw in found.flaws]
    if allowed.renumbered:
        # What y4m does not say about the picture nobody can read there.
        told += _numbers(len(expected), len(found.pts))
        only = () if found.container == SEQUENCE else ("size", "pixel format")
        told += _picture(source, found, only)
        return tuple(difference for difference in told if not allowed.excuses(difference))
    clock = _clock(source, found, allowed)
    told += _frames(clock.ticks(expected, source.time_base, found.time_base), found)
    told += _picture(source, found, read_as=allowed.read_as)
    told += _names(source.film, found.film, "the picture", allowed)
    told += _tracks(source, found, allowed, clock)
    chapters = _kept_chapters(source, expected, len(found.chapters), allowed)
    told += _chapters(chapters, found, clock, mov=allowed.mov)
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
        placed = np.empty(len(times), np.int64)
        for at in range(0, len(times), AT_ONCE):
            some = slice(at, at + AT_ONCE)
            placed[some] = self._some_ticks(times[some], unit, target)
        return placed

    def _some_ticks(self, times: Integers, unit: Fraction, target: Fraction) -> Integers:
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
    # By its codec's delay sound may be ahead of zero: it is moved by the rest, or not at all.
    if lowest < 0 < moved <= 1 - lowest:
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
        if name == TIMECODE and source.container == SEQUENCE:
            continue  # compared above
        if name not in HARMLESS_SIDE_DATA and name not in found.side_data:
            yield Difference(f"side data {name}", "the picture", "present", "missing")


def _same_meaning(name: str, form: str, values: set[str]) -> bool:
    """Whether two values of a fact show the same picture of that pixel format."""
    if name == "range":
        if form.startswith("gray"):  # untagged it is full, as players have it
            return values == {"not said", "full"}
        # MP4 cannot leave it open, and Y'CbCr that says nothing is limited everywhere.
        return form.startswith("gbr") or (form[0] == "y" and values == {"not said", "limited"})
    if name == "matrix":
        return form.startswith(("gbr", "gray", "ya"))  # gray has no colours to mix
    # Left is what everybody takes for granted.
    return name == "chroma location" and values == {"not said", "left"}


def _names(
    source: Track, found: Track, where: str, allowed: Expectation, *, first: bool = True
) -> Iterator[Difference]:
    """Language, title, disposition and tags of one stream; `first` of its kind that MP4 and MOV
    mark as the default one.
    """
    pairs = [
        ("language", _language(source), _language(found)),
        ("title", source.facts.title, found.facts.title),
    ]
    if source.facts.kind == "cover":
        pairs = []  # its title is the name of its file, which only Matroska has
    index = source.facts.index
    marks = {
        mark for mark in source.facts.disposition if allowed.says(index, f"disposition {mark}")
    }
    # What was not to be hoped for and is there is no difference.
    marked = set(found.facts.disposition) - (set(source.facts.disposition) - marks)
    if allowed.mov:
        marks, marked = _as_mov_says(marks), _as_mov_says(marked)
        marked -= {"default"} - marks if first else set()
    words = [" ".join(sorted(names)) for names in (marks, marked)]
    for what, one, other in (*pairs, ("disposition", *words)):
        if one != other and allowed.says(index, what):
            yield Difference(what, where, one or "none", other or "none")
    for lost in _tags(source.tags, found.tags, where, (*TOLD_APART, *WRITTEN_BY_MUXERS)):
        if allowed.says(index, lost.what):
            yield lost


def _as_mov_says(marks: set[str]) -> set[str]:
    """With one name for what has one word there."""
    return {TOLD_TWICE.get(mark, mark) for mark in marks}


def _language(track: Track) -> str:
    return meaning(track.facts.language)


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
            if not (allowed.mov and _silent(track, allowed, clock)):
                yield Difference("stream", where, "present", "missing")
            continue
        kind = track.facts.kind
        first = seen[kind] == 0 and kind not in marked
        seen[kind] += 1
        yield from _names(track, other, where, allowed, first=first)
        yield from _content(track, other, where, allowed, clock)
    known = {id(track) for track in pairs.values()}
    for track in there:
        if id(track) not in known:
            yield Difference("stream", f"{track.facts} of the output", "none", "present")
    yield from _order([(one, pairs[one.facts.index]) for one in wanted if one.facts.index in pairs])


def _silent(track: Track, allowed: Expectation, clock: _Clock) -> bool:
    """Whether no packet of it was to be written: MP4 and MOV leave such sound and picture out."""
    if track.facts.kind not in NEEDS_PACKETS:
        return False
    packets = track.packets
    if not len(packets) or track.facts.index in allowed.thinned:
        return True
    first = int(packets.times[0]) * packets.time_base
    return clock.end is not None and first >= clock.end - CUT_SLACK


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
        _match(own, others, pairs, lambda track: (_digest(track), _language(track)))
        _match(own, others, pairs, _digest)
        if len(own) == len(others):
            # Their packets are others, as in a film that was stopped early: each in its place.
            _match(own, others, pairs, lambda track: track.facts.codec)
        _match(own, others, pairs, lambda track: (track.facts.codec, _language(track)))
        _match(own, others, pairs, lambda _: None)
    return pairs


def _match(
    own: Sequence[Track],
    others: Sequence[Track],
    pairs: dict[int, Track],
    key: Callable[[Track], object],
) -> None:
    """Add pairs of what has the same key, in order, of those that have none yet."""
    taken = {id(other) for other in pairs.values()}
    free = [other for other in others if id(other) not in taken]
    for track in own:
        if track.facts.index in pairs:
            continue
        match = next((other for other in free if key(other) == key(track)), None)
        if match is not None:
            pairs[track.facts.index] = match
            free.remove(match)


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
    if converted or codecs == ("mov_text", "mov_text"):
        packets = _shown(source, allowed.empty.get(index, ()))
        written = _shown(found)
    if index in allowed.thinned and not converted:
        packets = _kept(packets, _found_again(packets, written))
    if clock.end is not None and index not in allowed.thinned:
        yield from _cut(packets, written, where, clock)
        packets = _kept(packets, np.arange(min(len(packets), len(written))))
    # MP4 and MOV count samples: what Matroska said in milliseconds comes out exact.
    slack = int(packets.time_base / written.time_base) if codecs[0].startswith("pcm_") else 0
    yield from _packets(packets, written, where, clock, None if converted else slack)


def _shown(track: Track, empty: Collection[int] = ()) -> Packets:
    """The packets of text, but those with the numbers `empty`, and those that show nothing.

    mov_text says so with an empty packet.
    """
    least = MOV_TEXT_HEAD if track.facts.codec == "mov_text" else 0
    sizes = track.packets.sizes.tolist()
    shown = [at for at, size in enumerate(sizes) if size > least and at not in empty]
    return _kept(track.packets, np.array(shown, dtype=np.int64))


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
    elif slack is not None and source.sha256 and source.sha256 == found.sha256:
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


def _kept_chapters(
    source: Facts, frames: Integers, count: int, allowed: Expectation
) -> list[Chapter]:
    """Those that the picture shows something of, as `excerpt.cut_chapters` has them.

    Where the picture was stopped early, those behind it may be missing: `count` are there.
    """
    kept = list(source.chapters)
    if not len(frames):
        return kept
    if source.cut:
        begin = int(frames[0]) * source.time_base
        moved = (replace(each, start=max(each.start, begin)) for each in kept)
        kept = [
            one for one, each in zip(moved, kept, strict=True) if one == each or one.start < one.end
        ]
    if allowed.frames is not None:
        last = int(frames[-1]) * source.time_base
        while len(kept) > count and kept[-1].start > last:
            kept.pop()
    return kept


def _chapters(
    source: Sequence[Chapter], found: Facts, clock: _Clock, *, mov: bool
) -> Iterator[Difference]:
    """Number, titles and starts.

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
        late = other.start - one.start - clock.offset
        if mov and number == 0 and abs(other.start) <= CHAPTER_SLACK:
            continue
        # Matroska's muxer moves the streams below zero, and leaves the chapters where they are.
        if min(abs(late), abs(late - clock.moved)) > CHAPTER_SLACK:
            times = (f"{float(time):.3f} s" for time in (one.start + clock.offset, other.start))
            yield Difference("chapters", where, *times)
