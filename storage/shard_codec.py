"""Zarr shards encoded and decoded a run of chunks at a time, in a few threads.

Zarr hands every chunk from a coroutine to a thread and back, which takes longer than to compress
64 KiB. Here a thread takes a run of chunks. The bytes are those that Zarr writes (the codec
``sharding_indexed`` around ``bytes`` and ``blosc``), and Zarr reads them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.shard_layout import ABSENT, ShardLayout, layout_of, morton_order, write_index
from storage.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import zarr
    from zarr.codecs import BloscCodec

# Voxels that a thread codes before it is asked again: some milliseconds.
RUN_BYTES = 2**21
# A blosc frame tells the bytes of its voxels and its own; both little-endian uint32.
_VOXEL_BYTES, _FRAME_BYTES = slice(4, 8), slice(12, 16)


@dataclass(frozen=True, slots=True)
class ShardCodec:
    """How the shards of one array are coded.

    Attributes
    ----------
    layout : ShardLayout
        Shards and chunks.
    dtype : str
        Of the voxels; stored in little-endian byte order.
    compressor : numcodecs.Blosc
        What every chunk goes through.
    """

    layout: ShardLayout
    dtype: str
    compressor: Any

    def encode(self, block: np.ndarray) -> bytes:
        """Bytes of the shard that begins with a block.

        Chunks are filled up with 0; those that the block does not touch are not stored.
        """
        counts, size = self.layout.counts, zip(block.shape, self.layout.chunk, strict=True)
        order = morton_order(counts)
        order = order[(order < [-(-n // c) for n, c in size]).all(axis=1)]
        # Never in the main thread: there blosc would spread a chunk over threads of its own, and
        # put its blocks into the frame in the order in which they get done.
        chunks = list(chain.from_iterable(in_threads(self._encode, self.runs(order), block)))
        lengths = np.fromiter(map(len, chunks), np.uint64, len(chunks))
        places = np.full((math.prod(counts), 2), ABSENT, np.uint64)
        numbers = np.ravel_multi_index(tuple(order.T), counts)
        places[numbers] = np.stack([np.cumsum(lengths) - lengths, lengths], axis=1)
        return b"".join([*chunks, write_index(places)])

    def decode(self, data: bytes, chunk: np.ndarray) -> None:
        """Fill a C-contiguous chunk with the voxels of a compressed one.

        Raises
        ------
        ValueError, RuntimeError
            If these are not the bytes of one chunk: nothing is read or written beyond both.
        """
        told = [int.from_bytes(data[part], "little") for part in (_VOXEL_BYTES, _FRAME_BYTES)]
        if told != [chunk.nbytes, len(data)]:
            raise ValueError(
                f"{len(data)} bytes for {chunk.nbytes} of voxels; the chunk tells of {told[1]} "
                f"for {told[0]}"
            )
        self.compressor.decode(data, chunk)

    def runs(self, chunks: Sequence[Any] | np.ndarray) -> Iterator[Any]:
        """The chunks in the portions that one thread takes at a time."""
        count = max(1, RUN_BYTES // self.layout.chunk_bytes)
        return (chunks[at : at + count] for at in range(0, len(chunks), count))

    def _encode(self, places: np.ndarray, block: np.ndarray) -> list[bytes]:
        chunk, coded = np.zeros(self.layout.chunk, self.dtype), []
        for place in places * self.layout.chunk:
            box = (slice(a, a + n) for a, n in zip(place, chunk.shape, strict=True))
            piece = block[tuple(box)]
            if piece.shape != chunk.shape:
                chunk.fill(0)
            chunk[tuple(map(slice, piece.shape))] = piece
            coded.append(self.compressor.encode(chunk))
        return coded


def codec_of(array: zarr.Array[Any]) -> ShardCodec | None:
    """How the shards of an array are coded; None if in any other way than the one known here."""
    from zarr.codecs import BloscCodec, BytesCodec

    layout = layout_of(array)
    if layout is None or array.dtype.kind not in "buif":
        return None
    codecs: Sequence[Any] = array.metadata.codecs[0].codecs  # type: ignore[union-attr]  # v3 by its layout
    if [type(codec) for codec in codecs] != [BytesCodec, BloscCodec]:
        return None
    order = codecs[0].endian
    if array.dtype.itemsize > 1 and (order is None or order.value != "little"):
        return None
    return ShardCodec(layout, array.dtype.newbyteorder("<").str, _compressor(codecs[1]))


def shard_codec(
    dtype: str, chunks: tuple[int, ...], shards: tuple[int, ...], blosc: BloscCodec
) -> ShardCodec:
    """The codec of arrays that are made here."""
    little = np.dtype(dtype).newbyteorder("<")
    return ShardCodec(ShardLayout(shards, chunks, little.itemsize), little.str, _compressor(blosc))


def _compressor(blosc: BloscCodec) -> Any:
    from numcodecs import Blosc

    shuffle = ("noshuffle", "shuffle", "bitshuffle").index(blosc.shuffle.value)
    return Blosc(blosc.cname.value, blosc.clevel, shuffle, blosc.blocksize, blosc.typesize)
