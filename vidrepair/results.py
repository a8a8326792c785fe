"""What is told of a finished run: its report and its sidecar."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import islice
from pathlib import Path

from vidrepair.analysis import AnalysisBuilder
from vidrepair.findings import Analysis, InterlaceFacts
from vidrepair.marker_file import write_markers
from vidrepair.markers import mark, unsteady
from vidrepair.report import Report
from vidrepair.run import Run
from vidrepair.settings import Job
from vidrepair.sidecar import write_analysis
from vidrepair.tags import plain_text


def analysis_of(run: Run) -> Analysis | None:
    """All that was found; None where nobody asked."""
    if run.record is None:
        return None
    if run.written and run.guide is not None:
        guide, shares = run.guide, run.tally.shares()
        return run.record.update(guide.analysis, shares=shares, held=guide.held())
    return _whole_analysis(run, run.record)


def write_lists(run: Run, analysis: Analysis) -> list[str]:
    """Write the sidecar and the markers that a job asks for. Returns what to tell of them."""
    asked = run.job.target
    if asked.sidecar is not None:
        write_analysis(analysis, asked.sidecar, overwrite=asked.overwrite)
    if asked.markers is None or run.clock is None:
        return []
    times = _times(run)
    places = [run.clock.place(time) for time in times]
    media = run.job.output if asked.writes else run.job.source
    name = plain_text((media or Path(run.source.clip.name)).stem)
    film = mark(analysis, places, name, media, run.clock)
    write_markers(film, asked.markers, overwrite=asked.overwrite)
    if run.way == "bwdif-fields":  # every other frame lies between two of the source
        return []
    return unsteady(run.source.clip.name, times, run.clock)


def _times(run: Run) -> list[Fraction]:
    """When each frame that was written is shown, in seconds of the file."""
    base, count = run.source.clip.time_base, run.tally.frames
    pts: Iterable[int] = run.facts.times
    if run.journal is not None and run.facts.frames < count:  # this run had only to join
        pts = (one for segment in run.journal.record.segments for one in segment.pts())
    return [one * base for one in islice(pts, count)]


def _whole_analysis(run: Run, record: AnalysisBuilder) -> Analysis:
    for gap in run.gaps.found:
        record.add_gap(gap.after, gap.count)
    return record.build(
        run.source.clip,
        engine=run.engine.identity.as_dict(),
        settings=run.job.repair.as_dict(),
        interlace=InterlaceFacts(run.interlacing.flagged, run.interlacing.combed),
        shares=run.tally.shares(),
        held=() if run.guide is None else run.guide.held(),
    )


def report_of(run: Run, seconds: float) -> Report:
    """What a run did in so many seconds."""
    tally, stages = run.tally, run.stages
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
        noise=tally.noise(),
        damage=run.damage,
        defects=dict(tally.defects),
        touched=tally.touched(),
        shares=tally.shares(),
        stages={name: round(value, 3) for name, value in stages.seconds.items()},
        limit=stages.limit(),
        busy=round(stages.busy(), 3),
        warnings=(),
        taken=run.taken,
        beside=_beside(run.job),
    )


def _beside(job: Job) -> tuple[str, ...]:
    """What is written beside the film."""
    asked = job.target
    paths = (asked.sidecar, asked.markers, asked.mask_out)
    return tuple(str(path) for path in paths if path is not None and Path(path) != job.output)


def unknown_frames(run: Run) -> list[str]:
    """A sentence on frames that were named and are not in the film."""
    named = run.job.repair.bad_frames
    if run.job.reading.end is not None or not named:
        return []
    most, last = run.job.target.frames, max(part.stop for part in named) - 1
    if most is not None and run.tally.frames >= most:
        told = f"--bad-frames names frame {last}, and --frames {most} ends before it"
        return [told] if last >= most else []
    count = run.tally.frames - sum(gap.count for gap in run.gaps.found if gap.filled)
    if last >= count:
        return [f"--bad-frames names frame {last}, and the film has {count}, counted from 0"]
    made = run.tally.rebuilt - (run.tally.frames - count)
    if (left := len(set().union(*named)) - made) > 0:
        return [f"{left} of --bad-frames have no sound frame beside them, and stay as they are"]
    return []


def mixtures(run: Run) -> list[str]:
    """A sentence on each place where another version or engine took over."""
    if run.journal is None:
        return []
    record = run.journal.record
    return [
        f"from frame {record.segments[number].first} on another version or engine made it: {what}"
        for number, what in record.mixed
        if number < len(record.segments)
    ]
