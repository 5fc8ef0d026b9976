"""Counts of a training epoch while it runs: what Keras's own curves are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.networks.heads import read_classes, read_probabilities
from segmentation.networks.runtime import import_keras
from segmentation.training.history import Row

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_PROBABILITY = 1e-7


def running_counts(num_classes: int, head: str, ignore_label: int | None) -> Any:
    """A ``keras.metrics.Metric`` that counts truth against prediction of every step.

    The counts are of changing weights, before each update and in training mode; they lag behind
    the weights at the end of the epoch by (n + 1) / 2 steps of n.

    Parameters
    ----------
    num_classes : int
        Classes, the background included.
    head : "softmax" or "sigmoid"
        How the network's output is read.
    ignore_label : int or None
        Truth that counts for nothing.
    """
    keras = import_keras()
    ops = keras.ops
    whole = "int32" if keras.backend.backend() == "jax" else "int64"

    base: Any = keras.metrics.Metric

    class RunningCounts(base):  # type: ignore[misc]  # Keras has no types
        def __init__(self) -> None:
            super().__init__(name="counts")
            shape = (num_classes, num_classes)
            self.matrix = self.add_variable(shape, "zeros", dtype=whole, name="matrix")
            self.surprise = self.add_variable((), "zeros", dtype="float32", name="surprise")

        def update_state(self, truth: Any, outputs: Any, sample_weight: Any = None) -> None:
            truth = ops.reshape(ops.cast(truth, "int32"), (-1,))
            outputs = ops.reshape(outputs, (-1, outputs.shape[-1]))
            rows = ops.one_hot(truth, num_classes, dtype="float32")
            if ignore_label is not None:
                rows = rows * ops.cast(ops.expand_dims(truth != ignore_label, -1), "float32")
            classes = ops.cast(read_classes(ops, outputs, head), "int32")
            columns = ops.one_hot(classes, num_classes, dtype="float32")
            self.matrix.assign_add(ops.cast(ops.matmul(ops.transpose(rows), columns), whole))
            likely = ops.sum(rows * read_probabilities(ops, outputs, head), axis=-1)
            surprise = -ops.log(ops.maximum(likely, LEAST_PROBABILITY))
            self.surprise.assign_add(ops.sum(surprise * ops.sum(rows, axis=-1)))

        def result(self) -> Any:
            """Accuracy, for those who watch Keras's own log."""
            total = ops.cast(ops.sum(self.matrix), "float32")
            hits = ops.cast(ops.sum(ops.diagonal(self.matrix)), "float32")
            return hits / ops.maximum(total, 1.0)

    return RunningCounts()


def running_row(metric: Any) -> Row:
    """Scores of what the metric has counted since it was reset."""
    counts = np.asarray(metric.matrix.numpy(), np.int64)
    total = int(counts.sum())
    surprise = float(metric.surprise.numpy()) / total if total else None
    return Row.of(ConfusionMatrix(counts), surprise)


def as_keras_loss(function: Callable[[Any, Any], Any]) -> Any:
    """A loss function as a ``keras.losses.Loss``: Keras changes the shapes that a function sees.

    Parameters
    ----------
    function : callable
        From truth (batch, *spatial) and probabilities (batch, *spatial, channels) to a number.
    """
    keras = import_keras()

    base: Any = keras.losses.Loss

    class WholeBatchLoss(base):  # type: ignore[misc]  # Keras has no types
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return function(y_true, y_pred)

    return WholeBatchLoss(reduction=None, dtype="float32")
