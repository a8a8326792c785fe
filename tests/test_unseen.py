"""The protocol without a reference: it knows the better restoration without seeing clean film."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from clips import write_clip

from training.__main__ import main
from training.config import TrainConfig
from training.loop import train
from training.unseen import NOISY, compared, foretell, table
from vidrepair.frames import FloatArray


def film_that_moves(frames: int = 8) -> FloatArray:
    """Spots of 2 to 30 samples that wander by 1.5 samples a frame, (T, 96, 128) codes."""
    rng = np.random.default_rng(2)
    wide = sum(
        cv2.GaussianBlur(rng.standard_normal((96, 160)), (0, 0), size) * 40.0 * size
        for size in (1.0, 4.0)
    )
    wide = np.clip(128.0 + 0.5 * wide, 0.0, 255.0).astype(np.float32)
    shifts = (np.float32([[1, 0, -1.5 * t], [0, 1, 0]]) for t in range(frames))
    return np.stack([cv2.warpAffine(wide, shift, (128, 96)) for shift in shifts])


def test_a_blur_and_noise_that_is_left_both_foretell_worse() -> None:
    clean = film_that_moves()
    noise = np.random.default_rng(3).standard_normal(clean.shape) * 5.0
    lumas = {
        NOISY: clean + noise,
        "clean": clean,
        "half": clean + 0.5 * noise,
        "blurred": np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in clean]),
    }
    found = {one.name: one for one in compared(lumas, clean, "film")}
    errors = {name: one.errors.mean() for name, one in found.items()}
    assert errors["clean"] < min(errors["half"], errors["blurred"])
    assert errors["half"] < errors[NOISY]
    # All pay the unseen noise, and the truth hardly more.
    assert errors["clean"] == pytest.approx(25.0, rel=0.15)
    kept = {name: one.shared / found[NOISY].shared for name, one in found.items()}
    assert kept["clean"] == pytest.approx(1.0, abs=0.1)
    assert kept["blurred"][2] < 0.5
    # Frame against frame, the truth gains on what was blurred.
    rows = table([found[NOISY], found["blurred"], found["clean"]]).splitlines()
    assert rows[-1].startswith("| clean |")
    assert " +" in rows[-1].split("|")[3]


def test_the_command_line_compares_checkpoints(
    config: TrainConfig, tmp_path: Path, workplace: Path
) -> None:
    train(replace(config, schedule=replace(config.schedule, steps=1)), tmp_path)
    film, weights = str(workplace / "clips" / "clip0.avi"), str(tmp_path / "checkpoint.pt")
    done = CliRunner().invoke(main, ["evaluate-unseen", film, weights])
    assert done.exit_code == 0, done.output
    assert f"| {tmp_path.name}/checkpoint.pt |" in done.output


def test_a_film_that_is_too_short_is_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", frames=3)
    with pytest.raises(ValueError, match="has 3 frames, 6 are needed"):
        foretell(tmp_path / "a.mkv", {})
