"""Whatever ends a long run in the middle: a clear sentence, and nothing finished is lost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import pytest
from calling import call, hashes
from clips import Extras, moving, write_clip

from vidrepair.decode import Source
from vidrepair.encode import Target
from vidrepair.encoder import Encoder
from vidrepair.errors import EngineError
from vidrepair.jobs.processes import Outcome, work_here
from vidrepair.journal import Journal, folder_of, read_record
from vidrepair.verification import check_files

SIZE = (64, 48)
COUNT = 330
FLAGS = ("-c", "ffv1", "--segment-frames", "64", "--progress", "none")
QUIET = ("--repair", "none", "--denoise", "0")
NOISY = ("--repair", "none", "--noise", "6")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than five spans, with sound."""
    path = tmp_path_factory.mktemp("film") / "in.mkv"
    frames = moving(*SIZE, COUNT, noise=6.0)
    write_clip(path, frames=frames, size=SIZE, extras=Extras(audio=1))
    return path


@pytest.fixture(scope="module")
def whole(film: Path, tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """What a run without faults makes of it."""
    out = tmp_path_factory.mktemp("whole") / "a.mkv"
    assert call("run", film, "-o", out, *FLAGS, *NOISY).exit_code == 0
    return hashes(out)


def after(calls: int, method: Callable[..., Any], fault: BaseException) -> Callable[..., Any]:
    """A method that works so many times, and then never again."""
    left = [calls]

    def limited(*args: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise fault
        return method(*args, **named)

    return limited


def engine_class() -> type:
    """What computes here."""
    from vidrepair.engines.openvino import OpenVinoEngine

    return OpenVinoEngine


FAULTS = {
    "the engine raises": (None, "step", EngineError("the device is gone; restart it"), 6, "gone"),
    "no memory in the engine": (None, "step", MemoryError(), 6, "memory"),
    "no memory in the encoder": (Encoder, "encode", MemoryError(), 6, "memory"),
    "the encoder refuses a frame": (
        Encoder,
        "encode",
        av.error.InvalidDataError(1, "bad frame"),
        1,
        "cannot be written",
    ),
    "a value that PyAV refuses": (Encoder, "encode", ValueError("no such thing"), 1, "cannot be"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_middle_loses_nothing(
    film: Path, whole: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    owner, name, error, code, said = FAULTS[fault]
    owner = owner or engine_class()
    out = tmp_path / "a.mkv"
    with monkeypatch.context() as patched:
        # A step of the engine may take two spans side by side.
        patched.setattr(owner, name, after(150, getattr(owner, name), error))
        broken = call("run", film, "-o", out, *FLAGS, *NOISY)
    assert broken.exit_code == code, broken.output
    assert said in broken.stderr
    assert "vidrepair resume" in broken.stderr
    assert not out.exists()
    finished = len(read_record(folder_of(out)).segments)
    assert finished >= 1
    done = call("resume", out, "--progress", "none")
    assert done.exit_code == 0, done.output
    assert hashes(out) == whole
    assert not check_files(out, film)


def test_a_disk_that_is_full_when_the_film_is_joined_loses_nothing(
    film: Path, whole: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    full = OSError(28, "No space left on device")
    with monkeypatch.context() as patched:
        patched.setattr(Target, "take", after(100, Target.take, full))
        broken = call("run", film, "-o", out, *FLAGS, *NOISY)
    assert broken.exit_code == 1
    assert "space" in broken.stderr
    assert "vidrepair resume" in broken.stderr
    assert read_record(folder_of(out)).whole
    assert [path.name for path in tmp_path.iterdir()] == [folder_of(out).name]
    assert not list(folder_of(out).glob("*.part"))
    assert call("resume", out, "--progress", "none").exit_code == 0
    assert hashes(out) == whole


def test_a_source_that_goes_while_it_is_read_may_come_back(
    film: Path, whole: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, away, out = tmp_path / "in.mkv", tmp_path / "away.mkv", tmp_path / "a.mkv"
    shutil.copy(film, source)
    added = Journal.add

    def add(journal: Journal, segment: Any) -> None:
        added(journal, segment)
        if source.exists():
            source.rename(away)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", add)
        broken = call("run", source, "-o", out, *FLAGS, *NOISY)
    assert broken.exit_code in (1, 3)
    assert "in.mkv" in broken.stderr
    assert not out.exists()
    assert read_record(folder_of(out)).segments
    assert call("resume", out).exit_code == 3
    away.rename(source)
    assert call("resume", out, "--progress", "none").exit_code == 0
    assert hashes(out) == whole


def ends_after(frames: int) -> Callable[[Source], Iterator[Any]]:
    """What reads a source that seems to end there, as over a network that fails meanwhile."""
    packets = Source._packets

    def limited(source: Source) -> Iterator[Any]:
        yield from islice((one for one in packets(source) if one.stream.index == 0), frames)
        last: Any = av.Packet()
        last.stream = source._stream
        yield last

    return limited


def test_a_source_that_seems_to_end_sooner_than_before_makes_no_film(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", after(2, Journal.add, KeyboardInterrupt()))
        assert call("run", film, "-o", out, *FLAGS, *QUIET).exit_code == 130
    with monkeypatch.context() as patched:
        patched.setattr(Source, "_packets", ends_after(100))
        short = call("resume", out, "--progress", "none")
    assert short.exit_code == 1
    assert "ended after 100 frames, and had at least 128 before" in short.stderr
    assert not out.exists()
    assert call("resume", out, "--progress", "none").exit_code == 0
    assert hashes(out) == hashes(film)


def test_workers_to_whom_a_source_seems_to_end_make_no_film(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mkv"

    def work(shares: Any, tell: Any) -> Outcome:
        with monkeypatch.context() as patched:
            patched.setattr(Source, "_packets", ends_after(100))
            return work_here(shares, tell)

    with monkeypatch.context() as patched:
        patched.setattr("vidrepair.jobs.workers.work_in_processes", work)
        short = call("run", film, "-o", out, *FLAGS, *QUIET, "--workers", "2")
    assert short.exit_code == 1, short.output
    assert "ended after 100 frames, and had at least 128 before" in short.stderr
    assert not out.exists()
    assert call("resume", out, "--workers", "1", "--progress", "none").exit_code == 0
    assert hashes(out) == hashes(film)


def test_a_clock_that_is_set_back_changes_nothing(
    film: Path, whole: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, hours = tmp_path / "a.mkv", [1e9]

    def earlier() -> float:
        hours[0] -= 3600.0
        return hours[0]

    with monkeypatch.context() as patched:
        patched.setattr(time, "time", earlier)
        done = call("run", film, "-o", out, *FLAGS[:-1], "json", *NOISY)
    assert done.exit_code == 0, done.output
    assert '"eta": -' not in done.stderr
    assert hashes(out) == whole
