"""Exact distances up to a cap, the same digits however an image is cut into blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numba
import numpy as np
from scipy import ndimage

from segmentation.metrics.neighbourhood import in_3d

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segmentation.metrics.neighbourhood import Neighbourhood

    Labels = NDArray[np.unsignedinteger[Any]]
    Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LabelField:
    """A labelled array, ready to be asked for the nearest element of another label.

    Attributes
    ----------
    labels : unsigned int, 3D
        The labels; a plane is a volume of one plane.
    runs : int32, 3D
        Steps along x to the nearest element of another label in the row, at most K + 1.
    uniform : int64, 3D
        Per block of elements the one label within the cap of it, -1 where there are more.
    block : tuple of int
        Shape of such a block.
    """

    labels: Labels
    runs: NDArray[np.int32]
    uniform: NDArray[np.int64]
    block: tuple[int, int, int]

    @property
    def parts(self) -> tuple[Any, ...]:
        """The attributes as the kernels take them."""
        return self.labels, self.runs, self.uniform, self.block

    @classmethod
    def of(cls, labels: Labels, near: Neighbourhood) -> Self:
        """Return the field of an array of 2 or 3 axes: two passes along x, one over blocks."""
        labels = labels.reshape(in_3d(labels.shape))
        reach = near.reach
        block = (max(2, reach[0] // 4), max(2, reach[1] // 4), max(2, reach[2] // 4))
        width = [2 * math.ceil(far / side) + 1 for far, side in zip(reach, block, strict=True)]
        low, high = _extremes(labels, block)
        low = ndimage.minimum_filter(low, width, mode="nearest")
        high = ndimage.maximum_filter(high, width, mode="nearest")
        uniform = np.where(low == high, low.astype(np.int64), -1)
        return cls(labels, _row_runs(labels, len(near.steps) - 1), uniform, block)


def nearest_others(
    field: LabelField,
    near: Neighbourhood,
    *,
    wanted: NDArray[np.bool_],
    start: Sequence[int],
    label: int,
) -> Numbers:
    """Squared distance from every wanted element to the nearest that has another label.

    Parameters
    ----------
    field : LabelField
        Labels, such as 0 and 1.
    near : Neighbourhood
        Offsets that are looked at.
    wanted : bool, 2D or 3D
        The elements to start from, in a box of the labelled array.
    start : sequence of int
        Where that box starts.
    label : int
        Elements with this label are passed over.

    Returns
    -------
    numpy.ndarray
        float64, one number per wanted element in C order; infinity where none is within the cap.
    """
    squared = np.empty(np.count_nonzero(wanted))
    origin = (0,) * (3 - len(start)) + tuple(start)
    box = wanted.reshape(in_3d(wanted.shape))
    _nearest_others(box, origin, label, field.parts, near.parts, squared)
    return squared


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _extremes(labels: Labels, block: tuple[int, int, int]) -> tuple[Labels, Labels]:
    """Lowest and highest label of every block; the last ones along an axis may be smaller."""
    planes, rows, columns = labels.shape
    low = labels[:: block[0], :: block[1], :: block[2]].copy()
    high = low.copy()
    for z in range(planes):
        for y in range(rows):
            first, second = z // block[0], y // block[1]
            for x in range(columns):
                third = x // block[2]
                low[first, second, third] = min(low[first, second, third], labels[z, y, x])
                high[first, second, third] = max(high[first, second, third], labels[z, y, x])
    return low, high


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _row_runs(labels: Labels, most: int) -> NDArray[np.int32]:
    """Steps along x from every element to the nearest of another label in its row, at most `most`.

    Where the row ends before that, `most`.
    """
    runs = np.empty(labels.shape, np.int32)
    planes, rows, columns = labels.shape
    for z in range(planes):
        for y in range(rows):
            steps = most
            for x in range(columns):
                changed = x > 0 and labels[z, y, x] != labels[z, y, x - 1]
                steps = 1 if changed else min(steps + 1, most)
                runs[z, y, x] = steps
            steps = most
            for x in range(columns - 2, -1, -1):
                changed = labels[z, y, x] != labels[z, y, x + 1]
                steps = 1 if changed else min(steps + 1, most)
                runs[z, y, x] = min(steps, runs[z, y, x])
    return runs


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def nearest_other(
    place: tuple[int, int, int], label: int, field: tuple[Any, ...], near: tuple[Any, ...]
) -> float:
    """Squared distance from one place to the nearest element of another label, or infinity."""
    labels, runs, uniform, block = field
    rows, squares, steps, limit = near
    planes, height, _ = labels.shape
    x = place[2]
    best = np.inf
    if uniform[place[0] // block[0], place[1] // block[1], x // block[2]] == label:
        return best
    for index in range(squares.size):
        if squares[index] >= best:
            break
        z, y = place[0] + rows[index, 0], place[1] + rows[index, 1]
        if 0 <= z < planes and 0 <= y < height:
            step = runs[z, y, x] if labels[z, y, x] == label else 0
            squared = squares[index] + steps[step]
            if squared < best and squared <= limit:
                best = squared
    return best


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _nearest_others(
    wanted: NDArray[np.bool_],
    start: tuple[int, int, int],
    label: int,
    field: tuple[Any, ...],
    near: tuple[Any, ...],
    squared: Numbers,
) -> None:
    """Write the squared distance of every wanted element, in C order."""
    planes, height, width = wanted.shape
    index = 0
    for z in range(planes):
        for y in range(height):
            for x in range(width):
                if wanted[z, y, x]:
                    place = (start[0] + z, start[1] + y, start[2] + x)
                    squared[index] = nearest_other(place, label, field, near)
                    index += 1
