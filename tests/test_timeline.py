"""timeline: clocks that wrap and clocks that restart, with sound and picture together."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from calling import call
from clips import Extras, write_clip
from passing import IDLE, pass_through

from vidrepair import repair
from vidrepair.boxes import boxes_in, make_box
from vidrepair.decode import open_source
from vidrepair.exact_time import holds_time, inexact_times
from vidrepair.frames import Frame
from vidrepair.settings import OutputSettings
from vidrepair.tags import Copied
from vidrepair.timeline import FilmEnd, Timeline

HOUR = 3600


def times(path: Path) -> tuple[list[float], list[float], Any]:
    """Seconds of frames and of sound, and the damage."""
    with open_source(path) as source:
        items = list(source.read())
        frames = [item.seconds for item in items if isinstance(item, Frame)]
        sound = [
            float(item.packet.pts * item.packet.time_base)
            for item in items
            if isinstance(item, Copied)
        ]
        return frames, sound, source.damage


def stretched(path: Path, starts: list[float]) -> None:
    """A transport stream whose frames lie at those seconds, each with a packet of sound."""
    write_clip(
        path.with_suffix(".mkv"),
        frames=len(starts),
        codec="libx264",
        options={"bf": "0", "g": "1"},
        extras=Extras(audio=1, audio_codec="mp2"),
    )
    with (
        av.open(str(path.with_suffix(".mkv"))) as raw,
        av.open(str(path), "w", format="mpegts") as output,
    ):
        copies = [output.add_stream_from_template(s, opaque=True) for s in raw.streams]
        output.start_encoding()
        kinds: tuple[list[Any], list[Any]] = ([], [])
        for packet in raw.demux():
            if packet.size:
                kinds[packet.stream.index].append(packet)
        for start, *pair in zip(starts, *kinds, strict=False):
            for copy, packet in zip(copies, pair, strict=True):
                packet.pts = packet.dts = round(start / packet.time_base)
                packet.stream = copy
                output.mux(packet)


def test_a_clock_that_wraps_twice_runs_on(tmp_path: Path) -> None:
    """33 bits of 90 kHz are 26.5 h; FFmpeg undoes the first wrap alone."""
    starts = [20.0 * HOUR + HOUR * n for n in range(70)]
    stretched(tmp_path / "a.ts", starts)
    frames, sound, damage = times(tmp_path / "a.ts")
    assert len(frames) == len(sound) == 70
    for found in (frames, sound):
        np.testing.assert_allclose(np.diff(found), HOUR, atol=0.1)
    assert abs(frames[0] - sound[0]) < 0.1
    assert damage.repaired_pts > 0
    assert "repaired timestamps" in str(damage)


@pytest.mark.parametrize("target", ["mp4", "mkv"])
def test_a_film_that_starts_before_the_clock_wraps(tmp_path: Path, target: str) -> None:
    """FFmpeg counts from below zero there, and MP4 would drop what is."""
    wrap = 2**33 / 90000
    starts = [wrap - 1 + 0.04 * n for n in range(50)]
    stretched(tmp_path / "a.ts", starts)
    frames, sound, damage = times(tmp_path / "a.ts")
    assert frames[0] < 0
    assert str(damage) == ""
    output = tmp_path / f"b.{target}"
    pass_through(tmp_path / "a.ts", output)
    after, heard, _ = times(output)
    assert len(after) == len(heard) == 50
    np.testing.assert_allclose(np.diff(after), 0.04, atol=0.0011)
    assert abs((heard[0] - after[0]) - (sound[0] - frames[0])) < 0.0011


def test_a_usual_stream_is_left_alone(tmp_path: Path) -> None:
    extras = Extras(audio=1, audio_codec="mp2")
    write_clip(tmp_path / "a.ts", frames=60, codec="libx264", container="mpegts", extras=extras)
    frames, sound, damage = times(tmp_path / "a.ts")
    with av.open(str(tmp_path / "a.ts")) as raw:
        told = [(p.stream.type, float(p.pts * p.time_base)) for p in raw.demux() if p.size]
    assert frames == sorted(seconds for kind, seconds in told if kind == "video")
    assert sound == [seconds for kind, seconds in told if kind == "audio"]
    assert str(damage) == ""


def test_sound_is_heard_when_it_is_decoded(tmp_path: Path) -> None:
    """A damaged header gives a packet of sound a time of decoding, which it has not."""
    extras = Extras(audio=1, audio_codec="mp2")
    write_clip(tmp_path / "a.ts", codec="libx264", container="mpegts", extras=extras)
    with av.open(str(tmp_path / "a.ts")) as raw:
        sound = [packet for packet in raw.demux(raw.streams.audio[0]) if packet.size]
        before = [packet.pts for packet in sound]
        sound[5].dts = 0
        line = Timeline("mpegts")
        assert not sum(line.mend(packet) for packet in sound)
        assert [packet.pts for packet in sound] == [packet.dts for packet in sound] == before


def test_parts_put_together_stay_in_step(tmp_path: Path) -> None:
    """Three recordings in one, as copy /b makes them: no packet of sound is lost."""
    extras = Extras(audio=1, audio_codec="mp2")
    write_clip(tmp_path / "a.ts", frames=50, codec="libx264", container="mpegts", extras=extras)
    one, one_sound, _ = times(tmp_path / "a.ts")
    (tmp_path / "b.ts").write_bytes((tmp_path / "a.ts").read_bytes() * 3)
    frames, sound, damage = times(tmp_path / "b.ts")
    assert len(frames) == 150
    assert len(sound) == 3 * len(one_sound)
    assert damage.repaired_pts == 100
    for part in range(3):
        gaps = np.subtract(frames[50 * part : 50 * part + 50], one)
        own = np.subtract(sound[len(one_sound) * part :][: len(one_sound)], one_sound)
        assert np.ptp(gaps) < 1e-6
        np.testing.assert_allclose(own, gaps[0], atol=1e-6)
    steps = np.diff(frames)
    assert steps.min() > 0.039
    assert steps.max() < 0.2
    assert np.diff(sound).min() > 0
    pass_through(tmp_path / "b.ts", tmp_path / "c.mkv", OutputSettings(codec="ffv1"))
    with av.open(str(tmp_path / "c.mkv")) as opened:
        written = [p for p in opened.demux(opened.streams.audio[0]) if p.size]
    assert len(written) == len(sound)


def test_reordered_frames_of_avi_are_evenly_spaced(tmp_path: Path) -> None:
    """B-frames of MPEG-4 have a pts there, the others have none, the first one too."""
    path = tmp_path / "a.avi"
    write_clip(path, codec="mpeg4", options={"bf": "2"}, extras=Extras(audio=1, audio_codec="mp2"))
    frames, sound, damage = times(path)
    np.testing.assert_allclose(frames, 0.04 * np.arange(1, 13))
    assert (sound[0], str(damage)) == (0.0, "")


def edited(path: Path, folder: Path, start: str) -> None:
    """A part of a film cut out without encoding, by an edit list."""
    source = folder / "whole.mp4"
    write_clip(
        source, frames=75, codec="libx264", options={"bf": "2", "g": "25"}, extras=Extras(audio=1)
    )
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-ss", start, "-i", str(source), "-c", "copy", str(path)],
        check=True,
    )


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("target", ["mp4", "mov", "mkv"])
def test_edit_lists_keep_sound_and_picture_together(
    tmp_path: Path, suffix: str, target: str
) -> None:
    """What lies before the edit is not shown, and the sound does not move against the picture."""
    cut = tmp_path / f"cut.{suffix}"
    edited(cut, tmp_path, "1.3")
    frames, sound, damage = times(cut)
    assert len(frames) == 75 - 33
    assert str(damage) == ""
    output = tmp_path / f"b.{target}"
    pass_through(cut, output)
    after, heard, _ = times(output)
    assert len(after) == len(frames)
    lag = sound[-1] - frames[-1]
    assert abs(heard[-1] - after[-1] - lag) <= (0.0011 if target == "mkv" else 1e-6)
    # Sound that the edit hides would be heard in Matroska, before a picture that waits for it.
    assert 0.0 <= after[0] < 0.045
    assert target != "mkv" or after[0] - heard[0] < 0.045
    for (a, b), (c, d) in zip(pairwise(frames), pairwise(after), strict=True):
        assert abs((b - a) - (d - c)) < 0.0011


def test_sound_that_is_hidden_altogether_is_not_expected(tmp_path: Path, ffmpeg: str) -> None:
    write_clip(tmp_path / "a.mp4", codec="libx264", extras=Extras(audio=1))
    words = [ffmpeg, "-v", "error", "-i", str(tmp_path / "a.mp4"), "-c", "copy", "-map", "0"]
    subprocess.run([*words, "-frames:a", "1", str(tmp_path / "one.mp4")], check=True)
    source, output = tmp_path / "one.mp4", tmp_path / "b.mkv"
    idle = ("--denoise", "0", "--repair", "none", "-c", "h264")
    done = call("run", source, "-o", output, *idle)
    assert done.exit_code == 0
    assert "audio stream 1 (aac, eng) is empty: an edit list hides all that it holds" in done.stderr


def renewed(box: bytes, way: Sequence[bytes], body: bytes) -> bytes:
    """A box, and in it by that way another body."""
    if not way:
        return make_box(box[4:8], body)
    parts = (
        renewed(part, way[1:], body) if part[4:8] == way[0] else part for part in boxes_in(box)
    )
    return make_box(box[4:8], b"".join(parts))


def test_sound_that_is_hidden_between_two_edits_is_no_loss_unsaid(tmp_path: Path) -> None:
    """Half a second, then the four tenths that begin two tenths later."""
    write_clip(tmp_path / "a.mp4", frames=50, codec="libx264", extras=Extras(audio=1))
    *before, moov = boxes_in((tmp_path / "a.mp4").read_bytes(), 0)
    parts = list(boxes_in(moov))
    at = [place for place, part in enumerate(parts) if part[4:8] == b"trak"][1]
    header = next(part for part in parts if part[4:8] == b"mvhd")
    (second,) = struct.unpack_from(">I", header, 20)  # in units of the film
    edits = bytes(4) + struct.pack(">I", 2)
    edits += struct.pack(">IiI", second // 2, 1024, 1 << 16)
    edits += struct.pack(">IiI", 2 * second // 5, 34624, 1 << 16)
    parts[at] = renewed(parts[at], (b"edts", b"elst"), edits)
    source = tmp_path / "b.mp4"
    source.write_bytes(b"".join([*before, make_box(b"moov", b"".join(parts))]))
    with av.open(str(source)) as opened:
        sound = [packet for packet in opened.demux(opened.streams.audio[0]) if packet.size]
        shown = [bytes(packet) for packet in sound if not packet.is_discard]
        hidden = sum(packet.is_discard for packet in sound)
    report = repair(source, tmp_path / "c.mkv", settings=IDLE)
    assert [f"{hidden - 1} packets dropped" in one for one in report.warnings] == [True]
    with av.open(str(tmp_path / "c.mkv")) as opened:
        heard = [packet for packet in opened.demux(opened.streams.audio[0]) if packet.size]
        unit = opened.streams.audio[0].time_base
        lasts = float((heard[-1].pts - heard[1].pts) * Fraction(unit.numerator, unit.denominator))
    assert [bytes(packet) for packet in heard[1:]] == shown
    assert lasts == pytest.approx(0.884, abs=0.002)


@pytest.mark.parametrize(
    ("codec", "size", "kept"),
    [("aac", 1024, 1), ("ac3", 1536, 2), ("flac", 4608, 0), ("alac", 4096, 0), ("pcm", 1024, 0)],
)
def test_hidden_sound_is_kept_where_a_decoder_needs_it(
    tmp_path: Path, ffmpeg: str, codec: str, size: int, kept: int
) -> None:
    """Before the edit begins the packet that it cuts is heard, and what is kept; FFmpeg's reader
    calls one more of AC-3 shown.
    """
    write_clip(tmp_path / "a.mov", frames=75, codec="libx264", extras=Extras(audio=1))
    name = "pcm_s16le" if codec == "pcm" else codec
    begin = [ffmpeg, "-v", "error", "-i", str(tmp_path / "a.mov"), "-map", "0", "-c:v", "copy"]
    whole, cut = tmp_path / "whole.mov", tmp_path / "cut.mov"
    if codec == "flac":
        whole, cut = whole.with_suffix(".mp4"), cut.with_suffix(".mp4")
    subprocess.run([*begin, "-c:a", name, "-strict", "-2", str(whole)], check=True)
    trim = [ffmpeg, "-v", "error", "-ss", "1.3", "-i", str(whole), "-map", "0", "-c", "copy"]
    subprocess.run([*trim, "-strict", "-2", str(cut)], check=True)
    output = tmp_path / "b.mkv"
    pass_through(cut, output)
    begins = times(cut)[0][0]
    frames, heard, _ = times(output)
    with av.open(str(output)) as opened:
        packet = size / opened.streams.audio[0].rate
    assert frames[0] - heard[0] - begins < (1 + kept) * packet + 0.001


def test_times_that_a_container_holds() -> None:
    assert holds_time(Fraction(1, 25), "matroska")
    assert not holds_time(Fraction(1001, 30000), "matroska")
    assert not holds_time(Fraction(1001, 30000), "webm")
    assert holds_time(Fraction(1001, 30000), "mp4")


@pytest.mark.parametrize(
    ("rate", "unit", "exact"),
    [
        (Fraction(25), Fraction(1, 12800), True),
        (Fraction(30000, 1001), Fraction(1, 30000), False),
        (Fraction(24), Fraction(1, 12288), False),
        (Fraction(24), Fraction(1, 1000), True),
    ],
)
def test_times_that_matroska_cannot_hold_are_known_before(
    tmp_path: Path, rate: Fraction, unit: Fraction, exact: bool
) -> None:
    path = tmp_path / ("a.mkv" if unit == Fraction(1, 1000) else "a.mov")
    write_clip(path, frames=10, codec="libx264", rate=rate)
    with open_source(path) as source:
        clip = source.clip
    said = inexact_times(clip, "matroska")
    assert (said is None) == exact
    assert said is None or "write an .mp4 or .mov file" in said
    assert inexact_times(clip, "mp4") is None


@dataclass
class Told:
    """A packet, as far as the end of a film is asked of it."""

    pts: int | None
    dts: int | None
    duration: int = 512
    size: int = 9
    is_discard: bool = False


def end_of(form: str, duration: int, packets: list[Told], frames: int | None = None) -> FilmEnd:
    """Of a film of that container, whose header states so many ticks."""
    stream = SimpleNamespace(
        container=SimpleNamespace(format=SimpleNamespace(name=form), name="told.mp4"),
        start_time=0,
        duration=duration,
        frames=len(packets) if frames is None else frames,
    )
    end = FilmEnd(stream)
    for packet in packets:
        end.add(packet)
    return end


REORDERED = [Told(0, -512), Told(1024, 0), Told(512, 512)]
"""The last that is shown is coded before the last."""


def test_how_long_the_last_frame_is_shown() -> None:
    mov, matroska = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"
    in_order = [Told(0, 0), Told(512, 512, 25600)]
    for form in (mov, matroska):
        assert end_of(form, 26112, in_order).length == 25600
    # The packet's own length is up to the next in the order of coding; the whole film's tells.
    assert end_of(mov, 26624, REORDERED).length == 25600
    assert end_of(matroska, 26624, REORDERED).length == 512


def test_where_the_length_of_a_film_says_nothing_of_its_last_frame() -> None:
    mov = "mov,mp4,m4a,3gp,3g2,mj2"
    assert end_of(mov, 26624, REORDERED, frames=9).length == 0  # cut off, or sought
    assert end_of(mov, 26624, [Told(-512, -1024, is_discard=True), *REORDERED]).length == 0
    waiting = [Told(0, 0), Told(2048, 512), Told(1536, 1024)]
    assert end_of(mov, 2560, waiting).length == 0  # the last one waits longer than the first


def test_the_end_of_a_film_is_known_by_an_empty_packet() -> None:
    end = end_of("matroska,webm", 1536, REORDERED)
    assert not end.ended
    end.add(Told(None, None, size=0))
    assert end.ended
    assert (end.latest, end.length) == (1024, 512)
