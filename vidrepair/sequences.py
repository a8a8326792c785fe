"""Numbered pictures that are a film: names such as frames/%06d.dpx, and the files behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidrepair.errors import InputError, UsageError

CODECS = {".dpx": "dpx", ".tif": "tiff", ".tiff": "tiff", ".png": "png"}
"""FFmpeg's name of what is read and written, by ending."""
SEQUENCE = "image2"
"""FFmpeg's name of the demuxer, and the muxer, of numbered pictures."""
OTHERS = (
    *(".exr", ".jpg", ".jpeg", ".jp2", ".j2k", ".j2c", ".jxl", ".bmp", ".tga", ".gif", ".webp"),
    *(".ppm", ".pgm", ".pam", ".pfm", ".cin", ".sgi", ".dng", ".cr2", ".arw", ".nef", ".ari"),
    *(".psd", ".hdr", ".avif", ".heic"),
)
"""Endings of pictures that are not."""
WRITTEN_AS = "frames/%06d.dpx"
_COUNTER = re.compile(r"%(?:0([0-9]{1,2}))?d")
_DIGITS = re.compile("[0-9]{1,18}")
_LAST = re.compile(r"[0-9]{1,18}(?=[^0-9]*$)")
"""The last number of a name."""
_FOREIGN = re.compile(r"#+|\*|%[0-9.]*[a-zA-Z]")
"""How other tools write a counter, or how one is mistyped."""
Marks = Mapping[str, tuple[int, int]]
"""Size and time of change of each file of a sequence, by name."""


@dataclass(frozen=True, slots=True)
class ImageSequence:
    """Pictures without a gap in their numbers, one for each frame."""

    pattern: Path
    """With one counter in its name."""
    rate: Fraction
    """Frames a second."""
    first: int
    """Number of the first."""
    count: int

    @property
    def url(self) -> str:
        """As FFmpeg takes it."""
        return sequence_url(self.pattern)

    def file(self, number: int) -> Path:
        """That of a picture, by the number in its name."""
        return self.pattern.with_name(numbered_name(self.pattern.name, number))


def marks_of(pattern: Path) -> Marks:
    """Those of the files of a pattern. Raises InputError when the folder cannot be read."""
    told = {path.name: path.stat() for path in numbered_files(pattern).values()}
    return {name: (facts.st_size, facts.st_mtime_ns) for name, facts in told.items()}


def sequence_url(pattern: Path) -> str:
    """A pattern as FFmpeg takes it: what else holds a % stands for itself."""
    head, digits, tail = _COUNTER.split(pattern.name)
    counter = "%d" if digits is None else f"%0{digits}d"
    folder = str(pattern.parent).replace("%", "%%")
    name = f"{head.replace('%', '%%')}{counter}{tail.replace('%', '%%')}"
    return f"file:{folder}/{name}"


def is_pattern(path: Path) -> bool:
    """Whether a name stands for numbered files, such as mask_%06d.png."""
    return len(_COUNTER.findall(path.name)) == 1 and not path.exists()


def is_sequence(path: Path) -> bool:
    """Whether it stands for the pictures of a film: film_%d.mkv is a file, whatever its name."""
    return path.suffix.lower() in (*CODECS, *OTHERS) and is_pattern(path)


def numbered_name(pattern: str, number: int) -> str:
    """The name of one file of a pattern."""
    return _COUNTER.sub(lambda counter: f"{number:0{int(counter[1] or 0)}d}", pattern)


def numbered_files(pattern: Path) -> dict[int, Path]:
    """The files of a pattern that there are, by number, in order. Raises InputError when its folder
    cannot be read.
    """
    head, _, tail = _COUNTER.split(pattern.name)
    found = {}
    for path in files_of(pattern.parent):
        digits = path.name[len(head) : len(path.name) - len(tail)]
        # As it would be written: mask_7.png is none of mask_%03d.png.
        if _DIGITS.fullmatch(digits) and numbered_name(pattern.name, int(digits)) == path.name:
            found[int(digits)] = path
    return dict(sorted(found.items()))


def files_of(folder: Path) -> list[Path]:
    """What lies in a folder, by name, but for what is hidden. Raises InputError."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be read ({error.strerror}); check its name and permissions"
        ) from None


def origin_of(path: Path, rate: Fraction | None) -> Path | ImageSequence:
    """What a name stands for: a file, there or not, or the pictures of a pattern at that rate.

    Raises UsageError for a pattern that is none or has no rate, and for a rate of a file;
    InputError for pictures that are not there, lack a number, or are of a kind that is not read.
    """
    if not path.exists():
        check_pattern(path)
        if is_sequence(path):
            return _find(path, rate)
    if rate is not None and not path.is_dir():  # how to name the pictures of a folder is told
        raise UsageError(
            f"--rate is for numbered pictures, and {path} is one file; {_remedy_of_one(path)}"
        )
    return path


def refuse_one_picture(path: Path | None) -> None:
    """Raises UsageError for one of numbered pictures, which is no film."""
    numbered = path is not None and path.suffix.lower() in CODECS and _LAST.search(path.stem)
    if path is not None and numbered and path.is_file():
        raise UsageError(
            f"{path} is one picture, and a film has many; {_remedy_of_one(path)}, with --rate"
        )


def _remedy_of_one(path: Path) -> str:
    """What to do where a rate comes with a file."""
    if path.suffix.lower() in CODECS and (number := _LAST.search(path.stem)):
        head, tail = path.stem[: number.start()], path.stem[number.end() :]
        name = f"{head}%0{len(number[0])}d{tail}{path.suffix}"
        return f"write {path.with_name(name)} for all that are numbered so"
    return "leave it out: a film says its own"


def origin_at(path: Path, rate: Fraction | None) -> Path | ImageSequence:
    """The same, where the rate is for pictures alone and others need none. Raises likewise."""
    return origin_of(path, rate if is_sequence(path) else None)


def beside_film(film: Path, ending: str) -> Path:
    """A name beside a film; of numbered pictures, beside their folder, that need not be there."""
    if is_sequence(film):
        # The name of .. says nothing, and . has none.
        film = film.parent if film.parent.name not in ("", "..") else film.parent.resolve()
    return film.with_name(f"{film.name}{ending}")


def sidecar_of(film: Path) -> Path:
    """The file beside a film that tells of it; of numbered pictures, beside their folder."""
    return beside_film(film, ".vr.json")


def check_pattern(path: Path) -> None:
    """Refuse what was meant for a pattern and is none. Raises UsageError."""
    if path.suffix.lower() not in (*CODECS, *OTHERS):
        return
    counters = len(_COUNTER.findall(path.name))
    if counters > 1:
        raise UsageError(
            f"{path} has {counters} counters in its name; leave one, such as {WRITTEN_AS}"
        )
    if any(_COUNTER.search(part) for part in path.parent.parts) and not path.parent.exists():
        raise UsageError(
            f"{path} counts folders; the pictures of a film lie in one, such as {WRITTEN_AS}"
        )
    foreign = _FOREIGN.search(path.name)
    if counters == 0 and foreign is not None:
        width = len(foreign[0]) if foreign[0][0] == "#" else 6
        name = path.name.replace(foreign[0], f"%0{width}d", 1)
        raise UsageError(
            f"{foreign[0]} in {path} is no counter here; write it as {path.with_name(name)}"
        )


def check_kind(pattern: Path) -> str:
    """FFmpeg's name of the codec of the pictures of a pattern. Raises InputError, with the remedy,
    where they are of a kind that cannot be carried.
    """
    ending = pattern.suffix.lower()
    if ending == ".exr":
        raise InputError(
            f"{pattern}: OpenEXR holds light as floating-point numbers, and what is repaired here"
            " are whole numbers of 8 to 16 bits, so that it cannot come through bit for bit;"
            " convert it to 16-bit DPX or TIFF first, through a log or display curve"
        )
    if ending not in CODECS:
        raise InputError(
            f"{pattern}: pictures of that kind are not taken for a film; convert them to"
            f" {', '.join(CODECS)}"
        )
    return CODECS[ending]


def _find(pattern: Path, rate: Fraction | None) -> ImageSequence:
    """The pictures of a pattern. Raises as `origin_of`."""
    check_kind(pattern)
    files = numbered_files(pattern)
    if not files:
        raise InputError(f"there is no file for {pattern}; {_remedy(pattern)}")
    first = check_row(files, pattern)
    if rate is None:
        raise UsageError(
            f"{pattern} are pictures, which have no times; say how many are shown a second, such as"
            " --rate 24"
        )
    return ImageSequence(pattern, rate, first, len(files))


def _remedy(pattern: Path) -> str:
    """What to do where a pattern has no files: another counter may have some."""
    head, _, tail = _COUNTER.split(pattern.name)
    for path in files_of(pattern.parent):
        digits = path.name[len(head) : len(path.name) - len(tail)]
        if path.name.startswith(head) and path.name.endswith(tail) and _DIGITS.fullmatch(digits):
            name = f"{head}%0{len(digits)}d{tail}"
            return f"for {path.name} write {pattern.with_name(name)}"
    return "check its name and the folder"


def check_row(files: Mapping[int, Path], where: Path) -> int:
    """The first number. Raises InputError where one is empty, or missing before the last."""
    for path in files.values():
        # FFmpeg would end there, and say nothing.
        if not path.is_file() or not path.stat().st_size:
            what = "is empty" if path.is_file() else "is no file"
            raise InputError(f"{path}, one of the pictures {where}, {what}; put it back")
    first = min(files)
    lacking = max(files) - first + 1 - len(files)
    if lacking:
        number = next(number for number in range(first, max(files)) if number not in files)
        more = f" (nor {lacking - 1} others)" if lacking > 1 else ""
        raise InputError(
            f"{where} has no picture of number {number}{more}, and goes on after it: the rest would"
            " be out of step with the film; add that picture"
        )
    return first
