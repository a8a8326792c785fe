"""The Python API: the same jobs as the command line's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vidrepair.report import Progress, Report
from vidrepair.settings import EngineSettings, Job, OutputSettings, RepairSettings
from vidrepair.tags import Clip

# PyAV is imported when a job runs: training uses the generator on machines without it.


def repair(
    source: str | Path,
    output: str | Path,
    *,
    settings: RepairSettings | None = None,
    engine: EngineSettings | None = None,
    target: OutputSettings | None = None,
    analysis: str | Path | None = None,
    observer: Callable[[Progress], None] | None = None,
) -> Report:
    """Repair `source` into `output` (mkv, mp4 or mov) and say what was done.

    `analysis` is a sidecar that is followed, edited or not.
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
