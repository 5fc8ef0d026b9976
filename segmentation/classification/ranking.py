"""What the probabilities of a classifier are worth: ranking and calibration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.classification.predictions import TOP, Predictions
from segmentation.metrics.calibration import LevelCounts, calibration_errors, reliability

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Areas:
    """Area under the ROC curve for any weights of the samples; what is sorted, is sorted once.

    Parameters
    ----------
    known : Predictions
        Samples with truth. Of two classes the area of class 1 is meant, of more the mean of the
        areas of each against the rest.
    """

    def __init__(self, known: Predictions) -> None:
        count = known.probabilities.shape[1]
        self._classes = [
            (known.labels == value, *np.unique(known.levels[:, value], return_inverse=True))
            for value in ((1,) if count == 2 else range(count))
        ]

    def __call__(self, weights: NDArray[np.int64]) -> float | None:
        """Area; None where a class has no sample, or every sample is of one class.

        Parameters
        ----------
        weights : int64, shape (samples,)
            How often every sample counts.
        """
        areas = [
            _area(weights, inside, places, len(levels)) for inside, levels, places in self._classes
        ]
        defined = [area for area in areas if area is not None]
        return math.fsum(defined) / len(areas) if len(defined) == len(areas) else None


def _area(
    weights: NDArray[np.int64], inside: NDArray[np.bool_], places: NDArray[np.intp], levels: int
) -> float | None:
    """Chance that one of the class has a higher level than one of the rest; ties count half."""
    # Whole numbers below 2⁵³ are exact in float64, and their products below 2⁶³ in int64.
    yes = np.bincount(places, weights * inside, levels).astype(np.int64)
    no = np.bincount(places, weights * ~inside, levels).astype(np.int64)
    pairs = int(yes.sum()) * int(no.sum())
    below = np.cumsum(no) - no
    return int((yes * (2 * below + no)).sum()) / (2 * pairs) if pairs else None


def roc_points(known: Predictions, value: int = 1) -> list[tuple[float, float]]:
    """False and true positive rate of a class at every threshold, from (0, 0) to (1, 1).

    None where the class, or the rest, has no sample.
    """
    counts = _level_counts(known.levels[:, value], known.labels == value)
    negatives, positives = sum(counts.negatives), sum(counts.positives)
    if not negatives or not positives:
        return []
    points, false, true = [(0.0, 0.0)], 0, 0
    for no, yes in zip(reversed(counts.negatives), reversed(counts.positives), strict=True):
        false, true = false + no, true + yes
        points.append((false / negatives, true / positives))
    return points


def calibration(known: Predictions) -> dict[str, Any]:
    """Compare probabilities with what came true.

    Of class 1 where there are two; of more classes each against the rest, counted together. Bins
    and errors are those of `segmentation.metrics.calibration`.

    Returns
    -------
    dict
        "of" (the classes), "ece", "largest" (of the bins) and "bins".
    """
    count = known.probabilities.shape[1]
    values = [1] if count == 2 else list(range(count))
    inside = np.concatenate([known.labels == value for value in values])
    counts = _level_counts(known.levels[:, values].T.ravel(), inside)
    expected, largest = calibration_errors(counts)
    return {"of": values, "ece": expected, "largest": largest, "bins": reliability(counts)}


def _level_counts(levels: NDArray[np.int64], inside: NDArray[np.bool_]) -> LevelCounts:
    """Samples in and outside a class at every level that occurs."""
    occupied, places = np.unique(levels, return_inverse=True)
    positives = np.bincount(places[inside], minlength=len(occupied))
    negatives = np.bincount(places[~inside], minlength=len(occupied))
    return LevelCounts(TOP, (*occupied.tolist(),), (*negatives.tolist(),), (*positives.tolist(),))
