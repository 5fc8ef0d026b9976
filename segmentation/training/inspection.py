"""Labels looked through before training: how many voxels of every class, and what is wrong.

Labels that do not fit their classes are hardly ever noticed later: a loss takes them, and some
metrics leave them out without a word. So they are refused, with the likely cause.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from segmentation.region import Region

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from segmentation.shard import VoxelArray

BLOCK_VOXELS = 2**24
SHOWN_VALUES = 5
# Classes have names, so there are few of them; labels with more values than this hold objects.
MOST_CLASSES = 64


def blocks(region: Region, voxels: int) -> Iterator[Region]:
    """Cut a box into slabs of at most so many voxels, in C order of their voxels.

    Slabs run through all later axes in full; a row of the last axis is never cut.
    """
    shape = region.shape
    axis = next(
        (a for a in range(len(shape) - 1) if math.prod(shape[a + 1 :]) <= voxels), len(shape) - 2
    )
    axis = max(axis, 0)
    step = max(1, voxels // math.prod(shape[axis + 1 :]))
    for leading in np.ndindex(*shape[:axis]):
        first = [a + int(i) for a, i in zip(region.start, leading, strict=False)]
        for low in range(region.start[axis], region.stop[axis], step):
            high = min(low + step, region.stop[axis])
            yield Region(
                (*first, low, *region.start[axis + 1 :]),
                (*(f + 1 for f in first), high, *region.stop[axis + 1 :]),
            )


def count_labels(
    label: VoxelArray, region: Region, num_classes: int, ignore_label: int | None
) -> NDArray[np.int64]:
    """Voxels of every class in a box, read slab by slab.

    Parameters
    ----------
    label : array-like
        Truth; integers.
    region : Region
        Along its axes.
    num_classes : int
        Classes, the background first.
    ignore_label : int or None
        Value that does not count.

    Returns
    -------
    int64, shape (num_classes + 1,)
        Voxels of the classes 0 … `num_classes` - 1, and those that do not count.

    Raises
    ------
    ValueError
        If there are other values, or the label does not hold integers; with the likely cause.
    """
    found: Counter[int] = Counter()
    for block in blocks(region, BLOCK_VOXELS):
        values = np.asarray(label[block.slices])
        if values.dtype.kind not in "bui":
            raise ValueError(_fractional_message(label, region))
        unique, counts = np.unique(values, return_counts=True)
        found.update(dict(zip(unique.astype(int).tolist(), counts.tolist(), strict=True)))
        if len(found) > max(num_classes + 1, MOST_CLASSES):
            raise ValueError(_objects_message(found))
    ignored = found.pop(ignore_label, 0) if ignore_label is not None else 0
    if not all(0 <= value < num_classes for value in found):
        raise ValueError(_range_message(found, num_classes))
    return np.array([*(found[value] for value in range(num_classes)), ignored], np.int64)


def _fractional_message(label: VoxelArray, region: Region) -> str:
    """Look on for a fraction: it tells interpolated labels from integers stored as floats."""
    for block in blocks(region, BLOCK_VOXELS):
        values = np.asarray(label[block.slices])
        odd = values[~(values == np.floor(values))]
        if odd.size:
            return (
                f"labels are {values.dtype} with fractional values such as {odd[0]:g}; expected "
                "integers. Resizing or turning a mask has to take the nearest voxel, not mix them"
            )
    return (
        f"labels are {values.dtype}, although all their values are whole numbers; save them as "
        "integers, such as array.astype('uint8')"
    )


def _objects_message(found: Counter[int]) -> str:
    return (
        f"labels hold {len(found)} different values or more, up to {max(found)}: these are ids of "
        "objects, no classes. Make a label of classes from them, such as (ids > 0)"
    )


def _range_message(found: Counter[int], num_classes: int) -> str:
    """What is outside the classes, and how it may have come there."""
    outside = sorted(value for value in found if not 0 <= value < num_classes)
    shown = ", ".join(f"{value} ({found[value]} voxels)" for value in outside[:SHOWN_VALUES])
    more = f" and {len(outside) - SHOWN_VALUES} more" * (len(outside) > SHOWN_VALUES)
    return (
        f"labels hold the values {shown}{more}; expected 0 to {num_classes - 1}. "
        f"{_likely_cause(sorted(found), num_classes)}"
    )


def _likely_cause(values: list[int], num_classes: int) -> str:
    if values[0] < 0:
        return "Mark voxels that do not count with a positive value, and give it as ignore label"
    if values[-1] == 255 and values[:-1] in ([], [0]):
        return "This is a mask of black and white: divide it by 255"
    if values[0] > 0 and values[-1] == num_classes:
        return f"They seem to be counted from 1 to {num_classes}: subtract 1"
    return "Name every class, or give the value that does not count as ignore label"


def one_hot_message(label: VoxelArray, channel_axis: int) -> str:
    """What is wrong with a label that has one plane per class instead of one value per voxel.

    Where no class is set, the background was forgotten. A Dice that is pooled over the channels
    is then capped at 2c / (1 + c) for a share c of labelled voxels, even for a perfect mask.

    Parameters
    ----------
    label : array-like
        One-hot, of any type.
    channel_axis : int
        Along which the classes lie.
    """
    shape = tuple(n for axis, n in enumerate(label.shape) if axis != channel_axis)
    empty = 0
    for block in blocks(Region.whole(shape), BLOCK_VOXELS // label.shape[channel_axis]):
        slices = list(block.slices)
        slices.insert(channel_axis, slice(0, label.shape[channel_axis]))
        empty += int((~np.asarray(label[tuple(slices)]).any(axis=channel_axis)).sum())
    share = 1 - empty / math.prod(shape)
    message = (
        f"labels have {label.shape[channel_axis]} channels: one plane per class; expected one "
        "integer per voxel, such as the argmax over the channels"
    )
    if not empty:
        return message
    return (
        f"{message}. In {1 - share:.1%} of the voxels no class is set: put a plane for the "
        f"background first, or a Dice over all channels cannot exceed {2 * share / (1 + share):.3f}"
    )
