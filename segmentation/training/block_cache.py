"""Chunks kept in memory while crops are drawn, within a budget: neighbours need the same ones."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segmentation.shard import VoxelArray


@dataclass(slots=True, eq=False)
class BlockCache:
    """Least recently used blocks go first.

    Attributes
    ----------
    budget_bytes : int
        Bytes of voxels to keep at most.
    """

    budget_bytes: int
    _blocks: OrderedDict[Any, np.ndarray] = field(default_factory=OrderedDict)
    _held: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def block(self, array: VoxelArray, key: Any, slices: tuple[slice, ...]) -> np.ndarray:
        """The block of a key, read if it is not there. It must not be changed."""
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        block = np.asarray(array[slices])
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = block
                self._held += block.nbytes
            while self._held > self.budget_bytes:
                _, dropped = self._blocks.popitem(last=False)
                self._held -= dropped.nbytes
        return block


@dataclass(frozen=True, slots=True)
class CachedArray:
    """An array in chunks, read chunk by chunk through a cache.

    Attributes
    ----------
    array : array-like
        With the attributes ``shape``, ``dtype`` and ``chunks``.
    cache : BlockCache
        Shared with other arrays.
    """

    array: Any
    cache: BlockCache

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""
        found: np.dtype[Any] = np.dtype(self.array.dtype)
        return found

    def __getitem__(self, slices: tuple[slice, ...]) -> np.ndarray:
        """Voxels of a box, in an array of their own."""
        bounds = [s.indices(n)[:2] for s, n in zip(slices, self.shape, strict=True)]
        result = np.empty([stop - start for start, stop in bounds], self.dtype)
        for number, block in self._blocks(bounds):
            target, source = [], []
            for (start, stop), n, chunk, extent in zip(
                bounds, number, self.array.chunks, block.shape, strict=True
            ):
                first, last = max(start, n * chunk), min(stop, n * chunk + extent)
                target.append(slice(first - start, last - start))
                source.append(slice(first - n * chunk, last - n * chunk))
            result[tuple(target)] = block[tuple(source)]
        return result

    def _blocks(self, bounds: list[tuple[int, int]]) -> Iterator[tuple[tuple[int, ...], Any]]:
        """Chunks that a box touches, with their places in the grid."""
        chunks = self.array.chunks
        ranges = [range(a // c, -(-b // c)) for (a, b), c in zip(bounds, chunks, strict=True)]
        for number in product(*ranges):
            box = tuple(
                slice(n * c, min((n + 1) * c, size))
                for n, c, size in zip(number, chunks, self.shape, strict=True)
            )
            yield number, self.cache.block(self.array, (self.array, number), box)


def cached(array: VoxelArray, cache: BlockCache) -> VoxelArray:
    """The array through a cache, where it has chunks that fit there; else the array itself."""
    chunks, dtype = (getattr(array, name, None) for name in ("chunks", "dtype"))
    if chunks is None or dtype is None:
        return array
    chunk_bytes = math.prod(chunks) * np.dtype(dtype).itemsize
    return CachedArray(array, cache) if 8 * chunk_bytes <= cache.budget_bytes else array
