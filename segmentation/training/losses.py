"""Cross-entropy plus soft Dice of every class.

Dice is taken class by class and then averaged: pooled over the channels it would be soft
accuracy under another name, blind to a rare class that is missed altogether.

Source of the soft Dice: Milletari et al., 3DV 2016; without smoothing of absent classes, which
are left out instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_PROBABILITY = 1e-7


def cross_entropy_and_dice(
    num_classes: int, head: str, *, ignore_label: int | None = None
) -> Callable[[Any, Any], Any]:
    """Loss for a network that gives probabilities.

    Parameters
    ----------
    num_classes : int
        Classes, the background included.
    head : "softmax" or "sigmoid"
        A sigmoid head has a channel for every foreground class.
    ignore_label : int, optional
        Voxels with this truth count for nothing.

    Returns
    -------
    callable
        From truth, integers (batch, *spatial), and probabilities (batch, *spatial, channels)
        to the loss: mean cross-entropy per labelled voxel plus 1 - mean Dice of the classes
        that occur in the batch.
    """
    ops = import_keras().ops
    first = 0 if head == "softmax" else 1

    def loss(truth: Any, probabilities: Any) -> Any:
        # Anything outside the classes becomes a row of zeros, so ignored voxels drop out.
        truth = ops.cast(truth, "int32")
        targets = ops.one_hot(truth, num_classes, dtype="float32")[..., first:]
        used = ops.ones_like(targets[..., :1])
        if ignore_label is not None:
            used = ops.cast(ops.expand_dims(truth != ignore_label, -1), "float32")
        targets, kept = targets * used, probabilities * used
        return _cross_entropy(ops, targets, probabilities, used, head) + _dice(ops, targets, kept)

    return loss


def _cross_entropy(ops: Any, targets: Any, probabilities: Any, used: Any, head: str) -> Any:
    likely = ops.log(ops.maximum(probabilities, LEAST_PROBABILITY))
    total = -ops.sum(targets * likely)
    if head == "sigmoid":
        unlikely = ops.log(ops.maximum(1 - probabilities, LEAST_PROBABILITY))
        total = total - ops.sum((used - targets) * unlikely)
    return total / ops.maximum(ops.sum(used), 1.0)


def _dice(ops: Any, targets: Any, kept: Any) -> Any:
    """One minus the mean soft Dice over the classes that occur in the batch."""
    axes = tuple(range(len(targets.shape) - 1))
    truth, predicted = ops.sum(targets, axes), ops.sum(kept, axes)
    dice = 2 * ops.sum(targets * kept, axes) / ops.maximum(truth + predicted, 1.0)
    present = ops.cast(truth > 0, "float32")
    count = ops.sum(present)
    return ops.where(count > 0, 1 - ops.sum(dice * present) / ops.maximum(count, 1.0), 0.0)
