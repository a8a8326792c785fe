"""How a command ends before its time."""

from __future__ import annotations

INTERRUPTED, TERMINATED = 130, 143
"""The exit codes."""


class Terminated(BaseException):
    """SIGTERM came."""
