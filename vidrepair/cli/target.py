"""The options of what is read of a film, and of what is written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from vidrepair.cli.types import NAMES, PAIRS, RATE, TIME, complete_words
from vidrepair.settings import OVERLAYS, PURPOSES, OutputSettings, SourceSettings

_READING = (
    click.option(
        "--video-stream",
        type=int,
        metavar="N",
        help="The stream that is meant, by its number in probe; by default the first video. A run"
        " copies the others.",
    ),
    click.option(
        "--ss",
        type=TIME,
        metavar="T",
        help="Start there: seconds, or HH:MM:SS.mmm, into the picture.",
    ),
    click.option("--to", type=TIME, metavar="T", help="Stop there, counted as --ss counts."),
    click.option(
        "--rate",
        type=RATE,
        metavar="N",
        help="Frames a second of IN where it is numbered pictures, such as frames/%06d.dpx.",
    ),
)
_WRITING = (
    click.option("-y", "--overwrite", is_flag=True, help="Replace OUT if it exists."),
    click.option(
        "-c",
        "--codec",
        shell_complete=complete_words("h264", "hevc", "av1", "ffv1", "prores", "dnxhr"),
        help="h264, hevc, av1, ffv1, prores or dnxhr. By default H.264 and HEVC stay, lossless film"
        " becomes FFV1, and all other H.264 or HEVC by its depth.",
    ),
    click.option(
        "--for",
        "purpose",
        type=click.Choice(PURPOSES),
        help="Codec and quality by one word: archive (FFV1), web (H.264, HEVC or AV1, smaller) or"
        " edit (ProRes, DNxHR, else key frames alone). What that is for IN is told.",
    ),
    click.option("--crf", type=float, help="Quality of h264, hevc and av1; lower is better."),
    click.option("--preset", help="Speed of h264, hevc and av1, such as veryfast or slow."),
    click.option(
        "-x",
        "--encoder-option",
        "encoder_options",
        type=PAIRS,
        multiple=True,
        metavar="KEY=VALUE",
        help="Hand an option to the encoder, such as tune=grain; as often as you like.",
    ),
    click.option("--pix-fmt", help="Refuse unless the source, and so the result, has this format."),
    click.option(
        "--allow-loss",
        type=NAMES,
        default=(),
        metavar="NAME,...",
        help="Accept the loss of what OUT cannot carry, by the name that the refusal says.",
    ),
    click.option(
        "--exact-time", is_flag=True, help="Refuse a container that would round the frames' times."
    ),
    click.option("--frames", type=int, metavar="N", help="Stop after N frames."),
    click.option(
        "--start-number",
        type=int,
        metavar="N",
        help="Number of the first picture where OUT is numbered pictures; by default that of IN, or"
        " 0.",
    ),
    click.option(
        "--journal/--no-journal",
        default=True,
        help="Write a long film in segments that a broken-off run leaves behind for vidrepair"
        " resume, or in one piece, which needs half the space.",
    ),
    click.option(
        "--segment-frames",
        "segment",
        type=int,
        default=256,
        show_default=True,
        metavar="N",
        help="The length of a segment; it ends at the next place where one may.",
    ),
    click.option("--resume", is_flag=True, hidden=True),
    click.option("--allow-mixed", is_flag=True, hidden=True),
    click.option(
        "--mask-out",
        metavar="FILE",
        help="Write the matte there, gray, above 0 where the picture was repaired: an .mkv (FFV1)"
        " or .mov file (ProRes), a folder, or a pattern such as matte_%06d.png.",
    ),
    click.option(
        "--overlay",
        type=click.Choice(OVERLAYS),
        help="Show on the picture what was repaired (red, luma) or changed at all (diff).",
    ),
)
_WRITTEN = (
    *("overwrite", "purpose", "codec", "crf", "preset", "encoder_options", "pix_fmt", "allow_loss"),
    *("exact_time", "frames", "start_number", "journal", "segment", "resume", "allow_mixed"),
    *("mask_out", "overlay"),
)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of what is read, handed to it as one `reading`."""

    @functools.wraps(command)
    def wrapped(video_stream: int | None, ss: Any, to: Any, rate: Any, **others: Any) -> Any:
        return command(reading=SourceSettings(video_stream, ss, to, rate), **others)

    for option in reversed(_READING):
        wrapped = option(wrapped)
    return wrapped


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of what is written, handed to it as one `target`."""

    @functools.wraps(command)
    def wrapped(**given: Any) -> Any:
        target = OutputSettings(**{name: given.pop(name) for name in _WRITTEN})
        return command(target=target, **given)

    for option in reversed(_WRITING):
        wrapped = option(wrapped)
    return wrapped
