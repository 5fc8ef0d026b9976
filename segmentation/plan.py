"""The plan: shards cut on the write grid, tiles, projected memory, amplification.

A plan is pure: it knows shapes, never voxels, and is complete before any work starts. Saved
with the run, it is reloaded by a resumed one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segmentation.region import Region
from segmentation.tiling import TileSpec, axis_tiles, read_region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TRIVIAL_SHARD_VOXELS = 2**24


@dataclass(frozen=True, slots=True)
class Shard:
    """Unit of scheduling.

    Attributes
    ----------
    index : int
        Position in the plan.
    write : Region
        Voxels this shard alone writes: whole write-grid cells, clipped by the wanted region.
    read : Region
        ``write`` grown by what its tiles need.
    """

    index: int
    write: Region
    read: Region


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Shards of equal shape over a region, and the tiles inside them.

    Attributes
    ----------
    shape : tuple of int
        Shape of the mask volume.
    region : Region
        Wanted voxels.
    cell : tuple of int
        Write-grid cell of the mask volume.
    shard_shape : tuple of int
        A whole number of cells along every axis.
    spec : TileSpec
        Tile, halo and stride.
    batch : int
        Tiles computed at once.
    projected_bytes : int
        Peak memory of one worker.
    """

    shape: tuple[int, ...]
    region: Region
    cell: tuple[int, ...]
    shard_shape: tuple[int, ...]
    spec: TileSpec
    batch: int
    projected_bytes: int

    def __post_init__(self) -> None:
        if any(s % c for s, c in zip(self.shard_shape, self.cell, strict=True)):
            raise ValueError(
                f"shard {self.shard_shape} is not a whole number of write-grid cells {self.cell}: "
                "two shards would write one cell; use a multiple of it"
            )
        if not Region.whole(self.shape).contains(self.region):
            raise ValueError(f"region {self.region} leaves the volume of shape {self.shape}")

    @property
    def grid_start(self) -> tuple[int, ...]:
        """Index of the first shard along each axis."""
        return tuple(a // s for a, s in zip(self.region.start, self.shard_shape, strict=True))

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Number of shards along each axis."""
        return tuple(
            -(-b // s) - a
            for b, s, a in zip(self.region.stop, self.shard_shape, self.grid_start, strict=True)
        )

    def __len__(self) -> int:
        return math.prod(self.grid_shape)

    def __iter__(self) -> Iterator[Shard]:
        return (self.shard(index) for index in range(len(self)))

    def shard(self, index: int) -> Shard:
        """The shard at a position, in C order of the shard grid."""
        write = self.write_region(index)
        return Shard(index, write, read_region(write, self.shape, self.spec))

    def write_region(self, index: int) -> Region:
        """Voxels that the shard at a position writes."""
        rest, start, stop = index, [], []
        bounds = zip(self.region.start, self.region.stop, self.shard_shape, strict=True)
        # Asked for several times a shard: plain arithmetic, the last axis first.
        for first, last, extent in reversed([*bounds]):
            low = first // extent
            rest, place = divmod(rest, -(-last // extent) - low)
            origin = (low + place) * extent
            start.append(max(origin, first))
            stop.append(min(origin + extent, last))
        if rest:
            raise IndexError(f"shard {index} of a plan with {len(self)} shards")
        return Region(tuple(reversed(start)), tuple(reversed(stop)))

    @property
    def computed_voxels(self) -> int:
        """Voxels that pass through the network, halo and padding included."""
        return math.prod(
            tiles * tile
            for tiles, tile in zip(
                axis_counts(self.region, self.shape, self.shard_shape, self.spec),
                self.spec.tile,
                strict=True,
            )
        )

    @property
    def amplification(self) -> float:
        """Computed voxels / wanted voxels."""
        return self.computed_voxels / self.region.voxels

    @property
    def read_voxels(self) -> int:
        """Voxels read from the store, halos counted as often as they are read."""
        total = 1
        for axis in range(len(self.shape)):
            total *= sum(
                min(origins[-1] + self.spec.tile[axis], self.shape[axis]) - origins[0]
                for origins in axis_origins(
                    self.region, self.shape, self.shard_shape, self.spec, axis
                )
            )
        return total

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for run.json."""
        return {
            "shape": list(self.shape),
            "region": {"start": list(self.region.start), "stop": list(self.region.stop)},
            "cell": list(self.cell),
            "shard_shape": list(self.shard_shape),
            "tiling": self.spec.to_dict(),
            "batch": self.batch,
            "projected_bytes": self.projected_bytes,
            "amplification": self.amplification,
            "shards": len(self),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ShardPlan:
        """Inverse of `to_dict`."""
        return cls(
            shape=tuple(data["shape"]),
            region=Region(tuple(data["region"]["start"]), tuple(data["region"]["stop"])),
            cell=tuple(data["cell"]),
            shard_shape=tuple(data["shard_shape"]),
            spec=TileSpec.from_dict(data["tiling"]),
            batch=int(data["batch"]),
            projected_bytes=int(data["projected_bytes"]),
        )


def axis_origins(
    region: Region, shape: Sequence[int], shard_shape: Sequence[int], spec: TileSpec, axis: int
) -> Iterator[list[int]]:
    """Tile origins of every shard along one axis."""
    extent = shard_shape[axis]
    start, stop = region.start[axis], region.stop[axis]
    for place in range(start // extent, -(-stop // extent)):
        low, high = max(start, place * extent), min(stop, (place + 1) * extent)
        yield axis_tiles(low, high, shape[axis], spec, axis)


def axis_counts(
    region: Region, shape: Sequence[int], shard_shape: Sequence[int], spec: TileSpec
) -> tuple[int, ...]:
    """Number of tiles along each axis, over all shards; the plan computes their product."""
    return tuple(
        sum(len(origins) for origins in axis_origins(region, shape, shard_shape, spec, axis))
        for axis in range(len(shape))
    )


def trivial_plan(
    shape: Sequence[int],
    region: Region,
    cell: Sequence[int],
    shard_shape: Sequence[int] | None = None,
) -> ShardPlan:
    """A plan without a network: to read a volume piece by piece.

    Parameters
    ----------
    shape : sequence of int
        Of the volume.
    region : Region
        Wanted voxels.
    cell : sequence of int
        Write-grid cell.
    shard_shape : sequence of int, optional
        A whole number of cells along every axis; a few cells without it.
    """
    shape, cell = tuple(shape), tuple(cell)
    shard = list(shard_shape or cell)
    growable = list(range(len(shape))) if shard_shape is None else []
    while growable and math.prod(shard) < TRIVIAL_SHARD_VOXELS:
        axis = growable.pop()
        while shard[axis] < shape[axis] and math.prod(shard) < TRIVIAL_SHARD_VOXELS:
            shard[axis] += cell[axis]
    ones = (1,) * len(shape)
    return ShardPlan(
        shape, region, cell, tuple(shard), TileSpec(ones, (0,) * len(shape), ones), 1, 0
    )
