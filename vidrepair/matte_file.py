"""Where the matte goes: FFV1 in Matroska, ProRes in QuickTime, or numbered PNG pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import av
import numpy as np

from vidrepair.carriers import new_carrier, plane_views
from vidrepair.encode import OutputPlan, Target, open_target, plan_output
from vidrepair.errors import UsageError, VidrepairError
from vidrepair.files import FULL, Unfinished, beside, check_writable, no_folder, same_file, sync
from vidrepair.frames import Frame, Picture, PixelFormat
from vidrepair.matte import Codes, matte_clip, matte_frame
from vidrepair.placement import Numbered
from vidrepair.sequences import is_pattern, numbered_name
from vidrepair.settings import OutputSettings
from vidrepair.tags import Clip

Kind = Literal["mkv", "mov", "png"]
PRORES = PixelFormat("yuv422p10le", "yuv", 10, (2, 1))
LIMITED, BT709 = 1, 1
"""FFmpeg's numbers of the range, and of matrix, primaries and transfer."""
BLACK, WHITE, NEUTRAL = 64, 940, 512
"""Limited range: what editors take ProRes for, whatever it says."""
BLOCK = 8
"""Side of the blocks that ProRes transforms. A block of one value comes back exactly; in others,
at the finest quantiser, samples are off by up to 4 codes of 10 bits, measured on noise."""
BESIDE = BLACK - 4
"""Black in a block that holds something: no more than black after decoding."""
LEAST = BLACK + 8
"""The least that is not black: after decoding 68 or more, which is 1 of 8 bits, dithered or not."""
NAME = "matte_%06d.png"
"""In a folder of its own."""


class MatteFile(Protocol):
    """A matte in the making: nothing lies under its name before it is whole.

    One thread writes; `cancel` may be called from others.
    """

    def write(self, frame: Frame, codes: Codes | None) -> None:
        """The matte (H, W) of the next frame; None is all black."""
        ...

    def end(self) -> None:
        """Write what is left; it is whole then, and waits for `publish`. Raises VidrepairError."""
        ...

    def publish(self) -> None:
        """Give it its name. Raises VidrepairError."""
        ...

    def cancel(self) -> None:
        """`write` and `end` raise VidrepairError as soon as they can."""
        ...

    def abort(self) -> None:
        """Delete what has no name. Idempotent; after `publish` no-op."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_matte(
    clip: Clip, path: Path | str, *, output: Path | None = None, overwrite: bool = False
) -> MatteFile:
    """Open the file of the matte of a film: see `matte_kind` for what a name stands for.

    Raises UsageError for a name that must not be written, VidrepairError for one that cannot.
    """
    kind, path = matte_kind(path), Path(path)
    for own, what in ((output, "the output"), (Path(clip.name), "the source")):
        if own is not None and same_file(path, own):
            raise UsageError(f"the matte {path} is {what} itself; choose another name")
    gray = matte_clip(clip)
    if kind == "mkv":
        plan = plan_output(gray, path, OutputSettings(codec="ffv1", overwrite=overwrite))
        return VideoMatte(open_target(gray, plan, path), matte_frame)
    if kind == "mov":
        check_writable(path, overwrite=overwrite)
        return VideoMatte(open_target(_prores_clip(gray), _plan(gray, overwrite), path), _prores)
    return PngMatte(_place(path, overwrite), overwrite=overwrite)


def matte_kind(path: Path | str) -> Kind:
    """What is written for a name: .mkv and .mov are videos; a folder that is there, a name that
    ends in a slash or has no ending is a folder of pictures; so is a pattern such as
    name_%06d.png. Raises UsageError for everything else.
    """
    named = Path(path)
    if str(path) == "-":
        raise UsageError("a matte does not go into a pipe (-); name a file")
    ending = named.suffix.lower()
    if str(path).endswith(("/", os.sep)) or named.is_dir():
        return "png"
    if ending == ".mkv":
        return "mkv"
    if ending == ".mov":
        return "mov"
    if ending == (".png" if is_pattern(named) else ""):
        return "png"
    raise UsageError(
        f"the matte {path} is none of what can be written; use an .mkv or .mov file, a folder such"
        " as matte/, or a pattern such as matte_%06d.png"
    )


class VideoMatte(Unfinished):
    """A matte that is a video, through `encode`."""

    def __init__(self, target: Target, dress: Callable[[Frame, Codes | None], Frame]) -> None:
        self._target, self._dress = target, dress

    def write(self, frame: Frame, codes: Codes | None) -> None:
        self._target.write(self._dress(frame, codes))

    def end(self) -> None:
        self._target.end()

    def publish(self) -> None:
        self._target.publish()

    def cancel(self) -> None:
        self._target.cancel()

    def abort(self) -> None:
        self._target.abort()


def _prores_clip(gray: Clip) -> Clip:
    """The matte of a film as editors take it: BT.709, limited range."""
    size = gray.picture
    return replace(
        gray,
        picture=Picture(size.width, size.height, PRORES),
        stored_format=PRORES.name,
        color_range=LIMITED,
        color_matrix=BT709,
        color_primaries=BT709,
        color_transfer=BT709,
    )


def _plan(gray: Clip, overwrite: bool) -> OutputPlan:
    return OutputPlan(
        container="mov",
        codec="prores_ks",
        pix_fmt=PRORES.name,
        rate=gray.rate or Fraction(25),
        time_base=gray.time_base,
        # Flat matrix and quantiser 1 (118 is FFmpeg's lambda of it), the finest there is: a search
        # for it would take five times as long.
        options=(("profile", "hq"), ("quant_mat", "default"), ("global_quality", "118")),
        muxing=(("movflags", "+faststart+write_colr"),),
        offset=gray.offset,
        overwrite=overwrite,
    )


def _levels() -> np.ndarray[Any, np.dtype[np.uint16]]:
    """(256,) luma of ProRes for each code of a matte."""
    levels = np.rint(BLACK + (WHITE - BLACK) * np.arange(256) / 255.0)
    levels[1:] = np.maximum(levels[1:], LEAST)
    return levels.astype(np.uint16)


_LEVELS = _levels()


def _prores(frame: Frame, codes: Codes | None) -> Frame:
    """The matte of one frame as it goes into ProRes, so that 0 comes back as 0, and 1 not as 0."""
    size = frame.picture
    luma = np.full((size.height, size.width), BLACK, np.uint16)
    if codes is not None and codes.any():
        luma = np.where((codes == 0) & _mixed_blocks(codes), np.uint16(BESIDE), _LEVELS[codes])
    chroma = np.full((size.height, -(-size.width // 2)), NEUTRAL, np.uint16)
    picture = Picture(size.width, size.height, PRORES)
    shown = replace(frame, planes=(luma, chroma, chroma), picture=picture, carrier=None)
    # The encoder writes what the frame says of its colours into every picture.
    carrier = new_carrier(shown)
    carrier.color_range, carrier.colorspace = LIMITED, BT709
    carrier.color_primaries = carrier.color_trc = BT709
    return replace(shown, planes=plane_views(carrier, PRORES), carrier=carrier)


def _mixed_blocks(codes: Codes) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(H, W) where a block holds anything but 0."""
    height, width = codes.shape
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    padded = np.zeros((rows * BLOCK, columns * BLOCK), bool)
    padded[:height, :width] = codes > 0
    holds = padded.reshape(rows, BLOCK, columns, BLOCK).any(axis=(1, 3))
    return holds.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)[:height, :width]


def _place(path: Path, overwrite: bool) -> Numbered:
    """Where the pictures of a name go. Raises when they must not, or cannot."""
    if path.suffix.lower() == ".png" and is_pattern(path):
        place = Numbered(path.parent, path.name, whole=False)
        taken = place.folder.is_dir() and bool(place.earlier)
    else:
        if path.exists() and not path.is_dir():
            raise UsageError(f"the matte {path} is a file; name a folder, or an .mkv file")
        place = Numbered(path, NAME, whole=not path.is_dir())
        taken = not place.whole and _holds_anything(path)
    if not place.root.is_dir():
        raise VidrepairError(no_folder(place.root))
    if taken and not overwrite:
        raise UsageError(
            f"the matte {path} exists; add -y to replace the pictures in it, or choose another name"
        )
    return place


def _holds_anything(folder: Path) -> bool:
    with _explained(str(folder)):
        return next(folder.iterdir(), None) is not None


class PngMatte(Unfinished):
    """A matte that is a picture for each frame, 8-bit gray, numbered as the frames are."""

    def __init__(self, place: Numbered, *, overwrite: bool) -> None:
        self._place, self._overwrite = place, overwrite
        self._temporary = beside(place.root / place.folder.name)
        self._encoder: Any = None
        self._files: list[str] = []
        self._closed = False
        self._published = False
        self._cancelled = False
        with _explained(self._name):
            self._temporary.mkdir()

    def write(self, frame: Frame, codes: Codes | None) -> None:
        self._check_open()
        matte = matte_frame(frame, codes)
        name = numbered_name(self._place.pattern, frame.number)
        with _explained(self._name):
            (self._temporary / name).write_bytes(self._encoded(matte))
        self._files.append(name)

    def end(self) -> None:
        """Raises VidrepairError when no frame was written, or the disk is full."""
        self._check_open()
        if not self._files:
            raise VidrepairError(f"no frame was written to {self._name}; look at the source")
        with _explained(self._name):
            for name in self._files:
                self._check_open()
                sync(self._temporary / name)
        self._closed = True

    def publish(self) -> None:
        with _explained(self._name):
            self._place.publish(self._temporary, self._files, overwrite=self._overwrite)
        self._published = True

    def cancel(self) -> None:
        self._cancelled = True

    def abort(self) -> None:
        self._closed = True
        if not self._published:
            shutil.rmtree(self._temporary, ignore_errors=True)

    @property
    def _name(self) -> str:
        return str(
            self._place.folder if self._place.whole else self._place.folder / self._place.pattern
        )

    def _check_open(self) -> None:
        if self._cancelled:
            raise VidrepairError(f"writing {self._name} was cancelled")
        if self._closed:
            raise VidrepairError(f"{self._name} is closed already")

    def _encoded(self, matte: Frame) -> bytes:
        """One PNG file."""
        size = matte.picture
        if self._encoder is None:
            context: Any = av.CodecContext.create("png", "w")
            context.width, context.height, context.pix_fmt = size.width, size.height, "gray"
            context.time_base = Fraction(1, 25)
            context.thread_count = 1  # or pictures come out later than they went in
            self._encoder = context
        carrier = new_carrier(matte)
        carrier.pts = matte.number
        (packet,) = self._encoder.encode(carrier)
        return bytes(packet)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what PyAV and the system raise into one sentence."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        reason = getattr(error, "strerror", None) or str(error)
        if number in FULL:
            raise VidrepairError(
                f"no space left for {name} ({reason}); free some, or write to another folder"
            ) from error
        raise VidrepairError(
            f"{name} cannot be written ({reason}); try another folder or an .mkv file"
        ) from error
