"""A finished film, changed where its analysis was edited: the rest of it is taken from itself."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from vidrepair.analysis_changes import Frames, changed_frames
from vidrepair.errors import InputError, UsageError, VidrepairError
from vidrepair.files import write_bytes
from vidrepair.findings import Analysis
from vidrepair.job_facts import content_facts, file_facts, with_options, without_option
from vidrepair.journal import JOURNAL, Journal, folder_of
from vidrepair.packets import PacketWriter, film_data, read_heads
from vidrepair.record import Segment
from vidrepair.sidecar import read_analysis

EDITED = "edited.json"
"""The name under which the edited analysis is followed: its own may be that of the sidecar."""


def begin_redo(output: Path, edited: Path) -> tuple[int, int]:
    """Make an unfinished job of a finished film: its segments that an edit touches are missing.

    Returns how many frames those have, and how many the film; 0 where nothing differs, and nothing
    is begun then. Raises UsageError for a film of which too little is known, and InputError for an
    analysis, or a film, that is another.
    """
    folder = folder_of(output)
    if not output.exists():
        raise InputError(f"{output} does not exist; check the name and the folder")
    if output.is_dir():
        raise InputError(f"{output} is a folder; name a film that was run with --sidecar")
    if not (folder / JOURNAL).is_file():
        raise UsageError(
            f"nothing is known of the parts of {output}: only films that go in segments (of more"
            " than 256 frames, or --segment-frames, and not with --no-journal) and have a --sidecar"
            " can be redone; run its source anew, with --analysis"
        )
    with Journal(folder) as journal:
        _check_film(journal, output)
        before, after = _analyses(journal, edited)
        changed = changed_frames(before, after)
        total = journal.record.frames
        kept = [one for one in journal.record.segments if not _meets(one, changed)]
        left = total - sum(one.frames for one in kept)
        if left:
            own = folder / EDITED
            write_bytes(own, [edited.read_bytes()], overwrite=True)
            job = _job(journal.record.job or {}, own)
            # A cut that was moved moves the spans after it, and so where segments may end.
            plan = journal.record.as_plan() if before.shots == after.shots else None
            parts = _unpacked(journal, output, {one.number for one in kept})
            with _undone(journal):
                journal.begin_redo(job, parts, plan)
    return left, total


@contextmanager
def _undone(journal: Journal) -> Iterator[None]:
    """What was taken out of a film does not stay where not all of it could be."""
    try:
        yield
    except BaseException as error:
        journal.drop_packets()
        if isinstance(error, OSError):
            raise VidrepairError(
                f"what stays of the film cannot be put into {journal.folder}"
                f" ({error.strerror or error}); free some space there, and redo it again"
            ) from error
        raise


def end_redo(output: Path) -> None:
    """Take it back: the film stays as it is."""
    with Journal(folder_of(output)) as journal:
        journal.end_redo()


def _check_film(journal: Journal, output: Path) -> None:
    record = journal.record
    if not record.kept or record.job is None:
        raise UsageError(
            f"the job of {output} is not finished; go on with vidrepair resume {output} first"
        )
    if not record.job["arguments"]:
        raise UsageError(
            f"the job of {output} was started by a batch or from Python; run its source anew, with"
            " --analysis"
        )
    try:
        same = content_facts(output) == record.joined
    except OSError as error:
        raise InputError(f"{output} cannot be read ({error.strerror}); check the name") from error
    if not same:
        raise InputError(
            f"{output} is not the film that its job wrote; run the source anew, with --analysis"
        )


def _analyses(journal: Journal, edited: Path) -> tuple[Analysis, Analysis]:
    """That of the film as it is, and the one that is to be followed."""
    before, after = read_analysis(journal.analysis_path), read_analysis(edited)
    if before.source.fingerprint != after.source.fingerprint:
        raise InputError(f"{edited} is the analysis of another film; edit the one beside this film")
    return before, after


def _meets(segment: Segment, changed: Sequence[Frames]) -> bool:
    return any(first < segment.after and segment.first <= last for first, last in changed)


def _job(before: Mapping[str, Any], edited: Path) -> dict[str, Any]:
    """The job that follows the edited analysis."""
    path = edited.absolute()
    facts = dict(before["facts"])
    files = {name: told for name, told in facts["files"].items() if name != "shots"}
    facts["files"] = files | {"analysis": json.loads(json.dumps(file_facts(path)))}
    # Where shots start the analysis says from now on.
    arguments = without_option(before["arguments"], "--shots")
    arguments = with_options(arguments, ["--analysis", str(path), "-y"])
    return {**before, "arguments": arguments, "facts": facts}


def _unpacked(journal: Journal, output: Path, kept: Collection[int]) -> Iterator[Segment]:
    """The segments of those numbers, their packets in files of their own again.

    Raises InputError where the film has others than were written.
    """
    data = film_data(output)
    for segment in journal.record.segments:
        heads = list(read_heads(journal.heads_path(segment.first)))
        parts = list(islice(data, len(heads)))
        if len(parts) < len(heads):
            raise InputError(f"{output} is cut off; run the source anew, with --analysis")
        if segment.number not in kept:
            continue
        with PacketWriter(journal.path(segment.first)) as writer:
            for head, part in zip(heads, parts, strict=True):
                writer.add_bytes(head, part)
            digest = writer.finish()
        yield replace(segment, sha256=digest, size=writer.size)
