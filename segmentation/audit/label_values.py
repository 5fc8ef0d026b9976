"""Values of labels as they are, whatever they are: nothing is refused here, all is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segmentation.region import Region
from segmentation.training.inspection import BLOCK_VOXELS, MOST_CLASSES, blocks

if TYPE_CHECKING:
    from segmentation.shard import VoxelArray


@dataclass(frozen=True, slots=True)
class LabelValues:
    """What the label of one item holds.

    Attributes
    ----------
    name : str
        Of the item.
    dtype : str
        Of the label, such as uint8.
    counts : tuple of (int, int)
        Whole values and their voxels, in order; at most 65 of the values.
    fractional : int
        Voxels with other values, or with none at all (NaN).
    example : float or None
        One of these.
    many : bool
        Whether there are more than 64 values, so that counting was given up.
    """

    name: str
    dtype: str
    counts: tuple[tuple[int, int], ...]
    fractional: int = 0
    example: float | None = None
    many: bool = False

    @property
    def integral(self) -> bool:
        """Whether the label is stored as integers."""
        return np.dtype(self.dtype).kind in "bui"

    def outside(self, known: frozenset[int]) -> dict[int, int]:
        """Voxels by value of those that are no known class."""
        return {value: voxels for value, voxels in self.counts if value not in known}

    def by_class(self, num_classes: int) -> tuple[int, ...]:
        """Voxels of the classes 0, 1, …, and last of all other values."""
        found = dict(self.counts)
        inside = [found.get(value, 0) for value in range(num_classes)]
        return (*inside, sum(found.values()) + self.fractional - sum(inside))


def label_values(label: VoxelArray, region: Region, name: str) -> LabelValues:
    """Count the values of a box of a label, slab by slab.

    Parameters
    ----------
    label : array-like
        Of any type.
    region : Region
        Along its axes.
    name : str
        Of the item, for tables.
    """
    found: Counter[int] = Counter()
    fractional, example, dtype = 0, None, "uint8"
    for block in blocks(region, BLOCK_VOXELS):
        values = np.asarray(label[block.slices])
        dtype = values.dtype.name
        if values.dtype.kind == "f":
            odd = ~(values == np.floor(values)) | np.isinf(values)
            if example is None and odd.any():
                example = float(values[odd][0])
            fractional += int(odd.sum())
            values = values[~odd]
        unique, counts = np.unique(values, return_counts=True)
        found.update(dict(zip(unique.astype(int).tolist(), counts.tolist(), strict=True)))
        if len(found) > MOST_CLASSES:
            break
    first = tuple(sorted(found.items())[: MOST_CLASSES + 1])
    return LabelValues(name, dtype, first, fractional, example, len(found) > MOST_CLASSES)


def unset_share(label: VoxelArray, channel_axis: int) -> float:
    """Share of the voxels in which no class of a one-hot label is set.

    Parameters
    ----------
    label : array-like
        One plane per class, of any type.
    channel_axis : int
        Along which the classes lie.
    """
    shape = tuple(n for axis, n in enumerate(label.shape) if axis != channel_axis)
    unset = 0
    for block in blocks(Region.whole(shape), BLOCK_VOXELS // label.shape[channel_axis]):
        slices = list(block.slices)
        slices.insert(channel_axis, slice(0, label.shape[channel_axis]))
        unset += int((~np.asarray(label[tuple(slices)]).any(axis=channel_axis)).sum())
    return unset / Region.whole(shape).voxels
