"""What holds for every test: nothing is logged as an error, and no thread is left running."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from training.config import TrainConfig

# At the end of the path, not at its head: `training` and `samples` come from the checkout, while
# `vidrepair` and `trt_build` are the installed ones where they are installed, as on CI.
sys.path.append(str(Path(__file__).parents[1]))

TRAINING = """
threads = 1
device = "cpu"
[data]
clips = ["clips"]
photos = ["photos"]
photo_share = 0.5
[batch]
lanes = 2
frames = 3
crop = 32
long_share = 0.5
long_frames = 6
[schedule]
steps = 4
warmup = 2
decay = 2
checkpoint_every = 2
log_every = 1
"""

THREAD_GRACE = 2.0
"""Seconds a thread may take to end after its test."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked gpu need one; REQUIRE_GPU=1 makes a machine without it a failure. Those marked
    slow run with VIDREPAIR_SLOW=1 only.
    """
    if item.get_closest_marker("gpu") and not os.environ.get("REQUIRE_GPU"):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
    if item.get_closest_marker("slow") and not os.environ.get("VIDREPAIR_SLOW"):
        pytest.skip("takes minutes; VIDREPAIR_SLOW=1 runs it")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parents[1]


@pytest.fixture
def samples(root: Path) -> Path:
    """The folder of the sample clips."""
    return root / "samples"


@pytest.fixture
def ffmpeg() -> str:
    """The path of ffmpeg. CI installs it; elsewhere its tests are skipped where it is missing."""
    path = shutil.which("ffmpeg")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("ffmpeg is missing; install it with apt-get install ffmpeg")
        pytest.skip("needs ffmpeg")
    return path


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training's configuration, tiny.toml, beside two clips and a photograph.

    Written by OpenCV: the machines with a GPU may lack PyAV.
    """
    cv2 = pytest.importorskip("cv2")
    folder = tmp_path_factory.mktemp("training")
    (folder / "clips").mkdir()
    (folder / "photos").mkdir()
    rows, columns = np.mgrid[0:64, 0:96]
    for number in range(2):
        path = folder / "clips" / f"clip{number}.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (96, 64))
        for t in range(6):
            wave = [np.sin((columns + 3 * t) / 9 + i) * np.cos(rows / 7 + number) for i in range(3)]
            writer.write((127.5 + 90.0 * np.stack(wave, axis=-1)).astype(np.uint8))
        writer.release()
    picture = np.random.default_rng(0).integers(0, 255, (80, 120, 3)).astype(np.uint8)
    cv2.imwrite(str(folder / "photos" / "photo.png"), picture)
    (folder / "tiny.toml").write_text(TRAINING)
    return folder


@pytest.fixture
def config(workplace: Path) -> TrainConfig:
    """tiny.toml as it stands."""
    from training.config import load_config

    return load_config(workplace / "tiny.toml")


@pytest.fixture(autouse=True)
def _no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    # FFmpeg's own log, which PyAV hands on as "libav", may well complain about a broken file.
    errors = [
        record.getMessage()
        for phase in ("setup", "call")
        for record in caplog.get_records(phase)  # type: ignore[arg-type]
        if record.levelno >= logging.ERROR and not record.name.startswith("libav")
    ]
    assert not errors, f"logged as errors: {errors}"


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + THREAD_GRACE
    while (left := _ours()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, f"threads left running: {left}"


def _ours() -> list[str]:
    """Our threads by name; libraries keep pools of their own."""
    names = (thread.name for thread in threading.enumerate())
    return sorted(name for name in names if name.startswith(("decode", "encode", "batches")))
