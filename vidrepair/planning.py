"""What a run will write, known before the first frame: or refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vidrepair.decode import Source, open_source
from vidrepair.encode import OutputPlan, plan_output
from vidrepair.errors import CannotCarry
from vidrepair.extent import end_of
from vidrepair.interlace import Interlacing
from vidrepair.labels import LOST_WITH, spoken
from vidrepair.routes import find_route
from vidrepair.sequences import SEQUENCE, refuse_one_picture
from vidrepair.settings import Job
from vidrepair.stream_losses import FLAC_FIRST
from vidrepair.streams import Copies, plan_copies
from vidrepair.tags import StreamFacts

HEARD = ("audio", "subtitle", "video")
"""Kinds of streams that nobody may lose unasked where no stream at all is carried."""


def open_job_source(job: Job) -> Source:
    """The source; its decoder tells of its quantiser where anything is to be done."""
    if job.reading.rate is None:
        refuse_one_picture(job.source)
    source = open_source(
        job.source,
        # Damage comes out alike then, also where another run has measured the noise.
        tell_quantiser=job.repair.asks,
        stream=job.reading.stream,
        start=job.reading.start,
        end=job.reading.end,
        rate=job.reading.rate,
    )
    source.alone = job.trial
    source.enough = job.target.frames
    return source


def look_for_fields(source: Source, job: Job) -> Interlacing:
    """What is known of the film's fields; it is made progressive from here on if asked for."""
    asked = job.repair.interlace
    found = source.interlacing()
    if asked == "progressive":  # whoever says so has looked; what else the frames carry counts
        found = Interlacing(source.clip.interlaced, combed=False, side_data=found.side_data)
    way = found.way(asked)
    source.by_fields = way == "fields"
    source.deinterlace_as(way)
    return found


def check_planned(job: Job) -> None:
    """Raises what a run of the job would raise for its source and target before the first frame."""
    with open_job_source(job) as source:
        plan_target(source, job, look_for_fields(source, job))


def plan_target(source: Source, job: Job, looked: Interlacing) -> tuple[OutputPlan, Copies]:
    """What the target will be, and who goes with the picture.

    Raises CannotCarry, and UsageError for what does not go together.
    """
    side_data = sorted({*source.carried.side_data, *looked.side_data})
    carried = replace(source.carried, side_data=tuple(side_data))
    plan = plan_output(source.clip, job.output, job.target, carried)
    end = end_of(source.clip, job)
    plan = replace(plan, cut=plan.cut or end is not None)
    copies = plan_copies(source.container, source.clip, plan.container, source.covers, end=end)
    allowed = job.target.allow_loss
    left = [
        fact
        for fact in source.clip.others
        if fact.index in copies.left and LOST_WITH[fact.kind] not in allowed
    ]
    if plan.container == SEQUENCE:
        _refuse_pictures([fact for fact in left if fact.kind in HEARD])
    elif not plan.renumbered:  # y4m is the picture alone, as who asks for it knows
        sounds = _sounds(source.container)
        silent = [fact for fact in left if fact.index in sounds]
        if len(silent) == len(sounds):
            _refuse_silence(silent, plan.container, source)
    return plan, copies


def _sounds(container: Any) -> set[int]:
    """The streams that can be heard, by index: damaged files have some that hold nothing."""
    contexts = ((stream.index, stream.codec_context) for stream in container.streams.audio)
    return {index for index, context in contexts if context is not None and context.sample_rate}


def _refuse_pictures(left: list[StreamFacts]) -> None:
    """Pictures hold nothing else: whoever writes them may have forgotten it."""
    if left:
        names = ",".join(dict.fromkeys(LOST_WITH[fact.kind] for fact in left))
        raise CannotCarry(
            f"numbered pictures cannot hold everything: {'; '.join(map(str, left))};"
            f" accept that with --allow-loss {names}, or write an .mkv file"
        )


def _refuse_silence(left: list[StreamFacts], container: str, source: Source) -> None:
    """Nobody loses all sound of a film unasked."""
    if left:
        # Matroska takes any film; who is refused there is not sent to a container that may not.
        others = {"matroska": "write an .mkv file", "mov": "write a .mov file"}
        streams = source.container.streams
        holding = (
            words
            for other, words in others.items()
            if container != "matroska"
            and any(find_route(streams[fact.index], fact, other, {}) for fact in left)
        )
        remedy = next(holding, FLAC_FIRST)
        raise CannotCarry(
            f"{spoken(container)} cannot hold the sound of this film:"
            f" {'; '.join(map(str, left))}; {remedy}, or accept that with --allow-loss audio"
        )
