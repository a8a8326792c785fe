"""Markers for editing systems, and lists of cuts: written, read, and fitted to a film."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import call, hashes
from clips import Extras, moving, write_clip

from vidrepair import DamageSettings, OutputSettings, RepairSettings, repair
from vidrepair.cuts import Length, read_cuts
from vidrepair.edl import read_edl
from vidrepair.errors import InputError, UsageError
from vidrepair.film_clock import FilmClock
from vidrepair.findings import DefectFacts, ShotFacts
from vidrepair.journal import Journal, folder_of
from vidrepair.listed import NoList
from vidrepair.markers import MOST, mark
from vidrepair.settings import Job
from vidrepair.sidecar import read_analysis

otio = pytest.importorskip("opentimelineio", reason="there are no wheels for this Python")

SIZE = (64, 48)
CUTS = (40, 64)
COUNT = 90
SPOT = 20
START = 36000 * 25
"""Frames from midnight to 10:00:00:00."""
QUIET = ("--progress", "none", "--log-level", "warning")
ASIS = ("-c", "ffv1", "--denoise", "0", "--repair", "none", *QUIET)
FLAGS = ("-c", "ffv1", "--repair", "dust", "--noise", "4", "--progress", "none")
SEGMENTS = ("--segment-frames", "16")
NTSC = Fraction(30000, 1001)


def pictures(*lengths: int) -> list[Any]:
    """Shots of these lengths, with dust on one frame of the first."""
    frames = []
    for number, count in enumerate(lengths):
        frames += moving(*SIZE, count, seed=3 * number, noise=4.0)
    plane = frames[SPOT].planes[0]
    np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[18:25, 27:34] = 250
    return frames


def write_film(path: Path, timecode: str = "10:00:00:00", **more: Any) -> Path:
    edges = (0, *CUTS, COUNT)
    frames = pictures(*(after - first for first, after in pairwise(edges)))
    extras = Extras(metadata=(("timecode", timecode),)) if timecode else None
    write_clip(path, frames=frames, size=SIZE, extras=extras, **more)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shots from 10:00:00:00 on, 25 frames a second."""
    return write_film(tmp_path_factory.mktemp("film") / "in.mkv")


@pytest.fixture(scope="module")
def made(film: Path) -> Path:
    """The folder of the film, with what a run made of it and the markers of all kinds."""
    out = film.with_name("out.mkv")
    words = ("--sidecar", "--markers", film.with_name("m.otio"))
    done = call("run", film, "-o", out, *FLAGS, *words)
    assert done.exit_code == 0, done.output
    for kind in ("edl", "resolve.edl"):
        done = call("markers", out, "-o", film.with_name(f"m.{kind}"))
        assert done.exit_code == 0, done.output
        assert re.search(rf"m\.{kind}: \d+ markers?$", done.stdout)
    return film.parent


def shots_of(sidecar: Path) -> list[int]:
    """The first frame of each shot."""
    return [shot["first"] for shot in json.loads(sidecar.read_text())["shots"]]


def run(film: Path, out: Path, *words: str | Path) -> Any:
    """A run that changes nothing."""
    return call("run", film, "-o", out, *ASIS, *words)


def test_a_timeline_has_a_clip_for_each_shot_and_its_markers_in_place(made: Path) -> None:
    timeline = otio.adapters.read_from_file(str(made / "m.otio"))
    assert timeline.global_start_time.to_timecode() == "10:00:00:00"
    (track,) = timeline.video_tracks()
    spans = [(clip.source_range.start_time.value, clip.duration().value) for clip in track]
    assert spans == [(START, 40), (START + 40, 24), (START + 64, 26)]
    assert {clip.media_reference.target_url for clip in track} == {(made / "out.mkv").as_uri()}
    found = [
        (one.name, one.marked_range.start_time.value, one.color) for one in timeline.tracks.markers
    ]
    assert found == [
        ("Shot 0", 0, "GREEN"),
        ("dust", SPOT, "YELLOW"),
        ("Shot 1", 40, "GREEN"),
        ("Shot 2", 64, "GREEN"),
    ]
    assert timeline.tracks.markers[0].comment.startswith("frames 0 to 39, ")
    assert timeline.tracks.markers[1].comment.startswith("frame 20, at ")


def test_an_edl_opens_in_the_reader_of_opentimelineio(made: Path) -> None:
    timeline = otio.adapters.read_from_file(str(made / "m.edl"), rate=25)
    (track,) = timeline.video_tracks()
    spans = [(clip.source_range.start_time.value, clip.duration().value) for clip in track]
    assert spans == [(START, 40), (START + 40, 24), (START + 64, 26)]
    assert [clip.name for clip in track] == ["out.mkv"] * 3
    markers = [
        (one.name.partition(":")[0], one.marked_range.start_time.to_timecode(), one.color)
        for clip in track
        for one in clip.markers
    ]
    assert markers == [
        ("Shot 0", "10:00:00:00", "GREEN"),
        ("dust", "10:00:00:20", "YELLOW"),
        ("Shot 1", "10:00:01:15", "GREEN"),
        ("Shot 2", "10:00:02:14", "GREEN"),
    ]


def test_the_markers_of_resolve_have_the_shape_that_it_writes_itself(made: Path) -> None:
    lines = (made / "m.resolve.edl").read_text().splitlines()
    assert lines[:3] == ["TITLE: out", "FCM: NON-DROP FRAME", ""]
    assert (
        lines[6] == "002  AX       V     C        10:00:00:20 10:00:00:21 10:00:00:20 10:00:00:21"
    )
    assert lines[7].startswith("dust: frame 20, at ")
    assert lines[7].endswith(" |C:ResolveColorYellow |M:dust |D:1")
    events = otio.adapters.read_from_file(str(made / "m.resolve.edl"), rate=25)
    starts = [clip.source_range.start_time.to_timecode() for clip in events.find_clips()]
    assert starts == ["10:00:00:00", "10:00:00:20", "10:00:01:15", "10:00:02:14"]


@pytest.mark.parametrize("kind", ["otio", "edl", "resolve.edl"])
def test_markers_come_back_as_the_same_cuts(made: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out.mkv"
    done = run(made / "in.mkv", out, "--shots", made / f"m.{kind}", "--sidecar")
    assert done.exit_code == 0, done.output
    assert shots_of(tmp_path / "out.mkv.vr.json") == [0, *CUTS]


def test_the_frames_are_those_of_the_run_that_wrote_the_markers(made: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out.mkv", tmp_path / "other.mkv"
    done = call("run", made / "in.mkv", "-o", out, *FLAGS, "--shots", made / "m.otio")
    assert done.exit_code == 0, done.output
    assert hashes(out) == hashes(made / "out.mkv")
    (tmp_path / "none.txt").write_text("0")
    done = call("run", made / "in.mkv", "-o", other, *FLAGS, "--shots", tmp_path / "none.txt")
    assert done.exit_code == 0, done.output
    assert hashes(other) != hashes(out)


def test_the_command_writes_what_the_run_writes(made: Path, tmp_path: Path) -> None:
    text = (made / "m.otio").read_text()
    for film in ("out.mkv", "in.mkv"):  # what was made, and what it was made of
        path = tmp_path / f"{film}.otio"
        done = call("markers", made / film, "--analysis", made / "out.mkv.vr.json", "-o", path)
        assert done.exit_code == 0, done.output
        named = text.replace("out.mkv", film).replace('"name": "out"', f'"name": "{film[:-4]}"')
        assert path.read_text() == named


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("0\n30 # here\n64\n", [0, 30, 64]),
        ("0.0, 1.2, 00:00:02.56", [0, 30, 64]),
        ("10:00:01:05\n10:00:02:14\n", [0, 30, 64]),
    ],
)
def test_a_plain_list_says_frames_seconds_or_timecodes(
    film: Path, tmp_path: Path, text: str, starts: list[int]
) -> None:
    cuts, out = tmp_path / "cuts.txt", tmp_path / "out.vr.json"
    cuts.write_text(text)
    done = call("analyze", film, "-o", out, "--shots", cuts, *ASIS[2:])
    assert done.exit_code == 0, done.output
    assert shots_of(out) == starts


def test_drop_frame_is_counted_as_the_source_counts(tmp_path: Path) -> None:
    film = write_film(tmp_path / "in.mov", "00:00:59;00", rate=NTSC, codec="mpeg4")
    path = tmp_path / "m.edl"
    done = call("analyze", film, "--markers", path, *ASIS[2:])
    assert done.exit_code == 0, done.output
    text = path.read_text()
    assert "FCM: DROP FRAME" in text
    # 30 frames to the minute, whose first two numbers are left out.
    assert "* LOC: 00:01:00;12 GREEN   Shot 1" in text
    timeline = otio.adapters.read_from_file(str(path), rate=float(NTSC))
    starts = [clip.source_range.start_time for clip in timeline.find_clips()]
    assert [one.to_timecode(float(NTSC), True) for one in starts] == [
        "00:00:59;00",
        "00:01:00;12",
        "00:01:01;06",
    ]
    again = call("analyze", film, "-o", tmp_path / "again.json", "--shots", path, *ASIS[2:])
    assert again.exit_code == 0, again.output
    assert shots_of(tmp_path / "again.json") == [0, *CUTS]


def test_times_that_are_not_steady_sit_on_the_nearest_frame_and_it_is_said(tmp_path: Path) -> None:
    pts = [40 * n + (25 if n % 2 and n > 40 else 0) for n in range(COUNT)]
    film = write_film(tmp_path / "in.mkv", "", pts=pts, time_base=Fraction(1, 1000))
    path = tmp_path / "m.otio"
    done = call("analyze", film, "--markers", path, *ASIS[2:])
    assert done.exit_code == 0, done.output
    assert "do not come at a steady rate; each marker sits on the nearest frame" in done.stderr
    timeline = otio.adapters.read_from_file(str(path))
    assert timeline.global_start_time.value == 0
    starts = [clip.source_range.start_time.value for clip in timeline.find_clips()]
    assert starts == [0, *CUTS]


EVENT = "001  AX       V     C        {0} {1} {0} {1}\n"


def events(*times: str) -> str:
    """A list of edits from each time to the next."""
    pairs = pairwise(times)
    return "TITLE: a\nFCM: NON-DROP FRAME\n" + "".join(EVENT.format(*pair) for pair in pairs)


def timeline(rate: float, *lengths: int) -> str:
    track = otio.schema.Track(kind="Video")
    for length in lengths:
        span = otio.opentime.TimeRange(
            otio.opentime.RationalTime(0, rate), otio.opentime.RationalTime(length, rate)
        )
        track.append(otio.schema.Clip("a", source_range=span))
    made = otio.schema.Timeline("a")
    made.tracks.append(track)
    return str(made.to_json_string())


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.otio", timeline(24, 40, 24), "it counts 24 frames a second, and the film has 25"),
        ("a.otio", timeline(25, 40, 400, 10), "its shots start from"),
        ("a.otio", "{", "it is no JSON: Expecting property name"),
        ("a.otio", "[" * 100_000, "it is no JSON"),
        ("a.otio", "{}", "it holds no timeline of OpenTimelineIO"),
        ("a.otio", timeline(25), "it holds no track with a picture"),
        ("a.otio", timeline(25, 0), "its clips have no length"),
        ("a.edl", events("11:00:00:00", "11:00:01:00", "11:00:02:00"), "the film starts at 10:00"),
        ("a.edl", events("10:00:00:00", "10:00:01:29", "10:00:02:00"), "no timecode of 25 frames"),
        ("a.edl", events("10:00:00:00").replace("NON-", ""), "it has no event with a picture"),
        (
            "a.edl",
            events("10:00:00:00", "10:00:01:00").replace("NON-", ""),
            "10:00:00:00, which is no drop frame timecode of 25 frames",
        ),
        ("a.edl", "001 AX V C 10:00:00:00 10:00:01:00\n", "line 1 is no event of a CMX 3600"),
        ("a.edl", "nothing", "it has no event with a picture"),
        ("a.txt", "", "it names no cut"),
        ("a.txt", "30, 10, -5", "-5 lies before the film"),
        ("a.txt", "12, 1.5", "it mixes frames and times; write 12 as 12.0"),
        ("a.txt", "1.5 noon", "'noon' is no time such as"),
        ("a.txt", "0, 400", "a shot is to start at frame 400, and the film has about 90"),
        ("a.txt", "0, 95", "a shot is to start at frame 95, and the film ends before"),
        ("a.txt", "0.0, 60.0", "a shot is to start at 60.000 s, and the film ends at 3.6"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_in_a_sentence(
    film: Path, tmp_path: Path, name: str, text: str, said: str
) -> None:
    cuts, out = tmp_path / name, tmp_path / "out.mkv"
    cuts.write_text(text)
    done = run(film, out, "--shots", cuts)
    assert done.exit_code == 3, done.output
    assert said in done.stderr
    assert str(cuts) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--markers", "m.xml"), "--markers m.xml is no .otio or .edl file"),
        (("--shots", "m.csv"), "--shots m.csv is no .otio, .edl or .txt file"),
        (("--shots", "a.txt", "--analysis", "a.json"), "leave --shots out"),
        (("--shots", "a.edl", "--markers", "a.edl"), "would replace a file that is read"),
        (("--markers", "b.edl"), "b.edl exists; add -y to replace it"),
        (("--markers", "b.edl", "--on-change", "split"), "--markers tells of one"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: Sequence[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.edl", "b.edl"):
        Path(name).write_text(events("10:00:00:00", "10:00:01:00"))
    done = run(film, Path("out.mkv"), *words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.edl", "b.edl"]


def test_a_list_that_is_missing_or_no_text_is_named(film: Path, tmp_path: Path) -> None:
    gone = run(film, tmp_path / "out.mkv", "--shots", tmp_path / "gone.edl")
    assert (gone.exit_code, "gone.edl cannot be read" in gone.stderr) == (3, True)
    (tmp_path / "film.edl").write_bytes(b"\xff\xfe\x00" * 20)
    binary = run(film, tmp_path / "out.mkv", "--shots", tmp_path / "film.edl")
    assert (binary.exit_code, "film.edl is no text" in binary.stderr) == (3, True)


def test_without_opentimelineio_an_edl_is_written_and_an_otio_refused(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentimelineio", None)
    done = run(film, tmp_path / "out.mkv", "--markers", tmp_path / "m.otio")
    assert done.exit_code == 2
    assert "pip install 'vidrepair[otio]'" in done.stderr
    done = run(film, tmp_path / "out.mkv", "--markers", tmp_path / "m.edl", "--frames", "30")
    assert done.exit_code == 0, done.output
    assert "Shot 0: frames 0 to 29" in (tmp_path / "m.edl").read_text()


def test_a_film_without_timecode_is_counted_from_the_start_of_the_list(tmp_path: Path) -> None:
    clock, length = FilmClock(Fraction(25)), Length(Fraction(90, 25), 90)
    path = tmp_path / "a.edl"
    path.write_text(events("01:00:00:00", "01:00:01:15", "01:00:02:14", "01:00:03:15"))
    assert read_cuts(path, clock, length).starts == (0, 40, 64)
    # Of a film that has one, what was cut counts where the record is another's.
    known = FilmClock(Fraction(25), timecode="10:00:00:00")
    moved = "001 AX V C 10:00:00:00 10:00:01:15 01:00:00:00 01:00:01:15\n"
    path.write_text(moved + "002 AX V C 10:00:01:15 10:00:03:00 01:00:01:15 01:00:03:00\n")
    assert read_cuts(path, known, length).starts == (0, 40)


def test_a_timeline_without_timecode_is_counted_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "a.otio"
    path.write_text(timeline(25, 40, 24, 26))
    for timecode in ("", "10:00:00:00"):
        clock = FilmClock(Fraction(25), timecode=timecode)
        assert read_cuts(path, clock, Length(Fraction(90, 25), 90)).starts == (0, 40, 64)


def test_a_dissolve_counts_from_its_middle_and_sound_does_not() -> None:
    text = """TITLE: a
001  REEL_1   V     C        00:00:00:00 00:00:02:00 01:00:00:00 01:00:02:00
002  REEL_1   V     C        00:00:02:00 00:00:02:00 01:00:02:00 01:00:02:00
002  REEL 2   V     D    024 00:00:10:00 00:00:12:00 01:00:02:00 01:00:04:00
* FROM CLIP NAME: a
003  SOUND    A     C        00:00:00:00 00:00:01:00 01:00:01:00 01:00:02:00
M2   REEL_1   025.0          00:00:00:00
"""
    assert read_edl(text, Fraction(25)).starts == (0, 62)
    with pytest.raises(NoList, match="line 2 has 01:00:00:24, which is no timecode of 24"):
        read_edl(text.replace("01:00:00:00", "01:00:00:24"), Fraction(24))


def test_a_film_in_segments_goes_on_with_its_list_and_redo_writes_the_markers_anew(
    film: Path, tmp_path: Path
) -> None:
    out, cuts, markers = tmp_path / "out.mkv", tmp_path / "cuts.txt", tmp_path / "m.edl"
    cuts.write_text("0, 30, 64")
    words = ("--shots", cuts, "--markers", markers, *SEGMENTS)
    done = call("run", film, "-o", out, "--sidecar", *FLAGS, *words)
    assert done.exit_code == 0, done.output
    text = markers.read_text()
    assert "* LOC: 10:00:01:05 GREEN   Shot 1: frames 30 to 63" in text
    assert "dust" in text
    sidecar = Path(f"{out}.vr.json")
    told = json.loads(sidecar.read_text())
    for defect in told["defects"]:
        defect["keep"] = False
    sidecar.write_text(json.dumps(told))
    cuts.unlink()  # the sidecar says it now
    done = call("redo", out, "--analysis", sidecar, "--progress", "none")
    assert done.exit_code == 0, done.output
    lines = [line for line in text.splitlines() if "dust" not in line]
    assert [line[:40] for line in markers.read_text().splitlines()] == [one[:40] for one in lines]
    assert "dust" not in markers.read_text()
    assert shots_of(sidecar) == [0, 30, 64]


class Stop(Exception):
    """The run ends here."""


def test_a_job_that_was_broken_off_wants_the_same_list(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, cuts, markers = tmp_path / "out.mkv", tmp_path / "cuts.txt", tmp_path / "m.edl"
    cuts.write_text("0, 30, 64")
    words = ("--shots", cuts, "--markers", markers, *SEGMENTS)
    added = Journal.add

    def add(journal: Journal, segment: Any) -> None:
        added(journal, segment)
        if len(journal.record.segments) == 2:
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", add)
        assert isinstance(run(film, out, *words).exception, Stop)
    assert not markers.exists()
    cuts.write_text("0, 31, 64")
    changed = call("resume", out, "--progress", "none")
    assert changed.exit_code == 2
    assert "files shots" in changed.stderr
    cuts.write_text("0, 30, 64")
    done = call("resume", out, "--progress", "none")
    assert done.exit_code == 0, done.output
    assert "Shot 1: frames 30 to 63" in markers.read_text()
    assert not folder_of(out).exists()
    whole = tmp_path / "whole"
    whole.mkdir()
    words = ("--shots", cuts, "--markers", whole / "m.edl", *SEGMENTS)
    assert run(film, whole / "out.mkv", *words).exit_code == 0
    assert (whole / "m.edl").read_text() == markers.read_text()


def test_workers_follow_the_list_and_the_markers_are_those_of_one(
    film: Path, tmp_path: Path
) -> None:
    cuts = tmp_path / "cuts.txt"
    cuts.write_text("0, 30, 64")
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        words = ("--shots", cuts, "--markers", folder / "m.resolve.edl", "--workers", str(number))
        done = run(film, folder / "out.mkv", *words, *SEGMENTS)
        assert done.exit_code == 0, done.output
    one, two = (tmp_path / number for number in "12")
    assert (one / "m.resolve.edl").read_text() == (two / "m.resolve.edl").read_text()
    assert hashes(one / "out.mkv") == hashes(two / "out.mkv")


def test_each_film_of_a_manifest_has_lists_of_its_own(film: Path, tmp_path: Path) -> None:
    (tmp_path / "cuts.txt").write_text("0, 30")
    (tmp_path / "reels.json").write_text(
        json.dumps([{"input": str(film), "shots": "cuts.txt", "markers": "lists/a.edl"}])
    )
    done = call(
        *("batch", "--manifest", tmp_path / "reels.json", "-P", tmp_path / "out"),
        *ASIS,
    )
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out" / "lists" / "a.edl").read_text()
    assert "Shot 1: frames 30 to 89" in text
    (tmp_path / "reels.json").write_text(json.dumps([{"input": str(film), "markers": "../a.edl"}]))
    done = call("batch", "--manifest", tmp_path / "reels.json", "-P", tmp_path / "out")
    assert done.exit_code == 2
    assert "leads out of" in done.stderr
    twice = [{"input": name, "markers": "a.edl"} for name in ("a.mkv", "b.mkv")]
    (tmp_path / "reels.json").write_text(json.dumps(twice))
    done = call("batch", "--manifest", tmp_path / "reels.json", "-P", tmp_path / "out")
    assert done.exit_code == 2
    assert "would both become" in done.stderr
    (tmp_path / "reels.csv").write_text(f"input,markers\n{film},a.xml\n")
    done = call("batch", "--manifest", tmp_path / "reels.csv", "-P", tmp_path / "out")
    assert done.exit_code == 2
    assert "reels.csv, line 2: --markers" in done.stderr


def test_from_python(film: Path, tmp_path: Path) -> None:
    (tmp_path / "cuts.txt").write_text("0, 30")
    repair(
        film,
        tmp_path / "out.mkv",
        settings=RepairSettings(denoise=(0.0, 0.0), damage=DamageSettings(kinds=())),
        target=OutputSettings(codec="ffv1", markers=tmp_path / "m.otio"),
        shots=tmp_path / "cuts.txt",
    )
    timeline = otio.adapters.read_from_file(str(tmp_path / "m.otio"))
    assert [clip.duration().value for clip in timeline.find_clips()] == [30, 60]
    with pytest.raises(UsageError, match=r"no \.otio or \.edl file"):
        OutputSettings(markers=tmp_path / "m.xml")
    with pytest.raises(UsageError, match="leave --shots out"):
        Job(film, None, shots=tmp_path / "a.txt", analysis=tmp_path / "a.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_cuts(tmp_path / "gone.txt", None, Length())


def test_the_worst_damage_is_marked_and_no_stretch_takes_all(made: Path) -> None:
    analysis = read_analysis(made / "out.mkv.vr.json")

    def dust(frame: int, side: int, *, keep: bool = True) -> DefectFacts:
        return DefectFacts(frame, "dust", (0, 0, side, side), 0.9, keep)

    def scratch(frame: int, left: int) -> DefectFacts:
        return DefectFacts(frame, "scratch", (0, left, 48, left + 2), 0.8)

    clock = FilmClock(Fraction(25))
    defects = (
        *(dust(0, 8), dust(3, 20), dust(3, 4), dust(40, 30, keep=False), dust(50, 6), dust(99, 6)),
        *(scratch(frame, 10) for frame in range(5, 12)),
        *(scratch(frame, 40) for frame in (11, 12)),
        scratch(14, 10),
    )
    told = replace(analysis, defects=defects, lost=(70, 71, 72), shots=analysis.shots[:1])
    film = mark(told, range(COUNT), "film", None, clock)
    found = [(one.kind, one.place, one.frames) for one in film.markers]
    # Frame 0 has less than frame 3, which is less than a second away; a frame without the scratch
    # ends it, and it is not marked again so soon; what was switched off, and what lies behind the
    # end, is left out.
    assert found == [
        ("shot", 0, 1),
        ("dust", 3, 1),
        ("scratch", 5, 7),
        ("scratch", 11, 2),
        ("dust", 50, 1),
        ("rebuilt", 70, 3),
    ]
    assert film.markers[1].note == (
        "frame 3, 2 places, the largest 20x20+0+0, 13.54% of the picture, confidence 0.90"
    )
    last = analysis.shots[0].last
    cut = (ShotFacts(0, 0, 7), ShotFacts(1, 8, 70), ShotFacts(2, 71, last))
    halved = mark(replace(told, shots=cut), range(COUNT), "film", None, clock).markers
    lasting = [(one.kind, one.place, one.frames) for one in halved if one.frames > 1]
    assert lasting == [("scratch", 5, 3), ("scratch", 8, 4), ("scratch", 11, 2), ("rebuilt", 71, 2)]
    many = replace(told, defects=tuple(dust(frame, 6) for frame in range(0, 26 * 200, 26)), lost=())
    marked = mark(many, range(26 * 200), "film", None, clock).markers
    assert sum(one.kind == "dust" for one in marked) == MOST


def test_markers_of_a_folder_are_refused(tmp_path: Path) -> None:
    done = call("markers", tmp_path, "-o", tmp_path / "a.edl")
    assert done.exit_code == 3
    assert "is a folder; name a film in it" in done.stderr


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda told: told["source"].update(width=66), 3, "its size is 66x48, not 64x48"),
        (lambda told: told["source"].update(last_pts=10**6), 3, "its last frame comes"),
        (lambda told: told.clear(), 3, "it is no analysis"),
        (None, 3, "out.mkv.vr.json cannot be read"),
    ],
)
def test_the_command_refuses_the_sidecar_of_another_film(
    made: Path, tmp_path: Path, change: Any, code: int, said: str
) -> None:
    sidecar = tmp_path / "out.mkv.vr.json"
    if change is not None:
        told = json.loads((made / "out.mkv.vr.json").read_text())
        change(told)
        sidecar.write_text(json.dumps(told))
    done = call("markers", made / "out.mkv", "--analysis", sidecar, "-o", tmp_path / "m.edl")
    assert done.exit_code == code, done.output
    assert said in done.stderr
    assert not (tmp_path / "m.edl").exists()


def test_the_command_replaces_nothing_unasked(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.edl"
    path.write_text("mine")
    done = call("markers", made / "out.mkv", "-o", path)
    assert (done.exit_code, "add -y to replace it" in done.stderr) == (2, True)
    assert path.read_text() == "mine"
    assert call("markers", made / "out.mkv", "-o", path, "-y").exit_code == 0
    assert path.read_text().startswith("TITLE: out")
    done = call("markers", made / "out.mkv", "-o", tmp_path / "m.txt")
    assert (done.exit_code, "is no .otio or .edl file" in done.stderr) == (2, True)


def test_where_no_sidecar_is_it_is_said_how_to_get_one(film: Path, made: Path) -> None:
    other = film.with_name("alone.mkv")
    other.write_bytes(film.read_bytes())
    done = call("markers", other, "-o", film.with_name("n.edl"))
    assert done.exit_code == 2
    assert f"vidrepair analyze {other} -o {other}.vr.json" in done.stderr
    done = call("grain", made / "out.mkv", "-o", film.with_name("n.json"))
    assert done.exit_code == 2
    assert "out.mkv.vr.json" in done.stderr
    assert not film.with_name("n.json").exists()
