"""A film whose picture changes its size or format on the way, as a job for each of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from vidrepair.decode import open_source
from vidrepair.errors import PictureChanged, UsageError
from vidrepair.files import check_writable
from vidrepair.sequences import is_sequence
from vidrepair.settings import Job, SourceSettings


def split_at_changes(job: Job) -> list[Job]:
    """A job for each stretch of one size and format; the job itself where nothing changes.

    The second part of film.mkv is film.part2.mkv, that of a matte likewise; each is the excerpt
    that `--ss` and `--to` would give. Decodes the film once. Raises UsageError for a pipe, for what
    goes with the whole film, and for a part that must not be written.
    """
    if job.source is None or job.output is None:
        raise UsageError("--on-change split reads the film twice, and a pipe cannot; name files")
    if job.analysis is not None or job.target.sidecar is not None:
        raise UsageError("--on-change split makes several films; a sidecar tells of one, leave it")
    if job.target.markers is not None:
        raise UsageError("--on-change split makes several films; --markers tells of one, leave it")
    if is_sequence(job.source) or is_sequence(job.output):
        raise UsageError(
            "--on-change split makes several films; numbered pictures are one, leave it out"
        )
    asked = job.reading
    first, end = asked.start or Fraction(0), asked.end
    edges = [first, *find_changes(job.source, asked), end]
    if len(edges) == 2:
        return [job]
    _check_apart(job)
    parts = [
        replace(
            job,
            output=_numbered(job.output, number),
            target=replace(job.target, mask_out=_matte(job.target.mask_out, number)),
            reading=replace(asked, start=start, end=stop),
        )
        for number, (start, stop) in enumerate(pairwise(edges), 1)
    ]
    for part in parts:
        assert part.output is not None
        check_writable(part.output, overwrite=job.target.overwrite)
    return parts


def _check_apart(job: Job) -> None:
    """Refuse what counts the frames of the whole film."""
    asked = job.repair
    whole = {
        "--mask-in": asked.mask_in,
        "--protect-mask": asked.protect,
        "--bad-frames": asked.bad_frames,
        "--frames": job.target.frames,
        "--shots": job.shots,
    }
    given = [name for name, value in whole.items() if value]
    if given:
        raise UsageError(
            f"the picture changes its size or format on the way, and {given[0]} counts the frames"
            " of the whole film; cut it at the change first, with --to and --ss"
        )


def find_changes(path: Path, reading: SourceSettings) -> Iterator[Fraction]:
    """Where the picture changes, in seconds from its first frame, within what is to be read;
    decodes what lies between.
    """
    start = reading.start
    while True:
        with open_source(
            path, stream=reading.stream, start=start, end=reading.end, rate=reading.rate
        ) as source:
            try:
                for _ in source.read():
                    pass
            except PictureChanged as change:
                start = change.seconds
            else:
                return
        yield start


def _numbered(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_name(f"{path.stem}.part{number}{path.suffix}")


def _matte(path: Path | str | None, number: int) -> Path | str | None:
    """A folder or pattern of pictures gets its number before the last part of its name, too."""
    return None if path is None else _numbered(Path(path), number)
