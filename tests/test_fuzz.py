"""Hostile input: whatever the bytes are, a film is written and verified, or refused in a sentence.

VIDREPAIR_SLOW=1 runs 2,000 damaged files more than usual. A seed tells the damage; the files of
what went wrong stay in pytest's folder of the test, for some encoders give other bytes each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from clips import read_frames, write_clip
from mutations import EXTREMES, KINDS, PLACES, mutate

pytest.importorskip("resource", reason="needs the limits of POSIX")

from fuzz_worker import FILMS, IDLE, Outcome, draw, write_films
from fuzzing import run_seeds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
TOOL = [sys.executable, "-c", "from vidrepair.cli import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
USUAL = range(100)
MANY = range(100, 2100)


def said(code: int, *arguments: str | Path) -> str:
    """What the command says on stderr, where it ends with that exit code."""
    done = subprocess.run(
        [*TOOL, "run", *IDLE, *map(str, arguments)],
        capture_output=True,
        check=False,
        timeout=60,
        env=ENVIRONMENT,
    )
    text = done.stderr.decode()
    assert done.returncode == code, text
    assert "Traceback" not in text
    assert "\x1b" not in text
    return text


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole films."""
    folder = tmp_path_factory.mktemp("films")
    write_films(folder)
    return folder


def check(outcomes: list[Outcome], seeds: range) -> None:
    """Tell the figures, seen with -s; fail where something went wrong, or too little came out."""
    kinds = Counter(outcome.kind for outcome in outcomes)
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    held = max(outcome.memory for outcome in outcomes) >> 20
    unlike = [str(outcome) for outcome in outcomes if outcome.kind == "unlike"]
    figures = f"{len(outcomes)} damaged files: {dict(kinds)}; {held} MiB at most, {slowest.seconds}"
    sys.stdout.write("\n".join((f"{figures} s for seed {slowest.seed}", *unlike, "")))
    assert [outcome.seed for outcome in outcomes] == list(seeds)
    assert not [str(outcome) for outcome in outcomes if not outcome.good]
    assert kinds["written"] > len(seeds) / 4
    assert kinds["refused"] > len(seeds) / 4
    assert kinds["unlike"] <= len(seeds) / 100


def test_damaged_files_are_written_and_verified_or_refused(films: Path, tmp_path: Path) -> None:
    check(run_seeds(films, tmp_path, USUAL), USUAL)


def test_a_film_begins_where_its_first_frame_does(films: Path, tmp_path: Path) -> None:
    """This one's header says later, and MP4 did not show what lay before zero."""
    (outcome,) = run_seeds(films, tmp_path, range(13869, 13870))
    assert outcome.kind == "written", str(outcome)


@pytest.mark.slow
def test_two_thousand_damaged_files(films: Path, tmp_path: Path) -> None:
    check(run_seeds(films, tmp_path, MANY), MANY)


def test_a_seed_says_everything(films: Path) -> None:
    for seed in range(20):
        case = draw(seed)
        data = (films / case.name).read_bytes()
        one, other = (mutate(data, case.suffix, np.random.default_rng(seed)) for _ in range(2))
        assert one == other
        assert one.data != data


def test_every_film_and_every_kind_of_damage_is_drawn(films: Path) -> None:
    cases = [draw(seed) for seed in MANY]
    assert {case.name for case in cases} == {path.name for path in films.iterdir()} > {*FILMS}
    assert {case.suffix for case in cases} == {*PLACES}
    assert sum(case.piped for case in cases) > 20
    random = np.random.default_rng(0)
    done = [one for _ in range(200) for one in mutate(bytes(5000), "y4m", random).done]
    named = {"flip", "zero", "noise", "end", "start", "remove", "double", "swap", "insert"}
    sizes = {f"{value:#x}" for value in EXTREMES}
    assert named < {one.split()[0] for one in done} <= named | sizes
    assert len(KINDS) == 8  # an end and a start are cut by one


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").symlink_to("b.mkv")
    (tmp_path / "b.mkv").symlink_to("a.mkv")
    (tmp_path / "c").symlink_to("c")
    for source in ("a.mkv", "c/a.mkv"):
        told = said(3, tmp_path / source, "-o", tmp_path / "out.mkv")
        assert len(told.splitlines()) == 1
        assert f"{source} cannot be read: Too many levels of symbolic links" in told
    write_clip(tmp_path / "film.mkv", frames=3)
    told = said(1, tmp_path / "film.mkv", "-o", tmp_path / "c" / "out.mkv")
    assert "c does not exist; make it first" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "b.mkv", "c", "film.mkv"]


@pytest.mark.parametrize("name", ["a\nb.mkv", "-a.mkv", "--help.mkv", "a\x1b[2Jb.mkv", "%s%n.mkv"])
def test_strange_names_are_names(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / name, frames=3)
    output = f"{name[:-4]}_out.mkv"
    said(0, f"--output={output}", "--", name)
    assert len(read_frames(tmp_path / output)) == 3
    said(2, f"--output={output}", "--", name)  # it is there already
    said(3, "-o", "other.mkv", "--", f"none{name}")
    assert {path.name for path in tmp_path.iterdir()} == {name, output}
