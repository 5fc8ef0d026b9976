"""One shard: read, normalise, tile, predict, keep the cores, count against the truth."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from segmentation.tiling import Window, blend_weights, blend_windows, cut_tile, exact_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from segmentation.normalize import IntensityTransform
    from segmentation.plan import Shard, ShardPlan
    from segmentation.predictor import Predictor
    from segmentation.region import Region
    from segmentation.skipping import Selection
    from segmentation.tiling import TileSpec

_Tile = TypeVar("_Tile", "Region", "Window")
PROBABILITY_LEVELS = 255


class VoxelArray(Protocol):
    """Anything with a shape, a dtype and ``[slices]``: numpy in tests, Zarr in production."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis."""

    def __getitem__(self, slices: tuple[slice, ...], /) -> np.ndarray:
        """Voxels of a box."""


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a worker returns for a shard. Never voxels.

    Attributes
    ----------
    index : int
        Position in the plan.
    statistics : dict
        Integer statistics by name (see `segmentation.evaluation`), as `encode_array` gives them;
        empty where there is no truth.
    shares : list of int
        Voxels the mask gives to each class; empty for the identity predictor.
    objects : list of dict
        Stored objects the shard owns: ``key``, ``size``, ``checksum``.
    seconds : dict
        Wall seconds of read, compute and write.
    peak_bytes : int
        Peak resident memory of the worker so far.
    requests : dict
        Requests to object stores since the worker's last result, and their bytes; empty for
        local folders.
    batch : int
        Tiles computed at once at the end, fewer than planned where memory ran out; 0 without a
        network.
    agreement : tuple of int
        Of a shard that was compared with float32: voxels of the same class, voxels compared.
    skipping : dict
        Blocks and tiles that were computed and skipped (see `segmentation.skipping`); empty
        where every block is computed.
    """

    index: int
    statistics: dict[str, Any]
    shares: list[int]
    objects: list[dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    batch: int = 0
    agreement: tuple[int, ...] = ()
    skipping: dict[str, int] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Fields of the shard's record."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        found.pop("index")
        if not self.agreement:
            found.pop("agreement")
        return found


def read_block(
    image: VoxelArray, region: Region, channel_axis: int | None, channels: Sequence[int] | None
) -> np.ndarray:
    """Voxels of a region with the channels last.

    Parameters
    ----------
    image : array-like
        One resolution level, with or without a channel axis.
    region : Region
        Along the axes of the mask (those of the image without its channels).
    channel_axis : int or None
        Where the image has its channels.
    channels : sequence of int, optional
        Channels to take, in this order; None takes all.

    Returns
    -------
    numpy.ndarray
        Shape (*region.shape, channels), the image's dtype.
    """
    slices = list(region.slices)
    if channel_axis is None:
        return image[tuple(slices)][..., np.newaxis]
    slices.insert(channel_axis, slice(0, image.shape[channel_axis]))
    block = np.moveaxis(image[tuple(slices)], channel_axis, -1)
    return block if channels is None else block[..., list(channels)]


@dataclass(frozen=True, slots=True)
class ShardOutput:
    """What the network says about the voxels a shard writes.

    Attributes
    ----------
    classes : numpy.ndarray
        Unsigned integers, the shape of the write region.
    probabilities : numpy.ndarray or None
        uint8, 255 = 1, with a last axis of classes.
    """

    classes: np.ndarray
    probabilities: np.ndarray | None = None


def segment_shard(
    block: np.ndarray,
    shard: Shard,
    plan: ShardPlan,
    predictor: Predictor,
    transform: IntensityTransform | None,
    *,
    probabilities: bool = False,
    device: AbstractContextManager[Any] | None = None,
    selection: Selection | None = None,
) -> ShardOutput:
    """Classes, and on request probabilities, of the voxels a shard writes.

    Parameters
    ----------
    block : numpy.ndarray
        Voxels of ``shard.read``, shape (*read.shape, channels).
    transform : IntensityTransform or None
        None hands the voxels over as they are (the identity predictor).
    probabilities : bool
        Keep the quantised probabilities too; the classes are the same with and without.
    device : context manager, optional
        Held while the network computes, so that threads of one worker take turns.
    selection : Selection, optional
        What is computed of the shard; the rest becomes background.
    """
    run = TileRun(block, shard, plan, predictor, transform, device or nullcontext(), selection)
    if not plan.spec.exact:
        output = run.blended(keep=probabilities)
    else:
        output = run.exact_probabilities() if probabilities else run.exact_classes()
    if selection is not None:
        selection.blank(output.classes, output.probabilities)
    return output


def background(write: Region, num_classes: int, *, probabilities: bool = False) -> ShardOutput:
    """The output of a shard of which nothing is computed: class 0, certain."""
    levels = np.zeros((*write.shape, num_classes), np.uint8) if probabilities else None
    if levels is not None:
        levels[..., 0] = PROBABILITY_LEVELS
    return ShardOutput(np.zeros(write.shape, np.uint8), levels)


def shard_probabilities(
    block: np.ndarray,
    shard: Shard,
    plan: ShardPlan,
    predictor: Predictor,
    transform: IntensityTransform | None,
) -> np.ndarray:
    """Probabilities of the voxels a shard writes, float32, shape (*write.shape, classes).

    The arguments are those of `segment_shard`.
    """
    run = TileRun(block, shard, plan, predictor, transform, nullcontext())
    return run.exact_floats() if plan.spec.exact else run.blended_floats()


@dataclass(frozen=True, slots=True)
class TileRun:
    """The tiles of one shard on their way through the network."""

    block: np.ndarray
    shard: Shard
    plan: ShardPlan
    predictor: Predictor
    transform: IntensityTransform | None
    device: AbstractContextManager[Any]
    selection: Selection | None = None

    def exact_classes(self) -> ShardOutput:
        """Every voxel from the one tile that keeps it; classes straight from the device."""
        result: np.ndarray | None = None
        for batch in self.batches(exact_windows):
            stack = self.stack([window.tile for window in batch])
            with self.device:
                outputs = self.predictor.predict_classes(stack)
            outputs = outputs.reshape(len(batch), *self.plan.spec.tile)
            if result is None:
                result = np.zeros(self.shard.write.shape, outputs.dtype)
            self.keep(batch, outputs, result)
        return ShardOutput(_given(result))

    def first_window(self) -> Window:
        """The first tile that is computed, and the part of it that the shard writes."""
        if self.plan.spec.exact:
            return next(self.batches(exact_windows))[0]
        tile = next(self.batches(blend_windows))[0]
        return Window(tile, tile.intersection(self.shard.write) or tile)

    def classes_in(self, window: Window) -> np.ndarray:
        """Classes of what is kept of one tile."""
        stack = self.stack([window.tile])
        with self.device:
            classes = self.predictor.predict_classes(stack)
        inside = window.keep.relative_to(window.tile.start).slices
        return classes.reshape(window.tile.shape)[inside]

    def exact_probabilities(self) -> ShardOutput:
        """The same, with the probabilities kept."""
        classes: np.ndarray | None = None
        levels: np.ndarray | None = None
        for batch in self.batches(exact_windows):
            stack = self.stack([window.tile for window in batch])
            with self.device:
                chosen, found = self.predictor.predict_both(stack)
            chosen = chosen.reshape(len(batch), *self.plan.spec.tile)
            found = found.reshape(*chosen.shape, found.shape[-1])
            if classes is None or levels is None:
                classes = np.zeros(self.shard.write.shape, np.uint8)
                levels = np.zeros((*classes.shape, found.shape[-1]), np.uint8)
            self.keep(batch, chosen, classes)
            for output, (place, kept) in zip(found, self.places(batch), strict=True):
                # A plane at a time: numbers of 8 bytes for every voxel of a tile would be much.
                for plane, quantised in zip(output[kept], levels[place], strict=True):
                    quantised[...] = quantise(plane)
        return ShardOutput(_given(classes), levels)

    def exact_floats(self) -> np.ndarray:
        """Every voxel's probabilities from the one tile that keeps it."""
        result: np.ndarray | None = None
        for batch in self.batches(exact_windows):
            outputs = self.predict_float([window.tile for window in batch])
            if result is None:
                result = np.zeros((*self.shard.write.shape, outputs.shape[-1]), np.float32)
            self.keep(batch, outputs, result)
        return _given(result)

    def blended(self, *, keep: bool) -> ShardOutput:
        """Classes of the blended probabilities."""
        mean = self.blended_floats()
        return ShardOutput(self.predictor.classes_of(mean), quantise(mean) if keep else None)

    def blended_floats(self) -> np.ndarray:
        """Gaussian mean over overlapping tiles, in a fixed order."""
        weights = blend_weights(self.plan.spec)
        total: np.ndarray | None = None
        norm = np.zeros(self.shard.write.shape, np.float32)
        for batch in self.batches(blend_windows):
            outputs = self.predict_float(batch)
            if total is None:
                total = np.zeros((*norm.shape, outputs.shape[-1]), np.float32)
            for tile, output in zip(batch, outputs, strict=True):
                common = tile.intersection(self.shard.write)
                if common is not None:
                    inside = common.relative_to(tile.start).slices
                    place = common.relative_to(self.shard.write.start).slices
                    total[place] += output[inside] * weights[inside][..., np.newaxis]
                    norm[place] += weights[inside]
        mean, seen = _given(total), norm[..., np.newaxis]
        # Only in skipped blocks there are voxels that no tile has seen.
        np.divide(mean, seen, out=mean, where=seen > 0)
        return mean

    def batches(
        self, windows: Callable[[Region, Sequence[int], TileSpec], Iterator[_Tile]]
    ) -> Iterator[list[_Tile]]:
        """Tiles of the shard that are computed, a batch at a time."""
        tiles = windows(self.shard.write, self.plan.shape, self.plan.spec)
        if self.selection is not None:
            tiles = (tile for tile in tiles if self.selection.wants(tile))
        while batch := list(islice(tiles, self.plan.batch)):
            yield batch

    def keep(self, batch: list[Window], outputs: np.ndarray, result: np.ndarray) -> None:
        """Copy the kept part of every tile to its place."""
        for output, (place, kept) in zip(outputs, self.places(batch), strict=True):
            result[place] = output[kept]

    def places(self, batch: list[Window]) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Where the kept part of every tile goes in the shard, and where it is in the tile."""
        for window in batch:
            place = window.keep.relative_to(self.shard.write.start)
            yield place.slices, window.keep.relative_to(window.tile.start).slices

    def predict_float(self, tiles: list[Region]) -> np.ndarray:
        """Probabilities, float32, shape (tiles, *tile, classes)."""
        stack = self.stack(tiles)
        with self.device:
            output = self.predictor.predict_probabilities(stack)
        return output.reshape(len(tiles), *self.plan.spec.tile, output.shape[-1])

    def stack(self, tiles: list[Region]) -> np.ndarray:
        """Network input: the tiles, normalised, without the axes the network does not see."""
        origin = self.shard.read.start
        pieces = np.stack([cut_tile(self.block, origin, tile) for tile in tiles])
        seen = tiles[0].shape[-len(self.predictor.stride) :]
        pieces = pieces.reshape(len(tiles), *seen, pieces.shape[-1])
        return pieces if self.transform is None else self.transform(pieces)


def evaluate_shard(
    output: ShardOutput, truth: np.ndarray, num_classes: int, ignore_label: int | None = None
) -> dict[str, np.ndarray]:
    """Statistics of one shard while its voxels are in memory; see `segmentation.evaluation`."""
    # Numba and SciPy: a worker without truth does without them.
    from segmentation.evaluation import count_voxels
    from segmentation.metrics.probability import ProbabilityHistogram

    found = {"planes/0": count_voxels(truth, output.classes, num_classes, ignore_label)}
    if output.probabilities is not None:
        levels = np.moveaxis(output.probabilities, -1, 0)
        histogram = ProbabilityHistogram.from_levels(truth, levels, ignore_label)
        found["probability"] = histogram.counts
    return found


def cell_blocks(
    result: np.ndarray, write: Region, cells: Iterator[tuple[tuple[int, ...], Region]]
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Whole write-grid cells of a shard's result; voxels outside the region are 0.

    Parameters
    ----------
    result : numpy.ndarray
        Shape ``write.shape``.
    cells : iterator
        Index and bounds of each cell the shard owns.
    """
    for index, bounds in cells:
        inside = bounds.intersection(write)
        if inside is None:
            continue
        piece = result[inside.relative_to(write.start).slices]
        if inside == bounds:
            yield index, piece
            continue
        block = np.zeros(bounds.shape, result.dtype)
        block[inside.relative_to(bounds.start).slices] = piece
        yield index, block


def quantise(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities in [0, 1] as uint8, 255 = 1, halves to even."""
    levels: np.ndarray = np.rint(probabilities * PROBABILITY_LEVELS)
    return levels.astype(np.uint8)


def _given(result: np.ndarray | None) -> np.ndarray:
    if result is None:
        raise ValueError("the shard has no tiles; its region is empty")
    return result
