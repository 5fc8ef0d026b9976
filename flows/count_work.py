"""The work of one shard of an evaluation: read truth and masks, count, keep what is heavy apart."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from flows.work import channel_position, peak_memory_bytes
from segmentation.evaluation import Block, Measures, count_block, read_region
from segmentation.metrics.codec import encode_array, pack_arrays
from segmentation.shard import ShardResult
from storage.blobs import Blobs
from storage.write_grid import checksum

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from segmentation.plan import ShardPlan
    from segmentation.region import Region
    from storage.volume import Volume

STATISTICS = "statistics"
# Small enough for a record; everything else goes to a file of its own.
LIGHT = ("planes/", "paired", "probability", "strays", "boundary")


@dataclass(frozen=True, slots=True)
class CaseVoxels:
    """Arrays of one volume of an evaluation, and its shards."""

    truth: Volume
    masks: tuple[Volume, ...]
    probabilities: Volume | None
    plan: ShardPlan


@dataclass(frozen=True, slots=True)
class CountWork:
    """Everything a worker needs to count the shards of an evaluation.

    Attributes
    ----------
    cases : tuple of CaseVoxels
        Items count through their shards, one volume after the other.
    measures : Measures
        What is counted.
    url : str or None
        Run folder, for heavy statistics.
    images_along : int or None
        Axis along which every index is an image of its own.
    """

    cases: tuple[CaseVoxels, ...]
    measures: Measures
    url: str | None = None
    images_along: int | None = None

    def __len__(self) -> int:
        return sum(len(case.plan) for case in self.cases)

    def open(self) -> Callable[[int], ShardResult]:
        """The function that counts an item."""
        return self.count

    def place(self, item: int) -> tuple[int, int]:
        """Volume and shard of an item."""
        starts = [0, *accumulate(len(case.plan) for case in self.cases)]
        number = bisect_right(starts, item) - 1
        return number, item - starts[number]

    def region(self, item: int) -> Region:
        """Voxels that an item counts."""
        number, shard = self.place(item)
        return self.cases[number].plan.write_region(shard)

    def image_planes(self, number: int) -> int | None:
        """Planes that make an image of a volume; None where the volume is one image."""
        if self.images_along is None:
            return None
        return math.prod(self.cases[number].plan.region.shape[self.images_along + 1 : -2])

    def count(self, item: int) -> ShardResult:
        """Read and count one shard."""
        started = time.perf_counter()
        block = self._read(item)
        read = time.perf_counter()
        found = count_block(block, self.measures)
        light = {name: a for name, a in found.items() if name.startswith(LIGHT)}
        heavy = {name: a for name, a in found.items() if name not in light}
        objects = [self._store(item, heavy)] if heavy else []
        seconds = {"read": read - started, "compute": time.perf_counter() - read}
        return ShardResult(
            item,
            {name: encode_array(array) for name, array in light.items()},
            [],
            objects,
            {name: round(value, 4) for name, value in seconds.items()},
            peak_memory_bytes(),
        )

    def _read(self, item: int) -> Block:
        number, shard = self.place(item)
        case = self.cases[number]
        wanted = case.plan.region
        core = case.plan.write_region(shard)
        inside = core.relative_to(wanted.start)
        read = read_region(inside, wanted.shape, self.measures)
        place = read.relative_to(tuple(-a for a in wanted.start)).slices
        return Block(
            wanted.shape,
            inside,
            read,
            case.truth[place],
            tuple(mask[place] for mask in case.masks),
            _probabilities(case.probabilities, core),
        )

    def _store(self, item: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Write heavy statistics in one object; the same shard gives the same bytes."""
        data = pack_arrays(arrays)
        key = f"{STATISTICS}/{item:08d}.npz"
        Blobs(str(self.url)).write(key, data)
        return {"key": key, "size": len(data), "checksum": checksum(data)}


def _probabilities(volume: Volume | None, core: Region) -> np.ndarray | None:
    """Stored probabilities with the classes first."""
    if volume is None:
        return None
    axis = channel_position(len(core.shape))
    slices = list(core.slices)
    slices.insert(axis, slice(0, volume.shape[axis]))
    levels = volume[tuple(slices)]
    return levels if axis == 0 else levels.swapaxes(0, axis)
