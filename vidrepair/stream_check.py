"""The streams beside the picture, of a finished file against its source: names, packets, times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from fractions import Fraction

import numpy as np

from vidrepair.expectation import MISSING, Expectation
from vidrepair.expected_times import Clock, more_of, times_off, written_times
from vidrepair.facts import Facts
from vidrepair.labels import TOLD_APART, TOLD_TWICE, WRITTEN_BY_MUXERS, meaning
from vidrepair.packed_times import Integers
from vidrepair.report import Difference
from vidrepair.streams import MOV_TEXT_HEAD, NEEDS_PACKETS
from vidrepair.tracks import UNKNOWN, Packets, Track, lost_form

CUT_SLACK = Fraction(1)
"""Seconds by which a stream may end before a picture that was stopped early: packets lie up to
that far from their picture in a file."""
LENGTH_SLACK = 1e-6
"""Seconds, of computing with them."""
_MPEG_AUDIO = ("mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float")
"""MP4 does not say which layer it holds: the packets do."""


def check_names(
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
        # Only Matroska has the name of its file, and calls that its title where it has none.
        one, other = (dict(track.tags).get("filename", "") for track in (source, found))
        pairs = [("file name", one, other)] if one and other else []
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
    for lost in check_tags(source.tags, found.tags, where, (*TOLD_APART, *WRITTEN_BY_MUXERS)):
        if allowed.says(index, lost.what):
            yield lost


def _as_mov_says(marks: set[str]) -> set[str]:
    """With one name for what has one word there."""
    return {TOLD_TWICE.get(mark, mark) for mark in marks}


def _language(track: Track) -> str:
    return meaning(track.facts.language)


def check_tags(
    source: Sequence[tuple[str, str]],
    found: Sequence[tuple[str, str]],
    where: str,
    passed_over: Sequence[str],
) -> Iterator[Difference]:
    """Tags that are not as they were, but for the keys that are passed over."""
    before, after = (
        {key: value for key, value in tags if key not in passed_over} for tags in (source, found)
    )
    for key, value in before.items():
        if after.get(key) != value:
            yield Difference(f"tag {key}", where, value, after.get(key, "missing"))
    for key in sorted(after.keys() - before.keys()):
        yield Difference(f"tag {key}", where, "none", after[key])


def check_streams(
    source: Facts, found: Facts, allowed: Expectation, clock: Clock
) -> Iterator[Difference]:
    """Every other stream: there, in order, named as before, with its packets and their times."""
    wanted = [
        track
        for track in source.tracks
        if track.facts.index not in allowed.left and not _made_anew(track, source)
    ]
    there = [track for track in found.tracks if not _made_anew(track, found)]
    pairs = _paired(wanted, there)
    there_too = [track for track in wanted if track.facts.index in pairs]
    marked = {track.facts.kind for track in there_too if "default" in track.facts.disposition}
    seen: Counter[str] = Counter()
    for track in wanted:
        where, other = str(track.facts), pairs.get(track.facts.index)
        if other is None:
            if not (allowed.mov and _silent(track, allowed, clock)):
                yield Difference("stream", where, "present", MISSING)
            continue
        kind = track.facts.kind
        first = seen[kind] == 0 and kind not in marked
        seen[kind] += 1
        yield from check_names(track, other, where, allowed, first=first)
        yield from _content(track, other, where, allowed, clock)
    known = {id(track) for track in pairs.values()}
    for track in there:
        if id(track) not in known:
            yield Difference("stream", f"{track.facts} of the output", "none", "present")
    yield from _order([(one, pairs[one.facts.index]) for one in there_too])


def _silent(track: Track, allowed: Expectation, clock: Clock) -> bool:
    """Whether no packet of it was to be written: MP4 and MOV leave such sound and picture out."""
    if track.facts.kind not in NEEDS_PACKETS:
        return False
    packets = track.packets
    if len(packets) <= allowed.thinned.get(track.facts.index, 0):
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
    if track.facts.kind != "data" or not facts.container.startswith("mov"):
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
    source: Track, found: Track, where: str, allowed: Expectation, clock: Clock
) -> Iterator[Difference]:
    """What a stream holds: the packets with their times, or the bytes of an attachment."""
    index, kind = source.facts.index, source.facts.kind
    converted = index in allowed.converted
    codecs = (source.facts.codec, found.facts.codec)
    if codecs[0] != codecs[1] and not converted and not set(codecs) <= set(_MPEG_AUDIO):
        yield Difference("codec", where, *codecs)
    if not converted:
        yield from _form(source, found, where, allowed)
    if kind in ("attachment", "cover"):
        if not _alike(source, found):
            yield Difference("content", where, f"sha256 {_digest(source)}", _digest(found))
        return
    packets, written = source.packets, found.packets
    if converted or codecs == ("mov_text", "mov_text"):
        packets = _shown(source, allowed.empty.get(index, ()))
        written = _shown(found)
    if index in allowed.thinned and not converted:
        packets = packets.kept(_found_again(packets, written))
    if clock.end is not None and index not in allowed.thinned:
        yield from _cut(packets, written, where, clock)
        packets = packets.kept(np.arange(min(len(packets), len(written))))
    # MP4 and MOV count samples: what Matroska said in milliseconds comes out exact.
    slack = int(packets.time_base / written.time_base) if codecs[0].startswith("pcm_") else 0
    if not (allowed.mov and _read_at_zero(packets, written)):
        yield from _packets(packets, written, where, clock, None if converted else slack)
    if kind == "subtitle" and not allowed.mov and len(packets) == len(written):
        yield from _shown_for(packets, written, where, clock)


def _read_at_zero(source: Packets, found: Packets) -> bool:
    """Whether a stream is one packet that starts below zero, which FFmpeg reads from MP4 at 0."""
    alone = len(source) == len(found) == 1 and source.sha256 == found.sha256
    return alone and UNKNOWN < source.times[0] < 0 == found.times[0]


def _form(source: Track, found: Track, where: str, allowed: Expectation) -> Iterator[Difference]:
    """What a copied stream says of itself."""
    before, after = dict(source.form), dict(found.form)
    for name in lost_form(source.form, after):
        if allowed.says(source.facts.index, name):
            yield Difference(name, where, before[name], after.get(name, "not said"))


def _shown_for(source: Packets, found: Packets, where: str, clock: Clock) -> Iterator[Difference]:
    """How long each text is on the screen; MP4 and MOV let one end where the next one starts.

    Lengths are rounded like times. What the source does not say may be any, and so may what ends
    behind a picture that was stopped early.
    """
    unit, target = float(source.time_base), float(found.time_base)
    said, there = source.durations * unit, found.durations * target
    wrong = (np.abs(said - there) > LENGTH_SLACK + target) & (said > 0)
    if clock.end is not None:
        wrong &= source.times * unit + said <= float(clock.end)
    places = np.flatnonzero(wrong)
    if len(places):
        first = places[0]
        expected = f"{said[first]:.3f} s for packet {first}{more_of(places)}"
        yield Difference("length", where, expected, f"{there[first]:.3f} s")


def _shown(track: Track, empty: Collection[int] = ()) -> Packets:
    """The packets of text, but those with the numbers `empty`, and those that show nothing.

    mov_text says so with an empty packet.
    """
    least = MOV_TEXT_HEAD if track.facts.codec == "mov_text" else 0
    sizes = track.packets.sizes.tolist()
    shown = [at for at, size in enumerate(sizes) if size > least and at not in empty]
    return track.packets.kept(np.array(shown, dtype=np.int64))


def _found_again(packets: Packets, written: Packets) -> Integers:
    """Where the written packets stand among those of the source, in order."""
    wanted = zip(written.sizes.tolist(), written.checksums.tolist(), strict=True)
    looked = iter(enumerate(zip(packets.sizes.tolist(), packets.checksums.tolist(), strict=True)))
    places = [
        next((place for place, there in looked if there == packet), None) for packet in wanted
    ]
    return np.array([place for place in places if place is not None], dtype=np.int64)


def _cut(packets: Packets, written: Packets, where: str, clock: Clock) -> Iterator[Difference]:
    """A stream that ends with a picture stopped early does so near its end."""
    assert clock.end is not None
    if len(written) < len(packets):
        following = int(packets.times[len(written)])
        if following != UNKNOWN and following * packets.time_base < clock.end - CUT_SLACK:
            end = f"the picture's, {float(clock.end):.3f} s"
            yield Difference("end", where, end, f"{float(following * packets.time_base):.3f} s")


def _packets(
    source: Packets, found: Packets, where: str, clock: Clock, slack: int | None
) -> Iterator[Difference]:
    """Bytes and times, the latter to `slack` units of the output; None: the bytes are others."""
    expected = clock.ticks(written_times(source), source.time_base, found.time_base)
    unit = found.time_base
    if len(source) == len(found):
        wrong = np.flatnonzero(source.checksums != found.checksums)
        if slack is not None and len(wrong):
            at = f"as in the source for packet {wrong[0]}{more_of(wrong)}"
            yield Difference("content", where, at, "another")
        yield from times_off([(expected, found.times)], unit, "packet", where, slack or 0)
    elif slack is not None and source.sha256 and source.sha256 == found.sha256:
        # The same bytes in larger or smaller packets, as PCM in MOV: where both begin one.
        starts, there = (np.cumsum(each.sizes) - each.sizes for each in (source, found))
        _, own, other = np.intersect1d(starts, there, return_indices=True)
        yield from times_off([(expected[own], found.times[other])], unit, "packet", where, slack)
    else:
        shorter = min(len(source), len(found))
        same = source.checksums[:shorter] == found.checksums[:shorter]
        first = shorter if same.all() else int(np.argmin(same))
        note = f"{len(found)}, of which the first {first} are those of the source"
        yield Difference("number of packets", where, str(len(source)), note)
