import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segmentation.metrics import label_block
from segmentation.metrics.boundary import boundary_iou, count_boundaries
from segmentation.metrics.label_block import SurfaceOptions, surface_halo
from segmentation.region import Region
from tests.test_segmentation.label_tilings import counted, label_pairs, sizes_and_caps, tilings

OPTIONS = SurfaceOptions(2, (1.0, 1.0), cap=1.0)


def whole(truth, mask, options, widths):
    box = Region.whole(truth.shape)
    return count_boundaries(
        truth, mask, read=box, core=box, shape=truth.shape, options=options, widths=widths
    )


def transformed(truth, mask, options, widths):
    """The same counts from scipy's distance transform of the padded image."""
    counts = np.zeros((options.num_classes, len(widths), 3), np.int64)
    counts_here = truth != options.ignore_label
    for value, (row, width) in itertools.product(range(options.num_classes), enumerate(widths)):
        near = []
        for labels in (truth, mask):
            far = ndimage.distance_transform_edt(np.pad(labels == value, 1), options.voxel_size)
            inner = far[(slice(1, -1),) * labels.ndim]
            near.append((inner > 0) & (inner <= width) & counts_here)
        counts[value, row] = [near[0].sum(), near[1].sum(), (near[0] & near[1]).sum()]
    return counts


@settings(deadline=None)  # the first example compiles
@given(st.data(), label_pairs())
def test_is_the_boundary_of_a_distance_transform(data, labels):
    # Sizes whose squares are exact, so that a width may be a distance to the digit.
    size = tuple(data.draw(st.sampled_from([0.5, 1.0, 1.5, 3.0])) for _ in labels[0].shape)
    widths = data.draw(st.lists(st.sampled_from([0.4, 0.5, 1.0, 2.0**0.5, 3.0, 50.0]), max_size=3))
    options = SurfaceOptions(3, size, cap=1.0, ignore_label=9)
    found = whole(*labels, options, widths)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, transformed(*labels, options, widths))


@settings(deadline=None)
@given(st.data(), label_pairs())
def test_tiles_add_up_to_the_whole(data, labels):
    size, width = data.draw(sizes_and_caps(labels[0].ndim))
    widths = (width / 3, width)
    options = SurfaceOptions(
        3, size, cap=1.0, ignore_label=data.draw(st.sampled_from([None, 9, 1]))
    )
    tiles = data.draw(tilings(labels[0].shape))
    total = sum(
        counted(
            count_boundaries,
            labels,
            core,
            surface_halo(width, size),
            options=options,
            widths=widths,
        )
        for core in tiles
    )
    np.testing.assert_array_equal(total, whole(*labels, options, widths))


def test_boundary_of_a_square_by_hand():
    truth = np.zeros((7, 7), np.uint8)
    truth[1:6, 1:6] = 1  # 5 × 5: rings of 16, 8 and 1 voxels
    mask = np.zeros((7, 7), np.uint8)
    mask[1:6, 2:6] = 1  # 5 × 4: rings of 14 and 6 voxels
    counts = whole(truth, mask, OPTIONS, (1.0, 2.0))
    # Width 1: both have columns 2–5 of rows 1 and 5, and rows 2–4 of column 5.
    assert counts[1].tolist() == [[16, 14, 11], [24, 20, 19]]
    assert boundary_iou(counts)[1] == [11 / 19, 19 / 25]


def test_beyond_the_image_is_not_of_the_class():
    full = np.ones((5, 5), np.uint8)
    counts = whole(full, full, OPTIONS, (1.0,))
    assert counts[:, 0].tolist() == [[0, 0, 0], [16, 16, 16]]
    assert boundary_iou(counts) == [[None], [1.0]]


def test_an_ignored_voxel_is_in_no_boundary_but_makes_one():
    truth = np.ones((5, 5), np.uint8)
    truth[2, 2] = 9
    mask = np.ones((5, 5), np.uint8)
    options = replace(OPTIONS, ignore_label=9)
    # Truth: the border, and the four voxels round the ignored one; mask: the border.
    assert whole(truth, mask, options, (1.0,))[1, 0].tolist() == [20, 16, 16]
    # Of the mask's whole width-3 boundary, all 25 voxels, the ignored one is left out.
    assert whole(truth, mask, options, (3.0,))[1, 0].tolist() == [24, 24, 24]


def test_large_arrays_with_wide_uniform_places():
    random = np.random.default_rng(0)
    truth, mask = (random.random((12, 60, 60)) < 0.0005 for _ in range(2))
    options = SurfaceOptions(2, (3.0, 1.0, 1.0), cap=1.0)
    labels = (truth.astype(np.uint8), mask.astype(np.uint8))
    widths = (2.0, 9.0)
    found = whole(*labels, options, widths)
    np.testing.assert_array_equal(found, transformed(*labels, options, widths))


def test_a_halo_short_of_the_width_changes_the_count(monkeypatch):
    # The one voxel not of the class is 3 away from the core, as far as the width reaches.
    truth = np.ones((1, 30), np.uint8)
    truth[0, 12] = 0
    labels, core = (truth, truth), Region((0, 15), (1, 20))
    options = SurfaceOptions(2, (50.0, 1.0), cap=1.0)

    def count(halo):
        return counted(
            count_boundaries, labels, core, halo, options=options, widths=(3.0,)
        ).tolist()

    exact = count(surface_halo(3.0, options.voxel_size))
    assert exact[1] == [[1, 1, 1]]
    with pytest.raises(ValueError, match="does not reach the halo"):
        count((1, 2))
    monkeypatch.setattr(label_block, "surface_halo", lambda cap, size: (0, 2))
    assert count((1, 2)) != exact


def test_a_halo_counted_twice_changes_the_count():
    truth = np.zeros((4, 20), np.uint8)
    truth[:, 9:11] = 1
    cores = [Region((0, 0), (4, 10)), Region((0, 10), (4, 20))]
    halo = surface_halo(1.0, OPTIONS.voxel_size)

    def total(boxes):
        return sum(
            counted(count_boundaries, (truth, truth), box, halo, options=OPTIONS, widths=(1.0,))
            for box in boxes
        ).tolist()

    exact = whole(truth, truth, OPTIONS, (1.0,)).tolist()
    assert total(cores) == exact
    wide = [Region((0, 0), (4, 12)), Region((0, 8), (4, 20))]
    assert total(wide) != exact


@pytest.mark.parametrize("width", [0.0, -1.0, np.inf, np.nan])
def test_refuses_a_width_that_is_no_length(width):
    truth = np.zeros((3, 3), np.uint8)
    with pytest.raises(ValueError, match="positive, finite length"):
        whole(truth, truth, OPTIONS, (width,))
