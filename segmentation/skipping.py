"""Empty blocks of a shard: found on a coarser level, set to background, some inferred anyway.

The decision is made on a fixed grid of blocks, never on tiles, so that neither the memory budget
nor the shape of shards can change a voxel of the mask::

    | skipped | skipped | sampled | computed | computed |      blocks of the finest level
         0         0      network    network    network        voxels of the mask

A block is empty if every voxel of the coarser level that sees it, or its surroundings as far as
the network looks, is at most `below` in every channel. What a coarser voxel averages away is not
seen: of the empty blocks a random sample is inferred all the same, and what the network finds
there is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.region import Region
from segmentation.tiling import Window, blend_windows, exact_windows, tiles_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from segmentation.coarse_level import CoarseLevel
    from segmentation.plan import Shard, ShardPlan

    Reader = Callable[[Region], NDArray[Any]]
    Span = tuple[int, int] | None

CERTAIN = 255


@dataclass(frozen=True, slots=True)
class SkipRule:
    """When a block is not computed.

    Attributes
    ----------
    below : float
        Intensity of the image, not normalised, that no voxel of an empty block exceeds.
    block : tuple of int
        Block shape in voxels of the finest level; it divides the write-grid cells.
    level : CoarseLevel
        What is looked at.
    sample : float
        Probability with which an empty block is inferred all the same.
    seed : int
        Of the sample.
    """

    below: float
    block: tuple[int, ...]
    level: CoarseLevel
    sample: float
    seed: int = 0

    def draws(self, origin: tuple[int, ...]) -> bool:
        """Whether the empty block at an origin is in the sample: the same at any time and place."""
        key = f"{self.seed} {' '.join(map(str, origin))}".encode()
        number = int.from_bytes(blake2b(key, digest_size=8).digest(), "big")
        return number < self.sample * 2**64


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What is computed of a shard.

    Attributes
    ----------
    shard : Shard
        As planned.
    block, first : tuple of int
        Block shape, and index of the shard's first block on the grid of the volume.
    skipped, sampled : numpy.ndarray
        bool, one for each block: it becomes background unseen; it is empty and yet inferred.
    """

    shard: Shard
    block: tuple[int, ...]
    first: tuple[int, ...]
    skipped: NDArray[np.bool_]
    sampled: NDArray[np.bool_]

    def wants(self, tile: Window | Region) -> bool:
        """Whether what is kept of a tile reaches into a block that is not skipped."""
        kept = tile.keep if isinstance(tile, Window) else tile
        inside = kept.intersection(self.shard.write)
        if inside is None:
            return False
        blocks = tuple(
            slice(a // size - first, -(-b // size) - first)
            for a, b, size, first in zip(
                inside.start, inside.stop, self.block, self.first, strict=True
            )
        )
        return not self.skipped[blocks].all()

    def tiles(self, plan: ShardPlan) -> list[Region]:
        """The tiles that are computed, of those that the shard has."""
        windows = exact_windows if plan.spec.exact else blend_windows
        found = filter(self.wants, windows(self.shard.write, plan.shape, plan.spec))
        return [tile.tile if isinstance(tile, Window) else tile for tile in found]

    def narrowed(self, plan: ShardPlan) -> Shard | None:
        """The shard with no more to read than its tiles need; None if it has none."""
        tiles = self.tiles(plan)
        if not tiles:
            return None
        start = tuple(map(min, zip(*(tile.start for tile in tiles), strict=True)))
        stop = tuple(map(max, zip(*(tile.stop for tile in tiles), strict=True)))
        return replace(self.shard, read=Region(start, tuple(map(min, stop, plan.shape))))

    def blank(self, classes: NDArray[np.generic], probabilities: NDArray[np.uint8] | None) -> None:
        """Make skipped blocks background, in place, whatever a tile said about them in passing.

        Parameters
        ----------
        classes : numpy.ndarray
            Of the shard's write region.
        probabilities : numpy.ndarray or None
            uint8, with a last axis of classes.
        """
        for box in self._boxes(self.skipped):
            classes[box.slices] = 0
            if probabilities is not None:
                probabilities[box.slices] = 0
                probabilities[..., 0][box.slices] = CERTAIN

    def counts(self, plan: ShardPlan) -> dict[str, int]:
        """Blocks, their voxels, and tiles; the counts of all shards add up."""
        return {
            "blocks": self.skipped.size,
            "skipped_blocks": int(self.skipped.sum()),
            "sampled_blocks": int(self.sampled.sum()),
            "skipped_voxels": sum(box.voxels for box in self._boxes(self.skipped)),
            "sampled_voxels": sum(box.voxels for box in self._boxes(self.sampled)),
            "tiles": sum(1 for _ in tiles_of(self.shard.write, plan.shape, plan.spec)),
            "computed_tiles": len(self.tiles(plan)),
        }

    def false_counts(self, classes: NDArray[np.generic]) -> dict[str, int]:
        """Sampled blocks with a voxel that is not background, and such voxels.

        Parameters
        ----------
        classes : numpy.ndarray
            Of the shard's write region.
        """
        found = [int(np.count_nonzero(classes[b.slices])) for b in self._boxes(self.sampled)]
        return {"false_blocks": sum(map(bool, found)), "false_voxels": sum(found)}

    def _boxes(self, chosen: NDArray[np.bool_]) -> Iterator[Region]:
        """The chosen blocks, seen from the start of the shard's write region."""
        for place in map(tuple, np.argwhere(chosen).tolist()):
            inside = _block_box(self.first, place, self.block).intersection(self.shard.write)
            if inside is not None:
                yield inside.relative_to(self.shard.write.start)


def select_blocks(shard: Shard, plan: ShardPlan, rule: SkipRule, read: Reader) -> Selection:
    """Which blocks of a shard are computed.

    Parameters
    ----------
    shard : Shard
        Of the plan.
    rule : SkipRule
        When a block is not computed.
    read : callable
        Voxels of a region of the coarser level, shape (*region.shape, channels).
    """
    first = tuple(a // b for a, b in zip(shard.write.start, rule.block, strict=True))
    last = tuple(-(-a // b) for a, b in zip(shard.write.stop, rule.block, strict=True))
    spans = [
        [_span(rule, plan, axis, index) for index in range(*ends)]
        for axis, ends in enumerate(zip(first, last, strict=True))
    ]
    empty = _empty(spans, rule.below, read)
    sampled = np.zeros_like(empty)
    for place in map(tuple, np.argwhere(empty).tolist()):
        sampled[place] = rule.draws(_block_box(first, place, rule.block).start)
    return Selection(shard, rule.block, first, empty & ~sampled, sampled)


def _span(rule: SkipRule, plan: ShardPlan, axis: int, index: int) -> Span:
    """Voxels of the coarser level that see what decides a block's voxels, along an axis.

    The block is whole even where the wanted region cuts it: a voxel must not depend on the region.
    """
    size, halo, stride = rule.block[axis], plan.spec.halo[axis], plan.spec.stride[axis]
    start = index * size // stride * stride - halo
    stop = -(-(index + 1) * size // stride) * stride + halo
    return rule.level.span(axis, max(0, start), min(plan.shape[axis], stop))


def _empty(spans: list[list[Span]], below: float, read: Reader) -> NDArray[np.bool_]:
    """Blocks of which no voxel of the coarser level exceeds a value; NaN does."""
    seen = [[span for span in row if span is not None] for row in spans]
    if not all(seen):
        return np.zeros([len(row) for row in spans], np.bool_)
    start = tuple(min(span[0] for span in row) for row in seen)
    stop = tuple(max(span[1] for span in row) for row in seen)
    bright = np.asarray(~(read(Region(start, stop)) <= below).all(axis=-1))
    for axis, row in enumerate(spans):
        bright = np.stack([_any(bright, axis, span, start[axis]) for span in row], axis)
    return np.logical_not(bright)


def _any(bright: NDArray[np.bool_], axis: int, span: Span, start: int) -> NDArray[np.bool_]:
    """Whether anything is bright in a span of an axis; what cannot be seen may be."""
    if span is None:
        return np.ones(np.delete(bright.shape, axis), np.bool_)
    part = slice(span[0] - start, span[1] - start)
    return np.asarray(bright[(*(slice(None),) * axis, part)].any(axis))


def _block_box(first: tuple[int, ...], place: tuple[int, ...], block: tuple[int, ...]) -> Region:
    """A block in voxels of the volume; it may reach beyond its end."""
    start = tuple((f + p) * b for f, p, b in zip(first, place, block, strict=True))
    return Region(start, tuple(s + b for s, b in zip(start, block, strict=True)))
