import numpy as np
import pytest

from segmentation.metrics.label_block import SurfaceOptions, surface_halo
from segmentation.metrics.surface import count_surfaces
from segmentation.region import Region
from tests.test_segmentation.label_tilings import PLANE, square, whole


@pytest.mark.parametrize(
    ("cap", "size", "halo"),
    [
        (0.3, 0.1, 4),
        (0.7, 0.1, 8),
        (0.35, 0.1, 4),
        (100.0, 50.0, 3),
        (99.9, 50.0, 2),
        (1.0, 4.0, 1),
    ],
)
def test_halo_is_one_more_than_the_cap_in_voxels(cap, size, halo):
    assert surface_halo(cap, (size, 2 * cap)) == (halo, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SurfaceOptions(0, (1.0, 1.0), 1.0), "num_classes is 0"),
        (lambda: SurfaceOptions(2, (1.0,), 1.0), "has 1 axes"),
        (lambda: SurfaceOptions(2, (1.0, 0.0), 1.0), "voxel_size holds 0.0"),
        (lambda: SurfaceOptions(2, (1.0, np.nan), 1.0), "voxel_size holds nan"),
        (lambda: SurfaceOptions(2, (1.0, 1.0), np.inf), "cap holds inf"),
        (lambda: SurfaceOptions(2, (1.0, 1.0), -1.0), "cap holds -1.0"),
    ],
)
def test_refuses_options_that_measure_nothing(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_refuses_labels_that_are_not_integers():
    with pytest.raises(ValueError, match="mask has dtype float64"):
        whole(np.zeros((3, 3), int), np.zeros((3, 3)), PLANE)


@pytest.mark.parametrize(
    ("read", "core", "shape", "message"),
    [
        (((0, 0), (9, 9)), ((2, 2), (3, 3)), (9, 9), r"truth has shape \(12, 12\)"),
        (((0, 0), (12, 12)), ((2, 2), (3, 3)), (9, 9), "cut the boxes at the image border"),
        (((0, 0), (12, 12)), ((2, 2), (13, 3)), (20, 20), "cut the boxes at the image border"),
        (((0, 0), (12, 12)), ((2, 2), (8, 8)), (20, 20), r"halo \(5, 5\)"),
        (((0, 0), (12, 12)), ((2, 2), (3, 3)), (12, 12, 12), "one number of axes"),
    ],
)
def test_refuses_boxes_that_do_not_fit(read, core, shape, message):
    labels = square((2, 2), (9, 9))
    with pytest.raises(ValueError, match=message):
        count_surfaces(
            labels, labels, read=Region(*read), core=Region(*core), shape=shape, options=PLANE
        )
