"""streams: what each container takes arrives, what it does not take is named."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from calling import call
from clips import Extras, picture, png, read_frames, write_clip
from passing import IDLE, pass_through

from vidrepair import repair
from vidrepair.decode import open_source
from vidrepair.ebml import CHAPTERS, EDITION, SEGMENT, count_chapters, elements_in, make_element
from vidrepair.encode import open_target, plan_output
from vidrepair.errors import CannotCarry
from vidrepair.frames import Frame
from vidrepair.settings import OutputSettings, SourceSettings
from vidrepair.stream_losses import NAMED
from vidrepair.streams import MOV_TEXT_HEAD, plan_copies
from vidrepair.tags import Copied
from vidrepair.verification import check_files

FULL = Extras(
    audio=2,
    subtitles=2,
    chapters=3,
    attachment=b"hello",
    cover=True,
    metadata=(("title", "Ä film"), ("comment", "x"), ("director", "Y")),
)


def packets(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """Time and content of every packet, for each stream of that kind."""
    with av.open(str(path)) as source:
        streams = [s for s in source.streams if s.type == kind]
        found: dict[int, list[tuple[Fraction, bytes]]] = {s.index: [] for s in streams}
        for packet in source.demux():
            if packet.size and packet.stream.index in found:
                found[packet.stream.index].append((packet.pts * packet.time_base, bytes(packet)))
        return list(found.values())


def described(path: Path) -> list[tuple[str, str, str]]:
    """Kind, language and title of every stream."""
    with av.open(str(path)) as source:
        return [
            (
                "cover" if s.disposition & 0x400 else s.type,
                s.metadata.get("language", ""),
                s.metadata.get("title") or s.metadata.get("name", ""),
            )
            for s in source.streams
        ]


def test_matroska_carries_everything(tmp_path: Path) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / "b.mkv"
    write_clip(source, frames=50, extras=FULL)
    passed = pass_through(source, output)
    assert passed.left == passed.plan.warnings == ()
    assert sorted(described(output)) == sorted(described(source))
    for kind in ("audio", "subtitle"):
        assert packets(output, kind) == packets(source, kind)
    with av.open(str(output)) as opened, av.open(str(source)) as before:
        assert opened.metadata["title"] == "Ä film"
        assert opened.metadata["DIRECTOR"] == "Y"
        assert [c["metadata"] for c in opened.chapters()] == [
            c["metadata"] for c in before.chapters()
        ]
        assert [c["start"] for c in opened.chapters()] == [c["start"] for c in before.chapters()]
        assert opened.streams.attachments[0].data == b"hello"
        assert bytes(next(opened.demux(opened.streams.video[1]))) == png()


@pytest.mark.parametrize(("suffix", "cover"), [("mp4", True), ("mov", False)])
def test_mp4_and_mov_name_what_they_leave(tmp_path: Path, suffix: str, cover: bool) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / f"b.{suffix}"
    write_clip(source, frames=50, codec="libx264", extras=FULL)
    passed = pass_through(source, output)
    left = "\n".join(passed.left)
    assert "subtitle stream 3 (srt, eng) becomes mov_text" in left
    assert "subtitle stream 4 (srt, deu) becomes" in left
    assert "attachment stream 5 (text/plain, note.txt)" in left
    assert ("cover stream" in left) != cover
    named = [line for line in passed.plan.warnings if "the tag DIRECTOR is not carried" in line]
    assert len(named) == cover  # MOV holds no cover, and so all tags
    found = described(output)
    german = "ger" if suffix == "mov" else "deu"
    assert [entry for entry in found if entry[0] == "audio"] == [
        ("audio", "eng", "Track 0"),
        ("audio", german, "Track 1"),
    ]
    assert sum(kind == "cover" for kind, _, _ in found) == cover
    contents = [[data for _, data in stream] for stream in packets(output, "audio")]
    assert contents == [[data for _, data in stream] for stream in packets(source, "audio")]
    with av.open(str(output)) as opened:
        titles = [chapter["metadata"]["title"] for chapter in opened.chapters()]
        assert titles == ["Kapitel 0 é", "Kapitel 1 é", "Kapitel 2 é"]
        assert opened.metadata["title"] == "Ä film"


def test_of_a_tag_that_is_lost_beside_a_cover_the_check_knows_its_name(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    write_clip(source, codec="libx264", extras=FULL)
    plan = pass_through(source, tmp_path / "b.mp4").plan
    assert "the tag director is not carried" in " ".join(plan.warnings).lower()
    assert {"tag director"} <= plan.lost
    assert "tags" not in plan.lost


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_own_tags_are_kept_where_no_cover_is_at_stake(tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / f"b.{suffix}"
    extras = Extras(metadata=(("title", "T"), ("director", "Y")))
    write_clip(source, codec="libx264", extras=extras)
    assert pass_through(source, output).plan.warnings == ()
    with av.open(str(output)) as opened:
        assert (opened.metadata["title"], opened.metadata["DIRECTOR"]) == ("T", "Y")


def chaptered(path: Path, chapters: list[tuple[int, int]]) -> None:
    """Two seconds of film with chapters from and to so many milliseconds."""
    write_clip(path.with_suffix(".raw.mkv"), frames=50, codec="libx264")
    with (
        av.open(str(path.with_suffix(".raw.mkv"))) as raw,
        av.open(str(path), "w") as output,
    ):
        film = output.add_stream_from_template(raw.streams.video[0], opaque=True)
        unit = {"time_base": Fraction(1, 1000), "metadata": {"title": "A"}}
        output.set_chapters(
            [
                {"id": number, "start": start, "end": end, **unit}
                for number, (start, end) in enumerate(chapters)
            ]
        )
        for packet in raw.demux():
            if packet.size:
                packet.stream = film
                output.mux(packet)


def test_chapters_that_ffmpeg_passes_over_are_named(tmp_path: Path) -> None:
    """Of Matroska it reads none that starts no later than the one before."""
    chaptered(tmp_path / "a.mkv", [(0, 200), (200, 400), (200, 600)])
    assert count_chapters(tmp_path / "a.mkv") == 3
    report = repair(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=IDLE)
    assert "1 of 3 chapters are not carried" in " ".join(report.warnings)


def test_chapters_of_one_start_are_written_though_matroska_s_reader_hides_one(
    tmp_path: Path,
) -> None:
    chaptered(tmp_path / "a.mp4", [(0, 200), (200, 200), (200, 600)])
    repair(tmp_path / "a.mp4", tmp_path / "b.mkv", settings=IDLE)
    with av.open(str(tmp_path / "a.mp4")) as opened:
        assert count_chapters(tmp_path / "b.mkv") == len(opened.chapters()) == 3


def test_chapters_that_a_part_lets_begin_at_once_are_all_read(tmp_path: Path) -> None:
    """Of those that start at 0 FFmpeg reads more than one."""
    chaptered(tmp_path / "a.mkv", [(0, 1000), (200, 1500), (1000, 2000)])
    part = SourceSettings(start=Fraction(1, 5))
    repair(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=IDLE, reading=part)
    with av.open(str(tmp_path / "b.mkv")) as opened:
        starts = [float(one["start"] * one["time_base"]) for one in opened.chapters()]
    assert starts == pytest.approx([0.0, 0.0, 0.8])


def test_a_late_only_chapter_ends_where_it_did(tmp_path: Path) -> None:
    chaptered(tmp_path / "a.mkv", [(1200, 1800)])
    repair(tmp_path / "a.mkv", tmp_path / "b.mp4", settings=IDLE)
    with av.open(str(tmp_path / "b.mp4")) as opened:
        ends = [float(one["end"] * one["time_base"]) for one in opened.chapters()]
    assert ends == [pytest.approx(1.8)]


def test_a_picture_without_an_end_is_still_shown_when_a_part_begins(tmp_path: Path) -> None:
    """Pictures of DVDs may say no end."""
    write_clip(tmp_path / "raw.mkv", frames=50, codec="libx264")
    with (
        av.open(str(tmp_path / "raw.mkv")) as raw,
        av.open(str(tmp_path / "a.mkv"), "w") as output,
    ):
        film = output.add_stream_from_template(raw.streams.video[0], opaque=True)
        shown: Any = output.add_mux_stream("dvd_subtitle")
        shown.time_base = Fraction(1, 1000)
        sets = [bytes([number]) * 9 for number in range(3)]
        waiting = list(zip((0, 300, 900), sets, strict=True))
        output.start_encoding()
        for packet in raw.demux():
            if packet.size:
                while waiting and waiting[0][0] <= packet.pts * packet.time_base * 1000:
                    time, payload = waiting.pop(0)
                    one: Any = av.Packet(payload)
                    one.stream, one.time_base = shown, shown.time_base
                    one.pts = one.dts = time
                    output.mux(one)
                packet.stream = film
                output.mux(packet)
    part = SourceSettings(start=Fraction(1, 2))
    repair(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=IDLE, reading=part)
    (found,) = packets(tmp_path / "b.mkv", "subtitle")
    assert [payload for _, payload in found] == sets[1:]
    np.testing.assert_allclose([float(time) for time, _ in found], [0.0, 0.38])


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_text_ends_with_a_picture_that_is_stopped(tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / f"b.{suffix}"
    write_clip(source, codec="libx264", extras=Extras(subtitles=1))
    job = ("--to", "0.24", "-c", "h264", "--denoise", "0", "--repair", "none")
    assert call("run", source, "-o", output, *job).exit_code == 0
    with av.open(str(output)) as opened:
        last = [packet for packet in opened.demux(subtitles=0) if packet.size > MOV_TEXT_HEAD][-1]
        assert float((last.pts + last.duration) * last.time_base) == pytest.approx(0.24)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_text_that_begins_where_the_picture_stops_is_not_shown_for_less_than_nothing(
    tmp_path: Path, suffix: str
) -> None:
    """Less than half a unit of its clock is left."""
    texts_at(tmp_path / "a.mkv", [(100, 300, "one"), (400, 300, "two"), (520, 300, "three")])
    job = ("--to", "0.4004", "-c", "h264", "--denoise", "0", "--repair", "none")
    done = call("run", tmp_path / "a.mkv", "-o", tmp_path / f"b.{suffix}", *job)
    assert (done.exit_code, "dropped" in done.stderr) == (0, False)
    with av.open(str(tmp_path / f"b.{suffix}")) as opened:
        shown = [each for each in opened.demux(opened.streams.subtitles[0]) if each.size > 2]
    assert [each.duration > 0 for each in shown] == [True, True]


def test_a_text_that_says_no_end_ends_with_the_picture_too(tmp_path: Path) -> None:
    texts_at(tmp_path / "a.mkv", [(200, 0, "one")])
    part = SourceSettings(end=Fraction(1))
    repair(tmp_path / "a.mkv", tmp_path / "b.mp4", settings=IDLE, reading=part)
    with av.open(str(tmp_path / "b.mp4")) as opened:
        last = [packet for packet in opened.demux(subtitles=0) if packet.size > MOV_TEXT_HEAD][-1]
        assert float((last.pts + last.duration) * last.time_base) == pytest.approx(1.0)


def test_from_mp4_back_to_matroska(tmp_path: Path) -> None:
    middle = tmp_path / "b.mp4"
    write_clip(tmp_path / "a.mkv", frames=50, codec="libx264", extras=FULL)
    pass_through(tmp_path / "a.mkv", middle)
    passed = pass_through(middle, tmp_path / "c.mkv")
    # The text track of the chapters is made anew.
    assert [line[:40] for line in passed.left] == [
        "subtitle stream 3 (mov_text, eng) become",
        "subtitle stream 4 (mov_text, deu) become",
    ]
    kinds = [kind for kind, _, _ in described(tmp_path / "c.mkv")]
    assert kinds == ["video", "audio", "audio", "subtitle", "subtitle", "cover"]
    told = []
    for name in ("a.mkv", "c.mkv"):
        # Matroska moves all streams by the priming of AAC.
        moved = packets(tmp_path / name, "audio")[0][0][0]
        cues = packets(tmp_path / name, "subtitle")
        told.append([[(time - moved, text) for time, text in stream] for stream in cues])
    assert [[text for _, text in stream] for stream in told[0]] == [[b"One", b"Two"]] * 2
    for one, other in zip(*told, strict=True):
        for (time, text), (later, words) in zip(one, other, strict=True):
            assert text == words
            assert abs(later - time) <= Fraction(1, 1000)
    with av.open(str(tmp_path / "c.mkv")) as opened:
        assert len(opened.chapters()) == 3


def test_sound_stays_in_step(tmp_path: Path) -> None:
    """Into MP4 and MOV exactly; Matroska moves all streams together by the AAC priming."""
    write_clip(tmp_path / "a.mov", frames=50, codec="libx264", extras=Extras(audio=1))
    for suffix, tolerance in (("mp4", 0.0), ("mov", 0.0), ("mkv", 0.001)):
        output = tmp_path / f"b.{suffix}"
        pass_through(tmp_path / "a.mov", output)
        gaps = []
        for path in (tmp_path / "a.mov", output):
            sound, film = packets(path, "audio")[0], packets(path, "video")[0]
            gaps.append(float(min(t for t, _ in sound) - min(t for t, _ in film)))
        assert abs(gaps[0] - gaps[1]) <= tolerance


def test_packets_are_interleaved(tmp_path: Path) -> None:
    """The encoder looks far ahead; the sound waits for the picture."""
    write_clip(tmp_path / "a.mkv", frames=250, codec="libx264", extras=Extras(audio=1))
    pass_through(tmp_path / "a.mkv", tmp_path / "b.mkv")
    with av.open(str(tmp_path / "b.mkv")) as opened:
        timed = [packet for packet in opened.demux() if packet.size and packet.dts is not None]
        order = [float(packet.dts * packet.time_base) for packet in timed]
    behind = [max(order[: n + 1]) - time for n, time in enumerate(order)]
    assert max(behind) < 0.5


@pytest.mark.parametrize("codec", ["pcm_s16le", "flac", "libopus", "ac3"])
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
def test_sound_of_any_codec_arrives_or_is_named(tmp_path: Path, codec: str, suffix: str) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / f"b.{suffix}"
    extras = Extras(audio=1, audio_codec=codec)
    write_clip(source, frames=25, codec="libx264", extras=extras)
    passed = pass_through(source, output)
    carried = packets(output, "audio")
    if passed.left:
        assert (codec, suffix) in (("flac", "mov"), ("libopus", "mov"), ("pcm_s16le", "mp4"))
        assert "audio stream 1" in passed.left[0]
        assert carried == []
    else:
        assert b"".join(data for _, data in carried[0]) == b"".join(
            data for _, data in packets(source, "audio")[0]
        )


def test_a_second_film_is_copied_and_a_cover_never_picked(tmp_path: Path) -> None:
    """The first real film is restored, whatever pictures and films are beside it."""
    one, two, both = (tmp_path / f"{name}.mkv" for name in "abc")
    write_clip(one, frames=10, codec="libx264")
    write_clip(two, frames=10, codec="libx264", options={"bf": "3"}, size=(32, 32))
    with av.open(str(both), "w") as output:
        sources = [av.open(str(path)) for path in (one, two)]
        for source in sources:
            output.add_stream_from_template(source.streams.video[0], opaque=True)
        output.start_encoding()
        for index, source in enumerate(sources):
            for packet in source.demux(source.streams.video[0]):
                if packet.size:
                    packet.stream = output.streams[index]
                    output.mux(packet)
        for source in sources:
            source.close()
    passed = pass_through(both, tmp_path / "d.mkv")
    assert passed.left == ()
    assert passed.clip.picture.width == 64
    contents = [[data for _, data in film] for film in packets(tmp_path / "d.mkv", "video")]
    assert contents[1] == [data for _, data in packets(both, "video")[1]]


def second_film_hidden(path: Path, hidden: int) -> Path:
    """Two films of a second and a chapter at its half; of the second an edit list hides frames."""
    with av.open(str(path), "w") as output:
        films: list[Any] = [output.add_stream("mpeg4", rate=25) for _ in range(2)]
        for film in films:
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        unit = {"time_base": Fraction(1, 1000), "metadata": {"title": "A"}}
        output.set_chapters([{"id": 1, "start": 500, "end": 1000, **unit}])
        for number in range(25):
            for film, before in zip(films, (0, hidden), strict=True):
                for packet in film.encode(picture("yuv420p", 64, 48, number)):
                    packet.pts -= before
                    packet.dts -= before
                    output.mux(packet)
    return path


@pytest.mark.parametrize(("hidden", "said"), [(2, False), (5, True)])
def test_chapters_that_matroska_leaves_behind_are_named(
    tmp_path: Path, hidden: int, said: bool
) -> None:
    """It moves a film that starts below zero with all streams, and not the chapters."""
    source = second_film_hidden(tmp_path / "a.mp4", hidden)
    report = repair(source, tmp_path / "b.mkv", settings=IDLE)
    assert read_frames(tmp_path / "b.mkv")[0].pts == 40 * hidden
    early = [one for one in report.warnings if f"chapters lie 0.{4 * hidden:02}0 s before" in one]
    assert len(early) == said
    assert repair(source, tmp_path / "c.mp4", settings=IDLE).warnings == ()


def test_dispositions_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    write_clip(tmp_path / "raw.mkv", frames=25, extras=Extras(audio=2))
    with av.open(str(tmp_path / "raw.mkv")) as raw, av.open(str(source), "w") as marked:
        copies = []
        for stream in raw.streams:
            copy: Any = marked.add_stream_from_template(stream, opaque=True)
            copies.append(copy)
        copies[2].disposition = 1 | 8  # default, comment
        marked.start_encoding()
        for packet in raw.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                marked.mux(packet)
    pass_through(source, tmp_path / "b.mkv")
    with av.open(str(tmp_path / "b.mkv")) as opened, av.open(str(source)) as before:
        kept = [int(stream.disposition) for stream in opened.streams.audio]
        assert kept == [int(stream.disposition) for stream in before.streams.audio]
        assert kept[1] & 8


def test_streams_on_a_pipe_are_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=5, extras=FULL)
    passed = pass_through(tmp_path / "a.mkv", tmp_path / "b.y4m")
    left = "\n".join(passed.left)
    for word in ("audio stream 1", "subtitle stream 4", "attachment", "cover", "3 chapters"):
        assert word in left
    assert "the tags of the file are not carried by y4m" in passed.plan.warnings


def test_tags_that_are_not_utf8_survive(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", extras=Extras(metadata=(("title", "XXXX"),)))
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(data.replace(b"XXXX", b"\xff\xfeAB"))
    passed = pass_through(tmp_path / "a.mkv", tmp_path / "b.mkv")
    assert b"\xff\xfeAB" in (tmp_path / "b.mkv").read_bytes()
    assert passed.clip.as_dict()["metadata"]["title"].endswith("AB")


def changed_on_the_way(source: Path, output: Path, change: Callable[[Any, int], bool]) -> Any:
    """Pass the packets beside the picture that `change` says yes to, of the packet and its number;
    gives the copies.
    """
    with open_source(source) as opened:
        plan = plan_output(opened.clip, output, OutputSettings())
        copies = plan_copies(opened.container, opened.clip, plan.container, opened.covers)
        numbers: Counter[int] = Counter()
        with open_target(opened.clip, plan, output, copies) as target:
            for item in opened.read():
                if isinstance(item, Frame):
                    target.write(item)
                    continue
                assert isinstance(item, Copied)
                if change(item.packet, numbers[item.stream]):
                    target.copy(item)
                numbers[item.stream] += 1
            target.finish()
    return copies


def test_packets_that_run_backwards_are_dropped_and_counted(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=25, extras=Extras(audio=1))
    count = 0

    def backwards(packet: Any, number: int) -> bool:
        nonlocal count
        count = number + 1
        if count == 20:
            packet.dts = packet.pts = 0
        return True

    copies = changed_on_the_way(tmp_path / "a.mkv", tmp_path / "b.mkv", backwards)
    assert copies.dropped == {1: 1}
    assert len(packets(tmp_path / "b.mkv", "audio")[0]) == count - 1


def rewritten(source: Path, output: Path, change: Callable[[Any], bool]) -> None:
    """Copy a file, those packets that `change` says yes to."""
    with av.open(str(source)) as read, av.open(str(output), "w") as written:
        copies = [written.add_stream_from_template(s, opaque=True) for s in read.streams]
        written.start_encoding()
        for packet in read.demux():
            if packet.size and change(packet):
                packet.stream = copies[packet.stream.index]
                written.mux(packet)


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_sound_without_a_packet_is_named_where_it_is_left_out(tmp_path: Path, suffix: str) -> None:
    write_clip(tmp_path / "a.mkv", codec="libx264", extras=Extras(audio=1))
    source, output = tmp_path / "b.mkv", tmp_path / f"c.{suffix}"
    rewritten(tmp_path / "a.mkv", source, lambda packet: packet.stream.index == 0)
    report = repair(source, output, settings=IDLE)
    said = f"is not carried: it holds no packet, and {suffix.upper()} leaves it out"
    assert [warning.endswith(said) for warning in report.warnings] == [True]
    assert check_files(output, source) == ()


def test_a_lone_packet_of_sound_below_zero_passes_into_mp4(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", codec="libx264", extras=Extras(audio=1))
    heard: list[int] = []

    def only_first(packet: Any) -> bool:
        if packet.stream.index == 1:
            heard.append(packet.pts)
        return packet.stream.index == 0 or len(heard) == 1

    rewritten(tmp_path / "a.mkv", tmp_path / "b.mkv", only_first)
    assert heard[0] < 0
    assert repair(tmp_path / "b.mkv", tmp_path / "c.mp4", settings=IDLE).warnings == ()
    assert check_files(tmp_path / "c.mp4", tmp_path / "b.mkv") == ()


def test_converted_text_that_runs_backwards_is_dropped_and_counted(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", codec="libx264", extras=Extras(subtitles=1))
    data = bytearray((tmp_path / "a.mkv").read_bytes())
    at = data.index(b"One")
    data[at - 3 : at - 1] = (300).to_bytes(2)  # the first is later than the second
    (tmp_path / "a.mkv").write_bytes(data)
    report = repair(tmp_path / "a.mkv", tmp_path / "b.mp4", settings=IDLE)
    assert "1 packet dropped" in report.warnings[-1]
    shown = [data for _, data in packets(tmp_path / "b.mp4", "subtitle")[0] if len(data) > 2]
    assert shown == [b"\0\3One"]


def test_packets_that_no_table_tells_of_are_a_stream_that_is_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.ts", codec="libx264", extras=Extras(audio=1))
    data = bytearray((tmp_path / "a.ts").read_bytes())
    starts = [at for at in range(0, len(data), 188) if data[at + 1] & 0x5F == 0x41]
    at = [at for at in starts if data[at + 2] == 1][-1]
    data[at + 2] = 0xF0  # the packet gets a program identifier of its own
    (tmp_path / "a.ts").write_bytes(data)
    report = repair(tmp_path / "a.ts", tmp_path / "b.mkv", settings=IDLE)
    assert ["unknown stream" in warning for warning in report.warnings] == [True]


def test_a_last_packet_without_duration_is_shown_in_mp4(tmp_path: Path) -> None:
    extras = Extras(audio=1, audio_codec="flac")
    write_clip(tmp_path / "a.mkv", frames=25, codec="libx264", extras=extras)

    def without(packet: Any, number: int) -> bool:
        packet.duration = 0
        return True

    changed_on_the_way(tmp_path / "a.mkv", tmp_path / "b.mp4", without)
    sound, written = (packets(tmp_path / name, "audio")[0] for name in ("a.mkv", "b.mp4"))
    assert [data for _, data in written] == [data for _, data in sound]


def test_a_packet_that_is_to_be_shown_before_it_is_decoded_is_written(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", codec="libx264", extras=Extras(audio=1))

    def early(packet: Any, number: int) -> bool:
        packet.pts = packet.dts - (7 if number == 5 else 0)
        return True

    copies = changed_on_the_way(tmp_path / "a.mkv", tmp_path / "b.mp4", early)
    assert copies.losses() == []
    sound, written = (packets(tmp_path / name, "audio")[0] for name in ("a.mkv", "b.mp4"))
    assert [data for _, data in written] == [data for _, data in sound]


def test_a_lone_packet_without_duration_is_shown_in_mp4(tmp_path: Path) -> None:
    extras = Extras(audio=1, audio_codec="flac")
    write_clip(tmp_path / "a.mkv", frames=25, codec="libx264", extras=extras)

    def first(packet: Any, number: int) -> bool:
        packet.duration = 0
        return number == 0

    changed_on_the_way(tmp_path / "a.mkv", tmp_path / "b.mp4", first)
    sound, written = (packets(tmp_path / name, "audio")[0] for name in ("a.mkv", "b.mp4"))
    assert [data for _, data in written] == [data for _, data in sound[:1]]


def mp4_with_gaps(path: Path, texts: list[bytes]) -> None:
    """A film of a second with mov_text as it is stored, a cue each 200 ms."""
    write_clip(path.with_suffix(".mkv"), frames=25, codec="libx264")
    with av.open(str(path.with_suffix(".mkv"))) as read, av.open(str(path), "w") as written:
        stream: Any = written.add_mux_stream("mov_text")
        stream.time_base = Fraction(1, 1000)
        film: Any = written.add_stream_from_template(read.streams.video[0], opaque=True)
        written.start_encoding()
        for packet in read.demux(read.streams.video[0]):
            if packet.size:
                packet.stream = film
                written.mux(packet)
        for number, text in enumerate(texts):
            words: Any = av.Packet(text)
            words.stream, words.time_base = stream, Fraction(1, 1000)
            words.pts = words.dts = 200 * number
            words.duration = 100
            written.mux(words)


def test_text_that_shows_nothing_is_not_written_twice(tmp_path: Path) -> None:
    texts = [b"\0\2Oh", b"\0\0", b"\0\2no", b"\0\0"]
    mp4_with_gaps(tmp_path / "a.mp4", texts)
    assert b"\0\0" in [data for _, data in packets(tmp_path / "a.mp4", "subtitle")[0]]
    repair(tmp_path / "a.mp4", tmp_path / "b.mp4", settings=IDLE)
    assert check_files(tmp_path / "b.mp4", tmp_path / "a.mp4") == ()
    shown = [
        [(time, data) for time, data in packets(tmp_path / name, "subtitle")[0] if len(data) > 2]
        for name in ("a.mp4", "b.mp4")
    ]
    assert shown[0] == shown[1]
    assert [data for _, data in shown[0]] == [b"\0\2Oh", b"\0\2no"]
    times = [time for time, _ in packets(tmp_path / "b.mp4", "subtitle")[0]]
    assert times == sorted(set(times))


def test_a_thousand_streams(tmp_path: Path) -> None:
    """As many as FFmpeg reads; all fit, and where they do not the list stays short."""
    source = tmp_path / "a.mkv"
    write_clip(source, frames=3, codec="libx264", extras=Extras(subtitles=999))
    passed = pass_through(source, tmp_path / "b.mkv")
    assert passed.left == ()
    with av.open(str(tmp_path / "b.mkv")) as opened:
        assert len(opened.streams) == 1000
    passed = pass_through(source, tmp_path / "b.y4m")
    assert len(passed.left) == 1
    assert passed.left[0].startswith(
        "999 subtitle streams are not carried, the first of them subtitle stream 1 (srt, eng)"
    )


def test_a_codec_that_nobody_knows_is_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=25, codec="libx264", extras=Extras(audio=1))
    data = (tmp_path / "a.mkv").read_bytes()
    assert data.count(b"A_AAC") == 1
    (tmp_path / "a.mkv").write_bytes(data.replace(b"A_AAC", b"A_XYZ"))
    for suffix in ("mkv", "mp4", "mov"):
        passed = pass_through(tmp_path / "a.mkv", tmp_path / f"b.{suffix}")
        assert [line[:46] for line in passed.left] == [
            "audio stream 1 (unknown codec, eng Track 0) is"
        ]
        assert passed.frames == 25


def test_data_and_attachments_are_named(tmp_path: Path) -> None:
    """Telemetry of a transport stream goes nowhere; an attachment not into MP4."""
    write_clip(tmp_path / "a.mkv", codec="libx264")
    with (
        av.open(str(tmp_path / "a.mkv")) as raw,
        av.open(str(tmp_path / "a.ts"), "w", format="mpegts") as output,
    ):
        picture = output.add_stream_from_template(raw.streams.video[0], opaque=True)
        data = output.add_data_stream("klv")
        output.start_encoding()
        for packet in raw.demux():
            if packet.size:
                time, unit = packet.dts, packet.time_base
                packet.stream = picture
                output.mux(packet)
                telemetry: Any = av.Packet(b"\x06\x0e\x2b\x34 and so on")
                telemetry.pts = telemetry.dts = time
                telemetry.time_base, telemetry.stream = unit, data
                output.mux(telemetry)
    for suffix in ("mkv", "mp4", "mov"):
        passed = pass_through(tmp_path / "a.ts", tmp_path / f"b.{suffix}")
        assert len(passed.left) == 1
        assert passed.left[0].startswith("data stream 1")


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
def test_tags_with_control_characters_pass(tmp_path: Path, suffix: str) -> None:
    text = "a\x01b\x1bc\x7f\r\nd\u202e\u0085"
    extras = Extras(audio=1, chapters=1, metadata=(("title", text), ("comment", "\t")))
    write_clip(tmp_path / "a.mkv", codec="libx264", extras=extras)
    passed = pass_through(tmp_path / "a.mkv", tmp_path / f"b.{suffix}")
    assert passed.left == ()
    with av.open(str(tmp_path / f"b.{suffix}")) as opened:
        assert opened.metadata["title"] == text


def test_what_stays_behind_is_known_by_number_and_by_name(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=5, codec="libx264", extras=FULL)
    with open_source(tmp_path / "a.mkv") as source:
        copies = plan_copies(source.container, source.clip, "mov", source.covers)
        assert copies.left == {5, 6}
        assert copies.lost == frozenset()
        assert copies.converted == {3, 4}
        copies = plan_copies(source.container, source.clip, "yuv4mpegpipe", source.covers)
        assert copies.left == {1, 2, 3, 4, 5, 6}
        assert copies.lost == {"chapters"}


def test_subtitles_that_are_pictures_are_named_where_they_do_not_go(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=25, codec="libx264", extras=Extras(subtitles=1))
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(data.replace(b"S_TEXT/UTF8", b"S_HDMV/PGS\0"))
    for suffix, carried in (("mkv", True), ("mp4", False), ("mov", False)):
        passed = pass_through(tmp_path / "a.mkv", tmp_path / f"b.{suffix}")
        assert passed.frames == 25
        assert bool(packets(tmp_path / f"b.{suffix}", "subtitle")) == carried
        if not carried:
            assert [line[:46] for line in passed.left] == [
                "subtitle stream 1 (pgssub, eng) is not carried"
            ]


def test_a_cover_keeps_the_name_of_its_file(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=3)
    with av.open(str(tmp_path / "a.mkv")) as read, av.open(str(tmp_path / "b.mkv"), "w") as written:
        copy = written.add_stream_from_template(read.streams[0], opaque=True)
        for name in ("front.png", "small_cover.png"):
            written.add_attachment(name, "image/png", png()).metadata["title"] = f"The {name}"
        written.start_encoding()
        for packet in read.demux():
            if packet.size:
                packet.stream = copy
                written.mux(packet)
    assert repair(tmp_path / "b.mkv", tmp_path / "c.mkv", settings=IDLE).warnings == ()
    with av.open(str(tmp_path / "c.mkv")) as done:
        tags = [(s.metadata["filename"], s.metadata["title"]) for s in list(done.streams)[1:]]
    assert tags == [(name, f"The {name}") for name in ("front.png", "small_cover.png")]


def texts_at(path: Path, cues: list[tuple[int, int, str]]) -> None:
    """A film of 2 s with SubRip, each cue from and for so many milliseconds."""
    with av.open(str(path), "w") as output:
        film: Any = output.add_stream("libx264", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        text: Any = output.add_stream("srt")
        text.codec_context.subtitle_header = b"[Script Info]\n"
        output.start_encoding()
        for start, lasts, words in cues:
            packet: Any = av.Packet(words.encode())
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = start
            packet.duration, packet.is_keyframe = lasts, True
            output.mux(packet)
        for number in range(50):
            output.mux(film.encode(picture("yuv420p", 64, 48, number)))
        output.mux(film.encode(None))


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_texts_that_overlap_or_say_no_length_are_shown_in_time(tmp_path: Path, suffix: str) -> None:
    cues = [(200, 800, "one"), (500, 1000, "two"), (1600, 0, "three")]
    texts_at(tmp_path / "a.mkv", cues)
    repair(tmp_path / "a.mkv", tmp_path / f"b.{suffix}", settings=IDLE)
    shown = [each for each in packets(tmp_path / f"b.{suffix}", "subtitle")[0] if len(each[1]) > 2]
    assert [(float(time), data[2:]) for time, data in shown] == [
        (0.2, b"one"),
        (0.5, b"one\ntwo"),
        (1.6, b"three"),
    ]


def test_of_very_many_texts_that_are_converted_the_first_are_named(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    write_clip(source, frames=3, codec="libx264", extras=Extras(subtitles=23))
    with open_source(source) as opened:
        said = plan_copies(opened.container, opened.clip, "mp4", opened.covers).warnings
    assert sum("becomes mov_text" in one for one in said) == NAMED
    assert "so do 3 more subtitle streams" in said


def test_a_film_does_not_lose_all_its_sound_unasked(tmp_path: Path) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / "b.webm"
    write_clip(source, codec="libx264", frames=3, extras=Extras(audio=2))
    with pytest.raises(CannotCarry, match=r"WebM cannot hold the sound.*--allow-loss audio$"):
        repair(source, output, settings=IDLE)
    assert not output.exists()
    allowed = OutputSettings(allow_loss=frozenset({"audio"}))
    assert len(repair(source, output, settings=IDLE, target=allowed).warnings) == 2


def test_the_way_out_that_is_named_for_sound_is_one(tmp_path: Path, ffmpeg: str) -> None:
    """A film of a camcorder, with sound that is not written into Matroska here."""
    write_clip(tmp_path / "raw.mkv", codec="mpeg4", extras=Extras(audio=1))
    command = [ffmpeg, "-v", "error", "-i", tmp_path / "raw.mkv", "-c:v", "copy"]
    source = tmp_path / "a.avi"
    subprocess.run([*command, "-c:a", "adpcm_ms", source], check=True)
    with pytest.raises(CannotCarry, match="cannot hold the sound") as refused:
        repair(source, tmp_path / "b.mkv", settings=IDLE)
    words = str(refused.value).split("ffmpeg ")[1].split(", or accept")[0].split()
    names = {"IN": str(source), "OUT.mkv": str(tmp_path / "c.mkv")}
    subprocess.run([ffmpeg, "-v", "error", *(names.get(word, word) for word in words)], check=True)
    assert repair(tmp_path / "c.mkv", tmp_path / "d.mkv", settings=IDLE).warnings == ()
    assert len(packets(tmp_path / "d.mkv", "audio")) == 1


def test_a_list_of_places_that_lies_has_no_chapters(tmp_path: Path) -> None:
    chaptered(tmp_path / "a.mkv", [(0, 200), (200, 400)])
    data = bytearray((tmp_path / "a.mkv").read_bytes())
    at = data.index(b"\x53\xab\x84\x10\x43\xa7\x70\x53\xac")
    size = data[at + 9] & 0x7F
    data[at + 10 : at + 10 + size] = b"\xff" * size
    (tmp_path / "b.mkv").write_bytes(data)
    assert (count_chapters(tmp_path / "a.mkv"), count_chapters(tmp_path / "b.mkv")) == (2, 0)


def test_chapters_within_chapters_are_counted_however_deep(tmp_path: Path) -> None:
    chaptered(tmp_path / "a.mkv", [(0, 200), (200, 400)])
    data = (tmp_path / "a.mkv").read_bytes()
    heads, size = [], 0
    for _ in range(10_000):
        heads.append(b"\xb6" + (1 << 56 | size).to_bytes(8, "big"))
        size += len(heads[-1])
    edition = make_element(EDITION, b"".join(reversed(heads)))
    # Behind all else, where the list of places is told to look.
    at = data.index(b"\x53\xab\x84\x10\x43\xa7\x70\x53\xac")
    (segment,) = [start for kind, start, _ in elements_in(data) if kind == SEGMENT]
    size = data[at + 9] & 0x7F
    place = (len(data) - segment).to_bytes(size, "big")
    deep = data[: at + 10] + place + data[at + 10 + size :] + make_element(CHAPTERS, edition)
    (tmp_path / "b.mkv").write_bytes(deep)
    assert count_chapters(tmp_path / "b.mkv") == 10_000
