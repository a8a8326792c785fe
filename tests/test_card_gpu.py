"""Engines on a real card; imports neither PyAV nor OpenVINO, which such machines may lack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_engines import (
    CODE,
    EXACT,
    PICTURE,
    as_frames,
    cut_film,
    fetched,
    make_step,
    moving_film,
    residuals,
    run,
)

from trt_build.build import build_engine
from vidrepair.compose import Strengths, compose
from vidrepair.engines import Engine, make_engine, repair
from vidrepair.engines.cache import FOLDER_VARIABLE, EngineCache
from vidrepair.frames import Batch, FloatArray
from vidrepair.models import find_model
from vidrepair.settings import EngineSettings

pytestmark = pytest.mark.gpu
LIBRARIES = {"torch": "torch", "tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}


@pytest.fixture(params=LIBRARIES)
def backend(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that is installed, with an empty cache of engines."""
    name: str = request.param
    pytest.importorskip(LIBRARIES[name])
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return name


@pytest.fixture(scope="module")
def expected() -> FloatArray:
    return residuals(EXACT, moving_film(0))[0]


def open_engine(backend: str, precision: str) -> Engine:
    settings = EngineSettings(backend=backend, device="cuda", precision=precision)
    return make_engine(find_model("fast"), PICTURE, settings, build=build_engine)


@pytest.mark.parametrize(("precision", "most"), [("fp32", 0.1), ("fp16", 1.5)])
def test_a_card_agrees_with_the_processor(
    backend: str, precision: str, most: float, expected: FloatArray
) -> None:
    engine = open_engine(backend, precision)
    found = np.stack(run(engine, [moving_film(0)])[0])
    assert np.abs(found - expected).max() < most * CODE
    assert engine.worked is not None
    assert engine.worked > 0.0
    engine.close()
    if backend != "torch":
        assert EngineCache().entries()[0].manifest["agreement"]["rms"] < 0.25


def test_a_second_run_gives_equal_bytes_and_lanes_do_not_touch(backend: str) -> None:
    one, other = moving_film(1), moving_film(2)
    engine = open_engine(backend, "fp16")
    together = run(engine, [one, other])
    again = run(engine, [one, other])
    alone = run(engine, [one])
    engine.close()
    assert all(np.array_equal(*pair) for pair in zip(together[0], again[0], strict=True))
    assert all(np.array_equal(*pair) for pair in zip(together[0], alone[0], strict=True))


def test_a_film_from_a_card_is_that_of_the_processor(backend: str) -> None:
    """Whole planes, over a border of spans: within a code value in fp32."""
    frames = as_frames(moving_film(3, steps=14))
    spans = cut_film(frames)
    picture = frames[0].picture
    films = []
    for settings in (EXACT, EngineSettings(backend=backend, device="cuda", precision="fp32")):
        engine = make_engine(find_model("fast"), picture, settings, build=build_engine)
        films.append(list(compose(repair(spans, engine), Strengths())))
        engine.close()
    for one, other, source in zip(*films, frames, strict=True):
        for plane, wanted, decoded in zip(one.planes, other.planes, source.planes, strict=True):
            assert np.abs(plane.astype(int) - wanted).max() <= 257 / 10  # of 65535
            assert (plane != decoded).mean() > 0.9


def test_what_is_not_finite_is_noticed(backend: str) -> None:
    engine = open_engine(backend, "fp16")
    film = as_frames(moving_film(4))
    noise = np.full((2, 17), np.nan, dtype=np.float32)
    assert not engine.step(Batch((make_step(0, film, 0, noise),)))[0].is_finite()
    noise = np.full((2, 17), 25 * CODE, dtype=np.float32)
    whole = engine.step(Batch((make_step(0, film, 0, noise),)))[0]
    assert whole.is_finite()
    assert np.isfinite(fetched(whole)).all()
    engine.close()
