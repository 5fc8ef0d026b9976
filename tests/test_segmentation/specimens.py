"""Metrics and losses of the source cases, as numpy: specimens to be told apart, not to be used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def one_hot(labels: NDArray[Any], num_classes: int) -> Floats:
    return np.eye(num_classes)[labels]


def channel_pooled_dice(truth: Floats, prediction: Floats, smooth: float = 1.0) -> float:
    """Dice summed over height, width and the channels of one image: pixel accuracy in disguise."""
    both = float((truth * prediction).sum())
    return (2 * both + smooth) / (float(truth.sum()) + float(prediction.sum()) + smooth)


def channel_pooled_iou(truth: Floats, prediction: Floats, smooth: float = 1.0) -> float:
    both = float((truth * prediction).sum())
    union = float(truth.sum()) + float(prediction.sum()) - both
    return (both + smooth) / (union + smooth)


def double_union_iou(truth: Floats, prediction: Floats) -> float:
    """Intersection over |A| + |B|: the intersection is in the denominator twice."""
    with np.errstate(invalid="ignore"):
        return float(np.divide((truth * prediction).sum(), truth.sum() + prediction.sum()))


def scaled_jaccard_loss(truth: Floats, prediction: Floats, smooth: float = 10.0) -> float:
    both = float((truth * prediction).sum())
    union = float(truth.sum()) + float(prediction.sum()) - both
    return (1 - (both + smooth) / (union + smooth)) * smooth
