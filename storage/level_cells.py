"""The cells that a region of a mask volume fills, level by level: which objects there have to be.

Keys are decoded by arithmetic, so a listing of any length is judged without a table of keys. ::

    0/c/2/0/1   level "0", cell (2, 0, 1)        wanted if the region touches the cell
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from storage.pyramid import level_factors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from storage.write_grid import WriteGrid

Index = tuple[int, ...]
_PLACE = re.compile(r"(?:0|[1-9][0-9]*)(?:/(?:0|[1-9][0-9]*))*")


@dataclass(frozen=True, slots=True)
class LevelCells:
    """Wanted cells of one level.

    Attributes
    ----------
    path : str
        Of the array, below the folder that keys are relative to.
    grid : WriteGrid
        All cells of the array.
    first, last : tuple of int
        First wanted cell and first cell outside, along each axis.
    """

    path: str
    grid: WriteGrid
    first: Index
    last: Index

    def __iter__(self) -> Iterator[Index]:
        """Wanted cells in C order."""
        return product(*(range(a, b) for a, b in zip(self.first, self.last, strict=True)))

    @property
    def total(self) -> int:
        """Number of cells of the whole array."""
        return math.prod(self.grid.grid_shape)

    def key(self, index: Sequence[int]) -> str:
        """Key of a cell's object."""
        return "/".join([self.path, "c", *map(str, index)])

    def number(self, index: Sequence[int]) -> int:
        """Position of a cell in C order: the item under which a coarser level records it."""
        number = 0
        for place, count in zip(index, self.grid.grid_shape, strict=True):
            number = number * count + place
        return number

    def index(self, number: int) -> Index:
        """Inverse of `number`."""
        places = []
        for count in reversed(self.grid.grid_shape):
            number, place = divmod(number, count)
            places.append(place)
        return tuple(reversed(places))

    def wanted(self, key: str) -> Index | None:
        """The wanted cell that a key belongs to, None for any other key."""
        prefix = f"{self.path}/c/"
        if not key.startswith(prefix) or not _PLACE.fullmatch(key, len(prefix)):
            return None
        index = tuple(map(int, key[len(prefix) :].split("/")))
        return index if len(index) == len(self.first) and self._is_wanted(index) else None

    def over(self, finer: LevelCells, index: Sequence[int]) -> Iterator[Index]:
        """Wanted cells of this level that are made from a cell of the next finer one."""
        factors = level_factors(finer.grid.shape, self.grid.shape)
        start, stop = finer.grid.bounds(index)
        cells = self.grid.cells(*_coarser(start, stop, factors, self.grid.shape))
        return (cell for cell in cells if self._is_wanted(cell))

    def _is_wanted(self, index: Sequence[int]) -> bool:
        return all(a <= i < b for a, i, b in zip(self.first, index, self.last, strict=True))


def level_cells(
    grids: Sequence[tuple[str, WriteGrid]], start: Sequence[int], stop: Sequence[int]
) -> tuple[LevelCells, ...]:
    """The cells of every level that a region touches.

    Parameters
    ----------
    grids : sequence of (str, WriteGrid)
        Path and grid of every level, finest first.
    start, stop : sequence of int
        Region in voxels of the finest level.

    Raises
    ------
    StorageError
        If a level is no reduction of the one before by whole factors.
    """
    levels = []
    for number, (path, grid) in enumerate(grids):
        if number:
            factors = level_factors(grids[number - 1][1].shape, grid.shape)
            start, stop = _coarser(start, stop, factors, grid.shape)
        first = tuple(a // c for a, c in zip(start, grid.cell, strict=True))
        last = tuple(-(-b // c) for b, c in zip(stop, grid.cell, strict=True))
        levels.append(LevelCells(path, grid, first, last))
    return tuple(levels)


def _coarser(
    start: Sequence[int], stop: Sequence[int], factors: Sequence[int], shape: Sequence[int]
) -> tuple[Index, Index]:
    """The box of the next level that a box is reduced to; never empty."""
    low = tuple(min(a // f, n - 1) for a, f, n in zip(start, factors, shape, strict=True))
    high = tuple(min(-(-b // f), n) for b, f, n in zip(stop, factors, shape, strict=True))
    return low, high
