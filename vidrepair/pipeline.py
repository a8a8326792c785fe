"""The only file that knows the order: decode, repeats, shots, spans, engine, compose, encode.

`run` opens what is needed and `stages` has the threads. Workers end first, whatever happens.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import numpy as np

from vidrepair.batch import Profiler, Profilers, cut_spans
from vidrepair.broken import mark_broken
from vidrepair.carriers import plane_views
from vidrepair.compose import Strengths, compose
from vidrepair.defects import find_defects
from vidrepair.engines import Build, repair
from vidrepair.errors import UsageError
from vidrepair.fields import apart, split_fields, weave_fields
from vidrepair.findings import InterlaceFacts
from vidrepair.flicker import deflicker
from vidrepair.frames import Answer, Frame, GrainSpectrum, NoiseProfile
from vidrepair.gaps import fill_gaps
from vidrepair.matte import Touch
from vidrepair.noise import combine, known_profile, measure_span
from vidrepair.overlay import show
from vidrepair.rebuild import rebuild_lost
from vidrepair.repeats import mark_repeats
from vidrepair.report import Progress, Report, Speedometer
from vidrepair.run import Run, end_of, open_run, publish, total_frames
from vidrepair.scratch_runs import judge as judge_lines
from vidrepair.scratches import measure_lines
from vidrepair.segments import SegmentedTarget
from vidrepair.settings import Job
from vidrepair.shots import number_shots
from vidrepair.sidecar import write_analysis
from vidrepair.spectrum import combine as combine_spectra
from vidrepair.spectrum import measure_spectrum

Observer = Callable[[Progress], None]

log = logging.getLogger(__name__)


def run_job(job: Job, observer: Observer | None = None, build: Build | None = None) -> Report:
    """Repair one file, or pipe. `observer` is called twice a second or so, from a worker; `build`
    compiles an engine for a card where there is none yet.

    What cannot be carried is logged, by name, before the first frame. Raises a VidrepairError;
    whatever happens, nothing but a finished file gets the final name, and no thread is left.
    """
    started = time.monotonic()
    with ExitStack() as owned:
        run = open_run(job, build, owned)
        _tell(run.warnings)
        if not run.written:
            run.stages.drive(
                partial(_decode, run),
                partial(_infer, run),
                partial(_encode, run, observer),
                partial(_cancel, run),
            )
        publish(run)
        report = _report(run, time.monotonic() - started)
        _write_sidecar(run)
        if run.journal is not None:
            run.journal.remove()  # last: until then everything can be written again
    late = [*(() if run.planned is None else run.planned[1].losses()), *run.target.losses()]
    late += [*run.gaps.remarks(run.tally.frames), *_unknown_frames(run)]
    _tell(late)
    return replace(report, warnings=(*run.warnings, *run.spare.warnings, *late))


def _unknown_frames(run: Run) -> list[str]:
    """A sentence on frames that were named and are not in the film."""
    named = run.job.repair.bad_frames
    if run.job.target.frames is not None or run.job.reading.end is not None or not named:
        return []
    count = run.tally.frames - sum(gap.count for gap in run.gaps.found if gap.filled)
    last = max(part.stop for part in named) - 1
    if last >= count:
        return [f"--bad-frames names frame {last}, and the film has {count}, counted from 0"]
    made = run.tally.rebuilt - (run.tally.frames - count)
    if (left := len(set().union(*named)) - made) > 0:
        return [f"{left} of --bad-frames have no sound frame beside them, and stay as they are"]
    return []


def _tell(warnings: Sequence[str]) -> None:
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
    asked, guide, record = run.job.repair, run.guide, run.record
    frames = _masked(run, _counted(run))
    if asked.mends:
        frames = mark_broken(frames, asked.bad_frames)
    clip = run.source.clip
    if clip.rate is not None:
        step = 1 / (clip.rate * clip.time_base)
        frames = fill_gaps(frames, step, run.gaps, fill=asked.fill_gaps)
    frames = mark_repeats(_noted(run, frames))
    frames = number_shots(frames) if guide is None else guide.number_shots(frames)
    if record is not None:
        frames = record.listen(frames)
    light = None if record is None else record.add_light
    frames = deflicker(frames, asked.deflicker / 100.0, light)
    if run.fields:
        frames = split_fields(frames)
    start = run.start * (2 if run.fields else 1)
    wanted = start if record is None else 0  # an analysis tells of all
    for span in cut_spans(frames, run.grid, lambda: _profilers(run), start=wanted):
        run.seams.add(span)
        if record is not None:
            record.add_span(span)
        if span.opens >= start:
            run.stages.spans.put(span)
    # Before the others may take the film for finished.
    if guide is not None:
        guide.finish()
    run.stages.spans.close()


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


def _profilers(run: Run) -> Profilers:
    asked = run.job.repair
    wanted = asked.makes_grain or run.record is not None
    spectrum = _spectrum_profiler(run) if wanted else None
    lines = Profiler(measure_lines, judge_lines) if "scratch" in asked.damage.kinds else None
    return Profilers(_noise_profiler(run), spectrum, lines)


def _noise_profiler(run: Run) -> Profiler[NoiseProfile]:
    known, guide, grain = run.job.repair.noise, run.guide, run.grain
    if grain is not None:
        return Profiler(lambda _core: None, lambda _own, _before: grain.noise)
    if known is not None:
        fixed = known_profile(*known, rgb=run.source.clip.picture.format.family == "rgb")
        return Profiler(lambda _core: None, lambda _own, _before: fixed)
    if guide is not None:
        return Profiler(lambda core: core[0].number, lambda first, _before: guide.noise_of(first))
    return Profiler(measure_span, combine)


def _spectrum_profiler(run: Run) -> Profiler[GrainSpectrum]:
    guide, grain = run.guide, run.grain
    if grain is not None:
        return Profiler(lambda _core: None, lambda _own, _before: grain.spectrum)
    if guide is not None and guide.has_spectra:
        return Profiler(
            lambda core: core[0].number, lambda first, _before: guide.spectrum_of(first)
        )
    return Profiler(measure_spectrum, combine_spectra)


def _infer(run: Run) -> None:
    spare = None if run.engine.identity.precision == "fp32" else run.spare
    for answer in repair(run.stages.spans, run.engine, spare):
        run.stages.answers.put(answer)
    run.stages.answers.close()


def _encode(run: Run, observer: Observer | None) -> None:
    clock = Speedometer(total_frames(run.source.clip, run.job), time.monotonic, run.start)
    told = 0.0
    for frame, touch in _finished(run):
        if _goes_beyond(run, frame):
            break
        run.target.write(_shown(run, frame, touch))
        run.tally.count(frame, touch)
        if isinstance(run.target, SegmentedTarget):
            run.target.note(touch)
        elif run.matte is not None:
            run.matte.write(frame, touch.codes)
        if run.record is not None:
            run.record.add_defects(touch.defects)
        if observer is not None and time.monotonic() - told > 0.5:
            told = time.monotonic()
            observer(clock.progress(run.tally.frames, run.stages.limit()))
        if run.tally.frames == run.job.target.frames:
            break
    if run.tally.frames == 0 and run.job.reading.end is not None:
        raise UsageError("no frame lies between --ss and --to; choose more of the film")
    run.target.end()
    if run.matte is not None:
        run.matte.end()
    run.stages.finished = True
    run.stages.break_off()  # where --frames is reached the other stages have nothing left to do


def _goes_beyond(run: Run, frame: Frame) -> bool:
    """Whether a frame lies behind what was asked for; all may have been there before."""
    end, most = end_of(run.source.clip, run.job), run.job.target.frames
    late = end is not None and frame.pts * frame.time_base >= end
    return late or (most is not None and run.tally.frames >= most)


def _finished(run: Run) -> Iterator[tuple[Frame, Touch]]:
    """The frames as they are written, and what was done to each."""
    asked = run.job.repair
    luma, chroma = (share / 100.0 for share in asked.denoise)
    most = None if asked.max_change is None else asked.max_change / 255.0
    strengths = Strengths((luma, chroma), asked.grain / 100.0, most)
    ahead = 0 if run.engine.worked is None else 2 * run.engine.identity.lanes
    answers: Iterable[Answer] = run.stages.answers
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


def _write_sidecar(run: Run) -> None:
    if run.record is None or run.job.target.sidecar is None:
        return
    for gap in run.gaps.found:
        run.record.add_gap(gap.after, gap.count)
    analysis = run.record.build(
        run.source.clip,
        engine=run.engine.identity.as_dict(),
        settings=run.job.repair.as_dict(),
        interlace=InterlaceFacts(run.interlacing.flagged, run.interlacing.combed),
        shares=run.tally.shares(),
    )
    write_analysis(analysis, run.job.target.sidecar, overwrite=run.job.target.overwrite)


def _report(run: Run, seconds: float) -> Report:
    tally, stages = run.tally, run.stages
    levels = list(tally.noise.values())
    luma, chroma = np.mean(levels, axis=0) if levels else (0.0, 0.0)
    return Report(
        source=run.source.clip.name,
        output="standard output" if run.job.output is None else str(run.job.output),
        written=run.job.target.writes,
        frames=tally.frames,
        shots=len(tally.shares()),
        repeats=tally.repeats,
        copies=tally.copies,
        rebuilt=tally.rebuilt,
        seconds=seconds,
        engine=run.engine.identity.as_dict(),
        noise=(float(luma), float(chroma)),
        damage=run.damage,
        defects=dict(tally.defects),
        touched=tally.touched(),
        shares=tally.shares(),
        stages={name: round(value, 3) for name, value in stages.seconds.items()},
        limit=stages.limit(),
        busy=round(stages.busy(), 3),
        warnings=(),
    )
