"""Resolution levels: each built from the next finer one, one write-grid cell a task.

A task reads the region of the finer level that its cell covers, reduces it window by window
and writes the whole cell::

    finer   | . . | . . | . . | . |       factor 2: windows of two, the last one clipped
    coarser |  .  |  .  |  .  | . |
    cells   |     0     |    1    |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from storage.cells import CellArray, open_cells
from storage.downsample import mean_downsample, mode_downsample
from storage.errors import StorageError
from storage.graphs import Scheduler, compute_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Reducer = Literal["mean", "mode"]


def level_factors(fine_shape: Sequence[int], coarse_shape: Sequence[int]) -> tuple[int, ...]:
    """Window length per axis that turns one level's shape into the next one's.

    The coarser size is the finer one divided by the factor, rounded up (the last window is
    clipped) or down (as some writers do: the remainder is left out). Where several integers
    fit, it is the smallest.

    Raises
    ------
    StorageError
        If no integer fits.

    Examples
    --------
    >>> level_factors((16, 1025, 1024), (16, 513, 256))
    (1, 2, 4)
    """
    if len(fine_shape) != len(coarse_shape):
        raise StorageError(
            f"levels of shapes {tuple(fine_shape)} and {tuple(coarse_shape)} differ in axes"
        )
    factors = tuple(_axis_factor(f, c) for f, c in zip(fine_shape, coarse_shape, strict=True))
    if 0 in factors:
        raise StorageError(
            f"the level of shape {tuple(coarse_shape)} is no reduction of {tuple(fine_shape)} by "
            "whole factors; import the image again to get levels that are"
        )
    return factors


def _axis_factor(fine: int, coarse: int) -> int:
    """Smallest factor for one axis, 0 if there is none."""
    if not 0 < coarse <= fine:
        return 0
    # floor(fine / f) = coarse or ceil(fine / f) = coarse bound f from both sides.
    for factor in range(fine // (coarse + 1), fine // coarse + 2):
        if factor > 0 and coarse in (fine // factor, -(-fine // factor)):
            return factor
    return 0


def build_level(
    url: str,
    fine_path: str,
    coarse_path: str,
    *,
    reducer: Reducer,
    scheduler: Scheduler,
    cells: Iterable[tuple[int, ...]] | None = None,
) -> Iterator[dict[str, Any]]:
    """Fill a level from the next finer one; both arrays exist.

    Nothing happens until the result is iterated. Any scheduler gives the same bytes, and a cell
    that is written twice is the same.

    Parameters
    ----------
    url : str
        Multiscale group.
    fine_path, coarse_path : str
        Array paths in it.
    reducer : {"mean", "mode"}
        Mean for intensities, mode for labels.
    scheduler : str or callable
        What ``dask.compute`` takes.
    cells : iterable of tuple of int, optional
        Cells of the coarser level to fill; all of them without it.

    Yields
    ------
    dict
        Record of one object: ``level``, ``cell`` (index on the write grid), ``key``, ``size``
        in bytes, ``checksum``; in the order of cells.

    Raises
    ------
    StorageError
        If the levels' shapes are not in whole proportions.
    """
    fine, coarse = open_cells(url, fine_path), open_cells(url, coarse_path)
    factors = level_factors(fine.shape, coarse.shape)
    wanted = coarse.grid.cells((0,) * len(coarse.shape), coarse.shape) if cells is None else cells
    tasks = ((fine, coarse, cell, factors, reducer) for cell in wanted)
    yield from compute_each(_build_cell, tasks, scheduler=scheduler)


def _build_cell(
    fine: CellArray,
    coarse: CellArray,
    cell: tuple[int, ...],
    factors: tuple[int, ...],
    reducer: Reducer,
) -> dict[str, Any]:
    start, stop = coarse.grid.bounds(cell)
    reduce = mode_downsample if reducer == "mode" else mean_downsample
    block = np.empty([b - a for a, b in zip(start, stop, strict=True)], dtype=coarse.dtype)
    for part_start, part_stop in _slabs(start, stop, coarse.chunks):
        source = tuple(
            slice(a * f, min(b * f, size))
            for a, b, f, size in zip(part_start, part_stop, factors, fine.shape, strict=True)
        )
        target = tuple(
            slice(a - o, b - o) for a, b, o in zip(part_start, part_stop, start, strict=True)
        )
        block[target] = reduce(fine.read(source), factors)
    return {"level": coarse.path, "cell": list(cell), **coarse.write(cell, block)}


def _slabs(
    start: Sequence[int], stop: Sequence[int], chunks: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Boxes one chunk thick that make up a cell: the finer region is up to 8 times its size."""
    sizes = [b - a for a, b in zip(start, stop, strict=True)]
    axis = next((i for i, size in enumerate(sizes) if size > chunks[i]), 0)
    for low in range(start[axis], stop[axis], chunks[axis]):
        high = min(low + chunks[axis], stop[axis])
        yield (
            (*start[:axis], low, *start[axis + 1 :]),
            (*stop[:axis], high, *stop[axis + 1 :]),
        )
