"""Reads from sharded arrays in files, a run of chunks at a time in a few threads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from storage.shard_layout import ABSENT, Box, Cell, read_index
from storage.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from storage.shard_codec import ShardCodec


@dataclass(frozen=True, slots=True)
class LocalReader:
    """Reads boxes of one array.

    Attributes
    ----------
    codec : ShardCodec
        Of the array.
    path : callable
        File of a shard; it need not be there.
    fill_value : int, float or bool
        Of voxels that are not stored.
    """

    codec: ShardCodec
    path: Callable[[Cell], Path]
    fill_value: Any

    def read(self, box: Box) -> np.ndarray:
        """Voxels of a box that is not empty and lies in the array.

        Raises
        ------
        ValueError, RuntimeError
            If a shard is damaged.
        """
        out = np.empty([b - a for a, b in box], self.codec.dtype)
        tasks = [
            (shard, run)
            for shard, chunks in self.codec.layout.wanted(box)
            for run in self.codec.runs(chunks)
        ]
        if len(tasks) == 1:
            self._read(tasks[0], box, out)
        else:
            for _ in in_threads(self._read, tasks, box, out):
                pass
        return out

    def _read(self, task: tuple[Cell, Sequence[int]], box: Box, out: np.ndarray) -> None:
        """Chunks of one shard into their places."""
        shard, chunks = task
        try:
            file: BinaryIO = self.path(shard).open("rb", buffering=0)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            for number in chunks:
                out[self._part(shard, number, box)[1]] = self.fill_value
            return
        with file:
            places = _places(file, self.codec.layout.index_bytes)
            buffer = np.empty(self.codec.layout.chunk, self.codec.dtype)
            for number in chunks:
                inside, target = self._part(shard, number, box)
                self._decode(file, places[number], buffer, (inside, out[target]))

    def _decode(
        self,
        file: BinaryIO,
        place: np.ndarray,
        buffer: np.ndarray,
        part: tuple[tuple[slice, ...], np.ndarray],
    ) -> None:
        """One chunk to its place, by way of the buffer where the place lies scattered."""
        inside, target = part
        if int(place[0]) == ABSENT:
            target[...] = self.fill_value
            return
        data = os.pread(file.fileno(), int(place[1]), int(place[0]))
        if target.shape == buffer.shape and target.flags.c_contiguous:
            self.codec.decode(data, target)
        else:
            self.codec.decode(data, buffer)
            target[...] = buffer[inside]

    def _part(
        self, shard: Cell, number: int, box: Box
    ) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The wanted part of a chunk, in the chunk and in the box."""
        layout = self.codec.layout
        inside, target = [], []
        for a, n, (start, stop) in zip(
            layout.origin(shard, number), layout.chunk, box, strict=True
        ):
            low, high = max(a, start), min(a + n, stop)
            inside.append(slice(low - a, high - a))
            target.append(slice(low - start, high - start))
        return tuple(inside), tuple(target)


def _places(file: BinaryIO, index_bytes: int) -> np.ndarray:
    """Where the chunks of a shard are; every one of them lies before the index."""
    size = os.fstat(file.fileno()).st_size
    index = os.pread(file.fileno(), index_bytes, max(0, size - index_bytes))
    places = read_index(index) if len(index) == index_bytes else None
    if places is None:
        raise ValueError(f"the index of a shard of {size} bytes is damaged")
    stored = places[places[:, 0] != ABSENT]
    room = np.uint64(size - index_bytes)
    if (stored[:, 0] > room).any() or (stored[:, 1] > room - stored[:, 0]).any():
        raise ValueError(f"the index of a shard of {size} bytes names chunks beyond its end")
    return places
