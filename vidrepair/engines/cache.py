"""The user's cache of compiled engines: looked up, kept, trusted, forgotten.

Loading an engine runs code that stands in it, so engines are loaded from this folder alone, and
from it only while nobody else can write there. What builds them is handed in from above.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vidrepair.engines.key import EngineKey, EngineRequest, Profile
from vidrepair.errors import EngineError

FOLDER_VARIABLE = "VIDREPAIR_CACHE"
"""Names another folder for the engines."""
DEFAULT_LIMIT = 4 << 30
"""Bytes; what was used longest ago goes first."""
MANIFEST = "manifest.json"
_FORMAT = 1
_SUFFIX = ".engine"
_PART = ".part"
_TIMINGS = ".timings"
_ABANDONED = 86400.0
"""Seconds after which nobody writes to a part any more."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One engine in the cache: a folder with a file for each graph, and what they are."""

    folder: Path
    manifest: Mapping[str, Any]
    """The key, sha256 and bytes of each file, when and on what it was built."""

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file["bytes"] for file in self.manifest["files"].values())

    @property
    def used(self) -> datetime:
        """When it was built or last found."""
        return datetime.fromtimestamp((self.folder / MANIFEST).stat().st_mtime, UTC)

    @property
    def summary(self) -> str:
        """Its key in one line."""
        return str(self.manifest["summary"])

    @property
    def digest(self) -> str:
        """sha256 over its files: two builds of one key differ, and so may their results."""
        told = sorted((name, file["sha256"]) for name, file in self.manifest["files"].items())
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def file(self, graph: str) -> Path:
        """The engine of one graph, `align` or `restore`."""
        return self.folder / f"{graph}{_SUFFIX}"

    def read(self, graph: str) -> bytes:
        """The engine of one graph, which is what was built. Raises EngineError."""
        path = self.file(graph)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise EngineError(f"the engine {path} cannot be read ({error.strerror})") from error
        if hashlib.sha256(data).hexdigest() != self.manifest["files"][path.name]["sha256"]:
            raise EngineError(f"the engine {path} is not what was built; remove it")
        return data


Build = Callable[[EngineRequest], Entry]
"""Gives an engine from the cache, or builds it and puts it there."""


class EngineCache:
    """A folder of engines; `folder` None is that of the user, or of VIDREPAIR_CACHE.

    Raises EngineError where the folder cannot be made, or is open to others.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or _user_folder() / "engines"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_private(self.folder)
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def find(self, key: EngineKey, *, warn: bool = True) -> Entry | None:
        """The engine of this very key, whole; a damaged one is none, with a warning."""
        folder = self._place(key)
        if not folder.exists():
            return None
        try:
            entry = _read(folder)
            _check(entry, key)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if warn:
                log.warning("the engine in %s is damaged (%s) and not used", folder, error)
            return None
        with suppress(OSError):  # a folder that is read only can be used
            (folder / MANIFEST).touch()
        return entry

    def find_covering(self, key: EngineKey) -> Entry | None:
        """A dynamic engine, whole, that is the key's but for its shapes, and runs them too."""
        for entry in self.entries():
            profile = Profile.from_dict(entry.manifest["key"]["profile"])
            if key.tile == 0 and not profile.is_static and profile.holds(key.profile.best):
                found = self.find(replace(key, profile=profile))
                if found is not None:
                    return found
        return None

    def note(self, entry: Entry, facts: Mapping[str, Any]) -> Entry:
        """Add to what the manifest tells of an engine."""
        noted = Entry(entry.folder, {**entry.manifest, **facts})
        beside = entry.folder / f"{MANIFEST}.{os.getpid()}{_PART}"
        try:
            beside.write_text(json.dumps(noted.manifest, indent=1), encoding="utf-8")
            beside.replace(entry.folder / MANIFEST)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        return noted

    def add(self, key: EngineKey, graphs: Mapping[str, bytes], facts: Mapping[str, Any]) -> Entry:
        """Keep an engine, in place of what stood there; `facts` go into its manifest.

        There is the whole of it or nothing. Raises EngineError when the disk is full.
        """
        files = {f"{graph}{_SUFFIX}": data for graph, data in graphs.items()}
        manifest = {
            "format": _FORMAT,
            "digest": key.digest,
            "summary": key.summary(),
            "key": key.as_dict(),
            "built": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": {
                name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
                for name, data in files.items()
            },
            **facts,
        }
        files[MANIFEST] = json.dumps(manifest, indent=1).encode()
        place = self._place(key)
        try:
            _put(files, place)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        return Entry(place, manifest)

    def timings(self, key: EngineKey) -> bytes:
        """What earlier builds for the key's card measured of kernels; empty at first."""
        try:
            return self._timings(key).read_bytes()
        except OSError:
            return b""

    def keep_timings(self, key: EngineKey, data: bytes) -> None:
        """For the next build; without them it only takes longer, so errors are passed over."""
        place = self._timings(key)
        beside = place.with_name(f"{place.name}.{os.getpid()}{_PART}")
        with suppress(OSError):
            beside.write_bytes(data)
            beside.replace(place)

    def _timings(self, key: EngineKey) -> Path:
        of = repr((key.flavour, key.library, key.target))
        return self.folder / f"{hashlib.sha256(of.encode()).hexdigest()[:32]}{_TIMINGS}"

    @contextmanager
    def building(self, key: EngineKey) -> Iterator[None]:
        """Held while an engine is built, so that a second process waits and finds it."""
        try:
            lock = FileLock(self.folder / f"{self._place(key).name}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log.warning("another process builds this engine; waiting for it")
                lock.acquire()
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        try:
            yield
        finally:
            lock.release()

    def entries(self) -> list[Entry]:
        """All engines, the last used first. Those with a damaged manifest are passed over."""
        found = []
        for manifest in self.folder.glob(f"*/{MANIFEST}"):
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                entry = _read(manifest.parent)
                found.append((entry.used, entry))
        return [entry for _, entry in sorted(found, key=lambda pair: pair[0], reverse=True)]

    def prune(self, limit: int = DEFAULT_LIMIT) -> list[Entry]:
        """Remove what was used longest ago until the rest has `limit` bytes; returns it.

        What is damaged, or was left by a killed build, goes with it a day later; at 0 what was
        measured of kernels goes, too.
        """
        if limit == 0:
            for timings in self.folder.glob(f"*{_TIMINGS}"):
                timings.unlink(missing_ok=True)
        there = [path for path in self.folder.iterdir() if path.is_dir()]
        kept, removed = 0, []
        entries = self.entries()
        for entry in entries:
            kept += entry.size
            if kept > limit:
                shutil.rmtree(entry.folder, ignore_errors=True)
                removed.append(entry)
        whole = {entry.folder for entry in entries}
        for left in set(there) - whole:
            # Not at once: another process may be writing it.
            if _age(left) > _ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
        return removed

    def _place(self, key: EngineKey) -> Path:
        # Half the digest: Windows counts the letters of a path.
        return self.folder / key.digest[:32]


def _user_folder() -> Path:
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    from platformdirs import user_cache_path  # machines that only train lack it

    return user_cache_path("vidrepair", appauthor=False)


def read_trusted(folder: Path) -> Entry:
    """An engine from a folder outside the cache, which the user trusts; its files are whole.

    Raises EngineError.
    """
    try:
        entry = _read(folder)
        _check_files(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"--trust-engine {folder} is not the folder of a whole engine ({error}); name what "
            "vidrepair-build engine printed, or a copy of it"
        ) from error
    return entry


def _read(folder: Path) -> Entry:
    """An entry whose manifest tells all that is asked of it; ValueError, KeyError and the like."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest["format"] != _FORMAT:
        raise ValueError(f"its manifest has format {manifest['format']}")
    entry = Entry(folder, manifest)
    Profile.from_dict(manifest["key"]["profile"])
    if not (entry.size and entry.summary and entry.digest and manifest["digest"]):
        raise ValueError("its manifest is incomplete")
    return entry


def _check(entry: Entry, key: EngineKey) -> None:
    """Raise ValueError unless an entry is what was built for the key, byte for byte."""
    if entry.manifest["digest"] != key.digest:
        raise ValueError("its manifest is of another engine")
    _check_files(entry)


def _check_files(entry: Entry) -> None:
    """Raise ValueError unless each file is what was built, byte for byte."""
    for name, told in entry.manifest["files"].items():
        data = (entry.folder / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != told["sha256"]:
            raise ValueError(f"{name} is not what was built")


def _age(path: Path) -> float:
    """Seconds since something was written there; 0 where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _put(files: Mapping[str, bytes], place: Path) -> None:
    """Write a folder of files beside its place, fsync, rename."""
    beside = Path(tempfile.mkdtemp(prefix=f"{place.name}.", suffix=_PART, dir=place.parent))
    try:
        for name, data in files.items():
            with (beside / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        shutil.rmtree(place, ignore_errors=True)
        beside.replace(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _check_private(folder: Path) -> None:
    """Refuse a folder into which somebody else could put an engine; Windows keeps its own."""
    if os.name != "posix":
        return
    status = folder.stat()
    if status.st_uid != os.getuid():
        raise EngineError(
            f"the folder of engines {folder} belongs to another user, and loading an engine runs "
            f"code from it; set {FOLDER_VARIABLE} to a folder of your own"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise EngineError(
            f"the folder of engines {folder} is open to others (mode {mode:04o}), and loading an "
            f"engine runs code from it; remove it, or set {FOLDER_VARIABLE} to another"
        )


def _unwritable(folder: Path, error: OSError) -> EngineError:
    return EngineError(
        f"engines cannot be kept in {folder} ({error.strerror or error}); make room there, or set "
        f"{FOLDER_VARIABLE} to another folder"
    )
