"""What a classifier in training makes smaller, and how: the loss and the optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.networks.runtime import import_keras
from segmentation.training.running import LEAST_PROBABILITY

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from segmentation.classification.settings import ClassifierSettings


def class_weights(labels: NDArray[np.int64], classes: int, rule: str) -> NDArray[np.float32]:
    """Weight of every class in the loss; the mean over the images is 1.

    Parameters
    ----------
    labels : int64, shape (samples,)
        Of the training part.
    classes : int
        How many there are; one without images has the weight 0.
    rule : "none", "sqrt" or "inverse"
        The weight goes by nothing, by 1 / √n or by 1 / n of the n images of a class.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    power = {"none": 0.0, "sqrt": 0.5, "inverse": 1.0}[rule]
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -power, 0.0)
    return np.asarray(weights * counts.sum() / (weights * counts).sum(), np.float32)


def classifier_loss(
    labels: NDArray[np.int64], classes: int, settings: ClassifierSettings
) -> Callable[[Any, Any], Any]:
    """Mean over a batch of the weighted cross-entropy against a softened truth.

    Parameters
    ----------
    labels : int64, shape (samples,)
        Of the training part; they decide the weights.
    classes : int
        How many there are.
    settings : ClassifierSettings
        Gives the rule of the weights, and how far the truth is softened.

    Returns
    -------
    callable
        From classes (batch,) and probabilities (batch, classes) to a number.
    """
    ops = import_keras().ops
    weights = class_weights(labels, classes, settings.class_weights)
    smoothing = settings.label_smoothing

    def loss(truth: Any, probabilities: Any) -> Any:
        truth = ops.reshape(ops.cast(truth, "int32"), (-1,))
        rows = ops.one_hot(truth, classes, dtype="float32")
        soft = rows * (1 - smoothing) + smoothing / classes
        probabilities = ops.cast(probabilities, "float32")
        surprise = -ops.sum(soft * ops.log(ops.maximum(probabilities, LEAST_PROBABILITY)), axis=-1)
        return ops.mean(surprise * ops.take(ops.convert_to_tensor(weights), truth))

    return loss
