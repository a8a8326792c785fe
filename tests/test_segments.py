"""Long films in segments: broken off anywhere, they go on and become the same film."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from calling import call, crashed_in, hashes
from clips import Extras, moving, picture, read_frames, write_clip

from vidrepair import DamageSettings, OutputSettings, RepairSettings, repair
from vidrepair.errors import DamagedSegment, UsageError, VidrepairError
from vidrepair.journal import Journal, folder_of, read_record
from vidrepair.packed_times import pack_times, unpack_times
from vidrepair.packets import PacketWriter, read_packets
from vidrepair.segments import SegmentedTarget
from vidrepair.verification import check_files

NOTHING = RepairSettings(denoise=(0.0, 0.0), damage=DamageSettings(kinds=()))
FLAGS = ("--denoise", "0", "--repair", "none", "--progress", "none")
SIZE = (64, 48)
COUNT = 330


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than five spans of noise in motion, with sound, text, chapters and an attachment."""
    path = tmp_path_factory.mktemp("film") / "in.mkv"
    extras = Extras(audio=1, subtitles=1, chapters=2, attachment=b"font")
    write_clip(path, frames=moving(*SIZE, COUNT, noise=6.0), size=SIZE, extras=extras)
    return path


def in_segments(film: Path, out: Path, **target: object) -> OutputSettings:
    settings = OutputSettings(segment=64, **{"codec": "ffv1", **target})  # type: ignore[arg-type]
    repair(film, out, settings=NOTHING, target=settings)
    return settings


class Stop(Exception):
    """The run ends here."""


def broken_off(
    film: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int = 2,
    flags: tuple[str | Path, ...] = FLAGS,
) -> None:
    """A run that dies once so many segments are finished."""
    added = Journal.add

    def add(journal: Journal, segment: object) -> None:
        added(journal, segment)  # type: ignore[arg-type]
        if len(journal.record.segments) == after:
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", add)
        call("run", film, "-o", out, "-c", "ffv1", "--segment-frames", "64", *flags)
    assert len(read_record(folder_of(out)).segments) == after


def test_a_film_in_segments_is_the_film_in_one_piece(film: Path, tmp_path: Path) -> None:
    in_segments(film, tmp_path / "a.mkv")
    assert not check_files(tmp_path / "a.mkv", film)
    assert hashes(tmp_path / "a.mkv") == hashes(film)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("h264", "mp4"), ("hevc", "mkv"), ("av1", "webm"), ("h264", "mov"), ("av1", "mp4")],
)
def test_every_codec_gives_the_same_film_twice(
    film: Path, tmp_path: Path, codec: str, suffix: str
) -> None:
    outs = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for out in outs:
        in_segments(
            film,
            out,
            codec=codec,
            preset=None if codec == "av1" else "ultrafast",
            allow_loss=frozenset({"attachments", "audio"}),
        )
        assert len(read_frames(out)) == COUNT
        packets = av.open(str(out)).demux(video=0)
        times = [packet.dts for packet in packets if packet.dts is not None]
        assert times == sorted(set(times))
    assert hashes(outs[0]) == hashes(outs[1])


@pytest.mark.parametrize("codec", ["prores", "dnxhr"])
def test_codecs_of_editing_go_in_segments_too(tmp_path: Path, codec: str) -> None:
    source = tmp_path / "in.mov"
    form = "yuv422p10le" if codec == "prores" else "yuv422p"
    size = (256, 144)
    write_clip(source, frames=150, size=size, pix_fmt=form, container="matroska", colorspace=1)
    in_segments(source, tmp_path / "a.mov", codec=codec)
    assert not check_files(tmp_path / "a.mov", source)


def test_times_of_a_variable_rate_stay(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pts = np.cumsum(rng.integers(20, 90, 200)).tolist()
    write_clip(tmp_path / "in.mkv", frames=200, pts=pts, time_base=Fraction(1, 1000))
    for codec in ("ffv1", "h264", "hevc"):
        out = tmp_path / f"{codec}.mkv"
        in_segments(tmp_path / "in.mkv", out, codec=codec)
        assert [one.pts for one in read_frames(out)] == pts


@pytest.mark.parametrize("kind", ["mkv", "png"])
def test_mattes_and_sidecars_go_on_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    film, mask = tmp_path / "in.mkv", tmp_path / "mask.mkv"
    write_clip(film, frames=moving(*SIZE, 170, noise=6.0), size=SIZE)
    write_clip(mask, frames=moving(*SIZE, 170), size=SIZE)  # some is above the threshold
    flags = ("--mask-in", mask, "--noise", "6", "--sidecar", "--progress", "none")
    mattes = []
    for name in ("whole", "again"):
        folder = tmp_path / name
        folder.mkdir()
        out = folder / "a.mkv"
        matte = folder / ("m" if kind == "png" else f"m.{kind}")
        words = (*flags, "--mask-out", matte)
        if name == "whole":
            done = call("run", film, "-o", out, "-c", "ffv1", "--segment-frames", "64", *words)
        else:
            broken_off(film, out, monkeypatch, 2, words)
            assert not matte.exists()
            done = call("resume", out, "--progress", "none")
        assert done.exit_code == 0, done.output
        mattes.append(matte)
    if kind == "png":
        pictures = [sorted(path.iterdir()) for path in mattes]
        assert [one.name for one in pictures[0]] == [one.name for one in pictures[1]]
        read = [[one.read_bytes() for one in folder] for folder in pictures]
    else:
        read = [[bytes(one.planes[0]) for one in read_frames(path)] for path in mattes]
    assert len(read[0]) == 170
    assert read[0] == read[1]
    assert any(any(one) for one in read[0]) if kind != "png" else len(set(read[0])) > 1
    sidecars = [
        json.loads((tmp_path / name / "a.mkv.vr.json").read_text()) for name in ("whole", "again")
    ]
    assert sidecars[0]["defects"]
    assert sidecars[0] == sidecars[1]
    assert hashes(tmp_path / "whole/a.mkv") == hashes(tmp_path / "again/a.mkv")


@pytest.mark.parametrize("after", [1, 3])
def test_what_is_finished_is_not_computed_again(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    out = tmp_path / "a.mkv"
    broken_off(film, out, monkeypatch, after)
    assert not out.exists()
    before = {path.name: path.stat().st_mtime_ns for path in folder_of(out).glob("*.packets")}
    listed = call("jobs", "list", tmp_path)
    assert f"{out}: {64 * after} of about {COUNT} frames (" in listed.stdout
    with monkeypatch.context() as patched:
        kept: dict[str, int] = {}
        removed = Journal.remove

        def remove(journal: Journal) -> None:
            kept.update({p.name: p.stat().st_mtime_ns for p in journal.folder.glob("*.packets")})
            removed(journal)

        patched.setattr(Journal, "remove", remove)
        done = call("resume", out, "--progress", "none")
    assert done.exit_code == 0, done.output
    assert f"{COUNT} frames" in done.stderr
    assert all(kept[name] == before[name] for name in list(before)[:after])
    assert not check_files(out, film)
    assert hashes(out) == hashes(film)
    assert not folder_of(out).exists()


def test_reports_count_the_whole_film(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = repair(film, tmp_path / "w.mkv", settings=NOTHING, target=OutputSettings(codec="ffv1"))
    broken_off(film, tmp_path / "a.mkv", monkeypatch)
    target = OutputSettings(codec="ffv1", segment=64, resume=True)
    again = repair(film, tmp_path / "a.mkv", settings=NOTHING, target=target)
    assert (again.frames, again.shots, again.repeats) == (whole.frames, whole.shots, whole.repeats)
    assert again.noise == pytest.approx(whole.noise)
    assert again.shares == whole.shares


def start(*args: str | Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", "from vidrepair.cli import main; main()", *map(str, args)]
    return subprocess.Popen(words, stderr=subprocess.PIPE)


def kill_often(film: Path, out: Path, times: int, *flags: str) -> None:
    """Run and resume, killed at a random moment after every segment so many times."""
    rng = random.Random(7)  # noqa: S311
    command = ["run", film, "-o", out, "--segment-frames", "1", "--progress", "none", *flags]
    for _ in range(times):
        finished = len(read_record(folder_of(out)).segments)
        with start(*command) as process:
            while len(read_record(folder_of(out)).segments) <= finished:
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            time.sleep(rng.uniform(0.0, 0.1))
            process.kill()
        assert not out.exists()
        command = ["resume", out, "--progress", "none"]
    with start(*command) as process:
        _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told


@pytest.mark.parametrize("codec", ["ffv1", "h264"])
def test_a_run_that_is_killed_three_times_gives_the_same_frames(
    film: Path, tmp_path: Path, codec: str
) -> None:
    flags = ("-c", codec, "--repair", "none", "--noise", "6")
    whole = tmp_path / "whole.mkv"
    done = call("run", film, "-o", whole, "--segment-frames", "1", "--progress", "none", *flags)
    assert done.exit_code == 0, done.output
    out = tmp_path / "a.mkv"
    kill_often(film, out, 3, *flags)
    assert hashes(out) == hashes(whole)
    assert hashes(out) != hashes(film)
    assert not check_files(out, film)


def test_an_interrupted_run_says_how_it_goes_on(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mkv"
    words = ["run", film, "-o", out, "-c", "ffv1", "--segment-frames", "1", "--repair", "none"]
    with start(*words) as process:
        while not read_record(folder_of(out)).segments:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 143
    assert f"vidrepair resume {out} goes on from there" in told.decode()
    assert not out.exists()


def test_a_job_of_which_nothing_is_finished_leaves_nothing(film: Path, tmp_path: Path) -> None:
    bad = call("run", film, "-o", tmp_path / "a.mkv", "--noise-profile", tmp_path / "none", *FLAGS)
    assert bad.exit_code == 3
    assert list(tmp_path.iterdir()) == []


# What has changed meanwhile.


def test_another_source_is_refused(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "in.mkv", tmp_path / "a.mkv"
    shutil.copy(film, source)
    broken_off(source, out, monkeypatch)
    write_clip(source, frames=moving(*SIZE, COUNT, noise=5.0), size=SIZE)
    refused = call("resume", out)
    assert refused.exit_code == 2
    assert "was made otherwise: source" in refused.stderr
    assert "run -y" in refused.stderr
    assert call("resume", out, "--allow-mixed").exit_code == 2
    source.unlink()
    gone = call("resume", out)
    assert gone.exit_code == 3
    assert "does not exist" in gone.stderr
    shutil.copy(film, source)  # it comes back
    assert call("resume", out, "--progress", "none").exit_code == 0


def test_another_engine_goes_on_only_where_that_is_allowed(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    broken_off(film, out, monkeypatch)
    monkeypatch.setattr("vidrepair.job_facts.__version__", "99")
    refused = call("resume", out)
    assert refused.exit_code == 2
    assert "version was" in refused.stderr
    assert "--allow-mixed" in refused.stderr
    assert call("resume", out, "--allow-mixed", "--progress", "none").exit_code == 0
    assert hashes(out) == hashes(film)


def test_a_job_of_another_format_is_refused_and_stays(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    with monkeypatch.context() as patched:
        for module in ("record", "journal"):
            patched.setattr(f"vidrepair.{module}.FORMAT", 99)
        broken_off(film, out, monkeypatch)
    before = sorted(folder_of(out).iterdir())
    assert call("resume", out).exit_code == 2
    with pytest.raises(UsageError, match="is of another version of vidrepair"):
        in_segments(film, out, resume=True)
    assert sorted(folder_of(out).iterdir()) == before


def test_an_unfinished_job_is_not_overwritten_unasked(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    broken_off(film, out, monkeypatch)
    refused = call("run", film, "-o", out, *FLAGS)
    assert refused.exit_code == 2
    assert "vidrepair resume" in refused.stderr
    assert len(read_record(folder_of(out)).segments) == 2
    anew = call("run", film, "-o", out, "-y", "-c", "ffv1", "--segment-frames", "64", *FLAGS)
    assert anew.exit_code == 0
    assert not folder_of(out).exists()


def test_two_runs_to_one_output_are_told(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mkv"
    with Journal(folder_of(out)):
        busy = call("run", film, "-o", out, "-y", *FLAGS)
        assert busy.exit_code == 1
        assert "another run is at work" in busy.stderr
        assert call("jobs", "clean", out).exit_code == 1


def test_a_run_beside_one_that_is_half_done_is_told_of_it(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    broken_off(film, out, monkeypatch)
    with Journal(folder_of(out)):
        for more in ((), ("-y",)):
            busy = call("run", film, "-o", out, *more, *FLAGS)
            assert busy.exit_code == 1
            assert "another run is at work" in busy.stderr
            assert "vidrepair resume" not in busy.stderr
        assert "another run is at work on it" in call("jobs", "list", tmp_path.parent).stdout
    assert "at work" not in call("jobs", "list", tmp_path).stdout


def test_jobs_are_shown_retried_and_cleaned(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    assert "is not there" in call("resume", out).stderr
    listed = call("jobs", "list", tmp_path)
    assert listed.stdout == ""
    assert f"no film in or below {tmp_path} is unfinished" in listed.stderr
    broken_off(film, out, monkeypatch)
    assert '"first": 64' in call("jobs", "show", out).stdout
    (told,) = json.loads(call("jobs", "list", tmp_path, "--json").stdout)["jobs"]
    assert (told["output"], told["busy"], told["error"]) == (str(out), False, "")
    assert 0 < told["frames"] < told["total"]
    assert call("jobs", "clean", out).exit_code == 0
    assert list(tmp_path.iterdir()) == []
    broken_off(film, out, monkeypatch)
    assert call("jobs", "retry", tmp_path).exit_code == 0
    assert hashes(out) == hashes(film)


def finished_but_not_removed(film: Path, out: Path) -> None:
    """A run that ends right after the film has its name."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Journal, "remove", lambda _: (_ for _ in ()).throw(Stop))
        call("run", film, "-o", out, "-c", "ffv1", "--segment-frames", "64", *FLAGS)
    assert read_record(folder_of(out)).joined
    assert hashes(out) == hashes(film)


def test_workers_have_nothing_to_do_for_a_film_that_has_its_name(
    film: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.mkv"
    finished_but_not_removed(film, out)
    done = call("resume", out, "--workers", "2", "--progress", "none")
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_a_job_that_is_half_removed_is_none(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    finished_but_not_removed(film, out)
    unlinked = Path.unlink

    def unlink(path: Path) -> None:
        unlinked(path)
        raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlink)
        patched.setattr(shutil, "rmtree", lambda path, **_: next(Path(path).iterdir()).unlink())
        with pytest.raises(Stop), Journal(folder_of(out)) as journal:
            journal.remove()
    assert folder_of(out).is_dir()
    assert "says nothing of a job" in call("resume", out).stderr
    assert call("jobs", "clean", out).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


@pytest.mark.parametrize("names", [(), ("journal",), ("000000000.packets",)])
def test_a_folder_without_a_job_stops_nobody(
    film: Path, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """Of a run that was killed before its first line, or when it removed the folder."""
    out = tmp_path / "a.mkv"
    folder_of(out).mkdir()
    for name in names:
        (folder_of(out) / name).touch()
    done = call("run", film, "-o", out, "-c", "ffv1", "--segment-frames", "64", *FLAGS)
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_a_journal_that_goes_while_it_is_opened_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "a.mkv")
    other, locked = Journal(folder), Journal._lock

    def lock(journal: Journal) -> None:
        other.remove()
        locked(journal)

    monkeypatch.setattr(Journal, "_lock", lock)
    with pytest.raises(VidrepairError, match="another run is at work"):
        Journal(folder)


def test_a_run_over_a_film_that_is_kept_tells_of_no_rest(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    words = ("run", film, "-o", out, "-c", "ffv1", "--segment-frames", "64", *FLAGS)
    assert call(*words, "--sidecar").exit_code == 0
    with Journal(folder_of(out)):
        busy = call(*words, "-y")
    assert busy.exit_code == 1
    assert "goes on from there" not in busy.stderr


# Damage to what lies on the disk.


def test_a_segment_that_was_damaged_is_computed_again(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    broken_off(film, out, monkeypatch, after=3)
    path = folder_of(out) / "000000064.packets"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = call("resume", out, "--progress", "none")
    assert done.exit_code == 0
    assert "segment 1 is damaged" in done.stderr
    assert "64 frames are finished" in done.stderr
    assert f"{COUNT} frames, 64 of them done before, in " in done.stderr
    assert hashes(out) == hashes(film)


def test_another_number_of_threads_is_the_same_job(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    flags = ("--noise", "6", "--repair", "none", "--progress", "none")
    broken_off(film, out, monkeypatch, 1, flags)
    assert call("resume", out, "--threads", "1", "--progress", "none").exit_code == 0


def test_a_journal_broken_off_at_any_byte_is_read_up_to_there(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    broken_off(film, out, monkeypatch, after=3)
    folder = folder_of(out)
    data = (folder / "journal").read_bytes()
    starts = read_record(folder).starts
    for cut in range(len(data)):
        (folder / "journal").write_bytes(data[:cut])
        whole = sum(end <= cut for end in (*starts[1:], len(data)))
        assert len(read_record(folder).segments) == whole
        assert (read_record(folder).job is None) == (cut < starts[0])
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 4
        (folder / "journal").write_bytes(changed)
        assert len(read_record(folder).segments) <= sum(start <= place for start in starts)
    (folder / "journal").write_bytes(data[: starts[2] + 9])
    assert call("resume", out, "--progress", "none").exit_code == 0
    assert hashes(out) == hashes(film)


def test_what_was_not_synced_counts_for_nothing(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power fails: each file is as it was when it was last made sure of."""
    safe: dict[Path, int] = {}
    real = os.fsync

    def fsync(number: int) -> None:
        path = Path(f"/proc/self/fd/{number}").resolve()
        if path.is_file():
            safe[path] = path.stat().st_size
        real(number)

    out = tmp_path / "a.mkv"
    monkeypatch.setattr("os.fsync", fsync)
    broken_off(film, out, monkeypatch, after=3)
    for path in folder_of(out).iterdir():
        with path.open("r+b") as file:
            file.truncate(safe.get(path, 0))
    record = read_record(folder_of(out))
    assert len(record.segments) == 3
    for segment in record.segments:
        path = folder_of(out) / f"{segment.first:09}.packets"
        packets = list(read_packets(path, Fraction(1, 25), segment.sha256))
        assert len(packets) == segment.frames


def test_a_full_disk_ends_the_run_and_loses_nothing(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    whole = PacketWriter._write
    written = 0

    def write(writer: PacketWriter, data: bytes) -> None:
        nonlocal written
        written += len(data)
        if written > 600_000:
            raise OSError(28, "No space left on device")
        whole(writer, data)

    with monkeypatch.context() as patched:
        patched.setattr(PacketWriter, "_write", write)
        full = call("run", film, "-o", out, "-c", "ffv1", "--segment-frames", "64", *FLAGS)
    assert full.exit_code == 1
    assert "no space left" in full.stderr
    assert "vidrepair resume" in full.stderr
    assert read_record(folder_of(out)).segments
    assert call("resume", out, "--progress", "none").exit_code == 0
    assert hashes(out) == hashes(film)


def test_what_will_not_fit_is_refused_after_the_first_segment(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("vidrepair.segments.disk_usage", lambda _: usage._replace(free=10_000))
        refused = call("run", film, "-o", out, "-c", "ffv1", "--segment-frames", "64", *FLAGS)
    assert refused.exit_code == 1
    assert "where 0.0 MB are free" in refused.stderr
    assert len(read_record(folder_of(out)).segments) == 1


# Which films go in segments.


def test_short_films_go_in_one_piece(film: Path, tmp_path: Path) -> None:
    for extra in (["--no-journal"], ["--segment-frames", "1000"]):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("vidrepair.run.Journal", None)
            done = call("run", film, "-o", tmp_path / "a.mkv", "-y", *extra, *FLAGS)
            assert done.exit_code == 0, done.output


def test_resuming_what_was_never_begun_is_refused(film: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no unfinished job"):
        repair(film, tmp_path / "a.mkv", target=OutputSettings(resume=True))
    folder_of(tmp_path / "a.mkv").mkdir()
    with pytest.raises(UsageError, match="says nothing of a job"):
        repair(film, tmp_path / "a.mkv", target=OutputSettings(resume=True))


def test_packets_come_back_as_they_went(tmp_path: Path, film: Path) -> None:
    with av.open(str(film)) as opened:
        packets = [packet for packet in opened.demux(video=0) if packet.size]
        with PacketWriter(tmp_path / "a") as writer:
            for packet in packets:
                writer.add(packet)
            digest = writer.finish()
        unit = packets[0].time_base
        back = list(read_packets(tmp_path / "a", unit, digest))
        assert [(p.pts, p.dts, p.duration, p.is_keyframe, bytes(p)) for p in back] == [
            (p.pts, p.dts, p.duration, p.is_keyframe, bytes(p)) for p in packets
        ]
        with pytest.raises(DamagedSegment):
            list(read_packets(tmp_path / "a", unit, "0" * 64))
    data = (tmp_path / "a").read_bytes()
    for cut in (0, 10, 50, len(data) - 1):
        (tmp_path / "a").write_bytes(data[:cut])
        with pytest.raises(VidrepairError):
            list(read_packets(tmp_path / "a", unit, digest))


def test_a_full_disk_is_told_once() -> None:
    """What its buffer still holds fits no better when the file is let go of."""
    writer = PacketWriter(Path("/dev/full"))
    writer.add_bytes((0, 0, 1, True), b"x")
    with pytest.raises(OSError, match="No space left"):
        writer.finish()
    writer.close()


def test_times_of_any_rhythm_take_few_bytes() -> None:
    times = [-7, 40, 80, 120, 121, 300, 340, 380, 200]
    assert unpack_times(pack_times(times)) == times
    widest = [-(2**63), 0, 2**63 - 1]
    assert unpack_times(pack_times(widest)) == widest
    assert unpack_times(pack_times([])) == []
    rounded = [round(n * 1001 / 24) for n in range(256)]  # milliseconds of Matroska
    assert unpack_times(pack_times(rounded)) == rounded
    assert len(pack_times(rounded)) < 100


# What a review found.


def words_for(film: Path, out: Path, *more: str | Path) -> tuple[str | Path, ...]:
    return ("run", film, "-o", out, "-c", "ffv1", "--segment-frames", "64", *FLAGS, *more)


def test_as_many_frames_as_were_asked_for_come_after_a_crash_at_the_end(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    words = words_for(film, out, "--frames", "150")
    crashed_in(monkeypatch, "vidrepair.journal.Journal.end", *words)
    assert sum(one.frames for one in read_record(folder_of(out)).segments) == 150
    assert call("resume", out, "--progress", "none").exit_code == 0
    assert hashes(out) == hashes(film)[:150]


def test_a_part_ends_with_its_picture_in_segments_too(film: Path, tmp_path: Path) -> None:
    sizes = []
    for name, more in (("a.mkv", ()), ("b.mkv", ("--no-journal",))):
        done = call(*words_for(film, tmp_path / name, "--to", "5", *more))
        assert done.exit_code == 0, done.output
        with av.open(str(tmp_path / name)) as opened:
            sizes.append([(p.pts, p.size) for p in opened.demux(audio=0) if p.size])
    assert sizes[0] == sizes[1]


def test_a_source_that_was_replaced_is_not_joined_with(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "in.mkv", tmp_path / "a.mkv"
    shutil.copy(film, source)
    ended = SegmentedTarget.end

    def end(target: SegmentedTarget) -> None:
        ended(target)
        write_clip(source, frames=moving(*SIZE, COUNT, noise=6.0), size=SIZE)

    with monkeypatch.context() as patched:
        patched.setattr(SegmentedTarget, "end", end)
        changed = call(*words_for(source, out))
    assert changed.exit_code == 1
    assert "changed while it was read" in changed.stderr
    assert not out.exists()
    shutil.copy(film, source)
    assert call("resume", out, "--progress", "none").exit_code == 0
    assert not check_files(out, film)


def test_a_sidecar_that_could_not_be_written_is_written_by_resume(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    words = words_for(film, out, "--sidecar")
    crashed_in(monkeypatch, "vidrepair.results.write_analysis", *words)
    assert out.exists()
    finished = out.read_bytes()
    assert call("resume", out, "--progress", "none").exit_code == 0
    assert out.read_bytes() == finished
    assert (tmp_path / "a.mkv.vr.json").exists()
    assert "there is nothing to resume" in call("resume", out).stderr
    assert not call("jobs", "list", tmp_path).stdout


def test_a_film_that_has_its_name_is_known_for_finished(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    crashed_in(monkeypatch, "vidrepair.journal.Journal.remove", *words_for(film, out))
    finished = out.read_bytes()
    assert folder_of(out).exists()
    out.write_bytes(b"another film")
    assert "exists" in call("resume", out).stderr
    out.write_bytes(finished)
    assert call("resume", out, "--progress", "none").exit_code == 0
    assert out.read_bytes() == finished
    assert not folder_of(out).exists()


def test_an_old_job_stays_where_the_new_one_cannot_begin(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    broken_off(film, out, monkeypatch)
    mask = ("--repair", "dust", "--mask-in", tmp_path / "none.mkv")
    assert call(*words_for(film, out, "-y", *mask)).exit_code == 3
    assert len(read_record(folder_of(out)).segments) == 2
    assert call("resume", out, "--progress", "none").exit_code == 0
    assert hashes(out) == hashes(film)


def test_words_after_two_dashes_go_on_too(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    words = ("run", "-o", out, "-c", "ffv1", "--segment-frames", "64", *FLAGS, "--", film)
    crashed_in(monkeypatch, "vidrepair.journal.Journal.end", *words)
    assert call("resume", out, "--progress", "none").exit_code == 0
    assert hashes(out) == hashes(film)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_shots_of_one_frame_make_no_segments(tmp_path: Path, codec: str) -> None:
    shots = [moving(*SIZE, 30), [picture("yuv420p", *SIZE, 90)], moving(*SIZE, 30, noise=9.0)]
    frames = [frame for shot in shots for frame in shot]
    write_clip(tmp_path / "in.avi", frames=frames, size=SIZE)
    out = tmp_path / "a.mkv"
    target = OutputSettings(codec=codec, segment=1)
    repair(tmp_path / "in.avi", out, settings=NOTHING, target=target)
    assert len(read_frames(out)) == 61


def test_a_journal_that_was_written_in_parts_is_whole(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        """A disk that takes ten bytes at a time."""

        def __init__(self, file: object) -> None:
            self._file = file

        def write(self, data: bytes) -> int:
            return int(self._file.write(data[:10]))  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    with Journal(tmp_path / "a.vrjob") as journal:
        journal._file = Slow(journal._file)  # type: ignore[assignment]
        journal.start({"facts": {}, "arguments": [], "folder": "."})
        journal.end({})
    record = read_record(tmp_path / "a.vrjob")
    assert record.job is not None
    assert record.ended == {}


def test_a_journal_of_another_format_is_told_and_can_be_begun_anew(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, other = tmp_path / "a.mkv", tmp_path / "b.mkv"
    with monkeypatch.context() as patched:
        patched.setattr("vidrepair.journal.FORMAT", 1)
        broken_off_unread(film, old, patched)
    broken_off(film, other, monkeypatch)
    listed = call("jobs", "list", tmp_path)
    assert listed.exit_code == 0
    assert f"{old}: {folder_of(old)} is of another version of vidrepair" in listed.stdout
    assert f"{other}: 128 of about" in listed.stdout
    refused = call("resume", old)
    assert refused.exit_code == 2
    assert "is of another version of vidrepair" in refused.stderr
    assert call(*words_for(film, old, "-y")).exit_code == 0
    assert hashes(old) == hashes(film)
    assert not folder_of(old).exists()


def broken_off_unread(film: Path, out: Path, patched: pytest.MonkeyPatch) -> None:
    """A run that dies with its first segment, in a format that nobody reads any more."""

    def add(*_: object) -> None:
        raise Stop

    patched.setattr(Journal, "add", add)
    patched.setattr(Journal, "leave", Journal.close)
    call(*words_for(film, out))
    assert read_record(folder_of(out)).foreign


def test_what_was_left_of_joining_is_gone(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    crashed_in(monkeypatch, "vidrepair.publication.content_facts", *words_for(film, out))
    assert [path.name for path in tmp_path.iterdir()] == [folder_of(out).name]
    (folder_of(out) / ".a.mkv.0000.part").write_bytes(b"half a film")
    assert call("resume", out, "--progress", "none").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_a_film_says_where_another_version_took_over(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    broken_off(film, out, monkeypatch)
    monkeypatch.setattr("vidrepair.job_facts.__version__", "99")
    done = call("resume", out, "--allow-mixed", "--progress", "none")
    assert done.exit_code == 0
    assert "from frame 128 on another version or engine made it: version 99" in done.stderr


def test_a_name_that_leaves_no_room_for_what_lies_beside_is_refused(
    film: Path, tmp_path: Path
) -> None:
    long = call("run", film, "-o", tmp_path / f"{'a' * 246}.mkv", *FLAGS)
    assert long.exit_code == 2
    assert "choose a shorter one" in long.stderr
    assert not list(tmp_path.iterdir())
