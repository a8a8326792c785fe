"""Everything that a run owns, opened in order; and the finished file, checked before it is named.

What is opened is closed in the order that PyAV needs, whatever happens: targets first, then the
source.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidrepair.analysis import AnalysisBuilder, Guide, open_guide
from vidrepair.batch import Grid
from vidrepair.channel import Channel
from vidrepair.decode import Source, open_source
from vidrepair.encode import OutputPlan, Target, open_target, plan_output
from vidrepair.engines import Build, Engine, Spare, make_engine, open_engine
from vidrepair.errors import CheckFailed, UsageError, VidrepairError
from vidrepair.facts import FactsBuilder
from vidrepair.fields import half_of
from vidrepair.files import check_writable
from vidrepair.frames import Answer, GrainProfile, Picture, Span
from vidrepair.gaps import Gaps
from vidrepair.grain_table import read_profile
from vidrepair.interlace import Interlacing
from vidrepair.job_facts import MIXABLE, changes, file_facts, job_facts
from vidrepair.journal import Journal, folder_of
from vidrepair.masks import MaskReader, is_pattern, open_masks, same_file
from vidrepair.matte_file import MatteFile, matte_kind, open_matte
from vidrepair.models import ModelFiles
from vidrepair.nowhere import Nowhere
from vidrepair.segments import Seams, SegmentedTarget, first_damaged, frames_of, join
from vidrepair.settings import DEINTERLACED, EngineSettings, Interlace, Job, MaskSettings
from vidrepair.stages import Stages
from vidrepair.streams import Copies, plan_copies
from vidrepair.tags import Clip, Copied, Damage
from vidrepair.tally import Tally
from vidrepair.verification import Expectation, check

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that the threads of one run share."""

    job: Job
    source: Source
    target: Target | SegmentedTarget | Nowhere
    planned: tuple[OutputPlan, Copies] | None
    """The target, and who goes with the picture; None where no film is written."""
    warnings: tuple[str, ...]
    """What is worth telling before the first frame."""
    facts: FactsBuilder
    interlacing: Interlacing
    way: Interlace
    """How its fields are repaired."""
    engine: Engine
    spare: Spare
    grid: Grid
    stages: Stages
    tally: Tally
    gaps: Gaps
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
    journal: Journal | None
    """Of the segments of the film; None where it is written in one piece."""
    seams: Seams

    @property
    def in_segments(self) -> bool:
        """Whether the film is written so."""
        return self.journal is not None

    @property
    def start(self) -> int:
        """The number of the first frame that is not written yet."""
        segments = [] if self.journal is None else self.journal.record.segments
        return segments[-1].first + segments[-1].frames if segments else 0

    @property
    def written(self) -> bool:
        """Whether every segment was there before, and they only have to be joined."""
        ended = self.journal is not None and self.journal.record.ended is not None
        return ended and self.record is None  # an analysis has to see the film

    @property
    def damage(self) -> Damage:
        """What the decoder met, or another run's that read the film to its end."""
        told = None if self.journal is None else self.journal.record.ended
        return self.source.damage if told is None else Damage(**told)

    @property
    def fields(self) -> bool:
        """Whether the even and the odd rows are repaired apart."""
        return self.way == "fields"


def open_run(job: Job, build: Build | None, owned: ExitStack) -> Run:
    """Open a job up to its first frame; `owned` closes it all.

    Raises a VidrepairError for what cannot be read, asked or carried.
    """
    source = owned.enter_context(_open(job))
    grain = read_profile(job.repair.noise_profile)
    _check_sidecar(job)
    interlacing = _interlacing(source, job)
    clip, way = source.clip, interlacing.way(job.repair.interlace)
    guide = open_guide(job.analysis, clip)
    warnings = interlacing.remarks(job.repair.interlace)
    planned = _plan(source, job, interlacing) if job.target.writes else None
    if planned is not None:
        warnings += [*planned[0].warnings, *planned[1].warnings]
    if guide is not None:
        guide.check_way(fields=way == "fields", settings=job.repair.as_dict())
    picture = half_of(clip.picture) if way == "fields" else clip.picture
    files, engine, spare = _open_engine(picture, job, build, owned)
    if guide is not None:
        warnings += guide.remarks(engine.identity.as_dict(), job.repair.as_dict())
    fields = way == "fields"
    tally, seams = Tally(clip.picture, stride=2 if fields else 1), Seams(fields=fields)
    journal = _open_journal(job, clip, planned, engine.identity.as_dict(), owned)
    record = None if job.target.sidecar is None else AnalysisBuilder()
    if journal is not None and journal.record.segments:
        for segment in journal.record.segments:
            tally.go_on(segment.tally)
        warnings.append(f"{tally.frames} frames are finished; up to there the film is only decoded")
        if record is not None:
            for _, touch in frames_of(journal, clip):
                record.add_defects(touch.defects)
    lanes = engine.identity.lanes
    # The lanes of a card start, and so end, together; a processor's are behind the decoder.
    spans = Channel[Span](1 if engine.worked is None else lanes)
    run = Run(
        job=job,
        source=source,
        planned=planned,
        warnings=tuple(warnings),
        engine=engine,
        spare=spare,
        masked=_open_mask(job.repair.mask_in, "--mask-in", job, clip, owned),
        protected=_open_mask(job.repair.protect, "--protect-mask", job, clip, owned),
        matte=None if journal is not None else _open_matte(clip, job, owned),
        target=_open_target(clip, planned, job, owned)
        if journal is None or planned is None
        else owned.enter_context(_segmented(clip, planned[0], job, journal, seams, tally)),
        facts=FactsBuilder(source.container, clip.video.index, source.carried),
        interlacing=interlacing,
        way=way,
        grid=Grid(files.card.warm_up, files.card.core_length(picture)),
        stages=Stages(engine, source.cancel, spans, Channel[Answer](2 * lanes)),
        tally=tally,
        gaps=Gaps(),
        grain=grain,
        guide=guide,
        record=record,
        journal=journal,
        seams=seams,
    )
    _begin(run)
    return run


def _check_sidecar(job: Job) -> None:
    """Refuse, before any work, a sidecar that cannot be written or is a file that is read."""
    sidecar, repair = job.target.sidecar, job.repair
    if sidecar is None:
        return
    masks = [mask.path for mask in (repair.mask_in, repair.protect) if mask is not None]
    for own in (job.source, job.analysis, repair.noise_profile, *masks):
        if own is not None and same_file(sidecar, own):
            raise UsageError(f"the sidecar {sidecar} would replace a file that is read; rename it")
    check_writable(sidecar, overwrite=job.target.overwrite)


def _open(job: Job) -> Source:
    """The source; its decoder tells of its quantiser where the noise is to be measured."""
    asked = job.repair
    known = (asked.noise, asked.noise_profile, job.analysis)
    measured = asked.asks and all(one is None for one in known)
    return open_source(
        job.source,
        tell_quantiser=measured,
        stream=job.reading.stream,
        start=job.reading.start,
        end=job.reading.end,
    )


def _plan(source: Source, job: Job, looked: Interlacing) -> tuple[OutputPlan, Copies]:
    """What the target will be, and who goes with the picture."""
    side_data = sorted({*source.carried.side_data, *looked.side_data})
    carried = replace(source.carried, side_data=tuple(side_data))
    plan = plan_output(source.clip, job.output, job.target, carried)
    end = end_of(source.clip, job)
    plan = replace(plan, cut=plan.cut or end is not None)
    return plan, plan_copies(source.container, source.clip, plan.container, source.covers, end=end)


def end_of(clip: Clip, job: Job) -> Fraction | None:
    """Where the output stops, in seconds of the file; None for its end."""
    return None if job.reading.end is None else clip.zero + job.reading.end


def _open_target(
    clip: Clip, planned: tuple[OutputPlan, Copies] | None, job: Job, owned: ExitStack
) -> Target | Nowhere:
    if planned is None:
        return Nowhere()
    return owned.enter_context(open_target(clip, planned[0], job.output, planned[1]))


def _in_segments(job: Job, clip: Clip, planned: tuple[OutputPlan, Copies] | None) -> bool:
    """Whether a film is long enough, and all that is written can be taken up again."""
    asked = job.target
    if planned is None or job.source is None or job.output is None:
        return False
    if not asked.journal or planned[0].renumbered:
        return False
    total = total_frames(clip, job)
    return asked.resume or total is None or total > asked.segment


def _open_journal(
    job: Job,
    clip: Clip,
    planned: tuple[OutputPlan, Copies] | None,
    engine: Mapping[str, Any],
    owned: ExitStack,
) -> Journal | None:
    """The journal of a film that is written in segments, new or taken up again.

    Raises UsageError for an unfinished job that is not asked for, and for one that is asked for
    and not there, or was another.
    """
    if planned is None or job.output is None:
        return None
    plan, copies = planned
    folder, asked = folder_of(job.output), job.target
    if folder.exists() and not asked.resume and not asked.overwrite:
        raise UsageError(
            f"an unfinished job for {job.output} lies in {folder}; go on with vidrepair resume"
            f" {job.output}, or add -y to begin anew"
        )
    if asked.resume and not folder.exists():
        raise UsageError(f"there is no unfinished job for {job.output}; start it with run")
    if not _in_segments(job, clip, planned):
        return None
    # What the encoder or the container refuses comes to light now, not when all is done.
    with open_target(clip, plan, job.output, copies), ExitStack() as trial:
        _open_matte(clip, job, trial)
    journal = Journal(folder)
    owned.callback(journal.leave)
    told = _told(job, plan, engine)
    facts = told["facts"]
    if not asked.resume:
        journal.set_aside()
        return journal
    if journal.record.job is None:
        raise UsageError(f"{folder} says nothing of a job; remove it, and start anew with run")
    _check_unchanged(journal, facts, mixed=asked.allow_mixed)
    if (damaged := first_damaged(journal)) is not None:
        log.warning("segment %d is damaged; it and what follows are computed again", damaged)
        journal.forget(damaged)
    journal.go_on({**told, "arguments": journal.record.job["arguments"]})
    return journal


def _told(job: Job, plan: OutputPlan, engine: Mapping[str, Any]) -> dict[str, Any]:
    """What a journal is told of a job."""
    facts = job_facts(job, plan, engine)
    return {"arguments": list(job.arguments), "folder": str(Path.cwd()), "facts": facts}


def _begin(run: Run) -> None:
    """Everything is open: only now what an older job left may go."""
    job = run.job
    if job.output is None or run.planned is None or job.target.resume:
        return
    folder = folder_of(job.output)
    if run.journal is not None:
        run.journal.start(_told(job, run.planned[0], run.engine.identity.as_dict()))
    elif (folder / "journal").is_file():
        Journal(folder).remove()


def _check_unchanged(journal: Journal, facts: Mapping[str, Any], *, mixed: bool) -> None:
    """Refuse to go on with another job than the one that was begun."""
    assert journal.record.job is not None
    before = journal.record.job["facts"]
    found = changes(before, facts)
    if not found:
        return
    same = [{name: told[name] for name in told if name not in MIXABLE} for told in (before, facts)]
    mixable = not changes(*same)
    if mixed and mixable:
        return
    remedy = "undo that, or begin anew with run -y"
    if mixable:
        remedy = "add --allow-mixed to go on so, or begin anew with run -y"
    raise UsageError(f"{journal.folder} was made otherwise: {'; '.join(found)}; {remedy}")


def _segmented(
    clip: Clip, plan: OutputPlan, job: Job, journal: Journal, seams: Seams, tally: Tally
) -> SegmentedTarget:
    total = total_frames(clip, job)
    wanted = job.target.mask_out is not None or job.target.sidecar is not None
    return SegmentedTarget(
        *(clip, plan, journal, seams, job.target.segment, tally.news, total), touches=wanted
    )


def total_frames(clip: Clip, job: Job) -> int | None:
    """How many frames there will be, as far as the file says."""
    end = end_of(clip, job)
    counts = [clip.frame_count, job.target.frames]
    if end is not None and clip.rate:
        counts.append(math.ceil((end - clip.video_start) * clip.rate))
    return min((count for count in counts if count is not None), default=None)


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
    into = Path(job.target.mask_out)
    if matte_kind(job.target.mask_out) == "png":
        _check_masks_stay(job, into if into.is_dir() else into.parent)
    film = job.output if job.target.writes else None
    overwrite = job.target.overwrite
    matte = open_matte(clip, job.target.mask_out, output=film, overwrite=overwrite)
    return owned.enter_context(matte)


def _check_masks_stay(job: Job, folder: Path) -> None:
    """A matte of pictures removes those of an earlier one: a mask must not be one of them."""
    for mask in (job.repair.mask_in, job.repair.protect):
        if mask is None or not (mask.path.is_dir() or is_pattern(mask.path)):
            continue
        if same_file(mask.path if mask.path.is_dir() else mask.path.parent, folder):
            raise UsageError(f"the matte would go where the mask {mask.path} is; choose another")


def _interlacing(source: Source, job: Job) -> Interlacing:
    """What is known of the film's fields; it is made progressive from here on if asked for."""
    asked = job.repair.interlace
    # Whoever takes frames for whole ones has looked.
    found = Interlacing(source.clip.interlaced, combed=False)
    if asked != "progressive":
        found = source.interlacing()
    source.by_fields = found.way(asked) == "fields"
    if found.way(asked) in DEINTERLACED:
        source.deinterlace(doubled=asked == "bwdif-fields")
    return found


def _open_engine(
    picture: Picture, job: Job, build: Build | None, owned: ExitStack
) -> tuple[ModelFiles, Engine, Spare]:
    """The model, the engine, and what takes over where its output overflows."""
    # Nothing is computed where nothing is asked for.
    settings = job.engine if job.repair.asks else job.engine.idle()
    damage = job.repair.mends
    files, engine = open_engine(picture, settings, damage=damage, build=build)
    owned.callback(engine.close)
    exact = _exact(settings, engine)
    spare = Spare(lambda: make_engine(files, picture, exact, damage=damage))
    owned.callback(spare.close)
    return files, engine, spare


def _exact(settings: EngineSettings, engine: Engine) -> EngineSettings:
    """For what overflowed: the same backend in fp32, but the processor's where a card is full."""
    if engine.worked is None:
        return replace(settings, precision="fp32", backend=engine.identity.backend)
    return EngineSettings(model=settings.model, device="cpu", precision="fp32")


def publish(run: Run) -> None:
    """Give the film its name if it passes, then the matte. Raises CheckFailed."""
    if run.planned is not None and run.journal is not None:
        _join(run, run.journal, *run.planned)
    elif run.planned is not None and isinstance(run.target, Target):
        _check(run, run.facts, run.target, *run.planned)
        run.target.publish()
    if run.matte is not None:
        run.matte.publish()


def _join(run: Run, journal: Journal, plan: OutputPlan, copies: Copies) -> None:
    """Join the segments with everything else that the source holds; the film gets its name."""
    clip = run.source.clip
    _check_source(run, journal)
    if journal.record.ended is None:
        journal.end(run.source.damage.as_dict())
    end = math.inf
    if plan.cut:
        end = float(journal.record.segments[-1].end * clip.time_base - plan.offset)
    with (
        _open(run.job) as source,
        open_target(clip, plan, run.job.output, copies) as target,
    ):
        facts = FactsBuilder(source.container, clip.video.index, run.source.carried)
        join(journal, target, _heard(source, facts), plan.time_base, end)
        kept = [pts for segment in journal.record.segments for pts in segment.pts()]
        decoded = run.facts.times()
        # What was decoded is the better witness; a run that had only to be joined decoded nothing.
        for pts in decoded if len(decoded) >= len(kept) else kept:
            facts.add_pts(pts)
        with ExitStack() as owned:
            matte = _open_matte(clip, run.job, owned)
            if matte is not None:
                for frame, touch in frames_of(journal, clip):
                    matte.write(frame, touch.codes)
                matte.end()
            _check(run, facts, target, plan, copies)
            target.publish()
            if matte is not None:
                matte.publish()


def _check_source(run: Run, journal: Journal) -> None:
    """Refuse to join with the sound of another file than the picture came from."""
    assert journal.record.job is not None
    assert run.job.source is not None
    if file_facts(run.job.source) != journal.record.job["facts"]["source"]:
        raise VidrepairError(
            f"{run.job.source} changed while it was read; put back what it was, and go on with"
            " vidrepair resume"
        )


def _heard(source: Source, facts: FactsBuilder) -> Iterator[Copied]:
    """The packets of the other streams, taken down."""
    for item in source.read_beside():
        facts.add_packet(item)  # before anybody gives it other times
        yield item


def _check(run: Run, facts: FactsBuilder, target: Target, plan: OutputPlan, copies: Copies) -> None:
    """Compare the finished film with what was read. One that differs keeps another name."""
    if (written := target.written) is not None:
        allowed = Expectation(
            offset=plan.offset,
            frames=run.tally.frames if plan.cut else None,
            renumbered=plan.renumbered,
            left=copies.left,
            converted=copies.converted,
            thinned=frozenset(copies.dropped),
            empty=copies.empty,
            read_as=plan.read_as,
            lost=plan.lost | copies.lost | ({"field-order"} if run.way in DEINTERLACED else set()),
        )
        differences = check(facts.build(run.source.clip), written, allowed)
        if differences:
            kept = target.reject()
            told = "\n  ".join(map(str, differences))
            raise CheckFailed(f"{kept} is not what was promised; report this:\n  {told}")
