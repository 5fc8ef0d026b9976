"""One class alone: the others become background, or count for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segmentation.shard import VoxelArray

IGNORED = 255


def class_table(
    num_classes: int,
    only: int,
    others: Literal["background", "ignore"],
    ignore_label: int | None,
) -> tuple[int, ...]:
    """What becomes of every label value, if one class is learned alone.

    Parameters
    ----------
    num_classes : int
        Classes of the labels, the background first.
    only : int
        Value of the class that is kept.
    others : {"background", "ignore"}
        What the other classes become; the background stays background.
    ignore_label : int or None
        Truth value that does not count.

    Returns
    -------
    tuple of int
        By value 0 … `num_classes` - 1: 0, 1 or `IGNORED`. One more stands at the end, for any
        larger value: `IGNORED`.

    Raises
    ------
    ValueError
        If the class is the background, no class, or ignored.
    """
    if not 0 < only < num_classes:
        raise ValueError(f"class {only} cannot be learned alone; expected 1 to {num_classes - 1}")
    if only == ignore_label:
        raise ValueError(f"class {only} is also the value that does not count; choose one of them")
    rest = 0 if others == "background" else IGNORED
    table = [0, *[rest] * (num_classes - 1), IGNORED]
    table[only] = 1
    if ignore_label is not None and ignore_label < num_classes:
        table[ignore_label] = IGNORED
    return tuple(table)


@dataclass(frozen=True, slots=True)
class MappedLabels:
    """Labels seen through a table: shape, dtype and ``[slices]``, read when they are asked for.

    Attributes
    ----------
    labels : array-like
        Integers, none of them negative.
    table : tuple of int
        New value by old value, 0 to 255; the last one for all larger values too.
    """

    labels: VoxelArray
    table: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis."""
        return self.labels.shape

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Of what comes out."""
        return np.dtype(np.uint8)

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Unit in which the labels are stored, where they have one."""
        return getattr(self.labels, "chunks", None)

    def __getitem__(self, slices: tuple[slice, ...]) -> NDArray[np.uint8]:
        """Mapped voxels of a box."""
        values = np.asarray(self.labels[slices])
        last = len(self.table) - 1
        places = np.minimum(values, last).astype(np.intp)
        mapped: NDArray[np.uint8] = np.asarray(self.table, np.uint8)[places]
        return mapped
