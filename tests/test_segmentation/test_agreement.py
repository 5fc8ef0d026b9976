"""Voxels of a shard that two predictors agree on: counted by hand, and inside what is trusted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentation import agreement as module
from segmentation.agreement import agreement, first_part
from segmentation.networks.unet import build_unet
from segmentation.plan import ShardPlan
from segmentation.predictor import NetworkPredictor
from segmentation.receptive_field import derive
from segmentation.region import Region
from segmentation.shard import ShardOutput, segment_shard
from segmentation.tiling import TileSpec, exact_windows


class Above:
    """The class is whether a voxel is above a threshold."""

    stride, halo, num_classes, channels, batch_size = (1, 1), (2, 2), 2, 1, 1
    fixed = False

    def __init__(self, threshold):
        self.threshold = threshold

    def predict_classes(self, tiles):
        return (tiles[..., 0] > self.threshold).astype(np.uint8)


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of five voxels along an axis, so that small tiles have several."""
    monkeypatch.setattr(module, "EXTENTS", {2: 5, 3: 5})


def plan_of(region, *, exact):
    spec = TileSpec((8, 8), (2, 2), (1, 1), exact)
    return ShardPlan((20, 20), region, (10, 20), (10, 20), spec, 3, 0)


def compared(plan, index, pair, image):
    shard = plan.shard(index)
    classes = pair[0].predict_classes(image)[shard.write.slices]
    block = image[shard.read.slices]
    return agreement(ShardOutput(classes), block, shard, plan, pair, None)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("index", "row"), [(0, 0), (1, 10)])
@pytest.mark.usefixtures("small_parts")
def test_counted_by_hand(exact, index, row):
    plan = plan_of(Region((0, 0), (20, 20)), exact=exact)
    image = np.arange(400, dtype=np.float32).reshape(20, 20, 1)
    # The two differ on the voxels of value 1 to 3 of the shard's first row.
    pair = Above(20 * row), Above(20 * row + 3)
    same, all_of_them = compared(plan, index, pair, image)
    assert all_of_them - same == 3
    # Between two tiles, four rows are kept.
    expected = {0: 5 * 5, 1: 4 * 5}[index] if exact else all_of_them
    assert 0 < all_of_them == expected <= plan.spec.voxels
    assert compared(plan, index, (pair[0], pair[0]), image) == (all_of_them, all_of_them)


def test_only_voxels_of_the_region_are_compared():
    plan = plan_of(Region((0, 0), (3, 5)), exact=True)
    image = np.zeros((20, 20, 1), np.float32)
    assert compared(plan, 0, (Above(-1), Above(1)), image) == (0, 15)


def test_a_network_of_one_size_gets_its_own_tile(small_parts):
    plan = plan_of(Region((0, 0), (20, 20)), exact=True)
    shard, fixed = plan.shard(1), Above(0)
    fixed.fixed = True
    assert first_part(shard, plan, fixed) == next(exact_windows(shard.write, plan.shape, plan.spec))


MODEL = build_unet("yx", channels=1, num_classes=3, width=2, depth=1, seed=3)
NETWORK = NetworkPredictor(MODEL, head="softmax", geometry=derive(MODEL))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_part_is_computed_as_the_whole_shard_is(data):
    """The same network twice agrees everywhere: no border of the small tile is seen."""
    stride, halo = NETWORK.stride, NETWORK.halo
    shape = tuple(data.draw(st.integers(12, 70)) for _ in range(2))
    tile = tuple(
        data.draw(st.integers((2 * h + s) // s, (2 * h + s) // s + 12)) * s
        for h, s in zip(halo, stride, strict=True)
    )
    cell = tuple(data.draw(st.sampled_from([8, 12, 24])) for _ in range(2))
    extent = data.draw(st.integers(1, 9))
    plan = ShardPlan(
        shape, Region.whole(shape), cell, cell, TileSpec(tile, halo, stride, True), 1, 0
    )
    image = np.random.default_rng(data.draw(st.integers(0, 9))).random((*shape, 1), np.float32)
    shard = plan.shard(data.draw(st.integers(0, len(plan) - 1)))
    block = image[shard.read.slices]
    output = segment_shard(block, shard, plan, NETWORK, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "EXTENTS", {2: extent})
        part = first_part(shard, plan, NETWORK)
        same, everything = agreement(output, block, shard, plan, (NETWORK, NETWORK), None)
    assert same == everything == part.keep.voxels
    assert max(part.keep.shape) <= extent
    assert all(size <= whole for size, whole in zip(part.tile.shape, tile, strict=True))
