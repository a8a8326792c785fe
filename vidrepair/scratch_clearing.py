"""Span -> Span whose frames show no lasting scratch.

They are cleared before the generator sees them: beside a line that stands still while the picture
does not, it trusts no neighbour, and would leave the noise of some columns in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vidrepair.compose import Strengths
from vidrepair.frames import Filled, FloatArray, Frame, NoiseProfile, Picture, Piece, Plane, Span
from vidrepair.lines import Line, LineEvidence
from vidrepair.planes import add_residual, matte_planes, padded_size, residual_planes, to_generator
from vidrepair.regions import Box
from vidrepair.rules import Rules, defect_at
from vidrepair.scratch_fill import line_fill, line_matte
from vidrepair.scratch_runs import find_lines
from vidrepair.settings import RepairSettings

MARGIN = 16
"""Columns beside a line that are looked at, a multiple of what chroma is sampled by."""


@dataclass(frozen=True, slots=True)
class Clearing:
    """Clears spans, each by what is known of it alone: a run that goes on gives the same film.

    For the same reason nobody is asked about single places: `defects` takes back what may not be.
    """

    rules: Rules
    strengths: Strengths

    @classmethod
    def asked(cls, repair: RepairSettings) -> Clearing:
        """As the settings want it."""
        return cls(Rules(repair.damage), Strengths.asked(repair))

    def clear(self, span: Span) -> Span:
        """The span with its lasting scratches filled."""
        evidence = span.lines
        if evidence is None or not evidence.runs:
            return span
        lines: dict[int, list[Line]] = {}
        done: dict[int, Frame] = {}

        def cleared(frame: Frame, seen: Frame) -> Frame:
            """`seen` is the frame that the generator sees for it, or itself."""
            if seen.number not in lines:
                lines[seen.number] = _lines_of(seen, evidence)
            if frame.number not in done:
                done[frame.number] = self._cleared(frame, lines[seen.number], span.noise)
            return done[frame.number]

        walk = tuple(cleared(frame, frame) for frame in span.walk)
        followers = []
        for core, following in zip(span.core, span.followers, strict=False):
            shown = [
                frame if frame.lost or frame.repeat else cleared(frame, core) for frame in following
            ]
            followers.append(tuple(_repeated(shown, done[core.number])))
        return replace(span, walk=walk, followers=tuple(followers))

    def _cleared(self, frame: Frame, lines: Sequence[Line], noise: NoiseProfile) -> Frame:
        picture = frame.picture
        pieces = [
            Piece(line, defect_at("scratch", frame, _box_of(line, picture), line.confidence))
            for line in lines
        ]
        pieces = [piece for piece in pieces if self.rules.allow(piece.defect)]
        if not pieces:
            return frame
        matte = line_matte([piece.line for piece in pieces], picture)
        if frame.protected is not None:
            matte[frame.protected] = 0.0
        counted = [_counted(piece, matte, picture) for piece in pieces]
        kept = tuple(piece for piece in counted if piece.defect.samples)
        if not kept:
            return frame
        planes = tuple(plane.copy() for plane in frame.planes)
        for piece in kept:
            self._fill(planes, piece.line, matte, picture, noise)
        return replace(frame, planes=planes, filled=Filled.under(matte, frame.planes, kept))

    def _fill(
        self,
        planes: tuple[Plane, ...],
        line: Line,
        matte: FloatArray,
        picture: Picture,
        noise: NoiseProfile,
    ) -> None:
        """Fill one line in place; outside the matte every sample stays."""
        box = _box_of(line, picture)
        left = max(box.left // MARGIN - 1, 0) * MARGIN
        right = min((-(-box.right // MARGIN) + 1) * MARGIN, picture.width)
        part = replace(picture, width=right - left)
        own = replace(line, column=line.column - left)
        views = [_columns(plane, left, right, picture) for plane in planes]
        shown = np.empty((3, *padded_size(part)), dtype=np.float32)
        to_generator(tuple(views), part, shown)
        change = line_fill(shown, [own], noise=noise) - shown
        weight = np.minimum(matte[:, left:right], line_matte([own], part))
        weights, changes = matte_planes(weight, part), residual_planes(change, part)
        for view, share, away in zip(views, weights, changes, strict=True):
            bounded = self.strengths.bounded(share * away, picture)
            view[...] = add_residual(view, bounded, picture.format.bits)


def _lines_of(frame: Frame, evidence: LineEvidence) -> list[Line]:
    """What comes before or after the frames that were measured shows what the nearest shows."""
    first, last = evidence.extent
    number = min(max(frame.number, first), last)
    return find_lines(replace(frame, number=number), evidence)


def _repeated(following: Sequence[Frame], core: Frame) -> list[Frame]:
    """Those frames, each repeat with the samples of the one before it."""
    frames: list[Frame] = []
    for frame in following:
        before = next((one for one in reversed(frames) if not one.lost), core)
        same = frame.repeat and not frame.lost
        filled = replace(frame, planes=before.planes, filled=before.filled) if same else frame
        frames.append(filled)
    return frames


def _columns(plane: Plane, left: int, right: int, picture: Picture) -> Plane:
    """What a plane has of some columns of luma."""
    across = 1 if plane.shape[1] == picture.width else picture.format.sampling[0]
    return plane[:, left // across : -(-right // across)]


def _counted(piece: Piece, matte: FloatArray, picture: Picture) -> Piece:
    """With its samples, those of its soft edges among them."""
    count = int(np.count_nonzero(line_matte([piece.line], picture) * matte))
    return replace(piece, defect=replace(piece.defect, samples=count))


def _box_of(line: Line, picture: Picture) -> Box:
    columns, half = line.columns(), int(np.ceil(line.width / 2.0))
    left, right = (int(edge) for edge in (columns.min(), columns.max()))
    box = Box(line.first, left - half, line.last, right + half + 1)
    return box.grown(0, picture.height, picture.width)
