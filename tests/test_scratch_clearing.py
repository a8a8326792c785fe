"""Frames are cleared of lasting scratches before the generator sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from test_scratches import COUNT, FORMATS, SIZE, YUV420, Scratch, pan, scratched, stored

from vidrepair.batch import Grid, Profiler, Profilers, cut_spans
from vidrepair.compose import Strengths, compose
from vidrepair.frames import Answer, Defect, Frame, PixelFormat, Repaired, Span
from vidrepair.matte import touch_of
from vidrepair.noise import known_profile
from vidrepair.planes import padded_size
from vidrepair.scratch_clearing import Clearing
from vidrepair.scratch_runs import judge
from vidrepair.scratches import measure_lines
from vidrepair.settings import DamageSettings, RepairSettings

SCRATCH = Scratch(140.3)
UNCHANGED = RepairSettings(denoise=(0.0, 0.0))


def dirty(form: PixelFormat = YUV420, count: int = COUNT) -> list[Frame]:
    """A panning picture with one line on all frames."""
    return stored(scratched(pan(2.7, count=count), SCRATCH), form, sigma=3.0)


def spans_of(frames: list[Frame], grid: Grid | None = None) -> list[Span]:
    """Of one shot, its noise known and its lines found."""
    fixed = known_profile(3.0, 0.0, rgb=False)
    noise = Profiler(lambda _core: None, lambda _own, _before: fixed)
    profilers = Profilers(noise, lines=Profiler(measure_lines, judge))
    return list(cut_spans(frames, grid or Grid(4, COUNT), lambda: profilers))


def answers(span: Span) -> Iterator[Answer]:
    """Of an engine that changes nothing."""
    height, width = padded_size(span.walk[0].picture)
    for step in range(span.steps):
        yield Answer(span, step, Repaired(np.zeros((3, height, width), np.float32)))


def far_from_the_line(shape: tuple[int, ...]) -> np.ndarray:
    """Columns of a plane that no matte reaches."""
    columns = np.arange(shape[1]) * SIZE[1] / shape[1]
    return np.asarray(np.abs(columns - SCRATCH.column) > 12.0)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_every_frame_of_a_walk_is_cleared_and_the_rest_stays(form: PixelFormat) -> None:
    frames = dirty(form)
    truth = stored(pan(2.7), form, sigma=0.0)
    (span,) = spans_of(frames)
    cleared = Clearing.asked(UNCHANGED).clear(span)
    assert [one.number for one in cleared.walk] == [one.number for one in span.walk]
    for frame in cleared.walk:
        assert frame.filled is not None
        was, want = frames[frame.number], truth[frame.number]
        assert frame.filled.decoded is was.planes
        for now, before in zip(frame.planes, was.planes, strict=True):
            far = far_from_the_line(now.shape)
            assert now.dtype == before.dtype
            np.testing.assert_array_equal(now[:, far], before[:, far])
        inside = SCRATCH.cover(SIZE, SCRATCH.centres(COUNT)[frame.number]) > 0.3
        wrong, right = (
            np.abs(one.luma[inside].astype(float) - want.luma[inside]).mean()
            for one in (was, frame)
        )
        assert right < 0.3 * wrong


def test_a_span_is_cleared_alone_as_among_others() -> None:
    spans = spans_of(dirty(), Grid(4, 7))
    clear = Clearing.asked(UNCHANGED).clear
    (_, after), alone = map(clear, spans), clear(spans[1])
    for one, other in zip(after.walk, alone.walk, strict=True):
        for first, second in zip(one.planes, other.planes, strict=True):
            np.testing.assert_array_equal(first, second)


def test_what_follows_a_frame_unseen_is_cleared_with_it() -> None:
    frames = dirty(count=24)
    frames[5] = replace(frames[4], number=5, pts=5, repeat=True)
    frames[8] = replace(frames[8], copy=True)
    frames[10] = replace(frames[10], lost=True)
    (span,) = spans_of(frames, Grid(4, 24))
    cleared = Clearing.asked(UNCHANGED).clear(span)
    followers = {one.number: one for some in cleared.followers for one in some}
    assert followers.keys() == {5, 8, 10}
    assert followers[10] is frames[10]
    again = next(one for one in cleared.walk if one.number == 4)
    np.testing.assert_array_equal(followers[5].luma, again.luma)
    assert followers[8].filled is not None
    assert followers[8].filled.defects[0].frame == 8


def test_what_was_filled_is_told_of() -> None:
    (span,) = spans_of(dirty())
    cleared = Clearing.asked(UNCHANGED).clear(span)
    for answer in answers(cleared):
        touch = touch_of(answer)
        assert {one.kind for one in touch.defects} == {"scratch"}
        # A box has no room for the soft edge of a line that leans.
        share = sum(one.samples for one in touch.defects) / np.count_nonzero(touch.codes)
        assert 0.8 < share <= 1.0
    written = list(compose(answers(cleared), Strengths((0.0, 0.0))))
    for frame in written:
        shown = next(one for one in cleared.core if one.number == frame.number)
        np.testing.assert_array_equal(frame.luma, shown.luma)


def test_what_is_not_to_be_repaired_stays() -> None:
    (span,) = spans_of(dirty())
    dust = replace(UNCHANGED, damage=DamageSettings(kinds=("dust",)))
    assert Clearing.asked(dust).clear(span).walk == span.walk
    asked: list[Defect] = []

    def veto(defect: Defect) -> bool:
        asked.append(defect)
        return defect.frame != 3

    cleared = Clearing.asked(UNCHANGED, veto).clear(span)
    assert {one.number for one in cleared.walk if one.filled is None} == {3}
    assert all(abs(0.5 * (one.box[1] + one.box[3]) - SCRATCH.column) < 4 for one in asked)


def test_what_is_protected_stays() -> None:
    frames = dirty()
    top = np.zeros(SIZE, dtype=bool)
    top[: SIZE[0] // 2] = True
    (span,) = spans_of([replace(one, protected=top) for one in frames])
    for frame in Clearing.asked(UNCHANGED).clear(span).walk:
        np.testing.assert_array_equal(frame.luma[top], frames[frame.number].luma[top])
        assert (frame.luma != frames[frame.number].luma).any()


def test_no_sample_is_changed_by_more_than_it_may() -> None:
    frames = dirty()
    (span,) = spans_of(frames)
    asked = replace(UNCHANGED, denoise=(100.0, 100.0), max_change=9.0)
    cleared = Clearing.asked(asked).clear(span)

    def brighter(span: Span) -> Iterator[Answer]:
        for answer in answers(span):
            denoise = answer.repaired.denoise
            assert denoise is not None
            yield replace(answer, repaired=Repaired(denoise + np.float32(6.0 / 255.0)))

    for frame in compose(brighter(cleared), Strengths.asked(asked)):
        step = frame.luma.astype(int) - frames[frame.number].luma
        assert np.abs(step).max() == 9
        assert np.median(step) == 6
