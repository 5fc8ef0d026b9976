"""Variation of information and Rand error against scikit-image, hand examples and big integers."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.metrics import adapted_rand_error, variation_of_information

from segmentation.metrics.contingency import Contingency
from segmentation.metrics.partitions import (
    NO_MASK_PAIR,
    NO_PAIR,
    NO_TRUTH,
    NO_TRUTH_PAIR,
    partition_scores,
)

SHAPE = (4, 5)
LABELS = hnp.arrays(np.int64, SHAPE, elements=st.integers(0, 5))


def scored(truth, mask):
    return partition_scores([Contingency.from_labels(np.array(truth), np.array(mask))])


@given(LABELS, LABELS)
def test_equal_to_scikit_image(truth, mask):
    inside = mask[truth != 0]
    assume(inside.size and np.unique(inside).size < inside.size)
    assume(np.unique(truth[truth != 0]).size < inside.size)
    found = scored(truth, mask)
    split, merge = variation_of_information(truth, mask, ignore_labels=(0,))
    assert found["voi_split"] == pytest.approx(split, abs=1e-12)
    assert found["voi_merge"] == pytest.approx(merge, abs=1e-12)
    assert found["voi"] == pytest.approx(split + merge, abs=1e-12)
    error, *oracle = adapted_rand_error(truth, mask, ignore_labels=(0,))
    # scikit-image 0.26 returns recall as precision and precision as recall (its issue 6485); the
    # hand examples below say which is which.
    recall, precision = oracle
    assert found["adapted_rand_error"] == pytest.approx(error, abs=1e-12)
    assert found["rand_recall"] == pytest.approx(recall, abs=1e-12)
    assert found["rand_precision"] == pytest.approx(precision, abs=1e-12)


def test_splits_by_hand():
    # one object of four in two halves: one bit says in which; of its 6 pairs 2 stay together
    found = scored([1, 1, 1, 1], [7, 7, 8, 8])
    assert (found["voi_split"], found["voi_merge"], found["voi"]) == (1, 0, 1)
    assert (found["rand_precision"], found["rand_recall"]) == (1, 2 / 6)
    assert found["adapted_rand_error"] == 1 - 2 * 2 / (2 + 6)


def test_merges_by_hand():
    # two objects of two under one segment; background in the truth does not count
    found = scored([1, 1, 2, 2, 0, 0], [7, 7, 7, 7, 7, 9])
    assert (found["voi_split"], found["voi_merge"]) == (0, 1)
    assert (found["rand_precision"], found["rand_recall"]) == (2 / 6, 1)


def test_the_example_of_the_docstring():
    found = scored([1, 1, 2, 2], [7, 8, 8, 8])
    assert found["voi_split"] == 0.5
    assert found["voi_merge"] == pytest.approx(math.log2(3) / 4 + math.log2(1.5) / 2)
    assert (found["rand_precision"], found["rand_recall"]) == (2 / 6, 2 / 4)
    assert found["adapted_rand_error"] == pytest.approx(0.6)


def test_missed_voxels_are_one_segment_in_each_image():
    one = Contingency.from_labels(np.array([1, 1, 2, 2]), np.zeros(4, int))
    assert partition_scores([one])["voi_merge"] == 1
    # two images of two objects each: not four objects in one segment
    found = partition_scores([one, one])
    assert (found["voi_merge"], found["rand_precision"]) == (1, 2 * 4 / (2 * 12))


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=3))
def test_images_pool_as_one_array_with_other_ids(pictures):
    tables = [Contingency.from_labels(*picture) for picture in pictures]
    truth = np.stack([np.where(t, t + 10 * k, 0) for k, (t, _) in enumerate(pictures)])
    mask = np.stack([m + 10 * k for k, (_, m) in enumerate(pictures)])
    assert partition_scores(tables) == scored(truth, mask)


def test_segments_of_four_thousand_million_voxels():
    size = 4_000_000_000
    assert size**2 > np.iinfo(np.int64).max
    table = Contingency(np.array([1, 1, 2]), np.array([1, 2, 2]), np.array([size, size, size]))
    pairs = {n: n * (n - 1) for n in (size, 2 * size)}
    found = partition_scores([table])
    assert found["rand_recall"] == 3 * pairs[size] / (pairs[2 * size] + pairs[size])
    assert found["rand_precision"] == found["rand_recall"]
    assert found["voi_split"] == pytest.approx(2 / 3, abs=1e-15)


@pytest.mark.parametrize(
    ("truth", "mask", "reasons"),
    [
        (
            [0, 0],
            [1, 2],
            {
                **dict.fromkeys(("voi_split", "voi_merge", "voi"), NO_TRUTH),
                "adapted_rand_error": NO_PAIR,
                "rand_precision": NO_MASK_PAIR,
                "rand_recall": NO_TRUTH_PAIR,
            },
        ),
        ([1, 1], [1, 2], {"rand_precision": NO_MASK_PAIR}),
        ([1, 2], [1, 1], {"rand_recall": NO_TRUTH_PAIR}),
    ],
)
def test_undefined_scores_say_why(truth, mask, reasons):
    found = scored(truth, mask)
    assert found["undefined"] == reasons
    assert {name for name, value in found.items() if value is None} == set(reasons)
    assert partition_scores([])["undefined"]["voi"] == NO_TRUTH
