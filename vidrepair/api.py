"""The Python API: the same jobs as the command line's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vidrepair.report import Difference, Progress, Report
from vidrepair.settings import EngineSettings, Job, OutputSettings, RepairSettings, SourceSettings
from vidrepair.tags import Clip

# PyAV is imported when a job runs: training uses the generator on machines without it.


def repair(
    source: str | Path,
    output: str | Path,
    *,
    settings: RepairSettings | None = None,
    engine: EngineSettings | None = None,
    target: OutputSettings | None = None,
    reading: SourceSettings | None = None,
    analysis: str | Path | None = None,
    observer: Callable[[Progress], None] | None = None,
) -> Report:
    """Repair `source` into `output` (mkv, mp4 or mov) and say what was done.

    `reading` says which stream and which part, `analysis` is a sidecar that is followed.
    `observer` is called about twice a second, from a worker thread. Raises a VidrepairError:
    UsageError for what cannot be asked, InputError for an unreadable source, EngineError when
    the engine fails; nothing is then left under the name of `output`.

    >>> from vidrepair import OutputSettings, RepairSettings, repair
    >>> report = repair(
    ...     "noisy.mp4",
    ...     "clean.mkv",
    ...     settings=RepairSettings(denoise=(80.0, 100.0)),
    ...     target=OutputSettings(codec="ffv1", overwrite=True),
    ... )
    >>> print(report.frames, report.noise)
    """
    from trt_build.build import build_engine
    from vidrepair.pipeline import run_job

    job = Job(
        Path(source),
        Path(output),
        settings or RepairSettings(),
        engine or EngineSettings(),
        target or OutputSettings(),
        None if analysis is None else Path(analysis),
        reading or SourceSettings(),
    )
    return run_job(job, observer, build_engine)


def probe(source: str | Path) -> Clip:
    """Open `source` and say what it holds: picture, timing, tags and streams.

    Raises InputError when it cannot be read.

    >>> from vidrepair import probe
    >>> clip = probe("noisy.mp4")
    >>> print(clip.picture.width, clip.picture.height, clip.picture.format.name)
    """
    from vidrepair.decode import open_source

    with open_source(Path(source)) as opened:
        return opened.clip


def verify(
    output: str | Path, against: str | Path, *, frames: int | None = None
) -> tuple[Difference, ...]:
    """Compare a finished file with its source: frames, times, tags, every other stream.

    `frames` is what it was stopped after, if it was. No difference: the file carries everything.
    Raises InputError when one of them cannot be read.

    >>> from vidrepair import verify
    >>> for difference in verify("clean.mkv", "noisy.mp4"):
    ...     print(difference)
    """
    from vidrepair.verification import check_files

    return check_files(Path(output), Path(against), frames=frames)
