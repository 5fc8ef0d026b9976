"""Known cases of metrics that look good while masks are bad, and what honest scores say of them.

The expected numbers are those of the research notes and can be checked by hand.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.counting import count_planes
from segmentation.metrics.scores import scores
from segmentation.metrics.summary import VolumeCounts, summarise
from tests.test_segmentation.specimens import (
    channel_pooled_dice,
    channel_pooled_iou,
    double_union_iou,
    one_hot,
    scaled_jaccard_loss,
)

NAMES = ("background", "a", "b", "c", "d")
# 100 × 100 voxels of which 9000, 400, 300, 200 and 100 belong to the classes 0 to 4.
F1 = np.repeat(np.arange(5), (9000, 400, 300, 200, 100)).reshape(100, 100)
F1_CASES = {
    "all background": (
        np.zeros_like(F1),
        (0.900005, 0.818198, 0.9),
        (0.947368, 0, 0, 0, 0),
        (0, 0),
    ),
    "all foreground is class 1": (
        np.minimum(F1, 1),
        (0.940003, 0.886803, 0.94),
        (1, 0.571429, 0, 0, 0),
        (0.142857, 0.1),
    ),
    "class 4 missed": (
        np.where(F1 == 4, 0, F1),
        (0.99, 0.9802, 0.99),
        (0.994475, 1, 1, 1, 0),
        (0.75, 0.75),
    ),
    "classes permuted": (
        np.array([0, 2, 3, 4, 1])[F1],
        (0.900005, 0.818198, 0.9),
        (1, 0, 0, 0, 0),
        (0, 0),
    ),
}


def scored(truth: Any, prediction: Any, names: Any = NAMES) -> dict[str, Any]:
    return scores(ConfusionMatrix.from_labels(truth, prediction, len(names)), names)


@pytest.mark.parametrize("case", F1_CASES)
def test_a_number_pooled_over_classes_says_nothing_of_them(case: str) -> None:
    prediction, pooled, dice, macro = F1_CASES[case]
    truth_map, prediction_map = one_hot(F1, 5), one_hot(prediction, 5)
    result = scored(F1, prediction)
    source = (
        channel_pooled_dice(truth_map, prediction_map),
        channel_pooled_iou(truth_map, prediction_map),
        result["accuracy"],
    )
    assert source == pytest.approx(pooled, abs=5e-7)
    assert [c["dice"] for c in result["classes"]] == pytest.approx(dice, abs=5e-7)
    ours = (result["macro_foreground_dice"], result["macro_foreground_iou"])
    assert ours == pytest.approx(macro, abs=5e-7)


def test_permuted_classes_look_perfect_as_foreground() -> None:
    prediction = F1_CASES["classes permuted"][0]
    binary = scored((F1 > 0).astype(int), (prediction > 0).astype(int), ("background", "any"))
    assert binary["macro_foreground_dice"] == 1.0
    assert scored(F1, prediction)["macro_foreground_dice"] == 0.0


def test_pooling_over_images_hides_the_small_ones() -> None:
    """F2: one image with 10,000 voxels found, nine with 50 voxels missed."""
    truth = np.zeros((10, 100, 200), np.uint8)
    truth[0, :, :100] = 1
    truth[1:, 0, :50] = 1
    prediction = truth.copy()
    prediction[1:] = 0
    planes = count_planes(truth, prediction, 2)
    result = summarise(
        [VolumeCounts("stack", "stack", planes, axis="z", image_planes=1)], ("background", "cell")
    )
    assert result["macro_foreground_dice"] == pytest.approx(0.977995, abs=5e-7)
    per_image = [row["dice"][1] for row in result["images"]]
    assert np.mean(per_image) == pytest.approx(0.1)
    headline = result["intervals"]["scores"][0]
    assert (result["intervals"]["unit"], headline["groups"]) == ("image", 10)
    assert headline["estimate"] == pytest.approx(0.1)


def test_a_mean_over_tiles_forgives_the_one_that_matters() -> None:
    """F3: 16 tiles of 16 × 16 voxels; the only structure, of 256 voxels in one tile, is missed."""
    truth = np.zeros((16, 16, 16), np.int64)
    truth[5] = 1
    prediction = np.zeros_like(truth)
    tiles = [
        channel_pooled_dice(t.astype(float), p.astype(float))
        for t, p in zip(truth, prediction, strict=True)
    ]
    assert np.mean(tiles) == pytest.approx(0.9377, abs=5e-5)
    assert scored(truth, prediction, ("background", "cell"))["macro_foreground_dice"] == 0.0


def test_a_union_that_counts_the_overlap_twice() -> None:
    """F3: 1000 voxels, 300 of them of the class; perfect, half found, inverted, both empty."""
    truth = np.zeros(1000)
    truth[:300] = 1
    half = np.zeros(1000)
    half[150:450] = 1
    found = {"perfect": truth, "half": np.where(np.arange(1000) < 150, truth, 0)}
    assert double_union_iou(truth, found["perfect"]) == 0.5
    assert double_union_iou(truth, found["half"]) == pytest.approx(1 / 3)
    assert double_union_iou(truth, 1 - truth) == 0.0
    assert np.isnan(double_union_iou(np.zeros(9), np.zeros(9)))
    names = ("background", "cell")
    ours = {
        name: scored(truth.astype(int), p.astype(int), names)["classes"][1]["iou"]
        for name, p in (found | {"inverted": 1 - truth}).items()
    }
    assert ours == {"perfect": 1.0, "half": 0.5, "inverted": 0.0}
    assert scaled_jaccard_loss(truth, truth) == 0.0
    assert scaled_jaccard_loss(truth, np.zeros(1000)) == pytest.approx(9.68, abs=5e-3)


class TestLabelsThatAreDropped:
    """F4: Keras leaves out what is no class and does not say so; here it is counted."""

    truth = np.repeat([0, 255], (700, 300))

    def test_keras_calls_all_background_perfect(self) -> None:
        keras = pytest.importorskip("keras")
        nothing, right = np.zeros(1000, int), self.truth
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert self._iou(keras.metrics.MeanIoU(2), nothing) == pytest.approx(1, abs=1e-6)
            both = keras.metrics.BinaryIoU([0, 1])
            assert self._iou(both, nothing) == pytest.approx(1, abs=1e-6)
            assert self._iou(keras.metrics.BinaryIoU([1]), (right > 0) * 1.0) == 0.0

    def test_keras_does_not_miss_a_class_beyond_its_number(self) -> None:
        keras = pytest.importorskip("keras")
        truth = np.repeat([1, 2, 3, 4], 250)
        prediction = np.where(truth == 4, 1, truth)
        metric = keras.metrics.MeanIoU(4)
        metric.update_state(truth, prediction)
        assert float(metric.result()) == pytest.approx(1, abs=1e-6)
        counted = ConfusionMatrix.from_labels(truth, prediction, 4)
        assert (counted.out_of_range, int(counted.counts.sum())) == (250, 750)

    def test_they_are_counted_here(self) -> None:
        nothing = ConfusionMatrix.from_labels(self.truth, np.zeros(1000, int), 2)
        assert (nothing.out_of_range, nothing.counts.tolist()) == (300, [[700, 0], [0, 0]])
        assert scores(nothing, ("background", "cell"))["macro_foreground_dice"] is None

    def _iou(self, metric: Any, prediction: Any) -> float:
        metric.update_state(self.truth, prediction)
        return float(metric.result())
