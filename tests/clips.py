"""Real files with known truth, made by PyAV from numpy pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.uint8] | NDArray[np.uint16]
QUIET = {"libx265": {"x265-params": "log-level=none"}}


@dataclass(frozen=True, slots=True)
class Extras:
    """What a clip carries beside its picture."""

    audio: int = 0
    """Audio streams."""
    audio_codec: str = "aac"
    subtitles: int = 0
    """SubRip streams."""
    chapters: int = 0
    attachment: bytes = b""
    cover: bool = False
    metadata: tuple[tuple[str, str], ...] = ()


def picture(pix_fmt: str, width: int, height: int, number: int) -> av.VideoFrame:
    """A frame whose planes are gradients that move by three samples a frame, and fine noise.

    Fit for every planar format of 8 to 16 bits, full code range.
    """
    frame = av.VideoFrame(width, height, pix_fmt)
    bits = frame.format.components[0].bits
    noise = np.random.default_rng(number)
    for index, plane in enumerate(frame.planes):
        rows, columns = np.mgrid[0 : plane.height, 0 : plane.width]
        wave = np.sin((columns + 3 * number) / 9.0 + index) * np.cos(rows / 7.0)
        samples = (0.5 + 0.35 * wave) * (2**bits - 1)
        samples += noise.uniform(-0.03, 0.03, samples.shape) * 2**bits
        view = np.frombuffer(plane, sample_type(frame)).reshape(plane.height, -1)
        view[:, : plane.width] = np.clip(samples.round(), 0, 2**bits - 1)
    return frame


def sample_type(frame: av.VideoFrame) -> str:
    """numpy's name of the type in which a planar frame stores a sample."""
    if frame.format.components[0].bits == 8:
        return "u1"
    return ">u2" if frame.format.name.endswith("be") else "<u2"


def samples_of(frame: av.VideoFrame) -> list[Samples]:
    """Copies of all planes of a planar frame, alpha too: (H, W) each."""
    return [
        np.frombuffer(plane, sample_type(frame)).reshape(plane.height, -1)[:, : plane.width].copy()
        for plane in frame.planes
    ]


def write_clip(
    path: Path,
    *,
    frames: int | Sequence[av.VideoFrame] = 12,
    size: tuple[int, int] = (64, 48),
    pix_fmt: str = "yuv420p",
    codec: str = "ffv1",
    options: dict[str, str] | None = None,
    rate: Fraction = Fraction(25),
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    extras: Extras | None = None,
    container: str | None = None,
    muxing: dict[str, str] | None = None,
    **video: Any,
) -> list[av.VideoFrame]:
    """Write a clip and return its pictures as they went into the encoder.

    `pts` are in units of `time_base`, by default 1/rate. `video` are attributes of the codec
    context, such as color_range or sample_aspect_ratio; `display_rotation` is in degrees.
    """
    extras = extras or Extras()
    unit = time_base or 1 / rate
    pictures = (
        [picture(pix_fmt, *size, number) for number in range(frames)]
        if isinstance(frames, int)
        else list(frames)
    )
    with av.open(f"file:{path}", "w", format=container, options=muxing or {}) as output:
        stream: Any = output.add_stream(
            codec, rate=rate, options={**QUIET.get(codec, {}), **(options or {})}
        )
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.time_base = unit
        stream.time_base = unit
        if rotation := video.pop("display_rotation", None):
            stream.set_display_rotation(rotation)
        for name, value in video.items():
            setattr(stream.codec_context, name, value)
        output.metadata.update(dict(extras.metadata))
        seconds = float(len(pictures) / rate)
        packets = _add_extras(output, extras, seconds)
        for number, frame in enumerate(pictures):
            frame.pts = pts[number] if pts is not None else number * round(1 / rate / unit)
            frame.time_base = unit
            packets += _stamped(stream, frame)
        packets += _stamped(stream, None)
        output.start_encoding()
        for _, packet in sorted(packets, key=lambda pair: pair[0]):
            output.mux(packet)
    return pictures


def _stamped(stream: Any, frame: Any) -> list[tuple[float, Any]]:
    """The packets that one frame gives, each with its time for interleaving."""
    return [(_seconds(packet), packet) for packet in stream.encode(frame)]


def _seconds(packet: Any) -> float:
    time = packet.dts if packet.dts is not None else packet.pts
    return float((time or 0) * packet.time_base)


def _add_extras(output: Any, extras: Extras, seconds: float) -> list[tuple[float, Any]]:
    """Add all streams but the first; return their packets."""
    packets: list[tuple[float, Any]] = []
    languages = ("eng", "deu", "fra", "ita")
    sounds = []
    for number in range(extras.audio):
        sound = output.add_stream(extras.audio_codec, rate=48000)
        sound.metadata["language"] = languages[number % 4]
        sound.metadata["title"] = f"Track {number}"
        sounds.append(sound)
    texts = []
    for number in range(extras.subtitles):
        text = output.add_mux_stream("subrip")
        text.time_base = Fraction(1, 1000)
        text.metadata["language"] = languages[number % 4]
        texts.append(text)
    if extras.attachment:
        output.add_attachment("note.txt", "text/plain", extras.attachment)
    if extras.cover:
        output.add_attachment("cover.png", "image/png", png())
    if extras.chapters:
        output.set_chapters(_chapters(extras.chapters, seconds))
    for sound in sounds:
        packets += _tone(sound, seconds)
    for text in texts:
        packets += [
            (start, _line(text, start, words)) for start, words in ((0.0, "One"), (0.2, "Two"))
        ]
    return packets


def _tone(stream: Any, seconds: float) -> list[tuple[float, Any]]:
    """A sine of that length, encoded."""
    packets: list[tuple[float, Any]] = []
    total = int(48000 * seconds)
    for start in range(0, total, 1024):
        steps = np.arange(start, start + 1024, dtype=np.float32) * (440 * 2 * np.pi / 48000)
        wave = np.stack([np.sin(steps)] * 2).astype(np.float32) * 0.3
        if stream.format.name.startswith("s16"):
            wave = (wave.T.reshape(1, -1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave, format=stream.format.name, layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        packets += _stamped(stream, frame)
    return packets + _stamped(stream, None)


def _line(stream: Any, start: float, words: str) -> Any:
    """One subtitle of a tenth of a second."""
    packet: Any = av.Packet(words.encode())
    packet.stream = stream
    packet.time_base = Fraction(1, 1000)
    packet.pts = packet.dts = round(1000 * start)
    packet.duration = 100
    packet.is_keyframe = True
    return packet


def _chapters(count: int, seconds: float) -> list[dict[str, Any]]:
    step = round(1000 * seconds / count)
    return [
        {
            "id": number,
            "start": number * step,
            "end": (number + 1) * step,
            "time_base": Fraction(1, 1000),
            "metadata": {"title": f"Kapitel {number} é"},
        }
        for number in range(count)
    ]


def png(pix_fmt: str = "rgb24", size: tuple[int, int] = (16, 16)) -> bytes:
    """A PNG picture."""
    context: Any = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = *size, pix_fmt
    context.time_base = Fraction(1, 25)
    frame = av.VideoFrame(*size, pix_fmt)
    for plane in frame.planes:
        ramp = np.arange(plane.buffer_size) * 7 % 251
        plane.update(ramp.astype(np.uint8).tobytes())
    frame.pts = 0
    return bytes(context.encode(frame)[0])


def read_frames(path: Path) -> list[av.VideoFrame]:
    """All frames of the first video stream that is no cover, straight from PyAV."""
    with av.open(f"file:{path}") as source:
        streams = [s for s in source.streams.video if not s.disposition & 0x400]
        return list(source.decode(streams[0]))


def y4m(frames: Sequence[av.VideoFrame], rate: str = "25:1", tag: str = "420jpeg") -> bytes:
    """A YUV4MPEG2 stream, written by hand."""
    first = frames[0]
    parts = [f"YUV4MPEG2 W{first.width} H{first.height} F{rate} Ip A1:1 C{tag}\n".encode()]
    for frame in frames:
        parts.append(b"FRAME\n")
        parts += [plane.tobytes() for plane in samples_of(frame)]
    return b"".join(parts)


def moving(
    width: int, height: int, count: int, *, seed: int = 0, noise: float = 12.0
) -> list[av.VideoFrame]:
    """A pattern that pans by two pixels a frame, with noise, as yuv420p."""
    rng = np.random.default_rng(seed)
    frames = []
    for t in range(count):
        frame = av.VideoFrame(width, height, "yuv420p")
        for index, plane in enumerate(frame.planes):
            y, x = np.mgrid[: plane.height, : plane.width]
            step = 2 * t if index == 0 else t
            clean = 120 + 60 * np.sin((x + step + 40 * seed) / (6 + seed)) * np.cos(y / (9 - seed))
            clean = clean if index == 0 else 128 + (clean - 120) / 3
            noisy = clean + rng.normal(0, noise, clean.shape)
            view = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
            view[:, : plane.width] = np.clip(noisy.round(), 0, 255)
        frames.append(frame)
    return frames
