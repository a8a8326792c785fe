"""subtitles: words and plain styles of one codec in another, and whole files with them."""

from __future__ import annotations

import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import write_clip
from passing import pass_through

from vidrepair.decode import open_source
from vidrepair.streams import MOV_TEXT_HEAD, plan_copies
from vidrepair.subtitles import HEADER, MOST_BYTES, MOST_SHOWN, Converter

ASS = b"0,0,Default,,0,0,0,,"
STYLES = struct.pack(">I4sH", 10 + 12 * 15_000, b"styl", 15_000)
STYLES += struct.pack(">HHHBB4B", 0, 65535, 1, 1, 16, *[255] * 4) * 15_000
"""Of mov_text: all letters bold, many times over."""


def converted(payload: bytes, source: str, target: str) -> bytes | None:
    found = Converter(source, target).convert(payload, 0, 1000)
    return None if found is None else found[0]


@pytest.mark.parametrize(
    ("source", "payload", "said"),
    [
        ("subrip", b"One\r\n<i>two</i>", "One\n<i>two</i>"),
        ("subrip", b'<font color="#ff0000">Red</font> & <B>bold</B>', "Red & <b>bold</b>"),
        ("subrip", b"{\\an8}Up", "Up"),
        ("subrip", b"a < b", "a < b"),
        ("subrip", b"5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
        ("subrip", b"<Bob> <I>hi</I>", "<Bob> <i>hi</i>"),
        ("subrip", b"<before><u class=x>a</u>", "<before><u>a</u>"),
        ("subrip", b"One<br/>two", "One\ntwo"),
        ("subrip", b"a\n\n\nb\n", "a\nb"),
        ("webvtt", b"<v Anna>You &amp; me</v> <c.loud>now</c>", "You & me now"),
        ("webvtt", b"<00:00:01.000><u>x</u>", "<u>x</u>"),
        ("webvtt", b"&#00000000065;&#0000066;&#67;&#x44;&#00;&#123456789;", "ABCD\ufffd\ufffd"),
        ("webvtt", b"<ruby>a<rt>b</rt></ruby> <Bob> 5 < 6 > 3", "ab <Bob> 5 < 6 > 3"),
        ("ass", ASS + b"One, two\\N{\\i1}three{\\i0}", "One, two\n<i>three</i>"),
        ("ass", ASS + b"{\\b700\\pos(3,4)}x{\\b400}y{\\r}", "<b>x</b>y"),
        ("ass", ASS + b"{\\blur3\\bord2\\be1}x", "x"),
        ("ass", ASS + b"a{\\p1}m 0 0 l 9 9{\\p0}b", "ab"),
        ("text", b"Plain <text>", "Plain <text>"),
        ("mov_text", b"\0\x04Fo\xc3\xb6", "Foö"),
        (
            "mov_text",
            b"\0\3abc\0\0\0\x16styl\0\1\0\1\0\2\0\1\3\x12\xff\xff\xff\xff",
            "a<b><i>b</i></b>c",
        ),
        ("mov_text", b"\0\6\xfe\xff\0A\0B", "AB"),
    ],
)
def test_what_is_read(source: str, payload: bytes, said: str) -> None:
    assert converted(payload, source, "subrip") == said.encode()


@pytest.mark.parametrize(
    ("source", "payload"),
    [
        ("mov_text", b"\0\0"),
        ("mov_text", b""),
        ("subrip", b" \r\n"),
        ("ass", ASS + b"{\\p1}m 0 0 l 9 9{\\p0}"),
        ("ass", b""),
        ("webvtt", b"<c></c>"),
    ],
)
def test_what_shows_nothing_is_left_out(source: str, payload: bytes) -> None:
    assert converted(payload, source, "webvtt") is None


def test_signs_of_the_target_are_escaped() -> None:
    assert converted(b"1 < 2 & <i>3</i>", "subrip", "webvtt") == b"1 &lt; 2 &amp; <i>3</i>"


@pytest.mark.parametrize(
    "text", ["Hällo <i>wörld</i>", "<b>a</b>\n<u><b>b</b></u>c", "🎬 <i>x</i>"]
)
def test_mov_text_and_back_says_the_same(text: str) -> None:
    stored = converted(text.encode(), "subrip", "mov_text")
    assert stored is not None
    again = converted(stored, "mov_text", "subrip")
    assert again is not None
    canonical = converted(text.encode(), "subrip", "subrip")
    assert again == canonical


@pytest.mark.parametrize("payload", [b"\xff\xfe\x00", b"\xff" * 70000, b"{" * 999, b"<" * 999])
@pytest.mark.parametrize("source", ["subrip", "webvtt", "ass", "mov_text", "text"])
@pytest.mark.parametrize("target", ["subrip", "webvtt", "mov_text"])
def test_nonsense_never_breaks(payload: bytes, source: str, target: str) -> None:
    found = converted(payload, source, target)
    if found is not None and target == "mov_text":
        assert int.from_bytes(found[:2], "big") == len(found) - 2


@pytest.mark.parametrize(
    ("source", "payload", "said"),
    [
        ("ass", ASS + b"{\\b" + b"1" * 5000 + b"}x", "x"),
        ("webvtt", b"a&#" + b"1" * 5000 + b";b", "a\ufffdb"),
        ("webvtt", b"a&#" + b"0" * 5000 + b"66;", "aB"),
        ("subrip", b"{\\" * 100_000, "{\\" * 100_000),
        ("ass", ASS + b"{" * 200_000, "{" * 200_000),
        ("mov_text", b"\0\1x" + b"\0\0\0\x08free" * 30_000, "x"),
        ("mov_text", b"\xff\xff" + b"x" * 65535 + STYLES, "x" * 65535),
    ],
)
def test_text_that_is_meant_to_hurt_is_read_in_time(source: str, payload: bytes, said: str) -> None:
    found = Converter(source, "subrip").convert(payload, 0, 10)
    assert found is not None
    assert found[0].decode().replace("<b>", "").replace("</b>", "") == said[:MOST_BYTES]


def test_faces_beyond_what_mov_text_can_say_are_left_out() -> None:
    stored = converted(
        b"<b>x</b>" + b"y" * 65530 + b"<i>" + b"z" * 9 + b"</i>", "subrip", "mov_text"
    )
    assert stored is not None
    assert converted(stored, "mov_text", "subrip") == b"<b>x</b>" + b"y" * 65530 + b"z" * 4


def test_of_very_many_cues_at_once_the_latest_are_shown() -> None:
    converter = Converter("subrip", "mov_text")
    for number in range(2000):
        found = converter.convert(b"cue %d" % number, number, 10_000)
    assert found is not None
    words = found[0][MOV_TEXT_HEAD:].decode().split("\n")
    assert words == [f"cue {number}" for number in range(2000 - MOST_SHOWN, 2000)]


def test_cues_that_overlap_are_all_shown_in_mov_text() -> None:
    converter = Converter("subrip", "mov_text")
    cues = [(0, 1000, b"One"), (0, 1000, b"Two"), (500, 1000, b"Three"), (1500, 100, b"Four")]
    found = [converter.convert(text, start, lasts) for start, lasts, text in cues]
    assert [(entry[0][2:], entry[1]) for entry in found if entry] == [
        (b"One", 1000),
        (b"One\nTwo", 1000),
        (b"One\nTwo\nThree", 1000),
        (b"Four", 100),
    ]


def film(path: Path, codec: str, cues: list[tuple[int, int, bytes]], container: str) -> None:
    """A second of picture with a subtitle stream; times of the cues in milliseconds."""
    write_clip(path.with_suffix(".raw.mkv"), frames=50, codec="libx264")
    with (
        av.open(str(path.with_suffix(".raw.mkv"))) as raw,
        av.open(str(path), "w", format=container) as output,
    ):
        picture = output.add_stream_from_template(raw.streams.video[0], opaque=True)
        text: Any = output.add_stream(codec)
        text.codec_context.subtitle_header = HEADER
        text.codec_context.time_base = text.time_base = Fraction(1, 1000)
        text.metadata["language"] = "deu"
        output.start_encoding()
        for packet in raw.demux():
            if packet.size:
                packet.stream = picture
                output.mux(packet)
        for start, lasts, payload in cues:
            cue: Any = av.Packet(payload)
            cue.stream, cue.time_base = text, Fraction(1, 1000)
            cue.pts = cue.dts = start
            cue.duration, cue.is_keyframe = lasts, True
            output.mux(cue)


@pytest.mark.parametrize("codec", ["subrip", "webvtt", "ass"])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_text_arrives_in_mp4_and_mov(tmp_path: Path, codec: str, suffix: str) -> None:
    head = ASS if codec == "ass" else b""
    cues = [(200, 300, head + "Grüße".encode()), (900, 500, head + b"Zwei")]
    source, output = tmp_path / "a.mkv", tmp_path / f"b.{suffix}"
    film(source, codec, cues, "matroska")
    passed = pass_through(source, output)
    assert len(passed.left) == 1
    assert "becomes mov_text" in passed.left[0]
    told = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(output), "-map", "0:s", "-f", "srt", "-"],
        check=True,
        capture_output=True,
    )
    words = told.stdout.decode().replace("\r", "")
    assert "00:00:00,200 --> 00:00:00,500\nGrüße\n" in words
    assert "00:00:00,900 --> 00:00:01,400\nZwei\n" in words
    with av.open(str(output)) as opened:
        assert opened.streams.subtitles[0].metadata["language"] in ("deu", "ger")


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_text_of_a_film_that_was_cut_without_encoding(
    tmp_path: Path, ffmpeg: str, suffix: str
) -> None:
    """FFmpeg reads such a text too early, with the length of another."""
    cues = [(200, 400, b"Eins"), (900, 200, b"Zwei"), (1500, 100, b"Drei")]
    film(tmp_path / "a.mkv", "subrip", cues, "matroska")
    pass_through(tmp_path / "a.mkv", tmp_path / "a.mp4")
    cut, output = tmp_path / "cut.mp4", tmp_path / f"b.{suffix}"
    words = [ffmpeg, "-v", "error", "-ss", "0.3", "-i", str(tmp_path / "a.mp4"), "-map", "0"]
    subprocess.run([*words, "-c", "copy", str(cut)], check=True)
    pass_through(cut, output)
    with av.open(str(output)) as opened:
        found = [
            (float(packet.pts * packet.time_base), float(packet.duration * packet.time_base))
            for packet in opened.demux(opened.streams.subtitles[0])
            if packet.size > MOV_TEXT_HEAD
        ]
    # The last one is longer in the file that was cut already.
    np.testing.assert_allclose(found[:2], [(0.0, 0.3), (0.6, 0.2)], atol=1e-6)


def test_text_is_copied_where_it_can_be(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv", "ass", [(200, 300, ASS + b"{\\pos(3,4)}x")], "matroska")
    passed = pass_through(tmp_path / "a.mkv", tmp_path / "b.mkv")
    assert passed.left == ()
    with av.open(str(tmp_path / "b.mkv")) as opened:
        stream = opened.streams.subtitles[0]
        (packet,) = [packet for packet in opened.demux(stream) if packet.size]
        assert bytes(packet) == ASS + b"{\\pos(3,4)}x"


def test_text_becomes_webvtt_in_webm(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv", "ass", [(200, 300, ASS + b"x")], "matroska")
    with open_source(tmp_path / "a.mkv") as source:
        copies = plan_copies(source.container, source.clip, "webm", source.covers)
    assert (copies.converted, copies.left) == ({1}, frozenset())
    assert "becomes webvtt, for WebM does not take it as it is" in copies.warnings[0]
