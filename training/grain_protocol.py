"""The eighth protocol: grain over what was repaired, and grain put back, through a command line.

Fill: opaque dust is laid over a film's own grain; what the tool puts in its place is compared with
what lies around it, and with the undamaged film at the same places. Product: the grain that was
made anew against the grain that was taken away. Deviations are in 8-bit code values at any depth.
A film is its own reference, or a clean one is given grain, which is then known.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.evaluate import run_command
from training.grain_fill import Fill, FillFigures, measure_fill
from training.grain_film import Clip, Film, add_grain, lay_dust, read_film, read_frames, write_film
from training.grain_product import ProductFigures, measure_product
from training.octaves import ROUNDING, Array, decibels
from vidrepair.regions import Mask

DENOISE = (0, 50)
"""Strengths at which the fill is looked at."""
FILL_COLUMNS = (
    "film",
    "denoise",
    "spots repaired whole",
    "variance inside / around",
    "of the undamaged film",
    "inside / undamaged",
    "single frames, inside / undamaged",
    "grain alone, made / own",
    "correlation inside, around, undamaged",
    "octaves from 1/16 to 1/2, dB against undamaged (around), windows",
)
PRODUCT_COLUMNS = (
    "film",
    "plane",
    "deviation, made / original",
    "the same by eighths of luma from black up",
    "octaves from 1/32 to 1/2, dB",
    "correlation with the next frame, made, original",
    "octaves of output against film, dB",
)


@dataclass(frozen=True, slots=True, eq=False)
class GrainFigures:
    """All of one film."""

    film: str
    fills: tuple[FillFigures, ...]
    products: tuple[ProductFigures, ...]


def measure_grain(
    path: Path, command: str, made: str | None = None, strengths: Sequence[int] = DENOISE
) -> GrainFigures:
    """Run a command line with {in}, {out} and {options} on a film, damaged and whole.

    `made` is one of MADE: the film is clean, and gets this grain. The fill is looked at at each of
    the `strengths`. {options} are vidrepair's own: --denoise, --grain, --repair and --mask-out;
    without a matte file what changed is the matte. Raises ValueError for a command that lacks one
    of the three, or answers another number of frames, and for films of R'G'B'.
    """
    if "{options}" not in command:
        raise ValueError(f"{command!r} lacks {{options}}, the strengths that are measured")
    film = read_film(path)
    if made is not None:
        film = add_grain(film, made)
    damaged, truth = lay_dust(film)

    def run(planes: Clip, options: str) -> tuple[Clip, Mask]:
        return _run_tool(command, replace(film, planes=planes), options)

    bare, _ = run(damaged, "--denoise 100")
    quiet, _ = run(film.planes, "--denoise 100 --repair none")
    again, _ = run(film.planes, "--denoise 100 --grain 100 --repair none")
    still = None if film.clean is None else film.luma(film.clean)
    fills = []
    for share in strengths:
        repaired, matte = run(damaged, f"--denoise {share}")
        options = f"--denoise {share} --repair none"
        whole = run(film.planes, options)[0] if share else film.planes
        seen = Fill(
            film=film.luma(film.planes),
            whole=film.luma(whole),
            repaired=film.luma(repaired),
            bare=film.luma(bare),
            truth=truth,
            matte=matte,
            rounding=ROUNDING * film.scale**2,
        )
        fills.append(measure_fill(share, seen, still, film.luma(quiet)))
    return GrainFigures(film.name, tuple(fills), measure_product(film, quiet, again))


def _run_tool(command: str, film: Film, options: str) -> tuple[Clip, Mask]:
    """What the tool makes of a film, and its matte (T, H, W), or where it changed luma."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.mkv" for name in ("in", "out", "matte")}
        write_film(paths["in"], film)
        if "none" not in options:
            options += f" --mask-out {paths['matte']}"
        files = {name: str(paths[name]) for name in ("in", "out")}
        run_command(command, {**files, "options": options})
        frames = read_frames(paths["out"])
        mattes = read_frames(paths["matte"]) if paths["matte"].exists() else []
    shapes = {tuple(plane.shape for plane in frame.planes) for frame in frames}
    if len(frames) != len(film.planes[0]) or shapes != {tuple(p.shape[1:] for p in film.planes)}:
        raise ValueError(f"{command!r} answers other frames than it was given; check its options")
    planes = tuple(
        np.stack([frame.planes[index] for frame in frames]) for index in range(len(film.planes))
    )
    if mattes:
        return planes, np.stack([frame.planes[0] > 0 for frame in mattes])
    return planes, planes[0] != film.planes[0]


def table(found: Sequence[GrainFigures]) -> str:
    """Markdown: the fill by film and strength, then the product by film and plane."""
    fills = [[one.film, *_fill_cells(fill)] for one in found for fill in one.fills]
    products = [[one.film, *_product_cells(plane)] for one in found for plane in one.products]
    return "\n".join([*_rows(FILL_COLUMNS, fills), "", *_rows(PRODUCT_COLUMNS, products)])


def _rows(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *cells]
    return [f"| {' | '.join(line)} |" for line in lines]


def _fill_cells(fill: FillFigures) -> list[str]:
    inside, around, whole = fill.variance
    # Of the film's grain so much is left around.
    own = (1.0 - fill.denoise / 100.0) ** 2 * fill.grain[1]
    against_whole, against_around = (
        _signed(decibels(fill.octaves[0], other)) for other in fill.octaves[:0:-1]
    )
    return [
        f"{fill.denoise}",
        f"{fill.spots} of {fill.laid}",
        _against(inside, around),
        _against(whole, around),
        f"{inside / whole:.2f} +- {fill.spread:.2f}" if whole > 0.0 else "-",
        _against(fill.power[0], fill.power[2]),
        _against(fill.grain[0], own),
        " ".join(f"{value:+.2f}" for value in fill.correlation),
        f"{against_whole} ({against_around}), {fill.windows}",
    ]


def _product_cells(of: ProductFigures) -> list[str]:
    return [
        of.plane,
        _against(*of.deviation),
        " ".join(f"{ratio:.2f}" if np.isfinite(ratio) else "-" for ratio in of.levels),
        _signed(of.octaves),
        f"{of.correlation[0]:+.3f} {of.correlation[1]:+.3f}",
        _signed(of.total),
    ]


def _against(one: float, other: float) -> str:
    ratio = f"{one / other:.2f}" if other > 0.0 else "-"
    return f"{one:.2f} / {other:.2f} = {ratio}"


def _signed(values: Array) -> str:
    return " ".join(f"{value:+.1f}" if np.isfinite(value) else "-" for value in values)
