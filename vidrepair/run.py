"""Everything that a run owns, opened in order.

What is opened is closed in the order that PyAV needs, whatever happens: targets first, then the
source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vidrepair.analysis import AnalysisBuilder, Guide, open_guide
from vidrepair.batch import Grid
from vidrepair.channel import Channel
from vidrepair.cuts import Cuts
from vidrepair.decode import Source
from vidrepair.encode import OutputPlan, Target, open_target
from vidrepair.engines import Build, Engine, Spare, make_engine, open_engine
from vidrepair.errors import UsageError
from vidrepair.extent import Extent, total_frames
from vidrepair.facts import FactsBuilder
from vidrepair.fields import half_of
from vidrepair.files import same_file
from vidrepair.film_clock import FilmClock
from vidrepair.frames import Answer, GrainProfile, Picture, Span
from vidrepair.gaps import Gap, Gaps
from vidrepair.grain_table import read_profile
from vidrepair.interlace import Interlacing
from vidrepair.job_facts import content_facts
from vidrepair.job_journal import begin, goes_in_segments, open_journal, open_share
from vidrepair.job_lists import check_lists, open_clock, open_cuts
from vidrepair.journal import Journal, folder_of, has_parts, read_record
from vidrepair.masks import MaskReader, open_masks
from vidrepair.matte_file import MatteFile, matte_kind, open_matte
from vidrepair.models import ModelFiles
from vidrepair.nowhere import Nowhere
from vidrepair.planning import look_for_fields, open_job_source, plan_target
from vidrepair.segment_plan import Plan, Seams, Share
from vidrepair.segments import SegmentedTarget, frames_of
from vidrepair.sequences import is_pattern, is_sequence
from vidrepair.settings import (
    EngineSettings,
    Interlace,
    Job,
    MaskSettings,
    RepairSettings,
)
from vidrepair.sidecar import read_analysis
from vidrepair.stages import Stages
from vidrepair.streams import Copies
from vidrepair.tags import Clip, Damage
from vidrepair.tally import Tally


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that the threads of one run share."""

    job: Job
    source: Source
    target: Target | SegmentedTarget | Nowhere
    planned: tuple[OutputPlan, Copies] | None
    """The target, and who goes with the picture; None where no film is written."""
    warnings: tuple[str, ...]
    """What may not be as the user wants it, known before the first frame."""
    notes: tuple[str, ...]
    """What else is worth telling before the first frame."""
    facts: FactsBuilder
    extent: Extent
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
    cuts: Cuts | None
    """A list of cuts that is followed."""
    clock: FilmClock | None
    """The film's; None where it has no rate."""
    matte: MatteFile | None
    record: AnalysisBuilder | None
    """The analysis that is written."""
    journal: Journal | None
    """Of the segments of the film; None where it is written in one piece."""
    seams: Seams
    plan: Plan | None = None
    """All segments, where only some of them are computed."""
    share: Share | None = None
    """Those that are; None where all are that are not finished yet."""
    known: bool = False
    """Whether the analysis that is followed is that of an older film, but for its places."""
    named: bool = False
    """Whether the film has its name already, and only what goes with it is wanting."""
    taken: int = 0
    """Frames that an earlier run has finished."""

    @property
    def in_segments(self) -> bool:
        """Whether the film is written so."""
        return self.journal is not None

    @property
    def start(self) -> int:
        """The number of the first frame that is not written yet."""
        if self.share is not None or self.journal is None or not self.journal.record.segments:
            return 0
        return self.journal.record.segments[-1].after

    @property
    def written(self) -> bool:
        """Whether every segment was there before, and they only have to be joined."""
        whole = self.journal is not None and self.journal.record.whole
        # An analysis has to see the film, unless only its places have changed.
        return whole and (self.record is None or self.known)

    @property
    def damage(self) -> Damage:
        """What the decoder met, or another run's that read the film to its end."""
        told = None if self.journal is None else self.journal.record.ended
        return self.source.damage if told is None else Damage(**told["damage"])

    def at_end(self) -> dict[str, Any]:
        """For JSON: what is known once the film was read to its end, and told to other runs."""
        gaps = [asdict(gap) for gap in self.gaps.found]
        return {"damage": self.source.damage.as_dict(), "gaps": gaps}

    @property
    def spans(self) -> Grid:
        """How the film is cut: a trial, which is short, so that it keeps all lanes busy."""
        if not self.job.trial:
            return self.grid
        frames = self.extent.total or self.grid.core
        return self.grid.shared(self.engine.identity.lanes, frames)

    @property
    def fields(self) -> bool:
        """Whether the even and the odd rows are repaired apart."""
        return self.way == "fields"

    @property
    def stride(self) -> int:
        """Pictures that are repaired for each frame."""
        return 2 if self.fields else 1


def open_run(job: Job, build: Build | None, owned: ExitStack, share: Share | None = None) -> Run:
    """Open a job up to its first frame; `owned` closes it all.

    With a `share` only those segments are computed, of a job that was begun and planned. Raises a
    VidrepairError for what cannot be read, asked or carried.
    """
    named = _is_named(job)
    if named:
        job = replace(job, target=replace(job.target, overwrite=True))
    source = owned.enter_context(open_job_source(job))
    grain = read_profile(job.repair.noise_profile)
    if share is None:
        check_lists(job)
    clock = open_clock(source)
    interlacing = look_for_fields(source, job)
    clip, way = source.clip, interlacing.way(job.repair.interlace)
    fields = way == "fields"
    guide = _open_guide(job, clip, fields)
    cuts = open_cuts(job, clip, clock)
    planned = plan_target(source, job, interlacing) if job.target.writes else None
    picture = half_of(clip.picture) if fields else clip.picture
    files, engine, spare = open_engines(picture, job.repair, job.engine, build, owned)
    identity = engine.identity.as_dict()
    warnings = [*source.remarks, *_remarks(job, interlacing, planned, guide, identity)]
    extent = Extent(clip, job)
    tally = Tally(clip.picture, stride=2 if fields else 1)
    seams = Seams(job.target.segment, fields=fields)
    record = AnalysisBuilder() if job.target.analysed and share is None else None
    journal, plan = _open_journal(job, clip, planned, identity, share, owned)
    notes = [] if planned is None else _notes(job, planned[0])
    if journal is not None and share is None and journal.record.segments:
        notes += _take_up(journal, clip, tally, record)
    masked = _open_mask(job.repair.mask_in, "--mask-in", job, clip, owned)
    protected = _open_mask(job.repair.protect, "--protect-mask", job, clip, owned)
    matte = None if journal is not None else open_job_matte(clip, job, owned)
    target = _open_target(job, clip, planned, journal, seams if plan is None else plan, tally)
    owned.enter_context(target)
    run = Run(
        job=job,
        source=source,
        planned=planned,
        warnings=tuple(warnings),
        notes=tuple(notes),
        engine=engine,
        spare=spare,
        masked=masked,
        protected=protected,
        matte=matte,
        target=target,
        facts=FactsBuilder(source.container, clip.video.index, source.carried),
        extent=extent,
        interlacing=interlacing,
        way=way,
        grid=Grid(files.card.warm_up, files.card.core_length(picture)),
        stages=_open_stages(engine, source),
        tally=tally,
        gaps=_known_gaps(journal),
        grain=grain,
        guide=guide,
        cuts=cuts,
        clock=clock,
        record=record,
        journal=journal,
        seams=seams,
        plan=plan,
        share=share,
        known=record is not None and _is_known(journal, guide),
        named=named,
        taken=tally.frames,
    )
    if planned is not None and share is None:
        begin(job, planned[0], identity, extent.total, journal)
    return run


def _remarks(
    job: Job,
    interlacing: Interlacing,
    planned: tuple[OutputPlan, Copies] | None,
    guide: Guide | None,
    identity: Mapping[str, Any],
) -> list[str]:
    """What is worth telling of a job, whatever of it is finished."""
    told = interlacing.remarks(job.repair.interlace)
    if planned is not None:
        told += [*planned[0].warnings, *planned[1].warnings]
    if guide is not None:
        told += guide.remarks(identity, job.repair.as_dict())
    return told


def _notes(job: Job, plan: OutputPlan) -> list[str]:
    """What was chosen for the user; and, before hours are spent because an option was forgotten,
    that nothing was.
    """
    if job.repair.alters:
        return list(plan.notes)
    idle = "nothing is asked of the picture (--denoise 0, --repair none): it is coded again"
    return [*plan.notes, idle]


def _is_named(job: Job) -> bool:
    """Whether the film that a job goes on with was finished, and the run ended right then."""
    if not job.target.resume or job.output is None:
        return False
    there = job.output.parent.is_dir() if is_sequence(job.output) else job.output.is_file()
    if not there:
        return False
    record = read_record(folder_of(job.output))
    if record.joined is None or record.alike:
        return False
    return record.joined == content_facts(job.output)


def _known_gaps(journal: Journal | None) -> Gaps:
    """Those that another run met, where this one has only to join; else none yet."""
    if journal is None or not journal.record.whole or journal.record.ended is None:
        return Gaps()
    return Gaps([Gap(**told) for told in journal.record.ended["gaps"]])


def _is_known(journal: Journal | None, guide: Guide | None) -> bool:
    """Whether a film that only has to be joined changes an older one with the same shots, and so
    the same spans, as the analysis that is followed.
    """
    if journal is None or guide is None or not journal.record.whole:
        return False
    if not journal.analysis_path.is_file():
        return False
    before = read_analysis(journal.analysis_path)
    return before.shots == guide.analysis.shots


def _open_journal(
    job: Job,
    clip: Clip,
    planned: tuple[OutputPlan, Copies] | None,
    engine: Mapping[str, Any],
    share: Share | None,
    owned: ExitStack,
) -> tuple[Journal | None, Plan | None]:
    """The journal of a film that goes in segments; all of these where only a share is computed."""
    if planned is None:
        return None, None
    plan, copies = planned
    if share is not None:
        return open_share(job, plan, engine, share, owned)
    if not goes_in_segments(job, clip, plan):
        return None, None
    # What the encoder or the container refuses comes to light now, not when all is done.
    with open_target(clip, plan, job.output, copies), ExitStack() as trial:
        open_job_matte(clip, job, trial)
    return open_journal(job, plan, engine, total_frames(clip, job), owned), None


def _take_up(
    journal: Journal, clip: Clip, tally: Tally, record: AnalysisBuilder | None
) -> list[str]:
    """Count what is finished, and take down what was repaired there. Returns what to tell of it."""
    for segment in journal.record.segments:
        tally.go_on(json.loads(segment.tally))
    if record is not None:
        for _, touch in frames_of(journal, clip):
            record.add_defects(touch.defects)
    if journal.record.whole or has_parts(journal.folder):
        return []
    return [f"{tally.frames} frames are finished; up to there the film is only decoded"]


def _open_guide(job: Job, clip: Clip, fields: bool) -> Guide | None:
    """The sidecar that leads the run, seen to be one of this film and these settings."""
    guide = open_guide(job.analysis, clip)
    if guide is not None:
        guide.check_way(fields=fields, settings=job.repair.as_dict())
    return guide


def _open_stages(engine: Engine, source: Source) -> Stages:
    lanes = engine.identity.lanes
    # The lanes of a card start, and so end, together; a processor's are behind the decoder.
    spans = Channel[Span](1 if engine.worked is None else lanes)
    return Stages(engine, source.cancel, spans, Channel[Answer](2 * lanes))


def _open_target(
    job: Job,
    clip: Clip,
    planned: tuple[OutputPlan, Copies] | None,
    journal: Journal | None,
    borders: Seams | Plan,
    tally: Tally,
) -> Target | SegmentedTarget | Nowhere:
    """Where finished frames go."""
    if planned is None:
        return Nowhere()
    if journal is None:
        return open_target(clip, planned[0], job.output, planned[1])
    return SegmentedTarget(
        *(clip, planned[0], journal, borders, tally.news, total_frames(clip, job)),
        touches=job.target.told_places,
    )


def _open_mask(
    asked: MaskSettings | None, flag: str, job: Job, clip: Clip, owned: ExitStack
) -> MaskReader | None:
    if asked is None:
        return None
    written = (job.output, job.target.mask_out, job.target.sidecar, job.target.markers)
    outputs = [Path(path) for path in written if path is not None]
    return owned.enter_context(open_masks(asked, clip, flag=flag, outputs=outputs))


def open_job_matte(clip: Clip, job: Job, owned: ExitStack) -> MatteFile | None:
    """The matte that a job asks for; None where it asks for none."""
    if job.target.mask_out is None:
        return None
    into = Path(job.target.mask_out)
    if matte_kind(job.target.mask_out) == "png":
        _check_pictures_stay(job, into, into.parent if is_pattern(into) else into)
    film = job.output if job.target.writes else None
    overwrite = job.target.overwrite
    matte = open_matte(clip, job.target.mask_out, output=film, overwrite=overwrite)
    return owned.enter_context(matte)


def _check_pictures_stay(job: Job, into: Path, folder: Path) -> None:
    """A matte of pictures removes those of an earlier one: neither a mask nor the film must be
    among them.
    """
    for film in (job.source, job.output if job.target.writes else None):
        if film is not None and is_sequence(film) and same_file(film.parent, folder):
            raise UsageError(
                f"--mask-out {into} would go where the pictures {film} are; choose another folder"
            )
    for mask in (job.repair.mask_in, job.repair.protect):
        if mask is None or not (mask.path.is_dir() or is_pattern(mask.path)):
            continue
        if same_file(mask.path if mask.path.is_dir() else mask.path.parent, folder):
            raise UsageError(f"the matte would go where the mask {mask.path} is; choose another")


def open_engines(
    picture: Picture,
    repair: RepairSettings,
    settings: EngineSettings,
    build: Build | None,
    owned: ExitStack,
) -> tuple[ModelFiles, Engine, Spare]:
    """The model, the engine, and what takes over where its output overflows."""
    # Nothing is computed where nothing is asked for.
    settings = settings if repair.asks else settings.idle()
    damage = repair.mends
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
