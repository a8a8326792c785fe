"""Bad input, media side: one sentence with the remedy, exit code 3, nothing left behind."""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import Extras, read_frames, samples_of, write_clip
from passing import pass_through

from vidrepair.decode import open_source
from vidrepair.encode import plan_output
from vidrepair.errors import InputError, UsageError, VidrepairError
from vidrepair.files import write_bytes
from vidrepair.settings import OutputSettings

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n"


def refused(path: Path, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        open_source(path)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.mp4", "does not exist; check the name")


def test_folder(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder; name one video file")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    refused(tmp_path / "a.mp4", "is empty; copy or download it again")


@pytest.mark.parametrize("text", ["just some text\n" * 50, "x", "\x1b[31mart\x1b[0m" * 99])
def test_text_with_a_film_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.mp4").write_text(text)
    refused(tmp_path / "a.mp4", "cannot be read as a video file")


def test_noise(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(np.random.default_rng(0).bytes(50000))
    refused(tmp_path / "a.mkv", "a.mkv ")


def test_sound_alone(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    refused(tmp_path / "a.mp4", "no video stream, it holds only audio")


def test_sound_with_a_cover_is_no_film(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", extras=Extras(audio=1, cover=True))
    with (
        av.open(str(tmp_path / "a.mkv")) as source,
        av.open(str(tmp_path / "b.mp4"), "w") as output,
    ):
        kept = [s for s in source.streams if s.index > 0]
        copies = {s.index: output.add_stream_from_template(s, opaque=True) for s in kept}
        copies[kept[-1].index].disposition = kept[-1].disposition
        output.start_encoding()
        for packet in source.demux(*kept):
            if packet.size:
                packet.stream = copies[packet.stream.index]
                output.mux(packet)
    refused(tmp_path / "b.mp4", "no video stream")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.m3u8", HLS),
        ("a.mp4", HLS),
        ("a.ffconcat", "ffconcat version 1.0\nfile a.ts\n"),
        ("a.mkv", "ffconcat version 1.0\nfile a.ts\n"),
        ("a.mpd", '<?xml version="1.0"?>\n<MPD></MPD>\n'),
        ("a.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\n"),
    ],
)
def test_playlists_are_refused(tmp_path: Path, name: str, text: str) -> None:
    write_clip(tmp_path / "a.ts", codec="libx264")  # what they name does exist
    (tmp_path / name).write_text(text)
    refused(tmp_path / name, "is a playlist, which would open other files")


def test_playlists_are_refused_by_content_too(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.ts", codec="libx264")
    (tmp_path / "a.mp4").write_text("# a comment first\n" + HLS)
    refused(tmp_path / "a.mp4", "a.mp4 ")


def test_addresses_are_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("http://127.0.0.1/a.mp4", "concat:a.ts|b.ts", "pipe:0"):
        refused(Path(name), "does not exist")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mkv")
    refused(tmp_path / "a.mkv", "is not a regular file")


def test_float_samples_are_refused_by_name(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as output:
        stream = output.add_stream("ffv1", rate=25, options={"strict": "experimental"})
        stream.width, stream.height, stream.pix_fmt = 16, 16, "gbrpf32le"
        frame = av.VideoFrame(16, 16, "gbrpf32le")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts = 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    refused(tmp_path / "a.mkv", "gbrpf32le .* is not supported; convert it")


# Damage in the middle: go on, and say so.


def test_truncated_matroska_goes_on_to_its_end(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=100)
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(data[: len(data) // 2])
    passed = pass_through(tmp_path / "a.mkv", tmp_path / "b.mkv")
    assert 30 < passed.frames < 60
    assert passed.damage.truncated
    missing = 4.0 - passed.frames / 25
    assert passed.damage.missing_seconds == pytest.approx(missing, abs=0.05)
    assert str(passed.damage) == f"the file is truncated: the last {missing:.1f} s are missing"


def test_truncated_mp4_with_its_index_in_front(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=100, codec="libx264")
    pass_through(tmp_path / "a.mkv", tmp_path / "b.mp4")  # written with the index in front
    data = (tmp_path / "b.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(data[: len(data) // 2])
    passed = pass_through(tmp_path / "b.mp4", tmp_path / "c.mkv")
    assert 20 < passed.frames < 100
    assert passed.damage.truncated


def test_truncated_mp4_whose_index_came_last(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames=50, codec="libx264")
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    refused(tmp_path / "a.mp4", r"a.mp4 has no index \(moov\): .* cut off .*; copy it again")


def test_whole_files_are_not_called_truncated(tmp_path: Path) -> None:
    for suffix in ("mkv", "mp4", "avi", "mov"):
        source = tmp_path / f"a.{suffix}"
        write_clip(source, frames=50, codec="libx264", extras=Extras(audio=1))
        passed = pass_through(source, tmp_path / f"b.{suffix}.mkv")
        assert str(passed.damage) == ""


def test_what_lies_behind_a_film_is_not_missing(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    write_clip(source, frames=20, codec="libx264")
    for tail in (b"hello world, junk at the end", b"\0\0\0\2abcd" * 9, b"\0\0\1\0" * 5):
        (tmp_path / "b.mp4").write_bytes(source.read_bytes() + tail)
        with open_source(tmp_path / "b.mp4") as opened:
            assert opened.remarks == ()


def test_a_slow_film_with_frames_coded_out_of_order_is_whole(tmp_path: Path) -> None:
    """Its last packet is coded seconds before it is shown."""
    source = tmp_path / "a.mp4"
    write_clip(source, frames=20, codec="libx264", rate=Fraction(1))
    assert str(pass_through(source, tmp_path / "b.mp4").damage) == ""


@pytest.mark.parametrize(
    ("suffix", "codec"), [("ts", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4")]
)
def test_corruption_in_the_middle_is_passed_and_counted(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    source = tmp_path / f"a.{suffix}"
    write_clip(source, frames=100, codec=codec, options={"g": "12"})
    data = bytearray(source.read_bytes())
    random = np.random.default_rng(1)
    for start in range(len(data) // 3, 2 * len(data) // 3, 3000):
        data[start : start + 40] = random.bytes(40)
    source.write_bytes(bytes(data))
    passed = pass_through(source, tmp_path / "b.mkv")
    assert 40 < passed.frames <= 100
    damage = passed.damage
    if suffix != "mkv":  # there H.264's concealment may say nothing at all
        assert damage.corrupt_packets + damage.corrupt_frames + damage.decode_errors > 0
    assert damage.as_dict()["decode_errors"] == damage.decode_errors
    times = [float(frame.pts * frame.time_base) for frame in read_frames(tmp_path / "b.mkv")]
    assert len(times) == passed.frames
    assert times == sorted(set(times))


def test_times_that_run_backwards_are_repaired(tmp_path: Path) -> None:
    """Two transport streams in one, as recorders and copy /b make them."""
    write_clip(tmp_path / "a.ts", frames=25, codec="libx264", options={"bf": "0"})
    data = (tmp_path / "a.ts").read_bytes()
    (tmp_path / "b.ts").write_bytes(data + data)
    passed = pass_through(tmp_path / "b.ts", tmp_path / "c.mkv", OutputSettings(codec="ffv1"))
    frames = read_frames(tmp_path / "c.mkv")
    assert len(frames) == passed.frames == 50
    steps = np.diff([float(frame.pts * frame.time_base) for frame in frames])
    assert steps.min() > 0.03
    assert passed.damage.repaired_pts == 25
    np.testing.assert_array_equal(samples_of(frames[30])[0], samples_of(frames[5])[0])


# Outputs that cannot be.


def test_output_exists(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    (tmp_path / "b.mkv").write_text("precious")
    with pytest.raises(UsageError, match="exists; add -y"):
        pass_through(tmp_path / "a.mkv", tmp_path / "b.mkv")
    assert (tmp_path / "b.mkv").read_text() == "precious"
    pass_through(tmp_path / "a.mkv", tmp_path / "b.mkv", OutputSettings(overwrite=True))
    assert len(read_frames(tmp_path / "b.mkv")) == 12


@pytest.mark.parametrize("link", ["itself", "symlink", "hardlink", "roundabout"])
def test_output_is_the_source(tmp_path: Path, link: str) -> None:
    source = tmp_path / "a.mkv"
    write_clip(source)
    before = source.read_bytes()
    output = tmp_path / "b.mkv"
    if link == "itself":
        output = source
    elif link == "symlink":
        output.symlink_to(source)
    elif link == "hardlink":
        output.hardlink_to(source)
    else:
        (tmp_path / "folder").mkdir()
        output = tmp_path / "folder" / ".." / "a.mkv"
    with pytest.raises(UsageError, match="is the source itself"):
        pass_through(source, output, OutputSettings(overwrite=True))
    assert source.read_bytes() == before


def test_a_file_where_a_folder_should_be_and_a_name_that_is_too_long(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    with pytest.raises(VidrepairError, match=r"a\.mkv is no folder; name one that is"):
        pass_through(tmp_path / "a.mkv", tmp_path / "a.mkv" / "b.mkv")
    with pytest.raises(VidrepairError, match="too long; choose a shorter one"):
        write_bytes(tmp_path / f"{'x' * 300}.png", [b""])


def test_output_folder_missing(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    with pytest.raises(VidrepairError, match="does not exist; make it first") as caught:
        pass_through(tmp_path / "a.mkv", tmp_path / "none" / "b.mkv")
    assert caught.value.exit_code == 1


def test_output_is_a_folder(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    (tmp_path / "b.mkv").mkdir()
    with pytest.raises(UsageError, match="is a folder; name a file"):
        pass_through(tmp_path / "a.mkv", tmp_path / "b.mkv")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs rights on folders")
def test_output_folder_read_only(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    with tempfile.TemporaryDirectory() as name, open_source(tmp_path / "a.mkv") as source:
        folder, user = Path(name), os.geteuid()
        folder.chmod(0o555)
        try:
            if user == 0:
                os.seteuid(65534)  # nothing is read-only for root
            with pytest.raises(VidrepairError, match="nothing can be written to the folder"):
                plan_output(source.clip, folder / "b.mkv", OutputSettings())
        finally:
            if user == 0:
                os.seteuid(user)
            folder.chmod(0o755)
