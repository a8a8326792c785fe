"""A finished film is changed where its sidecar was edited, and only there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from calling import call, crashed_in, hashes
from clips import moving, write_clip

from vidrepair import pipeline
from vidrepair.analysis_changes import changed_frames
from vidrepair.findings import Analysis, DefectFacts
from vidrepair.jobs.redo import EDITED
from vidrepair.journal import folder_of, read_record
from vidrepair.packets import PacketWriter, film_data
from vidrepair.run import Run
from vidrepair.segment_plan import Seams, plan_segments
from vidrepair.sidecar import read_analysis

SIZE = (64, 48)
COUNT = 330
SPOTS = (20, 110, 200, 290)
FLAGS = ("-c", "ffv1", "--segment-frames", "64", "--repair", "dust", "--progress", "none")
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film of two shots and some dust, and what a run made of it."""
    folder = tmp_path_factory.mktemp("made")
    frames = [*moving(*SIZE, 150, noise=4.0), *moving(*SIZE, COUNT - 150, seed=3, noise=4.0)]
    for number in SPOTS:
        plane = frames[number].planes[0]
        np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[18:25, 27:34] = 250
    write_clip(folder / "in.mkv", frames=frames, size=SIZE)
    done = call("run", folder / "in.mkv", "-o", folder / "out.mkv", "--sidecar", *FLAGS)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def film(made: Path, tmp_path: Path) -> Path:
    """A copy of that film with what belongs to it."""
    done = call("run", made / "in.mkv", "-o", tmp_path / "out.mkv", "--sidecar", *FLAGS)
    assert done.exit_code == 0, done.output
    return tmp_path / "out.mkv"


def differing(before: list[int], film: Path) -> list[int]:
    """The numbers of the frames of a film that are not what they were."""
    pairs = enumerate(zip(before, hashes(film), strict=True))
    return [number for number, (one, other) in pairs if one != other]


def edited(film: Path, edit: Edit) -> Path:
    """The sidecar, edited, in another file."""
    told = json.loads(Path(f"{film}.vr.json").read_text())
    edit(told)
    path = film.with_name("edited.json")
    path.write_text(json.dumps(told))
    return path


def switch_off(frame: int) -> Edit:
    def edit(told: dict[str, Any]) -> None:
        (defect,) = [one for one in told["defects"] if one["frame"] == frame]
        defect["keep"] = False

    return edit


def more_noise(told: dict[str, Any]) -> None:
    (span,) = [one for one in told["spans"] if one["first"] == 150]
    span["noise"] = {name: [2.0 * v for v in values] for name, values in span["noise"].items()}


def move_cut(told: dict[str, Any]) -> None:
    told["shots"][0]["last"] -= 10
    told["shots"][1]["first"] -= 10


@pytest.mark.parametrize(
    ("edit", "touched"),
    [(switch_off(110), range(110, 111)), (more_noise, range(150, 278)), (move_cut, range(COUNT))],
)
def test_the_film_is_that_of_a_whole_run_that_follows_the_edit(
    made: Path, film: Path, edit: Edit, touched: range
) -> None:
    before = hashes(film)
    follow = edited(film, edit)
    whole = film.with_name("whole.mkv")
    run = call("run", made / "in.mkv", "-o", whole, "--analysis", follow, "--sidecar", *FLAGS)
    assert run.exit_code == 0, run.output
    done = call("redo", film, "--analysis", follow, "--progress", "none")
    assert done.exit_code == 0, done.output
    after = hashes(film)
    assert after == hashes(whole)
    assert after != before
    assert set(differing(before, film)) <= set(touched)
    told = [json.loads(Path(f"{path}.vr.json").read_text()) for path in (film, whole)]
    assert told[0] == told[1]


def test_only_segments_that_are_touched_are_computed_and_all_can_be_taken_back(film: Path) -> None:
    before, sidecar = hashes(film), Path(f"{film}.vr.json")
    listed = sidecar.read_text()
    told = json.loads(listed)
    switch_off(200)(told)
    sidecar.write_text(json.dumps(told))  # the sidecar itself may be edited
    done = call("redo", film, "--analysis", sidecar, "--progress", "bar")
    assert done.exit_code == 0, done.output
    assert f"86 of {COUNT} frames are computed anew" in done.stderr
    assert [
        n for n, pair in enumerate(zip(before, hashes(film), strict=True)) if pair[0] != pair[1]
    ] == [200]
    again = call("redo", film, "--analysis", sidecar)
    assert again.exit_code == 0
    assert "asks for nothing else" in again.stderr
    follow = edited(film, lambda one: [d.update(keep=True) for d in one["defects"]] and None)
    assert call("redo", film, "--analysis", follow, "--progress", "none").exit_code == 0
    assert hashes(film) == before
    assert json.loads(sidecar.read_text()) == json.loads(listed)


@pytest.mark.parametrize(("codec", "suffix"), [("h264", "mp4"), ("hevc", "mkv")])
def test_segments_of_codecs_with_a_header_come_back(
    made: Path, tmp_path: Path, codec: str, suffix: str
) -> None:
    out = tmp_path / f"out.{suffix}"
    flags = ("--preset", "ultrafast", "--segment-frames", "64", "--progress", "none")
    words = ("--repair", "dust", "--noise", "4", "--sidecar")
    assert call("run", made / "in.mkv", "-o", out, "-c", codec, *flags, *words).exit_code == 0
    before = hashes(out)
    follow = edited(out, switch_off(200))
    done = call("redo", out, "--analysis", follow, "--progress", "none")
    assert done.exit_code == 0, done.output
    changed = differing(before, out)
    assert 200 in changed
    assert set(changed) <= set(range(150, 278))
    assert len(list(film_data(out))) == COUNT


def test_a_redo_that_is_broken_off_goes_on(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = hashes(film)
    follow = edited(film, switch_off(20))
    words = ("redo", film, "--analysis", follow)
    crashed_in(monkeypatch, "vidrepair.journal.Journal.join", *words)
    assert hashes(film) == before
    assert "go on with vidrepair resume" in call("redo", film, "--analysis", follow).stderr
    done = call("resume", film, "--progress", "none")
    assert done.exit_code == 0, done.output
    assert differing(before, film) == [20]
    assert read_record(folder_of(film)).kept


def test_a_redo_that_is_interrupted_while_it_is_planned_goes_on(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashes(film)
    follow = edited(film, move_cut)

    def interrupt(*_: object, **_named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("vidrepair.pipeline.cut_spans", interrupt)
        assert call("redo", film, "--analysis", follow).exit_code == 130
    assert hashes(film) == before
    done = call("resume", film, "--progress", "none")
    assert done.exit_code == 0, done.output
    assert hashes(film) != before
    assert read_record(folder_of(film)).kept


def test_a_redo_by_another_version_is_refused_and_leaves_all_as_it_was(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = film.read_bytes()
    follow = edited(film, switch_off(20))
    with monkeypatch.context() as patched:
        patched.setattr("vidrepair.job_facts.__version__", "99")
        refused = call("redo", film, "--analysis", follow, "--progress", "none")
    assert refused.exit_code == 2
    assert "version was" in refused.stderr
    assert film.read_bytes() == before
    assert call("redo", film, "--analysis", follow, "--progress", "none").exit_code == 0


def test_a_redo_that_fails_after_the_film_was_replaced_is_not_taken_back(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, sidecar = hashes(film), Path(f"{film}.vr.json")
    follow = edited(film, switch_off(20))
    written = pipeline.write_lists

    def write(run: Run, analysis: Analysis) -> list[str]:
        sidecar.unlink()
        sidecar.mkdir()
        return written(run, analysis)

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "write_lists", write)
        assert call("redo", film, "--analysis", follow).exit_code == 2
    assert differing(before, film) == [20]
    sidecar.rmdir()
    done = call("resume", film, "--progress", "none")
    assert done.exit_code == 0, done.output
    assert differing(before, film) == [20]
    assert "asks for nothing else" in call("redo", film, "--analysis", follow).stderr


def test_a_film_of_the_same_size_and_ends_is_not_taken_for_the_new_one(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashes(film)

    follow = edited(film, switch_off(20))
    told = read_record(folder_of(film)).joined
    # As of films of many megabytes whose frames are of one size.
    for module in ("publication", "run", "jobs.redo"):
        monkeypatch.setattr(f"vidrepair.{module}.content_facts", lambda _: told)
    words = ("redo", film, "--analysis", follow)
    crashed_in(monkeypatch, "vidrepair.encode.Target.publish", *words)
    assert hashes(film) == before
    done = call("resume", film, "--progress", "none")
    assert done.exit_code == 0, done.output
    assert differing(before, film) == [20]


def test_a_disk_that_is_full_while_the_film_is_taken_apart_loses_nothing(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, folder = hashes(film), folder_of(film)
    names = {path.name for path in folder.iterdir()}
    follow = edited(film, switch_off(200))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(PacketWriter, "finish", full)
        broken = call("redo", film, "--analysis", follow, "--progress", "none")
    assert broken.exit_code == 1
    assert f"cannot be put into {folder} (No space left on device); free some" in broken.stderr
    assert {path.name for path in folder.iterdir()} == names | {EDITED}
    assert hashes(film) == before
    # What was copied into the folder may be followed itself.
    done = call("redo", film, "--analysis", folder / EDITED, "--progress", "none")
    assert done.exit_code == 0, done.output
    assert differing(before, film) == [200]


def test_what_cannot_be_done_anew_is_refused(made: Path, tmp_path: Path) -> None:
    sidecar = Path(f"{made / 'out.mkv'}.vr.json")
    none = call("redo", tmp_path / "none.mkv", "--analysis", sidecar)
    assert none.exit_code == 3
    assert "none.mkv does not exist" in none.stderr
    folder = call("redo", tmp_path, "--analysis", sidecar)
    assert folder.exit_code == 3
    assert "is a folder; name a film that was run with --sidecar" in folder.stderr
    short = tmp_path / "short.mkv"
    flags = ("--denoise", "0", "--repair", "none", "--progress", "none", "-c", "ffv1")
    assert (
        call("run", made / "in.mkv", "-o", short, *flags, "--sidecar", "--no-journal").exit_code
        == 0
    )
    result = call("redo", short, "--analysis", f"{short}.vr.json")
    assert result.exit_code == 2
    assert "only films that go in segments" in result.stderr
    text = tmp_path / "text.json"
    text.write_text("hello")
    wrong = call("redo", made / "out.mkv", "--analysis", text)
    assert wrong.exit_code == 3
    assert "it is no analysis" in wrong.stderr
    told = json.loads(sidecar.read_text())
    told["source"]["fingerprint"] = "0" * len(told["source"]["fingerprint"])
    text.write_text(json.dumps(told))
    other = call("redo", made / "out.mkv", "--analysis", text)
    assert other.exit_code == 3
    assert "is the analysis of another film" in other.stderr


def test_another_film_under_its_name_is_not_changed(film: Path) -> None:
    data = film.read_bytes()
    film.write_bytes(data[:-1] + b"x")
    follow = edited(film, switch_off(20))
    refused = call("redo", film, "--analysis", follow)
    assert refused.exit_code == 3
    assert "is not the film that its job wrote" in refused.stderr
    film.unlink()
    assert call("redo", film, "--analysis", follow).exit_code == 3


def test_a_new_run_over_a_film_that_was_kept_tells_of_itself(made: Path, film: Path) -> None:
    follow = edited(film, switch_off(20))
    words = ("run", made / "in.mkv", "-o", film, "-y", "--analysis", follow, "--sidecar", *FLAGS)
    assert call(*words, "--denoise", "60").exit_code == 0
    told = json.loads(Path(f"{film}.vr.json").read_text())
    assert told["settings"]["denoise"] == [60.0, 60.0]


# What an edit touches.


def test_a_place_touches_what_is_made_of_its_frame(made: Path) -> None:
    analysis: Analysis = read_analysis(Path(f"{made / 'out.mkv'}.vr.json"))
    place = DefectFacts(50, "dust", (1, 2, 3, 4), 0.9)
    before = replace(analysis, defects=(place,), repeats=(51, 52), lost=(49,))
    for other in (replace(place, keep=False), replace(place, box=(1, 2, 3, 5)), None):
        after = replace(before, defects=() if other is None else (other,))
        assert changed_frames(before, after) == [(49, 52)] or set(
            changed_frames(before, after)
        ) == {(49, 52)}
    assert not changed_frames(before, before)


def test_a_plan_keeps_what_is_kept() -> None:
    seams = Seams(64, fields=False)
    seams._starts.update(range(0, 1000, 7))
    times = [40 * n for n in range(1000)]
    free = plan_segments(times, seams)
    kept = [(one.first, one.after) for one in free.segments if one.number % 3]
    assert plan_segments(times, seams, kept).segments == free.segments
    odd = plan_segments(times, seams, [(100, 103), (500, 777)])
    borders = [(one.first, one.after) for one in odd.segments]
    assert {(100, 103), (500, 777)} <= set(borders)
    assert sum(one.frames for one in odd.segments) == 1000
    assert min(one.frames for one in odd.segments) >= 3


def scratched(path: Path, count: int = 80) -> None:
    """A pan over a rough surface, and a line that stays for the whole of it."""
    rng = np.random.default_rng(3)
    wide = np.cumsum(np.cumsum(rng.standard_normal((96, 420)), axis=0), axis=1)
    wide = 125.0 + 30.0 * np.sin(wide / 12.0)
    frames = []
    for number in range(count):
        picture = wide[:, 2 * number : 2 * number + 160].copy()
        picture[:, 70:73] = 0.3 * picture[:, 70:73] + 0.7 * 235.0
        picture += 2.0 * rng.standard_normal(picture.shape)
        codes = np.clip(np.round(picture), 0, 255).astype(np.uint8)
        frames.append(av.VideoFrame.from_ndarray(codes, format="gray"))
    write_clip(path, frames=frames, size=(160, 96), pix_fmt="gray")


def test_a_lasting_scratch_that_is_kept_in_one_frame_changes_that_frame_alone(
    tmp_path: Path,
) -> None:
    """It is filled before the generator sees the frames, and its memory goes on from there."""
    film, out, whole = (tmp_path / f"{name}.mkv" for name in ("in", "out", "whole"))
    scratched(film)
    flags = ("-c", "ffv1", "--segment-frames", "32", "--repair", "scratch", "--progress", "none")
    done = call("run", film, "-o", out, "--sidecar", *flags)
    assert done.exit_code == 0, done.output
    before = hashes(out)
    kinds = [one.kind for one in read_analysis(Path(f"{out}.vr.json")).defects]
    assert kinds.count("scratch") >= 78
    follow = edited(out, switch_off(41))
    assert call("run", film, "-o", whole, "--analysis", follow, *flags).exit_code == 0
    assert call("redo", out, "--analysis", follow, "--progress", "none").exit_code == 0
    assert differing(before, out) == [41]
    assert hashes(out) == hashes(whole)
