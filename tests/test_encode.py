"""encode: identity end to end, the plan by source, tags and times kept, nothing half-done named."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import Extras, picture, png, read_frames, samples_of, write_clip, y4m
from passing import pass_through

from vidrepair.carried import Carried
from vidrepair.decode import open_source
from vidrepair.encode import open_target, plan_output
from vidrepair.errors import CannotCarry, UsageError, VidrepairError
from vidrepair.frames import Frame
from vidrepair.settings import OutputSettings
from vidrepair.streams import plan_copies

CALL = "from passing import pass_through; from pathlib import Path; import sys; pass_through({})"


def in_a_process(call: str, **streams: Any) -> subprocess.Popen[bytes]:
    """Run a pass in a Python of its own."""
    code = f"import sys; sys.path[:0] = {sys.path!r}\n" + CALL.format(call)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, **streams)


def assert_equal_frames(first: Path, second: Path) -> None:
    """Bit for bit, in the format of each file, and at the same times."""
    ours, theirs = read_frames(first), read_frames(second)
    assert len(ours) == len(theirs) > 0
    for own, other in zip(ours, theirs, strict=True):
        assert own.format.name == other.format.name
        assert own.pts * own.time_base == other.pts * other.time_base
        for plane, same in zip(samples_of(own), samples_of(other), strict=True):
            np.testing.assert_array_equal(plane, same)


@pytest.mark.parametrize(
    "pix_fmt",
    [
        *("yuv420p", "yuv422p10le", "yuv444p16le", "gray", "gray12le", "gbrp10le", "gbrp16le"),
        *("yuv411p", "yuv410p", "yuva420p", "yuva444p10le", "gbrap12le"),
    ],
)
@pytest.mark.parametrize("changed", [False, True])
def test_ffv1_gives_back_every_sample_and_time(tmp_path: Path, pix_fmt: str, changed: bool) -> None:
    """Both ways: planes that are still the carrier's, and planes that are new."""
    source, output = tmp_path / "a.mkv", tmp_path / "b.mkv"
    write_clip(source, frames=5, size=(40, 24), pix_fmt=pix_fmt, pts=[0, 1, 2, 5, 9])

    def change(frame: Frame) -> Frame:
        return replace(frame, planes=tuple(plane.copy() for plane in frame.planes))

    passed = pass_through(source, output, change=change if changed else lambda frame: frame)
    assert (passed.plan.codec, passed.plan.pix_fmt) == ("ffv1", pix_fmt)
    assert_equal_frames(source, output)


def test_formats_that_old_readers_do_not_know_are_told(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    write_clip(source, frames=2, size=(40, 24), pix_fmt="yuva444p12le")
    passed = pass_through(source, tmp_path / "b.mkv")
    assert any("FFmpeg up to 5.1 does not read it" in one for one in passed.plan.warnings)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        *(("png", "rgb24", "mov"), ("png", "pal8", "mov"), ("png", "rgba", "mov")),
        *(("png", "rgb48be", "mov"), ("png", "gray16be", "mov"), ("png", "ya8", "mov")),
        *(("rawvideo", "nv12", "nut"), ("rawvideo", "yuyv422", "nut"), ("utvideo", "gbrp", "avi")),
        *(
            ("rawvideo", "p010le", "nut"),
            ("rawvideo", "bgr24", "avi"),
            ("rawvideo", "monow", "nut"),
        ),
    ],
)
def test_packed_formats_survive(tmp_path: Path, codec: str, pix_fmt: str, suffix: str) -> None:
    source, output = tmp_path / f"a.{suffix}", tmp_path / "b.mkv"
    frames = []
    for number in range(3):
        frame: Any = av.VideoFrame(32, 16, pix_fmt)
        for plane in frame.planes:
            ramp = (np.arange(plane.buffer_size) * 7 + number) % 251
            plane.update(ramp.astype(np.uint8).tobytes())
        if pix_fmt == "pal8":
            np.frombuffer(frame.planes[1], "u1")[3::4] = 255
        frames.append(frame)
    write_clip(source, frames=frames, size=(32, 16), pix_fmt=pix_fmt, codec=codec)
    passed = pass_through(source, output)
    assert passed.clip.lossless
    work = passed.clip.picture.format.name
    with open_source(source) as before, open_source(output) as after:
        pairs = zip(before.read(), after.read(), strict=True)
        for own, other in pairs:
            assert isinstance(own, Frame)
            assert isinstance(other, Frame)
            assert other.picture.format.name == work
            assert own.seconds == other.seconds
            for plane, same in zip(own.planes, other.planes, strict=True):
                np.testing.assert_array_equal(plane, same)


@pytest.mark.parametrize("kind", ["rgb24", "pal8", "rgba", "gray"])
def test_single_pictures_pass(tmp_path: Path, kind: str) -> None:
    (tmp_path / "img%03d.png").write_bytes(png(kind))
    passed = pass_through(tmp_path / "img%03d.png", tmp_path / "b.mkv")
    assert passed.frames == 1
    assert len(read_frames(tmp_path / "b.mkv")) == 1


def test_gif_passes(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.gif", frames=4, pix_fmt="gray", codec="gif", container="gif")
    passed = pass_through(tmp_path / "a.gif", tmp_path / "b.mkv")
    assert passed.plan.pix_fmt == "bgra"
    assert passed.frames == 4


def test_new_samples_are_written_and_the_source_frames_stay_untouched(tmp_path: Path) -> None:
    """A decoder's frames are shared; writing into them would spoil those that follow."""
    source, output = tmp_path / "a.mp4", tmp_path / "b.mkv"
    write_clip(source, frames=10, codec="libx264", options={"bf": "0"})
    with open_source(source) as opened:
        truth = [f.planes[0].copy() for f in opened.read() if isinstance(f, Frame)]
    kept: list[Frame] = []

    def invert(frame: Frame) -> Frame:
        kept.append(frame)
        np.testing.assert_array_equal(frame.planes[0], truth[frame.number])
        return replace(frame, planes=(255 - frame.planes[0], *frame.planes[1:]))

    pass_through(source, output, OutputSettings(codec="ffv1"), change=invert)
    for frame, expected, written in zip(kept, truth, read_frames(output), strict=True):
        np.testing.assert_array_equal(frame.planes[0], expected)
        np.testing.assert_array_equal(samples_of(written)[0], 255 - expected)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "size", "wanted"),
    [
        ("libx264", "yuv420p", (64, 48), "libx264"),
        ("libx264", "yuv422p10le", (64, 48), "libx264"),
        ("libx265", "yuv420p10le", (64, 64), "libx265"),
        ("mpeg4", "yuv420p", (64, 48), "libx264"),
        ("prores_ks", "yuv422p10le", (64, 48), "libx265"),
        ("mjpeg", "yuvj420p", (64, 48), "libx264"),
        ("mjpeg", "yuvj422p", (17, 33), "ffv1"),
        ("ffv1", "yuv420p", (64, 48), "ffv1"),
        ("huffyuv", "yuv422p", (64, 48), "ffv1"),
        ("libx264", "yuv444p", (17, 33), "libx264"),
        ("libx265", "gbrp", (64, 64), "libx265"),
        ("mpeg4", "yuv420p", (17, 33), "ffv1"),
        ("mjpeg", "yuvj420p", (1, 1), "ffv1"),
        ("mpeg4", "yuv420p", (4096, 64), "libx264"),
    ],
)
def test_the_source_decides_codec_and_depth(
    tmp_path: Path, codec: str, pix_fmt: str, size: tuple[int, int], wanted: str
) -> None:
    suffix = {"ffv1": "mkv", "huffyuv": "avi", "mjpeg": "avi"}.get(codec, "mov")
    source = tmp_path / f"a.{suffix}"
    write_clip(source, frames=4, size=size, codec=codec, pix_fmt=pix_fmt)
    passed = pass_through(source, tmp_path / "b.mkv")
    assert passed.plan.codec == wanted
    before, after = read_frames(source), read_frames(tmp_path / "b.mkv")
    assert [(f.width, f.height) for f in after] == [size] * 4
    assert after[0].format.components[0].bits == before[0].format.components[0].bits


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_colour_shape_and_rotation_are_kept(tmp_path: Path, codec: str, suffix: str) -> None:
    source, output = tmp_path / "a.mp4", tmp_path / f"b.{suffix}"
    colours = {"color_range": 1, "color_primaries": 5, "color_trc": 6, "colorspace": 5}
    write_clip(
        source,
        size=(64, 64),
        codec="libx264",
        sample_aspect_ratio=Fraction(16, 15),
        display_rotation=90,
        **colours,
    )
    passed = pass_through(source, output, OutputSettings(codec=codec))
    with open_source(output) as opened:
        clip = opened.clip
    assert clip.sar == Fraction(16, 15)
    assert (clip.color_range, clip.color_primaries, clip.color_transfer, clip.color_matrix) == (
        *(1, 5, 6, 5),
    )
    assert clip.display_matrix == passed.clip.display_matrix is not None
    assert not passed.plan.warnings


def test_full_range_stays_full(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p")
    for name in ("b.mp4", "c.mkv"):
        settings = OutputSettings(codec="ffv1") if name == "c.mkv" else OutputSettings(crf=0)
        pass_through(tmp_path / "a.avi", tmp_path / name, settings)
        with open_source(tmp_path / name) as opened, open_source(tmp_path / "a.avi") as before:
            assert opened.clip.picture.full_range
            for own, other in zip(before.read(), opened.read(), strict=True):
                assert isinstance(own, Frame)
                assert isinstance(other, Frame)
                np.testing.assert_array_equal(own.planes[0], other.planes[0])


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        *(("mp4", "h264"), ("mov", "h264"), ("mkv", "h264")),
        *(("mp4", "hevc"), ("mov", "hevc"), ("mkv", "hevc")),
        *(("mp4", "ffv1"), ("mkv", "ffv1")),
    ],
)
def test_variable_times_and_durations_are_kept(tmp_path: Path, suffix: str, codec: str) -> None:
    pts = [0, 1001, 2002, 5005, 6006, 7007, 12012, 13013]
    source, output = tmp_path / "a.mp4", tmp_path / f"b.{suffix}"
    rate, base = Fraction(30000, 1001), Fraction(1, 30000)
    write_clip(source, frames=8, size=(64, 64), codec="libx264", pts=pts, time_base=base, rate=rate)
    pass_through(source, output, OutputSettings(codec=codec))
    frames = read_frames(output)
    seconds = [float(frame.pts * frame.time_base) for frame in frames]
    # Matroska rounds to milliseconds.
    rounding = 5.1e-4 if suffix == "mkv" else 1e-9
    np.testing.assert_allclose(seconds, [p / 30000 for p in pts], atol=rounding)
    if codec == "ffv1" and suffix == "mp4":  # with B-frames, MP4's durations are those of coding
        ends = [float((frame.pts + frame.duration) * frame.time_base) for frame in frames]
        np.testing.assert_allclose(ends[:-1], seconds[1:], atol=1e-9)
        np.testing.assert_allclose(ends[-1] - seconds[-1], 1001 / 30000, atol=1e-9)


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("frames", [47, 48, 49])
def test_a_constant_rate_stays_one(tmp_path: Path, suffix: str, frames: int) -> None:
    """The packet that is coded last is no longer than the others, whenever it is shown."""
    source, output = tmp_path / "a.mov", tmp_path / f"b.{suffix}"
    rate = Fraction(24000, 1001)
    write_clip(source, frames=frames, size=(64, 64), codec="libx264", rate=rate)
    pass_through(source, output)
    with av.open(str(output)) as film:
        stream = film.streams.video[0]
        assert stream.average_rate == rate
        assert stream.duration * stream.time_base == frames / rate


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_times_before_zero_lose_no_frame(tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / "a.ts", tmp_path / f"b.{suffix}"
    pts = [2**33 - 90000 + 3600 * number for number in range(50)]  # the clock of TS wraps
    unit = Fraction(1, 90000)
    options = {"bf": "0"}
    write_clip(source, frames=50, codec="libx264", options=options, pts=pts, time_base=unit)
    passed = pass_through(source, output)
    assert passed.clip.video_start == -1
    frames = read_frames(output)
    assert len(frames) == passed.frames == 50
    assert frames[0].pts == 0


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_the_shortest_films_pass(tmp_path: Path, frames: int, codec: str) -> None:
    write_clip(tmp_path / "a.mp4", frames=frames, size=(64, 64), codec="libx264")
    # x265's dts of one and two frames are what happens to lie in memory: once proves nothing.
    for number in range(5):
        output = tmp_path / f"{number}.mp4"
        passed = pass_through(tmp_path / "a.mp4", output, OutputSettings(codec=codec))
        assert [frame.pts * 25 * frame.time_base for frame in read_frames(output)] == [
            *range(frames)
        ]
        assert passed.frames == frames


@pytest.mark.parametrize(
    ("codec", "form"), [("h264", "yuv420p"), ("h264", "yuv420p10le"), ("h264", "yuv444p10le")]
)
def test_crf_zero_is_lossless(tmp_path: Path, codec: str, form: str) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / "b.mkv"
    write_clip(source, frames=4, size=(64, 64), pix_fmt=form)
    pass_through(source, output, OutputSettings(codec=codec, crf=0))
    for own, other in zip(read_frames(source), read_frames(output), strict=True):
        for plane, same in zip(samples_of(own), samples_of(other), strict=True):
            np.testing.assert_array_equal(plane, same)


def test_names_of_all_kinds_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-dash.mkv", "a:b.mkv", "with space ö 片.mkv", "50%d.mkv", "x" * 240 + ".mkv"):
        write_clip(tmp_path / name, frames=2)
        pass_through(Path(name), Path(f"out {name}" if len(name) < 99 else f"y{name[1:]}"))
    assert (tmp_path / "out -dash.mkv").stat().st_size
    assert (tmp_path / "out a:b.mkv").stat().st_size
    assert not list(tmp_path.glob(".*part"))


def test_frames_cuts_the_sound_with_the_picture(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=50, extras=Extras(audio=1))
    pass_through(tmp_path / "a.mkv", tmp_path / "b.mkv", OutputSettings(frames=10))
    with av.open(str(tmp_path / "b.mkv")) as output:
        ends = [float(p.pts * p.time_base) for p in output.demux(output.streams.audio[0]) if p.size]
    assert len(read_frames(tmp_path / "b.mkv")) == 10
    assert 0.3 < max(ends) < 0.41


# What is asked for and cannot be done.


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (OutputSettings(codec="vp10"), "vp10 is unknown; use av1, dnxhr, ffv1, h264, hevc, prores"),
        (OutputSettings(crf=52), "--crf 52 is out of range for h264; use 0"),
        (OutputSettings(crf=-1), "--crf -1 is out of range"),
        (OutputSettings(codec="hevc", crf=0), "crf 0 is not lossless with hevc; use --codec ffv1"),
        (OutputSettings(codec="ffv1", crf=10), "--crf 10.* no meaning for ffv1"),
        (OutputSettings(codec="ffv1", preset="fast"), "--preset fast has no meaning"),
        (OutputSettings(codec="ffv1", crf=20.0), "--crf 20 has no meaning"),
        (OutputSettings(preset="quick"), "quick is unknown; use ultrafast, "),
        (OutputSettings(pix_fmt="yuv444p"), "conversion is not offered yet; use --pix-fmt yuv420p"),
    ],
)
def test_impossible_settings_name_what_is_possible(
    tmp_path: Path, settings: OutputSettings, said: str
) -> None:
    write_clip(tmp_path / "a.mp4", frames=2, codec="libx264")
    with pytest.raises(UsageError, match=said):
        pass_through(tmp_path / "a.mp4", tmp_path / "b.mkv", settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


def test_equal_pix_fmt_is_accepted(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames=2, codec="libx264")
    assert pass_through(tmp_path / "a.mp4", tmp_path / "b.mkv", OutputSettings(pix_fmt="yuv420p"))


@pytest.mark.parametrize(
    ("form", "size", "codec", "name", "said"),
    [
        ("yuv420p", (64, 48), None, "b.mp4", "lossless .*--codec h264"),
        ("yuv420p", (64, 48), "ffv1", "b.mov", "ffv1 does not go into mov; write an .mkv"),
        ("yuv420p", (17, 33), "h264", "b.mkv", "h264 cannot hold .*17x33"),
        ("yuv411p", (64, 48), "hevc", "b.mkv", "has no yuv411p.*--codec ffv1"),
        ("yuv420p", (64, 48), None, "b.avi", "use .mkv, .mp4, .mov or .webm"),
        ("gbrp10le", (64, 48), None, "b.y4m", "y4m cannot hold gbrp10le"),
    ],
)
def test_what_a_target_cannot_hold_is_refused_first(
    tmp_path: Path, form: str, size: tuple[int, int], codec: str | None, name: str, said: str
) -> None:
    write_clip(tmp_path / "a.mkv", frames=2, size=size, pix_fmt=form)
    with pytest.raises(UsageError, match=said):
        pass_through(tmp_path / "a.mkv", tmp_path / name, OutputSettings(codec=codec))


def test_ffv1_in_mp4_only_if_asked_for(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=2)
    with pytest.raises(CannotCarry):
        pass_through(tmp_path / "a.mkv", tmp_path / "b.mp4")
    pass_through(tmp_path / "a.mkv", tmp_path / "b.mp4", OutputSettings(codec="ffv1"))
    assert_equal_frames(tmp_path / "a.mkv", tmp_path / "b.mp4")


def test_the_shape_is_kept_by_ffv1_in_matroska(tmp_path: Path) -> None:
    """FFmpeg's muxer looks for it where PyAV puts nothing: it comes into the finished file."""
    write_clip(tmp_path / "a.mp4", codec="libx264", sample_aspect_ratio=Fraction(16, 15))
    passed = pass_through(tmp_path / "a.mp4", tmp_path / "b.mkv", OutputSettings(codec="ffv1"))
    assert not passed.plan.warnings
    with open_source(tmp_path / "b.mkv") as opened:
        assert opened.clip.sar == Fraction(16, 15)


def test_hdr_metadata_without_values_are_refused_by_name(tmp_path: Path) -> None:
    colours = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    options = {"x265-params": f"log-level=none:master-display={colours}:max-cll=1000,400:hdr10=1"}
    form = "yuv420p10le"
    source = tmp_path / "a.mkv"
    write_clip(source, size=(64, 64), codec="libx265", pix_fmt=form, options=options)
    with open_source(source) as opened:
        plan = partial(plan_output, opened.clip, tmp_path / "b.mkv")
        with pytest.raises(CannotCarry, match=r"HDR10 mastering display .*--allow-loss hdr10$"):
            plan(OutputSettings(), Carried())
        told = plan(OutputSettings(allow_loss=frozenset({"hdr10"})), Carried())
        assert told.lost == {"hdr10"}


# Where the writing goes wrong.


def test_errors_leave_no_file_behind(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=30)

    def fail(frame: Frame) -> Frame:
        if frame.number == 20:
            raise ZeroDivisionError
        return frame

    with pytest.raises(ZeroDivisionError):
        pass_through(tmp_path / "a.mkv", tmp_path / "b.mkv", change=fail)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv"]


def test_an_old_output_survives_a_failure(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=30)
    (tmp_path / "b.mkv").write_text("precious")

    def fail(frame: Frame) -> Frame:
        raise ZeroDivisionError(frame.number)

    with pytest.raises(ZeroDivisionError):
        pass_through(tmp_path / "a.mkv", tmp_path / "b.mkv", OutputSettings(overwrite=True), fail)
    assert (tmp_path / "b.mkv").read_text() == "precious"


def test_no_frame_no_file(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    with open_source(tmp_path / "a.mkv") as source:
        plan = plan_output(source.clip, tmp_path / "b.mkv", OutputSettings())
        with (
            open_target(source.clip, plan, tmp_path / "b.mkv") as target,
            pytest.raises(VidrepairError, match="no frame was written"),
        ):
            target.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv"]


def test_a_rejected_file_replaces_nothing(tmp_path: Path) -> None:
    """Not even the source, which may have the very name."""
    path, out = tmp_path / "b.failed.mkv", tmp_path / "b.mkv"
    write_clip(path, frames=2)
    before = path.read_bytes()
    kept = []
    for _ in range(2):
        with open_source(path) as source:
            plan = plan_output(source.clip, out, OutputSettings())
            with open_target(source.clip, plan, out) as target:
                for item in source.read():
                    assert isinstance(item, Frame)
                    target.write(item)
                target.end()
                kept.append(target.reject())
    assert kept == [tmp_path / "b.failed-2.mkv", tmp_path / "b.failed-3.mkv"]
    assert path.read_bytes() == before
    assert [len(read_frames(one)) for one in kept if one] == [2, 2]
    assert sorted(tmp_path.iterdir()) == sorted([path, *kept])


def test_cancelling_ends_the_writing(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=60, codec="libx264")
    with open_source(tmp_path / "a.mkv") as source:
        clip = source.clip
        plan = plan_output(clip, tmp_path / "b.mkv", OutputSettings())
        copies = plan_copies(source.container, clip, plan.container, source.covers)
        with open_target(clip, plan, tmp_path / "b.mkv", copies) as target:
            for item in source.read():
                if isinstance(item, Frame):
                    target.write(item)
            target.cancel()
            with pytest.raises(VidrepairError, match="cancelled"):
                target.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv"]


def test_a_full_disk_is_said_in_one_sentence(tmp_path: Path) -> None:
    """The largest file that the process may write is limited, which the system enforces."""
    write_clip(tmp_path / "a.mkv", frames=60, size=(320, 240))
    limit = "[__import__('resource').setrlimit(1, (200000, 200000)), Path('a.mkv')][1]"
    process = in_a_process(f"{limit}, Path('b.mkv')", cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    last = errors.decode().strip().splitlines()[-1]
    assert process.returncode == 1
    assert last.startswith("vidrepair.errors.VidrepairError: no space left for b.mkv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_device_behind_the_pipe(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=30)
    with Path("/dev/full").open("wb") as full:
        process = in_a_process("Path('a.mkv'), None", cwd=tmp_path, stdout=full)
        _, errors = process.communicate(timeout=60)
    assert "VidrepairError: no space left for standard output" in errors.decode()


def test_a_reader_that_leaves_early(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=60, size=(320, 240))
    process = in_a_process("Path('a.mkv'), None", cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1000)
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) == 1
    assert "VidrepairError: standard output was closed by its reader" in errors
    assert "Exception ignored" not in errors


# Pipes.


@pytest.mark.parametrize(
    ("form", "tag"),
    [
        *(("yuv420p", "420jpeg"), ("yuv422p10le", "422p10 XYSCSS=422P10"), ("yuv444p", "444")),
        *(("yuv420p16le", "420p16 XYSCSS=420P16"), ("gray", "mono"), ("yuv411p", "411")),
        *(("gray16le", "mono16 XYSCSS=MONO16"),),
    ],
)
def test_y4m_goes_through_unchanged(form: str, tag: str) -> None:
    frames = [picture(form, 48, 32, number) for number in range(5)]
    stream = y4m(frames, rate="30000:1001", tag=tag)
    process = in_a_process("None, None", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, errors = process.communicate(stream, timeout=60)
    assert process.returncode == 0, errors.decode()
    header, body = out.split(b"\n", 1)
    assert header.startswith(b"YUV4MPEG2 W48 H32 F30000:1001 Ip")
    assert body == stream.split(b"\n", 1)[1]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_film_that_says_it_is_rgb_and_is_not_becomes_no_rgb(tmp_path: Path, codec: str) -> None:
    source = tmp_path / "a.mkv"
    write_clip(source, frames=2, pix_fmt="yuv444p", colorspace=0)
    with pytest.raises(
        CannotCarry, match=rf"{codec} of that is read as R'G'B'\); use --codec ffv1"
    ):
        pass_through(source, tmp_path / "b.mkv", OutputSettings(codec=codec))
    pass_through(source, tmp_path / "c.mkv")


def test_y4m_into_a_file_and_out_again(tmp_path: Path) -> None:
    frames = [picture("yuv420p", 48, 32, number) for number in range(5)]
    process = in_a_process("None, Path('a.mkv')", cwd=tmp_path, stdin=subprocess.PIPE)
    process.communicate(y4m(frames), timeout=60)
    pass_through(tmp_path / "a.mkv", tmp_path / "b.y4m")
    for own, truth in zip(read_frames(tmp_path / "b.y4m"), frames, strict=True):
        np.testing.assert_array_equal(samples_of(own)[0], samples_of(truth)[0])


def test_what_is_no_y4m_is_refused_on_the_pipe() -> None:
    process = in_a_process("None, None", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    _, errors = process.communicate(b"hello world\n" * 99, timeout=60)
    assert "InputError: standard input cannot be read as a y4m stream" in errors.decode()


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("start", [12345, 90001])
def test_a_start_between_milliseconds_is_exact(tmp_path: Path, suffix: str, start: int) -> None:
    """Edit lists say where a stream starts, by default in milliseconds."""
    source, output = tmp_path / "a.ts", tmp_path / f"b.{suffix}"
    pts = [start + 3600 * number for number in range(12)]
    unit = Fraction(1, 90000)
    write_clip(source, codec="libx264", pts=pts, time_base=unit, extras=Extras(audio=1))
    pass_through(source, output)
    times = [frame.pts * frame.time_base for frame in read_frames(source)]
    assert [frame.pts * frame.time_base for frame in read_frames(output)] == times
    assert times[0] % Fraction(1, 1000)
