"""The whole path on real files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import Extras, Samples, moving, samples_of, write_clip

from vidrepair import (
    EngineSettings,
    Job,
    OutputSettings,
    Progress,
    RepairSettings,
    SourceSettings,
    UsageError,
    probe,
    repair,
)
from vidrepair.decode import Source
from vidrepair.frames import Answer, Frame
from vidrepair.pipeline import run_job
from vidrepair.segments import SegmentedTarget
from vidrepair.tags import Copied
from vidrepair.tally import Tally

Frames = list[list[Samples]]


def decoded(path: Path) -> Frames:
    with av.open(str(path)) as container:
        return [samples_of(frame) for frame in container.decode(video=0)]


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def same(one: Frames, two: Frames) -> bool:
    return len(one) == len(two) and all(
        np.array_equal(a, b)
        for x, y in zip(one, two, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def restore(
    source: Path, output: Path, engine: EngineSettings | None = None, **settings: object
) -> Frames:
    repair(
        source,
        output,
        settings=RepairSettings(**settings),  # type: ignore[arg-type]
        engine=engine,
        target=OutputSettings(codec="ffv1", overwrite=True),
    )
    return decoded(output)


def test_noise_goes_and_the_picture_stays(tmp_path: Path) -> None:
    noisy, clean = tmp_path / "noisy.mkv", tmp_path / "clean.mkv"
    write_clip(noisy, frames=moving(160, 96, 20), size=(160, 96))
    write_clip(clean, frames=moving(160, 96, 20, noise=0.0), size=(160, 96))
    truth, before = decoded(clean), decoded(noisy)
    after = restore(noisy, tmp_path / "out.mkv")

    def error(frames: Frames) -> float:
        return float(
            np.mean(
                [
                    np.square(a[0] - b[0].astype(float)).mean()
                    for a, b in zip(frames, truth, strict=True)
                ]
            )
        )

    assert error(after) < error(before) / 8


def test_zero_strength_and_zero_noise_change_no_sample(tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    write_clip(source, frames=moving(120, 64, 12), size=(120, 64))
    truth = decoded(source)
    assert same(restore(source, tmp_path / "a.mkv", denoise=(0.0, 0.0)), truth)
    assert same(restore(source, tmp_path / "b.mkv", noise=(0.0, 0.0)), truth)
    changed = restore(source, tmp_path / "c.mkv", denoise=(100.0, 0.0))
    assert not same(changed, truth)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(changed, truth, strict=True))


def test_a_shot_cut_out_alone_gives_the_same_frames(tmp_path: Path) -> None:
    shots = [moving(128, 80, count, seed=seed) for seed, count in ((1, 9), (3, 70), (5, 3))]
    whole, alone = tmp_path / "whole.mkv", tmp_path / "alone.mkv"
    write_clip(alone, frames=shots[1], size=(128, 80))
    middle = restore(alone, tmp_path / "alone_out.mkv")
    shots = [moving(128, 80, count, seed=seed) for seed, count in ((1, 9), (3, 70), (5, 3))]
    write_clip(whole, frames=[frame for shot in shots for frame in shot], size=(128, 80))
    film = restore(whole, tmp_path / "whole_out.mkv")
    assert same(film[9:79], middle)
    # Lanes are two by default and one with a single thread: nobody's neighbour matters.
    assert same(restore(whole, tmp_path / "one.mkv", EngineSettings(threads=1)), film)


def test_tiles_agree_within_one_code(tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    # With the halo on both sides a window is 176: four of them cover this picture.
    write_clip(source, frames=moving(240, 224, 12), size=(240, 224))
    whole = restore(source, tmp_path / "whole.mkv")
    tiled = restore(source, tmp_path / "tiled.mkv", EngineSettings(tile=48))
    differences = [
        np.abs(a.astype(int) - b)
        for x, y in zip(tiled, whole, strict=True)
        for a, b in zip(x, y, strict=True)
    ]
    assert max(int(difference.max()) for difference in differences) <= 1


def test_a_second_run_gives_equal_bytes(tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    write_clip(source, frames=moving(96, 64, 10), size=(96, 64), extras=Extras(audio=1))
    restore(source, tmp_path / "one.mkv")
    restore(source, tmp_path / "two.mkv")
    assert (tmp_path / "one.mkv").read_bytes() == (tmp_path / "two.mkv").read_bytes()


@pytest.mark.parametrize("lengths", [[1], [2], [3], [1, 2, 3, 1], [6, 1], [9, 1, 4]])
def test_short_shots_work(tmp_path: Path, lengths: list[int]) -> None:
    """With two lanes the second shot may be done before the first frame of the first."""
    shots = [moving(160, 120, count, seed=1 + 2 * i) for i, count in enumerate(lengths)]
    source, output = tmp_path / "source.mkv", tmp_path / "out.mkv"
    write_clip(source, frames=[frame for shot in shots for frame in shot], size=(160, 120))
    with_two, ffv1 = EngineSettings(threads=2), OutputSettings(codec="ffv1")
    assert repair(source, output, engine=with_two, target=ffv1).shots == len(lengths)
    assert len(decoded(output)) == sum(lengths)


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv420p"])
@pytest.mark.parametrize("size", [(1, 1), (17, 33), (4096, 64)])
def test_unusual_sizes_work(tmp_path: Path, size: tuple[int, int], pix_fmt: str) -> None:
    source = tmp_path / "source.mkv"
    write_clip(source, frames=2, size=size, pix_fmt=pix_fmt)
    before, after = decoded(source), restore(source, tmp_path / "out.mkv")
    shapes = [[plane.shape for plane in frame] for frame in (*before, *after)]
    assert shapes == [shapes[0]] * 4
    assert shapes[0][0] == (size[1], size[0])


@pytest.mark.parametrize("pix_fmt", ["yuv422p10le", "gray16le", "gbrp10le", "yuv411p", "yuva420p"])
def test_depth_and_format_are_kept(tmp_path: Path, pix_fmt: str) -> None:
    source, output = tmp_path / "source.mkv", tmp_path / "out.mkv"
    write_clip(source, frames=4, size=(64, 48), pix_fmt=pix_fmt)
    before = decoded(source)
    restore(source, output)
    assert probe(output).picture.format.name == pix_fmt
    if pix_fmt == "yuva420p":
        after = decoded(output)
        assert all(np.array_equal(a[3], b[3]) for a, b in zip(before, after, strict=True))


def test_times_sound_and_repeats_are_kept(tmp_path: Path) -> None:
    source, output = tmp_path / "source.mkv", tmp_path / "out.mkv"
    pictures = moving(64, 48, 6)
    twice = [pictures[0], pictures[1], *moving(64, 48, 2)[1:], *pictures[2:]]
    pts = [0, 40, 80, 200, 240, 280, 320]
    write_clip(
        source,
        frames=twice,
        size=(64, 48),
        pts=pts,
        time_base=Fraction(1, 1000),
        extras=Extras(audio=1, subtitles=1),
    )
    report = repair(source, output, target=OutputSettings(codec="ffv1"))
    assert times(output) == [Fraction(p, 1000) for p in pts]
    assert (report.frames, report.repeats) == (7, 1)
    found = decoded(output)
    assert same([found[1]], [found[2]])
    assert {facts.kind for facts in probe(output).others} == {"audio", "subtitle"}


def test_frames_stops_early_with_the_frames_of_the_full_run(tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    write_clip(source, frames=moving(64, 48, 80), size=(64, 48))
    full = restore(source, tmp_path / "full.mkv")
    report = repair(source, tmp_path / "part.mkv", target=OutputSettings(codec="ffv1", frames=70))
    assert report.frames == 70
    assert same(decoded(tmp_path / "part.mkv"), full[:70])


def test_progress_counts_up_and_the_report_adds_up(tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    write_clip(source, frames=moving(64, 48, 30), size=(64, 48))
    seen: list[Progress] = []
    report = repair(source, tmp_path / "out.mkv", observer=seen.append)
    assert [state.frames for state in seen] == sorted(state.frames for state in seen)
    assert seen[0].total == report.frames == 30
    assert report.shots == 1
    assert 8 < report.noise[0] < 16
    assert set(report.stages) == {"decode", "engine", "encode"}


def test_an_observer_that_exits_ends_the_run(tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    write_clip(source, frames=moving(64, 48, 200), size=(64, 48))

    def leave(_state: Progress) -> None:
        sys.exit(9)

    with pytest.raises(SystemExit):
        repair(source, tmp_path / "out.mkv", observer=leave)
    assert [path.name for path in tmp_path.iterdir()] == ["source.mkv"]


def test_sound_that_outlasts_the_memory_for_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = tmp_path / "source.mkv", tmp_path / "out.mkv"
    write_clip(source, frames=60, extras=Extras(audio=1))

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    monkeypatch.setattr("vidrepair.encode.MOST_WAITING", 2000)
    repair(source, output)
    assert packets(output) == packets(source)


def test_recordings_put_together_keep_all_their_sound(tmp_path: Path) -> None:
    parts = []
    for number in range(2):
        parts.append(tmp_path / f"{number}.ts")
        write_clip(
            parts[-1],
            frames=25,
            codec="libx264",
            container="mpegts",
            extras=Extras(audio=1, audio_codec="mp2"),
        )
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    report = repair(tmp_path / "both.ts", tmp_path / "out.mkv")
    assert report.frames == 50
    assert report.damage.repaired_pts > 0
    assert not report.warnings

    def sounds(path: Path) -> int:
        with av.open(str(path)) as opened:
            return sum(packet.size > 0 for packet in opened.demux(audio=0))

    assert sounds(tmp_path / "out.mkv") == sum(map(sounds, parts))


def test_times_that_y4m_cannot_hold_are_named(tmp_path: Path) -> None:
    pts = [0, 40, 160, 200, 203, 400]
    write_clip(tmp_path / "in.mkv", frames=6, pts=pts, time_base=Fraction(1, 1000))
    report = repair(
        tmp_path / "in.mkv", tmp_path / "out.y4m", settings=RepairSettings(denoise=(0.0, 0.0))
    )
    assert any("irregular" in warning for warning in report.warnings)


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    source, output = tmp_path / "source.mkv", tmp_path / "out.mkv"
    write_clip(source, frames=2)
    output.write_bytes(b"mine")
    with pytest.raises(UsageError, match="-y"):
        repair(source, output)
    assert output.read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mkv", "source.mkv"]


@pytest.mark.parametrize(
    ("settings", "target", "most"),
    [
        # A whole span with its warm-up; then what the frames that fade into the next one need.
        ({}, {"frames": 70, "segment": 32}, 2 * (64 + 8) + 8 + 4),
        ({}, {"end": 2.8, "segment": 32}, 2 * (64 + 8) + 8 + 4),
        ({}, {"frames": 20, "journal": False}, (64 + 8) + 8 + 4),
        ({}, {"end": 2.8, "journal": False}, 2 * (64 + 8) + 8 + 4),
        ({"deflicker": 50.0}, {"frames": 20, "journal": False}, (64 + 8) + 8 + 4),
        ({"interlace": "fields"}, {"frames": 20, "journal": False}, 2 * ((64 + 8) + 8 + 4)),
    ],
    ids=["segments", "to, segments", "frames", "to", "flicker", "fields"],
)
def test_what_lies_behind_a_part_is_not_computed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    target: dict[str, object],
    most: int,
) -> None:
    source, out = tmp_path / "source.mkv", tmp_path / "out.mkv"
    write_clip(source, frames=moving(64, 48, 500), size=(64, 48))
    asked = RepairSettings(**settings)  # type: ignore[arg-type]
    whole = OutputSettings(codec="ffv1")
    repair(source, tmp_path / "whole.mkv", settings=asked, target=whole)
    computed, segments = 0, 0
    listen, take = Tally.listen, SegmentedTarget.write

    def counted(tally: Tally, answers: Iterable[Answer]) -> Iterator[Answer]:
        nonlocal computed
        for answer in listen(tally, answers):
            computed += 1
            yield answer

    def written(one: SegmentedTarget, frame: Frame) -> None:
        nonlocal segments
        segments += 1
        take(one, frame)

    monkeypatch.setattr(Tally, "listen", counted)
    monkeypatch.setattr(SegmentedTarget, "write", written)
    end = Fraction(str(target.pop("end"))) if "end" in target else None
    part = replace(whole, **target)  # type: ignore[arg-type]
    reading = SourceSettings(end=end)
    repair(source, out, settings=asked, target=part, reading=reading)
    frames = part.frames or 70
    assert computed <= most
    assert segments == (frames if part.journal else 0)
    assert same(decoded(out), decoded(tmp_path / "whole.mkv")[:frames])


def test_a_part_before_a_long_freeze_is_that_of_the_whole(tmp_path: Path) -> None:
    """What fades into its end may lie far behind, and its noise is measured over all of it."""
    source, out = tmp_path / "source.mkv", tmp_path / "out.mkv"
    frames = moving(64, 48, 110)
    write_clip(source, frames=[*frames[:10], *[frames[10]] * 400, *frames[11:]], size=(64, 48))
    whole = restore(source, tmp_path / "whole.mkv")
    target = OutputSettings(codec="ffv1", frames=30)
    repair(source, out, target=target)
    assert same(decoded(out), whole[:30])


def test_sound_far_behind_its_picture_goes_with_a_part(tmp_path: Path) -> None:
    source, late, out = (tmp_path / name for name in ("source.mkv", "late.mkv", "out.mkv"))
    write_clip(source, frames=400, size=(32, 32), extras=Extras(audio=1))
    with av.open(str(source)) as opened:
        packets = [packet for packet in opened.demux() if packet.size]
        picture, sound = ([p for p in packets if p.stream_index == n] for n in (0, 1))
        with av.open(str(late), "w") as made:
            streams = [made.add_stream_from_template(one) for one in opened.streams]
            # All sound behind all of the picture, as bad muxers leave it.
            for packet in (*picture, *sound):
                packet.stream = streams[packet.stream_index]
                made.mux_one(packet)
    for journal in (False, True):
        target = OutputSettings(codec="ffv1", overwrite=True, journal=journal, segment=16)
        repair(late, out, target=target, reading=SourceSettings(end=Fraction(4)))
        with av.open(str(out)) as opened:
            found = [packet.pts for packet in opened.demux(audio=0) if packet.size]
        assert float(max(found)) / 1000 == pytest.approx(4.0, abs=0.05)


def test_a_pipe_that_is_not_read_to_its_end_is_not_damaged(tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    words = ["run", "-", "-o", str(out), "--frames", "10", "--denoise", "0", "--repair", "none"]
    with subprocess.Popen(
        [sys.executable, "-m", "vidrepair", *words],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as done:
        assert done.stdin is not None
        done.stdin.write(b"YUV4MPEG2 W64 H48 F25:1 C420\n")
        with suppress(BrokenPipeError):
            for _ in range(3000):
                done.stdin.write(b"FRAME\n" + bytes(64 * 48 * 3 // 2))
        with suppress(BrokenPipeError):
            done.stdin.close()
        assert done.stderr is not None
        told = done.stderr.read().decode()
    assert done.returncode == 0, told
    assert "damage" not in told
    assert len(decoded(out)) == 10


def test_a_trial_reads_nothing_behind_its_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "source.mkv", tmp_path / "out.mkv"
    write_clip(source, frames=100, size=(32, 32), extras=Extras(audio=1))
    asked: list[float] = []
    beside = Source.read_beside

    def read(one: Source, until: float) -> Iterator[Copied]:
        asked.append(until)
        return beside(one, until)

    monkeypatch.setattr(Source, "read_beside", read)
    target = OutputSettings(codec="ffv1", journal=False, overwrite=True)
    job = Job(source, out, target=target, reading=SourceSettings(end=Fraction(1)))
    run_job(replace(job, trial=True))
    assert not asked
    run_job(job)
    assert asked == [1.0]
    assert len(decoded(out)) == 25
