"""Frames are cleared of lasting scratches before the generator sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from test_scratches import COUNT, FORMATS, SIZE, YUV420, Scratch, pan, scratched, stored

from vidrepair.batch import Grid, Profiler, Profilers, cut_spans
from vidrepair.compose import Strengths, compose
from vidrepair.defects import _refuse, find_defects
from vidrepair.frames import Answer, Frame, PixelFormat, Repaired, Span
from vidrepair.lines import Line, LineEvidence, Sight
from vidrepair.matte import Touch, touch_of
from vidrepair.noise import known_profile
from vidrepair.planes import matte_planes, padded_size
from vidrepair.rules import Rules, Veto
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
        codes = frame.filled.codes(frame.picture).astype(np.float32)
        mattes = matte_planes(codes, frame.picture)
        for now, before, matte in zip(frame.planes, was.planes, mattes, strict=True):
            assert now.dtype == before.dtype
            np.testing.assert_array_equal(now[matte == 0], before[matte == 0])
        inside = SCRATCH.cover(SIZE, SCRATCH.centres(COUNT)[frame.number]) > 0.3
        wrong, right = (
            np.abs(one.luma[inside].astype(float) - want.luma[inside]).mean()
            for one in (was, frame)
        )
        assert right < 0.3 * wrong


def test_a_walk_is_cleared_alike_whatever_part_of_a_span_it_shows() -> None:
    """Previews compute the first frames of a span alone, measured as the whole."""
    (span,) = spans_of(dirty())
    part = replace(span, walk=span.walk[:10], followers=span.followers[:4])
    whole, alone = map(Clearing.asked(UNCHANGED).clear, (span, part))
    assert len(alone.core) == 4
    for one, other in zip(alone.walk, whole.walk, strict=False):
        for first, second in zip(one.planes, other.planes, strict=True):
            np.testing.assert_array_equal(first, second)


def test_what_is_refused_stays_as_it_was_decoded_and_changes_no_other_frame() -> None:
    frames = dirty()
    (span,) = spans_of(frames)
    cleared = Clearing.asked(UNCHANGED).clear(span)

    def brighter(veto: Veto | None) -> dict[int, tuple[Frame, Touch]]:
        found = {}
        answered = (
            replace(
                one,
                repaired=replace(
                    one.repaired,
                    denoise=np.full_like(one.repaired.denoise, 6.0 / 255.0),
                    fill=np.zeros_like(one.repaired.denoise),
                    defect=np.zeros_like(one.repaired.denoise[:1]),
                    motion=np.zeros((4, *(side // 4 for side in one.repaired.denoise.shape[1:]))),
                ),
            )
            for one in answers(cleared)
        )
        touches = {}

        def told() -> Iterator[Answer]:
            for answer in find_defects(answered, DamageSettings(), veto):
                touches[answer.frame.number] = touch_of(answer)
                yield answer

        for frame in compose(told(), Strengths()):
            found[frame.number] = (frame, touches[frame.number])
        return found

    free, asked = brighter(None), brighter(lambda defect: defect.frame != 3)
    for number, (frame, touch) in asked.items():
        assert bool(touch.defects) == (number != 3)
        if number != 3:
            np.testing.assert_array_equal(frame.luma, free[number][0].luma)
    assert asked[3][1].codes is None or not asked[3][1].codes.any()
    under = free[3][1].codes > 0
    np.testing.assert_array_equal(asked[3][0].luma[under], frames[3].luma[under])
    np.testing.assert_array_equal(asked[3][0].luma[~under], free[3][0].luma[~under])


def test_dust_on_a_refused_scratch_is_repaired_all_the_same() -> None:
    (span,) = spans_of(dirty())
    frame = Clearing.asked(UNCHANGED).clear(span).core[3]
    assert frame.filled is not None
    matte = np.zeros(padded_size(frame.picture), np.float32)
    matte[:20, : SIZE[1]] = 1.0
    rules = Rules(DamageSettings(), lambda _defect: False)
    left = _refuse(Repaired(None, matte=matte), frame, rules).left
    assert left is not None
    np.testing.assert_array_equal(left[20:], frame.filled.codes(frame.picture)[20:] > 0)
    assert not left[:20].any()
    assert left.any()


def test_a_span_that_knows_no_scratch_brings_none_back() -> None:
    """Both fade into one another: the other span's residual is that of an uncleared frame."""
    first, second = spans_of(dirty(count=24), Grid(4, 12))
    first = Clearing.asked(UNCHANGED).clear(first)
    assert first.fades_out
    second = replace(second, lines=None)

    def answered() -> Iterator[Answer]:
        for span, residual in ((first, 0.0), (second, 40.0 / 255.0)):
            for answer in answers(span):
                denoise = answer.repaired.denoise
                assert denoise is not None
                yield replace(answer, repaired=Repaired(denoise + np.float32(residual)))

    written = {frame.number: frame for frame in compose(answered(), Strengths())}
    last = first.core[-1]
    assert last.filled is not None
    codes = last.filled.codes(last.picture)
    luma = written[last.number].luma
    np.testing.assert_array_equal(luma[codes == 255], last.luma[codes == 255])
    assert (luma[codes == 0] > last.luma[codes == 0]).mean() > 0.9


@pytest.mark.parametrize("size", [(17, 19), (45, 61)])
@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_small_and_odd_pictures(form: PixelFormat, size: tuple[int, int]) -> None:
    scene = [one[: size[0], : size[1]] for one in pan(2.7)]
    column = 0.6 * size[1]
    frames = stored(scratched(scene, replace(SCRATCH, column=column)), form, sigma=3.0)
    line = Line(column, 0.0, 2.2, False, 60.0, 0, size[0], 1.0)
    (span,) = spans_of(frames)
    runs = tuple(
        Sight(one.number, column, 0.0, (0.0, 0.0), 2.2, False, 60.0, 1.0, 1.0) for one in frames
    )
    known = LineEvidence((runs,), (line.confidence,), (0, len(frames) - 1))
    cleared = Clearing.asked(UNCHANGED).clear(replace(span, lines=known))
    for frame in cleared.walk:
        for now, was in zip(frame.planes, frames[frame.number].planes, strict=True):
            assert now.shape == was.shape


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
    assert followers[5].planes is again.planes  # a freeze may be long
    assert followers[8].filled is not None
    assert followers[8].filled.pieces[0].defect.frame == 8


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


def test_what_is_protected_stays() -> None:
    frames = dirty()
    top = np.zeros(SIZE, dtype=bool)
    top[: SIZE[0] // 2] = True
    (span,) = spans_of([replace(one, protected=top) for one in frames])
    for frame in Clearing.asked(UNCHANGED).clear(span).walk:
        np.testing.assert_array_equal(frame.luma[top], frames[frame.number].luma[top])
        assert (frame.luma != frames[frame.number].luma).any()


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_no_sample_is_changed_by_more_than_it_may(form: PixelFormat) -> None:
    """By the fill of a scratch and by denoising together, in copies of a frame, too."""
    frames = dirty(form)
    frames[5] = replace(frames[5], copy=True)
    (span,) = spans_of(frames)
    asked = replace(UNCHANGED, denoise=(100.0, 100.0), max_change=9.0)
    cleared = Clearing.asked(asked).clear(span)
    lighter = np.array([6.0 / 255.0, 0.0, 0.0], dtype=np.float32)[:, None, None]

    def brighter(span: Span) -> Iterator[Answer]:
        for answer in answers(span):
            denoise = answer.repaired.denoise
            assert denoise is not None
            yield replace(answer, repaired=Repaired(denoise + lighter))

    written = list(compose(brighter(cleared), Strengths.asked(asked)))
    assert [frame.number for frame in written] == list(range(COUNT))
    for frame in written:
        step = frame.luma.astype(int) - frames[frame.number].luma
        assert np.abs(step).max() == 9 * form.peak // 255
        assert np.median(step) == pytest.approx(6.0 * form.peak / 255.0, abs=0.5)
