"""Really encoded pairs: noisy showings through H.264 and MPEG-2, beside their clean originals.

Made beforehand with PyAV and kept as arrays, so that a machine without PyAV trains on them too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.config import DataConfig
from training.data import load_pool, require_empty, show
from training.degrade.noise import add_noise, draw_noise
from training.degrade.storage import pack_codes
from training.pairs import PAIR_STORAGE
from vidrepair.models.weights import write_beside
from vidrepair.quantiser import EXPORT, quantiser_step

FRAMES = 24
SIDE = 192
_BROKEN = 0.15
"""Share of the streams that lost packets or bytes."""
_SEEN = 16
"""Code values by which a broken stream has to differ from the whole one to count as damage."""

Codes = NDArray[np.uint8]
Planes = tuple[Codes, Codes]
"""Luma (T, H, W) and chroma (T, 2, H/2, W/2)."""


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """What a decoder answered."""

    luma: Codes
    """(T, H, W)"""
    chroma: Codes
    """(T, 2, H/2, W/2)"""
    quantiser_step: float
    """Mean step of the quantiser, as `vidrepair.quantiser` tells it."""
    hole: Codes
    """(T, H, W), 1 where a broken stream differs visibly from the whole one."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One coded frame."""

    data: bytes
    pts: int | None
    dts: int | None


@dataclass(frozen=True, slots=True)
class EncodingRecipe:
    """One encoding, drawn."""

    codec: str
    options: tuple[tuple[str, str], ...]
    broken: bool
    seed: int


def draw_encoding(rng: np.random.Generator) -> EncodingRecipe:
    """H.264 as phones and editors write it in two of three, else MPEG-2 as tape went to disc."""
    if rng.random() < 0.67:
        options = {
            "crf": f"{rng.uniform(17.0, 32.0):.1f}",
            "preset": str(rng.choice(["ultrafast", "veryfast", "medium"])),
            "g": str(rng.choice([12, 48])),
            # Slices: what is lost of a broken picture is a part of it.
            "x264-params": "slices=4:threads=1",
        }
        codec = "libx264"
    else:
        scale = str(int(rng.integers(2, 11)))
        options = {"qmin": scale, "qmax": scale, "g": "12", "bf": str(int(rng.integers(3)))}
        codec = "mpeg2video"
    broken = bool(rng.random() < _BROKEN)
    return EncodingRecipe(codec, tuple(options.items()), broken, int(rng.integers(2**31)))


def encode_pairs(data: DataConfig, out: Path, count: int, seed: int) -> Iterator[Path]:
    """Write OUT/pair-NNNN.npz, `count` of them; yields each path when it is written.

    Each holds `noisy` and `clean` as luma (T, H, W) and chroma (T, 2, H/2, W/2), code values of
    BT.709 in limited range, `hole` (T, H, W), where a broken stream shows garbage, and the
    `quantiser_step`. Raises ValueError when OUT holds something.
    """
    pool = load_pool(replace(data, damage=0.0, pair_share=0.0), torch.device("cpu"))
    require_empty(out)
    out.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        rgb = show(pool, FRAMES, SIDE, rng, photo_share=0.3)
        noisy, clean = (
            _planes(stored) for stored in add_noise(rgb, draw_noise(rng, weak=True), PAIR_STORAGE)
        )
        recipe = draw_encoding(rng)
        coded = run_encoding(noisy, recipe)
        path = out / f"pair-{number:04}.npz"
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            noisy_luma=coded.luma,
            noisy_chroma=coded.chroma,
            clean_luma=clean[0],
            clean_chroma=clean[1],
            hole=coded.hole,
            quantiser_step=np.float32(coded.quantiser_step),
        )
        write_beside(path, buffer.getvalue())
        yield path


def run_encoding(planes: Planes, recipe: EncodingRecipe) -> Coded:
    """Encode and decode luma (T, H, W) and chroma (T, 2, H/2, W/2), 8 bits.

    A frame that a broken stream lost shows the one before.
    """
    packets = list(_encode(planes, recipe))
    whole = _decode(packets, recipe.codec, len(planes[0]))
    if not recipe.broken:
        return whole
    rng = np.random.default_rng(recipe.seed)
    damaged = [_damage(packet, rng) for packet in packets]
    left = [packet for packet in damaged if packet]
    broken = _decode(left, recipe.codec, len(planes[0]), broken=True)
    far = np.abs(broken.luma.astype(np.int16) - whole.luma) > _SEEN
    near = functional.max_pool2d(torch.from_numpy(far).float(), 5, stride=1, padding=2)
    return replace(broken, hole=near.byte().numpy())


def _encode(planes: Planes, recipe: EncodingRecipe) -> Iterator[Packet]:
    import av
    from av.video.codeccontext import VideoCodecContext

    encoder = av.CodecContext.create(recipe.codec, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width = planes[0].shape[1:]
    encoder.pix_fmt = "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.options = dict(recipe.options)
    encoder.thread_count = 1  # how frames are shared out would change the stream
    luma, chroma = planes
    for t in range(len(luma)):
        # As PyAV lays out 4:2:0: the chroma planes as further rows.
        rows = (luma[t], chroma[t].reshape(-1, luma.shape[2]))
        frame = av.VideoFrame.from_ndarray(np.concatenate(rows), format="yuv420p")
        frame.pts, frame.time_base = t, encoder.time_base
        yield from (Packet(bytes(p), p.pts, p.dts) for p in encoder.encode(frame))
    yield from (Packet(bytes(p), p.pts, p.dts) for p in encoder.encode(None))


def _damage(packet: Packet, rng: np.random.Generator) -> Packet | None:
    """The packet, or the packet with wrong bytes behind its headers, or none."""
    fate = rng.random()
    if packet.pts == 0 or fate < 0.75:
        return packet
    if fate < 0.8:
        return None
    data = bytearray(packet.data)
    for at in rng.integers(len(data) // 3, len(data), int(rng.integers(1, 12))):
        data[at] = int(rng.integers(256))
    return replace(packet, data=bytes(data))


def _decode(packets: list[Packet], codec: str, count: int, *, broken: bool = False) -> Coded:
    import av
    from av.video.codeccontext import VideoCodecContext

    decoder = av.CodecContext.create({"libx264": "h264"}.get(codec, codec), "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    decoder.options = EXPORT
    shown: dict[int, Codes] = {}
    steps: list[float] = []
    for packet in [*packets, None]:
        raw = None
        if packet is not None:
            raw = av.Packet(packet.data)
            raw.pts, raw.dts = packet.pts, packet.dts
        # Of a stream that was broken on purpose, what cannot be decoded is not shown.
        with suppress(av.FFmpegError) if broken else nullcontext():
            for frame in decoder.decode(raw):
                if frame.pts is None:
                    continue
                shown[frame.pts] = frame.to_ndarray(format="yuv420p").astype(np.uint8)
                told: Any = frame.side_data.get("VIDEO_ENC_PARAMS")
                if told is not None:
                    steps.append(quantiser_step(bytes(told)))
    assert broken or len(shown) == count, "a whole stream lost a frame"
    pictures = [shown[max(at for at in shown if at <= t)] for t in range(count)]
    stack = np.stack(pictures)
    height = stack.shape[1] * 2 // 3
    luma, chroma = stack[:, :height], stack[:, height:].reshape(count, 2, height // 2, -1)
    return Coded(luma, chroma, float(np.mean(steps or [0.0])), np.zeros_like(luma))


def _planes(stored: Tensor) -> Planes:
    luma, chroma = pack_codes(stored, PAIR_STORAGE)
    return luma.numpy(), chroma.numpy()
