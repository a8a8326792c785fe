"""What others make of the same noisy clip: filters of FFmpeg, run by the system's own `ffmpeg`.

PyAV's wheels hold some of these filters too, but a reference has to be what its users run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

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
