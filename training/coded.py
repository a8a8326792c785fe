"""The second protocol: noise that was coded, removed blind, against the clean original.

Noise as in training/evaluate.py, then H.264 or MPEG-2 in 4:2:0, as real footage comes. A tool is
given the coded file and nothing else; what it answers is compared in R'G'B' with the clean clip.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from training.data import each_clip, read_clip
from training.evaluate import add_known_noise, clean_clip, psnr, run_command
from training.references import nlmeans_command


@dataclass(frozen=True, slots=True)
class Coding:
    """A codec and its quality."""

    name: str
    codec: str
    options: tuple[tuple[str, str], ...]
    nlmeans: float
    """Strength at which nlmeans is best for the mean of three of the validation clips."""


_MPEG2 = (("qmin", "4"), ("qmax", "4"), ("g", "12"), ("bf", "2"))
SIGMA = 10.0
CODINGS = (
    Coding("H.264 crf 23", "libx264", (("crf", "23"),), nlmeans=2.5),
    Coding("H.264 crf 28", "libx264", (("crf", "28"),), nlmeans=1.0),
    Coding("MPEG-2 q 4", "mpeg2video", _MPEG2, nlmeans=3.0),
)


@dataclass(frozen=True, slots=True)
class CodedScore:
    """Mean PSNR of one clip in one coding, dB."""

    clip: str
    coding: str
    before: float
    after: float
    reference: float | None
    """By nlmeans at its best; None where the machine has no ffmpeg, or it was not asked for."""


def evaluate_coded(folder: Path, command: str, *, reference: bool = False) -> list[CodedScore]:
    """Score a command line with {in} and {out} on every clip of the folder in every coding."""
    scores = []
    for path in each_clip(folder):
        clean = clean_clip(path)
        noisy = add_known_noise(clean, path.stem, SIGMA)
        for coding in CODINGS:
            with tempfile.TemporaryDirectory() as temporary:
                coded = Path(temporary) / "coded.mkv"
                write_coded(coded, noisy, coding)
                before = float(np.mean(psnr(clean, read_clip(coded))))
                after = _restored(clean, coded, command)
                other = (
                    _restored(clean, coded, nlmeans_command(coding.nlmeans)) if reference else None
                )
            scores.append(CodedScore(path.stem, coding.name, before, after, other))
    return scores


def _restored(clean: Tensor, coded: Path, command: str) -> float:
    """Mean PSNR of what a command line makes of a file."""
    out = coded.with_name("restored.mkv")
    run_command(command, {"in": str(coded), "out": str(out)})
    value = float(np.mean(psnr(clean, read_clip(out))))
    out.unlink()
    return value


def write_coded(path: Path, clip: Tensor, coding: Coding) -> None:
    """Write (T, 3, H, W) uint8 R'G'B' as BT.709 limited-range 4:2:0, 25 frames a second."""
    import av
    from av.video.reformatter import ColorRange, Colorspace
    from av.video.stream import VideoStream

    with av.open(str(path), "w") as container:
        stream = container.add_stream(coding.codec, rate=25, options=dict(coding.options))
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = clip.shape[-2:]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
        for picture in clip.permute(0, 2, 3, 1).contiguous().numpy():
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def table(scores: list[CodedScore]) -> str:
    """A Markdown table: before, after and gain in each coding; a row per clip and their mean."""
    clips = sorted({score.clip for score in scores})
    names = [coding.name for coding in CODINGS]
    rows = [f"| clip | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for title, of in [*((clip, [clip]) for clip in clips), ("**all**", clips)]:
        cells = [
            _cell([score for score in scores if score.coding == name and score.clip in of])
            for name in names
        ]
        rows.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(scores: list[CodedScore]) -> str:
    before, after = (
        float(np.mean([getattr(score, part) for score in scores])) for part in ("before", "after")
    )
    cell = f"{before:.2f} -> {after:.2f} ({after - before:+.2f})"
    others = [score.reference for score in scores if score.reference is not None]
    return f"{cell}, nlmeans {np.mean(others) - before:+.2f}" if others else cell
