"""Markers of a film that was looked at before: from its sidecar and its packets alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from vidrepair.decode import open_source
from vidrepair.errors import InputError, UsageError
from vidrepair.files import same_file
from vidrepair.findings import SourceFacts
from vidrepair.inventory import frame_times
from vidrepair.job_lists import open_clock
from vidrepair.marker_file import check_markers, write_markers
from vidrepair.markers import mark, unsteady
from vidrepair.settings import MARKED
from vidrepair.sidecar import read_analysis
from vidrepair.tags import plain_text

log = logging.getLogger(__name__)


def mark_film(
    film: Path, sidecar: Path, output: Path, *, stream: int | None = None, overwrite: bool = False
) -> int:
    """Write the markers of a film, that of the sidecar or the one that was repaired by it.

    Returns how many there are. Raises UsageError for a file that must not be written, InputError
    where the film or the sidecar cannot be read, and where they do not belong together.
    """
    if output.suffix.lower() not in MARKED:
        raise UsageError(f"{output} is no {' or '.join(MARKED)} file; name it so")
    for read in (film, sidecar):
        if same_file(read, output):
            raise UsageError(f"{output} is a file that is read; choose another name")
    analysis = read_analysis(sidecar)
    with open_source(film, stream=stream) as source:
        clip, clock = source.clip, open_clock(source)
    check_markers(output, clip.name, clock)
    assert clock is not None
    times = frame_times(film, stream)
    size = (clip.picture.width, clip.picture.height)
    if (found := _mismatch(analysis.source, size, times, clock.rate)) is not None:
        raise InputError(
            f"{sidecar} does not fit {film}: its {found}; name the sidecar of this film, or write"
            " markers with vidrepair analyze --markers, which decodes the film"
        )
    places = [clock.place(time) for time in times]
    marked = mark(analysis, places, plain_text(film.stem), film, clock)
    write_markers(marked, output, overwrite=overwrite)
    for said in unsteady(clip.name, times, clock):
        log.warning(said)
    return len(marked.markers)


def _mismatch(
    own: SourceFacts, size: tuple[int, int], times: Sequence[Fraction], rate: Fraction
) -> str | None:
    """In a few words what tells the film of a sidecar from one of that size, whose frames are
    shown at these seconds; None: nothing.
    """
    if (own.width, own.height) != size:
        return f"size is {own.width}x{own.height}, not {size[0]}x{size[1]}"
    if own.frames != len(times):
        return f"number of frames is {own.frames}, and there are packets for {len(times)}"
    lasts, seconds = (own.last_pts - own.first_pts) * own.time_base, times[-1] - times[0]
    if abs(seconds - lasts) * rate > 1:
        return f"last frame comes {float(lasts):.3f} s after the first, not {float(seconds):.3f}"
    return None
