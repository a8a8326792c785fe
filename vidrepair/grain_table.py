"""Grain on paper: the profile as JSON that people edit, and the film grain table of AV1.

AV1's decoder makes grain of white noise through an autoregressive filter of lag 3, scaled by a
piecewise linear function of luma (AV1 bitstream specification, sections 5.9.30 and 7.18.3). The
table is the text that aomenc reads with --film-grain-table and SVT-AV1 with --fgs-table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidrepair.errors import InputError, UsageError
from vidrepair.frames import FloatArray, GrainProfile, GrainSpectrum, NoiseProfile, Picture
from vidrepair.grain import FREQUENCIES, deviations, unit_grain

FORMAT = "vidrepair grain"
VERSION = 1
LEVELS = 17
SCALE = 255.0
"""Deviations are written in code values of 8 bits, as `--noise` takes them."""

LAG = 3
"""Samples that the filter looks back and to the sides; the most that AV1 has."""
BEFORE = [(i, j) for i in range(-LAG, 1) for j in range(-LAG, LAG + 1) if (i, j) < (0, 0)]
"""The 24 samples before the one in question, in the order of the table."""
FIELD = 384
"""Side of the grain that the filter is fitted to."""
RIDGE = 0.003
"""White noise added when fitting, in shares of the variance: without it steep spectra ask for
coefficients that 8 bits cannot hold."""
WHITE = 32.0
"""Deviation of AV1's white noise, in code values of 8 bits."""
LOUDEST = 36.0
"""Deviation of filtered grain that still fits into -128..127."""
POINTS = (14, 10)
"""Points that the scaling of luma and of chroma may have."""
TICKS = 10_000_000
"""Units of the table's times in a second."""

Array = NDArray[np.float64]


def profile_to_json(profile: GrainProfile) -> str:
    """The profile as JSON, a row of a table to a line; profile_from_json gives the same back.

    Deviations are on the 8-bit scale. Nine digits bring back every float32.
    """

    def row(values: FloatArray, scale: float = 1.0) -> str:
        return "[" + ", ".join(f"{scale * float(value):.9g}" for value in values) + "]"

    def table(power: FloatArray) -> str:
        return "[\n      " + ",\n      ".join(row(values) for values in power) + "\n    ]"

    noise, spectrum = profile.noise, profile.spectrum
    return (
        f'{{\n  "format": "{FORMAT}",\n  "version": {VERSION},\n'
        f'  "luma": {{\n    "deviation": {row(noise.luma, SCALE)},\n'
        f'    "power": {table(spectrum.luma)}\n  }},\n'
        f'  "chroma": {{\n    "deviation": {row(noise.chroma, SCALE)},\n'
        f'    "power": {table(spectrum.chroma)},\n'
        f'    "follows_luma": {row(spectrum.follows)}\n  }}\n}}\n'
    )


def read_profile(path: Path | None) -> GrainProfile | None:
    """The profile in a file; None for none. Raises InputError where it cannot be read."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(
            f"the grain profile {path} cannot be read ({reason}); check the name"
        ) from error
    if '"vidrepair_analysis"' in text[:1000]:
        raise UsageError(
            f"{path} is an analysis, not a grain profile; make one of it with vidrepair grain"
        )
    return profile_from_json(text, str(path))


def profile_from_json(text: str, where: str) -> GrainProfile:
    """Read a profile; `where` names its file in messages.

    Raises UsageError, in one sentence, for text that is not JSON, another format or version, and
    entries that are missing, unknown, of another size or out of range.
    """
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"{where} is no grain profile, which is JSON ({error}); write one with vidrepair grain"
        ) from error
    return profile_from_fields(fields, where)


def profile_from_fields(fields: Any, where: str) -> GrainProfile:
    """The profile of JSON that was read already, such as a part of a larger file."""
    _check_keys(fields, {"format", "version", "luma", "chroma"}, where, "the top level")
    if fields["format"] != FORMAT or fields["version"] != VERSION:
        raise UsageError(
            f"{where} is a {fields['format']!r} of version {fields['version']!r}, not a "
            f"{FORMAT!r} of version {VERSION}; measure the grain anew with this vidrepair"
        )
    luma, chroma = fields["luma"], fields["chroma"]
    _check_keys(luma, {"deviation", "power"}, where, "luma")
    _check_keys(chroma, {"deviation", "power", "follows_luma"}, where, "chroma")
    curves = [
        _numbers(part["deviation"], (LEVELS,), (0.0, SCALE / 2), where, f"{name}.deviation") / SCALE
        for name, part in (("luma", luma), ("chroma", chroma))
    ]
    size = (FREQUENCIES, FREQUENCIES)
    powers = [
        _numbers(part["power"], size, (0.0, 1e6), where, f"{name}.power")
        for name, part in (("luma", luma), ("chroma", chroma))
    ]
    for name, power in zip(("luma", "chroma"), powers, strict=True):
        if not power.any():
            raise UsageError(
                f"{where}: {name}.power is 0 everywhere; write 1 everywhere for white grain, and "
                f"set {name}.deviation to 0 for none"
            )
    follows = _numbers(chroma["follows_luma"], (2,), (-1.0, 1.0), where, "chroma.follows_luma")
    noise = NoiseProfile(*(curve.astype(np.float32) for curve in curves))
    return GrainProfile(
        noise,
        GrainSpectrum(*(part.astype(np.float32) for part in (*powers, follows))),
    )


def _check_keys(fields: Any, keys: set[str], where: str, place: str) -> None:
    """Refuse what is no object of exactly these keys."""
    if not isinstance(fields, dict):
        raise UsageError(f"{where}: {place} is no JSON object; it needs {', '.join(sorted(keys))}")
    if missing := sorted(keys - fields.keys()):
        raise UsageError(f"{where}: {place} lacks {', '.join(missing)}; add it")
    if unknown := sorted(fields.keys() - keys):
        raise UsageError(
            f"{where}: {place} has {', '.join(unknown)}, which a grain profile does not know; "
            f"remove it, or correct its name to one of {', '.join(sorted(keys))}"
        )


def _numbers(
    value: Any, shape: tuple[int, ...], limits: tuple[float, float], where: str, place: str
) -> Array:
    """Numbers of a shape and within limits; lists that have neither are refused."""
    if not isinstance(value, list) or len(value) != shape[0]:
        found = len(value) if isinstance(value, list) else "no list"
        raise UsageError(f"{where}: {place} needs a list of {shape[0]}, and is {found}")
    if len(shape) > 1:
        rows = [
            _numbers(row, shape[1:], limits, where, f"{place}[{index}]")
            for index, row in enumerate(value)
        ]
        return np.stack(rows)
    for index, number in enumerate(value):
        plain = isinstance(number, int | float) and not isinstance(number, bool)
        if not plain or not limits[0] <= number <= limits[1]:
            raise UsageError(
                f"{where}: {place}[{index}] is {json.dumps(number)}, and has to be a number from "
                f"{limits[0]:g} to {limits[1]:g}"
            )
    return np.array(value, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class GrainEntry:
    """The grain of a stretch of film, such as a shot."""

    start: Fraction
    """Seconds from the first frame of the encoded film."""
    stop: Fraction
    """Seconds; the frame there belongs to the next entry."""
    profile: GrainProfile


def film_grain_table(entries: Sequence[GrainEntry], picture: Picture) -> str:
    """The grain of a film as the table that AV1 encoders read.

    `picture` is the one that is encoded, sampled as the one that the grain was measured in; the
    depth of the encoded film may differ. R'G'B' has to be encoded as Y'CbCr of BT.709. Raises
    UsageError when an entry ends before it starts.
    """
    lines = ["filmgrn1"]
    for number, entry in enumerate(entries):
        if not 0 <= entry.start < entry.stop:
            raise UsageError(
                f"grain entry {number} runs from {float(entry.start):g} s to "
                f"{float(entry.stop):g} s; it has to end after it starts"
            )
        start, stop = (round(at * TICKS) for at in (entry.start, entry.stop))
        # Any seed but 0 will do; encoders move it on from frame to frame.
        lines.append(f"E {start} {stop} 1 {7391 + 173 * number % 50000} 1")
        lines += _parameters(entry.profile, picture)
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class _Filter:
    """The autoregressive filter of one plane."""

    weights: Array
    """(24,) of the samples before."""
    luma: float
    """Weight of the mean luma grain of the site, where both are of deviation 1."""
    innovation: float
    """Deviation of the white noise that keeps the grain at deviation 1."""
    whole: float
    """Deviation of grain that is 1 in the noise profile, which does not see what is coarse."""


def _parameters(profile: GrainProfile, picture: Picture) -> list[str]:
    """The lines of an entry after its first."""
    filters = _fit(profile.spectrum, picture)
    shift = _coefficient_shift(filters)
    coefficients, loudness = _quantised(filters, shift)
    quieter = min(max(math.ceil(math.log2(max(loudness) / LOUDEST)), 0), 3)
    curves = _curves(profile, picture)
    curves = [curve * one.whole for curve, one in zip(curves, filters, strict=True)]
    tops = [
        float(curve.max()) * 2.0**quieter / loud
        for curve, loud in zip(curves, loudness, strict=True)
    ]
    scaling = next((n for n in (11, 10, 9) if max(tops) * 2.0**n <= 255.0), 8)
    # Chroma is scaled by luma alone: multipliers are stored + 128, the offset + 256.
    lines = [f"\tp {LAG} {shift} {quieter} {scaling} 0 1 128 192 256 128 192 256"]
    for name, curve, loud, most in zip(
        ("sY", "sCb", "sCr"), curves, loudness, (POINTS[0], POINTS[1], POINTS[1]), strict=True
    ):
        points = _points(curve * 2.0 ** (quieter + scaling) / loud, most)
        lines.append("\t" + " ".join(map(str, (name, len(points), *np.ravel(points)))))
    for name, numbers in zip(("cY", "cCb", "cCr"), coefficients, strict=True):
        lines.append("\t" + " ".join(map(str, (name, *numbers))))
    return lines


def _curves(profile: GrainProfile, picture: Picture) -> list[Array]:
    """Deviation at 17 levels of luma, Cb and Cr, in code values of 8 bits."""
    luma, chroma = (curve * SCALE for curve in deviations(profile.noise, picture))
    # Gray has none, and subsampled chroma must have none where luma has none.
    if picture.format.family == "gray" or (not luma.any() and picture.format.sampling == (2, 2)):
        chroma = np.zeros_like(chroma)
    return [luma, chroma, chroma]


def _fit(spectrum: GrainSpectrum, picture: Picture) -> list[_Filter]:
    """Filters of luma, Cb and Cr by least squares on grain that is made of the spectrum."""
    form = picture.format
    across, down = form.sampling if form.family == "yuv" else (1, 1)
    size = (FIELD, FIELD)
    filters = []
    for plane in range(3):
        field = unit_grain(spectrum, (down, across), plane, size)
        beside = None
        if plane:
            luma = unit_grain(spectrum, (down, across), 0, (FIELD * down, FIELD * across))
            luma = luma / luma.std()
            beside = luma.reshape(FIELD, down, FIELD, across).mean(axis=(1, 3))
        filters.append(_least_squares(field, beside))
    return filters


def _least_squares(field: FloatArray, beside: FloatArray | None) -> _Filter:
    """The filter that foretells a field from the samples before, and the luma beside."""
    whole = float(field.std())
    field = field / np.float32(whole)
    inner = (slice(LAG, FIELD), slice(LAG, FIELD - LAG))
    known = [
        field[LAG + i : FIELD + i, LAG + j : FIELD - LAG + j].ravel().astype(float)
        for i, j in BEFORE
    ]
    if beside is not None:
        known.append(beside[inner].ravel().astype(float))
    rows = np.stack(known)
    target = field[inner].ravel().astype(float)
    gram = rows @ rows.T / target.size
    side = rows @ target / target.size
    gram[np.diag_indices(len(BEFORE))] += RIDGE
    weights = np.linalg.solve(gram, side)
    left = float(target @ target / target.size - side @ weights)
    innovation = math.sqrt(max(left, 1e-6))
    return _Filter(
        weights[: len(BEFORE)],
        float(weights[-1]) if beside is not None else 0.0,
        innovation,
        whole,
    )


def _coefficient_shift(filters: list[_Filter]) -> int:
    """Binary places of the coefficients, 6 to 9: as many as -128..127 can hold."""
    largest = max(float(np.abs(one.weights).max()) for one in filters)
    # Luma's own weight is scaled before it is written.
    scaled = [abs(one.luma) / one.innovation * filters[0].innovation for one in filters[1:]]
    return next((n for n in (9, 8, 7) if max(largest, *scaled) * 2**n <= 127.0), 6)


def _quantised(filters: list[_Filter], shift: int) -> tuple[list[list[int]], list[float]]:
    """The coefficients as the table has them, and the deviation of the grain that they make.

    In code values of 8 bits. The filter feeds on itself, so that rounded coefficients make grain
    of another strength: that is taken from the filter's response.
    """
    coefficients: list[list[int]] = []
    loudness: list[float] = []
    for plane, one in enumerate(filters):
        weights = np.clip(np.round(one.weights * 2**shift), -128, 127)
        change = _gain(weights / 2**shift) / _gain(one.weights)
        loud = WHITE / one.innovation * change
        numbers = [int(weight) for weight in weights]
        if plane:
            luma = one.luma * (loud / change) / loudness[0]
            numbers.append(int(np.clip(round(luma * 2**shift), -128, 127)))
        coefficients.append(numbers)
        loudness.append(loud)
    return coefficients, loudness


def _gain(weights: Array) -> float:
    """Deviation of what the filter makes of white noise of deviation 1."""
    side = 256
    response = np.zeros((side, side))
    for (i, j), weight in zip(BEFORE, weights, strict=True):
        response[i, j] = -weight
    response[0, 0] = 1.0
    return float(np.sqrt(np.mean(1.0 / np.maximum(np.abs(np.fft.fft2(response)) ** 2, 1e-9))))


def _points(curve: Array, most: int) -> list[tuple[int, int]]:
    """(luma code of 8 bits, scaling 0..255) of at most `most` points; none for a curve of 0.

    Of the 17 those go first that lie nearest to the line between their neighbours.
    """
    points = [
        (round(SCALE * index / (LEVELS - 1)), min(255, round(float(value))))
        for index, value in enumerate(curve)
    ]
    if not any(scaling for _, scaling in points):
        return []

    def bend(index: int) -> float:
        (x0, y0), (x1, y1), (x2, y2) = points[index - 1 : index + 2]
        return abs(y0 + (y2 - y0) * (x1 - x0) / (x2 - x0) - y1)

    while len(points) > 2:
        least = min(range(1, len(points) - 1), key=bend)
        if len(points) <= most and bend(least) > 0.0:
            break
        del points[least]
    return points
