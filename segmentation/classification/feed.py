"""Batches of images by their step: whatever was drawn before, step 7 gets the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.networks.runtime import import_keras
from segmentation.training.augment import augment
from segmentation.training.warp import mirrored

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from segmentation.training.augment import Augmentation


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """Images of one part, with their classes.

    Attributes
    ----------
    read : callable
        Image of a place in `labels`, as `segmentation.classification.images.prepare` gives it:
        float32, shape (y, x, channels).
    labels : int64, shape (samples,)
        Class of every image.
    """

    read: Callable[[int], NDArray[np.float32]]
    labels: NDArray[np.int64]

    def images(self, places: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Some images, stacked: shape (images, y, x, channels)."""
        return np.stack([self.read(int(place)) for place in places])


@dataclass(frozen=True, slots=True)
class SampleFeed:
    """Augmented images, each as often as the others.

    Attributes
    ----------
    samples : SampleSet
        Of the training part.
    augmentation : Augmentation
        How images are varied.
    shift : float
        Largest shift along y and x, as a share of the extents; nothing is shifted where
        nothing is deformed.
    batch_size : int
        Images a step.
    seed : int
        With the number of the step it decides which images these are, and how they are varied.
    """

    samples: SampleSet
    augmentation: Augmentation
    shift: float
    batch_size: int
    seed: int

    def places(self, step: int) -> NDArray[np.int64]:
        """Which images a step takes: all of them in a random order, then in another."""
        count, first = len(self.samples.labels), step * self.batch_size
        rounds = range(first // count, (first + self.batch_size - 1) // count + 1)
        orders = [np.random.default_rng((self.seed, r)).permutation(count) for r in rounds]
        start = first - rounds[0] * count
        return np.concatenate(orders)[start : start + self.batch_size]

    def batch(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Images (batch, y, x, channels) and classes (batch,) of a step."""
        places = self.places(step)
        images = [
            self._varied(self.samples.read(int(place)), (self.seed, step, number))
            for number, place in enumerate(places)
        ]
        return np.stack(images), self.samples.labels[places]

    def _varied(self, image: NDArray[np.float32], seed: tuple[int, ...]) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        if self.augmentation.rotate or self.augmentation.scale:
            image = shifted(rng, image, self.shift)
        no_labels = np.zeros(image.shape[:2], np.uint8)
        return augment(rng, image, no_labels, self.augmentation).image

    def dataset(self, first_step: int, steps: int) -> Any:
        """The batches of some steps as a ``keras.utils.PyDataset``, which Keras reads ahead."""
        base: Any = import_keras().utils.PyDataset

        class Batches(base):  # type: ignore[misc]  # Keras has no types
            def __len__(self) -> int:
                return steps

            def __getitem__(batches, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
                return self.batch(first_step + index)

        return Batches(workers=1, max_queue_size=4)


def shifted(
    rng: np.random.Generator, image: NDArray[np.float32], share: float
) -> NDArray[np.float32]:
    """The image moved by whole pixels along y and x; what comes in at a border is mirrored.

    Parameters
    ----------
    image : float32, shape (y, x, channels)
        Intensities.
    share : float
        Of the extents: the largest shift, either way.
    """
    for axis in range(2):
        size = image.shape[axis]
        most = int(share * size)
        places = mirrored(np.arange(size) + int(rng.integers(-most, most + 1)), size)
        image = image.take(places, axis=axis)
    return image
