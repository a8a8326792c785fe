"""The Python API: the same jobs as the command line's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vidrepair.report import Difference, Progress, Report
from vidrepair.settings import (
    EngineSettings,
    Job,
    OutputSettings,
    Pair,
    RepairSettings,
    SourceSettings,
)
from vidrepair.tags import Clip

if TYPE_CHECKING:
    from vidrepair.estimation import Estimate
    from vidrepair.previews import PreviewReport
    from vidrepair.report_page import ReportMade
    from vidrepair.side_by_side import CompareReport

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
    shots: str | Path | None = None,
    workers: int = 1,
    observer: Callable[[Progress], None] | None = None,
) -> Report:
    """Repair `source` into `output` (mkv, mp4 or mov) and say what was done.

    `reading` says which stream and which part, `analysis` is a sidecar that is followed, `shots` a
    list of cuts. A long film may be shared by several `workers`, processes that import the calling
    script again: call this under `if __name__ == "__main__":` then.
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
    from vidrepair.jobs.workers import run_with_workers

    job = replace(
        _job(source, output, settings, engine, target, reading),
        analysis=None if analysis is None else Path(analysis),
        shots=None if shots is None else Path(shots),
        workers=workers,
    )
    return run_with_workers(job, observer, build_engine)


def estimate(
    source: str | Path,
    output: str | Path,
    *,
    settings: RepairSettings | None = None,
    engine: EngineSettings | None = None,
    target: OutputSettings | None = None,
    reading: SourceSettings | None = None,
    pieces: int = 3,
    told: Callable[[int, int], None] | None = None,
) -> Estimate:
    """Say what `repair` of `source` into `output` will take: time, disk, memory.

    So many `pieces` of the film are really run, in a process of their own, into files that do not
    stay; of `output` only the ending counts. `told` hears how many frames were run, and how many
    will be. Raises as `repair` does.

    >>> from vidrepair import estimate
    >>> found = estimate("noisy.mp4", "clean.mkv")
    >>> print(found.frames, found.cpu, found.output, found.disk, found.memory)
    """
    from vidrepair.estimation import estimate_job

    return estimate_job(_job(source, output, settings, engine, target, reading), pieces, told)


def _job(
    source: str | Path,
    output: str | Path,
    settings: RepairSettings | None,
    engine: EngineSettings | None,
    target: OutputSettings | None,
    reading: SourceSettings | None,
) -> Job:
    return Job(
        Path(source),
        Path(output),
        settings or RepairSettings(),
        engine or EngineSettings(),
        target or OutputSettings(),
        reading=reading or SourceSettings(),
    )


def preview(
    source: str | Path,
    sheet: str | Path,
    *,
    settings: RepairSettings | None = None,
    engine: EngineSettings | None = None,
    strengths: Sequence[Pair] = (),
    frames: int = 6,
    at: Sequence[Fraction] = (),
    stream: int | None = None,
    overwrite: bool = False,
    rate: Fraction | None = None,
    observer: Callable[[Progress], None] | None = None,
) -> PreviewReport:
    """Show some frames of `source` before and after on one .png `sheet`, without running the film.

    `strengths` are shares of the noise removed, luma and chroma, 0 to 100, a column for each; none
    is that of `settings`. `frames` are chosen from the whole film; `at`, in seconds, names others
    instead. `rate` is that of numbered pictures. `observer` is called after each frame. Raises as
    `repair` does.

    >>> from vidrepair import preview
    >>> report = preview("noisy.mp4", "sheet.png", strengths=[(50.0, 50.0), (100.0, 100.0)])
    >>> print(report.frames[0].noise)
    """
    from trt_build.build import build_engine
    from vidrepair.previews import PreviewJob, make_preview

    job = PreviewJob(
        Path(source),
        Path(sheet),
        settings or RepairSettings(),
        engine or EngineSettings(),
        tuple(strengths),
        frames,
        tuple(at),
        stream,
        overwrite,
        rate,
    )
    return make_preview(job, observer, build_engine)


def compare(
    first: str | Path,
    second: str | Path,
    output: str | Path,
    *,
    mode: Literal["side", "wipe"] = "side",
    at: Sequence[Fraction] = (),
    frames: int = 6,
    overwrite: bool = False,
    rate: Fraction | None = None,
) -> CompareReport:
    """Show two films of one picture beside one another: a .png sheet of the `frames` that differ
    most, or of those `at` some seconds; or a video, .mp4 or .mkv, side by side or as a wipe. `rate`
    is that of numbered pictures among them.

    Raises UsageError where size or length differ, InputError when one of them cannot be read.

    >>> from vidrepair import compare
    >>> print(compare("noisy.mp4", "clean.mkv", "compared.png").summary())
    """
    from vidrepair.side_by_side import CompareJob
    from vidrepair.side_by_side import compare as write_comparison

    job = CompareJob(
        Path(first),
        Path(second),
        Path(output),
        mode=mode,
        at=tuple(at),
        frames=frames,
        overwrite=overwrite,
        rate=rate,
    )
    return write_comparison(job)


def write_report(
    output: str | Path,
    against: str | Path,
    page: str | Path | None = None,
    *,
    sidecar: str | Path | None = None,
    matte: str | Path | None = None,
    reading: SourceSettings | None = None,
    overwrite: bool = False,
    observer: Callable[[Progress], None] | None = None,
) -> ReportMade:
    """Show on one .html `page` what was changed between `against` and the finished `output`.

    The page is OUTPUT.vr.html by default. `sidecar` and `matte` are what the run wrote beside the
    film, `reading` the part of the source that it was made of. `observer` is called about twice a
    second. Raises as `repair` does; the extra `report` brings what it needs.

    >>> from vidrepair import write_report
    >>> print(write_report("clean.mkv", "noisy.mp4").summary())
    """
    from vidrepair.report_page import ReportJob, make_report, page_of

    job = ReportJob(
        Path(output),
        Path(against),
        page_of(Path(output)) if page is None else Path(page),
        sidecar=None if sidecar is None else Path(sidecar),
        matte=None if matte is None else Path(matte),
        reading=reading or SourceSettings(),
        overwrite=overwrite,
    )
    return make_report(job, observer=observer)


def probe(source: str | Path, rate: Fraction | None = None) -> Clip:
    """Open `source` and say what it holds: picture, timing, tags and streams. `rate` is that of
    numbered pictures, such as frames/%06d.dpx.

    Raises InputError when it cannot be read.

    >>> from vidrepair import probe
    >>> clip = probe("noisy.mp4")
    >>> print(clip.picture.width, clip.picture.height, clip.picture.format.name)
    """
    from vidrepair.decode import open_source

    with open_source(Path(source), rate=rate) as opened:
        return opened.clip


def verify(
    output: str | Path,
    against: str | Path,
    *,
    frames: int | None = None,
    rate: Fraction | None = None,
) -> tuple[Difference, ...]:
    """Compare a finished file with its source: frames, times, tags, every other stream.

    `frames` is what it was stopped after, if it was, `rate` that of numbered pictures among them.
    No difference: the file carries everything.
    Raises InputError when one of them cannot be read.

    >>> from vidrepair import verify
    >>> for difference in verify("clean.mkv", "noisy.mp4"):
    ...     print(difference)
    """
    from vidrepair.verification import check_files

    reading = SourceSettings(rate=rate)
    return check_files(Path(output), Path(against), frames=frames, reading=reading)
