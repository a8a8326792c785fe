"""What a film is written for: one word in place of codec and quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vidrepair.codecs import Options, Told, obstacle
from vidrepair.errors import CannotCarry
from vidrepair.labels import spoken
from vidrepair.settings import OutputSettings, Purpose
from vidrepair.tags import Clip


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to write a film."""

    codec: str
    containers: tuple[str, ...]
    crf: float | None = None
    options: Options = ()

    def words(self) -> str:
        """As they would be said on the command line."""
        quality = "" if self.crf is None else f" --crf {self.crf:g}"
        return f"--codec {self.codec}{quality}{''.join(f' -x {k}={v}' for k, v in self.options)}"


_FILES = ("matroska", "mp4", "mov")
_EACH_FRAME: Options = (("g", "1"),)
"""Every frame a key frame: editing systems seek all the time."""
WAYS: dict[Purpose, Sequence[_Way]] = {
    "archive": (_Way("ffv1", ("matroska",)),),
    "web": (
        _Way("av1", ("webm",), 30.0),
        _Way("h264", _FILES, 20.0),
        _Way("hevc", _FILES, 22.0),
    ),
    "edit": (
        _Way("prores", ("mov", "matroska")),
        _Way("dnxhr", ("mov",)),
        _Way("h264", _FILES, 10.0, _EACH_FRAME),
        _Way("hevc", _FILES, 10.0, _EACH_FRAME),
    ),
}
"""In the order of preference; the first that holds the film as it is."""


def suited(
    clip: Clip, container: str, settings: OutputSettings, told: Told
) -> tuple[OutputSettings, str]:
    """The settings with codec and quality for what the film is meant for, and how to say them.

    `container` is FFmpeg's name of the muxer. A CRF that was asked for stays. Raises CannotCarry
    where nothing of that kind holds the film in that container.
    """
    assert settings.purpose is not None
    ways = WAYS[settings.purpose]
    fitting = [way for way in ways if container in way.containers]
    if not fitting:
        raise CannotCarry(
            f"--for {settings.purpose} does not go into {spoken(container)}; write"
            f" {'a .mov' if ways[0].containers[0] == 'mov' else 'an .mkv'} file"
        )
    for way in fitting:
        if way.codec == "h264" and clip.picture.format.bits > 8:
            continue  # hardly anything plays it
        if obstacle(way.codec, clip.picture, told) is None:
            crf = way.crf if settings.crf is None else settings.crf
            options = (*way.options, *settings.encoder_options)
            chosen = replace(
                settings, purpose=None, codec=way.codec, crf=crf, encoder_options=options
            )
            said = f"--for {settings.purpose} is {replace(way, crf=crf).words()} here"
            return chosen, said + _unplayed(settings.purpose, clip)
    names = ", ".join(way.codec for way in fitting)
    raise CannotCarry(
        f"nothing that --for {settings.purpose} takes ({names}) holds"
        f" {clip.picture.width}x{clip.picture.height} {clip.picture.format.name};"
        f" {'write an .mp4 file' if container == 'webm' else 'use --for archive with an .mkv file'}"
    )


def _unplayed(purpose: Purpose, clip: Clip) -> str:
    """What there is to say of a film that the target holds and players do not show."""
    form = clip.picture.format
    if purpose != "web" or form.sampling == (2, 2):
        return ""
    return f", but hardly a browser plays {form.name}: make it 4:2:0 with ffmpeg -pix_fmt yuv420p"
