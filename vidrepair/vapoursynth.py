"""A VapourSynth filter: the frames of `vidrepair run`, for a clip of a script.

Needs the extra `vidrepair[vapoursynth]`, or a VapourSynth that is there already.
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from fractions import Fraction
from typing import Any

import numpy as np

from vidrepair.errors import UsageError
from vidrepair.frames import Frame, Picture, PixelFormat
from vidrepair.on_demand import OnDemand
from vidrepair.settings import EngineSettings, RepairSettings
from vidrepair.tags import UNSAID, luma_matrix, pixel_format

try:
    import vapoursynth as vs
except ImportError as missing:
    raise ImportError(
        'VapourSynth is not installed for this Python; pip install "vidrepair[vapoursynth]"'
        " (Python 3.12 or newer)"
    ) from missing

USUAL_RATE = Fraction(25)
"""Frames a second of a clip whose rate varies."""


def repair(
    clip: Any,
    settings: RepairSettings | None = None,
    *,
    engine: EngineSettings | None = None,
    kept: int = 2,
) -> Any:
    """A clip (vapoursynth.VideoNode) of the same size, format and length, repaired.

    The first frame that is asked for lets the whole of `clip` be read once, to find its cuts and
    measure its noise. Then a span, up to 64 frames of a shot, is computed when one of its frames is
    asked for; `kept` of them stay in memory. Frames are those that `vidrepair run` makes of the
    same samples. Frame properties stay.

    Raises UsageError for a format, size or setting that cannot be repaired, EngineError where no
    engine runs.

    >>> import vapoursynth as vs
    >>> from vidrepair import RepairSettings
    >>> from vidrepair.vapoursynth import repair
    >>> clip = repair(clip, RepairSettings(denoise=(80.0, 80.0)))
    >>> clip.set_output()
    """
    from trt_build.build import build_engine

    form = _format_of(clip)
    picture = _picture_of(clip, form)
    owned = ExitStack()
    with ExitStack() as failing:
        failing.enter_context(owned)
        film = OnDemand(
            picture,
            clip.num_frames,
            _Reader(clip, picture),
            settings or RepairSettings(),
            engine or EngineSettings(),
            owned,
            kept=kept,
            build=build_engine,
        )
        failing.pop_all()
    weakref.finalize(film, owned.close)

    def finished(n: int, f: Any) -> Any:
        made = f.copy()
        for index, plane in zip(_order(form), film.frame(n), strict=True):
            np.copyto(np.asarray(made[index]), plane)
        return made

    return clip.std.ModifyFrame(clips=[clip], selector=finished)


class _Reader:
    """The frames of a clip as the stages take them: their planes are views, nothing is copied."""

    def __init__(self, clip: Any, picture: Picture) -> None:
        self._clip, self._picture = clip, picture
        self._time_base = 1 / Fraction(clip.fps or USUAL_RATE)

    def __call__(self, number: int) -> Frame:
        given = self._clip.get_frame(number)
        planes = tuple(np.asarray(given[index]) for index in _order(self._picture.format))
        return Frame(planes, self._picture, number, pts=number, time_base=self._time_base)


def _order(form: PixelFormat) -> tuple[int, ...]:
    """Where our planes are among those of VapourSynth, which has R', G', B' in that order, too."""
    return (0,) if form.family == "gray" else (0, 1, 2)


def _format_of(clip: Any) -> PixelFormat:
    """The format of the samples. Raises UsageError for one that is not worked in."""
    if not isinstance(clip, vs.VideoNode):
        raise UsageError(f"repair takes a clip of VapourSynth, not {type(clip).__name__}")
    given = clip.format
    if given is None or not clip.width or not clip.height:
        raise UsageError("the clip changes its format or size on the way; make it one with resize")
    depth = "" if given.bits_per_sample == 8 else f"{given.bits_per_sample}le"
    names = {(1, 1): "yuv420p", (1, 0): "yuv422p", (0, 0): "yuv444p", (0, 1): "yuv440p"}
    names |= {(2, 2): "yuv410p", (2, 0): "yuv411p"}
    families = {
        vs.GRAY: "gray",
        vs.RGB: "gbrp",
        vs.YUV: names.get((given.subsampling_w, given.subsampling_h), ""),
    }
    found = pixel_format(families[given.color_family] + depth)
    if given.sample_type != vs.INTEGER or found is None:
        raise UsageError(
            f"{given.name} is not repaired here; resize to whole numbers of 8 to 16 bits first,"
            " such as YUV420P16"
        )
    return found


def _picture_of(clip: Any, form: PixelFormat) -> Picture:
    """What the first frame says of itself. Raises UsageError for fields."""
    said = clip.get_frame(0).props
    if said.get("_FieldBased", 0):
        raise UsageError(
            "the clip is interlaced; deinterlace it, or separate its fields and repair the even and"
            " the odd ones as two clips"
        )
    # `_ColorRange`, which older versions have, counts the other way round.
    range_said = said.get("_Range", 1 - said["_ColorRange"] if "_ColorRange" in said else None)
    full = form.family == "rgb" or bool(range_said)
    full |= form.family == "gray" and range_said is None
    matrix = luma_matrix(said.get("_Matrix", UNSAID), form.family, clip.width, clip.height)
    return Picture(clip.width, clip.height, form, matrix, full)
