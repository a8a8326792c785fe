"""The released ONNX graphs on onnxruntime: for processors that OpenVINO has no wheel for."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import onnxruntime as ort

from vidrepair.engines.plan import Plan
from vidrepair.engines.protocol import Identity
from vidrepair.engines.ring import FrameRing
from vidrepair.engines.tiles import cut_tiles
from vidrepair.errors import EngineError
from vidrepair.frames import Batch, FloatArray, LaneStep, Picture, Repaired
from vidrepair.models import ModelFiles
from vidrepair.planes import padded_size

_OUTPUTS = ("denoise", "fill", "defect", "state")
_CHANNELS = {"denoise": 3, "fill": 3, "defect": 1}


class OnnxRuntimeEngine:
    """Both graphs in fp32, one lane after the other, each with all threads."""

    worked = None

    def __init__(
        self, files: ModelFiles, picture: Picture, plan: Plan, *, damage: bool = False
    ) -> None:
        self._damage = damage
        self._height, self._width = padded_size(picture)
        self._tiles = cut_tiles(self._height, self._width, plan.tile, files.card.halo)
        options = ort.SessionOptions()
        options.intra_op_num_threads = plan.threads
        options.log_severity_level = 4  # what matters is raised
        self._align, self._restore = (
            ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            for path in (files.align, files.restore)
        )
        self._ending = ort.RunOptions()
        channels = files.card.state_channels
        self._rings = [FrameRing(self._height, self._width) for _ in range(plan.lanes)]
        self._states = [
            np.zeros((1, channels, self._height // 2, self._width // 2), dtype=np.float32)
            for _ in range(plan.lanes)
        ]
        self.identity = Identity(
            backend="onnxruntime",
            version=ort.__version__,
            weights=files.card.sha256,
            precision="fp32",
            device=platform.processor() or platform.machine(),
            height=self._height,
            width=self._width,
            lanes=plan.lanes,
            tile=plan.tile,
            threads=plan.threads,
        )

    def step(self, batch: Batch) -> list[Repaired]:
        """One step of each lane, in turn."""
        if self._ending.terminate:
            raise EngineError("the run was cancelled")
        return [self._step(lane) for lane in batch.lanes]

    def _step(self, lane: LaneStep) -> Repaired:
        state = self._states[lane.lane]
        if lane.fresh:
            state[...] = 0.0
        frames = self._rings[lane.lane].take(lane)[None]
        motion, aligned = self._run(
            self._align, ("motion", "aligned"), {"frames": frames, "state": state}
        )
        size = (self._height, self._width)
        wanted = _OUTPUTS if self._damage else ("denoise", "state")
        out = {
            name: np.empty((_CHANNELS[name], *size), dtype=np.float32) for name in wanted[:-1]
        } | {"state": state[0]}
        for tile in self._tiles:
            given = {
                "frame": np.ascontiguousarray(frames[:, 1][..., *tile.window()]),
                "aligned": np.ascontiguousarray(aligned[..., *tile.window(2)]),
                "noise": lane.noise[None],
            }
            parts = self._run(self._restore, wanted, given)
            for name, part in zip(wanted, parts, strict=True):
                scale = 2 if name == "state" else 1
                out[name][:, *tile.kept(scale)] = part[0][:, *tile.inside(scale)]
        if not self._damage:
            return Repaired(out["denoise"])
        return Repaired(out["denoise"], out["fill"], out["defect"], motion[0])

    def _run(
        self, session: Any, wanted: tuple[str, ...], given: dict[str, FloatArray]
    ) -> list[FloatArray]:
        try:
            found: list[FloatArray] = session.run(list(wanted), given, self._ending)
        except Exception as error:  # its errors have no base of their own
            raise EngineError(
                f"the onnxruntime engine failed ({str(error).strip().splitlines()[-1]}); "
                "try a smaller --memory, or --backend torch"
            ) from error
        return found

    def cancel(self) -> None:
        """Stop the running graph; a 4096-wide step would last seconds."""
        self._ending.terminate = True

    def close(self) -> None:
        """Give the memory back."""
        self._states.clear()
        self._rings.clear()
        for name in ("_align", "_restore"):
            if hasattr(self, name):
                delattr(self, name)
