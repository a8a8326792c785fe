"""The parts of a report's page, as words, curves and pictures that its template lays out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from vidrepair.display import Shown
from vidrepair.findings import Analysis, FigureFacts, spoken
from vidrepair.noise import LEVELS
from vidrepair.page_stills import red_where, within
from vidrepair.places import KEPT, UNLISTED, Place
from vidrepair.plots import AFTER, BEFORE, Curve, draw_amounts, draw_bars, draw_curves
from vidrepair.report import Difference, Report
from vidrepair.sheet import clock
from vidrepair.survey import Still, Survey
from vidrepair.tags import counted, one_line

FRAMES_BUDGET, PLACES_BUDGET = 2_600_000, 1_400_000
"""Bytes of the pictures of a page; in the page they are a third more."""
TICKS = 1000
"""Places of a track that are told apart."""
MOST_SHOTS = 1000
"""Rows of the table of shots: of more, those that were changed most."""
TITLES = {
    "dust": "Dust and hair",
    "scratch": "Scratches",
    "dropout": "Dropouts",
    "broken": "Broken by the decoder",
    "masked": "Masked by the user",
    "rebuilt": "Frames made anew",
}
WORDS = {
    True: "What stands out and the sidecar does not list: nothing that was found accounts for it."
    " Look here first for false repairs.",
    False: "What stands out of the change around it. With the sidecar of the run (run --sidecar) a"
    " report also says what each was taken for, and what was not repaired on purpose.",
}
STRONGEST = "The strongest first."
UNSURE = "Of the rest those of the least confidence: if picture was taken for damage, it is here."


@dataclass(frozen=True, slots=True, eq=False)
class PlacePage:
    """A place as a page has it."""

    id: int
    place: Place
    before: str
    after: str

    @property
    def width(self) -> int:
        return int(self.place.before.shape[1])

    @property
    def height(self) -> int:
        return int(self.place.before.shape[0])

    @property
    def title(self) -> str:
        one = self.place
        return f"{clock(one.seconds)}, frame {one.frame}"

    @property
    def alt(self) -> str:
        box = self.place.window
        columns, rows = (box.left, box.right - 1), (box.top, box.bottom - 1)
        return (
            f"Frame {self.place.frame}, columns {columns[0]} to {columns[1]},"
            f" rows {rows[0]} to {rows[1]}"
        )

    @property
    def caption(self) -> str:
        """Where, how much, how sure."""
        one = self.place
        box = one.box
        words = (
            f"{box.width}x{box.height} samples at column {box.left}, row {box.top};"
            f" change {one.strength:.0f}"
        )
        if one.confidence is not None:
            words += f", confidence {one.confidence:.2f}"
        if one.last > one.first:
            words += f"; frames {one.first} to {one.last}"
        if one.listed is not None:
            words += f". In the sidecar: frame {one.frame}, box {list(one.listed)}"
        return f"{words}."


def title_of(kind: str, *, listed: bool) -> str:
    """The name of a kind of place."""
    if kind == UNLISTED:
        return "Not in the sidecar" if listed else "Changed"
    return TITLES.get(kind, kind)


def pages_of_places(seen: Survey) -> list[PlacePage]:
    """All places, with their pictures encoded."""
    pictures = [shown for place in seen.places for shown in (place.before, place.after)]
    coded = within(pictures, PLACES_BUDGET)
    return [
        PlacePage(number, place, coded[2 * number], coded[2 * number + 1])
        for number, place in enumerate(seen.places)
    ]


def groups(
    pages: Sequence[PlacePage], counts: Mapping[str, int], *, listed: bool
) -> list[dict[str, Any]]:
    """Places by kind: first what no finding tells of; of the others the least sure apart.

    `counts` has how many there are of each kind, shown or not.
    """
    found = []
    order = sorted(pages, key=lambda page: (page.place.kind != UNLISTED, page.place.kind))
    for kind, members in groupby(order, key=lambda page: page.place.kind):
        strongest = sorted(members, key=lambda page: -page.place.strength)
        title = title_of(kind, listed=listed)
        if kind == UNLISTED:
            count = counts[kind]
            found.append(_group(title, WORDS[listed], strongest, of=count, alarm=listed))
            continue
        found.append(_group(f"{title}: changed most", STRONGEST, strongest[:KEPT]))
        rest = sorted(strongest[KEPT:], key=lambda page: page.place.confidence or 0.0)
        if rest:
            found.append(_group(f"{title}: least sure", UNSURE, rest))
    return found


def _group(
    title: str,
    words: str,
    places: Sequence[PlacePage],
    *,
    of: int | None = None,
    alarm: bool = False,
) -> dict[str, Any]:
    count = (
        f"{len(places)}" if of in (None, len(places)) else f"the strongest {len(places)} of {of}"
    )
    return {"title": f"{title} ({count})", "words": words, "places": places, "alarm": alarm}


def frames(seen: Survey) -> list[dict[str, Any]]:
    """The frames that are shown."""
    pictures: list[Shown] = [shown for one in seen.stills for shown in (one.before, one.after)]
    coded = within(pictures, FRAMES_BUDGET)
    found = []
    for number, still in enumerate(seen.stills):
        height, width = still.before.shape[:2]
        found.append(
            {
                "number": still.number,
                "before": coded[2 * number],
                "after": coded[2 * number + 1],
                "touched": red_where(still.touched, (height, width)),
                "width": width,
                "height": height,
                "title": f"{clock(still.seconds)}, frame {still.number}",
                "caption": _caption(still),
            }
        )
    return found


def _caption(still: Still) -> str:
    why = "Among the largest changes of one place" if still.worst else "From all over the film"
    return (
        f"{why}. Changed clearly: {still.clearly:.2%} of the samples of luma; marked:"
        f" {still.touched.mean():.3%}."
    )


def lanes(
    seen: Survey, analysis: Analysis | None, pages: Sequence[PlacePage]
) -> list[dict[str, Any]]:
    """The tracks of the timeline: the frames that are shown, and places by kind."""
    count = len(seen.seconds)
    shown = [
        _mark(one.number, count, f"frame-{one.number}", f"Frame {one.number}", " whole")
        for one in sorted(seen.stills, key=lambda one: one.number)
    ]
    found = [{"name": "Frames shown", "count": f"{len(shown)}", "ticks": "", "marks": shown}]
    listed = analysis is not None
    numbers = {UNLISTED: list(seen.place_frames.get(UNLISTED, ()))}
    for defect in () if analysis is None else analysis.defects:
        if defect.keep:
            numbers.setdefault(defect.kind, []).append(defect.frame)
    if analysis is not None and (analysis.lost or analysis.rebuilt):
        numbers["rebuilt"] = [*analysis.lost, *analysis.rebuilt]
    for kind, places in numbers.items():
        name = title_of(kind, listed=listed)
        alarming = " alarming" if kind == UNLISTED and listed else ""
        marks = [
            _mark(
                page.place.frame,
                count,
                f"place-{page.id}",
                f"{name}: frame {page.place.frame}, {clock(page.place.seconds)}",
                alarming,
            )
            for page in pages
            if page.place.kind == kind
        ]
        ticks = sorted({(2 * frame + 1) * TICKS // (2 * count) for frame in places})
        path = "".join(f"M{tick} 0v1" for tick in ticks)
        unit = "frame" if kind in (UNLISTED, "rebuilt") else "place"
        many = counted(len(places), unit)
        found.append({"name": name, "count": many, "ticks": path, "marks": marks})
    return found


def _mark(frame: int, count: int, target: str, label: str, kind: str) -> dict[str, Any]:
    left = round(100.0 * (frame + 0.5) / count, 3)
    return {"frame": frame, "left": left, "target": target, "label": label, "kind": kind}


def curves(seen: Survey) -> list[dict[str, Any]]:
    """Noise by luma, and mean luma by time."""
    plots = [_light(seen)]
    if not all(np.isnan(noise.luma).all() for noise in seen.noise):
        plots.insert(0, _noise(seen))
    return plots


def _noise(seen: Survey) -> dict[str, Any]:
    before, after = seen.noise
    level = 255.0 * LEVELS
    drawn = [
        Curve("luma before", level, before.luma, BEFORE),
        Curve("luma after", level, after.luma, AFTER),
    ]
    if np.nan_to_num(before.chroma).any():
        drawn.append(Curve("chroma before", level, before.chroma, BEFORE, dashed=True))
        drawn.append(Curve("chroma after", level, after.chroma, AFTER, dashed=True))
    columns = [noise for one in seen.noise for noise in (one.luma, one.chroma)]
    head = ["Luma", *("luma before", "chroma before", "luma after", "chroma after")]
    rows = [
        [f"{at:.0f}", *("" if np.isnan(value) else f"{value:.2f}" for value in values)]
        for at, *values in zip(level, *columns, strict=True)
    ]
    says = (
        "What varies from frame to frame, as a standard deviation in code values of 8 bits, by the"
        f" luma it lies on: {_mean(before.luma)} before and {_mean(after.luma)} after on average."
        " The run measures each span in a way of its own: see Settings."
    )
    return {
        "title": "Noise by luma",
        "svg": draw_curves("noise", drawn, ("luma, 0 to 255", "deviation"), zero=True),
        "says": says,
        "table": [head, *rows],
    }


def _mean(values: Any) -> str:
    seen = values[~np.isnan(values)]
    return f"{seen.mean():.2f}" if len(seen) else "unknown"


def _light(seen: Survey) -> dict[str, Any]:
    before, after = seen.lumas
    starts = np.array([shot.first for shot in seen.shots[1:]], dtype=int)
    inside = np.ones(len(before), dtype=bool)
    inside[[0, *starts]] = False
    steps = [np.abs(np.diff(luma, prepend=luma[0]))[inside] for luma in (before, after)]
    flicker = [float(step.mean()) if len(step) else 0.0 for step in steps]
    drawn = [
        Curve("before", seen.seconds, before, BEFORE),
        Curve("after", seen.seconds, after, AFTER),
    ]
    return {
        "title": "Mean luma of each frame",
        "svg": draw_curves("light", drawn, ("seconds", "mean luma"), zero=False),
        "says": (
            "Flicker shows as a ragged line. From one frame of a shot to the next the mean luma"
            f" moves by {flicker[0]:.3f} before and {flicker[1]:.3f} after, on average, in code"
            " values of 8 bits."
        ),
        "table": None,
    }


def shot_parts(seen: Survey, analysis: Analysis | None) -> dict[str, Any]:
    """The shots: a plot, a table, and what they say."""
    figures = () if analysis is None else analysis.figures.shots
    told = {one.shot: one for one in figures}
    edges = np.array([*(shot.first for shot in seen.shots), len(seen.seconds)], dtype=np.float64)
    values = 100.0 * np.array([shot.clearly for shot in seen.shots])
    shown = sorted(seen.shots, key=lambda shot: -shot.clearly)[:MOST_SHOTS]
    rows = [
        {
            "number": shot.number,
            "starts": clock(shot.seconds),
            "frames": f"{shot.first} to {shot.last}",
            "changed": f"{shot.changed:.2%}",
            "clearly": f"{shot.clearly:.3%}",
            **_repaired(told.get(shot.number)),
        }
        for shot in sorted(shown, key=lambda shot: shot.first)
    ]
    most = max(seen.shots, key=lambda shot: shot.clearly)
    count = _shots(seen)
    left = len(seen.shots) - len(rows)
    return {
        "shots": rows,
        "shots_svg": draw_bars("shots", edges, values, ("frame", "% changed clearly")),
        "shots_says": (
            f"{count}; most was changed in shot {most.number}, from frame {most.first} on:"
            f" {most.clearly:.3%} of the samples by 8 code values or more."
        ),
        "shots_caption": (
            "Share of the samples of luma that differ at all, that differ by 8 code values of 8"
            " bits or more, and that were repaired by the sidecar"
            + (f"; the {left} shots that were changed least are left out." if left else ".")
        ),
    }


def _shots(seen: Survey) -> str:
    return counted(len(seen.shots), "shot")


def _repaired(figures: FigureFacts | None) -> dict[str, str]:
    if figures is None:
        return {"repaired": "", "kinds": ""}
    kinds = ", ".join(f"{kind} {share:.4%}" for kind, share in sorted(figures.kinds.items()))
    return {"repaired": f"{figures.touched:.4%}", "kinds": kinds}


def stage_parts(run: Report | None) -> dict[str, Any]:
    """What the run told of its time."""
    if run is None:
        return {"stages_svg": "", "stages_says": ""}
    took = run.pace()
    if not run.stages.get("engine"):
        elsewhere = "workers computed them, or an earlier run did, whose times were not kept"
        return {"stages_svg": "", "stages_says": f"{took}; {elsewhere}."}
    return {
        "stages_svg": draw_amounts("stages", run.stages, "CPU seconds of each stage's thread"),
        "stages_says": (
            f"{took}; the limit was {run.limit}, and the engine waited for no other stage in"
            f" {run.busy:.0%} of the time. Codecs and the engine work in other threads beside."
        ),
    }


def glance(
    seen: Survey,
    analysis: Analysis | None,
    run: Report | None,
    differences: Sequence[Difference],
) -> list[dict[str, Any]]:
    """The figures at the head of the page."""
    count = len(seen.seconds)
    before, after = (_mean(noise.luma) for noise in seen.noise)
    unlisted = seen.place_counts.get(UNLISTED, 0)
    facts = [
        _fact("Frames", f"{count}", _shots(seen)),
        _fact("Noise in luma", f"{before} \u2192 {after}", "deviation of 255, in some frames"),
        _fact("Changed clearly", f"{seen.clearly.mean():.3%}", "of all samples of luma"),
    ]
    if analysis is None:
        facts.append(_fact("Places that stand out", f"{unlisted}", "there is no sidecar"))
    else:
        kept = sum(defect.keep for defect in analysis.defects)
        facts.append(_fact("Repaired", f"{kept} places", f"{analysis.figures.touched:.4%} of luma"))
        facts.append(
            _fact("Not in the sidecar", f"{unlisted}", "places that stand out", alarm=unlisted > 0)
        )
    if met := str(seen.damage):
        facts.append(_fact("The source is damaged", met, "met by the decoder", alarm=True))
    if run is not None:
        facts.append(_fact("Run", f"{run.seconds:.1f} s", f"{run.fps:.1f} fps"))
    told = "nothing is missing" if not differences else f"{len(differences)} differences"
    facts.append(_fact("Check", told, "frames, times, streams, tags", alarm=bool(differences)))
    return facts


def _fact(name: str, value: str, note: str, *, alarm: bool = False) -> dict[str, Any]:
    return {"name": name, "value": value, "note": note, "alarm": alarm}


def settings_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values, one in another by a dot."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from settings_rows({f"{name}.{inner}": entry for inner, entry in value.items()})
        elif value not in (None, ""):
            yield name, one_line(spoken(value))
