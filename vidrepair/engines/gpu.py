"""The engine of an NVIDIA card: all lanes in one batch, the state on the card.

Decoded planes go up, once in a span, and become the generator's pictures there; what comes down are
finished planes (`compose`). Nothing waits inside a step: while one is computed the planes of the
next go up and those of the last come down.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from vidrepair.engines.device import Device, first_line
from vidrepair.engines.plan import Plan
from vidrepair.engines.protocol import Identity
from vidrepair.engines.tiles import Tile, cut_tiles, window_size
from vidrepair.errors import EngineError
from vidrepair.frames import Batch, LaneStep, Picture, Repaired
from vidrepair.models import ModelCard
from vidrepair.models.card import UNSHUFFLED
from vidrepair.planes import padded_size, to_generator

_DAMAGE = ("fill", "defect", "motion")
_AHEAD = 2
"""Steps that may be under way: one that is computed, one whose planes go up."""


class Program(Protocol):
    """What runs the generator on the card's tensors, `Buffers`."""

    capturable: bool
    """Its kernels may be started as one CUDA graph."""

    def align(self, stream: int) -> None:
        """Put `align` into the stream: frames and `whole.state` -> motion, `whole.aligned`."""
        ...

    def restore(self, stream: int) -> None:
        """Put `restore` of a window into the stream: its frame and `aligned` -> its outputs."""
        ...


@dataclass(frozen=True, slots=True)
class Pictures:
    """What `restore` reads and writes, fp32, of whole pictures or of a tile's window."""

    frame: Tensor
    aligned: Tensor
    state: Tensor
    """Of t-1, then of t: `align` has read it when `restore` writes it."""
    outputs: dict[str, Tensor]
    """denoise, fill, defect."""

    @classmethod
    def on(cls, device: Device, lanes: int, size: tuple[int, int], memory: int) -> Pictures:
        """Allocate them for pictures of (height, width) and `memory` channels of state."""
        half = (size[0] // 2, size[1] // 2)
        return cls(
            frame=device.empty(lanes, 3, *size),
            aligned=device.empty(lanes, memory + UNSHUFFLED, *half),
            state=device.empty(lanes, memory, *half),
            outputs={
                "denoise": device.empty(lanes, 3, *size),
                "fill": device.empty(lanes, 3, *size),
                "defect": device.empty(lanes, 1, *size),
            },
        )

    def enter(self, whole: Pictures, tile: Tile) -> None:
        """Take a tile's window of whole pictures."""
        self.frame.copy_(whole.frame[..., *tile.window()])
        self.aligned.copy_(whole.aligned[..., *tile.window(2)])

    def leave(self, whole: Pictures, tile: Tile) -> None:
        """Put what is kept of a tile into whole pictures."""
        for name, part in self.outputs.items():
            whole.outputs[name][..., *tile.kept()] = part[..., *tile.inside()]
        whole.state[..., *tile.kept(2)] = self.state[..., *tile.inside(2)]


@dataclass(frozen=True, slots=True)
class Buffers:
    """The tensors on the card, all fp32; the contract of `engines.generator` says what they are."""

    frames: Tensor
    noise: Tensor
    motion: Tensor
    whole: Pictures
    window: Pictures
    """The same where nothing is cut."""
    tiles: tuple[Tile, ...]

    @classmethod
    def on(cls, device: Device, picture: Picture, plan: Plan, card: ModelCard) -> Buffers:
        """Allocate them, and clear what an idle lane would show.

        Raises EngineError where they do not fit.
        """
        lanes, (height, width) = plan.lanes, padded_size(picture)
        part = window_size(height, width, plan.tile, card.halo)
        try:
            whole = Pictures.on(device, lanes, (height, width), card.state_channels)
            cut = part != (height, width)
            buffers = cls(
                frames=device.empty(lanes, 3, 3, height, width),
                noise=device.empty(lanes, 2, 17),
                motion=device.empty(lanes, 4, height // 4, width // 4),
                whole=whole,
                window=Pictures.on(device, lanes, part, card.state_channels) if cut else whole,
                tiles=tuple(cut_tiles(height, width, plan.tile, card.halo)),
            )
        except (RuntimeError, EngineError) as error:
            raise EngineError(
                f"{lanes} pictures of {width}x{height} do not fit into the memory of "
                f"{device.name} ({first_line(error)}); use a smaller --memory, or --backend "
                "openvino"
            ) from error

        def clear(_stream: int) -> None:
            for tensor in (buffers.frames, buffers.noise, whole.state):
                tensor.zero_()

        # In the queue of the steps: another stream's zeros could come after a step's frames.
        device.enqueue(clear)()
        return buffers


class GpuEngine:
    """Steps all lanes at once; a lane with nothing to do repeats what it last saw."""

    def __init__(
        self,
        identity: Identity,
        buffers: Buffers,
        program: Program,
        device: Device,
        *,
        damage: bool = False,
    ) -> None:
        self.identity = identity
        self._on, self._device, self._damage = buffers, device, damage
        self._program = program
        self._cancelled = False
        self._run = device.capture(self._compute) if program.capturable else self._compute
        self._planes: dict[int, tuple[tuple[Tensor, ...], ...]] = {}
        self._noise: dict[int, Tensor] = {}
        self._under_way: list[Callable[[], float]] = []
        self._worked = 0.0

    def _compute(self, stream: int) -> None:
        """The network on what the buffers hold."""
        on = self._on
        on.whole.frame.copy_(on.frames[:, 1])
        self._program.align(stream)
        if on.window is on.whole:
            self._program.restore(stream)
            return
        for tile in on.tiles:
            on.window.enter(on.whole, tile)
            self._program.restore(stream)
            on.window.leave(on.whole, tile)

    @property
    def worked(self) -> float:
        """Seconds that the card has computed; waits for what is under way."""
        self._wait_until(0)
        return self._worked

    def _wait_until(self, most: int) -> None:
        """At most so many steps are left under way."""
        while len(self._under_way) > most:
            self._worked += self._under_way.pop(0)()

    def step(self, batch: Batch) -> list[Repaired]:
        """Put one step of each lane of the batch into the card's queue."""
        if self._cancelled:
            raise EngineError("the run was cancelled")
        self._wait_until(_AHEAD - 1)
        for lane in batch.lanes:
            self._upload(lane)
        shape = self._on.whole.frame.shape[1:]
        residuals = [self._device.empty(*shape) for _ in batch.lanes]
        sums = [self._device.empty() for _ in batch.lanes]

        planes, noise = dict(self._planes), dict(self._noise)

        def work(stream: int) -> None:
            for lane in batch.lanes:
                self._enter(lane, planes[lane.lane], noise[lane.lane])
            self._run(stream)
            for lane, residual, total in zip(batch.lanes, residuals, sums, strict=True):
                residual.copy_(self._on.whole.outputs["denoise"][lane.lane])
                total.copy_(residual.sum())

        self._under_way.append(self._device.enqueue(work))
        return [self._repaired(*each) for each in zip(batch.lanes, residuals, sums, strict=True)]

    def _upload(self, lane: LaneStep) -> None:
        """Bring planes of t-1, t and t+1, and the noise, to the card, as far as they are new."""
        at = lane.lane
        if lane.fresh:
            self._planes[at] = tuple(self._device.upload(frame.planes) for frame in lane.frames)
            self._noise[at] = self._device.upload((lane.noise,))[0]
        else:
            self._planes[at] = (
                *self._planes[at][1:],
                self._device.upload(lane.frames[2].planes),
            )

    def _enter(self, lane: LaneStep, planes: tuple[tuple[Tensor, ...], ...], noise: Tensor) -> None:
        """Bring one lane's frames, noise and state to where the program looks for them."""
        frames = self._on.frames[lane.lane]
        if lane.fresh:
            self._on.whole.state[lane.lane].zero_()
            self._on.noise[lane.lane].copy_(noise)
            for at in (0, 1):
                to_generator(planes[at], lane.frames[at].picture, frames[at])
        else:
            frames[0].copy_(frames[1])
            frames[1].copy_(frames[2])
        to_generator(planes[2], lane.frames[2].picture, frames[2])

    def _repaired(self, lane: LaneStep, residual: Tensor, total: Tensor) -> Repaired:
        told = self._device.start_fetch((total,))
        taken = self._taken(lane.lane)
        return Repaired(
            residual,
            fill=taken.get("fill"),
            defect=taken.get("defect"),
            motion=taken.get("motion"),
            place=self._device,
            planes=self._planes[lane.lane][1],
            checksum=lambda: float(told()[0]),
        )

    def _taken(self, lane: int) -> dict[str, Tensor]:
        """Fill, defect and motion of a lane, copied, where they are wanted."""
        if not self._damage:
            return {}
        every = {**self._on.whole.outputs, "motion": self._on.motion}
        there = {name: every[name][lane] for name in _DAMAGE}
        here = {name: self._device.empty(*tensor.shape) for name, tensor in there.items()}

        def copy(_stream: int) -> None:
            for name, tensor in here.items():
                tensor.copy_(there[name])

        self._device.enqueue(copy)
        return here

    def cancel(self) -> None:
        """A step on a card takes milliseconds; the one after it does not start."""
        self._cancelled = True

    def close(self) -> None:
        """Give the card's memory back; what is left of an engine cannot step any more."""
        self._cancelled = True
        with suppress(EngineError):  # of a step that failed, and was told there
            self._device.wait()
        self._planes.clear()
        self._noise.clear()
        # What holds the card's memory; a step would now be a bug, and is refused.
        self._on = self._program = self._run = None  # type: ignore[assignment]
