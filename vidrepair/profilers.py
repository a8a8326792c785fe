"""What is measured of the spans of a run, or known of them beforehand."""

from __future__ import annotations

from vidrepair.batch import Profiler, Profilers
from vidrepair.frames import GrainSpectrum, NoiseProfile
from vidrepair.noise import combine, known_profile, measure_span
from vidrepair.run import Run
from vidrepair.scratch_runs import judge as judge_lines
from vidrepair.scratches import measure_lines
from vidrepair.spectrum import combine as combine_spectra
from vidrepair.spectrum import measure_spectrum


def profilers_of(run: Run) -> Profilers:
    """What a run measures of every span, in one go through the film."""
    asked = run.job.repair
    wanted = asked.makes_grain or run.record is not None
    spectrum = _spectrum_profiler(run) if wanted else None
    looks = "scratch" in asked.damage.kinds
    if run.journal is not None and run.share is None and run.journal.record.whole:
        looks = False  # only the analysis is wanting, which does not tell of them
    lines = Profiler(measure_lines, judge_lines) if looks else None
    return Profilers(_noise_profiler(run), spectrum, lines)


def _noise_profiler(run: Run) -> Profiler[NoiseProfile]:
    known, guide, grain = run.job.repair.noise, run.guide, run.grain
    if grain is not None:
        return Profiler(lambda _core: None, lambda _own, _before: grain.noise)
    if known is not None:
        fixed = known_profile(*known, rgb=run.source.clip.picture.format.family == "rgb")
        return Profiler(lambda _core: None, lambda _own, _before: fixed)
    if guide is not None:
        return Profiler(lambda core: core[0].number, lambda first, _before: guide.noise_of(first))
    return Profiler(measure_span, combine)


def _spectrum_profiler(run: Run) -> Profiler[GrainSpectrum]:
    guide, grain = run.guide, run.grain
    if grain is not None:
        return Profiler(lambda _core: None, lambda _own, _before: grain.spectrum)
    if guide is not None and guide.has_spectra:
        return Profiler(
            lambda core: core[0].number, lambda first, _before: guide.spectrum_of(first)
        )
    return Profiler(measure_spectrum, combine_spectra)
