"""Counts of probability levels against truth: the integers behind ROC curves and calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

LEVELS = (256, 65536)


@dataclass(frozen=True, slots=True, eq=False)
class ProbabilityHistogram:
    """How many voxels of each class were given each probability of being that class.

    ```
                          level      0    1   ...  255
        counts[1]  not class 1  [ 9000   80  ...     2 ]    2 voxels of other classes
                   class 1      [   10    0  ...   700 ]    were surely called class 1
    ```

    Histograms of disjoint voxels add up with `+`, in any order, to exactly the histogram of all.

    Parameters
    ----------
    counts : int64, shape (C, 2, L)
        Class; truth is that class (0 no, 1 yes); level, where level / (L - 1) is the probability.
        L is 256 (uint8) or 65536 (uint16). Kept as a read-only copy.

    Raises
    ------
    ValueError
        If the shape or dtype is another, a count is negative, or the classes do not describe the
        same voxels: each voxel stands once in every class, and is the truth of exactly one.
    """

    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        counts = np.array(self.counts)
        _check(counts)
        counts = counts.astype(np.int64, copy=False)
        counts.flags.writeable = False
        object.__setattr__(self, "counts", counts)

    @classmethod
    def empty(cls, num_classes: int, levels: int) -> Self:
        """Return the histogram of no voxels: the start of a sum."""
        return cls(np.zeros((num_classes, 2, levels), np.int64))

    @classmethod
    def from_levels(
        cls,
        truth: NDArray[np.integer[Any]],
        levels: NDArray[np.unsignedinteger[Any]],
        ignore_label: int | None = None,
    ) -> Self:
        """Count the quantised probabilities of every class, reading each voxel once per class.

        Parameters
        ----------
        truth : integer array, any shape
            Classes. Voxels of the ignore label or outside 0..C-1 are left out here; the
            confusion matrix says how many they are.
        levels : uint8 or uint16, shape (C, *truth.shape)
            Probability of each class, 255 or 65535 for 1. May be a strided view; then one class
            at a time is copied.
        ignore_label : int, optional
            Truth with this value is left out.

        Raises
        ------
        ValueError
            If the shapes do not fit or a dtype is another.
        """
        _check_levels(truth, levels)
        num_classes = levels.shape[0]
        counts = np.zeros((num_classes, 2, 2 ** (8 * levels.dtype.itemsize)), np.int64)
        # An ignore label that is no class needs no care: such voxels are left out anyway.
        ignored = -1 if ignore_label is None or ignore_label >= num_classes else ignore_label
        flat_truth = _flat(truth)
        for value in range(num_classes):
            _count(flat_truth, _flat(levels[value]), value, ignored, num_classes, counts[value])
        return cls(counts)

    @property
    def num_classes(self) -> int:
        """Number of classes C, the background included."""
        return int(self.counts.shape[0])

    @property
    def levels(self) -> int:
        """Number of probability levels L."""
        return int(self.counts.shape[2])

    @property
    def voxels(self) -> int:
        """Number of voxels counted."""
        return int(self.counts[0].sum())

    def __add__(self, other: ProbabilityHistogram) -> ProbabilityHistogram:
        if not isinstance(other, ProbabilityHistogram):
            return NotImplemented
        if self.counts.shape != other.counts.shape:
            raise ValueError(
                f"histograms of {self.num_classes} classes in {self.levels} levels and of "
                f"{other.num_classes} classes in {other.levels} levels cannot be added; "
                "evaluate both parts with the same model and the same quantisation"
            )
        return ProbabilityHistogram(self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProbabilityHistogram):
            return NotImplemented
        return np.array_equal(self.counts, other.counts)

    def __hash__(self) -> int:
        return hash((self.counts.shape, self.counts.tobytes()))

    def to_dict(self) -> dict[str, Any]:
        """Return the histogram as plain ints and lists for JSON, occupied levels only."""
        return {
            "levels": self.levels,
            "classes": [[_sparse(row) for row in pair] for pair in self.counts],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the histogram that `to_dict` wrote."""
        counts = np.zeros((len(data["classes"]), 2, int(data["levels"])), np.int64)
        for pair, rows in zip(counts, data["classes"], strict=True):
            for row, sparse in zip(pair, rows, strict=True):
                row[np.array(sparse["levels"], np.int64)] = sparse["voxels"]
        return cls(counts)


def _sparse(row: NDArray[np.int64]) -> dict[str, list[int]]:
    occupied = np.flatnonzero(row)
    return {"levels": occupied.tolist(), "voxels": row[occupied].tolist()}


def _check(counts: NDArray[Any]) -> None:
    """Refuse what is not a histogram."""
    integer = counts.dtype.kind in "iu"
    if counts.ndim != 3 or counts.shape[1] != 2 or counts.shape[2] not in LEVELS or not integer:
        raise ValueError(
            f"counts have shape {counts.shape} and dtype {counts.dtype}; expected integers of "
            "shape (classes, 2, levels) with 256 or 65536 levels"
        )
    if counts.min(initial=0) < 0:
        raise ValueError("a probability histogram holds a negative count; counts start at 0")
    voxels = counts.sum(axis=(1, 2))
    if len(voxels) and not (voxels == counts[:, 1].sum()).all():
        raise ValueError(
            f"the classes hold {voxels.tolist()} voxels, of which {counts[:, 1].sum(1).tolist()} "
            "are truly theirs; expected every class to hold the same voxels and each voxel to be "
            "truly one class. Count all classes from the same arrays"
        )


def _check_levels(
    truth: NDArray[np.integer[Any]], levels: NDArray[np.unsignedinteger[Any]]
) -> None:
    """Refuse arrays that do not describe the same voxels."""
    if truth.dtype.kind not in "iu":
        raise ValueError(f"truth has dtype {truth.dtype}; expected integer classes")
    if levels.dtype.kind != "u" or levels.dtype.itemsize > 2:
        raise ValueError(
            f"levels have dtype {levels.dtype}; expected uint8 or uint16: round probabilities "
            "times 255 or 65535"
        )
    if levels.ndim != truth.ndim + 1 or levels.shape[1:] != truth.shape or not levels.shape[0]:
        raise ValueError(
            f"truth has shape {truth.shape} and levels {levels.shape}; expected the levels of "
            "every class along the first axis, each of the shape of truth"
        )


def _flat(array: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Return the voxels in C order and native byte order, copied only where they are not so."""
    return array.ravel().astype(array.dtype.newbyteorder("="), copy=False)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _count(
    truth: NDArray[np.integer[Any]],
    levels: NDArray[np.unsignedinteger[Any]],
    value: int,
    ignored: int,
    num_classes: int,
    counts: NDArray[np.int64],
) -> None:
    """Add the voxels to the two rows of one class, in place."""
    for index in range(truth.size):
        # uint64 above 2**63 turns negative here, which is no class, as it should be.
        label = np.int64(truth[index])
        if 0 <= label < num_classes and label != ignored:
            counts[1 if label == value else 0, levels[index]] += 1
