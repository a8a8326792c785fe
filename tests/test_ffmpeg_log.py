"""What FFmpeg says is heard while it is asked for, and goes nowhere afterwards."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import av
import pytest
from av import logging

from vidrepair.ffmpeg_log import listening

SAYS = """
import av
import pytest
from vidrepair.ffmpeg_log import listening
def fail():
    try:
        av.open("file:" + __import__("sys").argv[1])
    except av.FFmpegError:
        pass
fail()
for _ in range(2):
    with listening() as heard:
        fail()
    assert "moov atom not found" in heard(), heard()
    assert av.logging.get_level() is not None
    fail()
"""


def headless(folder: Path) -> Path:
    """An MP4 file of which FFmpeg says that it has no index."""
    path = folder / "a.mp4"
    path.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isommp41" + b"\0\0\x10\0mdat" + bytes(4088))
    return path


def test_nothing_is_printed_before_or_after(tmp_path: Path) -> None:
    """A level of None, which it was, makes PyAV print a traceback where a thread is at work."""
    done = subprocess.run(
        [sys.executable, "-c", SAYS, str(headless(tmp_path))],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_level_that_was_set_is_set_again() -> None:
    before = logging.get_level()
    logging.set_level(logging.ERROR)
    try:
        with listening(logging.DEBUG):
            assert logging.get_level() == logging.DEBUG
        assert logging.get_level() == logging.ERROR
    finally:
        logging.set_level(before)


def test_threads_that_listen_at_once_leave_the_level_as_it_was() -> None:
    """The one that ends last would else put back what the other had set."""
    before = logging.get_level()
    begun, first_ended = threading.Event(), threading.Event()

    def second() -> None:
        with listening(logging.INFO):
            begun.set()
            first_ended.wait(timeout=60)
            levels.append(logging.get_level())

    levels: list[int | None] = []
    other = threading.Thread(target=second)
    with listening(logging.WARNING):
        other.start()
        begun.wait(timeout=60)
    first_ended.set()
    other.join()
    assert levels == [logging.INFO]
    assert logging.get_level() in (before, logging.PANIC)


def test_other_threads_are_not_heard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = headless(tmp_path)

    def fail() -> None:
        try:
            av.open(f"file:{path}")
        except av.FFmpegError:
            return

    with listening() as heard:
        other = threading.Thread(target=fail)
        other.start()
        other.join()
        assert heard() == ""
        fail()
        assert "moov atom not found" in heard()
    assert not caplog.records


FREES = """
import sys
from pathlib import Path
from av import logging
from vidrepair.decode import open_source
from vidrepair.ffmpeg_log import listening
with listening(logging.DEBUG):
    for _ in range(20):
        open_source(Path(sys.argv[1])).close()
"""


def test_a_decoder_whose_threads_write_to_the_log_is_freed() -> None:
    """It waited for the thread, and the thread for the interpreter, for ever."""
    root = Path(__file__).parents[1]
    clip = root / "samples" / "bunny_clean.mp4"
    call = [sys.executable, "-c", FREES, str(clip)]
    done = subprocess.run(call, capture_output=True, check=False, cwd=root, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
