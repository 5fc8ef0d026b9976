"""The measured mismatch sees what it should, on networks simple enough to know the answer."""

import numpy as np

from segmentation.mismatch import measure_mismatch, measure_overlap, smooth_noise
from segmentation.receptive_field import Geometry


def left_neighbour(tiles):
    """Two probabilities from the voxel two to the left; 0 where the tile has none."""
    moved = np.zeros_like(tiles)
    moved[:, :, 2:] = tiles[:, :, :-2]
    return np.concatenate([moved, 1 - moved], axis=-1)


def minus_tile_mean(tiles):
    mean = tiles.mean(axis=(1, 2), keepdims=True)
    return np.concatenate([tiles - mean, mean - tiles], axis=-1)


def test_a_local_network_with_its_halo_has_no_mismatch():
    geometry = Geometry((1, 1), (0, 2), exact=True)
    found = measure_mismatch(left_neighbour, geometry, 1, tile=(32, 32))
    assert (found["max_difference"], found["argmax_fraction"]) == (0, 0)


def test_a_halo_too_small_is_seen():
    geometry = Geometry((1, 1), (0, 1), exact=True)
    found = measure_mismatch(left_neighbour, geometry, 1, tile=(32, 32))
    assert found["max_difference"] > 0.1
    assert found["argmax_fraction"] > 0


def test_a_network_that_sees_its_tile_mean_differs_by_it():
    geometry = Geometry((1, 1), (4, 4), exact=False)
    found = measure_mismatch(minus_tile_mean, geometry, 1, tile=(16, 16))
    image = smooth_noise((32, 32, 1), 0)
    largest = max(
        abs(image[a : a + 16, b : b + 16].mean() - image.mean())
        for a in range(17)
        for b in range(17)
    )
    assert 0 < found["max_difference"] <= largest
    assert "32x32 voxels" in found["sample"]


def test_tiles_of_a_fixed_size_are_compared_where_they_overlap():
    local = measure_overlap(left_neighbour, Geometry((1, 1), (2, 2), exact=False), 1, tile=(16, 16))
    assert local["max_difference"] == 0
    whole = measure_overlap(
        minus_tile_mean, Geometry((1, 1), (2, 2), exact=False), 1, tile=(16, 16)
    )
    assert whole["max_difference"] > 0


def test_noise_is_seeded_and_about_one_half():
    noise = smooth_noise((64, 64, 2), 5)
    np.testing.assert_array_equal(noise, smooth_noise((64, 64, 2), 5))
    assert (noise != smooth_noise((64, 64, 2), 6)).any()
    assert abs(noise.mean() - 0.5) < 0.1
    assert noise.dtype == np.float32
