"""Neighbourhood: the offsets up to a cap, in the order in which the nearest is looked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

Number = TypeVar("Number", int, float)


def voxels_within(cap: float, size: float) -> int:
    """Voxels that fit into a distance; 0.3 / 0.1, which rounding puts under 3, gives 3."""
    return math.floor(cap / size * (1 + 1e-12))


def in_3d(numbers: Sequence[Number]) -> tuple[Number | int, ...]:
    """Shape or voxel size of a plane as that of a volume of one plane."""
    return (1,) * (3 - len(numbers)) + tuple(numbers)


@dataclass(frozen=True, slots=True, eq=False)
class Neighbourhood:
    """Offsets (dz, dy, dx) up to a cap, as rows along x, the nearest row first.

    The squared distance of an offset is ``((dz·sz)² + (dy·sy)²) + (dx·sx)²``, in float64 and in
    this order, so that equal offsets have equal digits everywhere.

    Attributes
    ----------
    rows : int64, shape (R, 2)
        dz and dy of every row.
    squares : float64, shape (R,)
        ``(dz·sz)² + (dy·sy)²`` of the rows, ascending, none above the limit.
    steps : float64, shape (K + 2,)
        ``(dx·sx)²`` for dx from 0 to K, then infinity for anything farther.
    limit : float
        Largest squared distance whose root is within the cap.
    """

    rows: NDArray[np.int64]
    squares: Numbers
    steps: Numbers
    limit: float

    @property
    def parts(self) -> tuple[Any, ...]:
        """The attributes as the kernels take them."""
        return self.rows, self.squares, self.steps, self.limit

    @property
    def reach(self) -> tuple[int, int, int]:
        """Longest offset along z, y and x, in elements."""
        z, y = np.abs(self.rows).max(axis=0).tolist()
        return z, y, len(self.steps) - 2

    @classmethod
    def within(cls, cap: float, voxel_size: Sequence[float], shape: Sequence[int]) -> Self:
        """Return the offsets within a cap that fit into an array of 2 or 3 axes.

        Parameters
        ----------
        cap : float
            Largest distance, in the unit of the voxel size.
        voxel_size : sequence of float
            Size of a voxel along (z,) y, x; in 2D all offsets have dz = 0.
        shape : sequence of int
            Shape of the array; a longer offset cannot end in it.
        """
        limit = squared_limit(cap)
        z, y, x = (
            np.arange(min(voxels_within(cap, size) + 1, extent)) * size
            for size, extent in zip(in_3d(voxel_size), in_3d(shape), strict=True)
        )
        squares = np.square(_both_ways(z))[:, None] + np.square(_both_ways(y))
        order = np.argsort(squares, axis=None, kind="stable")
        order = order[: np.count_nonzero(squares <= limit)]
        dz, dy = np.unravel_index(order, squares.shape)
        rows = np.stack([dz - (len(z) - 1), dy - (len(y) - 1)], axis=1)
        return cls(rows, squares.ravel()[order], np.append(np.square(x), math.inf), limit)


def _both_ways(offsets: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    return np.concatenate([offsets[:0:-1], offsets])


def squared_limit(cap: float) -> float:
    """Largest float whose root is within the cap: for √3 it is 3, while √3·√3 rounds to less."""
    limit = cap * cap
    while math.sqrt(following := math.nextafter(limit, math.inf)) <= cap:
        limit = following
    return limit
