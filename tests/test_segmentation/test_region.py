import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmentation.region import Region, parse_region
from tests.strategies import regions, voxels_of

SHAPE = (5, 4, 6)


def mask(region):
    result = np.zeros(SHAPE, bool)
    result[region.slices] = True
    return result


@given(regions(SHAPE), regions(SHAPE))
def test_boxes_are_sets_of_voxels(first, second):
    common = first.intersection(second)
    both = mask(first) & mask(second)
    assert (common is None) == (not both.any())
    if common is not None:
        np.testing.assert_array_equal(mask(common), both)
    assert first.contains(second) == bool((mask(first) | ~mask(second)).all())
    assert first.voxels == mask(first).sum() == len(list(voxels_of(first)))
    assert first.shape == mask(first)[first.slices].shape


@given(regions(SHAPE), st.tuples(*(st.integers(-3, 3),) * 3))
def test_relative_to_moves_the_origin(region, origin):
    moved = region.relative_to(origin)
    back = moved.relative_to([-o for o in origin])
    assert back == region
    assert moved.start == tuple(a - o for a, o in zip(region.start, origin, strict=True))


def test_whole():
    assert Region.whole(SHAPE) == Region((0, 0, 0), SHAPE)
    assert Region.whole(SHAPE).voxels == 120


@pytest.mark.parametrize("stop", [(3, 2), (3, 0)])
def test_empty_box(stop):
    with pytest.raises(ValueError, match=r"region from \(1, 2\) to .* is empty; every stop"):
        Region((1, 2), stop)


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        (None, (0, 0, 0), (16, 1000, 800)),
        ("", (0, 0, 0), (16, 1000, 800)),
        ("z=0:12,y=100:612", (0, 100, 0), (12, 612, 800)),
        ("x=5:6", (0, 0, 5), (16, 1000, 6)),
        ("x=5:", (0, 0, 5), (16, 1000, 800)),  # an open end is the volume's
        ("x=:5, z=2:3", (2, 0, 0), (3, 1000, 5)),  # any order, spaces
        ("y=:", (0, 0, 0), (16, 1000, 800)),
    ],
)
def test_parse(text, start, stop):
    assert parse_region(text, "zyx", (16, 1000, 800)) == Region(start, stop)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("z=1", r"part 'z=1' is not AXIS=START:STOP; write z=0:12,y=100:612"),
        ("z=-1:3", r"part 'z=-1:3' is not AXIS=START:STOP"),
        ("z=0:3:2", r"is not AXIS=START:STOP"),
        ("t=0:1", r"names the axis 't'; the volume has z, y, x"),
        ("z=3:3", r"z=3:3 is empty"),
        ("z=3:2", r"z=3:2 is empty"),
        ("z=16:", r"z=16: is empty"),
        ("z=0:17", r"z=0:17 leaves the volume; that axis ends at 16"),
    ],
)
def test_parse_refuses(text, message):
    with pytest.raises(ValueError, match=message):
        parse_region(text, "zyx", (16, 1000, 800))


@pytest.mark.parametrize("text", ["z=0:3,z=5:9", "x=0:1,y=0:1,x=0:1"])
def test_an_axis_is_named_once(text):
    with pytest.raises(ValueError, match="twice"):
        parse_region(text, "zyx", (16, 1000, 800))
