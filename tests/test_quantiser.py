"""The step of the quantiser, as real streams tell it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from clips import write_clip

from vidrepair.decode import open_source
from vidrepair.frames import Frame
from vidrepair.noise import CODED, combine, measure_span
from vidrepair.quantiser import quantiser_step


def frames_of(path: Path) -> list[Frame]:
    with open_source(path, tell_quantiser=True) as source:
        return [item for item in source.read() if isinstance(item, Frame)]


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "options", "step"),
    [
        ("libx264", "yuv420p", {"qp": "20"}, 0.625 * 2 ** (20 / 6)),
        ("libx264", "yuv420p", {"qp": "32"}, 0.625 * 2 ** (32 / 6)),
        ("libx264", "yuv420p10le", {"qp": "20"}, 0.625 * 2 ** (20 / 6)),
        ("mpeg2video", "yuv420p", {"qmin": "4", "qmax": "4"}, 12.0),
        ("ffv1", "yuv420p", {}, 0.0),
    ],
)
def test_the_step_is_that_of_the_encoder(
    tmp_path: Path, codec: str, pix_fmt: str, options: dict[str, str], step: float
) -> None:
    path = tmp_path / "clip.mkv"
    write_clip(path, frames=4, size=(96, 64), codec=codec, pix_fmt=pix_fmt, options=options)
    steps = [frame.quantiser_step for frame in frames_of(path)]
    # x264 gives intra frames a finer step and B-frames a coarser one, by up to 3.5 QP.
    assert steps[0] == pytest.approx(step, rel=0.5)
    assert steps[1:] == [0.0] * 3  # every fifth frame tells
    if codec != "libx264":  # linear scale: twice the code
        assert steps[0] == pytest.approx(step, rel=0.01)


def test_the_step_is_the_same_at_ten_bits_as_at_eight(tmp_path: Path) -> None:
    steps = []
    for name, pix_fmt in (("8", "yuv420p"), ("10", "yuv420p10le")):
        path = tmp_path / f"{name}.mkv"
        write_clip(path, frames=1, codec="libx264", pix_fmt=pix_fmt, options={"qp": "24"})
        steps.append(frames_of(path)[0].quantiser_step)
    assert steps[0] == pytest.approx(steps[1], rel=0.01)


@pytest.mark.parametrize("params", [b"", b"\0" * 20, b"\x01" + b"\0" * 39, b"\xff" * 64])
def test_what_cannot_be_read_tells_nothing(params: bytes) -> None:
    assert quantiser_step(params) == 0.0


def test_a_frame_without_blocks_has_the_step_of_its_header() -> None:
    # AVVideoEncParams: no blocks, none of any size, H.264, QP 24.
    header = struct.pack("@INNii8i", 0, 72, 20, 1, 24, *[0] * 8)
    assert quantiser_step(header) == pytest.approx(10.0)


def test_nobody_pays_who_does_not_ask(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    write_clip(path, frames=3, codec="libx264", options={"qp": "24"})
    with open_source(path) as source:
        frames = [item for item in source.read() if isinstance(item, Frame)]
    assert [frame.quantiser_step for frame in frames] == [0.0] * 3


def test_the_profile_holds_what_the_codec_froze(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    write_clip(path, frames=12, size=(256, 192), codec="libx264", options={"qp": "30"})
    frames = frames_of(path)
    profile = combine(measure_span(frames), None)
    coded = (
        CODED * np.mean([frame.quantiser_step for frame in frames if frame.quantiser_step]) / 255.0
    )
    assert profile.luma.min() >= 0.99 * coded
    assert profile.chroma.min() >= 0.49 * coded
