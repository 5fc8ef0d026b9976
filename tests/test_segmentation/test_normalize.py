import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segmentation.normalize import IntensityTransform

DTYPES = st.sampled_from(["uint8", "int16", "uint16", "uint32", "float32", "float64"])


@st.composite
def blocks(draw):
    """A block of two channels and its transform."""
    values = st.integers(0, 250)
    block = draw(hnp.arrays(draw(DTYPES), (3, 4, 2), elements=values))
    low = [draw(st.floats(-50, 100)) for _ in range(2)]
    high = [a + draw(st.floats(1, 500)) for a in low]
    return block, IntensityTransform(tuple(low), tuple(high))


@given(blocks())
def test_low_becomes_0_and_high_1_per_channel(case):
    block, transform = case
    low, high = np.array(transform.low), np.array(transform.high)
    expected = (block.astype(np.float64) - low) / (high - low)
    before = block.copy()
    result = transform(block)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(block, before)


@given(blocks())
def test_a_voxel_does_not_depend_on_its_block(case):
    block, transform = case
    whole = transform(block)
    for part in (np.s_[1:], np.s_[:, 2:3], np.s_[2, 1]):
        np.testing.assert_array_equal(transform(block[part]), whole[part])


def test_by_hand():
    transform = IntensityTransform((10.0, 100.0), (20.0, 300.0))
    block = np.array([[10, 100], [20, 300], [15, 200], [0, 500]], np.uint16)
    assert transform(block).tolist() == [[0, 0], [1, 1], [0.5, 0.5], [-1, 2]]


def test_round_trip():
    transform = IntensityTransform((1.5,), (2.5,))
    assert IntensityTransform.from_dict(transform.to_dict()) == transform


@pytest.mark.parametrize(
    ("low", "high", "channel"),
    [
        ((0.0, 5.0), (1.0, 5.0), 1),
        ((3.0,), (2.0,), 0),
        ((float("nan"),), (2.0,), 0),
    ],
)
def test_no_contrast(low, high, channel):
    with pytest.raises(
        ValueError, match=rf"channel {channel} has no contrast.*expected low < high"
    ):
        IntensityTransform(low, high)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_voxels(dtype, bad):
    block = np.zeros((4, 4, 1), dtype)
    block[1:3, 2] = bad
    with pytest.raises(
        ValueError, match="2 voxels are NaN or infinite; the network expects finite"
    ):
        IntensityTransform((0.0,), (1.0,))(block)


def test_voxels_beyond_float32():
    block = np.array([[1.0], [1e300]])
    with pytest.raises(ValueError, match="1 voxels are NaN or infinite"):
        IntensityTransform((0.0,), (1.0,))(block)
