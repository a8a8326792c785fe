"""Pairs that really went through H.264 and MPEG-2."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from training.__main__ import main
from training.config import TrainConfig, load_config
from training.data import load_pool, show_pair
from training.encoding import SIDE, EncodingRecipe, draw_encoding, run_encoding
from training.lanes import run_lane
from training.pack import pack
from training.pairs import Pair, load_pair

CPU = torch.device("cpu")


def moving_planes() -> tuple[np.ndarray, np.ndarray]:
    """A pattern that moves by two samples a frame: luma (12, 64, 96), chroma (12, 2, 32, 48)."""
    rows, columns = np.mgrid[0:64, 0:96]
    luma = [128 + 80 * np.sin((columns + 2 * t) / 7) * np.cos(rows / 5) for t in range(12)]
    chroma = np.full((12, 2, 32, 48), 128)
    return np.stack(luma).astype(np.uint8), chroma.astype(np.uint8)


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", (("crf", "24"), ("preset", "veryfast"))),
        ("mpeg2video", (("qmin", "4"), ("qmax", "4"), ("g", "12"), ("bf", "2"))),
    ],
)
def test_a_codec_changes_little_and_a_broken_stream_much(
    codec: str, options: tuple[tuple[str, str], ...]
) -> None:
    planes = moving_planes()
    whole = run_encoding(planes, EncodingRecipe(codec, options, broken=False, seed=3))
    error = whole.luma.astype(float) - planes[0]
    assert 0.2 < np.sqrt((error**2).mean()) < 6.0
    assert not whole.hole.any()
    assert 4.0 < whole.quantiser_step < 30.0
    broken = run_encoding(planes, EncodingRecipe(codec, options, broken=True, seed=3))
    inside = broken.hole > 0
    assert 0.0 < inside.mean() < 1.0
    assert not inside[0].any()  # the first frame is always whole
    far = np.abs(broken.luma.astype(float) - whole.luma)
    assert far[inside].mean() > 4.0 * far[~inside].mean()
    assert far[~inside].max() <= 16.0


def test_encodings_are_drawn_of_both_kinds_and_some_are_broken() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_encoding(rng) for _ in range(200)]
    assert {recipe.codec for recipe in drawn} == {"libx264", "mpeg2video"}
    assert 0.05 < np.mean([recipe.broken for recipe in drawn]) < 0.3


@pytest.fixture(scope="module")
def pairs(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs")
    arguments = ["encode-pairs", str(workplace / "tiny.toml"), "--out", str(out), "--count", "2"]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert f"{out}: 2 pairs" in done.output
    return out


def test_a_pair_is_noisy_beside_its_original(pairs: Path) -> None:
    pair = load_pair(pairs / "pair-0000.npz", CPU)
    assert pair.noisy_luma.shape == pair.hole.shape == (24, SIDE, SIDE)
    assert pair.clean_chroma.shape == (24, 2, SIDE // 2, SIDE // 2)
    noisy, clean, hole = show_pair(pair, 60, 96, np.random.default_rng(2))
    assert noisy.shape == clean.shape == (60, 3, 96, 96)
    assert hole.shape == (60, 96, 96)
    # Forth and back: the 47th frame shows the first one again.
    assert torch.equal(noisy[:10], noisy[46:56])
    for shown in (noisy, clean):
        codes = 255.0 * shown
        torch.testing.assert_close(codes, codes.round(), atol=1e-3, rtol=0.0)
        assert torch.equal(shown[:, 1:, ::2, ::2], shown[:, 1:, 1::2, 1::2])


def test_the_same_seed_makes_the_same_pair(pairs: Path, workplace: Path, tmp_path: Path) -> None:
    arguments = ["encode-pairs", str(workplace / "tiny.toml"), "--out", str(tmp_path)]
    assert CliRunner().invoke(main, [*arguments, "--count", "1"]).exit_code == 0
    one, two = (load_pair(folder / "pair-0000.npz", CPU) for folder in (pairs, tmp_path))
    assert torch.equal(one.noisy_luma, two.noisy_luma)
    assert torch.equal(one.clean_chroma, two.clean_chroma)


def test_lanes_show_pairs(pairs: Path, config: TrainConfig) -> None:
    data = replace(config.data, pairs=(str(pairs),), pair_share=1.0)
    config = replace(config, data=data)
    lane = run_lane(load_pool(config.data, CPU), config, 0)
    for _ in range(6):
        stretch = next(lane)
        assert stretch.noisy.shape == stretch.clean.shape == (5, 3, 32, 32)
        assert stretch.damage.shape == (5, 4, 32, 32)
        assert not stretch.damage[:, :3].any()
        assert stretch.sigma >= 1.0 / 255.0
        codes = 255.0 * stretch.noisy
        torch.testing.assert_close(codes, codes.round(), atol=1e-3, rtol=0.0)


def test_what_is_no_pair_is_named(tmp_path: Path, config: TrainConfig, pairs: Path) -> None:
    path = tmp_path / "pair-0000.npz"
    np.savez(path, luma=np.zeros(3))
    with pytest.raises(ValueError, match=r"pair-0000.npz is no pair"):
        load_pair(path, CPU)
    with pytest.raises(ValueError, match=r"batch.crop is 256"):
        show_pair(load_pair(pairs / "pair-0000.npz", CPU), 4, 256, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"data.pair_share"):
        load_config(Path(config.data.clips[0]).parent / "tiny.toml", ("data.pair_share=2",))


def half_hole_pair() -> Pair:
    """Noise of deviation 8, and white over the left half of every frame."""
    rng = np.random.default_rng(0)
    clean = torch.full((12, 64, 64), 120, dtype=torch.uint8)
    noisy = torch.from_numpy((120 + 8 * rng.standard_normal((12, 64, 64))).round()).byte()
    hole = torch.zeros_like(clean)
    noisy[..., :32], hole[..., :32] = 235, 1
    chroma = torch.full((12, 2, 32, 32), 128, dtype=torch.uint8)
    return Pair(noisy, chroma, clean, chroma, hole, torch.tensor(0.0))


def test_what_a_stream_lost_is_a_hole_and_no_noise(config: TrainConfig) -> None:
    pool = replace(load_pool(config.data, CPU), pairs=(half_hole_pair(),))
    data = replace(config.data, pair_share=1.0)
    batch = replace(config.batch, crop=64)
    lane = run_lane(pool, replace(config, data=data, batch=batch), 0)
    stretch = next(lane)
    assert float(stretch.damage[:, 3].mean()) == pytest.approx(0.5)
    # Luma of deviation 8 and clean chroma.
    assert stretch.sigma == pytest.approx(8.0 / 255.0 / np.sqrt(3.0), rel=0.05)
    middle = float(stretch.noise[0, 7]) * 255.0
    assert middle == pytest.approx(8.0, rel=0.5)


def test_a_share_of_pairs_needs_pairs(config: TrainConfig, tmp_path: Path, pairs: Path) -> None:
    data = replace(config.data, pair_share=0.1, pairs=(str(tmp_path),))
    with pytest.raises(ValueError, match="encode-pairs"):
        load_pool(data, CPU)
    arguments = ["encode-pairs", str(Path(config.data.clips[0]).parent / "tiny.toml"), "--out"]
    done = CliRunner().invoke(main, [*arguments, str(pairs)])
    assert done.exit_code == 1
    assert done.output.startswith(f"Error: {pairs} is not empty")


def test_packed_pairs_take_no_more_than_their_share(
    config: TrainConfig, tmp_path: Path, pairs: Path
) -> None:
    size = max(path.stat().st_size for path in pairs.iterdir()) / 1e6
    data = replace(config.data, pairs=(str(pairs),), pair_share=0.5)
    packed = {one.kind: one for one in pack(data, tmp_path / "some", 4.0 * size + 0.1)}
    assert packed["pairs"].taken == 1
    assert packed["clips"].taken == 2
