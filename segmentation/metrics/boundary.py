"""Boundary IoU: overlap of the voxels near the border of a class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from segmentation.metrics.distance import LabelField, nearest_other
from segmentation.metrics.label_block import label_block
from segmentation.metrics.neighbourhood import Neighbourhood, squared_limit
from segmentation.metrics.ratios import ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segmentation.metrics.label_block import SurfaceOptions
    from segmentation.region import Region


def count_boundaries(
    truth: NDArray[np.integer[Any]],
    mask: NDArray[np.integer[Any]],
    *,
    read: Region,
    core: Region,
    shape: Sequence[int],
    options: SurfaceOptions,
    widths: Sequence[float],
) -> NDArray[np.int64]:
    """Count the voxels of a shard that lie in the boundary of their class.

    A voxel of a class is in its boundary of a width where the nearest voxel that is not of the
    class is no farther than the width, from centre to centre; beyond the image nothing is of the
    class (Cheng et al. 2021, arXiv:2103.16562, here with distances in physical units).

    A voxel whose truth is ignored is in no boundary; its neighbours see the labels it has.

    Parameters
    ----------
    truth, mask : integer arrays, 2D or 3D
        Labels in the box `read`, of any integer dtype; a label that is no class counts for none.
    read : Region
        The core grown by ``surface_halo(max(widths), voxel_size)``, cut at the image border.
    core : Region
        The box that the shard owns.
    shape : sequence of int
        Shape of the whole image.
    options : SurfaceOptions
        Classes, voxel size and ignore label; the cap plays no part.
    widths : sequence of float
        In the unit of the voxel size.

    Returns
    -------
    numpy.ndarray
        int64, shape (C, W, 3): voxels in the boundary of the truth, of the mask, of both.

    Raises
    ------
    ValueError
        If a width is not positive and finite, the arrays and the boxes do not fit together, a
        dtype is not integer, or `read` does not reach the halo.
    """
    for width in widths:
        if not (math.isfinite(width) and width > 0):
            raise ValueError(f"width {width} is not a positive, finite length")
    counts = np.zeros((options.num_classes, len(widths), 3), np.int64)
    if not widths:
        return counts
    block = label_block(
        (truth, mask), read=read, core=core, shape=shape, options=options, cap=max(widths)
    )
    near = Neighbourhood.within(max(widths), options.voxel_size, block.truth.shape)
    fields = [LabelField.of(labels, near).parts for labels in (block.truth, block.mask)]
    limits = np.array([squared_limit(width) for width in widths])
    box = [(0, 1)] * (3 - len(shape)) + [(part.start, part.stop) for part in block.voxels]
    _count(fields[0], fields[1], near.parts, np.array(box), limits, counts)
    return counts


def boundary_iou(counts: NDArray[np.int64]) -> list[list[float | None]]:
    """Boundary IoU per class and width; None where neither has a boundary.

    Parameters
    ----------
    counts : int64, shape (C, W, 3)
        Sum of `count_boundaries` over all shards.
    """
    return [
        [ratio(both, truth + mask - both) for truth, mask, both in widths]
        for widths in counts.tolist()
    ]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _count(
    truth: tuple[Any, ...],
    mask: tuple[Any, ...],
    near: tuple[Any, ...],
    box: NDArray[np.int64],
    limits: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> None:
    """Add the voxels of a box that are in a boundary to the counts, in place."""
    num_classes = counts.shape[0]
    for z in range(box[0, 0], box[0, 1]):
        for y in range(box[1, 0], box[1, 1]):
            for x in range(box[2, 0], box[2, 1]):
                true, given = truth[0][z, y, x], mask[0][z, y, x]
                if true > num_classes:
                    continue
                place = (z, y, x)
                far = nearest_other(place, true, truth, near) if true < num_classes else np.inf
                away = nearest_other(place, given, mask, near) if given < num_classes else np.inf
                for width in range(limits.size):
                    if far <= limits[width]:
                        counts[true, width, 0] += 1
                    if away <= limits[width]:
                        counts[given, width, 1] += 1
                    if true == given and max(far, away) <= limits[width]:
                        counts[true, width, 2] += 1
