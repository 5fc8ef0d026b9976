"""SurfaceCounts: how many surfels are how far from the other surface."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

DTYPES: dict[str, type[np.generic]] = {
    "value": np.int64,
    "direction": np.uint8,
    "code": np.uint8,
    "squared": np.float64,
    "count": np.int64,
}

AT_ONCE = 1 << 18  # surfels sorted together, so that memory does not grow with all of them


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceCounts:
    """Surfels by class, direction, code and distance to the other surface.

    Tables of the shards of an image, or of several images, merge in any order to exactly the
    table of all of them.

    Attributes
    ----------
    value : int64, shape (R,)
        Class, 1..C-1.
    direction : uint8, shape (R,)
        0: from the surface of the truth to that of the mask, 1: the reverse.
    code : uint8, shape (R,)
        Neighbour code, which with the voxel size gives the area (`surfels.surfel_areas`).
    squared : float64, shape (R,)
        Squared distance in the unit of the voxel size; infinity: farther than the cap.
    count : int64, shape (R,)
        Surfels of this row. Rows are in ascending order of the columns before, and each is unique.
    excluded : int64, shape (C, 2)
        Surfels of truth and mask that touch an ignored voxel; they are in no row.

    Raises
    ------
    ValueError
        If the columns differ in length, or `excluded` does not have two columns.
    """

    value: NDArray[np.int64]
    direction: NDArray[np.uint8]
    code: NDArray[np.uint8]
    squared: NDArray[np.float64]
    count: NDArray[np.int64]
    excluded: NDArray[np.int64]

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in DTYPES}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns have the lengths {lengths}; expected one length")
        if self.excluded.ndim != 2 or self.excluded.shape[1] != 2:
            raise ValueError(
                f"excluded has shape {self.excluded.shape}; expected one row per class and two "
                "columns, truth and mask"
            )
        for name, array in self.to_arrays().items():
            column = array.astype(DTYPES.get(name, np.int64))
            column.flags.writeable = False
            object.__setattr__(self, name, column)

    @classmethod
    def empty(cls, num_classes: int) -> Self:
        """Return the table of no surfels."""
        columns = {name: np.zeros(0, dtype) for name, dtype in DTYPES.items()}
        return cls(**columns, excluded=np.zeros((num_classes, 2), np.int64))

    @classmethod
    def from_surfels(
        cls,
        code: NDArray[np.uint8],
        squared: NDArray[np.float64],
        *,
        value: int,
        direction: int,
        num_classes: int,
    ) -> Self:
        """Return the table of surfels given one by one, all of one class and direction."""
        parts = [
            _summed([code[start : start + AT_ONCE], squared[start : start + AT_ONCE]])
            for start in range(0, max(1, len(code)), AT_ONCE)
        ]
        codes, distances, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
        columns = (np.full(len(codes), value), np.full(len(codes), direction), codes, distances)
        summed = dict(zip(DTYPES, _summed([*columns], counts), strict=True))
        return cls(**summed, excluded=np.zeros((num_classes, 2), np.int64))

    @classmethod
    def merge(cls, tables: Iterable[SurfaceCounts]) -> Self:
        """Return the sum of tables: rows of one key become one row.

        Raises
        ------
        ValueError
            If there is no table, or they have different numbers of classes.
        """
        parts = list(tables)
        classes = {len(part.excluded) for part in parts}
        if len(classes) != 1:
            raise ValueError(
                f"{len(parts)} tables of surfels with {sorted(classes)} classes cannot be merged; "
                "expected at least one, all evaluated with the same classes"
            )
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in DTYPES]
        summed = dict(zip(DTYPES, _summed(columns[:-1], columns[-1]), strict=True))
        return cls(**summed, excluded=np.sum([part.excluded for part in parts], axis=0))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SurfaceCounts):
            return NotImplemented
        theirs = other.to_arrays()
        return all(np.array_equal(array, theirs[name]) for name, array in self.to_arrays().items())

    def __hash__(self) -> int:
        return hash(tuple(array.tobytes() for array in self.to_arrays().values()))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the columns and `excluded` by name, ready to be stored."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the table that `to_arrays` gave."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def _summed(
    keys: list[NDArray[Any]], counts: NDArray[np.int64] | None = None
) -> list[NDArray[Any]]:
    """Sort rows by their keys, the first one first, and add up the counts of equal keys, or 1s."""
    if counts is None:
        counts = np.ones(len(keys[0]), np.int64)
    if not len(counts):
        return [*keys, counts]
    order = np.lexsort(keys[::-1])
    keys = [key[order] for key in keys]
    new = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    return [*(key[starts] for key in keys), np.add.reduceat(counts[order], starts)]
