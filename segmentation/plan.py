"""The plan: shards cut on the write grid, tiles, projected memory, amplification.

A plan is pure: it knows shapes, never voxels, and is complete before any work starts. Saved
with the run, it is reloaded by a resumed one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from segmentation.region import Region
from segmentation.tiling import TileSpec, axis_tiles, read_region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MEBIBYTE = 2**20
IN_FLIGHT = 3
SMALL_ENOUGH = 1.02
MAX_CELLS_PER_AXIS = 8
BATCH_VOXELS = 2**18
TILE_OVERHEAD_VOXELS = 2**14
TRIVIAL_SHARD_VOXELS = 2**24
TILE_EXTENTS = (16, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1536, 2048)


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
        if not 0 <= index < len(self):
            raise IndexError(f"shard {index} of a plan with {len(self)} shards")
        place = []
        for count in reversed(self.grid_shape):
            index, remainder = divmod(index, count)
            place.append(remainder)
        origin = tuple(
            (a + i) * s
            for a, i, s in zip(self.grid_start, reversed(place), self.shard_shape, strict=True)
        )
        box = Region(origin, tuple(o + s for o, s in zip(origin, self.shard_shape, strict=True)))
        inside = box.intersection(self.region)
        if inside is None:
            raise ValueError(f"shard at {origin} lies outside the region {self.region}")
        return inside

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
                for origins in _axis_origins(
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


@dataclass(frozen=True, slots=True)
class Needs:
    """What a worker holds, in bytes, for the memory projection.

    Attributes
    ----------
    reserved : int
        Interpreter, libraries, device runtime and weights.
    read_voxel : int
        One voxel as read, all channels.
    write_voxel : int
        One voxel of the result and of the truth it is compared with.
    tile_voxel : int
        One voxel inside the network: input, live activations, output.
    """

    reserved: int
    read_voxel: int
    write_voxel: int
    tile_voxel: int

    def shard_bytes(self, read_voxels: int, write_voxels: int, cell_voxels: int) -> int:
        """Bytes of the shards one worker has in flight (one read, one computed, one written)."""
        per_shard = read_voxels * self.read_voxel + write_voxels * self.write_voxel
        return IN_FLIGHT * (per_shard + 2 * cell_voxels * self.write_voxel)

    def projected(self, read: int, write: int, cell: int, tile: int, batch: int) -> int:
        """Peak bytes of one worker; arguments in voxels."""
        return self.reserved + self.shard_bytes(read, write, cell) + tile * batch * self.tile_voxel


def make_plan(
    *,
    shape: Sequence[int],
    region: Region,
    cell: Sequence[int],
    stride: Sequence[int],
    halo: Sequence[int],
    network_axes: int,
    needs: Needs,
    memory_bytes: int,
    tile: Sequence[int] | None = None,
    exact: bool = True,
) -> ShardPlan:
    """The plan that computes fewest voxels within a memory budget.

    A tile costs its voxels and a little for being one more tile. Every combination of tile
    extents and of cells per shard is priced; the amplification is a product over axes, so that
    this is quick. Of the plans within 2 % of the best, the one that needs least memory is taken.

    Parameters
    ----------
    shape, cell : sequence of int
        Mask volume and its write-grid cell.
    region : Region
        Wanted voxels.
    stride, halo : sequence of int
        Of the network, per axis of the mask (1 and 0 where it does not look).
    network_axes : int
        How many of the last axes the network sees; tiles are single along the others.
    needs : Needs
        Bytes a worker holds.
    memory_bytes : int
        Budget of one worker.
    tile : sequence of int, optional
        A tile that must be used: networks of fixed input, and those that are not exact, whose
        result must not depend on the budget.
    exact : bool
        See `TileSpec`.

    Raises
    ------
    ValueError
        If even the smallest plan exceeds the budget; the message says which budget would do.
    """
    shape, cell = tuple(shape), tuple(cell)
    axes = range(len(shape))
    multiples = [_cell_choices(region, cell, a) if exact else [1] for a in axes]
    seen = range(len(shape) - network_axes, len(shape))
    tiles = [
        ([tile[a]] if tile else _tile_choices(shape[a], cell[a], multiples[a], stride[a], halo[a]))
        if a in seen
        else [1]
        for a in axes
    ]
    prices = [
        {
            (t, m): _axis_price(region, shape, cell[a] * m, t, stride[a], halo[a], a, exact)
            for t in tiles[a]
            for m in multiples[a]
        }
        for a in axes
    ]
    found = list(_candidates(prices, cell, region, needs))
    affordable = [c for c in found if c[1] <= memory_bytes]
    if not affordable:
        least = min(c[1] for c in found)
        raise ValueError(
            f"memory {memory_bytes // MEBIBYTE} MiB is too little for one shard; "
            f"the smallest plan needs {-(-least // MEBIBYTE)} MiB a worker (--memory)"
        )
    best = min(c[0] for c in affordable)
    _, _, choice = min(
        (c for c in affordable if c[0] <= best * SMALL_ENOUGH), key=lambda c: (c[1], c[0], c[2])
    )
    tile_shape = tuple(t for t, _ in choice)
    spec = TileSpec(tile_shape, tuple(halo), tuple(stride), exact)
    shard_shape = tuple(c * m for c, (_, m) in zip(cell, choice, strict=True))
    read, write = _largest(prices, choice, region, cell)
    base = needs.projected(read, write, math.prod(cell), spec.voxels, 1)
    batch = _batch(spec, write, (memory_bytes - base) // max(1, spec.voxels * needs.tile_voxel))
    projected = needs.projected(read, write, math.prod(cell), spec.voxels, batch)
    return ShardPlan(shape, region, cell, shard_shape, spec, batch, projected)


def _batch(spec: TileSpec, write_voxels: int, spare_tiles: int) -> int:
    """Small tiles are computed several at a time, as far as memory and the shard allow."""
    wanted = max(1, BATCH_VOXELS // spec.voxels)
    tiles_in_shard = -(-write_voxels // spec.voxels)
    return max(1, min(wanted, tiles_in_shard, 1 + spare_tiles))


def _tile_choices(size: int, cell: int, multiples: list[int], stride: int, halo: int) -> list[int]:
    """Common extents, extents that fit a shard in one tile, and the whole axis."""
    padded = -(-size // stride) * stride
    least = 2 * halo + stride
    wanted = [*TILE_EXTENTS, *(cell * m + 2 * halo for m in multiples)]
    rounded = {-(-extent // stride) * stride for extent in wanted}
    return sorted({t for t in {least, *rounded} if least <= t < padded} | {padded})


def _cell_choices(region: Region, cell: tuple[int, ...], axis: int) -> list[int]:
    touched = -(-region.stop[axis] // cell[axis]) - region.start[axis] // cell[axis]
    return [m for m in (1, 2, 3, 4, 6, MAX_CELLS_PER_AXIS) if m == 1 or m <= touched]


def _axis_origins(
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
        sum(len(origins) for origins in _axis_origins(region, shape, shard_shape, spec, axis))
        for axis in range(len(shape))
    )


@dataclass(frozen=True, slots=True)
class _Price:
    """One axis of one candidate: amplification, longest read and longest write."""

    amplification: float
    read: int
    write: int


def _axis_price(
    region: Region,
    shape: tuple[int, ...],
    extent: int,
    tile: int,
    stride: int,
    halo: int,
    axis: int,
    exact: bool,
) -> _Price:
    spec = TileSpec((tile,), (halo,), (stride,), exact)
    line = Region((region.start[axis],), (region.stop[axis],))
    origins = list(_axis_origins(line, (shape[axis],), (extent,), spec, 0))
    wanted = region.shape[axis]
    return _Price(
        amplification=sum(map(len, origins)) * tile / wanted,
        read=max(min(o[-1] + tile, shape[axis]) - o[0] for o in origins),
        write=min(extent, wanted),
    )


_Choice = tuple[tuple[int, int], ...]


def _candidates(
    prices: list[dict[tuple[int, int], _Price]],
    cell: tuple[int, ...],
    region: Region,
    needs: Needs,
) -> Iterator[tuple[float, int, _Choice]]:
    """Cost, projected bytes and choice of every combination over the axes."""
    for choice in product(*(_frontier(axis) for axis in prices)):
        amplification = math.prod(p[c].amplification for p, c in zip(prices, choice, strict=True))
        read, write = _largest(prices, choice, region, cell)
        tile = math.prod(t for t, _ in choice)
        cost = amplification * (1 + TILE_OVERHEAD_VOXELS / tile)
        yield cost, needs.projected(read, write, math.prod(cell), tile, 1), choice


def _frontier(axis: dict[tuple[int, int], _Price]) -> list[tuple[int, int]]:
    """Choices along one axis that none of the same tile beats in amplification and memory."""
    kept: list[tuple[int, int]] = []
    for choice in sorted(axis, key=lambda c: (c[0], axis[c].read, axis[c].amplification)):
        price = axis[choice]
        if not any(
            k[0] == choice[0]
            and axis[k].read <= price.read
            and axis[k].write <= price.write
            and axis[k].amplification <= price.amplification
            for k in kept
        ):
            kept.append(choice)
    return kept


def _largest(
    prices: list[dict[tuple[int, int], _Price]],
    choice: _Choice,
    region: Region,
    cell: tuple[int, ...],
) -> tuple[int, int]:
    """Voxels of the largest read region and of the largest write region."""
    read = math.prod(p[c].read for p, c in zip(prices, choice, strict=True))
    write = math.prod(p[c].write for p, c in zip(prices, choice, strict=True))
    return read, write


def trivial_plan(shape: Sequence[int], region: Region, cell: Sequence[int]) -> ShardPlan:
    """A plan without a network: shards of a few cells, to read a volume piece by piece."""
    shape, cell = tuple(shape), tuple(cell)
    shard = list(cell)
    growable = list(range(len(shape)))
    while growable and math.prod(shard) < TRIVIAL_SHARD_VOXELS:
        axis = growable.pop()
        while shard[axis] < shape[axis] and math.prod(shard) < TRIVIAL_SHARD_VOXELS:
            shard[axis] += cell[axis]
    ones = (1,) * len(shape)
    return ShardPlan(
        shape, region, cell, tuple(shard), TileSpec(ones, (0,) * len(shape), ones), 1, 0
    )
