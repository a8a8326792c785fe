"""decode: every format as planes, times repaired, damage counted, fields told from frames."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import Extras, picture, samples_of, write_clip, y4m
from numpy.typing import NDArray
from unpacking import PACKED, random_frame, rows, unpacked

from vidrepair.carriers import Repacker, plane_views
from vidrepair.combing import combed
from vidrepair.decode import open_source
from vidrepair.errors import InputError, PictureChanged, UsageError
from vidrepair.frames import Frame
from vidrepair.tags import Copied, native_format, pixel_format

NATIVE = [
    *("yuv410p", "yuv411p", "yuv420p", "yuv422p", "yuv440p", "yuv444p", "yuva420p", "gray"),
    *("yuv420p9le", "yuv422p10le", "yuv444p12le", "yuv420p14le", "yuv444p16le", "yuva444p10le"),
    *("gray10le", "gray16le", "gbrp10le", "gbrp16le", "gbrap12le"),
]


def read(path: Path) -> tuple[list[Frame], list[Copied]]:
    with open_source(path) as source:
        items = list(source.read())
    frames = [item for item in items if isinstance(item, Frame)]
    return frames, [item for item in items if isinstance(item, Copied)]


def in_our_order(planes: list[Any], family: str) -> list[Any]:
    """FFmpeg's G, B, R(, A) or Y, Cb, Cr(, A) as R, G, B or Y, Cb, Cr."""
    return [planes[2], planes[0], planes[1]] if family == "rgb" else planes[:3]


@pytest.mark.parametrize("pix_fmt", NATIVE)
def test_planes_are_the_samples_that_were_written(tmp_path: Path, pix_fmt: str) -> None:
    written = write_clip(tmp_path / "a.mkv", frames=3, size=(40, 24), pix_fmt=pix_fmt)
    frames, _ = read(tmp_path / "a.mkv")
    assert [frame.picture.format.name for frame in frames] == [pix_fmt] * 3
    for frame, truth in zip(frames, written, strict=True):
        expected = in_our_order(samples_of(truth), frame.picture.format.family)
        assert len(frame.planes) == (1 if pix_fmt.startswith("gray") else 3)
        for plane, samples in zip(frame.planes, expected, strict=False):
            np.testing.assert_array_equal(plane, samples)
            assert not plane.flags.writeable
            assert np.shares_memory(plane, memory_of(frame.carrier))


def memory_of(carrier: Any) -> Any:
    """All bytes of the buffer that the planes of a carrier lie in."""
    views = [np.frombuffer(plane, "u1") for plane in carrier.planes]
    start = min(view.__array_interface__["data"][0] for view in views)
    for view in views:
        if view.__array_interface__["data"][0] == start:
            end = max(v.__array_interface__["data"][0] + v.size for v in views)
            return np.lib.stride_tricks.as_strided(view, (end - start,), (1,))
    raise AssertionError


@pytest.mark.parametrize("name", PACKED)
def test_repacking_changes_no_sample(name: str) -> None:
    frame = random_frame(name)
    native = "gbrap" if name == "pal8" else native_format(name)
    assert native is not None
    form = pixel_format(native)
    assert form is not None
    repacked = Repacker().repack(frame, native)
    truth = unpacked(frame)
    assert len(truth) >= (1 if form.family == "gray" else 3)
    for index, plane in enumerate(plane_views(repacked, form)):
        np.testing.assert_array_equal(plane, truth[index])
    if form.alpha:
        alpha = samples_of(repacked)[3]
        np.testing.assert_array_equal(alpha, truth[3])


@pytest.mark.parametrize("name", ["yuvj420p", "yuvj422p", "yuvj444p", "yuvj411p", "yuvj440p"])
def test_full_range_formats_are_only_renamed(name: str) -> None:
    frame = picture(name, 48, 16, 1)
    repacked = Repacker().repack(frame, name.replace("j", ""))
    assert int(repacked.color_range) == 2
    for own, truth in zip(samples_of(repacked), samples_of(frame), strict=True):
        np.testing.assert_array_equal(own, truth)


@pytest.mark.parametrize(
    "name", ["yuv420p10be", "yuv444p16be", "gray16be", "gbrp12be", "gbrap16be", "yuva444p10be"]
)
def test_big_endian_is_only_swapped(name: str) -> None:
    frame = picture(name, 48, 16, 1)
    native = native_format(name)
    assert native == f"{name[:-2]}le"
    repacked = Repacker().repack(frame, native)
    for own, truth in zip(samples_of(repacked), samples_of(frame), strict=True):
        np.testing.assert_array_equal(own, truth)


@pytest.mark.parametrize(
    ("name", "levels"), [("rgb565le", (32, 64, 32)), ("rgb555le", (32, 32, 32))]
)
def test_fewer_than_eight_bits_keep_all_their_levels(name: str, levels: tuple[int, ...]) -> None:
    frame = random_frame(name, 256, 256)
    words = rows(frame, 0, "<u2", 256).astype(int)
    form = pixel_format("gbrp")
    assert form is not None
    planes = plane_views(Repacker().repack(frame, "gbrp"), form)
    green = 6 if name == "rgb565le" else 5
    shifts = (green + 5, 5, 0)
    for plane, count, shift in zip(planes, levels, shifts, strict=True):
        codes = words >> shift & (count - 1)
        pairs = {
            (int(code), int(value)) for code, value in zip(codes.flat, plane.flat, strict=True)
        }
        assert len(pairs) == count, "one value for each code, another for each other code"
        assert len({value for _, value in pairs}) == count


def test_every_other_format_is_refused_by_name() -> None:
    assert native_format("grayf32le") is None
    assert native_format("bayer_rggb8") is None
    assert native_format("gbrpf32le") is None
    assert native_format("cuda") is None


def test_gray_with_alpha_is_seen_as_gray(tmp_path: Path) -> None:
    frame: Any = av.VideoFrame(8, 4, "ya8")
    view = np.frombuffer(frame.planes[0], "u1").reshape(4, -1)
    view[:, :16] = np.arange(64).reshape(4, 16)
    write_clip(tmp_path / "a.mkv", frames=[frame], size=(8, 4), pix_fmt="ya8")
    (decoded,), _ = read(tmp_path / "a.mkv")
    np.testing.assert_array_equal(decoded.planes[0], np.arange(0, 64, 2).reshape(4, 8))


def test_the_clip_knows_its_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    extras = Extras(audio=2, subtitles=1, chapters=2, cover=True, metadata=(("title", "Äh"),))
    options = {"color_range": 1, "color_primaries": 9, "color_trc": 16, "colorspace": 9}
    write_clip(
        path,
        frames=10,
        pix_fmt="yuv420p10le",
        codec="libx264",
        extras=extras,
        sample_aspect_ratio=Fraction(16, 15),
        **options,
    )
    with open_source(path) as source:
        clip = source.clip
        assert list(source.covers) == [4]
    assert (clip.codec, clip.lossless, clip.container) == ("h264", False, "matroska,webm")
    assert (clip.color_range, clip.color_matrix, clip.color_primaries) == (1, 9, 9)
    assert clip.color_transfer == 16
    assert (clip.picture.matrix, clip.picture.full_range) == ("bt2020", False)
    assert (clip.sar, clip.rate) == (Fraction(16, 15), Fraction(25))
    assert [facts.kind for facts in clip.others] == ["audio", "audio", "subtitle", "cover"]
    assert [facts.language for facts in clip.others] == ["eng", "deu", "eng", ""]
    assert dict(clip.metadata)["title"] == "Äh"
    assert clip.chapters == 2
    assert clip.as_dict()["streams"][1]["title"] == "Track 0"
    assert "bt2020 limited range, 25 fps, h264" in clip.summary()


def test_rotation_is_read(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", codec="libx264", display_rotation=90)
    with open_source(tmp_path / "a.mp4") as source:
        assert abs(source.clip.rotation) == 90
        assert source.clip.display_matrix is not None


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mkv", "libx264"), ("mp4", "libx264"), ("avi", "libx264"), ("avi", "mjpeg")],
)
def test_frames_come_in_order_with_rising_times(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"a.{suffix}"
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = {"bf": "3", "qp": "0"} if codec == "libx264" else {}
    written = write_clip(path, frames=20, codec=codec, pix_fmt=pix_fmt, options=options)
    frames, _ = read(path)
    assert [frame.number for frame in frames] == list(range(20))
    steps = {float((b.pts - a.pts) * a.time_base) for a, b in pairwise(frames)}
    assert steps == {0.04}
    if codec == "libx264":  # the order shows in the pictures
        for frame, truth in zip(frames, written, strict=True):
            np.testing.assert_array_equal(frame.planes[0], samples_of(truth)[0])


def test_a_raw_stream_without_times_is_counted(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.h264", frames=8, codec="libx264", container="h264")
    with open_source(tmp_path / "a.h264") as source:
        frames = [item for item in source.read() if isinstance(item, Frame)]
        assert source.damage.repaired_pts == 0
    seconds = [frame.seconds for frame in frames]
    np.testing.assert_allclose(np.diff(seconds), 0.04, atol=1e-6)


def test_a_transport_stream_of_mpeg1_has_whole_frames(tmp_path: Path) -> None:
    """FFmpeg guesses the rate of its fields."""
    write_clip(tmp_path / "a.ts", frames=50, codec="mpeg1video")
    with open_source(tmp_path / "a.ts") as source:
        assert source.clip.rate == 25


def test_variable_times_are_kept(tmp_path: Path) -> None:
    pts = [0, 40, 160, 200, 203, 400]
    write_clip(tmp_path / "a.mkv", frames=6, pts=pts, time_base=Fraction(1, 1000))
    frames, _ = read(tmp_path / "a.mkv")
    assert [frame.pts for frame in frames] == pts


def test_packets_of_other_streams_come_in_the_same_demux(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=25, extras=Extras(audio=2, subtitles=1))
    frames, copied = read(tmp_path / "a.mkv")
    assert len(frames) == 25
    assert {item.stream for item in copied} == {1, 2, 3}
    assert sum(item.stream == 1 for item in copied) >= 46


def test_close_is_final_and_idempotent(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=12)
    source = open_source(tmp_path / "a.mkv")
    reading = source.read()
    first = next(reading)
    assert isinstance(first, Frame)
    source.close()
    source.close()
    assert list(reading) == []
    assert first.planes[0].mean() > 0  # frames outlive their source


@pytest.mark.parametrize("bwdif", [False, True])
@pytest.mark.parametrize("change", ["size", "format"])
def test_a_changing_picture_is_refused(tmp_path: Path, change: str, bwdif: bool) -> None:
    size, pix_fmt = ((32, 32), "yuv420p") if change == "size" else ((64, 48), "yuv444p")
    write_clip(tmp_path / "1.h264", frames=4, codec="libx264", container="h264")
    write_clip(
        tmp_path / "2.h264", frames=4, codec="libx264", container="h264", size=size, pix_fmt=pix_fmt
    )
    both = (tmp_path / "1.h264").read_bytes() + (tmp_path / "2.h264").read_bytes()
    (tmp_path / "a.h264").write_bytes(both)
    with open_source(tmp_path / "a.h264") as source:
        if bwdif:
            source.deinterlace()
        said = r"changes at frame 4 \(0\.160 s\) from 64x48 yuv420p to"
        with pytest.raises(InputError, match=said):
            list(source.read())


def moving(number: int, phase: float = 0.0) -> NDArray[np.uint8]:
    """A textured picture that moves by six samples a frame."""
    y, x = np.mgrid[0:144, 0:176].astype(float)
    x = x - 6.0 * (number + phase)
    texture = 60 * np.sin(x / 5.0) * np.sin(y / 6.0) + 40 * (np.sin(x / 11.0) > 0.2)
    noise = np.random.default_rng(number).normal(0, 3, x.shape)
    return np.clip(110 + texture + noise, 0, 255).astype(np.uint8)


def woven(number: int) -> NDArray[np.uint8]:
    """Two fields, half a frame apart."""
    frame = moving(number).copy()
    frame[1::2] = moving(number, 0.5)[1::2]
    return frame


def telecined(number: int) -> NDArray[np.uint8]:
    """2:3 pulldown: frames 2 and 3 of five are made of two films frames."""
    film, place = number // 5 * 4, number % 5
    if place in (2, 3):
        frame = moving(film + place - 1).copy()
        frame[1::2] = moving(film + place)[1::2]
        return frame
    return moving(film + (place if place < 2 else place - 1))


def test_combing_is_told_from_everything_else() -> None:
    grain = [
        np.random.default_rng(n).integers(40, 200, (144, 176)).astype(np.uint8) for n in range(24)
    ]
    still = [moving(0)] * 24
    stripes = np.zeros((144, 176), np.uint8)
    stripes[::2] = 200
    assert combed([woven(n) for n in range(24)])
    assert combed([telecined(n) for n in range(40)])
    assert not combed([moving(n) for n in range(24)])
    assert not combed(grain)
    assert not combed(still)
    assert not combed([stripes] * 24)
    assert not combed(
        [
            np.clip(moving(n) + 0.5 * (g.astype(float) - 120), 0, 255).astype(np.uint8)
            for n, g in enumerate(grain)
        ]
    )
    assert not combed([])


@pytest.mark.parametrize("flagged", [True, False])
def test_interlaced_film_is_told_by_its_flags_and_by_combing(tmp_path: Path, flagged: bool) -> None:
    frames = []
    for number in range(24):
        frame: Any = av.VideoFrame(176, 144, "gray")
        samples = moving(number) if flagged else woven(number)
        np.frombuffer(frame.planes[0], "u1").reshape(144, -1)[:, :176] = samples
        frames.append(frame)
    order = {"field_order": 2} if flagged else {}
    path = tmp_path / "a.mkv"
    write_clip(path, frames=frames, size=(176, 144), pix_fmt="gray", **order)
    with open_source(path) as source:
        assert source.clip.interlaced == flagged
        found = source.interlacing()
    assert (found.flagged, found.combed) == (flagged, not flagged)


def test_a_film_of_more_bits_that_starts_on_black_passes(tmp_path: Path) -> None:
    frames = []
    for number in range(30):
        frame = av.VideoFrame(64, 48, "yuv420p10le")
        for index, plane in enumerate(frame.planes):
            level = 512 if index else 64 + 4 * number
            np.frombuffer(plane, "<u2").reshape(plane.height, -1)[:] = level
        frames.append(frame)
    write_clip(tmp_path / "a.mkv", frames=frames, size=(64, 48), pix_fmt="yuv420p10le")
    with open_source(tmp_path / "a.mkv") as source:
        assert not source.interlacing().combed


def turns_interlaced(tmp_path: Path) -> None:
    """Two parts put together, only the second one flagged."""
    parts = []
    for number, order in enumerate((0, 2)):
        parts.append(tmp_path / f"{number}.ts")
        # x264 codes frames as interlaced only when told so in both ways.
        woven_too = av.codec.context.Flags.interlaced_dct | av.codec.context.Flags.interlaced_me
        flags = {"field_order": order, "flags": woven_too} if order else {}
        write_clip(
            parts[-1], frames=10, size=(64, 64), codec="libx264", container="mpegts", **flags
        )
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))


def test_film_that_turns_interlaced_is_found(tmp_path: Path) -> None:
    turns_interlaced(tmp_path)
    with open_source(tmp_path / "both.ts") as source:
        assert not source.clip.interlaced
        assert source.interlacing().flagged


@pytest.mark.parametrize("by_fields", [False, True])
def test_frames_repaired_by_fields_are_no_damage(tmp_path: Path, by_fields: bool) -> None:
    turns_interlaced(tmp_path)
    with open_source(tmp_path / "both.ts") as source:
        source.by_fields = by_fields
        list(source.read())
        assert source.damage.interlaced_frames == (0 if by_fields else 10)


def test_progressive_film_passes(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=30, size=(176, 144))
    with open_source(tmp_path / "a.mkv") as source:
        found = source.interlacing()
    assert (found.flagged, found.combed) == (False, False)


def test_frames_without_times_pass_through_bwdif(tmp_path: Path) -> None:
    """AVI with B-frames says no times at all; they are counted before the filter."""
    write_clip(tmp_path / "a.avi", frames=20, codec="libx264", options={"bf": "3"})
    with open_source(tmp_path / "a.avi") as source:
        source.deinterlace()
        frames = [item for item in source.read() if isinstance(item, Frame)]
    assert len(frames) == 20
    assert {float((b.pts - a.pts) * a.time_base) for a, b in pairwise(frames)} == {0.04}


@pytest.mark.parametrize(
    ("size", "pix_fmt", "said"),
    [
        ((64, 4), "yuv420p", "does not take a picture of 64x4 yuv420p"),
        ((4, 64), "yuv422p", "does not take a picture of 4x64 yuv422p"),
        ((1, 1), "gray", "does not take a picture of 1x1 gray"),
        ((64, 48), "gray10le", "cannot keep gray10le"),
    ],
)
def test_what_bwdif_does_not_take_is_refused_before_the_first_frame(
    tmp_path: Path, size: tuple[int, int], pix_fmt: str, said: str
) -> None:
    write_clip(tmp_path / "a.mkv", frames=2, size=size, pix_fmt=pix_fmt)
    with open_source(tmp_path / "a.mkv") as source:
        with pytest.raises(UsageError, match=f"{said}.*; use --interlace fields"):
            source.deinterlace()
        assert sum(isinstance(item, Frame) for item in source.read()) == 2


@pytest.mark.parametrize("missing", [0, 1, 4000])
def test_y4m_that_ends_within_a_frame_is_named(tmp_path: Path, missing: int) -> None:
    data = y4m([picture("yuv420p", 64, 48, number) for number in range(6)])
    (tmp_path / "a.y4m").write_bytes(data[: len(data) - missing])
    with open_source(tmp_path / "a.y4m") as source:
        count = sum(isinstance(item, Frame) for item in source.read())
        assert count == (5 if missing else 6)
        assert source.damage.truncated == bool(missing)


def test_y4m_files_are_read(tmp_path: Path) -> None:
    frames = [picture("yuv420p", 32, 16, number) for number in range(3)]
    (tmp_path / "a.y4m").write_bytes(y4m(frames))
    decoded, _ = read(tmp_path / "a.y4m")
    assert len(decoded) == 3
    np.testing.assert_array_equal(decoded[2].planes[1], samples_of(frames[2])[1])


NAMES = ["a:b.mkv", "-x.mkv", "%03d.mkv", "a|b.mkv", "http:x.mkv", "concat:a.mkv", "a b'\"é.mkv"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Not a protocol, an option, a pattern or a list."""
    write_clip(tmp_path / "a.mkv", frames=3)
    (tmp_path / "a.mkv").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read(Path(name))[0]) == 3


def test_a_header_that_lies_about_the_number_of_frames(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.avi", frames=20, codec="mpeg4")
    data = bytearray((tmp_path / "a.avi").read_bytes())
    at = data.index(b"avih") + 24
    data[at : at + 4] = (7).to_bytes(4, "little")
    at = data.index(b"strh") + 40
    assert int.from_bytes(data[at : at + 4], "little") == 20
    data[at : at + 4] = (7000).to_bytes(4, "little")
    (tmp_path / "a.avi").write_bytes(bytes(data))
    with open_source(tmp_path / "a.avi") as source:
        assert source.clip.frame_count == 7000
        assert sum(isinstance(item, Frame) for item in source.read()) == 20
        assert source.damage.truncated


def test_a_file_that_is_written_to_meanwhile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_clip(path, frames=30)
    for change, named in ((False, False), (True, True)):
        with open_source(path) as source:
            if change:
                with path.open("ab") as file:
                    file.write(b"more")
            list(source.read())
            assert source.damage.changed == named
            assert ("changed while it was read" in str(source.damage)) == named


def test_one_that_takes_the_name_meanwhile_is_another(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_clip(path, frames=30)
    with open_source(path) as source:
        write_clip(tmp_path / "b.mkv", frames=3)
        (tmp_path / "b.mkv").replace(path)
        assert sum(isinstance(item, Frame) for item in source.read()) == 30
        assert not source.damage.changed


def test_one_of_several_videos_is_chosen(tmp_path: Path) -> None:
    one, two, both = (tmp_path / f"{name}.mkv" for name in "abc")
    write_clip(one, frames=10, codec="libx264")
    write_clip(two, frames=10, codec="libx264", size=(32, 16), extras=Extras(audio=1))
    with av.open(str(both), "w") as output:
        sources = [av.open(str(path)) for path in (one, two)]
        copies = {}
        for number, source in enumerate(sources):
            for stream in source.streams:
                copies[number, stream.index] = output.add_stream_from_template(stream, opaque=True)
        output.start_encoding()
        for number, source in enumerate(sources):
            for packet in source.demux():
                if packet.size:
                    packet.stream = copies[number, packet.stream.index]
                    output.mux(packet)
            source.close()
    with open_source(both, stream=1) as source:
        assert (source.clip.picture.width, source.clip.video.index) == (32, 1)
        items = list(source.read())
    frames = [item for item in items if isinstance(item, Frame)]
    assert [frame.planes[0].shape for frame in frames] == [(16, 32)] * 10
    assert {item.stream for item in items if isinstance(item, Copied)} == {0, 2}
    for wrong in (2, 7):
        with pytest.raises(UsageError, match=rf"stream {wrong} .* one of: 0 \(h264\), 1 \(h264\)"):
            open_source(both, stream=wrong)


def test_no_frame_is_lost_where_mpeg2_changes_its_size(tmp_path: Path) -> None:
    """The decoder holds one that FFmpeg would lose."""
    parts = []
    for name, size in (("a", (64, 48)), ("b", (96, 64))):
        path = tmp_path / f"{name}.m2v"
        write_clip(path, frames=10, size=size, codec="mpeg2video", options={"bf": "2"})
        parts.append(path.read_bytes())
    (tmp_path / "c.m2v").write_bytes(parts[0] + parts[1])
    with open_source(tmp_path / "c.m2v", end=Fraction(9, 25)) as source:
        assert sum(isinstance(item, Frame) for item in source.read()) == 10
    # And those behind it are decoded, or nobody would know that it changed.
    with open_source(tmp_path / "c.m2v") as source:
        frames = source.read()
        assert sum(1 for _ in islice(frames, 10)) == 10
        with pytest.raises(PictureChanged, match=r"changes at frame 10 .* to 96x64"):
            next(frames)


def test_a_held_frame_survives_a_size_that_is_damage(tmp_path: Path) -> None:
    """Nothing but the size is left of the last group of pictures."""
    path = tmp_path / "a.m2v"
    options = {"bf": "2", "g": "10"}
    write_clip(path, frames=20, size=(64, 48), codec="mpeg2video", options=options)
    data = bytearray(path.read_bytes())
    last = data.rindex(b"\0\0\1\xb3")
    data[last + 4 : last + 7] = bytes([6, 0, 64])
    picture = data.index(b"\0\0\1\0", last)
    data[picture + 4 :] = bytes(len(data) - picture - 4)
    path.write_bytes(data)
    with open_source(path) as source:
        frames = [item for item in islice(source.read(), 10) if isinstance(item, Frame)]
    assert [frame.planes[0].shape for frame in frames] == [(48, 64)] * 10
