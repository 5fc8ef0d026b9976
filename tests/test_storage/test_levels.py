import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.levels import import_layout, is_sections, plan_levels, slabs
from storage.ome import Level
from storage.write_grid import WriteGrid


def shapes(levels):
    return [plan.shape for plan in levels]


def test_sections_keep_z_until_their_voxels_are_nearly_cubes():
    levels = plan_levels((16, 1024, 4096), "zyx", (4.0, 1.0, 1.0))
    # z : y is 4, 2 and 1 at levels 0, 1, 2, so z is halved from level 2 on.
    assert shapes(levels) == [
        (16, 1024, 4096),
        (16, 512, 2048),
        (16, 256, 1024),
        (8, 128, 512),
        (4, 64, 256),
    ]
    assert levels[1].level == Level("1", (4.0, 2.0, 2.0), (0.0, 0.5, 0.5))
    assert levels[4].level == Level("4", (16.0, 16.0, 16.0), (6.0, 7.5, 7.5))


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((10, 10), "yx", [(10, 10)]),
        ((256, 256), "yx", [(256, 256)]),
        ((257, 3), "yx", [(257, 3), (129, 2)]),
        ((2, 3, 1, 300, 300), "tczyx", [(2, 3, 1, 300, 300), (2, 3, 1, 150, 150)]),
        ((5, 301, 301), "zyx", [(5, 301, 301), (3, 151, 151)]),
    ],
)
def test_shapes(shape, axes, expected):
    assert shapes(plan_levels(shape, axes, (1.0,) * len(axes))) == expected


def test_at_most_eight_levels():
    assert len(plan_levels((10**6, 10**6), "yx", (1.0, 1.0))) == 8


def test_sections():
    assert is_sections("czyx", (1.0, 0.045, 0.0046, 0.0046))
    assert not is_sections("zyx", (1.0, 0.5, 0.5))
    assert not is_sections("yx", (1.0, 1.0))


@given(
    shape=st.tuples(*(st.integers(1, 4000),) * 3),
    itemsize=st.sampled_from([1, 2, 4, 8]),
    sections=st.booleans(),
)
def test_a_layer_of_shards_fits_into_a_slab(shape, itemsize, sections):
    plane = shape[1] * shape[2] * itemsize
    chunks, shards = import_layout(
        shape, "zyx", itemsize, sections=sections, plane_bytes=plane, slab_bytes=2**28
    )
    assert all(s % c == 0 for s, c in zip(shards, chunks, strict=True))
    assert math.prod(shards) * itemsize <= 2**25 or shards == chunks
    assert min(shards[0], shape[0]) * plane <= 2**28 or shards[0] == 1


def test_large_sections_get_thin_shards():
    # 20000 × 20000 voxels of 2 bytes are 763 MiB: more than a slab.
    shape, plane = (1000, 20_000, 20_000), 20_000**2 * 2
    chunks, shards = import_layout(
        shape, "zyx", 2, sections=False, plane_bytes=plane, slab_bytes=2**28
    )
    assert chunks[0] == shards[0] == 1
    # Still large objects: they grow in plane.
    assert math.prod(shards) * 2 >= 2**24


@given(data=st.data(), ndim=st.integers(1, 5), limit=st.integers(1, 3000))
def test_slabs_cover_the_array_once_in_whole_cells(data, ndim, limit):
    sizes = st.integers(1, 9)
    shape = tuple(data.draw(sizes) for _ in range(ndim))
    grid = WriteGrid(shape, tuple(data.draw(sizes) for _ in range(ndim)))
    order = data.draw(st.permutations(range(ndim)))
    seen = []
    for start, stop in slabs(grid, order, 2, limit):
        cells = list(grid.cells(start, stop))
        seen += cells
        voxels = math.prod(b - a for a, b in zip(start, stop, strict=True))
        assert voxels * 2 <= limit or len(cells) == 1
        for a, b, cell, size in zip(start, stop, grid.cell, shape, strict=True):
            assert a % cell == 0
            assert b % cell == 0 or b == size
    assert sorted(seen) == list(grid.cells((0,) * ndim, shape))


def test_slabs_follow_the_order_of_the_file():
    grid = WriteGrid((3, 4, 8, 8), (1, 2, 8, 8))
    # Channels last in the file: read with every section, and sections as far as they fit.
    boxes = list(slabs(grid, (1, 2, 3, 0), 1, 400))
    assert boxes == [((0, 0, 0, 0), (3, 2, 8, 8)), ((0, 2, 0, 0), (3, 4, 8, 8))]
