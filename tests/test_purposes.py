"""`--for`: one word in place of codec and quality."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from calling import call
from clips import write_clip

from vidrepair.settings import PURPOSES

IDLE = ("--denoise", "0", "--repair", "none", "--progress", "none")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_clip(folder / "phone.mp4", frames=12, size=(64, 48), codec="libx264")
    for name, form in (("ten.mkv", "yuv420p10le"), ("tape.mkv", "yuv422p10le")):
        write_clip(folder / name, frames=12, size=(64, 48), pix_fmt=form)
    return folder


@pytest.mark.parametrize(
    ("film", "purpose", "name", "words", "codec"),
    [
        ("phone.mp4", "archive", "a.mkv", "--codec ffv1", "ffv1"),
        ("phone.mp4", "web", "a.mp4", "--codec h264 --crf 20", "h264"),
        ("phone.mp4", "edit", "a.mov", "--codec h264 --crf 10 -x g=1", "h264"),
        ("ten.mkv", "web", "a.mp4", "--codec hevc --crf 22", "hevc"),
        ("ten.mkv", "web", "a.webm", "--codec av1 --crf 30", "av1"),
        ("ten.mkv", "edit", "a.mov", "--codec hevc --crf 10 -x g=1", "hevc"),
        ("tape.mkv", "edit", "a.mov", "--codec prores", "prores"),
    ],
)
def test_a_purpose_sets_codec_and_quality_and_says_so(
    films: Path, tmp_path: Path, film: str, purpose: str, name: str, words: str, codec: str
) -> None:
    out = tmp_path / name
    done = call("run", films / film, "-o", out, "--for", purpose, *IDLE)
    assert done.exit_code == 0, done.output
    assert f"--for {purpose} is {words} here" in done.stderr
    with av.open(str(out)) as written:
        video = written.streams.video[0]
        # The decoder of AV1 is another library's.
        assert video.codec_context.codec.canonical_name == codec
        packets = [packet for packet in written.demux(video) if packet.size]
    if purpose == "edit":
        assert len(packets) == 12
        assert all(packet.is_keyframe for packet in packets)


def test_what_browsers_do_not_play_is_said(films: Path, tmp_path: Path) -> None:
    for film, said in (("tape.mkv", True), ("ten.mkv", False)):
        done = call("run", films / film, "-o", tmp_path / f"{film}.mp4", "--for", "web", *IDLE)
        assert ("hardly a browser plays yuv422p10le" in done.stderr) == said


def test_a_quality_that_was_asked_for_stays(films: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    done = call("run", films / "phone.mp4", "-o", out, "--for", "web", "--crf", "33", *IDLE)
    assert done.exit_code == 0, done.output
    assert "--for web is --codec h264 --crf 33 here" in done.stderr


@pytest.mark.parametrize(
    ("film", "words", "said"),
    [
        ("phone.mp4", ("a.mp4", "--for", "archive"), "not go into MP4; write an .mkv file"),
        ("phone.mp4", ("a.webm", "--for", "edit"), "not go into WebM; write a .mov file"),
        ("tape.mkv", ("a.webm", "--for", "web"), "takes (av1) holds 64x48 yuv422p10le; write an"),
        ("phone.mp4", ("a.y4m", "--for", "web"), "--for web is for films in a file; leave it out"),
        ("phone.mp4", ("a.mkv", "--for", "web", "-c", "ffv1"), "leave --codec out"),
        ("phone.mp4", ("a.mkv", "--for", "archive", "--crf", "9"), "no meaning for ffv1"),
    ],
)
def test_what_does_not_suit_is_refused(
    films: Path, tmp_path: Path, film: str, words: tuple[str, ...], said: str
) -> None:
    done = call("run", films / film, "-o", tmp_path / words[0], *words[1:], *IDLE)
    assert done.exit_code == 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_other_purpose_is_known() -> None:
    done = call("run", "a.mkv", "-o", "b.mkv", "--for", "tv")
    assert done.exit_code == 2
    assert all(purpose in done.stderr for purpose in PURPOSES)
