"""A mask that the user hands in: a video, a still or numbered pictures, in step with the film."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vidrepair.carriers import Repacker, plane_views
from vidrepair.containers import close_reader, describe, open_container, video_stream, work_format
from vidrepair.errors import InputError, UsageError, VidrepairError
from vidrepair.files import Closing, same_file
from vidrepair.frames import Picture, PixelFormat, Plane
from vidrepair.planes import rgb_to_ycbcr
from vidrepair.regions import Mask, dilate
from vidrepair.sequences import check_row, files_of, is_pattern, numbered_files
from vidrepair.settings import MaskSettings
from vidrepair.tags import Clip

ENDINGS = (".png", ".tif", ".tiff", ".dpx")
"""What is looked for in a folder."""
_WEIGHTS = np.rint(10000.0 * rgb_to_ycbcr()[0]).astype(np.uint32)
"""Of R', G', B' in luma, BT.709, in whole 1/10000: gray stays exactly what it is."""
_NUMBERED = re.compile(r"(.*?)([0-9]{1,18})(\.[^.]+)", re.DOTALL)

BLACK = 0.5 / 255.0
"""Share of the way to white up to which a matte is black: what is 0 of 8 bits."""


def open_masks(
    settings: MaskSettings,
    clip: Clip,
    *,
    flag: str = "--mask-in",
    outputs: Sequence[Path] = (),
) -> MaskReader:
    """Open a mask up to its first picture, for a film; messages name it by `flag`.

    `outputs` are the files that the job writes. Raises InputError when the mask is missing, cannot
    be read, has no picture, no alpha plane where that is asked for, or is of another size than the
    film; UsageError when it is the film itself or an output.
    """
    name = f"{flag} {settings.path}"
    for own, what in ((Path(clip.name), "the source"), *((path, "an output") for path in outputs)):
        if same_file(settings.path, own):
            raise UsageError(f"{name} is {what} itself; name the file of the mask")
    try:
        pictures = _open_pictures(settings.path)
    except InputError as error:
        raise InputError(f"{flag}: {error}") from error
    reader = MaskReader(settings, clip, name, pictures)
    try:
        reader.read(0)
    except BaseException:
        reader.close()
        raise
    return reader


class MaskReader(Closing):
    """An open mask: which samples of each frame of the film are marked, frame by frame.

    One thread reads. Holds one mask, and what its decoder holds.
    """

    def __init__(
        self, settings: MaskSettings, clip: Clip, name: str, pictures: _Files | _Video
    ) -> None:
        self._settings, self._clip, self._name = settings, clip, name
        self._pictures = pictures
        self._repacker = Repacker()
        self._number = -1
        self._mask: Mask | None = None
        self._closed = False

    def read(self, number: int) -> Mask:
        """(H, W) of the film's size, read only, for frame `number` of the film, from 0 up.

        Numbers may be left out, never go back. Raises InputError when the mask has no such frame,
        or one that cannot be decoded or is of another size.
        """
        if self._closed:
            raise VidrepairError(f"{self._name} is closed already")
        assert number >= self._number, "a film is read forwards"
        if self._mask is None or (number != self._number and not self._pictures.still):
            found = self._found(number)
            if found is None:
                raise InputError(self._too_short(number))
            self._mask = self._marked(*found)
        self._number = number
        return self._mask

    def finish(self) -> None:
        """The film is at its end: raises InputError when the mask goes on."""
        count = self._number + 1
        if self._closed or self._pictures.still or self._found(count) is None:
            return
        raise InputError(
            f"{self._name} has more frames than the film, which has {count}; it is the mask of"
            " another film, or of another cut of it"
        )

    def close(self) -> None:
        """Close the file. Idempotent; no other thread may be inside `read` meanwhile."""
        if not self._closed:
            self._closed = True
            self._mask = None
            self._pictures.close()

    def _found(self, number: int) -> tuple[Any, Picture] | None:
        try:
            return self._pictures.picture(number)
        except InputError as error:
            raise InputError(f"{self._name.split(' ', maxsplit=1)[0]}: {error}") from error

    def _too_short(self, number: int) -> str:
        stated = self._clip.frame_count or 0
        film = f"about {stated}" if stated > number else f"at least {number + 1}"
        return (
            f"{self._name} has {self._pictures.count} frames and the film {film}: there is none"
            f" for frame {number}; make one for every frame, or hand in one still picture for all"
        )

    def _marked(self, decoded: Any, picture: Picture) -> Mask:
        """The mask that a decoded frame shows."""
        film, settings = self._clip.picture, self._settings
        if (picture.width, picture.height) != (film.width, film.height):
            raise InputError(
                f"{self._name} is {picture.width}x{picture.height} and the film"
                f" {film.width}x{film.height}; make the mask as large as the film is stored"
            )
        form = picture.format
        carrier = self._repacker.repack(decoded, form.name)
        if settings.channel == "alpha":
            if not form.alpha:
                raise InputError(
                    f"{self._name} has no alpha plane ({decoded.format.name}), which"
                    " --mask-channel alpha asks for; use --mask-channel luma"
                )
            marked = _above(_alpha(carrier, form), settings.threshold, 0, form.peak)
        else:
            marked = _bright(plane_views(carrier, form), picture, settings.threshold)
        if settings.invert:
            marked = ~marked
        marked = dilate(marked, settings.grow)
        marked.flags.writeable = False
        return marked


def _bright(planes: tuple[Plane, ...], picture: Picture, threshold: float) -> Mask:
    """Where the luma of a picture lies above a share of the way from black to white."""
    form = picture.format
    if form.family == "rgb":
        luma = sum(
            weight * plane.astype(np.uint32) for weight, plane in zip(_WEIGHTS, planes, strict=True)
        )
        return _above(np.asarray(luma), threshold, 0, 10000 * form.peak)
    if picture.full_range:
        return _above(planes[0], threshold, 0, form.peak)
    scale = 2 ** (form.bits - 8)
    return _above(planes[0], threshold, 16 * scale, 235 * scale)


def _above(codes: NDArray[Any], threshold: float, black: int, white: int) -> Mask:
    # Rounded: 128/255 of 255 has to be 128, not a hair below it.
    marked: Mask = codes > round(black + threshold * (white - black), 6)
    return marked


def _alpha(carrier: Any, form: PixelFormat) -> NDArray[Any]:
    """(H, W) code values of the alpha plane, full range; a view of the carrier."""
    plane = carrier.planes[-1]
    kind = "u1" if form.bits == 8 else "<u2"
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)
    if plane.line_size < 0:
        rows = rows[::-1]  # as in `carriers.plane_views`
    # Gray with alpha is packed, in pairs.
    return rows[:, 1 : 2 * plane.width : 2] if form.family == "gray" else rows[:, : plane.width]


def _open_pictures(path: Path) -> _Files | _Video:
    """Decide what a mask is. Raises InputError when there is nothing that can be read."""
    if path.is_dir():
        return _Files(_in_folder(path))
    if is_pattern(path):
        return _Files(_in_row(numbered_files(path), path))
    container = open_container(path)
    try:
        if not _is_still(container):
            return _Video(container, path)
    except BaseException:
        close_reader(container)
        raise
    close_reader(container)
    return _Files([path], still=True)


def _is_still(container: Any) -> bool:
    """Whether it was opened by one of the demuxers for pictures."""
    return str(container.format.name).endswith("_pipe")


def _decoded(container: Any, stream: Any, path: Path) -> Generator[Any]:
    """All frames, at least one. What cannot be decoded ends it: the rest would be out of step."""
    number = 0
    try:
        for decoded in container.decode(stream):
            if decoded.is_corrupt:
                raise InputError(f"frame {number} of {path} is damaged; make the mask again")
            yield decoded
            number += 1
    except (av.FFmpegError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"frame {number} of {path} cannot be decoded ({reason}); make the mask again"
        ) from error
    if not number:
        raise InputError(f"{path} holds no picture that can be decoded; make the mask again")


class _Files:
    """Still pictures in the order of the film, each opened by itself when its turn comes."""

    def __init__(self, files: Sequence[Path], *, still: bool = False) -> None:
        self._files = files
        self.still = still
        """Its one picture is that of every frame."""
        self.count = len(files)

    def picture(self, number: int) -> tuple[Any, Picture] | None:
        """A frame and what its samples mean; None beyond the last. Raises InputError."""
        if number >= self.count and not self.still:
            return None
        path = self._files[0 if self.still else number]
        container = open_container(path)
        try:
            stream = video_stream(container, str(path))
            if not _is_still(container):
                raise InputError(f"{path} is no still picture; write PNG or TIFF files")
            first = next(_decoded(container, stream, path))
            return first, describe(container, stream, first, str(path)).picture
        finally:
            close_reader(container)

    def close(self) -> None:
        """Each was closed when it was read."""


class _Video:
    """The frames of a video, one after another."""

    still = False

    def __init__(self, container: Any, path: Path) -> None:
        stream = video_stream(container, str(path))
        stream.thread_type = "AUTO"
        self._container, self._path = container, path
        self._frames = _decoded(container, stream, path)
        self._frame: Any = next(self._frames)
        self._stored = self._frame.format.name
        self._facts = describe(container, stream, self._frame, str(path)).picture
        self.count = 1
        """Of the frames so far; of all of them once one was missing."""

    def picture(self, number: int) -> tuple[Any, Picture] | None:
        """The same; numbers never go back."""
        while self.count <= number:
            self._frame = next(self._frames, None)
            if self._frame is None:
                return None
            self.count += 1
        return self._frame, self._checked(number)

    def _checked(self, number: int) -> Picture:
        """What the samples of the frame mean; as in the first one, or it is an error."""
        frame, facts = self._frame, self._facts
        size = (frame.width, frame.height)
        if (
            size != (facts.width, facts.height)
            or frame.format.name != self._stored
            or work_format(frame) != facts.format
        ):
            raise InputError(f"the picture of {self._path} changes at frame {number}; make it anew")
        return facts

    def close(self) -> None:
        # In this order: PyAV crashes in a generator whose container is closed.
        self._frames.close()
        self._frame = None
        close_reader(self._container)


def _in_folder(folder: Path) -> list[Path]:
    """The numbered pictures of a folder, which holds one series of them."""
    series: dict[tuple[str, str], dict[int, Path]] = {}
    pictures = [path for path in files_of(folder) if path.suffix.lower() in ENDINGS]
    for path in pictures:
        named = _NUMBERED.fullmatch(path.name)
        if named is None:
            raise InputError(
                f"{path} has no number before its ending; name the pictures by a pattern, such as"
                f" {folder / 'mask_%06d.png'}"
            )
        beside = series.setdefault((named[1], named[3]), {})
        if (twin := beside.setdefault(int(named[2]), path)) != path:
            raise InputError(f"{twin} and {path.name} have the same number; take one of them away")
    if len(series) > 1:
        one, other = sorted(min(files.values()).name for files in series.values())[:2]
        raise InputError(
            f"the folder {folder} holds more than one series of pictures ({one}, {other}); name"
            " one by a pattern, such as mask_%06d.png"
        )
    return _in_row(next(iter(series.values()), {}), folder)


def _in_row(files: dict[int, Path], where: Path) -> list[Path]:
    """In the order of their numbers. Raises InputError when there are none, or one is missing."""
    if not files:
        raise InputError(
            f"{where} holds no numbered picture; write files such as mask_000000.png, or name"
            " another folder"
        )
    check_row(files, where)
    return [files[number] for number in sorted(files)]
