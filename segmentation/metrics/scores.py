"""Per-class and summary scores of a confusion matrix, as the plain dict of `result.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.metrics.ratios import ratio, values_and_reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segmentation.metrics.confusion import ConfusionMatrix

NOWHERE = "neither truth nor prediction has a voxel of this class"
NEVER_PREDICTED = "no voxel was predicted as this class"
NOT_IN_TRUTH = "no voxel of the truth is this class"
ALL_OF_TRUTH = "every voxel of the truth is this class"
NO_FOREGROUND = "neither truth nor prediction has a voxel of any foreground class"
NOTHING_COUNTED = "no voxel was counted"


def scores(matrix: ConfusionMatrix, class_names: Sequence[str]) -> dict[str, Any]:
    """Score every class and the whole.

    With TP, FP, FN, TN the voxels of one class against the rest:

    * dice = 2 TP / (2 TP + FP + FN), iou = TP / (TP + FP + FN)
    * precision = TP / (TP + FP), recall = TP / (TP + FN), specificity = TN / (TN + FP)
    * support = TP + FN, the voxels of the class in the truth; predicted = TP + FP
    * macro_foreground_dice, macro_foreground_iou: the plain mean over the foreground classes
      (every class but 0) that occur in truth or prediction; the others are counted in
      macro_undefined
    * pooled_dice: all classes thrown together, the background included. There FP and FN are the
      same voxels, so that it equals accuracy, the share of voxels whose class is right

    A score whose denominator is 0 is None, and its reason stands under "undefined". There is no
    smoothing.

    Parameters
    ----------
    matrix : ConfusionMatrix
        Counts of C classes; ignored and out-of-range voxels score nothing.
    class_names : sequence of str
        Names of the classes 0..C-1, the background first.

    Returns
    -------
    dict
        Plain ints, floats, strings, lists and None: JSON without NaN.

    Raises
    ------
    ValueError
        If there is not one name per class.
    """
    if len(class_names) != matrix.num_classes:
        raise ValueError(
            f"received {len(class_names)} class names for {matrix.num_classes} classes; "
            "give one name per class, the background first"
        )
    confusion: list[list[int]] = matrix.counts.tolist()
    classes = [_class(confusion, value, name) for value, name in enumerate(class_names)]
    present = [entry for entry in classes[1:] if entry["dice"] is not None]
    counted = sum(map(sum, confusion))
    right = sum(confusion[value][value] for value in range(len(confusion)))
    return {
        "classes": classes,
        **values_and_reasons(
            macro_foreground_dice=(_mean(present, "dice"), NO_FOREGROUND),
            macro_foreground_iou=(_mean(present, "iou"), NO_FOREGROUND),
            pooled_dice=(ratio(right, counted), NOTHING_COUNTED),
            accuracy=(ratio(right, counted), NOTHING_COUNTED),
        ),
        "macro_undefined": len(classes) - 1 - len(present),
        "ignored": matrix.ignored,
        "out_of_range": matrix.out_of_range,
        "voxels": matrix.voxels,
        "confusion": confusion,
    }


def _class(confusion: list[list[int]], value: int, name: str) -> dict[str, Any]:
    """Score one class against the rest."""
    support = sum(confusion[value])
    predicted = sum(row[value] for row in confusion)
    rest = sum(map(sum, confusion)) - support
    hit = confusion[value][value]
    false_alarms = predicted - hit
    union = support + false_alarms
    no_rest = ALL_OF_TRUTH if support else NOTHING_COUNTED
    return {
        "value": value,
        "name": name,
        **values_and_reasons(
            dice=(ratio(2 * hit, support + predicted), NOWHERE),
            iou=(ratio(hit, union), NOWHERE),
            precision=(ratio(hit, predicted), NEVER_PREDICTED),
            recall=(ratio(hit, support), NOT_IN_TRUTH),
            specificity=(ratio(rest - false_alarms, rest), no_rest),
        ),
        "support": support,
        "predicted": predicted,
    }


def _mean(classes: list[dict[str, Any]], score: str) -> float | None:
    return sum(entry[score] for entry in classes) / len(classes) if classes else None
