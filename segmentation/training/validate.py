"""Score of a network in training: whole regions, tiled as in production, counted in integers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.plan import ShardPlan
from segmentation.region import Region
from segmentation.shard import read_block, shard_probabilities
from segmentation.tiling import TileSpec
from segmentation.training.history import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from segmentation.predictor import Predictor
    from segmentation.training.samples import TrainingVolume

LEAST_PROBABILITY = 1e-7
# Of activations, where larger tiles mean less halo; no tile is smaller than the least.
TILE_BYTES = 2**31
LEAST_TILE = {2: 256, 3: 64}
LARGEST_TILE = {2: 1024, 3: 128}
BOX = {2: 2048, 3: 128}


@dataclass(frozen=True, slots=True)
class Scored:
    """One volume with its counts.

    Attributes
    ----------
    confusion : ConfusionMatrix
        Of the network's classes against the truth.
    surprise : float
        Sum of -ln p(true class) over the voxels that count.
    """

    confusion: ConfusionMatrix
    surprise: float


def validate(
    predictor: Predictor,
    volumes: Iterable[TrainingVolume],
    *,
    exact: bool,
    ignore_label: int | None = None,
    voxel_bytes: int = 0,
) -> tuple[Scored, ...]:
    """Counts over the region of every volume.

    Parameters
    ----------
    predictor : Predictor
        The network as it is now.
    volumes : iterable of TrainingVolume
        Validation volumes; context outside their regions is seen, as it will be later.
    exact : bool
        Whether the network can be tiled exactly; otherwise tiles are blended.
    ignore_label : int, optional
        Truth that counts for nothing.
    voxel_bytes : int
        Bytes of activations per voxel of a tile; see `segmentation.networks.memory`.
    """
    return tuple(_score(predictor, v, exact, ignore_label, voxel_bytes) for v in volumes)


def row_of(scored: Sequence[Scored]) -> Row:
    """Scores of all volumes together."""
    total = sum((s.confusion for s in scored), ConfusionMatrix.empty(_classes(scored)))
    counted = int(total.counts.sum())
    surprise = math.fsum(s.surprise for s in scored)
    return Row.of(total, surprise / counted if counted else None)


def _classes(scored: Sequence[Scored]) -> int:
    return scored[0].confusion.num_classes if scored else 1


def _score(
    predictor: Predictor,
    volume: TrainingVolume,
    exact: bool,
    ignore_label: int | None,
    voxel_bytes: int,
) -> Scored:
    plan = region_plan(predictor, volume, exact=exact, voxel_bytes=voxel_bytes)
    matrix, surprise = ConfusionMatrix.empty(predictor.num_classes), []
    for shard in plan:
        block = read_block(volume.image, shard.read, volume.channel_axis, volume.channels)
        outputs = shard_probabilities(block, shard, plan, predictor, volume.transform)
        truth = np.asarray(volume.label[shard.write.slices])
        classes = predictor.classes_of(outputs)
        matrix += ConfusionMatrix.from_labels(truth, classes, predictor.num_classes, ignore_label)
        surprise.append(_surprise(truth, outputs, ignore_label))
    return Scored(matrix, math.fsum(surprise))


def _surprise(truth: NDArray[Any], outputs: NDArray[np.float32], ignore_label: int | None) -> float:
    """Sum of -ln p(true class)."""
    flat, values = outputs.reshape(-1, outputs.shape[-1]), truth.ravel().astype(np.intp)
    if ignore_label is not None:
        flat, values = flat[values != ignore_label], values[values != ignore_label]
    chosen = np.take_along_axis(flat, values[:, np.newaxis], axis=1)
    return -float(np.log(np.maximum(chosen, LEAST_PROBABILITY)).sum(dtype=np.float64))


def region_plan(
    predictor: Predictor, volume: TrainingVolume, *, exact: bool, voxel_bytes: int
) -> ShardPlan:
    """Shards of a few tiles over a volume's region; the arguments are those of `validate`.

    Sections stand one by one for a network of y and x.
    """
    dimensions = len(predictor.stride)
    shape = tuple(volume.label.shape)
    blind = (1,) * (len(shape) - dimensions)
    fitting = int((TILE_BYTES / max(voxel_bytes, 1)) ** (1 / dimensions))
    wanted = min(max(LEAST_TILE[dimensions], fitting), LARGEST_TILE[dimensions])
    tile, box = list(blind), list(blind)
    for size, halo, stride in zip(
        shape[-dimensions:], predictor.halo, predictor.stride, strict=True
    ):
        padded = -(-size // stride) * stride
        tile.append(min(-(-max(wanted, 3 * halo) // stride) * stride, padded))
        box.append(max(BOX[dimensions], tile[-1]))
    zeros = (0,) * len(blind)
    spec = TileSpec(
        tuple(tile), zeros + tuple(predictor.halo), blind + tuple(predictor.stride), exact
    )
    return ShardPlan(shape, volume.region, (1,) * len(shape), tuple(box), spec, 1, 0)


def evaluation_part(
    training: Sequence[TrainingVolume], voxels: int, dimensions: int
) -> list[TrainingVolume]:
    """Part of the training regions to score after every epoch, as large as the validation part.

    Parameters
    ----------
    training : sequence of TrainingVolume
        All of it is taken where it has no more voxels than that.
    voxels : int
        Of the validation regions.
    dimensions : int
        Axes of the network: sections stand alone for 2, runs of sections for 3.

    Returns
    -------
    list of TrainingVolume
        Evenly spaced sections, or the middle of every volume; the same at every call.
    """
    total = sum(volume.region.voxels for volume in training)
    if total <= voxels:
        return list(training)
    if dimensions == 3:
        return [replace(v, region=_middle(v.region, voxels / total)) for v in training]
    pieces = [replace(v, region=section) for v in training for section in v.sections()]
    wanted = max(1, round(len(pieces) * voxels / total))
    return [pieces[len(pieces) * (2 * i + 1) // (2 * wanted)] for i in range(wanted)]


def _middle(region: Region, share: float) -> Region:
    """A run of sections around the middle."""
    extent = region.shape[0]
    kept = max(1, round(extent * share))
    first = region.start[0] + (extent - kept) // 2
    return Region((first, *region.start[1:]), (first + kept, *region.stop[1:]))
