"""The lists that go with a job: what of them is written, and what is read, is settled first."""

from __future__ import annotations

from fractions import Fraction

from vidrepair.cuts import Cuts, Length, read_cuts
from vidrepair.decode import Source, stated_end
from vidrepair.errors import UsageError
from vidrepair.files import check_writable, same_file
from vidrepair.film_clock import FilmClock
from vidrepair.marker_file import check_markers
from vidrepair.settings import Job
from vidrepair.tags import Clip


def check_lists(job: Job) -> None:
    """Refuse, before any work, a sidecar or markers that cannot be written, or are a file that is
    read. Raises UsageError, or VidrepairError for a folder.
    """
    target, repair = job.target, job.repair
    masks = [mask.path for mask in (repair.mask_in, repair.protect) if mask is not None]
    read = [job.source, job.analysis, job.shots, repair.noise_profile, *masks]
    for name, path in (("sidecar", target.sidecar), ("list of markers", target.markers)):
        if path is None:
            continue
        if any(own is not None and same_file(path, own) for own in read):
            remedy = "choose another name for it"
            if job.analysis is not None and same_file(path, job.analysis):
                copy = path.with_suffix(f".edited{path.suffix}")
                remedy = f"rename the edited one, say {copy}, and give that to --analysis"
            raise UsageError(f"the {name} {path} would replace a file that is read; {remedy}")
        check_writable(path, overwrite=target.overwrite)


def open_clock(source: Source) -> FilmClock | None:
    """The clock of a film, asked before anything is made of its fields; None without a rate."""
    clip = source.clip
    return FilmClock(clip.rate, clip.zero, source.carried.timecode) if clip.rate else None


def open_cuts(job: Job, clip: Clip, clock: FilmClock | None) -> Cuts | None:
    """The list of cuts that leads a run, seen to be one of this film; None where none does.

    Raises as `read_cuts`, and UsageError where the markers that are asked for cannot be written.
    """
    if job.target.markers is not None:
        check_markers(job.target.markers, clip.name, clock)
    if job.shots is None:
        return None
    ends = stated_end(clip)
    seconds = None if ends is None else Fraction(ends) - clip.zero
    return read_cuts(job.shots, clock, Length(seconds, clip.frame_count))
