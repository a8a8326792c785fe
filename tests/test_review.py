"""Masks, bounds, overlays and sidecars through the whole pipe: work that is reviewed and undone."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from clips import moving, read_frames, samples_of, write_clip

from vidrepair import (
    DamageSettings,
    MaskSettings,
    OutputSettings,
    RepairSettings,
    repair,
)
from vidrepair.cli.group import main
from vidrepair.errors import InputError, UsageError

FRAMES = 20
SPOT = (slice(40, 52), slice(60, 76))
LOSSLESS = OutputSettings(codec="ffv1", overwrite=True)
KEEP = RepairSettings(denoise=(0.0, 0.0))


def lumas(path: Path) -> list[np.ndarray]:
    return [samples_of(frame)[0].astype(np.int16) for frame in read_frames(path)]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A pan with weak noise; frame 5 has a patch of garbage that looks like picture."""
    path = tmp_path / "in.mkv"
    frames = moving(160, 96, 12, noise=2.0)
    garbage = samples_of(moving(160, 96, 1, seed=3)[0])[0]
    luma = frames[5].planes[0]
    view = np.frombuffer(luma, np.uint8).reshape(96, -1)
    view[SPOT] = garbage[SPOT]
    write_clip(path, frames=frames, size=(160, 96))
    return path


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """White on the patch in frame 5."""
    path = tmp_path / "mask.mkv"
    frames = []
    for number in range(12):
        frame = av.VideoFrame(160, 96, "gray")
        view = np.frombuffer(frame.planes[0], np.uint8).reshape(96, -1)
        view[:] = 0
        if number == 5:
            view[SPOT] = 255
        frames.append(frame)
    write_clip(path, frames=frames, size=(160, 96), pix_fmt="gray")
    return path


def test_what_is_masked_is_filled_and_nothing_else(clip: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    settings = RepairSettings(denoise=(0.0, 0.0), mask_in=MaskSettings(mask))
    report = repair(clip, out, settings=settings, target=LOSSLESS)
    assert report.defects.get("masked") == 1
    was, now = lumas(clip), lumas(out)
    for number, (before, after) in enumerate(zip(was, now, strict=True)):
        changed = before != after
        if number == 5:
            assert changed[SPOT].mean() > 0.9
            changed[SPOT] = False
        assert not changed.any()
    clean = samples_of(moving(160, 96, 12, noise=0.0)[5])[0].astype(np.int16)
    assert np.abs(now[5] - clean)[SPOT].mean() < 4.0 < np.abs(was[5] - clean)[SPOT].mean()


def test_what_is_protected_stays(clip: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    settings = RepairSettings(
        denoise=(0.0, 0.0), mask_in=MaskSettings(mask), protect=MaskSettings(mask)
    )
    report = repair(clip, out, settings=settings, target=LOSSLESS)
    assert report.touched == 0.0
    for before, after in zip(lumas(clip), lumas(out), strict=True):
        assert np.array_equal(before, after)


def test_no_sample_changes_by_more_than_allowed(clip: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    settings = RepairSettings(mask_in=MaskSettings(mask), max_change=3.0)
    repair(clip, out, settings=settings, target=LOSSLESS)
    pairs = zip(lumas(clip), lumas(out), strict=True)
    assert max(int(np.abs(before - after).max()) for before, after in pairs) == 3


def test_a_mask_of_another_film_is_refused(clip: Path, mask: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "short.mkv", frames=moving(160, 96, 11), size=(160, 96))
    settings = RepairSettings(mask_in=MaskSettings(tmp_path / "short.mkv"))
    with pytest.raises(InputError, match="--mask-in"):
        repair(clip, tmp_path / "out.mkv", settings=settings, target=LOSSLESS)
    assert not (tmp_path / "out.mkv").exists()
    with pytest.raises(UsageError, match="--mask-in"):
        RepairSettings(damage=DamageSettings(kinds=()), mask_in=MaskSettings(mask))


def test_an_overlay_shows_where_repair_was(clip: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    settings = RepairSettings(denoise=(0.0, 0.0), mask_in=MaskSettings(mask))
    target = OutputSettings(codec="ffv1", overlay="red", overwrite=True)
    repair(clip, out, settings=settings, target=target)
    red = [samples_of(frame)[2].astype(int) for frame in read_frames(out)]
    given = [samples_of(frame)[2].astype(int) for frame in read_frames(clip)]
    assert np.array_equal(red[4], given[4])
    assert (red[5] - given[5])[20:26, 30:38].mean() > 20


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory, root: Path) -> tuple[Path, Path, Path]:
    """The damaged sample cut short, its repair, and the sidecar of it."""
    folder = tmp_path_factory.mktemp("review")
    source = folder / "film.mkv"
    write_clip(
        source,
        frames=read_frames(root / "samples" / "film_damaged.mkv")[:FRAMES],
        size=(640, 266),
    )
    out = folder / "out.mkv"
    target = OutputSettings(codec="ffv1", sidecar=folder / "out.vr.json")
    repair(source, out, settings=KEEP, target=target)
    return source, out, folder / "out.vr.json"


def test_a_sidecar_followed_gives_the_same_film(analysed: tuple[Path, Path, Path]) -> None:
    source, out, sidecar = analysed
    again = out.with_name("again.mkv")
    repair(source, again, settings=KEEP, target=LOSSLESS, analysis=sidecar)
    assert again.read_bytes() == out.read_bytes()


def test_a_place_that_is_not_kept_stays_as_it_was(analysed: tuple[Path, Path, Path]) -> None:
    source, out, sidecar = analysed
    facts = json.loads(sidecar.read_text())
    place = max(facts["defects"], key=lambda one: one["confidence"])
    place["keep"] = False
    edited = sidecar.with_name("edited.vr.json")
    edited.write_text(json.dumps(facts))
    again = out.with_name("edited.mkv")
    repair(source, again, settings=KEEP, target=LOSSLESS, analysis=edited)
    top, left, bottom, right = place["box"]
    box = (slice(top, bottom), slice(left, right))
    given, first, second = (lumas(path) for path in (source, out, again))
    frame = place["frame"]
    assert np.any(given[frame][box] != first[frame][box])
    assert np.array_equal(given[frame][box], second[frame][box])


def test_a_sidecar_of_another_film_is_refused(
    analysed: tuple[Path, Path, Path], clip: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="another film"):
        repair(clip, tmp_path / "x.mkv", settings=KEEP, target=LOSSLESS, analysis=analysed[2])
    assert not (tmp_path / "x.mkv").exists()


def test_grain_goes_from_one_film_to_another(clip: Path, tmp_path: Path) -> None:
    """analyze -> grain -> run --noise-profile, as a user types them."""
    sidecar, profile = tmp_path / "in.mkv.vr.json", tmp_path / "grain.json"
    table, out = tmp_path / "grain.tbl", tmp_path / "out.mkv"
    none = ("--progress", "none")
    refused = CliRunner().invoke(main, ["grain", str(sidecar), "-o", str(profile)])
    assert refused.exit_code == 3
    for command in (
        ("analyze", clip, *none),
        ("grain", sidecar, "-o", profile),
        ("grain", sidecar, "-o", table),
        ("run", clip, "-o", out, "-c", "ffv1", "--noise-profile", profile, *none),
    ):
        done = CliRunner().invoke(main, [str(word) for word in command])
        assert done.exit_code == 0, done.output
    spans = json.loads(sidecar.read_text())["spans"]
    assert json.loads(profile.read_text())["luma"]["deviation"] == pytest.approx(
        spans[0]["noise"]["luma"]
    )
    assert table.read_text().startswith("filmgrn1\nE 0 4800000 ")
    # What the profile says was taken away, as the film's own noise would have been.
    plain = tmp_path / "plain.mkv"
    repair(clip, plain, target=LOSSLESS)
    for one, other in zip(lumas(out), lumas(plain), strict=True):
        assert np.array_equal(one, other)


def test_the_matte_alone(clip: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "matte"
    command = ["mask", clip, "-o", f"{out}/", "--mask-in", mask, "--progress", "none"]
    done = CliRunner().invoke(main, [str(word) for word in command])
    assert done.exit_code == 0, done.output
    names = sorted(path.name for path in out.iterdir())
    assert names == [f"matte_{number:06d}.png" for number in range(12)]
    with av.open(str(out / names[5])) as opened:
        codes = next(opened.decode(video=0)).to_ndarray()
    assert codes[SPOT].min() > 0
    assert np.count_nonzero(codes) == codes[SPOT].size


def test_no_file_that_is_read_is_written_over(clip: Path, mask: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "m"
    film = clip.read_bytes()
    commands = [
        ["mask", clip, "-o", f"{pictures}/", "--mask-in", mask, "--progress", "none"],
        ["mask", clip, "-o", f"{pictures}/", "--protect-mask", f"{pictures}/matte_%06d.png", "-y"],
        ["analyze", clip, "-o", clip, "-y"],
        ["run", clip, "-o", tmp_path / "x.mkv", "--noise-profile", tmp_path / "mask.mkv"],
    ]
    exits = [
        CliRunner().invoke(main, [str(word) for word in command]).exit_code for command in commands
    ]
    assert exits == [0, 2, 2, 3]
    assert len(list(pictures.iterdir())) == 12
    assert clip.read_bytes() == film
