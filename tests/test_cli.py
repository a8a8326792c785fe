"""The command line, as a user starts it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import click
import numpy as np
import pytest
from clips import Extras, picture, read_frames, samples_of, write_clip

import vidrepair
from vidrepair.cli import main

KINDS = "invalid value for '--repair': '{}' is not all, none or some of dust, scratch, dropout"
TIMES = "invalid value for '--at': '{}' is no time such as 83.5 or 00:01:23.500"
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


def test_no_file_is_refused_before_the_tool_has_looked_at_it() -> None:
    """Click would say that it cannot be read with the exit code of a mistyped option."""
    paths = [
        one.type
        for command in main.commands.values()
        for one in command.params
        if isinstance(one.type, click.Path)
    ]
    assert paths
    assert not any(one.readable for one in paths)


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
    assert "model fast on openvino: works" in done.stdout.decode()


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
        (2, ("--device", "cuda")),
        (2, ("--backend", "torch", "--device", "nowhere")),
        (2, ("--pix-fmt", "nv12")),
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


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--denoise", "0", "--repair", "none"), True),
        (("--denoise", "0", "--repair", "none", "--deflicker", "20"), False),
        (("--denoise", "0", "--repair", "none", "--interlace", "bwdif"), False),
        (("--denoise", "0"), False),
    ],
)
def test_a_run_that_asks_nothing_says_so(clip: Path, asked: tuple[str, ...], said: bool) -> None:
    done = tool("run", clip, "-o", clip.with_name("o.mkv"), *asked)
    assert (done.returncode, b"nothing is asked of the picture" in done.stderr) == (0, said)


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


def test_no_film_is_written_to_a_terminal(clip: Path) -> None:
    screen, end = pty.openpty()
    try:
        done = subprocess.run(
            [*TOOL, "run", clip, "-o", "-"],
            stdin=subprocess.DEVNULL,
            stdout=end,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            check=False,
            timeout=60,
        )
    finally:
        os.close(screen)
        os.close(end)
    assert done.returncode == 2
    assert b"y4m would fill this terminal" in done.stderr


def test_a_mistyped_command_is_told(clip: Path) -> None:
    assert "prob" in refused(2, "prob", clip)
    assert "probe" in tool("-h").stdout.decode()
    assert "--denoise" in tool(clip, "--help").stdout.decode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run a.mkv -o b.mkv --frmes 3", "no such option '--frmes'; did you mean '--frames'?"),
        ("--versio", "no such option '--versio'; did you mean '--version'?"),
        ("probe a.mkv --version", "no such option '--version'; it is vidrepair --version"),
        ("probe a.mkv --versio", "no such option '--versio'; see "),
        (
            "preview a.mkv -o a.png --mask-in b",
            "no such option '--mask-in'; vidrepair run has it; ",
        ),
        (
            "probe a.mkv --at 3",
            "no such option '--at'; vidrepair preview and vidrepair compare have",
        ),
        ("jobs --json", "no such option '--json'; vidrepair jobs list has it; see "),
        ("run a.mkv -o b.mkv --json", "no such option '--json'; see "),
        ("run a.mkv -o b.mkv --resum", "no such option '--resum'; see "),
        ("probe a.mkv --resume", "no such option '--resume'; it is vidrepair resume"),
        ("run a.mkv -o b.mkv --zzz 3", "no such option '--zzz'; see "),
        ("run a.mkv -o b.mkv -z", "no such option '-z'; see "),
        ("run a.mkv -o b.mkv --noise x", "invalid value for '--noise': 'x' is not auto, or a"),
        ("compare a.mkv b.mkv", "missing option '-o' / '--output'; it is "),
        (
            "run a.mkv -o b.mkv --repair scratches",
            f"{KINDS.format('scratches')}; did you mean scra",
        ),
        ("run a.mkv -o b.mkv --repair hair", f"{KINDS.format('hair')}; see "),
        ("preview a.mkv --at 0:00:00:12", f"{TIMES.format('0:00:00:12')}; write frames as a fract"),
        ("preview a.mkv --at 0:00:01;12", f"{TIMES.format('0:00:01;12')}; write frames as a fract"),
        ("preview a.mkv --at 0.5,1.2", f"{TIMES.format('0.5,1.2')}; a fraction is written with a"),
        ("preview a.mkv --at noon", f"{TIMES.format('noon')}; see "),
        ("prob", "no such command 'prob'; did you mean 'probe'?"),
        ("analyze a.mkv -o film.mp4 -y", "the sidecar film.mp4 is no .json file; name it so"),
        ("batch a.mkv -P out --report", "--report tells of one film, and a batch makes many"),
        ("run a.mkv -o b.mkv --mask-threshold 0.7", "--mask-threshold acts on --mask-in or"),
        ("run a.mkv -o b.mkv --mask-channel alpha", "--mask-channel acts on --mask-in; name"),
        ("analyze a.mkv --frames 9", "analyze tells of the whole film; leave --frames out, or c"),
        ("analyze a.mkv --fames 9", "no such option '--fames'"),
    ],
)
def test_a_mistyped_line_is_told_in_one_sentence(words: str, said: str) -> None:
    (line,) = refused(2, *words.split()).splitlines()
    assert line.startswith(f"vidrepair: {said}")


def test_what_is_chosen_is_a_note_and_no_warning(clip: Path) -> None:
    done = tool("run", clip, "-o", clip.with_name("o.mkv"), "--for", "web", "--denoise", "0")
    assert done.stderr.decode().startswith("vidrepair: note: --for web is --codec")


def test_what_is_written_beside_the_film_is_named(clip: Path) -> None:
    names = [clip.with_name(name) for name in ("o.mkv.vr.json", "m.edl", "m.mkv")]
    words = ("--sidecar", "--markers", names[1], "--mask-out", names[2], "--backend", "identity")
    done = tool("run", clip, "-o", clip.with_name("o.mkv"), *words)
    told = ", ".join(map(str, names))
    assert done.stderr.decode().splitlines()[-1] == f"written beside it: {told}"


def test_errors_are_json_among_json(clip: Path) -> None:
    done = tool("run", clip, "-o", clip.with_name("out.webm"), "--progress", "json")
    assert done.returncode == 2
    event = json.loads(done.stderr)
    assert (event["event"], event["exit"]) == ("error", 2)
    assert ".mkv" in event["message"]


def test_what_a_terminal_obeys_is_not_printed(tmp_path: Path) -> None:
    name = tmp_path / "a\x1b[31m\rb.mkv"
    assert "a\ufffd[31m\ufffdb.mkv" in refused(3, name, "-o", tmp_path / "out.mkv")
    with av.open(str(name), "w") as film:
        stream = film.add_stream("ffv1", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        text = film.add_mux_stream("subrip")
        text.metadata["title"] = "x\x1b[2J\ny"
        for number in range(5):
            film.mux(stream.encode(picture("yuv420p", 64, 48, number)))
        film.mux(stream.encode(None))
    told = tool("probe", name)
    assert told.returncode == 0
    lines = told.stdout.decode().splitlines()
    assert "a\ufffd[31m\ufffdb.mkv: " in lines[0]
    done = tool(name, "-o", tmp_path / "out.y4m", "--denoise", "0")
    assert done.returncode == 0
    assert "subtitle stream 1" in done.stderr.decode()
    for said in (told.stdout, done.stderr):
        assert b"\x1b" not in said
        assert all(letter.isprintable() or letter == "\n" for letter in said.decode())


def test_what_is_not_carried_is_named_before_the_work(clip: Path) -> None:
    done = tool("run", clip, "-o", "-", "--progress", "json")
    events = [json.loads(line) for line in done.stderr.decode().splitlines()]
    assert events[0]["event"] == "warning"
    assert [event["event"] for event in events][-1] == "done"
    assert any("audio" in event.get("message", "") for event in events[:-1])


def test_damage_is_counted_and_said(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    write_clip(source, frames=60)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    done = tool("run", source, "-o", tmp_path / "out.mkv", "--backend", "identity")
    assert done.returncode == 0
    said = done.stderr.decode()
    assert "damage met in the source: the file is truncated" in said
    # And before the work, as probe and estimate say it.
    missing = len(data) - len(data) // 2
    told = f"in.mkv is cut off: {missing} bytes are missing at its end"
    assert told in said.splitlines()[0]
    assert told in tool("probe", source).stdout.decode()
    assert told in " ".join(json.loads(tool("probe", source, "--json").stdout)["remarks"])
    assert told in tool("estimate", source, "--backend", "identity").stderr.decode()
    source.write_bytes(data)
    assert json.loads(tool("probe", source, "--json").stdout)["remarks"] == []


def test_a_film_without_frames_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    write_clip(source, frames=2)
    with av.open(str(source)) as old, av.open(str(tmp_path / "none.mkv"), "w") as new:
        new.add_stream_from_template(old.streams.video[0], opaque=True)
        new.start_encoding()
    assert "none.mkv" in refused(3, "run", tmp_path / "none.mkv", "-o", tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot wait for a pipe")
def test_a_stalled_pipe_can_be_interrupted(tmp_path: Path) -> None:
    header = b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\n"
    with subprocess.Popen(
        [*TOOL, "run", "-", "-o", tmp_path / "out.mkv"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(header + b"FRAME\n" + bytes(64 * 48 * 3 // 2))
        process.stdin.flush()
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("*.part")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert list(tmp_path.iterdir()) == []


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
    assert "no space left" in text
    assert "Traceback" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv"]


def test_the_examples_of_the_api_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("noisy.mp4"), frames=4, codec="libx264")
    shown = (vidrepair.estimate, vidrepair.preview, vidrepair.compare, vidrepair.write_report)
    for function in (vidrepair.repair, vidrepair.probe, vidrepair.verify, *shown):
        assert function.__doc__ is not None
        lines = [line.strip() for line in function.__doc__.splitlines()]
        code = "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))
        exec(code, {})  # noqa: S102  # the documentation's own example
    assert len(read_frames(Path("clean.mkv"))) == 4


def test_the_public_names_are_these() -> None:
    assert vidrepair.__all__ == sorted(vidrepair.__all__)
    assert set(vidrepair.__all__) == {
        *("probe", "repair", "__version__", "Clip", "Progress", "Report"),
        *("DamageSettings", "EngineSettings", "Job", "MaskSettings", "OutputSettings"),
        *("Difference", "verify"),
        *("compare", "estimate", "preview", "write_report"),
        *("RepairSettings", "SourceSettings"),
        *(
            "CannotCarry",
            "CheckFailed",
            "EngineError",
            "InputError",
            "ModelError",
        ),
        *("UsageError", "VidrepairError"),
    }


LOST = """
import os, signal, sys, time
from vidrepair.cli import main

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        time.sleep(0.05)

@main.command()
def waits():
    Last()
    time.sleep(20)

main(["waits"])
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interruption_that_falls_into_a_finaliser_is_not_lost(name: str, code: int) -> None:
    command = [sys.executable, "-c", LOST.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("vidrepair re", "plain,report"),
        ("vidrepair run fil", "file,fil"),
        ("vidrepair run in.mkv -o ou", "file,ou"),
        ("vidrepair batch fil", "file,fil"),
        ("vidrepair estimate fil", "file,fil"),
        ("vidrepair run in.mkv -c ff", "plain,ffv1"),
        ("vidrepair run in.mkv --over", "plain,--overlay"),
    ],
)
def test_a_shell_completes(words: str, offered: str) -> None:
    count = len(words.split()) - 1
    asked = {"_VIDREPAIR_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'vidrepair'; from vidrepair.__main__ import start; start()",
        ],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert offered in found.stdout.split()
    assert not found.stderr
