"""What changed lies under the matte: with repeats, lost frames, masks, flicker and fields."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from clips import moving, read_frames, samples_of, write_clip

from vidrepair import MaskSettings, OutputSettings, RepairSettings, repair

SIZE = (96, 64)
SPOT = (slice(20, 30), slice(40, 56))
FLAGS = av.codec.context.Flags
WOVEN = FLAGS.interlaced_dct | FLAGS.interlaced_me | FLAGS.global_header


def film(path: Path, *, interlaced: bool) -> None:
    """Twelve frames, frames 5 and 8 equal to those before."""
    frames = moving(*SIZE, 12, noise=3.0)
    for number in (5, 8):
        for plane, before in zip(frames[number].planes, frames[number - 1].planes, strict=True):
            plane.update(bytes(before))
    flags = {"field_order": 2, "flags": WOVEN} if interlaced else {}
    options = {"qp": "0", "preset": "ultrafast"}
    write_clip(path, frames=frames, size=SIZE, codec="libx264", options=options, **flags)


def mask(path: Path) -> None:
    """White in one place, in every frame."""
    frame = av.VideoFrame(*SIZE, "gray")
    view = np.frombuffer(frame.planes[0], np.uint8).reshape(SIZE[1], -1)
    view[:] = 0
    view[SPOT] = 255
    frame.save(str(path))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("lost", [(), (range(3, 4),), (range(7, 8),)])
def test_what_changed_lies_under_the_matte(
    tmp_path: Path, *, interlaced: bool, lost: tuple[range, ...]
) -> None:
    source, still, out, matte = (
        tmp_path / name for name in ("in.mkv", "mask.png", "out.mkv", "matte.mkv")
    )
    film(source, interlaced=interlaced)
    mask(still)
    settings = RepairSettings(
        denoise=(0.0, 0.0),
        mask_in=MaskSettings(still),
        bad_frames=lost,
        interlace="fields" if interlaced else "progressive",
    )
    report = repair(
        source, out, settings=settings, target=OutputSettings(codec="ffv1", mask_out=matte)
    )
    assert report.rebuilt == sum(map(len, lost))
    assert report.defects.get("rebuilt", 0) == report.rebuilt
    changed = 0
    for was, now, touched in zip(*map(read_frames, (source, out, matte)), strict=True):
        differs = samples_of(was)[0] != samples_of(now)[0]
        assert not np.any(differs & (samples_of(touched)[0] == 0))
        changed += int(differs[SPOT].any())
    assert changed == 12


def test_what_is_protected_stays_in_frames_that_are_made_anew(tmp_path: Path) -> None:
    source, still, out = (tmp_path / name for name in ("in.mkv", "mask.png", "out.mkv"))
    film(source, interlaced=False)
    mask(still)
    settings = RepairSettings(
        denoise=(0.0, 0.0), protect=MaskSettings(still), bad_frames=(range(3, 4),)
    )
    repair(source, out, settings=settings, target=OutputSettings(codec="ffv1"))
    was, now = (samples_of(read_frames(path)[3])[0] for path in (source, out))
    assert np.array_equal(was[SPOT], now[SPOT])
    assert np.any(was != now)


def test_a_repeat_of_a_lost_frame_is_the_frame_before_it(tmp_path: Path) -> None:
    """Flicker is taken away on the way: what a lost frame shows goes nowhere."""
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    frames = moving(*SIZE, 12, noise=0.0)
    for number in range(5, 9):
        for plane, before in zip(frames[number].planes, frames[4].planes, strict=True):
            plane.update(bytes(before))
    gray = frames[6].planes[0]
    gray.update(bytes([185]) * gray.buffer_size)
    write_clip(source, frames=frames, size=SIZE)
    settings = RepairSettings(denoise=(0.0, 0.0), deflicker=100.0, bad_frames=(range(6, 7),))
    repair(source, out, settings=settings, target=OutputSettings(codec="ffv1"))
    shown = [samples_of(frame)[0].astype(float) for frame in read_frames(out)]
    for number in (6, 7, 8):
        assert np.abs(shown[number] - shown[5]).mean() < 2.0
