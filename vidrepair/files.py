"""Files are written beside under a hidden name, made sure of, and renamed: whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from vidrepair.errors import UsageError, VidrepairError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when there is no room."""


def same_file(one: Path, other: Path) -> bool:
    """Whether two names are those of one file, or will be."""
    try:
        return one.resolve() == other.resolve() or one.samefile(other)
    except (OSError, ValueError):  # one of them does not exist
        return False


class Closing:
    """What is closed at the end of its `with`."""

    def close(self) -> None:
        """Let go of what it holds. Idempotent."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def drop(file: IO[bytes]) -> None:
    """Close a file that does not count. Idempotent.

    What its buffer holds may not fit a full disk, which was told already.
    """
    with suppress(OSError):
        file.close()


class Unfinished(Closing):
    """What is deleted at the end of its `with`, unless it has its name by then."""

    def abort(self) -> None:
        """Delete it. Idempotent, and of no effect once it has its name."""
        raise NotImplementedError

    def close(self) -> None:
        """The end of its `with`."""
        self.abort()


def beside(path: Path) -> Path:
    """A hidden name in the same folder, short enough for any file system."""
    return path.parent / f".{path.name[:40]}.{secrets.token_hex(4)}.part"


def sync(path: Path) -> None:
    """Flush a file or folder to the disk, where the system can."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # folders on Windows
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(path: Path, *, overwrite: bool = False) -> None:
    """Refuse, before any work, a file that cannot or must not be written.

    Raises UsageError for one that exists, unless it may be overwritten, and for a folder;
    VidrepairError where the folder is missing or closed.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; name a file in it")
        if path.exists() and not overwrite:
            raise UsageError(f"{path} exists; add -y to replace it, or choose another name")
        trial = beside(path)
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise VidrepairError(f"{path} cannot be written: {_remedy(path, error)}") from error


def write_text(path: Path, lines: Iterable[str], *, overwrite: bool = False) -> None:
    """Write a text file of UTF-8, lines as they are; else as `write_bytes`."""
    write_bytes(path, (line.encode() for line in lines), overwrite=overwrite)


def write_bytes(path: Path, parts: Iterable[bytes], *, overwrite: bool = False) -> None:
    """Write a file; nothing but a whole one gets the name.

    Raises as `check_writable`, and VidrepairError when the disk is full.
    """
    check_writable(path, overwrite=overwrite)
    temporary = beside(path)
    try:
        with temporary.open("xb") as file:
            file.writelines(parts)
        sync(temporary)
        temporary.replace(path)
    except OSError as error:
        raise VidrepairError(f"{path} cannot be written: {_remedy(path, error)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    with suppress(OSError):  # some network file systems cannot; the file has its name
        sync(path.parent)


def no_folder(path: Path) -> str:
    """What is said of what is no folder, and should be one."""
    if path.exists() and not path.is_dir():
        return f"{path} is no folder; name one that is"
    return f"the folder {path} does not exist; make it first"


def _remedy(path: Path, error: OSError) -> str:
    """Why a file could not be written, and what to do about it."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return no_folder(path.parent)
    if error.errno == errno.ENAMETOOLONG:
        return f"{error.strerror}; choose a shorter one"
    if error.errno in FULL:
        return f"no space is left ({error.strerror}); free some, or choose another folder"
    return f"{error.strerror or error}; choose another folder, or change its permissions"
