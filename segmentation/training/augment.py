"""Flips and right-angle turns: they move voxels and change none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def flip_and_turn(
    rng: np.random.Generator, image: NDArray[np.float32], labels: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Flip along every axis or not, and turn in the plane of y and x, all by chance.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (*spatial, channels).
    labels : numpy.ndarray
        Shape (*spatial). A plane that is not square is turned by half turns only.

    Returns
    -------
    tuple of numpy.ndarray
        Image and labels, moved alike, of the same shapes.
    """
    flipped = tuple(axis for axis in range(labels.ndim) if rng.random() < 0.5)
    square = labels.shape[-1] == labels.shape[-2]
    turns = int(rng.integers(4)) if square else 2 * int(rng.integers(2))
    plane = (labels.ndim - 2, labels.ndim - 1)
    image = np.rot90(np.flip(image, flipped), turns, plane)
    labels = np.rot90(np.flip(labels, flipped), turns, plane)
    return np.ascontiguousarray(image), np.ascontiguousarray(labels)
