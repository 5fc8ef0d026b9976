"""Distances between the surfaces of truth and mask, counted shard by shard."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.distance import LabelField, nearest_others
from segmentation.metrics.label_block import SurfaceOptions, label_block, surface_halo
from segmentation.metrics.neighbourhood import Neighbourhood
from segmentation.metrics.surface_counts import SurfaceCounts
from segmentation.metrics.surface_scores import surface_scores
from segmentation.metrics.surfels import corner_codes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segmentation.region import Region

    Corners = NDArray[np.bool_]

__all__ = ["SurfaceCounts", "SurfaceOptions", "count_surfaces", "surface_halo", "surface_scores"]


def count_surfaces(
    truth: NDArray[np.integer[Any]],
    mask: NDArray[np.integer[Any]],
    *,
    read: Region,
    core: Region,
    shape: Sequence[int],
    options: SurfaceOptions,
) -> SurfaceCounts:
    """Count the surfels of a shard by their distance to the surface of the same class.

    A surfel sits at the corner of voxels: corner i of an axis of n voxels is between voxels i - 1
    and i, and beyond the image is background. It is on the surface of a class where some, and not
    all, of the voxels round it are of the class. A shard whose core is [a, b) owns the corners
    a..b-1 along each axis, and corner n where b is n, so that shards that partition the image
    partition its surfels.

    The distance is that to the nearest corner on the other surface, the smallest of
    ``((dz·sz)² + (dy·sy)²) + (dx·sx)²`` whose root is within the cap. Where nothing is farther
    than the cap these are the distances of DeepMind's surface-distance on the whole image.

    A corner beside an ignored voxel is on no surface; it is counted in `excluded`.

    Parameters
    ----------
    truth, mask : integer arrays, 2D or 3D
        Labels in the box `read`, of any integer dtype; a label that is no class is background.
    read : Region
        The core grown by `surface_halo`, cut at the image border.
    core : Region
        The box that the shard owns.
    shape : sequence of int
        Shape of the whole image.
    options : SurfaceOptions
        Classes, voxel size, cap and ignore label.

    Raises
    ------
    ValueError
        If the arrays and the boxes do not fit together, a dtype is not integer, or `read` does
        not reach the halo.
    """
    block = label_block(
        (truth, mask), read=read, core=core, shape=shape, options=options, cap=options.cap
    )
    ignored = corner_codes(block.truth == options.num_classes + 1) != 0
    near = Neighbourhood.within(options.cap, options.voxel_size, ignored.shape)
    tables = [SurfaceCounts.empty(options.num_classes)]
    excluded = np.zeros((options.num_classes, 2), np.int64)
    for value in range(1, options.num_classes):
        codes = [corner_codes(labels == value) for labels in (block.truth, block.mask)]
        surfaces = [(code != 0) & (code != 2**2**code.ndim - 1) for code in codes]
        excluded[value] = [np.count_nonzero((s & ignored)[block.corners]) for s in surfaces]
        surfaces = [surface & ~ignored for surface in surfaces]
        for direction, code in enumerate(codes):
            wanted = surfaces[direction][block.corners]
            table = SurfaceCounts.from_surfels(
                code[block.corners][wanted],
                _squared(wanted, surfaces[1 - direction], block.corners, near),
                value=value,
                direction=direction,
                num_classes=options.num_classes,
            )
            tables.append(table)
    return replace(SurfaceCounts.merge(tables), excluded=excluded)


def _squared(
    wanted: Corners, other: Corners, place: tuple[slice, ...], near: Neighbourhood
) -> NDArray[np.float64]:
    """Squared distance from every wanted corner to the nearest of the other surface."""
    if not wanted.any():
        return np.zeros(0)
    field = LabelField.of(other.view(np.uint8), near)
    start = [part.start for part in place]
    return nearest_others(field, near, wanted=wanted, start=start, label=0)
