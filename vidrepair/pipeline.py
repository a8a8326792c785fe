"""The only file that knows the order: decode, repeats, shots, spans, engine, compose, encode.

Three threads. One decodes, up to finished spans with their noise; the caller's runs the
engine; one composes and encodes. Two bounded channels between them keep memory flat. This
module owns everything and closes it on every error, in the order that PyAV needs: workers
first, then the target, then the source.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from threading import Thread

import numpy as np

from vidrepair.batch import Grid, Profiler, Profilers, cut_spans
from vidrepair.channel import BrokenOff, Channel
from vidrepair.compose import Strengths, compose
from vidrepair.decode import Source, open_source
from vidrepair.defects import find_defects
from vidrepair.encode import Target, open_target, plan_output
from vidrepair.engines import Build, Engine, Spare, make_engine, repair
from vidrepair.errors import UsageError
from vidrepair.flicker import deflicker
from vidrepair.frames import Answer, Frame, NoiseProfile, Span
from vidrepair.matte import Touch, matte_clip, matte_frame
from vidrepair.models import find_model
from vidrepair.noise import combine, known_profile, measure_span
from vidrepair.repeats import mark_repeats
from vidrepair.report import Progress, Report, Speedometer
from vidrepair.scratch_runs import judge as judge_lines
from vidrepair.scratches import measure_lines
from vidrepair.settings import EngineSettings, Job, OutputSettings
from vidrepair.shots import number_shots
from vidrepair.spectrum import combine as combine_spectra
from vidrepair.spectrum import measure_spectrum
from vidrepair.streams import plan_copies
from vidrepair.tags import Clip
from vidrepair.tally import Tally

Observer = Callable[[Progress], None]
_OF_NO_ACCOUNT = 0.1
"""Share of the engine's time below which its waits name no other stage."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Run:
    """Everything that the threads of one run share; the pipeline's own, never handed on."""

    job: Job
    source: Source
    target: Target
    matte: Target | None
    engine: Engine
    spare: Spare
    grid: Grid
    spans: Channel[Span]
    answers: Channel[Answer]
    tally: Tally
    failures: list[BaseException] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    began: float = 0.0
    """When the engine's stage did; 0 before."""
    seconds: float = 0.0
    """That it took, its waits included; 0 while it goes on."""
    worked: float = 0.0
    """That the engine's device had worked before."""
    finished: bool = False
    """The target is whole: what the other stages meet now is of no interest."""

    def limit(self) -> str:
        """The stage that the engine waits for, or the engine."""
        waits = {"encode": self.answers.waited_full}
        # A decoder that itself waits longer for the engine holds up nobody.
        if self.spans.waited_empty > self.spans.waited_full:
            waits["decode"] = self.spans.waited_empty
        stage = max(waits, key=lambda name: waits[name])
        lasted = self.seconds or time.monotonic() - self.began
        return stage if waits[stage] > _OF_NO_ACCOUNT * lasted else "engine"

    def busy(self) -> float:
        """The share of its time in which the engine waited for nobody; of a card, computed."""
        if not self.seconds:
            return 0.0
        if self.engine.worked is not None:
            return min((self.engine.worked - self.worked) / self.seconds, 1.0)
        waited = self.spans.waited_empty + self.answers.waited_full
        return max(1.0 - waited / self.seconds, 0.0)

    def break_off(self) -> None:
        """Nobody is left waiting: not for a frame, not for a pipe."""
        self.source.cancel()
        self.spans.break_off()
        self.answers.break_off()


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
        plan = plan_output(clip, job.output, job.target)
        source.require_progressive()
        copies = plan_copies(source.container, clip, plan.container, source.covers)
        warnings = [*plan.warnings, *copies.warnings]
        _tell(warnings)
        files = find_model(job.engine.model)
        settings = _engine_settings(job)
        damage = job.repair.mends
        engine = make_engine(files, clip.picture, settings, damage=damage, build=build)
        owned.callback(engine.close)
        exact = _exact(settings, engine)
        spare = Spare(lambda: make_engine(files, clip.picture, exact, damage=damage))
        owned.callback(spare.close)
        matte = _open_matte(clip, job)
        if matte is not None:
            owned.enter_context(matte)
        target = owned.enter_context(open_target(clip, plan, job.output, copies))
        grid = Grid(files.card.warm_up, files.card.core_length(clip.picture))
        lanes = engine.identity.lanes
        # The lanes of a card start, and so end, together; a processor's are behind the decoder.
        spans = Channel[Span](1 if engine.worked is None else lanes)
        answers = Channel[Answer](2 * lanes)
        tally = Tally(clip.picture)
        run = _Run(job, source, target, matte, engine, spare, grid, spans, answers, tally)
        _drive(run, observer)
        report = _report(run, time.monotonic() - started)
    late = [*copies.losses(), *target.losses()]
    _tell(late)
    return replace(report, warnings=(*warnings, *spare.warnings, *late))


def _tell(warnings: Sequence[str]) -> None:
    for warning in warnings:
        log.warning(warning)


def _open(job: Job) -> Source:
    """The source; its decoder tells of its quantiser where the noise is to be measured."""
    measured = job.repair.noise is None and job.repair.asks
    return open_source(job.source, tell_quantiser=measured)


def _open_matte(clip: Clip, job: Job) -> Target | None:
    """The file of the matte, where one is asked for."""
    path = job.target.mask_out
    if path is None:
        return None
    if job.output is not None and path.resolve() == job.output.resolve():
        raise UsageError(f"--mask-out {path} is the output itself; choose another name")
    gray = matte_clip(clip)
    asked = OutputSettings(codec="ffv1", overwrite=job.target.overwrite)
    return open_target(gray, plan_output(gray, path, asked), path)


def _engine_settings(job: Job) -> EngineSettings:
    """Nothing is computed where nothing is asked for."""
    return job.engine if job.repair.asks else job.engine.idle()


def _exact(settings: EngineSettings, engine: Engine) -> EngineSettings:
    """For what overflowed: the same backend in fp32, but the processor's where a card is full."""
    if engine.worked is None:
        return replace(settings, precision="fp32", backend=engine.identity.backend)
    return EngineSettings(model=settings.model, device="cpu", precision="fp32")


def _drive(run: _Run, observer: Observer | None) -> None:
    """Run the three stages to their end; raise the first error of any of them."""
    workers = [
        Thread(target=_guard, args=(run, "decode", _decode), name="decode"),
        Thread(target=_guard, args=(run, "encode", _encode, observer), name="encode"),
    ]
    try:
        for worker in workers:
            worker.start()
        _guard(run, "engine", _infer, catch=Exception)
        for worker in workers:
            worker.join()
    except BaseException:
        # Ctrl-C and the like: nobody may be left waiting, least of all inside the engine or
        # the flush of an encoder's lookahead.
        _end(run, workers)
        raise
    if run.failures and not run.finished:
        raise run.failures[0]


def _end(run: _Run, workers: Sequence[Thread]) -> None:
    """Stop the workers. A second Ctrl-C is of no use: PyAV crashes when closed in mid-call."""
    run.engine.cancel()
    run.spare.cancel()
    run.target.cancel()
    if run.matte is not None:
        run.matte.cancel()
    run.break_off()
    for worker in workers:
        while worker.is_alive():
            with suppress(BaseException):
                worker.join()


def _guard(
    run: _Run,
    stage: str,
    work: Callable[..., None],
    *extra: object,
    catch: type[BaseException] = BaseException,
) -> None:
    """Run one stage; its first failure wakes and ends the others.

    It is raised in the caller's thread, even where an observer called sys.exit() in a worker's.
    """
    started = time.thread_time()
    try:
        work(run, *extra)
    except BrokenOff:
        pass
    except catch as error:
        run.failures.append(error)
        run.break_off()
    finally:
        run.stages[stage] = time.thread_time() - started


def _decode(run: _Run) -> None:
    frames = number_shots(mark_repeats(_counted(run)))
    frames = deflicker(frames, run.job.repair.deflicker / 100.0)
    for span in cut_spans(frames, run.grid, lambda: _profilers(run)):
        run.spans.put(span)
    run.spans.close()


def _counted(run: _Run) -> Iterator[Frame]:
    """The decoded frames; packets of other streams go past the engine."""
    for item in run.source.read():
        if isinstance(item, Frame):
            yield item
        else:
            run.target.copy(item)


def _profilers(run: _Run) -> Profilers:
    asked = run.job.repair
    spectrum = Profiler(measure_spectrum, combine_spectra) if asked.makes_grain else None
    lines = Profiler(measure_lines, judge_lines) if "scratch" in asked.damage.kinds else None
    return Profilers(_noise_profiler(run), spectrum, lines)


def _noise_profiler(run: _Run) -> Profiler[NoiseProfile]:
    known = run.job.repair.noise
    rgb = run.source.clip.picture.format.family == "rgb"
    if known is not None:
        fixed = known_profile(*known, rgb=rgb)
        return Profiler(lambda _core: None, lambda _own, _before: fixed)
    return Profiler(measure_span, combine)


def _infer(run: _Run) -> None:
    run.began, run.worked = time.monotonic(), run.engine.worked or 0.0
    try:
        narrow = run.engine.identity.precision != "fp32"
        for answer in repair(run.spans, run.engine, run.spare if narrow else None):
            run.answers.put(answer)
        run.answers.close()
    finally:
        run.seconds = time.monotonic() - run.began


def _encode(run: _Run, observer: Observer | None) -> None:
    clock = Speedometer(_total(run), time.monotonic)
    told = 0.0
    for frame, touch in _finished(run):
        run.target.write(frame)
        run.tally.count(frame, touch)
        if run.matte is not None:
            run.matte.write(matte_frame(frame, touch.codes))
        if observer is not None and time.monotonic() - told > 0.5:
            told = time.monotonic()
            observer(clock.progress(run.tally.frames, run.limit()))
        if run.tally.frames == run.job.target.frames:
            break
    run.target.finish()
    if run.matte is not None:
        run.matte.finish()
    run.finished = True
    run.break_off()  # where --frames is reached the other stages have nothing left to do


def _finished(run: _Run) -> Iterator[tuple[Frame, Touch]]:
    """The frames as they are written, and what was done to each."""
    asked = run.job.repair
    luma, chroma = (share / 100.0 for share in asked.denoise)
    strengths = Strengths((luma, chroma), asked.grain / 100.0)
    ahead = 0 if run.engine.worked is None else 2 * run.engine.identity.lanes
    answers: Iterable[Answer] = run.answers
    if asked.mends:
        answers = find_defects(answers, asked.damage)
    for frame in compose(run.tally.listen(answers), strengths, ahead=ahead):
        yield frame, run.tally.touch(frame)


def _total(run: _Run) -> int | None:
    """How many frames there will be, as far as the file says."""
    counts = (run.source.clip.frame_count, run.job.target.frames)
    return min((count for count in counts if count is not None), default=None)


def _report(run: _Run, seconds: float) -> Report:
    tally = run.tally
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
        stages={name: round(value, 3) for name, value in run.stages.items()},
        limit=run.limit(),
        busy=round(run.busy(), 3),
        warnings=(),
    )
