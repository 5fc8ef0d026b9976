"""Scores of classifiers: by hand, against scikit-learn, and how often intervals cover."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from segmentation.classification.intervals import (
    area_interval,
    group_weights,
    mean_proportion,
    proportion,
)
from segmentation.classification.predictions import UNKNOWN, Predictions, worst_errors
from segmentation.classification.ranking import Areas, roc_points
from segmentation.classification.scores import classification_scores
from segmentation.metrics.statistics import wilson

NAMES = ("non_covid", "covid")


def predictions(labels, positive, groups=None):
    """Two classes: probabilities of class 1, and labels."""
    positive = np.asarray(positive, np.float64)
    names = tuple(f"s{number:03d}" for number in range(len(labels)))
    probabilities = np.stack([1 - positive, positive], axis=1)
    return Predictions(names, probabilities, np.asarray(labels, np.int64), tuple(groups or names))


def drawn(samples, classes, seed=0, group_size=1):
    """Seeded predictions that are better than chance."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    scores = rng.normal(size=(samples, classes)) + 1.2 * np.eye(classes)[labels]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    names = tuple(f"s{number:04d}" for number in range(samples))
    groups = tuple(f"g{number // group_size:03d}" for number in range(samples))
    return Predictions(names, probabilities.round(6), labels, groups)


def test_s4_11_a_constant_answer():
    """27 samples, 6 negative and 21 positive, all called positive; numbers of the source case."""
    found = classification_scores(predictions([0] * 6 + [1] * 21, [1.0] * 27), NAMES)

    def rounded(name):
        score = found[name]
        return tuple(round(score[key], 3) for key in ("value", "low", "high"))

    assert rounded("sensitivity") == (1.0, 0.845, 1.0)
    assert rounded("specificity") == (0.0, 0.0, 0.39)
    assert rounded("accuracy") == (0.778, 0.592, 0.894)
    assert found["balanced_accuracy"]["value"] == 0.5
    assert found["auroc"]["value"] == 0.5
    assert found["confusion"] == [[0, 6], [0, 21]]
    assert found["baseline"] == {"value": 1, "name": "covid", "accuracy": 21 / 27}
    assert found["positive"] == {"value": 1, "name": "covid"}
    assert found["classes"][0]["precision"] is None
    # Nothing is sure but for the six that are wrong: |1 - 21/27| in the one bin.
    assert found["calibration"]["ece"] == pytest.approx(6 / 27)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_scores_are_those_of_scikit_learn(classes):
    given_, names = drawn(200, classes, seed=classes), [f"class {n}" for n in range(classes)]
    found = classification_scores(given_, names)
    truth, guess = given_.labels, given_.probabilities.argmax(axis=1)
    assert found["confusion"] == metrics.confusion_matrix(truth, guess).tolist()
    assert found["accuracy"]["value"] == pytest.approx(metrics.accuracy_score(truth, guess))
    assert found["balanced_accuracy"]["value"] == pytest.approx(
        metrics.balanced_accuracy_score(truth, guess)
    )
    table = metrics.precision_recall_fscore_support(truth, guess)
    for value, row in enumerate(found["classes"]):
        expected = [column[value] for column in table]
        assert [row[k] for k in ("precision", "recall", "f1", "support")] == pytest.approx(expected)
    areas = [
        metrics.roc_auc_score(truth == value, given_.probabilities[:, value])
        for value in (range(classes) if classes > 2 else [1])
    ]
    assert found["auroc"]["value"] == pytest.approx(np.mean(areas), abs=1e-12)
    if classes > 2:
        assert "each of one class against the rest" in found["auroc"]["note"]
        assert "sensitivity" not in found


def test_the_roc_curve_is_that_of_scikit_learn():
    given_ = drawn(60, 2)
    rates = metrics.roc_curve(
        given_.labels, given_.probabilities[:, 1].round(6), drop_intermediate=False
    )
    np.testing.assert_allclose(roc_points(given_), np.stack(rates[:2], axis=1))
    # Its area is the AUROC.
    x, y = np.transpose(roc_points(given_))
    assert Areas(given_)(np.ones(60, np.int64)) == pytest.approx(np.trapezoid(y, x))
    assert roc_points(predictions([1, 1], [0.2, 0.7])) == []


def test_ties_count_one_half():
    # Pairs: (.5 against .5) half, (.9 against .5) right, and both against .1 right: 3.5 of 4.
    found = classification_scores(predictions([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9]), NAMES)
    assert found["auroc"]["value"] == 3.5 / 4
    # A probability of one half is given to the first class.
    assert found["confusion"] == [[2, 0], [1, 1]]


def test_what_is_written_decides():
    """Two probabilities that are equal with six decimals are equal."""
    close = predictions([1], [0.5000001])
    assert close.classes.tolist() == [0]
    assert predictions([1], [0.5000006]).classes.tolist() == [1]


def test_samples_without_truth_do_not_count():
    known = predictions([0, 1, 1], [0.2, 0.8, 0.4])
    more = predictions([0, 1, 1, UNKNOWN], [0.2, 0.8, 0.4, 0.9])
    assert classification_scores(more, NAMES) == classification_scores(known, NAMES)
    with pytest.raises(ValueError, match="0 samples with truth"):
        classification_scores(predictions([UNKNOWN], [0.5]), NAMES)


def test_a_class_that_is_not_there_is_undefined():
    found = classification_scores(predictions([1, 1, 1], [0.9, 0.8, 0.4]), NAMES)
    for name in ("specificity", "balanced_accuracy", "auroc"):
        assert found[name]["value"] is None
        assert found[name]["note"] == "no sample of non_covid in the truth"
    assert found["sensitivity"]["value"] == 2 / 3
    assert found["classes"][0]["recall"] is None
    clustered = classification_scores(
        predictions([1, 1, 1], [0.9, 0.8, 0.4], groups=("a", "a", "b")), NAMES
    )
    assert clustered["specificity"]["note"] == "no sample of non_covid in the truth"


@given(st.permutations(range(40)), st.sampled_from([1, 2]))
def test_the_order_of_the_samples_changes_nothing(order, group_size):
    first = drawn(40, 2, group_size=group_size)
    second = Predictions(
        tuple(first.names[n] for n in order),
        first.probabilities[list(order)],
        first.labels[list(order)],
        tuple(first.groups[n] for n in order),
    )
    assert first.known().names == second.known().names
    ones = np.ones(40, np.int64)
    assert Areas(first.known())(ones) == Areas(second.known())(ones)
    assert worst_errors(first) == worst_errors(second)


def test_the_worst_mistakes_come_first():
    found = worst_errors(predictions([0, 1, 1, 0, UNKNOWN], [0.6, 0.1, 0.9, 0.99, 0.0]), most=2)
    assert [(row["id"], row["p_true"], row["p_prediction"]) for row in found] == [
        ("s003", 0.01, 0.99),
        ("s001", 0.1, 0.9),
    ]


def test_groups_of_several_samples_are_drawn_whole():
    """Copies of one sample are no more samples: the interval is as wide as without them."""
    single = drawn(60, 2, seed=4)
    copied = Predictions(
        tuple(f"{name} {copy}" for name in single.names for copy in range(9)),
        single.probabilities.repeat(9, axis=0),
        single.labels.repeat(9),
        tuple(name for name in single.names for _ in range(9)),
    )
    found = classification_scores(copied, NAMES)
    alone = classification_scores(single, NAMES)
    assert found["groups"] == 60
    for name in ("accuracy", "sensitivity", "specificity", "auroc", "balanced_accuracy"):
        one, other = found[name], alone[name]
        assert one["value"] == pytest.approx(other["value"])
        assert one["method"] == "cluster bootstrap"
        width, expected = (s["high"] - s["low"] for s in (one, other))
        # Wilson of all 540 as if they were independent would be a third as wide.
        assert 0.75 < width / expected < 1.3
    low, high = wilson(round(540 * found["accuracy"]["value"]), 540)
    accuracy = found["accuracy"]
    assert high - low < 0.5 * (accuracy["high"] - accuracy["low"])


def test_few_groups_give_no_interval_and_say_so():
    found = classification_scores(drawn(57, 2, group_size=3), NAMES)
    assert found["accuracy"]["value"] is not None
    assert found["accuracy"]["low"] is None
    assert "19 groups are fewer than the 20" in found["accuracy"]["note"]
    assert classification_scores(drawn(60, 2, group_size=3), NAMES)["accuracy"]["low"] is not None


def test_draws_keep_groups_together():
    groups = ("b", "a", "b", "c")
    for weights, _ in zip(group_weights(groups), range(50), strict=False):
        assert weights[0] == weights[2]
        assert weights[0] + weights[1] + weights[3] == 3


def test_an_area_of_one_pair_is_a_proportion():
    """One positive and one negative are one trial: the interval is Wilson's."""
    for area, hits in ((1.0, 1), (0.0, 0)):
        assert area_interval(area, 1, 1, 0.95) == pytest.approx(wilson(hits, 1), abs=1e-9)


@given(st.floats(0, 1), st.integers(1, 50), st.integers(1, 50))
def test_the_interval_of_an_area(area, positives, negatives):
    low, high = area_interval(area, positives, negatives, 0.95)
    assert 0 <= low <= area <= high <= 1
    assert high > low
    mirrored = area_interval(1 - area, negatives, positives, 0.95)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_intervals_of_areas_cover_the_true_one(shift):
    """Normal scores, 15 positive and 25 negative: the true area is Φ(shift / √2).

    4000 draws of a coverage of .95 have a standard error of .0034; the bounds leave three below,
    and above what a discrete score adds.
    """
    rng = np.random.default_rng(0)
    true = (1 + math.erf(shift / 2)) / 2
    covered = 0
    for _ in range(4000):
        pairs = rng.normal(shift, 1, 15)[:, None] > rng.normal(0, 1, 25)
        low, high = area_interval(float(pairs.mean()), 15, 25, 0.95)
        covered += low <= true <= high
    assert 0.94 <= covered / 4000 <= 0.985


def test_a_mean_of_proportions():
    # 1 of 1 twice: each misses d = 1 - low; together √(d² + d²) / 2.
    low = wilson(1, 1)[0]
    found = mean_proportion([(1, 1), (1, 1)], 0.95, "")
    assert found["low"] == pytest.approx(1 - math.sqrt(2) * (1 - low) / 2)
    assert (found["value"], found["high"]) == (1, 1)
    assert mean_proportion([(3, 7)], 0.95, "")["low"] == pytest.approx(wilson(3, 7)[0])
    assert mean_proportion([(1, 1), (0, 0)], 0.95, "why")["note"] == "why"
    assert proportion(0, 0, 0.95, "why") == {
        "value": None,
        "low": None,
        "high": None,
        "method": None,
        "note": "why",
    }


BAD = {
    "labels": (lambda: predictions([0, 2], [0.1, 0.2]), "label 2 is none of the classes 0 … 1"),
    "lengths": (lambda: predictions([0], [0.1, 0.2]), "1 names.*one label and one group"),
    "area": (lambda: area_interval(0.5, 0, 3, 0.95), "0 positive and 3 negative"),
    "level": (lambda: area_interval(0.5, 1, 3, 1.5), "level is 1.5"),
    "names": (
        lambda: classification_scores(predictions([0], [0.1]), ("a", "b", "c")),
        "3 class names",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    call, match = BAD[case]
    with pytest.raises(ValueError, match=match):
        call()
