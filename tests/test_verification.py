"""verify: a good file passes, and each kind of loss, planted in one, is found and named."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from calling import call
from click.testing import CliRunner, Result
from clips import Extras, picture, read_frames, samples_of, write_clip
from passing import IDLE

from vidrepair import DamageSettings, OutputSettings, RepairSettings, SourceSettings, repair
from vidrepair.cli.verify import verify
from vidrepair.comparison import compare_pictures
from vidrepair.decode import open_source
from vidrepair.encode import open_target, plan_output
from vidrepair.errors import CheckFailed, InputError, UsageError
from vidrepair.expectation import Expectation, Made, loss_name
from vidrepair.facts import Facts, FactsBuilder, read_facts
from vidrepair.frames import Frame
from vidrepair.labels import meaning, of_stream
from vidrepair.report import Difference
from vidrepair.streams import plan_copies
from vidrepair.subtitles import HEADER
from vidrepair.verification import check, check_files, compare

FULL = Extras(
    audio=2,
    subtitles=2,
    chapters=3,
    attachment=b"hello",
    metadata=(("title", "Ä film"), ("comment", "x"), ("director", "Y")),
)
HDR = (
    "log-level=none:hdr10=1:max-cll=1000,400:master-display="
    "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
)


X265_HDR = {"x265-params": HDR}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong while a file is copied; streams by their index in the source."""

    packet: Callable[[Any, int], Any] = lambda packet, _number: packet
    """Gets a packet and its number in its stream; None drops it."""
    stream: Callable[[Any, int], None] = lambda _copy, _index: None
    """Gets the new stream before the header is written."""
    order: Callable[[list[int]], list[int]] = lambda order: order
    """Which streams are copied, in which order."""
    chapters: Callable[[list[Any]], list[Any]] = lambda chapters: chapters
    tags: Callable[[dict[str, str]], dict[str, str]] = lambda tags: tags
    attachment: Callable[[bytes], bytes] = lambda data: data
    container: str | None = None


def copied(source: Path, output: Path, fault: Fault) -> Path:
    """Remux a file with a fault."""
    with av.open(str(source)) as read, av.open(str(output), "w", format=fault.container) as written:
        copies: dict[int, Any] = {}
        for index in fault.order([stream.index for stream in read.streams]):
            stream: Any = read.streams[index]
            if stream.type == "attachment":
                data = fault.attachment(stream.data)
                written.add_attachment(stream.name, stream.mimetype, data)
                continue
            copy: Any = written.add_stream_from_template(stream, opaque=True)
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            fault.stream(copy, index)
            copies[index] = copy
        written.metadata.update(fault.tags(dict(read.metadata)))
        written.set_chapters(fault.chapters(read.chapters()))
        written.start_encoding()
        numbers = dict.fromkeys(copies, -1)
        for packet in read.demux():
            index = packet.stream.index
            if packet.size and index in copies:
                numbers[index] += 1
                changed = fault.packet(packet, numbers[index])
                if changed is not None:
                    changed.stream = copies[index]
                    written.mux(changed)
    return output


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FFV1 in Matroska with two sounds, two subtitles, chapters, an attachment and tags."""
    folder = tmp_path_factory.mktemp("film")
    write_clip(folder / "raw.mkv", frames=25, extras=FULL)

    def mark(copy: Any, index: int) -> None:
        if index == 2:
            copy.disposition = 1 | 8  # default, comment
        if index == 0:
            copy.metadata["timecode"] = "01:02:03:04"

    return copied(folder / "raw.mkv", folder / "film.mkv", Fault(stream=mark))


def found(output: Path, source: Path, **options: Any) -> list[tuple[str, str]]:
    """What and where."""
    told = check_files(output, source, **options)
    return [(each.what, each.where) for each in told]


def altered(stream: int, number: int, change: Callable[[Any], Any]) -> Callable[[Any, int], Any]:
    """A fault in one packet."""

    def alter(packet: Any, place: int) -> Any:
        hit = packet.stream.index == stream and place == number
        return change(packet) if hit else packet

    return alter


def moved(packet: Any, ticks: int) -> Any:
    packet.pts += ticks
    packet.dts = packet.pts
    return packet


def shortened(packet: Any, ticks: int) -> Any:
    packet.duration -= ticks
    return packet


def flipped(packet: Any) -> Any:
    """The same packet with one bit changed."""
    data = bytearray(bytes(packet))
    data[len(data) // 2] ^= 4
    return replaced(packet, bytes(data))


def replaced(packet: Any, data: bytes) -> Any:
    """The same packet with other bytes."""
    other: Any = av.Packet(data)
    other.pts, other.dts, other.time_base = packet.pts, packet.dts, packet.time_base
    other.duration, other.is_keyframe = packet.duration, packet.is_keyframe
    return other


def ruined(packet: Any) -> Any:
    """The same packet with all but its first bytes overwritten."""
    data = bytes(packet)
    return replaced(packet, data[:8] + b"\xff" * (len(data) - 8))


def told(index: int, key: str, value: str) -> Callable[[Any, int], None]:
    def tell(copy: Any, place: int) -> None:
        if place == index:
            copy.metadata[key] = value

    return tell


def unmarked(copy: Any, index: int) -> None:
    if index == 2:
        copy.disposition = 1


def later(chapters: list[Any]) -> list[Any]:
    return [*chapters[:2], {**chapters[2], "start": chapters[2]["start"] + 40_000_000}]


def shorter(chapters: list[Any]) -> list[Any]:
    return [{**chapters[0], "end": chapters[0]["end"] - 40_000_000}, *chapters[1:]]


def retitled(chapters: list[Any]) -> list[Any]:
    return [{**chapters[0], "metadata": {"title": "Kapitel"}}, *chapters[1:]]


SOUND, TEXT = "audio stream 1 (aac, eng Track 0)", "subtitle stream 3 (srt, eng)"
NOTE = "attachment stream 5 (text/plain, note.txt)"
FAULTS: dict[str, tuple[Fault, str, str]] = {
    "a dropped frame": (
        Fault(packet=altered(0, 7, lambda _: None)),
        "number of frames",
        "the picture",
    ),
    "a frame late by a tick": (
        Fault(packet=altered(0, 7, lambda packet: moved(packet, 1))),
        "time of frame",
        "the picture",
    ),
    "shifted audio": (
        Fault(packet=lambda p, _: moved(p, 5) if p.stream.index == 1 else p),
        "time of packet",
        SOUND,
    ),
    "a changed audio packet": (Fault(packet=altered(1, 9, flipped)), "content", SOUND),
    "a lost audio packet": (
        Fault(packet=altered(1, 9, lambda _: None)),
        "number of packets",
        SOUND,
    ),
    "a late subtitle": (
        Fault(packet=altered(3, 1, lambda packet: moved(packet, 1))),
        "time of packet",
        TEXT,
    ),
    "a subtitle that goes early": (
        Fault(packet=altered(3, 1, lambda packet: shortened(packet, 7))),
        "length",
        TEXT,
    ),
    "a lost language": (Fault(stream=told(1, "language", "und")), "language", SOUND),
    "a changed track title": (Fault(stream=told(1, "title", "Track")), "title", SOUND),
    "a lost disposition": (
        Fault(stream=unmarked),
        "disposition",
        "audio stream 2 (aac, deu Track 1)",
    ),
    "a tag of a stream": (Fault(stream=told(1, "note", "new")), "tag note", SOUND),
    "a lost sound": (Fault(order=lambda order: [i for i in order if i != 1]), "stream", SOUND),
    "a lost subtitle": (Fault(order=lambda order: [i for i in order if i != 3]), "stream", TEXT),
    "a lost attachment": (Fault(order=lambda order: order[:5]), "stream", NOTE),
    "a stream too many": (
        Fault(order=lambda order: [*order, 4]),
        "stream",
        "subtitle stream 4 (srt, deu) of the output",
    ),
    "swapped streams": (
        Fault(order=lambda order: [0, 3, 1, 2, 4, 5]),
        "order of streams",
        "the file",
    ),
    "a changed byte of an attachment": (
        Fault(attachment=lambda data: b"j" + data[1:]),
        "content",
        NOTE,
    ),
    "a missing chapter": (Fault(chapters=lambda chapters: chapters[:2]), "chapters", "the file"),
    "a late chapter": (Fault(chapters=later), "chapters", "chapter 2"),
    "a chapter that ends early": (
        Fault(chapters=shorter),
        "chapters",
        "chapter 0, its end",
    ),
    "a chapter's title": (Fault(chapters=retitled), "chapters", "chapter 0"),
    "a changed title": (
        Fault(tags=lambda tags: {**tags, "title": "A film"}),
        "tag title",
        "the file",
    ),
    "a lost tag": (
        Fault(tags=lambda tags: {k: v for k, v in tags.items() if k != "DIRECTOR"}),
        "tag director",
        "the file",
    ),
    "a lost timecode": (
        Fault(stream=lambda copy, index: index or copy.metadata.clear()),
        "timecode",
        "the picture",
    ),
}


def test_a_copy_differs_in_nothing(film: Path, tmp_path: Path) -> None:
    output = copied(film, tmp_path / "copy.mkv", Fault())
    assert check_files(output, film) == ()
    assert check_files(output, film, whole=True) == ()


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_named(film: Path, tmp_path: Path, name: str) -> None:
    fault, what, where = FAULTS[name]
    output = copied(film, tmp_path / "bad.mkv", fault)
    assert set(found(output, film)) == {(what, where)}


def test_damage_at_the_end_is_found_and_elsewhere_by_decoding_all(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    write_clip(source, codec="libx264", frames=45, options={"g": "10"})
    last = copied(source, tmp_path / "b.mkv", Fault(packet=altered(0, 44, ruined)))
    assert found(last, source) == [("content", "the file")]
    middle = copied(source, tmp_path / "c.mkv", Fault(packet=altered(0, 20, ruined)))
    assert check_files(middle, source) == ()
    assert ("content", "the file") in found(middle, source, whole=True)


def test_a_file_that_ends_early_is_found(film: Path, tmp_path: Path) -> None:
    output = tmp_path / "half.mkv"
    output.write_bytes(film.read_bytes()[: film.stat().st_size * 2 // 3])
    what = dict(found(output, film))
    assert {"number of frames", "number of packets"} <= set(what)


@pytest.mark.parametrize(
    ("what", "right", "wrong"),
    [
        ("matrix", {"colorspace": 1}, {"colorspace": 5}),
        ("primaries", {"color_primaries": 9}, {"color_primaries": 1}),
        ("transfer", {"color_trc": 16}, {"color_trc": 1}),
        ("range", {"color_range": 2}, {"color_range": 1}),
        ("range", {"color_range": 2}, {}),
        ("sample aspect ratio", {"sample_aspect_ratio": Fraction(16, 15)}, {}),
        ("rotation", {"display_rotation": 90}, {}),
        ("rotation", {"display_rotation": 90}, {"display_rotation": 180}),
        ("size", {}, {"size": (64, 40)}),
        ("pixel format", {"pix_fmt": "yuv420p10le"}, {"pix_fmt": "yuv420p"}),
        ("mastering display", {"options": {"x265-params": HDR}}, {}),
        (
            "content light level",
            {"options": {"x265-params": HDR}},
            {"options": {"x265-params": HDR.replace("1000,400", "1000,500")}},
        ),
    ],
)
def test_a_fact_of_the_picture_that_changed_is_named(
    tmp_path: Path, what: str, right: dict[str, Any], wrong: dict[str, Any]
) -> None:
    source, output = tmp_path / "a.mp4", tmp_path / "b.mp4"
    shared: dict[str, Any] = {"codec": "libx265", "frames": 4}
    write_clip(source, **{**shared, **right})
    write_clip(output, **{**shared, **wrong})
    differences = check_files(output, source)
    names = [each.what for each in differences]
    assert what in names
    assert set(names) <= {what, "content light level"}  # x265 writes both or none
    facts = read_facts(source)
    assert what not in [each.what for each in check(facts, source)]
    allowed = Expectation(lost=frozenset(map(loss_name, differences)))
    assert check(facts, output, allowed) == ()


def test_a_tag_that_is_given_up_excuses_no_other(film: Path, tmp_path: Path) -> None:
    gone = Fault(tags=lambda tags: {k: v for k, v in tags.items() if k == "title"})
    output, facts = copied(film, tmp_path / "b.mkv", gone), read_facts(film)
    named = [each.what for each in check(facts, output)]
    assert named == ["tag comment", "tag director"]
    allowed = Expectation(lost=frozenset({"tag director"}))
    assert [each.what for each in check(facts, output, allowed)] == ["tag comment"]
    assert check(facts, output, Expectation(lost=frozenset({"tags"}))) == ()


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize("source", ["full.mkv", "plain.mkv", "sound.mp4", "sound.mov", "vfr.mkv"])
def test_what_we_write_passes(tmp_path: Path, source: str, suffix: str) -> None:
    path, output = tmp_path / source, tmp_path / f"out.{suffix}"
    if source == "full.mkv" and suffix != "mkv":
        pytest.skip("MP4 and MOV do not take all of it, and say so")
    extras = {
        "full.mkv": replace(FULL, cover=True),
        "plain.mkv": Extras(audio=2, chapters=2, metadata=(("title", "T"), ("director", "Y"))),
        "vfr.mkv": Extras(audio=1),
    }.get(source, Extras(audio=2, metadata=(("title", "T"),)))
    pts = [0, 40, 81, 200, 201, 360, 400, 500, 777, 900] if source == "vfr.mkv" else None
    write_clip(
        path,
        frames=len(pts) if pts else 25,
        codec="ffv1" if source == "full.mkv" else "libx264",
        pts=pts,
        time_base=Fraction(1, 1000) if pts else None,
        color_range=1,
        colorspace=1,
        extras=extras,
    )
    repair(path, output, settings=IDLE)
    differences = check_files(output, path, whole=True)
    # The picture's own mark as the default stream is not written into Matroska.
    assert {(each.what, each.where) for each in differences} <= {("disposition", "the picture")}
    if path.suffix == output.suffix:
        assert differences == ()


def test_what_was_announced_is_excused(tmp_path: Path) -> None:
    """MP4 takes no attachment, and subtitles only as mov_text."""
    source, output = tmp_path / "a.mkv", tmp_path / "b.mp4"
    write_clip(source, codec="libx264", frames=25, extras=FULL)
    repair(source, output, settings=IDLE)
    facts = facts_of(source)
    named = {each.where.split(" (")[0] for each in check(facts, output)}
    assert named == {"subtitle stream 3", "subtitle stream 4", "attachment stream 5"}
    with open_source(source) as opened:
        copies = plan_copies(opened.container, opened.clip, "mp4", opened.covers)
    allowed = Expectation(left=copies.left, converted=copies.converted)
    assert check(facts, output, allowed) == ()


def facts_of(path: Path) -> Facts:
    """As a run takes them, from the frames that are decoded."""
    with open_source(path) as source:
        builder = FactsBuilder(source.container, source.clip.video.index)
        for item in source.read():
            if isinstance(item, Frame):
                builder.add_frame(item)
            else:
                builder.add_packet(item)
        return builder.build(source.clip)


def test_a_film_that_was_stopped_early(tmp_path: Path) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / "b.mkv"
    write_clip(source, codec="libx264", frames=100, extras=Extras(audio=1, chapters=2))
    repair(source, output, settings=IDLE, target=OutputSettings(frames=60))
    assert check_files(output, source, frames=60) == ()
    assert [what for what, _ in found(output, source)] == ["number of frames", "number of packets"]
    assert [what for what, _ in found(output, source, frames=59)] == ["number of frames"]
    silent = copied(output, tmp_path / "c.mkv", Fault(packet=only_the_first_sounds))
    assert found(silent, source, frames=60) == [("end", "audio stream 1 (aac, eng Track 0)")]


def only_the_first_sounds(packet: Any, number: int) -> Any:
    return packet if packet.stream.index == 0 or number < 5 else None


def test_a_start_below_zero_moves_all_streams_together(tmp_path: Path) -> None:
    """Sound of MP4 starts before zero; Matroska moves it and the picture by 21 ms."""
    source, output = tmp_path / "a.mp4", tmp_path / "b.mkv"
    write_clip(source, codec="libx264", frames=25, rate=Fraction(30000, 1001), extras=Extras(1))
    repair(source, output, settings=IDLE)
    assert read_frames(output)[0].pts == 21
    assert {what for what, _ in found(output, source)} <= {"disposition"}
    fault = Fault(packet=lambda p, _: moved(p, 1) if p.stream.index == 1 else p)
    late = copied(output, tmp_path / "c.mkv", fault)
    assert ("time of packet", "audio stream 1 (aac, eng Track 0)") in found(late, source)


def test_an_offset_is_taken_into_account(film: Path, tmp_path: Path) -> None:
    output = copied(film, tmp_path / "late.mkv", Fault(packet=lambda p, _: moved(p, 500)))
    what = {each.what for each in check(facts_of(film), output)}
    assert what == {"time of frame", "time of packet"}
    later = Expectation(offset=Fraction(1, 2), lost=frozenset({"chapters"}))
    assert check(facts_of(film), output, later) == ()


def test_streams_of_which_packets_were_dropped(film: Path, tmp_path: Path) -> None:
    output = copied(film, tmp_path / "b.mkv", Fault(packet=altered(1, 9, lambda _: None)))
    assert check(facts_of(film), output, Expectation(thinned={1: 1})) == ()
    worse = copied(output, tmp_path / "c.mkv", Fault(packet=altered(1, 4, flipped)))
    assert check(facts_of(film), worse, Expectation(thinned={1: 1}))


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_two_files_one_of_which_has_its_text_converted(
    film: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"a.{suffix}"
    none = RepairSettings(denoise=(0.0, 0.0), damage=DamageSettings(kinds=()))
    target = OutputSettings(codec="h264", allow_loss=frozenset({"attachments", "covers"}))
    repair(film, out, settings=none, target=target)
    found = {one.where.split()[0] for one in check_files(out, film)}
    assert "subtitle" not in found


def test_marks_that_a_container_loses_have_a_name(film: Path, tmp_path: Path) -> None:
    def comment(copy: Any, index: int) -> None:
        if index == 2:
            copy.disposition = av.stream.Disposition.comment

    source = copied(film, tmp_path / "comment.mkv", Fault(stream=comment))
    out = tmp_path / "a.mov"
    named = "attachments,covers"
    target = OutputSettings(codec="h264", allow_loss=frozenset(named.split(",")))
    repair(source, out, settings=IDLE, target=target)
    words = [str(out), "--against", str(source), "--allow-loss"]
    told = CliRunner().invoke(verify, [*words, named])
    assert isinstance(told.exception, CheckFailed)
    assert "disposition is none, expected comment" in told.output
    assert "--allow-loss marks" in str(told.exception)
    assert CliRunner().invoke(verify, [*words, f"{named},marks"]).exit_code == 0


def test_converted_subtitles_keep_their_times(film: Path, tmp_path: Path) -> None:
    """Into mov_text, in MP4: two bytes of length before the words, and gaps that say nothing."""
    output = tmp_path / "b.mp4"
    with av.open(str(film)) as read, av.open(str(output), "w") as written:
        text: Any = written.add_mux_stream("mov_text")
        text.time_base, text.metadata["language"] = Fraction(1, 1000), "eng"
        film_copy: Any = written.add_stream_from_template(read.streams.video[0], opaque=True)
        written.start_encoding()
        for packet in read.demux(read.streams[0], read.streams[3]):
            if packet.size and packet.stream.index == 3:
                data = bytes(packet)
                words: Any = av.Packet(len(data).to_bytes(2, "big") + data)
                words.stream, words.time_base = text, packet.time_base
                words.pts, words.dts, words.duration = packet.pts, packet.dts, packet.duration
                written.mux(words)
            elif packet.size:
                packet.stream = film_copy
                written.mux(packet)
    facts = facts_of(film)
    allowed = Expectation(left=frozenset({1, 2, 4, 5}), converted=frozenset({3}))
    named = {each.what for each in check(facts, output, allowed) if each.where == TEXT}
    assert named <= {"disposition"}
    unannounced = replace(allowed, converted=frozenset())
    assert "codec" in {each.what for each in check(facts, output, unannounced)}


def test_y4m_holds_the_number_of_frames_alone(tmp_path: Path) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / "b.y4m"
    write_clip(source, frames=9, extras=Extras(audio=1))
    repair(source, output, settings=IDLE)
    allowed = Expectation(renumbered=True)
    assert check(facts_of(source), output, allowed) == ()
    output.write_bytes(output.read_bytes()[: -(64 * 48 * 3 // 2 + 6)])
    assert [each.what for each in check(facts_of(source), output, allowed)] == ["number of frames"]


def test_sound_with_headers_of_a_transport_stream_is_the_same(tmp_path: Path) -> None:
    source, output = tmp_path / "a.ts", tmp_path / "b.mkv"
    write_clip(tmp_path / "a.mp4", codec="libx264", frames=25, extras=Extras(audio=1))
    copied(tmp_path / "a.mp4", source, Fault(container="mpegts"))
    repair(source, output, settings=IDLE)
    assert check_files(output, source) == ()
    bad = copied(output, tmp_path / "c.mkv", Fault(packet=altered(1, 9, flipped)))
    assert [what for what, _ in found(bad, source)] == ["content"]


def test_a_header_of_aac_may_say_any_layer(tmp_path: Path) -> None:
    """ISO/IEC 14496-3 says 0; FFmpeg takes the header away whatever it says."""
    source, output = tmp_path / "b.ts", tmp_path / "b.mkv"
    write_clip(tmp_path / "a.ts", codec="libx264", frames=25, extras=Extras(audio=1))
    data = (tmp_path / "a.ts").read_bytes()
    assert data.count(b"\xff\xf1\x4c") > 5
    source.write_bytes(data.replace(b"\xff\xf1\x4c", b"\xff\xf3\x4c"))
    repair(source, output, settings=IDLE)
    assert check_files(output, source) == ()


def test_a_difference_is_one_line_whatever_the_film_says() -> None:
    line = str(Difference("title", "the file", "a\x1b[2J", "b\nc\u202e"))
    assert line == "the file: title is b\ufffdc\ufffd, expected a\ufffd[2J"


@pytest.mark.parametrize("pix_fmt", ["gray", "gbrp", "yuv422p12le", "yuva444p10le", "ya8"])
def test_every_format_passes(tmp_path: Path, pix_fmt: str) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / "b.mkv"
    stored = "bgr0" if pix_fmt == "gbrp" else pix_fmt
    frames = [picture(pix_fmt, 21, 13, number).reformat(format=stored) for number in range(3)]
    write_clip(source, frames=frames, size=(21, 13), pix_fmt=stored)
    repair(source, output, settings=IDLE)
    assert check_files(output, source, whole=True) == ()
    shots, differences = compare_pictures(output, source)
    assert differences == ()
    assert {figures.changed for shot in shots for _, figures in shot.planes} == {0}


def test_facts_are_the_same_however_they_are_taken(film: Path) -> None:
    told, read = facts_of(film).as_dict(), read_facts(film).as_dict()
    assert told == read
    assert json.loads(json.dumps(told)) == told
    assert told["pts"] == list(range(0, 1000, 40))
    assert [stream["packets"] for stream in told["streams"]] == [48, 48, 2, 2, 0]
    assert told["chapters"][1]["title"] == "Kapitel 1 é"
    assert dict(compare_facts(film)) == {}


def compare_facts(path: Path) -> list[tuple[str, str]]:
    return [(d.what, d.where) for d in compare(facts_of(path), read_facts(path), Expectation())]


def edited(frames: list[av.VideoFrame], changes: dict[tuple[int, int, int, int], int]) -> None:
    """Set samples: frame, plane, row, column."""
    for (frame, plane, row, column), code in changes.items():
        view = np.frombuffer(frames[frame].planes[plane], np.uint8)
        view.reshape(frames[frame].planes[plane].height, -1)[row, column] = code


def test_no_change_outside_the_matte_goes_unseen(tmp_path: Path) -> None:
    source, output, mask = (tmp_path / f"{name}.mkv" for name in ("a", "b", "matte"))
    write_clip(source, frames=6)
    frames = [picture("yuv420p", 64, 48, number) for number in range(6)]
    edited(frames, {(2, 0, 10, 21): 255, (2, 1, 5, 10): 0, (4, 0, 30, 30): 255})
    write_clip(output, frames=frames)
    marks = [av.VideoFrame(64, 48, "gray") for _ in range(6)]
    for mark in marks:
        np.frombuffer(mark.planes[0], np.uint8)[:] = 0
    edited(marks, {(2, 0, 10, 21): 1, (4, 0, 30, 30): 255})
    write_clip(mask, frames=marks, pix_fmt="gray", color_range=2)
    shots, differences = compare_pictures(output, source, mask)
    assert differences == ()
    regions = {shot.region: dict(shot.planes) for shot in shots}
    assert regions["inside"]["Y"].samples == regions["inside"]["Y"].changed == 2
    assert regions["inside"]["Cb"].changed == 1
    assert regions["outside"]["Y"].changed == 0
    assert regions["outside"]["Y"].ssim == 1.0
    assert regions["outside"]["Y"].psnr == float("inf")
    assert regions["outside"]["Y"].samples == 6 * 64 * 48 - 2
    edited(frames, {(5, 2, 23, 31): 3, (5, 0, 0, 0): 1})
    write_clip(output, frames=frames)
    _, (difference,) = compare_pictures(output, source, mask)
    assert difference.found == "2 in 1 frames, the first in frame 5"


def test_figures_are_those_of_the_field(tmp_path: Path) -> None:
    """PSNR as OpenCV has it, SSIM as its definition says, window by window."""
    source, output = tmp_path / "a.mkv", tmp_path / "b.mkv"
    write_clip(source, frames=3)
    write_clip(output, frames=3, codec="libx264", options={"crf": "30"})
    (shot,), _ = compare_pictures(output, source)
    assert (shot.shot, shot.first, shot.frames, shot.region) == (0, 0, 3, "all")
    luma = dict(shot.planes)["Y"]
    pairs = [
        (samples_of(before)[0], samples_of(after)[0])
        for before, after in zip(read_frames(source), read_frames(output), strict=True)
    ]
    one, other = (np.concatenate(planes) for planes in zip(*pairs, strict=True))
    assert luma.psnr == pytest.approx(cv2.PSNR(one, other))
    assert luma.largest == np.abs(one.astype(int) - other).max()
    assert luma.changed == (one != other).sum()
    assert (luma.before, luma.after) == pytest.approx((one.mean(), other.mean()))
    values = []
    for before, after in pairs:
        for y in range(0, 41, 4):
            for x in range(0, 57, 4):
                a, b = (p[y : y + 8, x : x + 8].astype(float) for p in (before, after))
                level, contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
                value = (2 * a.mean() * b.mean() + level) / (a.mean() ** 2 + b.mean() ** 2 + level)
                covariance = ((a - a.mean()) * (b - b.mean())).mean()
                values.append(value * (2 * covariance + contrast) / (a.var() + b.var() + contrast))
    assert luma.ssim == pytest.approx(np.mean(values))
    assert 0.5 < luma.ssim < 1.0


def test_a_picture_of_one_sample(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    write_clip(source, frames=2, size=(1, 1), pix_fmt="yuv444p")
    assert check_files(source, source) == ()
    shots, _ = compare_pictures(source, source)
    assert sum(dict(shot.planes)["Y"].samples for shot in shots) == 2


def test_pictures_of_two_sizes_are_refused(tmp_path: Path) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / "b.mkv"
    write_clip(source, frames=2)
    write_clip(output, frames=2, size=(32, 48))
    with pytest.raises(UsageError, match=r"32x48 yuv420p and .* 64x48 yuv420p"):
        compare_pictures(output, source)
    with pytest.raises(InputError, match=r"--matte .*b\.mkv is 32x48"):
        compare_pictures(source, source, output)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(verify, [str(argument) for argument in arguments])


def test_the_command_says_what_was_compared(film: Path, tmp_path: Path) -> None:
    output = copied(film, tmp_path / "copy.mkv", Fault())
    result = run(output, "--against", film, "--picture")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "shot 0, frames 0 to 24"
    assert lines[-1].startswith(f"{output}: as {film}, compared were frames, times")


def test_one_dropped_packet_excuses_no_stream_that_is_missing(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", codec="libx264", extras=Extras(audio=1))
    write_clip(tmp_path / "b.mp4", codec="libx264")
    facts = read_facts(tmp_path / "a.mkv")
    count = len(facts.tracks[0].packets)
    for dropped, missing in ((1, True), (count, False)):
        allowed = Expectation(thinned={1: dropped})
        told = [each.what for each in check(facts, tmp_path / "b.mp4", allowed)]
        assert ("stream" in told) == missing


def test_of_another_film_the_number_of_frames_is_told_alone(film: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "b.mkv", frames=9, rate=Fraction(30))
    told = run(tmp_path / "b.mkv", "--against", film).output
    assert "the picture: number of frames is 9, expected 25" in told


def test_a_part_of_the_source_is_asked_for_as_such(film: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.mkv"
    repair(film, part, settings=IDLE, target=OutputSettings(frames=9))
    result = run(part, "--against", film)
    assert isinstance(result.exception, CheckFailed)
    assert "the picture: number of frames is 9 with none at 0.360000 s" in result.output
    assert "if OUT is a part of IN, say so: --frames" in str(result.exception)
    assert "say so" not in str(run(part, "--against", film, "--frames", "8").exception)
    assert run(part, "--against", film, "--frames", "9").exit_code == 0


def test_the_command_names_each_difference(film: Path, tmp_path: Path) -> None:
    fault = Fault(packet=altered(0, 7, lambda packet: moved(packet, 1)), chapters=later)
    output = copied(film, tmp_path / "bad.mkv", fault)
    result = run(output, "--against", film)
    assert result.output == (
        "the picture: time of frame is 0.281000 s (281 x 1/1000),"
        " expected 0.280000 s (280 x 1/1000) for frame 7\n"
        "chapter 2: chapters is 0.706 s, expected 0.666 s\n"
    )
    assert isinstance(result.exception, CheckFailed)
    assert result.exception.exit_code == 5
    assert "differs from" in str(result.exception)
    told = json.loads(run(output, "--against", film, "--json").output)
    assert [each["what"] for each in told["differences"]] == ["time of frame", "chapters"]


def test_another_film_is_not_excused(film: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "b.mkv", frames=3, size=(32, 32))
    result = run(tmp_path / "b.mkv", "--against", film)
    assert "of another film: check the names" in str(result.exception)
    assert "--allow-loss" not in str(result.exception)


def test_a_file_that_cannot_be_read(film: Path, tmp_path: Path) -> None:
    (difference,) = check(facts_of(film), tmp_path / "none.mkv")
    assert difference.what == "content"
    assert "does not exist" in str(difference)
    with pytest.raises(InputError, match="does not exist"):
        check_files(tmp_path / "none.mkv", film)


def excerpt(start: str | None, end: str | None) -> SourceSettings:
    return SourceSettings(
        start=None if start is None else Fraction(start), end=None if end is None else Fraction(end)
    )


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize(("start", "end"), [("0.5", None), ("0.5", "2.9"), (None, "1.1")])
def test_a_part_passes_and_is_checked_as_one(
    tmp_path: Path, suffix: str, start: str | None, end: str | None
) -> None:
    """With its chapters, of which the first is cut and the last may be left out."""
    source, output = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    extras = Extras(audio=1, chapters=3)
    write_clip(source, codec="libx264", frames=100, size=(32, 32), extras=extras)
    repair(source, output, settings=IDLE, reading=excerpt(start, end))
    assert check_files(output, source, reading=excerpt(start, end)) == ()
    with av.open(str(output)) as opened:
        assert len(opened.chapters()) == (1 if end == "1.1" else 3)
    shorter = excerpt(start, "0.9")
    assert "number of frames" in dict(found(output, source, reading=shorter))


def test_the_timecode_of_a_part_is_that_of_its_first_frame(film: Path, tmp_path: Path) -> None:
    output = tmp_path / "b.mkv"
    repair(film, output, settings=IDLE, reading=excerpt("0.4", None))
    assert dict(read_facts(output).picture)["timecode"] == "01:02:03:14"


@pytest.mark.parametrize("suffix", ["mp4", "mov", "webm"])
def test_converted_text_of_a_film_that_was_stopped_early(
    film: Path, tmp_path: Path, suffix: str
) -> None:
    """The checks of the run itself let it pass."""
    webm = suffix == "webm"
    allowed = frozenset({"audio"} if webm else ())
    target = OutputSettings(codec="av1" if webm else "h264", frames=10, allow_loss=allowed)
    report = repair(film, tmp_path / f"b.{suffix}", settings=IDLE, target=target)
    assert report.frames == 10


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_the_first_chapter_of_mp4_starts_at_0_and_is_named(tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / f"b.{suffix}"
    write_clip(tmp_path / "raw.mkv", codec="libx264", frames=50, extras=Extras(chapters=3))

    def late(chapters: list[Any]) -> list[Any]:
        return [{**chapters[0], "start": chapters[0]["end"] // 2}, *chapters[1:]]

    copied(tmp_path / "raw.mkv", source, Fault(chapters=late))
    report = repair(source, output, settings=IDLE)
    said = "the first chapter, from 0.334 s on, starts at 0"
    assert [line for line in report.warnings if line.startswith(said)]
    begins, starts = (
        [each.start for each in read_facts(path).chapters] for path in (source, output)
    )
    assert float(starts[0]) == 0
    assert [float(at) for at in starts[1:]] == pytest.approx(list(map(float, begins[1:])), abs=2e-3)
    facts = read_facts(source)
    assert check(facts, output) == ()
    *others, last = facts.chapters
    early = replace(facts, chapters=(*others, replace(last, start=last.start - Fraction(1, 25))))
    assert [each.where for each in check(early, output)] == ["chapter 2"]


def test_lines_that_show_nothing_are_not_missed(tmp_path: Path) -> None:
    """A drawing of ASS has no words; two letters are as good as two hundred."""
    source, output = tmp_path / "a.mkv", tmp_path / "b.mp4"
    line = b"0,0,Default,,0,0,0,,"
    cues = [line + b"Hi", line + b"{\\p1}m 0 0 l 1 1{\\p0}", line + b"Two"]
    write_clip(tmp_path / "raw.mkv", codec="libx264", frames=50)
    with av.open(str(tmp_path / "raw.mkv")) as raw, av.open(str(source), "w") as written:
        picture_copy = written.add_stream_from_template(raw.streams.video[0], opaque=True)
        text: Any = written.add_stream("ass")
        text.codec_context.subtitle_header = HEADER
        text.codec_context.time_base = text.time_base = Fraction(1, 1000)
        written.start_encoding()
        for packet in raw.demux():
            if packet.size:
                packet.stream = picture_copy
                written.mux(packet)
        for number, payload in enumerate(cues):
            cue: Any = av.Packet(payload)
            cue.stream, cue.time_base = text, Fraction(1, 1000)
            cue.pts = cue.dts = 200 + 500 * number
            cue.duration, cue.is_keyframe = 300, True
            written.mux(cue)
    with open_source(source) as opened:
        plan = plan_output(opened.clip, output, OutputSettings())
        copies = plan_copies(opened.container, opened.clip, "mp4", opened.covers)
        builder = FactsBuilder(opened.container, opened.clip.video.index)
        with open_target(opened.clip, plan, output, copies) as target:
            for item in opened.read():
                if isinstance(item, Frame):
                    builder.add_frame(item)
                    target.write(item)
                else:
                    builder.add_packet(item)
                    target.copy(item)
            target.finish()
        facts = builder.build(opened.clip)
    assert copies.empty == {1: {1}}
    allowed = Expectation(converted=copies.converted, empty=copies.empty)
    assert check(facts, output, allowed) == ()
    assert check(facts, output, replace(allowed, empty={})) != ()


def test_what_is_said_of_a_stream_is_excused_by_its_name(film: Path, tmp_path: Path) -> None:
    """And only there: the film has the mark comment on one stream, and titles on two."""
    output = copied(film, tmp_path / "b.mkv", Fault(stream=unmarked))
    facts = facts_of(film)
    lost = frozenset({of_stream(2, "disposition comment")})
    assert check(facts, output, Expectation(lost=lost)) == ()
    assert check(facts, output, Expectation(lost=frozenset({of_stream(1, "disposition comment")})))
    renamed = copied(film, tmp_path / "c.mkv", Fault(stream=told(1, "title", "Track")))
    assert check(facts, renamed, Expectation(lost=lost))
    assert not check(facts, renamed, Expectation(lost=frozenset({of_stream(1, "title")})))


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_labels_of_all_kinds_pass_into_mp4_and_mov(tmp_path: Path, suffix: str) -> None:
    """What is not kept is named; the run's own check finds nothing else."""
    source, output = tmp_path / "a.mkv", tmp_path / f"b.{suffix}"
    tags = (("composer", "C"), ("creation_time", "2020-01-02T03:04:05.000000Z"))
    write_clip(tmp_path / "raw.mkv", codec="libx264", extras=Extras(audio=2, metadata=tags))
    languages = {0: "fra", 1: "hrv", 2: "nob"}

    def label(copy: Any, index: int) -> None:
        copy.metadata.update({"language": languages[index], "note": "n", "title": "Ü"})
        copy.disposition = 1 | 8 | 64 if index else 1 | 64

    copied(tmp_path / "raw.mkv", source, Fault(stream=label))
    report = repair(source, output, settings=IDLE)
    named = [line for line in report.warnings if "does not keep" in line]
    assert len(named) == 3
    assert all("tag" in line for line in named)
    assert sum("the language nob" in line for line in named) == (suffix == "mov")
    facts = read_facts(output)
    assert facts.film.facts.language == "fra"
    assert [meaning(track.facts.language) for track in facts.tracks] == [
        "hrv",
        "" if suffix == "mov" else "nob",
    ]
    assert dict(facts.tags)["composer"] == "C"


def test_the_first_frame_tells_the_order_of_fields(tmp_path: Path) -> None:
    """Matroska says top first of H.264 whatever its frames say."""
    source = tmp_path / "a.mkv"
    write_clip(source, codec="libx264", options={"x264-params": "bff=1:interlaced=1"})
    for suffix in ("mkv", "mp4", "mov"):
        output = tmp_path / f"b.{suffix}"
        repair(source, output, settings=IDLE, target=OutputSettings(codec="h264"))
        assert dict(read_facts(output).picture)["field order"] == "bff"


def test_other_styles_of_a_subtitle_are_found(tmp_path: Path) -> None:
    for name, style in (("a", "Arial,16"), ("b", "Times,40")):
        with av.open(str(tmp_path / f"{name}.mkv"), "w") as output:
            film: Any = output.add_stream("ffv1", rate=25)
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
            text: Any = output.add_stream("ass")
            text.codec_context.subtitle_header = HEADER + f"; {style}".encode()
            output.mux(film.encode(picture("yuv420p", 64, 48, 0)))
            output.mux(film.encode(None))
    assert found(tmp_path / "b.mkv", tmp_path / "a.mkv") == [("styles", "subtitle stream 1 (ssa)")]


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
def test_the_last_frame_is_shown_as_long_as_before(tmp_path: Path, suffix: str) -> None:
    """A row of stills: the last one stays for two seconds."""

    def long(packet: Any, number: int) -> Any:
        packet.duration = 2 * packet.time_base.denominator if number == 9 else packet.duration
        return packet

    write_clip(tmp_path / "raw.mov", codec="libx264", frames=10, options={"bf": "0"})
    source = copied(tmp_path / "raw.mov", tmp_path / "a.mov", Fault(packet=long))
    output = tmp_path / f"b.{suffix}"
    repair(source, output, settings=IDLE, target=OutputSettings(codec="h264"))
    assert check_files(output, source) == ()
    assert read_facts(output).last * read_facts(output).time_base == 2
    assert found(output, tmp_path / "raw.mov") == [("length of the last frame", "the picture")]


def two_films(path: Path, shape: Fraction, matrix: int) -> Path:
    """The second one with that shape of its samples and that matrix."""
    with av.open(str(path), "w") as output:
        films: list[Any] = [output.add_stream("mpeg4", rate=25) for _ in range(2)]
        for film in films:
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        films[1].codec_context.sample_aspect_ratio = shape
        films[1].codec_context.colorspace = matrix
        for number in range(3):
            for film in films:
                output.mux(film.encode(picture("yuv420p", 64, 48, number)))
        for film in films:
            output.mux(film.encode(None))
    return path


def test_shape_and_colours_of_a_copied_film_are_compared(tmp_path: Path) -> None:
    source = two_films(tmp_path / "a.mkv", Fraction(4, 3), 9)
    for suffix in ("mkv", "mp4", "mov"):
        output = tmp_path / f"out.{suffix}"
        report = repair(source, output, settings=IDLE, target=OutputSettings(codec="h264"))
        assert check_files(output, source) == ()
        assert "sample aspect ratio" not in " ".join(report.warnings)  # the packets say it
    other = two_films(tmp_path / "b.mkv", Fraction(16, 9), 1)
    second = "video stream 1 (mpeg4)"
    assert [(what, where) for what, where in found(other, source) if where == second] == [
        ("sample aspect ratio", second),
        ("matrix", second),
    ]


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
def test_a_shape_that_the_container_alone_says_of_a_copied_film_is_named(
    tmp_path: Path, ffmpeg: str, suffix: str
) -> None:
    two_films(tmp_path / "raw.mkv", Fraction(1), 1)
    command = [ffmpeg, "-v", "error", "-i", tmp_path / "raw.mkv", "-map", "0:0", "-map", "0:1"]
    made = [*command, "-c:v:0", "copy", "-c:v:1", "libx264", "-aspect:v:1", "16:9"]
    subprocess.run([*made, tmp_path / "x264.mkv"], check=True)
    again = [ffmpeg, "-v", "error", "-i", tmp_path / "x264.mkv", "-map", "0", "-c", "copy"]
    subprocess.run([*again, "-aspect:v:1", "2:1", tmp_path / "a.mkv"], check=True)
    report = repair(
        tmp_path / "a.mkv",
        tmp_path / f"b.{suffix}",
        settings=IDLE,
        target=OutputSettings(codec="h264"),
    )
    assert "does not keep the sample aspect ratio 3/2" in " ".join(report.warnings)
    assert [what for what, _ in found(tmp_path / f"b.{suffix}", tmp_path / "a.mkv")] == [
        "sample aspect ratio"
    ]


@pytest.mark.parametrize("mode", ["mono", "left_right", "right_left", "block_lr"])
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "webm"])
def test_which_eye_is_meant_is_kept_or_named(tmp_path: Path, mode: str, suffix: str) -> None:
    write_clip(tmp_path / "raw.mkv", frames=3, codec="libx264")
    tagged = Fault(stream=told(0, "stereo_mode", mode))
    source = copied(tmp_path / "raw.mkv", tmp_path / "a.mkv", tagged)
    report = repair(source, tmp_path / f"b.{suffix}", settings=IDLE)
    kept = suffix == "mkv" or (suffix == "webm" and mode != "block_lr")
    if mode != "mono":  # a plain film, of which readers find no tag
        assert ("stereo_mode" in " ".join(report.warnings)) != kept


def test_which_eye_a_picture_is_for_is_kept_by_matroska(tmp_path: Path) -> None:
    write_clip(tmp_path / "raw.mkv", frames=3)
    tagged = Fault(stream=told(0, "stereo_mode", "left_right"))
    source = copied(tmp_path / "raw.mkv", tmp_path / "a.mkv", tagged)
    assert repair(source, tmp_path / "b.mkv", settings=IDLE).warnings == ()
    assert check_files(tmp_path / "b.mkv", source) == ()
    assert ("tag stereo_mode", "the picture") in found(tmp_path / "raw.mkv", source)
    report = repair(source, tmp_path / "b.mp4", settings=IDLE, target=OutputSettings(codec="h264"))
    told_of = " ".join(report.warnings)
    assert "MP4 does not keep the tag stereo_mode" in told_of


def moved_display(path: Path) -> Path:
    """An MP4 film with a display matrix as phones write it: a quarter turn, and moved back."""
    write_clip(path, codec="libx264", frames=3, display_rotation=90)
    data = path.read_bytes()
    turn = struct.pack(">9i", 0, -(1 << 16), 0, 1 << 16, 0, 0, 0, 0, 1 << 30)
    assert data.count(turn) == 1
    moved = struct.pack(">9i", 0, -(1 << 16), 0, 1 << 16, 0, 0, 0, 64 << 16, 1 << 30)
    path.write_bytes(data.replace(turn, moved))
    return path


def test_the_offset_of_a_display_matrix_is_named_and_not_expected(tmp_path: Path) -> None:
    source = moved_display(tmp_path / "a.mp4")
    told_of = repair(source, tmp_path / "b.mkv", settings=IDLE).warnings
    assert ["the offset in the display matrix" in warning for warning in told_of] == [True]
    assert found(tmp_path / "b.mkv", source) == [("display offset", "the picture")]
    made = Made(lost=frozenset({"display-offset"}))
    assert check_files(tmp_path / "b.mkv", source, made=made) == ()
    repair(source, tmp_path / "c.mp4", settings=IDLE)
    assert check_files(tmp_path / "c.mp4", source) == ()


def test_streams_that_were_given_up_may_be_missing_and_others_are_compared(
    film: Path, tmp_path: Path
) -> None:
    given_up = Made(lost=frozenset({"audio"}))
    assert check_files(film, film, made=given_up) == ()
    second = copied(film, tmp_path / "a.mkv", Fault(order=lambda order: [0, *order[2:]]))
    assert [what for what, _ in found(second, film)] == ["stream"]
    assert found(second, film, made=given_up) == []
    changed = copied(film, tmp_path / "b.mkv", Fault(packet=altered(2, 9, flipped)))
    assert [what for what, _ in found(changed, film, made=given_up)] == ["content"]


def test_a_stream_of_data_that_is_missing_is_found(tmp_path: Path, ffmpeg: str) -> None:
    write_clip(tmp_path / "a.mkv", codec="libx264")
    (tmp_path / "data").write_bytes(b"klv" * 99)
    command = [
        ffmpeg,
        "-v",
        "error",
        "-i",
        tmp_path / "a.mkv",
        "-f",
        "data",
        "-i",
        tmp_path / "data",
    ]
    subprocess.run(
        [*command, "-map", "0", "-map", "1", "-c", "copy", tmp_path / "b.ts"], check=True
    )
    source, output = tmp_path / "b.ts", tmp_path / "c.mkv"
    assert "data stream 1" in " ".join(repair(source, output, settings=IDLE).warnings)
    assert [what for what, _ in found(output, source)] == ["stream"]
    assert found(output, source, made=Made(lost=frozenset({"data"}))) == []


def test_sound_between_milliseconds_starts_where_it_did(tmp_path: Path) -> None:
    """MP4 counts samples, 44,100 a second, and says in a unit of its own where they start."""
    with av.open(str(tmp_path / "a.mkv"), "w") as output:
        film: Any = output.add_stream("libx264", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        sound: Any = output.add_stream("aac", rate=44100, layout="mono")
        for number in range(50):
            output.mux(film.encode(picture("yuv420p", 64, 48, number)))
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 88200), np.float32), "fltp", "mono")
        tone.sample_rate, tone.pts, tone.time_base = 44100, 0, Fraction(1, 44100)
        for each in (tone, None):
            output.mux(sound.encode(each))
        output.mux(film.encode(None))
    for start in ("0.33", "0.5", "1", "1.5"):
        for suffix in ("mp4", "mov"):
            result = call(
                *("run", tmp_path / "a.mkv", "-o", tmp_path / f"b.{suffix}", "--ss", start, "-y"),
                *("--denoise", "0", "--repair", "none", "--progress", "none"),
            )
            assert result.exit_code == 0, result.stderr


def test_probe_says_all_that_is_compared(film: Path, tmp_path: Path) -> None:
    told_of = json.loads(call("probe", film, "--facts").stdout)
    facts = facts_of(film).as_dict()
    assert told_of["facts"] == json.loads(json.dumps(facts))
    assert told_of["picture"] == facts["picture"]
    assert [each["packets"] > 0 for each in told_of["facts"]["streams"][:2]] == [True, True]
    assert "facts" not in json.loads(call("probe", film, "--json").stdout)
    write_clip(tmp_path / "a.mkv", codec="libx265", pix_fmt="yuv420p10le", options=X265_HDR)
    text = call("probe", tmp_path / "a.mkv").stdout
    assert "content light level 1000 400" in text
    assert "timecode" not in text
    assert "timecode 01:02:03:04" in call("probe", film).stdout
