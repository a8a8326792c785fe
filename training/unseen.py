"""A protocol without a reference: how well restored frames foretell one that was never seen.

A restored frame knows of the film up to the next frame, and nothing of the one after that. Moved
there along confident motion, it is compared with that frame as it is: grain of one frame tells
nothing of another's, so that the squared difference is the error of the restoration, and what all
of them pay alike (Lehtinen et al. 2018, Noise2Noise, section 2). A blur pays for the detail that it
took, and grain that was left pays, too. The power that both share is that of the picture alone: the
texture that was kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.evaluate import run_span
from training.grain_film import read_frames
from training.octaves import OCTAVES, by_octave, spectra, windows_of
from training.ticker import Tell, silent
from vidrepair.engines.generator import Generator
from vidrepair.frames import FloatArray, Frame
from vidrepair.noise import combine, measure_span
from vidrepair.planes import padded_size, to_generator
from vidrepair.regions import Mask

AHEAD = 2
"""Frames to the first one that a restored frame does not know of."""
FRAMES = 48
"""Of a film that are looked at."""
FEWEST = 6
BACK = 0.5
"""Samples by which motion there and back may miss where it is believed."""
ALIKE = 6.0
"""Code values by which smoothed luma may differ where both frames show the same."""
NOISY = "the film as it is"

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Foretold:
    """What restored frames tell of those that they never saw."""

    name: str
    errors: Array
    """(n,) mean squared differences of luma, for each frame, in squared code values."""
    shared: Array
    """(3,) power shared with the unseen frames, by octave of OCTAVES."""
    seen: float
    """Share of the samples that were compared."""


def foretell(path: Path, models: Mapping[str, Generator], tell: Tell = silent) -> list[Foretold]:
    """The film as it is, then each model, on one film; `tell` hears of what is done meanwhile.

    Raises ValueError where it has fewer than FEWEST frames, or nothing in it holds still enough.
    """
    frames = read_frames(path, FRAMES)
    if len(frames) < FEWEST:
        raise ValueError(f"{path} has {len(frames)} frames, {FEWEST} are needed; give a longer one")
    noisy = np.stack([_unit(frame) for frame in frames])
    noise = torch.from_numpy(combine(measure_span(frames), None).array())[None]
    lumas = {NOISY: 255.0 * noisy[:, 0]}
    for name, model in models.items():
        tell(f"restoring {len(frames)} frames by {name}")
        # No mirrored warm-up: it would begin with frames that are to be foretold.
        answers = run_span(model, torch.from_numpy(noisy), noise, mirrored=False, bf16=False)
        lumas[name] = lumas[NOISY] + 255.0 * answers.residual[:, 0].numpy()
    # Where it moves to is asked of all restorations together, so that none is in favour.
    common = np.mean([luma for name, luma in lumas.items() if name != NOISY], axis=0)
    tell("following the motion")
    return list(compared(lumas, common, str(path)))


def compared(lumas: Mapping[str, FloatArray], common: FloatArray, film: str) -> Iterator[Foretold]:
    """Each of some restorations (T, H, W), in code values of 8 bits, against the one called NOISY.

    `common` is what the motion is taken from. Raises ValueError where nothing can be followed.
    """
    pairs = [_Pair(common[t], common[t + AHEAD]) for t in range(1, len(common) - AHEAD)]
    kept = [(t, pair) for t, pair in enumerate(pairs, 1) if pair.good.any()]
    if not kept:
        raise ValueError(f"{film} shows nothing that can be followed; give a calmer film")
    seen = float(np.mean([pair.good.mean() for pair in pairs]))
    for name, luma in lumas.items():
        errors, shared = [], np.zeros(len(OCTAVES) - 1)
        for t, pair in kept:
            moved, unseen = pair.move(luma[t]), lumas[NOISY][t + AHEAD]
            errors.append(float(np.square(moved - unseen)[pair.good].mean()))
            shared += _shared_power(moved, unseen, pair.good)
        yield Foretold(name, np.array(errors), shared, seen)


class _Pair:
    """Where the samples of one frame are in a later one, as far as that can be believed."""

    def __init__(self, before: FloatArray, after: FloatArray) -> None:
        import cv2

        pictures = [np.clip(each.round(), 0, 255).astype(np.uint8) for each in (before, after)]
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        flow = np.zeros((*before.shape, 2), np.float32)
        back, there = (
            np.asarray(search.calc(one, other, flow.copy()))
            for one, other in (pictures[::-1], pictures)
        )
        rows, columns = np.indices(before.shape, dtype=np.float32)
        self._places = columns + back[..., 0], rows + back[..., 1]
        missed = back + cv2.remap(there, *self._places, cv2.INTER_LINEAR)
        smooth = [cv2.GaussianBlur(each, (0, 0), 2.0) for each in (self.move(before), after)]
        x, y = self._places
        inside = (x >= 0) & (y >= 0) & (x <= before.shape[1] - 1) & (y <= before.shape[0] - 1)
        alike = np.abs(smooth[0] - smooth[1]) < ALIKE
        self.good: Mask = inside & alike & (np.hypot(missed[..., 0], missed[..., 1]) < BACK)

    def move(self, picture: FloatArray) -> FloatArray:
        """A picture of the earlier frame, as the later one shows it."""
        import cv2

        return np.asarray(cv2.remap(picture.astype(np.float32), *self._places, cv2.INTER_CUBIC))


def _shared_power(one: FloatArray, other: FloatArray, good: Mask) -> Array:
    """(3,) power that two pictures share, by octave, summed over windows that are good."""
    windows = [windows_of(each) for each in (one, other, good)]
    whole = windows[2].all(axis=(1, 2))
    if not whole.any():
        return np.zeros(len(OCTAVES) - 1)
    cross = spectra(windows[0][whole]) * spectra(windows[1][whole]).conj()
    return np.asarray(by_octave(cross.real, OCTAVES).sum(axis=0))


def _unit(frame: Frame) -> FloatArray:
    """(3, H, W) in the generator's unit."""
    out = np.empty((3, *padded_size(frame.picture)), np.float32)
    to_generator(frame.planes, frame.picture, out)
    return out[:, : frame.picture.height, : frame.picture.width]


def table(found: Sequence[Foretold]) -> str:
    """Markdown: a row for each; what is gained counts against the first model, frame by frame."""
    bands = " | ".join(f"texture, {low:g} to {high:g}" for low, high in pairwise(OCTAVES))
    rows = [
        f"| | error of prediction | gained, squared codes | {bands} |",
        "|---|---|---|" + "---|" * (len(OCTAVES) - 1),
    ]
    film, first = found[0], found[1]
    for one in found:
        gain = first.errors - one.errors
        spread = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else float("nan")
        kept = " | ".join(f"{share:.3f}" for share in one.shared / film.shared)
        rows.append(
            f"| {one.name} | {np.sqrt(one.errors.mean()):.3f} |"
            f" {gain.mean():+.3f} ± {spread:.3f} | {kept} |"
        )
    return "\n".join(rows)
