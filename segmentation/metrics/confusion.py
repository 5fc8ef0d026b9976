"""Counts of truth against prediction: the integer statistic every voxel score is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numba
import numpy as np

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
        if truth.shape != prediction.shape:
            raise ValueError(
                f"truth has shape {truth.shape} and prediction {prediction.shape}; "
                "expected two arrays of the same voxels"
            )
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; expected at least 1")
        flat_truth, flat_prediction = _flat("truth", truth), _flat("prediction", prediction)
        has_ignore = ignore_label is not None and _fits(ignore_label, flat_truth.dtype)
        counts = np.zeros((num_classes, num_classes), np.int64)
        ignored, out_of_range = _count(
            flat_truth,
            flat_prediction,
            has_ignore,
            _wrapped(ignore_label) if ignore_label is not None and has_ignore else 0,
            counts,
        )
        return cls(counts, int(ignored), int(out_of_range))

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


def _flat(name: str, array: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Return the voxels in C order and native byte order, copied only where they are not so."""
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has dtype {array.dtype}; expected integer labels, convert it with "
            ".astype('uint8') or take the argmax of probabilities"
        )
    return array.ravel().astype(array.dtype.newbyteorder("="), copy=False)


def _fits(value: int, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    return limits.min <= value <= limits.max


def _wrapped(value: int) -> int:
    """Return the value as the kernel sees it: the 64 bits read as a signed integer."""
    return (value + 2**63) % 2**64 - 2**63


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _count(
    truth: NDArray[np.integer[Any]],
    prediction: NDArray[np.integer[Any]],
    has_ignore: bool,
    ignore: int,
    counts: NDArray[np.int64],
) -> tuple[int, int]:
    """Add every voxel to `counts` in place; return how many were ignored and out of range."""
    num_classes = counts.shape[0]
    ignored = 0
    out_of_range = 0
    for index in range(truth.size):
        # uint64 above 2**63 turns negative here, which is out of range as it should be.
        row = np.int64(truth[index])
        column = np.int64(prediction[index])
        if has_ignore and row == ignore:
            ignored += 1
        elif 0 <= row < num_classes and 0 <= column < num_classes:
            counts[row, column] += 1
        else:
            out_of_range += 1
    return ignored, out_of_range
