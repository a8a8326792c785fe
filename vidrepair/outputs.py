"""What the output will be: container, codec, quality, and what it cannot hold, known first."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidrepair.carried import REEL, Carried
from vidrepair.codecs import (
    CODECS,
    READ_AS,
    YOUNG_IN_FFV1,
    Options,
    Told,
    codec_named,
    encoder_options,
    film_options,
    obstacle,
    stored_format,
)
from vidrepair.errors import CannotCarry, UsageError, VidrepairError
from vidrepair.exact_time import inexact_times
from vidrepair.files import no_folder
from vidrepair.headers import Header
from vidrepair.labels import FileTags, spoken, stream_tags
from vidrepair.losses import (
    ALPHA_TAG,
    HARMLESS_SIDE_DATA,
    Loss,
    accept,
    alpha_beside,
    excused,
    find_losses,
    lost_by_y4m,
    lost_labels,
    written_tags,
)
from vidrepair.output_plan import OutputPlan
from vidrepair.picture_plan import check_place, check_unsaid, described, plan_pictures
from vidrepair.purposes import suited
from vidrepair.sequences import CODECS as PICTURE_CODECS
from vidrepair.sequences import SEQUENCE, WRITTEN_AS, check_pattern, is_sequence
from vidrepair.settings import OutputSettings
from vidrepair.tags import Clip, kept_tags
from vidrepair.timecode import later_timecode

__all__ = ["HARMLESS_SIDE_DATA", "OutputPlan", "plan_output"]

CONTAINERS = {
    ".mkv": "matroska",
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".webm": "webm",
    ".y4m": "yuv4mpegpipe",
}
SUFFIXES = {"matroska": ".mkv", "mp4": ".mp4", "mov": ".mov", "webm": ".webm"}
NOT_Y4M = ("yuv410p", "yuv440p", "yuv440p10le", "yuv440p12le", "gray14le")
MOST_SOUND = 192000
"""Samples a second, twice those of any common sound."""
RGB = 0
"""FFmpeg's AVCOL_SPC_RGB."""
BOTTOM_FIRST = (3, 4)
"""FFmpeg's AV_FIELD_BB and AV_FIELD_TB."""


def plan_output(
    clip: Clip, output: Path | None, settings: OutputSettings, carried: Carried | None = None
) -> OutputPlan:
    """Decide container, codec, quality and pixel format; None is y4m on standard output.

    `carried` is what the film carries beside its samples; without it only what the clip names
    is known. Raises UsageError for what cannot be asked, CannotCarry when the target cannot hold
    the source's samples, or something that nobody may lose unasked (both with the remedy),
    VidrepairError when the folder cannot be written.
    """
    container = _container(output)
    if container == SEQUENCE and output is not None:
        check_place(clip, output, overwrite=settings.overwrite)
    elif output is not None:
        _check_output(clip, output, settings.overwrite)
    _check_pix_fmt(clip, settings.pix_fmt)
    if settings.exact_time and (inexact := inexact_times(clip, container)):
        raise CannotCarry(inexact)
    carried = carried or Carried()
    told = _told(clip, carried)
    shared: dict[str, Any] = {
        "container": container,
        "rate": clip.rate or Fraction(25),
        "overwrite": settings.overwrite,
        "cut": settings.frames is not None,
        "exact": settings.exact_time,
        "offset": clip.offset,
        "fields": told.fields,
    }
    settings, remarks = _for_purpose(clip, container, settings, told)
    if container == "yuv4mpegpipe":
        _check_y4m(clip, settings)
        return _y4m_plan(clip, carried, told, shared)
    if container == SEQUENCE and output is not None:
        codec = PICTURE_CODECS[output.suffix.lower()]
        return plan_pictures(clip, codec, settings, carried, shared)
    if settings.start_number is not None:
        raise UsageError(f"--start-number is for numbered pictures, such as {WRITTEN_AS}; leave it")
    codec = _codec(clip, container, settings, told)
    tags = written_tags(clip, container)
    losses = [
        *find_losses(clip, codec, container, carried, told),
        *lost_labels(clip, container, tags, dict(clip.video_metadata)),
    ]
    header = _header(clip, codec, container, told)
    return OutputPlan(
        codec=CODECS[codec].encoder,
        pix_fmt=stored_format(codec, clip.picture),
        time_base=clip.time_base,
        read_as=READ_AS.get((codec, clip.picture.format.name), ""),
        options=encoder_options(codec, clip.picture, settings, told),
        muxing=_muxing(clip, container, tags),
        metadata=_file_metadata(clip, losses),
        film_metadata=_film_metadata(clip, container, carried, header, losses),
        # hev1, FFmpeg's choice, does not play on Apple's players.
        tag="hvc1" if codec == "hevc" and container in ("mp4", "mov") else "",
        header=header,
        notes=tuple(remarks),
        warnings=(
            *accept(losses, settings.allow_loss, f"{codec} in {spoken(container)}"),
            *_young(codec, clip.picture.format.name),
        ),
        lost=excused(losses),
        **shared,
    )


def _for_purpose(
    clip: Clip, container: str, settings: OutputSettings, told: Told
) -> tuple[OutputSettings, list[str]]:
    """The settings with what the film is meant for, if that was said, and what there is to tell."""
    if settings.purpose is None:
        return settings, []
    if container in ("yuv4mpegpipe", SEQUENCE):
        raise UsageError(f"--for {settings.purpose} is for films in a file; leave it out")
    chosen, said = suited(clip, container, settings, told)
    return chosen, [said]


def _young(codec: str, form: str) -> Iterator[str]:
    """What old readers of the file will not show."""
    if codec == "ffv1" and form in YOUNG_IN_FFV1:
        yield f"{form} in FFV1 is new: FFmpeg up to 5.1 does not read it"


def _told(clip: Clip, carried: Carried) -> Told:
    """What the encoder is told of the film."""
    order = "bff" if clip.field_order in BOTTOM_FIRST else "tff"
    sited = clip.picture.format.sampling == (2, 2)
    return Told(
        hdr=carried.hdr,
        siting=carried.chroma_location if sited else 0,
        # The first frame knows better than the stream: of H.264 FFmpeg says top first for all.
        fields=(carried.field_order or order) if clip.interlaced else "",
    )


def _y4m_plan(clip: Clip, carried: Carried, told: Told, shared: dict[str, Any]) -> OutputPlan:
    losses = list(lost_by_y4m(clip, carried))
    return OutputPlan(
        codec="rawvideo",
        pix_fmt=clip.picture.format.name,
        time_base=1 / shared["rate"],
        options=film_options(told),
        # More than 8 bits are FFmpeg's own extension of the format.
        muxing=(("strict", "-1"),),
        film_metadata=tuple(kept_tags(dict(clip.video_metadata)).items()),
        renumbered=True,
        warnings=tuple(map(str, losses)),
        lost=excused(losses),
        **shared,
    )


def _header(clip: Clip, codec: str, container: str, told: Told) -> Header | None:
    """What FFmpeg's muxers leave out: they look for it where PyAV puts nothing."""
    known = CODECS[codec]
    # Square samples go without saying, but where the frames say otherwise and take it along.
    square = clip.sar == Fraction(1) and clip.coded_sar in (None, Fraction(1))
    sar = None if square or known.sar else clip.sar
    if container in ("mp4", "mov") and codec != "dnxhr":
        sar = None  # their muxer does find it, but for DNxHR
    hdr = None if known.hdr else told.hdr
    if sar is None and hdr is None:
        return None
    title = kept_tags(dict(clip.video_metadata)).get("title", "")
    return Header(container, title, sar, hdr)


def _file_metadata(clip: Clip, losses: Sequence[Loss]) -> Options:
    kept = kept_tags(dict(clip.metadata))
    return tuple(_timed(kept, losses, clip).items())


def _film_metadata(
    clip: Clip, container: str, carried: Carried, header: Header | None, losses: Sequence[Loss]
) -> Options:
    kept = stream_tags(container, dict(clip.video_metadata))
    if carried.timecode and "timecode" not in {
        key.lower() for key in (*kept, *dict(clip.metadata))
    }:
        # That of a track of its own, which is not copied: muxers make a new one of this.
        kept["timecode"] = carried.timecode
    if carried.reel and REEL not in {key.lower() for key in (*kept, *dict(clip.metadata))}:
        kept[REEL] = carried.reel
    if alpha_beside(clip):
        # What is written is opaque; told otherwise, players would look for the alpha.
        kept = {key: value for key, value in kept.items() if key.lower() != ALPHA_TAG}
    if header is not None:
        kept["title"] = header.placeholder
    return tuple(_timed(kept, losses, clip).items())


def _timed(tags: dict[str, str], losses: Sequence[Loss], clip: Clip) -> dict[str, str]:
    """With the timecode of the first frame, but without one at which the muxer would break off."""
    lost = any(loss.name == "timecode" for loss in losses)
    skipped = clip.video_start - clip.zero
    return {
        key: later_timecode(value, skipped, clip.rate) if key.lower() == "timecode" else value
        for key, value in tags.items()
        if not (lost and key.lower() == "timecode")
    }


def _container(output: Path | None) -> str:
    if output is None:
        return "yuv4mpegpipe"
    ending = output.suffix.lower()
    if ending in PICTURE_CODECS:
        check_pattern(output)
        if is_sequence(output):
            return SEQUENCE
        raise UsageError(
            f"{output} is one picture, and a film has many; write them as"
            f" {output.with_name(f'{output.stem}_%06d{output.suffix}')}"
        )
    if ending == ".exr":
        raise CannotCarry(
            f"{output}: OpenEXR holds light as floating-point numbers, and what comes out here are"
            " whole numbers of 8 to 16 bits of a log or display curve; write .dpx, .tif or .png"
        )
    if ending not in CONTAINERS:
        raise UsageError(
            f"{output} ends in no container that can be written; use .mkv, .mp4, .mov or .webm, or"
            f" numbered pictures, such as {WRITTEN_AS}"
        )
    return CONTAINERS[ending]


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
        raise VidrepairError(no_folder(folder))
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
    check_unsaid(settings, "y4m")
    for key, value in settings.encoder_options:
        raise UsageError(f"-x {key}={value} has no meaning for y4m; leave it out")
    if (form.family, form.alpha) not in (("yuv", False), ("gray", False)) or form.name in NOT_Y4M:
        raise CannotCarry(f"y4m cannot hold {form.name}; write an .mkv file instead")


def _codec(clip: Clip, container: str, settings: OutputSettings, told: Told) -> str:
    """The codec asked for, or the one that the source suggests; checked to work."""
    if settings.codec is not None:
        name = codec_named(settings.codec)
        reason = _obstacle(name, clip, told)
        if reason:
            raise CannotCarry(
                f"{name} cannot hold {described(clip)} ({reason});"
                " use --codec ffv1 with an .mkv output"
            )
    else:
        name = _suggested(clip, container, told)
        if container not in CODECS[name].containers or (container, name) == ("mp4", "ffv1"):
            others = (
                codec for codec in ("h264", "hevc", "av1") if not _obstacle(codec, clip, told)
            )
            other = next((codec for codec in others if container in CODECS[codec].containers), None)
            remedy = f", or lose a little with --codec {other}" if other else ""
            raise CannotCarry(
                f"the default for {described(clip)} is FFV1, which hardly plays in {container};"
                f" write an .mkv file{remedy}"
            )
        if name == "ffv1" and (reason := _obstacle(name, clip, told)):
            raise CannotCarry(
                f"no codec here holds {described(clip)} ({reason}); convert the source first"
            )
    containers = CODECS[name].containers
    if container not in containers:
        suffix = SUFFIXES[containers[0]]
        article = "an" if suffix == ".mkv" else "a"
        raise CannotCarry(f"{name} does not go into {container}; write {article} {suffix} file")
    return name


def _suggested(clip: Clip, container: str, told: Told) -> str:
    """Lossless stays lossless; a family stays if it holds the samples; else FFV1."""
    if clip.lossless:
        return "ffv1"
    kept = {"h264": "h264", "hevc": "hevc"}.get(clip.codec)
    name = kept or ("h264" if clip.picture.format.bits == 8 else "hevc")
    if told.fields:
        name = "h264"  # the only one of the three that codes fields
    if container == "webm":
        name = "av1"
    return "ffv1" if _obstacle(name, clip, told) else name


def _obstacle(codec: str, clip: Clip, told: Told) -> str | None:
    """Why a codec does not hold the film: its decoders would take the picture for another, or its
    encoder does not take it.
    """
    form = clip.picture.format
    same = form.family == "yuv" and form.sampling == (1, 1)
    if clip.color_matrix == RGB and same and codec in ("h264", "hevc"):
        return f"the film says that its matrix is R'G'B', and {codec} of that is read as R'G'B'"
    return obstacle(codec, clip.picture, told)


def _muxing(clip: Clip, container: str, tags: FileTags) -> Options:
    """The muxer's options."""
    if container in ("matroska", "webm"):
        # Without random identifiers: a second run gives equal bytes.
        return (("fflags", "+bitexact"),)
    flags = "+faststart+write_colr" + ("+use_metadata_tags" if tags.all else "")
    return (("movflags", flags), ("movie_timescale", str(_movie_timescale(clip.time_base))))


def _movie_timescale(unit: Fraction) -> int:
    """Ticks a second in which MP4 and MOV say where each stream starts.

    FFmpeg's 1000 would round most starts, and downwards. A multiple of the film's own ticks, and
    more than twice those of sound, whose start is then rounded back to where it was.
    """
    ticks = math.lcm(1000, unit.denominator)
    ticks *= -(-MOST_SOUND // ticks)
    return ticks if ticks < 2**31 else MOST_SOUND
