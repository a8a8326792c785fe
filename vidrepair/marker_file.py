"""Markers as the files of editing systems, by the endings of their names."""

from __future__ import annotations

from pathlib import Path

from vidrepair.edl import FASTEST, cut_list, marker_list
from vidrepair.errors import UsageError
from vidrepair.files import write_text
from vidrepair.film_clock import FilmClock
from vidrepair.markers import MarkedFilm
from vidrepair.otio_file import open_library, timeline_text

RESOLVE = ".resolve.edl"
"""The ending of lists for DaVinci Resolve."""


def check_markers(path: Path, film: str, clock: FilmClock | None) -> None:
    """Refuse, before any work, what cannot be written of a film. Raises UsageError."""
    if clock is None:
        raise UsageError(
            f"{film} has no frame rate that markers could be counted by; leave out {path}"
        )
    if path.suffix.lower() == ".otio":
        open_library()
    elif round(clock.rate) > FASTEST:
        raise UsageError(
            f"an EDL counts {FASTEST} frames a second at most, and {film} has"
            f" {float(clock.rate):.5g}; name an .otio file"
        )


def write_markers(film: MarkedFilm, path: Path, *, overwrite: bool = False) -> None:
    """Write the markers of a film; nothing but a whole file gets the name.

    Raises as `files.write_text`.
    """
    name = path.name.lower()
    if name.endswith(".otio"):
        write_text(path, [timeline_text(film)], overwrite=overwrite)
    else:
        lines = marker_list(film) if name.endswith(RESOLVE) else cut_list(film)
        write_text(path, lines, overwrite=overwrite)
