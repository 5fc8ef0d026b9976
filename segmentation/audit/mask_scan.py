"""A mask in a few numbers: where along each axis its class changes, and its classes by section.

Blocks are read one after the other, each with one voxel more on its low sides, so that every
pair of neighbours is counted once; memory is that of one block.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from segmentation.region import Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


BLOCK_VOXELS = 2**24
MOST_VOXELS = 2**30


class Voxels(Protocol):
    """What is read: a NumPy array, or a volume."""

    def __getitem__(self, slices: tuple[slice, ...], /) -> NDArray[np.integer]:
        """Voxels of a box."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskScan:
    """Counts over the voxels of a region that were read.

    Attributes
    ----------
    start : tuple of int
        First voxel of the region.
    changes, pairs : tuple of int64 arrays, shape (extent,) for each axis
        At i the pairs of voxels i - 1 and i along the axis: how many differ, how many were seen.
    sections : int64, shape (extent of the section axis, classes + 1)
        Voxels of every class in every section; the last column counts other values. Without a
        section axis there are no rows.
    """

    start: tuple[int, ...]
    changes: tuple[NDArray[np.int64], ...]
    pairs: tuple[NDArray[np.int64], ...]
    sections: NDArray[np.int64]


def scan_mask(
    mask: Voxels,
    region: Region,
    cell: Sequence[int],
    *,
    num_classes: int,
    section_axis: int | None = None,
    most_voxels: int = MOST_VOXELS,
) -> MaskScan:
    """Count changes and classes of a mask, block by block.

    Parameters
    ----------
    mask : array or volume
        Class of every voxel.
    region : Region
        What is looked at.
    cell : sequence of int
        Extents that are best read together, such as those of a chunk.
    num_classes : int
        Classes 0..num_classes - 1.
    section_axis : int, optional
        Axis along which classes are counted section by section.
    most_voxels : int
        Of a larger region whole columns of blocks, spread evenly, are read.
    """
    changes = tuple(np.zeros(extent, np.int64) for extent in region.shape)
    pairs = tuple(np.zeros(extent, np.int64) for extent in region.shape)
    planes = 0 if section_axis is None else region.shape[section_axis]
    sections = np.zeros((planes, num_classes + 1), np.int64)
    for block in chosen_blocks(region, cell, section_axis, most_voxels):
        read = Region(
            tuple(max(a, b - 1) for a, b in zip(region.start, block.start, strict=True)), block.stop
        )
        voxels = mask[read.slices]
        place = block.relative_to(region.start).start
        _count_changes(voxels, block.relative_to(read.start), place, changes, pairs)
        if section_axis is not None:
            inside = voxels[block.relative_to(read.start).slices]
            rows = slice(place[section_axis], place[section_axis] + inside.shape[section_axis])
            sections[rows] += _section_counts(inside, section_axis, num_classes)
    return MaskScan(region.start, changes, pairs, sections)


def chosen_blocks(
    region: Region, cell: Sequence[int], section_axis: int | None, most_voxels: int
) -> Iterator[Region]:
    """Blocks of a region in order; of a large one evenly spread columns along the section axis."""
    small = region.voxels <= most_voxels
    extents = _block_extents(region, cell) if small else [max(1, size) for size in cell]
    steps = [
        [Region((low,), (high,)) for low, high in _steps(a, b, size)]
        for a, b, size in zip(region.start, region.stop, extents, strict=True)
    ]
    along = steps[section_axis] if section_axis is not None else [None]
    if section_axis is not None:
        steps[section_axis] = steps[section_axis][:1]
    columns = list(itertools.product(*steps))
    kept = max(1, min(len(columns), len(columns) * most_voxels // region.voxels))
    for number, part in itertools.product(range(kept), along):
        box = list(columns[number * len(columns) // kept])
        if section_axis is not None and part is not None:
            box[section_axis] = part
        yield Region(tuple(s.start[0] for s in box), tuple(s.stop[0] for s in box))


def _steps(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    for place in range(start // size, -(-stop // size)):
        yield max(start, place * size), min(stop, (place + 1) * size)


def _block_extents(region: Region, cell: Sequence[int]) -> list[int]:
    """Whole cells, as many as one block holds."""
    extents = [max(1, size) for size in cell]
    for axis in reversed(range(len(extents))):
        while extents[axis] < region.shape[axis] and 2 * math.prod(extents) <= BLOCK_VOXELS:
            extents[axis] *= 2
    return extents


def _count_changes(
    voxels: NDArray[np.integer],
    inside: Region,
    place: Sequence[int],
    changes: Sequence[NDArray[np.int64]],
    pairs: Sequence[NDArray[np.int64]],
) -> None:
    """Add the pairs whose later voxel lies inside the block."""
    for axis in range(voxels.ndim):
        later, earlier = list(inside.slices), list(inside.slices)
        first = max(inside.start[axis], 1)
        later[axis] = slice(first, inside.stop[axis])
        earlier[axis] = slice(first - 1, inside.stop[axis] - 1)
        differ = voxels[tuple(later)] != voxels[tuple(earlier)]
        others = tuple(other for other in range(voxels.ndim) if other != axis)
        begin = place[axis] + first - inside.start[axis]
        rows = slice(begin, begin + differ.shape[axis])
        changes[axis][rows] += np.count_nonzero(differ, axis=others)
        pairs[axis][rows] += differ.size // max(differ.shape[axis], 1)


def _section_counts(voxels: NDArray[np.integer], axis: int, num_classes: int) -> NDArray[np.int64]:
    rows = np.moveaxis(voxels, axis, 0).reshape(voxels.shape[axis], -1)
    classes = np.minimum(rows, num_classes).astype(np.int64)
    return np.stack([np.bincount(row, minlength=num_classes + 1) for row in classes])
