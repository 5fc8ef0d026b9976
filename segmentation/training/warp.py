"""Rotation, size and elastic deformation in the plane of y and x, as one map of places.

::

    place in the crop = centre + rotation(place in the result - centre) / scale + elastic

Beyond the border the crop is mirrored. Elastic shifts are a cubic B-spline over a coarse grid
of control points, free of folds while these move by less than 0.48 of their distance.
Source: Rueckert et al., IEEE TMI 1999; Choi & Lee, Graphical Models 2000 (no folds).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segmentation.training.augment import Augmentation

STEPS = ("rotate", "scale", "elastic")
# Share of their distance by which control points may move without a fold.
FOLD = 0.48


def warp(
    rng: np.random.Generator,
    image: NDArray[np.float32],
    labels: NDArray[Any],
    settings: Augmentation,
    steps: list[str],
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Deform a block by chance, all its sections alike.

    Parameters
    ----------
    image : float32, shape (z, y, x, channels)
        Interpolated linearly.
    labels : shape (z, y, x)
        Taken from the nearest voxel.
    steps : list of str
        What was done is added to it.
    """
    before = len(steps)
    matrix = _matrix(rng, settings, steps)
    shifts = _shifts(rng, labels.shape[1:], settings, steps)
    if len(steps) == before:
        return image, labels
    places = _places(labels.shape[1:], matrix, shifts)
    return take_linear(image, places), take_nearest(labels, places)


def _matrix(
    rng: np.random.Generator, settings: Augmentation, steps: list[str]
) -> NDArray[np.float64]:
    """From offsets in the result to offsets in the crop."""
    angle, factor = 0.0, 1.0
    if rng.random() < settings.rotate:
        angle = rng.uniform(-settings.rotate_degrees, settings.rotate_degrees)
        steps.append(f"rotate {angle:.0f}°")
    if rng.random() < settings.scale:
        low, high = settings.scale_range
        factor = math.exp(rng.uniform(math.log(low), math.log(high)))
        steps.append(f"scale {factor:.2f}")
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.array([[cosine, sine], [-sine, cosine]]) / factor


def _shifts(
    rng: np.random.Generator, extent: Sequence[int], settings: Augmentation, steps: list[str]
) -> NDArray[np.float32] | None:
    """Elastic shifts in y and x, shape (2, y, x), or None."""
    if rng.random() >= settings.elastic:
        return None
    largest = rng.uniform(0, settings.elastic_voxels)
    steps.append(f"elastic {largest:.1f} px")
    rows, columns = (_spline(size, settings.elastic_spacing) for size in extent)
    grid = rng.uniform(-largest, largest, (2, rows.shape[1], columns.shape[1])).astype(np.float32)
    # In this order, and contiguous: fast in one thread.
    return np.asarray(rows @ (grid @ np.ascontiguousarray(columns.T)), np.float32)


def _spline(size: int, spacing: float) -> NDArray[np.float32]:
    """Weights of the control points at every voxel, shape (size, points)."""
    places = np.arange(size) / spacing
    distance = np.abs(places[:, None] + 1 - np.arange(int(places[-1]) + 4))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def _places(
    extent: Sequence[int], matrix: NDArray[np.float64], shifts: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each voxel of the result is taken from, in y and in x, inside the crop."""
    y, x = ((np.arange(size) - (size - 1) / 2).astype(np.float32) for size in extent)
    mapped = []
    for axis, size in enumerate(extent):
        to_y, to_x = matrix[axis].astype(np.float32)
        place = (to_y * y)[:, None] + (to_x * x)[None, :] + np.float32((size - 1) / 2)
        mapped.append(mirrored(place if shifts is None else place + shifts[axis], size))
    return mapped[0], mapped[1]


def mirrored(places: NDArray[Any], size: int) -> NDArray[Any]:
    """Places along an axis, folded back at its first and last voxel as in a mirror."""
    if size == 1:
        return np.zeros_like(places)
    period = 2 * (size - 1)
    folded = np.mod(places, period)
    return np.asarray(np.minimum(folded, period - folded))


def take_linear(
    image: NDArray[np.float32], places: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Intensities between the four voxels around each place, in every section and channel."""
    depth, height, width, channels = image.shape
    flat = image.reshape(depth, height * width, channels)
    top, left = (place.astype(np.int32) for place in places)
    down, right = ((place - low)[..., None] for place, low in zip(places, (top, left), strict=True))
    bottom, after = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)

    def at(row: NDArray[np.int32], column: NDArray[np.int32]) -> NDArray[np.float32]:
        return np.asarray(flat.take(row * width + column, axis=1))

    upper, lower = at(top, left), at(bottom, left)
    upper += right * (at(top, after) - upper)
    lower += right * (at(bottom, after) - lower)
    upper += down * (lower - upper)
    return upper


def take_nearest(
    labels: NDArray[Any], places: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> NDArray[Any]:
    """Label of the voxel nearest to each place, in every section."""
    depth, height, width = labels.shape
    row, column = (np.rint(place).astype(np.int32) for place in places)
    flat = labels.reshape(depth, height * width)
    return np.asarray(flat.take(row * width + column, axis=1))
