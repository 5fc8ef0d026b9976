"""What goes wrong with single sections of a block: one is lost, or lies a little aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.training.warp import mirrored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segmentation.training.augment import Augmentation

STEPS = ("missing", "shift")
# With fewer sections there is no context to fill the gap from.
LEAST_SECTIONS = 3


def lose_one(
    rng: np.random.Generator,
    image: NDArray[np.float32],
    settings: Augmentation,
    steps: list[str],
) -> NDArray[np.float32]:
    """By chance, replace a section of the image (z, y, x, channels) by its mean.

    Its labels stay: the network is to bridge the gap.
    """
    if len(image) < LEAST_SECTIONS or rng.random() >= settings.missing:
        return image
    section = int(rng.integers(len(image)))
    steps.append(f"missing section {section}")
    image = image.copy()
    image[section] = image[section].mean(axis=(0, 1))
    return image


def shift_one(
    rng: np.random.Generator,
    image: NDArray[np.float32],
    labels: NDArray[Any],
    settings: Augmentation,
    steps: list[str],
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """By chance, move a section of image (z, y, x, channels) and labels (z, y, x) together.

    What moves in at the border is mirrored.
    """
    if len(image) < LEAST_SECTIONS or rng.random() >= settings.shift:
        return image, labels
    section = int(rng.integers(len(image)))
    most = settings.shift_voxels
    y, x = (int(step) for step in rng.integers(-most, most + 1, 2))
    steps.append(f"section {section} shifted by {y}, {x} px")
    rows, columns = (
        mirrored(np.arange(size) - step, size)
        for size, step in zip(labels.shape[1:], (y, x), strict=True)
    )
    image, labels = image.copy(), labels.copy()
    image[section] = image[section][np.ix_(rows, columns)]
    labels[section] = labels[section][np.ix_(rows, columns)]
    return image, labels
