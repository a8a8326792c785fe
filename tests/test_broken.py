"""Broken frames on made films and on damaged streams; gaps on made times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from clips import read_frames, samples_of

from vidrepair.broken import BEHIND, mark_broken
from vidrepair.cli.types import frame_list
from vidrepair.decode import open_source
from vidrepair.errors import UsageError
from vidrepair.frames import FloatArray, Frame, Picture
from vidrepair.gaps import Gap, Gaps, fill_gaps
from vidrepair.tags import pixel_format

SIZE = (144, 208)
PAN = (1.0, -3.0)
"""Rows and columns that the picture moves by from frame to frame."""
Lumas = list[FloatArray]


def scene(count: int, seed: int = 3, size: tuple[int, int] = SIZE) -> Lumas:
    """Lumas 0..255 of a textured picture that pans, with a little noise."""
    rng = np.random.default_rng(seed)
    big = rng.normal(0.0, 1.0, (320, 420)).astype(np.float32)
    big = 128.0 + 260.0 * cv2.GaussianBlur(big, (0, 0), 3.0)
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    rows, columns = rows + 60.0, columns + 100.0
    frames = [
        cv2.remap(big, columns + PAN[1] * n, rows + PAN[0] * n, cv2.INTER_CUBIC)
        for n in range(count)
    ]
    return [(luma + rng.normal(0.0, 1.5, luma.shape)).clip(20, 235) for luma in frames]


def film(lumas: Sequence[Any], flagged: Sequence[int] = (), pix_fmt: str = "gray") -> list[Frame]:
    form = pixel_format(pix_fmt)
    assert form is not None
    frames = []
    for number, luma in enumerate(lumas):
        code = (luma * (form.peak / 255.0)).round().clip(0, form.peak)
        code = code.astype(np.uint8 if form.bits == 8 else np.uint16)
        across, down = form.sampling
        chroma = np.full_like(code[::down, ::across], 2 ** (form.bits - 1))
        planes = {"gray": (code,), "rgb": (code,) * 3, "yuv": (code, chroma, chroma)}[form.family]
        picture = Picture(luma.shape[1], luma.shape[0], form)
        frame = Frame(planes, picture, number, 40 * number, Fraction(1, 1000))
        frames.append(replace(frame, corrupt=number in flagged))
    return frames


def garble(luma: FloatArray, place: tuple[slice, slice], seed: int = 0) -> None:
    """Put what has nothing to do with the picture into a place: smeared blocks."""
    shape = luma[place].shape
    blocks = np.random.default_rng(seed).uniform(20, 235, (-(-shape[0] // 8), -(-shape[1] // 8)))
    luma[place] = np.kron(blocks, np.ones((8, 8)))[: shape[0], : shape[1]]


BAND = (slice(48, 80), slice(64, 208))
"""Of 16 x 16 blocks: the rest of a slice."""


def covers(frame: Frame, place: tuple[slice, slice]) -> tuple[float, float]:
    """The share of a place that is a hole, and of the picture more than a block beside it."""
    assert frame.holes is not None
    assert frame.holes.shape == (frame.picture.height, frame.picture.width)
    inside = np.zeros(frame.holes.shape, dtype=bool)
    inside[place] = True
    around = cv2.dilate(inside.astype(np.uint8), np.ones((41, 41))) > 0
    return float(frame.holes[inside].mean()), float(frame.holes[~around].mean())


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("17", [17]), ("17,40-42", [17, 40, 41, 42]), (" 3 - 3 , 0", [3, 0]), ("5-6,6", [5, 6, 6])],
)
def test_a_list_of_frames_is_read(text: str, numbers: list[int]):
    assert [number for part in frame_list(text) for number in part] == numbers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty part is no frame"),
        ("4,,5", "an empty part is no frame"),
        ("4,x", "x is no frame"),
        ("-4", "-4 is no frame"),
        ("1.5", "1.5 is no frame"),
        ("9-4", "9-4 runs backwards"),
        ("٣", "is no frame"),
    ],
)
def test_no_list_of_frames_says_so(text: str, said: str):
    with pytest.raises(UsageError, match=said):
        frame_list(text)


def test_named_frames_are_lost_whatever_they_show():
    frames = film(scene(8), flagged=[5])
    marked = list(mark_broken(frames, frame_list("0,4-5,99")))
    assert [frame.number for frame in marked] == list(range(8))
    assert [frame.number for frame in marked if frame.lost] == [0, 4, 5]
    assert all(marked[n] is frames[n] for n in (1, 2, 3, 6, 7))


def test_damage_that_nobody_flags_is_left_to_others():
    lumas = scene(10)
    garble(lumas[5], BAND)
    frames = film(lumas)
    read: list[int] = []

    def source() -> Iterator[Frame]:
        for frame in frames:
            read.append(frame.number)
            yield frame

    for number, frame in enumerate(mark_broken(source())):
        assert frame is frames[number]
        assert len(read) <= number + BEHIND  # three frames are held back


def test_a_flagged_frame_that_shows_no_damage_is_left():
    frames = film(scene(16), flagged=[0, 1, 7, 11, 15])
    assert all(a is b for a, b in zip(mark_broken(frames), frames, strict=True))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p16le", "gray12le", "gbrp"])
def test_broken_blocks_are_holes(pix_fmt: str):
    lumas = scene(14)
    garble(lumas[6], BAND)
    marked = list(mark_broken(film(lumas, [6], pix_fmt)))
    hit, beside = covers(marked[6], BAND)
    assert hit > 0.95
    assert beside == 0.0
    assert not any(frame.lost for frame in marked)
    assert [frame.number for frame in marked if frame.holes is not None] == [6]


def test_most_of_a_frame_broken_is_a_lost_frame():
    lumas = scene(14)
    garble(lumas[6], (slice(0, 112), slice(0, 208)))
    marked = list(mark_broken(film(lumas, [6])))
    assert [frame.number for frame in marked if frame.lost] == [6]
    assert marked[6].holes is None


def test_what_concealment_copies_from_the_frame_before_is_a_hole():
    lumas = scene(14)
    lumas[6][BAND] = lumas[5][BAND]
    marked = list(mark_broken(film(lumas, [6])))
    hit, beside = covers(marked[6], BAND)
    assert hit > 0.8
    assert beside == 0.0


def test_damage_that_lasts_until_the_next_key_frame_is_found_in_each():
    lumas = scene(18)
    for number in range(6, 10):
        garble(lumas[number], BAND)
    marked = list(mark_broken(film(lumas, [6])))
    assert [frame.number for frame in marked if frame.holes is not None] == [6, 7, 8, 9]
    for frame in marked[6:10]:
        hit, beside = covers(frame, BAND)
        assert hit > 0.9
        assert beside == 0.0


def test_gray_before_the_first_key_frame_is_lost():
    lumas = scene(12)
    lumas[0][:] = lumas[1][:] = 128.0
    marked = list(mark_broken(film(lumas, [0, 1])))
    assert [frame.number for frame in marked if frame.lost] == [0, 1]


def test_a_flagged_frame_beside_a_cut_is_compared_with_its_own_shot():
    before, after = scene(7, seed=3), scene(8, seed=4)
    frames = film([*before, *after], flagged=[6])
    assert all(a is b for a, b in zip(mark_broken(frames), frames, strict=True))
    garble(before[6], BAND)
    marked = list(mark_broken(film([*before, *after], flagged=[6])))
    hit, beside = covers(marked[6], BAND)
    assert hit > 0.8
    assert beside == 0.0


def test_a_frame_is_judged_by_what_is_near_it_alone():
    lumas = scene(40)
    for number in (3, 20, 21, 22, 30):
        garble(lumas[number], BAND, seed=number)
    frames = film(lumas, flagged=[3, 20, 30])
    whole = list(mark_broken(frames))
    cut = list(mark_broken(frames[20 - 15 : 21 + 11]))
    assert whole[20].holes is not None
    for frame in cut[14:17]:
        same = whole[frame.number]
        assert frame.lost == same.lost
        assert np.array_equal(np.asarray(frame.holes), np.asarray(same.holes))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (17, 33)])
def test_tiny_pictures_pass(size: tuple[int, int]):
    rng = np.random.default_rng(1)
    lumas = [rng.uniform(0, 255, size) for _ in range(14)]
    marked = list(mark_broken(film(lumas, [0, 5, 6, 13], "yuv420p"), frame_list("3")))
    assert [frame.number for frame in marked] == list(range(14))
    assert marked[3].lost


def test_no_frames_give_none():
    assert list(mark_broken([])) == []


def stream(path: Path, codec: str, options: dict[str, str], hit: int | None) -> None:
    """A film of 24 frames; the second half of one packet's bytes is missing."""
    lumas = scene(24, size=(144, 208))
    with av.open(f"file:{path}", "w") as output:
        video: Any = output.add_stream(codec, rate=25, options=options)
        video.width, video.height, video.pix_fmt = 208, 144, "yuv420p"
        packets = []
        for number, luma in enumerate([*lumas, None]):
            frame = None
            if luma is not None:
                frame = av.VideoFrame(208, 144, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes([128]) * plane.buffer_size)
                view = np.frombuffer(frame.planes[0], np.uint8).reshape(144, -1)
                view[:, :208] = luma.round()
                frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += video.encode(frame)
        for number, packet in enumerate(packets):
            kept = packet
            if number == hit:
                kept = av.Packet(bytes(packet)[: packet.size // 3])
                kept.pts, kept.dts, kept.time_base = packet.pts, packet.dts, packet.time_base
                kept.stream = video
            output.mux(kept)


@pytest.mark.parametrize(
    ("codec", "options", "hit"),
    [
        ("libx264", {"g": "8", "bf": "0", "crf": "18", "x264-params": "scenecut=0"}, 12),
        ("libx264", {"g": "8", "bf": "0", "crf": "18", "x264-params": "scenecut=0"}, 8),
        ("mpeg2video", {"g": "8", "bf": "0", "b": "3M"}, 12),
        ("mpeg2video", {"g": "8", "bf": "0", "b": "3M"}, 8),
    ],
)
def test_a_damaged_stream(codec: str, options: dict[str, str], hit: int, tmp_path: Path):
    whole, broken = tmp_path / "whole.mkv", tmp_path / "broken.mkv"
    stream(whole, codec, options, None)
    stream(broken, codec, options, hit)
    truth = [samples_of(frame)[0].astype(np.float32) for frame in read_frames(whole)]
    with open_source(broken, tell_quantiser=True) as source:  # threads that always do the same
        frames = [item for item in source.read() if isinstance(item, Frame)]
    assert len(frames) == len(truth)
    assert [frame.number for frame in frames if frame.corrupt] == [hit]
    marked = list(mark_broken(frames))
    frame = marked[hit]
    off = cv2.blur(np.abs(frame.luma - truth[hit]), (16, 16))
    assert (off > 10).mean() > 0.1  # it is damaged indeed
    holes = np.ones(off.shape, dtype=bool) if frame.lost else frame.holes
    assert holes is not None
    assert holes[off > 20].mean() > 0.5
    assert (off[holes] > 3).mean() > 0.7 or frame.lost
    for clean in (*marked[: hit - 2], *marked[16:]):
        assert not clean.lost
        assert clean.holes is None


def timed(pts: Sequence[int], unit: Fraction = Fraction(1, 1000)) -> list[Frame]:
    luma = np.zeros((2, 2))
    made = film([luma + n for n in range(len(pts))])
    return [
        replace(frame, pts=time, time_base=unit, carrier=f"carrier {frame.number}")
        for frame, time in zip(made, pts, strict=True)
    ]


def filled(pts: Sequence[int], step: Fraction, *, fill: bool = True) -> tuple[list[Frame], Gaps]:
    gaps = Gaps()
    frames = list(fill_gaps(timed(pts), step, gaps, fill=fill))
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert all(a.pts < b.pts for a, b in pairwise(frames))
    return frames, gaps


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_gap_is_filled(missing: int):
    pts = [40 * n for n in range(12) if not 5 <= n < 5 + missing]
    frames, gaps = filled(pts, Fraction(40))
    assert [frame.pts for frame in frames] == [40 * n for n in range(12)]
    lost = [frame for frame in frames if frame.lost]
    assert [frame.number for frame in lost] == list(range(5, 5 + missing))
    for frame in lost:
        assert frame.carrier == "carrier 4"
        assert frame.luma[0, 0] == 4
        assert frame.duration == 40
    assert gaps.found == [Gap(4, missing, filled=True)]


def test_a_rate_that_is_no_whole_number_of_ticks():
    step = Fraction(1001, 30)  # of 29.97 frames a second in milliseconds
    pts = [round(step * n) for n in range(20) if n not in (7, 12, 13)]
    frames, gaps = filled(pts, step)
    assert [abs(frame.pts - round(step * n)) for n, frame in enumerate(frames)] <= [1] * 20
    assert len(frames) == 20
    assert gaps.found == [Gap(6, 1, filled=True), Gap(11, 2, filled=True)]


def test_longer_gaps_stay_and_are_listed():
    pts = [40 * n for n in range(20) if not 6 <= n < 10]
    frames, gaps = filled(pts, Fraction(40))
    assert [frame.pts for frame in frames] == pts
    assert gaps.found == [Gap(5, 4, filled=False)]


def test_gaps_are_told_between_frames_that_are_written():
    pts = [40 * n for n in range(30) if n not in (5, 15)]
    _, gaps = filled(pts, Fraction(40), fill=False)
    assert [gap.after for gap in gaps.found] == [4, 13]
    assert gaps.remarks(5) == []  # frame 4 is the last: nothing comes after it
    (first,), (both,) = gaps.remarks(6), gaps.remarks(len(pts))
    assert ": 1 after frame 4;" in first
    assert ": 1 after frame 4, 1 after frame 13;" in both
    assert gaps.remarks(14) == [first]
    assert gaps.remarks(15) == [both]


def test_what_the_user_says_of_a_frame_does_not_hold_for_a_missing_one():
    pts = [40 * n for n in range(12) if n != 5]
    mask = np.ones((2, 2), dtype=bool)
    frames = [replace(frame, masked=mask, protected=mask) for frame in timed(pts)]
    made = list(fill_gaps(frames, Fraction(40), Gaps(), fill=True))
    assert [frame.number for frame in made if frame.protected is None] == [5]
    assert [frame.number for frame in made if frame.masked is None] == [5]


def test_what_is_not_asked_for_is_only_listed():
    pts = [40 * n for n in range(12) if n != 5]
    frames, gaps = filled(pts, Fraction(40), fill=False)
    assert [frame.pts for frame in frames] == pts
    assert gaps.found == [Gap(4, 1, filled=False)]


@pytest.mark.parametrize(
    "steps",
    [
        [40, 80, 40, 80, 40, 80, 40, 80],
        [33, 50, 41, 80, 33, 66, 50, 41],
        [40, 40, 40, 97, 40, 40, 40, 40],
        [40, 40, 40, 80, 45, 40, 40, 40],
        [80, 40, 40, 40, 40, 40, 40, 80],
        [80, 80, 80, 80, 80, 80, 80, 80],
    ],
)
def test_a_variable_rate_is_left_alone(steps: list[int]):
    pts = [0, *np.cumsum(steps).tolist()]
    frames, gaps = filled(pts, Fraction(40))
    assert [frame.pts for frame in frames] == pts
    assert gaps.found == []


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_short_films_have_no_gaps(count: int):
    frames, gaps = filled([0, 80, 120][:count], Fraction(40))
    assert len(frames) == count
    assert gaps.found == []
