"""Counts of truth against prediction: the integer statistic every voxel score is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from segmentation.metrics.counting import count_planes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ConfusionMatrix:
    """How many voxels of each true class were given each predicted class.

    ```
                    prediction
                   0    1    2
               0 [ 90   1    0 ]
        truth  1 [  4   5    0 ]     row 1: 9 voxels are truly class 1, 5 of them were found
               2 [  0   0    2 ]
    ```

    Matrices of disjoint voxels add up with `+`, in any order, to exactly the matrix of all of them.
    Always ``counts.sum() + ignored + out_of_range`` is the number of voxels looked at.

    Parameters
    ----------
    counts : int64, shape (C, C)
        Rows are truth, columns are prediction. Kept as a read-only copy.
    ignored : int
        Voxels whose truth is the ignore label.
    out_of_range : int
        Voxels whose truth or prediction is not one of 0..C-1; they are in no row and no column.

    Raises
    ------
    ValueError
        If the counts are not a square matrix of integers, or any number is negative.
    """

    counts: NDArray[np.int64]
    ignored: int = 0
    out_of_range: int = 0

    def __post_init__(self) -> None:
        counts = np.array(self.counts)
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.dtype.kind not in "iu":
            raise ValueError(
                f"counts have shape {counts.shape} and dtype {counts.dtype}; expected one row and "
                "one column of integers per class"
            )
        if min(int(counts.min(initial=0)), self.ignored, self.out_of_range) < 0:
            raise ValueError("a confusion matrix holds a negative count; counts start at 0")
        counts = counts.astype(np.int64)
        counts.flags.writeable = False
        object.__setattr__(self, "counts", counts)

    @classmethod
    def empty(cls, num_classes: int) -> Self:
        """Return the matrix of no voxels: the start of a sum."""
        return cls(np.zeros((num_classes, num_classes), np.int64))

    @classmethod
    def from_labels(
        cls,
        truth: NDArray[np.integer[Any]],
        prediction: NDArray[np.integer[Any]],
        num_classes: int,
        ignore_label: int | None = None,
    ) -> Self:
        """Count two label arrays of equal shape against each other, reading each voxel once.

        Parameters
        ----------
        truth, prediction : integer arrays of one shape
            Any signed or unsigned dtype, the two need not match; any number of axes.
        num_classes : int
            C; the classes are 0..C-1.
        ignore_label : int, optional
            Truth with this value is counted as ignored, whatever was predicted there.

        Raises
        ------
        ValueError
            If the shapes differ, a dtype is not integer, or `num_classes` is below 1.
        """
        planes = count_planes(truth, prediction, num_classes, ignore_label)
        return cls.from_plane(planes.sum(axis=0))

    @classmethod
    def from_plane(cls, counts: NDArray[np.int64]) -> Self:
        """Return the matrix of a row of `count_planes`, or of a sum of such rows."""
        num_classes = math.isqrt(counts.size - 2)
        matrix = counts[:-2].reshape(num_classes, num_classes)
        return cls(matrix, int(counts[-2]), int(counts[-1]))

    @property
    def plane(self) -> NDArray[np.int64]:
        """The row that `from_plane` reads, shape (C·C + 2,)."""
        return np.array([*self.counts.ravel(), self.ignored, self.out_of_range], np.int64)

    @property
    def num_classes(self) -> int:
        """Number of classes C, the background included."""
        return int(self.counts.shape[0])

    @property
    def voxels(self) -> int:
        """Number of voxels looked at: counted, ignored and out of range."""
        return int(self.counts.sum()) + self.ignored + self.out_of_range

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        if not isinstance(other, ConfusionMatrix):
            return NotImplemented
        if self.num_classes != other.num_classes:
            raise ValueError(
                f"confusion matrices of {self.num_classes} and {other.num_classes} classes cannot "
                "be added; evaluate both parts with the same classes"
            )
        return ConfusionMatrix(
            self.counts + other.counts,
            self.ignored + other.ignored,
            self.out_of_range + other.out_of_range,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConfusionMatrix):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.counts.tobytes(), self.ignored, self.out_of_range))

    def to_dict(self) -> dict[str, Any]:
        """Return the matrix as plain ints and lists, ready for JSON."""
        return {
            "counts": self.counts.tolist(),
            "ignored": self.ignored,
            "out_of_range": self.out_of_range,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the matrix that `to_dict` wrote."""
        return cls(np.array(data["counts"]), int(data["ignored"]), int(data["out_of_range"]))
