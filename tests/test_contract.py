"""The contract: nine awkward films into every target, each cell as the tables of the document say.

Both files are read with ffprobe and with PyAV, not with the tool's own verification.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import Extras, read_frames, samples_of, write_clip
from passing import IDLE

from vidrepair import (
    CannotCarry,
    OutputSettings,
    Report,
    repair,
)

TARGETS = {
    "h264": ("mkv", "mp4", "mov"),
    "hevc": ("mkv", "mp4", "mov"),
    "av1": ("mkv", "mp4", "webm"),
    "ffv1": ("mkv", "mp4"),
    "prores": ("mov", "mkv"),
    "dnxhr": ("mov",),
    "y4m": ("y4m",),
}
LOSSLESS = ("ffv1", "y4m")
SOUND = "-f lavfi -i sine=f=440:r=48000:d=1"
SMALL = "-f lavfi -i testsrc2=s=64x48:r=25:d=1"
BT709 = "-color_primaries bt709 -color_trc bt709 -colorspace bt709"
HDR = (
    "log-level=none:hdr10=1:max-cll=1000,400:master-display="
    "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
)
CUES = """1
00:00:00,100 --> 00:00:00,500
One <i>word</i>

2
00:00:00,600 --> 00:00:00,900
Two
"""
ABOUT = """;FFMETADATA1
title=Ä film
director=Y
creation_time=2020-01-02T03:04:05.000000Z
[CHAPTER]
TIMEBASE=1/1000
START=0
END=400
title=First é
[CHAPTER]
TIMEBASE=1/1000
START=400
END=1000
title=Second
"""
FILMS = {
    "hdr10.mkv": (
        f"{SMALL} {SOUND} -f lavfi -i sine=f=880:r=48000:d=1 -i cues.srt -i cues.srt -i about.txt"
        " -map 0 -map 1 -map 2 -map 3 -map 4 -map_metadata 5 -map_chapters 5"
        " -vf select=not(eq(n\\,3)+eq(n\\,4)+eq(n\\,9)) -vsync vfr -pix_fmt yuv420p10le"
        f" -c:v libx265 -x265-params {HDR} -color_range tv"
        " -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc"
        " -c:a aac -c:s srt -metadata:s:a:0 language=eng -metadata:s:a:0 title=Main"
        " -metadata:s:a:1 language=fra -metadata:s:s:0 language=eng -metadata:s:s:1 language=ger"
        " -disposition:a:0 default -disposition:a:1 comment -disposition:s:1 forced"
        " -attach note.txt -metadata:s:t mimetype=text/plain"
    ),
    "long.mov": (
        f"-f lavfi -i testsrc2=s=64x48:r=30000/1001:d=1.5 {SOUND} -c:v libx264 -pix_fmt yuv420p"
        f" -g 5 -c:a aac -timecode 01:02:03:04 -metadata:s:a language=swe {BT709}"
    ),
    # Cut by copying: an edit list hides the frames before the first one shown.
    "phone.mov": "-ss 0.4 -i long.mov -c copy -map 0 -metadata:s:v rotate=90 -metadata title=Phone",
    "alpha.mov": (
        f"-f lavfi -i testsrc2=s=64x48:r=25:d=1,format=yuva444p10le {SOUND} -c:v prores_ks"
        f" -profile:v 4444 -c:a pcm_s16le {BT709}"
    ),
    "dnxhr.mov": (
        f"-f lavfi -i testsrc2=s=256x128:r=24:d=1 {SOUND} -c:v dnxhd -profile:v dnxhr_hqx"
        f" -pix_fmt yuv422p10le -c:a pcm_s24le {BT709}"
    ),
    "timeless.avi": f"{SMALL} {SOUND} -c:v libx264 -pix_fmt yuv420p -bf 2 -c:a mp3",
    # The clock of 33 bits starts anew after 95443.7 s.
    "wrapped.ts": (
        f"{SMALL} {SOUND} -c:v libx264 -pix_fmt yuv420p -c:a aac -output_ts_offset 95443.3"
        " -muxdelay 0 -muxpreload 0"
    ),
    "flagged.mpg": (
        f"{SMALL} {SOUND} -c:v mpeg2video -pix_fmt yuv420p -flags +ilme+ildct -top 1"
        " -q:v 2 -c:a mp2"
    ),
    "vp9.webm": (
        f"{SMALL} {SOUND} -i cues.srt -c:v libvpx-vp9 -cpu-used 8 -c:a libopus -c:s webvtt"
        " -metadata:s:a language=ita"
    ),
    "av1.mp4": (
        f"-f lavfi -i testsrc2=s=96x64:r=25:d=1 {SOUND} -c:v libsvtav1 -preset 12 -c:a aac"
        " -metadata title=T"
    ),
}
LANGUAGES = {"fre": "fra", "ger": "deu", "sve": "swe", "und": ""}
"""Two codes of one language."""
NO_TEXT = f"SHA256:{hashlib.sha256(bytes(2)).hexdigest()}"
"""What mov_text says where nothing is shown: a length of 0."""
STALE = ("encoder", "duration", "major_brand", "minor_version", "compatible_brands")


def shown(path: Path, *options: str) -> Any:
    """What ffprobe says, as JSON has it."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-of", "json", *options, f"file:{path}"],
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream as ffprobe sees it."""

    facts: dict[str, Any]
    times: list[Fraction]
    """Seconds."""
    hashes: list[str]
    title: str
    """Which FFmpeg 5 does not read of MP4."""
    hidden: int
    """How many packets stand before the first that an edit list shows."""

    def written(self, suffix: str) -> tuple[list[Fraction], list[str]]:
        """Times and hashes of the packets that go into such a file: others than MP4 and MOV
        would show what is hidden; a decoder of sound needs one packet before the first.
        """
        first = max(0, self.hidden - 1) if suffix in ("mkv", "webm") else 0
        return self.times[first:], self.hashes[first:]

    @property
    def codec(self) -> str:
        return str(self.facts.get("codec_name", ""))

    @property
    def language(self) -> str:
        code = str(self.facts.get("tags", {}).get("language", ""))
        return LANGUAGES.get(code, code)

    @property
    def marks(self) -> set[str]:
        """Dispositions but default, which MP4 and MOV give to the first of a kind."""
        return {key for key, value in self.facts["disposition"].items() if value} - {"default"}


@dataclass(frozen=True, slots=True)
class Probed:
    """A file as ffprobe sees it."""

    streams: list[Stream]
    chapters: list[tuple[Fraction, str]]
    tags: dict[str, str]

    def of(self, kind: str) -> list[Stream]:
        """Streams of that kind, in order."""
        return [stream for stream in self.streams if stream.facts["codec_type"] == kind]

    def timecode(self) -> str:
        holders = [stream.facts.get("tags", {}) for stream in self.streams]
        tags = {key.lower(): value for each in (self.tags, *holders) for key, value in each.items()}
        return str(tags.get("timecode", ""))


def probed(path: Path) -> Probed:
    asked = ("-show_streams", "-show_chapters", "-show_format", "-show_packets")
    told = shown(path, *asked, "-show_data_hash", "sha256")
    with av.open(f"file:{path}") as opened:
        titles = [s.metadata.get("title") or s.metadata.get("name", "") for s in opened.streams]
    streams = []
    for facts, title in zip(told["streams"], titles, strict=True):
        packets = [p for p in told["packets"] if p["stream_index"] == facts["index"]]
        unit = Fraction(facts["time_base"])
        times = [p.get("pts", p.get("dts", 0)) * unit for p in packets]
        shown_from = next((at for at, p in enumerate(packets) if "D" not in p["flags"]), 0)
        streams.append(Stream(facts, times, [p["data_hash"] for p in packets], title, shown_from))
    chapters = [
        (Fraction(each["time_base"]) * each["start"], each.get("tags", {}).get("title", ""))
        for each in told["chapters"]
    ]
    tags = {key.lower(): value for key, value in told["format"].get("tags", {}).items()}
    return Probed(streams, chapters, tags)


@dataclass(frozen=True, slots=True)
class Film:
    """A source and what is known of it."""

    path: Path
    probed: Probed
    times: list[Fraction]
    """Seconds, of all frames."""
    samples: list[list[Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    (folder / "cues.srt").write_text(CUES, encoding="utf-8")
    (folder / "about.txt").write_text(ABOUT, encoding="utf-8")
    (folder / "note.txt").write_text("hello\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def made() -> dict[str, Film]:
    """The films so far."""
    return {}


@pytest.fixture
def film(ffmpeg: str, folder: Path, made: dict[str, Film]) -> Callable[[str], Film]:
    def get(name: str) -> Film:
        if name not in made:
            if name == "phone.mov":
                encode(ffmpeg, folder, "long.mov")
            encode(ffmpeg, folder, name)
            frames = read_frames(folder / name)
            times = [Fraction(frame.pts or 0) * Fraction(str(frame.time_base)) for frame in frames]
            if name == "timeless.avi":
                times = [Fraction(number, 25) for number in range(len(frames))]
            samples = [samples_of(frame) for frame in frames]
            seen = probed(folder / name)
            if name == "wrapped.ts":
                seen = replace(seen, streams=[bare(one, folder / name) for one in seen.streams])
            made[name] = Film(folder / name, seen, times, samples)
        return made[name]

    return get


def bare(stream: Stream, path: Path) -> Stream:
    """AAC without the seven bytes that a transport stream has before each packet."""
    if stream.codec != "aac":
        return stream
    with av.open(str(path)) as opened:
        packets = [bytes(packet)[7:] for packet in opened.demux(opened.streams.audio[0])]
    hashes = [f"SHA256:{hashlib.sha256(data).hexdigest()}" for data in packets if data]
    return replace(stream, hashes=hashes)


def encode(ffmpeg: str, folder: Path, name: str) -> None:
    command = [ffmpeg, "-v", "error", "-y", "-threads", "1", *FILMS[name].split(), name]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def table(root: Path, head: str) -> dict[str, dict[str, str]]:
    """A table of the document by row and column; `head` is what its first cell says."""
    lines = (root / "docs" / "contract.md").read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    columns = rows[0][1:]
    return {row[0]: dict(zip(columns, row[1:], strict=True)) for row in rows[2:]}


CELLS = [
    (name, codec, suffix)
    for name in FILMS
    if name != "long.mov"
    for codec, suffixes in TARGETS.items()
    for suffix in suffixes
]


@pytest.mark.parametrize(("name", "codec", "suffix"), CELLS)
def test_every_cell_is_as_the_document_says(
    film: Callable[[str], Film], root: Path, tmp_path: Path, name: str, codec: str, suffix: str
) -> None:
    cell = table(root, "film")[name][codec]
    source, output = film(name), tmp_path / f"out.{suffix}"
    target = OutputSettings(codec=None if codec == "y4m" else codec)
    if cell.startswith("refused"):
        reason = {"format": "cannot hold", "fields": "that the film is interlaced"}
        with pytest.raises(CannotCarry, match=reason[cell.removeprefix("refused: ")]):
            repair(source.path, output, settings=IDLE, target=target)
        assert list(tmp_path.iterdir()) == []
        return
    assert cell in ("kept", "picture alone")
    sounds = source.probed.of("audio") if codec != "y4m" else []
    outcomes = {table(root, "what it is")[row_of(sound)][output.suffix[1:]] for sound in sounds}
    if outcomes == {"named"}:
        with pytest.raises(CannotCarry, match=r"cannot hold the sound.*--allow-loss audio$"):
            repair(source.path, output, settings=IDLE, target=target)
        assert list(tmp_path.iterdir()) == []
        target = replace(target, allow_loss=frozenset({"audio"}))
    report = repair(source.path, output, settings=IDLE, target=target)
    check_picture(source, output, lossless=codec in LOSSLESS, timed=codec != "y4m")
    if codec != "y4m":
        check_rest(source, probed(output), suffix, report, table(root, "what it is"))


def check_picture(source: Film, output: Path, *, lossless: bool, timed: bool) -> None:
    frames = read_frames(output)
    assert len(frames) == len(source.times)
    if timed:
        times = [Fraction(frame.pts or 0) * Fraction(str(frame.time_base)) for frame in frames]
        tick = Fraction(1, 1000) if output.suffix in (".mkv", ".webm") else Fraction(0)
        assert spread(source.times, times) <= tick
    if lossless:
        for before, after in zip(source.samples, frames, strict=True):
            for one, other in zip(before, samples_of(after), strict=True):
                np.testing.assert_array_equal(one, other)


def spread(source: list[Fraction], output: list[Fraction]) -> Fraction:
    """By how much the times are not moved alike."""
    moves = [after - before for before, after in zip(source, output, strict=True)]
    return max(moves) - min(moves)


def row_of(stream: Stream) -> str:
    kind, codec = stream.facts["codec_type"], stream.codec
    if kind == "audio" and codec.startswith("pcm"):
        return "PCM from MOV"
    names = {"subrip": "SubRip", "webvtt": "WebVTT", "mp2": "MP2", "mp3": "MP3"}
    names |= {"aac": "AAC", "opus": "Opus"}
    return names.get(codec, str(kind))


def check_rest(
    source: Film, output: Probed, suffix: str, report: Report, said: dict[str, dict[str, str]]
) -> None:
    """All but the picture: other streams with packets, times and names; chapters, tags."""
    warnings = "\n".join(report.warnings)
    moves: list[Fraction] = [first_picture(output, source)]
    there = {kind: iter(output.of(kind)) for kind in ("audio", "subtitle", "attachment")}
    for stream in source.probed.streams:
        kind = stream.facts["codec_type"]
        if kind not in there:
            continue
        outcome = said[row_of(stream)][suffix]
        number = f"{kind} stream {stream.facts['index']} "
        if outcome == "named":
            assert re.search(rf"{number}.* is not carried", warnings)
            continue
        other = next(there[kind])
        moves += check_stream(stream, other, outcome, suffix)
        check_names(stream, other, suffix, warnings, said)
        becomes = re.search(rf"{number}.* becomes ", warnings) is not None
        assert becomes == (outcome == "converted")
    assert all(next(left, None) is None for left in there.values())
    # All streams are moved alike, if at all: by a start below zero.
    tick = Fraction(1, 1000) if suffix in ("mkv", "webm") else Fraction(1, 90000)
    assert max(moves) - min(moves) <= tick
    check_film(source.probed, output, suffix)
    check_file(source.probed, output, suffix, said)


def first_picture(output: Probed, source: Film) -> Fraction:
    return min(output.of("video")[0].times) - source.times[0]


def check_stream(stream: Stream, other: Stream, outcome: str, suffix: str) -> list[Fraction]:
    """Packets and times; by how much these are moved, least and most."""
    (before, hashes), after = stream.written(suffix), other.times
    if stream.facts["codec_type"] == "attachment":
        return []
    if outcome == "converted":
        after = [time for time, sha in zip(after, other.hashes, strict=True) if sha != NO_TEXT]
        assert other.codec != stream.codec
    elif stream.codec.startswith("pcm"):
        before, after = before[:1], after[:1]  # MOV cuts PCM into other packets
        assert other.codec.startswith("pcm")  # FFmpeg 5 takes all PCM of MP4 for 16 bits
    else:
        assert {stream.codec, other.codec} in ({stream.codec}, {"mp2", "mp3"})  # one tag in MP4
        assert other.hashes == hashes
    assert len(before) == len(after)
    moves = [b - a for a, b in zip(before, after, strict=True)]
    return [min(moves), max(moves)]


def check_names(
    stream: Stream, other: Stream, suffix: str, warnings: str, said: dict[str, dict[str, str]]
) -> None:
    assert (other.language, other.title) == (stream.language, stream.title)
    for mark in stream.marks:
        outcome = said[f"mark {mark}"][suffix]
        assert (mark in other.marks) == (outcome == "kept")
        assert (f"does not keep the mark {mark}" in warnings) == (outcome == "named")
    assert other.marks <= stream.marks


def check_film(source: Probed, output: Probed, suffix: str) -> None:
    """What is said of the picture."""
    before, after = source.of("video")[0].facts, output.of("video")[0].facts
    for key in ("width", "height", "pix_fmt", "color_space", "color_transfer", "color_primaries"):
        if before.get("codec_name") == "prores" and key == "pix_fmt":
            continue  # this ffprobe takes 12 bits for 10
        assert after.get(key) == before.get(key), key
    if "color_range" in before:
        # MOV has no word for it, and x264 none for limited: that is what all take it for.
        assert after.get("color_range", "tv") == before["color_range"]
    assert rotation(after) == rotation(before)
    assert output.timecode() == source.timecode()


def rotation(facts: dict[str, Any]) -> Any:
    sides: list[dict[str, Any]] = facts.get("side_data_list", [])
    return next((side["rotation"] for side in sides if "rotation" in side), 0)


def check_file(
    source: Probed, output: Probed, suffix: str, said: dict[str, dict[str, str]]
) -> None:
    assert [title for _, title in output.chapters] == [title for _, title in source.chapters]
    for (before, _), (after, _) in zip(source.chapters, output.chapters, strict=True):
        assert abs(after - before) <= Fraction(1, 1000)
    for key, value in source.tags.items():
        if key in STALE or key == "timecode":
            continue
        assert said["tags of the file"][suffix] == "kept"
        assert output.tags.get(key) == value


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [(c, s) for c in ("h264", "hevc", "av1", "ffv1") for s in TARGETS[c]],
)
def test_hdr10_has_the_same_values(
    film: Callable[[str], Film], tmp_path: Path, codec: str, suffix: str
) -> None:
    source, output = film("hdr10.mkv"), tmp_path / f"out.{suffix}"
    allowed = frozenset({"audio"} if suffix == "webm" else ())
    target = OutputSettings(codec=codec, allow_loss=allowed)
    repair(source.path, output, settings=IDLE, target=target)
    one, other = (side_data(path) for path in (source.path, output))
    assert (one["most light"], one["mean light"], one["display 0"]) == (1000, 400, 0.68)
    for key, value in one.items():
        # AV1 has steps of 1/65536, and of 1/16384 for the darkest light.
        assert abs(other[key] - value) <= 4e-5 * max(1, value), key


def side_data(path: Path) -> dict[str, float]:
    """The numbers beside the first frame: rationals, and what FFmpeg calls has_..."""
    held: Any = read_frames(path)[0].side_data
    display = struct.unpack("=22i", bytes(held["MASTERING_DISPLAY_METADATA"]))
    light = struct.unpack("=2I", bytes(held["CONTENT_LIGHT_LEVEL"]))
    found = {f"display {n}": display[2 * n] / display[2 * n + 1] for n in range(10)}
    return {**found, "most light": light[0], "mean light": light[1]}


@pytest.mark.parametrize(("codec", "suffix"), [("h264", "mkv"), ("h264", "mp4"), ("ffv1", "mkv")])
def test_flags_of_fields_stay(
    film: Callable[[str], Film], tmp_path: Path, codec: str, suffix: str
) -> None:
    output = tmp_path / f"out.{suffix}"
    repair(film("flagged.mpg").path, output, settings=IDLE, target=OutputSettings(codec=codec))
    frame = shown(output, "-show_frames", "-read_intervals", "%+#1", "-select_streams", "v:0")
    assert (frame["frames"][0]["interlaced_frame"], frame["frames"][0]["top_field_first"]) == (1, 1)


def test_an_attachment_has_the_same_bytes(film: Callable[[str], Film], tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    repair(film("hdr10.mkv").path, output, settings=IDLE)
    with av.open(str(output)) as opened:
        (attached,) = opened.streams.attachments
        assert (attached.name, attached.mimetype) == ("note.txt", "text/plain")
        assert attached.data == b"hello\n"


def marked(path: Path, codec: str, marks: list[str]) -> None:
    """A film with one sound for each mark."""
    extras = Extras(audio=len(marks), audio_codec=codec)
    write_clip(path.with_suffix(".raw.mkv"), codec="libx264", frames=5, extras=extras)
    with av.open(str(path.with_suffix(".raw.mkv"))) as raw, av.open(str(path), "w") as output:
        copies = [output.add_stream_from_template(stream, opaque=True) for stream in raw.streams]
        for copy, mark in zip(copies[1:], marks, strict=True):
            copy.disposition = av.stream.Disposition[mark]
        output.start_encoding()
        for packet in raw.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                output.mux(packet)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "webm"])
def test_marks_are_kept_or_named(root: Path, tmp_path: Path, suffix: str) -> None:
    said = {
        row.removeprefix("mark "): cells[suffix]
        for row, cells in table(root, "what it is").items()
        if row.startswith("mark ")
    }
    source, output = tmp_path / "a.mkv", tmp_path / f"b.{suffix}"
    marked(source, "libopus" if suffix == "webm" else "aac", list(said))
    with av.open(str(source)) as opened:
        wanted = [stream.disposition for stream in opened.streams.audio]
    codec = "av1" if suffix == "webm" else "h264"
    warnings = repair(source, output, settings=IDLE, target=OutputSettings(codec=codec)).warnings
    with av.open(str(output)) as opened:
        there = [stream.disposition for stream in opened.streams.audio]
    for (mark, outcome), before, after in zip(said.items(), wanted, there, strict=True):
        bit = av.stream.Disposition[mark]
        assert before & bit
        assert bool(after & bit) == (outcome == "kept"), mark
        named = [line for line in warnings if line.endswith(f"does not keep the mark {mark}")]
        assert len(named) == (outcome == "named"), mark
