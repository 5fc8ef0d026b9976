"""How the output of a network is read: classes and probabilities, in ``keras.ops``."""

from __future__ import annotations

from typing import Any


def read_classes(ops: Any, outputs: Any, head: str, *, scores: bool = False) -> Any:
    """Class of every voxel, uint8; a sigmoid head's voxel is background below 0.5 everywhere.

    Parameters
    ----------
    ops : module
        ``keras.ops``.
    outputs : tensor
        Shape (..., channels).
    head : "softmax" or "sigmoid"
        A sigmoid head has a channel for every foreground class.
    scores : bool
        The head's activation is still to come (see `segmentation.networks.scores`).
    """
    best = ops.argmax(outputs, axis=-1)
    if head == "sigmoid":
        half = 0.0 if scores else 0.5
        best = ops.where(ops.max(outputs, axis=-1) >= half, best + 1, 0)
    return ops.cast(best, "uint8")


def read_probabilities(ops: Any, outputs: Any, head: str, *, scores: bool = False) -> Any:
    """Probability of every class, float32, shape (..., classes); the arguments as above.

    The background of a sigmoid head is 1 - max of the others.
    """
    outputs = ops.cast(outputs, "float32")
    if scores:
        outputs = ops.softmax(outputs, axis=-1) if head == "softmax" else ops.sigmoid(outputs)
    if head == "softmax":
        return outputs
    return ops.concatenate([1 - ops.max(outputs, axis=-1, keepdims=True), outputs], axis=-1)
