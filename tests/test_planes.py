from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from vidrepair.frames import Frame, Picture, PixelFormat, Plane
from vidrepair.planes import (
    add_residual,
    padded_size,
    residual_planes,
    rgb_to_ycbcr,
    to_generator,
)

YUV420 = PixelFormat("yuv420p", "yuv", 8, (2, 2))
YUV422_10 = PixelFormat("yuv422p10le", "yuv", 10, (2, 1))
YUV411 = PixelFormat("yuv411p", "yuv", 8, (4, 1))
RGB = PixelFormat("gbrp", "rgb", 8)
GRAY16 = PixelFormat("gray16le", "gray", 16)


def make_frame(form: PixelFormat, width: int, height: int, seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    across, down = form.sampling
    small = (-(-height // down), -(-width // across))
    shapes = {"gray": [(height, width)], "rgb": [(height, width)] * 3}.get(
        form.family, [(height, width), small, small]
    )
    kind = np.uint8 if form.bits == 8 else np.uint16
    planes: tuple[Plane, ...] = tuple(
        rng.integers(0, form.peak, size=shape, endpoint=True).astype(kind) for shape in shapes
    )
    return Frame(planes, Picture(width, height, form), 0, 0, Fraction(1, 25))


def seen(frame: Frame) -> np.ndarray:
    out = np.full((3, *padded_size(frame.picture)), np.nan, dtype=np.float32)
    to_generator(frame.planes, frame.picture, out)
    assert np.isfinite(out).all()
    return out


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (32, 16), (7, 40)])
@pytest.mark.parametrize("form", [YUV420, YUV422_10, YUV411, RGB, GRAY16])
def test_every_sample_is_where_it_belongs(form: PixelFormat, size: tuple[int, int]) -> None:
    width, height = size
    frame = make_frame(form, width, height)
    out = seen(frame)
    if form.family == "rgb":
        rgb = np.einsum("ij,jhw->ihw", np.linalg.inv(rgb_to_ycbcr()), out[:, :height, :width])
        assert np.abs(rgb * 255 - np.stack(frame.planes)).max() < 1e-3
        return
    assert np.allclose(out[0, :height, :width] * form.peak, frame.planes[0], atol=1e-2)
    if form.family == "gray":
        assert (out[1:] == 0).all()
        return
    across, down = form.sampling
    for part, plane in zip(out[1:], frame.planes[1:], strict=True):
        codes = part * form.peak + 2 ** (form.bits - 1)
        rows, columns = np.mgrid[:height, :width]
        assert np.allclose(
            codes[:height, :width], plane[rows // down, columns // across], atol=1e-2
        )


def test_padding_mirrors_the_picture() -> None:
    frame = make_frame(GRAY16, 20, 10)
    out = seen(frame)[0]
    assert out.shape == (16, 32)
    assert (out[:10, 20] == out[:10, 18]).all()
    assert (out[10] == out[8]).all()
    alone = seen(make_frame(GRAY16, 1, 1))[0]
    assert (alone == alone[0, 0]).all()


@pytest.mark.parametrize("form", [YUV420, YUV422_10, YUV411, RGB, GRAY16])
def test_a_zero_residual_changes_no_sample(form: PixelFormat) -> None:
    frame = make_frame(form, 33, 17)
    nothing = np.zeros((3, *padded_size(frame.picture)), dtype=np.float32)
    for plane, change in zip(frame.planes, residual_planes(nothing, frame.picture), strict=True):
        assert (add_residual(plane, change, form.bits) == plane).all()


def test_a_chroma_sample_takes_the_mean_of_its_sites() -> None:
    frame = make_frame(YUV420, 6, 5)
    residual = np.random.default_rng(1).standard_normal((3, 16, 16)).astype(np.float32)
    luma, blue, red = residual_planes(residual, frame.picture)
    assert np.allclose(luma, residual[0, :5, :6] * 255)
    assert blue.shape == red.shape == (3, 3)
    assert blue[1, 2] == pytest.approx(residual[1, 2:4, 4:6].mean() * 255, rel=1e-5)


def test_an_rgb_residual_is_the_difference_of_two_pictures() -> None:
    one, two = make_frame(RGB, 16, 16, seed=1), make_frame(RGB, 16, 16, seed=2)
    changes = residual_planes(seen(two) - seen(one), one.picture)
    for plane, change, wanted in zip(one.planes, changes, two.planes, strict=True):
        assert (add_residual(plane, change, 8) == wanted).all()


def test_rounding_is_half_to_even_and_clipped() -> None:
    plane = np.array([[10, 11, 250, 3]], dtype=np.uint8)
    change = np.array([[0.5, 0.5, 9.0, -9.0]], dtype=np.float32)
    assert add_residual(plane, change, 8).tolist() == [[10, 12, 255, 0]]


@pytest.mark.parametrize("form", [YUV420, YUV422_10, YUV411])
@pytest.mark.parametrize("size", [(17, 33), (7, 5), (1, 1)])
def test_chroma_at_an_odd_edge_is_restored_as_elsewhere(
    form: PixelFormat, size: tuple[int, int]
) -> None:
    """A perfect residual gives the perfect picture, on the last column and row too."""
    noisy, clean = (make_frame(form, *size, seed=seed) for seed in (1, 2))
    changes = residual_planes(seen(clean) - seen(noisy), noisy.picture)
    for plane, change, truth in zip(noisy.planes, changes, clean.planes, strict=True):
        assert np.array_equal(add_residual(plane, change, form.bits), truth)


@pytest.mark.parametrize("form", [YUV420, YUV422_10, YUV411, RGB, GRAY16])
def test_tensors_of_torch_come_out_as_arrays_do(form: PixelFormat) -> None:
    """A card computes by the same code: within one code, and untouched samples stay as they are."""
    frame = make_frame(form, 33, 17)
    residual = np.random.default_rng(3).normal(0, 0.1, (3, *padded_size(frame.picture)))
    residual[:, :, :9] = 0.0
    change = residual.astype(np.float32)
    out = np.full_like(change, np.nan)
    to_generator(frame.planes, frame.picture, out)
    there = torch.full(change.shape, torch.nan)
    uploaded = [torch.from_numpy(plane.copy()) for plane in frame.planes]
    to_generator(uploaded, frame.picture, there)
    assert np.abs(there.numpy() - out).max() < 1e-6
    changes = residual_planes(torch.from_numpy(change), frame.picture, (0.5, 1.0))
    expected = residual_planes(change, frame.picture, (0.5, 1.0))
    for plane, given, part, wanted in zip(frame.planes, uploaded, changes, expected, strict=True):
        found = add_residual(given, part, form.bits).numpy()
        assert found.dtype == plane.dtype
        assert np.abs(found.astype(int) - add_residual(plane, wanted, form.bits)).max() <= 1
        assert (found != plane).any()
        untouched = found.shape[1] * 8 // 33
        assert (found[:, :untouched] == plane[:, :untouched]).all()
