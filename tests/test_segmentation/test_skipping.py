"""Empty blocks: no tiling changes what is skipped, and nothing the network sees is lost."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentation.coarse_level import CoarseLevel, coarse_level
from segmentation.plan import ShardPlan
from segmentation.region import Region
from segmentation.shard import background, segment_shard
from segmentation.skipping import SkipRule, select_blocks
from segmentation.tiling import TileSpec
from tests.strategies import BlockNetwork, plans, untiled


def coarser(volume, factors, reduce):
    """A level by windows of whole factors; the last window of an axis is clipped."""
    for axis, factor in enumerate(factors):
        volume = reduce.reduceat(volume, range(0, volume.shape[axis], factor), axis=axis)
    return volume


def segmented(volume, level, plan, network, rule):
    """Mask over the plan's region and the counts of all shards; reads what a worker reads."""
    mask = np.full(plan.region.shape, -1)
    total = {}
    for shard in plan:
        selection = select_blocks(shard, plan, rule, lambda box: level[box.slices])
        needed = selection.narrowed(plan)
        if needed is None:
            output = background(shard.write, 1)
        else:
            block = volume[needed.read.slices].copy()
            output = segment_shard(block, needed, plan, network, None, selection=selection)
        mask[shard.write.relative_to(plan.region.start).slices] = output.classes
        counts = selection.counts(plan) | selection.false_counts(output.classes)
        total = {key: total.get(key, 0) + count for key, count in counts.items()}
    return mask, total


@st.composite
def block_plans(draw, network, shape, block):
    """Any plan whose cells are whole blocks."""
    plan = draw(plans(shape, network.stride, network.halo))
    cell = tuple(b * draw(st.integers(1, 3)) for b in block)
    shard = tuple(c * draw(st.integers(1, 2)) for c in cell)
    return replace(plan, cell=cell, shard_shape=shard)


@st.composite
def sparse_cases(draw):
    """A network in integers, a mostly empty volume with its coarser level, and two plans."""
    dimensions = draw(st.integers(1, 3))
    largest = {1: (60,), 2: (24, 30), 3: (8, 14, 16)}[dimensions]
    shape = tuple(draw(st.integers(1, most)) for most in largest)
    stride = tuple(draw(st.sampled_from([1, 2, 3])) for _ in shape)
    network = BlockNetwork(stride, tuple(draw(st.integers(0, 2)) for _ in shape))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    volume = np.zeros((*shape, 1), np.uint16)
    for _ in range(draw(st.integers(0, 3))):
        volume[tuple(rng.integers(0, shape))] = rng.integers(1, 9)
    factors = tuple(draw(st.integers(1, 4)) for _ in shape)
    block = tuple(draw(st.integers(1, 8)) for _ in shape)
    pair = [draw(block_plans(network, shape, block)) for _ in range(2)]
    return network, volume, factors, block, pair


def rule_of(level, factors, block, **options):
    fields = {"below": 0.0, "sample": 0.0} | options
    return SkipRule(block=block, level=CoarseLevel(level.shape[:-1], factors), **fields)


@settings(max_examples=50)
@given(sparse_cases())
def test_nothing_is_lost_where_the_level_hides_nothing(case):
    """The level holds the largest voxel of each window, and the network finds nothing in zeros."""
    network, volume, factors, block, (plan, _) = case
    level = coarser(volume, factors, np.maximum)
    mask, _ = segmented(volume, level, plan, network, rule_of(level, factors, block))
    whole = untiled(network.predict_classes, volume, network.stride)
    np.testing.assert_array_equal(mask, whole[plan.region.slices])


@settings(max_examples=50)
@given(sparse_cases(), st.sampled_from([0.0, 0.3, 1.0]))
def test_neither_tiles_nor_shards_nor_regions_change_what_is_skipped(case, sample):
    """The level is that of another volume: it hides much, and false skips are counted alike."""
    network, volume, factors, block, (one, other) = case
    level = coarser(np.roll(volume, 3, axis=0), factors, np.maximum)
    rule = rule_of(level, factors, block, sample=sample)
    first, counts = segmented(volume, level, one, network, rule)
    second, _ = segmented(volume, level, other, network, rule)
    common = one.region.intersection(other.region)
    if common is not None:
        places = (common.relative_to(plan.region.start).slices for plan in (one, other))
        np.testing.assert_array_equal(first[next(places)], second[next(places)])
    again, recounted = segmented(volume, level, replace(other, region=one.region), network, rule)
    np.testing.assert_array_equal(first, again)
    for name in counts.keys() - {"tiles", "computed_tiles"}:
        assert counts[name] == recounted[name], name


@settings(max_examples=30)
@given(sparse_cases())
def test_a_block_is_empty_if_all_that_sees_it_is_voxel_by_voxel(case):
    _, volume, factors, block, (plan, _) = case
    level = coarser(volume, factors, np.maximum)
    for shard in plan:
        rule = rule_of(level, factors, block)
        selection = select_blocks(shard, plan, rule, lambda box: level[box.slices])
        for place in np.ndindex(selection.skipped.shape):
            sees = level[np.ix_(*seen_by(place, selection, plan, factors))]
            assert selection.skipped[place] == (sees.max() == 0)


def seen_by(place, selection, plan, factors):
    """Voxels of the level along each axis that cover a block and what the network looks at."""
    for axis, factor in enumerate(factors):
        size, spec = selection.block[axis], plan.spec
        start = (selection.first[axis] + place[axis]) * size
        cells = {voxel // spec.stride[axis] for voxel in range(start, start + size)}
        reach = spec.halo[axis] // spec.stride[axis]
        cells = {cell + step for cell in cells for step in range(-reach, reach + 1)}
        fine = [v for v in range(plan.shape[axis]) if v // spec.stride[axis] in cells]
        yield sorted({voxel // factor for voxel in fine})


def test_nothing_is_empty_below_the_darkest_voxel():
    network = BlockNetwork((2, 2), (1, 1))
    volume = np.random.default_rng(0).integers(3, 9, (40, 40, 1)).astype(np.uint16)
    plan = plan_of(network, (40, 40), (16, 16), tile=16)
    level = coarser(volume, (4, 4), np.maximum)
    mask, counts = segmented(volume, level, plan, network, rule_of(level, (4, 4), (8, 8), below=2))
    np.testing.assert_array_equal(mask, untiled(network.predict_classes, volume, (2, 2)))
    assert counts["skipped_blocks"] == counts["sampled_blocks"] == 0
    assert counts["tiles"] == counts["computed_tiles"]


def plan_of(network, shape, cell, *, tile, exact=True):
    spec = TileSpec((tile,) * len(shape), network.halo, network.stride, exact)
    return ShardPlan(shape, Region.whole(shape), cell, cell, spec, 2, 0)


class Counting(BlockNetwork):
    """Knows how many tiles it was given."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.seen = 0

    def predict_classes(self, tiles):
        self.seen += len(tiles)
        return super().predict_classes(tiles)


@pytest.mark.parametrize("sample", [0.0, 1.0])
def test_a_bright_voxel_that_the_mean_hides_is_lost_and_counted_by_a_sample_of_all(sample):
    """One voxel of 63 in windows of 64 has a mean below 1; its neighbours are found with it."""
    network = Counting((1, 1), (1, 1))
    volume = np.zeros((32, 32, 1), np.uint16)
    volume[20, 20] = 63
    level = coarser(volume.astype(float), (8, 8), np.add) / 64
    plan = plan_of(network, (32, 32), (32, 32), tile=16)
    rule = rule_of(level, (8, 8), (16, 16), below=1.0, sample=sample)
    mask, counts = segmented(volume, level, plan, network, rule)
    whole = untiled(network.predict_classes, volume, (1, 1))
    if sample:
        np.testing.assert_array_equal(mask, whole)
        assert (counts["sampled_blocks"], counts["sampled_voxels"]) == (4, 1024)
        # Three by three voxels around the bright one, in one block of 16 × 16.
        assert (counts["false_blocks"], counts["false_voxels"]) == (1, 9)
    else:
        assert not mask.any()
        assert whole.any()
        assert counts["computed_tiles"] == 0 < counts["tiles"]
        assert (counts["skipped_blocks"], counts["skipped_voxels"]) == (4, 1024)
        assert counts["false_voxels"] == 0


def test_only_tiles_that_keep_something_of_a_computed_block_are_computed():
    network = Counting((1, 1), (1, 1))
    volume = np.zeros((64, 64, 1), np.uint16)
    volume[4, 4] = 9
    level = coarser(volume, (4, 4), np.maximum)
    plan = plan_of(network, (64, 64), (64, 64), tile=18)
    _, counts = segmented(volume, level, plan, network, rule_of(level, (4, 4), (16, 16)))
    # Kept parts are 17, 16, 16 and 15 voxels long: the first alone reaches into block 0.
    assert counts["computed_tiles"] == network.seen
    assert (counts["tiles"], network.seen) == (16, 1)
    assert counts["skipped_blocks"] == 15


class Averaged(BlockNetwork):
    """The same network read as probabilities of two classes, for blended tiles."""

    def predict_probabilities(self, tiles):
        found = np.minimum(self.predict_classes(tiles), 100) / np.float32(100)
        return np.stack([1 - found, found], axis=-1).astype(np.float32)

    def predict_both(self, tiles):
        probabilities = self.predict_probabilities(tiles)
        return self.classes_of(probabilities), probabilities

    def classes_of(self, probabilities):
        return (probabilities[..., 1] > 0.05).astype(np.uint8)


@pytest.mark.parametrize("exact", [True, False])
def test_skipped_blocks_are_certainly_background_and_the_others_as_without_skipping(exact):
    network = Averaged((2, 2), (1, 1))
    volume = np.zeros((48, 48, 1), np.uint16)
    volume[5, 40] = 9
    level = coarser(volume, (4, 4), np.maximum)
    plan = plan_of(network, (48, 48), (48, 48), tile=16, exact=exact)
    (shard,) = plan
    rule = rule_of(level, (4, 4), (16, 16))
    selection = select_blocks(shard, plan, rule, lambda box: level[box.slices])
    given = (volume, shard, plan, network, None)
    whole = segment_shard(*given, probabilities=True)
    part = segment_shard(*given, probabilities=True, selection=selection)
    skipped = np.kron(selection.skipped, np.ones((16, 16), bool))
    assert 0 < skipped.sum() < skipped.size
    assert (part.classes[skipped] == 0).all()
    assert (part.probabilities[skipped] == [255, 0]).all()
    assert (part.classes[~skipped] == whole.classes[~skipped]).all()
    assert (part.probabilities[~skipped] == whole.probabilities[~skipped]).all()


def test_background_is_class_0_with_certainty():
    output = background(Region((0, 0), (3, 4)), 3, probabilities=True)
    assert output.classes.shape == (3, 4)
    assert not output.classes.any()
    assert (output.probabilities == [255, 0, 0]).all()
    assert background(Region((0,), (3,)), 3).probabilities is None


def test_every_channel_counts_and_what_is_no_number_is_not_empty():
    network = BlockNetwork((1,), (0,), channels=2)
    level = np.zeros((4, 2))
    level[1, 1] = 5.0
    level[2, 0] = np.nan
    plan = plan_of(network, (16,), (16,), tile=16)
    (shard,) = plan
    rule = rule_of(level, (4,), (4,), below=1.0)
    selection = select_blocks(shard, plan, rule, lambda box: level[box.slices])
    assert selection.skipped.tolist() == [True, False, False, True]


def test_the_sample_is_drawn_by_place_alone_and_is_as_large_as_asked_for():
    origins = list(itertools.product(range(0, 6400, 64), repeat=2))
    level = CoarseLevel((1, 1), (1.0, 1.0))

    def drawn(sample, seed=0):
        rule = SkipRule(0.0, (64, 64), level, sample, seed)
        return {origin for origin in origins if rule.draws(origin)}

    # Of 10,000 with probability 0.02: 200, standard deviation 14.
    assert 140 < len(drawn(0.02)) < 260
    assert drawn(0.02) <= drawn(0.1)
    assert drawn(0.02) != drawn(0.02, seed=1)
    assert len(drawn(1.0)) == len(origins)
    assert not drawn(0.0)


# ------------------------------------------------------------------------------ coarser levels

LEVELS = [
    # finest, level, ratio of voxel sizes; span asked for; span of the level
    (100, 50, 2.0, (10, 20), (5, 10)),
    (100, 50, 2.0, (11, 21), (5, 11)),
    (101, 51, 2.0, (90, 101), (45, 51)),
    (1024, 128, 8.0000001, (64, 128), (8, 16)),
    # Cut off at the end, as others do: the last voxel is not seen.
    (101, 50, 2.0, (90, 101), None),
    (101, 50, 2.0, (90, 100), (45, 50)),
    # No whole factor: one voxel further out.
    (100, 40, 2.5, (10, 20), (3, 9)),
    (100, 40, 2.5, (0, 100), (0, 40)),
    (1023, 511, 1023 / 511, (1000, 1023), (498, 511)),
]


@pytest.mark.parametrize(("finest", "size", "ratio", "asked", "expected"), LEVELS)
def test_spans(finest, size, ratio, asked, expected):
    level = coarse_level((finest,), (size,), (ratio,), "x")
    assert level.span(0, *asked) == expected


@pytest.mark.parametrize(("finest", "size", "ratio"), [(100, 25, 2.0), (100, 99, 1.0), (8, 4, 4.0)])
def test_a_level_that_is_not_what_its_voxel_size_says_is_refused(finest, size, ratio):
    with pytest.raises(ValueError, match=rf"has {size} voxels along z, but .* {ratio:g} of the"):
        coarse_level((10, finest), (10, size), (1.0, ratio), "yz")


def test_what_a_level_does_not_cover_is_computed():
    network = BlockNetwork((1,), (0,))
    level = np.zeros((3, 1))
    plan = plan_of(network, (14,), (14,), tile=14)
    (shard,) = plan
    rule = SkipRule(0.0, (4,), CoarseLevel((3,), (4.0,)), 0.0)
    selection = select_blocks(shard, plan, rule, lambda box: level[box.slices])
    assert selection.skipped.tolist() == [True, True, True, False]
