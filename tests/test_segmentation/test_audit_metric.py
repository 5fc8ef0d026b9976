"""Findings on metrics and losses: each fires on its specimen and not on the clean twin.

The numbers of the rows of the source cases are those of the research notes, or by hand.
"""

import json
from functools import cache

import numpy as np
import pytest

from segmentation.audit.metric_findings import metric_findings
from segmentation.audit.metric_ratio import smoothing
from segmentation.audit.probe_fixtures import (
    EMPTY,
    FALSE,
    HALF,
    INVERTED,
    MISSED,
    NO_PLANE,
    NOTHING,
    PERFECT,
    PERMUTED,
)
from segmentation.audit.probe_reading import readings
from segmentation.audit.probe_subject import make_subject
from segmentation.audit.probes import run_probes
from segmentation.audit.thresholds import MetricThresholds
from segmentation.networks.runtime import import_keras
from segmentation.training.losses import make_loss
from tests.test_segmentation import specimens

keras = import_keras()
ops, metrics, losses = keras.ops, keras.metrics, keras.losses
THRESHOLDS = MetricThresholds()


def source_dice(y_true, y_pred, smooth=1):
    """As in the first source case: axis 3 are the classes."""
    both = ops.sum(y_true * y_pred, axis=[1, 2, 3])
    total = ops.sum(y_true, axis=[1, 2, 3]) + ops.sum(y_pred, axis=[1, 2, 3])
    return ops.mean((2.0 * both + smooth) / (total + smooth), axis=0)


def source_dice_loss(y_true, y_pred):
    return 1 - source_dice(y_true, y_pred)


def class_dice(y_true, y_pred):
    """Hard Dice, image by image and class by class."""
    found = ops.cast(y_pred > 0.5, "float32")
    both = ops.sum(y_true * found, axis=(1, 2))
    total = ops.sum(y_true, axis=(1, 2)) + ops.sum(found, axis=(1, 2))
    return ops.mean((2 * both + 1e-7) / (total + 1e-7))


def zero_dice(y_true, y_pred):
    """Without anything there it is 0, whatever is right."""
    found = ops.cast(y_pred > 0.5, "float32")
    both, total = ops.sum(y_true * found), ops.sum(y_true) + ops.sum(found)
    return 2 * both / (total + 1e-7)


def overlap_loss(y_true, y_pred):
    return ops.sum(y_true * y_pred) / (ops.sum(y_true) + ops.sum(y_pred))


def bare_cross_entropy(y_true, y_pred):
    return -ops.mean(ops.sum(y_true * ops.log(y_pred), axis=-1))


def refuses_empty(y_true, y_pred):
    if float(ops.sum(y_true[..., -1])) == 0:
        raise ValueError("no foreground")
    return class_dice(y_true, y_pred)


def maximum_for_argmax(y_true, y_pred):
    """Compare the number of the true class with the largest probability."""
    truth = ops.cast(ops.argmax(y_true, -1), "float32")
    return ops.mean(ops.cast(ops.equal(truth, ops.cast(ops.max(y_pred, -1), "float32")), "float32"))


MADE = {
    "source_dice": source_dice,
    "source_dice_loss": source_dice_loss,
    "class_dice": class_dice,
    "zero_dice": zero_dice,
    "overlap_loss": overlap_loss,
    "bare_cross_entropy": bare_cross_entropy,
    "refuses_empty": refuses_empty,
    "maximum_for_argmax": maximum_for_argmax,
    "channel_pooled_dice": specimens.channel_pooled_dice,
    "channel_pooled_iou": specimens.channel_pooled_iou,
    "double_union_iou": specimens.double_union_iou,
    "scaled_jaccard_loss": specimens.scaled_jaccard_loss,
    "Accuracy": metrics.Accuracy,
    "BinaryAccuracy": metrics.BinaryAccuracy,
    "CategoricalAccuracy": metrics.CategoricalAccuracy,
    "MeanIoU of 2": metrics.MeanIoU(2),
    "MeanIoU of 4": metrics.MeanIoU(4),
    "MeanIoU of 2, dense": metrics.MeanIoU(2, sparse_y_pred=False),
    "MeanIoU without 255": metrics.MeanIoU(2, ignore_class=255),
    "BinaryIoU": metrics.BinaryIoU([1]),
    "OneHotMeanIoU of 1": metrics.OneHotMeanIoU(1),
    "OneHotIoU": metrics.OneHotIoU(5, [1, 2, 3, 4]),
    "OneHotMeanIoU": metrics.OneHotMeanIoU(5),
    "CategoricalCrossentropy": losses.CategoricalCrossentropy(),
    "keras Dice of all": losses.Dice(),
    "keras Dice of each class": losses.Dice(axis=(0, 1, 2)),
    "ours, softmax": make_loss("cross-entropy+dice", 3, "softmax"),
    "ours, sigmoid": make_loss("jaccard", 2, "sigmoid"),
    "ours, cross-entropy": make_loss("cross-entropy", 3, "softmax"),
    "ours, focal+tversky": make_loss("focal+tversky", 4, "softmax"),
}


@cache
def probed(name):
    subject = make_subject(name, MADE[name])
    return subject, run_probes(subject)


@cache
def found(name):
    return metric_findings(*probed(name), THRESHOLDS)


def finding(name, code):
    return next(one for one in found(name) if one.code == code)


def reading(name, masks="one-hot"):
    return next(one for one in readings(probed(name)[1]) if one.layout.masks == masks)


PAIRS = [
    ("METRIC-FAILS", "error", "refuses_empty", "class_dice"),
    ("METRIC-FAILS", "warning", "bare_cross_entropy", "CategoricalCrossentropy"),
    ("METRIC-LABELS-DROPPED", "error", "MeanIoU of 2", "MeanIoU without 255"),
    ("METRIC-LABELS-DROPPED", "error", "MeanIoU of 4", "OneHotMeanIoU"),
    ("METRIC-LABELS-DROPPED", "error", "BinaryIoU", "BinaryAccuracy"),
    ("METRIC-ARGMAX-1CH", "error", "OneHotMeanIoU of 1", "OneHotMeanIoU"),
    ("METRIC-ARGMAX-1CH", "info", "MeanIoU of 2, dense", "BinaryIoU"),
    ("METRIC-IOU-ON-PROBS", "error", "MeanIoU of 2", "BinaryIoU"),
    ("METRIC-ACCURACY-ON-PROBS", "error", "Accuracy", "BinaryAccuracy"),
    ("METRIC-WRONG-UNION", "error", "double_union_iou", "channel_pooled_iou"),
    ("METRIC-DIRECTION", "error", "overlap_loss", "scaled_jaccard_loss"),
    ("METRIC-EMPTY", "warning", "double_union_iou", "channel_pooled_iou"),
    ("METRIC-EMPTY", "warning", "zero_dice", "class_dice"),
    ("METRIC-SMOOTH", "warning", "source_dice", "class_dice"),
    ("METRIC-SMOOTH", "info", "scaled_jaccard_loss", "ours, sigmoid"),
    ("METRIC-BATCH-POOLED", "warning", "channel_pooled_dice", "source_dice"),
    ("METRIC-BATCH-POOLED", "warning", "zero_dice", "OneHotIoU"),
    ("TRAIN-LOSS-CLASSBLIND", "warning", "source_dice_loss", "ours, softmax"),
    ("TRAIN-LOSS-CLASSBLIND", "warning", "keras Dice of all", "keras Dice of each class"),
    ("TRAIN-LOSS-CLASSBLIND", "info", "CategoricalCrossentropy", "ours, cross-entropy"),
    ("EVAL-POOLED", "warning", "source_dice", "class_dice"),
    ("EVAL-POOLED", "warning", "channel_pooled_iou", "OneHotIoU"),
    ("EVAL-POOLED", "info", "CategoricalAccuracy", "OneHotMeanIoU"),
    ("DATA-ONEHOT-VS-INT", "error", "maximum_for_argmax", "CategoricalAccuracy"),
]


@pytest.mark.parametrize(("code", "severity", "fires", "silent"), PAIRS)
def test_a_finding_fires_on_its_specimen_and_not_on_the_clean_twin(code, severity, fires, silent):
    assert {one.code: one.severity for one in found(fires)}.get(code) == severity
    assert code not in {one.code for one in found(silent)}


@pytest.mark.parametrize(
    "name",
    [
        "class_dice",
        "BinaryAccuracy",
        "OneHotIoU",
        "OneHotMeanIoU",
        "keras Dice of each class",
        *(name for name in MADE if name.startswith("ours")),
    ],
)
def test_what_is_right_has_no_finding(name):
    assert found(name) == []


@pytest.mark.parametrize("name", MADE)
def test_findings_are_complete(name):
    for one in found(name):
        assert one.evidence
        assert all(table.rows for table in one.evidence)
        assert "maskmill" in one.advice or "keras" in one.advice
        json.dumps(one.to_dict(), allow_nan=False)


def test_s0_1_a_dice_over_channels_scores_confused_classes_by_the_background():
    """F1: 0.900005 with smooth 1; hard accuracy .9, Dice of every class 0."""
    answers = reading("source_dice")
    expected = {NOTHING: 0.900005, PERMUTED: 0.900005, MISSED: 0.990000, PERFECT: 1}
    assert {n: answers.value(n) for n in expected} == pytest.approx(expected, abs=5e-7)
    assert (
        "gives 0.9 to a prediction with all classes"
        in finding("source_dice", "EVAL-POOLED").statement
    )
    iou = reading("channel_pooled_iou")
    assert iou.value(PERMUTED) == pytest.approx(0.818198, abs=5e-7)


def test_s0_3_a_loss_over_channels_cannot_tell_where_errors_are():
    """100 of 10,000 voxels wrong, with a certainty of .95: 1 - 2 s, s = .9406 of the voxels."""
    one = finding("source_dice_loss", "TRAIN-LOSS-CLASSBLIND")
    rare, common = one.evidence[0].rows[-2:]
    assert abs(rare[1] - common[1]) < 1e-4
    assert common[3] - rare[3] >= 0.2
    assert rare[1] == pytest.approx(1 - (2 * (9900 * 0.95 + 100 * 0.0125) + 1) / 20001, abs=1e-6)


@pytest.mark.parametrize(("smooth", "value"), [(1, 0.167), (10, 0.667), (100, 0.952)])
def test_s0_5_the_constant_is_read_off_five_false_voxels(smooth, value):
    subject = make_subject("dice", lambda t, p: source_dice(t, p, smooth))
    answers = next(one for one in readings(run_probes(subject)) if one.layout.masks == "plane")
    assert answers.value(FALSE[5]) == pytest.approx(value, abs=5e-4)
    assert answers.value(EMPTY) == 1
    assert smoothing(answers) == pytest.approx((smooth, 1), rel=1e-3)


def test_s0_6_without_a_background_plane_a_perfect_prediction_is_capped():
    """2c/(1 + c) with a share of c = .1."""
    assert reading("source_dice").value(NO_PLANE) == pytest.approx(0.2 / 1.1, abs=1e-4)
    assert "cap it at 0.182" in finding("source_dice", "EVAL-POOLED").advice


def test_s2_1_exact_accuracy_says_0_where_the_accuracy_is_1():
    one = finding("Accuracy", "METRIC-ACCURACY-ON-PROBS")
    assert "gives 0 for a prediction that is right in every voxel" in one.statement
    assert "at a threshold of 0.5 is 1" in one.statement
    assert found("BinaryAccuracy") == []


def test_s3_1_mean_iou_is_flat_at_half_the_background_share():
    """(1 - .3)/2, where the thresholded probabilities score 1."""
    one = finding("MeanIoU of 2", "METRIC-IOU-ON-PROBS")
    assert "gives 0.35 for right and for wrong probabilities alike" in one.statement
    assert "(1 − π)/2" in one.statement
    assert "thresholded at 0.5, score 1." in one.statement


def test_s3_4_a_union_with_the_overlap_twice_gives_a_half():
    answers = reading("double_union_iou", "plane")
    expected = {PERFECT: 0.5, HALF: 1 / 3, INVERTED: 0}
    assert {n: answers.value(n) for n in expected} == pytest.approx(expected, abs=1e-6)
    assert np.isnan(answers.value(EMPTY))
    one = finding("double_union_iou", "METRIC-WRONG-UNION")
    assert "whose IoU is 1 and 0.5" in one.statement
    assert "as a loss it would destroy" in one.advice
    assert "0.5 to a perfect prediction" in finding("overlap_loss", "METRIC-DIRECTION").statement


def test_s3_5_the_scaled_loss_is_right_and_its_scale_is_told():
    answers = reading("scaled_jaccard_loss", "plane")
    course = [answers.value(name) for name in (PERFECT, HALF, NOTHING)]
    # (1 - 160 / 310) * 10 and (1 - 10 / 310) * 10.
    assert course == pytest.approx([0, 4.83871, 9.677419], abs=1e-5)
    statement = finding("scaled_jaccard_loss", "METRIC-SMOOTH").statement
    assert "its constant is 10, and it is scaled by 10 (everything missed costs 9.68)" in statement


def test_s3_7_one_channel_has_no_argmax():
    assert (
        "gives 1 to every prediction"
        in finding("OneHotMeanIoU of 1", "METRIC-ARGMAX-1CH").statement
    )
    assert (
        "gives 0.35 to every prediction"
        in finding("MeanIoU of 2, dense", "METRIC-ARGMAX-1CH").statement
    )


def test_f4_labels_beyond_the_classes_are_overlooked():
    names = ("MeanIoU of 2", "MeanIoU of 4")
    white, from_one = (finding(name, "METRIC-LABELS-DROPPED").statement for name in names)
    assert "gives 1 to a prediction that finds nothing in masks of 0 and 255" in white
    assert "gives 1 to a prediction that misses class 4 of labels 1 to 4" in from_one


def test_the_first_finding_shows_all_answers():
    first, *others = found("source_dice")
    assert len(first.evidence) == 3
    assert all(len(one.evidence) == 1 for one in others)


def test_thresholds_decide():
    subject, results = probed("source_dice")
    codes = {f.code for f in metric_findings(subject, results, MetricThresholds(smooth=0.2))}
    assert codes == {"EVAL-POOLED"}
