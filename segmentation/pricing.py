"""What tiles and shards cost on a volume: the candidates among which a plan is chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.plan import axis_origins
from segmentation.region import Region
from segmentation.tiling import TileSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from segmentation.ladder import TileCost
    from segmentation.planner import Needs

# Tiles that a shard is cut into along an axis, and the shards of the first search that are tried.
TILES_PER_SHARD = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32)
FINE_SHARDS = 12


@dataclass(frozen=True, slots=True)
class _Price:
    """One axis of one candidate: amplification, longest read and write, number of shards."""

    amplification: float
    read: int
    write: int
    shards: int


# Tile and cells per shard, along every axis.
Choice = tuple[tuple[int, int], ...]
_Prices = dict[tuple[int, int], _Price]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Every combination of the choices along the axes.

    Attributes
    ----------
    axes : list of list
        Choices along each axis.
    cost : numpy.ndarray
        Computed voxels / wanted voxels, with what tiles cost beside; one dimension an axis.
    needed : numpy.ndarray
        Peak bytes of a worker, of the same shape.
    """

    axes: list[list[tuple[int, int]]]
    cost: NDArray[np.float64]
    needed: NDArray[np.int64]

    def choice(self, index: Sequence[int]) -> Choice:
        """The combination at a place of the arrays."""
        return tuple(axis[i] for axis, i in zip(self.axes, index, strict=True))

    def affordable(self, memory_bytes: int) -> NDArray[np.bool_]:
        """Which of them fit into a budget."""
        fits: NDArray[np.bool_] = self.needed <= memory_bytes
        return fits

    def least(self, among: NDArray[np.bool_]) -> tuple[int, float, Choice] | None:
        """Bytes, cost and choice of the one that needs least memory; None if there is none."""
        if not among.any():
            return None
        bytes_ = int(self.needed[among].min())
        places = np.argwhere(among & (self.needed == bytes_))
        return min((bytes_, float(self.cost[tuple(i)]), self.choice(i.tolist())) for i in places)

    def best_shards(self, among: NDArray[np.bool_]) -> list[tuple[int, ...]]:
        """Cells per shard, along every axis, of the cheapest ones."""
        places = np.argwhere(among)
        order = np.lexsort((self.needed[among], self.cost[among]))
        distinct: dict[tuple[int, ...], None] = {}
        for place in places[order]:
            distinct[tuple(cells for _, cells in self.choice(place.tolist()))] = None
            if len(distinct) == FINE_SHARDS:
                break
        return list(distinct)


@dataclass(frozen=True, slots=True)
class Pricing:
    """What tiles and shards cost on one volume; prices along an axis are kept."""

    shape: tuple[int, ...]
    region: Region
    cell: tuple[int, ...]
    stride: tuple[int, ...]
    halo: tuple[int, ...]
    exact: bool
    needs: Needs
    cost: TileCost
    known: dict[tuple[int, int, int], _Price] = field(default_factory=dict)

    @property
    def coded(self) -> int:
        """Wanted voxels of the fullest cell; the zeros stored beyond them are next to nothing."""
        return math.prod(map(_longest, self.region.start, self.region.stop, self.cell))

    def axis(self, axis: int, tiles: Iterable[int], multiples: Iterable[int]) -> _Prices:
        """Prices of all pairs along one axis."""
        return {(t, m): self.price(axis, t, m) for t, m in product(tiles, multiples)}

    def price(self, axis: int, tile: int, multiple: int) -> _Price:
        """Price of one pair along one axis."""
        key = (axis, tile, multiple)
        if key not in self.known:
            self.known[key] = self._priced(*key)
        return self.known[key]

    def _priced(self, axis: int, tile: int, multiple: int) -> _Price:
        spec = TileSpec((tile,), (self.halo[axis],), (self.stride[axis],), self.exact)
        line = Region((self.region.start[axis],), (self.region.stop[axis],))
        size, extent = self.shape[axis], self.cell[axis] * multiple
        origins = list(axis_origins(line, (size,), (extent,), spec, 0))
        wanted = self.region.shape[axis]
        return _Price(
            amplification=sum(map(len, origins)) * tile / wanted,
            read=max(min(o[-1] + tile, size) - o[0] for o in origins),
            write=_longest(line.start[0], line.stop[0], extent),
            shards=len(origins),
        )

    def candidates(self, prices: Sequence[_Prices]) -> Candidates:
        """Every combination over the axes; of a large volume there are some 10⁵."""
        axes = [_frontier(axis) for axis in prices]

        def over_axes(value: Callable[[tuple[int, int], _Price], float]) -> Any:
            pairs = zip(prices, axes, strict=True)
            return reduce(
                np.multiply.outer, [np.array([value(c, p[c]) for c in a]) for p, a in pairs]
            )

        tile = over_axes(lambda choice, _: choice[0])
        amplification = over_axes(lambda _, price: price.amplification)
        # However few shards there are: else few large ones, for one worker, would be the cheapest.
        needed = self.needs.projected(
            over_axes(lambda _, price: price.read),
            over_axes(lambda _, price: price.write),
            self.coded,
            tile,
            1,
        )
        return Candidates(axes, amplification * (1 + self.cost.overhead_voxels / tile), needed)

    def finer(
        self, found: Candidates, memory_bytes: int, seen: Sequence[int]
    ) -> Iterator[Candidates]:
        """The best shards of a search, with tiles that divide them evenly along the seen axes."""
        for multiples in found.best_shards(found.affordable(memory_bytes)):
            yield self.candidates(
                [
                    self.axis(a, self._even_tiles(a, m) if a in seen else [1], [m])
                    for a, m in enumerate(multiples)
                ]
            )

    def _even_tiles(self, axis: int, multiple: int) -> list[int]:
        """The smallest tiles of which so many cover a shard, and the whole axis."""
        stride, halo = self.stride[axis], self.halo[axis]
        padded = -(-self.shape[axis] // stride) * stride
        extent = self.cell[axis] * multiple
        cores = {-(-extent // (count * stride)) * stride for count in TILES_PER_SHARD}
        return sorted({core + 2 * halo for core in cores if core + 2 * halo < padded} | {padded})

    def largest(self, choice: Choice) -> tuple[int, int, int]:
        """Voxels of the largest read region and of the largest write region; number of shards."""
        prices = [self.price(axis, *pair) for axis, pair in enumerate(choice)]
        read, write = math.prod(p.read for p in prices), math.prod(p.write for p in prices)
        return read, write, math.prod(p.shards for p in prices)


def _longest(start: int, stop: int, extent: int) -> int:
    """Of the parts into which multiples of an extent cut an interval, the longest one's length."""
    first, last = start // extent, (stop - 1) // extent
    if last - first > 1:
        return extent
    return max(min(stop, (n + 1) * extent) - max(start, n * extent) for n in (first, last))


def _frontier(axis: _Prices) -> list[tuple[int, int]]:
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
