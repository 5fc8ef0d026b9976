"""Overlaps of truth objects with mask objects: the integer statistic of every object score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from segmentation.metrics.pair_counts import count_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Integers = NDArray[np.integer[Any]]
    Ids = NDArray[np.uint64]
    Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Contingency:
    """How many voxels lie in truth object i and mask object j, for the pairs that occur.

    ```
        truth 1 1 1 0        truth  mask  counts
        mask  5 5 0 5            0     5       1
                                 1     0       1      truth object 1 has 3 voxels,
                                 1     5       2      mask object 5 covers 2 of them
    ```

    Id 0 is no object. Tables of disjoint voxels under the same ids merge, in any order, to exactly
    the table of all of them. Always ``counts.sum() + ignored`` is the number of voxels looked at.

    Parameters
    ----------
    truth, mask : uint64, shape (P,)
        Ids of each pair, ascending by truth, then mask; no pair twice. Kept as read-only copies.
    counts : int64, shape (P,)
        Voxels of each pair, at least 1.
    ignored : int
        Voxels whose truth is the ignore label; they are in no pair.

    Raises
    ------
    ValueError
        If the arrays are no integers, not parallel, out of order, or hold a negative id or a count
        below 1.
    """

    truth: Ids
    mask: Ids
    counts: Counts
    ignored: int = 0

    def __post_init__(self) -> None:
        for name, dtype in (("truth", np.uint64), ("mask", np.uint64), ("counts", np.int64)):
            given = _integers(name, getattr(self, name))
            if int(given.min(initial=0)) < 0:
                raise ValueError(f"{name} holds {given.min()}; ids and counts are not negative")
            array = np.array(given, dtype)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if not self.truth.shape == self.mask.shape == self.counts.shape == (self.counts.size,):
            raise ValueError(
                f"truth, mask and counts have shapes {self.truth.shape}, {self.mask.shape} and "
                f"{self.counts.shape}; expected one number each per pair"
            )
        if min(int(self.counts.min(initial=1)) - 1, self.ignored) < 0:
            raise ValueError("counts of pairs start at 1 and the ignored voxels at 0")
        truth, mask = self.truth, self.mask
        next_mask = (truth[1:] == truth[:-1]) & (mask[1:] > mask[:-1])
        if not np.all((truth[1:] > truth[:-1]) | next_mask):
            raise ValueError("pairs are not ascending by truth and mask; make the table by merge")

    @classmethod
    def from_labels(
        cls, truth: Integers, mask: Integers, *, ignore_label: int | None = None
    ) -> Self:
        """Count two arrays of object ids against each other, reading each voxel once.

        Parameters
        ----------
        truth, mask : integer arrays of one shape
            Any dtype and number of axes; ids from 0 to 2**64 - 1.
        ignore_label : int, optional
            Voxels whose truth has this value are only counted in `ignored`; it may be negative.

        Raises
        ------
        ValueError
            If the shapes differ, a dtype is not integer, or an id that counts is negative.
        """
        if truth.shape != mask.shape:
            raise ValueError(
                f"truth has shape {truth.shape} and mask {mask.shape}; "
                "expected two arrays of the same voxels"
            )
        labels = _integers("truth", truth), _integers("mask", mask)
        truths, masks, counts, ignored = count_pairs(*labels, ignore_label)
        return cls(*_reduced(truths, masks, counts), ignored=ignored)

    @classmethod
    def merge(cls, tables: Iterable[Contingency]) -> Self:
        """Add tables of disjoint voxels that use the same ids; no table gives an empty one."""
        empty = np.empty(0, np.uint64)
        parts = [Contingency(empty, empty, empty.astype(np.int64)), *tables]
        truth, mask, counts = (np.concatenate([getattr(p, n) for p in parts]) for n in _COLUMNS)
        return cls(*_reduced(truth, mask, counts), ignored=sum(part.ignored for part in parts))

    def relabelled(self, truth_ids: Integers | None, mask_ids: Integers | None) -> Contingency:
        """Give every object a new id; objects that receive the same id become one.

        Parameters
        ----------
        truth_ids, mask_ids : integer arrays, or None
            The new id at the position of the old one, ``[0] == 0``. None keeps the ids.

        Raises
        ------
        ValueError
            If 0 would become an object, or an id has no entry.
        """
        truth = _looked_up("truth", self.truth, truth_ids)
        mask = _looked_up("mask", self.mask, mask_ids)
        return Contingency(*_reduced(truth, mask, self.counts), ignored=self.ignored)

    @property
    def voxels(self) -> int:
        """Number of voxels looked at: counted and ignored."""
        return int(self.counts.sum()) + self.ignored

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Contingency):
            return NotImplemented
        same = (np.array_equal(getattr(self, name), getattr(other, name)) for name in _COLUMNS)
        return self.ignored == other.ignored and all(same)

    def __hash__(self) -> int:
        return hash((*(getattr(self, name).tobytes() for name in _COLUMNS), self.ignored))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the table as arrays by name, ready for storage."""
        columns = {name: getattr(self, name) for name in _COLUMNS}
        return {**columns, "ignored": np.array([self.ignored], np.int64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the table that `to_arrays` wrote."""
        truth, mask, counts = (arrays[name] for name in _COLUMNS)
        return cls(truth, mask, counts, int(arrays["ignored"][0]))


def distinct(tables: Sequence[Contingency]) -> Contingency:
    """Return one table in which equal ids of different tables are different objects.

    The objects of each label are numbered 1, 2, … without gaps: table by table, and within a table
    by their old id. 0 stays 0.
    """
    parts = []
    truths = masks = 0
    for table in tables:
        truth, truths = _renumbered(table.truth, truths)
        mask, masks = _renumbered(table.mask, masks)
        parts.append(Contingency(truth, mask, table.counts, table.ignored))
    return Contingency.merge(parts)


_COLUMNS = ("truth", "mask", "counts")


def _renumbered(ids: Ids, used: int) -> tuple[Ids, int]:
    """Return the ids as used+1, used+2, … with 0 kept, and how many are used then."""
    values, position = np.unique(ids, return_inverse=True)
    new = used + np.cumsum(values != 0)
    return np.where(values == 0, 0, new)[position].astype(np.uint64), int(new.max(initial=used))


def _reduced(truth: Ids, mask: Ids, counts: Counts) -> tuple[Ids, Ids, Counts]:
    """Sort the pairs and add up the counts of equal ones."""
    order = np.lexsort((mask, truth))
    truth, mask, counts = truth[order], mask[order], counts[order]
    first = np.ones(counts.size, bool)
    first[1:] = (truth[1:] != truth[:-1]) | (mask[1:] != mask[:-1])
    starts = np.flatnonzero(first)
    totals = np.add.reduceat(counts, starts) if counts.size else counts
    return truth[starts], mask[starts], totals


def _looked_up(name: str, ids: Ids, new: Integers | None) -> Ids:
    if new is None:
        return ids
    if new.size <= int(ids.max(initial=0)) or int(new[0]) != 0 or int(new.min()) < 0:
        raise ValueError(
            f"the new {name} ids have {new.size} entries for old ids up to {ids.max(initial=0)}; "
            "expected one entry of at least 0 per old id, and 0 for id 0"
        )
    return new.astype(np.uint64)[ids.astype(np.int64)]


def _integers(name: str, array: Integers) -> Integers:
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has dtype {array.dtype}; expected integers, convert it with .astype('uint32')"
        )
    return array
