"""One sample learned by heart: a network, a loss and labels that cannot do that are broken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.networks.heads import read_classes
from segmentation.networks.runtime import import_keras
from segmentation.networks.variants import has_batch_norm
from segmentation.training.history import Row
from segmentation.training.recalibration import recalibrated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segmentation.training.fit import Training

STEPS = 200
GOOD_DICE = 0.99
# Crops looked at for the one with most classes.
CANDIDATES = 16


@dataclass(frozen=True, slots=True)
class Overfit:
    """What came of it.

    Attributes
    ----------
    macro_foreground_dice : float or None
        On the sample itself; None if it holds no foreground.
    dice : tuple of float or None
        Per class.
    steps : int
        That were taken.
    """

    macro_foreground_dice: float | None
    dice: tuple[float | None, ...]
    steps: int

    @property
    def passed(self) -> bool:
        """Whether the sample was learned."""
        return (self.macro_foreground_dice or 0.0) > GOOD_DICE


def overfit_one(training: Training, *, num_classes: int, head: str) -> Overfit:
    """Take 200 steps on one crop without augmentation, and score that crop.

    BatchNorm is given the exact statistics of the sample first: moving ones that lag behind would
    be another fault than the one looked for.

    Parameters
    ----------
    training : Training
        As `segmentation.training.fit.prepare_training` gives it; its network is changed.
    num_classes : int
        Classes, the background included.
    head : "softmax" or "sigmoid"
        Of the network.
    """
    image, labels = _richest_crop(training, num_classes)
    batch = image[np.newaxis], labels[np.newaxis]
    for _ in range(STEPS):
        training.working.train_on_batch(*batch)
    training.model.set_weights(training.working.get_weights())
    model = (
        recalibrated(training.model, [batch[0]])
        if has_batch_norm(training.model)
        else training.model
    )
    ops = import_keras().ops
    classes = ops.convert_to_numpy(read_classes(ops, model(batch[0], training=False), head))
    matrix = ConfusionMatrix.from_labels(
        batch[1], classes, num_classes, training.settings.ignore_label
    )
    row = Row.of(matrix, None)
    return Overfit(row.macro_foreground_dice, row.dice, STEPS)


def _richest_crop(training: Training, num_classes: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Of some crops the one with most classes, and among those the most even one."""
    sampler = replace(training.feed.sampler, class_share=1.0)
    crops = [
        sampler.draw(np.random.default_rng((training.settings.seed, n))) for n in range(CANDIDATES)
    ]

    def richness(crop: tuple[NDArray[np.float32], NDArray[Any]]) -> tuple[int, int]:
        counts = np.bincount(crop[1].ravel(), minlength=num_classes)[:num_classes]
        return int((counts > 0).sum()), int(np.sort(counts)[-2])

    return max(crops, key=richness)
