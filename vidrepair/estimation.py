"""What a run of a film will take, by a few pieces of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vidrepair.calibration import Calibration, Film, Piece, calibrate, survey
from vidrepair.errors import PartialSuccess, UsageError, VidrepairError
from vidrepair.frames import Picture
from vidrepair.report import spoken_size
from vidrepair.sequences import is_sequence
from vidrepair.settings import Job
from vidrepair.tags import counted, one_line, plain_text
from vidrepair.trial import Cost, Trial

PIECES = 8
"""Of a film, that are run."""
MOST_PIECES = 50
OWN_KEYS = {"libx264": 250, "libx265": 250}
"""Frames after which an encoder sets a key frame, whatever the picture shows. Of others a piece has
as many as the film."""
PACKET_HEAD = 32
"""Bytes beside a packet of a segment, until the film is joined."""
WAITING = 2
"""Spans of decoded frames that wait for the lanes of an engine: one in a queue, one before it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run of one film will take. Sizes are in bytes, times in seconds."""

    source: str
    frames: int
    """That will be written."""
    counted_by: str
    """How their number is known: packets, container, duration, or run, where the film was run."""
    seconds: float
    """By the clock on the wall, of a machine that is as busy as it was meanwhile."""
    cpu: float
    """Of all processors together."""
    start: float
    """The share of `cpu` that does not grow with the film."""
    output: int
    """The finished file."""
    disk: int
    """The most that lies on the disk meanwhile, the finished file among it."""
    memory: int | None
    """Resident at most; None where the system does not tell."""
    ran: int
    """Frames that were run to know that."""
    took: float
    """By the clock on the wall, all that was run."""
    segmented: bool
    """The film will be written in segments."""
    codec: str
    engine: dict[str, Any]

    @property
    def fps(self) -> float:
        """Frames a second of the wall clock."""
        return self.frames / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = {**asdict(self), "source": plain_text(self.source), "fps": round(self.fps, 3)}
        for name in ("seconds", "cpu", "start", "took"):
            found[name] = round(found[name], 3)
        return found


@dataclass(frozen=True, slots=True)
class Failure:
    """A film that cannot be estimated."""

    source: str
    reason: str
    exit_code: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        source, reason = plain_text(self.source), plain_text(self.reason)
        return {"source": source, "error": reason, "exit": self.exit_code}


def estimate_job(
    job: Job, pieces: int = PIECES, told: Callable[[int, int], None] | None = None
) -> Estimate:
    """What a job will take; its output says the container, and nothing is written there.

    `told` hears how many frames were run, and how many will be. Raises a VidrepairError as the run
    does, and UsageError for a pipe.
    """
    check(job, pieces)
    film = survey(job)
    return extrapolate(film, calibrate(film, pieces, told))


def check(job: Job, pieces: int) -> None:
    """Raises UsageError for what cannot be estimated."""
    if not 1 <= pieces <= MOST_PIECES:
        raise UsageError(f"--pieces {pieces} is out of range; use 1 to {MOST_PIECES}")
    if job.target.told_places:
        raise UsageError("the size of a matte is not estimated; leave --mask-out out")
    if any(path is not None and is_sequence(path) for path in (job.source, job.output)):
        raise UsageError(
            "what numbered pictures take is not estimated; run some of them with --frames 100"
        )


def extrapolate(film: Film, ran: Calibration) -> Estimate:
    """From what was run of a film to all of it."""
    trial = ran.pieces[0].trial
    whole = ran.first is None or ran.again is None
    frames = film.frames * (2 if trial.doubled else 1)
    cost, start = _cost(frames, ran)
    segmented = film.job.target.journal and frames > film.job.target.segment
    picture, output = _sizes(film, frames, ran, segmented=segmented)
    runs = [piece.trial for piece in (ran.first, *ran.pieces, ran.again) if piece is not None]
    beside = picture + PACKET_HEAD * frames if segmented else 0
    return Estimate(
        source=film.clip.name,
        frames=trial.frames if whole else frames,
        counted_by="run" if whole else film.counted_by,
        seconds=cost.seconds,
        cpu=cost.cpu,
        start=start.cpu,
        output=output,
        disk=output + beside,
        memory=_memory(film, frames, ran),
        ran=sum(one.frames for one in runs),
        took=sum((one.opening + one.work).seconds for one in runs),
        segmented=segmented,
        codec=trial.codec,
        engine=trial.engine,
    )


def _cost(frames: int, ran: Calibration) -> tuple[Cost, Cost]:
    """Of the whole film, and of its start alone."""
    if ran.first is None or ran.again is None:
        trial = ran.pieces[0].trial
        return trial.opening + trial.work, trial.opening
    cpu = [_frame_cost(piece.trial, ran.again.trial) for piece in ran.pieces]
    first, works = ran.first.trial, [piece.trial.work for piece in ran.pieces]
    mean = sum(cpu) / len(cpu)
    busy = sum(work.cpu for work in works) / max(sum(work.seconds for work in works), 1e-6)
    each = Cost(mean, mean / max(busy, 1e-6))
    start = first.opening + first.work - each * _full_frames(first)
    start = Cost(max(start.cpu, 0.0), max(start.seconds, 0.0))
    return start + each * frames, start


def _frame_cost(trial: Trial, brief: Trial) -> float:
    """CPU seconds of a frame: what a piece took more than a short one, by how much longer it is."""
    longer = _full_frames(trial) - _full_frames(brief)
    if longer <= 0:
        return trial.work.cpu / trial.frames
    return max((trial.work.cpu - brief.work.cpu) / longer, 0.0)


def _full_frames(trial: Trial) -> float:
    """How many frames of whole spans take as many steps of the generator as the trial's frames."""
    spans = -(-trial.frames // trial.span)
    steps = trial.frames + spans * min(trial.warm_up, trial.frames - 1)
    return steps * trial.span / (trial.span + trial.warm_up)


def _sizes(film: Film, frames: int, ran: Calibration, *, segmented: bool) -> tuple[int, int]:
    """Bytes of the picture in the finished file, and of all of that."""
    if ran.first is None:
        output = ran.pieces[0].output
        return output.film, output.size
    length = _length(film, ran.pieces[0].trial, segmented=segmented)
    each = sum(_frame_size(piece, length) for piece in ran.pieces) / len(ran.pieces)
    copied, packets = _copied(film, frames, ran)
    longest = max((piece.output for piece in ran.pieces), key=lambda output: output.packets)
    more = max(longest.packets - ran.first.output.packets, 1)
    slope = max(longest.beside - ran.first.output.beside, 0) / more
    beside = longest.beside + slope * max(frames + packets - longest.packets, 0)
    picture = round(each * frames)
    return picture, round(picture + copied + beside)


def _length(film: Film, trial: Trial, *, segmented: bool) -> int:
    """Frames from one key frame, that is none of the picture's own, to the next."""
    own = OWN_KEYS.get(trial.codec, 0)
    if not segmented:
        return own or 1 << 30
    return -(-film.job.target.segment // trial.core) * trial.core


def _frame_size(piece: Piece, length: int) -> float:
    """Bytes of one frame, where each `length` frames start as the piece does."""
    output = piece.output
    rest = (output.film - output.first) / max(output.frames - 1, 1)
    keys = 1
    if len(output.keys) == 1 and (own := OWN_KEYS.get(piece.trial.codec)):
        keys += (length - 1) // own
    return rest + max(output.first - rest, 0.0) * keys / length


def _copied(film: Film, frames: int, ran: Calibration) -> tuple[float, float]:
    """Bytes and packets of the streams that are copied."""
    count = sum(piece.output.frames for piece in ran.pieces)
    packets = sum(piece.output.packets - piece.output.frames for piece in ran.pieces)
    if film.inventory is None:
        found = sum(sum(piece.output.others.values()) for piece in ran.pieces)
        return found * frames / count, packets * frames / count
    trial = ran.pieces[0].trial
    left = set(trial.left)
    if trial.container == "matroska":  # there they are attachments, and no packets
        left |= {facts.index for facts in film.clip.others if facts.kind == "cover"}
    others = film.inventory.others.items()
    share = frames / (film.inventory.frames * (2 if trial.doubled else 1))
    found = sum(size for index, size in others if index not in left)
    return share * found, packets * frames / count


def _memory(film: Film, frames: int, ran: Calibration) -> int | None:
    """With the spans of decoded frames that wait in a film longer than the pieces."""
    if ran.memory is None or ran.first is None:
        return ran.memory
    trial = ran.pieces[0].trial
    longest = max(piece.trial.frames for piece in ran.pieces)
    held = min(longest, (trial.lanes + WAITING) * trial.span)
    most = min(frames, (trial.lanes + WAITING) * trial.core)
    return ran.memory + max(most - held, 0) * _frame_bytes(film.clip.picture)


def _frame_bytes(picture: Picture) -> int:
    form = picture.format
    across, down = form.sampling
    planes = {"gray": 1.0, "rgb": 3.0}.get(form.family, 1 + 2 / (across * down))
    return round(picture.width * picture.height * (planes + form.alpha) * (1 + (form.bits > 8)))


def failure(found: Sequence[Estimate | Failure]) -> VidrepairError | None:
    """What several estimates end with: the code of the first where none came through."""
    failed = [one for one in found if isinstance(one, Failure)]
    if not failed:
        return None
    said = f"{len(failed)} of {counted(len(found), 'file')} failed"
    if len(failed) < len(found):
        return PartialSuccess(said)
    error = VidrepairError(said if len(found) > 1 else failed[0].reason)
    error.exit_code = failed[0].exit_code
    return error


def total(found: Sequence[Estimate | Failure]) -> dict[str, Any]:
    """Of films that are run one after the other: what lies beside one goes before the next."""
    good = [one for one in found if isinstance(one, Estimate)]
    output = sum(one.output for one in good)
    memory = [one.memory for one in good if one.memory is not None]
    seconds = sum(one.seconds for one in good)
    frames = sum(one.frames for one in good)
    return {
        "files": len(good),
        "failed": len(found) - len(good),
        "frames": frames,
        "fps": round(frames / seconds, 3) if seconds else 0.0,
        "seconds": round(seconds, 3),
        "cpu": round(sum(one.cpu for one in good), 3),
        "output": output,
        "disk": output + max((one.disk - one.output for one in good), default=0),
        "memory": max(memory, default=None),
    }


HEADINGS = ("file", "frames", "fps", "time", "CPU time", "film", "disk meanwhile", "memory")


def table(found: Sequence[Estimate | Failure]) -> str:
    """A line for each film, and one for all of them."""
    rows = [HEADINGS, *(_cells(one_line(one.source), one.as_dict()) for one in found)]
    if len(found) > 1:
        rows.append(_cells("in total", total(found)))
    widths = [max(len(row[column]) for row in rows if len(row) > 2) for column in range(8)]
    widths[0] = max(len(row[0]) for row in rows)
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    if len(row) == 2:
        return f"{row[0]:<{widths[0]}}  {row[1]}"
    cells = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join((f"{row[0]:<{widths[0]}}", *cells))


def _cells(name: str, told: dict[str, Any]) -> tuple[str, ...]:
    if "error" in told:
        return name, f"failed: {one_line(told['error'])}"
    memory = "unknown" if told["memory"] is None else spoken_size(told["memory"])
    return (
        name,
        str(told["frames"]),
        f"{told['fps']:.2f}",
        spoken_time(told["seconds"]),
        spoken_time(told["cpu"]),
        spoken_size(told["output"]),
        spoken_size(told["disk"]),
        memory,
    )


def spoken_time(seconds: float) -> str:
    """Hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
