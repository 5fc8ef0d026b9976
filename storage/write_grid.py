"""The grid on which independent writers may write one array.

A cell of the grid is one Zarr shard: one object in the store. A cell is encoded whole in
memory and put in one atomic write, so nothing is ever read, modified and written back, and its
checksum is that of the stored bytes. ::

    array  | cell 0,0 | cell 0,1 | 0,2 |      cells at the end are clipped by the array,
           | cell 1,0 | cell 1,1 | 1,2 |      their objects are not
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from storage.errors import StorageError
from storage.stores import join_url, open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from zarr.codecs import BloscCodec

PLANAR_CHUNK = (1, 256, 256)
CUBIC_CHUNK = (64, 64, 64)
SHARD_BYTES = (2**20, 2**25)
SHARDS_WANTED = 64


@dataclass(frozen=True, slots=True)
class WriteGrid:
    """Cells of equal shape over an array.

    Attributes
    ----------
    shape : tuple of int
        Array shape in voxels.
    cell : tuple of int
        Cell shape in voxels.
    """

    shape: tuple[int, ...]
    cell: tuple[int, ...]

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Number of cells along each axis."""
        return tuple(-(-size // cell) for size, cell in zip(self.shape, self.cell, strict=True))

    def cells(self, start: Sequence[int], stop: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Indices of the cells that the box [start, stop) touches, in C order."""
        return product(
            *(range(a // c, -(-b // c)) for a, b, c in zip(start, stop, self.cell, strict=True))
        )

    def bounds(self, index: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Start and stop voxel of a cell, clipped by the array."""
        start = tuple(i * c for i, c in zip(index, self.cell, strict=True))
        stop = tuple(
            min(a + c, size) for a, c, size in zip(start, self.cell, self.shape, strict=True)
        )
        return start, stop


def check_one_writer(grid: WriteGrid, boxes: Iterable[tuple[Sequence[int], Sequence[int]]]) -> None:
    """Refuse boxes of which two would write the same cell.

    Raises
    ------
    StorageError
        If a cell is touched by two boxes: concurrent writers of one Zarr shard lose voxels.
    """
    owner: dict[tuple[int, ...], int] = {}
    for number, (start, stop) in enumerate(boxes):
        for cell in grid.cells(start, stop):
            if owner.setdefault(cell, number) != number:
                raise StorageError(
                    f"write-grid cell {cell} would be written by shards {owner[cell]} and "
                    f"{number}; cut shards in multiples of the cell shape {grid.cell}"
                )


def choose_chunks(
    shape: Sequence[int], axes: str, itemsize: int, *, planar: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk and shard shape for a new array; the same for the same arguments.

    Parameters
    ----------
    shape : sequence of int
        Array shape in voxels.
    axes : str
        Axis names, one letter each, of ``tczyx``.
    itemsize : int
        Bytes a voxel.
    planar : bool
        Chunks of one section: right for serial sections and anisotropic stacks.

    Returns
    -------
    tuple of tuple of int
        Chunk shape and shard shape. A shard is a whole number of chunks, 1 to 32 MiB: about
        a 64th of the array in between, so that small stacks spread over workers too.
    """
    template = PLANAR_CHUNK if planar or "z" not in axes else CUBIC_CHUNK
    wanted = dict(zip("zyx", template, strict=True))
    chunk = tuple(
        min(wanted.get(axis, 1), _round_up(size, 16))
        if axis in "yx" or wanted.get(axis, 1) > 1
        else 1
        for axis, size in zip(axes, shape, strict=True)
    )
    least, most = SHARD_BYTES
    target = min(most, max(least, math.prod(shape) * itemsize // SHARDS_WANTED))
    return chunk, _grow(chunk, shape, axes, target // itemsize)


def _grow(chunk: tuple[int, ...], shape: Sequence[int], axes: str, voxels: int) -> tuple[int, ...]:
    """Double the shard's shortest spatial axis while it stays within a number of voxels."""
    shard = list(chunk)
    spatial = [i for i, axis in enumerate(axes) if axis in "zyx"]
    while math.prod(shard) * 2 <= voxels:
        growable = [i for i in spatial if shard[i] < shape[i]]
        if not growable:
            break
        # Sections grow in plane first: a planar stack is read section by section.
        shard[min(growable, key=lambda i: (shard[i] * (64 if chunk[i] == 1 else 1), -i))] *= 2
    return tuple(shard)


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def create_array(
    group_url: str,
    path: str,
    *,
    shape: tuple[int, ...],
    dtype: str,
    chunks: tuple[int, ...],
    shards: tuple[int, ...],
    axes: str,
) -> None:
    """Create the metadata of an empty sharded Zarr v3 array, blosc-zstd compressed.

    Empty chunks are to be written too: a missing object is then always a fault, never
    background.

    Raises
    ------
    StorageError
        If the shard is not a whole number of chunks.
    """
    if any(s % c for s, c in zip(shards, chunks, strict=True)):
        raise StorageError(f"shard {shards} is not a whole number of chunks {chunks}")
    import zarr

    store = open_store(join_url(group_url, path))
    zarr.create_array(store, **array_options(shape, dtype, chunks, shards, axes), overwrite=True)


def array_options(
    shape: tuple[int, ...],
    dtype: str,
    chunks: tuple[int, ...],
    shards: tuple[int, ...],
    axes: str | None,
) -> dict[str, Any]:
    """How every sharded array is made, for ``zarr.create_array``."""
    return {
        "shape": shape,
        "dtype": dtype,
        "chunks": chunks,
        "shards": shards,
        "compressors": compressor(dtype),
        "fill_value": 0,
        "dimension_names": list(axes) if axes else None,
        "config": {"write_empty_chunks": True},
        "zarr_format": 3,
    }


def compressor(dtype: str) -> BloscCodec:
    """What compresses the chunks of every array."""
    import numpy as np
    from zarr.codecs import BloscCodec, BloscShuffle

    itemsize = np.dtype(dtype).itemsize
    shuffle = BloscShuffle.bitshuffle if itemsize == 1 else BloscShuffle.shuffle
    # Level 2 is Zstandard's own 3: masks and images are as small as at 3, in half the time.
    return BloscCodec(cname="zstd", clevel=2, shuffle=shuffle, typesize=itemsize)


def checksum(data: bytes) -> str:
    """BLAKE2b of 128 bits, in hex."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
