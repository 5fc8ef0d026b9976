"""Losses of two kinds, joined by ``+``: voxel by voxel, and region by region.

Voxel losses (cross-entropy, focal) average over voxels, a voxel weighing by how often its class
occurs in the batch. Region losses (dice, jaccard, tversky) are taken class by class and then
averaged: pooled over the channels they would be soft accuracy under another name, blind to a
rare class that is missed altogether. Their gradient vanishes for a class the network has given
up on, so it is wise to join one of each kind.

The three region losses are one formula, Tversky's index TP / (TP + a FP + b FN) of soft counts::

    dice     a = b = 1/2     2 TP / (|truth| + |prediction|)
    jaccard  a = b = 1       TP / |truth or prediction|
    tversky  a, b chosen     b > a: what is missed costs more than what is too much

Sources: focal: Lin et al., ICCV 2017. Soft Dice: Milletari et al., 3DV 2016. Tversky: Salehi
et al., MLMI 2017. Nothing is added to numerator and denominator: a class that does not occur in
the batch is left out instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.networks.runtime import import_keras

if TYPE_CHECKING:
    from collections.abc import Callable

VOXEL_LOSSES = ("cross-entropy", "focal")
REGION_LOSSES = ("dice", "jaccard", "tversky")
LOSSES = VOXEL_LOSSES + REGION_LOSSES
# Power of a class's count that its voxels weigh with.
CLASS_WEIGHTS = {"none": 0.0, "sqrt": -0.5, "inverse": -1.0}
HEADS = ("softmax", "sigmoid")

TINY = 1e-7
# What log(p + TINY) is at p = 1 in float32.
LARGEST_LOG = float(np.log(np.float32(1) + np.float32(TINY)))


def loss_parts(name: str) -> tuple[str, ...]:
    """Losses that a name such as ``cross-entropy+dice`` joins.

    Raises
    ------
    ValueError
        If one is unknown or named twice.
    """
    parts = tuple(part.strip() for part in name.split("+"))
    if not set(parts) <= set(LOSSES) or len(set(parts)) < len(parts):
        raise ValueError(
            f"loss is {name!r}; expected one of {', '.join(LOSSES)}, or several different ones "
            "joined by +, such as cross-entropy+dice"
        )
    return parts


def make_loss(
    name: str,
    num_classes: int,
    head: str,
    *,
    ignore_label: int | None = None,
    class_weights: str = "sqrt",
    focal_gamma: float = 2.0,
    tversky_alpha: float = 0.3,
    tversky_beta: float = 0.7,
) -> Callable[[Any, Any], Any]:
    """Loss for a network that gives probabilities, on any backend of Keras.

    Parameters
    ----------
    name : str
        One of `LOSSES`, or several joined by ``+``; their values are added.
    num_classes : int
        Classes, the background included.
    head : "softmax" or "sigmoid"
        A sigmoid head has a channel for every foreground class, and region losses then leave
        out the background: a batch without foreground costs them nothing.
    ignore_label : int, optional
        Voxels with this truth count for nothing.
    class_weights : "none", "sqrt" or "inverse"
        Weight of a voxel in cross-entropy and focal: n^0, n^-1/2 or n^-1, n being how many
        voxels of the batch are of its class. "sqrt" is half way between counting voxels and
        counting classes.
    focal_gamma : float
        0 or more; the larger, the less a voxel counts that is nearly right already.
    tversky_alpha, tversky_beta : float
        Cost of a voxel too much, 0 or more, and of a missed one, above 0.

    Returns
    -------
    callable
        From truth, integers (batch, *spatial), and probabilities (batch, *spatial, channels)
        to a scalar in float32: 0 at a perfect prediction. Region losses are at most 1.

    Raises
    ------
    ValueError
        If a name is unknown or a number out of range.
    """
    parts = loss_parts(name)
    _check(head, class_weights, focal_gamma, tversky_alpha, tversky_beta)
    tversky = {"dice": (0.5, 0.5), "jaccard": (1.0, 1.0), "tversky": (tversky_alpha, tversky_beta)}
    keras_ops = import_keras().ops
    gammas = {"cross-entropy": 0.0, "focal": focal_gamma}
    power = CLASS_WEIGHTS[class_weights]

    def loss(truth: Any, probabilities: Any) -> Any:
        batch = _batch(
            keras_ops, truth, probabilities, num_classes, head=head, ignore_label=ignore_label
        )
        values = [
            batch.voxel_loss(gammas[part], power)
            if part in VOXEL_LOSSES
            else batch.region_loss(*tversky[part])
            for part in parts
        ]
        return sum(values[1:], values[0])

    return loss


def _check(head: str, class_weights: str, gamma: float, alpha: float, beta: float) -> None:
    if head not in HEADS:
        raise ValueError(f"head is {head!r}; expected 'softmax' or 'sigmoid'")
    if class_weights not in CLASS_WEIGHTS:
        raise ValueError(
            f"class_weights are {class_weights!r}; expected one of {', '.join(CLASS_WEIGHTS)}"
        )
    if gamma < 0:
        raise ValueError(f"focal_gamma is {gamma}; expected 0 or more")
    if alpha < 0 or beta <= 0:
        raise ValueError(
            f"tversky_alpha is {alpha} and tversky_beta {beta}; expected 0 or more and above 0"
        )


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch as the losses see it, in float32.

    Rows of zeros in `classes` are ignored voxels; `targets` and `probabilities` have the
    network's channels.
    """

    ops: Any
    classes: Any
    targets: Any
    probabilities: Any
    head: str

    def voxel_loss(self, gamma: float, power: float) -> Any:
        """Weighted mean of -(1 - p)^gamma log p over the voxels that are labelled."""
        weights = self._voxel_weights(power)
        surprise = self.targets * self._surprise(self.probabilities, gamma)
        if self.head == "sigmoid":
            surprise = surprise + (1 - self.targets) * self._surprise(1 - self.probabilities, gamma)
        total = self.ops.sum(self.ops.sum(surprise, axis=-1) * weights)
        return total / self.ops.maximum(self.ops.sum(weights), TINY)

    def _surprise(self, p: Any, gamma: float) -> Any:
        # log(p + TINY) and not log(max(p, TINY)): the gradient at p = 0 is large and finite,
        # where that of the maximum is 0 and leaves a voxel that is surely wrong as it is.
        surprise = LARGEST_LOG - self.ops.log(p + TINY)
        if gamma == 0:
            return surprise
        return self.ops.power(self.ops.maximum(1 - p, TINY), gamma) * surprise

    def _voxel_weights(self, power: float) -> Any:
        counts = self.ops.sum(self.classes, self._all_but_channels())
        return self.ops.sum(
            self.classes * self.ops.power(self.ops.maximum(counts, 1.0), power), axis=-1
        )

    def region_loss(self, alpha: float, beta: float) -> Any:
        """One minus the mean Tversky index of the classes that occur in the batch."""
        ops, axes = self.ops, self._all_but_channels()
        labelled = ops.sum(self.classes, axis=-1, keepdims=True)
        truth = ops.sum(self.targets, axes)
        both = ops.sum(self.targets * self.probabilities, axes)
        too_much = ops.sum((labelled - self.targets) * self.probabilities, axes)
        index = both / ops.maximum(both + alpha * too_much + beta * (truth - both), TINY)
        present = ops.cast(truth > 0, "float32")
        return ops.sum((1 - index) * present) / ops.maximum(ops.sum(present), 1.0)

    def _all_but_channels(self) -> tuple[int, ...]:
        return tuple(range(len(self.classes.shape) - 1))


def _batch(
    ops: Any,
    truth: Any,
    probabilities: Any,
    num_classes: int,
    *,
    head: str,
    ignore_label: int | None,
) -> _Batch:
    truth = ops.cast(truth, "int32")
    classes = ops.one_hot(truth, num_classes, dtype="float32")
    if ignore_label is not None:
        classes = classes * ops.cast(ops.expand_dims(truth != ignore_label, -1), "float32")
    if len(probabilities.shape) == len(truth.shape):
        # Keras takes away a last axis of one before it calls the loss of a compiled model.
        probabilities = ops.expand_dims(probabilities, -1)
    targets = classes if head == "softmax" else classes[..., 1:]
    return _Batch(ops, classes, targets, ops.cast(probabilities, "float32"), head)
