"""Count the pairs of ids of two label arrays in one pass, in a hash table of the pairs seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.integer[Any]]
    Ids = NDArray[np.uint64]
    Counts = NDArray[np.int64]

_FIRST_ROWS = 1 << 10


def count_pairs(
    truth: Integers, mask: Integers, ignore_label: int | None = None
) -> tuple[Ids, Ids, Counts, int]:
    """Return the ids and the number of voxels of every pair, in no stated order, and the ignored.

    Equal neighbours in memory are taken as one run, so that a hash is needed once a run; the
    memory grows with the pairs, not with the voxels. The GIL is released.

    Parameters
    ----------
    truth, mask : integer arrays of one shape
        Ids from 0 to 2**64 - 1.
    ignore_label : int, optional
        Voxels whose truth has this value are only counted; it may be negative.

    Returns
    -------
    truth, mask : uint64, shape (P,)
    counts : int64, shape (P,)
    ignored : int

    Raises
    ------
    ValueError
        If an id that counts is negative.
    """
    limits = np.iinfo(truth.dtype)
    has_ignore = ignore_label is not None and limits.min <= ignore_label <= limits.max
    # Read as unsigned, -1 is the greatest number of the dtype; it takes half the kernels.
    ignore = np.uint64((ignore_label or 0) % 2**limits.bits if has_ignore else 0)
    greatest = np.uint64(limits.max), np.uint64(np.iinfo(mask.dtype).max)
    left, right = _unsigned(truth), _unsigned(mask)
    table = np.zeros((_FIRST_ROWS, 3), np.uint64)
    start = ignored = 0
    while start < left.size:
        taken, left_out, negative = _fill(
            table, left[start:], right[start:], greatest, has_ignore, ignore
        )
        if negative:
            raise ValueError(
                f"an id of the truth ({truth.dtype}) or the mask ({mask.dtype}) is negative; ids "
                "start at 1, 0 is no object: renumber them, or give the value as ignore_label"
            )
        start, ignored = start + taken, ignored + left_out
        if start < left.size:
            table = _grown(table)
    pairs = table[table[:, 2] > 0]
    return pairs[:, 0], pairs[:, 1], pairs[:, 2].astype(np.int64), ignored


def _unsigned(array: Integers) -> NDArray[np.unsignedinteger[Any]]:
    """Return the voxels in C order as native unsigned integers, copied only where they must be."""
    flat = array.ravel().astype(array.dtype.newbyteorder("="), copy=False)
    return flat.view(f"u{flat.dtype.itemsize}")


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _fill(
    table: Ids,
    truth: NDArray[np.unsignedinteger[Any]],
    mask: NDArray[np.unsignedinteger[Any]],
    greatest: tuple[np.uint64, np.uint64],
    has_ignore: bool,
    ignore: np.uint64,
) -> tuple[int, int, bool]:
    """Count voxels until the table is full; return how many, the ignored, and whether an id is < 0.

    A row of the table holds truth id, mask id and count: one place in memory a look-up. A row of
    count 0 is free. A call adds a quarter of the rows: as the rows double in between, at most half
    of them are ever taken. Every number stays uint64: uint64 and int64 together become float64.
    """
    room, ignored, stop = table.shape[0] // 4, 0, 0
    while stop < truth.size and room:
        start, left, right = stop, truth[stop], mask[stop]
        stop += 1
        while stop < truth.size and truth[stop] == left and mask[stop] == right:
            stop += 1
        first, second = np.uint64(left), np.uint64(right)
        if has_ignore and first == ignore:
            ignored += stop - start
            continue
        if first > greatest[0] or second > greatest[1]:
            return stop, ignored, True
        row = _row(table, first, second)
        if table[row, 2] == 0:
            room -= 1
            table[row, 0], table[row, 1] = first, second
        table[row, 2] += np.uint64(stop - start)
    return stop, ignored, False


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _row(table: Ids, first: np.uint64, second: np.uint64) -> np.int64:
    """Return the row of a pair: where it is, or the free one where it belongs."""
    # Odd multipliers spread neighbouring ids.
    mixed = first * np.uint64(0x9E3779B97F4A7C15) + second * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(32)
    last = table.shape[0] - 1
    row = np.int64(mixed & np.uint64(last))
    while table[row, 2] and (table[row, 0] != first or table[row, 1] != second):
        row = np.int64((row + 1) & last)
    return row


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _grown(table: Ids) -> Ids:
    """Return the table with twice the rows."""
    wider = np.zeros((2 * table.shape[0], 3), np.uint64)
    for row in range(table.shape[0]):
        if table[row, 2]:
            wider[_row(wider, table[row, 0], table[row, 1])] = table[row]
    return wider
