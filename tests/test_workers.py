"""Several processes share the segments of one film, and give the film of one."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from calling import call, hashes
from clips import moving, picture, read_frames, write_clip

from vidrepair import DamageSettings, OutputSettings, RepairSettings
from vidrepair.errors import InputError, PictureChanged, UsageError, tell_error, told_error
from vidrepair.jobs.processes import work_in_processes
from vidrepair.jobs.workers import missing, run_with_workers, shares_of
from vidrepair.journal import Journal, folder_of, read_record, worker_name
from vidrepair.pipeline import plan_job
from vidrepair.segment_plan import Plan, Planned, Share, plan_of
from vidrepair.settings import Job
from vidrepair.verification import check_files

SIZE = (64, 48)
NOISY = RepairSettings(noise=(6.0, 6.0), damage=DamageSettings(kinds=()))


def frames_of(*counts: int) -> list[av.VideoFrame]:
    """A shot of each length; the second of one picture, so that its frames repeat."""
    shots = []
    for number, count in enumerate(counts):
        if number == 1:
            shots += [picture("yuv420p", *SIZE, 200)] * count
        else:
            shots += moving(*SIZE, count, noise=6.0)
    return shots


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shots of all kinds, with a few frames missing right before a span of the third starts."""
    path = tmp_path_factory.mktemp("film") / "in.mkv"
    frames = frames_of(90, 150, 140, 7, 60)
    times = [n for n in range(len(frames)) if n not in (302, 303)]
    write_clip(path, frames=[frames[n] for n in times], size=SIZE, pts=times)
    return path


def left(out: Path) -> list[int]:
    """The numbers of the segments that are missing."""
    with Journal(folder_of(out)) as journal:
        return missing(journal)


def job_of(film: Path, out: Path, **changed: object) -> Job:
    target = OutputSettings(codec="ffv1", segment=1)
    return Job(film, out, NOISY, target=target, workers=2, **changed)  # type: ignore[arg-type]


# A plan.


def test_a_plan_says_of_which_stretch_a_frame_is() -> None:
    plan = Plan([Planned(0, 0, 10, 11), Planned(1, 10, 5, 17), Planned(2, 15, 4, None)])
    assert plan.frames == 19
    assert [plan.ends_before(n, 0) for n in (0, 1, 10, 15, 19)] == [True, False, True, True, False]
    both = plan.stretches([1, 2])
    assert [both(n) for n in (0, 9, 10, 15, 18, 19)] == [None, None, 1, 1, 1, None]
    apart = plan.stretches([0, 2])
    assert [apart(n) for n in (0, 9, 10, 15)] == [0, 0, None, 2]
    again = plan_of(json.loads(json.dumps(plan.as_json())))
    assert again.segments == plan.segments


def test_every_segment_is_dealt_once() -> None:
    for count in (1, 2, 7, 100):
        for workers in (1, 2, 3, 8):
            shares = shares_of(range(count), workers)
            dealt = sorted(number for share in shares for number in share.numbers)
            assert dealt == list(range(count))
            assert len(shares) == min(workers, count)
            lengths = [len(share.numbers) for share in shares]
            assert max(lengths) - min(lengths) <= max(count // (8 * workers), 1)


# The same film.


@pytest.mark.parametrize(
    "flags",
    [
        ("--repair", "none", "--noise", "6"),
        ("--fill-gaps", "--denoise", "70", "--deflicker", "50"),
        ("--interlace", "fields", "--repair", "none", "--noise", "6"),
        ("--repair", "none", "--noise", "6", "--to", "11.5"),
        ("--repair", "none", "--noise", "6", "--frames", "300"),
    ],
)
def test_two_workers_give_the_film_of_one(
    film: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    for name, more in (("one.mkv", ()), ("two.mkv", ("--workers", "2"))):
        words = ("run", film, "-o", tmp_path / name, "-c", "ffv1", "--segment-frames", "1")
        done = call(*words, "--progress", "none", *flags, *more)
        assert done.exit_code == 0, done.output
    assert hashes(tmp_path / "one.mkv") == hashes(tmp_path / "two.mkv")
    one, two = (
        [frame.pts for frame in read_frames(tmp_path / name)] for name in ("one.mkv", "two.mkv")
    )
    assert one == two
    assert not folder_of(tmp_path / "two.mkv").exists()


def test_mattes_sidecars_and_reports_are_those_of_one(tmp_path: Path) -> None:
    film, mask = tmp_path / "in.mkv", tmp_path / "mask.mkv"
    write_clip(film, frames=moving(*SIZE, 140, noise=6.0), size=SIZE)
    write_clip(mask, frames=moving(*SIZE, 140), size=SIZE)  # some is above the threshold
    told = []
    for name, workers in (("one", 1), ("two", 2)):
        folder = tmp_path / name
        folder.mkdir()
        words = ("--mask-in", mask, "--noise", "6", "--sidecar", "--mask-out", folder / "m.mkv")
        out = folder / "a.mkv"
        more = ("-c", "ffv1", "--segment-frames", "64", "--progress", "json")
        done = call("run", film, "-o", out, *words, *more, "--workers", str(workers))
        assert done.exit_code == 0, done.output
        events = [json.loads(line) for line in done.stderr.splitlines()]
        (report,) = (event for event in events if event["event"] == "done")
        counts = ("frames", "shots", "repeats", "defects", "touched", "shares", "noise")
        told.append({count: report[count] for count in counts})
    assert told[0]["defects"]
    assert told[0] == told[1]
    read = [
        [bytes(frame.planes[0]) for frame in read_frames(tmp_path / name / "m.mkv")]
        for name in ("one", "two")
    ]
    assert read[0] == read[1]
    sidecars = [
        json.loads((tmp_path / name / "a.mkv.vr.json").read_text()) for name in ("one", "two")
    ]
    for sidecar in sidecars:
        sidecar["engine"].pop("lanes")  # how many spans go side by side changes no result
    assert sidecars[0] == sidecars[1]


def test_a_short_film_goes_in_one_piece(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mkv"
    flags = ("--denoise", "0", "--repair", "none", "--progress", "none")
    done = call("run", film, "-o", out, "-c", "ffv1", "--no-journal", "--workers", "2", *flags)
    assert done.exit_code == 0
    assert "several workers are of no use" in done.stderr
    assert hashes(out) == hashes(film)


# What goes wrong.


def test_a_worker_that_is_killed_loses_nothing(
    film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, whole = tmp_path / "a.mkv", tmp_path / "whole.mkv"
    run_with_workers(replace(job_of(film, whole), workers=1))

    def kill() -> None:
        for _ in range(3000):
            first = read_record(folder_of(out), worker_name(0))
            if first.segments and (children := multiprocessing.active_children()):
                os.kill(children[0].pid or 0, signal.SIGKILL)
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    report = run_with_workers(job_of(film, out))
    killer.join()
    assert "was ended by signal 9; what it had not finished is shared out anew" in caplog.text
    assert (report.frames, report.taken) == (len(read_frames(film)), 0)
    assert hashes(out) == hashes(whole)
    assert not check_files(out, film)


def test_a_run_that_is_killed_goes_on_with_what_its_workers_finished(
    film: Path, tmp_path: Path
) -> None:
    out, whole = tmp_path / "a.mkv", tmp_path / "whole.mkv"
    run_with_workers(replace(job_of(film, whole), workers=1))
    flags = ("-c", "ffv1", "--segment-frames", "1", "--repair", "none", "--noise", "6")
    words = ["run", film, "-o", out, *flags, "--progress", "none", "--workers", "2"]
    with subprocess.Popen([sys.executable, "-m", "vidrepair", *map(str, words)]) as process:
        while not read_record(folder_of(out), worker_name(1)).segments:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    plan = read_record(folder_of(out)).plan
    assert plan is not None
    for _ in range(500):  # the workers see that nobody is there
        try:
            before = left(out)
            for worker in (0, 1):
                Journal(folder_of(out), worker_name(worker)).close()
            break
        except Exception:  # noqa: BLE001
            time.sleep(0.01)
    assert len(before) < len(plan.segments)
    listed = call("jobs", "list", tmp_path)
    assert str(out) in listed.stdout
    done = call("resume", out, "--progress", "none")
    assert done.exit_code == 0, done.output
    assert hashes(out) == hashes(whole)


def test_damaged_segments_alone_are_computed_again(
    film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, whole = tmp_path / "a.mkv", tmp_path / "whole.mkv"
    run_with_workers(replace(job_of(film, whole), workers=1))
    job = job_of(film, out)
    alone = replace(job, workers=1)
    assert plan_job(alone)
    resumed = replace(alone, target=replace(job.target, resume=True))
    numbers = tuple(left(out))
    work_in_processes([(resumed, Share(0, numbers[:-1]))], lambda _worker, _frames: None)
    assert left(out) == [numbers[-1]]
    plan = read_record(folder_of(out)).plan
    assert plan is not None
    packets = folder_of(out) / f"{plan.segments[2].first:09}.packets"
    packets.write_bytes(packets.read_bytes()[:-1])
    assert plan_job(resumed)
    assert "segment 2 is damaged; it is computed again" in caplog.text
    assert left(out) == [2, numbers[-1]]
    run_with_workers(replace(job, target=replace(job.target, resume=True)))
    assert hashes(out) == hashes(whole)


def test_what_a_worker_tells_ends_the_run(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mkv"
    job = replace(job_of(film, out), workers=1)
    assert plan_job(job)
    target = replace(job.target, resume=True)
    other = replace(job, repair=replace(NOISY, noise=(7.0, 7.0)), target=target)
    with pytest.raises(UsageError, match="was made otherwise: repair noise was"):
        work_in_processes([(other, Share(0, (0,)))], lambda _worker, _frames: None)


def test_errors_are_told_by_their_class() -> None:
    changed = PictureChanged("another size", Fraction(3))
    for error, kind in ((UsageError("no"), UsageError), (changed, InputError)):
        told = told_error(json.loads(json.dumps(tell_error(error))))
        assert type(told) is kind
        assert str(told) == str(error)
        assert told.exit_code == error.exit_code


def test_devices_go_with_workers(film: Path, tmp_path: Path) -> None:
    refused = call("run", film, "-o", tmp_path / "a.mkv", "--device", "cuda:0,cuda:1")
    assert refused.exit_code == 2
    assert "names several; add --workers" in refused.stderr
    none = call("run", film, "-o", tmp_path / "a.mkv", "--workers", "0")
    assert none.exit_code == 2
    assert "--workers 0 is too few" in none.stderr


# A cluster.


def in_cluster(film: Path, out: Path, *flags: str) -> subprocess.Popen[str]:
    """A run on a cluster of this machine alone."""
    words = [sys.executable, "-m", "vidrepair", "run", str(film), "-o", str(out), "--ray"]
    settings = ["-c", "ffv1", "--segment-frames", "1", "--repair", "none", "--noise", "6"]
    return subprocess.Popen([*words, *settings, *flags], stderr=subprocess.PIPE, text=True)


def actors() -> list[int]:
    """The processes of workers of a cluster."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_Actor"):
                found.append(int(path.parent.name))
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes in /proc")
def test_a_cluster_gives_the_film_of_one_though_a_worker_is_lost(
    film: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    out, whole = tmp_path / "a.mkv", tmp_path / "whole.mkv"
    run_with_workers(replace(job_of(film, whole), workers=1))
    before = set(actors())
    with in_cluster(film, out, "--workers", "2", "--progress", "none") as process:
        while not (
            read_record(folder_of(out), worker_name(0)).segments and (own := set(actors()) - before)
        ):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        os.kill(min(own), signal.SIGKILL)
        _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert "was lost; what it had not finished is shared out anew" in told
    assert hashes(out) == hashes(whole)
    assert not check_files(out, film)


def test_without_ray_and_without_a_cluster_it_is_told(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "ray", None)
        none = call("run", film, "-o", tmp_path / "a.mkv", "--ray")
    assert none.exit_code == 2
    assert "pip install 'vidrepair[ray]'" in none.stderr
    words = ("--ray", "--device", "cuda:0,cuda:1", "--workers", "2")
    several = call("run", film, "-o", tmp_path / "a.mkv", *words)
    assert several.exit_code == 2
    assert "leave --device out" in several.stderr
