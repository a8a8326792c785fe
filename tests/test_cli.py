"""The command line, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from clips import Extras, read_frames, samples_of, write_clip

import vidrepair

TOOL = [sys.executable, "-c", "from vidrepair.cli import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def tool(*args: str | Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*TOOL, *map(str, args)],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
        env=ENVIRONMENT,
    )


def refused(code: int, *args: str | Path, stdin: bytes | None = None) -> str:
    """Run, expect an exit code, one sentence and no traceback. Returns the sentence."""
    done = tool(*args, stdin=stdin)
    text = done.stderr.decode()
    assert done.returncode == code, text
    assert "Traceback" not in text
    assert len([line for line in text.splitlines() if line.strip()]) <= 4, text
    return text


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "in.mkv"
    write_clip(path, frames=6, extras=Extras(audio=1))
    return path


def test_version_and_help() -> None:
    assert vidrepair.__version__ in tool("--version").stdout.decode()
    text = tool("run", "--help").stdout.decode()
    assert "--denoise" in text
    assert "Traceback" not in text


def test_in_and_out_are_enough(clip: Path) -> None:
    output = clip.with_name("out.mkv")
    done = tool(clip, "-o", output, "--progress", "json")
    assert done.returncode == 0, done.stderr.decode()
    events = [json.loads(line) for line in done.stderr.decode().splitlines()]
    assert events[-1]["event"] == "done"
    assert events[-1]["frames"] == 6
    assert len(read_frames(output)) == 6


def test_names_with_spaces_dashes_and_colons(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clip.parent)
    for name in ("a b.mkv", "übung ☂.mkv", "c:d.mkv", "-e.mkv", "50%d.mkv"):
        clip.with_name(name).write_bytes(clip.read_bytes())
        done = tool("run", "-o", f"out {name}", "--", name)
        assert done.returncode == 0, done.stderr.decode()
        assert len(read_frames(clip.with_name(f"out {name}"))) == 6


def test_probe_says_what_a_file_is(clip: Path) -> None:
    facts = json.loads(tool("probe", "--json", clip).stdout)
    assert (facts["width"], facts["height"], facts["pixel_format"]) == (64, 48, "yuv420p")
    assert "ffv1" in tool("probe", clip).stdout.decode()
    assert "missing.mkv" in refused(3, "probe", clip.with_name("missing.mkv"))


def test_doctor_finds_a_working_engine() -> None:
    done = tool("doctor")
    assert done.returncode == 0, done.stderr.decode()
    assert "model fast on openvino: ready" in done.stdout.decode()


@pytest.mark.parametrize(
    ("code", "args"),
    [
        (2, ("--codec", "mpeg7")),
        (2, ("--codec", "h264", "--crf", "99")),
        (2, ("--denoise", "101")),
        (2, ("--denoise", "much")),
        (2, ("--noise", "-1")),
        (2, ("--tile", "17")),
        (2, ("--frames", "0")),
        (2, ("--memory", "1")),
        (2, ("--backend", "cuda")),
        (6, ("--model", "huge")),
    ],
)
def test_bad_options_are_refused(clip: Path, code: int, args: tuple[str, ...]) -> None:
    output = clip.with_name("out.mkv")
    refused(code, "run", clip, "-o", output, *args)
    assert not output.exists()


def test_bad_inputs_are_refused(clip: Path) -> None:
    folder = clip.parent
    output = folder / "out.mkv"
    (folder / "empty.mkv").touch()
    (folder / "text.mp4").write_text("no video\n" * 50)
    (folder / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{clip}\n")
    (folder / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    with av.open(str(folder / "sound.mka"), "w", format="matroska") as sound:
        stream = sound.add_stream("pcm_s16le", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.int16), "s16", "mono")
        frame.sample_rate = 48000
        sound.mux(stream.encode(frame))
    for name in ("missing.mkv", "empty.mkv", "text.mp4", "list.m3u8", "list.ffconcat", "sound.mka"):
        assert name in refused(3, "run", folder / name, "-o", output)
    refused(3, "run", folder, "-o", output)
    assert not output.exists()


def test_bad_outputs_are_refused(clip: Path) -> None:
    folder = clip.parent
    link = folder / "link.mkv"
    link.symlink_to(clip)
    before = clip.read_bytes()
    for same in (clip, link):
        refused(2, "run", clip, "-o", same, "-y")
    refused(1, "run", clip, "-o", folder / "nowhere" / "out.mkv")
    refused(2, "run", clip, "-o", folder / "out.xyz")
    taken = folder / "taken.mkv"
    taken.write_bytes(b"mine")
    assert "-y" in refused(2, "run", clip, "-o", taken)
    assert taken.read_bytes() == b"mine"
    assert clip.read_bytes() == before


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
@pytest.mark.parametrize("options", [("--denoise", "0"), ("--noise", "0")])
def test_a_pipe_gives_identical_frames(
    tmp_path: Path, ffmpeg: str, pix_fmt: str, options: tuple[str, str]
) -> None:
    source, output = tmp_path / "in.mkv", tmp_path / "out.mkv"
    write_clip(source, frames=9, pix_fmt=pix_fmt)
    quiet = [ffmpeg, "-v", "error", "-y"]
    raw = subprocess.run(
        [*quiet, "-i", source, "-f", "yuv4mpegpipe", "-strict", "-1", "-"],
        capture_output=True,
        check=True,
    )
    done = tool("run", "-", "-o", "-", *options, stdin=raw.stdout)
    assert done.returncode == 0, done.stderr.decode()
    subprocess.run([*quiet, "-i", "-", "-c:v", "ffv1", output], input=done.stdout, check=True)
    for before, after in zip(read_frames(source), read_frames(output), strict=True):
        for one, two in zip(samples_of(before), samples_of(after), strict=True):
            assert np.array_equal(one, two)


def test_standard_output_that_closes_early_ends_the_run(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    write_clip(source, frames=60, size=(320, 240))
    with subprocess.Popen(
        [*TOOL, "run", source, "-o", "-", "--denoise", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1000)
        process.stdout.close()
        text = process.stderr.read().decode()
        assert process.wait(60) == 1, text
    assert "Traceback" not in text
    assert "standard output" in text


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_within_two_seconds_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    source, output = tmp_path / "in.mkv", tmp_path / "out.mkv"
    write_clip(
        source, frames=150, size=(640, 352), codec="libx264", options={"preset": "ultrafast"}
    )
    with subprocess.Popen(
        [*TOOL, "run", source, "-o", output, "--progress", "json"],
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        assert process.stderr is not None
        assert b"progress" in process.stderr.readline()
        process.send_signal(number)
        sent = time.monotonic()
        text = process.stderr.read().decode()
        assert process.wait(30) == code, text
        assert time.monotonic() - sent < 10.0  # two on a free machine: see docs/performance.md
    assert "Traceback" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    source, output = tmp_path / "in.mkv", tmp_path / "out.mkv"
    write_clip(source, frames=30, size=(320, 240))
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200000, 200000));"
        "from vidrepair.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "run", source, "-o", output, "--denoise", "0"],
        capture_output=True,
        check=False,
        env=ENVIRONMENT,
        timeout=60,
    )
    text = done.stderr.decode()
    assert done.returncode == 1, text
    assert "Traceback" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv"]


def test_the_examples_of_the_api_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("noisy.mp4"), frames=4, codec="libx264")
    for function in (vidrepair.repair, vidrepair.probe):
        assert function.__doc__ is not None
        lines = [line.strip() for line in function.__doc__.splitlines()]
        code = "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))
        exec(code, {})  # noqa: S102  # the documentation's own example
    assert len(read_frames(Path("clean.mkv"))) == 4
