"""Score of a network in training: whole regions, tiled as in production, counted in integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.plan import ShardPlan
from segmentation.shard import read_block, segment_shard
from segmentation.tiling import TileSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from segmentation.predictor import Predictor
    from segmentation.training.samples import TrainingVolume

LEAST_TILE = {2: 512, 3: 64}
BOX = {2: 2048, 3: 128}


def validate(
    predictor: Predictor,
    volumes: Iterable[TrainingVolume],
    *,
    exact: bool,
    ignore_label: int | None = None,
) -> ConfusionMatrix:
    """Confusion matrix over the regions of all volumes.

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
    """
    total = ConfusionMatrix.empty(predictor.num_classes)
    for volume in volumes:
        plan = _plan(predictor, volume, exact=exact)
        for shard in plan:
            block = read_block(volume.image, shard.read, volume.channel_axis, volume.channels)
            result = segment_shard(block, shard, plan, predictor, volume.transform)
            truth = volume.label[shard.write.slices]
            total += ConfusionMatrix.from_labels(
                truth, result.classes, predictor.num_classes, ignore_label
            )
    return total


def _plan(predictor: Predictor, volume: TrainingVolume, *, exact: bool) -> ShardPlan:
    """One network tile, or a few, per shard; sections one by one for a network of y and x."""
    dimensions = len(predictor.stride)
    shape = tuple(volume.label.shape)
    sizes = [LEAST_TILE[dimensions], BOX[dimensions]]
    blind = (1,) * (len(shape) - dimensions)
    tile, box = list(blind), list(blind)
    for size, halo, stride in zip(
        shape[-dimensions:], predictor.halo, predictor.stride, strict=True
    ):
        padded = -(-size // stride) * stride
        tile.append(min(-(-max(sizes[0], 3 * halo) // stride) * stride, padded))
        box.append(max(sizes[1], tile[-1]))
    zeros = (0,) * len(blind)
    spec = TileSpec(
        tuple(tile), zeros + tuple(predictor.halo), blind + tuple(predictor.stride), exact
    )
    return ShardPlan(shape, volume.region, (1,) * len(shape), tuple(box), spec, 1, 0)
