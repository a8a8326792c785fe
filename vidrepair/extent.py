"""How much of a film a job asks for."""

from __future__ import annotations

import math
from fractions import Fraction

from vidrepair.frames import Frame
from vidrepair.settings import Job
from vidrepair.tags import Clip


class Extent:
    """Told of every frame in the order of the film, knows where what is asked for ends."""

    def __init__(self, clip: Clip, job: Job) -> None:
        self.total = total_frames(clip, job)
        """How many frames there will be, as far as the file says."""
        self.after: int | None = None
        """The number of the first frame behind it; None as long as none was met."""
        self.until = math.inf
        """And its time, in seconds of the file."""
        self._end, self._most = end_of(clip, job), job.target.frames

    def meet(self, frame: Frame) -> None:
        """The next frame."""
        if self.after is None and not self.holds(frame):
            self.after, self.until = frame.number, float(frame.pts * frame.time_base)

    def holds(self, frame: Frame) -> bool:
        """Whether a frame is asked for."""
        late = self._end is not None and frame.pts * frame.time_base >= self._end
        return not late and (self._most is None or frame.number < self._most)


def end_of(clip: Clip, job: Job) -> Fraction | None:
    """Where the output stops, in seconds of the file; None for its end."""
    return None if job.reading.end is None else clip.zero + job.reading.end


def total_frames(clip: Clip, job: Job) -> int | None:
    """How many frames there will be, as far as the file says."""
    end = end_of(clip, job)
    counts = [clip.frame_count, job.target.frames]
    if end is not None and clip.rate:
        counts.append(math.ceil((end - clip.video_start) * clip.rate))
    return min((count for count in counts if count is not None), default=None)
