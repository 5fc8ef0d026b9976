"""Scores of a probability histogram, as the plain dict of `result.json`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from segmentation.metrics.calibration import (
    LevelCounts,
    auroc,
    average_precision,
    best_threshold,
    brier,
    calibration_errors,
    dice_at_half,
    reliability,
    soft_dice,
)
from segmentation.metrics.ratios import values_and_reasons
from segmentation.metrics.scores import ALL_OF_TRUTH, NOT_IN_TRUTH, NOTHING_COUNTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segmentation.metrics.probability import ProbabilityHistogram

ALL_ZERO = "the truth has no voxel of this class and every probability is 0"
NONE_ABOVE_HALF = "the truth has no voxel of this class and no probability reaches one half"
NO_RANKING = "no foreground class has voxels both inside and outside it in the truth"
NO_FOREGROUND_CLASS = "there is no foreground class"


def probability_scores(
    histogram: ProbabilityHistogram, class_names: Sequence[str]
) -> dict[str, Any]:
    """Score the probabilities of every class against the rest, and the foreground as a whole.

    Each score is defined in `segmentation.metrics.calibration`: auroc, average_precision, brier,
    ece and mce (expected and maximum calibration error over the ten bins in "reliability"),
    soft_dice, best_threshold with best_threshold_dice, and dice_at_half. macro_foreground_auroc
    and foreground_ece are plain means over the foreground classes (every class but 0) in which
    the score is defined. All of it describes the quantised probabilities.

    Parameters
    ----------
    histogram : ProbabilityHistogram
        Counts of C classes.
    class_names : sequence of str
        Names of the classes 0..C-1, the background first.

    Returns
    -------
    dict
        Plain ints, floats, strings, lists and None: JSON without NaN. An undefined score is None
        with its reason under "undefined".

    Raises
    ------
    ValueError
        If there is not one name per class.
    """
    if len(class_names) != histogram.num_classes:
        raise ValueError(
            f"received {len(class_names)} class names for {histogram.num_classes} classes; "
            "give one name per class, the background first"
        )
    classes = [
        {"value": value, "name": name, **_class(LevelCounts.of(counts))}
        for value, (name, counts) in enumerate(zip(class_names, histogram.counts, strict=True))
    ]
    nothing = NOTHING_COUNTED if len(classes) > 1 else NO_FOREGROUND_CLASS
    means = {
        "macro_foreground_auroc": (
            _mean([entry["auroc"] for entry in classes[1:]]),
            NO_RANKING if histogram.voxels and len(classes) > 1 else nothing,
        ),
        "foreground_ece": (_mean([entry["ece"] for entry in classes[1:]]), nothing),
    }
    return {"levels": histogram.levels, "classes": classes, **values_and_reasons(**means)}


def _class(counts: LevelCounts) -> dict[str, Any]:
    """Score one class against the rest."""
    positives, negatives = sum(counts.positives), sum(counts.negatives)
    no_positives = NOT_IN_TRUTH if negatives else NOTHING_COUNTED
    expected, maximum = calibration_errors(counts)
    threshold, threshold_dice = best_threshold(counts) or (None, None)
    ratios = {
        "auroc": (auroc(counts), ALL_OF_TRUTH if positives else no_positives),
        "average_precision": (average_precision(counts), no_positives),
        "brier": (brier(counts), NOTHING_COUNTED),
        "ece": (expected, NOTHING_COUNTED),
        "mce": (maximum, NOTHING_COUNTED),
        "soft_dice": (soft_dice(counts), ALL_ZERO if negatives else NOTHING_COUNTED),
        "best_threshold": (threshold, no_positives),
        "best_threshold_dice": (threshold_dice, no_positives),
        "dice_at_half": (dice_at_half(counts), NONE_ABOVE_HALF if negatives else NOTHING_COUNTED),
    }
    return {
        "positives": positives,
        "negatives": negatives,
        **values_and_reasons(**ratios),
        "reliability": reliability(counts),
    }


def _mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None
