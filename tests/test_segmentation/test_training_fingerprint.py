"""Fingerprints: the same image is found again, also at another size or brightness."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from segmentation.region import Region
from segmentation.training import fingerprint as module
from segmentation.training.fingerprint import (
    Fingerprint,
    fingerprint,
    look_alikes,
    near_duplicates,
    voxel_digest,
)
from tests.strategies import regions


def picture(seed, shape=(96, 80)):
    """Smooth blobs, the same at any size."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, shape[0] / 16) * 1000 + 100


def print_of(image, channel_axis=None):
    shape = [size for axis, size in enumerate(image.shape) if axis != channel_axis]
    return fingerprint(image, Region.whole(shape), channel_axis)


def test_thumbnails_are_means_of_equal_fields():
    image = np.random.default_rng(0).normal(size=(2, 128, 192))
    means = image.reshape(2, 64, 2, 64, 3).mean(axis=(2, 4)).reshape(2, -1)
    found = print_of(image)
    expected = np.corrcoef(means)
    assert found.thumbnails.dtype == np.float32
    assert found.where == ((0,), (1,))
    np.testing.assert_allclose(found.thumbnails @ found.thumbnails.T, expected, atol=1e-6)
    np.testing.assert_allclose(found.thumbnails.mean(axis=1), 0, atol=1e-7)


@pytest.mark.parametrize("shape", [(5, 7), (64, 64), (100, 70), (1, 300)])
def test_any_size_gives_a_thumbnail_whatever_the_bands(shape, monkeypatch):
    image = np.random.default_rng(1).normal(size=shape)
    whole = print_of(image)
    monkeypatch.setattr(module, "BLOCK_VOXELS", 40)
    banded = print_of(image)
    assert whole.digest == banded.digest
    np.testing.assert_allclose(whole.thumbnails, banded.thumbnails, atol=1e-6)
    assert whole.thumbnails.shape == (1, 64 * 64)


def test_small_images_are_shown_by_their_nearest_voxels():
    image = np.random.default_rng(2).normal(size=(16, 32))
    large = np.repeat(np.repeat(image, 4, axis=0), 2, axis=1).ravel()
    expected = (large - large.mean()) / np.linalg.norm(large - large.mean())
    np.testing.assert_allclose(print_of(image).thumbnails[0], expected, atol=1e-6)


# A picture and what was done to it; all of them are the same picture.
COPIES = [
    ("brighter, with more contrast", lambda image: image * 2 + 7),
    ("rounded to bytes", lambda image: np.clip(image, 0, 255).round().astype(np.uint8)),
    ("half the size", lambda image: image.reshape(48, 2, 40, 2).mean(axis=(1, 3))),
    ("three times the size", lambda image: ndimage.zoom(image, 3, order=1)),
    ("noisy", lambda image: image + np.random.default_rng(3).normal(0, 2, image.shape)),
]


@pytest.mark.parametrize(("name", "change"), COPIES)
def test_copies_are_found(name, change):
    image = picture(0)
    [(here, there, correlation)] = near_duplicates(print_of(image), print_of(change(image)))
    assert (here, there) == ((), ())
    assert correlation > 0.98, name


def test_other_images_are_not_found():
    prints = [print_of(picture(seed)) for seed in range(20)]
    assert look_alikes(prints) == {}


def test_look_alikes_agree_with_the_comparison_of_two(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)
    stacks = [np.stack([picture(4 * k + z) for z in range(4)]) for k in range(4)]
    stacks[2][1] = stacks[0][3] * 3 + 1
    stacks.append(stacks[1].copy())
    prints = [print_of(stack) for stack in stacks]
    assert near_duplicates(prints[2], prints[0]) == [((1,), (3,), pytest.approx(1, abs=1e-6))]
    found = look_alikes(prints)
    assert found == {(0, 2): 0.9999, (1, 4): 1.0}
    assert list(found) == sorted(found)


def test_sections_without_contrast_look_like_nothing():
    flat = np.full((3, 40, 40), 7.0)
    flat[1, 3:20, 5] = 9
    found = print_of(flat)
    assert found.where == ((1,),)
    assert look_alikes([found, print_of(np.zeros((3, 40, 40)))]) == {}
    broken = flat.copy()
    broken[1, 0, 0] = np.inf
    assert print_of(broken).where == ()


def test_equal_images_without_contrast_are_found_by_their_digest():
    prints = [print_of(np.zeros((2, 8, 8), np.uint8)) for _ in range(3)]
    assert look_alikes(prints) == {(0, 1): 1.0, (0, 2): 1.0, (1, 2): 1.0}


def test_of_many_sections_64_are_looked_at():
    image = np.stack([picture(seed, (8, 8)) for seed in range(200)])
    found = fingerprint(image, Region((10, 0, 0), (200, 8, 8)), None)
    assert len(found.where) == len(found.thumbnails) == 64
    places = [place for (place,) in found.where]
    assert places[0] == 10 + 190 // 128
    assert set(np.diff(places)) == {2, 3}
    assert places[-1] < 200


def test_channels_are_averaged_wherever_they_are():
    image = np.stack([picture(0), picture(1)])
    expected = print_of(image.mean(axis=0)).thumbnails
    for axis in (0, 2):
        moved = print_of(np.moveaxis(image, 0, axis), axis)
        np.testing.assert_allclose(moved.thumbnails, expected, atol=1e-6)


@given(regions((4, 6, 5)), st.sampled_from([7, 30, 1000]))
def test_the_digest_is_that_of_the_voxels_in_c_order(region, voxels):
    image = np.arange(120, dtype=np.uint16).reshape(4, 6, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_VOXELS", voxels)
        found = voxel_digest(image, region)
    expected = hashlib.sha256(json.dumps(region.shape).encode() + b"uint16 1")
    expected.update(image[region.slices].tobytes())
    assert found == expected.hexdigest()


def test_the_digest_knows_shape_type_and_channels():
    image = np.zeros((4, 6), np.uint8)
    digests = {
        voxel_digest(image, Region.whole((4, 6))),
        voxel_digest(image.reshape(6, 4), Region.whole((6, 4))),
        voxel_digest(image.astype(np.int8), Region.whole((4, 6))),
        voxel_digest(image, Region.whole((6,)), 0),
    }
    assert len(digests) == 4


def test_a_threshold_can_be_given():
    ones = np.ones((1, 1), np.float32)
    first, second = (Fingerprint(str(k), k * ones, ((k,),)) for k in (1, 0.9))
    assert near_duplicates(first, second, 0.95) == []
    assert look_alikes([first, second], 0.85) == {(0, 1): pytest.approx(0.9)}
