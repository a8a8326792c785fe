"""Span -> Span whose frames show no lasting scratch.

They are cleared before the generator sees them: beside a line that stands still while the picture
does not, it trusts no neighbour, and would leave the noise of some columns in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vidrepair.frames import Defect, Filled, FloatArray, Frame, Picture, Plane, Span
from vidrepair.lines import Line
from vidrepair.planes import add_residual, matte_planes, padded_size, residual_planes, to_generator
from vidrepair.regions import Box
from vidrepair.scratch_fill import Deviations, line_fill, line_matte
from vidrepair.scratch_runs import find_lines
from vidrepair.settings import RepairSettings
from vidrepair.verdict import Verdict, Veto, defect_at


@dataclass(frozen=True, slots=True)
class Clearing:
    """Clears spans, each by what is known of it alone: a run that goes on gives the same film."""

    verdict: Verdict
    most: float | None = None
    """8-bit codes that no sample is changed by more than."""

    @classmethod
    def asked(cls, repair: RepairSettings, allows: Veto | None = None) -> Clearing:
        """As the settings want it; `allows` is asked about each piece that was found."""
        return cls(Verdict(repair.damage, allows), repair.max_change)

    def clear(self, span: Span) -> Span:
        """The span with its lasting scratches filled, where they may be."""
        if span.lines is None or not span.lines.runs:
            return span
        done: dict[int, Frame] = {}
        lines: dict[int, list[_Piece]] = {}

        def cleared(frame: Frame, shown: Frame | None = None) -> Frame:
            """`shown` is the frame that the generator sees for it."""
            if frame.number not in done:
                number = (shown or frame).number
                if number not in lines:
                    lines[number] = self._pieces(span, shown or frame)
                done[frame.number] = self._cleared(frame, lines[number], span)
            return done[frame.number]

        walk = tuple(cleared(frame) for frame in span.walk)
        followers = tuple(
            tuple(frame if frame.lost else cleared(frame, core) for frame in following)
            for core, following in zip(span.core, span.followers, strict=False)
        )
        return replace(span, walk=walk, followers=followers)

    def _pieces(self, span: Span, frame: Frame) -> list[_Piece]:
        assert span.lines is not None
        core = span.core
        # What comes before the core is seen to warm up, and shows what its first frames show.
        number = min(max(frame.number, core[0].number), core[-1].number)
        found = find_lines(replace(frame, number=number), span.lines)
        boxes = (_box_of(line, frame.picture) for line in found)
        pieces = [
            _Piece(line, defect_at("scratch", frame, box, line.confidence))
            for line, box in zip(found, boxes, strict=True)
        ]
        return [piece for piece in pieces if self.verdict.allow(piece.defect)]

    def _cleared(self, frame: Frame, pieces: list[_Piece], span: Span) -> Frame:
        if not pieces:
            return frame
        picture = frame.picture
        matte = np.zeros(padded_size(picture), dtype=np.float32)
        inside = matte[: picture.height, : picture.width]
        lines = [piece.line for piece in pieces]
        inside[...] = line_matte(lines, picture)
        if frame.protected is not None:
            inside[frame.protected] = 0.0
        defects = []
        for piece in pieces:
            count = int(np.count_nonzero(inside[Box(*piece.defect.box).window()]))
            if count:
                defects.append(replace(piece.defect, frame=frame.number, samples=count))
        if not defects:
            return frame
        shown = np.empty((3, *matte.shape), dtype=np.float32)
        to_generator(frame.planes, picture, shown)
        fill = line_fill(shown, lines, noise=Deviations.of(span.noise))
        planes = self._under(matte, fill - shown, frame.planes, picture)
        filled = Filled.under(inside, frame.planes, tuple(defects))
        return replace(frame, planes=planes, filled=filled)

    def _under(
        self, matte: FloatArray, change: FloatArray, planes: tuple[Plane, ...], picture: Picture
    ) -> tuple[Plane, ...]:
        """The planes with the change under the matte; outside every sample stays."""
        bits, peak = picture.format.bits, picture.format.peak
        most = np.inf if self.most is None else np.floor(self.most / 255.0 * peak)
        weights, changes = matte_planes(matte, picture), residual_planes(change, picture)
        return tuple(
            add_residual(plane, np.clip(weight * away, -most, most), bits)
            for plane, weight, away in zip(planes, weights, changes, strict=True)
        )


@dataclass(frozen=True, slots=True)
class _Piece:
    """One piece of a line, and what is told of it."""

    line: Line
    defect: Defect


def _box_of(line: Line, picture: Picture) -> Box:
    columns, half = line.columns(), int(np.ceil(line.width / 2.0))
    left, right = (int(edge) for edge in (columns.min(), columns.max()))
    box = Box(line.first, left - half, line.last, right + half + 1)
    return box.grown(0, picture.height, picture.width)
