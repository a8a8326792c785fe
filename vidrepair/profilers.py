"""What is measured of the spans of a run, or known of them beforehand."""

from __future__ import annotations

from vidrepair.analysis import Guide
from vidrepair.batch import Profiler, Profilers
from vidrepair.frames import GrainProfile, GrainSpectrum, NoiseProfile
from vidrepair.noise import combine, known_profile, measure_span
from vidrepair.run import Run
from vidrepair.scratch_runs import judge as judge_lines
from vidrepair.scratches import measure_lines
from vidrepair.settings import RepairSettings
from vidrepair.spectrum import combine as combine_spectra
from vidrepair.spectrum import measure_spectrum


def profilers_of(run: Run) -> Profilers:
    """What a run measures of every span, in one go through the film."""
    found = profilers_for(
        run.job.repair,
        run.grain,
        run.guide,
        rgb=run.source.clip.picture.format.family == "rgb",
        told=run.record is not None,
    )
    if run.journal is not None and run.share is None and run.journal.record.whole:
        # Only the analysis is wanting, which does not tell of scratches.
        return Profilers(found.noise, found.spectrum)
    return found


def profilers_for(
    asked: RepairSettings,
    grain: GrainProfile | None,
    guide: Guide | None = None,
    *,
    rgb: bool,
    told: bool = False,
) -> Profilers:
    """What is measured of every span where that is asked: all of it where it is `told`, too.

    What `grain` or `guide` knows is not measured.
    """
    spectrum = _spectrum_profiler(grain, guide) if asked.makes_grain or told else None
    looks = "scratch" in asked.damage.kinds
    lines = Profiler(measure_lines, judge_lines) if looks else None
    return Profilers(_noise_profiler(asked, grain, guide, rgb=rgb), spectrum, lines)


def _noise_profiler(
    asked: RepairSettings, grain: GrainProfile | None, guide: Guide | None, *, rgb: bool
) -> Profiler[NoiseProfile]:
    if grain is not None:
        return Profiler(lambda _core: None, lambda _own, _before: grain.noise)
    if asked.noise is not None:
        fixed = known_profile(*asked.noise, rgb=rgb)
        return Profiler(lambda _core: None, lambda _own, _before: fixed)
    if guide is not None:
        return Profiler(lambda core: core[0].number, lambda first, _before: guide.noise_of(first))
    return Profiler(measure_span, combine)


def _spectrum_profiler(grain: GrainProfile | None, guide: Guide | None) -> Profiler[GrainSpectrum]:
    if grain is not None:
        return Profiler(lambda _core: None, lambda _own, _before: grain.spectrum)
    if guide is not None and guide.has_spectra:
        return Profiler(
            lambda core: core[0].number, lambda first, _before: guide.spectrum_of(first)
        )
    return Profiler(measure_spectrum, combine_spectra)
