"""overlay: what is shown is where it should be, of the right colour, at every depth and format."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from vidrepair.frames import Frame, Picture, Plane
from vidrepair.overlay import show
from vidrepair.planes import LUMA_WEIGHTS, chroma_size
from vidrepair.settings import OVERLAYS, Overlay
from vidrepair.tags import pixel_format

FORMATS = (
    *("yuv420p", "yuv422p", "yuv444p", "yuv411p", "gray", "gbrp"),
    *("yuv420p10le", "yuv422p12le", "yuv444p16le", "gray16le", "gbrp10le", "gbrp16le"),
)
SIZE = (24, 31)
"""Height and width; odd on purpose."""


def picture(name: str, *, full: bool = False, matrix: str = "bt709") -> Picture:
    form = pixel_format(name)
    assert form is not None
    return Picture(SIZE[1], SIZE[0], form, matrix, full or form.family == "rgb")


def frame(of: Picture, seed: int = 0) -> Frame:
    """Random samples, within black and white."""
    rng = np.random.default_rng(seed)
    chroma = chroma_size(of)
    if of.format.family != "yuv":
        chroma = (of.height, of.width)
    shapes = [(of.height, of.width), chroma, chroma][: 1 if of.format.family == "gray" else 3]
    kind = np.uint8 if of.format.bits == 8 else np.uint16
    scale = 2 ** (of.format.bits - 8)
    planes = tuple(rng.integers(40 * scale, 216 * scale, shape).astype(kind) for shape in shapes)
    return Frame(planes, of, 0, 0, Fraction(1, 25))


def codes() -> np.ndarray:
    """A blot, a speck of the least code in a corner, and a line at the edge."""
    matte = np.zeros(SIZE, np.uint8)
    matte[8:13, 9:17] = 255
    matte[0, 30] = 1
    matte[20:, 0] = 80
    return matte


def touched(of: Picture, plane: Plane) -> np.ndarray:
    """Where a plane has a site that the matte covers."""
    across, down = (1, 1) if plane.shape == SIZE else of.format.sampling
    rows, columns = np.nonzero(codes())
    place = np.zeros(plane.shape, bool)
    place[rows // down, columns // across] = True
    return place


def rgb(of: Picture, planes: tuple[Plane, ...]) -> np.ndarray:
    """(H, W, 3) R'G'B' 0..1 of a 4:4:4 picture, by the definition of its matrix."""
    peak = of.format.peak
    if of.format.family == "rgb":
        return np.stack(planes, axis=-1) / peak
    bits = of.format.bits
    if of.full_range:
        luma, span = planes[0] / peak, peak
    else:
        scale = 2 ** (bits - 8)
        luma, span = (planes[0].astype(float) / scale - 16) / 219, 224 * scale
    blue, red = ((plane.astype(float) - 2 ** (bits - 1)) / span for plane in planes[1:])
    kr, kb = LUMA_WEIGHTS[of.matrix]
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    return np.stack([r, (luma - kr * r - kb * b) / (1 - kr - kb), b], axis=-1)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_format_type_and_size_stay(name: str, full: bool, overlay: Overlay) -> None:
    of = picture(name, full=full)
    before, after = frame(of), frame(of, 1)
    kept = [plane.copy() for plane in (*before.planes, *after.planes)]
    for matte in (codes(), None):
        shown = show(overlay, before, after.planes, matte)
        assert [(p.shape, p.dtype) for p in shown] == [(p.shape, p.dtype) for p in after.planes]
        assert all(plane.max() <= of.format.peak for plane in shown)
    for plane, was in zip((*before.planes, *after.planes), kept, strict=True):
        np.testing.assert_array_equal(plane, was)


@pytest.mark.parametrize("name", FORMATS)
def test_red_leaves_the_picture_elsewhere_as_it_is(name: str) -> None:
    of = picture(name)
    after = frame(of, 1).planes
    shown = show("red", frame(of), after, codes())
    near = cv2.dilate((codes() > 0).astype("u1"), np.ones((3, 3), np.uint8)) > 0
    rows, columns = np.nonzero(near)
    for plane, now in zip(after, shown, strict=True):
        across, down = (1, 1) if plane.shape == SIZE else of.format.sampling
        marked = np.zeros(plane.shape, bool)
        marked[rows // down, columns // across] = True
        np.testing.assert_array_equal(plane[~marked], now[~marked])
        assert (plane[marked] != now[marked]).mean() > 0.9
    unmarked = show("red", frame(of), after, None)
    assert all(np.array_equal(one, other) for one, other in zip(after, unmarked, strict=True))


@pytest.mark.parametrize("matrix", LUMA_WEIGHTS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["yuv444p", "yuv444p10le", "yuv444p16le", "gbrp", "gbrp12le"])
def test_red_is_red(name: str, full: bool, matrix: str) -> None:
    """All of it around a place, half of it inside: the specks too."""
    of = picture(name, full=full, matrix="bt709" if name.startswith("g") else matrix)
    after = frame(of, 1).planes
    shown = rgb(of, show("red", frame(of), after, codes()))
    inside = codes() > 0
    outline = (cv2.dilate(inside.astype("u1"), np.ones((3, 3), np.uint8)) > 0) & ~inside
    tolerance = 3.0 / min(of.format.peak, 4095)  # two roundings of a code
    assert outline[1, 30]
    np.testing.assert_allclose(shown[outline], [[1.0, 0.0, 0.0]] * outline.sum(), atol=tolerance)
    half = 0.5 * rgb(of, after)[inside] + [0.5, 0.0, 0.0]
    np.testing.assert_allclose(shown[inside], half, atol=tolerance)


def test_a_speck_is_seen_in_subsampled_chroma() -> None:
    of = picture("yuv420p", matrix="bt601")
    matte = np.zeros(SIZE, np.uint8)
    matte[12, 12] = 1
    shown = show("red", frame(of), frame(of, 1).planes, matte)
    assert (shown[1][5:7, 5:7] == 90).all()  # limited BT.601 red: 81, 90, 240
    assert (shown[2][5:7, 5:7] == 240).all()
    ring = shown[0][11:14, 11:14]
    assert (ring == 81).sum() == 8


@pytest.mark.parametrize(("name", "full"), [("gray", True), ("gray", False), ("gray12le", True)])
def test_on_gray_film_the_outline_is_what_is_seen(name: str, full: bool) -> None:
    of = picture(name, full=full)
    scale = 2 ** (of.format.bits - 8)
    black, white = (0, of.format.peak) if full else (16 * scale, 235 * scale)
    after = frame(of, 1).planes
    (shown,) = show("red", frame(of), after, codes())
    inside = codes() > 0
    outline = (cv2.dilate(inside.astype("u1"), np.ones((3, 3), np.uint8)) > 0) & ~inside
    assert set(np.unique(shown[outline])) == {black, white}
    assert (np.abs(shown.astype(int) - after[0])[outline] > 0.4 * (white - black)).all()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_luma_fades_all_that_was_not_touched(name: str, full: bool) -> None:
    of = picture(name, full=full)
    bits, family = of.format.bits, of.format.family
    after = frame(of, 1).planes
    shown = show("luma", frame(of), after, codes())
    scale = 2 ** (bits - 8)
    middle = of.format.peak / 2 if of.full_range else 125.5 * scale
    for index, (was, now) in enumerate(zip(after, shown, strict=True)):
        place = touched(of, was)
        np.testing.assert_array_equal(now[place], was[place])
        if family == "yuv" and index:
            assert (now[~place] == 2 ** (bits - 1)).all()
        elif family != "rgb":
            pale = middle + (was.astype(float) - middle) / 2
            assert np.abs(now - pale)[~place].max() <= 0.5
    if family == "rgb":
        outside = codes() == 0
        assert all(np.array_equal(plane[outside], shown[0][outside]) for plane in shown)
        luma = sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), after, strict=True))
        assert np.abs(shown[0] - (middle + (luma - middle) / 2))[outside].max() <= 0.51


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_difference_is_gray_where_nothing_changed(name: str, full: bool) -> None:
    of = picture(name, full=full)
    bits = of.format.bits
    scale = 2 ** (bits - 8)
    before = frame(of)
    gray = 2 ** (bits - 1) if of.full_range else round(125.5 * scale)
    middles = [2 ** (bits - 1) if of.format.family == "yuv" and i else gray for i in range(3)]
    same = show("diff", before, before.planes, codes())
    for plane, middle in zip(same, middles, strict=False):
        assert (plane == middle).all()
    changed = tuple(plane.copy() for plane in before.planes)
    for plane in changed:
        plane[2, 2] += 3
        plane[3, 2] -= 5
        plane[4, 4] = 39 * scale
        plane[5, 4] = of.format.peak
    low, high = (0, of.format.peak) if of.full_range else (16 * scale, 240 * scale)
    for plane, was, middle in zip(
        show("diff", before, changed, None), before.planes, middles, strict=False
    ):
        assert plane[2, 2] == middle + 12
        assert plane[3, 2] == middle - 20
        assert low <= plane[4, 4] == max(low, middle - 4 * (int(was[4, 4]) - 39 * scale))
        assert middle < plane[5, 4] <= high
        assert (plane != middle).sum() == 4


def test_every_change_shows_whatever_the_matte_says() -> None:
    of = picture("yuv420p")
    before, after = frame(of), frame(of, 1)
    shown = [show("diff", before, after.planes, matte) for matte in (codes(), None)]
    assert all(np.array_equal(one, other) for one, other in zip(*shown, strict=True))


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", ["yuv420p", "yuv411p", "gray10le", "gbrp16le"])
def test_a_picture_of_one_sample(name: str, overlay: Overlay) -> None:
    of = replace(picture(name), width=1, height=1)
    kind = np.uint8 if of.format.bits == 8 else np.uint16
    planes = tuple(
        np.full((1, 1), 100, kind) for _ in range(1 if of.format.family == "gray" else 3)
    )
    one = Frame(planes, of, 0, 0, Fraction(1, 25))
    shown = show(overlay, one, planes, np.ones((1, 1), np.uint8))
    assert [plane.shape for plane in shown] == [(1, 1)] * len(planes)
