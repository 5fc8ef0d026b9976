"""Write a stack in files into a new multiscale group: the finest level, then the others.

The group's own ``zarr.json`` is written last, by the caller: until then nobody takes a half
import for an image, and the next attempt clears it.
"""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.blobs import Blobs
from storage.cells import CellArray, open_cells
from storage.errors import StorageError
from storage.levels import SLAB_BYTES, LevelPlan, import_layout, slabs
from storage.pyramid import Reducer, build_level
from storage.stores import is_local
from storage.write_grid import WriteGrid, choose_chunks, create_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from storage.graphs import Scheduler
    from storage.sources import Stack

# Cells of a slab that are compressed at the same time; each needs a copy of itself.
WRITERS = 4

Box = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class StackWriter:
    """Everything that decides the arrays of an import.

    Attributes
    ----------
    stack : Stack
        What is imported.
    url : str
        Multiscale group to be made.
    levels : tuple of LevelPlan
        Finest first.
    dtype : str
        Of all levels.
    sections : bool
        Chunks of one section, see `storage.levels.is_sections`.
    reducer : {"mean", "mode"}
        How coarser levels are made.
    slab_bytes : int
        Bytes of voxels read at once.
    """

    stack: Stack
    url: str
    levels: tuple[LevelPlan, ...]
    dtype: str
    sections: bool
    reducer: Reducer
    slab_bytes: int = SLAB_BYTES

    def write(
        self, *, scheduler: Scheduler, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Make all levels.

        Parameters
        ----------
        scheduler : str or callable
            What ``dask.compute`` takes, for the coarser levels.
        progress : callable, optional
            Called with the number of cells written and their total.
        """
        grids = [self._create(plan, finest=i == 0) for i, plan in enumerate(self.levels)]
        total = sum(math.prod(grid.grid_shape) for grid in grids)
        for done, _ in enumerate(self._cells(grids[0], scheduler), start=1):
            if progress is not None:
                progress(done, total)

    def _create(self, plan: LevelPlan, *, finest: bool) -> WriteGrid:
        axes, itemsize = self.stack.axes, np.dtype(self.dtype).itemsize
        if finest:
            chunks, shards = import_layout(
                plan.shape,
                axes,
                itemsize,
                sections=self.sections,
                plane_bytes=plane_bytes(self.stack),
                slab_bytes=self.slab_bytes,
            )
        else:
            chunks, shards = choose_chunks(plan.shape, axes, itemsize, planar=self.sections)
        create_array(
            self.url,
            plan.level.path,
            shape=plan.shape,
            dtype=self.dtype,
            chunks=chunks,
            shards=shards,
            axes=axes,
        )
        return WriteGrid(plan.shape, shards)

    def _cells(self, grid: WriteGrid, scheduler: Scheduler) -> Iterator[dict[str, Any]]:
        """Write every cell of every level; one record each."""
        paths = [plan.level.path for plan in self.levels]
        finest = open_cells(self.url, paths[0])
        with ThreadPoolExecutor(WRITERS) as pool:
            for start, block in self._slabs(grid):
                yield from pool.map(
                    lambda cell, start=start, block=block: self._write(finest, cell, start, block),
                    grid.cells(start, [a + n for a, n in zip(start, block.shape, strict=True)]),
                )
                del block  # before the next slab is read
        for fine, coarse in pairwise(paths):
            yield from build_level(
                self.url, fine, coarse, reducer=self.reducer, scheduler=scheduler
            )

    def _slabs(self, grid: WriteGrid) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """The stack in boxes of whole cells, each with its first voxel."""
        order = [self.stack.axes.index(axis) for axis in self.stack.file_axes]
        itemsize = self.stack.raw.dtype.itemsize
        for start, stop in slabs(grid, order, itemsize, self.slab_bytes):
            yield start, self.stack.read(start, stop)

    def _write(
        self,
        finest: CellArray,
        cell: tuple[int, ...],
        origin: tuple[int, ...],
        block: np.ndarray,
    ) -> dict[str, Any]:
        start, stop = finest.grid.bounds(cell)
        region = tuple(slice(a - o, b - o) for a, b, o in zip(start, stop, origin, strict=True))
        voxels = np.ascontiguousarray(block[region], dtype=np.dtype(self.dtype))
        return finest.write(cell, voxels)


def plane_bytes(stack: Stack) -> int:
    """Bytes that lie together in the file with one section: all channels if interleaved."""
    inner = stack.file_axes[min(stack.file_axes.index("y"), stack.file_axes.index("x")) :]
    sizes = dict(zip(stack.axes, stack.shape, strict=True))
    voxels = math.prod(sizes[axis] for axis in inner if axis != "z")
    return voxels * stack.raw.dtype.itemsize


def clear_unfinished(url: str, levels: Sequence[LevelPlan]) -> None:
    """Make room for a new group: remove what an interrupted import left.

    Parameters
    ----------
    url : str
        The group.
    levels : sequence of LevelPlan
        What it will hold; arrays with these or numeric names may be leftovers.

    Raises
    ------
    StorageError
        If there is a Zarr, or anything else than arrays of an import; nothing is removed then.
    """
    folder = Blobs(url)
    if is_local(url) and Path(url).is_file():
        raise StorageError(f"{url} is a file; choose another place")
    if any(folder.exists(name) for name in ("zarr.json", ".zgroup", ".zarray")):
        raise StorageError(f"{url} is there already; choose another place or remove it first")
    keys = [key for key, _ in folder.list()]
    paths = tuple(f"{plan.level.path}/" for plan in levels)
    foreign = [k for k in keys if not (k.startswith(paths) or re.match(r"\d+/", k))]
    if foreign:
        raise StorageError(
            f"{url} holds other files ({foreign[0]}, …); choose a place that is empty"
        )
    if keys:
        folder.delete_all()
