"""The search for a plan: fewest computed voxels within a memory budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segmentation.ladder import TileCost
from segmentation.plan import ShardPlan
from segmentation.pricing import Pricing
from segmentation.tiling import TileSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segmentation.pricing import Candidates, Choice
    from segmentation.region import Region

# A number, or an array of the numbers of many candidates.
Voxels = Any

MEBIBYTE = 2**20
IN_FLIGHT = 3
SMALL_ENOUGH = 1.02
# What a plan may cost that does well, over the cheapest one.
WELL = 2
MAX_CELLS_PER_AXIS = 8
ASSUMED_COST = TileCost()
TILE_EXTENTS = (16, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1536, 2048)


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
    cell_voxel : int
        One voxel of a cell while it is encoded, and of its bytes.
    lone_voxel : int
        The same in a tile that is computed alone, in float32, for comparison; 0 if none is.
    wait_voxel : int
        One voxel of the tiles of a shard that waits for the device or has just had it.
    """

    reserved: int
    read_voxel: int
    write_voxel: int
    tile_voxel: int
    cell_voxel: int = 0
    lone_voxel: int = 0
    wait_voxel: int = 0

    def shard_bytes(self, read_voxels: Voxels, write_voxels: Voxels, cell_voxels: int) -> Any:
        """Bytes of one shard that is in flight: read, computed or written."""
        own = read_voxels * self.read_voxel + write_voxels * self.write_voxel
        return own + cell_voxels * self.cell_voxel

    def projected(
        self,
        read: Voxels,
        write: Voxels,
        cell: int,
        tile: Voxels,
        batch: int,
        shards: int = IN_FLIGHT,
    ) -> Any:
        """Peak bytes of one worker; sizes in voxels, and how many shards there are in all."""
        crowd = min(IN_FLIGHT, shards)
        in_network = tile * max(batch * self.tile_voxel, self.lone_voxel)
        beside = (crowd - 1) * tile * batch * self.wait_voxel
        return self.reserved + crowd * self.shard_bytes(read, write, cell) + in_network + beside


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
    cost: TileCost = ASSUMED_COST,
) -> ShardPlan:
    """The plan that computes fewest voxels within a memory budget.

    A tile costs its voxels and a little for being one more tile. Every combination of tile
    extents and of cells per shard is priced; the amplification is a product over axes, so that
    this is quick. The best shards are then tried with every tile that divides them evenly. Of the
    plans within 2 % of the best, the one that needs least memory is taken.

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
    cost : TileCost
        What a tile costs on the device of the workers, where that was measured.

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
    pricing = Pricing(shape, region, cell, tuple(stride), tuple(halo), exact, needs, cost)
    found = [pricing.candidates([pricing.axis(a, tiles[a], multiples[a]) for a in axes])]
    if exact and tile is None:
        found += pricing.finer(found[0], memory_bytes, seen)
    choice = _best(found, memory_bytes)
    tile_shape = tuple(t for t, _ in choice)
    spec = TileSpec(tile_shape, tuple(halo), tuple(stride), exact)
    shard_shape = tuple(c * m for c, (_, m) in zip(cell, choice, strict=True))
    read, write, shards = pricing.largest(choice)
    room = memory_bytes - int(needs.projected(read, write, pricing.coded, 0, 0))
    tile_bytes = spec.voxels * (needs.tile_voxel + (IN_FLIGHT - 1) * needs.wait_voxel)
    batch = _batch(spec, cost, write, room // max(1, tile_bytes))
    projected = needs.projected(read, write, pricing.coded, spec.voxels, batch, shards)
    return ShardPlan(shape, region, cell, shard_shape, spec, batch, int(projected))


def _best(found: Sequence[Candidates], memory_bytes: int) -> Choice:
    """Of the candidates within 2 % of the cheapest, the one that needs least memory."""
    affordable = [part.affordable(memory_bytes) for part in found]
    if not affordable[0].any():
        raise ValueError(
            f"memory {memory_bytes // MEBIBYTE} MiB is too little for one shard; "
            f"{_enough(found[0])}"
        )
    pairs = list(zip(found, affordable, strict=True))
    cheapest = min(part.cost[fits].min() for part, fits in pairs if fits.any())
    best = [part.least(fits & (part.cost <= cheapest * SMALL_ENOUGH)) for part, fits in pairs]
    return min(one for one in best if one is not None)[2]


def _enough(candidates: Candidates) -> str:
    """The least memory that will do, and where that is slow, what would do well."""
    needed, cost = candidates.needed, candidates.cost
    least, well = int(needed.min()), int(needed[cost <= WELL * cost.min()].min())
    text = f"the smallest plan needs {-(-least // MEBIBYTE)} MiB a worker (--memory)"
    if well == least:
        return text
    times = float(cost[needed == least].min() / cost[needed == well].min())
    return f"{text}; {-(-well // MEBIBYTE)} MiB make it {times:.0f} times as fast"


def _batch(spec: TileSpec, cost: TileCost, write_voxels: int, tiles_in_memory: int) -> int:
    """Small tiles are computed several at a time, as far as memory and the shard allow."""
    wanted = max(1, cost.batch_voxels // spec.voxels)
    tiles_in_shard = -(-write_voxels // spec.voxels)
    return max(1, min(wanted, tiles_in_shard, tiles_in_memory))


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
