"""How often each value occurs in a label volume, exactly."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from storage.errors import StorageError
from storage.graphs import Scheduler, compute_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.volume import Volume

TASK_VOXELS = 2**25
Box = tuple[tuple[int, ...], tuple[int, ...]]


def label_values(
    volume: Volume, region: Sequence[slice] | None = None, *, scheduler: Scheduler
) -> dict[int, int]:
    """Number of voxels of every value of an integer volume, in the order of values.

    Parameters
    ----------
    volume : Volume
        Holds integers.
    region : sequence of slice, optional
        Per axis; the whole volume without it.
    scheduler : str or callable
        What ``dask.compute`` takes.

    Raises
    ------
    StorageError
        If the volume does not hold integers.
    """
    if np.dtype(volume.dtype).kind not in "iu":
        raise StorageError(f"{volume.url} holds {volume.dtype} voxels; labels are integers")
    slices = region if region is not None else (slice(None),) * len(volume.shape)
    limits = [s.indices(size)[:2] for s, size in zip(slices, volume.shape, strict=True)]
    box = tuple(low for low, _ in limits), tuple(high for _, high in limits)
    blocks = math.prod(_grid_shape(box, volume.chunks))
    step = max(1, TASK_VOXELS // math.prod(volume.chunks))
    tasks = ((volume, box, first, min(first + step, blocks)) for first in range(0, blocks, step))
    total: Counter[int] = Counter()
    for counts in compute_each(_count_blocks, tasks, scheduler=scheduler):
        total.update(counts)
    return dict(sorted(total.items()))


def count_values(block: np.ndarray) -> dict[int, int]:
    """Number of voxels of every value of an integer array."""
    if block.dtype.kind == "u" and block.dtype.itemsize <= 2:
        counts = np.bincount(block.ravel())
        values = np.flatnonzero(counts)
        return dict(zip(values.tolist(), counts[values].tolist(), strict=True))
    values, counts = np.unique(block, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _grid_shape(box: Box, chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Chunks that a box touches, along each axis."""
    return tuple(
        max(0, -(-high // chunk) - low // chunk)
        for low, high, chunk in zip(*box, chunks, strict=True)
    )


def _count_blocks(volume: Volume, box: Box, first: int, stop: int) -> Counter[int]:
    """Counts over some of the chunks that the box touches, numbered in C order."""
    total: Counter[int] = Counter()
    shape = _grid_shape(box, volume.chunks)
    for number in range(first, stop):
        cell = np.unravel_index(number, shape)
        region = tuple(
            slice(max(low, start), min(high, start + chunk))
            for low, high, chunk, start in (
                (low, high, chunk, (low // chunk + int(i)) * chunk)
                for low, high, chunk, i in zip(*box, volume.chunks, cell, strict=True)
            )
        )
        total.update(count_values(volume[region]))
    return total
