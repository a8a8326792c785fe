"""What goes into which codec and container, and what of the picture's facts comes out again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import Extras, picture, read_frames, samples_of, write_clip, y4m

from vidrepair import losses
from vidrepair.api import repair
from vidrepair.carried import Carried, read_carried
from vidrepair.decode import open_source
from vidrepair.encode import OutputPlan, open_target, plan_output
from vidrepair.errors import CannotCarry, UsageError
from vidrepair.expectation import Made, loss_name
from vidrepair.frames import Frame
from vidrepair.hdr import Hdr10, LightLevel, MasteringDisplay, read_hdr
from vidrepair.headers import Header, complete
from vidrepair.settings import DamageSettings, Interlace, OutputSettings, RepairSettings
from vidrepair.streams import plan_copies
from vidrepair.tags import Clip
from vidrepair.verification import check_files

SIZE = (256, 128)
"""The least that DNxHR takes."""
DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
HDR_PARAMS = f"log-level=none:master-display={DISPLAY}:max-cll=1000,400:hdr10=1"


def at(x: int, y: int) -> tuple[Fraction, Fraction]:
    return Fraction(x, 50000), Fraction(y, 50000)


HDR = Hdr10(
    MasteringDisplay(
        *(at(34000, 16000), at(13250, 34500), at(7500, 3000), at(15635, 16450)),
        least=Fraction(1, 10000),
        most=Fraction(1000),
    ),
    LightLevel(1000, 400),
)
PAIRS = [
    *(("h264", "mkv"), ("h264", "mp4"), ("h264", "mov")),
    *(("hevc", "mkv"), ("hevc", "mp4"), ("hevc", "mov")),
    *(("av1", "mkv"), ("av1", "mp4"), ("av1", "webm")),
    *(("ffv1", "mkv"), ("ffv1", "mp4")),
    *(("prores", "mov"), ("prores", "mkv"), ("dnxhr", "mov")),
]
FORMATS = {"av1": "yuv420p10le"}
"""Of ten bits, that a codec takes; yuv422p10le for the others."""


def look(path: Path) -> tuple[Carried, Clip]:
    """What a file carries, by our own reading."""
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        carried = read_carried(source, stream, next(source.decode(stream)))
    with open_source(path) as opened:
        return carried, opened.clip


def carry(
    source: Path,
    output: Path,
    settings: OutputSettings | None = None,
    carried: Carried | None = None,
    **changed: Any,
) -> OutputPlan:
    """Pass a film through as the pipeline does; `changed` are fields of its clip."""
    settings = settings or OutputSettings()
    carried = carried or look(source)[0]
    with open_source(source) as opened:
        clip = replace(opened.clip, **changed)
        plan = plan_output(clip, output, settings, carried)
        copies = plan_copies(opened.container, clip, plan.container, opened.covers)
        with open_target(clip, plan, output, copies) as target:
            for item in opened.read():
                if isinstance(item, Frame):
                    target.write(item)
                else:
                    target.copy(item)
            target.finish()
    return plan


@pytest.fixture
def ffprobe() -> str:
    path = shutil.which("ffprobe")
    if path is None:
        pytest.skip("needs ffprobe")
    return path


def probe(ffprobe: str, path: Path, *entries: str) -> dict[str, Any]:
    """Debian's ffprobe on the film; with its first frame."""
    command = [ffprobe, "-v", "error", "-select_streams", "v:0", "-of", "json"]
    command += ["-show_streams", "-show_frames", "-read_intervals", "%+#1", *entries, str(path)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {**told["streams"][0], "frame": told["frames"][0]}


def write_source(path: Path, target: str = "h264", **more: Any) -> None:
    """A lossy film of ten bits that codec `target` takes, with colours of its own."""
    colours = {"color_range": 1, "color_primaries": 9, "color_trc": 16, "colorspace": 9}
    options = {"preset": "ultrafast", "x264-params": "log-level=none"}
    form = FORMATS.get(target, "yuv422p10le")
    settings = {"frames": 4, "codec": "libx264", "pix_fmt": form, "options": options, **colours}
    write_clip(path, size=SIZE, **{**settings, **more})


def write_named(
    path: Path, film: dict[str, str], file: dict[str, str] | None = None, codec: str = "libx264"
) -> None:
    """A short film with tags of its own stream, and of the file."""
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata.update(film)
        output.metadata.update(file or {})
        for number in range(4):
            frame: Any = picture("yuv420p", 64, 48, number)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


# What is written.


@pytest.mark.parametrize(("codec", "suffix"), PAIRS)
def test_every_codec_keeps_picture_times_and_colours(
    tmp_path: Path, codec: str, suffix: str
) -> None:
    source, output = tmp_path / "a.mp4", tmp_path / f"b.{suffix}"
    pts = [0, 1001, 2002, 5005]
    base = Fraction(1, 30000)
    write_source(source, codec, pts=pts, time_base=base, rate=Fraction(30000, 1001))
    plan = carry(source, output, OutputSettings(codec=codec))
    assert not plan.warnings
    before, after = read_frames(source), read_frames(output)
    assert [frame.format.name for frame in after] == [FORMATS.get(codec, "yuv422p10le")] * 4
    seconds = [float(frame.pts * frame.time_base) for frame in after]
    rounding = 5.1e-4 if suffix in ("mkv", "webm") else 1e-9
    np.testing.assert_allclose(seconds, [number / 30000 for number in pts], atol=rounding)
    for own, other in zip(before, after, strict=True):
        first, second = samples_of(own)[0].astype(float), samples_of(other)[0].astype(float)
        assert np.sqrt(np.mean((first - second) ** 2)) < 20.0  # of 1023
    _, clip = look(output)
    assert (clip.color_primaries, clip.color_transfer, clip.color_matrix) == (9, 16, 9)
    assert clip.color_range == 1


@pytest.mark.parametrize(("codec", "suffix"), PAIRS)
def test_hdr10_and_shape_are_in_every_codec_and_container(
    tmp_path: Path, ffprobe: str, codec: str, suffix: str
) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / f"b.{suffix}"
    options = {"preset": "ultrafast", "x265-params": HDR_PARAMS}
    shape = Fraction(16, 15)
    write_source(source, codec, codec="libx265", options=options, sample_aspect_ratio=shape)
    plan = carry(source, output, OutputSettings(codec=codec))
    assert not plan.warnings
    carried, clip = look(output)
    assert carried.hdr is not None
    assert carried.hdr.light == HDR.light
    # AV1 counts in other steps; those of HEVC come back.
    assert carried.hdr.params("x265-params") == HDR.params("x265-params")
    assert clip.sar == shape
    told = probe(ffprobe, output)
    assert told["sample_aspect_ratio"] == "16:15"
    if codec == "h264":
        return  # FFmpeg 5.1 does not read them in H.264
    entries = {entry["side_data_type"]: entry for entry in told["frame"].get("side_data_list", [])}
    entries |= {entry["side_data_type"]: entry for entry in told.get("side_data_list", [])}
    assert entries["Content light level metadata"]["max_content"] == 1000
    assert Fraction(entries["Mastering display metadata"]["max_luminance"]) == 1000
    assert abs(Fraction(entries["Mastering display metadata"]["red_x"]) - Fraction(17, 25)) < 1e-4


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "size"),
    [
        *(("av1", "yuv420p", (64, 48)), ("av1", "yuv420p10le", (255, 121))),
        *(("prores", "yuv422p10le", (18, 33)), ("prores", "yuv444p10le", (64, 48))),
        *(("prores", "yuva444p10le", (64, 48)), ("prores", "yuv444p10le", (1, 1))),
        *(("dnxhr", "yuv422p", SIZE), ("dnxhr", "yuv444p10le", SIZE), ("dnxhr", "gbrp10le", SIZE)),
    ],
)
def test_formats_stay_as_they_are(
    tmp_path: Path, codec: str, pix_fmt: str, size: tuple[int, int]
) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / ("b.mkv" if codec == "av1" else "b.mov")
    colours = {"color_range": 1, "color_primaries": 1, "color_trc": 1, "colorspace": 1}
    write_clip(source, frames=3, size=size, pix_fmt=pix_fmt, **colours)
    plan = carry(source, output, OutputSettings(codec=codec))
    before, after = read_frames(source), read_frames(output)
    assert len(after) == 3
    assert {(frame.width, frame.height) for frame in after} == {size}
    assert {frame.format.name for frame in after} == {plan.read_as or pix_fmt}
    for own, other in zip(before, after, strict=True):
        deeper = 4.0 if plan.read_as else 1.0
        for plane, same in zip(samples_of(own)[:3], samples_of(other)[:3], strict=True):
            rows = np.abs(deeper * plane - same.astype(float)).mean(axis=1)
            assert rows.max() < 0.03 * deeper * (255 if pix_fmt == "yuv422p" else 1023)
    if codec == "prores" and "444" in pix_fmt:
        assert plan.read_as == pix_fmt.replace("10", "12")
    if pix_fmt.startswith("yuva"):
        for own, other in zip(before, after, strict=True):
            alpha, same = samples_of(own)[3], samples_of(other)[3]
            # Ten bits of alpha become twelve by repeating the highest two.
            np.testing.assert_array_equal(alpha, same >> 2)


def test_presets_of_av1_are_words_or_numbers(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=2, codec="libx264")
    for asked, given in (("veryfast", "10"), ("13", "13"), (None, "6")):
        settings = OutputSettings(codec="av1", preset=asked, overwrite=True)
        plan = carry(tmp_path / "a.mkv", tmp_path / "b.mkv", settings)
        assert dict(plan.options)["preset"] == given


def test_webm_is_av1_by_default(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames=2, codec="libx264")
    plan = carry(tmp_path / "a.mp4", tmp_path / "b.webm")
    assert (plan.container, plan.codec) == ("webm", "libsvtav1")
    with av.open(str(tmp_path / "b.webm")) as output:
        assert output.streams.video[0].codec_context.codec.canonical_name == "av1"


@pytest.mark.parametrize("matrix", [1, 9, 10, 5, 6])
def test_dnxhr_says_which_matrix(tmp_path: Path, matrix: int) -> None:
    """FFmpeg's encoder writes BT.709 into every frame, and its decoder takes its word."""
    write_source(tmp_path / "a.mkv", color_primaries=1, color_trc=1, colorspace=matrix)
    carry(tmp_path / "a.mkv", tmp_path / "b.mov", OutputSettings(codec="dnxhr"))
    assert look(tmp_path / "b.mov")[1].color_matrix == matrix


def test_dnxhr_cannot_leave_the_matrix_open(tmp_path: Path) -> None:
    """Small pictures that say nothing are BT.601 to players; in DNxHR they would be BT.709."""
    write_source(tmp_path / "a.mkv", color_primaries=2, color_trc=2, colorspace=2)
    settings = OutputSettings(codec="dnxhr")
    with pytest.raises(CannotCarry, match=r"BT.601.*h264, hevc or prores.*--allow-loss matrix"):
        carry(tmp_path / "a.mkv", tmp_path / "b.mov", settings)
    write_clip(tmp_path / "c.mkv", frames=2, size=(1280, 720), pix_fmt="yuv422p")
    assert not carry(tmp_path / "c.mkv", tmp_path / "d.mov", settings).lost


# What is refused.


@pytest.mark.parametrize(
    ("pix_fmt", "settings", "name", "said"),
    [
        ("yuv420p", {"codec": "prores"}, "b.mov", "prores cannot hold .*has no yuv420p.*ffv1"),
        ("yuv422p", {"codec": "prores"}, "b.mov", "prores_ks has no yuv422p"),
        ("yuv420p", {"codec": "dnxhr"}, "b.mov", "dnxhd has no yuv420p"),
        ("yuv422p", {"codec": "av1"}, "b.mkv", "libsvtav1 has no yuv422p"),
        ("yuv420p", {"codec": "av1"}, "b.mov", "av1 does not go into mov; write an .mkv file"),
        ("yuv420p", {"codec": "h264"}, "b.webm", "h264 does not go into webm; write an .mkv"),
        ("yuv422p", {"codec": "dnxhr"}, "b.mkv", "dnxhr does not go into matroska; write a .mov"),
        ("yuv422p10le", {"codec": "prores"}, "b.mp4", "prores does not go into mp4; write a .mov"),
        ("yuv422p10le", {"codec": "prores", "crf": 3}, "b.mov", "no meaning for prores"),
        ("yuv422p", {"codec": "dnxhr", "preset": "slow"}, "b.mov", "no meaning for dnxhr"),
        ("yuv420p", {"codec": "av1", "crf": 64}, "b.mkv", "out of range for av1; use 0 to 63"),
        ("yuv420p", {"codec": "av1", "crf": 0}, "b.mkv", "not lossless with av1"),
        ("yuv420p", {"codec": "av1", "preset": "14"}, "b.mkv", "unknown; .* or 0 to 13"),
        ("yuv422p", {}, "b.webm", "hardly plays in webm; write an .mkv file$"),
        ("yuv420p", {}, "b.webm", "hardly plays in webm; .*--codec av1"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, pix_fmt: str, settings: dict[str, Any], name: str, said: str
) -> None:
    write_clip(tmp_path / "a.mkv", frames=2, size=SIZE, pix_fmt=pix_fmt)
    with pytest.raises(UsageError, match=said):
        carry(tmp_path / "a.mkv", tmp_path / name, OutputSettings(**settings))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_pictures_too_small_for_a_codec_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=2, size=(1, 1))
    with pytest.raises(CannotCarry, match="libsvtav1 refuses this size"):
        carry(tmp_path / "a.mkv", tmp_path / "b.mkv", OutputSettings(codec="av1"))
    write_clip(tmp_path / "e.mkv", frames=2, size=(65, 48), pix_fmt="yuv422p10le")
    with pytest.raises(CannotCarry, match="prores_ks refuses this size"):
        carry(tmp_path / "e.mkv", tmp_path / "f.mov", OutputSettings(codec="prores"))
    write_clip(tmp_path / "c.mkv", frames=2, size=(64, 48), pix_fmt="yuv422p")
    with pytest.raises(CannotCarry, match="dnxhd refuses this size"):
        carry(tmp_path / "c.mkv", tmp_path / "d.mov", OutputSettings(codec="dnxhr"))


def test_full_range_is_not_lost_in_prores_unasked(tmp_path: Path) -> None:
    write_source(tmp_path / "a.mkv", color_range=2)
    settings = OutputSettings(codec="prores")
    with pytest.raises(CannotCarry, match=r"full range is not said by prores.*--allow-loss range"):
        carry(tmp_path / "a.mkv", tmp_path / "b.mov", settings)
    allowed = replace(settings, allow_loss=frozenset({"range"}))
    plan = carry(tmp_path / "a.mkv", tmp_path / "b.mov", allowed)
    assert plan.lost == {"range"}
    carry(tmp_path / "a.mkv", tmp_path / "c.mov", OutputSettings(codec="dnxhr"))
    assert look(tmp_path / "c.mov")[1].color_range == 2


# The encoder's own options.


def written_with(tmp_path: Path, codec: str, *options: tuple[str, str]) -> bytes:
    source = tmp_path / "a.mkv"
    if not source.exists():
        write_clip(source, frames=3, size=SIZE, codec="libx264")
    settings = OutputSettings(codec=codec, encoder_options=options, overwrite=True)
    carry(source, tmp_path / "b.mkv", settings)
    return (tmp_path / "b.mkv").read_bytes()


def test_encoder_options_reach_the_encoder(tmp_path: Path) -> None:
    options = (("tune", "grain"), ("x264-params", "ref=5:deblock=-2,-2"))
    written = written_with(tmp_path, "h264", *options)
    assert b" ref=5 " in written
    assert b"deblock=1:-2:-2" in written
    written = written_with(tmp_path, "hevc", ("x265-params", "rd=2"), ("x265-params", "ref=2"))
    assert re.search(rb" rd=2 .* ref=2 |ref=2 .*rd=2 ", written)
    plain = written_with(tmp_path, "av1")
    assert written_with(tmp_path, "av1", ("svtav1-params", "film-grain=20")) != plain
    assert written_with(tmp_path, "ffv1", ("coder", "range_tab")) != written_with(tmp_path, "ffv1")


@pytest.mark.parametrize(
    ("codec", "option", "said"),
    [
        ("h264", ("tun", "film"), "-x tun is no option of libx264; it has .*tune"),
        ("h264", ("skip_frame", "nokey"), "-x skip_frame is no option of libx264"),
        ("h264", ("x264opts", "ref=3:qp=7"), "qp is what --crf sets"),
        ("h264", ("tune", "flim"), "libx264 refuses -x tune=flim .*tune"),
        ("h264", ("x264-params", "nonsense=3"), "libx264 refuses .*nonsense = 3"),
        ("hevc", ("x265-params", "ref=banana"), "libx265 refuses .*Invalid value for ref"),
        ("hevc", ("x265-params", "nonsense=1"), "libx265 refuses .*Unknown option: nonsense"),
        ("av1", ("svtav1-params", "nonsense=3"), "libsvtav1 refuses .*nonsense: 3"),
        ("av1", ("svtav1-params", "film-grain=800"), "libsvtav1 refuses -x svtav1-params"),
        ("ffv1", ("coder", "banana"), "ffv1 refuses -x coder=banana .*coder"),
        ("h264", ("crf", "3"), "crf is what --crf sets; use that"),
        ("h264", ("preset", "fast"), "preset is what --preset sets"),
        ("hevc", ("x265-params", "crf=3"), "crf is what --crf sets"),
        ("h264", ("colorspace", "bt709"), "colorspace follows the source; leave it out"),
        (
            "h264",
            ("x264-params", "colormatrix=bt709"),
            "colormatrix follows the source; leave it out",
        ),
        ("h264", ("x264-params", "fullrange=on"), "fullrange follows the source; leave it out"),
        (
            "h264",
            ("x264-params", "ref=2:input_range=pc"),
            "input-range follows the source; leave it out",
        ),
        ("h264", ("x264opts", "colorprim=bt709"), "colorprim follows the source; leave it out"),
        ("h264", ("x264-params", "overscan=show"), "overscan follows the source; leave it out"),
        (
            "h264",
            ("x264-params", "videoformat=pal"),
            "videoformat follows the source; leave it out",
        ),
        ("hevc", ("x265-params", "range=full"), "range follows the source; leave it out"),
        ("hevc", ("x265-params", "transfer=bt709"), "transfer follows the source; leave it out"),
        ("hevc", ("x265-params", "sar=2"), "sar follows the source; leave it out"),
        ("hevc", ("x265-params", "chromaloc=2"), "chromaloc follows the source; leave it out"),
        ("av1", ("svtav1-params", "color-range=1"), "color-range follows the source; leave it out"),
        ("ffv1", ("g", "12"), "as archives want it; leave g out"),
    ],
)
def test_wrong_encoder_options_are_refused_first(
    tmp_path: Path, codec: str, option: tuple[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        written_with(tmp_path, codec, option)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_settings_check_options_and_losses() -> None:
    wrong: Any = (("tune",),)
    with pytest.raises(UsageError, match="KEY=VALUE"):
        OutputSettings(encoder_options=wrong)
    with pytest.raises(UsageError, match="--allow-loss sound is unknown; use hdr10, "):
        OutputSettings(allow_loss=frozenset({"sound"}))
    one: Any = "captions"
    assert OutputSettings(allow_loss=one).allow_loss == {"captions"}


# HDR10 and the headers of finished files.


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_completed_header_leaves_everything_else(tmp_path: Path, suffix: str) -> None:
    """Title, sound, chapters, cover, tags: nothing in the file has moved."""
    source, plain, output = tmp_path / "a.mkv", tmp_path / f"p.{suffix}", tmp_path / f"b.{suffix}"
    tags = (("title", "Ein Film"), ("artist", "é"))
    extras = Extras(audio=2, subtitles=1, chapters=2, attachment=b"x" * 5000, metadata=tags)
    options = {"preset": "ultrafast", "x265-params": HDR_PARAMS}
    shape = Fraction(355, 339)
    more = {"extras": extras, "sample_aspect_ratio": shape, "options": options}
    write_source(source, codec="libx265", **more)
    settings = OutputSettings(codec="ffv1")
    _, clip = look(source)
    named = (*clip.video_metadata, ("title", "Rolle 1 é"))
    carry(source, output, settings, video_metadata=named)
    carry(source, plain, settings, Carried(), video_metadata=named, side_data=(), sar=None)
    assert_same_packets(plain, output)
    carried, clip = look(output)
    assert carried.hdr is not None
    assert carried.hdr.params("x265-params") == HDR.params("x265-params")
    assert dict(clip.metadata)["title"] == "Ein Film"
    with av.open(str(output)) as opened:
        names = opened.streams.video[0].metadata
        assert names.get("title", names.get("name")) == "Rolle 1 é"
        assert len(opened.chapters()) == 2
        assert [s.type for s in opened.streams].count("audio") == 2
    if suffix == "mkv":
        assert_checksums(output.read_bytes())
        # FFmpeg holds a shape in terms of up to 255.
        assert abs(clip.sar / shape - 1) < 1e-4 if clip.sar else False
    else:
        assert clip.sar == shape


def assert_same_packets(first: Path, second: Path) -> None:
    with av.open(str(first)) as one, av.open(str(second)) as other:
        for own, same in zip(one.demux(), other.demux(), strict=True):
            if own.size or same.size:
                assert (own.stream.index, own.pts, own.dts) == (
                    same.stream.index,
                    same.pts,
                    same.dts,
                )
                assert bytes(own) == bytes(same)


def assert_checksums(data: bytes) -> None:
    """Every CRC-32 of a Matroska file's top level is that of what it covers."""
    checked = 0
    for start, size in top_level(data):
        body = data[start : start + size]
        if body[:2] == b"\xbf\x84":
            assert int.from_bytes(body[2:6], "little") == zlib.crc32(body[6:])
            checked += 1
    assert checked >= 3


def top_level(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and size of the elements inside the Segment, read by hand."""
    at = 0
    while at < len(data):
        long = 9 - data[at].bit_length()
        kind = data[at : at + long]
        at += long
        long = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + long], "big") & ((1 << 7 * long) - 1)
        at += long
        if kind != b"\x18\x53\x80\x67":
            yield at, size
            at += size


@pytest.mark.parametrize("codec", ["ffv1", "av1", "prores"])
@pytest.mark.parametrize("shape", [Fraction(12, 11), Fraction(59, 54), Fraction(1, 2)], ids=str)
def test_shapes_in_matroska_are_exact(tmp_path: Path, codec: str, shape: Fraction) -> None:
    write_source(tmp_path / "a.mp4", codec, sample_aspect_ratio=shape)
    plan = carry(tmp_path / "a.mp4", tmp_path / "b.mkv", OutputSettings(codec=codec))
    assert not plan.warnings
    assert look(tmp_path / "b.mkv")[1].sar == shape


def test_half_of_hdr10_is_carried_too(tmp_path: Path) -> None:
    """Only a light level, and only a display."""
    options = {"preset": "ultrafast", "x265-params": HDR_PARAMS}
    write_source(tmp_path / "a.mkv", codec="libx265", options=options)
    for half in (replace(HDR, display=None), replace(HDR, light=None)):
        for suffix in ("mkv", "mp4"):
            output = tmp_path / f"b.{suffix}"
            container = "matroska" if suffix == "mkv" else "mp4"
            header = Header(container, hdr=half)
            write_named(output, {"title": header.placeholder}, codec="ffv1")
            complete(output, header)
            carried, _ = look(output)
            assert carried.hdr == half


def test_unknown_values_are_not_passed_over(tmp_path: Path) -> None:
    """A caller that does not say what is carried loses nothing in silence."""
    options = {"preset": "ultrafast", "x265-params": HDR_PARAMS}
    write_source(tmp_path / "a.mkv", codec="libx265", options=options)
    with open_source(tmp_path / "a.mkv") as source:
        settings = OutputSettings(codec="ffv1")
        with pytest.raises(CannotCarry, match="--allow-loss hdr10"):
            plan_output(source.clip, tmp_path / "b.mkv", settings)


# What else a frame carries.


def bits(*fields: tuple[int, int]) -> bytes:
    """Values of so many bits each, filled up with zeros."""
    text = "".join(format(value, f"0{count}b") for value, count in fields)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


CAPTIONS = (
    b"\xb5\x00\x31GA94\x03" + bytes([0x42, 0xFF]) + b"\xfc\x94\x20" + b"\xfc\x48\x69" + b"\xff"
)
"""ATSC A/53 with two pairs of CEA-608."""
HDR10_PLUS = b"\xb5\x00\x3c\x00\x01\x04\x01" + bits(
    *((1, 2), (4000000, 27), (0, 1), (5000, 17), (6000, 17), (7000, 17), (4000, 17)),
    *((1, 4), (50, 7), (3000, 17), (100, 10), (0, 1), (0, 1), (0, 1)),
)
"""SMPTE ST 2094-40, one window."""


def write_message(path: Path, encoder: str, payload: bytes, *, begins: int = 0) -> None:
    """A raw film with an SEI message of ITU-T T.35 before every picture from one on."""
    form = "yuv420p" if encoder == "libx264" else "yuv420p10le"
    context: Any = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = *SIZE, form
    context.time_base, context.framerate = Fraction(1, 25), 25
    context.options = {"bf": "0", "x265-params": "log-level=none:bframes=0"}
    if encoder == "libx264":
        context.options = {"bf": "0"}
    head = b"\x06" if encoder == "libx264" else b"\x4e\x01"
    body = bytes([4, len(payload)]) + payload + b"\x80"
    # No start code may appear inside.
    guarded = re.sub(rb"\x00\x00(?=[\x00-\x03])", lambda _: b"\0\0\3", body)
    data = b""
    coded = 0
    for number in (*range(4), None):
        frame: Any = None if number is None else picture(form, *SIZE, number)
        if frame is not None:
            frame.pts, frame.time_base = number, Fraction(1, 25)
        for packet in context.encode(frame):
            units = [unit for unit in re.split(rb"\x00?\x00\x00\x01", bytes(packet)) if unit]
            kinds = [u[0] & 31 if encoder == "libx264" else (u[0] >> 1 & 63) for u in units]
            shown = (1, 5) if encoder == "libx264" else range(32)
            first = next(place for place, kind in enumerate(kinds) if kind in shown)
            if coded >= begins:
                units.insert(first, head + guarded)
            coded += 1
            data += b"".join(b"\0\0\0\1" + unit for unit in units)
    path.write_bytes(data)


def side_data_names(path: Path) -> set[str]:
    names: set[str] = set()
    for frame in read_frames(path):
        found: Any = frame.side_data
        names |= {found[index].type.name for index in range(len(found))}
    return names


def test_captions_are_kept_or_refused(tmp_path: Path) -> None:
    source = tmp_path / "a.h264"
    write_message(source, "libx264", CAPTIONS)
    assert "A53_CC" in side_data_names(source)
    for codec in ("h264", "hevc"):
        plan = carry(source, tmp_path / f"{codec}.mp4", OutputSettings(codec=codec))
        assert not plan.lost
        assert "A53_CC" in side_data_names(tmp_path / f"{codec}.mp4")
    for codec in ("av1", "ffv1"):
        asked = OutputSettings(codec=codec)
        said = f"{codec} in Matroska cannot hold everything: the closed captions .*h264 or hevc, or"
        with pytest.raises(CannotCarry, match=f"{said} accept that with --allow-loss captions$"):
            carry(source, tmp_path / "b.mkv", asked)
        plan = carry(source, tmp_path / f"{codec}.mkv", replace(asked, allow_loss={"captions"}))
        assert plan.lost == {"captions"}
        assert plan.warnings == ("the closed captions (A53) are not carried",)


@pytest.mark.parametrize("interlace", ["auto", "progressive"])
def test_captions_that_begin_later_are_refused_before_the_first_frame(
    tmp_path: Path, interlace: Interlace
) -> None:
    source = tmp_path / "a.h264"
    write_message(source, "libx264", CAPTIONS, begins=2)
    assert "A53_CC" not in look(source)[0].side_data
    settings = RepairSettings(
        denoise=(0.0, 0.0), damage=DamageSettings(kinds=()), interlace=interlace
    )
    ffv1 = OutputSettings(codec="ffv1")
    with pytest.raises(CannotCarry, match="the closed captions"):
        repair(source, tmp_path / "b.mkv", settings=settings, target=ffv1)
    assert not (tmp_path / "b.mkv").exists()
    repair(source, tmp_path / "b.mp4", settings=settings)
    assert "A53_CC" in side_data_names(tmp_path / "b.mp4")


def test_hdr10_plus_is_refused_by_name(tmp_path: Path) -> None:
    source = tmp_path / "a.hevc"
    write_message(source, "libx265", HDR10_PLUS)
    for codec, suffix in (("hevc", "mkv"), ("av1", "mp4"), ("ffv1", "mkv")):
        with pytest.raises(CannotCarry, match=r"the HDR10\+ metadata .*--allow-loss hdr10plus"):
            carry(source, tmp_path / f"b.{suffix}", OutputSettings(codec=codec))
    allowed = OutputSettings(allow_loss=frozenset({"hdr10plus"}))
    assert carry(source, tmp_path / "b.mkv", allowed).lost == {"hdr10plus"}


def test_all_that_is_refused_is_named_at_once(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames=2, codec="libx264")
    names = ("DOVI_METADATA", "DOVI_RPU_BUFFER", "A53_CC", "AFD")
    settings = OutputSettings(codec="ffv1")
    with pytest.raises(CannotCarry, match=r"Dolby Vision.*captions.*--allow-loss dovi,captions$"):
        carry(tmp_path / "a.mp4", tmp_path / "b.mkv", settings, side_data=names)
    allowed = replace(settings, allow_loss=frozenset({"dovi", "captions"}))
    plan = carry(tmp_path / "a.mp4", tmp_path / "b.mkv", allowed, side_data=names)
    assert plan.lost == {"dovi", "captions", "side-data"}
    assert "the side data AFD is not carried yet" in plan.warnings


# Interlaced film.


def write_interlaced(
    path: Path, order: str, codec: str = "libx264", form: str = "yuv420p", frames: int = 4
) -> None:
    graph: Any = av.filter.Graph()
    source = graph.add("buffer", video_size="256x128", pix_fmt=form, time_base="1/25")
    flagged = graph.add("setfield", f"mode={order}")
    graph.link_nodes(source, flagged, graph.add("buffersink")).configure()
    pictures = []
    for number in range(frames):
        frame: Any = picture(form, *SIZE, number)
        frame.pts, frame.time_base = number, Fraction(1, 25)
        graph.vpush(frame)
        pictures.append(graph.vpull())
    options = {"flags": "+ildct+ilme", "field_order": {"tff": "tt", "bff": "bb"}[order]}
    if (codec, order) == ("libx264", "bff"):
        options["x264-params"] = "bff=1"
    write_clip(path, frames=pictures, size=SIZE, pix_fmt=form, codec=codec, options=options)


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        *(("h264", "mkv"), ("h264", "mp4"), ("h264", "mov"), ("ffv1", "mkv"), ("ffv1", "mp4")),
        *(("prores", "mov"), ("prores", "mkv")),
    ],
)
def test_interlaced_film_stays_so(
    tmp_path: Path, ffprobe: str, order: str, codec: str, suffix: str
) -> None:
    form = "yuv422p10le" if codec == "prores" else "yuv420p"
    source, output = tmp_path / "a.mp4", tmp_path / f"b.{suffix}"
    write_interlaced(source, order, form=form)
    plan = carry(source, output, OutputSettings(codec=codec))
    assert plan.fields == order
    assert not plan.warnings
    shown = probe(ffprobe, output)
    assert (shown["frame"]["interlaced_frame"], shown["frame"]["top_field_first"]) == (
        *(1, int(order == "tff")),
    )
    assert look(output)[0].field_order == order
    if (codec, suffix) != ("h264", "mp4") and (codec, suffix) != ("h264", "mov"):
        assert shown["field_order"] == {"tff": "tt", "bff": "bb"}[order]


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_every_frame_of_h264_says_the_order_of_its_fields(tmp_path: Path, order: str) -> None:
    """x264 took bottom first of some frames, and told top first of those that it held back."""
    write_interlaced(tmp_path / "a.mp4", order, frames=30)
    settings = OutputSettings(codec="h264", preset="medium")
    carry(tmp_path / "a.mp4", tmp_path / "b.mkv", settings)
    with av.open(str(tmp_path / "b.mkv")) as written:
        film = written.streams.video[0]
        said = [read_carried(written, film, frame).field_order for frame in written.decode(film)]
    assert said == [order] * 30


def test_what_is_seen_all_around_is_refused_unless_that_is_given_up(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames=2, codec="libx264")
    names, output = ("SPHERICAL",), tmp_path / "b.mp4"
    with pytest.raises(CannotCarry, match=r"side data SPHERICAL .*--allow-loss side-data$"):
        carry(tmp_path / "a.mp4", output, OutputSettings(), side_data=names)
    allowed = OutputSettings(allow_loss=frozenset({"side-data"}))
    plan = carry(tmp_path / "a.mp4", output, allowed, side_data=names)
    assert plan.warnings == ("the side data SPHERICAL is not carried yet",)


def test_the_chroma_of_dv_lies_at_the_top_left(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.avi", codec="dvvideo", frames=2, size=(720, 576))
    carry(tmp_path / "a.avi", tmp_path / "b.mkv", OutputSettings(codec="h264"))
    assert look(tmp_path / "b.mkv")[0].chroma_location == 3


def test_frames_that_were_made_take_the_order_of_the_film(tmp_path: Path) -> None:
    """A new carrier has no flags; x264 would take its bottom field for the first."""
    write_interlaced(tmp_path / "a.mp4", "tff")
    carried, _ = look(tmp_path / "a.mp4")
    with open_source(tmp_path / "a.mp4") as source:
        plan = plan_output(source.clip, tmp_path / "b.mp4", OutputSettings(crf=0), carried)
        with open_target(source.clip, plan, tmp_path / "b.mp4") as target:
            for item in source.read():
                assert isinstance(item, Frame)
                planes = tuple(plane.copy() for plane in item.planes)
                target.write(
                    replace(item, carrier=None, planes=planes) if item.number == 2 else item
                )
            target.finish()
    frames = read_frames(tmp_path / "b.mp4")
    assert [frame.interlaced_frame for frame in frames] == [True] * 4
    with av.open(str(tmp_path / "b.mp4")) as opened:
        stream = opened.streams.video[0]
        orders = [read_carried(opened, stream, frame).field_order for frame in frames]
    assert orders == ["tff"] * 4
    for own, other in zip(read_frames(tmp_path / "a.mp4"), frames, strict=True):
        np.testing.assert_array_equal(samples_of(own)[0], samples_of(other)[0])


@pytest.mark.parametrize(("codec", "suffix"), [("hevc", "mkv"), ("av1", "mkv"), ("dnxhr", "mov")])
def test_codecs_without_fields_are_refused_for_interlaced_film(
    tmp_path: Path, codec: str, suffix: str
) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / f"b.{suffix}"
    write_interlaced(source, "tff", form="yuv422p10le" if codec == "dnxhr" else "yuv420p")
    said = f"interlaced is not said by {codec}; .*--allow-loss .*field-order"
    with pytest.raises(CannotCarry, match=said):
        carry(source, output, OutputSettings(codec=codec))
    names = frozenset({"field-order", "matrix"})
    plan = carry(source, output, OutputSettings(codec=codec, allow_loss=names))
    assert plan.lost - {"matrix"} == {"field-order"}
    assert len(read_frames(output)) == 4


def test_sizes_that_make_no_two_fields_are_refused(tmp_path: Path) -> None:
    options = {"flags": "+ildct+ilme", "field_order": "tt"}
    more = {"frames": 2, "size": (64, 49), "pix_fmt": "yuv422p10le", "options": options}
    write_clip(tmp_path / "a.mkv", **more, codec="prores_ks")
    for codec in ("h264", "prores"):
        with pytest.raises(CannotCarry, match="refuses this size with fields"):
            carry(tmp_path / "a.mkv", tmp_path / "b.mkv", OutputSettings(codec=codec))
    assert carry(tmp_path / "a.mkv", tmp_path / "b.mkv").codec == "ffv1"


def test_interlaced_film_gets_a_codec_with_fields_by_default(tmp_path: Path) -> None:
    write_interlaced(tmp_path / "a.mov", "bff", codec="prores_ks", form="yuv422p10le")
    plan = carry(tmp_path / "a.mov", tmp_path / "b.mp4")
    assert (plan.codec, plan.fields, plan.pix_fmt) == ("libx264", "bff", "yuv422p10le")


def test_y4m_says_which_field_comes_first(tmp_path: Path) -> None:
    write_interlaced(tmp_path / "a.mkv", "bff")
    carry(tmp_path / "a.mkv", tmp_path / "b.y4m")
    assert b" Ib " in (tmp_path / "b.y4m").read_bytes()[:100]


def test_progressive_film_is_not_taken_for_fields(tmp_path: Path) -> None:
    """What was made progressive on the way is written so, whatever its first frame said."""
    write_interlaced(tmp_path / "a.mkv", "tff")
    with open_source(tmp_path / "a.mkv") as source:
        clip = replace(source.clip, field_order=1)
        plan = plan_output(clip, tmp_path / "b.mkv", OutputSettings(), Carried(field_order="tff"))
    assert plan.fields == ""
    assert "flags" not in dict(plan.options)


# Where chroma lies, timecode, rotation, film grain.


@pytest.mark.parametrize(
    ("codec", "suffix", "place"),
    [
        *(("h264", "mkv", "topleft"), ("h264", "mp4", "center"), ("hevc", "mp4", "topleft")),
        *(("av1", "webm", "topleft"), ("ffv1", "mkv", "topleft"), ("ffv1", "mkv", "center")),
    ],
)
def test_chroma_stays_where_it_lies(
    tmp_path: Path, ffprobe: str, codec: str, suffix: str, place: str
) -> None:
    source, output = tmp_path / "a.mp4", tmp_path / f"b.{suffix}"
    options = {"chroma_sample_location": place}
    write_clip(source, frames=2, size=SIZE, codec="libx264", options=options)
    plan = carry(source, output, OutputSettings(codec=codec))
    assert not plan.warnings
    assert probe(ffprobe, output)["chroma_location"] == place
    assert look(output)[0].chroma_location == {"center": 2, "topleft": 3}[place]


def test_lost_places_of_chroma_are_named(tmp_path: Path) -> None:
    options = {"chroma_sample_location": "topleft"}
    write_clip(tmp_path / "a.mp4", frames=2, size=SIZE, codec="libx264", options=options)
    plan = carry(tmp_path / "a.mp4", tmp_path / "b.mp4", OutputSettings(codec="ffv1"))
    assert plan.lost == {"chroma-location"}
    assert "lie at the top left is not carried by ffv1 in mp4" in plan.warnings[0]


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "options", "place"),
    [
        # Matroska has no word for the lower row, nor has H.264 for any place of 4:2:2.
        ("libx264", "yuv420p", {"chroma_sample_location": "bottom"}, "bottom"),
        ("mjpeg", "yuvj422p", {}, "centre"),
    ],
)
def test_places_that_nothing_keeps_are_named(
    tmp_path: Path, codec: str, pix_fmt: str, options: dict[str, str], place: str
) -> None:
    source = tmp_path / "a.mkv"
    write_clip(source, frames=2, size=SIZE, codec=codec, pix_fmt=pix_fmt, options=options)
    plan = carry(source, tmp_path / "b.mkv", OutputSettings(codec="ffv1"))
    assert plan.lost == {"chroma-location"}
    assert f"lie at the {place} is not carried by ffv1 in matroska" in plan.warnings[0]


def test_the_chroma_of_y4m_lies_where_its_head_says(tmp_path: Path) -> None:
    pictures = [picture("yuv420p", 64, 48, number) for number in range(2)]
    (tmp_path / "a.y4m").write_bytes(y4m(pictures, tag="420jpeg"))
    carry(tmp_path / "a.y4m", tmp_path / "b.mkv", OutputSettings(codec="ffv1"))
    assert look(tmp_path / "b.mkv")[0].chroma_location == 2


@pytest.mark.parametrize("holder", ["film", "file"])
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize("source_suffix", ["mkv", "mov"])
def test_timecode_is_kept(
    tmp_path: Path, ffprobe: str, holder: str, suffix: str, source_suffix: str
) -> None:
    source, output = tmp_path / f"a.{source_suffix}", tmp_path / f"b.{suffix}"
    tags = {"timecode": "01:02:03:04"}
    write_named(source, tags if holder == "film" else {}, tags if holder == "file" else {})
    plan = carry(source, output)
    assert "timecode" not in plan.lost
    assert look(output)[0].timecode == "01:02:03:04"
    if suffix != "mkv":
        with av.open(str(output)) as opened:
            assert [stream.type for stream in opened.streams] == ["video", "data"]


@pytest.mark.parametrize("suffix", ["mkv", "webm", "mov", "mp4"])
def test_the_reel_of_a_timecode_is_kept_or_named(tmp_path: Path, suffix: str) -> None:
    tags = {"timecode": "01:02:03:04", "reel_name": "A001"}
    write_named(tmp_path / "raw.mkv", tags)
    carry(tmp_path / "raw.mkv", tmp_path / "a.mov")
    plan = carry(tmp_path / "a.mov", tmp_path / f"b.{suffix}")
    assert look(tmp_path / "a.mov")[0].reel == "A001"
    kept = suffix != "mp4"
    assert look(tmp_path / f"b.{suffix}")[0].reel == ("A001" if kept else "")
    assert plan.lost == (frozenset() if kept else {"reel name", "tag reel_name"})


def test_a_timecode_that_is_none_ends_no_work(tmp_path: Path) -> None:
    write_named(tmp_path / "a.mkv", {"timecode": "about noon"})
    plan = carry(tmp_path / "a.mkv", tmp_path / "b.mov")
    assert plan.warnings == ("the timecode about noon is none that mov takes",)
    write_named(tmp_path / "c.mkv", {"timecode": "01:02:03;04"})
    assert carry(tmp_path / "c.mkv", tmp_path / "d.mov").lost == {"timecode"}  # 25 a second


def test_display_matrices_that_matroska_cannot_hold_are_refused(tmp_path: Path) -> None:
    one = 1 << 16
    write_clip(tmp_path / "a.mp4", frames=2, codec="libx264")
    twice = (2 * one, 0, 0, 0, 2 * one, 0, 0, 0, 1 << 30)
    with pytest.raises(CannotCarry, match=r"turns and mirrors alone; write an \.mp4 or \.mov file"):
        carry(tmp_path / "a.mp4", tmp_path / "b.mkv", display_matrix=twice)
    carry(tmp_path / "a.mp4", tmp_path / "b.mp4", display_matrix=twice)
    assert look(tmp_path / "b.mp4")[1].display_matrix == twice
    for matrix in (
        *((0, one, 0, -one, 0, 0, 0, 0, 1 << 30), (-one, 0, 0, 0, one, 0, 0, 0, 1 << 30)),
    ):
        assert not carry(
            tmp_path / "a.mp4",
            tmp_path / "c.mkv",
            OutputSettings(overwrite=True),
            display_matrix=matrix,
        ).lost
        assert look(tmp_path / "c.mkv")[1].display_matrix == matrix


def test_film_grain_of_av1_is_named(tmp_path: Path) -> None:
    grained = {"svtav1-params": "film-grain=10", "preset": "12"}
    write_clip(tmp_path / "a.mkv", frames=2, codec="libsvtav1", options=grained)
    plan = carry(tmp_path / "a.mkv", tmp_path / "b.mkv")
    assert plan.lost == {"film-grain"}
    assert "its grain is now part of the picture" in plan.warnings[0]
    write_clip(tmp_path / "c.mkv", frames=2, codec="libsvtav1", options={"preset": "12"})
    assert not carry(tmp_path / "c.mkv", tmp_path / "d.mkv").lost


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx"])
def test_alpha_beside_the_picture_is_refused_by_name(tmp_path: Path, codec: str) -> None:
    """FFmpeg's own decoders of VP8 and VP9 show the opaque picture alone."""
    source, output = tmp_path / "a.webm", tmp_path / "b.mkv"
    options = {"auto-alt-ref": "0"}
    write_clip(source, frames=3, codec=codec, pix_fmt="yuva420p", options=options)
    with pytest.raises(CannotCarry, match=f"ffmpeg -c:v {codec} -i.*--allow-loss alpha"):
        carry(source, output)
    plan = carry(source, output, OutputSettings(allow_loss=frozenset({"alpha"})))
    assert "alpha" in plan.lost
    with av.open(str(output)) as written:
        tags = {key.lower() for key in written.streams.video[0].metadata}
    assert "alpha_mode" not in tags
    assert "alpha" in {loss_name(each) for each in check_files(output, source)}
    made = Made(lost=frozenset({"alpha"}))
    assert check_files(output, source, made=made) == ()


def test_side_data_without_values_says_nothing() -> None:
    assert read_hdr({}) is None
    assert read_hdr({"A53_CC": b"1"}) is None


@pytest.mark.parametrize("place", [2, 5, 8])
def test_a_display_matrix_with_perspective_is_no_mere_turn(place: int) -> None:
    turned = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
    assert losses._pure(tuple(turned))
    turned[place] += 1 << 10
    assert not losses._pure(tuple(turned))


@pytest.mark.parametrize("suffix", ["mkv", "mov"])
def test_the_shape_that_the_file_says_goes_before_that_of_the_frames(
    tmp_path: Path, ffmpeg: str, ffprobe: str, suffix: str
) -> None:
    """FFV1 takes that of the frames along, and players would show it."""
    write_clip(tmp_path / "raw.mp4", codec="libx264", sample_aspect_ratio=Fraction(8, 9))
    source, output = tmp_path / f"a.{suffix}", tmp_path / "b.mkv"
    words = [ffmpeg, "-v", "error", "-i", tmp_path / "raw.mp4", "-c", "copy", "-aspect", "4:3"]
    subprocess.run([*words, source], check=True)
    carry(source, output, OutputSettings(codec="ffv1"))
    assert probe(ffprobe, output)["sample_aspect_ratio"] == "1:1"
