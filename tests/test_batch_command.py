"""vidrepair batch: many files, and none that fails stops the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result
from clips import Extras, moving, read_frames, samples_of, write_clip

from vidrepair.cli import main
from vidrepair.errors import UsageError
from vidrepair.jobs.batch import BatchSettings, plan_batch, run_item
from vidrepair.jobs.inputs import VIDEO, films_in, find_inputs
from vidrepair.jobs.manifest import read_manifest
from vidrepair.jobs.naming import Naming
from vidrepair.settings import DamageSettings, Job, OutputSettings, RepairSettings
from vidrepair.verification import check_files

TOOL = [sys.executable, "-c", "from vidrepair.cli import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
IDLE = ("--denoise", "0", "--repair", "none", "--log-level", "warning")
"""Nothing is computed, and lossless film comes back bit for bit."""
posix = pytest.mark.skipif(os.name == "nt", reason="links, pipes and signals of POSIX")


def batch(*args: str | Path) -> Result:
    """The command in this process, without an engine."""
    return CliRunner().invoke(main, ["batch", *map(str, args), *IDLE])


def summary_of(result: Result) -> dict[str, Any]:
    """What --json gave."""
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(outdir: Path, *args: str | Path) -> str:
    """Run, expect exit code 2 in one sentence, and no work: not even the folder is made."""
    result = batch(*args, "-P", outdir)
    assert result.exit_code == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert not outdir.exists()
    return result.stderr


def same_picture(one: Path, two: Path) -> bool:
    """Whether all samples of two films are equal."""
    pairs = zip(read_frames(one), read_frames(two), strict=True)
    return all(
        np.array_equal(first, second)
        for before, after in pairs
        for first, second in zip(samples_of(before), samples_of(after), strict=True)
    )


def names_below(folder: Path) -> list[str]:
    """All files in a folder and below."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def write_films(folder: Path, *names: str, frames: int = 3) -> None:
    """A small lossless film under each name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(path, frames=frames)


@pytest.fixture
def reels(tmp_path: Path) -> Path:
    """Three films in two folders."""
    folder = tmp_path / "reels"
    write_films(folder, "a.mkv", "b.mkv", "sub/c.mkv")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the results go; it is not there yet."""
    return tmp_path / "out"


def twenty_four_films(folder: Path) -> None:
    """Films of four containers, of many formats and sizes, some with sound."""
    folder.mkdir()
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("mkv", {}),
        ("mkv", {"pix_fmt": "yuv422p10le"}),
        ("avi", {"codec": "ffv1", "pix_fmt": "yuv444p"}),
        ("mkv", {"pix_fmt": "gray"}),
        ("mp4", {"codec": "libx264", "options": {"preset": "ultrafast"}}),
        ("mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}),
    ]
    for number in range(24):
        ending, kind = kinds[number % 6]
        sound = Extras(audio=1) if number % 6 in (0, 4) else None
        size = (64 + 16 * (number % 3), 48)
        write_clip(folder / f"{number:02}.{ending}", frames=4, size=size, extras=sound, **kind)


@posix
def test_of_thirty_films_six_are_broken_and_the_others_are_restored(
    tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "films"
    twenty_four_films(folder)
    films = sorted(folder.iterdir())
    (folder / "broken").mkdir()
    (folder / "broken" / "empty.mkv").touch()
    (folder / "broken" / "text.mkv").write_text("This is no film.\n" * 100)
    (folder / "broken" / "cut.mp4").write_bytes((folder / "04.mp4").read_bytes()[:300])
    os.mkfifo(tmp_path / "pipe.mkv")
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{films[0]}\n")
    (tmp_path / "more.csv").write_text("input,to\npipe.mkv,2\nmissing.mkv,\n")
    inputs = (folder, tmp_path / "list.m3u8", "--manifest", tmp_path / "more.csv")
    result = batch(*inputs, "-P", out, "--json")
    assert result.exit_code == 7, result.stderr
    assert "Traceback" not in result.stderr
    summary = summary_of(result)
    assert [summary[kind] for kind in ("restored", "skipped", "failed")] == [24, 0, 6]
    reasons = {
        Path(entry["file"]).name: (entry["exit"], entry["reason"])
        for entry in summary["files"]
        if entry["result"] == "failed"
    }
    expected = {
        "empty.mkv": "is empty",
        "text.mkv": "cannot be read as a video file",
        "cut.mp4": "has no index",
        "pipe.mkv": "is not a regular file",
        "list.m3u8": "is a playlist",
        "missing.mkv": "does not exist",
    }
    assert reasons.keys() == expected.keys()
    for name, words in expected.items():
        code, reason = reasons[name]
        assert code == 3
        assert words in reason
        assert any(name in line and words in line for line in result.stderr.splitlines()[-40:])
    for film in films:
        ending = {".avi": ".mkv"}.get(film.suffix, film.suffix)
        restored = out / f"{film.stem}_restored{ending}"
        assert check_files(restored, film) == (), film
        if film.suffix in (".mkv", ".avi"):
            assert same_picture(film, restored), film
    assert len(names_below(out)) == 24


def test_folders_are_mirrored_and_what_is_no_film_is_left_out(reels: Path) -> None:
    write_films(reels, ".hidden.mkv", ".trash/x.mkv", "a.failed.mkv", "a.failed-2.mkv")
    write_films(reels, "matte.mkv", "a_matte.mkv", "matte.part2.mkv", "doormatte.mkv")
    (reels / "a.mkv.vr.json").write_text("{}")
    (reels / "notes.txt").write_text("no film")
    inside = reels / "restored"
    assert batch(reels, "-P", inside).exit_code == 0
    done = ["a_restored.mkv", "b_restored.mkv", "doormatte_restored.mkv", "sub/c_restored.mkv"]
    assert names_below(inside) == done
    # What the first batch wrote is no film of the second.
    again = batch(reels, "-P", inside, "--skip-existing", "--json")
    assert again.exit_code == 0
    assert summary_of(again)["skipped"] == 4
    assert names_below(inside) == done


def test_patterns_are_taken_as_a_shell_takes_them(
    reels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reels)
    write_films(reels, ".hidden.mkv", "[b].mkv", ".trash/x.mkv", "a.failed.mkv")

    def fitting(*patterns: str, outputs: str = "out") -> list[str]:
        return sorted(str(film.source) for film in find_inputs(patterns, Path(outputs)))

    assert fitting("*.mkv") == ["[b].mkv", "a.mkv", "b.mkv"]
    assert fitting("**/*.mkv") == ["[b].mkv", "a.mkv", "b.mkv", "sub/c.mkv"]
    assert fitting("[ab].mkv") == ["a.mkv", "b.mkv"]
    assert fitting("[b].mkv") == ["[b].mkv"]  # a file of that very name
    assert fitting("s*") == ["sub/c.mkv"]
    assert fitting(f"{reels}/?.mkv") == [f"{reels}/a.mkv", f"{reels}/b.mkv"]
    assert fitting("a.mkv", "?.mkv", f"{reels}/a.mkv") == ["a.mkv", "b.mkv"]
    write_films(reels, "out/a_restored.mkv")
    assert fitting("**/a*.mkv") == ["a.mkv"]
    result = batch("s*/*.mkv", "-P", "out")
    assert result.exit_code == 0
    assert names_below(reels / "out") == ["a_restored.mkv", "c_restored.mkv"]
    assert "x*.mkv" in refused(reels / "none", "x*.mkv", "a.mkv")


FORMS = {
    "csv": lambda rows: "\n".join(_csv_lines(rows)),
    "json": json.dumps,
}
KEYS = ("input", "output", "denoise", "noise", "codec", "ss", "to", "preset")


def _csv_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield ",".join(KEYS)
    for row in rows:
        cells = (row.get(key, "") for key in KEYS)
        texts = (",".join(map(str, one)) if isinstance(one, list) else str(one) for one in cells)
        yield ",".join(f'"{text}"' for text in texts)


@pytest.mark.parametrize("form", FORMS)
def test_the_settings_of_a_manifest_show_in_the_results(
    tmp_path: Path, out: Path, form: str
) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    write_clip(tmp_path / "a.mkv", frames=moving(64, 48, 10))
    rows: list[dict[str, Any]] = [
        {"input": "../a.mkv"},
        {"input": "../a.mkv", "output": "deep/h264.mp4", "codec": "h264", "preset": "ultrafast"},
        {"input": str(tmp_path / "a.mkv"), "output": "cut.mkv", "ss": 0.12, "to": "00:00:00.28"},
        {"input": "../a.mkv", "output": "clean.mkv", "denoise": [100, 50], "noise": 12, "to": 0.16},
    ]
    manifest = folder / f"list.{form}"
    manifest.write_text(FORMS[form](rows), encoding="utf-8-sig")
    result = batch("--manifest", manifest, "-P", out, "--json")
    assert result.exit_code == 0, result.stderr
    assert [entry["frames"] for entry in summary_of(result)["files"]] == [10, 10, 4, 4]
    assert names_below(out) == ["a_restored.mkv", "clean.mkv", "cut.mkv", "deep/h264.mp4"]
    assert same_picture(tmp_path / "a.mkv", out / "a_restored.mkv")
    with av.open(str(out / "deep" / "h264.mp4")) as film:
        assert film.streams.video[0].codec_context.name == "h264"
    before, after = read_frames(tmp_path / "a.mkv"), read_frames(out / "cut.mkv")
    for was, now in zip(before[3:7], after, strict=True):
        assert np.array_equal(samples_of(was)[0], samples_of(now)[0])
    noisy, clean = samples_of(before[0])[0], samples_of(read_frames(out / "clean.mkv")[0])[0]
    assert noisy.astype(int).var() - clean.astype(int).var() > 0.5 * 12**2


def test_a_manifest_gives_films_of_a_folder_their_settings(reels: Path, out: Path) -> None:
    (reels / "list.csv").write_text('\ninput,to,output\n\nsub/c.mkv,0.04,"one, two.mkv"\n'.lstrip())
    result = batch(reels, "--manifest", reels / "list.csv", "-P", out, "--json")
    assert result.exit_code == 0, result.stderr
    files = summary_of(result)["files"]
    assert [(Path(one["file"]).name, one["frames"]) for one in files] == [
        *(("a.mkv", 3), ("b.mkv", 3), ("c.mkv", 1))
    ]
    assert names_below(out) == ["a_restored.mkv", "b_restored.mkv", "one, two.mkv"]


WRONG_LISTS = [
    ("input,speed\na.mkv,2\n", ("line 1", "'speed' is unknown", "min-confidence")),
    ("denoise\n2\n", ("line 1", "no input")),
    ("input,crf,crf\na.mkv,2,3\n", ("line 1", "crf stands twice")),
    ("input,denoise\na.mkv,70,50\n", ("line 2", "3 cells for 2 columns", "quotes")),
    ("input,denoise\na.mkv,\nb.mkv,much\n", ("line 3", "denoise", "'much' is not a number")),
    ("input,denoise\na.mkv,101\n", ("line 2", "--denoise 101 is out of range; use 0 to 100")),
    ("input,repair\na.mkv,hair\n", ("line 2", "'hair' is not all, none or some of")),
    ("input,codec\na.mkv,mpeg7\n", ("line 2", "--codec mpeg7 is unknown; use av1")),
    ("input,codec,crf\na.mkv,hevc,60\n", ("line 2", "--crf 60 is out of range for hevc")),
    ("input,preset\na.mkv,warp\n", ("line 2", "--preset warp is unknown")),
    ("input,min-confidence\na.mkv,nan\n", ("line 2", "--min-confidence nan is out of range")),
    ("input,interlace\na.mkv,both\n", ("line 2", "--interlace both is unknown")),
    ("input,ss,to\na.mkv,2,1\n", ("line 2", "--to 1 leaves nothing")),
    ("input,ss\na.mkv,1:2:3:4\n", ("line 2", "'1:2:3:4' is no time")),
    ("input,output\n,b.mkv\n", ("line 2", "has no input")),
    ("input,output\na.mkv,b.xyz\n", ("line 2", "'b.xyz' ends in no container", ".mkv")),
    ('input\n"a.mkv\n', ("line 2", "correct the line")),
    ("", ("line 1", "no input")),
    ("input\n", ("names no film",)),
    ("[]", ("names no film",)),
    ('{"input": "a.mkv"}', ("no list of objects",)),
    ('["a.mkv"]', ("entry 1", "is no object")),
    ('[{"input": "a.mkv"}, {"input": "b.mkv", "denoise": true}]', ("entry 2", "denoise", "true")),
    ('[{"input": 7}]', ("entry 1", "input takes text")),
    ('[{"input": "a.mkv", "input": "b.mkv"}]', ("entry 1", "input stands twice")),
    ('[{"output": "a.mkv"}]', ("entry 1", "has no input")),
    ('[{"input": "a\\u0000.mkv"}]', ("entry 1", "is no file name")),
    ('[{"input": "a.mkv", "output": "\\ud800.mkv"}]', ("entry 1", "is no file name")),
    ('[{"input": "a.mkv",}]', ("no JSON", "line 1")),
    ('[{"input": "a.mkv", "crf": 1' + 5000 * "0" + "}]", ("cannot be read as JSON",)),
    ("[" * 100000, ("nested too deeply",)),
    (b"input\n\xff\xfe\n", ("no text in UTF-8",)),
]


@pytest.mark.parametrize(("text", "words"), WRONG_LISTS)
def test_a_wrong_manifest_is_refused_with_the_place(
    reels: Path, out: Path, text: str | bytes, words: tuple[str, ...]
) -> None:
    manifest = reels / "list.txt"
    manifest.write_bytes(text if isinstance(text, bytes) else text.encode())
    told = refused(out, "--manifest", manifest)
    assert str(manifest) in told
    for word in words:
        assert word in told


@posix
def test_a_manifest_is_a_file(reels: Path, out: Path) -> None:
    assert "missing.csv" in refused(out, "--manifest", reels / "missing.csv")
    assert "is no file" in refused(out, "--manifest", "/dev/zero")
    assert "is no file" in refused(out, "--manifest", reels)


def test_an_output_that_is_there_is_kept_skipped_or_replaced(reels: Path, out: Path) -> None:
    out.mkdir()
    taken = out / "a_restored.mkv"
    taken.write_bytes(b"mine")
    result = batch(reels, "-P", out, "--json")
    assert result.exit_code == 7
    entry = summary_of(result)["files"][0]
    assert (entry["result"], entry["exit"]) == ("failed", 2)
    assert "exists; add --skip-existing to leave it, or -y" in entry["reason"]
    assert taken.read_bytes() == b"mine"
    assert summary_of(result)["restored"] == 2
    result = batch(reels, "-P", out, "--skip-existing", "--json")
    assert (result.exit_code, summary_of(result)["skipped"]) == (0, 3)
    assert taken.read_bytes() == b"mine"
    result = batch(reels, "-P", out, "-y", "--json")
    assert (result.exit_code, summary_of(result)["restored"]) == (0, 3)
    assert same_picture(reels / "a.mkv", taken)


def test_where_all_fail_the_first_says_the_exit_code(reels: Path, out: Path) -> None:
    result = batch(reels / "x.mkv", reels / "y.mkv", "-P", out)
    assert result.exit_code == 3
    assert "2 of 2 files failed" in result.stderr
    assert not out.exists()  # an empty folder that was not there before
    out.mkdir()
    out.joinpath("a_restored.mkv").touch()
    assert batch(reels / "a.mkv", reels / "x.mkv", "-P", out).exit_code == 2


def test_two_films_with_one_output_are_refused_by_name(reels: Path, out: Path) -> None:
    write_films(reels, "sub/a.mkv")
    told = refused(out, reels / "a.mkv", reels / "sub" / "a.mkv")
    assert str(reels / "a.mkv") in told
    assert str(reels / "sub" / "a.mkv") in told
    write_clip(reels / "b.mp4", codec="libx264")
    assert "b.mp4" in refused(out, reels, "--ext", ".mkv")
    (reels / "twice.csv").write_text("input\na.mkv\na.mkv\n")
    assert "a.mkv" in refused(out, "--manifest", reels / "twice.csv")
    apart = ("--name", "{parent}/{stem}{ext}", "--ext", "mkv")
    assert batch(reels / "a.mkv", reels / "sub" / "a.mkv", "-P", out, *apart).exit_code == 0
    assert names_below(out) == ["reels/a.mkv", "sub/a.mkv"]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("../{stem}{ext}", "leads out of"),
        ("{stem}/../../x{ext}", "leads out of"),
        ("/{stem}{ext}", "leads out of"),
        ("{stem}", "no container"),
        ("{ext}", "no container"),
        ("", "no container"),
        ("{stem.__class__}{ext}", "{stem.__class__} is unknown"),
        ("{stem!r}{ext}", "is unknown"),
        ("{stem:>900000000}{ext}", "is unknown"),
        ("{}{ext}", "is unknown"),
        ("{0}{ext}", "is unknown"),
        ("{date}{ext}", "use {stem}, {ext}, {parent}"),
        ("{stem{ext}", "no template"),
    ],
)
def test_a_template_cannot_leave_the_folder(
    reels: Path, out: Path, template: str, words: str
) -> None:
    told = refused(out, reels, "--name", template)
    assert "--name" in told
    assert words in told


def test_a_film_cannot_lead_out_by_its_own_name(reels: Path, out: Path) -> None:
    name = "...mkv"  # its stem is two dots
    if Path(name).stem != "..":
        pytest.skip("from Python 3.14 on that name has no ending")
    write_films(reels, name)
    assert "leads out of" in refused(out, reels / name, "--name", "{stem}/{stem}_{ext}")
    assert batch(reels / name, "-P", out).exit_code == 0
    assert names_below(out) == [".._restored.mkv"]


@pytest.mark.parametrize("output", ["../x.mkv", "sub/../../x.mkv", "/x.mkv", "{tmp}/x.mkv"])
def test_a_manifest_cannot_leave_the_folder(
    tmp_path: Path, reels: Path, out: Path, output: str
) -> None:
    entry = {"input": "a.mkv", "output": output.format(tmp=tmp_path)}
    (reels / "list.json").write_text(json.dumps([entry]))
    told = refused(out, "--manifest", reels / "list.json")
    assert "entry 1" in told
    assert "leads out of" in told


@posix
def test_links_cannot_lead_out_of_the_folder(tmp_path: Path, reels: Path, out: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out.mkdir()
    (out / "sub").symlink_to(elsewhere)
    result = batch(reels, "-P", out)
    assert result.exit_code == 2
    assert "symbolic link" in result.stderr
    (out / "sub").unlink()
    (out / "a_restored.mkv").symlink_to(elsewhere / "x.mkv")
    assert batch(reels, "-P", out, "-y").exit_code == 2
    (out / "a_restored.mkv").unlink()
    assert names_below(elsewhere) == names_below(out) == []
    # A folder that is itself behind a link is the user's choice.
    (tmp_path / "link").symlink_to(elsewhere)
    assert batch(reels, "-P", tmp_path / "link").exit_code == 0
    assert len(names_below(elsewhere)) == 3


@posix
def test_a_link_that_comes_after_the_plan_is_found(tmp_path: Path, reels: Path, out: Path) -> None:
    items = plan_batch([str(reels)], [], idle(out))
    out.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (out / "sub").symlink_to(tmp_path / "elsewhere")
    results = [run_item(item) for item in items]
    assert [result.outcome for result in results] == ["restored", "restored", "failed"]
    assert "symbolic link" in results[2].reason
    assert names_below(tmp_path / "elsewhere") == []


def idle(folder: Path, **target: Any) -> BatchSettings:
    """Settings with which nothing is computed."""
    repair = RepairSettings((0.0, 0.0), damage=DamageSettings(()))
    return BatchSettings(Naming(folder), Job(None, None, repair, target=OutputSettings(**target)))


def test_an_output_is_never_an_input(reels: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in reels.rglob("*.mkv")}
    result = batch(reels, "-P", reels, "-y")
    assert result.exit_code == 2
    assert "choose another one" in result.stderr
    write_films(reels, "a_restored.mkv")
    result = batch(reels / "a.mkv", reels / "a_restored.mkv", "-P", reels, "-y")
    assert result.exit_code == 2
    assert f"is the input {reels / 'a_restored.mkv'}" in result.stderr
    assert batch(reels / "a.mkv", "-P", reels, "-y", "--name", "{stem}{ext}").exit_code == 2
    # Under another name it is the same file.
    (tmp_path / "out").mkdir()
    os.link(reels / "b.mkv", tmp_path / "out" / "a_restored.mkv")
    result = batch(reels / "a.mkv", reels / "b.mkv", "-P", tmp_path / "out", "-y")
    assert result.exit_code == 2
    assert "is the input" in result.stderr
    # Below the folder of the outputs, a result would lie among the films.
    write_films(tmp_path, "reels/reels/d.mkv")
    result = batch(reels, "-P", tmp_path)
    assert result.exit_code == 2
    assert "be taken for one" in result.stderr
    assert {path: path.read_bytes() for path in before} == before


@posix
def test_links_in_circles_end_and_each_film_is_found_at_its_own_place(reels: Path) -> None:
    (reels / "0").symlink_to("sub")  # comes first by name, and is not where c.mkv lies
    (reels / "self").symlink_to(".")
    (reels / "sub" / "up").symlink_to("..")
    (reels / "sub" / "round.mkv").symlink_to("round.mkv")
    for number in range(12):  # of 2 ** 40 ways
        (reels / "sub" / f"way{number}").symlink_to("..")
    other = reels.parent / "other"
    write_films(other, "d.mkv")
    (reels / "shelf").symlink_to(other)
    found = films_in(reels, reels / "out")
    assert [str(film.source.relative_to(reels)) for film in found] == [
        *("a.mkv", "b.mkv", "shelf/d.mkv", "sub/c.mkv", "sub/round.mkv")
    ]
    result = batch(reels, "-P", reels / "out", "--json")
    assert result.exit_code == 7
    assert summary_of(result)["restored"] == 4
    assert "sub/round.mkv" in result.stderr
    pattern = find_inputs([f"{reels}/**/*.mkv"], reels / "out")
    assert {film.source.name for film in pattern} == {"a.mkv", "b.mkv", "c.mkv", "round.mkv"}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--codec", "mpeg7"), "--codec mpeg7 is unknown"),
        (("--codec", "h264", "--crf", "99"), "--crf 99 is out of range"),
        (("--mask-out", "matte.mkv"), "--mask-out names the matte of one film"),
        (("--skip-existing", "-y"), "leave one out"),
        (("--ext", ".avi"), "--ext .avi is unknown; use .mkv, .mp4, .mov, .webm"),
        (("--watch-interval", "2"), "belongs to --watch"),
        (("-",), "vidrepair run"),
        (("",), "without a name"),
    ],
)
def test_what_makes_no_sense_for_many_is_refused(
    reels: Path, out: Path, args: tuple[str, ...], words: str
) -> None:
    assert words in refused(out, reels / "a.mkv", *args)


def test_nothing_to_do_is_said(tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no video file in" in refused(out, tmp_path / "empty")
    assert "nothing to repair" in refused(out)
    (tmp_path / "file").touch()
    write_films(tmp_path, "a.mkv")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        result = batch(tmp_path / "a.mkv", "-P", folder)
        assert result.exit_code == 2
        assert "a file is in the way" in result.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_closed_folder_is_named_before_the_work(reels: Path, out: Path) -> None:
    (reels / "sub").chmod(0)
    try:
        result = batch(reels, "-P", out)
    finally:
        (reels / "sub").chmod(0o700)
    assert result.exit_code == 1
    assert "sub cannot be read" in result.stderr
    assert not out.exists()


def test_an_error_of_our_own_stops_nothing(reels: Path, out: Path) -> None:
    def fail(_state: object) -> None:
        raise ZeroDivisionError("seven by nothing")

    items = plan_batch([str(reels)], [], idle(out))
    first, second = run_item(items[0], fail), run_item(items[1])
    assert (first.outcome, first.exit_code) == ("failed", 1)
    assert "ZeroDivisionError: seven by nothing" in first.reason
    assert "\n" not in first.reason
    assert second.outcome == "restored"
    assert names_below(out) == ["b_restored.mkv"]


def test_a_name_that_gets_too_long_stops_nothing(reels: Path, out: Path) -> None:
    (reels / "b.mkv").rename(reels / f"{'b' * 250}.mkv")
    for skip in ((), ("--skip-existing",)):
        result = batch(reels, "-P", out, "--json", *skip)
        assert result.exit_code == 7
        (entry,) = (one for one in summary_of(result)["files"] if one["result"] == "failed")
        assert entry["exit"] == 1
        assert "File name too long" in entry["reason"]
    assert names_below(out) == ["a_restored.mkv", "sub/c_restored.mkv"]


def test_the_endings_of_outputs(tmp_path: Path, out: Path) -> None:
    naming = Naming(out)
    for name, output in (("A.MP4", "A_restored.MP4"), ("a.avi", "a_restored.mkv"), ("a", None)):
        assert naming.output_of(Path(name), Path()) == out / (output or "a_restored.mkv")
    assert Naming(out, ext="mov").output_of(Path("a.mkv"), Path("b")) == out / "b/a_restored.mov"
    parent = Naming(out, "{parent}_{stem}{ext}")
    assert parent.output_of(tmp_path / "x" / ".." / "a.mkv", Path()).name.startswith(tmp_path.name)
    with pytest.raises(UsageError, match="--ext"):
        Naming(out, ext="avi")


def test_numbers_of_json_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(
        '[{"input": "a.mkv", "noise": "auto", "ss": 83.5, "crf": 12, "grain": null,'
        ' "repair": ["dust", "dropout"], "min-confidence": 0.8}]'
    )
    (entry,) = read_manifest(tmp_path / "list.json")
    job = entry.applied(Job(None, None, RepairSettings(noise=(3.0, 3.0), grain=20.0)))
    assert job.repair.noise is None
    assert job.repair.grain == 20.0
    assert job.repair.damage == DamageSettings(("dust", "dropout"), 0.8)
    assert (job.reading.start, job.target.crf) == (83.5, 12.0)


def test_wrappers_follow_a_batch_as_json(reels: Path, out: Path) -> None:
    (reels / "b.mkv").write_bytes(b"")
    (out / "sub").mkdir(parents=True)
    (out / "sub" / "c_restored.mkv").touch()
    result = batch(reels, "-P", out, "--progress", "json", "--skip-existing")
    events = [json.loads(line) for line in result.stderr.splitlines()]
    kinds = [event["event"] for event in events if event["event"] != "progress"]
    files = ["file", "done", "file", "error", "file", "skipped"]
    assert kinds == [*files, "summary", "error"]
    begun = [event for event in events if event["event"] == "file"]
    assert [(event["number"], event["of"]) for event in begun] == [(1, 3), (2, 3), (3, 3)]
    assert begun[2]["source"] == str(reels / "sub" / "c.mkv")
    assert begun[2]["output"] == str(out / "sub" / "c_restored.mkv")
    assert events[-2]["failed"] == 1
    assert (events[-1]["exit"], result.exit_code, result.stdout) == (7, 7, "")


def test_without_a_terminal_a_file_takes_a_line_and_the_table_ends_it(
    reels: Path, out: Path
) -> None:
    (reels / "c\nx.mkv").write_bytes(b"")
    write_clip(reels / "b.mkv", extras=Extras(attachment=b"note"))
    lines = batch(reels, "-P", out, "--ext", ".mp4", "--codec", "h264").stderr.splitlines()
    assert lines[0].startswith(f"1/4: {reels / 'a.mkv'}: restored, 3 frames in ")
    # What a file loses is told with its name.
    assert lines[1].startswith(f"vidrepair: warning: {reels / 'b.mkv'}: ")
    assert lines[-8].startswith("4/4: ")
    assert lines[-7].split() == ["file", "result", "frames", "seconds", "reason"]
    assert lines[-4].split()[:4] == [str(reels / "c"), "x.mkv", "failed", "0"]
    assert lines[-4].endswith("download it again")
    assert lines[-2:] == ["3 restored, 0 skipped, 1 failed", "vidrepair: 1 of 4 files failed"]


def test_films_from_damaged_sources_are_counted(reels: Path, out: Path) -> None:
    film = reels / "c.mkv"
    write_clip(film, frames=100)
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    done = batch(reels, "-P", out)
    assert done.stderr.splitlines()[-1] == (
        "4 restored, 0 skipped, 0 failed; 1 of those restored met damage in the source"
    )
    assert summary_of(batch(reels, "-P", out / "again", "--json"))["damaged"] == 1


@posix
def test_on_a_terminal_a_line_stands_above_the_bar(reels: Path, out: Path) -> None:
    import pty  # Windows has none

    own, theirs = pty.openpty()
    command = [*TOOL, "batch", reels, "-P", out, *IDLE]
    with subprocess.Popen(command, stderr=theirs, env=ENVIRONMENT) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(own, 4096):
                shown += part
        except OSError:  # Linux says so when the other end is closed
            pass
        assert process.wait(60) == 0
    os.close(own)
    text = shown.decode()
    for number, name in enumerate(("a.mkv", "b.mkv", "c.mkv"), 1):
        heading = text.index(f"{number}/3, {name}")
        assert heading < text.index("fps", heading) < text.index(f"{number}/3: {reels}")
    assert "3 restored, 0 skipped, 0 failed" in text


@contextmanager
def started(*args: str | Path) -> Iterator[tuple[subprocess.Popen[str], Callable[[str], Any]]]:
    """The command as a process of its own, and a way to wait for its next event of a kind."""
    command = [*TOOL, "batch", *map(str, args), "--progress", "json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stderr is not None
        lines = process.stderr

        def wait_for(kind: str) -> Any:
            for line in lines:
                event = json.loads(line)
                if event["event"] == kind:
                    return event
            raise AssertionError(f"it ended before {kind}")

        try:
            yield process, wait_for
        finally:
            process.kill()


@posix
def test_a_watched_folder_gives_a_film_once_it_has_stopped_growing(
    tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "drop"
    write_films(folder, "sub/first.mkv")
    write_films(tmp_path, "film.mkv", frames=40)
    data = (tmp_path / "film.mkv").read_bytes()
    step = -(-len(data) // 16)
    with started(folder, "-P", out, *IDLE, "--watch", "--watch-interval", "1.2") as (tool, wait):
        assert wait("file")["source"].endswith("first.mkv")
        assert wait("done")["frames"] == 3
        with (folder / "film.mkv").open("wb") as growing:
            for start in range(0, len(data), step):
                growing.write(data[start : start + step])
                growing.flush()
                time.sleep(0.15)
        event = wait("file")
        assert (event["number"], event["of"]) == (2, None)
        assert event["output"] == str(out / "film_restored.mkv")
        assert wait("done")["frames"] == 40
        tool.send_signal(signal.SIGINT)
        summary = wait("summary")
        assert tool.wait(30) == 0
    # Had it been begun before it was whole, it would have been begun again.
    assert [Path(entry["file"]).name for entry in summary["files"]] == ["first.mkv", "film.mkv"]
    assert summary["restored"] == 2
    assert same_picture(tmp_path / "film.mkv", out / "film_restored.mkv")
    assert names_below(out) == ["film_restored.mkv", "sub/first_restored.mkv"]


@posix
def test_a_copy_that_paused_is_done_again_when_the_rest_comes(tmp_path: Path, out: Path) -> None:
    """What was made of its beginning is no result that is there already."""
    folder = tmp_path / "drop"
    write_films(folder, "there.mkv")
    write_films(out, "there_restored.mkv")
    write_films(tmp_path, "film.mkv", frames=40)
    data = (tmp_path / "film.mkv").read_bytes()
    words = (folder, "-P", out, *IDLE, "--skip-existing", "--watch", "--watch-interval", "0.3")
    with started(*words) as (tool, wait):
        assert wait("skipped")
        (folder / "film.mkv").write_bytes(data[: len(data) // 2])
        assert wait("done")["frames"] < 40
        (folder / "film.mkv").write_bytes(data)
        assert wait("done")["frames"] == 40
        older = (out / "there_restored.mkv").read_bytes()
        os.utime(folder / "there.mkv")
        assert wait("skipped")
        tool.send_signal(signal.SIGINT)
        summary = wait("summary")
        assert tool.wait(30) == 0
    assert (summary["restored"], summary["skipped"]) == (1, 1)
    assert same_picture(tmp_path / "film.mkv", out / "film_restored.mkv")
    assert (out / "there_restored.mkv").read_bytes() == older


@posix
def test_a_film_that_comes_whole_in_the_end_is_tried_again(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    (folder / "a.mkv").write_bytes(b"only a beginning")
    write_films(tmp_path, "whole.mkv")
    write_clip(tmp_path / "whole.avi")
    with started(folder, "-P", out, *IDLE, "--watch", "--watch-interval", "0.2") as (tool, wait):
        assert wait("error")["exit"] == 3
        (tmp_path / "whole.mkv").rename(folder / "a.mkv")
        assert wait("done")["frames"] == 3
        # It comes too late to be refused before the work, and would replace what is there.
        (tmp_path / "whole.avi").rename(folder / "a.avi")
        assert "would both become" in wait("error")["message"]
        tool.send_signal(signal.SIGINT)
        summary = wait("summary")
        assert tool.wait(30) == 7
    found = {Path(entry["file"]).name: entry["result"] for entry in summary["files"]}
    assert found == {"a.mkv": "restored", "a.avi": "failed"}


def test_only_folders_are_watched(reels: Path, out: Path) -> None:
    assert "is none" in refused(out, reels / "a.mkv", "--watch")
    assert "is none" in refused(out, reels / "missing", "--watch")
    (reels / "list.csv").write_text("input\na.mkv\n")
    told = refused(out, reels, "--watch", "--manifest", reels / "list.csv")
    assert "leave one out" in told
    among = batch(reels, "-P", reels, "--watch")
    assert among.exit_code == 2
    assert "choose another one" in among.stderr


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_batch_that_is_stopped_says_what_was_done(
    tmp_path: Path, out: Path, number: signal.Signals, code: int
) -> None:
    write_films(tmp_path / "films", "a.mkv", "c.mkv")
    fast = {"preset": "ultrafast"}
    long = tmp_path / "films" / "b.mkv"
    write_clip(long, frames=150, size=(640, 352), codec="libx264", options=fast)
    slow = (*IDLE, "--codec", "h264", "--preset", "placebo")
    with started(tmp_path / "films", "-P", out, *slow) as (tool, wait):
        wait("done")
        wait("progress")
        tool.send_signal(number)
        summary = wait("summary")
        error = wait("error")
        assert tool.wait(60) == code
    assert [Path(entry["file"]).name for entry in summary["files"]] == ["a.mkv"]
    assert summary["restored"] == 1
    assert "after 1 of 3 files" in error["message"]
    assert error["exit"] == code
    assert names_below(out) == ["a_restored.mkv"]


@posix
def test_a_film_that_was_broken_off_goes_on_with_the_next_batch(tmp_path: Path, out: Path) -> None:
    write_films(tmp_path / "films", "a.mkv")
    write_clip(tmp_path / "films" / "b.mkv", frames=240, size=(176, 96))
    slow = (*IDLE, "--codec", "h264", "--preset", "placebo", "--segment-frames", "64")
    with started(tmp_path / "films", "-P", out, *slow) as (tool, wait):
        wait("done")
        while wait("progress")["frames"] < 100:
            pass
        tool.send_signal(signal.SIGINT)
        assert tool.wait(60) == 130
    assert [path.name for path in out.glob("*.vrjob")] == ["b_restored.mkv.vrjob"]
    with started(tmp_path / "films", "-P", out, *slow, "--skip-existing") as (tool, wait):
        assert wait("progress")["frames"] > 64
        summary = wait("summary")
        assert tool.wait(60) == 0
    assert [summary[kind] for kind in ("restored", "skipped")] == [1, 1]
    assert len(read_frames(out / "b_restored.mkv")) == 240
    assert names_below(out) == ["a_restored.mkv", "b_restored.mkv"]


def test_workers_share_the_long_films_of_a_batch(tmp_path: Path, out: Path) -> None:
    write_films(tmp_path / "films", "short.mkv")
    write_clip(tmp_path / "films" / "long.mkv", frames=moving(64, 48, 160), size=(64, 48))
    flags = ("-c", "ffv1", "--segment-frames", "32", "--progress", "none")
    done = batch(tmp_path / "films", "-P", out, "--workers", "2", "--json", *flags)
    assert done.exit_code == 0, done.stderr
    assert summary_of(done)["restored"] == 2
    assert same_picture(out / "long_restored.mkv", tmp_path / "films" / "long.mkv")
    assert names_below(out) == ["long_restored.mkv", "short_restored.mkv"]
    assert "this film goes in one piece" in done.stderr


def test_the_docs_list_the_endings_of_films(root: Path) -> None:
    words = set((root / "docs" / "batch.md").read_text().replace("`", " ").split())
    assert words >= VIDEO
