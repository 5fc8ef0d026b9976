from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
)

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.scores import scores

NAMES = ("background", "membrane", "mitochondria", "vesicle", "synapse")
SIZES = (9000, 400, 300, 200, 100)


def of(counts: Any, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    matrix = ConfusionMatrix(np.array(counts, np.int64))
    return scores(matrix, names[: matrix.num_classes])


def predicted_as(classes: tuple[int, ...]) -> dict[str, Any]:
    """Give every class i of the 100 x 100 image the prediction classes[i]."""
    truth = np.repeat(np.arange(5, dtype=np.uint8), SIZES).reshape(100, 100)
    prediction = np.array(classes, np.uint8)[truth]
    return scores(ConfusionMatrix.from_labels(truth, prediction, 5), NAMES)


# Four ways to be wrong. Dice of class 0 when all is background: 2*9000/(9000+10000) = 0.947368;
# of class 1 when it takes all foreground: 2*400/(400+1000) = 0.571429, IoU 400/1000 = 0.4.
@pytest.mark.parametrize(
    ("prediction", "accuracy", "dice", "macro_dice", "macro_iou"),
    [
        ((0, 0, 0, 0, 0), 0.90, [18 / 19, 0, 0, 0, 0], 0, 0),
        ((0, 1, 1, 1, 1), 0.94, [1, 4 / 7, 0, 0, 0], 1 / 7, 0.1),
        ((0, 1, 2, 3, 0), 0.99, [180 / 181, 1, 1, 1, 0], 0.75, 0.75),
        ((0, 2, 3, 4, 1), 0.90, [1, 0, 0, 0, 0], 0, 0),
    ],
    ids=["all background", "one foreground class", "class 4 missed", "classes swapped in a ring"],
)
def test_pooled_score_hides_what_the_macro_score_shows(
    prediction: tuple[int, ...],
    accuracy: float,
    dice: list[float],
    macro_dice: float,
    macro_iou: float,
) -> None:
    result = predicted_as(prediction)
    assert [entry["dice"] for entry in result["classes"]] == pytest.approx(dice, abs=1e-12)
    assert result["macro_foreground_dice"] == pytest.approx(macro_dice, abs=1e-12)
    assert result["macro_foreground_iou"] == pytest.approx(macro_iou, abs=1e-12)
    assert result["pooled_dice"] == result["accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert [entry["support"] for entry in result["classes"]] == list(SIZES)
    assert result["macro_undefined"] == 0


def test_counts_of_images_are_pooled_before_any_division() -> None:
    # One image whose 10 000 voxels are all found, nine of 10 000 whose 50 are missed.
    found = ConfusionMatrix(np.array([[0, 0], [0, 10_000]]))
    missed = ConfusionMatrix(np.array([[9_950, 0], [50, 0]]))
    images = [found, *[missed] * 9]
    whole = scores(sum(images, ConfusionMatrix.empty(2)), NAMES[:2])
    each = [scores(image, NAMES[:2])["macro_foreground_dice"] for image in images]
    assert whole["macro_foreground_dice"] == pytest.approx(20_000 / 20_450)  # 0.977995
    assert sum(each) / 10 == pytest.approx(0.1)


def test_one_class_by_hand() -> None:
    # class 1: TP 5, FN 4, FP 1; 93 voxels are something else, 92 of them without class 1
    entry = of([[90, 1, 0], [4, 5, 0], [0, 0, 2]])["classes"][1]
    assert entry == {
        "value": 1,
        "name": "membrane",
        "dice": pytest.approx(10 / 15),
        "iou": pytest.approx(5 / 10),
        "precision": pytest.approx(5 / 6),
        "recall": pytest.approx(5 / 9),
        "specificity": pytest.approx(92 / 93),
        "undefined": {},
        "support": 9,
        "predicted": 6,
    }


def test_missed_class_scores_zero_and_has_no_precision() -> None:
    entry = of([[10, 0], [5, 0]])["classes"][1]
    assert (entry["dice"], entry["recall"], entry["precision"]) == (0, 0, None)
    assert entry["undefined"] == {"precision": "no voxel was predicted as this class"}


def test_invented_class_scores_zero_and_has_no_recall() -> None:
    entry = of([[10, 5], [0, 0]])["classes"][1]
    assert (entry["dice"], entry["precision"], entry["recall"]) == (0, 0, None)
    assert entry["undefined"] == {"recall": "no voxel of the truth is this class"}


def test_class_that_occurs_nowhere_is_left_out_of_the_mean() -> None:
    result = of([[10, 0, 0], [2, 8, 0], [0, 0, 0]])
    absent = result["classes"][2]
    assert set(absent["undefined"]) == {"dice", "iou", "precision", "recall"}
    assert absent["specificity"] == 1
    assert result["macro_foreground_dice"] == result["classes"][1]["dice"]
    assert result["macro_undefined"] == 1


def test_specificity_of_a_class_that_is_everything_is_undefined() -> None:
    entry = of([[10, 5], [0, 0]])["classes"][0]
    assert entry["specificity"] is None
    assert entry["undefined"] == {"specificity": "every voxel of the truth is this class"}


def test_no_foreground_and_no_voxels_at_all() -> None:
    background = of([[10, 0], [0, 0]])
    assert background["macro_foreground_dice"] is None
    assert background["accuracy"] == 1
    assert set(background["undefined"]) == {"macro_foreground_dice", "macro_foreground_iou"}
    nothing = of([[0, 0], [0, 0]])
    assert set(nothing["undefined"]) == {
        "macro_foreground_dice",
        "macro_foreground_iou",
        "pooled_dice",
        "accuracy",
    }
    assert nothing["classes"][0]["undefined"]["specificity"] == "no voxel was counted"


def test_ignored_and_out_of_range_voxels_score_nothing() -> None:
    counts = np.array([[3, 1], [0, 4]])
    result = scores(ConfusionMatrix(counts, ignored=7, out_of_range=2), NAMES[:2])
    plain = of(counts)
    assert result == {**plain, "ignored": 7, "out_of_range": 2, "voxels": 17}


def test_huge_counts_do_not_overflow() -> None:
    entry = of([[2**62, 0], [0, 2**60]])["classes"][1]
    assert entry["dice"] == entry["iou"] == entry["specificity"] == 1


@given(hnp.arrays(np.int64, (4, 4), elements=st.integers(0, 3)))
def test_scores_are_json_between_0_and_1_or_have_a_reason(counts: NDArray[np.int64]) -> None:
    result = of(counts)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    for entry in [result, *result["classes"]]:
        names = {"dice", "iou", "precision", "recall", "specificity", "accuracy", "pooled_dice"}
        for name in names & set(entry):
            assert (entry[name] is None) == (name in entry["undefined"])
            assert entry[name] is None or 0 <= entry[name] <= 1


def test_needs_one_name_per_class() -> None:
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        scores(ConfusionMatrix.empty(3), ["background", "cell"])


@settings(max_examples=60)
@given(hnp.arrays(np.int64, (2, 40), elements=st.integers(0, 4)))
def test_scores_are_those_of_scikit_learn(pair: NDArray[np.int64]) -> None:
    truth, prediction = pair
    result = scores(ConfusionMatrix.from_labels(truth, prediction, 5), "abcde")
    values = sorted(set(truth.tolist()) | set(prediction.tolist()))
    oracles = {
        "dice": f1_score,
        "iou": jaccard_score,
        "precision": precision_score,
        "recall": recall_score,
    }
    for name, oracle in oracles.items():
        expected = oracle(truth, prediction, labels=values, average=None, zero_division=0)
        for value, score in zip(values, expected, strict=True):
            ours = result["classes"][value][name]
            # Where the denominator is 0 the library says 0; here it is undefined.
            assert ours is None or abs(ours - score) <= 1e-12
            assert ours is not None or name in ("precision", "recall")
    assert abs(result["accuracy"] - accuracy_score(truth, prediction)) <= 1e-12
    foreground = [value for value in values if value]
    if foreground:
        macro = f1_score(truth, prediction, labels=foreground, average="macro", zero_division=0)
        assert abs(result["macro_foreground_dice"] - macro) <= 1e-12
