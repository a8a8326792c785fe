"""Folders that are watched: a film is taken once it has stopped growing."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vidrepair.errors import UsageError, VidrepairError
from vidrepair.jobs.batch import BatchItem, BatchSettings, Claims, item_of
from vidrepair.jobs.inputs import Found, films_in, is_folder
from vidrepair.jobs.naming import absolute

INTERVAL = 3.0
"""Seconds between two looks."""
Look = tuple[int, int]
"""Size in bytes, and time of the last change in nanoseconds."""

log = logging.getLogger(__name__)


def watch_folders(
    names: Sequence[str], settings: BatchSettings, interval: float = INTERVAL
) -> Iterator[BatchItem]:
    """Yield the films of folders, and those that come later, without end.

    A film is yielded when its size and its time of change are those of the look before, and again
    when it has changed since. One whose output must not be is yielded with its refusal. Raises
    UsageError for what is no folder, VidrepairError for one that cannot be read.
    """
    folders = [Path(name) for name in names]
    for folder in folders:
        if not is_folder(folder):
            raise UsageError(f"--watch looks into folders, and {folder} is none; name a folder")
    _look(folders, settings)  # what cannot be read is told before the first wait
    return _watch(folders, settings, interval)


def _watch(
    folders: Sequence[Path], settings: BatchSettings, interval: float
) -> Iterator[BatchItem]:
    planner = _Planner(settings)
    before: dict[Path, Look] = {}
    taken: dict[Path, Look] = {}
    complaint = ""
    while True:
        try:
            found = _look(folders, settings)
        except VidrepairError as error:
            # A share may come back. Said once, not at every look.
            if str(error) != complaint:
                log.warning("%s", error)
            complaint, found = str(error), {}
        else:
            complaint = ""
        now = {one.source: look for one, look in found.items()}
        for one, look in found.items():
            if before.get(one.source) != look or taken.get(one.source) == look:
                continue
            # The films before this one took their time: it may have gone on growing.
            if _facts(one.source) == look:
                again = one.source in taken
                taken[one.source] = look
                yield planner.item_of(one, again=again)
        before = now
        time.sleep(interval)


class _Planner:
    """The items of films as they come: a film that comes again keeps its own."""

    def __init__(self, settings: BatchSettings) -> None:
        self._settings, self._claims = settings, Claims()
        self._items: dict[Path, BatchItem] = {}
        self._ours: set[Path] = set()
        """Films of which no output was there when they were taken first."""

    def item_of(self, found: Found, *, again: bool) -> BatchItem:
        """The item of a film, with a refusal where its output must not be.

        Taken `again`, for it has changed, what was made of its older state is replaced: a copy that
        paused for long was taken for the whole film.
        """
        source = found.source
        if source not in self._items:
            self._items[source] = self._planned(found)
            if not self._items[source].output.exists():
                self._ours.add(source)
        item = self._items[source]
        if not again or source not in self._ours or item.refusal:
            return item
        log.warning("%s has changed since it was taken: it is done again", source)
        target = replace(item.job.target, overwrite=True)
        return replace(item, job=replace(item.job, target=target), skip_existing=False)

    def _planned(self, found: Found) -> BatchItem:
        self._claims.add_source(found.source)
        try:
            item = item_of(found, self._settings)
            self._claims.claim(item)
        except UsageError as error:
            common, naming = self._settings.common, self._settings.naming
            job = replace(common, source=found.source)
            return BatchItem(found.source, naming.folder, job, naming, refusal=str(error))
        return item


def _look(folders: Sequence[Path], settings: BatchSettings) -> dict[Found, Look]:
    """What is there. A film in two folders, one of which is in the other, is found once."""
    found: dict[Path, Found] = {}
    for folder in folders:
        for film in films_in(folder, settings.naming.folder):
            found.setdefault(absolute(film.source), film)
    looks = {film: _facts(film.source) for film in found.values()}
    return {film: look for film, look in looks.items() if look is not None}


def _facts(path: Path) -> Look | None:
    """None for what has gone in the meantime."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns
