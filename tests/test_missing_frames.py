"""Dropped frames and ruined packets through the whole pipe: as many frames, at their times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from clips import moving, read_frames, samples_of, write_clip

from vidrepair import OutputSettings, RepairSettings, repair
from vidrepair.decode import open_source
from vidrepair.frames import Frame

SIZE = (192, 128)
COUNT = 30
DROPPED = (11, 12, 13)
LOSSLESS = OutputSettings(codec="ffv1", overwrite=True)
KEEP = RepairSettings(denoise=(0.0, 0.0))


def lumas(path: Path) -> list[np.ndarray]:
    return [samples_of(frame)[0].astype(np.float64) for frame in read_frames(path)]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10.0 * np.log10(255.0**2 / np.mean((one - other) ** 2)))


@pytest.fixture(scope="module")
def clean() -> list[av.VideoFrame]:
    return moving(*SIZE, COUNT, noise=1.0)


def test_dropped_frames_are_made_where_the_times_lack_them(
    clean: list[av.VideoFrame], tmp_path: Path
) -> None:
    left = [number for number in range(COUNT) if number not in DROPPED]
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    write_clip(source, frames=[clean[n] for n in left], size=SIZE, pts=left)
    settings = RepairSettings(denoise=(0.0, 0.0), fill_gaps=True)
    report = repair(source, out, settings=settings, target=LOSSLESS)
    assert (report.frames, report.rebuilt) == (COUNT, len(DROPPED))
    made = read_frames(out)
    assert [round(float(frame.pts * frame.time_base) * 25) for frame in made] == list(range(COUNT))
    truth = [samples_of(frame)[0].astype(np.float64) for frame in clean]
    shown = lumas(out)
    for number in DROPPED:
        assert psnr(shown[number], truth[number]) > 6.0 + psnr(truth[10], truth[number])


def test_without_being_asked_a_gap_is_named_and_stays(
    clean: list[av.VideoFrame], tmp_path: Path
) -> None:
    left = [number for number in range(COUNT) if number not in DROPPED]
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    write_clip(source, frames=[clean[n] for n in left], size=SIZE, pts=left)
    report = repair(source, out, settings=KEEP, target=LOSSLESS)
    assert (report.frames, report.rebuilt) == (len(left), 0)
    assert any("3 after frame 10" in warning for warning in report.warnings)


def test_frames_that_are_named_are_made_anew(clean: list[av.VideoFrame], tmp_path: Path) -> None:
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    frames = list(clean)
    frames[7] = moving(*SIZE, 1, seed=3)[0]
    write_clip(source, frames=frames, size=SIZE)
    settings = RepairSettings(denoise=(0.0, 0.0), bad_frames=(range(7, 8),))
    report = repair(source, out, settings=settings, target=LOSSLESS)
    assert (report.frames, report.rebuilt) == (COUNT, 1)
    truth, shown = samples_of(clean[7])[0].astype(np.float64), lumas(out)
    assert psnr(shown[7], truth) > 6.0 + psnr(lumas(source)[6], truth)
    early = replace(LOSSLESS, frames=7, overwrite=True)
    report = repair(source, out, settings=settings, target=early)
    assert report.warnings == ("--bad-frames names frame 7, and --frames 7 ends before it",)


def ruin(source: Path, out: Path, number: int) -> None:
    """Copy a film with the middle of one packet overwritten."""
    with av.open(str(source)) as given, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(given.streams.video[0])
        for index, packet in enumerate(given.demux(video=0)):
            if packet.dts is None:
                continue
            data = bytearray(bytes(packet))
            if index == number:
                third = len(data) // 3
                data[third : 2 * third] = bytes(third)
            fresh = av.Packet(bytes(data))
            fresh.pts, fresh.dts, fresh.time_base = packet.pts, packet.dts, packet.time_base
            fresh.is_keyframe, fresh.stream = packet.is_keyframe, stream
            target.mux(fresh)


def test_ruined_packets_cost_no_frame_and_are_mended(
    clean: list[av.VideoFrame], tmp_path: Path
) -> None:
    whole, source, out = (tmp_path / name for name in ("whole.mkv", "in.mkv", "out.mkv"))
    options = {"crf": "12", "preset": "veryfast", "x264-params": "bframes=0:slices=4:keyint=60"}
    write_clip(whole, frames=clean, size=SIZE, codec="libx264", options=options)
    ruin(whole, source, 15)
    settings = RepairSettings(denoise=(0.0, 0.0), fill_gaps=True)
    report = repair(source, out, settings=settings, target=LOSSLESS)
    assert report.frames == COUNT
    assert report.rebuilt > 0
    truth, now = lumas(whole), lumas(out)
    # The decoder drops the frame, and shows those after it as far as they hang on it.
    assert psnr(now[15], truth[15]) > 3.0 + psnr(truth[14], truth[15])
    with open_source(source) as opened:
        was = {
            round(25 * frame.seconds): frame.planes[0].astype(np.float64)
            for frame in opened.read()
            if isinstance(frame, Frame)
        }
    for number in range(16, COUNT):
        assert psnr(now[number], truth[number]) > psnr(was[number], truth[number]) - 0.5
