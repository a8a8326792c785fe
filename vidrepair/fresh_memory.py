"""Memory that malloc hands out, made all zero: for encoders whose output depends on what was in it.

libx264 reads some of its memory before it writes it (seen in the build that PyAV 18 brings): two
encodes of the same frames in one process differ. The first one in a process is always the same, for
the memory of a new process is zero; with that, every one is.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

M_PERTURB = -6
"""Of glibc's mallopt: what malloc hands out is filled with the complement of this byte."""


def fill_with_zeros(*, on: bool) -> None:
    """From now on, or no longer. Without glibc nothing is done."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(M_PERTURB, 0xFF if on else 0)
