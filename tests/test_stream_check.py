"""Streams beside the picture: what of a finished file is a difference, and what is none."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from clips import write_clip

from vidrepair.expectation import Expectation
from vidrepair.facts import Chapter, Facts, read_facts
from vidrepair.packed_times import PackedTimes
from vidrepair.tags import StreamFacts
from vidrepair.tracks import Packets, Track
from vidrepair.verification import compare

MS = Fraction(1, 1000)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Of a film of two seconds in MP4 and nothing else."""
    path = tmp_path_factory.mktemp("bare") / "a.mp4"
    write_clip(path, codec="libx264", frames=50, options={"bf": "0"})
    return read_facts(path)


def sound(*times: int, content: str = "x", hidden: int = 0) -> Track:
    """Packets of AAC at so many milliseconds."""
    column = np.array(times, np.int64)
    ones = np.ones(len(times), np.int64)
    held = Packets(MS, content, column, column, 20 * ones, 5 * ones, ones, hidden=hidden)
    return Track(StreamFacts(1, "audio", "aac"), (), (), held)


def with_sound(film: Facts, *tracks: Track) -> Facts:
    return replace(film, tracks=tracks)


def what(source: Facts, found: Facts, allowed: Expectation | None = None) -> list[str]:
    return [each.what for each in compare(source, found, allowed or Expectation())]


@pytest.mark.parametrize(
    ("first", "end", "missed"),
    [
        # Of a picture that ends at 1 s: sound up to a second before it is waited for.
        (1500, 25, []),
        (100, 25, []),
        (-100, 25, ["stream"]),
        # Of one that was not stopped.
        (1500, None, ["stream"]),
    ],
)
def test_sound_of_which_nothing_is_left_before_a_stop_is_not_missed(
    bare: Facts, first: int, end: int | None, missed: list[str]
) -> None:
    source = with_sound(bare, sound(first, first + 20))
    stopped = replace(bare, pts=times_of_first(bare, end)) if end else bare
    assert what(source, stopped, Expectation(frames=end)) == missed


def times_of_first(film: Facts, count: int) -> PackedTimes:
    """The times of the first frames."""
    return PackedTimes(film.pts.unpacked()[:count].tolist())


@pytest.mark.parametrize(
    ("source", "found", "off"),
    [
        # FFmpeg reads a lone packet before zero from MP4 at zero; no other.
        (sound(-20), sound(0), []),
        (sound(-20), sound(20), ["time of packet"]),
        (sound(20), sound(0), ["time of packet"]),
        (sound(-20), sound(0, content="y"), ["time of packet"]),
        (sound(-20, 0), sound(0, 20), ["time of packet"]),
    ],
)
def test_only_a_lone_packet_is_read_at_zero(
    bare: Facts, source: Track, found: Track, off: list[str]
) -> None:
    assert what(with_sound(bare, source), with_sound(bare, found)) == off


@pytest.mark.parametrize(("ticks", "off"), [(1, 0), (-1, 0), (2, 1), (-2, 1)])
def test_the_last_frame_may_be_longer_by_a_unit(bare: Facts, ticks: int, off: int) -> None:
    other = replace(bare, last=bare.last + ticks)
    assert what(bare, other) == ["length of the last frame"] * off


@pytest.mark.parametrize(
    ("begins", "missed"),
    [
        # The last of 25 frames is shown at 0.96 s.
        (Fraction(96, 100), ["chapters"]),
        (Fraction(97, 100), []),
    ],
)
def test_a_chapter_behind_the_last_frame_is_not_missed(
    bare: Facts, begins: Fraction, missed: list[str]
) -> None:
    one, two = Chapter(Fraction(0), begins, "A"), Chapter(begins, Fraction(2), "B")
    source = replace(bare, chapters=(one, two))
    found = replace(bare, chapters=(one,), pts=times_of_first(bare, 25))
    assert what(source, found, Expectation(frames=25)) == missed
