"""Loss: by hand, blind to no class, untouched by ignored voxels."""

import numpy as np
import pytest

from segmentation.training.losses import cross_entropy_and_dice


def value(truth, probabilities, *, head="softmax", classes=None, ignore=None):
    classes = classes or len(probabilities[0])
    loss = cross_entropy_and_dice(classes, head, ignore_label=ignore)
    shape = (1, 1, len(truth))
    found = loss(
        np.reshape(truth, shape), np.reshape(np.array(probabilities, np.float32), (*shape, -1))
    )
    return float(np.asarray(found))


def test_by_hand_with_a_softmax_head():
    # Cross-entropy: -(log .8 + log .4) / 2. Dice of class 0: 2 * .8 / (1 + 1.4); of class 1:
    # 2 * .4 / (1 + .6); class 2 occurs nowhere and is left out.
    expected = -(np.log(0.8) + np.log(0.4)) / 2 + 1 - (1.6 / 2.4 + 0.8 / 1.6) / 2
    found = value([0, 1], [[0.8, 0.2, 0.0], [0.6, 0.4, 0.0]])
    assert found == pytest.approx(expected, rel=1e-5)


def test_by_hand_with_a_sigmoid_head():
    # Channels are classes 1 and 2; voxel 0 is background.
    terms = [np.log(0.9), np.log(0.8), np.log(0.7), np.log(0.6)]
    expected = -sum(terms) / 2 + 1 - 2 * 0.7 / (1 + 0.8)
    found = value([0, 1], [[0.1, 0.2], [0.7, 0.4]], head="sigmoid", classes=3)
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_class_weighs_as_the_square_root_of_its_share():
    # Four voxels of class 0 weigh 1 / 2 each and one of class 1 weighs 1: 2 and 1 in all.
    cross_entropy = -(2 * np.log(0.9) + np.log(0.3)) / 3
    dice = (2 * 3.6 / (4 + 4.3) + 2 * 0.3 / (1 + 0.7)) / 2
    found = value([0, 0, 0, 0, 1], [[0.9, 0.1]] * 4 + [[0.7, 0.3]])
    assert found == pytest.approx(cross_entropy + 1 - dice, rel=1e-5)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_perfect_is_zero(head):
    eye = np.eye(3)[[0, 1, 2, 1]]
    probabilities = eye if head == "softmax" else eye[:, 1:]
    assert value([0, 1, 2, 1], probabilities, head=head, classes=3) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_ignored_voxels_change_nothing(head):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], 6)
    if head == "sigmoid":
        probabilities = probabilities[:, 1:]
    with_ignored = value([0, 255, 1, 255, 2, 1], probabilities, head=head, classes=3, ignore=255)
    without = value([0, 1, 2, 1], probabilities[[0, 2, 4, 5]], head=head, classes=3)
    assert with_ignored == pytest.approx(without, rel=1e-5)


def test_nothing_labelled_is_zero_and_finite():
    assert value([255, 255], [[0.5, 0.5]] * 2, ignore=255) == 0
    assert value([0, 0], [[0.1], [0.2]], head="sigmoid", classes=2) > 0


def test_a_missed_rare_class_costs_more_than_as_many_errors_in_a_common_one():
    # 100 voxels, one of them class 1: one wrong voxel either way.
    truth = np.array([0] * 99 + [1])
    sure = np.where(np.eye(2, dtype=bool)[truth], 0.99, 0.01)
    missed, extra = sure.copy(), sure.copy()
    missed[99] = [0.99, 0.01]
    extra[0] = [0.01, 0.99]
    assert value(truth, missed) > value(truth, extra) + 0.1
