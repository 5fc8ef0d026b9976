import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmentation.region import Region
from segmentation.tiling import (
    TileSpec,
    axis_windows,
    blend_weights,
    blend_windows,
    cut_tile,
    exact_windows,
    read_region,
    tiles_of,
)
from tests.strategies import plans, random_volume, shapes, voxels_of

STRIDES = st.sampled_from([1, 2, 3, 4, 8])


@st.composite
def tilings(draw, *, exact=True):
    """A volume of one to three axes and a plan over it."""
    dimensions = draw(st.integers(1, 3))
    shape = draw(
        shapes(dimensions=dimensions, largest=[[60], [30, 40], [9, 12, 14]][dimensions - 1])
    )
    stride = tuple(draw(STRIDES) for _ in shape)
    halo = tuple(s * draw(st.integers(0, 2)) for s in stride)
    return draw(plans(shape, stride, halo, exact=exact))


@pytest.mark.parametrize(
    ("start", "stop", "padded", "tile", "halo", "stride", "expected"),
    [
        # One tile is the whole axis: no border is ever seen.
        (0, 10, 10, 10, 4, 2, [(0, 0, 10)]),
        (3, 9, 10, 10, 4, 2, [(0, 3, 9)]),
        # Only the voxels next to an inner border are thrown away; the last tile moves inwards.
        (0, 20, 20, 10, 2, 2, [(0, 0, 8), (6, 8, 14), (10, 14, 20)]),
        # A region inside: its first voxel need not be on the grid, the origins are.
        (9, 13, 40, 12, 4, 4, [(4, 9, 12), (8, 12, 13)]),
        # No tile reaches further than the halo beyond the wanted voxels.
        (0, 8, 100, 20, 4, 4, [(0, 0, 8)]),
        (20, 24, 100, 20, 4, 4, [(8, 20, 24)]),
        # Without a halo tiles lie side by side.
        (0, 9, 9, 3, 0, 3, [(0, 0, 3), (3, 3, 6), (6, 6, 9)]),
    ],
)
def test_axis_windows_by_hand(start, stop, padded, tile, halo, stride, expected):
    found = axis_windows(start, stop, padded=padded, tile=tile, halo=halo, stride=stride)
    assert found == expected


@given(tilings())
def test_every_voxel_is_kept_once_away_from_inner_borders(plan):
    spec, padded = plan.spec, plan.spec.padded(plan.shape)
    for shard in plan:
        seen = np.zeros(plan.shape, int)
        for window in exact_windows(shard.write, plan.shape, spec):
            seen[window.keep.slices] += 1
            for tile, keep, *limits in zip(
                zip(window.tile.start, window.tile.stop, strict=True),
                zip(window.keep.start, window.keep.stop, strict=True),
                padded,
                spec.halo,
                spec.stride,
                strict=True,
            ):
                size, halo, stride = limits
                assert tile[0] % stride == 0
                assert 0 <= tile[0] <= tile[1] <= size
                assert tile[0] == 0 or keep[0] - tile[0] >= halo
                assert tile[1] == size or tile[1] - keep[1] >= halo
        expected = np.zeros(plan.shape, int)
        expected[shard.write.slices] = 1
        np.testing.assert_array_equal(seen, expected)


@given(tilings())
def test_no_fewer_tiles_would_do(plan):
    """Greedy from the left: each tile keeps as far as its own border allows."""
    spec = plan.spec
    for axis, (size, stride, halo) in enumerate(
        zip(plan.shape, spec.stride, spec.halo, strict=True)
    ):
        padded = -(-size // stride) * stride
        reach = range(0, padded - spec.tile[axis] + 1, stride)
        position, fewest = plan.region.start[axis], 0
        while position < plan.region.stop[axis]:
            able = [o for o in reach if o == 0 or o + halo <= position]
            ends = [
                padded if o + spec.tile[axis] == padded else o + spec.tile[axis] - halo
                for o in able
            ]
            position, fewest = max(ends), fewest + 1
        windows = axis_windows(
            plan.region.start[axis],
            plan.region.stop[axis],
            padded=padded,
            tile=spec.tile[axis],
            halo=halo,
            stride=stride,
        )
        assert len(windows) == fewest


@given(st.booleans().flatmap(lambda exact: tilings(exact=exact)))
def test_read_region_is_the_hull_of_the_tiles(plan):
    volume = Region.whole(plan.shape)
    for shard in plan:
        tiles = list(tiles_of(shard.write, plan.shape, plan.spec))
        hull = Region(
            tuple(min(t.start[a] for t in tiles) for a in range(len(plan.shape))),
            tuple(max(t.stop[a] for t in tiles) for a in range(len(plan.shape))),
        )
        assert read_region(shard.write, plan.shape, plan.spec) == hull.intersection(volume)
        assert shard.read.contains(shard.write)


@given(tilings(exact=False))
def test_blended_tiles_cover_the_grown_region(plan):
    spec, padded = plan.spec, plan.spec.padded(plan.shape)
    for shard in plan:
        covered = np.zeros(padded, bool)
        for tile in blend_windows(shard.write, plan.shape, spec):
            assert Region.whole(padded).contains(tile)
            assert not any(o % s for o, s in zip(tile.start, spec.stride, strict=True))
            covered[tile.slices] = True
        grown = tuple(
            slice(max(0, a // s * s - h), min(-(-b // s) * s + h, p))
            for a, b, s, h, p in zip(
                shard.write.start, shard.write.stop, spec.stride, spec.halo, padded, strict=True
            )
        )
        assert covered[grown].all()


def test_blended_tiles_overlap_by_half():
    spec = TileSpec((8,), (2,), (2,), exact=False)
    origins = [t.start[0] for t in blend_windows(Region((6,), (22,)), (40,), spec)]
    assert origins == [4, 8, 12, 16]  # 4 = 6 - halo; 16 + 8 = 22 + halo


@given(st.lists(st.integers(1, 12), min_size=1, max_size=3))
def test_weights_are_gaussian_and_never_zero(tile):
    spec = TileSpec(tuple(tile), (0,) * len(tile), (1,) * len(tile), exact=False)
    weights = blend_weights(spec)
    expected = np.ones(tile)
    for voxel in voxels_of(Region.whole(tile)):
        for place, extent in zip(voxel, tile, strict=True):
            distance = (place - (extent - 1) / 2) / max(extent / 8, 0.5)
            expected[voxel] *= np.exp(-(distance**2) / 2)
    assert weights.dtype == np.float32
    assert weights.min() > 0
    np.testing.assert_allclose(weights, np.maximum(expected, 1e-4 * expected.max()), rtol=1e-6)


@given(shapes(dimensions=2, largest=[7, 9]), st.integers(1, 3), st.data())
def test_cut_tile_repeats_the_last_voxel(shape, channels, data):
    volume = random_volume((*shape, channels), seed=0)
    start = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    origin = tuple(data.draw(st.integers(0, a)) for a in start)
    stop = tuple(a + data.draw(st.integers(1, 12)) for a in start)
    block = volume[origin[0] :, origin[1] :]
    tile = cut_tile(block, origin, Region(start, stop))
    rows, columns = (
        np.minimum(np.arange(a, b), size - 1) for a, b, size in zip(start, stop, shape, strict=True)
    )
    np.testing.assert_array_equal(tile, volume[rows][:, columns])


def test_padded():
    spec = TileSpec((8, 8), (0, 0), (4, 4))
    assert spec.padded((9, 5)) == (12, 8)  # to the stride, and to one tile
    assert spec.voxels == 64


def test_round_trip():
    spec = TileSpec((1, 32, 48), (0, 8, 16), (1, 8, 16), exact=False)
    assert TileSpec.from_dict(spec.to_dict()) == spec


def test_tile_off_the_stride():
    with pytest.raises(ValueError, match=r"tile \(20,\) is not a multiple .* \(16,\); use \(32,\)"):
        TileSpec((20,), (16,), (16,))
    with pytest.raises(ValueError, match=r"halo \(8,\) is not a multiple .* \(16,\); use \(16,\)"):
        TileSpec((32,), (8,), (16,))


def test_tile_without_a_core():
    with pytest.raises(ValueError, match=r"tile 16 has no core inside its halo 8; use at least 20"):
        axis_windows(0, 64, padded=64, tile=16, halo=8, stride=4)
