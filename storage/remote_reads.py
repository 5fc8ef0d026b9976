"""Reads from sharded arrays in object stores, with few requests.

Zarr asks for the index of a Zarr shard and then for its chunks, one after the other. Here all
that a read wants of a shard is fetched together, and Zarr decodes it from memory::

    shard  |chunk|chunk|chunk|chunk|index|      wanted: the second and the third chunk
                 '-----2nd-----'   '-1st-'      two requests, or
           '----------- whole -----------'      one, where little of it is not wanted
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zarr
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.storage import StorePath, WrapperStore

from storage.remote_store import RemoteStore
from storage.shard_layout import ABSENT, ShardLayout, read_index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

    from storage.shard_layout import Box

# Voxels that may be fetched in vain to save a request: what a connection moves in the time
# between request and answer.
SPARE_BYTES = 2**21


def read_ahead(
    array: zarr.Array[Any],
    source: RemoteStore,
    slices: tuple[Any, ...],
    box: Box,
    layout: ShardLayout,
    spare_bytes: int,
) -> Any:
    """``array[slices]`` of an array in a `RemoteStore`, with grouped requests.

    Parameters
    ----------
    array : zarr.Array
        Opened at its root.
    source : RemoteStore
        Its store.
    slices : tuple
        As for NumPy, without steps.
    box : tuple of (int, int)
        The same as first voxel, and last voxel plus one, along each axis.
    layout : ShardLayout
        Of the array.
    spare_bytes : int
        A shard is fetched whole if at most so many bytes of its voxels are not wanted.
    """
    wanted = {
        array.metadata.encode_chunk_key(shard): chunks for shard, chunks in layout.wanted(box)
    }
    store = _Ahead(source, layout, wanted, spare_bytes)
    return zarr.Array.from_dict(StorePath(store), array.metadata.to_dict())[slices]


class _Ahead(WrapperStore[RemoteStore]):
    """Serves one read: the first request for a shard fetches all that is wanted of it."""

    def __init__(
        self,
        store: RemoteStore,
        layout: ShardLayout,
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
        As `storage.shard_layout.read_index` takes it.
    chunks : sequence of int
        Numbers of the chunks, in C order.
    """
    places = read_index(index)
    if places is None:
        return []
    wanted = places[list(chunks)]
    return sorted((int(at), int(at + size)) for at, size in wanted if at != ABSENT)
