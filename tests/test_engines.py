"""One contract for every engine."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from vidrepair.batch import Grid, Profiler, Profilers, cut_spans
from vidrepair.engines import Engine, make_engine, open_engine, plan_work
from vidrepair.engines.openvino import OpenVinoEngine
from vidrepair.errors import EngineError, UsageError
from vidrepair.frames import (
    Batch,
    FloatArray,
    Frame,
    LaneStep,
    NoiseProfile,
    Picture,
    PixelFormat,
    Repaired,
    Span,
)
from vidrepair.models import find_model
from vidrepair.settings import LOOKS, EngineSettings

PICTURE = Picture(200, 144, PixelFormat("yuv420p", "yuv", 8, (2, 2)))
SIZE = (144, 208)
STEPS = 16
WHOLE_SPAN = 72
"""Steps of a span with its warm-up."""
CODE = 1.0 / 255.0
EXACT = EngineSettings(backend="torch", device="cpu", precision="fp32")
ENGINES = {
    "openvino-fp32": EngineSettings(backend="openvino", precision="fp32"),
    "openvino-auto": EngineSettings(backend="openvino"),
    "onnxruntime-fp32": EngineSettings(backend="onnxruntime"),
    "torch-bf16": EngineSettings(backend="torch", device="cpu", precision="bf16"),
}


def moving_film(seed: int, speed: float = 3.0, steps: int = STEPS) -> FloatArray:
    """(steps + 2, 3, H, W): a textured picture that pans, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    film = np.empty((steps + 2, 3, *SIZE), dtype=np.float32)
    for t in range(steps + 2):
        place = x + speed * t
        film[t, 0] = 0.5 + 0.2 * np.sin(place / 5) * np.cos(y / 7) + 0.1 * np.sin(place * y / 900)
        film[t, 1:] = 0.1 * np.sin(place / 11)
    return film + rng.normal(0, 25 * CODE, film.shape).astype(np.float32)


def as_frames(film: FloatArray) -> list[Frame]:
    """The film as decoded frames of 16 bits; samples beyond their range are clipped."""
    form = PixelFormat("yuv444p16le", "yuv", 16)
    middle = np.array([0.0, 32768 / 65535, 32768 / 65535], dtype=np.float32)[:, None, None]
    codes = np.rint((film + middle) * 65535.0).clip(0, 65535).astype(np.uint16)
    picture = Picture(film.shape[3], film.shape[2], form)
    return [Frame(tuple(planes), picture, n, n, Fraction(1, 25)) for n, planes in enumerate(codes)]


def cut_film(frames: list[Frame]) -> list[Span]:
    """Short spans of a film whose noise is known, so that some borders lie within."""
    profile = NoiseProfile(*np.full((2, 17), 25 * CODE, dtype=np.float32))
    profiler = Profiler(lambda _core: None, lambda _own, _before: profile)
    return list(cut_spans(frames, Grid(warm_up=3, core=5), lambda: Profilers(profiler)))


def make_step(lane: int, film: list[Frame], t: int, noise: FloatArray) -> LaneStep:
    """Step `t` of a film that starts at 0."""
    return LaneStep(lane, (film[t], film[t + 1], film[t + 2]), noise, fresh=t == 0)


def fetched(repaired: Repaired) -> FloatArray:
    """The residual."""
    assert repaired.denoise is not None
    found: FloatArray = repaired.place.start_fetch((repaired.denoise,))()[0]
    return found


def run(engine: Engine, films: list[FloatArray]) -> list[list[FloatArray]]:
    """The residuals of each film, one lane each."""
    noise = np.full((2, 17), 25 * CODE, dtype=np.float32)
    out: list[list[FloatArray]] = [[] for _ in films]
    frames = [as_frames(film) for film in films]
    for t in range(len(films[0]) - 2):
        steps = tuple(make_step(lane, film, t, noise) for lane, film in enumerate(frames))
        for lane, repaired in enumerate(engine.step(Batch(steps))):
            out[lane].append(fetched(repaired))
    return out


def residuals(settings: EngineSettings, *films: FloatArray) -> list[FloatArray]:
    engine = make_engine(find_model("fast"), PICTURE, settings)
    try:
        return [np.stack(lane) for lane in run(engine, list(films))]
    finally:
        engine.close()


@pytest.fixture(scope="module")
def reference() -> FloatArray:
    film = moving_film(0, steps=WHOLE_SPAN)
    return residuals(EXACT, film)[0]


@pytest.mark.parametrize("name", ENGINES)
class TestContract:
    def test_a_whole_span_agrees_with_torch(self, name: str, reference: FloatArray) -> None:
        found = residuals(ENGINES[name], moving_film(0, steps=WHOLE_SPAN))[0]
        difference = np.abs(found - reference)
        if "fp32" in name:
            assert difference[0].max() < 1e-4
            assert difference.max() < CODE / 10
        # bfloat16 holds 8 bits of the residual, which is up to 80 codes here.
        assert difference.max() < 1.5 * CODE
        assert np.sqrt(np.square(difference).mean()) < CODE / 5
        assert np.abs(reference).max() > 20 * CODE  # the weights do something

    def test_a_second_run_gives_equal_bytes(self, name: str) -> None:
        film = moving_film(1)
        assert np.array_equal(residuals(ENGINES[name], film)[0], residuals(ENGINES[name], film)[0])

    def test_who_shares_a_step_changes_nothing(self, name: str) -> None:
        one, two = moving_film(2), moving_film(3)
        together = residuals(ENGINES[name], one, two)
        assert np.array_equal(together[0], residuals(ENGINES[name], one)[0])
        assert np.array_equal(together[1], residuals(ENGINES[name], two)[0])

    def test_threads_change_no_byte_or_stand_in_the_identity(self, name: str) -> None:
        film = moving_film(4)
        engine = make_engine(find_model("fast"), PICTURE, replace(ENGINES[name], threads=2))
        told = engine.identity.threads
        engine.close()
        if told:
            assert told == 2
            return
        runs = [residuals(replace(ENGINES[name], threads=n), film)[0] for n in (1, 2, 4)]
        assert np.array_equal(runs[0], runs[1])
        assert np.array_equal(runs[0], runs[2])

    @pytest.mark.parametrize("speed", [1.0, 100.0])
    def test_tiles_agree_with_the_whole(self, name: str, speed: float) -> None:
        film = moving_film(5, speed)
        whole = residuals(ENGINES[name], film)[0]
        tiled = residuals(replace(ENGINES[name], tile=16), film)[0]
        # In bfloat16 by no more than either may be off.
        bound = CODE / 10 if "fp32" in name else 1.5 * CODE
        assert np.abs(whole - tiled).max() < bound


@pytest.mark.parametrize("tile", [0, 64])
def test_a_single_lane_goes_over_to_all_threads_and_nothing_changes(tile: int) -> None:
    film, found = moving_film(6), []
    for worth in (0.0, 1e-9, np.inf):  # at once, after the first step, never
        settings = EngineSettings(backend="openvino", threads=2, tile=tile)
        engine = make_engine(find_model("fast"), PICTURE, settings)
        assert isinstance(engine, OpenVinoEngine)
        engine._compiling = worth
        found.append(np.stack(run(engine, [film])[0]))
        assert (engine._alone is None) == (worth == np.inf)
        engine.close()
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[1], found[2])


def test_openvino_tells_nobody(tmp_path: Path) -> None:
    """Its telemetry is not even imported, and so leaves nothing in the user's home either."""
    found = subprocess.run(
        [sys.executable, "-c", _IMPORTS],
        env={**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert find_spec("openvino_telemetry") is not None  # or this shows nothing
    assert "openvino" in found.stdout.split()
    assert "openvino_telemetry" not in found.stdout.split()
    assert not list(tmp_path.iterdir())


_IMPORTS = "import sys, trt_build.export; print(*sys.modules)"


def test_align_is_compiled_in_fp32_whatever_the_hint() -> None:
    from vidrepair.engines.plan import Plan

    engine = OpenVinoEngine(find_model("fast"), PICTURE, Plan(1, 0, 1), bf16=True)
    align = engine._pairs[0].align.get_compiled_model().get_runtime_model()
    engine.close()
    facts = [node.get_rt_info() for node in align.get_ops()]
    kinds = {str(fact["layerType"].astype(str)) for fact in facts}
    precisions = {str(fact["outputPrecisions"].astype(str)) for fact in facts}
    assert {"GridSample", "Convolution"} <= kinds
    assert precisions <= {"f32", "i32", "u8"}  # numbers of samples are f32, shapes the others


def test_a_look_chooses_the_weights() -> None:
    found = {}
    for look in LOOKS:
        settings = EngineSettings(backend="openvino", device="cpu", look=look)
        files, engine = open_engine(PICTURE, settings)
        engine.close()
        found[look] = files.name
        assert engine.identity.weights == files.card.sha256
    assert found == {"fidelity": "fast", "natural": "fast-natural"}
    named = EngineSettings(backend="openvino", model="fast", look="natural")
    files, engine = open_engine(PICTURE, named)
    engine.close()
    assert files.name == "fast-natural"


@pytest.mark.parametrize("model", ["base", "fast-natural", "mine.safetensors"])
def test_a_model_without_the_look_is_refused(model: str) -> None:
    with pytest.raises(UsageError, match=f"no --look natural of --model {model}"):
        open_engine(PICTURE, EngineSettings(backend="openvino", model=model, look="natural"))


def test_zero_noise_changes_nothing() -> None:
    engine = make_engine(find_model("fast"), PICTURE, EngineSettings(backend="openvino"))
    nothing = np.zeros((2, 17), dtype=np.float32)
    answer = engine.step(Batch((make_step(0, as_frames(moving_film(6)), 0, nothing),)))[0]
    engine.close()
    assert answer.denoise is not None
    assert (answer.denoise == 0).all()


def test_output_that_is_not_finite_is_noticed() -> None:
    engine = make_engine(find_model("fast"), PICTURE, EngineSettings(backend="openvino"))
    noise = np.full((2, 17), np.nan, dtype=np.float32)
    answer = engine.step(Batch((make_step(0, as_frames(moving_film(6)), 0, noise),)))[0]
    assert not answer.is_finite()
    engine.close()


def test_cancelling_ends_the_next_step() -> None:
    engine = make_engine(find_model("fast"), PICTURE, EngineSettings(backend="openvino"))
    step = make_step(0, as_frames(moving_film(6)), 0, np.full((2, 17), 0.1, dtype=np.float32))
    engine.cancel()
    with pytest.raises(EngineError, match="cancelled"):
        engine.step(Batch((step,)))
    engine.close()


def test_a_picture_beyond_the_memory_is_refused_before_work() -> None:
    large = replace(PICTURE, width=4096, height=2160)
    with pytest.raises(UsageError, match="--memory"):
        make_engine(find_model("fast"), large, EngineSettings(memory=256))


def test_a_4k_picture_fits_a_machine_of_8_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidrepair.engines.plan.total_memory", lambda: 8 << 30)
    large = replace(PICTURE, width=4096, height=2160)
    card = find_model("fast").card
    plan = plan_work(large, EngineSettings(), width=card.widths[0], halo=card.halo)
    assert plan.lanes == 1
    assert plan.tile >= 512
    small = plan_work(PICTURE, EngineSettings(), width=card.widths[0], halo=card.halo)
    assert small.tile == 0
