"""The processor's engine: the released ONNX graphs on OpenVINO.

`align` runs in fp32, always: OpenVINO's global bf16 hint would reach the sampling coordinates
and move them by up to a pixel. So does the head of `restore`, all before its first convolution:
there the local mean is taken out of the picture, and in bf16 the step of a bright sample is a
whole code. The three graphs are compiled apart. Lanes run side by side,
each on its share of the threads, which beats one picture split over the cores.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidrepair.engines.plan import Plan
from vidrepair.engines.protocol import Identity
from vidrepair.engines.ring import FrameRing
from vidrepair.engines.silent_openvino import opset13, ov
from vidrepair.engines.tiles import cut_tiles, window_size
from vidrepair.errors import EngineError
from vidrepair.frames import Batch, FloatArray, LaneStep, Picture, Repaired
from vidrepair.models import ModelFiles
from vidrepair.models.card import UNSHUFFLED
from vidrepair.planes import padded_size

_DAMAGE = ("fill", "defect")
_STATE = {"residual": slice(0, UNSHUFFLED), "features": slice(UNSHUFFLED, None)}
"""The parts of the state and their channels. The body writes each to its place: joining them
first would cost a twentieth of the speed."""


def has_bf16() -> bool:
    """Whether this processor computes in bfloat16."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEngine:
    """Both graphs compiled for one picture size."""

    worked = None

    def __init__(
        self, files: ModelFiles, picture: Picture, plan: Plan, *, bf16: bool, damage: bool = False
    ) -> None:
        height, width = padded_size(picture)
        card = files.card
        self._damage = damage
        self._tiles = cut_tiles(height, width, plan.tile, card.halo)
        self._core = ov.Core()
        self._graphs = _read_graphs(
            self._core,
            files,
            (height, width),
            window_size(height, width, plan.tile, card.halo),
            damage=damage,
        )
        self._bf16 = bf16
        self.identity = Identity(
            backend="openvino",
            version=ov.__version__,
            weights=card.sha256,
            precision="bf16" if bf16 else "fp32",
            device=str(self._core.get_property("CPU", "FULL_DEVICE_NAME")),
            height=height,
            width=width,
            lanes=plan.lanes,
            tile=plan.tile,
        )
        self._threads = plan.threads
        self._cancelled = False
        began = time.monotonic()
        self._pairs = self._compile(plan.lanes)
        self._compiling = time.monotonic() - began
        self._alone: _Requests | None = None
        self._lost = 0.0
        """Seconds that a single lane took longer with its own threads than it had with all."""
        self._lanes = [_Lane(card.state_channels, height, width) for _ in range(plan.lanes)]
        self._workers = ThreadPoolExecutor(plan.lanes, thread_name_prefix="lane")

    def _compile(self, streams: int) -> list[_Requests]:
        """As many pairs of requests as there are streams, sharing the threads."""
        common = {"INFERENCE_NUM_THREADS": self._threads, "NUM_STREAMS": streams}
        align, head, body = self._graphs
        exact = self._core.compile_model(
            align, "CPU", {**common, "INFERENCE_PRECISION_HINT": "f32"}
        )
        first = self._core.compile_model(head, "CPU", {**common, "INFERENCE_PRECISION_HINT": "f32"})
        hint = "bf16" if self._bf16 else "f32"
        quick = self._core.compile_model(body, "CPU", {**common, "INFERENCE_PRECISION_HINT": hint})
        return [
            _Requests(*(graph.create_infer_request() for graph in (exact, first, quick)))
            for _ in range(streams)
        ]

    def step(self, batch: Batch) -> list[Repaired]:
        """One step of each lane, side by side.

        A single lane gets all threads, from when it has lost as much time without as it takes to
        compile for it. How many threads share a step changes no byte (tests/test_engines.py).
        """
        pairs, alone = self._pairs, len(batch.lanes) == 1 and self.identity.lanes > 1
        try:
            if alone and self._lost >= self._compiling:
                self._alone = self._alone or self._compile(1)[0]
                pairs = [self._alone]
            began = time.monotonic()
            # In workers even where it is one: Ctrl-C reaches only a thread that runs Python.
            answers = list(self._workers.map(self._step, batch.lanes, pairs))
        except RuntimeError as error:
            raise EngineError(
                f"the openvino engine failed ({str(error).strip().splitlines()[-1]}); "
                "try a smaller --memory, or --backend torch"
            ) from error
        if alone and pairs is self._pairs:
            # As if all threads made it faster by their number: at worst a little too early.
            self._lost += (time.monotonic() - began) * (1 - 1 / self.identity.lanes)
        return answers

    def _step(self, step: LaneStep, pair: _Requests) -> Repaired:
        lane = self._lanes[step.lane]
        if step.fresh:
            lane.state[...] = 0.0
        frames = lane.ring.take(step)
        pair.align.set_tensor("frames", _shared(frames[None]))
        pair.align.set_tensor("state", _shared(lane.state))
        pair.align.set_tensor("aligned", _shared(lane.aligned))
        self._infer(pair.align)
        pair.head.set_tensor("noise", ov.Tensor(step.noise[None]))
        if len(self._tiles) == 1:
            return self._whole(lane, frames[1], pair)
        return self._tiled(lane, frames[1], pair)

    def _whole(self, lane: _Lane, frame: FloatArray, pair: _Requests) -> Repaired:
        request = pair.body
        out = self._outputs()
        self._enter(pair, frame[None], lane.aligned)
        for name, channels in _STATE.items():
            request.set_tensor(name, _shared(lane.state[:, channels]))
        for name, whole in out.items():
            request.set_tensor(name, _shared(whole[None]))
        self._infer(request)
        return self._repaired(out, pair)

    def _tiled(self, lane: _Lane, frame: FloatArray, pair: _Requests) -> Repaired:
        request = pair.body
        out = self._outputs()
        for tile in self._tiles:
            part = np.ascontiguousarray(frame[:, *tile.window()])
            memory = np.ascontiguousarray(lane.aligned[0][:, *tile.window(2)])
            self._enter(pair, part[None], memory[None])
            self._infer(request)
            for name, whole in out.items():
                part = request.get_tensor(name).data[0]
                whole[:, *tile.kept()] = part[:, *tile.inside()]
            # The state's memory may be written already: `align` has read it for this step.
            for name, channels in _STATE.items():
                part = request.get_tensor(name).data[0]
                lane.state[0][channels, *tile.kept(2)] = part[:, *tile.inside(2)]
        return self._repaired(out, pair)

    def _enter(self, pair: _Requests, frame: FloatArray, aligned: FloatArray) -> None:
        """Run the head of `restore` and hand what it found to the body, without a copy."""
        pair.head.set_tensor("frame", _shared(frame))
        pair.head.set_tensor("aligned", _shared(aligned))
        self._infer(pair.head)
        for number in range(len(pair.head.model_outputs)):
            pair.body.set_input_tensor(number, pair.head.get_output_tensor(number))

    def _infer(self, request: Any) -> None:
        if self._cancelled:
            raise EngineError("the run was cancelled")
        request.infer()

    def _outputs(self) -> dict[str, FloatArray]:
        """Room for a step's results; new each time, since others read them while we go on."""
        channels = {"denoise": 3, **({"fill": 3, "defect": 1} if self._damage else {})}
        size = (self.identity.height, self.identity.width)
        return {name: np.empty((n, *size), dtype=np.float32) for name, n in channels.items()}

    def _repaired(self, out: dict[str, FloatArray], pair: _Requests) -> Repaired:
        motion = pair.align.get_tensor("motion").data[0].copy() if self._damage else None
        return Repaired(out["denoise"], out.get("fill"), out.get("defect"), motion)

    def cancel(self) -> None:
        """Stop the running requests; a 4096-wide step would last seconds."""
        self._cancelled = True
        for pair in (*self._pairs, *([self._alone] if self._alone else [])):
            for request in (pair.align, pair.head, pair.body):
                request.cancel()

    def close(self) -> None:
        """Wait for the lanes and give their memory back."""
        self._workers.shutdown()
        self._lanes.clear()


@dataclass(frozen=True, slots=True, eq=False)
class _Requests:
    """One request for each graph."""

    align: Any
    head: Any
    body: Any


class _Lane:
    """The memory of one lane; the requests read and write it in place."""

    def __init__(self, state_channels: int, height: int, width: int) -> None:
        size = (height // 2, width // 2)
        self.ring = FrameRing(height, width)
        self.state = np.zeros((1, state_channels, *size), dtype=np.float32)
        self.aligned = np.empty((1, state_channels + UNSHUFFLED, *size), dtype=np.float32)


def _shared(array: FloatArray) -> Any:
    return ov.Tensor(array, shared_memory=True)


def _read_graphs(
    core: Any, files: ModelFiles, size: tuple[int, int], window: tuple[int, int], *, damage: bool
) -> tuple[Any, Any, Any]:
    """The graphs, made static: `align` for the picture, both parts of `restore` for a window."""
    align = core.read_model(files.align)
    whole, cut = (files.card.input_shapes(1, *sides) for sides in (size, window))
    align.reshape({name: list(whole[name]) for name in ("frames", "state")})
    restore = core.read_model(files.restore)
    if not damage:
        restore = _without(restore, _DAMAGE)
    restore.reshape({name: list(cut[name]) for name in ("frame", "aligned", "noise")})
    return align, *_split(_unjoin(restore))


def _unjoin(model: Any) -> Any:
    """The model with the parts of its state as outputs, under the names of _STATE."""
    outputs = []
    for out in model.outputs:
        if "state" not in out.get_names():
            outputs.append(out.node.input_value(0))
            continue
        parts = out.node.input_value(0).get_node().input_values()
        for name, part in zip(_STATE, parts, strict=True):
            part.get_tensor().set_names({name})
            outputs.append(part)
    return ov.Model(outputs, model.get_parameters(), model.friendly_name)


def _split(model: Any) -> tuple[Any, Any]:
    """A graph, used up -> all before its first convolution, and the rest.

    The outputs of the first are, in order, the inputs of the second.
    """
    other = model.clone()
    crossing = [output for output, _ in _crossing(model)]
    head = ov.Model(crossing, model.get_parameters(), "head")
    given = []
    for output, users in _crossing(other):
        parameter = opset13.parameter(output.get_shape(), output.get_element_type())
        for user in users:
            user.replace_source_output(parameter.output(0))
        given.append(parameter)
    body = ov.Model([out.get_node() for out in other.outputs], given, "body")
    return head, body


def _crossing(model: Any) -> list[tuple[Any, list[Any]]]:
    """What the part before the first convolution hands on: outputs, and the inputs they feed."""
    nodes = model.get_ordered_ops()
    first = next(node for node in nodes if node.get_type_name() == "Convolution")
    before: set[str] = set()
    waiting = [first.input_value(0).get_node()]
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in before:
            before.add(node.get_friendly_name())
            waiting += [given.get_source_output().get_node() for given in node.inputs()]
    found = []
    for node in nodes:
        if node.get_friendly_name() not in before or node.get_type_name() == "Constant":
            continue
        for output in node.outputs():
            users = [
                user
                for user in output.get_target_inputs()
                if user.get_node().get_friendly_name() not in before
            ]
            if users:
                found.append((output, users))
    return found


def _without(model: Any, names: tuple[str, ...]) -> Any:
    """The model without some of its outputs; what only they need is not computed."""
    kept = [out for out in model.outputs if not set(names) & out.get_names()]
    return ov.Model([out.node for out in kept], model.get_parameters(), model.friendly_name)
