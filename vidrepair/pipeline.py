"""The only file that knows the order: decode, repeats, shots, spans, engine, compose, encode.

`run` opens what is needed and `stages` has the threads. Workers end first, whatever happens.
"""

from __future__ import annotations

import logging
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import groupby

from vidrepair.batch import Choice, Profiler, Profilers, cut_spans
from vidrepair.broken import mark_broken
from vidrepair.carriers import plane_views
from vidrepair.compose import Strengths, compose
from vidrepair.defects import find_defects
from vidrepair.engines import Build, repair
from vidrepair.errors import UsageError
from vidrepair.fields import apart, split_fields, weave_fields
from vidrepair.flicker import deflicker
from vidrepair.frames import Answer, Frame
from vidrepair.gaps import fill_gaps
from vidrepair.matte import Touch
from vidrepair.noise import known_profile
from vidrepair.overlay import show
from vidrepair.profilers import profilers_of
from vidrepair.publication import keep, publish
from vidrepair.rebuild import rebuild_lost
from vidrepair.repeats import mark_repeats
from vidrepair.report import NOTE, Progress, Report, Teller
from vidrepair.results import analysis_of, mixtures, report_of, unknown_frames, write_lists
from vidrepair.run import Run, open_run
from vidrepair.scratch_clearing import Clearing
from vidrepair.segment_plan import Share, plan_segments
from vidrepair.segments import SegmentedTarget
from vidrepair.sequences import is_sequence
from vidrepair.settings import Job
from vidrepair.shots import number_shots

Observer = Callable[[Progress], None]

log = logging.getLogger(__name__)

_UNKNOWN = known_profile(0.0, 0.0, rgb=False)
"""The noise of spans of which only the borders are asked."""


def run_job(
    job: Job,
    observer: Observer | None = None,
    build: Build | None = None,
    *,
    told: bool = False,
    opened: Callable[[Run], None] | None = None,
) -> Report:
    """Repair one file, or pipe. `observer` is called twice a second or so, from a worker; `build`
    compiles an engine for a card where there is none yet. Where `plan_job` has `told` what is worth
    telling before the first frame it is not told again. `opened` is called once, right before the
    first frame is worked on.

    What cannot be carried is logged, by name, before the first frame. Raises a VidrepairError;
    whatever happens, nothing but a finished file gets the final name, and no thread is left.
    """
    started = time.monotonic()
    with ExitStack() as owned:
        run = open_run(job, build, owned)
        if not told:
            _tell(run.warnings, run.notes)
        if opened is not None:
            opened(run)
        if not run.written:
            _drive(run, observer)
        publish(run)
        report = report_of(run, time.monotonic() - started)
        analysis = analysis_of(run)
        late = [] if analysis is None else write_lists(run, analysis)
        late += [*(() if run.planned is None else run.planned[1].losses()), *run.target.losses()]
        late += [*run.gaps.remarks(run.tally.frames), *unknown_frames(run), *mixtures(run)]
        if run.journal is not None:  # last: until then everything can be written again
            pictures = job.output is not None and is_sequence(job.output)
            # `redo` takes packets out of a film.
            if analysis is None or job.target.sidecar is None or pictures:
                run.journal.remove()
            else:
                keep(run.journal, analysis)
    _tell(late)
    warnings = (*run.warnings, *run.spare.warnings, *late)
    return replace(report, warnings=warnings, notes=run.notes)


def plan_job(job: Job, observer: Observer | None = None, build: Build | None = None) -> bool:
    """Begin a job that workers are to compute, or take it up, and plan its segments by decoding
    the film once; `observer` is told of frames that were decoded. False where it goes in one piece:
    nothing was begun then.

    Raises a VidrepairError as `run_job` does, for what comes to light before the first frame.
    """
    with ExitStack() as owned:
        run = open_run(job, build, owned)
        if run.journal is None or run.planned is None:
            return False
        _tell(run.warnings, run.notes)
        if run.journal.record.plan is not None or run.named:
            return True
        times = array("q")
        tell = _teller(run, observer)

        def timed() -> Iterator[Frame]:
            for frame in _in_shots(run):
                if run.extent.holds(frame):
                    times.append(frame.pts)
                yield frame
                tell(len(times), lambda: "decode")

        nothing = Profilers(Profiler(lambda _core: None, lambda _own, _before: _UNKNOWN))
        frames, behind = _split(run, timed()), _lies_behind(run)
        for span in cut_spans(frames, run.grid, lambda: nothing, behind=behind):
            run.seams.add(span)
        _end_lists(run)
        kept = [(one.first, one.after) for one in run.journal.apart().values()]
        run.journal.plan(plan_segments(times, run.seams, kept))
        if kept:
            run.journal.renumber()
        run.journal.end(run.at_end())
    return True


def work_job(job: Job, share: Share, observer: Observer | None = None) -> tuple[str, ...]:
    """Compute some segments of a job that was planned; what is worth telling of them.

    Raises a VidrepairError as `run_job` does; segments that are finished by then stay.
    """
    with ExitStack() as owned:
        run = open_run(job, None, owned, share)
        _drive(run, observer)
        return tuple(run.spare.warnings)


def _drive(run: Run, observer: Observer | None) -> None:
    run.stages.drive(
        partial(_decode, run),
        partial(_infer, run),
        partial(_encode, run, observer),
        partial(_cancel, run),
    )


def _tell(warnings: Sequence[str], notes: Sequence[str] = ()) -> None:
    for note in notes:
        log.log(NOTE, note)
    for warning in warnings:
        log.warning(warning)


def _cancel(run: Run) -> None:
    """From the caller's thread: nobody stays inside the engine or an encoder."""
    run.engine.cancel()
    run.spare.cancel()
    run.target.cancel()
    if run.matte is not None:
        run.matte.cancel()


def _decode(run: Run) -> None:
    asked, record = run.job.repair, run.record
    frames = _in_shots(run)
    if record is not None:
        frames = record.listen(frames)
    light = None if record is None else record.add_light
    frames = deflicker(frames, asked.deflicker / 100.0, light)
    frames = _split(run, frames)
    told = None if record is None else record.add_span  # an analysis tells of all
    clearing, chosen = Clearing.asked(asked), _choice(run)
    for span in cut_spans(
        frames,
        run.spans,
        lambda: profilers_of(run),
        chosen=chosen,
        behind=_lies_behind(run),
        told=told,
    ):
        run.seams.add(span)
        run.stages.spans.put(clearing.clear(span))
    # Before the others may take the film for finished.
    _end_lists(run)
    _copy_beside(run)
    run.stages.spans.close()


def _end_lists(run: Run) -> None:
    """Where every frame was decoded, what tells of the whole film has been met, if it fits."""
    if run.share is not None or not run.source.ended:
        return
    for told in (run.guide, run.cuts):
        if told is not None:
            told.finish()


def _in_shots(run: Run) -> Iterator[Frame]:
    """The frames of the film as they will be numbered, with their marks and shots."""
    asked, guide, clip = run.job.repair, run.guide, run.source.clip
    frames = _masked(run, _counted(run))
    if asked.mends:
        frames = mark_broken(frames, asked.bad_frames)
    if clip.rate is not None:
        step = 1 / (clip.rate * clip.time_base)
        frames = fill_gaps(frames, step, run.gaps, fill=asked.fill_gaps)
    frames = mark_repeats(_noted(run, frames))
    if run.cuts is not None:
        return run.cuts.number_shots(frames)
    return number_shots(frames) if guide is None else guide.number_shots(frames)


def _split(run: Run, frames: Iterator[Frame]) -> Iterator[Frame]:
    """The same, or the fields of each."""
    return split_fields(frames) if run.fields else frames


def _choice(run: Run) -> Choice:
    """Which spans are computed: all from where the film is finished to its end, or a share's."""
    stride, first, late = run.stride, run.start * run.stride, _lies_behind(run)
    if run.share is None:
        return lambda number: None if number < first or late(number) else 0
    assert run.plan is not None
    stretch = run.plan.stretches(run.share.numbers)
    return lambda number: stretch(number // stride)


def _lies_behind(run: Run) -> Callable[[int], bool]:
    """Whether a frame, or field, lies behind all that is computed."""
    stride, extent = run.stride, run.extent
    if run.share is None:
        return lambda number: extent.after is not None and number >= extent.after * stride
    assert run.plan is not None
    last = run.plan.segments[run.share.numbers[-1]].after * stride
    return lambda number: number >= last


def _copy_beside(run: Run) -> None:
    """Of a part of a film: sound may lie behind the picture that it belongs to."""
    if run.extent.after is None or run.in_segments:  # else the source has read what there is
        return
    for item in run.source.read_beside(run.extent.until):
        run.facts.add_packet(item)
        run.target.copy(item)


def _counted(run: Run) -> Iterator[Frame]:
    """The decoded frames; packets of other streams go past the engine."""
    for item in run.source.read():
        if isinstance(item, Frame):
            yield item
        elif not run.in_segments:  # else they are read again when the film is joined
            run.facts.add_packet(item)  # before `copy`, which gives it other times
            run.target.copy(item)


def _noted(run: Run, frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames that there are to be; the finished file is checked for them."""
    for frame in frames:
        run.extent.meet(frame)
        run.facts.add_frame(frame)
        yield frame


def _masked(run: Run, frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames with what the user says of them."""
    readers = (run.masked, run.protected)
    if not any(readers):
        yield from frames
        return
    for frame in frames:
        masked, protected = (None if one is None else one.read(frame.number) for one in readers)
        yield replace(frame, masked=masked, protected=protected)
    for one in readers:
        if one is not None:
            one.finish()


def _infer(run: Run) -> None:
    spare = None if run.engine.identity.precision == "fp32" else run.spare
    for _, spans in groupby(run.stages.spans, key=lambda span: span.stretch):
        for answer in repair(spans, run.engine, spare):
            run.stages.answers.put(answer)
    run.stages.answers.close()


def _encode(run: Run, observer: Observer | None) -> None:
    tell = _teller(run, observer)
    for stretch, answers in groupby(run.stages.answers, key=lambda answer: answer.span.stretch):
        _encode_stretch(run, stretch, answers, tell)
    if run.tally.frames == 0 and run.job.reading.end is not None:
        raise UsageError("no frame lies between --ss and --to; choose more of the film")
    run.target.end()
    if run.matte is not None:
        run.matte.end()


def _encode_stretch(run: Run, stretch: int, answers: Iterable[Answer], tell: Teller) -> None:
    """Write what is computed in one go: the film, or neighbouring segments of it."""
    last = None
    if run.share is not None:
        assert run.plan is not None
        last = run.plan.segments[run.share.last_beside(stretch)]
    for frame, touch in _finished(run, answers):
        if not run.extent.holds(frame) or (last is not None and frame.number >= last.after):
            break
        run.target.write(_shown(run, frame, touch))
        run.tally.count(frame, touch)
        if isinstance(run.target, SegmentedTarget):
            run.target.note(touch)
        elif run.matte is not None:
            run.matte.write(frame, touch.codes)
        if run.record is not None:
            run.record.add_defects(touch.defects)
        tell(run.tally.frames, run.stages.limit)
    if last is not None and isinstance(run.target, SegmentedTarget):
        run.target.end_stretch(last)


def _teller(run: Run, observer: Observer | None) -> Teller:
    return Teller(observer, run.extent.total, run.start)


def _finished(run: Run, answers: Iterable[Answer]) -> Iterator[tuple[Frame, Touch]]:
    """The frames as they are written, and what was done to each."""
    asked = run.job.repair
    strengths = Strengths.asked(asked)
    ahead = 0 if run.engine.worked is None else 2 * run.engine.identity.lanes
    if asked.mends:
        allows = None if run.guide is None else run.guide.allows
        answers = find_defects(answers, asked.damage, allows)
    frames = compose(run.tally.listen(answers), strengths, ahead=ahead)
    rebuild = partial(rebuild_lost, motion_of=run.tally.motion)
    frames = apart(frames, rebuild) if run.fields else rebuild(frames)
    pairs = ((frame, run.tally.touch(frame)) for frame in frames)
    return weave_fields(pairs, run.source.clip.picture) if run.fields else pairs


def _shown(run: Run, frame: Frame, touch: Touch) -> Frame:
    """A finished frame, or what is shown in its place."""
    overlay = run.job.target.overlay
    if overlay is None:
        return frame
    decoded = replace(frame, planes=plane_views(frame.carrier, frame.picture.format))
    return replace(frame, planes=show(overlay, decoded, frame.planes, touch.codes))
