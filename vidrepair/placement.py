"""Where what is written lies until it has its name, and how it gets it: a file, or pictures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

from vidrepair.errors import UsageError, VidrepairError
from vidrepair.files import beside, no_folder, sync
from vidrepair.sequences import numbered_files, sequence_url


class Place(Protocol):
    """Of one output."""

    @property
    def url(self) -> str:
        """As FFmpeg takes it."""
        ...

    @property
    def written(self) -> Path | None:
        """Where it lies until it has its name; None for standard output."""
        ...

    def sync(self) -> Iterator[None]:
        """Make sure that it is on the disk, file by file."""
        ...

    def publish(self, *, overwrite: bool) -> None:
        """Give it its name. Raises VidrepairError where something took it, and OSError."""
        ...

    def reject(self) -> Path | None:
        """Keep it under a name that says so; nothing is replaced."""
        ...

    def delete(self) -> None:
        """What has no name yet. Idempotent."""
        ...


class PipePlace:
    """Standard output, which keeps nothing."""

    url = "pipe:1"
    written = None

    def sync(self) -> Iterator[None]:
        return iter(())

    def publish(self, *, overwrite: bool) -> None:
        """It went as it came."""

    def reject(self) -> Path | None:
        return None

    def delete(self) -> None:
        """Nothing of it is here."""


class FilePlace:
    """A file, in `folder` of the same disk, or beside."""

    def __init__(self, output: Path, folder: Path | None = None) -> None:
        self._output = output
        self.written = beside(output if folder is None else folder / output.name)
        self.url = f"file:{self.written}"

    def sync(self) -> Iterator[None]:
        sync(self.written)
        yield

    def publish(self, *, overwrite: bool) -> None:
        if self._output.exists() and not overwrite:
            raise VidrepairError(f"{self._output} appeared meanwhile; add -y to replace it")
        self.written.replace(self._output)
        with suppress(OSError):  # some network file systems cannot; the file has its name
            sync(self._output.parent)

    def reject(self) -> Path | None:
        """As NAME.failed.ext, or NAME.failed-2.ext and so on.

        Nothing is replaced: a file of that name may be the source itself.
        """
        for number in count(1):
            mark = ".failed" if number == 1 else f".failed-{number}"
            failed = self._output.with_suffix(f"{mark}{self._output.suffix}")
            with suppress(FileExistsError):
                failed.touch(exist_ok=False)
                break
        try:
            self.written.replace(failed)
        except OSError:
            failed.unlink()
            raise
        return failed

    def delete(self) -> None:
        with suppress(FileNotFoundError, PermissionError):
            self.written.unlink()


@dataclass(frozen=True, slots=True)
class Numbered:
    """Where numbered pictures go."""

    folder: Path
    pattern: str
    whole: bool
    """The folder is made of them, and is not there yet."""

    @classmethod
    def of(cls, pattern: Path) -> Numbered:
        """By the pattern that names them."""
        return cls(pattern.parent, pattern.name, whole=not pattern.parent.is_dir())

    @property
    def earlier(self) -> dict[int, Path]:
        """The files of the pattern that are there already, by number."""
        found = numbered_files(self.folder / self.pattern)
        return {number: path for number, path in found.items() if not path.is_dir()}

    @property
    def root(self) -> Path:
        """The folder that is there, and in which they are written."""
        # In the folder itself, if it stays: another may lie on another disk.
        return self.folder.absolute().parent if self.whole else self.folder

    def publish(self, temporary: Path, names: Sequence[str], *, overwrite: bool) -> None:
        """Move pictures out of a hidden folder, all or none; those of an earlier film go.

        Raises VidrepairError where others are there that must not, and OSError.
        """
        where = self.folder if self.whole else self.folder / self.pattern
        if self.whole:
            if self.folder.exists():
                raise VidrepairError(f"{where} appeared meanwhile; add -y to replace it")
            temporary.rename(self.folder)
        else:
            earlier = sorted(path.name for path in self.earlier.values())
            if earlier and not overwrite:
                raise VidrepairError(f"{where} appeared meanwhile; add -y to replace it")
            self._exchange(temporary, names, earlier)
        with suppress(OSError):  # some network file systems cannot; the files have their names
            sync(self.root)

    def _exchange(self, temporary: Path, names: Sequence[str], earlier: Sequence[str]) -> None:
        """One after another, and all back where one does not go."""
        aside = temporary / "earlier"
        aside.mkdir()
        with _undone() as done:
            # Of a longer film: left there, they would be taken for frames of this one.
            for name in earlier:
                done.append(_move(self.folder / name, aside / name))
            for name in names:
                done.append(_move(temporary / name, self.folder / name))
        shutil.rmtree(temporary, ignore_errors=True)


def _move(one: Path, other: Path) -> tuple[Path, Path]:
    one.replace(other)
    return one, other


@contextmanager
def _undone() -> Iterator[list[tuple[Path, Path]]]:
    """Moves that are taken back, the last one first, where not all of them succeed."""
    done: list[tuple[Path, Path]] = []
    try:
        yield done
    except BaseException:
        for one, other in reversed(done):
            with suppress(OSError):
                other.replace(one)
        raise


class FolderPlace:
    """Numbered pictures, in a hidden folder until they have their names."""

    def __init__(self, output: Path, folder: Path | None = None) -> None:
        """`output` is their pattern; its folder need not be there. `folder` is another, on the disk
        of what would hold that. Raises OSError.
        """
        self._place = Numbered.of(output)
        root = folder if folder is not None and self._place.whole else self._place.root
        self._folder = beside(root / (output.parent.name or "pictures"))
        self._folder.mkdir()
        self.written = self._folder / output.name
        self.url = sequence_url(self.written)

    def sync(self) -> Iterator[None]:
        for path in numbered_files(self.written).values():
            sync(path)
            yield

    def publish(self, *, overwrite: bool) -> None:
        names = [path.name for path in numbered_files(self.written).values()]
        self._place.publish(self._folder, names, overwrite=overwrite)

    def reject(self) -> Path | None:
        """In a folder NAME.failed, or NAME.failed-2 and so on, where they would have gone."""
        root, name = self._place.root, self._place.folder.absolute().name
        for number in count(1):
            failed = root / f"{name}.failed{'' if number == 1 else f'-{number}'}"
            if not failed.exists():
                break
        self._folder.rename(failed)
        return failed

    def delete(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def numbered_place(
    pattern: Path, what: str, *, overwrite: bool, source: Path | None = None
) -> Numbered:
    """Where pictures of that pattern go; messages name it by `what`, and `source` is the pattern
    that is read, where it is one.

    Raises UsageError for names that must not be written, VidrepairError where they cannot.
    """
    place = Numbered.of(pattern)
    if place.folder.exists() and place.whole:
        raise VidrepairError(f"{place.folder} is a file; choose another folder for {what}")
    if not place.root.is_dir():
        raise VidrepairError(no_folder(place.root))
    if source is not None and _meets(source, place):
        raise UsageError(f"{what} is the source itself; choose another name")
    for path in () if place.whole else numbered_files(pattern).values():
        if path.is_dir():
            raise UsageError(f"{path} is a folder, and a picture of {what} may need its name")
    if not place.whole and place.earlier and not overwrite:
        first = next(iter(place.earlier.values()))
        raise UsageError(
            f"{what}: {first} exists; add -y to replace all pictures of that pattern, or choose"
            " another name"
        )
    return place


def _meets(source: Path, place: Numbered) -> bool:
    """Whether pictures that are read would be replaced, or go."""
    if place.whole or not source.parent.samefile(place.folder):
        return False
    read = {path.name for path in numbered_files(source).values()}
    return any(path.name in read for path in place.earlier.values())
