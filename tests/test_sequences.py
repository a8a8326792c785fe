"""Numbered pictures that are a film: read, written, checked, and refused by name."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from calling import call
from clips import Extras, write_clip

from vidrepair.codecs import STORED
from vidrepair.errors import UsageError
from vidrepair.job_facts import file_facts
from vidrepair.pipeline import run_job
from vidrepair.placement import FolderPlace, Numbered
from vidrepair.sequences import sequence_url
from vidrepair.settings import (
    DamageSettings,
    Job,
    OutputSettings,
    RepairSettings,
    SourceSettings,
)
from vidrepair.spelling import read_rate

KEEP = ("--denoise", "0", "--repair", "none", "--progress", "none", "--log-level", "warning")
SIZE = (50, 34)
FORMATS = [
    *(("dpx", form) for form in ("rgb24", "rgba", "gray", "gray16be", "gray16le")),
    *(("dpx", form) for form in ("gbrp10be", "gbrp10le", "gbrp12be", "gbrp12le")),
    *(("dpx", form) for form in ("rgb48be", "rgb48le", "rgba64be")),
    *(("tif", form) for form in ("rgb24", "rgba", "gray", "ya8", "gray16le", "ya16le")),
    *(("tif", form) for form in ("rgb48le", "rgba64le")),
    *(("png", form) for form in ("rgb24", "rgba", "gray", "ya8", "gray16be", "ya16be")),
    *(("png", form) for form in ("rgb48be", "rgba64be")),
]
CODECS = {"dpx": "dpx", "tif": "tiff", "png": "png"}


def write_pictures(
    pattern: Path, form: str, *, frames: int = 6, first: int = 0, size: tuple[int, int] = SIZE
) -> None:
    """Noise in every sample, in the format `form` of FFmpeg's encoder."""
    pattern.parent.mkdir(exist_ok=True)
    bits = av.VideoFormat(form).components[0].bits
    noise = np.random.default_rng(first)
    options = {"start_number": str(first)}
    with av.open(sequence_url(pattern), "w", format="image2", options=options) as output:
        stream: Any = output.add_stream(CODECS[pattern.suffix[1:]], rate=24)
        stream.width, stream.height, stream.pix_fmt = *size, form
        for number in range(frames):
            frame = av.VideoFrame(*size, form)
            for plane in frame.planes:
                kind = "u1" if bits == 8 else ">u2" if form.endswith("be") else "<u2"
                view = np.frombuffer(plane, kind)
                view[:] = noise.integers(0, 2**bits, view.size)
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def md5s(ffmpeg: str, path: Path, form: str, first: int | None = None) -> list[str]:
    """One of each frame, decoded by another build of FFmpeg than PyAV's."""
    counted = [] if first is None else ["-start_number", str(first)]
    words = [ffmpeg, "-v", "error", *counted, "-i", str(path), "-pix_fmt", form]
    told = subprocess.run([*words, "-f", "framemd5", "-"], capture_output=True, check=True)
    rows = [row for row in told.stdout.decode().splitlines() if not row.startswith("#")]
    return [row.split(",")[-1].strip() for row in rows]


@pytest.mark.parametrize(("ending", "form"), FORMATS)
def test_pictures_come_through_bit_for_bit(
    tmp_path: Path, ffmpeg: str, ending: str, form: str
) -> None:
    source, output = tmp_path / "in" / f"%06d.{ending}", tmp_path / "out" / f"p_%04d.{ending}"
    write_pictures(source, form, first=86400)
    result = call("run", source, "--rate", 24, "-o", output, *KEEP)
    assert result.exit_code == 0, result.stderr
    names = [path.name for path in sorted(output.parent.iterdir())]
    assert names == [f"p_{number}.{ending}" for number in range(86400, 86406)]
    before, after = (md5s(ffmpeg, path, form, 86400) for path in (source, output))
    assert len(set(before)) == 6
    assert after == before
    result = call("verify", output, "--against", source, "--rate", 24, "--whole", "--picture")
    assert result.exit_code == 0, result.stdout


@pytest.mark.parametrize(("ending", "form"), [("dpx", "gbrp10be"), ("tif", "rgb48le")])
def test_a_film_in_between_changes_nothing(
    tmp_path: Path, ffmpeg: str, ending: str, form: str
) -> None:
    source, film = tmp_path / "in" / f"%d.{ending}", tmp_path / "film.mkv"
    back = tmp_path / "back" / f"%06d.{ending}"
    write_pictures(source, form, first=7)
    assert call("run", source, "--rate", "23.976", "-o", film, *KEEP).exit_code == 0
    with av.open(str(film)) as opened:
        assert opened.streams.video[0].guessed_rate == Fraction(24000, 1001)
    assert call("verify", film, "--against", source, "--rate", "23.976").exit_code == 0
    assert call("run", film, "-o", back, *KEEP).exit_code == 0
    assert min(path.name for path in back.parent.iterdir()) == f"000000.{ending}"
    assert md5s(ffmpeg, back, form, 0) == md5s(ffmpeg, source, form, 7)
    assert call("verify", back, "--against", film, "--picture").exit_code == 0


def test_one_kind_becomes_another(tmp_path: Path, ffmpeg: str) -> None:
    source, output = tmp_path / "in" / "%03d.png", tmp_path / "out" / "%03d.dpx"
    write_pictures(source, "rgb48be")
    result = call("run", source, "--rate", 25, "-o", output, *KEEP, "--start-number", 1)
    assert result.exit_code == 0, result.stderr
    assert md5s(ffmpeg, output, "rgb48le", 1) == md5s(ffmpeg, source, "rgb48le", 0)


def test_a_part_keeps_its_numbers(tmp_path: Path, ffmpeg: str) -> None:
    source, output = tmp_path / "in" / "%03d.dpx", tmp_path / "out" / "%03d.dpx"
    write_pictures(source, "gbrp10be", frames=12, first=100)
    result = call("run", source, "--rate", 24, "-o", output, *KEEP, "--ss", 0.125, "--frames", 4)
    assert result.exit_code == 0, result.stderr
    assert [path.stem for path in sorted(output.parent.iterdir())] == ["103", "104", "105", "106"]
    assert md5s(ffmpeg, output, "gbrp10le", 103) == md5s(ffmpeg, source, "gbrp10le", 103)[:4]


def test_names_may_hold_what_ffmpeg_would_read(tmp_path: Path) -> None:
    source, output = tmp_path / "100% of it" / "a:%04d.png", tmp_path / "%d" / "b%%c_%d.png"
    write_pictures(source, "rgb24", first=9998)
    output.parent.mkdir()
    result = call("run", source, "--rate", 24, "-o", output, *KEEP)
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in output.parent.iterdir()) == sorted(
        f"b%%c_{number}.png" for number in range(9998, 10004)
    )


def test_grain_is_taken_out_of_pictures(tmp_path: Path) -> None:
    """R'G'B' of 10 bits is really repaired: what is flat comes out flatter."""
    source, output = tmp_path / "in" / "%03d.dpx", tmp_path / "out" / "%03d.dpx"
    write_clip(tmp_path / "flat.mkv", frames=_flat(), pix_fmt="gbrp10le", size=(64, 48))
    assert call("run", tmp_path / "flat.mkv", "-o", source, *KEEP).exit_code == 0
    result = call("run", source, "--rate", 24, "-o", output, "--progress", "none")
    assert result.exit_code == 0, result.stderr
    before, after = (_deviation(path) for path in (source, output))
    assert after < 0.5 * before


def _flat() -> list[av.VideoFrame]:
    noise = np.random.default_rng(3)
    frames = []
    for _ in range(10):
        frame = av.VideoFrame(64, 48, "gbrp10le")
        for plane in frame.planes:
            view = np.frombuffer(plane, "<u2").reshape(plane.height, -1)
            view[:] = np.clip(noise.normal(500, 30, view.shape).round(), 0, 1023)
        frames.append(frame)
    return frames


def _deviation(pattern: Path) -> float:
    """Of the last picture."""
    last = max(pattern.parent.iterdir())
    with av.open(str(last)) as opened:
        frame = next(opened.decode(video=0))
    return float(np.std(np.frombuffer(frame.planes[0], "<u2").astype(float)))


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("24", Fraction(24)),
        ("12.5", Fraction(25, 2)),
        ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("24000/1001", Fraction(24000, 1001)),
    ],
)
def test_rates_are_what_they_round(text: str, rate: Fraction) -> None:
    assert read_rate(text) == rate


def test_what_a_picture_stores_is_what_its_encoder_takes() -> None:
    for codec, pairs in STORED.items():
        known = {form.name for form in av.Codec(codec, "w").video_formats or ()}
        assert set(pairs.values()) <= known


# What is refused.


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The pattern of six pictures, 000004 to 000009."""
    pattern = tmp_path / "in" / "%06d.dpx"
    write_pictures(pattern, "gbrp10be", first=4)
    return pattern


def refused(result: Any, code: int, *words: str) -> None:
    """One sentence that holds these words, and the exit code."""
    assert result.exit_code == code, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


def test_a_rate_is_asked_for(pictures: Path, tmp_path: Path) -> None:
    refused(call("run", pictures, "-o", tmp_path / "o.mkv", *KEEP), 2, "no times", "--rate 24")


def test_one_of_them_is_no_film(pictures: Path, tmp_path: Path) -> None:
    one = pictures.with_name("000005.dpx")
    result = call("run", one, "-o", tmp_path / "o.mkv", *KEEP)
    refused(result, 2, "000005.dpx is one picture", "%06d.dpx for all", "with --rate")
    assert not (tmp_path / "o.mkv").exists()


@pytest.mark.parametrize("rate", ["0", "-24", "x", "24/0", "2000"])
def test_a_rate_that_is_none(pictures: Path, tmp_path: Path, rate: str) -> None:
    result = call("run", pictures, f"--rate={rate}", "-o", tmp_path / "o.mkv", *KEEP)
    assert result.exit_code == 2
    assert "rate" in result.stderr


def test_a_film_has_its_own_rate(tmp_path: Path) -> None:
    write_clip(tmp_path / "film.mkv")
    result = call("run", tmp_path / "film.mkv", "--rate", 24, "-o", tmp_path / "o.mkv", *KEEP)
    refused(result, 2, "--rate is for numbered pictures", "leave it out: a film says its own")


@pytest.mark.parametrize("folder", [False, True])
def test_an_empty_picture_is_named(pictures: Path, tmp_path: Path, *, folder: bool) -> None:
    """FFmpeg would end the film there, without a word."""
    (pictures.parent / (pictures.name % 7)).unlink()
    if folder:
        (pictures.parent / (pictures.name % 7)).mkdir()
    else:
        (pictures.parent / (pictures.name % 7)).touch()
    result = call("run", pictures, "-o", tmp_path / "out.mkv", "--rate", "24", *KEEP)
    refused(result, 3, "is no file" if folder else "is empty", "put it back")


def test_a_gap_is_named(pictures: Path, tmp_path: Path) -> None:
    for number in (6, 7):
        (pictures.parent / f"{number:06d}.dpx").unlink()
    result = call("run", pictures, "--rate", 24, "-o", tmp_path / "o.mkv", *KEEP)
    refused(result, 3, "no picture of number 6 (nor 1 others)", "add that picture")
    assert not (tmp_path / "o.mkv").exists()


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("in/%04d.dpx", 3, ("there is no file for", "for 000004.dpx write", "%06d.dpx")),
        ("in/x_%06d.dpx", 3, ("there is no file for", "check its name")),
        ("nowhere/%06d.dpx", 3, ("the folder", "cannot be read")),
        ("in/%06d_%02d.dpx", 2, ("2 counters", "leave one")),
        ("%02d/%06d.dpx", 2, ("counts folders",)),
        ("in/%6d.dpx", 2, ("%6d", "is no counter here", "%06d.dpx")),
        ("in/000004.dpx", 2, ("is one file", "in/%06d.dpx for all")),
        ("in/*.dpx", 2, ("* in", "is no counter here", "%06d.dpx")),
        ("in/######.dpx", 2, ("######", "is no counter here", "%06d.dpx")),
        ("in/%06d.jpg", 3, ("not taken for a film", ".dpx, .tif")),
        ("in/%06d.exr", 3, ("OpenEXR", "floating-point", "16-bit DPX or TIFF")),
        ("in", 3, ("is a folder", "%06d.dpx")),
    ],
)
def test_names_that_are_no_film(
    pictures: Path, tmp_path: Path, name: str, code: int, words: tuple[str, ...]
) -> None:
    assert pictures.parent.is_dir()
    result = call("run", tmp_path / name, "--rate", 24, "-o", tmp_path / "o.mkv", *KEEP)
    if name == "in":
        result = call("run", tmp_path / name, "-o", tmp_path / "o.mkv", *KEEP)
    refused(result, code, *words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("o/%06d.exr", ("OpenEXR", "write .dpx")),
        ("o/%06d.jpg", ("no container", "frames/%06d.dpx")),
        ("o/one.dpx", ("is one picture", "one_%06d.dpx")),
        ("o/%02d_%06d.dpx", ("2 counters",)),
        ("o/####.dpx", ("####", "%04d.dpx")),
        ("o/%06d.png", ("png cannot hold", "gbrp10le", "write pictures that end in .dpx")),
    ],
)
def test_outputs_that_are_none(
    pictures: Path, tmp_path: Path, name: str, words: tuple[str, ...]
) -> None:
    result = call("run", pictures, "--rate", 24, "-o", tmp_path / name, *KEEP)
    refused(result, 2, *words)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--codec", "ffv1"), ("--codec ffv1 has no meaning",)),
        (("--codec", "dpx"), ("--codec dpx",)),
        (("--crf", "10"), ("--crf 10",)),
        (("--start-number", "-1"), ("--start-number -1 is out of range",)),
        (("--on-change", "split"), ("--on-change split",)),
        (("-x", "nonsense=1"), ("nonsense is no option of dpx",)),
    ],
)
def test_options_without_meaning(
    pictures: Path, tmp_path: Path, option: tuple[str, ...], words: tuple[str, ...]
) -> None:
    output = tmp_path / "o" / "%06d.dpx"
    refused(call("run", pictures, "--rate", 24, "-o", output, *KEEP, *option), 2, *words)
    assert not output.parent.exists()


def test_films_of_other_colours_are_told_what_to_do(tmp_path: Path, samples: Path) -> None:
    result = call("run", samples / "bunny_clean.mp4", "-o", tmp_path / "o" / "%d.tif", *KEEP)
    refused(result, 2, "tiff cannot hold", "Y'CbCr", "-pix_fmt gbrp16le")
    write_clip(tmp_path / "gray.mkv", pix_fmt="gray", color_range=1)
    result = call("run", tmp_path / "gray.mkv", "-o", tmp_path / "o" / "%d.png", *KEEP)
    refused(result, 2, "limited range", "--allow-loss range")


def test_a_number_is_for_pictures(pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.mkv"
    result = call("run", pictures, "--rate", 24, "-o", output, *KEEP, "--start-number", 3)
    refused(result, 2, "--start-number is for numbered pictures")


def test_what_is_there_stays(pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "o" / "%06d.dpx"
    output.parent.mkdir()
    for name in ("000000.dpx", "000099.dpx", "notes.txt", "00000a.dpx"):
        (output.parent / name).write_text(name)
    result = call("run", pictures, "--rate", 24, "-o", output, *KEEP)
    refused(result, 2, "000000.dpx exists", "add -y")
    result = call("run", pictures, "--rate", 24, "-o", output, *KEEP, "-y")
    assert result.exit_code == 0, result.stderr
    kept = {"notes.txt", "00000a.dpx"} | {f"{number:06d}.dpx" for number in range(4, 10)}
    assert {path.name for path in output.parent.iterdir()} == kept
    assert (output.parent / "notes.txt").read_text() == "notes.txt"


def test_a_folder_in_the_way(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "o" / "000099.dpx").mkdir(parents=True)
    output = tmp_path / "o" / "%06d.dpx"
    result = call("run", pictures, "--rate", 24, "-o", output, *KEEP, "-y")
    refused(result, 2, "000099.dpx is a folder")
    assert (tmp_path / "o" / "000099.dpx").is_dir()


@pytest.mark.parametrize("own", ["in/%06d.dpx", "in/../in/%06d.dpx", "link/%06d.dpx"])
def test_the_source_is_never_written(pictures: Path, tmp_path: Path, own: str) -> None:
    (tmp_path / "link").symlink_to(pictures.parent)
    before = {path: path.read_bytes() for path in pictures.parent.iterdir()}
    result = call("run", pictures, "--rate", 24, "-o", tmp_path / own, *KEEP, "-y")
    refused(result, 2, "is the source itself")
    assert {path: path.read_bytes() for path in pictures.parent.iterdir()} == before


@pytest.mark.parametrize("share", [0.0, 0.6])
@pytest.mark.parametrize(
    ("ending", "form"), [("dpx", "gbrp10be"), ("png", "rgb24"), ("tif", "rgb48le")]
)
def test_a_picture_that_is_none_or_cut(
    tmp_path: Path, ending: str, form: str, share: float
) -> None:
    pattern = tmp_path / "in" / f"%03d.{ending}"
    write_pictures(pattern, form, frames=8, first=20)
    broken = pattern.parent / f"024.{ending}"
    told = broken.read_bytes()
    broken.write_bytes(told[: int(share * len(told))] or b"nothing" * 500)
    output = tmp_path / "o" / f"%03d.{ending}"
    result = call("run", pattern, "--rate", 24, "-o", output, *KEEP)
    refused(result, 3, f"024.{ending} cannot be decoded", "--bad-frames")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_picture_of_another_size(pictures: Path, tmp_path: Path) -> None:
    write_pictures(pictures, "gbrp10be", first=7, frames=1, size=(40, 30))
    result = call("run", pictures, "--rate", 24, "-o", tmp_path / "o" / "%d.dpx", *KEEP)
    refused(result, 3, "000007.dpx", "50x34", "40x30")
    assert not (tmp_path / "o").exists()


def test_sound_is_not_lost_unasked(tmp_path: Path) -> None:
    film, output = tmp_path / "film.mkv", tmp_path / "o" / "%06d.png"
    write_clip(film, pix_fmt="gbrp16le", extras=Extras(audio=1, subtitles=1, chapters=1))
    result = call("run", film, "-o", output, *KEEP)
    refused(result, 2, "audio stream", "subtitle stream", "--allow-loss audio,subtitles")
    assert not output.parent.exists()
    result = call("run", film, "-o", output, *KEEP, "--allow-loss", "audio,subtitles")
    assert result.exit_code == 0, result.stderr
    assert "chapters are not carried" in result.stderr
    lost = ("audio", "subtitles", "chapters", "tags")
    told = call("verify", output, "--against", film)
    assert told.exit_code == 5
    assert "audio stream" in told.stdout
    told = call("verify", output, "--against", film, "--allow-loss", ",".join(lost))
    assert told.exit_code == 0, told.stdout


def test_irregular_times_are_told(tmp_path: Path) -> None:
    film, output = tmp_path / "film.mkv", tmp_path / "o" / "%d.png"
    write_clip(film, pix_fmt="gbrp16le", frames=5, pts=[0, 1, 3, 4, 5])
    result = call("run", film, "-o", output, *KEEP)
    assert result.exit_code == 0, result.stderr
    assert "a row of pictures: 2 irregular gaps" in result.stderr
    assert len(list(output.parent.iterdir())) == 5
    assert call("verify", output, "--against", film, "--allow-loss", "tags").exit_code == 5
    told = call("verify", output, "--against", film, "--allow-loss", "tags,times")
    assert told.exit_code == 0, told.stdout
    result = call("run", film, "-o", output, *KEEP, "-y", "--exact-time")
    refused(result, 2, "--exact-time", "hold no times")


def test_a_y4m_pipe_has_a_rate(tmp_path: Path) -> None:
    refused(call("run", "-", "--rate", 24, "-o", tmp_path / "o.mkv", *KEEP), 2, "y4m pipe")


def test_a_missing_picture_shows_in_verify(pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "o" / "%06d.dpx"
    assert call("run", pictures, "--rate", 24, "-o", output, *KEEP).exit_code == 0
    (output.parent / "000009.dpx").unlink()
    told = call("verify", output, "--against", pictures, "--rate", 24)
    assert told.exit_code == 5
    assert re.search(r"number of frames is 5.*expected 6", told.stdout)
    (output.parent / "000006.dpx").unlink()
    refused(call("verify", output, "--against", pictures, "--rate", 24), 3, "number 6")


def test_the_matte_has_a_folder_of_its_own(pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "o" / "%06d.dpx"
    for into in (output.parent, output.with_name("m_%06d.png"), pictures.parent):
        result = call("run", pictures, "--rate", 24, "-o", output, "--mask-out", into)
        refused(result, 2, "would go where the pictures", "another folder")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("command", ["estimate", "bench"])
def test_what_is_not_measured(pictures: Path, command: str) -> None:
    rate = ("--rate", 24) if command == "estimate" else ()
    result = call(command, pictures, *rate)
    assert result.exit_code == 2
    assert "numbered pictures" in result.stderr


def test_other_commands_take_pictures(pictures: Path, tmp_path: Path) -> None:
    told = call("probe", pictures, "--rate", "23.976", "--json")
    facts = json.loads(told.stdout)
    assert (facts["rate"], facts["frame_count"], facts["codec"]) == ("24000/1001", 6, "dpx")
    sheet = tmp_path / "sheet.png"
    idle = ("--denoise", "0", "--repair", "none", "--progress", "none")
    result = call("preview", pictures, "--rate", 24, "-o", sheet, "--at", 0.1, *idle)
    assert result.exit_code == 0, result.stderr
    result = call("compare", pictures, pictures, "--rate", 24, "-o", tmp_path / "c.png")
    assert result.exit_code == 0, result.stderr
    result = call("analyze", pictures, "--rate", 24, *KEEP)
    assert result.exit_code == 0, result.stderr
    followed = ("--analysis", tmp_path / "in.vr.json")
    result = call(
        "run",
        pictures,
        "--rate",
        24,
        "-o",
        tmp_path / "o" / "%d.dpx",
        *KEEP,
        *followed,
        "--sidecar",
    )
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "o.vr.json").is_file()


def test_a_batch_names_the_film_by_the_folder(pictures: Path, tmp_path: Path) -> None:
    result = call("batch", pictures, "-P", tmp_path / "done", "--rate", 24, *KEEP)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "done" / "in_restored.mkv").is_file()


def test_a_film_of_pictures_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ffmpeg: str
) -> None:
    """Pictures into a film go in segments, by two processes, too."""
    source, film = tmp_path / "in" / "%04d.dpx", tmp_path / "film.mkv"
    write_pictures(source, "gbrp10be", frames=20)
    monkeypatch.chdir(tmp_path)
    words = ("run", "in/%04d.dpx", "--rate", 24, "-o", film, *KEEP, "--segment-frames", 8)
    result = call(*words, "--workers", 2)
    assert result.exit_code == 0, result.stderr
    assert md5s(ffmpeg, film, "gbrp10le") == md5s(ffmpeg, source, "gbrp10le", 0)


def test_pictures_that_changed_are_not_gone_on_with(pictures: Path, tmp_path: Path) -> None:
    before = file_facts(pictures)
    assert before["pictures"] == 6
    assert file_facts(pictures) == before
    write_pictures(pictures, "gbrp10be", first=9, frames=1)
    assert file_facts(pictures) != before


# Headers of DPX.


def write_scan(pattern: Path, order: str, *, rate: float = 24.0) -> None:
    """Ten bits of noise with the fields of a film scanner, each with its own timecode."""
    write_pictures(pattern, f"gbrp10{'be' if order == '>' else 'le'}", first=50)
    for number, path in enumerate(sorted(pattern.parent.iterdir())):
        told = path.read_bytes()
        header = bytearray(told[:1664].ljust(2048, b"\0"))
        texts = ((260, b"reel 7"), (801, b"\x03\x01"), (1556, b"scanner"), (1680, b"Academy"))
        for offset, text in texts:
            header[offset : offset + len(text)] = text
        words = ((784, 95), (792, 685), (1712, number), (1920, 0x01595922 + number), (1924, 7))
        for offset, value in (*words, (4, 2048), (16, len(told) + 384), (28, 384), (808, 2048)):
            struct.pack_into(f"{order}I", header, offset, value)
        struct.pack_into(f"{order}f", header, 1724, rate)
        path.write_bytes(bytes(header) + told[1664:])


def fields(path: Path) -> dict[int, Any]:
    """What `write_scan` put into a header."""
    told = path.read_bytes()
    order = ">" if told.startswith(b"SDPX") else "<"
    found: dict[int, Any] = {
        offset: struct.unpack_from(f"{order}I", told, offset)[0]
        for offset in (784, 792, 1712, 1920, 1924)
    }
    found |= {offset: told[offset : offset + 8] for offset in (260, 1556, 1680)}
    return found | {801: told[801:803], 1724: struct.unpack_from(f"{order}f", told, 1724)[0]}


@pytest.mark.parametrize("order", ["<", ">"])
def test_headers_of_dpx_stay(tmp_path: Path, ffmpeg: str, order: str) -> None:
    source, output = tmp_path / "in" / "%04d.dpx", tmp_path / "out" / "%04d.dpx"
    write_scan(source, order)
    cut = ("--ss", 1 / 24, "--frames", 4)
    result = call("run", source, "--rate", 24, "-o", output, *KEEP, *cut)
    assert result.exit_code == 0, result.stderr
    names = [f"{number:04d}.dpx" for number in range(51, 55)]
    assert sorted(path.name for path in output.parent.iterdir()) == names
    for name in names:
        before, after = (fields(path.parent / name) for path in (source, output))
        assert after == before
        told = (output.parent / name).read_bytes()
        assert len(told) == struct.unpack_from(">I", told, 16)[0]
    assert md5s(ffmpeg, output, "gbrp10le", 51) == md5s(ffmpeg, source, "gbrp10le", 51)[:4]


def test_the_timecode_goes_to_and_fro(tmp_path: Path) -> None:
    source, film = tmp_path / "in" / "%04d.dpx", tmp_path / "film.mkv"
    back = tmp_path / "back" / "%04d.dpx"
    write_scan(source, ">")
    assert call("run", source, "--rate", 24, "-o", film, *KEEP, "--ss", 0.04).exit_code == 0
    with av.open(str(film)) as opened:
        assert opened.streams.video[0].metadata["TIMECODE"] == "01:59:59:23"
    result = call("run", film, "-o", back, *KEEP, "--start-number", 51)
    assert result.exit_code == 0, result.stderr
    assert "not carried" not in result.stderr
    codes = [fields(path)[1920] for path in sorted(back.parent.iterdir())]
    assert codes == [0x01595923, 0x02000000, 0x02000001, 0x02000002, 0x02000003]
    assert fields(back.parent / "0051.dpx")[1724] == 24.0


def test_a_report_says_which_picture_is_frame_0(tmp_path: Path) -> None:
    source, film = tmp_path / "in" / "%04d.dpx", tmp_path / "film.mkv"
    write_scan(source, ">")
    words = ("run", source, "--rate", 24, "-o", film, *KEEP, "--ss", 0.04, "--report")
    assert call(*words).exit_code == 0
    page = (tmp_path / "film.mkv.vr.html").read_text(encoding="utf-8")
    assert "Frames are counted from 0, which is picture 51." in page


def test_another_rate_is_told(tmp_path: Path) -> None:
    source, output = tmp_path / "in" / "%04d.dpx", tmp_path / "out" / "%04d.dpx"
    write_scan(source, ">", rate=18.0)
    result = call("run", source, "--rate", 24, "-o", output, *KEEP)
    assert result.exit_code == 0, result.stderr
    assert "the pictures say 18 frames a second; --rate 24 is taken" in result.stderr
    assert fields(output.parent / "0050.dpx")[1724] == 24.0


def test_colour_profiles_of_png_stay(tmp_path: Path) -> None:
    """PyAV 18 frees the name of a profile that FFmpeg frees once more: the process must live."""
    source, output = tmp_path / "in" / "%d.png", tmp_path / "out" / "%d.png"
    write_pictures(source, "rgb24")
    body = b"iCCP" + b"name\0\0" + zlib.compress(b"a colour profile" * 20)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    for path in source.parent.iterdir():
        told = path.read_bytes()
        path.write_bytes(told[:33] + chunk + told[33:])
    words = [sys.executable, "-m", "vidrepair", "run", str(source), "--rate", "24", *KEEP, "-o"]
    for target in (output, tmp_path / "film.mkv"):
        result = subprocess.run([*words, str(target)], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        lost = "ICC_PROFILE is not carried" in result.stderr
        assert lost == (target is not output)
    for path in output.parent.iterdir():
        assert b"iCCP" in path.read_bytes()


# What is written, and what becomes of it.


def test_pictures_go_back_where_one_does_not_go(tmp_path: Path) -> None:
    folder, new = tmp_path / "there", tmp_path / "new"
    for place, names in ((folder, "12"), (new, "123")):
        place.mkdir()
        for name in names:
            (place / f"{name}.png").write_text(f"{place.name} {name}")
    (folder / "3.png").mkdir()  # nothing can take its name
    (folder / "3.png" / "mine").touch()
    row = Numbered(folder, "%d.png", whole=False)
    with pytest.raises(OSError, match="directory"):
        row.publish(new, ["1.png", "2.png", "3.png"], overwrite=True)
    assert {path.name: path.read_text() for path in folder.iterdir() if path.is_file()} == {
        "1.png": "there 1",
        "2.png": "there 2",
    }
    assert (folder / "3.png" / "mine").exists()


def test_rejected_pictures_keep_another_name(tmp_path: Path) -> None:
    (tmp_path / "out.failed").mkdir()
    place = FolderPlace(tmp_path / "out" / "%d.png")
    (place.written.parent / "1.png").touch()
    assert place.reject() == tmp_path / "out.failed-2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.failed", "out.failed-2"]
    place = FolderPlace(tmp_path / "out" / "%d.png")
    place.delete()
    place.delete()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of the system")
def test_a_full_disk_is_said_in_one_sentence(pictures: Path, tmp_path: Path) -> None:
    """The largest file that the process may write is limited, which the system enforces."""
    code = f"""
import sys; sys.path[:0] = {sys.path!r}
import resource
from vidrepair.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
main({["run", str(pictures), "--rate", "24", "-o", str(tmp_path / "o" / "%d.dpx"), *KEEP]!r})
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith("vidrepair: no space left for")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_pictures_go_on_where_they_were_broken_off(
    tmp_path: Path, ffmpeg: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = tmp_path / "in" / "%04d.dpx", tmp_path / "out" / "%04d.dpx"
    # More than the stages hold between them: some segments end before the broken one is met.
    write_pictures(source, "gbrp10be", frames=120, first=30)
    broken = source.parent / "0145.dpx"
    whole, times = broken.read_bytes(), broken.stat()
    broken.write_bytes(b"x" * len(whole))
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))
    monkeypatch.chdir(tmp_path)
    words = ("run", "in/%04d.dpx", "--rate", 24, "-o", "out/%04d.dpx", *KEEP)
    result = call(*words, "--segment-frames", 5)
    assert result.exit_code == 3, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.vrjob"]
    told = call("jobs", "list", tmp_path).stdout
    done = re.match(rf"{tmp_path / 'out'}: (\d+) of about 120 frames", told)
    assert done is not None
    assert 5 <= int(done[1]) <= 115
    broken.write_bytes(whole)
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))
    result = call("resume", "out/%04d.dpx")
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert md5s(ffmpeg, output, "gbrp10le", 30) == md5s(ffmpeg, source, "gbrp10le", 30)
    result = call("resume", output)
    refused(result, 2, "there is no unfinished job")


@pytest.mark.parametrize("kind", ["png", "dpx", "tif"])
def test_segments_of_pictures_are_the_pictures(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "in" / f"%04d.{kind}"
    write_pictures(source, "rgb24", frames=20)
    whole, parts = tmp_path / "whole" / f"%d.{kind}", tmp_path / "parts" / f"%d.{kind}"
    words = ("run", source, "--rate", 24, *KEEP, "-o")
    assert call(*words, whole, "--no-journal").exit_code == 0
    parts.parent.mkdir()
    (parts.parent / "notes").touch()
    result = call(*words, parts, "--segment-frames", 6, "--workers", 2 if kind == "dpx" else 1)
    assert result.exit_code == 0, result.stderr
    for path in whole.parent.iterdir():
        assert (parts.parent / path.name).read_bytes() == path.read_bytes()
    assert len(list(parts.parent.iterdir())) == 21


def test_pictures_that_have_their_names_are_known_for_finished(
    pictures: Path, tmp_path: Path
) -> None:
    """A run that ends between the last rename and the removal of its journal."""
    output, matte = tmp_path / "out" / "%d.dpx", tmp_path / "m"
    job = Job(
        pictures,
        output,
        RepairSettings(denoise=(0.0, 0.0), damage=DamageSettings(())),
        target=OutputSettings(segment=2, mask_out=matte),
        reading=SourceSettings(rate=Fraction(24)),
    )
    with pytest.raises(UsageError, match="is a file"):
        run_job(job, opened=lambda _run: matte.touch())
    before = {path: path.stat().st_mtime_ns for path in output.parent.iterdir()}
    assert len(before) == 6
    assert (tmp_path / "out.vrjob").is_dir()
    matte.unlink()
    run_job(replace(job, target=replace(job.target, resume=True)))
    assert {path: path.stat().st_mtime_ns for path in output.parent.iterdir()} == before
    assert len(list(matte.iterdir())) == 6
    assert not (tmp_path / "out.vrjob").exists()


def test_a_report_of_pictures_lies_beside_their_folder(pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("jinja2", reason="needs the extra report")
    out = tmp_path / "clean" / "%04d.dpx"
    idle = ("--denoise", "0", "--repair", "none", "--progress", "none")
    made = call("run", pictures, "--rate", "24", "-o", out, "--report", "--sidecar", *idle)
    assert made.exit_code == 0, made.output
    page = tmp_path / "clean.vr.html"
    assert page.is_file()
    assert (tmp_path / "clean.vr.json").is_file()
    page.unlink()
    again = call("report", out, "--against", pictures, "--rate", "24", "--progress", "none")
    assert again.exit_code == 0, again.output
    assert page.is_file()


def test_markers_of_pictures_are_those_of_a_run(pictures: Path, tmp_path: Path) -> None:
    result = call("markers", pictures, "-o", tmp_path / "m.edl")
    refused(result, 2, "numbered pictures", "run --markers")
