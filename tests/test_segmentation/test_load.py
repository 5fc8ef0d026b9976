"""What a plan has to do is what its shards have to do, counted one by one."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from segmentation.load import Load, plan_load, shard_load
from segmentation.plan import ShardPlan
from segmentation.region import Region
from segmentation.tiling import TileSpec, tiles_of
from tests.strategies import plans, shapes


@st.composite
def small_plans(draw):
    shape = draw(shapes(dimensions=2, largest=(30, 40)))
    stride = tuple(draw(st.sampled_from([1, 2, 4])) for _ in shape)
    halo = tuple(s * draw(st.integers(0, 2)) for s in stride)
    plan = draw(plans(shape, stride, halo, exact=draw(st.booleans())))
    return replace(plan, batch=draw(st.integers(1, 5)))


@given(small_plans())
def test_a_plan_is_the_sum_of_its_shards(plan):
    total = Load(0, 0, 0)
    for shard in plan:
        tiles = len(list(tiles_of(shard.write, plan.shape, plan.spec)))
        computed = math.ceil(tiles / plan.batch) * plan.batch * plan.spec.voxels
        load = shard_load(plan, shard.index)
        assert load == Load(shard.read.voxels, computed, shard.write.voxels)
        total += load
    assert plan_load(plan) == total


def test_by_hand():
    # 20 rows in shards of 8, 8, 4; tiles of 8 without halo, two at once: a half batch is filled.
    plan = ShardPlan((20,), Region((0,), (20,)), (4,), (8,), TileSpec((8,), (0,), (1,)), 2, 0)
    assert [shard_load(plan, i) for i in range(3)] == [
        Load(8, 16, 8),
        Load(8, 16, 8),
        Load(8, 16, 4),
    ]
    assert plan_load(plan) == Load(24, 48, 20)
