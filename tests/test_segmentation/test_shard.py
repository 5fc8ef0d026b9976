"""Tiled equals untiled, and the tests that show the comparison would notice if it did not."""

import math
import threading
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentation import shard as shard_module
from segmentation import tiling
from segmentation.linear_clone import linear_clone
from segmentation.networks.graph import read_graph
from segmentation.networks.unet import build_unet
from segmentation.normalize import IntensityTransform
from segmentation.plan import ShardPlan
from segmentation.planner import Needs, make_plan
from segmentation.predictor import IdentityPredictor, NetworkPredictor
from segmentation.receptive_field import derive
from segmentation.region import Region
from segmentation.shard import (
    ShardOutput,
    cell_blocks,
    evaluate_shard,
    quantise,
    read_block,
    segment_shard,
)
from segmentation.tiling import TileSpec, Window, blend_windows, exact_windows
from tests.strategies import (
    BlockNetwork,
    edge_padded,
    plans,
    random_volume,
    regions,
    shapes,
    sharded,
    untiled,
)

# ---------------------------------------------------------------- integers: any geometry at all


@st.composite
def block_cases(draw):
    """A network in integers, a volume with up to two more axes, and a plan over it."""
    dimensions = draw(st.integers(1, 3))
    largest = {1: (3, 40), 2: (2, 22, 26), 3: (2, 6, 10, 12)}[dimensions]
    leading = draw(st.integers(0, 1))
    shape = draw(shapes(dimensions=leading + dimensions, largest=largest[1 - leading :]))
    stride = tuple(draw(st.sampled_from([1, 2, 3, 4])) for _ in range(dimensions))
    reach = tuple(draw(st.integers(0, 2)) for _ in range(dimensions))
    network = BlockNetwork(stride, reach, channels=draw(st.integers(1, 2)))
    plan = draw(plans(shape, network.stride, network.halo))
    return network, plan, random_volume((*shape, network.channels), draw(st.integers(0, 99)))


@settings(max_examples=200)
@given(block_cases())
def test_any_tiling_of_any_region_equals_the_untiled_network(case):
    network, plan, volume = case
    whole = untiled(network.predict_classes, volume, network.stride)
    np.testing.assert_array_equal(sharded(volume, plan, network), whole[plan.region.slices])


# ------------------------------------------------------------------- networks, as they are used

SEEDS = st.integers(0, 99)
NETWORKS = {
    "2d": ("yx", {"depth": 2}, (70, 90)),
    "2d, stride 8": ("yx", {"depth": 3, "width": 2}, (140, 130)),
    "2d, uneven pooling": ("yx", {"depth": 2, "pool": [(1, 2), (3, 2)], "channels": 2}, (60, 80)),
    "2d, transpose, dilated": (
        "yx",
        {"depth": 1, "upsampling": "transpose", "dilation": 2},
        (60, 64),
    ),
    "3d": ("zyx", {"depth": 1}, (22, 30, 28)),
    "3d, flat pooling": ("zyx", {"depth": 1, "pool": [(1, 2, 2)], "channels": 2}, (20, 29, 30)),
}


@cache
def network(name):
    """A U-Net whose every weight and statistic is random, and its largest test volume."""
    axes, options, largest = NETWORKS[name]
    model = build_unet(axes, **{"channels": 1, "num_classes": 3, "width": 3, "seed": 1, **options})
    rng = np.random.default_rng(2)
    for variable in model.variables:
        if len(variable.shape) == 1:
            low, high = (0.5, 1.5) if variable.name in ("gamma", "moving_variance") else (-0.3, 0.3)
            variable.assign(rng.uniform(low, high, variable.shape))
    head = model.get_layer("head").kernel
    head.assign(2 * np.asarray(head.value))
    return model, derive(model), largest


class Recording(NetworkPredictor):
    """Hands all probabilities of a voxel out as its class, so that shards carry them unrounded."""

    def predict_classes(self, tiles):
        outputs = np.ascontiguousarray(self.predict_probabilities(tiles))
        return outputs.view([("p", np.float32, (self.num_classes,))])[..., 0]


@cache
def predictors(name):
    model, geometry, _ = network(name)
    options = {"head": "softmax", "geometry": geometry, "batch_size": 2}
    return NetworkPredictor(model, **options), Recording(model, **options)


@st.composite
def network_plans(draw, name):
    """Few tile shapes, since each is compiled; regions, cells and shards as they come."""
    _, geometry, largest = network(name)
    leading = draw(st.integers(0, 1)) if len(largest) == 2 else 0
    spatial = tuple(draw(st.integers(max(1, size // 2), size)) for size in largest)
    shape = (2,) * leading + spatial
    stride, halo = (1,) * leading + geometry.stride, (0,) * leading + geometry.halo
    growth = draw(st.sampled_from([0, 1]))
    tile = (1,) * leading + tuple(
        min((1 + growth) * s + 2 * h, -(-size // s) * s)
        for s, h, size in zip(geometry.stride, geometry.halo, spatial, strict=True)
    )
    cell = tuple(draw(st.integers(-(-size // 3), size)) for size in shape)
    multiple = draw(st.integers(1, 2))
    return ShardPlan(
        shape=shape,
        region=draw(regions(shape)),
        cell=cell,
        shard_shape=tuple(c * multiple for c in cell),
        spec=TileSpec(tile, halo, stride),
        batch=3,
        projected_bytes=0,
    )


def noise(shape, seed):
    return np.random.default_rng(seed).normal(0.5, 1.0, shape).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=4)
@given(data=st.data())
def test_tiled_equals_untiled(name, data):
    network(name)  # not inside a strategy: Keras draws from `random`
    assert_tiled_equals_untiled(name, data.draw(network_plans(name)), data.draw(SEEDS))


def assert_tiled_equals_untiled(name, plan, seed):
    model, geometry, _ = network(name)
    volume = noise((*plan.shape, model.input_shape[-1]), seed)
    chooser, recorder = predictors(name)
    whole = untiled(lambda tiles: model(tiles, training=False), volume, geometry.stride)
    whole = whole[plan.region.slices]
    tiled = sharded(volume, plan, recorder)["p"]
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5)
    ranked = np.sort(whole, axis=-1)
    clear = ranked[..., -1] - ranked[..., -2] > 1e-4
    classes = sharded(volume, plan, chooser)
    np.testing.assert_array_equal(classes[clear], whole.argmax(-1)[clear])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_look_around(name):
    """A network that ignored its context would pass any tiling: without a halo it must fail."""
    model, geometry, largest = network(name)
    _, recorder = predictors(name)
    volume = noise((*largest, model.input_shape[-1]), 0)
    tile = tuple(s * (size // s // 2) for s, size in zip(geometry.stride, largest, strict=True))
    plan = whole_plan(largest, TileSpec(tile, (0,) * len(tile), geometry.stride))
    whole = untiled(lambda tiles: model(tiles, training=False), volume, geometry.stride)
    assert np.abs(sharded(volume, plan, recorder)["p"] - whole).max() > 0.01
    assert len(np.unique(whole.argmax(-1))) == model.output_shape[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=12)
@given(data=st.data())
def test_planned_equals_untiled(name, data):
    """The same through `make_plan`, whatever tile and shards a budget leads to."""
    _, geometry, largest = network(name)
    shape = tuple(data.draw(st.integers(1, size)) for size in largest)
    plan = data.draw(affordable(shape, geometry.stride, geometry.halo))
    assert_tiled_equals_untiled(name, plan, data.draw(SEEDS))


@st.composite
def affordable(draw, shape, stride, halo):
    """What `make_plan` decides for a region, cells and a budget between least and plenty."""
    needs = Needs(reserved=1000, read_voxel=4, write_voxel=2, tile_voxel=50)
    cell = tuple(draw(st.integers(1, size)) for size in shape)
    least = tuple(
        min(2 * h + s, -(-n // s) * s) for h, s, n in zip(halo, stride, shape, strict=True)
    )
    reach = [c + 2 * t for c, t in zip(cell, least, strict=True)]
    enough = needs.projected(
        math.prod(reach), math.prod(cell), math.prod(cell), math.prod(least), 1
    )
    return make_plan(
        shape=shape,
        region=draw(regions(shape)),
        cell=cell,
        stride=stride,
        halo=halo,
        network_axes=len(shape),
        needs=needs,
        memory_bytes=enough * draw(st.sampled_from([1, 3, 100])),
    )


# ----------------------------------------------- what must not pass: exact sums show every voxel


class CloneNetwork:
    """The linear clone of a U-Net on integers: float64 sums below 2**53, so equality is exact."""

    num_classes, channels = 0, 1

    def __init__(self, name):
        model, geometry, _ = network(name)
        self.stride, self.halo = geometry.stride, geometry.halo
        self._model = linear_clone(read_graph(model))

    def predict_classes(self, tiles):
        output = np.asarray(self._model(tiles.astype(np.float64), training=False))[..., 0]
        assert output.max() < 2**53
        return output


AXES = [(name, axis) for name in NETWORKS for axis in range(len(NETWORKS[name][0]))]
# An axis without pooling has no grid to miss and divides every size.
POOLED_AXES = [(name, axis) for name, axis in AXES if (name, axis) != ("3d, flat pooling", 0)]


@cache
def clone_case(name, axis):
    """Clone, volume and untiled output: five tiles or more along one axis, thin along others.

    No size is a multiple of the stride, unless that is 1.
    """
    clone = CloneNetwork(name)
    shape = tuple(
        2 * s + s // 2 + (2 * h + 2 * s) * (a == axis)
        for a, (h, s) in enumerate(zip(clone.halo, clone.stride, strict=True))
    )
    volume = random_volume((*shape, 1), seed=3)
    return clone, volume, untiled(clone.predict_classes, volume, clone.stride)


def whole_plan(shape, spec):
    """Two shards along every axis."""
    half = tuple(-(-size // 2) for size in shape)
    return ShardPlan(shape, Region.whole(shape), half, half, spec, 4, 0)


def smallest_tiles(name, axis, *, missing=0, spare=0):
    """Tiles of one core stride along an axis, whole along the others."""
    clone, _, whole = clone_case(name, axis)
    stride, halo = clone.stride, list(clone.halo)
    tile = [-(-size // s) * s for size, s in zip(whole.shape, stride, strict=True)]
    halo[axis] -= missing * stride[axis]
    tile[axis] = 2 * halo[axis] + (1 + spare) * stride[axis]
    return TileSpec(tuple(tile), tuple(halo), stride)


def equal(name, axis, spec):
    clone, volume, whole = clone_case(name, axis)
    return np.array_equal(sharded(volume, whole_plan(whole.shape, spec), clone), whole)


@pytest.mark.parametrize(("name", "axis"), AXES)
def test_the_halo_is_enough_and_one_stride_less_is_not(name, axis):
    assert equal(name, axis, smallest_tiles(name, axis))
    assert not equal(name, axis, smallest_tiles(name, axis, missing=1))


@pytest.mark.parametrize(("name", "axis"), POOLED_AXES)
def test_origins_off_the_grid_fail(name, axis, monkeypatch):
    """One voxel aside, with a stride of context to spare: only the phase of pooling is wrong."""
    spec = smallest_tiles(name, axis, spare=1)

    def aside(write, shape, spec):
        last = spec.padded(shape)[axis] - spec.tile[axis]
        for window in exact_windows(write, shape, spec):
            moved = list(window.tile.start)
            moved[axis] += 0 < moved[axis] < last
            stop = tuple(o + t for o, t in zip(moved, spec.tile, strict=True))
            yield Window(Region(tuple(moved), stop), window.keep)

    assert equal(name, axis, spec)
    monkeypatch.setattr(shard_module, "exact_windows", aside)
    assert not equal(name, axis, spec)


@pytest.mark.parametrize(("name", "axis"), POOLED_AXES)
def test_padding_with_zeros_fails(name, axis, monkeypatch):
    monkeypatch.setattr(tiling, "PADDING_RULE", "constant")
    assert not equal(name, axis, smallest_tiles(name, axis))


# ----------------------------------------------------------------------------------- identity


@given(st.data())
def test_identity_returns_the_voxels_bit_for_bit(data):
    dimensions = data.draw(st.integers(2, 3))
    shape = data.draw(shapes(dimensions=dimensions, largest=(20, 30, 40)))
    seen = data.draw(st.integers(2, dimensions))
    plan = make_plan(
        shape=shape,
        region=data.draw(regions(shape)),
        cell=tuple(data.draw(st.integers(1, size)) for size in shape),
        stride=(1,) * dimensions,
        halo=(0,) * dimensions,
        network_axes=seen,
        needs=Needs(reserved=0, read_voxel=1, write_voxel=1, tile_voxel=1),
        memory_bytes=data.draw(st.sampled_from([10**6, 10**9])),
    )
    dtype = data.draw(st.sampled_from(["uint8", "uint16", "uint32", "uint64"]))
    volume = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (*shape, 1), dtype)
    result = sharded(volume, plan, IdentityPredictor(seen))
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, volume[..., 0][plan.region.slices])


# ----------------------------------------------------------------------------------- blending


class TileMean:
    """A network that cannot be exact: what it says of a voxel depends on its whole tile."""

    stride, halo, num_classes, channels = (2, 2), (2, 2), 2, 1

    def predict_probabilities(self, tiles):
        mean = tiles.mean(axis=(1, 2), keepdims=True)
        first = (tiles / (tiles + mean)).astype(np.float32)
        return np.concatenate([first, 1 - first], axis=-1)

    def predict_both(self, tiles):
        probabilities = self.predict_probabilities(tiles)
        return probabilities.argmax(-1).astype(np.uint8), probabilities

    def classes_of(self, probabilities):
        return probabilities.argmax(-1).astype(np.uint8)


@settings(max_examples=40)
@given(st.data())
def test_blended_equals_a_naive_blend(data):
    shape = data.draw(shapes(dimensions=2, largest=(24, 24)))
    plan = data.draw(plans(shape, TileMean.stride, TileMean.halo, exact=False))
    volume = random_volume((*shape, 1), seed=5, dtype="float32")
    shard = plan.shard(data.draw(st.integers(0, len(plan) - 1)))
    outputs = [
        segment_shard(
            volume[shard.read.slices].copy(), shard, plan, TileMean(), None, probabilities=keep
        )
        for keep in (True, True, False)
    ]
    expected = naive_blend(volume, shard.write, plan)
    levels = outputs[0].probabilities
    assert levels.dtype == np.uint8
    assert np.abs(levels - 255 * expected).max() <= 0.51  # half a level, and float32
    clear = np.abs(expected[..., 0] - 0.5) > 1e-4
    np.testing.assert_array_equal(outputs[0].classes[clear], expected.argmax(-1)[clear])
    assert outputs[1].probabilities.tobytes() == levels.tobytes()  # the same a second time
    assert outputs[2].probabilities is None
    for other in outputs[1:]:
        np.testing.assert_array_equal(other.classes, outputs[0].classes)


def naive_blend(volume, write, plan):
    """Weighted mean in float64, one voxel of one tile after the other."""
    tile_shape = plan.spec.tile
    padded = edge_padded(volume, plan.spec.stride)
    total, norm = (
        np.zeros((*plan.spec.padded(plan.shape), 2)),
        np.zeros(plan.spec.padded(plan.shape)),
    )
    bell = [
        np.exp(-0.5 * ((np.arange(t) - (t - 1) / 2) / max(t / 8, 0.5)) ** 2) for t in tile_shape
    ]
    weights = np.outer(*bell)
    weights = np.maximum(weights, 1e-4 * weights.max())
    for tile in blend_windows(write, plan.shape, plan.spec):
        output = TileMean().predict_probabilities(padded[tile.slices][np.newaxis])[0]
        total[tile.slices] += output * weights[..., np.newaxis]
        norm[tile.slices] += weights
    return (total[write.slices] / norm[write.slices][..., np.newaxis]).astype(np.float64)


# ------------------------------------------------------------------------- the rest of a shard


def small_case():
    """Four tiles of a network in probabilities, one shard."""
    predictor = TileMean()
    plan = ShardPlan(
        (8, 8), Region.whole((8, 8)), (8, 8), (8, 8), TileSpec((6, 6), (0, 0), (2, 2)), 1, 0
    )
    return predictor, plan, random_volume((8, 8, 1), seed=7)


def test_probabilities_of_exact_tiles():
    """Kept voxels of each tile, quantised; the classes follow from the unrounded numbers."""
    predictor, plan, volume = small_case()
    output = segment_shard(volume, plan.shard(0), plan, predictor, None, probabilities=True)
    expected = np.zeros((8, 8, 2))
    for rows, tile_rows in ((np.s_[0:6], np.s_[0:6]), (np.s_[6:8], np.s_[2:8])):
        for columns, tile_columns in ((np.s_[0:6], np.s_[0:6]), (np.s_[6:8], np.s_[2:8])):
            tile = predictor.predict_probabilities(volume[tile_rows, tile_columns][np.newaxis])[0]
            expected[rows, columns] = tile[
                -(rows.stop - rows.start) :, -(columns.stop - columns.start) :
            ]
    np.testing.assert_array_equal(output.probabilities, np.rint(expected * 255))
    np.testing.assert_array_equal(output.classes, expected.argmax(-1))


def test_intensities_are_transformed_before_the_network():
    network_ = BlockNetwork((2, 2), (1, 1))
    volume = random_volume((13, 17, 1), seed=1)
    plan = whole_plan((13, 17), TileSpec((6, 6), (2, 2), (2, 2)))
    transform = IntensityTransform((1.0,), (1.5,))  # (v - 1) * 2, whole numbers again
    expected = untiled(network_.predict_classes, (volume - 1) * 2, (2, 2))
    np.testing.assert_array_equal(sharded(volume, plan, network_, transform), expected)


def test_nan_in_a_shard():
    predictor, plan, volume = small_case()
    volume = volume.astype(np.float32)
    volume[7, 7] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        segment_shard(
            volume,
            plan.shard(0),
            plan,
            predictor,
            IntensityTransform((0.0,), (1.0,)),
            probabilities=True,
        )


@pytest.mark.parametrize("exact", [True, False])
def test_the_device_is_held_while_the_network_computes_and_not_longer(exact):
    _, plan, volume = small_case()
    plan = ShardPlan(
        plan.shape,
        plan.region,
        plan.cell,
        plan.shard_shape,
        TileSpec((6, 6), (0, 0), (2, 2), exact),
        1,
        0,
    )
    lock = threading.Lock()
    held = []

    class Watching(TileMean):
        def predict_probabilities(self, tiles):
            held.append(lock.locked())
            return super().predict_probabilities(tiles)

        def classes_of(self, probabilities):
            assert not lock.locked()
            return super().classes_of(probabilities)

    segment_shard(volume, plan.shard(0), plan, Watching(), None, probabilities=True, device=lock)
    assert held == [True] * 4


IMAGE = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)  # four axes, of which any may be channels


@pytest.mark.parametrize(
    ("channel_axis", "channels", "expected"),
    [
        (0, None, np.moveaxis(IMAGE, 0, -1)),
        (1, None, np.moveaxis(IMAGE, 1, -1)),
        (1, [2, 0], np.stack([IMAGE[:, 2], IMAGE[:, 0]], -1)),  # in the order asked for
        (None, None, IMAGE[..., np.newaxis]),
    ],
)
def test_read_block_puts_channels_last(channel_axis, channels, expected):
    shape = expected.shape[:-1]
    region = Region((0,) + (1,) * (len(shape) - 1), shape)
    block = read_block(IMAGE, region, channel_axis, channels)
    np.testing.assert_array_equal(block, expected[region.slices])


def test_evaluate_shard_counts_rows_of_truth():
    truth, classes = np.array([[0, 1, 2, 2]]), np.array([[0, 2, 2, 1]])
    found = evaluate_shard(ShardOutput(classes), truth, 3, ignore_label=0)
    assert found["planes/0"].tolist() == [[0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 0]]
    levels = np.zeros((1, 4, 3), np.uint8)
    found = evaluate_shard(ShardOutput(classes, levels), truth, 3, ignore_label=0)
    assert found["probability"].sum(axis=(1, 2)).tolist() == [3, 3, 3]


def test_cell_blocks_are_whole_cells_with_zeros_outside_the_region():
    volume = random_volume((6, 9), seed=0)
    write = Region((1, 0), (5, 7))
    cells = [
        ((i, j), Region((3 * i, 4 * j), (3 * i + 3, min(4 * j + 4, 9))))
        for i in (0, 1)
        for j in (0, 1, 2)
    ]
    blocks = dict(cell_blocks(volume[write.slices], write, iter(cells)))
    wanted = np.zeros_like(volume)
    wanted[write.slices] = volume[write.slices]
    assert list(blocks) == [(0, 0), (0, 1), (1, 0), (1, 1)]  # none for cells outside
    for index, bounds in cells[:2] + cells[3:5]:
        np.testing.assert_array_equal(blocks[index], wanted[bounds.slices])


def test_quantise_by_hand():
    given_ = np.array([0, 0.5 / 255, 1 / 255, 1.5 / 255, 0.2, 1], np.float32)
    levels = quantise(given_)
    assert levels.dtype == np.uint8
    assert levels.tolist() == [0, 0, 1, 2, 51, 255]
