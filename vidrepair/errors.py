"""The error tree. Each class carries the exit code that the command line ends with.

    VidrepairError        1  disk full, folder missing or read-only, broken pipe
    +- UsageError         2  what was asked for cannot be done: codec, CRF, output exists
    |  +- CannotCarry     2  the target cannot hold something that the source carries
    +- InputError         3  the source is unreadable, unsupported or a playlist
    |  +- PictureChanged  3  its size or pixel format change on the way
    +- DamagedSegment     1  what a job had finished is not as it was written
    +- CheckFailed        5  the finished file differs from what was promised
    +- EngineError        6  the engine cannot run, or its output is not sane
    |  +- ModelError      6  a weights file is damaged or does not match its card
    +- PartialSuccess     7  some files of a batch failed, and the others are done

Messages say what happened, where, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any


class VidrepairError(Exception):
    """Something went wrong while the job ran; the base of all our errors."""

    exit_code = 1


class UsageError(VidrepairError):
    """The request itself cannot be carried out."""

    exit_code = 2


class CannotCarry(UsageError):
    """The target cannot hold something that the source carries."""


class InputError(VidrepairError):
    """The source cannot be read, or is of a kind that is not supported."""

    exit_code = 3


class PictureChanged(InputError):
    """Size or pixel format change on the way."""

    def __init__(self, message: str, seconds: Fraction) -> None:
        super().__init__(message)
        self.seconds = seconds
        """From the first frame of the film."""


class CheckFailed(VidrepairError):
    """The finished file is not what was promised."""

    exit_code = 5


class DamagedSegment(VidrepairError):
    """What a job had finished is not as it was written."""


class EngineError(VidrepairError):
    """The engine cannot run here, or its output is not sane."""

    exit_code = 6


class ModelError(EngineError):
    """A weights file is missing, damaged, or does not match its card."""


class PartialSuccess(VidrepairError):
    """Some files of a batch failed, and the others are done."""

    exit_code = 7


def either(names: Sequence[str]) -> str:
    """What there is to choose from, for a message: a, b or c. There is one at least."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def tell_error(error: VidrepairError) -> dict[str, str]:
    """For JSON: what another process is told of it."""
    # Of its classes the first that is made of a message alone.
    kind = next(one for one in type(error).__mro__ if "__init__" not in vars(one))
    return {"error": kind.__name__, "message": str(error)}


def told_error(told: Mapping[str, Any]) -> VidrepairError:
    """The error that another process told of."""
    kind: type[VidrepairError] = globals()[told["error"]]
    return kind(told["message"])
