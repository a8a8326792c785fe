"""A span of its own for one frame, so that it can be restored without the film around it.

What it lacks is what the fixed grid of the film would tell: the span's place in its shot. Where
the shot starts at most T frames before, that is known, and the frame has the same noise profile
and the same scratches as in a run; else what is measured is measured on the T frames before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from vidrepair.batch import Grid, Profilers
from vidrepair.fields import split_fields
from vidrepair.frames import Frame, Picture, Span

SETTLING = 2
"""Of the steps before the frame, those after which damage is looked for, too: what a frame shows is
judged by how often its like was seen before."""
LARGE = 1280 * 736
"""Samples of a picture above which time is saved:"""
BRIEF = Grid(warm_up=4, core=32)
"""fewer steps lead to the frame, and fewer frames are measured. Against the frames of a run that
comes to 56 dB in luma at 1920x1080 and noise of 3 codes, and to 43 to 51 at 1312x744 and 30; three
steps to 40 to 43 there."""
WEAK, ENOUGH = 10.0 / 255.0, 3
"""Noise, as a share of the peak and the mean of all levels, up to which that many steps are enough:
56 dB at 1920x1080 and noise of 3 codes, 50 at 1312x744 and 10."""


def private_grid(grid: Grid, picture: Picture) -> Grid:
    """The lengths of a private span, W and T, for a model of `grid` and a picture."""
    if not _is_large(picture):
        return grid
    return Grid(min(grid.warm_up, BRIEF.warm_up), min(grid.core, BRIEF.core))


def _is_large(picture: Picture) -> bool:
    return picture.width * picture.height > LARGE


@dataclass(slots=True, eq=False)
class _Group:
    """A frame that the generator sees, and those after it that it passes over."""

    frame: Frame
    followers: list[Frame] = field(default_factory=list)

    def holds(self, wanted: Fraction) -> Frame | None:
        """The first of its frames at or after a time; None where it has none."""
        for frame in (self.frame, *self.followers):
            if frame.pts * frame.time_base >= wanted:
                return frame
        return None

    def fields(self) -> tuple[_Group, _Group]:
        """Its even and its odd rows."""
        even, odd = split_fields([self.frame])
        pairs = [tuple(split_fields([frame])) for frame in self.followers]
        return _Group(even, [pair[0] for pair in pairs]), _Group(odd, [pair[1] for pair in pairs])


@dataclass(frozen=True, slots=True, eq=False)
class PrivateSpan:
    """The span, and which of its frames it was made for."""

    span: Span
    step: int
    """Of the span, at which the frame, or the one that it repeats, is restored."""
    frame: Frame


@dataclass(slots=True, eq=False)
class _Around:
    """The distinct frames of the shot, as far as they were read."""

    groups: list[_Group] = field(default_factory=list)
    opens: bool = False
    """The first one opens the shot."""
    at: int = 0
    """The one that is wanted, or holds it."""

    def fields(self) -> tuple[_Around, _Around]:
        """The same of the even and of the odd rows."""
        even, odd = zip(*(group.fields() for group in self.groups), strict=True)
        return replace(self, groups=list(even)), replace(self, groups=list(odd))


def private_spans(
    frames: Iterable[Frame],
    wanted: Fraction,
    grid: Grid,
    profilers: Callable[[], Profilers],
    *,
    opens_film: bool,
    fields: bool = False,
) -> tuple[PrivateSpan, ...]:
    """The span around the first frame at or after `wanted`, in seconds of the file; with `fields`
    that of its even rows and that of its odd ones. None where the frames end before it.

    `frames` carry shots and what is passed over, and start more than T distinct frames before it
    or, with `opens_film`, where the film does. Reads at most T distinct frames beyond it, and holds
    at most 2 T. Spans are numbered from 0.
    """
    reading = _groups(frames)
    around = _find(reading, wanted, grid, opens_film=opens_film)
    if around is None:
        return ()
    _read_ahead(reading, around, grid)
    parts = around.fields() if fields else (around,)
    found = []
    for number, part in enumerate(parts):
        frame = part.groups[part.at].holds(wanted)
        assert frame is not None
        found.append(PrivateSpan(*_lay_out(part, grid, profilers(), number), frame))
    return tuple(found)


def _groups(frames: Iterable[Frame]) -> Iterator[_Group]:
    """Frames of one shot each with what follows them; lost ones that open a shot are left out."""
    group: _Group | None = None
    for frame in frames:
        beside = group is not None and frame.shot == group.frame.shot
        if frame.passed_over and group is not None and beside:
            group.followers.append(frame)
            continue
        if frame.lost:
            continue
        if group is not None:
            yield group
        group = _Group(frame)
    if group is not None:
        yield group


def _find(
    groups: Iterator[_Group], wanted: Fraction, grid: Grid, *, opens_film: bool
) -> _Around | None:
    """Read up to the frame that is wanted; what is further than T before it is dropped."""
    around = _Around(opens=opens_film)
    for group in groups:
        held = around.groups
        if held and held[-1].frame.shot != group.frame.shot:
            held.clear()
            around.opens = True
        held.append(group)
        if group.holds(wanted) is not None:
            around.at = len(held) - 1
            return around
        if len(held) > grid.core:
            del held[0]
            around.opens = False
    return None


def _read_ahead(groups: Iterator[_Group], around: _Around, grid: Grid) -> None:
    """Read on within the shot: what the frame's neighbour looks at, and its span if it is known."""
    needed = around.at + 3
    if around.opens:
        needed = max(needed, grid.core + 1)
    shot = around.groups[-1].frame.shot
    for group in groups:
        if group.frame.shot != shot:
            return
        around.groups.append(group)
        if len(around.groups) >= needed:
            return


def _lay_out(around: _Around, grid: Grid, profilers: Profilers, number: int) -> tuple[Span, int]:
    """The walk, and the step at which the frame comes. The one after it is restored, too: damage
    is judged by both neighbours.
    """
    frames, at = [group.frame for group in around.groups], around.at
    measured = _measured(frames, around, grid)
    noise = profilers.noise.profile(measured, opens_shot=True)
    warm_up = grid.warm_up
    strength = max(float(noise.luma.mean()), float(noise.chroma.mean()))
    if _is_large(frames[at].picture) and strength <= WEAK:
        warm_up = min(warm_up, ENOUGH)
    last = min(at + 1, len(frames) - 1)
    if around.opens and at <= grid.warm_up // 2:
        # As every shot starts: with a mirrored warm-up.
        core = frames[: grid.core]
        warm = min(warm_up, len(core) - 1)
        steps = [*reversed(core[1 : warm + 1]), *frames[: last + 1]]
        before = core[min(warm + 1, len(core) - 1)]
        first = 0
    else:
        start = max(at - warm_up, 0)
        steps, warm = frames[start : last + 1], min(SETTLING, at - start)
        before = frames[start - 1 if start else min(1, len(frames) - 1)]
        first = start + warm
    after = frames[last + 1] if last + 1 < len(frames) else steps[max(len(steps) - 2, 0)]
    grain, lines = profilers.spectrum, profilers.lines
    span = Span(
        number=number,
        shot=frames[at].shot,
        walk=(before, *steps, after),
        warm=warm,
        followers=tuple(tuple(group.followers) for group in around.groups[first : last + 1]),
        noise=noise,
        spectrum=None if grain is None else grain.profile(measured, opens_shot=True),
        lines=None if lines is None else lines.profile(measured, opens_shot=True),
        fades_in=0,
        fades_out=0,
    )
    return span, warm + at - first


def _measured(frames: Sequence[Frame], around: _Around, grid: Grid) -> Sequence[Frame]:
    """What the film is measured on: the frame's span where the grid is known, or T before it."""
    if around.opens and around.at < grid.core:
        return frames[: grid.core]
    return frames[max(around.at + 1 - grid.core, 0) : around.at + 1]
