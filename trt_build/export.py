"""Weights -> the ONNX graphs `align` and `restore`, checked against torch before they count.

Opset 18: from 20 on GridSample's modes have other names, and older parsers of TensorRT take
`nearest` without a word. Width and height are dynamic and must be multiples of 16; nothing in
the graphs checks that.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.export import Dim

from vidrepair.engines.generator import NOISE_KNOTS, Generator, GeneratorShape, load_generator
from vidrepair.engines.layers import enlarge, reduce
from vidrepair.engines.silent_openvino import ov
from vidrepair.errors import EngineError
from vidrepair.models import ModelCard, load_weights
from vidrepair.models.card import UNSHUFFLED
from vidrepair.models.weights import CARD_KEY, GRAPH_KEY, write_beside

OPSET = 18
TOLERANCE = 2e-4
"""Largest allowed difference to torch, as a share of the largest value, at least of 1."""
HALF_TOLERANCE = 5e-3
"""The same, of a restorer in half precision: some ten roundings of 2^-11 one after the other."""
CHECKED = ((1, 16, 16), (2, 48, 80), (3, 64, 96), (1, 144, 208))
"""Batch, height and width of the inputs that every export is checked on."""

_PREFIX = "generator."
Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Graphs:
    """Both graphs as the bytes of their files."""

    align: bytes
    restore: bytes


class _Graph(nn.Module):
    """A method of the generator as a module of its own, which is what torch exports."""

    name: str
    inputs: dict[str, tuple[str | int, ...]]
    outputs: dict[str, tuple[str | int, ...]]

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator


class _Align(_Graph):
    def __init__(self, generator: Generator) -> None:
        super().__init__(generator)
        memory = generator.shape.state_channels
        self.name = "align"
        self.inputs = {
            "frames": ("B", 3, 3, "H", "W"),
            "state": ("B", memory, "H/2", "W/2"),
        }
        self.outputs = {
            "motion": ("B", 4, "H/4", "W/4"),
            "aligned": ("B", memory + UNSHUFFLED, "H/2", "W/2"),
        }

    def forward(self, frames: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        return self.generator.align(frames, state)


class _Restore(_Graph):
    def __init__(self, generator: Generator) -> None:
        super().__init__(generator)
        memory = generator.shape.state_channels
        self.name = "restore"
        self.inputs = {
            "frame": ("B", 3, "H", "W"),
            "aligned": ("B", memory + UNSHUFFLED, "H/2", "W/2"),
            "noise": ("B", 2, NOISE_KNOTS),
        }
        self.outputs = {
            "denoise": ("B", 3, "H", "W"),
            "fill": ("B", 3, "H", "W"),
            "defect": ("B", 1, "H", "W"),
            "state": ("B", memory, "H/2", "W/2"),
        }

    def forward(self, frame: Tensor, aligned: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        return self.generator.restore(frame, aligned, noise)


def export(model: str | Path, folder: Path, *, half: bool = False) -> tuple[Path, Path]:
    """Write NAME.align.onnx and NAME.restore.onnx of a released model or a .safetensors.

    With `half` the convolutions of `restore` are in half precision, its inputs and outputs in
    fp32 as ever; NAME ends in -fp16. Returns the paths. Raises ModelError for a bad weights file,
    EngineError when a graph differs from torch; then nothing is written.
    """
    file = load_weights(model)
    graphs = build_graphs(load_generator(file), file.card, half=half)
    stem = file.path.name.removesuffix(".safetensors")
    return write_graphs(graphs, folder, f"{stem}-fp16" if half else stem)


def write_graphs(graphs: Graphs, folder: Path, name: str) -> tuple[Path, Path]:
    """Write both files beside, fsync, rename. Returns the paths of `align` and `restore`."""
    align, restore = folder / f"{name}.align.onnx", folder / f"{name}.restore.onnx"
    for path, data in ((align, graphs.align), (restore, graphs.restore)):
        write_beside(path, data)
    return align, restore


def build_graphs(generator: Generator, card: ModelCard, *, half: bool = False) -> Graphs:
    """Export both graphs of an fp32 generator whose weights are exact in half precision.

    With `half` its restorer runs in half precision. Raises EngineError when a graph lacks a weight
    or differs from torch.
    """
    weights = {name: value.numpy() for name, value in generator.state_dict().items()}
    made: dict[str, bytes] = {}
    left = set(weights)
    for kind in (_Align, _Restore):
        model = onnx.load_from_string(_trace(kind, generator.shape, half=half))
        left -= _store_half(model, weights)
        module = kind(generator)
        made[module.name] = _finish(model, module, card)
    if left:
        raise EngineError(f"the export lost {', '.join(sorted(left))}; use the torch of [train]")
    graphs = Graphs(made["align"], made["restore"])
    check_graphs(graphs, generator, HALF_TOLERANCE if half else TOLERANCE)
    if half:
        check_half(generator)
    return graphs


def check_half(generator: Generator) -> None:
    """Run a generator's restorer in half precision beside itself, by torch, on all of CHECKED.

    The graph's own check cannot tell: OpenVINO computes in fp32 what says half precision. Raises
    EngineError when an output, or the logit of `defect`, differs by more than HALF_TOLERANCE, or
    is not finite.
    """
    exact, half = _Restore(generator).eval(), _Restore(copy.deepcopy(generator)).eval()
    half.generator.restorer.half()
    for batch, height, width in CHECKED:
        example = _example(exact, batch, height, width).values()
        with torch.inference_mode():
            pairs = zip(exact.outputs, half(*example), exact(*example), strict=True)
        for name, got, truth in pairs:
            error = float((got - truth).abs().max())
            allowed = HALF_TOLERANCE * (
                _steepest(truth) if name == "defect" else max(1.0, float(truth.abs().max()))
            )
            if not error <= allowed:
                raise EngineError(
                    f"{name} in half precision differs from fp32 by {error:.2g}, allowed is "
                    f"{allowed:.2g}; these weights need fp32"
                )


def _steepest(probability: Tensor) -> float:
    """How far a probability may move for each share of its logit's largest value.

    The network answers the logit, so that is what is rounded; at its steepest the logistic function
    makes a quarter of it. At least 1.
    """
    logits = torch.special.logit(probability, eps=1e-6)
    return max(1.0, float(logits.abs().max()) / 4.0)


def check_graphs(graphs: Graphs, generator: Generator, tolerance: float = TOLERANCE) -> None:
    """Run both graphs beside fp32 torch on all sizes of CHECKED.

    Raises EngineError when an output of `restore` differs by more than `tolerance`, one of
    `align` by more than TOLERANCE, or one in its shape.
    """
    _check(graphs.align, _Align(generator).eval(), TOLERANCE)
    _check(graphs.restore, _Restore(generator).eval(), tolerance)


@functools.cache  # it takes half a minute, and depends on the shape alone
def _trace(kind: type[_Graph], shape: GeneratorShape, *, half: bool) -> bytes:
    """The graph of a generator with random weights, as torch exports it.

    Random because torch drops biases that are zero and merges weights that are equal; the
    true ones are put in after.
    """
    generator = Generator(shape)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in generator.parameters():
            weight.normal_(generator=rng)
    if half:
        generator.restorer.half()
    module = kind(generator).eval()
    # The batch of the example is not 1, which torch.export would take for a constant.
    example = tuple(_example(module, 2, 64, 96).values())
    dynamic = {
        name: {i: Dim.DYNAMIC for i, size in enumerate(shape) if isinstance(size, str)}
        for name, shape in module.inputs.items()
    }
    with warnings.catch_warnings(), torch.inference_mode():
        # torch warns of its own use of what it has deprecated.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            example,
            input_names=list(module.inputs),
            output_names=list(module.outputs),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=dynamic,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


def _store_half(model: onnx.ModelProto, weights: Arrays) -> set[str]:
    """Replace the weights by the true ones in half precision, cast in the graph; their names.

    The cast is one to what they were: of no effect where the graph is in half precision.
    """
    casts, names = [], set()
    for tensor in model.graph.initializer:
        if not tensor.name.startswith(_PREFIX):
            continue
        used, name, kind = tensor.name, tensor.name.removeprefix(_PREFIX), tensor.data_type
        tensor.CopyFrom(numpy_helper.from_array(weights[name].astype(np.float16), name))
        casts.append(helper.make_node("Cast", [name], [used], to=kind))
        names.add(name)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return names


def _finish(model: onnx.ModelProto, module: _Graph, card: ModelCard) -> bytes:
    """Name the axes, drop what tells of the machine that exported, add the card."""
    graph = model.graph
    graph.name = f"vidrepair.{module.name}"
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    for node in graph.node:
        # Stack traces, with the paths of whoever exports.
        del node.metadata_props[:]
        node.doc_string = ""
    for value, shape in zip(
        (*graph.input, *graph.output),
        (*module.inputs.values(), *module.outputs.values()),
        strict=True,
    ):
        value.CopyFrom(helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape))
    digest = hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest()
    for key, text in ((CARD_KEY, card.to_json()), (GRAPH_KEY, digest)):
        model.metadata_props.add(key=key, value=text)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _check(data: bytes, module: _Graph, tolerance: float) -> None:
    core = ov.Core()
    compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for batch, height, width in CHECKED:
        example = _example(module, batch, height, width)
        result = compiled({name: value.numpy() for name, value in example.items()})
        with torch.inference_mode():
            truth = module(*example.values())
        for name, expected in zip(module.outputs, truth, strict=True):
            got = torch.from_numpy(result[name].copy())
            where = f"{module.name}: {name} at batch {batch}, {width}x{height}"
            if got.shape != expected.shape:
                raise EngineError(f"{where} has shape {tuple(got.shape)}; use the torch of [train]")
            allowed = tolerance * max(1.0, float(expected.abs().max()))
            error = float((got - expected).abs().max())
            if not error <= allowed:
                raise EngineError(
                    f"{where} differs from torch by {error:.2g}, allowed is {allowed:.2g}; "
                    "nothing was written, use the torch of [train]"
                )


def _example(module: _Graph, batch: int, height: int, width: int) -> dict[str, Tensor]:
    """Random inputs in the range of real ones, the same ones every time."""
    sizes = {"B": batch} | {
        f"{axis}/{scale}" if scale > 1 else axis: size // scale
        for axis, size in (("H", height), ("W", width))
        for scale in (1, 2, 4)
    }
    rng = torch.Generator().manual_seed(batch)
    made = {}
    for name, shape in module.inputs.items():
        values = torch.rand(
            [sizes[size] if isinstance(size, str) else size for size in shape], generator=rng
        )
        if name in ("frames", "state"):
            values = _cloud(values)
        if name == "state":
            # The restored frame is the frame and these: more of them would hide the motion.
            values[:, :UNSHUFFLED] *= 0.1
        made[name] = values * 0.1 if name == "noise" else values
    return made


def _cloud(noise: Tensor) -> Tensor:
    """Noise (..., H, W) made eight times coarser.

    There is no motion to find in white noise, and rounding alone would move the answer by
    hundredths of a pixel.
    """
    coarse = reduce(noise.flatten(0, -3)[None], 8)
    coarse = (coarse - 0.5) * 8.0 + 0.5  # the mean of 64 has an eighth of the contrast
    return enlarge(coarse, 8).reshape(noise.shape)
