"""Batches of a training by their step: whatever was drawn before, step 7 gets the same crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.networks.runtime import import_keras
from segmentation.training.augment import augment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segmentation.training.augment import Augmentation, Augmented
    from segmentation.training.samples import CropSampler


@dataclass(frozen=True, slots=True)
class Feed:
    """Augmented crops, drawn from the stores when they are asked for.

    Attributes
    ----------
    sampler : CropSampler
        Draws crops.
    augmentation : Augmentation
        How they are varied.
    batch_size : int
        Crops a step.
    seed : int
        With the number of the step and that of the crop it decides everything about a crop, so
        that a training which goes on from a checkpoint sees what it would have seen.
    """

    sampler: CropSampler
    augmentation: Augmentation
    batch_size: int
    seed: int

    def crop(self, step: int, number: int) -> Augmented:
        """One crop of a step."""
        rng = np.random.default_rng((self.seed, step, number))
        return augment(rng, *self.sampler.draw(rng), self.augmentation)

    def batch(self, step: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Images (batch, *crop, channels) and labels (batch, *crop) of a step."""
        crops = [self.crop(step, number) for number in range(self.batch_size)]
        return np.stack([c.image for c in crops]), np.stack([c.labels for c in crops])

    def dataset(self, first_step: int, steps: int) -> Any:
        """The batches of some steps as a ``keras.utils.PyDataset``, which Keras reads ahead."""
        base: Any = import_keras().utils.PyDataset

        class Batches(base):  # type: ignore[misc]  # Keras has no types
            def __len__(self) -> int:
                return steps

            def __getitem__(batches, index: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
                return self.batch(first_step + index)

        return Batches(workers=1, max_queue_size=4)
