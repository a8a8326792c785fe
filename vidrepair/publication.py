"""The finished film, checked before it gets its name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from vidrepair.decode import Source
from vidrepair.encode import OutputPlan, Target, open_target
from vidrepair.errors import CheckFailed, VidrepairError
from vidrepair.expectation import Expectation
from vidrepair.facts import FactsBuilder
from vidrepair.findings import Analysis
from vidrepair.job_facts import content_facts, file_facts
from vidrepair.journal import Journal
from vidrepair.packets import write_heads
from vidrepair.planning import open_job_source
from vidrepair.run import Run, open_job_matte
from vidrepair.segments import fell_short, frames_of, join
from vidrepair.settings import DEINTERLACED
from vidrepair.sidecar import write_analysis
from vidrepair.streams import Copies
from vidrepair.tags import Copied
from vidrepair.verification import check


def publish(run: Run) -> None:
    """Give the film its name if it passes, then the matte. Raises CheckFailed."""
    if run.planned is not None and run.journal is not None:
        if not run.named:
            _join(run, run.journal, *run.planned)
        _write_matte(run, run.journal)
    elif run.planned is not None and isinstance(run.target, Target):
        _check(run, run.facts, run.target, *run.planned)
        run.target.publish()
    if run.matte is not None:
        run.matte.publish()


def keep(journal: Journal, analysis: Analysis) -> None:
    """A film and its sidecar are there: what `redo` needs to change the film stays."""
    for segment in journal.record.segments:
        packets, heads = journal.path(segment.first), journal.heads_path(segment.first)
        if packets.exists():  # else an earlier run got further
            write_heads(packets, heads, segment.sha256)
    write_analysis(analysis, journal.analysis_path, overwrite=True)
    journal.keep()


def _join(run: Run, journal: Journal, plan: OutputPlan, copies: Copies) -> None:
    """Join the segments with everything else that the source holds; the film gets its name."""
    clip = run.source.clip
    _check_source(run, journal)
    decoded, finished = not run.written, journal.record.frames
    if decoded and run.facts.frames < finished:
        raise fell_short(clip, run.facts.frames, finished)
    if journal.record.ended is None:
        journal.end(run.at_end())
    journal.drop_parts()  # of a run that was killed while it joined
    end = math.inf
    if plan.cut:
        end = float(journal.record.segments[-1].end * clip.time_base - plan.offset)
    with (
        open_job_source(run.job) as source,
        open_target(clip, plan, run.job.output, copies, journal.folder) as target,
    ):
        facts = FactsBuilder(source.container, clip.video.index, run.source.carried)
        join(journal, target, _heard(source, facts, end), plan.time_base, end)
        if decoded:
            # What was decoded is the better witness.
            facts.take_times(run.facts.times, run.facts.last)
        else:
            for segment in journal.record.segments:
                for pts in segment.pts():
                    facts.add_pts(pts)
        _check(run, facts, target, plan, copies)
        assert target.written is not None
        journal.join(told := content_facts(target.written), alike=_is_alike(run, told))
        target.publish()


def _write_matte(run: Run, journal: Journal) -> None:
    """Of the whole film, from what was kept of each segment."""
    clip = run.source.clip
    with ExitStack() as owned:
        matte = open_job_matte(clip, run.job, owned)
        if matte is None:
            return
        for frame, touch in frames_of(journal, clip):
            matte.write(frame, touch.codes)
        matte.end()
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


def _is_alike(run: Run, told: Mapping[str, Any]) -> bool:
    """Whether what lies under the name of the film cannot be told from it by these facts."""
    output = run.job.output
    return output is not None and output.is_file() and content_facts(output) == told


def _heard(source: Source, facts: FactsBuilder, until: float) -> Iterator[Copied]:
    """The packets of the other streams, taken down."""
    for item in source.read_beside(until):
        facts.add_packet(item)  # before anybody gives it other times
        yield item


def _check(run: Run, facts: FactsBuilder, target: Target, plan: OutputPlan, copies: Copies) -> None:
    """Compare the finished film with what was read. One that differs keeps another name."""
    if (written := target.written) is not None:
        allowed = Expectation(
            offset=plan.offset,
            frames=run.tally.frames if plan.cut else None,
            renumbered=plan.renumbered,
            rate=plan.rate,
            left=copies.left,
            converted=copies.converted,
            thinned=dict(copies.dropped),
            empty=copies.empty,
            read_as=plan.read_as,
            lost=plan.lost | copies.lost | ({"field-order"} if run.way in DEINTERLACED else set()),
        )
        differences = check(facts.build(run.source.clip), written, allowed)
        if differences:
            kept = target.reject()
            told = "\n  ".join(map(str, differences))
            raise CheckFailed(
                f"{kept} is not what was promised, by a fault of this tool; report it with what"
                f" vidrepair doctor says, and keep the file only for that:\n  {told}"
            )
