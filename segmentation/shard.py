"""One shard: read, normalise, tile, predict, keep the cores, count against the truth."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.tiling import blend_weights, blend_windows, cut_tile, exact_windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from segmentation.normalize import IntensityTransform
    from segmentation.plan import Shard, ShardPlan
    from segmentation.predictor import Predictor
    from segmentation.region import Region

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
    counts : dict or None
        `ConfusionMatrix` in plain form, where truth was given.
    shares : list of int
        Voxels the mask gives to each class; empty for the identity predictor.
    objects : list of dict
        Stored objects the shard owns: ``key``, ``size``, ``checksum``.
    seconds : dict
        Wall seconds of read, compute and write.
    peak_bytes : int
        Peak resident memory of the worker so far.
    """

    index: int
    counts: dict[str, Any] | None
    shares: list[int]
    objects: list[dict[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0


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


def segment_shard(
    block: np.ndarray,
    shard: Shard,
    plan: ShardPlan,
    predictor: Predictor,
    transform: IntensityTransform | None,
    *,
    probabilities: bool = False,
    device: AbstractContextManager[Any] | None = None,
) -> np.ndarray:
    """Classes, or probabilities, of the voxels a shard writes.

    Parameters
    ----------
    block : numpy.ndarray
        Voxels of ``shard.read``, shape (*read.shape, channels).
    transform : IntensityTransform or None
        None hands the voxels over as they are (the identity predictor).
    probabilities : bool
        Return uint8 probabilities, 255 = 1, of shape (*write.shape, classes), instead of
        classes.
    device : context manager, optional
        Held while the network computes, so that threads of one worker take turns.

    Returns
    -------
    numpy.ndarray
        Unsigned integers of shape ``shard.write.shape``, or with a last axis of classes.
    """
    run = _TileRun(block, shard, plan, predictor, transform, device or nullcontext())
    if plan.spec.exact:
        return run.exact(probabilities=probabilities)
    return run.blended(probabilities=probabilities)


@dataclass(frozen=True, slots=True)
class _TileRun:
    """The tiles of one shard on their way through the network."""

    block: np.ndarray
    shard: Shard
    plan: ShardPlan
    predictor: Predictor
    transform: IntensityTransform | None
    device: AbstractContextManager[Any]

    def exact(self, *, probabilities: bool) -> np.ndarray:
        """Every voxel from the one tile that keeps it."""
        windows = exact_windows(self.shard.write, self.plan.shape, self.plan.spec)
        result: np.ndarray | None = None
        while batch := list(islice(windows, self.plan.batch)):
            outputs = self.predict([window.tile for window in batch], probabilities=probabilities)
            if result is None:
                result = np.zeros(self.result_shape(outputs, probabilities), outputs.dtype)
            for window, output in zip(batch, outputs, strict=True):
                place = window.keep.relative_to(self.shard.write.start)
                result[place.slices] = output[window.keep.relative_to(window.tile.start).slices]
        return _given(result)

    def blended(self, *, probabilities: bool) -> np.ndarray:
        """Gaussian mean over overlapping tiles, in a fixed order."""
        weights = blend_weights(self.plan.spec)
        tiles = blend_windows(self.shard.write, self.plan.shape, self.plan.spec)
        total: np.ndarray | None = None
        norm = np.zeros(self.shard.write.shape, np.float32)
        while batch := list(islice(tiles, self.plan.batch)):
            outputs = self.predict_float(batch)
            if total is None:
                total = np.zeros((*norm.shape, outputs.shape[-1]), np.float32)
            for tile, output in zip(batch, outputs, strict=True):
                common = tile.intersection(self.shard.write)
                if common is None:
                    continue
                inside = common.relative_to(tile.start).slices
                place = common.relative_to(self.shard.write.start).slices
                total[place] += output[inside] * weights[inside][..., np.newaxis]
                norm[place] += weights[inside]
        mean = _given(total) / norm[..., np.newaxis]
        return quantise(mean) if probabilities else self.predictor.classes_of(mean)

    def predict(self, tiles: list[Region], *, probabilities: bool) -> np.ndarray:
        """Classes or quantised probabilities, shape (tiles, *tile[, classes])."""
        if probabilities:
            return quantise(self.predict_float(tiles))
        stack = self.stack(tiles)
        with self.device:
            classes = self.predictor.predict_classes(stack)
        return classes.reshape(len(tiles), *self.plan.spec.tile)

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
        seen = self.plan.spec.tile[-len(self.predictor.stride) :]
        pieces = pieces.reshape(len(tiles), *seen, pieces.shape[-1])
        return pieces if self.transform is None else self.transform(pieces)

    def result_shape(self, outputs: np.ndarray, probabilities: bool) -> tuple[int, ...]:
        """Shape of the shard's result."""
        shape = self.shard.write.shape
        return (*shape, outputs.shape[-1]) if probabilities else shape


def evaluate_shard(
    classes: np.ndarray, truth: np.ndarray, num_classes: int, ignore_label: int | None = None
) -> ConfusionMatrix:
    """Counts of one shard; rows truth, columns prediction."""
    return ConfusionMatrix.from_labels(truth, classes, num_classes, ignore_label)


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
    return np.rint(probabilities * PROBABILITY_LEVELS).astype(np.uint8)


def _given(result: np.ndarray | None) -> np.ndarray:
    if result is None:
        raise ValueError("the shard has no tiles; its region is empty")
    return result
