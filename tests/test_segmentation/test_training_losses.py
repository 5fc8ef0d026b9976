"""Losses: by hand; for each of them 0 at perfect, monotone, blind to no class, finite gradients."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentation.networks.runtime import import_keras
from segmentation.training.losses import LOSSES, VOXEL_LOSSES, loss_parts, make_loss

keras = import_keras()
JOINED = ("cross-entropy+dice", "focal+tversky", "cross-entropy+focal+dice+jaccard+tversky")
each_loss = pytest.mark.parametrize("name", [*LOSSES, *JOINED])
each_head = pytest.mark.parametrize("head", ["softmax", "sigmoid"])


def value(truth, probabilities, name="cross-entropy+dice", *, head="softmax", **options):
    """Loss of one row of voxels."""
    channels = len(probabilities[0])
    classes = channels if head == "softmax" else channels + 1
    loss = make_loss(name, classes, head, **options)
    shape = (1, 1, len(truth))
    found = loss(
        np.reshape(truth, shape), np.reshape(np.array(probabilities, np.float32), (*shape, -1))
    )
    return float(np.asarray(found))


def sure(truth, p=1.0, *, classes=3, head="softmax"):
    """Probabilities that give the true class p and share the rest among the others."""
    rest = np.full((len(truth), classes), (1 - p) / (classes - 1))
    rows = np.where(np.eye(classes, dtype=bool)[truth], p, rest)
    return rows if head == "softmax" else rows[:, 1:]


# Four voxels: truth 0, 0, 0, 1 and probabilities of class 1 of .2, .2, .2, .5.
FOUR = ([0, 0, 0, 1], [[0.8, 0.2]] * 3 + [[0.5, 0.5]])
HAND = [
    # Every voxel alike.
    ("cross-entropy", {"class_weights": "none"}, -(3 * np.log(0.8) + np.log(0.5)) / 4),
    # Three voxels of 1 / sqrt(3) and one of 1.
    ("cross-entropy", {}, -(3**0.5 * np.log(0.8) + np.log(0.5)) / (3**0.5 + 1)),
    # Three voxels of 1 / 3 and one of 1: the classes alike.
    ("cross-entropy", {"class_weights": "inverse"}, -(np.log(0.8) + np.log(0.5)) / 2),
    # Each surprise times (1 - p)^2.
    ("focal", {"class_weights": "none"}, -(3 * 0.04 * np.log(0.8) + 0.25 * np.log(0.5)) / 4),
    ("focal", {"class_weights": "none", "focal_gamma": 1},
     -(3 * 0.2 * np.log(0.8) + 0.5 * np.log(0.5)) / 4),
    # Class 0: truth 3, predicted 2.4 + .5, both 2.4. Class 1: truth 1, predicted .6 + .5, both .5.
    ("dice", {}, 1 - (4.8 / 5.9 + 1.0 / 2.1) / 2),
    ("jaccard", {}, 1 - (2.4 / 3.5 + 0.5 / 1.6) / 2),
    # Class 0: too much .5, missed .6. Class 1: too much .6, missed .5.
    ("tversky", {}, 1 - (2.4 / (2.4 + 0.15 + 0.42) + 0.5 / (0.5 + 0.18 + 0.35)) / 2),
    ("tversky", {"tversky_alpha": 0.0, "tversky_beta": 1.0}, 1 - (2.4 / 3 + 0.5 / 1) / 2),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "expected"), HAND)
def test_by_hand_with_a_softmax_head(name, options, expected):
    assert value(*FOUR, name, **options) == pytest.approx(expected, rel=1e-5)


def test_by_hand_with_a_sigmoid_head():
    # Channels are classes 1 and 2; voxel 0 is background and class 2 occurs nowhere.
    voxels = [0, 1], [[0.1, 0.2], [0.7, 0.4]]
    terms = [np.log(0.9), np.log(0.8), np.log(0.7), np.log(0.6)]
    assert value(*voxels, "cross-entropy", head="sigmoid") == pytest.approx(-sum(terms) / 2)
    focal = 0.01 * terms[0] + 0.04 * terms[1] + 0.09 * terms[2] + 0.16 * terms[3]
    assert value(*voxels, "focal", head="sigmoid") == pytest.approx(-focal / 2, rel=1e-5)
    assert value(*voxels, "dice", head="sigmoid") == pytest.approx(1 - 1.4 / 1.8)
    assert value(*voxels, "jaccard", head="sigmoid") == pytest.approx(1 - 0.7 / 1.1)


def test_classes_that_do_not_occur_are_left_out():
    # Dice of class 0 2 * .8 / (1 + 1.4), of class 1 2 * .4 / (1 + .6), of class 2 none.
    found = value([0, 1], [[0.8, 0.2, 0.0], [0.6, 0.4, 0.0]], "dice")
    assert found == pytest.approx(1 - (1.6 / 2.4 + 0.8 / 1.6) / 2, rel=1e-5)


def test_the_union_of_jaccard_counts_the_overlap_once():
    # 300 of 1000 voxels. Half of them found: 150 / 300. As many found half beside them:
    # 150 / 450; counted twice it would have been 150 / 600. Inverted: nothing. Dice: 2/3, 1/2.
    truth = np.arange(1000) < 300
    half, beside = np.arange(1000) < 150, (np.arange(1000) >= 150) & (np.arange(1000) < 450)
    cases = {"jaccard": (0, 1 / 2, 2 / 3, 1), "dice": (0, 1 / 3, 1 / 2, 1)}
    for name, expected in cases.items():
        found = [
            value(truth.astype(int), p[:, None].astype(float), name, head="sigmoid")
            for p in (truth, half, beside, ~truth)
        ]
        assert found == pytest.approx(expected, abs=1e-6)


@each_loss
@each_head
def test_perfect_is_zero(name, head):
    truth = [0, 1, 2, 1]
    assert value(truth, sure(truth, head=head), name, head=head) == pytest.approx(0, abs=1e-6)


@each_loss
@each_head
def test_the_surer_of_the_truth_the_smaller(name, head):
    truth = [0, 1, 2, 1, 0, 0]
    steps = (0, 1e-3, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999, 1)
    course = [value(truth, sure(truth, p, head=head), name, head=head) for p in steps]
    assert all(later < earlier for earlier, later in itertools.pairwise(course))


@each_loss
@each_head
@settings(max_examples=10)
@given(seed=st.integers(0, 2**16))
def test_every_voxel_is_seen(name, head, seed):
    """Probability moved to the truth of any one voxel makes every loss smaller."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(3), rng.integers(0, 3, 9)])
    before = rng.dirichlet([1, 1, 1], len(truth))
    after = before.copy()
    voxel = rng.integers(len(truth))
    after[voxel] = 0.5 * after[voxel] + 0.5 * np.eye(3)[truth[voxel]]
    first = 0 if head == "softmax" else 1
    found = [value(truth, p[:, first:], name, head=head) for p in (before, after)]
    assert found[1] < found[0]


@each_loss
@each_head
def test_a_rare_class_is_not_overlooked(name, head):
    """100 wrong voxels: the whole of a class of 1 %, or a little of the background.

    Pooled over channels both were the same to the fourth digit.
    """
    truth = np.repeat([0, 1, 2], (8900, 1000, 100))
    missed, extra = truth.copy(), truth.copy()
    missed[truth == 2] = 0
    extra[:100] = 1
    found = [
        value(truth, sure(guess, 0.99, head=head), name, head=head) for guess in (missed, extra)
    ]
    assert found[0] > found[1] + 0.05
    assert found[0] > 1.25 * found[1]


@each_loss
@each_head
def test_ignored_voxels_change_nothing(name, head):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], 6)[:, 0 if head == "softmax" else 1 :]
    kept = [0, 2, 4, 5]
    without = value([0, 1, 2, 1], probabilities[kept], name, head=head)
    # Beyond the classes, below them, or one of them.
    for ignored in (255, -1):
        truth = [0, ignored, 1, ignored, 2, 1]
        found = value(truth, probabilities, name, head=head, ignore_label=ignored)
        assert found == pytest.approx(without, rel=1e-5)
    one_ignored = value([0, 2, 1, 2, 1, 1], probabilities, name, head=head, ignore_label=2)
    assert one_ignored == pytest.approx(value([0, 1, 1, 1], probabilities[kept], name, head=head))


@each_loss
def test_nothing_labelled_is_zero(name):
    assert value([255, 255], [[0.5, 0.5]] * 2, name, ignore_label=255) == 0


def test_without_foreground_only_voxel_losses_speak_under_a_sigmoid_head():
    for name in LOSSES:
        found = value([0, 0], [[0.1], [0.2]], name, head="sigmoid")
        assert (found > 0) == (name in VOXEL_LOSSES)


@each_loss
@each_head
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_gradients_are_finite_everywhere_and_there_where_it_is_wrong(name, head, p):
    import tensorflow as tf

    truth = np.array([0, 1, 2, 1, 0, 255])
    guess = sure([0, 1, 2, 1, 0, 0], p, head=head)
    probabilities = tf.Variable(guess[None, None].astype(np.float32))
    for gamma in (0.0, 0.5, 2.0):
        loss = make_loss(name, 3, head, ignore_label=255, focal_gamma=gamma)
        with tf.GradientTape() as tape:
            lost = loss(truth[None, None], probabilities)
        gradient = np.asarray(tape.gradient(lost, probabilities))[0, 0]
        assert np.isfinite(gradient).all()
        assert not gradient[5].any()
        # Class 1 at a voxel of class 1: more of it is better, as long as it is not all there.
        assert p == 1 or gradient[1, 1 if head == "softmax" else 0] < 0


def test_focal_without_gamma_is_cross_entropy():
    assert value(*FOUR, "focal", focal_gamma=0) == value(*FOUR, "cross-entropy")


def test_tversky_of_equal_costs_is_dice_or_jaccard():
    half = {"tversky_alpha": 0.5, "tversky_beta": 0.5}
    assert value(*FOUR, "tversky", **half) == value(*FOUR, "dice")
    whole = {"tversky_alpha": 1.0, "tversky_beta": 1.0}
    assert value(*FOUR, "tversky", **whole) == value(*FOUR, "jaccard")


def test_joined_losses_are_added():
    apart = [value(*FOUR, name) for name in ("cross-entropy", "dice", "tversky")]
    assert value(*FOUR, "cross-entropy + dice+tversky") == pytest.approx(sum(apart))


def test_half_precision_is_counted_in_full():
    # In float16 neither 3000 voxels can be summed up exactly nor 1e-7 be told from 0.
    truth = np.repeat([0, 1], 1500)
    shape = (1, 1, len(truth))
    loss = make_loss("cross-entropy+dice", 2, "softmax")
    half = sure(truth, 0.75, classes=2).astype(np.float16).reshape(*shape, 2)
    found = np.asarray(loss(truth.reshape(shape), half))
    assert found.dtype == np.float32
    assert found == pytest.approx(-np.log(0.75) + 1 - 0.75, rel=1e-5)


@each_loss
@each_head
def test_a_compiled_network_is_trained_with_it(name, head):
    """Keras takes an axis of one away on the way to the loss; the value stays what it was."""
    source = keras.Input((None, None, 1))
    channels = 2 if head == "softmax" else 1
    model = keras.Model(source, keras.layers.Conv2D(channels, 1, activation=head)(source))
    loss = make_loss(name, 2, head)
    model.compile(keras.optimizers.SGD(0.1), loss)
    image = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    truth = (image[..., 0] > 0).astype(np.uint8)
    expected = float(np.asarray(loss(truth, model(image))))
    losses = [float(model.train_on_batch(image, truth)) for _ in range(5)]
    assert losses[0] == pytest.approx(expected, rel=1e-5)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["", "lovasz", "dice+", "dice+dice", "cross_entropy+dice"])
def test_unknown_losses_are_refused_with_the_list(name):
    message = "expected one of cross-entropy, focal, dice, jaccard, tversky, or several different"
    with pytest.raises(ValueError, match=message):
        loss_parts(name)
    with pytest.raises(ValueError, match=message):
        make_loss(name, 2, "softmax")


@pytest.mark.parametrize(
    ("head", "options", "message"),
    [
        ("linear", {}, "head is 'linear'; expected 'softmax' or 'sigmoid'"),
        ("softmax", {"class_weights": "log"}, "'log'; expected one of none, sqrt, inverse"),
        ("softmax", {"focal_gamma": -1}, "focal_gamma is -1; expected 0 or more"),
        ("softmax", {"tversky_alpha": -1}, "tversky_alpha is -1 .*; expected 0 or more"),
        ("softmax", {"tversky_beta": 0}, "tversky_beta 0; expected 0 or more and above 0"),
    ],
)
def test_options_out_of_range_are_refused(head, options, message):
    with pytest.raises(ValueError, match=message):
        make_loss("focal+tversky", 2, head, **options)
