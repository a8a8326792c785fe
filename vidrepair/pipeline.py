"""The only file that knows the order: decode, repeats, shots, spans, engine, compose, encode.

`stages` has the threads. This module owns everything and closes it on every error, in the order
that PyAV needs: workers first, then the targets, then the source.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from vidrepair.analysis import AnalysisBuilder, Guide, open_guide
from vidrepair.batch import Grid, Profiler, Profilers, cut_spans
from vidrepair.carriers import plane_views
from vidrepair.channel import Channel
from vidrepair.compose import Strengths, compose
from vidrepair.decode import Source, open_source
from vidrepair.defects import find_defects
from vidrepair.encode import OutputPlan, Target, open_target, plan_output
from vidrepair.engines import Build, Engine, Spare, make_engine, repair
from vidrepair.fields import half_of, split_fields, weave_fields
from vidrepair.files import check_writable
from vidrepair.findings import InterlaceFacts
from vidrepair.flicker import deflicker
from vidrepair.frames import Answer, Frame, GrainProfile, GrainSpectrum, NoiseProfile, Picture, Span
from vidrepair.grain_table import read_profile
from vidrepair.interlace import Interlacing
from vidrepair.masks import MaskReader, open_masks
from vidrepair.matte import Touch
from vidrepair.matte_file import MatteFile, open_matte
from vidrepair.models import ModelFiles, find_model
from vidrepair.noise import combine, known_profile, measure_span
from vidrepair.nowhere import Nowhere
from vidrepair.overlay import show
from vidrepair.repeats import mark_repeats
from vidrepair.report import Progress, Report, Speedometer
from vidrepair.scratch_runs import judge as judge_lines
from vidrepair.scratches import measure_lines
from vidrepair.settings import EngineSettings, Job, MaskSettings
from vidrepair.shots import number_shots
from vidrepair.sidecar import write_analysis
from vidrepair.spectrum import combine as combine_spectra
from vidrepair.spectrum import measure_spectrum
from vidrepair.stages import Stages
from vidrepair.streams import Copies, plan_copies
from vidrepair.tags import Clip
from vidrepair.tally import Tally

Observer = Callable[[Progress], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Run:
    """Everything that the threads of one run share; the pipeline's own, never handed on."""

    job: Job
    source: Source
    target: Target | Nowhere
    interlacing: Interlacing
    fields: bool
    """The even and the odd rows are repaired apart."""
    engine: Engine
    spare: Spare
    grid: Grid
    stages: Stages
    tally: Tally
    masked: MaskReader | None
    """What the user calls damage."""
    protected: MaskReader | None
    """What the user wants kept."""
    grain: GrainProfile | None
    """Known beforehand."""
    guide: Guide | None
    """An analysis that is followed."""
    matte: MatteFile | None
    record: AnalysisBuilder | None
    """The analysis that is written."""


def run_job(job: Job, observer: Observer | None = None, build: Build | None = None) -> Report:
    """Repair one file, or pipe. `observer` is called twice a second or so, from a worker; `build`
    compiles an engine for a card where there is none yet.

    What cannot be carried is logged, by name, before the first frame. Raises a VidrepairError;
    whatever happens, nothing but a finished file gets the final name, and no thread is left.
    """
    started = time.monotonic()
    with ExitStack() as owned:
        source = owned.enter_context(_open(job))
        clip = source.clip
        guide = open_guide(job.analysis, clip)
        grain = read_profile(job.repair.noise_profile)
        if job.target.sidecar is not None:
            check_writable(job.target.sidecar, overwrite=job.target.overwrite)
        interlacing = _interlacing(source, job)
        clip = source.clip
        way = interlacing.way(job.repair.interlace)
        warnings = interlacing.remarks(job.repair.interlace)
        planned = None if not job.target.writes else _plan(source, job)
        if planned is not None:
            warnings += [*planned[0].warnings, *planned[1].warnings]
        files = find_model(job.engine.model)
        picture = half_of(clip.picture) if way == "fields" else clip.picture
        engine, spare = _open_engine(files, picture, job, build, owned)
        if guide is not None:
            warnings += guide.remarks(engine.identity.as_dict(), job.repair.as_dict())
        _tell(warnings)
        lanes = engine.identity.lanes
        # The lanes of a card start, and so end, together; a processor's are behind the decoder.
        spans = Channel[Span](1 if engine.worked is None else lanes)
        run = _Run(
            job=job,
            source=source,
            engine=engine,
            spare=spare,
            masked=_open_mask(job.repair.mask_in, "--mask-in", job, clip, owned),
            protected=_open_mask(job.repair.protect, "--protect-mask", job, clip, owned),
            matte=_open_matte(clip, job, owned),
            target=_open_target(clip, planned, job, owned),
            interlacing=interlacing,
            fields=way == "fields",
            grid=Grid(files.card.warm_up, files.card.core_length(picture)),
            stages=Stages(engine, source.cancel, spans, Channel[Answer](2 * lanes)),
            tally=Tally(clip.picture, stride=2 if way == "fields" else 1),
            grain=grain,
            guide=guide,
            record=None if job.target.sidecar is None else AnalysisBuilder(),
        )
        run.stages.drive(
            partial(_decode, run),
            partial(_infer, run),
            partial(_encode, run, observer),
            partial(_cancel, run),
        )
        report = _report(run, time.monotonic() - started)
        _write_sidecar(run)
    late = [*(() if planned is None else planned[1].losses()), *run.target.losses()]
    _tell(late)
    return replace(report, warnings=(*warnings, *spare.warnings, *late))


def _tell(warnings: Sequence[str]) -> None:
    for warning in warnings:
        log.warning(warning)


def _open(job: Job) -> Source:
    """The source; its decoder tells of its quantiser where the noise is to be measured."""
    asked = job.repair
    known = (asked.noise, asked.noise_profile, job.analysis)
    measured = asked.asks and all(one is None for one in known)
    return open_source(job.source, tell_quantiser=measured)


def _plan(source: Source, job: Job) -> tuple[OutputPlan, Copies]:
    """What the target will be, and who goes with the picture."""
    plan = plan_output(source.clip, job.output, job.target)
    return plan, plan_copies(source.container, source.clip, plan.container, source.covers)


def _open_target(
    clip: Clip, planned: tuple[OutputPlan, Copies] | None, job: Job, owned: ExitStack
) -> Target | Nowhere:
    if planned is None:
        return Nowhere()
    return owned.enter_context(open_target(clip, planned[0], job.output, planned[1]))


def _open_mask(
    asked: MaskSettings | None, flag: str, job: Job, clip: Clip, owned: ExitStack
) -> MaskReader | None:
    if asked is None:
        return None
    written = (job.output, job.target.mask_out, job.target.sidecar)
    outputs = [Path(path) for path in written if path is not None]
    return owned.enter_context(open_masks(asked, clip, flag=flag, outputs=outputs))


def _open_matte(clip: Clip, job: Job, owned: ExitStack) -> MatteFile | None:
    if job.target.mask_out is None:
        return None
    film = job.output if job.target.writes else None
    overwrite = job.target.overwrite
    matte = open_matte(clip, job.target.mask_out, output=film, overwrite=overwrite)
    return owned.enter_context(matte)


def _interlacing(source: Source, job: Job) -> Interlacing:
    """What is known of the film's fields; it is made progressive from here on if asked for."""
    asked = job.repair.interlace
    # Whoever takes frames for whole ones has looked.
    found = Interlacing(source.clip.interlaced, combed=False)
    if asked != "progressive":
        found = source.interlacing()
    if found.way(asked) == "bwdif":
        source.deinterlace()
    return found


def _open_engine(
    files: ModelFiles, picture: Picture, job: Job, build: Build | None, owned: ExitStack
) -> tuple[Engine, Spare]:
    """The engine, and what takes over where its output overflows."""
    # Nothing is computed where nothing is asked for.
    settings = job.engine if job.repair.asks else job.engine.idle()
    damage = job.repair.mends
    engine = make_engine(files, picture, settings, damage=damage, build=build)
    owned.callback(engine.close)
    exact = _exact(settings, engine)
    spare = Spare(lambda: make_engine(files, picture, exact, damage=damage))
    owned.callback(spare.close)
    return engine, spare


def _exact(settings: EngineSettings, engine: Engine) -> EngineSettings:
    """For what overflowed: the same backend in fp32, but the processor's where a card is full."""
    if engine.worked is None:
        return replace(settings, precision="fp32", backend=engine.identity.backend)
    return EngineSettings(model=settings.model, device="cpu", precision="fp32")


def _cancel(run: _Run) -> None:
    """From the caller's thread: nobody stays inside the engine or an encoder."""
    run.engine.cancel()
    run.spare.cancel()
    run.target.cancel()
    if run.matte is not None:
        run.matte.cancel()


def _decode(run: _Run) -> None:
    asked, guide, record = run.job.repair, run.guide, run.record
    frames = _masked(run, _counted(run))
    frames = mark_repeats(frames)
    frames = number_shots(frames) if guide is None else guide.number_shots(frames)
    if record is not None:
        frames = record.listen(frames)
    light = None if record is None else record.add_light
    frames = deflicker(frames, asked.deflicker / 100.0, light)
    if run.fields:
        frames = split_fields(frames)
    for span in cut_spans(frames, run.grid, lambda: _profilers(run)):
        if record is not None:
            record.add_span(span)
        run.stages.spans.put(span)
    run.stages.spans.close()
    if guide is not None:
        guide.finish()


def _counted(run: _Run) -> Iterator[Frame]:
    """The decoded frames; packets of other streams go past the engine."""
    for item in run.source.read():
        if isinstance(item, Frame):
            yield item
        else:
            run.target.copy(item)


def _masked(run: _Run, frames: Iterable[Frame]) -> Iterator[Frame]:
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


def _profilers(run: _Run) -> Profilers:
    asked = run.job.repair
    wanted = asked.makes_grain or run.record is not None
    spectrum = _spectrum_profiler(run) if wanted else None
    lines = Profiler(measure_lines, judge_lines) if "scratch" in asked.damage.kinds else None
    return Profilers(_noise_profiler(run), spectrum, lines)


def _noise_profiler(run: _Run) -> Profiler[NoiseProfile]:
    known, guide, grain = run.job.repair.noise, run.guide, run.grain
    if grain is not None:
        return Profiler(lambda _core: None, lambda _own, _before: grain.noise)
    if known is not None:
        fixed = known_profile(*known, rgb=run.source.clip.picture.format.family == "rgb")
        return Profiler(lambda _core: None, lambda _own, _before: fixed)
    if guide is not None:
        return Profiler(lambda core: core[0].number, lambda first, _before: guide.noise_of(first))
    return Profiler(measure_span, combine)


def _spectrum_profiler(run: _Run) -> Profiler[GrainSpectrum]:
    guide, grain = run.guide, run.grain
    if grain is not None:
        return Profiler(lambda _core: None, lambda _own, _before: grain.spectrum)
    if guide is not None and guide.has_spectra:
        return Profiler(
            lambda core: core[0].number, lambda first, _before: guide.spectrum_of(first)
        )
    return Profiler(measure_spectrum, combine_spectra)


def _infer(run: _Run) -> None:
    spare = None if run.engine.identity.precision == "fp32" else run.spare
    for answer in repair(run.stages.spans, run.engine, spare):
        run.stages.answers.put(answer)
    run.stages.answers.close()


def _encode(run: _Run, observer: Observer | None) -> None:
    clock = Speedometer(_total(run), time.monotonic)
    told = 0.0
    for frame, touch in _finished(run):
        run.tally.count(frame, touch)
        run.target.write(_shown(run, frame, touch))
        if run.matte is not None:
            run.matte.write(frame, touch.codes)
        if run.record is not None:
            run.record.add_defects(touch.defects)
        if observer is not None and time.monotonic() - told > 0.5:
            told = time.monotonic()
            observer(clock.progress(run.tally.frames, run.stages.limit()))
        if run.tally.frames == run.job.target.frames:
            break
    run.target.finish()
    if run.matte is not None:
        run.matte.finish()
    run.stages.finished = True
    run.stages.break_off()  # where --frames is reached the other stages have nothing left to do


def _finished(run: _Run) -> Iterator[tuple[Frame, Touch]]:
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
    pairs = ((frame, run.tally.touch(frame)) for frame in frames)
    return weave_fields(pairs, run.source.clip.picture) if run.fields else pairs


def _shown(run: _Run, frame: Frame, touch: Touch) -> Frame:
    """A finished frame, or what is shown in its place."""
    overlay = run.job.target.overlay
    if overlay is None:
        return frame
    decoded = replace(frame, planes=plane_views(frame.carrier, frame.picture.format))
    return replace(frame, planes=show(overlay, decoded, frame.planes, touch.codes))


def _total(run: _Run) -> int | None:
    """How many frames there will be, as far as the file says."""
    counts = (run.source.clip.frame_count, run.job.target.frames)
    return min((count for count in counts if count is not None), default=None)


def _write_sidecar(run: _Run) -> None:
    if run.record is None or run.job.target.sidecar is None:
        return
    analysis = run.record.build(
        run.source.clip,
        engine=run.engine.identity.as_dict(),
        settings=run.job.repair.as_dict(),
        interlace=InterlaceFacts(run.interlacing.flagged, run.interlacing.combed),
        shares=run.tally.shares(),
    )
    write_analysis(analysis, run.job.target.sidecar, overwrite=run.job.target.overwrite)


def _report(run: _Run, seconds: float) -> Report:
    tally, stages = run.tally, run.stages
    luma, chroma = np.mean(tally.noise, axis=0) if tally.noise else (0.0, 0.0)
    return Report(
        source=run.source.clip.name,
        output="standard output" if run.job.output is None else str(run.job.output),
        frames=tally.frames,
        shots=len(tally.shares()),
        repeats=tally.repeats,
        copies=tally.copies,
        rebuilt=tally.rebuilt,
        seconds=seconds,
        engine=run.engine.identity.as_dict(),
        noise=(float(luma), float(chroma)),
        damage=run.source.damage,
        defects=dict(tally.defects),
        touched=tally.touched(),
        shares=tally.shares(),
        stages={name: round(value, 3) for name, value in stages.seconds.items()},
        limit=stages.limit(),
        busy=round(stages.busy(), 3),
        warnings=(),
    )
