"""Regions and windows of masks, against OpenCV."""

import cv2
import numpy as np
import pytest

from vidrepair.regions import Box, connected_regions, dilate, runs


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 0.45, 0.7, 1.0])
def test_regions_are_those_of_opencv(share: float):
    rng = np.random.default_rng(int(100 * share))
    for size in ((60, 80), (1, 40), (40, 1), (1, 1)):
        mask = rng.random(size) < share
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        regions = connected_regions(mask)
        assert len(regions) == count - 1
        for region in regions:
            assert len(np.unique(labels[region.rows, region.columns])) == 1
        assert sum(len(region.rows) for region in regions) == mask.sum()


def test_a_region_that_winds_is_one():
    mask = np.zeros((101, 90), dtype=bool)
    mask[::2] = True
    for turn, row in enumerate(range(1, 100, 2)):
        mask[row, -1 if turn % 2 else 0] = True
    regions = connected_regions(mask)
    assert len(regions) == 1
    assert regions[0].box == Box(0, 0, 101, 90)


@pytest.mark.parametrize("reach", [0, 1, 2, 7])
def test_dilation_is_that_of_opencv(reach: int):
    mask = np.random.default_rng(1).random((40, 50)) < 0.02
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), dtype=np.uint8)
    assert np.array_equal(dilate(mask, reach), cv2.dilate(mask.astype(np.uint8), kernel) > 0)
    assert dilate(mask[:1, :3], 5).shape == (1, 3)


def test_cells_cover_a_box_once():
    box = Box(3, 5, 61, 40)
    seen = np.zeros((70, 50), dtype=int)
    for cell in box.cells(24):
        assert cell.height <= 24
        assert cell.width <= 24
        seen[cell.window()] += 1
    assert seen.sum() == seen[box.window()].sum() == box.height * box.width
    assert seen.max() == 1


def test_a_cross_is_two_lines_and_what_is_left() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[1:19, 10:12] = True
    mask[6:8, 2:28] = True
    mask[8:11, 20:23] = True
    (region,) = connected_regions(mask)
    assert [part.box for part in region.lines(12)] == [
        Box(1, 10, 19, 12),
        Box(6, 2, 8, 10),
        Box(6, 12, 8, 28),
        Box(8, 20, 11, 23),
    ]
    assert [part.box for part in region.lines(40)] == [region.box]


@pytest.mark.parametrize(
    ("length", "kept"), [(3, [1, 2, 3, 6, 7, 8, 9]), (4, [6, 7, 8, 9]), (5, [])]
)
def test_rows_of_samples_that_are_long_enough(length: int, kept: list[int]) -> None:
    mask = np.zeros((1, 12), dtype=bool)
    mask[0, [1, 2, 3, 6, 7, 8, 9, 11]] = True
    assert np.flatnonzero(runs(mask, length, 1)[0]).tolist() == kept
    assert np.flatnonzero(runs(mask.T, length, 0)[:, 0]).tolist() == kept
    assert not runs(mask, length, 0).any()


def test_a_region_has_the_parts_that_a_mask_leaves_of_it():
    mask = np.zeros((9, 12), dtype=bool)
    mask[2:5, 1:10] = True
    (region,) = connected_regions(mask)
    wall = np.ones_like(mask)
    wall[:, 4] = False
    assert [part.box for part in region.parts(wall)] == [Box(2, 1, 5, 4), Box(2, 5, 5, 10)]
    assert region.parts(np.zeros_like(mask)) == []
