"""excerpt: a part of a film equals that part, and what goes with it stays in step."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from clips import Extras, samples_of, write_clip

from vidrepair.decode import Source, open_source
from vidrepair.encode import open_target, plan_output
from vidrepair.errors import UsageError
from vidrepair.excerpt import Excerpt, cut_chapters
from vidrepair.frames import Frame
from vidrepair.settings import OutputSettings
from vidrepair.streams import plan_copies
from vidrepair.tags import Copied

START = Fraction(13, 2)


def read(path: Path, start: Fraction | None, **asked: Any) -> tuple[Any, list[Frame], list[Copied]]:
    with open_source(path, start=start, **asked) as source:
        items = list(source.read())
        assert str(source.damage) == ""
        frames = [item for item in items if isinstance(item, Frame)]
        return source.clip, frames, [item for item in items if isinstance(item, Copied)]


def film(path: Path, **extras: Any) -> list[Any]:
    """Ten seconds, a key frame every second."""
    return write_clip(
        path,
        frames=250,
        size=(32, 32),
        codec="libx264",
        options={"bf": "2", "g": "25", "qp": "0"},
        extras=Extras(audio=1, **extras),
    )


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts", "avi"])
def test_the_part_is_the_same_as_in_the_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    written = film(path)
    whole, all_frames, all_sound = read(path, None)
    clip, frames, sound = read(path, START)
    assert not whole.cut
    assert clip.cut
    assert [frame.number for frame in frames] == list(range(len(frames)))
    first = next(n for n, frame in enumerate(all_frames) if frame.seconds >= whole.zero + START)
    assert [frame.pts for frame in frames] == [frame.pts for frame in all_frames[first:]]
    for own, truth in zip(frames, written[first:], strict=True):
        np.testing.assert_array_equal(own.planes[0], samples_of(truth)[0])
    assert clip.video_start == clip.start == Fraction(frames[0].pts) * clip.time_base
    assert abs(clip.frame_count - len(frames)) <= 2
    assert abs(clip.duration - len(frames) / 25) < 0.1
    # Sound from the packet on that starts with the picture: no more, and none is missing.
    own = [bytes(item.packet) for item in sound]
    assert own == [bytes(item.packet) for item in all_sound][-len(own) :]
    lead = float(sound[0].packet.pts * sound[0].packet.time_base - clip.video_start)
    assert 0 <= lead < 0.03


@pytest.mark.parametrize("start", [None, Fraction(0), Fraction(-3)])
def test_from_the_start_is_everything(tmp_path: Path, start: Fraction | None) -> None:
    film(tmp_path / "a.mkv")
    clip, frames, sound = read(tmp_path / "a.mkv", start)
    assert (len(frames), clip.cut) == (250, False)
    assert len(sound) == len(read(tmp_path / "a.mkv", None)[2])


def test_a_start_between_two_frames_takes_the_later_one(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    _, frames, _ = read(tmp_path / "a.mp4", Fraction(201, 100))
    assert frames[0].seconds == pytest.approx(2.04)


def test_a_start_behind_the_end_is_refused(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv")
    with pytest.raises(UsageError, match=r"--ss 11 lies behind the end .* at 9\.960 s"):
        open_source(tmp_path / "a.mkv", start=Fraction(11))


def passed(source: Source, output: Path, end: Fraction | None = None) -> tuple[str, ...]:
    """What the pipeline does: times from 0 on, stopped at `end`."""
    settings = OutputSettings(frames=None if end is None else 9999)
    plan = plan_output(source.clip, output, settings)
    plan = replace(plan, offset=-source.clip.video_start)
    copies = plan_copies(source.container, source.clip, plan.container, source.covers, end=end)
    with open_target(source.clip, plan, output, copies) as target:
        for item in source.read():
            if isinstance(item, Copied):
                target.copy(item)
            elif end is None or item.pts * item.time_base < end:
                target.write(item)
            else:
                break
        target.finish()
    return copies.warnings


def spoken(path: Path) -> list[tuple[float, float]]:
    """Start and duration of the cues, in seconds."""
    with av.open(str(path)) as opened:
        unit = float(opened.streams.subtitles[0].time_base)
        cues = [p for p in opened.demux(opened.streams.subtitles[0]) if p.size > 2]
        return [(round(p.pts * unit, 3), round(p.duration * unit, 3)) for p in cues]


def with_cues(path: Path) -> None:
    """One subtitle from 5 to 8 s and one from 9 s on, and five chapters of two seconds."""
    film(path.with_suffix(".raw.mkv"), chapters=5)
    with (
        av.open(str(path.with_suffix(".raw.mkv"))) as raw,
        av.open(str(path), "w") as output,
    ):
        copies = [output.add_stream_from_template(s, opaque=True) for s in raw.streams]
        text: Any = output.add_mux_stream("subrip")
        text.time_base = Fraction(1, 1000)
        output.set_chapters(raw.chapters())
        output.start_encoding()
        cues = [(5000, 3000, b"One"), (9000, 500, b"Two")]
        for packet in raw.demux():
            if not packet.size:
                continue
            while cues and float(packet.pts * packet.time_base) >= cues[0][0] / 1000:
                start, lasts, words = cues.pop(0)
                cue: Any = av.Packet(words)
                cue.stream, cue.time_base = text, Fraction(1, 1000)
                cue.pts = cue.dts = start
                cue.duration, cue.is_keyframe = lasts, True
                output.mux(cue)
            packet.stream = copies[packet.stream.index]
            output.mux(packet)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_everything_is_cut_and_moved_alike(tmp_path: Path, suffix: str) -> None:
    with_cues(tmp_path / "a.mkv")
    output = tmp_path / f"b.{suffix}"
    with open_source(tmp_path / "a.mkv", start=START) as source:
        zero = source.clip.video_start
        passed(source, output, end=source.clip.zero + Fraction(19, 2))
    assert abs(zero - START) < Fraction(1, 20)
    with open_source(output) as again:
        items = list(again.read())
        chapters = again.container.chapters()
        named = [(c["metadata"]["title"], float(c["start"] * c["time_base"])) for c in chapters]
        end = float(chapters[-1]["end"] * chapters[-1]["time_base"])
    frames = [item for item in items if isinstance(item, Frame)]
    assert len(frames) == 75
    assert frames[0].seconds == pytest.approx(0, abs=0.001)
    sound = [item for item in items if isinstance(item, Copied) and item.stream == 1]
    assert 0 <= sound[0].seconds < 0.03
    assert spoken(output) == [
        pytest.approx((0.0, float(8 - zero)), abs=0.002),
        pytest.approx((float(9 - zero), 0.5), abs=0.002),
    ]
    assert [title for title, _ in named] == ["Kapitel 3 é", "Kapitel 4 é"]
    assert [start for _, start in named] == pytest.approx([0.0, float(8 - zero)], abs=0.002)
    assert end == pytest.approx(float(Fraction(19, 2) - zero), abs=0.002)


def test_another_video_starts_with_its_key_frame(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv")
    with (
        av.open(str(tmp_path / "a.mkv")) as one,
        av.open(str(tmp_path / "b.mkv"), "w") as output,
    ):
        twins = [output.add_stream_from_template(one.streams.video[0], opaque=True) for _ in "ab"]
        output.start_encoding()
        for packet in one.demux(one.streams.video[0]):
            if packet.size:
                data, key = bytes(packet), packet.is_keyframe
                for twin in twins:
                    copy: Any = av.Packet(data)
                    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                    copy.stream, copy.is_keyframe, copy.duration = twin, key, packet.duration
                    output.mux(copy)
    clip, frames, copied = read(tmp_path / "b.mkv", START)
    assert frames[0].seconds == pytest.approx(6.52, abs=0.021)
    assert copied[0].packet.is_keyframe
    assert {item.stream for item in copied} == {1}
    shown = [float(item.packet.pts * item.packet.time_base) for item in copied]
    assert min(shown) == shown[0] == pytest.approx(7.0, abs=0.001)
    assert len(shown) == 75
    assert clip.video.index == 0


@pytest.mark.parametrize(
    ("early", "late", "taken"),
    [
        # Milliseconds from which a subtitle is on the screen, and for how long; 0 says nothing.
        ([(100, 0), (300, 0)], [], [300]),
        ([(100, 0), (300, 100)], [], []),
        ([(100, 0), (300, 400)], [], [300]),
        ([(100, 700), (300, 0)], [], [100, 300]),
        # Between the time that was asked for and the first frame that is shown from then on.
        ([(100, 0), (510, 0)], [], [510]),
        ([(100, 0), (900, 0)], [], [100, 900]),
        # Behind that frame in the file.
        ([(100, 0)], [(300, 0)], [100, 300]),
        ([(100, 0), (300, 0)], [(200, 0), (400, 500)], [300, 400]),
        ([], [(300, 100), (400, 0)], [400]),
    ],
)
def test_subtitles_on_the_screen_when_a_part_begins(
    tmp_path: Path,
    early: list[tuple[int, int]],
    late: list[tuple[int, int]],
    taken: list[int],
) -> None:
    write_clip(tmp_path / "a.mkv", frames=5, codec="libx264", extras=Extras(subtitles=1))
    with av.open(str(tmp_path / "a.mkv")) as opened:
        excerpt = Excerpt(opened.streams.video[0], Fraction(1, 2))
        packets = []
        for start, lasts in (*early, *late):
            packet: Any = av.Packet(str(start).encode())
            packet.stream, packet.time_base = opened.streams.subtitles[0], Fraction(1, 1000)
            packet.pts = packet.dts = start
            packet.duration = lasts
            packets.append(packet)
        held = [packet for packet in packets[: len(early)] if excerpt.takes_packet(packet)]
        assert not excerpt.takes_frame(SimpleNamespace(pts=480))
        assert excerpt.takes_frame(SimpleNamespace(pts=520))
        found = [
            packet for packet in (*held, *packets[len(early) :]) if excerpt.takes_packet(packet)
        ]
    assert [int(bytes(packet)) for packet in found] == taken
    assert all(packet.pts >= 520 for packet in found)


def test_chapters_are_cut_within_the_part(tmp_path: Path) -> None:
    """Never before its start, nor behind its end; one of which nothing is left goes."""
    write_clip(tmp_path / "a.mkv", frames=50, codec="libx264")
    unit = Fraction(1, 3)
    chapters = [
        {"start": start, "end": end, "time_base": unit, "metadata": {}}
        for start, end in ((0, 1), (0, 2), (1, 5), (5, 6))
    ]
    with open_source(tmp_path / "a.mkv", start=Fraction(2, 5)) as source:
        kept = cut_chapters(chapters, source.clip, Fraction(3, 2))
    assert [(each["start"], each["end"]) for each in kept] == [(2, 4)]


def test_a_file_is_not_read_to_its_end_for_what_goes_with_a_part(tmp_path: Path) -> None:
    """When a film is joined from its segments, its source is read again for the sound."""
    source = tmp_path / "long.mkv"
    write_clip(source, frames=120, size=(32, 32), rate=Fraction(1), extras=Extras(audio=1))
    with open_source(source) as opened:
        assert 19.0 < max(item.seconds for item in opened.read_beside(10.0)) < 20.0
    with open_source(source) as opened:
        assert max(item.seconds for item in opened.read_beside()) > 110.0
    silent = tmp_path / "silent.mkv"
    write_clip(silent, frames=120, size=(32, 32), rate=Fraction(1))
    with open_source(silent) as opened:
        assert not list(opened.read_beside(10.0))
        assert opened.container.streams[0].codec_context  # still open, and not at its end
        left = sum(1 for packet in opened.container.demux() if packet.size)
        assert 40 < left < 55
