"""How much there is to do: voxels read, passed through the network and written.

Shards at the border of a volume are smaller than those inside it, so that work is told in voxels
and never in shards.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from segmentation.plan import axis_origins
from segmentation.tiling import axis_tiles, read_region

if TYPE_CHECKING:
    from segmentation.plan import ShardPlan


@dataclass(frozen=True, slots=True)
class Load:
    """Voxels of one shard, of several, or of a whole plan.

    Attributes
    ----------
    read : int
        Voxels read from the image, halos counted as often as they are read.
    computed : int
        Voxels that the network is shown, with the zeros that fill up a short batch.
    written : int
        Voxels of the mask.
    """

    read: int
    computed: int
    written: int

    def __add__(self, other: Load) -> Load:
        return Load(
            self.read + other.read, self.computed + other.computed, self.written + other.written
        )


def shard_load(plan: ShardPlan, index: int) -> Load:
    """What the shard at a position has to do."""
    write = plan.write_region(index)
    tiles = math.prod(
        len(axis_tiles(a, b, size, plan.spec, axis))
        for axis, (a, b, size) in enumerate(zip(write.start, write.stop, plan.shape, strict=True))
    )
    read = read_region(write, plan.shape, plan.spec)
    return Load(read.voxels, _filled(tiles, plan), write.voxels)


def plan_load(plan: ShardPlan) -> Load:
    """What all shards of a plan have to do.

    Shards that need as many tiles along every axis are counted together: a plan of a million
    shards has a handful of kinds.
    """
    kinds = [
        Counter(
            len(origins)
            for origins in axis_origins(plan.region, plan.shape, plan.shard_shape, plan.spec, axis)
        )
        for axis in range(len(plan.shape))
    ]
    computed = sum(
        math.prod(shards for _, shards in choice)
        * _filled(math.prod(tiles for tiles, _ in choice), plan)
        for choice in product(*(kind.items() for kind in kinds))
    )
    return Load(plan.read_voxels, computed, plan.region.voxels)


def _filled(tiles: int, plan: ShardPlan) -> int:
    """Voxels of so many tiles in whole batches."""
    return -(-tiles // plan.batch) * plan.batch * plan.spec.voxels
