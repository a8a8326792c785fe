"""Interlaced film: taken apart, woven together, and repaired field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from clips import moving, read_frames, samples_of, write_clip

from vidrepair import DamageSettings, OutputSettings, RepairSettings, UsageError, repair
from vidrepair.expectation import Made
from vidrepair.fields import apart, half_of, split_fields, weave_fields
from vidrepair.frames import Defect, Frame, Picture, PixelFormat
from vidrepair.matte import UNTOUCHED, Touch
from vidrepair.settings import MaskSettings
from vidrepair.verification import check_files

FORM = PixelFormat("yuv420p", "yuv", 8, (2, 2))
FLAGS = av.codec.context.Flags
WOVEN = FLAGS.interlaced_dct | FLAGS.interlaced_me | FLAGS.global_header
SIZE = (160, 128)


def frame(height: int, number: int = 0) -> Frame:
    rng = np.random.default_rng(number)
    shapes = ((height, 11), (-(-height // 2), 6), (-(-height // 2), 6))
    planes = tuple(rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes)
    return Frame(planes, Picture(11, height, FORM), number, number, Fraction(1, 25), shot=number)


@pytest.mark.parametrize("height", [1, 2, 3, 6, 8, 9])
def test_woven_together_the_fields_are_the_frames(height: int) -> None:
    frames = [frame(height, number) for number in range(3)]
    fields = list(split_fields(frames))
    assert [(one.number, one.parity) for one in fields] == [
        (2 * number + parity, parity) for number in range(3) for parity in (0, 1)
    ]
    assert {one.picture for one in fields} == {half_of(frames[0].picture)}
    for one in fields:
        assert one.planes[0].shape == (one.picture.height, 11)
        assert one.planes[1].shape == (-(-one.picture.height // 2), 6)
    pairs = weave_fields(((one, UNTOUCHED) for one in fields), frames[0].picture)
    for (back, touch), given in zip(pairs, frames, strict=True):
        assert (back.number, back.pts, back.shot, back.parity) == (
            given.number,
            given.pts,
            given.shot,
            None,
        )
        assert touch.codes is None
        for one, other in zip(back.planes, given.planes, strict=True):
            assert np.array_equal(one, other)


def test_what_was_done_to_a_field_lies_on_its_rows() -> None:
    codes = np.zeros((4, 11), np.uint8)
    codes[1, 3:5] = 200
    touch = Touch(codes, (Defect("dust", 1, (1, 3, 2, 5), 0.9, 2),))
    even, odd = split_fields([frame(8)])
    ((_, woven),) = weave_fields([(even, UNTOUCHED), (odd, touch)], frame(8).picture)
    assert woven.codes is not None
    assert np.argwhere(woven.codes).tolist() == [[3, 3], [3, 4]]
    assert [(defect.frame, defect.box) for defect in woven.defects] == [(0, (2, 3, 4, 5))]


def interlaced(path: Path, noise: float) -> list[np.ndarray]:
    """A pan of two pixels a field, with noise, top field first; its luma without the noise."""
    fields, clean = (moving(*SIZE, 48, noise=sigma) for sigma in (noise, 0.0))
    frames = []
    for even, odd in zip(fields[::2], fields[1::2], strict=True):
        whole = av.VideoFrame(*SIZE, "yuv420p")
        for plane, one, other in zip(whole.planes, samples_of(even), samples_of(odd), strict=True):
            view = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]
            view[0::2], view[1::2] = one[0::2], other[1::2]
        frames.append(whole)
    write_clip(
        path,
        frames=frames,
        size=SIZE,
        codec="libx264",
        options={"qp": "0", "preset": "ultrafast"},
        field_order=2,
        flags=WOVEN,
    )
    truth = []
    for even, odd in zip(clean[::2], clean[1::2], strict=True):
        woven = samples_of(even)[0].copy()
        woven[1::2] = samples_of(odd)[0][1::2]
        truth.append(woven)
    return truth


def test_an_order_that_the_container_alone_says_is_not_kept(tmp_path: Path) -> None:
    """HEVC's frames do not say it, and players ask the frames."""
    source, output = tmp_path / "a.mkv", tmp_path / "b.mkv"
    interlaced(source, 0.0)
    write_clip(
        output,
        frames=read_frames(source),
        size=SIZE,
        codec="libx265",
        options={"x265-params": "log-level=none"},
        field_order=3,
    )
    (order,) = (one for one in check_files(output, source) if one.what == "field order")
    assert order.found == "bff by its container alone"
    given_up = Made(lost=frozenset({"field-order"}))
    assert "field order" not in {one.what for one in check_files(output, source, made=given_up)}
    assert "field order" not in {one.what for one in check_files(source, output)}


def error(path: Path, truth: list[np.ndarray]) -> float:
    shown = [samples_of(one)[0].astype(np.float64) for one in read_frames(path)]
    assert len(shown) == len(truth)
    return float(np.sqrt(np.mean([(a - b) ** 2 for a, b in zip(shown, truth, strict=True)])))


def test_fields_are_denoised_apart_and_stay_interlaced(tmp_path: Path) -> None:
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    truth = interlaced(source, 12.0)
    none = DamageSettings(kinds=())
    report = repair(
        source,
        out,
        settings=RepairSettings(noise=(12.0, 12.0), damage=none),
        target=OutputSettings(codec="ffv1"),
    )
    assert report.frames == len(truth)
    found = error(out, truth)
    assert found < 0.4 * error(source, truth)
    # Taken for whole frames, what moves is torn between the rows.
    whole = RepairSettings(noise=(12.0, 12.0), damage=none, interlace="progressive")
    repair(source, tmp_path / "whole.mkv", settings=whole, target=OutputSettings(codec="ffv1"))
    assert found < 0.9 * error(tmp_path / "whole.mkv", truth)


def test_no_strength_changes_no_sample_of_interlaced_film(tmp_path: Path) -> None:
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    interlaced(source, 6.0)
    settings = RepairSettings(denoise=(0.0, 0.0), damage=DamageSettings(kinds=()))
    repair(source, out, settings=settings, target=OutputSettings(codec="ffv1"))
    for was, now in zip(read_frames(source), read_frames(out), strict=True):
        for before, after in zip(samples_of(was), samples_of(now), strict=True):
            assert np.array_equal(before, after)


def test_bwdif_makes_a_progressive_film_of_as_many_frames(tmp_path: Path) -> None:
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    truth = interlaced(source, 0.0)
    settings = RepairSettings(
        denoise=(0.0, 0.0), damage=DamageSettings(kinds=()), interlace="bwdif"
    )
    repair(source, out, settings=settings, target=OutputSettings(codec="ffv1"))
    made = read_frames(out)
    assert [one.pts for one in made] == [one.pts for one in read_frames(source)]
    assert not any(one.interlaced_frame for one in made)
    for one, woven in zip(made, truth, strict=True):
        luma = samples_of(one)[0].astype(np.float64)
        combing = np.abs(luma[1:-1] - (luma[:-2] + luma[2:]) / 2.0).mean()
        torn = woven.astype(np.float64)
        assert combing < 0.5 * np.abs(torn[1:-1] - (torn[:-2] + torn[2:]) / 2.0).mean()


def test_bwdif_of_each_field_makes_twice_the_frames_at_their_times(tmp_path: Path) -> None:
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    interlaced(source, 0.0)
    settings = RepairSettings(
        denoise=(0.0, 0.0), damage=DamageSettings(kinds=()), interlace="bwdif-fields"
    )
    repair(source, out, settings=settings, target=OutputSettings(codec="ffv1"))
    times = [float(one.time) for one in read_frames(source)]
    step = times[1] - times[0]
    expected = [time + share * step for time in times for share in (0.0, 0.5)]
    assert [float(one.time) for one in read_frames(out)] == pytest.approx(expected, abs=1.1e-3)
    # Each shows its own moment: a pan of two samples a field never stands still.
    lumas = [samples_of(one)[0].astype(np.float64) for one in read_frames(out)]
    steps = [np.abs(one - two).mean() for one, two in pairwise(lumas[2:-2])]
    assert min(steps) > 0.5 * max(steps)
    assert not check_files(out, source, made=Made(interlace="bwdif-fields"))
    assert {one.what for one in check_files(out, source)} >= {"number of frames"}


def telecined(path: Path) -> None:
    """A stream of MPEG-2 whose every second frame asks to be shown for three fields."""
    write_clip(
        path,
        frames=moving(64, 48, 24),
        codec="mpeg2video",
        container="mpeg2video",
        rate=Fraction(30000, 1001),
        max_b_frames=0,
    )
    stream = bytearray(path.read_bytes())
    at = pictures = 0
    while (at := stream.find(b"\0\0\1\xb5", at)) >= 0:
        kind = stream[at + 4] >> 4
        if kind == 1:  # ISO/IEC 13818-2 6.2.2.3: not a progressive sequence
            stream[at + 5] &= ~0x08
        if kind == 8:  # 6.2.3.1: top_field_first, repeat_first_field, progressive_frame
            flags = 0x80 * (pictures % 4 < 2) | 0x02 * (pictures % 2 == 0)
            stream[at + 7] = stream[at + 7] & ~0x82 | flags
            stream[at + 8] |= 0x80
            pictures += 1
        at += 4
    path.write_bytes(stream)


def test_soft_telecine_is_named_and_passes_as_it_is(tmp_path: Path) -> None:
    source, out = tmp_path / "in.m2v", tmp_path / "out.mkv"
    telecined(source)
    report = repair(source, out, settings=RepairSettings(damage=DamageSettings(kinds=())))
    assert any("soft telecine" in warning for warning in report.warnings)
    times = [float(one.time) for one in read_frames(out)]
    assert len(times) == 24
    steps = np.diff(times[:-1])  # a raw stream does not say when its last frame is shown
    ratios = np.maximum(steps[1:], steps[:-1]) / np.minimum(steps[1:], steps[:-1])
    assert ratios == pytest.approx(1.5, abs=0.1)


def test_masks_and_a_frame_of_each_field_are_refused_together() -> None:
    with pytest.raises(UsageError, match="use --interlace bwdif"):
        RepairSettings(interlace="bwdif-fields", mask_in=MaskSettings(Path("mask.png")))


def test_a_stage_sees_the_fields_of_one_parity_alone() -> None:
    fields = list(split_fields([frame(8, number) for number in range(5)]))
    seen: list[list[int]] = []

    def held_back(frames: Iterable[Frame]) -> Iterator[Frame]:
        """Holds two."""
        numbers: list[int] = []
        seen.append(numbers)
        waiting: list[Frame] = []
        for one in frames:
            numbers.append(one.number)
            waiting.append(one)
            if len(waiting) > 2:
                yield waiting.pop(0)
        yield from waiting

    assert [one.number for one in apart(fields, held_back)] == list(range(10))
    assert seen == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
