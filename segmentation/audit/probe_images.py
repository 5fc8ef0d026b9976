"""Small images with known labels, and what scores of predictions on them are.

The image with several classes has 100 × 100 voxels: 9000 of background, and 1000 that the other
classes share in falling parts (of five classes: 400, 300, 200 and 100). With two classes it is
25 × 40 voxels, 300 of them of the class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.scores import scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.int64]


def image(num_classes: int) -> Labels:
    """Labels of shape (1, y, x), sorted by class."""
    if num_classes == 2:
        return np.repeat([0, 1], (700, 300)).reshape(1, 25, 40)
    parts = np.arange(num_classes - 1, 0, -1)
    sizes = 1000 * parts // parts.sum()
    sizes[0] += 1000 - sizes.sum()
    return np.repeat(np.arange(num_classes), (9000, *sizes)).reshape(1, 100, 100)


def certainty(labels: Labels, num_classes: int, share: float) -> NDArray[np.float64]:
    """Probabilities (…, C) that give a class its share and all others the same of the rest."""
    rest = (1 - share) / (num_classes - 1)
    return np.where(labels[..., np.newaxis] == np.arange(num_classes), share, rest)


def expected_scores(truth: Labels, prediction: Labels, num_classes: int) -> dict[str, float]:
    """Scores of a label map that are defined; see `Probe`."""
    matrix = ConfusionMatrix.from_labels(truth, prediction, num_classes)
    result = scores(matrix, [str(value) for value in range(num_classes)])
    every = [one["iou"] for one in result["classes"] if one["iou"] is not None]
    found = {
        "accuracy": result["accuracy"],
        "dice": result["macro_foreground_dice"],
        "iou": result["macro_foreground_iou"],
        "mean_iou": float(np.mean(every)),
    }
    return {name: value for name, value in found.items() if value is not None}


def half_found(labels: Labels) -> Labels:
    """Labels of which every foreground class keeps the first half of its voxels."""
    guess = labels.copy().reshape(-1)
    for value in range(1, int(labels.max()) + 1):
        places = np.flatnonzero(guess == value)
        guess[places[len(places) // 2 :]] = 0
    return guess.reshape(labels.shape)
