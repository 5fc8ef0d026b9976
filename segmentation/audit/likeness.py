"""Evidence on items that hold the same image: thumbnails side by side, agreement of two labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.finding import Picture
from segmentation.audit.misaligned import grey_levels
from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.training.fingerprint import SIDE
from segmentation.training.inspection import BLOCK_VOXELS, blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segmentation.region import Region
    from segmentation.shard import VoxelArray
    from segmentation.training.fingerprint import Fingerprint

GAP = 4


def pair_picture(first: Fingerprint, second: Fingerprint, title: str) -> Picture | None:
    """The two most similar sections of two images, side by side; None where nothing is to be seen.

    Parameters
    ----------
    first, second : Fingerprint
        Of the images.
    title : str
        What the picture shows.
    """
    if not len(first.thumbnails) or not len(second.thumbnails):
        return None
    correlation = first.thumbnails @ second.thumbnails.T
    i, j = np.unravel_index(int(correlation.argmax()), correlation.shape)
    sides = [
        grey_levels(one.reshape(SIDE, SIDE)) for one in (first.thumbnails[i], second.thumbnails[j])
    ]
    gap = np.full((SIDE, GAP), 255, np.uint8)
    return Picture(title, np.hstack([sides[0], gap, sides[1]]))


def label_agreement(
    first: VoxelArray,
    second: VoxelArray,
    regions: tuple[Region, Region],
    num_classes: int,
) -> tuple[float | None, ...]:
    """Dice of two labels of one image by class, read slab by slab; None where neither has it.

    Parameters
    ----------
    first, second : array-like
        Labels of classes 0, 1, …; voxels with other values in one of them do not count.
    regions : tuple of Region
        Boxes of one shape that show the same image.
    num_classes : int
        Classes, the background first.
    """
    matrix = ConfusionMatrix.empty(num_classes)
    for boxes in zip(*(blocks(region, BLOCK_VOXELS) for region in regions), strict=True):
        one, other = (np.asarray(a[b.slices]) for a, b in zip((first, second), boxes, strict=True))
        matrix += ConfusionMatrix.from_labels(one, other, num_classes)
    return tuple(_dice(matrix.counts, value) for value in range(num_classes))


def _dice(counts: NDArray[np.int64], value: int) -> float | None:
    total = int(counts[value].sum() + counts[:, value].sum())
    return 2 * int(counts[value, value]) / total if total else None
