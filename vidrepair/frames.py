"""The nouns that travel through the pipe: pixel format, frame, shot, span, batch, repaired."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from vidrepair.lines import Line, LineEvidence

Plane = NDArray[np.uint8] | NDArray[np.uint16]
FloatArray = NDArray[np.float32]
Array = Any
"""Of numpy, or a tensor of torch on some device: in the operations that both have."""
Family = Literal["yuv", "rgb", "gray"]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How samples are stored; always planar and little-endian inside the tool."""

    name: str
    """FFmpeg's name, such as yuv420p10le."""
    family: Family
    bits: int
    """Significant bits of a sample, 8 to 16."""
    sampling: tuple[int, int] = (1, 1)
    """Luma samples per chroma sample, across and down: (2, 2) is 4:2:0."""
    alpha: bool = False
    """An alpha plane rides along in the carrier; it is never touched."""

    @property
    def peak(self) -> int:
        """The largest code."""
        return int(2**self.bits - 1)


@dataclass(frozen=True, slots=True)
class Picture:
    """The facts of a picture that its samples cannot be read without."""

    width: int
    height: int
    format: PixelFormat
    matrix: str = "bt709"
    """Key of planes.LUMA_WEIGHTS; for R'G'B' sources always bt709, ours to choose."""
    full_range: bool = False


@dataclass(frozen=True, slots=True)
class Defect:
    """One place of one frame that was repaired."""

    kind: str
    """dust, scratch or dropout; broken, where the decoder had nothing; masked, as the user says."""
    frame: int
    """Counted from 0 in output order."""
    box: tuple[int, int, int, int]
    """Top, left, bottom, right of it; the last two are one beyond."""
    confidence: float
    """0..1."""
    samples: int = 0
    """Of luma that were laid over."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of a lasting scratch on one frame."""

    line: Line
    defect: Defect


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """What was laid over the planes of a frame before the generator sees them."""

    decoded: tuple[Plane, ...]
    """The planes as they were."""
    pieces: tuple[Piece, ...]
    """What was covered."""
    packed: bytes
    """zlib of the matte, (H, W) uint8: spans are long, and mattes mostly black."""

    @classmethod
    def under(
        cls, matte: FloatArray, decoded: tuple[Plane, ...], pieces: tuple[Piece, ...]
    ) -> Filled:
        """With a weight (H, W) 0..1; where it is 0 the planes are as they were."""
        codes = np.asarray(np.ceil(255.0 * matte), dtype=np.uint8)
        return cls(decoded, pieces, zlib.compress(codes.tobytes(), 1))

    def codes(self, picture: Picture) -> NDArray[np.uint8]:
        """(H, W) 0..255: the weight, at least 1 where there is any."""
        unpacked = np.frombuffer(zlib.decompress(self.packed), np.uint8)
        return unpacked.reshape(picture.height, picture.width)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame. Two frames are equal only if they are the same object."""

    planes: tuple[Plane, ...]
    """Y', Cb, Cr or R', G', B' or gray: (H, W) code values each, chroma at its own size.
    Views into `carrier`: read only until `encode` has made the carrier writable."""
    picture: Picture
    number: int
    """Counted from 0 in output order."""
    pts: int
    time_base: Fraction
    duration: int = 0
    """In time_base units; 0 when unknown."""
    carrier: Any = None
    """The decoded frame with its side data; opaque to all but decode and encode."""
    corrupt: bool = False
    """The decoder flagged damage."""
    quantiser_step: float = 0.0
    """Mean step of the codec's quantiser in 8-bit code values; 0 where it is not told."""
    repeat: bool = False
    """Every sample equals that of the frame before; set by `repeats`."""
    copy: bool = False
    """Shows the picture of the frame before once more, noise and all, but for what a codec changed;
    set by `repeats`."""
    lost: bool = False
    """Nothing of it is of use: it is made anew of the frames around it; set by `broken`."""
    holes: NDArray[np.bool_] | None = None
    """(H, W) where the rest of a frame is of use and this is not; set by `broken`."""
    masked: NDArray[np.bool_] | None = None
    """(H, W) what the user says is damage."""
    protected: NDArray[np.bool_] | None = None
    """(H, W) what the user says is never to be repaired."""
    filled: Filled | None = None
    """What was laid over `planes` before the generator sees them; set by `scratch_clearing`."""
    shot: int = 0
    """Counted from 0; set by `shots`."""
    parity: int | None = None
    """Of a field: 0 for the even rows of its frame, 1 for the odd ones; set by `fields`."""

    @property
    def passed_over(self) -> bool:
        """Whether it shows the generator nothing new."""
        return self.repeat or self.copy or self.lost

    @property
    def luma(self) -> Plane:
        """The luma plane; for R'G'B' the green one, its closest relative."""
        return self.planes[1] if self.picture.format.family == "rgb" else self.planes[0]

    @property
    def seconds(self) -> float:
        """Presentation time, for text only."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True, slots=True)
class NoiseProfile:
    """Deviation of the stored samples at 17 luma levels 0..1, each a share of the peak code.

    Levels are those of the smoothed noisy luma; `luma` and `chroma` are (17,) float32.
    """

    luma: FloatArray
    chroma: FloatArray

    def array(self) -> FloatArray:
        """(2, 17) float32, the generator's `noise` of one lane."""
        return np.stack([self.luma, self.chroma]).astype(np.float32)


def at_levels(curve: NDArray[Any], luma: NDArray[Any]) -> NDArray[np.float64]:
    """A curve (n,) over even steps of luma from 0 to 1, at any luma."""
    return np.asarray(np.interp(luma, np.linspace(0.0, 1.0, len(curve)), curve))


@dataclass(frozen=True, slots=True, eq=False)
class GrainSpectrum:
    """How the grain of a shot is spread over the frequencies, whatever its strength."""

    luma: FloatArray
    """(9, 9) density of power at 0, 1/16 .. 1/2 cycles per sample, frequencies down by frequencies
    across; white is 1 everywhere, and only ratios count."""
    chroma: FloatArray
    """The same of Cb and Cr, in samples of their own planes."""
    follows: FloatArray
    """(2,) correlation -1..1 of Cb and of Cr with the mean luma of their sites."""


@dataclass(frozen=True, slots=True, eq=False)
class GrainProfile:
    """All that is known of a shot's grain: enough to make it again."""

    noise: NoiseProfile
    spectrum: GrainSpectrum


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """A stretch of one shot that is computed on its own, from a zero state.

    `walk` lists the frames in the order in which the generator sees them: one of context,
    `warm` warm-up steps, the core steps, one of look-ahead. Step i looks at walk[i],
    walk[i + 1] and walk[i + 2] and restores walk[i + 1].
    """

    number: int
    """Counted from 0 over the film."""
    shot: int
    walk: tuple[Frame, ...]
    warm: int
    followers: tuple[tuple[Frame, ...], ...]
    """The frames after each core frame that the generator passes over: repeats and copies, which
    take its change, and lost ones."""
    noise: NoiseProfile
    fades_in: int
    """How many of the last warm-up steps show frames of the span before that fade to them."""
    fades_out: int
    """How many of the last core frames fade to the next span's warm-up."""
    spectrum: GrainSpectrum | None = None
    """Of its grain; None where nobody makes grain anew."""
    lines: LineEvidence | None = None
    """Its lasting scratches; None where nobody looks for them."""
    stretch: int = 0
    """Which stretch of the film it is computed for, where only some are."""

    @property
    def opens(self) -> int:
        """The number of the first frame that it shows; lost ones may come before the core."""
        return min(frame.number for frame in (self.core[0], *self.followers[0]))

    @property
    def grain(self) -> GrainProfile | None:
        """All that is known of its grain."""
        return None if self.spectrum is None else GrainProfile(self.noise, self.spectrum)

    @property
    def steps(self) -> int:
        """Warm-up and core steps together."""
        return len(self.walk) - 2

    @property
    def core(self) -> tuple[Frame, ...]:
        """The frames this span is responsible for."""
        return self.walk[1 + self.warm : -1]


@dataclass(frozen=True, slots=True, eq=False)
class LaneStep:
    """What one lane sees at one step."""

    lane: int
    frames: tuple[Frame, Frame, Frame]
    """t-1, t, t+1."""
    noise: FloatArray
    """(2, 17)."""
    fresh: bool
    """A span starts: the lane's state is zeroed first. Else t-1 and t were seen as t and t+1."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step of every lane that has something to do."""

    lanes: tuple[LaneStep, ...]


class Place(Protocol):
    """Where an engine's arrays live: the host, or a card whose work goes on by itself."""

    def working(self) -> AbstractContextManager[object]:
        """Arithmetic on its arrays is done in here."""
        ...

    def start_fetch(self, arrays: Sequence[Array]) -> Fetch:
        """Begin to bring home what is computed by then."""
        ...


Fetch = Callable[[], tuple[NDArray[Any], ...]]
"""Waits for arrays that were asked for, and for them alone: arrays of numpy."""


class Host:
    """The place of arrays of numpy."""

    def working(self) -> AbstractContextManager[object]:
        """Nothing is special here."""
        return nullcontext()

    def start_fetch(self, arrays: Sequence[Array]) -> Fetch:
        """They are at home."""
        return lambda: tuple(arrays)


HOST = Host()


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """The generator's answer for one frame, as the contract of `engines.generator` has it.

    Arrays live at `place`, and may still be under way there.
    """

    denoise: Array | None
    """(3, H, W) float32, residual in the generator's unit, to be added; None changes nothing."""
    fill: Array | None = None
    """(3, H, W) the picture where the frame is damaged."""
    defect: Array | None = None
    """(1, H, W) probability of damage."""
    motion: Array | None = None
    """(4, H/4, W/4) displacement to t-1 and t+1 in full-size pixels."""
    matte: Array | None = None
    """(H, W) the weight of the fill, 0..1; set by `defects`, None changes nothing."""
    defects: tuple[Defect, ...] = ()
    """What the matte covers; set by `defects`."""
    left: NDArray[np.bool_] | None = None
    """(H, W) where decoded samples stay though `filled` lies over them; set by `defects`."""
    refused: tuple[Defect, ...] = ()
    """What was filled there."""
    place: Place = HOST
    planes: tuple[Array, ...] | None = None
    """The frame's planes at that place; None: the frame's own are there."""
    checksum: Callable[[], float] | None = None
    """Waits for the sum of the residual; None: it is at hand, to be summed."""

    def is_finite(self) -> bool:
        """Whether the residual holds neither a NaN nor an infinity; waits for it."""
        if self.denoise is None:
            return True
        # One sum finds one anywhere, at a fraction of the cost of isfinite.
        return math.isfinite(self.checksum() if self.checksum else self.denoise.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What came out of one step of a span."""

    span: Span
    step: int
    """0 is the first warm-up step; span.warm the first core frame."""
    repaired: Repaired

    @property
    def frame(self) -> Frame:
        """The frame that was restored."""
        return self.span.walk[self.step + 1]
