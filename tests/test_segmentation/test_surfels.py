import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from surface_distance import lookup_tables

from segmentation.metrics.surfels import corner_codes, surfel_areas

SIZES = st.floats(1e-3, 1e3)


@given(st.tuples(SIZES, SIZES, SIZES))
def test_areas_are_those_of_the_table_of_deepmind(voxel_size):
    table = lookup_tables.create_table_neighbour_code_to_surface_area(voxel_size)
    assert surfel_areas(voxel_size) == pytest.approx(table, rel=1e-12, abs=0)


@given(st.tuples(SIZES, SIZES))
def test_lengths_are_those_of_the_table_of_deepmind(voxel_size):
    table = lookup_tables.create_table_neighbour_code_to_contour_length(voxel_size)
    assert surfel_areas(voxel_size) == pytest.approx(table, rel=1e-12, abs=0)


# By hand, voxels of 1 × 2 × 3: all pieces are seen from the corner between the eight voxels.
@pytest.mark.parametrize(
    ("code", "area"),
    [
        (0b00000000, 0),
        (0b11111111, 0),
        (0b00001111, 6),  # a level cut, the whole face y × x
        (0b01010101, 2),  # the whole face z × y
        (0b00000001, np.sqrt(6**2 + 3**2 + 2**2) / 8),  # one corner: x·y, x·z, y·z over 8
        (0b11111110, np.sqrt(6**2 + 3**2 + 2**2) / 8),  # the same piece, seen from inside
        (0b10000001, np.sqrt(6**2 + 3**2 + 2**2) / 4),  # two corners that do not touch
        (0b00000011, np.sqrt(6**2 + 3**2) / 2),  # an edge along x
    ],
)
def test_areas_by_hand(code, area):
    assert surfel_areas((1, 2, 3))[code] == pytest.approx(area, rel=1e-14)


def test_every_mixed_code_has_an_area():
    assert np.flatnonzero(surfel_areas((1, 1, 1)) == 0).tolist() == [0, 255]
    assert np.flatnonzero(surfel_areas((1, 1)) == 0).tolist() == [0, 15]


def test_area_of_a_box_is_that_of_its_faces_less_the_blunted_edges():
    inside = np.pad(np.ones((2, 3, 4), bool), 1)
    area = surfel_areas((1, 1, 1))[corner_codes(inside)].sum()
    # A level code has area 1: faces of (2-1)(3-1), (2-1)(4-1), (3-1)(4-1) corners, twice;
    # along the edges 4·(1 + 2 + 3) pieces of √½, and 8 corners of √3 / 8.
    assert area == pytest.approx(2 * (2 + 3 + 6) + 24 * np.sqrt(0.5) + np.sqrt(3))


@pytest.mark.parametrize(
    "kernel",
    [
        lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL,
        lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL,
    ],
)
def test_codes_are_those_of_deepmind(kernel):
    inside = np.random.default_rng(0).random((7, 8, 9)[: kernel.ndim]) < 0.5
    padded = np.pad(inside, 1)
    expected = ndimage.correlate(padded.astype(np.uint8), kernel, mode="constant")
    codes = corner_codes(padded)
    assert codes.dtype == np.uint8
    # Their element i stands for the corner before voxel i.
    np.testing.assert_array_equal(codes, expected[(slice(1, None),) * kernel.ndim])


@pytest.mark.parametrize("voxel_size", [(1.0,), (1.0, 1.0, 1.0, 1.0)])
def test_needs_two_or_three_sizes(voxel_size):
    with pytest.raises(ValueError, match="expected 2 or 3"):
        surfel_areas(voxel_size)
