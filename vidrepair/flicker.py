"""Flicker: the light of each frame, measured against its neighbours and steadied over the shot.

The means of small blocks are compared from frame to frame where they lie: a robust curve over the
levels tells how the light of the whole picture changed, a robust ratio in each cell of a coarse
grid how that of the place changed beside it. Dust and moving objects are outliers of both. The
changes add up to tracks over some frames. A track that swings about its running median, which a
fade or a step of exposure does not, is brought to a line through it. Akin to the scale-time
equalisation of J. Delon (Movie and Video Scale-Time Equalization, IEEE Transactions on Image
Processing 15, 2006), with changes of the same content in place of quantiles, which objects that
enter the picture would move.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from vidrepair.frames import FloatArray, Frame, Picture, Plane
from vidrepair.planes import block_means, rgb_to_ycbcr

REACH = 16
"""Distinct frames looked at each way."""
SHOWN = 32
"""Frames looked at each way, repeats counted, so that a long freeze stays within bounds."""
ROWS, COLUMNS = 6, 8
"""Cells of the grid; a side that is too short for them has one."""
SIDE = 12
"""Blocks along the side of a cell, at most."""
SMALLEST = 4
"""Samples along the side of a block, at least."""
TALL = 8
"""Rows read per block at most: more would cost time and no longer quieten the grain."""
KNOTS = 10
LEVELS = np.linspace(0.0, 1.0, KNOTS) ** 1.5
"""Luma above black, in shares of the peak, where a curve is known: closer in the dark."""
DARK = 6.0 / 255.0
"""Level, as a share of the peak, below which the ratio of a block says nothing."""
STIFF = 1e-4
"""Pull of a knot's gain to that of the next, per block of the picture: knots without blocks
follow the others."""
ALIKE = 3.0
"""Deviations beyond which a block shows something else (Tukey's biweight)."""
GRAIN = 0.4 / 255.0
"""Least deviation of a block's mean, as a share of the peak."""
CERTAIN_TONE, CERTAIN_CELL, FLAT = 0.05, 0.13, 0.002
"""Error of the whole picture's change and of a cell's, by the deviation of their blocks, and the
least error of a cell's ratio; measured on clean clips with motion."""
BESIDE, LOCAL = 0.02, 0.1
"""Usual difference of a cell's change from that of the next cell, and from none."""
WALK = 2.0
"""Variance of a track about its running median, by that of the error of one change."""
STILL_TONE, STILL_CELL = 0.25 / 255.0, 0.005
"""Deviation of tracks that is no flicker yet: of the mean level, a share of the peak, and of a
cell's ratio."""
AROUND = 6
"""Frames each way of the running median: flicker of a period up to about 12 frames is seen."""
HALVES = (16, 8, 4, 2)
"""Frames each way through which a line is laid."""
FEWEST = 5
"""Distinct frames within reach below which nothing tells flicker from the course of the light."""
EVENT = (0.4, 0.6)
"""Share of a track's whole swing from which a frame's own is an event, such as a photographer's
flash, rather than flicker, and above which it is left alone."""
LIMIT = 1.6
"""Largest factor by which light is changed, either way, by the curve and by the cells."""
SMALL = 0.2 / 255.0
"""Change, as a share of the peak, that is not worth a new picture."""
STRIP = 64
"""Rows mapped at a time: they stay in the processor's cache."""

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """By how much one frame is brighter than the steady light of its shot."""

    number: int
    """The frame's."""
    tone: Array
    """(10,) ratios at LEVELS, of the whole picture; 1.08 is 8 % too bright."""
    cells: Array
    """(rows, columns) ratios in each cell beside that, 6 x 8 or fewer in small pictures."""
    level: float
    """Mean luma above black, as a share of the peak."""

    @property
    def gain(self) -> float:
        """One number for a plot: the ratio at the picture's mean level, mean of the cells."""
        return float(np.interp(self.level, LEVELS, self.tone) * self.cells.mean())


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    """What the light did from one distinct frame to the next of the same shot."""

    before: Array
    after: Array
    """(10,) levels at which the two frames show the same."""
    cells: Array
    """(cells,) logarithms of the ratios beside that."""
    doubt: Array
    """(1 + cells,) variance of the errors: of the mean level, and of each cell's ratio."""


@dataclass(frozen=True, slots=True, eq=False)
class _Moment:
    """A distinct frame, as far as it is remembered."""

    number: int
    shot: int
    blocks: FloatArray
    """Means of luma above black, in shares of the peak."""
    change: _Change | None
    """From the moment before; None at a shot's start."""


def deflicker(
    frames: Iterable[Frame], strength: float, tell: Callable[[int, float], None] | None = None
) -> Iterator[Frame]:
    """Yield every frame once, in order, brought to the steady light of its shot.

    `strength` is the share of the flicker that is taken away, 0 to 1; at 0 the very same frames
    are handed on, and so is a frame that does not flicker. Frames carry their shots and repeats;
    a repeat takes the planes of the frame before. Samples are rounded half to even, once, and
    clipped to the code range. `tell` is given the number of every frame and the gain of its light
    over the steady one. Holds 16 frames, up to 32 where they repeat.
    """
    if strength <= 0.0 and tell is None:
        yield from frames
        return
    last: Frame | None = None
    for frame, light in measure_light(frames):
        if tell is not None:
            tell(frame.number, light.gain)
        if frame.lost:
            yield frame  # whatever it shows, nobody repeats it
            continue
        if strength <= 0.0:
            last = frame
        elif frame.repeat and last is not None:
            last = replace(frame, planes=last.planes)
        else:
            last = steady(frame, light, strength)
        yield last


def measure_light(frames: Iterable[Frame]) -> Iterator[tuple[Frame, Light]]:
    """Yield every frame once, in order, with its light; a repeat has that of the frame before.

    It depends on the distinct frames of the same shot that are at most 16 distinct frames and at
    most 32 frames away, and on no other. Holds 16 frames, up to 32 where they repeat.
    """
    waiting: deque[tuple[Frame, bool]] = deque()
    moments: deque[_Moment] = deque()
    at = 0  # the place among the moments of the oldest distinct frame that waits
    light: Light | None = None
    for frame in chain(frames, [None]):
        if frame is not None:
            newest = moments[-1] if moments else None
            distinct = newest is None or not (frame.repeat or frame.lost)
            distinct |= newest is not None and frame.shot != newest.shot
            if distinct:
                moments.append(_remember(frame, newest))
            waiting.append((frame, distinct))
        while waiting and _is_ready(waiting[0][1], moments, at, frame):
            given, distinct = waiting.popleft()
            if light is None or distinct:
                light = _light(moments, at)
                at += 1
            yield given, replace(light, number=given.number)
        while at > REACH:
            moments.popleft()
            at -= 1


def _is_ready(distinct: bool, moments: Sequence[_Moment], at: int, newest: Frame | None) -> bool:
    """Whether all that the light of the oldest waiting frame depends on has arrived."""
    if newest is None or not distinct or len(moments) - at > REACH:
        return True
    return newest.shot != moments[at].shot or newest.number - moments[at].number >= SHOWN


def _light(moments: Sequence[_Moment], at: int) -> Light:
    """The light of the moment at a place, from those of its shot within reach."""
    own = moments[at]
    near = [
        i
        for i in range(max(at - REACH, 0), min(at + REACH + 1, len(moments)))
        if moments[i].shot == own.shot and abs(moments[i].number - own.number) <= SHOWN
    ]
    window, place = [moments[i] for i in near], near.index(at)
    grid, level = _grid(own.blocks), float(own.blocks.mean())
    # The first one's change leads out of the window.
    changes = [moment.change for moment in window[1:] if moment.change is not None]
    if len(window) < FEWEST or len(changes) < len(window) - 1:
        return Light(own.number, np.ones(KNOTS), np.ones(grid), level)
    levels, ratios = _tracks(changes, place)
    still = np.concatenate([[STILL_TONE], np.full(ratios.shape[1], STILL_CELL)])
    doubt = np.mean([change.doubt for change in changes], axis=0)
    still = np.sqrt(np.square(still) + WALK * doubt)
    weights, trust = _lay_lines(
        np.column_stack([levels @ _shares(own.blocks), ratios]), place, still
    )
    wanted = LEVELS + trust[0] * (weights[:, 0] @ levels - LEVELS)
    # A ratio at black has no meaning; that of the darkest knot keeps black where it is.
    tone = (LEVELS[1:] / np.maximum(wanted[1:], LEVELS[1:] / LIMIT))[[0, *range(KNOTS - 1)]]
    cells = 1.0 + trust[1:] * ((weights[:, 1:] * ratios).sum(axis=0) - 1.0)
    cells = 1.0 / np.clip(cells, 1.0 / LIMIT, LIMIT)
    return Light(own.number, np.maximum(tone, 1.0 / LIMIT), cells.reshape(grid), level)


def _tracks(changes: Sequence[_Change], at: int) -> tuple[Array, Array]:
    """What shows each of LEVELS of the frame at a place, and the cells' ratios to that frame.

    (frames, 10) and (frames, cells), from the changes between the frames, one fewer.
    """
    levels = np.tile(LEVELS, (len(changes) + 1, 1))
    for i, change in enumerate(changes[at:], at):
        rise = change.after - change.before
        levels[i + 1] = levels[i] + np.interp(levels[i], change.before, rise)
    for i, change in reversed(list(enumerate(changes[:at]))):
        rise = change.after - change.before
        levels[i] = levels[i + 1] - np.interp(levels[i + 1], change.after, rise)
    sums = np.cumsum([np.zeros_like(changes[0].cells), *(c.cells for c in changes)], axis=0)
    return levels, np.exp(sums - sums[at])


def _shares(blocks: FloatArray) -> Array:
    """(10,) how much of a picture lies at each of LEVELS."""
    place = np.interp(blocks.ravel(), LEVELS, np.arange(KNOTS))
    knot = np.minimum(place.astype(int), KNOTS - 2)
    share = place - knot
    counts = np.bincount(knot, 1.0 - share, KNOTS) + np.bincount(knot + 1, share, KNOTS)
    return np.asarray(counts / blocks.size)


def _lay_lines(tracks: Array, at: int, still: Array) -> tuple[Array, Array]:
    """Weights (frames, tracks) that give each track's line at a place, and how surely it flickers.

    The first track is that of the whole picture, the others those of the cells; `still` (tracks,)
    is what they deviate without flicker. Trust is 0..1: 0 is left as it is.
    """
    count = len(tracks)
    calm = _running_median(tracks)
    rest = np.abs(tracks - calm)
    # At the ends the median is of few. Two frames, such as the edge of a step, do not count.
    swing = np.sort(rest[1:-1] if count <= 8 else rest[2:-2], axis=0)
    deviation = 1.25 * (swing[:-2] if count > 12 else swing).mean(axis=0)
    scale = np.maximum(deviation, still)
    weights = np.zeros_like(tracks)
    todo = np.ones(tracks.shape[1], dtype=np.bool_)
    for start, end in _stretches(at, count):
        laid, fits = _line(tracks[start:end], calm[start:end], at - start, scale)
        weights[start:end, todo & fits] = laid[:, todo & fits]
        todo &= ~fits
        if not todo.any():
            break
    weights[at, todo] = 1.0
    own = np.square(tracks[at] - (weights * tracks).sum(axis=0))
    others = np.square(rest).sum(axis=0) - np.square(rest[at])
    share = own / np.maximum(own + others, 1e-12)
    usual = np.clip((EVENT[1] - share) / (EVENT[1] - EVENT[0]), 0.0, 1.0)
    return weights, usual * _trust(deviation / still)


def _trust(ratio: Array) -> Array:
    """How surely tracks flicker, 0..1, by their deviation as a multiple of that of still light.

    A cell is believed on its own, or where the cells taken together swing: many see what one
    cannot. Clean clips with motion reach 0.9 in the first track, 1.9 in one cell, 0.6 together.
    """
    together = np.sqrt(np.square(ratio[1:]).mean())
    cells = np.maximum((ratio[1:] - 1.6) / 1.4, (together - 0.65) / 0.35)
    return np.asarray(np.clip(np.concatenate([ratio[:1] - 1.0, cells]), 0.0, 1.0))


@lru_cache(maxsize=128)
def _stretches(at: int, count: int) -> list[tuple[int, int]]:
    """[start, end) around a place for a line to be laid through, the longest first."""
    found = {
        (max(at - before, 0), min(at + after + 1, count)) for before in HALVES for after in HALVES
    }
    return sorted(found, key=lambda s: (s[0] - s[1], abs(s[0] + s[1] - 1 - 2 * at), s))


def _line(part: Array, calm: Array, at: int, scale: Array) -> tuple[Array, Mask]:
    """Weights (frames, tracks) of a robust line at a place, and whether it fits (tracks,).

    Huber's weights, begun from the running median. A slope that the swing may have made counts
    for nothing, which steadies the ends of a shot. The misfit is that expected of noise, chi
    squared, and three deviations of it, each frame's share limited.
    """
    count = len(part)
    x = np.arange(count)[:, None] - float(at)
    values, error = calm, np.zeros_like(part)
    for _ in range(3):
        weight = np.clip(2.5 / np.maximum(np.abs(error), 1e-9), 0.02, 1.0)
        weight /= weight.sum(axis=0)
        away = x - (weight * x).sum(axis=0)
        mean = (weight * values).sum(axis=0)
        spread = (weight * np.square(away)).sum(axis=0)
        slope = (weight * away * values).sum(axis=0) / spread
        error = (part - mean - slope * away) / scale
        values = part
    certain = np.square(slope / scale) * spread * count
    keep = np.maximum(1.0 - 2.0 / np.maximum(certain, 1e-9), 0.0)
    misfit = np.minimum(np.square(error), 9.0).sum(axis=0)
    fits = misfit <= count + 3.0 * np.sqrt(2.0 * count)
    return weight * (1.0 + keep * away[at] * away / spread), fits


def _running_median(tracks: Array) -> Array:
    """Of six frames each way, fewer at the ends, as many on either side, and not the frame itself.

    A rising or falling course passes, and so does a step but for the frames at its edge.
    """
    count = len(tracks)
    calm = tracks.copy()
    reach = min(AROUND, (count - 1) // 2)
    for half in range(1, reach + 1):
        rows = (
            np.arange(half, count - half) if half == reach else np.array([half, count - 1 - half])
        )
        beside = np.array([i for i in range(-half, half + 1) if i])
        calm[rows] = np.median(tracks[rows[:, None] + beside], axis=1)
    return calm


def _remember(frame: Frame, before: _Moment | None) -> _Moment:
    """The frame's blocks, and how its light changed from that of the moment before."""
    blocks = _blocks(frame)
    follows = before is not None and before.shot == frame.shot
    change = None
    if before is not None and follows and before.blocks.shape == blocks.shape:
        change = _change(before.blocks, blocks)
    return _Moment(frame.number, frame.shot, blocks, change)


def _change(one: FloatArray, two: FloatArray) -> _Change:
    """How the light changed between the blocks of two frames."""
    # By the mean of both: by one of them, its noise would pass for a change.
    level, step = 0.5 * (one + two), two - one
    seen = level > DARK
    gain, motion, scale = np.zeros(KNOTS), np.zeros_like(step), GRAIN
    if seen.any():
        gain, motion, scale = _tone_change(level, step, seen)
    left = step - motion - np.interp(level, LEVELS, gain) * level
    ratio = np.where(seen, left / np.maximum(level, DARK), 0.0)
    cells, variance = _cell_changes(ratio, np.where(seen, level, 0.0))
    half = 0.5 * gain * LEVELS
    doubt = np.concatenate([[(CERTAIN_TONE * scale) ** 2], variance])
    return _Change(LEVELS - half, LEVELS + half, cells, doubt)


def _tone_change(
    level: FloatArray, step: FloatArray, seen: Mask
) -> tuple[Array, FloatArray, float]:
    """(10,) relative change at LEVELS, what motion changed in each block, the rest's deviation.

    By reweighted least squares: a piecewise linear curve, and the picture's slopes times the
    displacement of a camera that pans, zooms or rolls by less than about a block.
    """
    slopes = _slopes(level)
    design = np.concatenate([_hats(level), slopes])[:, seen]
    aim = step[seen]
    ridge = np.zeros((len(design), len(design)))
    bend = 2.0 * np.eye(KNOTS) - np.eye(KNOTS, k=1) - np.eye(KNOTS, k=-1)
    bend[0, 0] = bend[-1, -1] = 1.0
    ridge[:KNOTS, :KNOTS] = STIFF * aim.size * bend
    ridge += 1e-9 * aim.size * np.eye(len(design))
    found, scale = np.zeros(len(design)), GRAIN
    found[:KNOTS] = np.median(aim / level[seen])
    for _ in range(6):
        error = aim - found.astype(np.float32) @ design
        scale = max(1.4826 * float(np.median(np.abs(error))), GRAIN)
        weighted = design * _biweight(error / np.float32(scale))
        found = np.linalg.solve(weighted @ design.T + ridge, weighted @ aim)
    motion = np.tensordot(found[KNOTS:].astype(np.float32), slopes, axes=1)
    return found[:KNOTS], motion, scale


def _hats(level: FloatArray) -> FloatArray:
    """(10, rows, columns) each level, shared out between the two of LEVELS beside it."""
    place = np.interp(level, LEVELS, np.arange(KNOTS)).astype(np.float32)
    away = np.abs(place - np.arange(KNOTS, dtype=np.float32)[:, None, None])
    return np.asarray(level * np.maximum(1.0 - away, 0.0))


def _slopes(level: FloatArray) -> FloatArray:
    """(6, rows, columns) slopes down and across, times 1 and the place down and across."""
    still = np.zeros_like(level)
    slopes: list[FloatArray] = [
        np.gradient(level, axis=i) if n > 1 else still for i, n in enumerate(level.shape)
    ]
    places = np.meshgrid(*(np.linspace(-1.0, 1.0, n) for n in level.shape), indexing="ij")
    factors: list[Array] = [np.ones(level.shape), *places]
    return np.array([slope * f for slope in slopes for f in factors], dtype=np.float32)


def _biweight(error: FloatArray) -> FloatArray:
    """Tukey's weights of errors in deviations."""
    return np.asarray(np.square(np.maximum(1.0 - np.square(error / ALIKE), 0.0)))


def _cell_changes(ratio: FloatArray, level: FloatArray) -> tuple[Array, Array]:
    """(cells,) changes and the variances of their errors; cells in doubt follow those around.

    `ratio` and `level` are those of the blocks; level 0 says nothing.
    """
    values, levels = _by_cell(ratio), _by_cell(level)
    mean = np.median(values, axis=1)
    for _ in range(3):
        error = values - mean[:, None]
        scale = 1.4826 * np.median(np.abs(error), axis=1)[:, None]
        scale = np.maximum(scale, GRAIN / np.maximum(levels, DARK))
        weight = _biweight(error / scale) * np.square(levels)
        total = weight.sum(axis=1)
        mean = (weight * values).sum(axis=1) / np.maximum(total, 1e-12)
    deviation = np.median(scale, axis=1)
    certain = np.where(total > 0.0, 1.0 / np.square(CERTAIN_CELL * deviation + FLAT), 1.0)
    # The most likely field: Gaussian errors, Gaussian differences between neighbours.
    variance = np.linalg.inv(np.diag(certain) + _bonds(_grid(ratio)))
    return np.asarray(variance @ (certain * mean)), np.diag(variance)


@lru_cache(maxsize=16)
def _bonds(grid: tuple[int, int]) -> Array:
    """(cells, cells) what holds each cell to those beside and below it, and all to no change."""
    place = np.arange(grid[0] * grid[1]).reshape(grid)
    bonds = np.eye(place.size) / LOCAL**2
    for one, other in ((place[1:], place[:-1]), (place[:, 1:], place[:, :-1])):
        for i, j in zip(one.ravel(), other.ravel(), strict=True):
            bonds[[i, j], [i, j]] += 1.0 / BESIDE**2
            bonds[[i, j], [j, i]] -= 1.0 / BESIDE**2
    return bonds


def _grid(blocks: FloatArray) -> tuple[int, int]:
    """How many cells the blocks lie in, down and across."""
    down, across = blocks.shape
    return 1 if down % ROWS else ROWS, 1 if across % COLUMNS else COLUMNS


def _by_cell(blocks: FloatArray) -> FloatArray:
    """(cells, blocks of a cell)."""
    rows, columns = _grid(blocks)
    split = blocks.reshape(rows, blocks.shape[0] // rows, columns, blocks.shape[1] // columns)
    return split.transpose(0, 2, 1, 3).reshape(rows * columns, -1)


def _blocks(frame: Frame) -> FloatArray:
    """Means of luma over small blocks, above black, as shares of the peak."""
    picture = frame.picture
    if picture.format.family == "rgb":
        parts = zip(rgb_to_ycbcr(picture.matrix)[0], frame.planes[:3], strict=True)
        means = np.sum([np.float32(share) * _means(plane) for share, plane in parts], axis=0)
    else:
        means = _means(frame.planes[0])
    return np.asarray(
        np.maximum(means - _black(picture), 0.0) * np.float32(1.0 / picture.format.peak)
    )


def _black(picture: Picture) -> int:
    """The code of black."""
    return 0 if picture.full_range else 16 << (picture.format.bits - 8)


def _means(plane: Plane) -> FloatArray:
    """Means of the blocks of an (H, W) plane of any size."""
    height, width = plane.shape
    return block_means(plane, _along(height, ROWS), _along(width, COLUMNS), TALL)


def _along(samples: int, cells: int) -> int:
    """How many blocks lie along a side of the picture; where few, no multiple of `cells`."""
    per_cell = min(samples // (cells * SMALLEST), SIDE)
    return cells * per_cell if per_cell else max(samples // SMALLEST, 1)


def steady(frame: Frame, light: Light, strength: float) -> Frame:
    """The frame with a share of its flicker, 0..1, taken away; itself where hardly any is.

    Luma keeps its black, chroma its neutral, and takes the gain of the luma at its sites; R', G'
    and B' go through the same curve.
    """
    tone, cells = light.tone**-strength, light.cells**-strength
    most = np.abs(np.outer(tone, [cells.min(), cells.max()]) - 1.0).max(axis=1)
    if (most * LEVELS).max() < SMALL:
        return frame
    form, black = frame.picture.format, _black(frame.picture)
    codes = np.arange(form.peak + 1, dtype=np.float32) - np.float32(black)
    gains = np.interp(codes / form.peak, LEVELS, tone).astype(np.float32)
    table = codes * gains
    if form.family != "yuv":
        return replace(frame, planes=tuple(_map(p, table, cells, black) for p in frame.planes))
    across, down = form.sampling
    sites, neutral = frame.planes[0][::down, ::across], 1 << (form.bits - 1)
    luma = _map(frame.planes[0], table, cells, black)
    colours = (_map(plane, gains, cells, neutral, sites) for plane in frame.planes[1:3])
    return replace(frame, planes=(luma, *colours))


def _map(
    plane: Plane, table: FloatArray, cells: Array, zero: int, sites: Plane | None = None
) -> Plane:
    """A plane about its zero: values, or with `sites` gains, of its table, times the cells'."""
    out = np.empty_like(plane)
    height, width = plane.shape
    peak = np.float32(len(table) - 1)
    beside = cells @ _between(width, cells.shape[1]).T
    below = _between(height, cells.shape[0])
    for top in range(0, height, STRIP):
        part = slice(top, top + STRIP)
        values = table[plane[part] if sites is None else sites[part]]
        if sites is not None:
            values *= plane[part].astype(np.float32) - np.float32(zero)
        values *= (below[part] @ beside).astype(np.float32)
        values += np.float32(zero)
        out[part] = np.clip(np.rint(values, out=values), 0.0, peak, out=values)
    return out


@lru_cache(maxsize=16)
def _between(samples: int, cells: int) -> Array:
    """(samples, cells) weights of a linear course between the middles of cells, level beyond."""
    place = (np.arange(samples) + 0.5) * cells / samples - 0.5
    return np.stack([np.interp(place, np.arange(cells), row) for row in np.eye(cells)], axis=1)
