"""A checkpoint becomes a release, and the graphs compute what torch computes."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from test_engines import WHOLE_SPAN

from training.publish import publish
from trt_build.cli import main
from trt_build.export import Graphs, check_graphs, check_half
from vidrepair.engines.generator import FAST, Generator, load_generator
from vidrepair.engines.layers import enlarge
from vidrepair.engines.silent_openvino import ov
from vidrepair.errors import EngineError, ModelError
from vidrepair.models import ModelFiles, find_model, released_models


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training leaves; random weights, but for the heads that are still zero."""
    torch.manual_seed(3)
    generator = Generator(FAST)
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            if not weight.any() and "repair" not in name:
                weight.normal_(std=0.02)
    channels_last = {
        name: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
        for name, value in generator.state_dict().items()
    }
    path = tmp_path_factory.mktemp("training") / "checkpoint.pt"
    torch.save(
        {
            "model": channels_last,
            "average": channels_last,
            "config": {"size": "fast"},
            "progress": {"step": 7, "pixels": 1000, "seconds": 2.6},
        },
        path,
    )
    return path


@pytest.fixture(scope="module")
def release(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    folder = tmp_path_factory.mktemp("release")
    return publish(checkpoint, "trial", folder, training_data="noise", notes="a test")


def run(path: Path, precision: str, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": precision}
    )
    result = compiled({name: value.numpy() for name, value in inputs.items()})
    return {out.get_any_name(): torch.from_numpy(np.array(result[out])) for out in compiled.outputs}


def test_a_release_has_its_card(release: ModelFiles, checkpoint: Path) -> None:
    card = release.card
    assert card.name == "trial"
    assert card.training == {"steps": 7, "pixels": 1000, "seconds": 3, "notes": "a test"}
    assert card.training_data == "noise"
    assert (card.widths, card.halo) == (FAST.widths, FAST.halo)
    average = torch.load(checkpoint, weights_only=True)["average"]
    loaded = load_generator(release.load_weights()).state_dict()
    assert loaded.keys() == average.keys()
    assert all(torch.equal(loaded[name], average[name].half().float()) for name in average)


def test_both_graphs_in_turn_are_a_step_of_torch(release: ModelFiles) -> None:
    """One size beyond those that the export checks, batch 4, the state carried over two steps."""
    generator = load_generator(release.load_weights())
    rng = torch.Generator().manual_seed(5)
    # A pan: where no motion is to be found, rounding alone moves the answer.
    scene = torch.rand(4, 3, 15, 21, generator=rng)
    scene = torch.nn.functional.interpolate(scene, scale_factor=8, mode="bilinear")
    film = torch.stack([scene[..., t : t + 112, 2 * t : 2 * t + 160] for t in range(4)], dim=1)
    noise = 0.1 * torch.rand(4, 2, 17, generator=rng)
    state = expected_state = generator.initial_state(film[:, 0])
    for t in (1, 2):
        frames = film[:, t - 1 : t + 2].contiguous()
        aligned = run(release.align, "f32", {"frames": frames, "state": state})
        restored = run(
            release.restore,
            "f32",
            {"frame": frames[:, 1].contiguous(), "aligned": aligned["aligned"], "noise": noise},
        )
        with torch.inference_mode():
            denoise, fill, defect, expected_state, motion = generator(frames, expected_state, noise)
        state = restored["state"]
        for got, truth in (
            (aligned["motion"], motion),
            (restored["denoise"], denoise),
            (restored["fill"], fill),
            (restored["defect"], defect),
            (state, expected_state),
        ):
            torch.testing.assert_close(got, truth, atol=2e-4, rtol=2e-4)
    assert motion.abs().max() > 0.1
    assert denoise.std() > 1e-3


def test_graphs_are_portable_and_tell_nothing_of_the_machine(release: ModelFiles) -> None:
    for path in (release.align, release.restore):
        model = onnx.load(path)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
        modes = [
            attribute.s
            for node in model.graph.node
            if node.op_type == "GridSample"
            for attribute in node.attribute
            if attribute.name == "mode"
        ]
        assert set(modes) <= {b"bilinear", b"bicubic"}
        data = path.read_bytes()
        assert str(Path.home()).encode() not in data
        assert str(Path(__file__).parents[1]).encode() not in data
        assert b".py" not in data
        halves = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16]
        floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
        assert len(halves) >= 24
        assert all(np.prod(t.dims) < 600 for t in floats)  # kernels that enlarge
    named = [d.dim_param or d.dim_value for d in _dims(release.align, "state")]
    assert named == ["B", 44, "H/2", "W/2"]


def _dims(path: Path, name: str) -> list[onnx.TensorShapeProto.Dimension]:
    inputs = {value.name: value for value in onnx.load(path).graph.input}
    return list(inputs[name].type.tensor_type.shape.dim)


def test_the_command_writes_the_same_bytes_again(release: ModelFiles, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["export", str(release.safetensors), "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    align, restore = (Path(line) for line in done.stdout.splitlines()[-2:])
    assert align.read_bytes() == release.align.read_bytes()
    assert restore.read_bytes() == release.restore.read_bytes()
    assert find_model(restore).card == release.card
    assert sorted(path.name for path in tmp_path.iterdir()) == [align.name, restore.name]


@pytest.mark.parametrize("model", ["missing.safetensors", "unknown"])
def test_the_command_refuses_a_missing_model(model: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["export", model, "-o", str(tmp_path / "out")])
    assert done.exit_code == 6
    assert done.stderr.startswith("vidrepair-build: there is no model")
    assert not (tmp_path / "out").exists()


def test_a_graph_that_differs_from_torch_is_refused(release: ModelFiles) -> None:
    graphs = Graphs(release.align.read_bytes(), release.restore.read_bytes())
    generator = load_generator(release.load_weights())
    check_graphs(graphs, generator)
    with torch.no_grad():
        generator.get_parameter("restorer.enter.bias")[0] += 0.1
    with pytest.raises(EngineError, match=r"restore: \w+ at batch \d, \d+x\d+ differs"):
        check_graphs(graphs, generator)
    with torch.no_grad():
        generator.get_parameter("motion_net.nets.2.6.bias")[0] += 0.1
    with pytest.raises(EngineError, match=r"align: motion at batch \d, \d+x\d+ differs"):
        check_graphs(graphs, generator)


def test_a_failed_publish_changes_nothing(
    release: ModelFiles, checkpoint: Path, tmp_path: Path
) -> None:
    saved = torch.load(checkpoint, weights_only=True)
    saved["average"]["restorer.enter.bias"][0] = float("nan")
    broken = tmp_path / "broken.pt"
    torch.save(saved, broken)
    before = {path: path.read_bytes() for path in release.folder.iterdir()}
    with pytest.raises(ModelError, match=r"restorer\.enter\.bias"):
        publish(broken, "trial", release.folder, training_data="noise")
    assert {path: path.read_bytes() for path in release.folder.iterdir()} == before


def test_weights_that_overflow_in_half_precision_are_refused() -> None:
    """OpenVINO would not notice: it computes in fp32 what the graph says is half."""
    for name in released_models():
        check_half(load_generator(find_model(name).load_weights()))
    generator = load_generator(find_model("fast").load_weights())
    with torch.no_grad():
        generator.restorer.enter.weight.mul_(3e4)
        generator.restorer.half_out[0].second.weight.mul_(1e-4)
    with pytest.raises(EngineError, match="in half precision differs from fp32"):
        check_half(generator)


@pytest.mark.parametrize("name", released_models())
def test_half_precision_costs_a_span_no_tenth_of_a_decibel(name: str) -> None:
    """What a card computes, by torch: fp32 but for the convolutions of the restorer."""
    exact = load_generator(find_model(name).load_weights())
    half = copy.deepcopy(exact)
    half.restorer.half()
    rng = torch.Generator().manual_seed(8)
    scene = (
        enlarge(torch.rand(1, 3, 12, 48, generator=rng), 8)[0]
        - torch.tensor([0, 0.5, 0.5])[:, None, None]
    )
    clean = torch.stack([scene[..., 3 * t : 3 * t + 144] for t in range(WHOLE_SPAN + 2)])
    noisy = clean + 0.08 * torch.randn(clean.shape, generator=rng)
    noise = torch.full((1, 2, 17), 0.08)
    losses = []
    states = [exact.initial_state(noisy[:1]) for _ in range(2)]
    with torch.inference_mode():
        for t in range(WHOLE_SPAN):
            errors = []
            for at, model in enumerate((exact, half)):
                residual, _, _, states[at], _ = model(noisy[None, t : t + 3], states[at], noise)
                errors.append((noisy[t + 1] + residual[0] - clean[t + 1]).square().mean())
            losses.append(10.0 * float((errors[1] / errors[0]).log10()))
    assert float(errors[0]) < 0.2 * 0.08**2  # the weights do something
    assert max(losses) < 0.1
