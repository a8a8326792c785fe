"""The command line: parse and call."""

from __future__ import annotations

from vidrepair.cli.group import main

__all__ = ["main"]
