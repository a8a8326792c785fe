"""What the output will be: container, codec, quality, and what it cannot hold, known first."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vidrepair.errors import CannotCarry, UsageError, VidrepairError
from vidrepair.settings import OutputSettings
from vidrepair.tags import UNSAID, Clip, kept_tags

CONTAINERS = {
    ".mkv": "matroska",
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".y4m": "yuv4mpegpipe",
}
ALIASES = {
    "avc": "h264",
    "x264": "h264",
    "libx264": "h264",
    "h265": "hevc",
    "x265": "hevc",
    "libx265": "hevc",
}
PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)
MAX_CRF = 51.0
Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Codec:
    encoder: str
    crf: float | None
    """The default; None for what is always lossless. Chosen for restored film: visually
    transparent, so that what repair has won is not lost again."""
    containers: tuple[str, ...]


CODECS = {
    "h264": _Codec("libx264", 16.0, ("matroska", "mp4", "mov")),
    "hevc": _Codec("libx265", 18.0, ("matroska", "mp4", "mov")),
    "ffv1": _Codec("ffv1", None, ("matroska", "mp4")),
}
# 8-bit R'G'B' is stored packed by FFV1; the samples are the same.
PACKED = {"gbrp": "bgr0", "gbrap": "bgra"}
# Frames carry these too, but they describe the source's coding, not its picture.
HARMLESS_SIDE_DATA = (
    *("DISPLAYMATRIX", "MOTION_VECTORS", "VIDEO_ENC_PARAMS", "REGIONS_OF_INTEREST"),
    *("SEI_UNREGISTERED", "GOP_TIMECODE", "PANSCAN", "QP_TABLE_DATA", "QP_TABLE_PROPERTIES"),
)
CAPTIONS = "A53_CC"
# What MP4 and MOV write of a file's tags unless told to write all of them in another way.
PLAIN_TAGS = {
    *("title", "artist", "album_artist", "composer", "album", "date", "comment", "genre"),
    *("copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id"),
    *("network", "keywords", "creation_time", "track", "disc", "compilation"),
}
NOT_Y4M = ("yuv410p", "yuv440p", "yuv440p10le", "yuv440p12le", "gray14le")


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """Everything that is decided before the first frame."""

    container: str
    """FFmpeg's name of the muxer."""
    codec: str
    """FFmpeg's name of the encoder."""
    pix_fmt: str
    """The format that the encoder takes; holds the same samples as the source's."""
    rate: Fraction
    time_base: Fraction
    options: Options = ()
    """Of the encoder."""
    muxing: Options = ()
    """Of the muxer."""
    metadata: Options = ()
    tag: str = ""
    """The codec's four letters, where the muxer's choice does not play everywhere."""
    offset: Fraction = Fraction(0)
    """Seconds added to the times of all streams, so that none before zero is lost."""
    renumbered: bool = False
    """Frames lie at 1/rate each; the target knows no other times."""
    overwrite: bool = False
    cut: bool = False
    """The other streams end with the picture, which was stopped early."""
    warnings: tuple[str, ...] = ()
    """What will not be carried, by name."""


def plan_output(clip: Clip, output: Path | None, settings: OutputSettings) -> OutputPlan:
    """Decide container, codec, quality and pixel format; None is y4m on standard output.

    Raises UsageError for what cannot be asked, CannotCarry when the target cannot hold the
    source's samples (both with the remedy), VidrepairError when the folder cannot be written.
    """
    container = _container(output)
    if output is not None:
        _check_output(clip, output, settings.overwrite)
    _check_pix_fmt(clip, settings.pix_fmt)
    rate = clip.rate or Fraction(25)
    metadata = tuple(kept_tags(dict(clip.metadata)).items())
    shared: dict[str, Any] = {
        "container": container,
        "rate": rate,
        "overwrite": settings.overwrite,
        "cut": settings.frames is not None,
        "offset": -clip.start if clip.video_start < 0 else Fraction(0),
    }
    if container == "yuv4mpegpipe":
        _check_y4m(clip, settings)
        return OutputPlan(
            codec="rawvideo",
            pix_fmt=clip.picture.format.name,
            time_base=1 / rate,
            # More than 8 bits are FFmpeg's own extension of the format.
            muxing=(("strict", "-1"),),
            renumbered=True,
            warnings=tuple(_lost_by_y4m(clip)),
            **shared,
        )
    codec = _codec(clip, container, settings)
    muxing, lost = _file_tags(clip, container)
    return OutputPlan(
        codec=CODECS[codec].encoder,
        pix_fmt=_stored(codec, clip),
        time_base=clip.time_base,
        options=_options(clip, codec, settings),
        muxing=muxing,
        metadata=metadata,
        # hev1, FFmpeg's choice, does not play on Apple's players.
        tag="hvc1" if codec == "hevc" and container in ("mp4", "mov") else "",
        warnings=(*lost, *_lost_by_codec(clip, codec, container)),
        **shared,
    )


def _container(output: Path | None) -> str:
    if output is None:
        return "yuv4mpegpipe"
    try:
        return CONTAINERS[output.suffix.lower()]
    except KeyError:
        raise UsageError(
            f"{output} ends in no container that can be written; use .mkv, .mp4 or .mov"
        ) from None


def _check_output(clip: Clip, output: Path, overwrite: bool) -> None:
    """Refuse an output that must not or cannot be written."""
    folder = output.parent
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file in it")
    if output.exists() and Path(clip.name).exists() and output.samefile(clip.name):
        raise UsageError(f"{output} is the source itself; choose another name")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists; add -y to replace it, or choose another name")
    if not folder.is_dir():
        raise VidrepairError(f"the folder {folder} does not exist; make it first")
    # Rights, quotas and read-only mounts: only trying tells.
    trial = folder / f".vidrepair-{secrets.token_hex(4)}.part"
    try:
        os.close(os.open(trial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        trial.unlink()
    except OSError as error:
        raise VidrepairError(
            f"nothing can be written to the folder {folder} ({error.strerror});"
            " choose another or change its permissions"
        ) from None


def _check_pix_fmt(clip: Clip, wanted: str | None) -> None:
    native = clip.picture.format.name
    # yuvj420p is yuv420p by another name; nv12 would have to be made of it again.
    if wanted is not None and wanted.replace("yuvj", "yuv") != native:
        raise UsageError(
            f"--pix-fmt {wanted} is not that of the source, {native}, and conversion is not"
            f" offered yet; use --pix-fmt {native} or leave it out"
        )


def _check_y4m(clip: Clip, settings: OutputSettings) -> None:
    form = clip.picture.format
    for flag, value in (("--codec", settings.codec), ("--crf", settings.crf)):
        if value is not None:
            raise UsageError(f"{flag} {value} has no meaning for y4m; leave it out")
    if settings.preset is not None:
        raise UsageError(f"--preset {settings.preset} has no meaning for y4m; leave it out")
    if (form.family, form.alpha) not in (("yuv", False), ("gray", False)) or form.name in NOT_Y4M:
        raise CannotCarry(f"y4m cannot hold {form.name}; write an .mkv file instead")


def _codec(clip: Clip, container: str, settings: OutputSettings) -> str:
    """The codec asked for, or the one that the source suggests; checked to work."""
    if settings.codec is not None:
        name = ALIASES.get(settings.codec.lower(), settings.codec.lower())
        if name not in CODECS:
            raise UsageError(
                f"--codec {settings.codec} is unknown; use {', '.join(sorted(CODECS))}"
            )
        obstacle = _obstacle(clip, name)
        if obstacle:
            raise CannotCarry(
                f"{name} cannot hold {_described(clip)} ({obstacle});"
                " use --codec ffv1 with an .mkv output"
            )
    else:
        name = _suggested(clip)
        if container != "matroska" and name == "ffv1":
            other = next((codec for codec in ("h264", "hevc") if not _obstacle(clip, codec)), None)
            remedy = f", or lose a little with --codec {other}" if other else ""
            raise CannotCarry(
                f"the default for {_described(clip)} is FFV1, which hardly plays in {container};"
                f" write an .mkv file{remedy}"
            )
        if name == "ffv1" and (obstacle := _obstacle(clip, name)):
            raise CannotCarry(
                f"no codec here holds {_described(clip)} ({obstacle}); convert the source first"
            )
    if container not in CODECS[name].containers:
        raise CannotCarry(f"{name} does not go into {container}; write an .mkv file")
    return name


def _suggested(clip: Clip) -> str:
    """Lossless stays lossless; a family stays if it holds the samples; else FFV1."""
    if clip.lossless:
        return "ffv1"
    kept = {"h264": "h264", "hevc": "hevc"}.get(clip.codec)
    name = kept or ("h264" if clip.picture.format.bits == 8 else "hevc")
    return "ffv1" if _obstacle(clip, name) else name


def _described(clip: Clip) -> str:
    picture = clip.picture
    kind = "lossless " if clip.lossless else ""
    return f"{kind}{picture.width}x{picture.height} {picture.format.name}"


def _stored(codec: str, clip: Clip) -> str:
    name = clip.picture.format.name
    return PACKED.get(name, name) if codec == "ffv1" else name


def _obstacle(clip: Clip, codec: str) -> str | None:
    """Why an encoder does not take the picture; found by opening it, the only sure way."""
    form = _stored(codec, clip)
    encoder = av.Codec(CODECS[codec].encoder, "w")
    if form not in {entry.name for entry in encoder.video_formats or ()}:
        return f"{encoder.name} has no {form}"
    context: Any = av.CodecContext.create(encoder.name, "w")
    context.width, context.height, context.pix_fmt = clip.picture.width, clip.picture.height, form
    context.time_base = Fraction(1, 25)
    context.framerate = 25
    context.options = {"x265-params": "log-level=none"} if codec == "hevc" else {}
    try:
        context.open()
    except (av.FFmpegError, ValueError):
        return f"{encoder.name} refuses this size"
    return None


def _options(clip: Clip, codec: str, settings: OutputSettings) -> Options:
    default = CODECS[codec].crf
    if default is None:
        for flag, value in (("--crf", settings.crf), ("--preset", settings.preset)):
            if value is not None:
                raise UsageError(
                    f"{flag} {value} has no meaning for {codec}, which is lossless; leave it"
                    " out, or name --codec h264 or hevc"
                )
        return _lossless_options(clip)
    crf = default if settings.crf is None else settings.crf
    if codec == "hevc" and crf == 0.0:
        # Measured: x265 as PyAV bundles it changes samples even with lossless=1.
        raise UsageError("--crf 0 is not lossless with hevc; use --codec ffv1, or h264 --crf 0")
    if not 0.0 <= crf <= MAX_CRF:
        raise UsageError(f"--crf {crf:g} is out of range for {codec}; use 0 to {MAX_CRF:g}")
    preset = settings.preset or "medium"
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset} is unknown; use {', '.join(PRESETS)}")
    # At more than 8 bits, x264's CRF 0 is not lossless, QP 0 always is.
    quality = ("qp", "0") if crf == 0.0 else ("crf", f"{crf:g}")
    if codec == "h264":
        return (("preset", preset), quality)
    captions = (("a53cc", "1"),) if CAPTIONS in clip.side_data else ()
    return (("preset", preset), quality, ("x265-params", "log-level=error"), *captions)


def _lossless_options(clip: Clip) -> Options:
    """FFV1 as archives write it: every frame on its own, slices with checksums."""
    shared: Options = (("level", "3"), ("g", "1"), ("slicecrc", "1"))
    small = min(clip.picture.width, clip.picture.height)
    # Slices let as many threads work; tiny pictures have no room for them.
    return (*shared, ("slices", "16" if small >= 720 else "4" if small >= 64 else "1"))


def _file_tags(clip: Clip, container: str) -> tuple[Options, list[str]]:
    """The muxer's options, and which tags of the file it will not keep."""
    if container == "matroska":
        # Without random identifiers: a second run gives equal bytes.
        return (("fflags", "+bitexact"),), []
    if container not in ("mp4", "mov"):
        return (), []
    extra = sorted(tag for tag in kept_tags(dict(clip.metadata)) if tag.lower() not in PLAIN_TAGS)
    flags = "+faststart+write_colr"
    if extra and not any(facts.kind == "cover" for facts in clip.others):
        return (("movflags", f"{flags}+use_metadata_tags"),), []
    # With all tags, FFmpeg's muxer would lose the cover; a picture is worth more than they are.
    lost = [f"the tag {key} is not carried: {container} keeps it or the cover" for key in extra]
    return (("movflags", flags),), lost


def _lost_by_codec(clip: Clip, codec: str, container: str) -> list[str]:
    lost = []
    if codec == "ffv1" and container == "matroska" and clip.sar not in (None, Fraction(1)):
        lost.append(
            f"the sample aspect ratio {clip.sar} is not carried: FFV1 in Matroska gets none here;"
            " repair it with mkvpropedit"
        )
    for name in clip.side_data:
        if name in HARMLESS_SIDE_DATA or (name == CAPTIONS and codec != "ffv1"):
            continue
        lost.append(f"{_spoken(name)} is not carried yet")
    return lost


def _lost_by_y4m(clip: Clip) -> list[str]:
    lost = []
    if clip.sar not in (None, Fraction(1)):
        lost.append(f"the sample aspect ratio {clip.sar} is not carried by y4m")
    if clip.rotation or clip.display_matrix is not None:
        lost.append(f"the rotation by {clip.rotation} degrees is not carried by y4m")
    tagged = (clip.color_matrix, clip.color_primaries, clip.color_transfer)
    if clip.picture.format.family == "yuv" and tagged != (UNSAID, UNSAID, UNSAID):
        lost.append("the colour tags are not carried by y4m: give them to the next tool by hand")
    if clip.video_start != 0:
        lost.append(f"the start at {float(clip.video_start):.3f} s is not carried: y4m starts at 0")
    if clip.rate is None:
        lost.append("the times of the frames are not carried by y4m: 25 a second are written")
    lost += [
        f"{_spoken(name)} is not carried by y4m"
        for name in clip.side_data
        if name not in HARMLESS_SIDE_DATA
    ]
    if clip.metadata and clip.container != "yuv4mpegpipe":
        lost.append("the tags of the file are not carried by y4m")
    return lost


def _spoken(name: str) -> str:
    names = {
        "MASTERING_DISPLAY_METADATA": "the HDR mastering display metadata",
        "CONTENT_LIGHT_LEVEL": "the HDR content light level",
        "DYNAMIC_HDR_PLUS": "the HDR10+ metadata",
        "DOVI_RPU_BUFFER": "the Dolby Vision metadata",
        "DOVI_METADATA": "the Dolby Vision metadata",
        CAPTIONS: "the closed captions (A53)",
    }
    return names.get(name, f"the side data {name}")
