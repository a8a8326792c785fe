"""Curves as SVG that is part of a page: its colours are the page's, its words are text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidrepair.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# matplotlib is imported where a plot is drawn: it is an extra.

POINTS = 800
"""Points of a curve at most; where there are more, each is a mean, and a band has the rest."""
INK, FAINT = "#010203", "#010204"
_PAGE = {
    INK: "currentColor",
    FAINT: "var(--line)",
    "#010205": "var(--before)",
    "#010206": "var(--after)",
}
"""Colours that stand for those of the page."""
BEFORE, AFTER = "#010205", "#010206"
SIZE = (5.2, 2.7)
"""Inches; a page shows it as wide as there is room."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One line of a plot."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: str
    dashed: bool = False


def check_installed() -> None:
    """Raises UsageError where what draws a report is missing."""
    missing = [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"a report needs {' and '.join(missing)}, which"
            f" {'is' if len(missing) == 1 else 'are'} not installed; pip install"
            ' "vidrepair[report]" brings it'
        )


def draw_curves(name: str, curves: Sequence[Curve], labels: tuple[str, str], *, zero: bool) -> str:
    """An <svg>: `curves` over one another; `name` tells its ids from those of other plots."""

    def draw(axes: Axes) -> None:
        for curve in curves:
            x, y, low, high = _binned(curve.x, curve.y)
            style = "--" if curve.dashed else "-"
            axes.plot(x, y, style, color=curve.colour, linewidth=1.6, label=curve.name)
            if len(x) < len(curve.x):
                axes.fill_between(x, low, high, color=curve.colour, alpha=0.2, linewidth=0)
        if zero:
            axes.set_ylim(bottom=0)
        axes.legend(
            frameon=False,
            labelcolor=INK,
            ncols=2,  # four in a row are wider than a plot
            loc="lower left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0,
        )

    return _svg(name, draw, labels)


def draw_bars(
    name: str, edges: NDArray[np.float64], values: NDArray[np.float64], labels: tuple[str, str]
) -> str:
    """An <svg>: a step of each of `values` (N,), between its two of `edges` (N + 1,)."""

    def draw(axes: Axes) -> None:
        axes.stairs(values, edges, color=AFTER, fill=True, alpha=0.35, linewidth=0)
        axes.stairs(values, edges, color=AFTER, linewidth=1.2)
        axes.set_xlim(float(edges[0]), float(edges[-1]))
        axes.set_ylim(bottom=0)

    return _svg(name, draw, labels)


def draw_amounts(name: str, amounts: dict[str, float], label: str) -> str:
    """An <svg>: a bar of each amount, by name."""

    def draw(axes: Axes) -> None:
        bars = axes.barh(list(amounts), list(amounts.values()), color=AFTER, height=0.6)
        axes.bar_label(bars, fmt="{:.2f}", padding=4, color=INK)
        axes.margins(x=0.15)
        axes.invert_yaxis()

    height = 0.9 + 0.32 * len(amounts)
    return _svg(name, draw, (label, ""), height)


def _binned(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """At most POINTS of a curve: middle, mean, least and largest."""
    if len(x) <= POINTS:
        return x, y, y, y
    starts = np.arange(POINTS) * len(x) // POINTS
    counts = np.diff(starts, append=len(x))
    means = [np.add.reduceat(part, starts) / counts for part in (x, y)]
    return means[0], means[1], np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)


def _svg(name: str, draw: Any, labels: tuple[str, str], height: float = SIZE[1]) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {  # matplotlib spells all its names out in the type
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(SIZE[0], height), layout="constrained")
        axes = figure.subplots()
        axes.grid(linewidth=0.5)
        axes.set_axisbelow(True)
        draw(axes)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        held = StringIO()
        figure.savefig(
            held,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    return _fitted(name, held.getvalue())


def _fitted(name: str, text: str) -> str:
    """What matplotlib wrote, as a part of a page: without a head, its ids and colours the page's,
    as wide as there is room; hidden from readers, to whom the page says what it shows.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', text, count=1)
    text = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    for stand_in, colour in _PAGE.items():
        text = text.replace(stand_in, colour)
    return text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1).strip()
