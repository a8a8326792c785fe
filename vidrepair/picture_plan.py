"""What numbered pictures will be: their format, what they keep, and where they go."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from vidrepair.carried import Carried
from vidrepair.codecs import CODECS, PICTURES, Told, encoder_options, obstacle, stored_format
from vidrepair.dpx import DpxHeaders
from vidrepair.errors import CannotCarry, UsageError
from vidrepair.losses import accept, excused, lost_by_pictures
from vidrepair.output_plan import OutputPlan
from vidrepair.placement import numbered_place
from vidrepair.sequences import SEQUENCE, ImageSequence
from vidrepair.settings import OutputSettings
from vidrepair.stills import kept_by_picture
from vidrepair.tags import Clip
from vidrepair.timecode import later_timecode


def check_place(clip: Clip, output: Path, *, overwrite: bool) -> None:
    """Refuse pictures that must not or cannot be written."""
    own = Path(clip.name) if clip.container == SEQUENCE else None
    numbered_place(output, str(output), overwrite=overwrite, source=own)


def plan_pictures(
    clip: Clip, codec: str, settings: OutputSettings, carried: Carried, shared: dict[str, Any]
) -> OutputPlan:
    """Decide format and headers of pictures of a codec; `shared` is what all plans have.

    Raises as `outputs.plan_output`.
    """
    check_unsaid(settings, "numbered pictures, whose ending says it")
    if settings.exact_time:
        raise UsageError(
            "--exact-time: numbered pictures hold no times; leave it out, or write an .mp4 file"
        )
    reason = obstacle(codec, clip.picture, Told())
    if clip.picture.format.family == "yuv":  # FFmpeg would write it into TIFF, which few can read
        reason = "no R'G'B' and no gray"
    if reason:
        raise CannotCarry(
            f"{codec} cannot hold {described(clip)} ({reason}); {_picture_remedy(clip)}"
        )
    kept = kept_by_picture(codec, clip)
    losses = list(lost_by_pictures(clip, codec, kept, carried))
    warnings = accept(losses, settings.allow_loss, f"a row of {codec} pictures")
    first = clip.number or 0 if settings.start_number is None else settings.start_number
    # Readers take untagged gray TIFF for gamma 2.2: what nobody said is no loss.
    unsaid = {"colours"} if kept.lost(clip) & {"primaries", "transfer"} else set()
    return OutputPlan(
        codec=CODECS[codec].encoder,
        pix_fmt=stored_format(codec, clip.picture),
        time_base=1 / shared["rate"],
        options=encoder_options(codec, clip.picture, settings, Told()),
        muxing=(("start_number", str(first)),),
        pictures=_headers(clip, carried, shared["rate"]) if codec == "dpx" else None,
        renumbered=True,
        warnings=warnings,
        lost=excused(losses) | unsaid,
        **{**shared, "fields": ""},
    )


def _headers(clip: Clip, carried: Carried, rate: Fraction) -> DpxHeaders:
    skipped = clip.video_start - clip.zero
    source = None
    if clip.codec == "dpx" and clip.number is not None:
        source = ImageSequence(Path(clip.name), rate, clip.number, clip.frame_count or 0)
    timecode = later_timecode(carried.timecode, skipped, clip.rate)
    return DpxHeaders(rate, timecode, source, clip.number or 0)


def _picture_remedy(clip: Clip) -> str:
    """What else holds the samples of a film."""
    if clip.picture.format.family == "yuv":
        return (
            "to make that of Y'CbCr changes samples: do it first, such as with"
            " ffmpeg -i IN -pix_fmt gbrp16le -c:v ffv1 rgb.mkv, or write an .mkv file"
        )
    others = [name for name in PICTURES if obstacle(name, clip.picture, Told()) is None]
    if others:
        return f"write pictures that end in .{others[0]}, or an .mkv file"
    return "write an .mkv file"


def check_unsaid(settings: OutputSettings, target: str) -> None:
    """Refuse what a target that has one codec cannot be told."""
    asked = (("--codec", settings.codec), ("--crf", settings.crf), ("--preset", settings.preset))
    for flag, value in asked:
        if value is not None:
            raise UsageError(f"{flag} {value} has no meaning for {target}; leave it out")


def described(clip: Clip) -> str:
    """A picture in words, such as lossless 64x48 gray."""
    picture = clip.picture
    kind = "lossless " if clip.lossless else ""
    return f"{kind}{picture.width}x{picture.height} {picture.format.name}"
