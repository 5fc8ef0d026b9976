"""What tiles and shards cost on a volume: the candidates among which a plan is chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import islice, product
from typing import TYPE_CHECKING

from segmentation.plan import axis_origins
from segmentation.region import Region
from segmentation.tiling import TileSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from segmentation.ladder import TileCost
    from segmentation.planner import Needs

# Tiles that a shard is cut into along an axis, and the shards of the first search that are tried.
TILES_PER_SHARD = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32)
FINE_SHARDS = 12


@dataclass(frozen=True, slots=True)
class _Price:
    """One axis of one candidate: amplification, longest read and longest write."""

    amplification: float
    read: int
    write: int


_Choice = tuple[tuple[int, int], ...]
# Cost, projected bytes, and tile and cells per shard along every axis.
_Candidate = tuple[float, int, _Choice]
_Prices = dict[tuple[int, int], _Price]


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
            write=min(extent, wanted),
        )

    def candidates(self, prices: Sequence[_Prices]) -> Iterator[_Candidate]:
        """Every combination over the axes."""
        for choice in product(*(_frontier(axis) for axis in prices)):
            amplification = math.prod(
                p[c].amplification for p, c in zip(prices, choice, strict=True)
            )
            read, write = self.largest(choice)
            tile = math.prod(t for t, _ in choice)
            cost = amplification * (1 + self.cost.overhead_voxels / tile)
            yield cost, self.needs.projected(read, write, math.prod(self.cell), tile, 1), choice

    def finer(self, found: Sequence[_Candidate], seen: Sequence[int]) -> Iterator[_Candidate]:
        """The best shards of a search, with tiles that divide them evenly along the seen axes."""
        for multiples in _best_shards(found):
            prices = [
                self.axis(a, self._even_tiles(a, m) if a in seen else [1], [m])
                for a, m in enumerate(multiples)
            ]
            yield from self.candidates(prices)

    def _even_tiles(self, axis: int, multiple: int) -> list[int]:
        """The smallest tiles of which so many cover a shard, and the whole axis."""
        stride, halo = self.stride[axis], self.halo[axis]
        padded = -(-self.shape[axis] // stride) * stride
        extent = self.cell[axis] * multiple
        cores = {-(-extent // (count * stride)) * stride for count in TILES_PER_SHARD}
        return sorted({core + 2 * halo for core in cores if core + 2 * halo < padded} | {padded})

    def largest(self, choice: _Choice) -> tuple[int, int]:
        """Voxels of the largest read region and of the largest write region."""
        prices = [self.price(axis, *pair) for axis, pair in enumerate(choice)]
        return math.prod(p.read for p in prices), math.prod(p.write for p in prices)


def _best_shards(found: Sequence[_Candidate]) -> list[tuple[int, ...]]:
    """Cells per shard, along every axis, of the cheapest candidates."""
    ordered = sorted(found, key=lambda c: (c[0], c[1], c[2]))
    distinct = dict.fromkeys(tuple(m for _, m in choice) for _, _, choice in ordered)
    return list(islice(distinct, FINE_SHARDS))


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
