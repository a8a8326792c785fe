"""The options that every command that repairs has."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from vidrepair.cli.types import FILE, FRAMES, PAIR, REPAIR, is_given
from vidrepair.errors import UsageError
from vidrepair.settings import (
    CHANNELS,
    INTERLACE,
    DamageSettings,
    MaskSettings,
    Pair,
    RepairSettings,
)

_PLAIN = ("noise", "noise_profile", "grain", "deflicker", "interlace", "max_change")
"""Options that are settings of the same name."""
_DENOISE = click.option(
    "--denoise",
    type=PAIR,
    default="100",
    metavar="P[,P]",
    show_default=True,
    help="Share of the noise removed, luma and chroma or one number for both, 0 to 100.",
)
_ANYWHERE = (
    click.option(
        "--noise",
        type=PAIR,
        default="auto",
        metavar="auto|S[,S]",
        show_default=True,
        help="Standard deviation of the noise before clipping, on the 8-bit scale: luma and"
        " chroma, or one number for both; auto measures it.",
    ),
    click.option(
        "--noise-profile",
        type=FILE,
        metavar="FILE",
        help="What vidrepair grain wrote, instead: noise by brightness, and how coarse it is.",
    ),
    click.option(
        "--repair",
        type=REPAIR,
        default="all",
        metavar="all|none|KIND,...",
        show_default=True,
        help="Which damage is repaired: dust (hair too), scratch (also those that last), dropout."
        " With none, broken frames stay, too.",
    ),
    click.option(
        "--min-confidence",
        type=float,
        default=0.75,
        show_default=True,
        help="Damage that is less sure stays; nothing is less sure than 0.57 or surer than 1.",
    ),
    click.option(
        "--grain",
        type=float,
        default=0,
        show_default=True,
        help="Share of the grain put back, 0-100.",
    ),
    click.option(
        "--deflicker",
        type=float,
        default=0,
        show_default=True,
        help="Share of the flicker of old film and of lamps that is taken away, 0-100.",
    ),
    click.option(
        "--interlace",
        type=click.Choice(INTERLACE),
        default="auto",
        show_default=True,
        help="Interlaced film: repair its fields apart and keep it interlaced, make it progressive"
        " (bwdif; bwdif-fields makes a frame of each field), or take its frames for whole; auto"
        " looks, and takes fields.",
    ),
    click.option(
        "--max-change",
        type=float,
        metavar="N",
        help="Change no sample by more than this, on the 8-bit scale; flicker and frames that are"
        " made anew do not count.",
    ),
)


_FRAME_BY_FRAME = (
    click.option(
        "--bad-frames",
        type=FRAMES,
        default=(),
        metavar="LIST",
        help="Frames, counted from 0 at the first that is read, that are made anew of their"
        " neighbours: such as 17,40-44.",
    ),
    click.option(
        "--fill-gaps",
        is_flag=True,
        help="Make up to three frames where the times of the film lack them.",
    ),
    click.option(
        "--mask-in",
        type=FILE,
        metavar="FILE",
        help="Repair what is white in it, too: a video, a still, or numbered pictures (a folder,"
        " or such as m_%06d.png).",
    ),
    click.option(
        "--protect-mask", type=FILE, metavar="FILE", help="Never repair what is white in it."
    ),
    click.option(
        "--mask-threshold",
        type=float,
        default=0.5,
        show_default=True,
        help="How bright is white, in both masks, 0 to 1.",
    ),
    click.option("--mask-grow", type=int, default=0, help="Samples that --mask-in is widened by."),
    click.option(
        "--mask-invert", is_flag=True, help="What is black in --mask-in counts: infrared scans."
    ),
    click.option(
        "--mask-channel",
        type=click.Choice(CHANNELS),
        default="luma",
        show_default=True,
        help="Of --mask-in.",
    ),
)
"""What counts the frames of the film."""


def repair_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a repair, handed to it as one `repair`."""

    @functools.wraps(command)
    def wrapped(repair: RepairSettings, denoise: Pair, **given: Any) -> Any:
        masking = {
            name: given.pop(f"mask_{name}") for name in ("threshold", "grow", "invert", "channel")
        }
        mask_in, protect = given.pop("mask_in"), given.pop("protect_mask")
        if mask_in is None and (masking["grow"] or masking["invert"]):
            raise UsageError("--mask-grow and --mask-invert act on --mask-in; name one")
        if mask_in is None and is_given("mask_channel"):
            raise UsageError("--mask-channel acts on --mask-in; name one")
        if mask_in is None and protect is None and is_given("mask_threshold"):
            raise UsageError("--mask-threshold acts on --mask-in or --protect-mask; name one")
        settings = replace(
            repair,
            denoise=denoise,
            mask_in=None if mask_in is None else MaskSettings(mask_in, **masking),
            protect=None
            if protect is None
            else MaskSettings(protect, threshold=masking["threshold"]),
            bad_frames=given.pop("bad_frames"),
            fill_gaps=given.pop("fill_gaps"),
        )
        return command(repair=settings, **given)

    for option in reversed(_FRAME_BY_FRAME):
        wrapped = option(wrapped)
    return _DENOISE(repair_options_anywhere(wrapped))


def repair_options_anywhere(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command those options of a repair, but for --denoise, that are good for any part of a
    film, handed to it as one `repair`.
    """

    @functools.wraps(command)
    def wrapped(repair: tuple[str, ...], min_confidence: float, **given: Any) -> Any:
        settings = RepairSettings(
            damage=DamageSettings(repair, min_confidence),
            **{name: given.pop(name) for name in _PLAIN},
        )
        return command(repair=settings, **given)

    for option in reversed(_ANYWHERE):
        wrapped = option(wrapped)
    return wrapped
