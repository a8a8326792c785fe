"""Dust, flicker and grain through the whole pipe, on the sample that carries them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import moving, read_frames, samples_of, write_clip

from vidrepair import DamageSettings, OutputSettings, RepairSettings, repair
from vidrepair.errors import UsageError

FRAMES = 20


@pytest.fixture(scope="module")
def repaired(tmp_path_factory: pytest.TempPathFactory, root: Path) -> tuple[Path, Path, Path]:
    """The damaged sample, the same without its dust and with its grain, and the matte."""
    folder = tmp_path_factory.mktemp("film")
    source = root / "samples" / "film_damaged.mkv"
    out, matte = folder / "out.mkv", folder / "matte.mkv"
    report = repair(
        source,
        out,
        settings=RepairSettings(denoise=(0.0, 0.0)),
        target=OutputSettings(codec="ffv1", frames=FRAMES, mask_out=matte),
    )
    assert report.defects.get("dust", 0) > FRAMES
    assert 0.0 < report.touched < 0.01
    assert "repaired: " in report.summary()
    for shot in report.shares:  # places of two kinds may overlap, and nothing is of none
        assert shot.touched * 0.999 < sum(shot.kinds.values()) < 1.1 * shot.touched
    return source, out, matte


def test_nothing_changes_outside_the_matte(repaired: tuple[Path, Path, Path]) -> None:
    source, out, matte = (read_frames(path)[:FRAMES] for path in repaired)
    assert len(out) == len(matte) == FRAMES
    touched = 0
    for was, now, mask in zip(source, out, matte, strict=True):
        assert mask.format.name == "gray"
        assert Fraction(mask.pts) * mask.time_base == Fraction(now.pts) * now.time_base
        covered = samples_of(mask)[0] > 0
        pairs = list(zip(samples_of(was), samples_of(now), strict=True))
        chroma = covered[::2, ::2] | covered[1::2, ::2] | covered[::2, 1::2] | covered[1::2, 1::2]
        for (before, after), place in zip(pairs, (covered, chroma, chroma), strict=True):
            assert np.array_equal(before[~place], after[~place])
        touched += int((pairs[0][0] != pairs[0][1]).sum())
    assert touched > 1000


def test_a_bird_among_the_dust_stays(root: Path, tmp_path: Path) -> None:
    """A part of it stands out by itself, without the rest that its neighbours have, too."""
    matte = tmp_path / "matte.mkv"
    repair(
        root / "samples" / "film_damaged.mkv",
        matte,
        settings=RepairSettings(denoise=(0.0, 0.0), deflicker=100.0),
        target=OutputSettings(frames=8, mask_out=matte, writes=False),
    )
    bird = samples_of(read_frames(matte)[1])[0][57:75, 327:350]
    assert not bird.any()


def test_dust_is_gone_and_grain_is_in_its_place(repaired: tuple[Path, Path, Path]) -> None:
    """The fill is as far from the frame before as its surroundings are, and no smoother."""
    source, out, matte = (
        [samples_of(frame)[0].astype(np.float32) for frame in read_frames(path)[:FRAMES]]
        for path in repaired
    )
    inside, outside, dust = [], [], []
    for was, now, mask in zip(source, out, matte, strict=True):
        place = mask > 0
        around = (cv2.dilate(place.astype(np.uint8), np.ones((15, 15))) > 0) & ~place
        detail = now - cv2.GaussianBlur(now, (0, 0), 1.5)
        dirt = was - cv2.GaussianBlur(was, (0, 0), 1.5)
        inside.append(detail[place])
        dust.append(dirt[place])
        outside.append(detail[around])
    power = [np.mean(np.concatenate(part) ** 2) for part in (inside, outside, dust)]
    assert power[2] > 3.0 * power[1]
    assert 0.5 * power[1] < power[0] < 1.5 * power[1]


def test_repair_none_leaves_the_dust(repaired: tuple[Path, Path, Path], tmp_path: Path) -> None:
    source = repaired[0]
    settings = RepairSettings(denoise=(0.0, 0.0), damage=DamageSettings(kinds=()))
    report = repair(
        source,
        tmp_path / "same.mkv",
        settings=settings,
        target=OutputSettings(codec="ffv1", frames=3),
    )
    assert report.defects == {}
    for was, now in zip(read_frames(source), read_frames(tmp_path / "same.mkv"), strict=False):
        for before, after in zip(samples_of(was), samples_of(now), strict=True):
            assert np.array_equal(before, after)


def test_grain_comes_back_and_is_new_in_every_frame(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    write_clip(source, frames=moving(160, 96, 12), size=(160, 96))

    def restored(grain: float) -> list[np.ndarray]:
        out = tmp_path / "out.mkv"
        repair(
            source,
            out,
            settings=RepairSettings(grain=grain, damage=DamageSettings(kinds=())),
            target=OutputSettings(codec="ffv1", overwrite=True),
        )
        return [samples_of(frame)[0].astype(np.float32) for frame in read_frames(out)]

    smooth, grainy, again = restored(0.0), restored(100.0), restored(100.0)
    added = [one - other for one, other in zip(grainy, smooth, strict=True)]
    given = [samples_of(frame)[0].astype(np.float32) for frame in read_frames(source)]
    taken = [one - other for one, other in zip(given, smooth, strict=True)]
    assert np.std(added) == pytest.approx(np.std(taken), rel=0.2)
    assert abs(np.corrcoef(added[4].ravel(), added[5].ravel())[0, 1]) < 0.1
    assert all(np.array_equal(one, other) for one, other in zip(grainy, again, strict=True))


def test_flicker_goes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frames = moving(160, 96, 24, noise=0.0)
    for frame, gain in zip(frames, rng.uniform(0.92, 1.08, len(frames)), strict=True):
        luma = np.frombuffer(frame.planes[0], np.uint8).reshape(96, -1)
        luma[:] = np.clip(16.0 + gain * (luma - 16.0), 16, 235).round()
    source = tmp_path / "in.mkv"
    write_clip(source, frames=frames, size=(160, 96))
    idle = RepairSettings(denoise=(0.0, 0.0), damage=DamageSettings(kinds=()), deflicker=100.0)
    target = OutputSettings(codec="ffv1")
    repair(source, tmp_path / "out.mkv", settings=idle, target=target)

    def steps(path: Path) -> float:
        means = [samples_of(frame)[0].mean() for frame in read_frames(path)]
        return float(np.std(np.diff(means)))

    assert steps(tmp_path / "out.mkv") < 0.25 * steps(source)


@pytest.mark.parametrize(
    ("what", "names"),
    [
        (lambda: DamageSettings(kinds=("hair",)), "--repair hair"),
        (lambda: DamageSettings(min_confidence=1.5), "--min-confidence 1.5"),
        (lambda: RepairSettings(grain=101.0), "--grain 101"),
        (lambda: RepairSettings(denoise=(0.0, 0.0), grain=50.0), "--grain puts back"),
        (lambda: RepairSettings(deflicker=-1.0), "--deflicker -1"),
        (lambda: RepairSettings(max_change=300.0), "--max-change 300"),
        (lambda: RepairSettings(noise=(3.0, 3.0), noise_profile=Path("g.json")), "--noise-profile"),
        (
            lambda: RepairSettings(damage=DamageSettings(kinds=()), bad_frames=(range(3, 4),)),
            "--bad-frames",
        ),
    ],
)
def test_what_cannot_be_asked_is_named(what: Callable[[], object], names: str) -> None:
    with pytest.raises(UsageError, match=names):
        what()


def test_a_matte_is_not_written_over(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    write_clip(source, frames=3)
    matte = tmp_path / "matte.mkv"
    matte.write_bytes(b"mine")
    target = OutputSettings(codec="ffv1", mask_out=matte)
    with pytest.raises(UsageError, match=r"matte\.mkv exists"):
        repair(source, tmp_path / "out.mkv", target=target)
    assert matte.read_bytes() == b"mine"
    assert not (tmp_path / "out.mkv").exists()
    target = OutputSettings(codec="ffv1", mask_out=tmp_path / "out.mkv")
    with pytest.raises(UsageError, match="the output itself"):
        repair(source, tmp_path / "out.mkv", target=target)
