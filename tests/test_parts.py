"""Films whose picture changes on the way, repaired in parts."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner
from clips import Extras, read_frames, samples_of, write_clip

from vidrepair.cli import main
from vidrepair.errors import UsageError
from vidrepair.parts import find_changes, split_at_changes
from vidrepair.settings import Job, OutputSettings, SourceSettings
from vidrepair.verification import check_files

SIZES = ((64, 48), (32, 32), (80, 48))
NOTHING = ("--denoise", "0", "--repair", "none", "-c", "ffv1", "--progress", "none")


@pytest.fixture
def changing(tmp_path: Path, ffmpeg: str) -> Path:
    """Three parts of 10 frames and as many sizes, in one transport stream with sound."""
    whole = b""
    for number, size in enumerate(SIZES):
        part = tmp_path / f"{number}.h264"
        options = {"qp": "0", "preset": "ultrafast"}
        write_clip(part, frames=10, size=size, codec="libx264", container="h264", options=options)
        whole += part.read_bytes()
    (tmp_path / "raw.h264").write_bytes(whole)
    write_clip(tmp_path / "sound.mkv", frames=30, extras=Extras(audio=1))
    path = tmp_path / "in.ts"
    join = [ffmpeg, "-v", "error", "-fflags", "+genpts", "-r", "25", "-i", tmp_path / "raw.h264"]
    join += ["-i", tmp_path / "sound.mkv", "-map", "0:v", "-map", "1:a", "-c", "copy", path]
    subprocess.run(join, check=True)
    return path


def test_each_part_becomes_a_film_of_its_own(changing: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    result = CliRunner().invoke(main, ["run", str(changing), "-o", str(out), *NOTHING])
    assert result.exit_code == 3
    assert "add --on-change split" in result.stderr
    assert not out.exists()
    split = ["run", str(changing), "-o", str(out), "--on-change", "split", *NOTHING]
    assert CliRunner().invoke(main, split).exit_code == 0
    changes = list(find_changes(changing, SourceSettings()))
    assert changes == [Fraction(10, 25), Fraction(20, 25)]
    edges = [None, *changes, None]
    originals = read_frames(changing)
    for number, size in enumerate(SIZES):
        name = out if number == 0 else tmp_path / f"out.part{number + 1}.mkv"
        frames = read_frames(name)
        assert [(one.width, one.height) for one in frames] == [size] * 10
        for was, now in zip(originals[10 * number :], frames, strict=False):
            for before, after in zip(samples_of(was), samples_of(now), strict=True):
                assert (before == after).all()
        reading = SourceSettings(None, edges[number], edges[number + 1])
        assert not check_files(name, changing, reading=reading)
    verify = ["verify", str(out), "--against", str(changing), "--on-change", "split"]
    assert CliRunner().invoke(main, verify).exit_code == 0
    (tmp_path / "out.part3.mkv").write_bytes((tmp_path / "out.part2.mkv").read_bytes())
    wrong = CliRunner().invoke(main, verify)
    assert wrong.exit_code == 5
    assert "size" in wrong.stdout
    (tmp_path / "out.part3.mkv").unlink()
    gone = CliRunner().invoke(main, verify)
    assert gone.exit_code == 3
    assert "out.part3.mkv, a part of" in gone.stderr


def test_a_part_that_is_there_is_noticed_beforehand(changing: Path, tmp_path: Path) -> None:
    (tmp_path / "out.part3.mkv").write_bytes(b"another film")
    split = ["run", str(changing), "-o", str(tmp_path / "out.mkv"), "--on-change", "split"]
    refused = CliRunner().invoke(main, [*split, *NOTHING])
    assert refused.exit_code == 2
    assert "out.part3.mkv exists" in refused.stderr
    assert not (tmp_path / "out.mkv").exists()


def test_changes_behind_the_end_that_was_asked_for_make_no_parts(
    changing: Path, tmp_path: Path
) -> None:
    reading = SourceSettings(end=Fraction(15, 25))
    assert list(find_changes(changing, reading)) == [Fraction(10, 25)]
    short = SourceSettings(end=Fraction(8, 25))
    job = Job(changing, tmp_path / "out.mkv", reading=short)
    assert split_at_changes(job) == [job]


def test_frames_of_the_whole_film_are_no_frames_of_its_parts(
    changing: Path, tmp_path: Path
) -> None:
    split = ["run", str(changing), "-o", str(tmp_path / "out.mkv"), "--on-change", "split"]
    for flags in (("--bad-frames", "3"), ("--frames", "12")):
        refused = CliRunner().invoke(main, [*split, *flags, "--progress", "none"])
        assert refused.exit_code == 2
        assert f"{flags[0]} counts the frames of the whole film" in refused.stderr
        assert not list(tmp_path.glob("out*"))


def test_a_film_that_does_not_change_is_one_job(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mkv", frames=5)
    job = Job(tmp_path / "in.mkv", tmp_path / "out.mkv")
    assert split_at_changes(job) == [job]


def test_what_goes_with_the_whole_film_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a pipe cannot"):
        split_at_changes(Job(None, tmp_path / "out.mkv"))
    sidecar = OutputSettings(sidecar=tmp_path / "out.vr.json")
    with pytest.raises(UsageError, match="a sidecar tells of one"):
        split_at_changes(Job(tmp_path / "in.mkv", tmp_path / "out.mkv", target=sidecar))


def test_a_later_part_that_cannot_be_carried_is_refused_before_the_first(tmp_path: Path) -> None:
    whole = b""
    for number, form in enumerate(("yuv420p", "yuv422p")):
        part = tmp_path / f"{number}.ts"
        write_clip(part, frames=10, codec="libx264", pix_fmt=form, options={"preset": "ultrafast"})
        whole += part.read_bytes()
    (tmp_path / "in.ts").write_bytes(whole)
    (tmp_path / "out.webm").write_bytes(b"an older film")
    words = ["run", str(tmp_path / "in.ts"), "-o", str(tmp_path / "out.webm"), "-y"]
    done = CliRunner().invoke(main, [*words, "--on-change", "split", "--denoise", "0"])
    assert done.exit_code == 2
    assert "yuv422p" in done.stderr
    assert (tmp_path / "out.webm").read_bytes() == b"an older film"


def test_a_change_behind_the_frames_that_are_wanted_is_all_the_same(
    changing: Path, tmp_path: Path
) -> None:
    for count, code in ((5, 0), (10, 0), (11, 3)):
        output = tmp_path / f"{count}.mkv"
        words = ["run", str(changing), "-o", str(output), "--frames", str(count), *NOTHING]
        assert CliRunner().invoke(main, words).exit_code == code
        assert not code or not output.exists()
    assert len(read_frames(tmp_path / "10.mkv")) == 10
    assert check_files(tmp_path / "10.mkv", changing, frames=10) == ()


def test_a_change_behind_the_fields_that_are_wanted_is_all_the_same(
    changing: Path, tmp_path: Path, ffmpeg: str
) -> None:
    """Two frames for each of the film; and a file that says its length is not called cut off."""
    command = [ffmpeg, "-v", "error", "-i", changing, "-map", "0", "-c", "copy"]
    subprocess.run([*command, tmp_path / "in.mkv"], check=True)
    for count, code in (("19", 0), ("21", 3)):
        words = ["run", str(tmp_path / "in.mkv"), "-o", str(tmp_path / f"{count}.mkv")]
        words += ["--frames", count, "--interlace", "bwdif-fields", *NOTHING]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == code, done.stderr
        assert "truncated" not in done.stderr
