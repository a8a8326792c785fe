"""The codecs that a film can be written in: their encoders, what those take, how they are set."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from av import logging
from av.codec.context import OptionFlags

from vidrepair.errors import UsageError
from vidrepair.ffmpeg_log import listening
from vidrepair.frames import Picture
from vidrepair.hdr import Hdr10
from vidrepair.settings import OutputSettings

Options = tuple[tuple[str, str], ...]
PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)
SVT_PRESETS = {
    **dict(zip(PRESETS, ("12", "11", "10", "9", "8", "6", "5", "4", "2", "0"), strict=True)),
    **{str(number): str(number) for number in range(14)},
}
"""SVT-AV1 counts its presets; 6 takes about as long as x264's medium."""
ALIASES = {
    "avc": "h264",
    "x264": "h264",
    "libx264": "h264",
    "h265": "hevc",
    "x265": "hevc",
    "libx265": "hevc",
    "svtav1": "av1",
    "libsvtav1": "av1",
    "prores_ks": "prores",
    "dnxhd": "dnxhr",
}


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec, as `--codec` names it."""

    encoder: str
    """FFmpeg's name."""
    containers: tuple[str, ...]
    """FFmpeg's names of the muxers; the first is the one to recommend."""
    crf: float | None = None
    """The default; None for what has no such scale. Chosen for restored film: visually
    transparent, so that what repair has won is not lost again."""
    most_crf: float = 51.0
    presets: Mapping[str, str] = field(default_factory=dict)
    """The encoder's name for each that can be asked for."""
    least: int = 1
    """Samples a side; some encoders open with fewer, and then fail."""
    params: str = ""
    """The option that holds settings in the encoder's own language."""
    interlaced: bool = False
    """Frames are coded as two fields, and each says which one comes first."""
    captions: bool = False
    """Closed captions of the frames are written."""
    hdr: bool = False
    """HDR10 metadata are in the coded film itself."""
    sar: bool = False
    """So is the shape of a sample."""
    sitings: tuple[int, ...] = ()
    """The places of chroma, of FFmpeg's AVChromaLocation, that the coded film can tell."""
    ranged: bool = True
    """Whether samples are limited or full is told, here or by the container."""


_MATROSKA_FIRST = ("matroska", "mp4", "mov")
_ALL_SITINGS = (1, 2, 3, 4, 5, 6)

# Equal PSNR of luma, measured on clean clips: H.264 at 16, HEVC at 18 and AV1 at 16 lie within
# 0.4 dB of one another.
CODECS = {
    "h264": Codec(
        *("libx264", _MATROSKA_FIRST, 16.0),
        presets={name: name for name in PRESETS},
        params="x264-params",
        interlaced=True,
        captions=True,
        hdr=True,
        sar=True,
        sitings=_ALL_SITINGS,
    ),
    "hevc": Codec(
        *("libx265", _MATROSKA_FIRST, 18.0),
        presets={name: name for name in PRESETS},
        params="x265-params",
        captions=True,
        hdr=True,
        sar=True,
        sitings=_ALL_SITINGS,
    ),
    "av1": Codec(
        *("libsvtav1", ("matroska", "mp4", "webm"), 16.0, 63.0),
        presets=SVT_PRESETS,
        least=4,
        params="svtav1-params",
        hdr=True,
        sitings=(1, 3),
    ),
    "ffv1": Codec("ffv1", ("matroska", "mp4"), interlaced=True),
    "prores": Codec("prores_ks", ("mov", "matroska"), interlaced=True, ranged=False),
    "dnxhr": Codec("dnxhd", ("mov",)),
    "dpx": Codec("dpx", ("image2",), sar=True),
    "tiff": Codec("tiff", ("image2",), sar=True),
    "png": Codec("png", ("image2",), sar=True),
}
PICTURES = ("dpx", "tiff", "png")
"""Those of numbered pictures; the ending of OUT names them, and no option."""
STORED = {
    # 8-bit R'G'B' is stored packed by FFV1; the samples are the same.
    "ffv1": {"gbrp": "bgr0", "gbrap": "bgra"},
    # Big-endian, as scanners write it.
    "dpx": {
        "gbrp": "rgb24",
        "gbrap": "rgba",
        "gray16le": "gray16be",
        "gbrp10le": "gbrp10be",
        "gbrp12le": "gbrp12be",
        "gbrp16le": "rgb48be",
        "gbrap16le": "rgba64be",
    },
    "tiff": {
        "gbrp": "rgb24",
        "gbrap": "rgba",
        "gbrp16le": "rgb48le",
        "gbrap16le": "rgba64le",
    },
    "png": {
        "gbrp": "rgb24",
        "gbrap": "rgba",
        "gray16le": "gray16be",
        "ya16le": "ya16be",
        "gbrp16le": "rgb48be",
        "gbrap16le": "rgba64be",
    },
}
"""The format that an encoder takes for one of ours, where it is another that holds the same."""
PROFILES = {
    ("prores", "yuv422p10le"): "hq",
    ("prores", "yuv444p10le"): "4444",
    ("prores", "yuva444p10le"): "4444",
    ("dnxhr", "yuv422p"): "dnxhr_hq",
    ("dnxhr", "yuv422p10le"): "dnxhr_hqx",
    ("dnxhr", "yuv444p10le"): "dnxhr_444",
    ("dnxhr", "gbrp10le"): "dnxhr_444",
}
READ_AS = {
    ("prores", "yuv444p10le"): "yuv444p12le",
    ("prores", "yuva444p10le"): "yuva444p12le",
}
"""The format that decoders give back, where it is another: ProRes 4444 has no depth of its own."""
YOUNG_IN_FFV1 = ("yuva422p12le", "yuva444p12le", "gbrap14le", "gray14le")
"""Formats that FFmpeg 5.1, of Debian 12, cannot read."""
OURS = {
    **dict.fromkeys(("crf", "qp", "b", "q", "global_quality"), "--crf"),
    **dict.fromkeys(("pixel_format", "pix_fmt"), "--pix-fmt"),
    "preset": "--preset",
}
"""Options of encoders that have a flag of their own here."""
FROM_SOURCE = (
    *("flags", "time_base", "video_size", "aspect", "field_order", "chroma_sample_location"),
    *("color_range", "colorspace", "color_primaries", "color_trc", "a53cc", "log-level"),
    *("mastering-display", "master-display", "max-cll", "cll", "content-light", "hdr10"),
    *("interlaced", "tff", "bff", "interlace", "lossless", "fps"),
    *("colormatrix", "colorprim", "transfer", "range", "fullrange", "input-range"),
    *("chromaloc", "sar", "videoformat", "overscan"),
    *("color-range", "color-primaries", "transfer-characteristics", "matrix-coefficients"),
    "chroma-sample-position",
)
"""Options that follow the source, or that the rest depends on."""
FFV1_OURS = ("g", "level", "slicecrc", "strict")
"""As archives want FFV1, every frame on its own with checksums."""
_COMPLAINT = re.compile(r"error|unknown|invalid|unable|undefined", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Told:
    """What an encoder is told of the film beside its size, format and colours."""

    hdr: Hdr10 | None = None
    siting: int = 0
    """FFmpeg's AVChromaLocation; 0 says nothing."""
    fields: str = ""
    """tff or bff; empty for whole frames."""


def stored_format(codec: str, picture: Picture) -> str:
    """The pixel format that the encoder takes; it holds the same samples."""
    name = picture.format.name
    return STORED.get(codec, {}).get(name, name)


def obstacle(codec: str, picture: Picture, told: Told) -> str | None:
    """Why an encoder does not take the picture; found by opening it, the only sure way."""
    form = stored_format(codec, picture)
    encoder = av.Codec(CODECS[codec].encoder, "w")
    if form not in {entry.name for entry in encoder.video_formats or ()}:
        return f"{encoder.name} has no {form}"
    fields = Told(fields=told.fields)
    options = dict(_described(codec, fields)) | dict(_profile(codec, picture))
    if CODECS[codec].params == "x265-params":
        options["x265-params"] = "log-level=none"
    small = min(picture.width, picture.height) < CODECS[codec].least
    if (
        small
        or (codec == "prores" and _spoiled(picture, told))
        or _open(codec, picture, options)[0] is None
    ):
        return f"{encoder.name} refuses this size{' with fields' if told.fields else ''}"
    return None


def _spoiled(picture: Picture, told: Told) -> bool:
    """Whether FFmpeg's encoder of ProRes opens and then writes wrong samples.

    Measured: in 4:2:2 the last column of chroma where the width is odd; the last row of the odd
    field where the height is.
    """
    halved = picture.format.sampling == (2, 1) and picture.width % 2 == 1
    return halved or (bool(told.fields) and picture.height % 2 == 1)


def codec_named(name: str) -> str:
    """Our name of a codec, for any name that it goes by. Raises UsageError for none."""
    codec = ALIASES.get(name.lower(), name.lower())
    if codec in PICTURES:
        raise UsageError(
            f"--codec {name}: pictures are named by the ending of OUT, such as frames/%06d.{name};"
            " leave it out"
        )
    if codec not in CODECS:
        known = sorted(CODECS.keys() - set(PICTURES))
        raise UsageError(f"--codec {name} is unknown; use {', '.join(known)}")
    return codec


def check_quality(settings: OutputSettings) -> None:
    """Refuse a codec, CRF or preset that is wrong whatever the film. Raises UsageError."""
    refusals = []
    for codec in [codec_named(settings.codec)] if settings.codec is not None else CODECS:
        try:
            _quality(codec, settings)
        except UsageError as error:
            refusals.append(error)
        else:
            return
    raise refusals[0]


def encoder_options(codec: str, picture: Picture, settings: OutputSettings, told: Told) -> Options:
    """Everything that the encoder is set to, the user's own options last.

    Raises UsageError, with the remedy, for what cannot be set.
    """
    quality = _quality(codec, settings) or _profile(codec, picture)
    options = dict((*quality, *_described(codec, told)))
    if codec == "ffv1":
        options |= dict(_lossless(picture))
    if codec == "hevc":
        options["a53cc"] = "1"
    params = [part for part in (_params(codec, told), options.get(CODECS[codec].params)) if part]
    for key, value in settings.encoder_options:
        _check_own(codec, key, value)
        if key and key == CODECS[codec].params:
            params.append(value)
        else:
            options[key] = value
    if params:
        options[CODECS[codec].params] = ":".join(params)
    if settings.encoder_options:
        _try(codec, picture, options, settings.encoder_options)
    return tuple(options.items())


def _quality(codec: str, settings: OutputSettings) -> Options:
    """CRF and preset; empty for a codec that has neither."""
    known = CODECS[codec]
    if known.crf is None:
        for flag, value in (("--crf", settings.crf), ("--preset", settings.preset)):
            if value is not None:
                why = "which is lossless" if codec == "ffv1" else "whose profile is its quality"
                said = f"{value:g}" if isinstance(value, float) else value
                raise UsageError(
                    f"{flag} {said} has no meaning for {codec}, {why}; leave it"
                    " out, or name --codec h264, hevc or av1"
                )
        return ()
    crf = known.crf if settings.crf is None else settings.crf
    if codec in ("hevc", "av1") and crf == 0.0:
        # Measured: x265 as PyAV bundles it changes samples even with lossless=1.
        raise UsageError(f"--crf 0 is not lossless with {codec}; use --codec ffv1, or h264 --crf 0")
    if not 0.0 <= crf <= known.most_crf:
        raise UsageError(f"--crf {crf:g} is out of range for {codec}; use 0 to {known.most_crf:g}")
    if codec == "av1" and crf % 0.25:
        raise UsageError(f"--crf {crf:g} is too fine for av1; use steps of a quarter")
    preset = settings.preset or "medium"
    if preset not in known.presets:
        more = ", or 0 to 13" if codec == "av1" else ""
        raise UsageError(f"--preset {preset} is unknown; use {', '.join(PRESETS)}{more}")
    # At more than 8 bits, x264's CRF 0 is not lossless, QP 0 always is.
    quality = ("qp", "0") if crf == 0.0 else ("crf", f"{crf:g}")
    return (("preset", known.presets[preset]), quality)


def _profile(codec: str, picture: Picture) -> Options:
    profile = PROFILES.get((codec, picture.format.name))
    return () if profile is None else (("profile", profile),)


def _lossless(picture: Picture) -> Options:
    """FFV1 as archives write it: every frame on its own, slices with checksums."""
    shared: Options = (("level", "3"), ("g", "1"), ("slicecrc", "1"))
    small = min(picture.width, picture.height)
    # Slices let as many threads work; tiny pictures have no room for them.
    return (*shared, ("slices", "16" if small >= 720 else "4" if small >= 64 else "1"))


def film_options(told: Told) -> Options:
    """What FFmpeg's own options say of the film, to encoder and muxer alike."""
    said: list[tuple[str, str]] = []
    if told.fields:
        said.append(("field_order", {"tff": "tt", "bff": "bb"}[told.fields]))
    if told.siting:
        said.append(("chroma_sample_location", str(told.siting)))
    return tuple(said)


def _described(codec: str, told: Told) -> Options:
    """The same, and how fields are coded."""
    coded = told.fields and CODECS[codec].interlaced
    return (*film_options(told), *((("flags", "+ildct+ilme"),) if coded else ()))


def _params(codec: str, told: Told) -> str:
    """The same in the encoder's own language, where FFmpeg has no word for it."""
    said = ["log-level=error"] if codec == "hevc" else []
    if codec == "h264" and told.fields == "bff":
        # By the flags of the frames alone x264 says so of some, and of those that wait not.
        said.append("bff=1")
    if told.hdr is not None and CODECS[codec].hdr:
        said.append(told.hdr.params(CODECS[codec].params))
    return ":".join(said)


def _check_own(codec: str, key: str, value: str) -> None:
    """Refuse what would contradict a flag or the source, also within the encoder's parameters."""
    own_language = key.endswith(("-params", "opts"))
    # x264 and x265 take _ for -.
    inner = [part.split("=")[0].replace("_", "-") for part in value.split(":") if own_language]
    for name in (key, *inner):
        if name in OURS:
            raise UsageError(
                f"-x {key}={value}: {name} is what {OURS[name]} sets; use that instead"
            )
        if name in FROM_SOURCE:
            raise UsageError(f"-x {key}={value}: {name} follows the source; leave it out")
    if codec == "ffv1" and key in FFV1_OURS:
        raise UsageError(f"-x {key}={value}: FFV1 is written as archives want it; leave {key} out")


def _try(codec: str, picture: Picture, options: Mapping[str, str], own: Options) -> None:
    """Open the encoder with all options, and listen to what it says of the user's."""
    encoder = CODECS[codec].encoder
    known: Any = av.CodecContext.create(encoder, "w").supported_options
    names = _names(known.private)
    for key, _ in own:
        if key not in {*names, *_names(known.generic)}:
            ours = ", ".join(name for name in names if name not in {*OURS, *FROM_SOURCE})
            raise UsageError(
                f"-x {key} is no option of {encoder}; it has {ours}, and those that all encoders"
                " of FFmpeg have"
            )
    context, said = _open(codec, picture, options)
    complaints = [line for line in said.splitlines() if _COMPLAINT.search(line)]
    if context is None or complaints:
        asked = " ".join(f"-x {key}={value}" for key, value in own)
        reason = complaints[-1].rstrip(".") if complaints else "it does not open"
        raise UsageError(f"{encoder} refuses {asked} ({reason}); correct it or leave it out")


def _names(options: Iterable[Any]) -> list[str]:
    """Of those among FFmpeg's options that encoders of video look at."""
    asked = OptionFlags.ENCODING_PARAM | OptionFlags.VIDEO_PARAM
    return sorted(option.name for option in options if option.flags & asked == asked)


def _open(codec: str, picture: Picture, options: Mapping[str, str]) -> tuple[Any, str]:
    """An open encoder, or None where it refuses, and what was logged meanwhile."""
    # SVT-AV1 asks the environment how much it may write to stderr; errors are told by us.
    os.environ.setdefault("SVT_LOG", "1")
    context: Any = av.CodecContext.create(CODECS[codec].encoder, "w")
    context.width, context.height = picture.width, picture.height
    context.pix_fmt = stored_format(codec, picture)
    context.time_base = Fraction(1, 25)
    context.framerate = 25
    context.options = dict(options)
    with listening(logging.WARNING) as said:
        try:
            context.open()
        except (av.FFmpegError, ValueError):
            context = None
    return context, said()
