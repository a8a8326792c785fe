"""The least time that a frame can take somewhere: by its arithmetic, and by its memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidrepair.frames import Picture
from vidrepair.models import ModelFiles
from vidrepair.planes import padded_size

_SIDE = 2048
"""Of the matrices that tell the processor's peak."""
_CARD_SIDE = 8192
"""Of those that tell a card's."""
_REPEATS = 8
"""On a card, of each try: starting one takes time, too."""
_COPIED = 1 << 28
"""Bytes; more than any cache holds."""
_SMALL = (128, 128)
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Floor:
    """What a step of the generator needs, and what the machine gives at best."""

    gflop: float
    """Of the convolutions of one step; a multiplication with its addition counts two."""
    megabytes: float
    """Inputs and outputs of both graphs, moved once."""
    gflops: float
    """Of a large product of matrices."""
    gigabytes_per_second: float
    """Of a large copy, read and written."""

    @property
    def arithmetic_ms(self) -> float:
        """Milliseconds of a step, were there nothing but arithmetic."""
        return 1000.0 * self.gflop / self.gflops

    @property
    def memory_ms(self) -> float:
        """Milliseconds of a step, were every input and output moved once and nothing else."""
        return self.megabytes / self.gigabytes_per_second

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return {
            "gflop_per_step": round(self.gflop, 2),
            "megabytes_per_step": round(self.megabytes, 1),
            "peak_gflops": round(self.gflops, 1),
            "peak_gigabytes_per_second": round(self.gigabytes_per_second, 1),
            "arithmetic_ms": round(self.arithmetic_ms, 2),
            "memory_ms": round(self.memory_ms, 2),
        }


def measure_floor(files: ModelFiles, picture: Picture, *, bf16: bool, threads: int) -> Floor:
    """Count the generator's work on a picture, and try what the processor can."""
    from vidrepair.engines.silent_openvino import ov

    core = ov.Core()
    flop, moved = _count_work(core, files, picture)
    return Floor(
        gflop=flop / 1e9,
        megabytes=moved / 1e6,
        gflops=2.0 * _SIDE**3 / 1e9 / _best(_product(core, bf16=bf16, threads=threads)),
        gigabytes_per_second=2.0 * _COPIED / 1e9 / _best(_copy(threads or os.cpu_count() or 1)),
    )


def measure_card_floor(
    files: ModelFiles, picture: Picture, *, half: bool, device: str, side: int = _CARD_SIDE
) -> Floor:
    """The same for a device of torch, such as cuda:0; matrices have `side` rows and columns."""
    import torch

    where = torch.device(device)

    def repeated(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            for _ in range(_REPEATS):
                work()
            if where.type == "cuda":
                torch.cuda.synchronize(where)

        return run

    matrix = torch.ones(side, side, dtype=torch.float16 if half else torch.float32, device=where)
    source = torch.ones(_COPIED, dtype=torch.uint8, device=where)
    target = torch.empty_like(source)
    flop, moved = _count_small(files, picture)
    product, copy = repeated(lambda: matrix @ matrix), repeated(lambda: target.copy_(source))
    return Floor(
        gflop=flop / 1e9,
        megabytes=moved / 1e6,
        gflops=_REPEATS * 2.0 * side**3 / 1e9 / _best(product),
        gigabytes_per_second=_REPEATS * 2.0 * _COPIED / 1e9 / _best(copy),
    )


def _count_work(core: Any, files: ModelFiles, picture: Picture) -> tuple[float, float]:
    """Operations of one step's convolutions, and bytes of both graphs' inputs and outputs."""
    height, width = padded_size(picture)
    shapes = files.card.input_shapes(1, height, width)
    flop = moved = 0.0
    for path in (files.align, files.restore):
        model = core.read_model(path)
        names = [port.get_any_name() for port in model.inputs]
        model.reshape({name: list(shapes[name]) for name in names})
        flop += sum(_flop(node) for node in model.get_ops())
        moved += sum(4.0 * np.prod(list(port.shape)) for port in (*model.inputs, *model.outputs))
    return flop, moved


def _count_small(files: ModelFiles, picture: Picture) -> tuple[float, float]:
    """The same by torch, where there is no OpenVINO: of a small picture, for both grow with it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vidrepair.engines.generator import load_generator

    given = {
        name: torch.zeros(shape) for name, shape in files.card.input_shapes(1, *_SMALL).items()
    }
    model = load_generator(files.load_weights())
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        outputs = [
            *model.align(given["frames"], given["state"]),
            *model.restore(given["frame"], given["aligned"], given["noise"]),
        ]
    height, width = padded_size(picture)
    times = height * width / (_SMALL[0] * _SMALL[1])
    moved = sum(4.0 * tensor.numel() for tensor in (*given.values(), *outputs))
    return times * counter.get_total_flops(), times * moved


def _flop(node: Any) -> float:
    """Of a convolution; what else there is is counted as memory."""
    if node.get_type_name() != "Convolution":
        return 0.0
    _, *filters = list(node.input_value(1).get_shape())
    return 2.0 * float(np.prod(list(node.output(0).get_shape()))) * float(np.prod(filters))


def _product(core: Any, *, bf16: bool, threads: int) -> Callable[[], object]:
    """A product of two matrices, the second one a constant as weights are."""
    from vidrepair.engines.silent_openvino import opset13, ov

    rng = np.random.default_rng(0)
    matrices = rng.standard_normal((2, _SIDE, _SIDE), dtype=np.float32)
    given = opset13.parameter([_SIDE, _SIDE], np.float32)
    model = ov.Model([opset13.matmul(given, matrices[1], False, False)], [given])
    hints = {"INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32"}
    if threads:
        hints["INFERENCE_NUM_THREADS"] = str(threads)
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    return lambda: request.infer([matrices[0]])


def _copy(threads: int) -> Callable[[], object]:
    """A large copy by as many threads."""
    source = np.array_split(np.ones(_COPIED, dtype=np.uint8), threads)
    target = np.array_split(np.zeros(_COPIED, dtype=np.uint8), threads)
    workers = ThreadPoolExecutor(threads)
    return lambda: list(workers.map(np.copyto, target, source))


def _best(work: Callable[[], object]) -> float:
    """The shortest of some tries, in seconds, after one that does not count."""
    work()
    took = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return min(took)
