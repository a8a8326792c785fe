"""Where the channels of sound belong: FFmpeg's layouts, such as stereo and 5.1."""

from __future__ import annotations

import ctypes
from typing import Any

USUAL = ("mono", "stereo")
"""What everybody takes one and two channels for where nothing else is said."""
LAYOUT = "channel layout"
"""What verification calls it."""
UNTOLD = " channels"
"""How FFmpeg's name of a layout ends that says no more than the number."""


def layout_of(context: Any) -> Any:
    """PyAV's layout of an opened sound; its name is FFmpeg's, such as 5.1 or 6 channels.

    Look at it before the context is closed. It frees what it shares with the context, which frees
    it once more, and the process ends, where channels stand in an order of their own, as 7.1 of
    MOV: so none is ever freed.
    """
    layout = context.layout
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
    return layout


def same_layout(expected: str, found: str) -> bool:
    """Whether nothing that one of two layouts says is lost in the other."""
    if expected.endswith(UNTOLD):
        return True
    return expected == found or (expected in USUAL and found.endswith(UNTOLD))
