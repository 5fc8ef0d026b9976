"""Cross-entropy plus soft Dice of every class.

Dice is taken class by class and then averaged: pooled over the channels it would be soft
accuracy under another name, blind to a rare class that is missed altogether. Its gradient
vanishes for a class the network has given up on, so the cross-entropy must not let that
happen: a voxel there weighs as one over the square root of its class's share of the batch,
half way between counting voxels and counting classes.

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
        to the loss: weighted mean cross-entropy of the labelled voxels, plus 1 - mean Dice of
        the classes that occur in the batch.
    """
    ops = import_keras().ops
    first = 0 if head == "softmax" else 1

    def loss(truth: Any, probabilities: Any) -> Any:
        truth = ops.cast(truth, "int32")
        classes = ops.one_hot(truth, num_classes, dtype="float32")
        if ignore_label is not None:
            classes = classes * ops.cast(ops.expand_dims(truth != ignore_label, -1), "float32")
        targets = classes[..., first:]
        # Rows of zeros are ignored voxels.
        used = ops.sum(classes, axis=-1, keepdims=True)
        surprise = _surprise(ops, targets, probabilities, head)
        weights = _voxel_weights(ops, classes)
        cross_entropy = ops.sum(surprise * weights) / ops.maximum(ops.sum(weights), 1e-6)
        return cross_entropy + _dice(ops, targets, probabilities * used)

    return loss


def _surprise(ops: Any, targets: Any, probabilities: Any, head: str) -> Any:
    """Cross-entropy of every voxel, with a last axis of one."""
    terms = targets * ops.log(ops.maximum(probabilities, LEAST_PROBABILITY))
    if head == "sigmoid":
        unlikely = ops.log(ops.maximum(1 - probabilities, LEAST_PROBABILITY))
        terms = terms + (1 - targets) * unlikely
    return -ops.sum(terms, axis=-1, keepdims=True)


def _voxel_weights(ops: Any, classes: Any) -> Any:
    """One over the square root of how often a voxel's class occurs; 0 for ignored voxels."""
    counts = ops.sum(classes, tuple(range(len(classes.shape) - 1)))
    return ops.sum(classes / ops.sqrt(ops.maximum(counts, 1.0)), axis=-1, keepdims=True)


def _dice(ops: Any, targets: Any, kept: Any) -> Any:
    """One minus the mean soft Dice over the classes that occur in the batch."""
    axes = tuple(range(len(targets.shape) - 1))
    truth, predicted = ops.sum(targets, axes), ops.sum(kept, axes)
    dice = 2 * ops.sum(targets * kept, axes) / ops.maximum(truth + predicted, 1.0)
    present = ops.cast(truth > 0, "float32")
    count = ops.sum(present)
    return ops.where(count > 0, 1 - ops.sum(dice * present) / ops.maximum(count, 1.0), 0.0)
