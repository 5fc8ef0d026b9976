"""Voxels of a shard's first tile that two predictors agree on."""

import numpy as np
import pytest

from segmentation.plan import ShardPlan
from segmentation.region import Region
from segmentation.shard import first_tile_agreement
from segmentation.tiling import TileSpec, exact_windows


class Above:
    """The class is whether a voxel is above a threshold."""

    stride, halo, num_classes, channels, batch_size = (1, 1), (2, 2), 2, 1, 1

    def __init__(self, threshold):
        self.threshold = threshold

    def predict_classes(self, tiles):
        return (tiles[..., 0] > self.threshold).astype(np.uint8)


def plan_of(region, *, exact):
    spec = TileSpec((8, 8), (2, 2), (1, 1), exact)
    return ShardPlan((20, 20), region, (10, 20), (10, 20), spec, 3, 0)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("index", "row"), [(0, 0), (1, 10)])
def test_counted_by_hand(exact, index, row):
    plan = plan_of(Region((0, 0), (20, 20)), exact=exact)
    shard = plan.shard(index)
    image = np.arange(400, dtype=np.float32).reshape(20, 20, 1)
    block = image[shard.read.slices]
    # The two differ on the voxels of value 1 to 3 of the shard's first row.
    pair = Above(20 * row), Above(20 * row + 3)
    same, compared = first_tile_agreement(block, shard, plan, pair, None)
    assert compared - same == 3
    if exact:
        kept = next(exact_windows(shard.write, plan.shape, plan.spec)).keep
        assert compared == kept.voxels
    else:
        assert 0 < compared <= plan.spec.voxels
    assert first_tile_agreement(block, shard, plan, (pair[0], pair[0]), None) == (
        compared,
        compared,
    )


def test_only_voxels_of_the_region_are_compared():
    plan = plan_of(Region((0, 0), (3, 5)), exact=True)
    shard = plan.shard(0)
    block = np.zeros((*shard.read.shape, 1), np.float32)
    assert first_tile_agreement(block, shard, plan, (Above(-1), Above(1)), None) == (0, 15)
