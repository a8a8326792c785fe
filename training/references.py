"""What others make of the same clip: filters of FFmpeg, run by the system's own `ffmpeg`.

PyAV's wheels hold some of these filters too, but a reference has to be what its users run. The
median over frames that motion brought together is nobody's filter here: OpenCV's motion serves it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.evaluate import Restore, command_restore

_COMMAND = "ffmpeg -v error -y -i {in} -vf FILTERS -c:v ffv1 {out}"

# Strengths that are best for the mean of three or four of the validation clips: it flatters them.
_WHITE = {
    "nlmeans": lambda sigma: f"format=yuvj444p,nlmeans=s={0.33 * sigma + 0.8:.2f}:p=5:r=11",
    "hqdn3d": lambda sigma: (
        f"format=yuv444p16,hqdn3d={1.4 * sigma:.1f}:{1.4 * sigma:.1f}:{sigma:.1f}:{sigma:.1f}"
    ),
}
NAMES = tuple(_WHITE)

_DAMAGE = {
    # Its ends repeated, or it would swallow them.
    "median of three frames": (
        "format=gbrp,tpad=start=1:stop=1:start_mode=clone:stop_mode=clone,tmedian=radius=1,"
        "format=bgr0"
    ),
    # Mode 4 of its twenty-four is the median of a sample and the eight around it.
    "removegrain": "format=gbrp,removegrain=m0=4:m1=4:m2=4,format=bgr0",
}
_COMPENSATED = "motion-compensated median"
DAMAGE_NAMES = (*_DAMAGE, _COMPENSATED)
_FLICKER = {"deflicker": "format=yuvj444p,deflicker=size=5,format=bgr0"}
FLICKER_NAMES = tuple(_FLICKER)

BLOCK = 16
"""Samples along a block that moves as one under the compensated median. Smaller ones do worse on
the validation clips."""

Codes = NDArray[np.uint8]
Mend = Callable[[Tensor], Tensor]
"""R'G'B' (T, 3, H, W) uint8 -> the same, repaired."""


def reference_restores() -> dict[str, Restore]:
    """What known noise is scored beside: nothing done, and each filter that can be run."""
    restores: dict[str, Restore] = {"noisy": lambda noisy, _sigma: noisy.float()}
    if can_run():
        restores |= {name: _filter(strength) for name, strength in _WHITE.items()}
    return restores


def _filter(strength: Callable[[float], str]) -> Restore:
    def restore(noisy: Tensor, sigma: float) -> Tensor:
        filters = f"{strength(sigma)},format=bgr0"
        return command_restore(_COMMAND.replace("FILTERS", filters))(noisy, sigma)

    return restore


def nlmeans_command(strength: float) -> str:
    """A command line with {in} and {out} that runs nlmeans on a file as it is stored."""
    return filter_command(f"nlmeans=s={strength:g}:p=5:r=11")


def filter_command(filters: str) -> str:
    """A command line with {in} and {out} that runs filters of FFmpeg."""
    return _COMMAND.replace("FILTERS", filters)


def can_run() -> bool:
    """Whether this machine has an `ffmpeg`."""
    return shutil.which("ffmpeg") is not None


def damage_references() -> dict[str, Mend]:
    """What made damage is scored beside: every one of DAMAGE_NAMES that can be run."""
    mends: dict[str, Mend] = {}
    if can_run():
        mends = {name: _codes(filters) for name, filters in _DAMAGE.items()}
    return mends | {_COMPENSATED: compensated_median}


def flicker_references() -> dict[str, Mend]:
    """What made flicker is scored beside, where there is an `ffmpeg`."""
    if not can_run():
        return {}
    return {name: _codes(filters) for name, filters in _FLICKER.items()}


def _codes(filters: str) -> Mend:
    restore = command_restore(filter_command(filters))
    return lambda shown: restore(shown, 0.0).byte()


def compensated_median(shown: Tensor) -> Tensor:
    """The median of each sample and of what both neighbours show there, along the motion to them.

    Dense inverse search (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV
    2016) on luma finds the motion, of which each block takes the median, lest a spot bends it. The
    first and the last frame stay.
    """
    import cv2

    pictures = [np.ascontiguousarray(frame) for frame in shown.permute(0, 2, 3, 1).numpy()]
    lumas = [np.asarray(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), np.uint8) for one in pictures]
    mended = [*pictures]
    for t in range(1, len(pictures) - 1):
        sides = [_brought(pictures[at], lumas[at], lumas[t]) for at in (t - 1, t + 1)]
        mended[t] = np.median(np.stack([pictures[t], *sides]), axis=0).astype(np.uint8)
    return torch.from_numpy(np.stack(mended)).permute(0, 3, 1, 2).contiguous()


def _brought(other: Codes, other_luma: Codes, luma: Codes) -> Codes:
    """Another frame (H, W, 3), moved to where its things are in the frame of this luma (H, W)."""
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = search.calc(luma, other_luma, np.zeros((*luma.shape, 2), np.float32))
    height, width = luma.shape
    flow = np.pad(flow, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="edge")
    tall, wide = (side // BLOCK for side in flow.shape[:2])
    blocks = np.median(flow.reshape(tall, BLOCK, wide, BLOCK, 2), axis=(1, 3))
    smooth = cv2.resize(blocks.astype(np.float32), (wide * BLOCK, tall * BLOCK))[:height, :width]
    rows, columns = np.indices(luma.shape, dtype=np.float32)
    places = (columns + smooth[..., 0], rows + smooth[..., 1])
    return np.asarray(
        cv2.remap(other, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
