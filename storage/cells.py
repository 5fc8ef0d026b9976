"""One array of a multiscale group, read anywhere and written in whole cells.

Its metadata is read once; after that a worker writes a cell with one put and asks for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.blobs import Blobs
from storage.errors import StorageError
from storage.shard_codec import shard_codec
from storage.stores import join_url, open_store
from storage.write_grid import WriteGrid, checksum, compressor

if TYPE_CHECKING:
    from collections.abc import Sequence

    import zarr


@dataclass(frozen=True, slots=True)
class CellArray:
    """An array as plain data; it travels between processes.

    Attributes
    ----------
    url, path : str
        Multiscale group and array path in it.
    shape : tuple of int
        Voxels per axis.
    dtype : str
        Name of the data type, such as ``"uint8"``.
    chunks : tuple of int
        Chunk shape.
    cell : tuple of int
        Cell shape: that of a Zarr shard.
    """

    url: str
    path: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    cell: tuple[int, ...]

    @property
    def grid(self) -> WriteGrid:
        """All cells of the array."""
        return WriteGrid(self.shape, self.cell)

    def read(self, slices: tuple[slice, ...]) -> np.ndarray:
        """Voxels of a region; the array is opened once in a process."""
        from storage.reads import read_voxels

        return np.asarray(read_voxels(_opened(self), slices))

    def write(self, index: Sequence[int], block: np.ndarray) -> dict[str, Any]:
        """Write one whole cell in a single atomic put.

        Parameters
        ----------
        index : sequence of int
            Cell index on the write grid.
        block : numpy.ndarray
            Voxels of the cell, clipped by the array as `WriteGrid.bounds` gives it.

        Returns
        -------
        dict
            ``key`` (relative to the group), ``size`` in bytes, ``checksum`` of the stored bytes.

        Raises
        ------
        StorageError
            If the block has another shape than the cell.
        """
        start, stop = self.grid.bounds(index)
        expected = tuple(b - a for a, b in zip(start, stop, strict=True))
        if block.shape != expected:
            raise StorageError(f"block {block.shape} is not the cell {tuple(index)} of {expected}")
        data = encode_cell(block, self.dtype, self.chunks, self.cell)
        key = "/".join([self.path, "c", *(str(i) for i in index)])
        Blobs(self.url).write(key, data)
        return {"key": key, "size": len(data), "checksum": checksum(data)}


def open_cells(group_url: str, path: str) -> CellArray:
    """Read the metadata of an array: one request to an object store."""
    array = _open(group_url, path)
    cell = array.shards or array.chunks
    return CellArray(group_url, path, array.shape, str(array.dtype), array.chunks, cell)


def _open(group_url: str, path: str) -> zarr.Array[Any]:
    import zarr

    store = open_store(join_url(group_url, path), read_only=True)
    # Told the format, Zarr does not ask a store for the metadata of every format.
    return zarr.open_array(store, mode="r", zarr_format=3)


@lru_cache(maxsize=32)
def _opened(array: CellArray) -> zarr.Array[Any]:
    """The Zarr array; the layout is part of the key, so one that is made anew is opened anew."""
    return _open(array.url, array.path)


def encode_cell(
    block: np.ndarray, dtype: str, chunks: tuple[int, ...], shards: tuple[int, ...]
) -> bytes:
    """Bytes of the Zarr shard that holds a block, filled up with 0 to the shard's shape."""
    return shard_codec(dtype, chunks, shards, compressor(dtype)).encode(block)
