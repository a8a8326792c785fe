"""The seventh protocol: what looks like damage for a frame or two, and belongs to the picture.

Small things that move, rain, sparks, glints and flashes are put into the clean clips, a kind at a
time, and a tool that removes damage alone is run on them. A thing survives in a frame where the
matte covers less than a tenth of the samples that it changed visibly. A tool that writes no matte
is judged by what it changed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data import each_clip
from training.defects import regions
from training.degrade.damage import VISIBLE
from training.degrade.distractors import Distractor, play
from training.evaluate import add_known_noise, clean_clip
from training.repairs import command_run
from vidrepair.regions import Box, Mask, Points

SEED = 1
COVERED = 0.1
"""Share of a thing's samples from which on a matte has taken it away."""
MOVERS = 24
"""Small things in a clip of FRAMES frames and 384x256 samples, at most."""
RADIUS = (3.0, 12.0)
"""Samples."""
SPEED = (5.0, 40.0)
"""Samples a frame."""
EDGE = (1.0, 3.0)
"""Samples over which a thing fades into the picture."""
APART = 64.0
"""Samples between the centres of two things in the same frame, at least."""
SHOWN = 0.5
"""Share of a small thing that has to be visible, or it is not counted: gray on gray."""
FEWEST = 4
"""Visible samples below which a thing is not in a frame: the edge of one that leaves."""
EVERY = 4
"""Frames from one flash to the next, so that each has quiet ones on both sides."""
BEAT = 1.3
"""Radians of a bird's wings in a frame: five frames to a beat."""
_TRIES = 2000

Floats = NDArray[np.float64]
Track = list[tuple[int, Points]]
"""Of one thing: the frame, and the rows and columns (2, N) of its visible samples there."""


@dataclass(frozen=True, slots=True)
class Mover:
    """A ball, or a bird whose wings beat, on a straight way."""

    first: int
    frames: int
    y: float
    """Centre in its first frame, in samples."""
    x: float
    down: float
    """Speed in samples a frame."""
    across: float
    radius: float
    """In samples; of a bird, half its span."""
    edge: float
    paint: float
    """0..1, gray."""
    bird: bool
    beat: float
    """Phase of the wings in the first frame."""

    def centre(self, t: int) -> tuple[float, float]:
        """Row and column in frame t."""
        age = t - self.first
        return self.y + self.down * age, self.x + self.across * age

    def box(self, t: int, size: tuple[int, int]) -> Box | None:
        """What holds it in frame t of (height, width); None where it is not in the picture."""
        if not self.first <= t < self.first + self.frames:
            return None
        (y, x), reach = self.centre(t), int(np.ceil(1.2 * self.radius + self.edge)) + 1
        box = Box(
            max(int(y) - reach, 0),
            max(int(x) - reach, 0),
            min(int(y) + reach + 2, size[0]),
            min(int(x) + reach + 2, size[1]),
        )
        return box if box.height > 0 and box.width > 0 else None


@dataclass(frozen=True, slots=True)
class Survived:
    """Counts of one kind on one clip."""

    things: int
    whole: int
    """Things that survive in all of their frames."""
    frames: int
    """In which things are, summed over things, and of them:"""
    kept: int
    """those that they survive in."""
    touched: float
    """Share of all samples in the matte."""
    largest: int
    """Samples of the largest region of the matte."""


def measure_innocents(folder: Path, command: str, noise: float) -> dict[str, list[Survived]]:
    """Run a command line with {in}, {out} and {matte} on every clip, once for each of KINDS.

    `noise` is the deviation of white noise that is put on top, 8-bit scale.
    """
    run = command_run(command)
    found: dict[str, list[Survived]] = {kind: [] for kind in KINDS}
    for path in each_clip(folder):
        clean = clean_clip(path).float() / 255.0
        for kind in KINDS:
            shown, tracks = put_in(kind, path.stem, clean)
            noisy = add_known_noise(shown, path.stem, noise) if noise else shown
            _, matte = run(noisy)
            found[kind].append(survivors(tracks, matte))
    return found


def put_in(kind: str, name: str, clean: Tensor) -> tuple[Tensor, list[Track]]:
    """One of KINDS in R'G'B' (T, 3, H, W) 0..1: uint8, and where the things are.

    The clip's name is the seed.
    """
    rng = np.random.default_rng((SEED, zlib.crc32(name.encode()), list(KINDS).index(kind)))
    shown, tracks = KINDS[kind](clean, rng)
    return (shown * 255.0).round().byte(), tracks


def survivors(tracks: list[Track], matte: Mask) -> Survived:
    """Count what a matte (T, H, W) leaves alone."""
    kept = [
        [float(matte[t, rows, columns].mean()) < COVERED for t, (rows, columns) in track]
        for track in tracks
    ]
    return Survived(
        things=len(tracks),
        whole=sum(all(of) for of in kept),
        frames=sum(len(of) for of in kept),
        kept=sum(sum(of) for of in kept),
        touched=float(matte.mean()),
        largest=max((places.shape[1] for _, places in regions(matte)), default=0),
    )


def _nothing(clean: Tensor, _rng: np.random.Generator) -> tuple[Tensor, list[Track]]:
    return clean, []


def _short(life: int) -> Callable[[Tensor, np.random.Generator], tuple[Tensor, list[Track]]]:
    """Things that are seen for so many frames, and never beside an end of the clip."""

    def put(clean: Tensor, rng: np.random.Generator) -> tuple[Tensor, list[Track]]:
        movers = draw_movers(rng, len(clean), _size(clean), life)
        shown = paint(clean, movers)
        tracks = [_track(mover, clean, shown) for mover in movers]
        return shown, [track for track in tracks if len(track) == life]

    return put


def _crossing(clean: Tensor, rng: np.random.Generator) -> tuple[Tensor, list[Track]]:
    """Things that are seen from where they come into the picture to where they leave it."""
    movers = draw_movers(rng, len(clean), _size(clean), None)
    shown = paint(clean, movers)
    return shown, [track for mover in movers if (track := _track(mover, clean, shown))]


def _played(kind: str) -> Callable[[Tensor, np.random.Generator], tuple[Tensor, list[Track]]]:
    """What training plays into its clips; a thing is a connected region of one frame."""

    def put(clean: Tensor, rng: np.random.Generator) -> tuple[Tensor, list[Track]]:
        strength, seed = float(rng.uniform(0.3, 0.8)), int(rng.integers(2**31))
        shown = play(clean, (Distractor(kind, strength, seed),))
        return shown, [[region] for region in regions(_visible(clean, shown))]

    return put


def _flashes(clean: Tensor, rng: np.random.Generator) -> tuple[Tensor, list[Track]]:
    """Single frames that are far brighter, all of them; the thing is what it lights visibly."""
    shown = clean.clone()
    for t in range(2, len(clean) - 2, EVERY):
        shown[t] *= rng.uniform(1.2, 2.0)
    shown = shown.clamp(0.0, 1.0)
    lit = [(t, np.stack(plane.nonzero())) for t, plane in enumerate(_visible(clean, shown))]
    return shown, [[(t, places)] for t, places in lit if places.shape[1] >= FEWEST]


KINDS: dict[str, Callable[[Tensor, np.random.Generator], tuple[Tensor, list[Track]]]] = {
    "nothing": _nothing,
    "three frames": _short(3),
    "two frames": _short(2),
    "crossing": _crossing,
    "rain": _played("rain"),
    "sparks": _played("sparks"),
    "glints": _played("glints"),
    "flash": _flashes,
}
"""What is put in: balls and birds that are seen for three frames, for two, and for as long as they
cross the picture; streaks of rain, sparks, glints; frames that flash."""


def draw_movers(
    rng: np.random.Generator, frames: int, size: tuple[int, int], life: int | None
) -> list[Mover]:
    """Things for a clip of (height, width), none near another in the same frame.

    Those of a short life stay in the picture all through it. None is for life: one is drawn
    somewhere in the picture at some time, and is wherever its way leads before and after.
    """
    movers: list[Mover] = []
    for _ in range(_TRIES):
        mover = _draw_mover(rng, frames, size, life)
        times = range(mover.first, mover.first + mover.frames)
        whole = all(
            mover.radius < place < length - mover.radius
            for t in times
            for place, length in zip(mover.centre(t), size, strict=True)
        )
        if (life is None or whole) and all(_far(mover, other) for other in movers):
            movers.append(mover)
        if len(movers) == MOVERS:
            break
    return movers


def _draw_mover(
    rng: np.random.Generator, frames: int, size: tuple[int, int], life: int | None
) -> Mover:
    speed, angle = rng.uniform(*SPEED), rng.uniform(0.0, 2.0 * np.pi)
    down, across = speed * np.sin(angle), speed * np.cos(angle)
    y, x = rng.uniform(0.0, size[0]), rng.uniform(0.0, size[1])
    # An end of the clip is no place to be judged at: there, a tool has frames of one side alone.
    first = int(rng.integers(1, max(frames - 1 - life, 2))) if life else 0
    met = 0 if life else int(rng.integers(frames))
    return Mover(
        first=first,
        frames=life or frames,
        y=y - down * met,
        x=x - across * met,
        down=down,
        across=across,
        radius=rng.uniform(*RADIUS),
        edge=rng.uniform(*EDGE),
        paint=rng.uniform(0.03, 0.2) if rng.random() < 0.5 else rng.uniform(0.8, 0.97),
        bird=bool(rng.random() < 0.5),
        beat=rng.uniform(0.0, 2.0 * np.pi),
    )


def _far(one: Mover, other: Mover) -> bool:
    """Whether two things keep their distance wherever both are, and a frame before and after: one
    that follows at another's place would be its twin.
    """
    first = max(one.first, other.first) - 1
    last = min(one.first + one.frames, other.first + other.frames)
    return all(
        float(np.hypot(*np.subtract(one.centre(t), other.centre(t)))) >= APART
        for t in range(first, last + 1)
    )


def paint(clean: Tensor, movers: list[Mover]) -> Tensor:
    """R'G'B' (T, 3, H, W) 0..1 with all of them in it."""
    shown = clean.clone()
    for mover in movers:
        for t in range(len(clean)):
            if box := mover.box(t, _size(clean)):
                part = shown[t, :, *box.window()]
                alpha = torch.from_numpy(opacity(mover, t, box)).to(clean)
                part.lerp_(torch.full_like(part, mover.paint), alpha.expand_as(part))
    return shown


def opacity(mover: Mover, t: int, box: Box) -> Floats:
    """(h, w) 0..1 of a thing in a window of frame t."""
    down, across = mover.centre(t)
    rows, columns = box.window()
    y, x = np.mgrid[rows, columns]
    if mover.bird:
        off = _off_bird(mover, t, y - down, x - across)
    else:
        off = np.hypot(y - down, x - across) - mover.radius
    return np.asarray(np.clip(0.5 - off / mover.edge, 0.0, 1.0))


def _off_bird(mover: Mover, t: int, y: Floats, x: Floats) -> Floats:
    """Distance of places, from its centre, to a body along its way and two wings that beat."""
    heading = np.array([mover.down, mover.across]) / np.hypot(mover.down, mover.across)
    lift = np.sin(mover.beat + BEAT * (t - mover.first))
    beam = np.array([heading[1], -heading[0]]) * np.sqrt(1.0 - 0.5 * lift**2)
    rise = np.array([-0.7 * lift, 0.0])
    tips = [side * beam + rise for side in (-1.0, 1.0)]
    tips = [mover.radius * tip / max(float(np.hypot(*tip)), 1.0) for tip in tips]
    body = _to_line(y, x, -0.5 * mover.radius * heading, 0.6 * mover.radius * heading)
    wings = np.minimum(*(_to_line(y, x, np.zeros(2), tip) for tip in tips))
    return np.minimum(body - 0.25 * mover.radius, wings - 0.18 * mover.radius - 0.4)


def _to_line(y: Floats, x: Floats, start: Floats, end: Floats) -> Floats:
    """Distance of places to the line between two points."""
    way = end - start
    share = ((y - start[0]) * way[0] + (x - start[1]) * way[1]) / (way @ way)
    share = np.clip(share, 0.0, 1.0)
    return np.asarray(np.hypot(y - start[0] - share * way[0], x - start[1] - share * way[1]))


def _track(mover: Mover, clean: Tensor, shown: Tensor) -> Track:
    """Where it is visible; frames that hide most of it are left out."""
    track = []
    for t in range(len(clean)):
        box = mover.box(t, _size(clean))
        if box is None:
            continue
        alpha = opacity(mover, t, box)
        window = (slice(t, t + 1), slice(None), *box.window())
        seen = _visible(clean[window], shown[window])[0] & (alpha > 0.0)
        solid = alpha > 0.5
        if seen.sum() >= FEWEST and seen[solid].sum() >= SHOWN * solid.sum():
            places = np.stack(seen.nonzero()) + np.array([[box.top], [box.left]])
            track.append((t, places))
    return track


def _visible(clean: Tensor, shown: Tensor) -> Mask:
    """(T, H, W) where anything can be seen of what was put in."""
    return np.asarray(((shown - clean).abs().amax(dim=1) > VISIBLE).numpy())


def _size(clip: Tensor) -> tuple[int, int]:
    return (clip.shape[-2], clip.shape[-1])


def table(found: dict[str, list[Survived]]) -> str:
    """Markdown: a row for each kind."""
    rows = [
        "| put in | things | survive in all their frames | frames | survive | touched | largest |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, of in found.items():
        things, whole, frames, kept = (
            sum(getattr(one, part) for one in of) for part in ("things", "whole", "frames", "kept")
        )
        shares = [
            f"{part / of_all:.2%}" if of_all else ""
            for part, of_all in ((whole, things), (kept, frames))
        ]
        touched = np.mean([one.touched for one in of])
        rows.append(
            f"| {kind} | {things or ''} | {shares[0]} | {frames or ''} | {shares[1]} | "
            f"{touched:.4%} | {max(one.largest for one in of)} |"
        )
    return "\n".join(rows)
