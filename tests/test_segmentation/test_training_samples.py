"""Class-aware crops, and flips and turns that move image and truth alike."""

import numpy as np
import pytest

from segmentation.normalize import IntensityTransform
from segmentation.region import Region
from segmentation.training import samples
from segmentation.training.samples import CropSampler, TrainingVolume, fitting_crop, index_classes

PLAIN = IntensityTransform((0.0,), (1.0,))


def volume(label, region=None, image=None, **options):
    image = np.arange(label.size, dtype=np.float32).reshape(label.shape) if image is None else image
    return TrainingVolume(image, label, region or Region.whole(label.shape), PLAIN, **options)


def rare_label():
    """Class 2 in one voxel of half a million, class 1 in a corner."""
    label = np.zeros((8, 256, 256), np.uint8)
    label[5, 200, 30] = 2
    label[:, :40, :40] = 1
    return label


def sampler(volumes, crop, class_share, num_classes=3, seed=0):
    index = index_classes(volumes, num_classes, ignore_label=None, seed=seed)
    return CropSampler(tuple(volumes), index, crop, class_share)


@pytest.mark.parametrize("crop", [(32, 32), (4, 32, 32)])
def test_a_rare_class_is_seen_as_often_as_the_others(crop):
    draw = sampler([volume(rare_label())], crop, class_share=1.0)
    rng = np.random.default_rng(0)
    seen = sum((draw.draw(rng)[1] == 2).any() for _ in range(300))
    # One crop in three is laid around it: 100 +- 8, so 70 to 130 holds for any seed.
    assert 70 <= seen <= 130


def test_without_class_share_crops_lie_anywhere():
    draw = sampler([volume(rare_label())], (32, 32), class_share=0.0)
    rng = np.random.default_rng(0)
    assert sum((draw.draw(rng)[1] == 2).any() for _ in range(100)) <= 3


@pytest.mark.parametrize("crop", [(16, 24), (2, 16, 24)])
def test_crops_stay_inside_the_region_and_hold_matching_voxels(crop):
    label = np.random.default_rng(0).integers(0, 3, (6, 64, 64)).astype(np.uint8)
    region = Region((1, 10, 20), (5, 50, 60))
    image = np.arange(label.size, dtype=np.float64).reshape(label.shape)
    draw = sampler([volume(label, region, image)], crop, class_share=0.5)
    rng = np.random.default_rng(1)
    for _ in range(50):
        voxels, truth = draw.draw(rng)
        assert voxels.shape == (*crop, 1)
        assert voxels.dtype == np.float32
        assert truth.shape == crop
        places = np.unravel_index(voxels[..., 0].astype(int), label.shape)
        np.testing.assert_array_equal(label[places], truth)
        for axis, where in enumerate(places):
            assert region.start[axis] <= where.min()
            assert where.max() < region.stop[axis]


def test_channels_are_taken_from_where_they_are():
    image = np.stack([np.full((4, 32, 32), c, np.float32) for c in range(3)])
    three = IntensityTransform((0.0, 0.0), (1.0, 1.0))
    label = np.zeros((4, 32, 32), np.uint8)
    source = TrainingVolume(image, label, Region.whole(label.shape), three, 0, (2, 0))
    voxels, _ = source.read(Region((0, 0, 0), (1, 4, 4)))
    assert voxels.shape == (1, 4, 4, 2)
    assert voxels[0, 0, 0].tolist() == [2, 0]


def test_a_plane_is_one_section():
    label = np.eye(32, dtype=np.uint8)
    draw = sampler([volume(label)], (16, 16), 1.0, num_classes=2)
    assert len(draw.index.regions) == 1
    assert draw.draw(np.random.default_rng(0))[1].shape == (16, 16)


class Watched:
    """An array that remembers how much of it was asked for at once."""

    def __init__(self, array):
        self.array, self.shape, self.largest = array, array.shape, 0

    def __getitem__(self, slices):
        piece = self.array[slices]
        self.largest = max(self.largest, piece.size)
        return piece


def test_the_index_is_bounded_and_reads_one_section_at_a_time(monkeypatch):
    monkeypatch.setattr(samples, "PLACES_PER_SECTION", 20)
    label = Watched(np.random.default_rng(0).integers(0, 2, (5, 32, 32)).astype(np.uint8))
    source = TrainingVolume(label.array, label, Region.whole(label.shape), PLAIN)
    index = index_classes([source], 2, ignore_label=None, seed=0)
    assert label.largest == 32 * 32
    assert {len(places) for section in index.places for places in section} == {20}
    assert index.counts.sum() == label.array.size


def test_the_seed_decides_the_crops():
    def drawn(seed):
        draw = sampler([volume(rare_label())], (32, 32), 0.5, seed=seed)
        rng = np.random.default_rng(seed)
        return [draw.draw(rng)[0].tobytes() for _ in range(10)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_labels_out_of_range_are_named():
    label = rare_label()
    label[6, 0, 0] = 9
    with pytest.raises(ValueError, match=r"values \[9\] in the section from \(6, 0, 0\); expected"):
        index_classes([volume(label)], 3, ignore_label=None, seed=0)
    assert index_classes([volume(label)], 3, ignore_label=9, seed=0).counts.sum() == label.size - 1


def test_nothing_but_ignored_is_refused():
    label = np.full((16, 16), 255, np.uint8)
    with pytest.raises(ValueError, match="no labelled voxel"):
        index_classes([volume(label)], 2, ignore_label=255, seed=0)


def test_the_crop_fits_the_smallest_region_in_whole_strides():
    small = volume(np.zeros((8, 100, 70), np.uint8))
    assert fitting_crop([small.region], (256, 256), (16, 16)) == (96, 64)
    assert fitting_crop([small.region], (4, 32, 32), (2, 16, 16)) == (4, 32, 32)
    with pytest.raises(ValueError, match=r"smallest region \(8, 100, 70\) hold no whole network"):
        fitting_crop([small.region], (32, 64, 64), (16, 16, 16))
