"""Reads from sharded arrays in object stores, with few requests.

Zarr asks for the index of a Zarr shard and then for its chunks, one after the other. Here all
that a read wants of a shard is fetched together, and Zarr decodes it from memory::

    shard  |chunk|chunk|chunk|chunk|index|      wanted: the second and the third chunk
                 '-----2nd-----'   '-1st-'      two requests, or
           '----------- whole -----------'      one, where little of it is not wanted
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
import zarr
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec
from zarr.storage import StorePath, WrapperStore

from storage.remote_store import RemoteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

# Voxels that may be fetched in vain to save a request: what a connection moves in the time
# between request and answer.
SPARE_BYTES = 2**21
CHECKSUM_BYTES = 4
ABSENT = 2**64 - 1

Cell = tuple[int, ...]


def read_voxels(
    array: zarr.Array[Any], slices: tuple[Any, ...], *, spare_bytes: int = SPARE_BYTES
) -> Any:
    """``array[slices]``; of a sharded array in an object store with grouped requests.

    Parameters
    ----------
    array : zarr.Array
        Opened at its root.
    slices : tuple
        As for NumPy.
    spare_bytes : int
        A shard is fetched whole if at most so many bytes of its voxels are not wanted.
    """
    source = array.store
    layout, box = _layout(array), _box(slices, array.shape)
    if not isinstance(source, RemoteStore) or layout is None or box is None:
        return array[slices]
    wanted = {
        array.metadata.encode_chunk_key(shard): chunks for shard, chunks in _wanted(layout, box)
    }
    store = _Ahead(source, layout, wanted, spare_bytes)
    return zarr.Array.from_dict(StorePath(store), array.metadata.to_dict())[slices]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the shards of an array are made up."""

    shard: Cell
    chunk: Cell
    itemsize: int

    @property
    def counts(self) -> Cell:
        """Chunks of a shard along each axis."""
        return tuple(s // c for s, c in zip(self.shard, self.chunk, strict=True))

    def spare(self, chunks: int) -> int:
        """Bytes of a shard's voxels outside a number of its chunks."""
        return (math.prod(self.counts) - chunks) * math.prod(self.chunk) * self.itemsize


def _layout(array: zarr.Array[Any]) -> _Layout | None:
    """None for an array that is not sharded in the usual way: index last, with its checksum."""
    codecs: Sequence[Any] = getattr(array.metadata, "codecs", ())
    if len(codecs) != 1 or not isinstance(codecs[0], ShardingCodec) or array.shards is None:
        return None
    sharding = codecs[0]
    kinds = [type(codec) for codec in sharding.index_codecs]
    if kinds != [BytesCodec, Crc32cCodec] or sharding.index_location.value != "end":
        return None
    return _Layout(array.shards, array.chunks, array.dtype.itemsize)


def _box(slices: Any, shape: Cell) -> tuple[tuple[int, int], ...] | None:
    """First and last voxel plus one along each axis; None for anything but plain slices."""
    slices = slices if isinstance(slices, tuple) else (slices,)
    if len(slices) > len(shape) or not all(
        isinstance(part, slice) and part.step in (None, 1) for part in slices
    ):
        return None
    whole = (slice(None),) * (len(shape) - len(slices))
    bounds = [part.indices(n)[:2] for part, n in zip((*slices, *whole), shape, strict=True)]
    return tuple(bounds) if all(start < stop for start, stop in bounds) else None


def _wanted(layout: _Layout, box: tuple[tuple[int, int], ...]) -> Iterator[tuple[Cell, list[int]]]:
    """Shards that a box touches, and the numbers of their chunks that it does, in C order."""
    grid = [range(a // s, -(-b // s)) for (a, b), s in zip(box, layout.shard, strict=True)]
    for shard in product(*grid):
        parts = [
            range((max(a, i * s) - i * s) // c, -(-(min(b, (i + 1) * s) - i * s) // c))
            for (a, b), i, s, c in zip(box, shard, layout.shard, layout.chunk, strict=True)
        ]
        yield shard, np.ravel_multi_index(np.ix_(*parts), layout.counts).ravel().tolist()


class _Ahead(WrapperStore[RemoteStore]):
    """Serves one read: the first request for a shard fetches all that is wanted of it."""

    def __init__(
        self,
        store: RemoteStore,
        layout: _Layout,
        wanted: Mapping[str, Sequence[int]],
        spare_bytes: int,
    ) -> None:
        super().__init__(store)
        self.layout = layout
        self.wanted = wanted
        self.spare_bytes = spare_bytes
        self.whole: dict[str, Buffer] = {}
        self.parts: dict[tuple[str, int, int], Buffer] = {}

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Bytes of an object or of a part of it, from memory where they are there."""
        if isinstance(byte_range, SuffixByteRequest) and key in self.wanted:
            return await self._index(key, prototype, byte_range)
        if isinstance(byte_range, RangeByteRequest):
            if key in self.whole:
                return self.whole[key][byte_range.start : byte_range.end]
            part = self.parts.pop((key, byte_range.start, byte_range.end), None)
            if part is not None:
                return part
        return await self._store.get(key, prototype, byte_range)

    async def _index(
        self, key: str, prototype: BufferPrototype, byte_range: SuffixByteRequest
    ) -> Buffer | None:
        """Index of a shard; what is wanted of the shard is kept for the requests to come."""
        chunks = self.wanted[key]
        if self.layout.spare(len(chunks)) <= self.spare_bytes:
            whole = await self._store.get(key, prototype)
            if whole is None:
                return None
            self.whole[key] = whole
            return whole[max(0, len(whole) - byte_range.suffix) :]
        index = await self._store.get(key, prototype, byte_range)
        if index is not None:
            ranges = chunk_ranges(index.to_bytes(), chunks)
            found = await self._store.get_ranges(key, ranges, prototype) if ranges else []
            self.parts |= {(key, *part): data for part, data in zip(ranges, found, strict=True)}
        return index


def chunk_ranges(index: bytes, chunks: Sequence[int]) -> list[tuple[int, int]]:
    """Where chunks lie in their shard, in rising order; none if the index is damaged.

    Parameters
    ----------
    index : bytes
        Of a shard: offset and length of every chunk as little-endian uint64, both 2⁶⁴ - 1 for
        one that is not stored; then the CRC32C of all that (Zarr v3, codec
        ``sharding_indexed``).
    chunks : sequence of int
        Numbers of the chunks, in C order.
    """
    body, checksum = index[:-CHECKSUM_BYTES], index[-CHECKSUM_BYTES:]
    if google_crc32c.value(body).to_bytes(CHECKSUM_BYTES, "little") != checksum:
        return []
    places = np.frombuffer(body, "<u8").reshape(-1, 2)[list(chunks)]
    return sorted((int(at), int(at + size)) for at, size in places if at != ABSENT)
