"""What is no damage, put into clips, and counted when a tool takes it away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from training.__main__ import main
from training.evaluate import write_lossless
from training.innocents import (
    APART,
    KINDS,
    Mover,
    Track,
    draw_movers,
    measure_innocents,
    opacity,
    paint,
    put_in,
    survivors,
    table,
)
from vidrepair.regions import Box

SIZE = (192, 256)
EATS = (
    "ffmpeg -v error -y -i {in} -vf format=gbrp,tpad=start=1:stop=1:start_mode=clone:"
    "stop_mode=clone,tmedian=radius=1,format=bgr0 -c:v ffv1 {out}"
)


def gray(frames: int = 12, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.full((frames, 3, *size), 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lossless(tmp_path / "gray.mkv", (gray() * 255.0).byte())
    return tmp_path


@pytest.mark.parametrize(("kind", "life"), [("three frames", 3), ("two frames", 2)])
def test_a_small_thing_is_seen_for_so_many_frames(kind: str, life: int) -> None:
    clean = gray()
    shown, tracks = put_in(kind, "gray", clean)
    assert len(tracks) > 5
    covered = np.zeros((len(clean), *SIZE), dtype=bool)
    for track in tracks:
        first = track[0][0]
        assert [t for t, _ in track] == list(range(first, first + life))
        assert first > 0
        assert track[-1][0] < len(clean) - 1
        for t, places in track:
            assert not covered[t, places[0], places[1]].any()
            covered[t, places[0], places[1]] = True
    # All that differs is some thing's, and all that is a thing's differs.
    off = (shown.float() / 255.0 - clean).abs().amax(dim=1).numpy()
    assert (off[covered] > 3.0 / 255.0).all()
    assert (off[~covered] < 5.0 / 255.0).all()
    assert torch.equal(shown, put_in(kind, "gray", clean)[0])
    assert not torch.equal(shown, put_in(kind, "other", clean)[0])


@pytest.mark.parametrize("life", [3, None])
def test_no_thing_follows_another(life: int | None) -> None:
    movers = draw_movers(np.random.default_rng(3), 24, SIZE, life)
    assert len(movers) > 5
    for number, one in enumerate(movers):
        assert 5.0 <= np.hypot(one.down, one.across) <= 40.0
        for other in movers[:number]:
            both = set(range(one.first, one.first + one.frames))
            for t in both & set(range(other.first - 1, other.first + other.frames + 1)):
                assert np.hypot(*np.subtract(one.centre(t), other.centre(t))) >= APART


def test_a_ball_is_round_and_a_bird_beats_its_wings() -> None:
    ball = Mover(
        first=0,
        frames=8,
        y=30.0,
        x=30.0,
        down=0.0,
        across=5.0,
        radius=8.0,
        edge=2.0,
        paint=0.1,
        bird=False,
        beat=0.0,
    )
    assert opacity(ball, 0, Box(0, 0, 60, 60)).sum() == pytest.approx(np.pi * 8.0**2, rel=0.02)
    bird = replace(ball, bird=True)
    areas, tops = [], []
    for t in range(4):
        alpha = opacity(bird, t, Box(0, 0, 60, 80))
        rows, columns = np.nonzero(alpha > 0.5)
        areas.append(alpha.sum())
        tops.append(rows.min())
        assert abs(columns.mean() - 30.0 - 5.0 * t) < 3.0
        assert max(abs(rows - 30.0)) < 8.0 + 4.0
    assert max(areas) < 0.6 * np.pi * 8.0**2
    assert max(tops) - min(tops) >= 3
    shown = paint(gray(9, (60, 100)), [ball])
    assert shown[7, 0, 30, 65] == pytest.approx(0.1, abs=1e-6)
    assert torch.equal(shown[8], gray(9, (60, 100))[8])


def test_a_tenth_of_its_samples_is_what_a_thing_can_lose() -> None:
    places = np.stack(np.nonzero(np.ones((10, 10), dtype=bool)))
    tracks: list[Track] = [[(1, places), (2, places)], [(4, places + 20)]]
    matte = np.zeros((6, 40, 40), dtype=bool)
    matte[1, 0, :9] = True
    assert survivors(tracks, matte).whole == 2
    matte[2, 0, :10] = True
    found = survivors(tracks, matte)
    assert (found.things, found.whole, found.frames, found.kept) == (2, 1, 3, 2)
    assert found.largest == 10
    assert found.touched == pytest.approx(19 / matte.size)


def test_a_tool_that_changes_nothing_lets_all_survive(folder: Path) -> None:
    arguments = ["evaluate-innocents", str(folder), "--command", "cp {in} {out}"]
    done = CliRunner().invoke(main, [*arguments, "--noise", "2"], catch_exceptions=False)
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in done.stdout.splitlines()]
    assert [row[0] for row in rows[2:]] == list(KINDS)
    assert rows[2][1:] == ["", "", "", "", "0.0000%", "0"]
    for row in rows[3:]:
        # On gray no place is brighter than others, and nothing glints.
        assert row[1] or row[0] == "glints"
        survive = "100.00%" if row[1] else ""
        assert row[2:] == [survive, row[3], survive, "0.0000%", "0"]


def test_a_median_eats_what_moves(folder: Path, ffmpeg: str) -> None:
    assert ffmpeg
    found = {kind: of[0] for kind, of in measure_innocents(folder, EATS, 0.0).items()}
    assert found["nothing"].touched == 0.0
    for kind in ("three frames", "two frames", "rain", "flash"):
        assert found[kind].things > 0
        assert found[kind].whole < 0.2 * found[kind].things
        assert found[kind].touched > 0.0
    assert found["flash"].largest == SIZE[0] * SIZE[1]
    assert f"| flash | {found['flash'].things} | 0.00% |" in table(
        {kind: [of] for kind, of in found.items()}
    )


def test_clips_too_short_or_small_hold_fewer_things() -> None:
    for frames, size in ((1, (48, 64)), (3, (1, 1)), (5, (8, 200))):
        for kind in KINDS:
            shown, tracks = put_in(kind, "gray", gray(frames, size))
            assert shown.shape == (frames, 3, *size)
            assert all(0 <= t < frames for track in tracks for t, _ in track)
