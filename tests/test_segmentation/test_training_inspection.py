"""Labels before training: counted slab by slab, refused with the likely cause."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segmentation.region import Region
from segmentation.training import inspection
from segmentation.training.inspection import blocks, count_labels, one_hot_message
from tests.strategies import regions, voxels_of


def count(label, num_classes=3, ignore_label=None):
    return count_labels(label, Region.whole(label.shape), num_classes, ignore_label)


@given(st.data(), st.integers(1, 40))
def test_blocks_are_small_and_follow_each_other_in_c_order(data, voxels):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=4, max_side=5))
    region = data.draw(regions(shape))
    found = list(blocks(region, voxels))
    assert [v for block in found for v in voxels_of(block)] == list(voxels_of(region))
    row = region.shape[-1]
    assert all(block.voxels <= max(voxels, row) for block in found)


@given(
    hnp.arrays(np.uint8, (4, 7, 5), elements=st.sampled_from([0, 0, 1, 2, 255])),
    regions((4, 7, 5)),
    st.sampled_from([8, 40, 10**6]),
)
def test_counts_are_those_of_numpy_whatever_the_blocks(label, region, voxels):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "BLOCK_VOXELS", voxels)
        found = count_labels(label, region, 3, 255)
    values = label[region.slices]
    assert found.tolist() == [(values == value).sum() for value in (0, 1, 2, 255)]
    assert found.sum() == region.voxels


class Watched:
    """A label that notes how much is read at once."""

    def __init__(self, label):
        self.label, self.shape, self.most = label, label.shape, 0

    def __getitem__(self, slices):
        block = self.label[slices]
        self.most = max(self.most, block.size)
        return block


def test_a_label_is_never_read_whole(monkeypatch):
    monkeypatch.setattr(inspection, "BLOCK_VOXELS", 1000)
    label = Watched(np.zeros((9, 20, 30), np.uint8))
    assert count(label).tolist() == [9 * 20 * 30, 0, 0, 0]
    assert label.most == 600  # a section; two of them would be more than the limit


def test_a_boolean_label_has_two_classes():
    assert count(np.array([[True, False, True]]), 2).tolist() == [1, 2, 0]


def test_an_ignored_class_is_not_counted_as_one():
    assert count(np.array([[0, 1, 2, 2]]), 3, ignore_label=2).tolist() == [1, 1, 0, 2]


# What is in the label, with the classes 0, 1 and 2, and what the message says.
FAULTS = [
    (
        [0, 255, 255],
        r"values 255 \(2 voxels\); expected 0 to 2. This is a mask of black and white: divide it",
    ),
    ([1, 2, 3, 3], r"values 3 \(2 voxels\); .* They seem to be counted from 1 to 3: subtract 1"),
    ([0, -1, 1], r"values -1 \(1 voxels\); .* Mark voxels that do not count with a positive value"),
    ([0, 1, 7], r"values 7 \(1 voxels\); .* Name every class, or give the value that does not cou"),
    ([0, 5, 6, 7, 8, 9, 10, 11], r"9 \(1 voxels\) and 2 more; expected 0 to 2"),
    ([0.0, 0.25, 1.0], r"float64 with fractional values such as 0.25; .* has to take the nearest"),
    ([0.0, math.nan], r"float64 with fractional values such as nan; expected integers"),
    ([0.0, 1.0], r"float64, although all their values are whole numbers; save them as integers"),
    (
        range(70),
        r"hold 65 different values or more, up to 64: these are ids of objects, no classes",
    ),
]


@pytest.mark.parametrize(("values", "message"), FAULTS)
def test_labels_that_are_refused_with_the_likely_cause(values, message, monkeypatch):
    monkeypatch.setattr(inspection, "BLOCK_VOXELS", 1)
    label = np.array(values)[:, np.newaxis]
    with pytest.raises(ValueError, match=message):
        count(label)


def test_a_black_and_white_mask_is_named_even_where_nothing_is_black():
    with pytest.raises(ValueError, match="mask of black and white"):
        count(np.full((2, 2), 255))


def test_the_ignored_value_is_no_fault():
    assert count(np.array([[0, 255]]), ignore_label=255).tolist() == [1, 0, 0, 1]
    with pytest.raises(ValueError, match=r"values 254 \(1 voxels\)"):
        count(np.array([[254, 255]]), ignore_label=255)


# Share of labelled voxels and the largest pooled Dice a perfect mask can have, 2c / (1 + c).
CAPS = [(0.1, 0.182), (0.2, 0.333), (0.3, 0.462)]


@pytest.mark.parametrize(("share", "cap"), CAPS)
@pytest.mark.parametrize("channel_axis", [0, 2])
def test_one_hot_rows_of_zeros_cap_the_dice(share, cap, channel_axis, monkeypatch):
    monkeypatch.setattr(inspection, "BLOCK_VOXELS", 50)
    label = np.zeros((2, 10, 10), np.uint8)
    label[0, : round(10 * share / 2 * 2), :5] = 1
    label[1, : round(10 * share / 2 * 2), 5:] = 1
    message = one_hot_message(np.moveaxis(label, 0, channel_axis), channel_axis)
    assert "labels have 2 channels: one plane per class" in message
    assert f"In {1 - share:.1%} of the voxels no class is set" in message
    assert message.endswith(f"cannot exceed {cap}")


def test_one_hot_with_a_background_plane_has_no_cap():
    label = np.stack([np.eye(4) == 0, np.eye(4) == 1])
    message = one_hot_message(label, 0)
    assert message.endswith("such as the argmax over the channels")
