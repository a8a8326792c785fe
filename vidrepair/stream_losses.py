"""What becomes of the streams and chapters beside the picture, in words, before the first frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from vidrepair.channels import LAYOUT, UNTOLD, same_layout
from vidrepair.containers import fraction, path_of
from vidrepair.ebml import count_chapters
from vidrepair.labels import Unsaid, spoken, unsaid
from vidrepair.picture_facts import COLOURS
from vidrepair.routes import Route
from vidrepair.tags import Clip, StreamFacts
from vidrepair.tracks import form_of, lost_form

CHAPTERED = ("matroska", "mp4", "mov", "webm")
NAMED = 20
"""Streams of one kind that are left behind are named one by one up to that many."""
FLAC_FIRST = (
    "make FLAC of it first: ffmpeg -fflags +genpts -i IN -map 0:v -map 0:a -map 0:s? -c copy"
    " -c:a flac OUT.mkv"
)


def _reason(fact: StreamFacts, target: str) -> str:
    """Why a stream stays behind."""
    if fact.kind == "audio" and target == "matroska":
        return f"what writes Matroska here does not know {fact.codec} in it; {FLAC_FIRST}"
    return f"{spoken(target)} does not take it"


def unsaid_of(stream: Any, route: Route, target: str) -> Iterator[Unsaid]:
    """What the target does not say of a stream that it takes."""
    fact = route.facts
    if (unkept := unsaid(target, fact, dict(stream.metadata))) is not None:
        yield unkept
    if fact.kind == "audio":
        yield from _unsaid_layout(fact, dict(form_of(stream, fact)), route.said, target)
    elif fact.kind == "video" and route.said is not None:
        form = dict(form_of(stream, fact))
        if fraction(stream.codec_context.sample_aspect_ratio) == fraction(
            stream.sample_aspect_ratio
        ):
            del form["sample aspect ratio"]  # the packets say it
        yield from _unsaid_look(fact, form, route.said, target)


def _unsaid_layout(
    fact: StreamFacts, form: dict[str, str], said: Mapping[str, str] | None, target: str
) -> Iterator[Unsaid]:
    """Where the channels of sound belong, if a reader of the copy does not find it."""
    layout = form.get(LAYOUT, "")
    if target in ("matroska", "webm"):
        # Most codecs say it themselves. PCM does not, and Matroska knows the number alone.
        known = not fact.codec.startswith("pcm_") or same_layout(layout, UNTOLD)
    else:
        known = said is None or same_layout(layout, said.get(LAYOUT, UNTOLD))
    if not known:
        words = f"{fact}: {spoken(target)} does not keep the {LAYOUT} {layout}"
        yield Unsaid(fact.index, (LAYOUT,), words)


def _unsaid_look(
    fact: StreamFacts, form: dict[str, str], said: Mapping[str, str], target: str
) -> Iterator[Unsaid]:
    """Shape and colours of a film, if a reader of the copy does not find them.

    PyAV copies no shape that the packets do not say. Of colours it is not known before: a decoder
    may say them.
    """
    lost = [name for name in lost_form(form.items(), said) if name != "size"]
    for names, verb in ((["sample aspect ratio"], "does"), ([*COLOURS], "may")):
        found = tuple(name for name in names if name in lost)
        if found:
            values = ", ".join(f"the {name} {form[name]}" for name in found)
            words = f"{fact}: {spoken(target)} {verb} not keep {values}"
            yield Unsaid(fact.index, found, words)


def left_behind(left: Sequence[StreamFacts], target: str) -> Iterator[str]:
    """Every stream by name; of very many of a kind, their number."""
    counts = Counter(fact.kind for fact in left)
    for fact in left:
        if counts[fact.kind] <= NAMED:
            yield f"{fact} is not carried: {_reason(fact, target)}"
    for kind, count in counts.items():
        if count > NAMED:
            first = next(fact for fact in left if fact.kind == kind)
            yield (
                f"{count} {kind} streams are not carried, the first of them {first}:"
                f" {spoken(target)} does not take them"
            )


def not_as_they_were(routes: Collection[Route], target: str) -> Iterator[str]:
    """What is written in another codec, or hardly read."""
    yield from _converted(routes, target)
    yield from _young(routes, target)


def _young(routes: Iterable[Route], target: str) -> Iterator[str]:
    """What old readers of the file will not play as it is."""
    for route in routes:
        codec = route.facts.codec
        if target == "mp4" and codec.startswith("pcm_") and codec != "pcm_s16le":
            yield (
                f"{route.facts}: {codec} in MP4 is new, and FFmpeg up to 5.1 plays noise for it;"
                " write a .mov file if it is to be read there"
            )


def _converted(routes: Iterable[Route], target: str) -> Iterator[str]:
    texts = [route for route in routes if route.source]
    for route in texts[:NAMED]:
        yield (
            f"{route.facts} becomes {route.target}, for {spoken(target)} does not take it as it is:"
            " bold, italic and underlined words stay so, other styles and places are lost"
        )
    if len(texts) > NAMED:
        yield f"so do {len(texts) - NAMED} more subtitle streams"


def silent_on(found: Sequence[Unsaid]) -> Iterator[str]:
    """What copies do not say; of very many, how many."""
    for lost in found[:NAMED]:
        yield lost.words
    if len(found) > NAMED:
        yield f"nor all that is said of {len(found) - NAMED} more streams"


def _unread(container: Any) -> Iterator[str]:
    """Chapters of Matroska that FFmpeg passes over."""
    if not container.format.name.startswith("matroska"):
        return
    read = len(container.chapters())
    with suppress(OSError):
        missing = count_chapters(path_of(container)) - read
        if missing > 0:
            yield (
                f"{missing} of {missing + read} chapters are not carried: FFmpeg reads none that"
                " starts no later than the one before it, or lies in another"
            )


def chapters_lost(
    container: Any, chapters: Sequence[Any], clip: Clip, target: str
) -> Iterator[str]:
    """What happens to chapters that FFmpeg does not read, or the target does not hold as they are;
    `chapters` are those of an open source that are to be written.
    """
    yield from _unread(container)
    if chapters and target not in CHAPTERED:
        yield f"{len(chapters)} chapters are not carried: {spoken(target)} does not take them"
    if chapters and target in ("mp4", "mov"):
        # Their chapters are a track of text, which starts with its first sample.
        begins = float(chapters[0]["start"] * chapters[0]["time_base"])
        zero = float(clip.video_start) if clip.cut else min(0.0, float(clip.video_start))
        if begins - zero > 1e-3:
            yield (
                f"the first chapter, from {begins:.3f} s on, starts at 0: {spoken(target)} holds"
                " no time before the first chapter"
            )
