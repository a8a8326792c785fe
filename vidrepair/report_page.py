"""The report of a finished film: one HTML page, made of the film, its source and the sidecar.

`survey` looks, this file says it; the page itself is report_page.html with its style and script.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from vidrepair.errors import UsageError
from vidrepair.expectation import Made
from vidrepair.files import check_writable, same_file, write_bytes
from vidrepair.findings import Analysis
from vidrepair.page_parts import (
    curves,
    frames,
    glance,
    groups,
    lanes,
    pages_of_places,
    settings_rows,
    shot_parts,
    stage_parts,
)
from vidrepair.places import UNLISTED
from vidrepair.plots import check_installed
from vidrepair.report import Difference, Progress, Report, spoken_size
from vidrepair.sequences import beside_film
from vidrepair.settings import Job, SourceSettings
from vidrepair.sheet import clock
from vidrepair.sidecar import read_analysis
from vidrepair.survey import Survey, survey
from vidrepair.tags import counted, one_line, plain_text
from vidrepair.verification import check_files
from vidrepair.version import __version__

PARTS = (
    ("overview", "At a glance"),
    ("frames", "Frames"),
    ("timeline", "Timeline"),
    ("places", "Places"),
    ("curves", "Noise and light"),
    ("shots", "Shots"),
    ("run", "The run"),
    ("check", "Check"),
    ("settings", "Settings"),
)
TOUCHED = {
    "matte": "what the matte marks",
    "sidecar": "the boxes of what was repaired, by the sidecar",
    "change": "where the change stands out",
}

MOST_DIFFERENCES = 100
"""Lines of the check that are shown."""
TIMELINE = {
    True: "Lines are the frames in which something was repaired, marks the places that are shown.",
    False: "Lines are the frames in which a place stands out, marks the places that are shown.",
}


@dataclass(frozen=True, slots=True)
class ReportJob:
    """A report to be made."""

    output: Path
    """The finished film."""
    against: Path
    """Its source."""
    page: Path
    """An .html file."""
    sidecar: Path | None = None
    matte: Path | None = None
    made: Made = field(default_factory=Made)
    """How the film was made; a sidecar says it too."""
    reading: SourceSettings = field(default_factory=SourceSettings)
    """Which part of its source it is."""
    frames: int | None = None
    """It was stopped after so many."""
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.page.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"{self.page} is no .html file, which a report is; name one")


@dataclass(frozen=True, slots=True)
class ReportMade:
    """What a report tells in a line."""

    page: str
    size: int
    """Bytes."""
    frames: int
    places: int
    """Those that are shown."""
    unlisted: int | None
    """Places of which the sidecar says nothing, all of them; None without one."""
    differences: tuple[Difference, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "event": "report",
            "page": plain_text(self.page),
            "bytes": self.size,
            "frames": self.frames,
            "places": self.places,
            "unlisted": self.unlisted,
            "differences": [difference.as_dict() for difference in self.differences],
        }

    def summary(self) -> str:
        """For people."""
        told = f"{self.page}: {counted(self.frames, 'frame')} and {counted(self.places, 'place')}"
        if self.unlisted:
            told += f"; not in the sidecar: {self.unlisted}"
        if self.differences:
            told += f"; {len(self.differences)} differences from the source"
        return one_line(f"{told} ({spoken_size(self.size)})")


def page_of(output: Path) -> Path:
    """Where the report of a film lies."""
    return beside_film(output, ".vr.html")


def report_of_job(job: Job) -> ReportJob:
    """The report of what a job will have done. Raises UsageError where there can be none."""
    asked, target = job.repair, job.target
    if job.source is None or job.output is None:
        raise UsageError("--report reads both films again, and a pipe is gone by then; name files")
    if target.overlay is not None:
        raise UsageError(
            "--overlay shows on the picture what a report shows beside it; leave one of them out"
        )
    return ReportJob(
        job.output,
        job.source,
        page_of(job.output),
        sidecar=target.sidecar,
        matte=None if target.mask_out is None else Path(target.mask_out),
        made=Made(asked.fill_gaps, target.allow_loss, asked.interlace),
        reading=job.reading,
        frames=target.frames,
        overwrite=target.overwrite,
    )


def check_page(job: ReportJob) -> None:
    """Refuse, before any work, a report that cannot be drawn or written."""
    check_installed()
    for path in (job.output, job.against, job.sidecar, job.matte):
        if path is not None and same_file(job.page, path):
            raise UsageError(f"{job.page} is {path} itself; choose another name with -o")
    check_writable(job.page, overwrite=job.overwrite)


def make_report(
    job: ReportJob,
    run: Report | None = None,
    observer: Callable[[Progress], None] | None = None,
) -> ReportMade:
    """Read both films once, and their sidecar, and write the page.

    `run` is what the run itself told, which has checked the film already; `observer` hears twice a
    second or so how far this is. Raises UsageError where the films do not go together, InputError
    for what cannot be read; nothing but a finished page gets the name.
    """
    check_page(job)
    analysis = None if job.sidecar is None else read_analysis(job.sidecar)
    made = job.made if analysis is None else _made(job.made, analysis)
    seen = survey(
        job.output,
        job.against,
        analysis=analysis,
        matte=job.matte,
        made=made,
        reading=job.reading,
        frames=job.frames,
        observer=observer,
    )
    differences: tuple[Difference, ...] = ()
    if run is None:
        differences = check_files(
            job.output, job.against, frames=job.frames, reading=job.reading, made=made
        )
    data = _render(job, seen, analysis, run, differences).encode()
    write_bytes(job.page, [data], overwrite=job.overwrite)
    unlisted = seen.place_counts.get(UNLISTED, 0)
    return ReportMade(
        page=str(job.page),
        size=len(data),
        frames=len(seen.stills),
        places=len(seen.places),
        unlisted=None if analysis is None else unlisted,
        differences=differences,
    )


def _made(made: Made, analysis: Analysis) -> Made:
    """How a film was made, by its sidecar too."""
    asked = analysis.settings
    return replace(
        made,
        fill_gaps=made.fill_gaps or bool(asked.get("fill_gaps")),
        interlace=made.interlace if made.interlace != "auto" else asked.get("interlace", "auto"),
    )


def _render(
    job: ReportJob,
    seen: Survey,
    analysis: Analysis | None,
    run: Report | None,
    differences: Sequence[Difference],
) -> str:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    own = files("vidrepair")
    page, style, script = (
        (own / f"report_page.{ending}").read_text(encoding="utf-8")
        for ending in ("html", "css", "js")
    )
    pages, listed = pages_of_places(seen), analysis is not None
    context: dict[str, Any] = {
        "name": one_line(job.output.name),
        "source_name": one_line(job.against.name),
        "film": _film(seen),
        "version": __version__,
        "parts": PARTS,
        "facts": glance(seen, analysis, run, differences),
        "touched_words": TOUCHED[seen.matte],
        "stills": frames(seen),
        "lanes": lanes(seen, analysis, pages),
        "timeline_words": TIMELINE[listed],
        "axis": [clock(part * seen.seconds[-1]) for part in (0.0, 0.5, 1.0)],
        "groups": groups(pages, seen.place_counts, listed=listed),
        "plots": curves(seen),
        **shot_parts(seen, analysis),
        **stage_parts(run),
        "warnings": () if run is None else [one_line(warning) for warning in run.warnings],
        "differences": [str(difference) for difference in differences[:MOST_DIFFERENCES]],
        "differing": len(differences),
        "settings": list(settings_rows(_settings(job, analysis, run))),
        "style": Markup(style),  # noqa: S704 - our own
        "script": Markup(script),  # noqa: S704 - our own
        "script_hash": b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    maker = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    maker.filters["svg"] = Markup
    return maker.from_string(page).render(context)


def _film(seen: Survey) -> str:
    """The source and the result in a sentence."""
    words = []
    for clip in (seen.before, seen.after):
        picture = clip.picture
        rate = "" if clip.rate is None else f", {float(clip.rate):g} fps"
        words.append(f"{picture.width}x{picture.height} {picture.format.name} {clip.codec}{rate}")
    told = f"Source: {words[0]}. Result: {words[1]}."
    if seen.before.number is not None:
        told += f" Frames are counted from 0, which is picture {seen.before.number}."
    return told


def _settings(job: ReportJob, analysis: Analysis | None, run: Report | None) -> dict[str, Any]:
    """What is known of how the film was made, and of this page."""
    found: dict[str, Any] = {
        "film": str(job.output),
        "source": str(job.against),
        "sidecar": job.sidecar or "none",
        "matte": job.matte,
        "report by": f"vidrepair {__version__}",
    }
    if analysis is not None:
        found |= {
            "repaired by": analysis.tool,
            "engine": analysis.engine,
            "settings": analysis.settings,
            "interlaced": analysis.interlace.flagged or analysis.interlace.combed,
        }
    if run is not None:
        found["noise by the run, luma and chroma, the mean of its spans"] = ", ".join(
            f"{part:.2f}" for part in run.noise
        )
        found["repeats, copies, frames made anew"] = f"{run.repeats}, {run.copies}, {run.rebuilt}"
    return found
