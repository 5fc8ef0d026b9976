"""How the shards of an array are made up, and which of their chunks a box needs.

A shard is its chunks one after the other, in Morton order, and an index of where each is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import zarr

CHECKSUM_BYTES = 4
PLACE_BYTES = 16
ABSENT = 2**64 - 1

Cell = tuple[int, ...]
Box = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """Shape of the shards of an array and of the chunks in them.

    Attributes
    ----------
    shard, chunk : tuple of int
        Shapes in voxels; a shard is a whole number of chunks.
    itemsize : int
        Bytes a voxel.
    """

    shard: Cell
    chunk: Cell
    itemsize: int

    @property
    def counts(self) -> Cell:
        """Chunks of a shard along each axis."""
        return tuple(s // c for s, c in zip(self.shard, self.chunk, strict=True))

    @property
    def chunk_bytes(self) -> int:
        """Bytes of the voxels of a chunk."""
        return math.prod(self.chunk) * self.itemsize

    @property
    def index_bytes(self) -> int:
        """Bytes of the index at the end of a shard."""
        return PLACE_BYTES * math.prod(self.counts) + CHECKSUM_BYTES

    def spare(self, chunks: int) -> int:
        """Bytes of a shard's voxels outside a number of its chunks."""
        return (math.prod(self.counts) - chunks) * self.chunk_bytes

    def origin(self, shard: Cell, number: int) -> Cell:
        """First voxel of a chunk."""
        place = np.unravel_index(number, self.counts)
        return tuple(
            i * s + int(k) * c
            for i, s, k, c in zip(shard, self.shard, place, self.chunk, strict=True)
        )

    def wanted(self, box: Box) -> Iterator[tuple[Cell, list[int]]]:
        """Shards that a box touches, and the numbers of their chunks that it does, in C order."""
        grid = [range(a // s, -(-b // s)) for (a, b), s in zip(box, self.shard, strict=True)]
        for shard in product(*grid):
            parts = [
                range((max(a, i * s) - i * s) // c, -(-(min(b, (i + 1) * s) - i * s) // c))
                for (a, b), i, s, c in zip(box, shard, self.shard, self.chunk, strict=True)
            ]
            yield shard, np.ravel_multi_index(np.ix_(*parts), self.counts).ravel().tolist()


def layout_of(array: zarr.Array[Any]) -> ShardLayout | None:
    """None for an array that is not sharded in the usual way: index last, with its checksum."""
    from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec

    codecs: Sequence[Any] = getattr(array.metadata, "codecs", ())
    if len(codecs) != 1 or not isinstance(codecs[0], ShardingCodec) or array.shards is None:
        return None
    sharding = codecs[0]
    kinds = [type(codec) for codec in sharding.index_codecs]
    if kinds != [BytesCodec, Crc32cCodec] or sharding.index_location.value != "end":
        return None
    return ShardLayout(array.shards, array.chunks, array.dtype.itemsize)


def box_of(slices: Any, shape: Cell) -> Box | None:
    """First and last voxel plus one along each axis; None for anything but plain slices."""
    slices = slices if isinstance(slices, tuple) else (slices,)
    if len(slices) > len(shape) or not all(
        isinstance(part, slice) and part.step in (None, 1) for part in slices
    ):
        return None
    whole = (slice(None),) * (len(shape) - len(slices))
    bounds = [part.indices(n)[:2] for part, n in zip((*slices, *whole), shape, strict=True)]
    return tuple(bounds) if all(start < stop for start, stop in bounds) else None


def read_index(index: bytes) -> np.ndarray | None:
    """Offset and length of every chunk; None if the index is damaged.

    Parameters
    ----------
    index : bytes
        Of a shard: offset and length of every chunk as little-endian uint64, both 2⁶⁴ - 1 for
        one that is not stored; then the CRC32C of all that (Zarr v3, codec
        ``sharding_indexed``).

    Returns
    -------
    numpy.ndarray or None
        uint64, shape (chunks, 2), chunks in C order.
    """
    body, checksum = index[:-CHECKSUM_BYTES], index[-CHECKSUM_BYTES:]
    if google_crc32c.value(body).to_bytes(CHECKSUM_BYTES, "little") != checksum:
        return None
    return np.frombuffer(body, "<u8").reshape(-1, 2)


def write_index(places: np.ndarray) -> bytes:
    """Inverse of `read_index`."""
    body = places.astype("<u8").tobytes()
    return body + int(google_crc32c.value(body)).to_bytes(CHECKSUM_BYTES, "little")


def morton_order(counts: Cell) -> np.ndarray:
    """Chunks of a shard in the order in which Zarr stores them.

    The bits of the coordinates take turns, from the lowest on, the first axis lowest; an axis
    whose bits are used up drops out (the compressed Morton code of Neuroglancer).

    Returns
    -------
    numpy.ndarray
        int64, shape (chunks, axes): coordinates of each chunk in its shard.
    """
    places = np.indices(counts).reshape(len(counts), -1)
    codes = np.zeros(places.shape[1], np.int64)
    bits = [(count - 1).bit_length() for count in counts]
    used = 0
    for bit in range(max(bits, default=0)):
        for axis, own in enumerate(bits):
            if bit < own:
                codes |= (places[axis] >> bit & 1) << used
                used += 1
    return np.ascontiguousarray(places[:, np.argsort(codes)].T, np.int64)
